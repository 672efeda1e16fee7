/* Weights: what each tensor is for, where it lies in memory, and loading: all threads read pieces
 * of the file and repack them while they are in the cache. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "compute/cpu/cpu.h"

enum {
    ALIGN = 64,
    PIECE_BYTES = 256 << 10, /* read and repacked at a time: fits the second-level cache */
};

static bool plan_matrix(struct weights *w, const struct weight *weight, struct err *e)
{
    struct matrix *m = &w->matrices[weight->index];
    if (m->weight)
        return true;
    if (!layout_of(weight->type, &m->layout))
        return err_set(e, ERR_UNSUPPORTED, "tensor '%.*s': the cpu backend has no layout for %s",
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
    m->at = w->n_bytes;
    w->n_bytes += (uint64_t)m->n_groups * m->n_experts * m->group_bytes;
    return true;
}

static void plan_bytes(struct weights *w, uint64_t *at, uint64_t n_bytes)
{
    if (*at)
        return;
    *at = w->n_bytes;
    w->n_bytes += (n_bytes + ALIGN - 1) / ALIGN * ALIGN;
}

static void plan_vector(struct weights *w, const struct weight *weight)
{
    if (weight)
        plan_bytes(w, &w->vector_at[weight->index],
                   weight->ne[0] * weight->ne[1] * weight->ne[2] * sizeof(float));
}

static bool plan_op_weights(struct weights *w, const struct op *op, struct err *e)
{
    switch (op->kind) {
    case OP_EMBED:
        plan_bytes(w, &w->table_at[op->embed.table->index], op->embed.table->n_bytes);
        return true;
    case OP_PROJECT:
        plan_vector(w, op->project.norm);
        for (uint32_t i = 0; i < op->project.n_out; i++) {
            plan_vector(w, op->project.out[i].bias);
            if (!plan_matrix(w, op->project.out[i].w, e))
                return false;
        }
        return true;
    case OP_ATTEND:
        plan_vector(w, op->attend.q_norm);
        plan_vector(w, op->attend.k_norm);
        plan_vector(w, op->attend.sinks);
        return true;
    case OP_ATTEND_MLA:
        plan_vector(w, op->attend_mla.latent_norm);
        return plan_matrix(w, op->attend_mla.key_up, e) &&
               plan_matrix(w, op->attend_mla.value_down, e);
    case OP_ADD_PROJECT:
        plan_vector(w, op->add_project.bias);
        return plan_matrix(w, op->add_project.w, e);
    case OP_ROUTE:
        plan_vector(w, op->route.norm);
        plan_vector(w, op->route.bias);
        plan_vector(w, op->route.select_bias);
        return plan_matrix(w, op->route.router, e);
    case OP_EXPERTS_UP:
        plan_vector(w, op->experts_up.gate_bias);
        plan_vector(w, op->experts_up.up_bias);
        return plan_matrix(w, op->experts_up.gate, e) && plan_matrix(w, op->experts_up.up, e);
    case OP_EXPERTS_DOWN:
        plan_vector(w, op->experts_down.bias);
        return plan_matrix(w, op->experts_down.down, e);
    case OP_HEAD: plan_vector(w, op->head.norm); return plan_matrix(w, op->head.w, e);
    case OP_GLU:
        plan_vector(w, op->glu.norm);
        plan_vector(w, op->glu.gate_bias);
        plan_vector(w, op->glu.up_bias);
        return plan_matrix(w, op->glu.gate, e) && plan_matrix(w, op->glu.up, e);
    case OP_DELTA_NET:
    case OP_KIND_COUNT: break;
    }
    return true;
}

bool weights_plan(const struct plan *p, struct weights *w, struct err *e)
{
    w->n = (uint32_t)p->n_weights;
    w->matrices = mem_new(w->n, sizeof *w->matrices);
    w->vector_at = mem_new(w->n, sizeof *w->vector_at);
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
    struct weights *w;
    struct pool *pool;
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

static bool load_piece(struct weights *w, const struct piece *p, uint8_t *raw, struct err *e)
{
    uint32_t i = p->weight->index;
    if (p->kind == PIECE_TABLE)
        return weight_read(p->weight, p->from, w->bytes + w->table_at[i] + p->from, p->n_read, e);
    if (!weight_read(p->weight, p->from, raw, p->n_read, e))
        return false;
    if (p->kind == PIECE_VECTOR) {
        float *out = (float *)(void *)(w->bytes + w->vector_at[i]);
        block_info(p->weight->type)
            ->decode(raw, out, p->weight->ne[0] * p->weight->ne[1] * p->weight->ne[2]);
        return true;
    }
    const struct matrix *m = &w->matrices[i];
    size_t row_bytes = block_row_bytes(p->weight->type, m->n_cols);
    uint8_t *group =
        w->bytes + m->at + ((size_t)p->expert * m->n_groups + p->group) * m->group_bytes;
    for (uint32_t row = 0; row < p->n_rows; row += ROWS, group += m->group_bytes)
        layout_pack(m->layout, raw + row * row_bytes, (uint32_t)num_min(ROWS, p->n_rows - row),
                    m->n_cols, group);
    return true;
}

static void load_all(void *ctx, int i_thread, int n_threads)
{
    struct loading *l = ctx;
    uint8_t *raw = mem_new(l->max_read, 1);
    (void)n_threads;
    for (uint32_t i; (i = pool_next(l->pool)) < l->n_pieces && !atomic_load(&l->failed);) {
        if (!load_piece(l->w, &l->pieces[i], raw, &l->errors[i_thread])) {
            atomic_store(&l->failed, true);
            break;
        }
        uint64_t done = atomic_fetch_add(&l->n_done, l->pieces[i].n_read) + l->pieces[i].n_read;
        progress_step(l->progress, done, l->n_total);
    }
    free(raw);
}

bool weights_load(const struct plan *p, struct weights *w, struct pool *pool,
                  const struct progress *progress, struct err *e)
{
    struct loading l = {.w = w, .pool = pool, .progress = progress};
    w->bytes = mem_big(w->n_bytes, "weights", e);
    if (!w->bytes)
        return false;
    for (uint32_t i = 0; i < w->n; i++)
        w->matrices[i].groups = w->bytes + w->matrices[i].at;
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

void weights_free(struct weights *w)
{
    mem_big_free(w->bytes, w->n_bytes);
    free(w->matrices);
    free(w->vector_at);
    free(w->table_at);
    *w = (struct weights){0};
}
