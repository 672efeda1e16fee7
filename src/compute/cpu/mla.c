/* Latent attention (MLA) in the absorbed form: every head's query is taken through its key matrix,
 * then all heads attend over one cached latent per token, then every head's sum goes through its
 * value matrix. cpu.latent_keys has [row][head][latent | rope]: first the queries, then the sums.
 */
#include <string.h>

#include "base/num.h"
#include "compute/cpu/attend.h"

enum { ROWS_PER_ITEM = KEY_TILE, CHUNKS_PER_THREAD = 4 };

/* out[row][head] = M_head in[row][head]. */
struct head_product {
    const struct matrix *m; /* one expert per head */
    const float *in;
    size_t in_row, in_head; /* strides */
    float *out;
    size_t out_row, out_head;
};

/* Input rows [first, first + a.n_rows) of one head; quantised into the thread's scratch. */
static struct act_tile input_tile(struct worker *w, const struct head_product *p, uint32_t head,
                                  uint32_t first)
{
    const struct act_tile a = {
        .q = w->scratch->tile,
        .f = p->in + first * p->in_row + head * p->in_head,
        .f_stride = p->in_row,
        .n_rows = tile_rows(w->n_rows, first),
    };
    for (uint32_t r = 0; !matrix_is_float(p->m) && r < a.n_rows; r++)
        w->kernels->quantise(a.f + r * a.f_stride, p->m->n_cols, w->scratch->tile + r, a.n_rows);
    return a;
}

static void multiply_head(struct worker *w, const struct head_product *p, uint32_t head,
                          uint32_t group, uint32_t end_group)
{
    float tile[TILE_ROWS][ROWS];
    for (uint32_t first = 0; first < w->n_rows; first += TILE_ROWS) {
        const struct act_tile a = input_tile(w, p, head, first);
        for (uint32_t g = group; g < end_group; g++) {
            const size_t n_bytes = matrix_rows_at(p->m, g) * sizeof(float);
            w->kernels->mul[p->m->layout](matrix_group(p->m, head, g), p->m->n_cols, &a, tile);
            for (uint32_t r = 0; r < a.n_rows; r++)
                memcpy(p->out + (first + r) * p->out_row + head * p->out_head + (size_t)g * ROWS,
                       tile[r], n_bytes);
        }
    }
}

/* A phase, shared out by heads and, where these are few, parts of their rows. */
static void multiply_heads(struct worker *w, const struct head_product *p)
{
    const uint32_t n_heads = p->m->n_experts, n_groups = p->m->n_groups;
    const uint32_t n_chunks = CHUNKS_PER_THREAD * (uint32_t)w->cpu->n_threads / n_heads + 1;
    const uint32_t step = (n_groups + n_chunks - 1) / n_chunks;
    const uint32_t per_head = (n_groups + step - 1) / step;
    for (uint32_t item; (item = pool_next(w->cpu->pool)) < n_heads * per_head;) {
        const uint32_t group = item % per_head * step;
        multiply_head(w, p, item / per_head, group, (uint32_t)num_min(group + step, n_groups));
    }
    pool_barrier(w->cpu->pool);
}

/* The latent of row t into the cache, the rotated parts of its queries into latent_keys. */
static void prepare_row(struct worker *w, const struct op_attend_mla *o, const struct attention *a,
                        uint32_t t)
{
    struct cpu *c = w->cpu;
    const uint32_t n_rot = o->rope->n_rot, width = o->n_latent + n_rot, pos = c->batch->pos[t];
    const float *cosines = c->cosines + (size_t)t * (n_rot / 2);
    const float *sines = c->sines + (size_t)t * (n_rot / 2);
    float *key = w->scratch->row;
    memcpy(key, c->slots[o->kv_in] + (size_t)t * width, width * sizeof *key);
    w->kernels->rms(key, vector_of(c, o->latent_norm), o->eps, o->n_latent, key);
    w->kernels->rotate(key + o->n_latent, 1, n_rot, o->rope, cosines, sines);
    attend_store_key(c->params.type_k, key, width, attend_key_tile(c, a, t, 0, pos),
                     pos % KEY_TILE);

    const float *q = c->slots[o->q] + (size_t)t * o->n_head * (o->n_nope + n_rot) + o->n_nope;
    float *rotated = c->latent_keys + (size_t)t * o->n_head * width + o->n_latent;
    for (uint32_t h = 0; h < o->n_head; h++)
        memcpy(rotated + (size_t)h * width, q + (size_t)h * (o->n_nope + n_rot), n_rot * sizeof *q);
    w->kernels->rotate(rotated, o->n_head, width, o->rope, cosines, sines);
}

void cpu_attend_mla(struct worker *w, const struct op_attend_mla *o)
{
    struct cpu *c = w->cpu;
    const uint32_t width = o->n_latent + o->rope->n_rot, n_q = o->n_nope + o->rope->n_rot;
    /* As if all heads shared one key head, whose keys begin with the values. */
    const struct op_attend shared = {
        .n_head = o->n_head,
        .n_kv_head = 1,
        .head_dim = width,
        .head_dim_v = o->n_latent,
        .scale = o->scale,
        .kv = o->kv,
    };
    struct attention a = attention_of(c, &shared);
    a.q = a.out = c->latent_keys;
    a.out_stride = width;
    a.values_in_keys = true;
    attend_rotations(w, o->rope);
    if (w->i_thread == 0)
        attend_make_row_tiles(c, &a);
    for (uint32_t item; (item = pool_next(c->pool)) * ROWS_PER_ITEM < w->n_rows;) {
        const uint32_t end = (uint32_t)num_min((item + 1) * ROWS_PER_ITEM, w->n_rows);
        for (uint32_t t = item * ROWS_PER_ITEM; t < end; t++)
            prepare_row(w, o, &a, t);
    }
    pool_barrier(c->pool);
    multiply_heads(w, &(struct head_product){
                          .m = matrix_of(c, o->key_up),
                          .in = c->slots[o->q],
                          .in_row = (size_t)o->n_head * n_q,
                          .in_head = n_q,
                          .out = c->latent_keys,
                          .out_row = (size_t)o->n_head * width,
                          .out_head = width,
                      });
    attend_tiles(w, &a);
    multiply_heads(w, &(struct head_product){
                          .m = matrix_of(c, o->value_down),
                          .in = c->latent_keys,
                          .in_row = (size_t)o->n_head * width,
                          .in_head = width,
                          .out = c->slots[o->out],
                          .out_row = (size_t)o->n_head * o->head_dim_v,
                          .out_head = o->head_dim_v,
                      });
}
