/* ref: the backend that is the truth. Plain loops over float32 values; sums run in double, so that
 * their order does not matter at float's precision. One file per family of ops. Private to
 * compute/ref/. */
#pragma once
#include "compute/exec.h"

/* Where the rows of a KV layer are: row of (sequence, position) is seq * n_ctx + position. */
struct ref_cache {
    uint8_t *k, *v;
    size_t k_row_bytes, v_row_bytes;
};

struct ref {
    const struct plan *plan;
    struct exec_params params;
    uint8_t **weights;       /* [plan.n_weights] bytes as stored in the file */
    float **slots;           /* [plan.n_slots][n_ubatch][width]; ids: int32_t */
    struct ref_cache *cache; /* [plan.n_kv] */

    /* Scratch of a single op. */
    float *row[4]; /* [widest row of a weight or the cache] */
    float *normed; /* [n_ubatch][widest input] */
    float *heads;  /* [widest q] */
    float *scores; /* [most heads][n_ctx] */
    float *parts;  /* [n_ubatch][most experts used][widest output], [n_ubatch][dense ff], or
                      [n_ubatch][heads][latent key] */

    const struct batch *batch; /* of the run */

    uint8_t *weight_bytes, *cache_bytes, *scratch_bytes;
    size_t n_weight_bytes, n_cache_bytes, n_scratch_bytes;
};

static inline float *ref_slot(const struct ref *r, slot_id s)
{
    return r->slots[s];
}
static inline int32_t *ref_ids(const struct ref *r, slot_id s)
{
    return (int32_t *)(void *)r->slots[s];
}

/* Row i of matrix e of w, dequantised into out[ne[0]]. */
void ref_row(const struct ref *r, const struct weight *w, uint64_t e, uint64_t i, float *out);
/* All of a vector (norm, bias), dequantised into out[ne[0]]; NULL stays NULL. */
const float *ref_vector(const struct ref *r, const struct weight *w, float *out);
double ref_dot(const float *a, const float *b, size_t n);
/* out = in / rms(in) * weight, n values; out may be in. */
void ref_rms(const float *in, const float *weight, float eps, size_t n, float *out);
/* Rotates one head in place for position pos. */
void ref_rope(const struct rope *rope, uint32_t pos, float *head);
/* out[t][i] = (add ? out[t][i] : 0) + w[i] in[t] + bias[i], t < n_rows. */
void ref_matmul(const struct ref *r, const struct weight *w, const struct weight *bias,
                const float *in, uint32_t n_rows, bool add, float *out);
float ref_activate(enum activation act, float gate, float up);
/* Chooses n_used experts from logits (changed) and weighs them; select_bias may be NULL. */
void ref_gate(enum gating gating, float *logits, const float *select_bias, uint32_t n_expert,
              uint32_t n_used, float scale, int32_t *ids, float *weights);
/* Softmax attention of one batch row over rows of a cache; heads share rows in groups. */
struct ref_attention {
    uint32_t n_head, n_kv_head, head_dim, head_dim_v;
    float scale;
    const float *sinks; /* [n_head] or NULL */
    /* Of a cache: what a row has, and the first row of the batch row's sequence. */
    struct ref_rows {
        enum block_type type;
        size_t width, n_bytes;
        const uint8_t *first;
    } keys, values;
};
/* out[h] = sum over positions [first, first + n) of softmax(scale * q[h] . key) value. q and out
 * may overlap. */
void ref_attend_rows(struct ref *r, const struct ref_attention *a, const float *q, uint32_t first,
                     uint32_t n, float *out);
/* scores in place to probabilities; sink (NULL: none) takes part in the sum only. */
void ref_softmax(float *scores, size_t n, const float *sink);

void ref_embed(struct ref *r, const struct op_embed *o);
void ref_project(struct ref *r, const struct op_project *o);
void ref_add_project(struct ref *r, const struct op_add_project *o);
void ref_glu(struct ref *r, const struct op_glu *o);
void ref_head(struct ref *r, const struct op_head *o, float *logits);
void ref_attend(struct ref *r, const struct op_attend *o);
void ref_attend_mla(struct ref *r, const struct op_attend_mla *o);
void ref_route(struct ref *r, const struct op_route *o);
void ref_experts_up(struct ref *r, const struct op_experts_up *o);
void ref_experts_down(struct ref *r, const struct op_experts_down *o);
