/* Mixture of experts: routing, and the chosen experts' matrices over rows sorted by expert, so that
 * every weight is read once per batch. */
#include <math.h>
#include <string.h>

#include "base/num.h"
#include "compute/cpu/cpu.h"

enum {
    ROWS_PER_ITEM = 8,
    MOST_UP_GROUPS = 24,  /* of gate and of up that an item takes: with their tile they fit the
                             second-level cache */
    MOST_DOWN_GROUPS = 8, /* of down that an item takes, for all experts */
};
/* Least sum of router weights that is divided by: the smallest normal half (spec 0.6). */
static const float LEAST_SUM = 6.103515625e-5f;

/* ---- router --------------------------------------------------------------------------------- */

/* ids: the n_used largest of scores, falling; the lower index first among equals. */
static void choose_largest(const float *scores, uint32_t n, uint32_t n_used, int32_t *ids)
{
    for (uint32_t e = 0; e < n; e++) {
        uint32_t at = e < n_used ? e : n_used;
        while (at > 0 && scores[e] > scores[ids[at - 1]])
            at--;
        if (at == n_used)
            continue;
        for (uint32_t j = e < n_used ? e : n_used - 1; j > at; j--)
            ids[j] = ids[j - 1];
        ids[at] = (int32_t)e;
    }
}

static void softmax(float *x, uint32_t n)
{
    float top = x[0], sum = 0;
    for (uint32_t i = 1; i < n; i++)
        top = fmaxf(top, x[i]);
    for (uint32_t i = 0; i < n; i++)
        sum += x[i] = expf(x[i] - top);
    for (uint32_t i = 0; i < n; i++)
        x[i] /= sum;
}

static void renormalise(float *weights, uint32_t n, float scale)
{
    float sum = 0;
    for (uint32_t j = 0; j < n; j++)
        sum += weights[j];
    for (uint32_t j = 0; j < n; j++)
        weights[j] = weights[j] / fmaxf(sum, LEAST_SUM) * scale;
}

/* ids and weights of one row from its router logits, which are overwritten. */
static void choose(const struct op_route *o, const float *select_bias, float *logits, int32_t *ids,
                   float *weights)
{
    if (o->gating == GATE_SOFTMAX_NORM)
        softmax(logits, o->n_expert);
    for (uint32_t e = 0; o->gating == GATE_SIGMOID_BIAS && e < o->n_expert; e++)
        logits[e] = 1 / (1 + expf(-logits[e])) + (select_bias ? select_bias[e] : 0);
    choose_largest(logits, o->n_expert, o->n_used, ids);
    for (uint32_t j = 0; j < o->n_used; j++)
        weights[j] = logits[ids[j]];
    switch (o->gating) {
    case GATE_SOFTMAX_NORM: renormalise(weights, o->n_used, 1); break;
    case GATE_TOPK_SOFTMAX: softmax(weights, o->n_used); break;
    case GATE_SIGMOID_BIAS:
        for (uint32_t j = 0; j < o->n_used; j++)
            weights[j] -= select_bias ? select_bias[ids[j]] : 0;
        renormalise(weights, o->n_used, o->scale);
        break;
    }
}

void cpu_route(struct worker *w, const struct op_route *o)
{
    struct cpu *c = w->cpu;
    const struct matrix *m = matrix_of(c, o->router);
    cpu_prepare(w, &(struct prepare){.in = c->slots[o->x],
                                     .n_cols = m->n_cols,
                                     .n_rows = w->n_rows,
                                     .norm = vector_of(c, o->norm),
                                     .eps = o->eps,
                                     .ints = m->n_cols % BLOCK_COLS == 0,
                                     .floats = c->slots[o->normed]});
    w->acts_slot = o->normed;
    struct product p = {
        .m = m, .bias = vector_of(c, o->bias), .out = c->router, .stride = o->n_expert};
    struct inputs in = {w->n_rows, c->acts, c->slots[o->normed], m->n_cols};
    cpu_multiply(w, &p, 1, &in);
    int32_t *ids = (int32_t *)(void *)c->slots[o->ids];
    for (uint32_t t; (t = pool_next(c->pool)) < w->n_rows;)
        choose(o, vector_of(c, o->select_bias), c->router + (size_t)t * o->n_expert,
               ids + (size_t)t * o->n_used, c->slots[o->weights] + (size_t)t * o->n_used);
    w->pairs_slot = -1;
    pool_barrier(c->pool);
}

/* ---- rows by expert ---------------------------------------------------------------------------
 */

/* A phase: cpu.pairs, the (row, choice) pairs sorted by expert, then row. */
static void sort_pairs(struct worker *w, slot_id slot, uint32_t n_used, uint32_t n_experts)
{
    struct cpu *c = w->cpu;
    if (w->pairs_slot == slot)
        return;
    w->pairs_slot = slot;
    w->pair_acts_slot = -1;
    if (w->i_thread == 0) {
        const int32_t *ids = (const int32_t *)(const void *)c->slots[slot];
        uint32_t n_pairs = w->n_rows * n_used, *first = c->first_pair;
        memset(first, 0, (n_experts + 1) * sizeof *first);
        for (uint32_t i = 0; i < n_pairs; i++)
            first[ids[i] + 1]++;
        c->n_chosen = 0;
        for (uint32_t e = 0; e < n_experts; e++) {
            if (first[e + 1])
                c->chosen[c->n_chosen++] = e;
            first[e + 1] += first[e];
        }
        for (uint32_t i = 0; i < n_pairs; i++)
            c->pairs[first[ids[i]]++] = i;
        memmove(first + 1, first, n_experts * sizeof *first);
        first[0] = 0;
    }
    pool_barrier(c->pool);
}

/* The pairs of one expert that share a tile. */
struct pair_tile {
    uint32_t first; /* in cpu.pairs */
    uint32_t n;
};

/* ---- gate and up ------------------------------------------------------------------------------
 */

/* What an item of the up phase needs to know. */
struct up_work {
    const struct op_experts_up *op;
    const struct matrix *gate, *up;
    const float *gate_bias, *up_bias;
    uint32_t n_used;
    float *out;             /* [row][n_used * ff], or NULL */
    struct act_block *acts; /* quantised for the down matrix, in tiles of each expert; or NULL */
};

/* The activations of a tile's rows side by side. */
static struct act_tile gather(struct worker *w, const struct up_work *u, struct pair_tile t)
{
    struct cpu *c = w->cpu;
    uint32_t n_cols = u->gate->n_cols, n_blocks = n_cols / BLOCK_COLS;
    struct act_tile a = {w->scratch->tile, w->scratch->rows, n_cols, t.n};
    const float *in = c->slots[u->op->in];
    bool ints = !matrix_is_float(u->gate) || !matrix_is_float(u->up);
    bool floats = matrix_is_float(u->gate) || matrix_is_float(u->up);
    if (w->n_rows == 1) { /* the only row is where it should be */
        a.q = c->acts;
        a.f = in;
        return a;
    }
    for (uint32_t r = 0; r < t.n; r++) {
        uint32_t stride, row = c->pairs[t.first + r] / u->n_used;
        const struct act_block *from = act_row(c->acts, n_blocks, w->n_rows, row, &stride);
        for (uint32_t b = 0; ints && b < n_blocks; b++)
            w->scratch->tile[b * t.n + r] = from[(size_t)b * stride];
        if (floats)
            memcpy(w->scratch->rows + (size_t)r * n_cols, in + (size_t)row * n_cols,
                   n_cols * sizeof *in);
    }
    return a;
}

/* act(gate, up) of one group of 16 inner values; row r goes to out + r * stride. */
static void up_group(struct worker *w, const struct up_work *u, uint32_t expert, uint32_t group,
                     const struct act_tile *a, float *out, size_t stride)
{
    float gate[TILE_ROWS][ROWS], up[TILE_ROWS][ROWS];
    const struct cpu_kernels *k = w->kernels;
    k->mul[u->gate->layout](matrix_group(u->gate, expert, group), u->gate->n_cols, a, gate);
    k->mul[u->up->layout](matrix_group(u->up, expert, group), u->up->n_cols, a, up);
    cpu_add_bias(u->gate, u->gate_bias, expert, group, a->n_rows, gate);
    cpu_add_bias(u->up, u->up_bias, expert, group, a->n_rows, up);
    for (uint32_t r = 0; r < a->n_rows; r++)
        k->activate(u->op->act, gate[r], up[r], ROWS, out + r * stride);
}

/* Two groups: the 32 inner values that make one activation block of the down matrix. */
static void up_block(struct worker *w, const struct up_work *u, uint32_t expert, uint32_t group,
                     struct pair_tile t, const struct act_tile *a)
{
    float inner[TILE_ROWS][2 * ROWS];
    uint32_t n_ff = u->gate->n_rows, first = group * ROWS;
    uint32_t n = (uint32_t)num_min(2 * ROWS, n_ff - first);
    for (uint32_t i = 0; i * ROWS < n; i++)
        up_group(w, u, expert, group + i, a, inner[0] + i * ROWS, 2 * ROWS);
    for (uint32_t r = 0; r < t.n; r++) {
        if (u->out)
            memcpy(u->out + (size_t)w->cpu->pairs[t.first + r] * n_ff + first, inner[r],
                   n * sizeof inner[r][0]);
        if (u->acts)
            w->kernels->quantise(inner[r], BLOCK_COLS,
                                 u->acts + (size_t)t.first * (n_ff / BLOCK_COLS) +
                                     (size_t)(first / BLOCK_COLS) * t.n + r,
                                 1);
    }
}

void cpu_experts_up(struct worker *w, const struct op_experts_up *o,
                    const struct op_experts_down *down)
{
    struct cpu *c = w->cpu;
    struct up_work u = {
        .op = o,
        .gate = matrix_of(c, o->gate),
        .up = matrix_of(c, o->up),
        .gate_bias = vector_of(c, o->gate_bias),
        .up_bias = vector_of(c, o->up_bias),
        .n_used = o->n_used,
        .out = down ? NULL : c->slots[o->out],
        .acts = down ? c->pair_acts : NULL,
    };
    if (w->acts_slot != o->in && !(matrix_is_float(u.gate) && matrix_is_float(u.up)))
        cpu_prepare(w, &(struct prepare){.in = c->slots[o->in],
                                         .n_cols = u.gate->n_cols,
                                         .n_rows = w->n_rows,
                                         .ints = true});
    sort_pairs(w, o->ids, o->n_used, u.gate->n_experts);
    uint32_t n_blocks = (u.gate->n_groups + 1) / 2;
    uint32_t step = chunk_of(w, n_blocks * c->n_chosen, MOST_UP_GROUPS / 2);
    uint32_t n_steps = (n_blocks + step - 1) / step;
    for (uint32_t item; (item = pool_next(c->pool)) < n_steps * c->n_chosen;) {
        uint32_t expert = c->chosen[item / n_steps];
        uint32_t from = item % n_steps * step, to = (uint32_t)num_min(from + step, n_blocks);
        uint32_t end = c->first_pair[expert + 1];
        for (uint32_t first = c->first_pair[expert]; first < end; first += TILE_ROWS) {
            struct pair_tile t = {first, (uint32_t)num_min(TILE_ROWS, end - first)};
            struct act_tile a = gather(w, &u, t);
            for (uint32_t b = from; b < to; b++)
                up_block(w, &u, expert, 2 * b, t, &a);
        }
    }
    if (u.acts)
        w->pair_acts_slot = o->out;
    pool_barrier(c->pool);
}

/* ---- down -------------------------------------------------------------------------------------
 */

struct down_work {
    const struct op_experts_down *op;
    const struct matrix *m;
    const float *bias;
    uint32_t n_used;
};

/* A phase: the inner values in the slot, quantised in tiles of each expert. */
static void quantise_inner(struct worker *w, const struct down_work *d)
{
    struct cpu *c = w->cpu;
    uint32_t n_cols = d->m->n_cols, n_blocks = n_cols / BLOCK_COLS;
    for (uint32_t item; (item = pool_next(c->pool)) < c->n_chosen;) {
        uint32_t first = c->first_pair[c->chosen[item]], end = c->first_pair[c->chosen[item] + 1];
        for (uint32_t i = first; i < end; i++) {
            uint32_t stride;
            struct act_block *out = act_row(c->pair_acts + (size_t)first * n_blocks, n_blocks,
                                            end - first, i - first, &stride);
            w->kernels->quantise(c->slots[d->op->in] + (size_t)c->pairs[i] * n_cols, n_cols, out,
                                 stride);
        }
    }
    w->pair_acts_slot = d->op->in;
    pool_barrier(c->pool);
}

/* x += weight * (D in + bias) for a tile of one expert's pairs and one group of rows of D. */
static void down_group(struct worker *w, const struct down_work *d, uint32_t expert, uint32_t group,
                       struct pair_tile t, const struct act_tile *a)
{
    struct cpu *c = w->cpu;
    float tile[TILE_ROWS][ROWS];
    w->kernels->mul[d->m->layout](matrix_group(d->m, expert, group), d->m->n_cols, a, tile);
    cpu_add_bias(d->m, d->bias, expert, group, t.n, tile);
    uint32_t n_lanes = matrix_rows_at(d->m, group);
    for (uint32_t r = 0; r < t.n; r++) {
        uint32_t pair = c->pairs[t.first + r];
        float *x = c->slots[d->op->x] + (size_t)(pair / d->n_used) * d->m->n_rows;
        w->kernels->add_scaled(c->slots[d->op->weights][pair], tile[r], n_lanes,
                               x + (size_t)group * ROWS);
    }
}

static struct act_tile down_tile(struct worker *w, const struct down_work *d, struct pair_tile t)
{
    struct cpu *c = w->cpu;
    uint32_t n_cols = d->m->n_cols;
    struct act_tile a = {
        .q = c->pair_acts + (size_t)t.first * (n_cols / BLOCK_COLS),
        .f = w->scratch->rows,
        .f_stride = n_cols,
        .n_rows = t.n,
    };
    for (uint32_t r = 0; matrix_is_float(d->m) && r < t.n; r++)
        memcpy(w->scratch->rows + (size_t)r * n_cols,
               c->slots[d->op->in] + (size_t)c->pairs[t.first + r] * n_cols, n_cols * sizeof *a.f);
    return a;
}

/* An item owns some rows of every D and with them some columns of x: so a row's experts are added
 * in one order, rising, whoever else is in the batch. */
void cpu_experts_down(struct worker *w, const struct op_experts_down *o)
{
    struct cpu *c = w->cpu;
    struct down_work d = {o, matrix_of(c, o->down), vector_of(c, o->bias), o->n_used};
    sort_pairs(w, o->ids, o->n_used, d.m->n_experts);
    if (!matrix_is_float(d.m) && w->pair_acts_slot != o->in)
        quantise_inner(w, &d);
    uint32_t step = chunk_of(w, d.m->n_groups, MOST_DOWN_GROUPS);
    for (uint32_t item; (item = pool_next(c->pool)) * step < d.m->n_groups;) {
        uint32_t to = (uint32_t)num_min((item + 1) * step, d.m->n_groups);
        for (uint32_t i = 0; i < c->n_chosen; i++) {
            uint32_t expert = c->chosen[i], end = c->first_pair[expert + 1];
            for (uint32_t first = c->first_pair[expert]; first < end; first += TILE_ROWS) {
                struct pair_tile t = {first, (uint32_t)num_min(TILE_ROWS, end - first)};
                struct act_tile a = down_tile(w, &d, t);
                for (uint32_t g = item * step; g < to; g++)
                    down_group(w, &d, expert, g, t, &a);
            }
        }
    }
    w->pair_acts_slot = -1;
    pool_barrier(c->pool);
}
