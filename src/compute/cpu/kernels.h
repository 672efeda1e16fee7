/* kernels: the inner loops of the cpu backend, one table per instruction set. All tables come from
 * one template (kernels.inc.h) over one of the vec_*.h headers.
 *
 * Every output value is made by the same operations in the same order whatever the number of rows
 * beside it, so that batching, caching and threads never change a bit: exact integer dot products
 * per block of 32, then one float multiply-add per block in rising column order. */
#pragma once
#include <stdint.h>

#include "compute/layout.h"
#include "model/plan.h"

/* 32 activations in 8 bits: x = d q. */
struct act_block {
    int8_t q[BLOCK_COLS];
    float d;      /* max|x| / 127; NaN when an x is not finite */
    float sum;    /* d times the sum of q: meets the minimum of a weight block */
    int32_t n;    /* -128 times the sum of q: takes back the offset of unsigned codes */
    int32_t n_lo; /* the same over the first 16 */
};

/* n_rows activation rows that meet a group of weights. Integer layouts read q: block b of row r is
 * q[b * n_rows + r]; float layouts read f: row r starts at f + r * f_stride. */
struct act_tile {
    const struct act_block *q;
    const float *f;
    size_t f_stride;
    uint32_t n_rows; /* 1 .. TILE_ROWS */
};

enum {
    TILE_ROWS = 16,         /* activation rows that share one unpacking of a weight block */
    KEY_TILE = 16,          /* positions that lie in SIMD lanes */
    KEY_BLOCK = 64,         /* positions per step of the online softmax */
    QUERY_TILE = 64,        /* most queries (tokens x heads) that share one reading of the keys */
    FEW_QUERIES = 16,       /* the same in a batch of few rows */
    N_KV_TYPES = 4,         /* F32, F16, Q8_0, Q4_0 */
    DELTA_CHUNK = KEY_TILE, /* positions between two borders of a gated delta net, see delta.c */
};

/* State of the online softmax of one query: running maximum and sum of exponentials. */
struct softmax {
    float max, sum;
};

/* Rows [first, first + n) of a chunk, in one value head of a gated delta net. All rows of floats
 * have n_lanes = d_v, padded to 16 with zeros. */
struct delta_rows {
    uint32_t d_k, n_lanes;
    uint32_t first, n;   /* first + n <= DELTA_CHUNK */
    const float *kq;     /* [2 n][d_k]: the rows' keys, then their queries */
    const float *dots;   /* [2 n][KEY_BLOCK]: of these with the keys of the chunk */
    const float *v;      /* [n][n_lanes] */
    const float *beta;   /* [n] */
    const float *decays; /* [DELTA_CHUNK] logarithm of the decay since the border; n more are new */
    const float (*keys)[KEY_TILE]; /* [d_k] of the chunk, those of the rows included */
    float *memory;                 /* [d_k][n_lanes] at the border */
    float *news;                   /* [DELTA_CHUNK][n_lanes]: n rows are added */
    float *out;                    /* [2 n][n_lanes]: scratch, then the outputs */
};

struct cpu_kernels {
    const char *name;
    /* out[r][lane] = row `lane` of the group times activation row r; n_cols columns. */
    void (*mul[LAYOUT_COUNT])(const uint8_t *group, uint32_t n_cols, const struct act_tile *a,
                              float (*out)[ROWS]);
    /* Quantises n_cols (a multiple of 32) floats; block b goes to out[b * stride]. */
    void (*quantise)(const float *x, uint32_t n_cols, struct act_block *out, size_t stride);
    /* out = x / sqrt(mean(x^2) + eps) * w; w NULL: ones. out may be x. */
    void (*rms)(const float *x, const float *w, float eps, uint32_t n, float *out);
    /* out = act(g, u); out may be g or u. */
    void (*activate)(enum activation act, const float *g, const float *u, uint32_t n, float *out);
    /* y += w x */
    void (*add_scaled)(float w, const float *x, uint32_t n, float *y);
    /* x *= sigmoid(g) */
    void (*gate)(const float *g, uint32_t n, float *x);
    /* 16 positions of a key (value) cache as floats: k[element][16], v[16][n padded to 16]. From
     * position n_valid on (values only) zeros. */
    void (*load_keys[N_KV_TYPES])(const uint8_t *tile, uint32_t n, float (*k)[KEY_TILE]);
    void (*load_values[N_KV_TYPES])(const uint8_t *rows, size_t row_bytes, uint32_t n,
                                    uint32_t n_valid, float *v);
    /* The same from loaded keys: v[lane][i] = k[i][lane], i < n, a multiple of 16. */
    void (*turn_keys)(const float (*k)[KEY_TILE], uint32_t n, uint32_t n_valid, float *v);
    /* s[r * KEY_BLOCK + lane] = scale * q_r . k_lane, for n_q <= QUERY_TILE queries of n elements.
     */
    void (*score)(const float *q, uint32_t n_q, uint32_t n, const float (*k)[KEY_TILE], float scale,
                  float *s);
    /* One step of the online softmax over s[0 .. KEY_BLOCK), in place: s becomes the weights.
     * Masked scores are -INFINITY. Returns the factor for what was summed before. */
    float (*soften)(struct softmax *m, float *s);
    /* acc_r = acc_r * factor[r] + sum over 16 keys of p[r * KEY_BLOCK + key] v[key], keys rising;
     * rows of n elements, n a multiple of 16. */
    void (*weigh)(const float *p, uint32_t n_q, const float *v, uint32_t n, const float *factor,
                  float *acc);
    /* Rotates n_head heads of n elements (stride apart) in place by cos/sin[n_rot / 2]. */
    void (*rotate)(float *x, uint32_t n_head, size_t stride, const struct rope *rope,
                   const float *cosines, const float *sines);
    /* out[r][i] = silu(sum over t < n_taps of taps[t][i] in[r + t][i]) for n channels; the strides
     * are of taps and of out. */
    void (*convolve)(const float *taps, size_t tap_stride, uint32_t n_taps, const float *const *in,
                     uint32_t n_rows, uint32_t n, float *out, size_t stride);
    /* x times scale / sqrt(sum of squares + 1e-6) */
    void (*normalise)(float *x, uint32_t n, float scale);
    /* The delta rule; moves the chunk into the memory when its last row is there. */
    void (*delta)(const struct delta_rows *d);
    float (*dot)(const float *a, const float *b, uint32_t n);
};

extern const struct cpu_kernels cpu_kernels_portable;
#if defined(__x86_64__)
extern const struct cpu_kernels cpu_kernels_avx2;   /* AVX2, FMA, F16C */
extern const struct cpu_kernels cpu_kernels_avx512; /* AVX-512 F BW VL DQ VNNI */
#endif

enum cpu_isa { CPU_PORTABLE, CPU_AVX2, CPU_AVX512 };
/* The best table of at most the given instruction set that this machine can run. */
const struct cpu_kernels *cpu_kernels_for(enum cpu_isa limit);
