/* synth_fill: random numbers straight as blocks, many times faster than drawing floats and encoding
 * them. */
#pragma once
#include <stddef.h>

#include "base/rng.h"
#include "gguf/block.h"

/* n elements (a multiple of the type's block) of type at out, with mean near 0 and this standard
 * deviation: codes are uniform, scales vary by a quarter around what that takes. */
void synth_fill(enum block_type type, float deviation, struct rng *r, void *out, size_t n);
/* n floats, uniform in [low, high). */
void synth_fill_range(float low, float high, struct rng *r, float *out, size_t n);
