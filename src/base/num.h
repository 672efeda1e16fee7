/* num: arithmetic on numbers from outside. Each returns false, with *out unspecified, on overflow.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool num_add(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

static inline bool num_mul(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

/* n rounded up to a multiple of align, a power of two. */
static inline bool num_align(uint64_t n, uint64_t align, uint64_t *out)
{
    if (!num_add(n, align - 1, out))
        return false;
    *out &= ~(align - 1);
    return true;
}

static inline size_t num_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t num_max(size_t a, size_t b)
{
    return a > b ? a : b;
}
