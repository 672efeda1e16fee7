/* The scalar decoders. Single precision in the order that the format's formula gives, one rounding
 * per operation: results are the same on every machine (the Makefile forbids fused operations in
 * this file). Layouts: shared spec "quants" sections 1 to 3. */
#include <string.h>

#include "gguf/block.h"
#include "gguf/block_int.h"

static float load_half(const uint8_t *p)
{
    return block_f16_to_f32(block_load16(p));
}

void block_decode_f32(const void *blocks, float *out, size_t n)
{
    memcpy(out, blocks, n * sizeof *out);
}

void block_decode_f16(const void *blocks, float *out, size_t n)
{
    const uint8_t *b = blocks;
    for (size_t i = 0; i < n; i++)
        out[i] = load_half(b + 2 * i);
}

void block_decode_bf16(const void *blocks, float *out, size_t n)
{
    const uint8_t *b = blocks;
    for (size_t i = 0; i < n; i++)
        out[i] = block_bf16_to_f32(block_load16(b + 2 * i));
}

/* In blocks of 32 the low nibbles are elements 0 to 15 and the high ones 16 to 31. */
static void split_nibbles(const uint8_t *qs, uint8_t codes[32])
{
    for (int i = 0; i < 16; i++) {
        codes[i] = qs[i] & 15;
        codes[i + 16] = qs[i] >> 4;
    }
}

/* The same with a fifth bit for each element from qh. */
static void split_5_bits(const uint8_t *qs, uint32_t qh, uint8_t codes[32])
{
    split_nibbles(qs, codes);
    for (int i = 0; i < 32; i++)
        codes[i] |= (uint8_t)((qh >> i & 1) << 4);
}

void block_decode_q4_0(const void *blocks, float *out, size_t n)
{
    const uint8_t *b = blocks;
    for (const float *end = out + n; out < end; out += 32, b += 18) {
        uint8_t codes[32];
        float d = load_half(b);
        split_nibbles(b + 2, codes);
        for (int i = 0; i < 32; i++)
            out[i] = d * (float)(codes[i] - 8);
    }
}

void block_decode_q4_1(const void *blocks, float *out, size_t n)
{
    const uint8_t *b = blocks;
    for (const float *end = out + n; out < end; out += 32, b += 20) {
        uint8_t codes[32];
        float d = load_half(b), m = load_half(b + 2);
        split_nibbles(b + 4, codes);
        for (int i = 0; i < 32; i++)
            out[i] = d * (float)codes[i] + m;
    }
}

void block_decode_q5_0(const void *blocks, float *out, size_t n)
{
    const uint8_t *b = blocks;
    for (const float *end = out + n; out < end; out += 32, b += 22) {
        uint8_t codes[32];
        float d = load_half(b);
        split_5_bits(b + 6, block_load32(b + 2), codes);
        for (int i = 0; i < 32; i++)
            out[i] = d * (float)(codes[i] - 16);
    }
}

void block_decode_q5_1(const void *blocks, float *out, size_t n)
{
    const uint8_t *b = blocks;
    for (const float *end = out + n; out < end; out += 32, b += 24) {
        uint8_t codes[32];
        float d = load_half(b), m = load_half(b + 2);
        split_5_bits(b + 8, block_load32(b + 4), codes);
        for (int i = 0; i < 32; i++)
            out[i] = d * (float)codes[i] + m;
    }
}

void block_decode_q8_0(const void *blocks, float *out, size_t n)
{
    const uint8_t *b = blocks;
    for (const float *end = out + n; out < end; out += 32, b += 34) {
        float d = load_half(b);
        for (int i = 0; i < 32; i++)
            out[i] = d * (float)(int8_t)b[2 + i];
    }
}

/* 32 codes that index a code book, times d. */
static void decode_code_book(const int8_t values[16], float d, const uint8_t *qs, float *out)
{
    uint8_t codes[32];
    split_nibbles(qs, codes);
    for (int i = 0; i < 32; i++)
        out[i] = d * (float)values[codes[i]];
}

void block_decode_iq4_nl(const void *blocks, float *out, size_t n)
{
    const uint8_t *b = blocks;
    for (const float *end = out + n; out < end; out += 32, b += 18)
        decode_code_book(block_iq4_values, load_half(b), b + 2, out);
}

void block_decode_mxfp4(const void *blocks, float *out, size_t n)
{
    const uint8_t *b = blocks;
    for (const float *end = out + n; out < end; out += 32, b += 17)
        decode_code_book(block_mxfp4_values, block_e8m0_half(b[0]), b + 1, out);
}

void block_decode_iq4_xs(const void *blocks, float *out, size_t n)
{
    const uint8_t *b = blocks;
    for (const float *end = out + n; out < end; out += 256, b += 136) {
        float d = load_half(b);
        unsigned high = block_load16(b + 2);
        for (int j = 0; j < 8; j++) {
            int scale = (b[4 + j / 2] >> 4 * (j % 2) & 15) | (int)(high >> 2 * j & 3) << 4;
            decode_code_book(block_iq4_values, d * (float)(scale - 32), b + 8 + 16 * j,
                             out + 32 * j);
        }
    }
}

/* Q2_K and Q3_K: 2 bits of element i; each byte serves four elements that are 32 apart. */
static int two_bits(const uint8_t *qs, int i)
{
    int r = i % 128;
    return qs[32 * (i / 128) + r % 32] >> 2 * (r / 32) & 3;
}

void block_decode_q2_k(const void *blocks, float *out, size_t n)
{
    const uint8_t *b = blocks;
    for (const float *end = out + n; out < end; out += 256, b += 84) {
        float d = load_half(b + 80), dmin = load_half(b + 82);
        for (int i = 0; i < 256; i++) {
            uint8_t g = b[i / 16];
            out[i] = d * (float)(g & 15) * (float)two_bits(b + 16, i) - dmin * (float)(g >> 4);
        }
    }
}

void block_decode_q3_k(const void *blocks, float *out, size_t n)
{
    const uint8_t *b = blocks;
    for (const float *end = out + n; out < end; out += 256, b += 110) {
        const uint8_t *s = b + 96;
        float d = load_half(b + 108), scale[16];
        for (int j = 0; j < 16; j++) {
            int low = j < 8 ? s[j] & 15 : s[j - 8] >> 4;
            int up = s[8 + j % 4] >> 2 * (j / 4) & 3;
            scale[j] = d * (float)((low | up << 4) - 32);
        }
        for (int i = 0; i < 256; i++) {
            int has_4 = b[i % 32] >> (i / 32) & 1;
            out[i] = scale[i / 16] * (float)(two_bits(b + 32, i) - (has_4 ? 0 : 4));
        }
    }
}

/* Q4_K and Q5_K: the 6-bit scale and minimum of sub-block j from the 12 packed bytes. */
static void unpack_scale(const uint8_t s[12], int j, int *scale, int *min)
{
    if (j < 4) {
        *scale = s[j] & 63;
        *min = s[j + 4] & 63;
    } else {
        *scale = (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
        *min = s[j + 4] >> 4 | s[j] >> 6 << 4;
    }
}

/* qh is NULL for Q4_K; for Q5_K bit j of qh[i] is the fifth bit of element i of sub-block j. */
static void decode_k45(const uint8_t *head, const uint8_t *qh, const uint8_t *qs, float *out)
{
    float d = load_half(head), dmin = load_half(head + 2);
    for (int j = 0; j < 8; j++) {
        int sc, mn;
        unpack_scale(head + 4, j, &sc, &mn);
        float scale = d * (float)sc, min = dmin * (float)mn;
        for (int i = 0; i < 32; i++) {
            int code = qs[32 * (j / 2) + i] >> 4 * (j % 2) & 15;
            if (qh)
                code |= (qh[i] >> j & 1) << 4;
            out[32 * j + i] = scale * (float)code - min;
        }
    }
}

void block_decode_q4_k(const void *blocks, float *out, size_t n)
{
    const uint8_t *b = blocks;
    for (const float *end = out + n; out < end; out += 256, b += 144)
        decode_k45(b, NULL, b + 16, out);
}

void block_decode_q5_k(const void *blocks, float *out, size_t n)
{
    const uint8_t *b = blocks;
    for (const float *end = out + n; out < end; out += 256, b += 176)
        decode_k45(b, b + 16, b + 48, out);
}

void block_decode_q6_k(const void *blocks, float *out, size_t n)
{
    const uint8_t *b = blocks;
    for (const float *end = out + n; out < end; out += 256, b += 210) {
        float d = load_half(b + 208);
        for (int i = 0; i < 256; i++) {
            int half = i / 128, k = i % 128 / 32, l = i % 32;
            int low = b[64 * half + 32 * (k % 2) + l] >> 4 * (k / 2) & 15;
            int up = b[128 + 32 * half + l] >> 2 * k & 3;
            float scale = d * (float)(int8_t)b[192 + i / 16];
            out[i] = scale * (float)((low | up << 4) - 32);
        }
    }
}
