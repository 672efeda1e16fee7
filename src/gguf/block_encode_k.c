/* The scalar encoders of Q4_K, Q5_K and Q6_K. Sub-blocks are fitted alone, their scales are rounded
 * to the super-block's few bits, then each sub-block tries the neighbours of its rounded scale, and
 * last the super-block's own scale is fitted to all codes that were chosen. */
#include <math.h>
#include <string.h>

#include "gguf/block.h"
#include "gguf/block_fit.h"
#include "gguf/block_int.h"

/* One super-block of Q4_K (top 15) or Q5_K (top 31): x ~ d * scale[j] * v - dmin * min[j] in
 * sub-block j, v = 0 to top. */
struct k45 {
    float top;
    uint16_t d, dmin;     /* halves */
    int scale[8], min[8]; /* 0 to 63 */
    float v[256];
};

/* Squared error of sub-block j with this scale and minimum; leaves the codes in v. */
static float try_k45(const float *x, float scale, float min, float top, float v[32])
{
    float miss[32];
    block_snap(x, 32, block_inverse(scale), -min, 0, top, v);
    for (int i = 0; i < 32; i++)
        miss[i] = x[i] - (scale * v[i] - min);
    return block_dot(miss, miss, 32);
}

/* The best scale and minimum within one step of those given. */
static void refine_k45(const float *x, struct k45 *q, int j)
{
    float d = block_f16_to_f32(q->d), dmin = block_f16_to_f32(q->dmin), best = INFINITY, v[32];
    int scale = q->scale[j], min = q->min[j];
    for (int k = 0; k < 9; k++) {
        int s = scale + k % 3 - 1, m = min + k / 3 - 1;
        if (s < 0 || s > 63 || m < 0 || m > 63)
            continue;
        float error = try_k45(x, d * (float)s, dmin * (float)m, q->top, v);
        if (error < best) {
            best = error;
            q->scale[j] = s;
            q->min[j] = m;
            memcpy(q->v + 32 * j, v, sizeof v);
        }
    }
}

/* Least squares for d and dmin with everything else as it is. */
static void refit_k45(const float *x, struct k45 *q)
{
    double aa = 0, ab = 0, bb = 0, xa = 0, xb = 0;
    for (int i = 0; i < 256; i++) {
        double a = (double)q->v[i] * q->scale[i / 32], b = -q->min[i / 32];
        aa += a * a;
        ab += a * b;
        bb += b * b;
        xa += a * (double)x[i];
        xb += b * (double)x[i];
    }
    double det = aa * bb - ab * ab;
    if (det > 1e-9 * aa * bb) {
        q->d = block_f32_to_f16((float)((xa * bb - xb * ab) / det));
        q->dmin = block_f32_to_f16((float)((xb * aa - xa * ab) / det));
    } else if (aa > 0 && bb == 0) {
        q->d = block_f32_to_f16((float)(xa / aa));
    }
}

static void fit_k45(const float *x, struct k45 *q)
{
    struct block_line line[8];
    float max_scale = 0, max_min = 0;
    for (int j = 0; j < 8; j++) {
        line[j] = block_fit_line(x + 32 * j, 32, q->top, 0);
        max_scale = fmaxf(max_scale, line[j].scale);
        max_min = fmaxf(max_min, -line[j].base);
    }
    q->d = block_f32_to_f16(max_scale / 63);
    q->dmin = block_f32_to_f16(max_min / 63);
    float d_inverse = block_inverse(block_f16_to_f32(q->d));
    float min_inverse = block_inverse(block_f16_to_f32(q->dmin));
    for (int j = 0; j < 8; j++) {
        q->scale[j] = (int)block_clamp(line[j].scale * d_inverse + 0.5f, 0, 63);
        q->min[j] = (int)block_clamp(-line[j].base * min_inverse + 0.5f, 0, 63);
        refine_k45(x + 32 * j, q, j);
    }
    refit_k45(x, q);
}

/* The 6-bit scales and minima as 12 bytes. */
static void pack_scales(const struct k45 *q, uint8_t s[12])
{
    memset(s, 0, 12);
    for (int j = 0; j < 4; j++) {
        s[j] |= (uint8_t)q->scale[j];
        s[j + 4] |= (uint8_t)q->min[j];
        s[j + 8] = (uint8_t)((q->scale[j + 4] & 15) | (q->min[j + 4] & 15) << 4);
        s[j] |= (uint8_t)(q->scale[j + 4] >> 4 << 6);
        s[j + 4] |= (uint8_t)(q->min[j + 4] >> 4 << 6);
    }
}

/* qh is NULL for Q4_K; qh and qs are zeroed. */
static void encode_k45(const float *x, float top, uint8_t *head, uint8_t *qh, uint8_t *qs)
{
    struct k45 q = {.top = top};
    fit_k45(x, &q);
    block_store16(head, q.d);
    block_store16(head + 2, q.dmin);
    pack_scales(&q, head + 4);
    for (int j = 0; j < 8; j++) {
        float v[32];
        try_k45(x + 32 * j, block_f16_to_f32(q.d) * (float)q.scale[j],
                block_f16_to_f32(q.dmin) * (float)q.min[j], top, v);
        for (int i = 0; i < 32; i++) {
            int code = (int)v[i];
            qs[32 * (j / 2) + i] |= (uint8_t)((code & 15) << 4 * (j % 2));
            if (qh)
                qh[i] |= (uint8_t)(code >> 4 << j);
        }
    }
}

void block_encode_q4_k(const float *in, void *blocks, size_t n)
{
    uint8_t *b = blocks;
    for (const float *end = in + n; in < end; in += 256, b += 144) {
        memset(b, 0, 144);
        encode_k45(in, 15, b, NULL, b + 16);
    }
}

void block_encode_q5_k(const float *in, void *blocks, size_t n)
{
    uint8_t *b = blocks;
    for (const float *end = in + n; in < end; in += 256, b += 176) {
        memset(b, 0, 176);
        encode_k45(in, 31, b, b + 16, b + 48);
    }
}

/* One super-block of Q6_K: x ~ d * scale[j] * v. */
struct q6_k {
    uint16_t d;
    int scale[16]; /* -128 to 127 */
    float v[256];
};

static float try_q6_k(const float *x, float scale, float v[16])
{
    float miss[16];
    block_snap(x, 16, block_inverse(scale), 0, -32, 31, v);
    for (int i = 0; i < 16; i++)
        miss[i] = x[i] - scale * v[i];
    return block_dot(miss, miss, 16);
}

static void refine_q6_k(const float *x, struct q6_k *q, int j)
{
    float d = block_f16_to_f32(q->d), best = INFINITY, v[16];
    int scale = q->scale[j];
    for (int s = scale > -128 ? scale - 1 : scale; s <= scale + 1 && s < 128; s++) {
        float error = try_q6_k(x, d * (float)s, v);
        if (error < best) {
            best = error;
            q->scale[j] = s;
            memcpy(q->v + 16 * j, v, sizeof v);
        }
    }
}

static void fit_q6_k(const float *x, struct q6_k *q)
{
    static const float peaks[] = {-27.5f, -28.6f, -29.6f, -30.5f, -31.3f, -32.0f,
                                  -32.8f, 28.0f,  29.2f,  30.2f,  31.1f};
    float scale[16], extreme;
    double aa = 0, xa = 0;
    for (int j = 0; j < 16; j++)
        scale[j] = block_fit_scale(x + 16 * j, 16, -32, 31, peaks, sizeof peaks / sizeof *peaks);
    extreme = block_extreme(scale, 16);
    q->d = block_f32_to_f16(extreme / -128);
    float inverse = block_inverse(block_f16_to_f32(q->d));
    for (int j = 0; j < 16; j++) {
        float s = block_clamp(scale[j] * inverse, -128, 127);
        q->scale[j] = (int)(s < 0 ? s - 0.5f : s + 0.5f);
        refine_q6_k(x + 16 * j, q, j);
    }
    for (int i = 0; i < 256; i++) {
        double a = (double)q->v[i] * q->scale[i / 16];
        aa += a * a;
        xa += a * (double)x[i];
    }
    if (aa > 0)
        q->d = block_f32_to_f16((float)(xa / aa));
}

void block_encode_q6_k(const float *in, void *blocks, size_t n)
{
    uint8_t *b = blocks;
    for (const float *end = in + n; in < end; in += 256, b += 210) {
        struct q6_k q = {0};
        fit_q6_k(in, &q);
        memset(b, 0, 192);
        for (int j = 0; j < 16; j++) {
            float v[16];
            try_q6_k(in + 16 * j, block_f16_to_f32(q.d) * (float)q.scale[j], v);
            for (int i = 16 * j; i < 16 * j + 16; i++) {
                int half = i / 128, k = i % 128 / 32, l = i % 32, code = (int)v[i % 16] + 32;
                b[64 * half + 32 * (k % 2) + l] |= (uint8_t)((code & 15) << 4 * (k / 2));
                b[128 + 32 * half + l] |= (uint8_t)(code >> 4 << 2 * k);
            }
            b[192 + j] = (uint8_t)(int8_t)q.scale[j];
        }
        block_store16(b + 208, q.d);
    }
}
