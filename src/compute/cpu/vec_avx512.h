/* vec, AVX-512 F BW VL DQ with VNNI: 16 lanes in one register. The vocabulary that kernels.inc.h is
 * written in; vec_portable.h says what each word means. Codes meet vpdpbusd as unsigned bytes, so
 * signed ones are kept with 128 added, which the activation's n takes back. */
#pragma once
#include <immintrin.h>

#include "compute/cpu/kernels.h"

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

typedef __m512i vc;
typedef __m512i vi;
typedef __m512 vf;

enum { VEC_ROWS = 16 }; /* activation rows whose sums fit the registers */

INLINE vc vc_load(const uint8_t *p)
{
    return _mm512_loadu_si512(p);
}
INLINE vc vc_or(vc a, vc b)
{
    return _mm512_or_si512(a, b);
}
INLINE vc vc_take(vc v, int right, uint8_t mask)
{
    v = right < 0 ? _mm512_slli_epi16(v, (unsigned)-right) : _mm512_srli_epi16(v, (unsigned)right);
    return _mm512_and_si512(v, _mm512_set1_epi8((char)mask));
}
INLINE vc vc_full(vc v)
{
    return _mm512_xor_si512(v, _mm512_set1_epi8((char)0x80));
}
INLINE vc vc_table(const int8_t *t)
{
    return vc_full(_mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)t)));
}
INLINE vc vc_lookup(vc table, vc v)
{
    return _mm512_shuffle_epi8(table, v);
}

INLINE vi four_codes(const int8_t *q)
{
    int32_t four;
    __builtin_memcpy(&four, q, sizeof four);
    return _mm512_set1_epi32(four);
}
INLINE vi vi_dot_small(const vc *c, int n_quads, const int8_t *q, vi start)
{
    UNROLL for (int j = 0; j < n_quads; j++) start =
        _mm512_dpbusd_epi32(start, c[j], four_codes(q + 4 * j));
    return start;
}
INLINE vi vi_dot_full(const vc *c, const struct act_block *a)
{
    return vi_dot_small(c, 8, a->q, _mm512_set1_epi32(a->n));
}

INLINE vi vi_set1(int32_t v)
{
    return _mm512_set1_epi32(v);
}
INLINE vi vi_add(vi a, vi b)
{
    return _mm512_add_epi32(a, b);
}
INLINE vi vi_bytes(const uint8_t *p)
{
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
}
INLINE vi vi_signed_bytes(const uint8_t *p)
{
    return _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
}
INLINE void vi_store_bytes(int8_t *p, vi v)
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtepi32_epi8(v));
}
INLINE vi vi_take(vi v, unsigned right, int32_t mask)
{
    return _mm512_and_si512(_mm512_srli_epi32(v, right), _mm512_set1_epi32(mask));
}
INLINE int32_t vi_sum(vi v)
{
    return _mm512_reduce_add_epi32(v);
}

INLINE vf vf_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
INLINE void vf_store(float *p, vf v)
{
    _mm512_storeu_ps(p, v);
}
INLINE vf vf_set1(float x)
{
    return _mm512_set1_ps(x);
}
INLINE vf vf_add(vf a, vf b)
{
    return _mm512_add_ps(a, b);
}
INLINE vf vf_mul(vf a, vf b)
{
    return _mm512_mul_ps(a, b);
}
INLINE vf vf_div(vf a, vf b)
{
    return _mm512_div_ps(a, b);
}
INLINE vf vf_fma(vf a, vf b, vf c)
{
    return _mm512_fmadd_ps(a, b, c);
}
INLINE vf vf_max(vf a, vf b)
{
    return _mm512_max_ps(a, b);
}
INLINE vf vf_min(vf a, vf b)
{
    return _mm512_min_ps(a, b);
}
INLINE vf vf_abs(vf a)
{
    return _mm512_abs_ps(a);
}
INLINE vf vf_of_vi(vi v)
{
    return _mm512_cvtepi32_ps(v);
}
INLINE vi vi_round(vf v)
{
    return _mm512_cvtps_epi32(v);
}
INLINE vf vf_halves(const uint8_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
INLINE vf vf_bf16s(const uint8_t *p)
{
    vi v = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(v, 16));
}
INLINE vf vf_exponents(const uint8_t *p)
{
    vi e = _mm512_max_epi32(_mm512_sub_epi32(vi_bytes(p), vi_set1(1)), vi_set1(0));
    return _mm512_castsi512_ps(_mm512_slli_epi32(e, 23));
}
INLINE float vf_sum(vf v)
{
    return _mm512_reduce_add_ps(v);
}
INLINE float vf_top(vf v)
{
    return _mm512_reduce_max_ps(v);
}
INLINE vf vf_exp2_scale(vf v, vf n)
{
    return _mm512_scalef_ps(v, n);
}
INLINE vf vf_nearest(vf v)
{
    return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* Pairs of rows, then fours: t[4g + c] has column 4l + c of rows 4g .. 4g + 3 in its quarter l.
 * Then the quarters change places. */
INLINE void vf_turn(vf x[ROWS])
{
    vf t[ROWS];
    UNROLL for (int g = 0; g < ROWS; g += 4)
    {
        __m512d lo = _mm512_castps_pd(_mm512_unpacklo_ps(x[g], x[g + 1]));
        __m512d hi = _mm512_castps_pd(_mm512_unpackhi_ps(x[g], x[g + 1]));
        __m512d next_lo = _mm512_castps_pd(_mm512_unpacklo_ps(x[g + 2], x[g + 3]));
        __m512d next_hi = _mm512_castps_pd(_mm512_unpackhi_ps(x[g + 2], x[g + 3]));
        t[g] = _mm512_castpd_ps(_mm512_unpacklo_pd(lo, next_lo));
        t[g + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(lo, next_lo));
        t[g + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(hi, next_hi));
        t[g + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(hi, next_hi));
    }
    UNROLL for (int c = 0; c < 4; c++)
    {
        vf even = _mm512_shuffle_f32x4(t[c], t[4 + c], 0x88); /* quarters 0, 2 of both */
        vf odd = _mm512_shuffle_f32x4(t[c], t[4 + c], 0xdd);
        vf next_even = _mm512_shuffle_f32x4(t[8 + c], t[12 + c], 0x88);
        vf next_odd = _mm512_shuffle_f32x4(t[8 + c], t[12 + c], 0xdd);
        x[c] = _mm512_shuffle_f32x4(even, next_even, 0x88);
        x[4 + c] = _mm512_shuffle_f32x4(odd, next_odd, 0x88);
        x[8 + c] = _mm512_shuffle_f32x4(even, next_even, 0xdd);
        x[12 + c] = _mm512_shuffle_f32x4(odd, next_odd, 0xdd);
    }
}
