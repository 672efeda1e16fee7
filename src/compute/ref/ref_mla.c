/* Latent attention in the absorbed form (spec "architectures" 8): with K_h moved to the query and
 * V_h behind the sum, all heads share one cached row per token. */
#include <string.h>

#include "compute/ref/ref_int.h"

/* Elements of a cached row, and of a head's key: [latent | rope]. */
static size_t key_width(const struct op_attend_mla *o)
{
    return o->n_latent + o->rope->n_rot;
}

static uint8_t *cache_row(const struct ref *r, const struct op_attend_mla *o, uint32_t t,
                          uint32_t pos)
{
    const struct ref_cache *c = &r->cache[o->kv];
    return c->k + ref_cache_row(c, r->batch->seq[t], pos) * c->k_row_bytes;
}

static void store_row(struct ref *r, const struct op_attend_mla *o, uint32_t t)
{
    const size_t width = key_width(o);
    const uint32_t pos = r->batch->pos[t];
    const float *norm = ref_vector(r, o->latent_norm, r->row[1]);
    float *key = r->row[0];
    memcpy(key, ref_slot(r, o->kv_in) + t * width, width * sizeof *key);
    ref_rms(key, norm, o->eps, o->n_latent, key);
    ref_rope(o->rope, pos, key + o->n_latent);
    block_info(r->params.type_k)->encode(key, cache_row(r, o, t, pos), width);
}

/* keys[t][h] = [K_h nope | rope(rest)] for all rows. */
static void absorb_keys(struct ref *r, const struct op_attend_mla *o, float *keys)
{
    const size_t n_rot = o->rope->n_rot, width = key_width(o), n_q = o->n_nope + n_rot;
    const float *q = ref_slot(r, o->q);
    for (uint32_t h = 0; h < o->n_head; h++) {
        for (uint32_t i = 0; i < o->n_latent; i++) {
            ref_row(r, o->key_up, h, i, r->row[0]);
            for (size_t t = 0; t < r->batch->n; t++)
                keys[(t * o->n_head + h) * width + i] =
                    (float)ref_dot(r->row[0], q + (t * o->n_head + h) * n_q, o->n_nope);
        }
        for (size_t t = 0; t < r->batch->n; t++) {
            float *rope = keys + (t * o->n_head + h) * width + o->n_latent;
            memcpy(rope, q + (t * o->n_head + h) * n_q + o->n_nope, n_rot * sizeof *rope);
            ref_rope(o->rope, r->batch->pos[t], rope);
        }
    }
}

/* out[t][h] = V_h mixed[t][h]; rows of mixed lie `stride` apart. */
static void project_values(struct ref *r, const struct op_attend_mla *o, const float *mixed,
                           size_t stride)
{
    const uint32_t n_v = o->head_dim_v;
    float *out = ref_slot(r, o->out);
    for (uint32_t h = 0; h < o->n_head; h++)
        for (uint32_t i = 0; i < n_v; i++) {
            ref_row(r, o->value_down, h, i, r->row[0]);
            for (size_t t = 0; t < r->batch->n; t++)
                out[(t * o->n_head + h) * n_v + i] = (float)ref_dot(
                    r->row[0], mixed + t * stride + (size_t)h * o->n_latent, o->n_latent);
        }
}

void ref_attend_mla(struct ref *r, const struct op_attend_mla *o)
{
    const size_t width = key_width(o), stride = o->n_head * width;
    for (uint32_t t = 0; t < r->batch->n; t++)
        store_row(r, o, t);
    absorb_keys(r, o, r->parts);
    for (uint32_t t = 0; t < r->batch->n; t++) {
        const struct ref_cache *c = &r->cache[o->kv];
        const struct ref_rows rows = {r->params.type_k, width, c->k_row_bytes, c->k};
        const struct ref_attention a = {
            .n_head = o->n_head,
            .n_kv_head = 1,
            .head_dim = (uint32_t)width,
            .head_dim_v = o->n_latent,
            .scale = o->scale,
            .cache = c,
            .seq = r->batch->seq[t],
            .keys = rows,
            .values = rows, /* the latent, at the front */
        };
        float *keys = r->parts + t * stride;
        ref_attend_rows(r, &a, keys, 0, r->batch->pos[t] + 1, keys);
    }
    project_values(r, o, r->parts, stride);
}
