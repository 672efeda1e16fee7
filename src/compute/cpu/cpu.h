/* cpu: what the files of the cpu backend share. One struct cpu per exec; a forward pass is one
 * pool_run in which every thread walks the plan with a struct worker of its own, and the ops
 * are split into phases with a barrier after each. */
#pragma once
#include <stdatomic.h>

#include "base/pool.h"
#include "compute/cpu/kernels.h"
#include "compute/exec.h"
#include "compute/weights.h"

/* The key/value cache of one layer, in pages (exec_kv_rows). Per page and head: keys in tiles of 16
 * positions with the position in the lanes (load_keys reads them), values position after position.
 */
struct cache {
    uint8_t *keys, *values;
    size_t key_tile_bytes, value_bytes; /* of 16 keys, of one value */
    uint32_t n_tiles;                   /* per page and head */
    uint32_t n_heads;
    const struct pages *pages;
};
/* Index of the tile that holds position pos, over all pages and heads. */
static inline size_t cache_tile(const struct cache *c, uint32_t seq, uint32_t head, uint32_t pos)
{
    const size_t page = exec_kv_page(c->pages, seq, pos);
    return (page * c->n_heads + head) * c->n_tiles + pos / KEY_TILE % c->n_tiles;
}

/* Scratch of one thread. */
struct thread_scratch {
    float *row;             /* [max_cols] */
    struct act_block *tile; /* [TILE_ROWS][max_cols / 32] gathered activations */
    float *rows;            /* [TILE_ROWS][max_cols] gathered float activations */
    float *q;               /* [QUERY_TILE][max_head] */
    float (*k)[KEY_TILE];   /* [max_head] */
    float *v;               /* [KEY_TILE][max_head] */
    float *scores;          /* [QUERY_TILE][KEY_BLOCK] */
    float *acc, *total;     /* [QUERY_TILE][max_head] */
    float *delta;           /* [max_delta], see delta.c */
};

/* Sizes of scratch, over the whole plan. */
struct sizes {
    uint32_t max_cols;  /* widest input of a matrix, widest key row */
    uint32_t max_pairs; /* experts per row */
    uint32_t max_ff;    /* inner width of an expert */
    uint32_t max_experts;
    uint32_t max_latent_keys; /* elements of one row's heads in latent attention */
    uint32_t max_rot;         /* rotated elements of a head */
    uint32_t max_head;        /* widest head, padded to 16 */
    uint32_t n_spans;         /* of attention, in a full context */
    uint32_t max_delta;       /* floats that a gated delta net needs per thread */
};

struct cpu {
    const struct plan *plan;
    struct exec_params params;
    const struct cpu_kernels *kernels;
    int n_threads;
    struct pool *pool;
    struct weights weights;
    struct sizes sizes;
    uint32_t span;        /* positions that attention sums from zero, see attend.c */
    struct cache *caches; /* [plan.n_kv] */
    uint8_t *cache_bytes, *scratch_bytes;
    uint64_t n_cache_bytes, n_scratch_bytes;
    float *states;    /* [n_seqs][n_state_floats], see delta.c */
    size_t *state_at; /* [plan.n_states] where the layer's begins in it */
    size_t n_state_floats;

    /* Scratch. */
    float **slots;               /* [plan.n_slots][n_ubatch * width] */
    bool *is_fused;              /* [plan.n_slots] never filled */
    struct act_block *acts;      /* [n_ubatch][max_cols / 32] */
    float *normed;               /* [n_ubatch][max_cols] */
    struct act_block *pair_acts; /* [n_ubatch * max_pairs][max_ff / 32] */
    float *router;               /* [n_ubatch][max_experts] */
    float *cosines, *sines;      /* [n_ubatch][max_rot / 2] */
    uint32_t *pairs;             /* [n_ubatch * max_pairs] row * n_used + j, by expert */
    uint32_t *first_pair;        /* [max_experts + 1] into pairs */
    uint32_t *chosen;            /* [max_experts] experts that have rows, rising */
    uint32_t n_chosen;
    uint32_t *row_tiles; /* [n_ubatch + 1] first rows of query tiles, see attend.c */
    uint32_t n_row_tiles;
    float *latent_keys; /* [n_ubatch][max_latent_keys], see mla.c */
    float *partials;    /* of split attention, see attend.c */
    float *factors;     /* [n_ubatch] what a gated projection is multiplied with */
    struct thread_scratch *threads;

    /* The run. */
    const struct batch *batch;
    float *logits;
    uint32_t *wanted; /* [n_ubatch] rows whose logits are wanted */
    uint32_t n_wanted;
    /* Written by thread 0 before a barrier, read by all after it; op by op in turn, so that one can
     * be written while a slow thread still reads the other. */
    bool stop[2];
};

/* One thread's view of a run. What it remembers is the same in all threads. */
struct worker {
    struct cpu *cpu;
    const struct cpu_kernels *kernels;
    struct thread_scratch *scratch;
    int i_thread;
    uint32_t n_rows;
    int32_t acts_slot;  /* slot whose rows cpu.acts holds, or -1 */
    int32_t pairs_slot; /* slot of ids that cpu.pairs was sorted by, or -1 */
    int32_t pair_acts_slot;
    const struct rope *rope; /* that cosines and sines hold, or NULL */
};

/* ---- activations in tiles of 16 rows: tile after tile, in a tile block b of row r at b * rows +
 * r.
 */
static inline uint32_t tile_rows(uint32_t n_rows, uint32_t first)
{
    return n_rows - first < TILE_ROWS ? n_rows - first : TILE_ROWS;
}

/* Where row `row` of n_rows begins; its blocks are *stride apart. */
static inline struct act_block *act_row(struct act_block *acts, uint32_t n_blocks, uint32_t n_rows,
                                        uint32_t row, uint32_t *stride)
{
    uint32_t first = row / TILE_ROWS * TILE_ROWS;
    *stride = tile_rows(n_rows, first);
    return acts + (size_t)first * n_blocks + (row - first);
}

/* Units of work per item, so that the threads end together: with few rows an item is only bytes to
 * stream and can be small, with many it must be worth preparing its activations. */
static inline uint32_t chunk_of(const struct worker *w, uint32_t n_units, uint32_t most)
{
    uint32_t items_per_thread = w->n_rows < TILE_ROWS ? 32 : 8;
    uint32_t chunk = n_units / (items_per_thread * (uint32_t)w->cpu->n_threads);
    return chunk < 1 ? 1 : chunk > most ? most : chunk;
}

static inline const float *vector_of(const struct cpu *c, const struct weight *w)
{
    return w ? (const float *)(const void *)(c->weights.bytes + c->weights.vector_at[w->index])
             : NULL;
}

static inline const struct matrix *matrix_of(const struct cpu *c, const struct weight *w)
{
    return &c->weights.matrices[w->index];
}

/* ---- products, shared by dense.c and moe.c
 * -------------------------------------------------------- */

/* A phase that makes activations of rows rows[i] (NULL: i) of `in`: normalised when norm is given,
 * then quantised into cpu.acts when `ints`, and as floats into `floats` when that is not NULL.
 * Where there is a gate {n_gate}, cpu.factors becomes sigmoid(gate . gate_in) too. */
struct prepare {
    const float *in;
    uint32_t n_cols;
    const uint32_t *rows;
    uint32_t n_rows;
    const float *norm;
    float eps;
    bool ints;
    float *floats;
    const float *gate, *gate_in;
    uint32_t n_gate;
};
void cpu_prepare(struct worker *w, const struct prepare *p);

/* One matrix times rows. */
struct product {
    const struct matrix *m;
    const float *bias;
    float *out; /* [n_rows][stride] */
    size_t stride;
    bool add;             /* to what is in out */
    const float *factors; /* [n_rows] that rows are multiplied with before; NULL: 1 */
};

struct inputs {
    uint32_t n_rows;
    const struct act_block *acts; /* in tiles */
    const float *floats;          /* [n_rows][stride] */
    size_t stride;
};
/* A phase: all products, shared out by groups of rows. */
void cpu_multiply(struct worker *w, const struct product *p, uint32_t n, const struct inputs *in);
/* tile[r][i] += bias of the group's row i, r < n. bias: {n_rows, n_experts} or NULL. */
void cpu_add_bias(const struct matrix *m, const float *bias, uint32_t expert, uint32_t group,
                  uint32_t n, float (*tile)[ROWS]);

/* ---- the ops; each ends with all threads past its last write -----------------------------------
 */
void cpu_embed(struct worker *w, const struct op_embed *o);
void cpu_project(struct worker *w, const struct op_project *o);
void cpu_add_project(struct worker *w, const struct op_add_project *o);
void cpu_glu(struct worker *w, const struct op_glu *o);
void cpu_head(struct worker *w, const struct op_head *o);
void cpu_attend(struct worker *w, const struct op_attend *o);
void cpu_attend_mla(struct worker *w, const struct op_attend_mla *o);
void cpu_delta_net(struct worker *w, const struct op_delta_net *o);
void cpu_route(struct worker *w, const struct op_route *o);
/* down: the op that follows, when it alone reads this one's output; else NULL. */
void cpu_experts_up(struct worker *w, const struct op_experts_up *o,
                    const struct op_experts_down *down);
void cpu_experts_down(struct worker *w, const struct op_experts_down *o);

/* With fewer query tiles than this a long attention is split over spans. */
uint32_t attend_split_tiles(const struct cpu *c);
/* Floats of cpu.partials; needs sizes and n_threads. */
uint64_t attend_partial_floats(const struct cpu *c);

/* ---- recurrent states, delta.c ----------------------------------------------------------------
 */
/* Floats of all layers' states of one sequence; at: [plan.n_states] where each begins, or NULL. */
size_t delta_place_states(const struct plan *p, size_t *at);
size_t delta_scratch_floats(const struct op_delta_net *o);

/* What sequences keep, copied (state.c), as in struct backend. */
uint64_t cpu_state_bytes(const struct plan *p, const struct exec_params *params);
bool cpu_state_copy(void *state, uint32_t seq, uint32_t n_tokens, struct state_copy *copy,
                    struct err *e);
uint64_t cpu_rows_bytes(const struct plan *p, const struct exec_params *params, uint32_t n);
bool cpu_rows_copy(void *state, uint32_t seq, uint32_t first, uint32_t end, struct state_copy *copy,
                   struct err *e);
bool cpu_page_copy(void *state, const struct page_copy *copy, struct err *e);

/* The backend with a lower instruction set, for tests and measurements. */
extern const struct backend backend_cpu_portable;
extern const struct backend backend_cpu_avx2;
