/* block_fit: the arithmetic that the encoders share. n is a multiple of 8, at most 32. Inputs that
 * are not finite give codes without meaning, never undefined behaviour. */
#pragma once

/* NaN gives low. */
static inline float block_clamp(float v, float low, float high)
{
    v = v > low ? v : low;
    return v < high ? v : high;
}

/* 1 / d, or 0 where that would overflow: such values are all encoded as 0. */
static inline float block_inverse(float d)
{
    return d > 0x1p-126f || d < -0x1p-126f ? 1 / d : 0;
}

/* The value of largest magnitude with its sign; 0 for all zeros. */
float block_extreme(const float *x, int n);
float block_dot(const float *a, const float *b, int n);
/* out = (x - base) * inverse to the nearest integer, clamped to [low, high]. */
void block_snap(const float *x, int n, float inverse, float base, float low, float high,
                float *out);
/* The scale s that makes s * (integers in [low, high]) fit x best, of those that scale the largest
 * value to one of peaks. */
float block_fit_scale(const float *x, int n, float low, float high, const float *peaks,
                      int n_peaks);
/* x ~ scale * code + base with codes 0 to top, least squares; base at most base_max. */
struct block_line {
    float scale, base;
};
struct block_line block_fit_line(const float *x, int n, float top, float base_max);
