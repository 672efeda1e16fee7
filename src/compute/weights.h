/* weights: where the weights of a plan lie in a backend's memory and how they get there. All
 * threads read pieces of the file, repack them (layout.h) while they are in the cache and hand them
 * on. */
#pragma once
#include "base/pool.h"
#include "compute/layout.h"
#include "model/plan.h"

struct progress;

/* A weight matrix in its layout: n_experts times n_groups groups. */
struct matrix {
    const struct weight *weight; /* NULL: this weight is no matrix */
    enum layout layout;
    uint32_t n_cols, n_rows, n_experts;
    uint32_t n_groups; /* of one expert */
    size_t group_bytes;
    uint64_t at;           /* where it begins, see weights.n_bytes */
    const uint8_t *groups; /* set by weights_load_here */
};

static inline const uint8_t *matrix_group(const struct matrix *m, uint32_t expert, uint32_t group)
{
    return m->groups + ((size_t)expert * m->n_groups + group) * m->group_bytes;
}

static inline bool matrix_is_float(const struct matrix *m)
{
    return layout_info(m->layout)->is_float;
}

/* Rows [row, row + ROWS) that exist: less than ROWS in the last group. */
static inline uint32_t matrix_rows_at(const struct matrix *m, uint32_t group)
{
    uint32_t left = m->n_rows - group * ROWS;
    return left < ROWS ? left : ROWS;
}

/* What a backend wants of the places. Zero fields take the default in brackets. */
struct weights_params {
    uint64_t arena_bytes;   /* memory comes in pieces of this size, which no weight may cross [one
                               piece]; a multiple of 64 */
    bool embed_from_matrix; /* the embedding is looked up in the layout of a matrix, not in rows as
                               in the file */
};

enum { WEIGHTS_MAX_TAPS = 16 }; /* of a convolution */

/* All weights of a plan, by weight.index. A weight can be several of the three: a tied embedding
 * can be table and matrix. */
struct weights {
    struct weights_params params;
    uint32_t n;
    struct matrix *matrices; /* [n] */
    uint64_t *vector_at;     /* [n] norms, biases, sinks as floats: offset in bytes; 0: none */
    bool *is_turned;         /* [n] a vector kept with its columns as rows: the taps of a
                                convolution as [ne[0]][ne[1]] */
    uint64_t *table_at;      /* [n] rows as in the file (embedding): offset in bytes; 0: none */
    uint64_t n_bytes;        /* in all, gaps before the borders of arenas included */
    uint8_t *bytes;          /* set by weights_load_here */
};
/* Says where everything will lie, without loading. False for a weight that no layout takes or that
 * is larger than an arena. */
bool weights_plan(const struct plan *p, const struct weights_params *params, struct weights *w,
                  struct err *e);

/* Where loaded bytes go. Called by any thread of the pool; the pieces do not overlap. */
struct weights_sink {
    /* Room for n bytes, 64-byte aligned, until the same thread's put. */
    void *(*room)(void *ctx, int i_thread, uint64_t offset, size_t n);
    /* The room is filled. */
    bool (*put)(void *ctx, int i_thread, uint64_t offset, size_t n, struct err *e);
    void *ctx;
    bool by_row; /* matrices as layout_by_row leaves them */
};
/* Largest n that a sink is asked for. */
size_t weights_piece_bytes(const struct plan *p, const struct weights *w);
/* Loads everything into the sink with all threads of the pool. */
bool weights_load(const struct plan *p, const struct weights *w, struct pool *pool,
                  const struct weights_sink *sink, const struct progress *progress, struct err *e);
/* Loads into memory that it allocates: w->bytes. For weights without arenas. */
bool weights_load_here(const struct plan *p, struct weights *w, struct pool *pool,
                       const struct progress *progress, struct err *e);
void weights_free(struct weights *w);
