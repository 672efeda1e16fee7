#include "compute/weights.h"

#include <assert.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"

enum {
    ALIGN = 64,
    PIECE_BYTES = 256 << 10, /* read and repacked at a time: fits the second-level cache */
};

/* Where n_bytes that may not cross the border of an arena begin. */
static bool place(struct weights *w, const struct weight *weight, uint64_t n_bytes, uint64_t *at,
                  struct err *e)
{
    const uint64_t arena = w->params.arena_bytes;
    n_bytes = (n_bytes + ALIGN - 1) / ALIGN * ALIGN;
    if (arena && n_bytes > arena)
        return err_set(e, ERR_LIMIT,
                       "tensor '%.*s' takes %" PRIu64 " bytes, one allocation of the device holds "
                       "%" PRIu64,
                       STRF(weight->name), n_bytes, arena);
    if (arena && w->n_bytes % arena + n_bytes > arena)
        w->n_bytes = (w->n_bytes / arena + 1) * arena;
    *at = w->n_bytes;
    w->n_bytes += n_bytes;
    return true;
}

static bool plan_matrix(struct weights *w, const struct weight *weight, struct err *e)
{
    struct matrix *m = &w->matrices[weight->index];
    if (m->weight)
        return true;
    if (!layout_of(weight->type, &m->layout))
        return err_set(e, ERR_UNSUPPORTED, "tensor '%.*s': there is no layout for %s",
                       STRF(weight->name), block_type_name(weight->type));
    if (weight->ne[0] > UINT32_MAX || weight->ne[1] > UINT32_MAX - ROWS ||
        weight->ne[2] > UINT32_MAX)
        return err_set(e, ERR_LIMIT, "tensor '%.*s' has a dimension over 2^32", STRF(weight->name));
    m->weight = weight;
    m->n_cols = (uint32_t)weight->ne[0];
    m->n_rows = (uint32_t)weight->ne[1];
    m->n_experts = (uint32_t)weight->ne[2];
    m->n_groups = (m->n_rows + ROWS - 1) / ROWS;
    m->group_bytes = layout_group_bytes(m->layout, m->n_cols);
    return place(w, weight, (uint64_t)m->n_groups * m->n_experts * m->group_bytes, &m->at, e);
}

/* NULL: a vector that is not there. */
static bool plan_vector(struct weights *w, const struct weight *weight, struct err *e)
{
    if (!weight || w->vector_at[weight->index])
        return true;
    return place(w, weight, weight->ne[0] * weight->ne[1] * weight->ne[2] * sizeof(float),
                 &w->vector_at[weight->index], e);
}

static bool plan_taps(struct weights *w, const struct weight *weight, struct err *e)
{
    if (weight->ne[0] > WEIGHTS_MAX_TAPS)
        return err_set(e, ERR_UNSUPPORTED,
                       "tensor '%.*s' is a convolution over %llu rows, limit %d",
                       STRF(weight->name), (unsigned long long)weight->ne[0], WEIGHTS_MAX_TAPS);
    w->is_turned[weight->index] = true;
    return plan_vector(w, weight, e);
}

static bool plan_embedding(struct weights *w, const struct weight *table, struct err *e)
{
    if (w->params.embed_from_matrix)
        return plan_matrix(w, table, e);
    return w->table_at[table->index] ||
           place(w, table, table->n_bytes, &w->table_at[table->index], e);
}

static bool plan_op_weights(struct weights *w, const struct op *op, struct err *e)
{
    switch (op->kind) {
    case OP_EMBED: return plan_embedding(w, op->embed.table, e);
    case OP_PROJECT:
        for (uint32_t i = 0; i < op->project.n_out; i++)
            if (!plan_vector(w, op->project.out[i].bias, e) ||
                !plan_matrix(w, op->project.out[i].w, e))
                return false;
        return plan_vector(w, op->project.norm, e);
    case OP_ATTEND:
        return plan_vector(w, op->attend.q_norm, e) && plan_vector(w, op->attend.k_norm, e) &&
               plan_vector(w, op->attend.sinks, e);
    case OP_ATTEND_MLA:
        return plan_vector(w, op->attend_mla.latent_norm, e) &&
               plan_matrix(w, op->attend_mla.key_up, e) &&
               plan_matrix(w, op->attend_mla.value_down, e);
    case OP_ADD_PROJECT:
        return plan_vector(w, op->add_project.bias, e) && plan_vector(w, op->add_project.gate, e) &&
               plan_matrix(w, op->add_project.w, e);
    case OP_ROUTE:
        return plan_vector(w, op->route.norm, e) && plan_vector(w, op->route.bias, e) &&
               plan_vector(w, op->route.select_bias, e) && plan_matrix(w, op->route.router, e);
    case OP_EXPERTS_UP:
        return plan_vector(w, op->experts_up.gate_bias, e) &&
               plan_vector(w, op->experts_up.up_bias, e) &&
               plan_matrix(w, op->experts_up.gate, e) && plan_matrix(w, op->experts_up.up, e);
    case OP_EXPERTS_DOWN:
        return plan_vector(w, op->experts_down.bias, e) && plan_matrix(w, op->experts_down.down, e);
    case OP_HEAD: return plan_vector(w, op->head.norm, e) && plan_matrix(w, op->head.w, e);
    case OP_GLU:
        return plan_vector(w, op->glu.norm, e) && plan_vector(w, op->glu.gate_bias, e) &&
               plan_vector(w, op->glu.up_bias, e) && plan_matrix(w, op->glu.gate, e) &&
               plan_matrix(w, op->glu.up, e);
    case OP_DELTA_NET:
        return plan_taps(w, op->delta_net.conv, e) && plan_vector(w, op->delta_net.dt_bias, e) &&
               plan_vector(w, op->delta_net.decay, e) && plan_vector(w, op->delta_net.norm, e);
    case OP_KIND_COUNT: break;
    }
    return true;
}

bool weights_plan(const struct plan *p, const struct weights_params *params, struct weights *w,
                  struct err *e)
{
    w->params = *params;
    w->n = (uint32_t)p->n_weights;
    w->matrices = mem_new(w->n, sizeof *w->matrices);
    w->vector_at = mem_new(w->n, sizeof *w->vector_at);
    w->is_turned = mem_new(w->n, sizeof *w->is_turned);
    w->table_at = mem_new(w->n, sizeof *w->table_at);
    w->n_bytes = ALIGN; /* so that 0 means "none" */
    for (size_t i = 0; i < p->n_ops; i++)
        if (!plan_op_weights(w, &p->ops[i], e))
            return false;
    return true;
}

/* ---- loading -------------------------------------------------------------------------------- */

/* What one thread reads at once: groups of a matrix, bytes of a table, or a whole vector. */
struct piece {
    enum { PIECE_MATRIX, PIECE_TABLE, PIECE_VECTOR } kind;
    const struct weight *weight;
    uint64_t from;   /* byte in the weight */
    uint64_t n_read; /* bytes */
    uint32_t expert, group;
    uint32_t n_rows; /* of the matrix, from group on */
};

struct loading {
    const struct weights *w;
    struct pool *pool;
    const struct weights_sink *sink;
    const struct progress *progress;
    struct piece *pieces;
    size_t n_pieces, room;
    uint64_t n_total;
    size_t max_read;
    atomic_ullong n_done;
    atomic_bool failed;
    struct err *errors; /* [threads] */
};

static void add_piece(struct loading *l, struct piece piece)
{
    if (l->n_pieces == l->room) {
        l->room = l->room ? 2 * l->room : 1024;
        l->pieces = mem_grow(l->pieces, l->room, sizeof *l->pieces);
    }
    l->pieces[l->n_pieces++] = piece;
    l->n_total += piece.n_read;
    l->max_read = num_max(l->max_read, piece.n_read);
}

static void add_matrix(struct loading *l, const struct matrix *m)
{
    size_t row_bytes = block_row_bytes(m->weight->type, m->n_cols);
    uint32_t step = (uint32_t)num_max(1, PIECE_BYTES / (row_bytes * ROWS)) * ROWS;
    for (uint32_t expert = 0; expert < m->n_experts; expert++) {
        for (uint32_t row = 0; row < m->n_rows; row += step) {
            uint32_t n = (uint32_t)num_min(step, m->n_rows - row);
            add_piece(l, (struct piece){
                             .kind = PIECE_MATRIX,
                             .weight = m->weight,
                             .from = ((uint64_t)expert * m->n_rows + row) * row_bytes,
                             .n_read = n * row_bytes,
                             .expert = expert,
                             .group = row / ROWS,
                             .n_rows = n,
                         });
        }
    }
}

static void add_pieces(struct loading *l, const struct plan *p)
{
    for (uint32_t i = 0; i < l->w->n; i++) {
        const struct weight *weight = p->weights[i];
        if (l->w->matrices[i].weight)
            add_matrix(l, &l->w->matrices[i]);
        if (l->w->vector_at[i])
            add_piece(l, (struct piece){
                             .kind = PIECE_VECTOR, .weight = weight, .n_read = weight->n_bytes});
        for (uint64_t at = 0; l->w->table_at[i] && at < weight->n_bytes; at += PIECE_BYTES)
            add_piece(l, (struct piece){.kind = PIECE_TABLE,
                                        .weight = weight,
                                        .from = at,
                                        .n_read = num_min(PIECE_BYTES, weight->n_bytes - at)});
    }
}

/* Where a piece goes and how long it is there. */
static uint64_t piece_at(const struct weights *w, const struct piece *p, size_t *n)
{
    const uint32_t i = p->weight->index;
    const struct matrix *m = &w->matrices[i];
    switch (p->kind) {
    case PIECE_TABLE: *n = p->n_read; return w->table_at[i] + p->from;
    case PIECE_VECTOR:
        *n = p->weight->ne[0] * p->weight->ne[1] * p->weight->ne[2] * sizeof(float);
        return w->vector_at[i];
    case PIECE_MATRIX: break;
    }
    *n = (p->n_rows + ROWS - 1) / ROWS * m->group_bytes;
    return m->at + ((uint64_t)p->expert * m->n_groups + p->group) * m->group_bytes;
}

/* out: the vector, or its columns one after the other. */
static void decode_vector(const struct weight *weight, bool turned, const uint8_t *raw, float *out)
{
    const struct block_info *info = block_info(weight->type);
    const uint64_t n_cols = weight->ne[0], n_rows = weight->ne[1];
    float row[WEIGHTS_MAX_TAPS];
    if (!turned) {
        info->decode(raw, out, n_cols * n_rows * weight->ne[2]);
        return;
    }
    for (uint64_t i = 0; i < n_rows; i++, raw += block_row_bytes(weight->type, n_cols)) {
        info->decode(raw, row, n_cols);
        for (uint64_t j = 0; j < n_cols; j++)
            out[j * n_rows + i] = row[j];
    }
}

/* raw: what weight_read gave. */
static void repack(const struct weights *w, const struct piece *p, const uint8_t *raw, bool by_row,
                   void *out)
{
    if (p->kind == PIECE_VECTOR) {
        decode_vector(p->weight, w->is_turned[p->weight->index], raw, out);
        return;
    }
    const struct matrix *m = &w->matrices[p->weight->index];
    size_t row_bytes = block_row_bytes(p->weight->type, m->n_cols);
    uint8_t *group = out;
    for (uint32_t row = 0; row < p->n_rows; row += ROWS, group += m->group_bytes) {
        layout_pack(m->layout, raw + row * row_bytes, (uint32_t)num_min(ROWS, p->n_rows - row),
                    m->n_cols, group);
        if (by_row)
            layout_by_row(m->layout, m->n_cols, group);
    }
}

static bool load_piece(const struct loading *l, const struct piece *p, int i_thread, uint8_t *raw,
                       struct err *e)
{
    const struct weights_sink *sink = l->sink;
    size_t n;
    uint64_t at = piece_at(l->w, p, &n);
    void *out = sink->room(sink->ctx, i_thread, at, n);
    bool is_raw = p->kind == PIECE_TABLE;
    if (!weight_read(p->weight, p->from, is_raw ? out : raw, p->n_read, e))
        return false;
    if (!is_raw)
        repack(l->w, p, raw, sink->by_row, out);
    return sink->put(sink->ctx, i_thread, at, n, e);
}

static void load_all(void *ctx, int i_thread, int n_threads)
{
    struct loading *l = ctx;
    uint8_t *raw = mem_new(l->max_read, 1);
    (void)n_threads;
    for (uint32_t i; (i = pool_next(l->pool)) < l->n_pieces && !atomic_load(&l->failed);) {
        if (!load_piece(l, &l->pieces[i], i_thread, raw, &l->errors[i_thread])) {
            atomic_store(&l->failed, true);
            break;
        }
        uint64_t done = atomic_fetch_add(&l->n_done, l->pieces[i].n_read) + l->pieces[i].n_read;
        progress_step(l->progress, done, l->n_total);
    }
    free(raw);
}

size_t weights_piece_bytes(const struct plan *p, const struct weights *w)
{
    struct loading l = {.w = w};
    size_t most = 0;
    add_pieces(&l, p);
    for (size_t i = 0; i < l.n_pieces; i++) {
        size_t n;
        piece_at(w, &l.pieces[i], &n);
        most = num_max(most, n);
    }
    free(l.pieces);
    return most;
}

bool weights_load(const struct plan *p, const struct weights *w, struct pool *pool,
                  const struct weights_sink *sink, const struct progress *progress, struct err *e)
{
    struct loading l = {.w = w, .pool = pool, .sink = sink, .progress = progress};
    add_pieces(&l, p);
    l.errors = mem_new((size_t)pool_size(pool), sizeof *l.errors);
    pool_run(pool, load_all, &l);
    bool ok = !atomic_load(&l.failed);
    for (int i = 0; !ok && i < pool_size(pool); i++)
        if (l.errors[i].code != ERR_NONE)
            *e = l.errors[i];
    free(l.errors);
    free(l.pieces);
    return ok;
}

static void *room_here(void *ctx, int i_thread, uint64_t offset, size_t n)
{
    const struct weights *w = ctx;
    (void)i_thread, (void)n;
    return w->bytes + offset;
}

static bool put_here(void *ctx, int i_thread, uint64_t offset, size_t n, struct err *e)
{
    (void)ctx, (void)i_thread, (void)offset, (void)n, (void)e;
    return true;
}

bool weights_load_here(const struct plan *p, struct weights *w, struct pool *pool,
                       const struct progress *progress, struct err *e)
{
    assert(w->params.arena_bytes == 0);
    w->bytes = mem_big(w->n_bytes, "weights", e);
    if (!w->bytes)
        return false;
    for (uint32_t i = 0; i < w->n; i++)
        w->matrices[i].groups = w->bytes + w->matrices[i].at;
    const struct weights_sink sink = {room_here, put_here, w, false};
    return weights_load(p, w, pool, &sink, progress, e);
}

void weights_free(struct weights *w)
{
    mem_big_free(w->bytes, w->n_bytes);
    free(w->matrices);
    free(w->vector_at);
    free(w->is_turned);
    free(w->table_at);
    *w = (struct weights){0};
}
