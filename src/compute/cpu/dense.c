/* Dense ops: embedding, projections of normalised rows, the output matrix. */
#include <math.h>
#include <string.h>

#include "base/num.h"
#include "compute/cpu/cpu.h"

enum {
    ROWS_PER_ITEM = 8,               /* of work that goes row by row */
    MOST_BYTES_PER_ITEM = 128 << 10, /* of weights, when there are few rows */
    MOST_GROUPS_PER_ITEM = 8,        /* otherwise */
};

static uint32_t groups_per_item(const struct worker *w, const struct product *p, uint32_t n,
                                uint32_t n_rows)
{
    uint32_t n_groups = 0, most = MOST_GROUPS_PER_ITEM;
    for (uint32_t i = 0; i < n; i++)
        n_groups += p[i].m->n_groups;
    if (n_rows < TILE_ROWS)
        most = 1 + (uint32_t)(MOST_BYTES_PER_ITEM / p[0].m->group_bytes);
    return chunk_of(w, n_groups, most);
}

void cpu_add_bias(const struct matrix *m, const float *bias, uint32_t expert, uint32_t group,
                  uint32_t n, float (*tile)[ROWS])
{
    if (!bias)
        return;
    bias += (size_t)expert * m->n_rows + (size_t)group * ROWS;
    uint32_t n_lanes = matrix_rows_at(m, group);
    for (uint32_t r = 0; r < n; r++)
        for (uint32_t i = 0; i < n_lanes; i++)
            tile[r][i] += bias[i];
}

static void write_tile(const struct product *p, uint32_t group, uint32_t first, uint32_t n,
                       float (*tile)[ROWS])
{
    uint32_t n_lanes = matrix_rows_at(p->m, group);
    cpu_add_bias(p->m, p->bias, 0, group, n, tile);
    for (uint32_t r = 0; r < n; r++) {
        float *out = p->out + (first + r) * p->stride + (size_t)group * ROWS;
        for (uint32_t i = 0; p->factors && i < n_lanes; i++)
            tile[r][i] *= p->factors[first + r];
        for (uint32_t i = 0; i < n_lanes; i++)
            out[i] = p->add ? out[i] + tile[r][i] : tile[r][i];
    }
}

static struct act_tile tile_at(const struct inputs *in, uint32_t first, uint32_t n_cols)
{
    return (struct act_tile){
        .q = in->acts + (size_t)first * (n_cols / BLOCK_COLS),
        .f = in->floats + first * in->stride,
        .f_stride = in->stride,
        .n_rows = tile_rows(in->n_rows, first),
    };
}

static void multiply(struct worker *w, const struct product *p, const struct inputs *in,
                     uint32_t group, uint32_t n_groups)
{
    float tile[TILE_ROWS][ROWS];
    for (uint32_t first = 0; first < in->n_rows; first += TILE_ROWS) {
        struct act_tile a = tile_at(in, first, p->m->n_cols);
        for (uint32_t g = group; g < group + n_groups; g++) {
            w->kernels->mul[p->m->layout](matrix_group(p->m, 0, g), p->m->n_cols, &a, tile);
            write_tile(p, g, first, a.n_rows, tile);
        }
    }
}

void cpu_multiply(struct worker *w, const struct product *p, uint32_t n, const struct inputs *in)
{
    struct pool *pool = w->cpu->pool;
    uint32_t step = groups_per_item(w, p, n, in->n_rows);
    uint32_t i = 0, base = 0; /* product, and the number of items before it */
    for (;;) {
        uint32_t item = pool_next(pool);
        for (uint32_t n_items; i < n; i++, base += n_items) {
            n_items = (p[i].m->n_groups + step - 1) / step;
            if (item - base < n_items)
                break;
        }
        if (i == n)
            break;
        uint32_t group = (item - base) * step;
        multiply(w, &p[i], in, group, (uint32_t)num_min(step, p[i].m->n_groups - group));
    }
    pool_barrier(pool);
}

static void prepare_row(struct worker *w, const struct prepare *p, uint32_t t)
{
    const float *x = p->in + (size_t)(p->rows ? p->rows[t] : t) * p->n_cols;
    if (p->gate) {
        const float *in = p->gate_in + (size_t)t * p->n_gate;
        w->cpu->factors[t] = 1 / (1 + expf(-w->kernels->dot(p->gate, in, p->n_gate)));
    }
    if (p->norm) {
        float *normed = p->floats ? p->floats + (size_t)t * p->n_cols : w->scratch->row;
        w->kernels->rms(x, p->norm, p->eps, p->n_cols, normed);
        x = normed;
    } else if (p->floats) {
        memcpy(p->floats + (size_t)t * p->n_cols, x, p->n_cols * sizeof *x);
    }
    if (!p->ints)
        return;
    uint32_t stride;
    struct act_block *acts = act_row(w->cpu->acts, p->n_cols / BLOCK_COLS, p->n_rows, t, &stride);
    w->kernels->quantise(x, p->n_cols, acts, stride);
}

void cpu_prepare(struct worker *w, const struct prepare *p)
{
    struct pool *pool = w->cpu->pool;
    for (uint32_t item; (item = pool_next(pool)) * ROWS_PER_ITEM < p->n_rows;) {
        uint32_t end = (uint32_t)num_min((item + 1) * ROWS_PER_ITEM, p->n_rows);
        for (uint32_t t = item * ROWS_PER_ITEM; t < end; t++)
            prepare_row(w, p, t);
    }
    w->acts_slot = -1;
    pool_barrier(pool);
}

/* The phase before a set of products that share their input; rows and norm may be NULL. */
static struct inputs prepare_inputs(struct worker *w, const struct product *p, uint32_t n,
                                    struct prepare *input)
{
    struct cpu *c = w->cpu;
    input->n_cols = p[0].m->n_cols;
    for (uint32_t i = 0; i < n; i++) {
        if (matrix_is_float(p[i].m))
            input->floats = c->normed;
        else
            input->ints = true;
    }
    cpu_prepare(w, input);
    return (struct inputs){input->n_rows, c->acts, c->normed, input->n_cols};
}

static void project(struct worker *w, const struct product *p, uint32_t n, struct prepare *input)
{
    struct inputs in = prepare_inputs(w, p, n, input);
    cpu_multiply(w, p, n, &in);
}

void cpu_project(struct worker *w, const struct op_project *o)
{
    struct cpu *c = w->cpu;
    struct product p[4];
    for (uint32_t i = 0; i < o->n_out; i++)
        p[i] = (struct product){
            .m = matrix_of(c, o->out[i].w),
            .bias = vector_of(c, o->out[i].bias),
            .out = c->slots[o->out[i].out],
            .stride = c->plan->slots[o->out[i].out].width,
        };
    project(w, p, o->n_out,
            &(struct prepare){.in = c->slots[o->in],
                              .n_rows = w->n_rows,
                              .norm = vector_of(c, o->norm),
                              .eps = o->eps});
}

void cpu_add_project(struct worker *w, const struct op_add_project *o)
{
    struct cpu *c = w->cpu;
    struct product p = {
        .m = matrix_of(c, o->w),
        .bias = vector_of(c, o->bias),
        .out = c->slots[o->x],
        .stride = c->plan->slots[o->x].width,
        .add = true,
        .factors = o->gate ? c->factors : NULL,
    };
    struct prepare input = {.in = c->slots[o->in], .n_rows = w->n_rows};
    if (o->gate) {
        input.gate = vector_of(c, o->gate);
        input.gate_in = c->slots[o->gate_in];
        input.n_gate = c->plan->slots[o->gate_in].width;
    }
    project(w, &p, 1, &input);
}

/* act(gate, up) for `group` of all rows. */
static void glu_group(struct worker *w, const struct op_glu *o, const struct product p[2],
                      const struct inputs *in, uint32_t group)
{
    float tile[2][TILE_ROWS][ROWS];
    const size_t n_bytes = matrix_rows_at(p[0].m, group) * sizeof(float);
    for (uint32_t first = 0; first < in->n_rows; first += TILE_ROWS) {
        const struct act_tile a = tile_at(in, first, p[0].m->n_cols);
        for (int i = 0; i < 2; i++) {
            w->kernels->mul[p[i].m->layout](matrix_group(p[i].m, 0, group), p[i].m->n_cols, &a,
                                            tile[i]);
            cpu_add_bias(p[i].m, p[i].bias, 0, group, a.n_rows, tile[i]);
        }
        for (uint32_t r = 0; r < a.n_rows; r++) {
            w->kernels->activate(o->act, tile[0][r], tile[1][r], ROWS, tile[0][r]);
            memcpy(p[0].out + (first + r) * p[0].stride + (size_t)group * ROWS, tile[0][r],
                   n_bytes);
        }
    }
}

void cpu_glu(struct worker *w, const struct op_glu *o)
{
    struct cpu *c = w->cpu;
    const struct product p[2] = {
        {.m = matrix_of(c, o->gate),
         .bias = vector_of(c, o->gate_bias),
         .out = c->slots[o->out],
         .stride = c->plan->slots[o->out].width},
        {.m = matrix_of(c, o->up), .bias = vector_of(c, o->up_bias)},
    };
    struct inputs in = {w->n_rows, c->acts, c->slots[o->in], p[0].m->n_cols};
    if (o->norm || w->acts_slot != o->in) /* a shared expert reads what the router has prepared */
        in = prepare_inputs(w, p, 2,
                            &(struct prepare){.in = c->slots[o->in],
                                              .n_rows = w->n_rows,
                                              .norm = vector_of(c, o->norm),
                                              .eps = o->eps});
    const uint32_t n_groups = p[0].m->n_groups, step = groups_per_item(w, p, 1, w->n_rows);
    for (uint32_t item; (item = pool_next(c->pool)) * step < n_groups;) {
        const uint32_t end = (uint32_t)num_min((item + 1) * step, n_groups);
        for (uint32_t group = item * step; group < end; group++)
            glu_group(w, o, p, &in, group);
    }
    pool_barrier(c->pool);
}

void cpu_head(struct worker *w, const struct op_head *o)
{
    struct cpu *c = w->cpu;
    if (c->n_wanted == 0)
        return;
    struct product p = {
        .m = matrix_of(c, o->w),
        .out = c->logits,
        .stride = c->plan->n_vocab,
    };
    project(w, &p, 1,
            &(struct prepare){.in = c->slots[o->x],
                              .rows = c->wanted,
                              .n_rows = c->n_wanted,
                              .norm = vector_of(c, o->norm),
                              .eps = o->eps});
}

void cpu_embed(struct worker *w, const struct op_embed *o)
{
    struct cpu *c = w->cpu;
    const struct block_info *info = block_info(o->table->type);
    size_t n_cols = (size_t)o->table->ne[0], row_bytes = block_row_bytes(o->table->type, n_cols);
    const uint8_t *table = c->weights.bytes + c->weights.table_at[o->table->index];
    for (uint32_t t; (t = pool_next(c->pool)) < w->n_rows;)
        info->decode(table + (size_t)c->batch->ids[t] * row_bytes, c->slots[o->x] + t * n_cols,
                     n_cols);
    pool_barrier(c->pool);
}
