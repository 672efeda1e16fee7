/* The scalar encoders of floats and blocks of 32. Where the scale is free it is searched: some
 * candidates around the one that just covers the largest value, each corrected to the least-squares
 * scale of its codes; the least squared error wins. Loops run over whole blocks without branches so
 * that compilers make vectors of them. */
#include <math.h>
#include <string.h>

#include "gguf/block.h"
#include "gguf/block_fit.h"
#include "gguf/block_int.h"

#define COUNT(array) (int)(sizeof(array) / sizeof *(array))

void block_encode_f32(const float *in, void *blocks, size_t n)
{
    memcpy(blocks, in, n * sizeof *in);
}

void block_encode_f16(const float *in, void *blocks, size_t n)
{
    uint8_t *b = blocks;
    for (size_t i = 0; i < n; i++)
        block_store16(b + 2 * i, block_f32_to_f16(in[i]));
}

void block_encode_bf16(const float *in, void *blocks, size_t n)
{
    uint8_t *b = blocks;
    for (size_t i = 0; i < n; i++)
        block_store16(b + 2 * i, block_f32_to_bf16(in[i]));
}

/* The format's own rule, not the least error: files of different programs agree. */
void block_encode_q8_0(const float *in, void *blocks, size_t n)
{
    uint8_t *b = blocks;
    for (const float *end = in + n; in < end; in += 32, b += 34) {
        float d = fabsf(block_extreme(in, 32)) / 127.0f;
        float inverse = d > 0 ? 1.0f / d : 0.0f;
        block_store16(b, block_f32_to_f16(d));
        for (int i = 0; i < 32; i++) {
            float v = block_clamp(in[i] * inverse, -127.0f, 127.0f);
            b[2 + i] = (uint8_t)(int8_t)(v < 0 ? v - 0.5f : v + 0.5f);
        }
    }
}

/* Low nibbles are elements 0 to 15, high ones 16 to 31. */
static void join_nibbles(const uint8_t codes[32], uint8_t *qs)
{
    for (int i = 0; i < 16; i++)
        qs[i] = (uint8_t)((codes[i] & 15) | codes[i + 16] << 4);
}

/* The fifth bits of the codes, element 0 lowest, as four bytes. */
static void join_fifth_bits(const uint8_t codes[32], uint8_t *qh)
{
    uint32_t bits = 0;
    for (int i = 0; i < 32; i++)
        bits |= (uint32_t)(codes[i] >> 4) << i;
    block_store16(qh, (uint16_t)bits);
    block_store16(qh + 2, (uint16_t)(bits >> 16));
}

/* Q4_0 and Q5_0: codes of d * (code - middle); returns d as a half. peaks are what the largest
 * value is scaled to: beyond -middle it is clipped for the sake of the others. */
static uint16_t code_steps(const float *x, int middle, const float *peaks, int n_peaks,
                           uint8_t codes[32])
{
    float v[32], low = (float)-middle, high = (float)(middle - 1);
    uint16_t d = block_f32_to_f16(block_fit_scale(x, 32, low, high, peaks, n_peaks));
    block_snap(x, 32, block_inverse(block_f16_to_f32(d)), 0, low, high, v);
    for (int i = 0; i < 32; i++)
        codes[i] = (uint8_t)((int)v[i] + middle);
    return d;
}

void block_encode_q4_0(const float *in, void *blocks, size_t n)
{
    static const float peaks[] = {-6.7f, -7.2f, -7.6f, -8.0f, -8.4f, -8.8f, 6.2f, 6.7f, 7.2f, 7.6f};
    uint8_t *b = blocks, codes[32];
    for (const float *end = in + n; in < end; in += 32, b += 18) {
        block_store16(b, code_steps(in, 8, peaks, COUNT(peaks), codes));
        join_nibbles(codes, b + 2);
    }
}

void block_encode_q5_0(const float *in, void *blocks, size_t n)
{
    static const float peaks[] = {-13.8f, -14.5f, -15.1f, -15.6f, -16.1f, -16.6f,
                                  13.4f,  14.1f,  14.7f,  15.2f,  15.7f};
    uint8_t *b = blocks, codes[32];
    for (const float *end = in + n; in < end; in += 32, b += 22) {
        block_store16(b, code_steps(in, 16, peaks, COUNT(peaks), codes));
        join_fifth_bits(codes, b + 2);
        join_nibbles(codes, b + 6);
    }
}

/* Q4_1 and Q5_1: codes of d * code + m; d and m are stored as halves at head. */
static void code_line(const float *x, float top, uint8_t *head, uint8_t codes[32])
{
    float v[32];
    struct block_line line = block_fit_line(x, 32, top, INFINITY);
    uint16_t d = block_f32_to_f16(line.scale), m = block_f32_to_f16(line.base);
    block_snap(x, 32, block_inverse(block_f16_to_f32(d)), block_f16_to_f32(m), 0, top, v);
    for (int i = 0; i < 32; i++)
        codes[i] = (uint8_t)v[i];
    block_store16(head, d);
    block_store16(head + 2, m);
}

void block_encode_q4_1(const float *in, void *blocks, size_t n)
{
    uint8_t *b = blocks, codes[32];
    for (const float *end = in + n; in < end; in += 32, b += 20) {
        code_line(in, 15, b, codes);
        join_nibbles(codes, b + 4);
    }
}

void block_encode_q5_1(const float *in, void *blocks, size_t n)
{
    uint8_t *b = blocks, codes[32];
    for (const float *end = in + n; in < end; in += 32, b += 24) {
        code_line(in, 31, b, codes);
        join_fifth_bits(codes, b + 4);
        join_nibbles(codes, b + 8);
    }
}

/* The nearest value of the IQ4_NL code book for every half step from its first to its last value:
 * the borders between neighbours are whole half steps, so this is exact. */
enum { BOOK_FIRST = -127, BOOK_LAST = 113, HALF_STEPS = 2 * (BOOK_LAST - BOOK_FIRST) };
struct snap_table {
    float value[HALF_STEPS + 1];
    uint8_t code[HALF_STEPS + 1];
};

static void make_snap_table(struct snap_table *t)
{
    const int8_t *book = block_iq4_values;
    for (int i = 0, code = 0; i <= HALF_STEPS; i++) {
        if (code < 15 && i + 2 * BOOK_FIRST >= book[code] + book[code + 1])
            code++;
        t->code[i] = (uint8_t)code;
        t->value[i] = (float)book[code];
    }
}

/* Where the values of x * inverse are in the table. */
static void find_half_steps(const float *x, float inverse, int32_t at[32])
{
    for (int i = 0; i < 32; i++)
        at[i] = (int32_t)(block_clamp(x[i] * inverse, BOOK_FIRST, BOOK_LAST) * 2 - 2 * BOOK_FIRST);
}

void block_encode_iq4_nl(const float *in, void *blocks, size_t n)
{
    static const float peaks[] = {-106, -113, -120, -127, -134, -141, 99, 106, 113, 120};
    struct snap_table table;
    uint8_t *b = blocks;
    make_snap_table(&table);
    for (const float *end = in + n; in < end; in += 32, b += 18) {
        uint8_t codes[32];
        int32_t at[32];
        float v[32], best = 0, best_gain = 0, reach = block_inverse(block_extreme(in, 32));
        for (int k = 0; k < COUNT(peaks); k++) {
            find_half_steps(in, peaks[k] * reach, at);
            for (int i = 0; i < 32; i++)
                v[i] = table.value[at[i]];
            float xv = block_dot(in, v, 32), vv = block_dot(v, v, 32);
            if (xv * xv > best_gain * vv) {
                best_gain = xv * xv / vv;
                best = xv / vv;
            }
        }
        uint16_t d = block_f32_to_f16(best);
        find_half_steps(in, block_inverse(block_f16_to_f32(d)), at);
        for (int i = 0; i < 32; i++)
            codes[i] = table.code[at[i]];
        block_store16(b, d);
        join_nibbles(codes, b + 2);
    }
}

/* Codes of the nearest doubled E2M1 values to x * inverse; returns the squared error in those
 * units. */
static float snap_to_mxfp4(const float *x, float inverse, uint8_t codes[32])
{
    float miss[32];
    for (int i = 0; i < 32; i++) {
        float v = fabsf(x[i] * inverse);
        int code = 0;
        for (int k = 0; k < 7; k++)
            code += v > 0.5f * (float)(block_mxfp4_values[k] + block_mxfp4_values[k + 1]);
        codes[i] = (uint8_t)(code | (code && x[i] < 0 ? 8 : 0));
        miss[i] = v - (float)block_mxfp4_values[code];
    }
    return block_dot(miss, miss, 32);
}

/* The scale is a power of two: the smallest that covers the largest value, or the next smaller one
 * when clipping that value costs less than the finer steps gain. */
void block_encode_mxfp4(const float *in, void *blocks, size_t n)
{
    uint8_t *b = blocks;
    for (const float *end = in + n; in < end; in += 32, b += 17) {
        uint8_t codes[32];
        float best_error = INFINITY, largest = fabsf(block_extreme(in, 32));
        int e = 0, exponent = 0;
        memset(b, 0, 17);
        if (!(largest > 0))
            continue;
        frexpf(largest / 12.0f, &exponent); /* largest <= 12 * 2^exponent */
        for (int down = 0; down < 3; down++) {
            e = exponent + 128 - down;
            if (e < 0 || e > 254)
                continue;
            float d = block_e8m0_half((uint8_t)e);
            float error = snap_to_mxfp4(in, block_inverse(d), codes) * d * d;
            if (error < best_error) {
                best_error = error;
                b[0] = (uint8_t)e;
                join_nibbles(codes, b + 1);
            }
        }
    }
}
