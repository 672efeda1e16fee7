/* vec, AVX2 with FMA and F16C: 16 lanes in two registers. vec_portable.h says what each word means.
 * vpmaddubsw adds pairs of products in 16 bits without overflow for codes up to 129 (2 * 129 * 127
 * < 2^15); signed codes meet it as |code| and the activation with the code's sign. */
#pragma once
#include <immintrin.h>

#include "compute/cpu/kernels.h"

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

typedef struct {
    __m256i lo, hi;
} vc;
typedef struct {
    __m256i lo, hi;
} vi;
typedef struct {
    __m256 lo, hi;
} vf;

enum { VEC_ROWS = 4 };

INLINE __m256i load256(const void *p)
{
    return _mm256_loadu_si256(p);
}
INLINE vc vc_load(const uint8_t *p)
{
    return (vc){load256(p), load256(p + 32)};
}
INLINE vc vc_or(vc a, vc b)
{
    return (vc){_mm256_or_si256(a.lo, b.lo), _mm256_or_si256(a.hi, b.hi)};
}
INLINE __m256i take256(__m256i v, int right, uint8_t mask)
{
    v = right < 0 ? _mm256_slli_epi16(v, -right) : _mm256_srli_epi16(v, right);
    return _mm256_and_si256(v, _mm256_set1_epi8((char)mask));
}
INLINE vc vc_take(vc v, int right, uint8_t mask)
{
    return (vc){take256(v.lo, right, mask), take256(v.hi, right, mask)};
}
INLINE vc vc_full(vc v)
{
    return v;
}
INLINE vc vc_table(const int8_t *t)
{
    __m256i v = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)t));
    return (vc){v, v};
}
INLINE vc vc_lookup(vc table, vc v)
{
    return (vc){_mm256_shuffle_epi8(table.lo, v.lo), _mm256_shuffle_epi8(table.hi, v.hi)};
}

INLINE __m256i four_codes(const int8_t *q)
{
    int32_t four;
    __builtin_memcpy(&four, q, sizeof four);
    return _mm256_set1_epi32(four);
}
INLINE __m256i dot256(__m256i sum, __m256i u, __m256i s)
{
    __m256i pairs = _mm256_maddubs_epi16(u, s);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
INLINE vi vi_dot_small(const vc *c, int n_quads, const int8_t *q, vi start)
{
    UNROLL for (int j = 0; j < n_quads; j++)
    {
        __m256i a = four_codes(q + 4 * j);
        start.lo = dot256(start.lo, c[j].lo, a);
        start.hi = dot256(start.hi, c[j].hi, a);
    }
    return start;
}
INLINE vi vi_dot_full(const vc *c, const struct act_block *a)
{
    vi sum = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    UNROLL for (int j = 0; j < 8; j++)
    {
        __m256i q = four_codes(a->q + 4 * j);
        sum.lo = dot256(sum.lo, _mm256_abs_epi8(c[j].lo), _mm256_sign_epi8(q, c[j].lo));
        sum.hi = dot256(sum.hi, _mm256_abs_epi8(c[j].hi), _mm256_sign_epi8(q, c[j].hi));
    }
    return sum;
}

INLINE vi vi_set1(int32_t v)
{
    return (vi){_mm256_set1_epi32(v), _mm256_set1_epi32(v)};
}
INLINE vi vi_add(vi a, vi b)
{
    return (vi){_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)};
}
INLINE __m128i load64(const void *p)
{
    return _mm_loadl_epi64(p);
}
INLINE vi vi_bytes(const uint8_t *p)
{
    return (vi){_mm256_cvtepu8_epi32(load64(p)), _mm256_cvtepu8_epi32(load64(p + 8))};
}
INLINE vi vi_signed_bytes(const uint8_t *p)
{
    return (vi){_mm256_cvtepi8_epi32(load64(p)), _mm256_cvtepi8_epi32(load64(p + 8))};
}
INLINE void vi_store_bytes(int8_t *p, vi v)
{
    __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(v.lo, v.hi), 0xd8);
    __m128i bytes =
        _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128((__m128i *)(void *)p, bytes);
}
INLINE __m256i take_int256(__m256i v, unsigned right, int32_t mask)
{
    return _mm256_and_si256(_mm256_srli_epi32(v, (int)right), _mm256_set1_epi32(mask));
}
INLINE vi vi_take(vi v, unsigned right, int32_t mask)
{
    return (vi){take_int256(v.lo, right, mask), take_int256(v.hi, right, mask)};
}
INLINE int32_t vi_sum(vi v)
{
    __m256i s = _mm256_add_epi32(v.lo, v.hi);
    __m128i t = _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
    t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0x4e));
    t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0xb1));
    return _mm_cvtsi128_si32(t);
}

INLINE vf vf_load(const float *p)
{
    return (vf){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
INLINE void vf_store(float *p, vf v)
{
    _mm256_storeu_ps(p, v.lo);
    _mm256_storeu_ps(p + 8, v.hi);
}
INLINE vf vf_set1(float x)
{
    return (vf){_mm256_set1_ps(x), _mm256_set1_ps(x)};
}
INLINE vf vf_add(vf a, vf b)
{
    return (vf){_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}
INLINE vf vf_mul(vf a, vf b)
{
    return (vf){_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}
INLINE vf vf_div(vf a, vf b)
{
    return (vf){_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}
INLINE vf vf_fma(vf a, vf b, vf c)
{
    return (vf){_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
INLINE vf vf_max(vf a, vf b)
{
    return (vf){_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
}
INLINE vf vf_min(vf a, vf b)
{
    return (vf){_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)};
}
INLINE vf vf_abs(vf a)
{
    __m256 sign = _mm256_set1_ps(-0.0f);
    return (vf){_mm256_andnot_ps(sign, a.lo), _mm256_andnot_ps(sign, a.hi)};
}
INLINE vf vf_of_vi(vi v)
{
    return (vf){_mm256_cvtepi32_ps(v.lo), _mm256_cvtepi32_ps(v.hi)};
}
INLINE vi vi_round(vf v)
{
    return (vi){_mm256_cvtps_epi32(v.lo), _mm256_cvtps_epi32(v.hi)};
}
INLINE __m128i load128(const void *p)
{
    return _mm_loadu_si128(p);
}
INLINE vf vf_halves(const uint8_t *p)
{
    return (vf){_mm256_cvtph_ps(load128(p)), _mm256_cvtph_ps(load128(p + 16))};
}
INLINE __m256 bf16_256(const uint8_t *p)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load128(p)), 16));
}
INLINE vf vf_bf16s(const uint8_t *p)
{
    return (vf){bf16_256(p), bf16_256(p + 16)};
}
INLINE __m256 exponent256(__m256i e)
{
    e = _mm256_max_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), _mm256_setzero_si256());
    return _mm256_castsi256_ps(_mm256_slli_epi32(e, 23));
}
INLINE vf vf_exponents(const uint8_t *p)
{
    vi e = vi_bytes(p);
    return (vf){exponent256(e.lo), exponent256(e.hi)};
}
INLINE float vf_sum(vf v)
{
    __m256 s = _mm256_add_ps(v.lo, v.hi);
    __m128 t = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    t = _mm_add_ps(t, _mm_movehl_ps(t, t));
    return _mm_cvtss_f32(_mm_add_ss(t, _mm_movehdup_ps(t)));
}
INLINE float vf_top(vf v)
{
    __m256 s = _mm256_max_ps(v.lo, v.hi);
    __m128 t = _mm_max_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    t = _mm_max_ps(t, _mm_movehl_ps(t, t));
    return _mm_cvtss_f32(_mm_max_ss(t, _mm_movehdup_ps(t)));
}
/* v * 2^n in two steps, so that n from -252 to 254 neither overflows nor underflows early. */
INLINE __m256 scale256(__m256 v, __m256 n)
{
    __m256i whole = _mm256_cvtps_epi32(
        _mm256_max_ps(_mm256_min_ps(n, _mm256_set1_ps(254.0f)), _mm256_set1_ps(-252.0f)));
    __m256i half = _mm256_srai_epi32(whole, 1);
    __m256i bias = _mm256_set1_epi32(127);
    __m256i a = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
    __m256i b = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(whole, half), bias), 23);
    return _mm256_mul_ps(_mm256_mul_ps(v, _mm256_castsi256_ps(a)), _mm256_castsi256_ps(b));
}
INLINE vf vf_exp2_scale(vf v, vf n)
{
    return (vf){scale256(v.lo, n.lo), scale256(v.hi, n.hi)};
}
INLINE vf vf_nearest(vf v)
{
    return (vf){_mm256_round_ps(v.lo, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
                _mm256_round_ps(v.hi, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
/* Eight rows of eight: pairs, fours, then the halves change places. */
INLINE void turn256(__m256 x[8])
{
    __m256 t[8];
    UNROLL for (int g = 0; g < 8; g += 4)
    {
        __m256 lo = _mm256_unpacklo_ps(x[g], x[g + 1]), hi = _mm256_unpackhi_ps(x[g], x[g + 1]);
        __m256 next_lo = _mm256_unpacklo_ps(x[g + 2], x[g + 3]);
        __m256 next_hi = _mm256_unpackhi_ps(x[g + 2], x[g + 3]);
        t[g] = _mm256_shuffle_ps(lo, next_lo, 0x44);
        t[g + 1] = _mm256_shuffle_ps(lo, next_lo, 0xee);
        t[g + 2] = _mm256_shuffle_ps(hi, next_hi, 0x44);
        t[g + 3] = _mm256_shuffle_ps(hi, next_hi, 0xee);
    }
    UNROLL for (int c = 0; c < 4; c++)
    {
        x[c] = _mm256_permute2f128_ps(t[c], t[4 + c], 0x20);
        x[4 + c] = _mm256_permute2f128_ps(t[c], t[4 + c], 0x31);
    }
}
INLINE void vf_turn(vf x[ROWS])
{
    __m256 quarter[4][8]; /* upper left, lower left, upper right, lower right */
    UNROLL for (int i = 0; i < 8; i++)
    {
        quarter[0][i] = x[i].lo;
        quarter[1][i] = x[8 + i].lo;
        quarter[2][i] = x[i].hi;
        quarter[3][i] = x[8 + i].hi;
    }
    UNROLL for (int i = 0; i < 4; i++) turn256(quarter[i]);
    UNROLL for (int i = 0; i < 8; i++)
    {
        x[i] = (vf){quarter[0][i], quarter[1][i]};
        x[8 + i] = (vf){quarter[2][i], quarter[3][i]};
    }
}
