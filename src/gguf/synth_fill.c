#include "gguf/synth_fill.h"

#include <math.h>
#include <string.h>

#include "gguf/block_int.h"

enum { N_SCALES = 16 };

/* Scales of 0.75 to 1.25 times d, as halves. */
static void spread(float d, uint16_t halves[N_SCALES])
{
    for (int i = 0; i < N_SCALES; i++)
        halves[i] = block_f32_to_f16(d * (0.75f + (float)i / (2 * (N_SCALES - 1))));
}

static void random_bytes(struct rng *r, uint8_t *out, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t bits = rng_u64(r);
        memcpy(out + i, &bits, 8);
    }
    uint64_t bits = rng_u64(r);
    memcpy(out + i, &bits, n - i);
}

/* What makes random bytes a sane block of a type. */
struct layout {
    enum block_type type;
    float deviation; /* of a block's values with d = 1 */
    int d_at;        /* where the half d is */
    int min_at;      /* where the half dmin or m is; -1: none */
    float min;       /* it is this times d, so that the mean becomes 0 */
};

/* Uniform codes 0 to c deviate by sqrt((c + 1)^2 / 12 - 1 / 12); with sub-block scales, times the
 * root mean square of what fix_scales leaves in them. */
static const struct layout layouts[] = {
    {BLOCK_Q4_0, 4.61f, 0, -1, 0},
    {BLOCK_Q4_1, 4.61f, 0, 2, -7.5f},
    {BLOCK_Q5_0, 9.23f, 0, -1, 0},
    {BLOCK_Q5_1, 9.23f, 0, 2, -15.5f},
    {BLOCK_Q8_0, 73.9f, 0, -1, 0},
    {BLOCK_IQ4_NL, 67.2f, 0, -1, 0},
    {BLOCK_IQ4_XS, 67.2f * 23.95f, 0, -1, 0},
    {BLOCK_Q2_K, 1.118f * 11.73f, 80, 82, 1.5f},
    {BLOCK_Q3_K, 2.29f * 23.95f, 108, -1, 0},
    {BLOCK_Q4_K, 4.61f * 48.4f, 0, 2, 7.5f},
    {BLOCK_Q5_K, 9.23f * 48.4f, 0, 2, 15.5f},
    {BLOCK_Q6_K, 18.5f * 23.95f, 208, -1, 0},
};

/* Random sub-block scales would be negative or 0 at times and minima would not fit them: sets the
 * bits that decide. */
static void fix_scales(enum block_type type, uint8_t *b)
{
    switch (type) {
    case BLOCK_IQ4_XS: /* 6 bits less 32: 16 to 31 */ memset(b + 2, 0xff, 2); break;
    case BLOCK_Q3_K: /* 6 bits less 32: 16 to 31 */ memset(b + 96 + 8, 0xff, 4); break;
    case BLOCK_Q6_K: /* 16 to 31 */
        for (int i = 192; i < 208; i++)
            b[i] = (b[i] & 15) | 16;
        break;
    case BLOCK_Q2_K: /* scale and minimum both 8 to 15 */
        for (int i = 0; i < 16; i++)
            b[i] = (uint8_t)(((b[i] & 7) | 8) * 0x11);
        break;
    case BLOCK_Q4_K:
    case BLOCK_Q5_K: { /* one number of 32 to 63 for all scales and minima of the super-block */
        uint8_t s = (b[4] & 31) | 32;
        memset(b + 4, s | s >> 4 << 6, 8);
        memset(b + 12, (s & 15) * 0x11, 4);
        break;
    }
    default: break;
    }
}

static void fill_blocks(const struct layout *l, float deviation, uint8_t *b, size_t n_blocks)
{
    uint16_t d[N_SCALES], min[N_SCALES];
    size_t size = block_info((uint32_t)l->type)->n_bytes;
    spread(deviation / l->deviation, d);
    spread(deviation / l->deviation * l->min, min);
    for (; n_blocks; n_blocks--, b += size) {
        int pick = b[l->d_at] % N_SCALES;
        fix_scales(l->type, b);
        block_store16(b + l->d_at, d[pick]);
        if (l->min_at >= 0)
            block_store16(b + l->min_at, min[pick]);
    }
}

/* The rms of the doubled E2M1 values is 5.85; exponents are the nearest and the one below. */
static void fill_mxfp4(float deviation, uint8_t *b, size_t n_blocks)
{
    int e = 128 + (int)lrintf(log2f(deviation / 5.85f) + 0.34f);
    for (; n_blocks; n_blocks--, b += 17)
        b[0] = (uint8_t)(e - b[0] % 2);
}

void synth_fill_range(float low, float high, struct rng *r, float *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = rng_f32(r, low, high);
}

/* Uniform numbers of deviation s lie in +-s * sqrt(3). */
static void fill_floats(enum block_type type, float deviation, struct rng *r, void *out, size_t n)
{
    float reach = deviation * 1.7320508f, x[256];
    size_t size = block_info((uint32_t)type)->n_bytes;
    for (size_t i = 0; i < n; i += 256) {
        size_t n_step = n - i < 256 ? n - i : 256;
        synth_fill_range(-reach, reach, r, x, n_step);
        block_info((uint32_t)type)->encode(x, (uint8_t *)out + i * size, n_step);
    }
}

void synth_fill(enum block_type type, float deviation, struct rng *r, void *out, size_t n)
{
    const struct block_info *info = block_info((uint32_t)type);
    size_t n_blocks = n / info->n_elems;
    if (info->n_elems == 1) {
        fill_floats(type, deviation, r, out, n);
        return;
    }
    random_bytes(r, out, n_blocks * info->n_bytes);
    if (type == BLOCK_MXFP4)
        fill_mxfp4(deviation, out, n_blocks);
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        if (layouts[i].type == type)
            fill_blocks(&layouts[i], deviation, out, n_blocks);
}
