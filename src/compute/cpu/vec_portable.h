/* vec: 16 lanes in plain C, the meaning of every word that kernels.inc.h uses. The compiler makes
 * of it what the target's baseline has. */
#pragma once
#include <math.h>
#include <string.h>

#include "compute/cpu/kernels.h"

/* Left to the compiler: forced into every kernel this is more code than it is worth. */
#define INLINE static inline
#define UNROLL
#define LANES(i) for (int i = 0; i < ROWS; i++)

/* One quad: 4 codes of each of the 16 rows. */
typedef struct {
    uint8_t b[64];
} vc;
typedef struct {
    int32_t v[ROWS];
} vi;
typedef struct {
    float v[ROWS];
} vf;

/* Activation rows that mul works on at once. */
enum { VEC_ROWS = 1 };

INLINE vc vc_load(const uint8_t *p)
{
    vc c;
    memcpy(c.b, p, sizeof c.b);
    return c;
}
INLINE vc vc_or(vc a, vc b)
{
    for (int i = 0; i < 64; i++)
        a.b[i] |= b.b[i];
    return a;
}
/* Every byte shifted right (left when negative), then masked. Bits of the byte beside it may come
 * in above the mask only. */
INLINE vc vc_take(vc v, int right, uint8_t mask)
{
    for (int i = 0; i < 64; i++)
        v.b[i] = (uint8_t)((right < 0 ? v.b[i] << -right : v.b[i] >> right) & mask);
    return v;
}
/* Signed codes of the full byte range in the form that vi_dot_full wants. */
INLINE vc vc_full(vc v)
{
    return v;
}
/* A table of 16 signed values for vc_lookup, in vc_full's form. */
INLINE vc vc_table(const int8_t *t)
{
    vc c;
    for (int i = 0; i < 64; i++)
        c.b[i] = (uint8_t)t[i % 16];
    return c;
}
/* table[v]; every byte of v < 16 */
INLINE vc vc_lookup(vc table, vc v)
{
    for (int i = 0; i < 64; i++)
        v.b[i] = table.b[v.b[i]];
    return v;
}

/* start + the sum of c[j] q[4j ..] over n_quads quads, per lane; unsigned codes < 64. */
INLINE vi vi_dot_small(const vc *c, int n_quads, const int8_t *q, vi start)
{
    for (int j = 0; j < n_quads; j++)
        LANES(i)
    for (int k = 0; k < 4; k++)
        start.v[i] += c[j].b[4 * i + k] * q[4 * j + k];
    return start;
}
/* The sum over 8 quads of signed codes in vc_full's form. */
INLINE vi vi_dot_full(const vc *c, const struct act_block *a)
{
    vi sum = {{0}};
    for (int j = 0; j < 8; j++)
        LANES(i)
    for (int k = 0; k < 4; k++)
        sum.v[i] += (int8_t)c[j].b[4 * i + k] * a->q[4 * j + k];
    return sum;
}

#define LANEWISE(type, expression)                                                                 \
    type out;                                                                                      \
    LANES(i) out.v[i] = (expression);                                                              \
    return out

INLINE vi vi_set1(int32_t x)
{
    LANEWISE(vi, x);
}
INLINE vi vi_add(vi a, vi b)
{
    LANEWISE(vi, a.v[i] + b.v[i]);
}
INLINE vi vi_bytes(const uint8_t *p)
{
    LANEWISE(vi, p[i]);
}
INLINE vi vi_signed_bytes(const uint8_t *p)
{
    LANEWISE(vi, (int8_t)p[i]);
}
INLINE void vi_store_bytes(int8_t *p, vi v)
{
    LANES(i) p[i] = (int8_t)v.v[i];
}
/* (v >> right) & mask, unsigned */
INLINE vi vi_take(vi v, unsigned right, int32_t mask)
{
    LANEWISE(vi, (int32_t)((uint32_t)v.v[i] >> right) & mask);
}
INLINE int32_t vi_sum(vi v)
{
    int32_t s = 0;
    LANES(i) s += v.v[i];
    return s;
}

INLINE vf vf_load(const float *p)
{
    LANEWISE(vf, p[i]);
}
INLINE void vf_store(float *p, vf v)
{
    LANES(i) p[i] = v.v[i];
}
INLINE vf vf_set1(float x)
{
    LANEWISE(vf, x);
}
INLINE vf vf_add(vf a, vf b)
{
    LANEWISE(vf, a.v[i] + b.v[i]);
}
INLINE vf vf_mul(vf a, vf b)
{
    LANEWISE(vf, a.v[i] * b.v[i]);
}
INLINE vf vf_div(vf a, vf b)
{
    LANEWISE(vf, a.v[i] / b.v[i]);
}
/* a b + c */
INLINE vf vf_fma(vf a, vf b, vf c)
{
    LANEWISE(vf, a.v[i] * b.v[i] + c.v[i]);
}
/* The second operand when one is NaN, as on x86; so does vf_min. */
INLINE vf vf_max(vf a, vf b)
{
    LANEWISE(vf, a.v[i] > b.v[i] ? a.v[i] : b.v[i]);
}
INLINE vf vf_min(vf a, vf b)
{
    LANEWISE(vf, a.v[i] < b.v[i] ? a.v[i] : b.v[i]);
}
INLINE vf vf_abs(vf a)
{
    LANEWISE(vf, fabsf(a.v[i]));
}
INLINE vf vf_of_vi(vi v)
{
    LANEWISE(vf, (float)v.v[i]);
}
/* To the nearest integer, halves to even; what does not fit becomes INT32_MIN, as on x86. */
INLINE vi vi_round(vf v)
{
    LANEWISE(vi, fabsf(v.v[i]) < 0x1p31f ? (int32_t)lrintf(v.v[i]) : INT32_MIN);
}
INLINE uint16_t u16_at(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return h;
}
/* 16 IEEE halves, 16 bfloat16s, 16 MXFP4 scales 2^(e - 128). Scales e < 2, which are below 2^-126,
 * become zero: not even 12 times of them can be seen beside anything. */
INLINE vf vf_halves(const uint8_t *p)
{
    LANEWISE(vf, block_f16_to_f32(u16_at(p + 2 * i)));
}
INLINE vf vf_bf16s(const uint8_t *p)
{
    LANEWISE(vf, block_bf16_to_f32(u16_at(p + 2 * i)));
}
INLINE vf vf_exponents(const uint8_t *p)
{
    LANEWISE(vf, p[i] < 2 ? 0 : block_e8m0_half(p[i]));
}
INLINE float vf_sum(vf v)
{
    float s = 0;
    LANES(i) s += v.v[i];
    return s;
}
INLINE float vf_top(vf v)
{
    float m = v.v[0];
    LANES(i) m = m > v.v[i] ? m : v.v[i];
    return m;
}
/* v 2^n for whole n */
INLINE vf vf_exp2_scale(vf v, vf n)
{
    LANEWISE(vf, ldexpf(v.v[i], n.v[i] > -300 ? (int)(n.v[i] < 300 ? n.v[i] : 300) : -300));
}
INLINE vf vf_nearest(vf v)
{
    LANEWISE(vf, rintf(v.v[i]));
}
/* x[i][j] becomes x[j][i]. */
INLINE void vf_turn(vf x[ROWS])
{
    for (int j = 0; j < ROWS; j++) {
        LANES(i)
        {
            if (i >= j)
                continue;
            const float t = x[j].v[i];
            x[j].v[i] = x[i].v[j];
            x[i].v[j] = t;
        }
    }
}
