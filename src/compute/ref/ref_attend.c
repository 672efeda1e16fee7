/* Attention: norms, rotary embedding, the KV cache, softmax (spec "architectures" 0.3 to 0.5). */
#include <math.h>
#include <string.h>

#include "compute/ref/ref_int.h"

void ref_rms(const float *in, const float *weight, float eps, size_t n, float *out)
{
    const double mean = ref_dot(in, in, n) / (double)n;
    const double scale = 1 / sqrt(mean + (double)eps);
    for (size_t i = 0; i < n; i++)
        out[i] = (float)((double)in[i] * scale * (double)weight[i]);
}

void ref_rope(const struct rope *rope, uint32_t pos, float *head)
{
    const uint32_t n_pairs = rope->n_rot / 2;
    const bool halves = rope->pairs == ROPE_HALVES;
    for (uint32_t i = 0; i < n_pairs; i++) {
        const double angle = (double)pos * rope->inv_freq[i];
        const double c = cos(angle) * (double)rope->mscale, s = sin(angle) * (double)rope->mscale;
        float *first = &head[halves ? i : 2 * i];
        float *second = &head[halves ? i + n_pairs : 2 * i + 1];
        const double a = (double)*first, b = (double)*second;
        *first = (float)(a * c - b * s);
        *second = (float)(a * s + b * c);
    }
}

void ref_softmax(float *scores, size_t n, const float *sink)
{
    float largest = sink ? *sink : scores[0];
    for (size_t i = 0; i < n; i++)
        largest = fmaxf(largest, scores[i]);
    double sum = sink ? exp((double)*sink - (double)largest) : 0;
    for (size_t i = 0; i < n; i++) {
        scores[i] = expf(scores[i] - largest);
        sum += (double)scores[i];
    }
    for (size_t i = 0; i < n; i++)
        scores[i] = (float)((double)scores[i] / sum);
}

/* heads[h] = rope(rms(in[h])): n heads of width `dim` that lie `stride` apart. */
static void prepare_heads(const float *in, size_t stride, uint32_t n, uint32_t dim,
                          const float *norm, float eps, const struct rope *rope, uint32_t pos,
                          float *heads)
{
    for (uint32_t h = 0; h < n; h++) {
        float *head = heads + (size_t)h * dim;
        memcpy(head, in + h * stride, dim * sizeof *head);
        if (norm)
            ref_rms(head, norm, eps, dim, head);
        if (rope)
            ref_rope(rope, pos, head);
    }
}

static void store_row(struct ref *r, const struct op_attend *o, uint32_t t)
{
    const struct ref_cache *c = &r->cache[o->kv];
    const uint32_t pos = r->batch->pos[t];
    const size_t n_k = (size_t)o->n_kv_head * o->head_dim;
    const size_t n_v = (size_t)o->n_kv_head * o->head_dim_v;
    const size_t at = ref_cache_row(c, r->batch->seq[t], pos);
    const float *norm = ref_vector(r, o->k_norm, r->row[1]);
    prepare_heads(ref_slot(r, o->k) + t * n_k, o->head_dim, o->n_kv_head, o->head_dim, norm, o->eps,
                  o->rope, pos, r->row[0]);
    block_info(r->params.type_k)->encode(r->row[0], c->k + at * c->k_row_bytes, n_k);
    block_info(r->params.type_v)
        ->encode(ref_slot(r, o->v) + t * n_v, c->v + at * c->v_row_bytes, n_v);
}

static const uint8_t *row_at(const struct ref_attention *a, const struct ref_rows *rows,
                             uint32_t pos)
{
    return rows->all + ref_cache_row(a->cache, a->seq, pos) * rows->n_bytes;
}

/* scores[h][i] = scale * q_h . k(first + i), i < n. */
static void score_keys(struct ref *r, const struct ref_attention *a, const float *q, uint32_t first,
                       uint32_t n)
{
    const uint32_t group = a->n_head / a->n_kv_head;
    float *keys = r->row[0];
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *row = row_at(a, &a->keys, first + i);
        block_info(a->keys.type)->decode(row, keys, a->keys.width);
        for (uint32_t h = 0; h < a->n_head; h++) {
            const float *key = keys + (size_t)(h / group) * a->head_dim;
            double score = ref_dot(q + (size_t)h * a->head_dim, key, a->head_dim);
            r->scores[(size_t)h * r->params.n_ctx + i] = (float)(score * (double)a->scale);
        }
    }
}

/* out[h] = sum over i < n of scores[h][i] * v(first + i). */
static void mix_values(struct ref *r, const struct ref_attention *a, uint32_t first, uint32_t n,
                       float *out)
{
    const uint32_t group = a->n_head / a->n_kv_head;
    float *values = r->row[0];
    memset(out, 0, (size_t)a->n_head * a->head_dim_v * sizeof *out);
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *row = row_at(a, &a->values, first + i);
        block_info(a->values.type)->decode(row, values, a->values.width);
        for (uint32_t h = 0; h < a->n_head; h++) {
            const float p = r->scores[(size_t)h * r->params.n_ctx + i];
            const float *value = values + (size_t)(h / group) * a->head_dim_v;
            for (uint32_t j = 0; j < a->head_dim_v; j++)
                out[(size_t)h * a->head_dim_v + j] += p * value[j];
        }
    }
}

void ref_attend_rows(struct ref *r, const struct ref_attention *a, const float *q, uint32_t first,
                     uint32_t n, float *out)
{
    score_keys(r, a, q, first, n);
    for (uint32_t h = 0; h < a->n_head; h++)
        ref_softmax(r->scores + (size_t)h * r->params.n_ctx, n, a->sinks ? &a->sinks[h] : NULL);
    mix_values(r, a, first, n, out);
}

static void attend_row(struct ref *r, const struct op_attend *o, uint32_t t)
{
    const uint32_t pos = r->batch->pos[t];
    const uint32_t first = exec_window_first(o->window, pos), n = pos - first + 1;
    const size_t stride = o->head_dim * (o->gated ? 2 : 1);
    const float *q = ref_slot(r, o->q) + t * o->n_head * stride;
    float *out = ref_slot(r, o->out) + (size_t)t * o->n_head * o->head_dim_v;
    prepare_heads(q, stride, o->n_head, o->head_dim, ref_vector(r, o->q_norm, r->row[1]), o->eps,
                  o->rope, pos, r->heads);
    const struct ref_cache *c = &r->cache[o->kv];
    const struct ref_attention a = {
        .n_head = o->n_head,
        .n_kv_head = o->n_kv_head,
        .head_dim = o->head_dim,
        .head_dim_v = o->head_dim_v,
        .scale = o->scale,
        .sinks = ref_vector(r, o->sinks, r->row[1]),
        .cache = c,
        .seq = r->batch->seq[t],
        .keys = {r->params.type_k, (size_t)o->n_kv_head * o->head_dim, c->k_row_bytes, c->k},
        .values = {r->params.type_v, (size_t)o->n_kv_head * o->head_dim_v, c->v_row_bytes, c->v},
    };
    ref_attend_rows(r, &a, r->heads, first, n, out);
    if (!o->gated)
        return;
    for (uint32_t h = 0; h < o->n_head; h++)
        for (uint32_t j = 0; j < o->head_dim_v; j++)
            out[(size_t)h * o->head_dim_v + j] /= 1 + expf(-q[h * stride + o->head_dim + j]);
}

void ref_attend(struct ref *r, const struct op_attend *o)
{
    /* Positions rise within a sequence: what is stored for later rows is not visible to earlier
     * ones. */
    for (uint32_t t = 0; t < r->batch->n; t++)
        store_row(r, o, t);
    for (uint32_t t = 0; t < r->batch->n; t++)
        attend_row(r, o, t);
}
