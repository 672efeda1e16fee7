/* rng: small seeded random numbers (splitmix64, Steele et al. 2014): reproducible on every machine.
 * Not for secrets. One thread per generator. */
#pragma once
#include <stdint.h>

struct rng {
    uint64_t state;
};

static inline uint64_t rng_u64(struct rng *r)
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Uniform in [0, 1), 53 bits. */
static inline double rng_f64(struct rng *r)
{
    return (double)(rng_u64(r) >> 11) * 0x1p-53;
}

/* Uniform in [0, n), n > 0; the bias is below n / 2^64. */
static inline uint64_t rng_below(struct rng *r, uint64_t n)
{
    return rng_u64(r) % n;
}

/* Uniform in [lo, hi). */
static inline float rng_f32(struct rng *r, float lo, float hi)
{
    return lo + (hi - lo) * (float)rng_f64(r);
}
