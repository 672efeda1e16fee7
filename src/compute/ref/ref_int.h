/* ref: the backend that is the truth. Plain loops over float32 values; sums run in double, so that
 * their order does not matter at float's precision. One file per family of ops. Private to
 * compute/ref/. */
#pragma once
#include "compute/exec.h"

/* The rows of a KV layer, in pages (exec_kv_rows). */
struct ref_cache {
    uint8_t *k, *v;
    size_t k_row_bytes, v_row_bytes;
    uint32_t n_rows; /* of a page */
    const struct pages *pages;
};

/* The state of a sequence in one recurrent layer. The memory is the one at the last chunk border;
 * what the rows since then add to it stands beside it. */
struct ref_state {
    float *conv;   /* [n_conv - 1][C] newest inputs, oldest first */
    float *memory; /* [n_v][d_v][d_k]: S transposed */
    float *keys;   /* [REF_CHUNK][n_k][d_k] */
    float *news;   /* [REF_CHUNK][n_v][d_v]: what is new in the values, times beta */
    float *decays; /* [REF_CHUNK][n_v]: logarithm of the decay since the border */
};
enum { REF_CHUNK = 64 };

struct ref {
    const struct plan *plan;
    struct exec_params params;
    uint8_t **weights;       /* [plan.n_weights] bytes as stored in the file */
    float **slots;           /* [plan.n_slots][n_ubatch][width]; ids: int32_t */
    struct ref_cache *cache; /* [plan.n_kv] */
    float *states;           /* [n_seqs][n_state_floats] */
    size_t *state_at;        /* [plan.n_states] where the layer's begins in it */
    size_t n_state_floats;

    /* Scratch of a single op. */
    float *row[4]; /* [widest row of a weight or the cache] */
    float *normed; /* [n_ubatch][widest input] */
    float *heads;  /* [widest q, or channels of a convolution] */
    float *scores; /* [most heads][n_ctx] */
    float *parts;  /* [n_ubatch][most experts used][widest output], [n_ubatch][dense ff], or
                      [n_ubatch][heads][latent key] */

    const struct batch *batch; /* of the run */
    float *logits;             /* [wanted rows][n_vocab] of the last run for the best tokens */

    uint8_t *weight_bytes, *cache_bytes, *scratch_bytes, *state_bytes;
    size_t n_weight_bytes, n_cache_bytes, n_scratch_bytes, n_state_bytes;
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
    const struct ref_cache *cache;
    uint32_t seq; /* the batch row's */
    /* All rows of the cache, and what one has. */
    struct ref_rows {
        enum block_type type;
        size_t width, n_bytes;
        const uint8_t *all;
    } keys, values;
};
/* out[h] = sum over positions [first, first + n) of softmax(scale * q[h] . key) value. q and out
 * may overlap. */
void ref_attend_rows(struct ref *r, const struct ref_attention *a, const float *q, uint32_t first,
                     uint32_t n, float *out);
/* scores in place to probabilities; sink (NULL: none) takes part in the sum only. */
void ref_softmax(float *scores, size_t n, const float *sink);

/* The best of logits[n_vocab]; allowed: [n_vocab] flags, or NULL. */
void ref_pick(const float *logits, uint32_t n_vocab, const unsigned char *allowed,
              struct best *out);

/* One channel: silu(taps . (history, in)); the history [n_taps - 1] lies `stride` apart and moves
 * on by one. */
float ref_conv(const float *taps, uint32_t n_taps, float *history, size_t stride, float in);
/* head[n] times scale / sqrt(sum of squares + 1e-6), in place. */
void ref_l2(float *head, size_t n, double scale);
/* Logarithm of the decay: decay * softplus(alpha + dt_bias). */
float ref_decay(float decay, float alpha, float dt_bias);
/* out = rms(in; norm, eps) * silu(z), n values. */
void ref_gated_norm(const float *in, const float *norm, const float *z, float eps, size_t n,
                    float *out);
/* One value head within a chunk; the strides are from row to row. */
struct ref_chunk {
    uint32_t d_k, d_v;
    float *memory; /* [d_v][d_k] at the chunk's begin */
    const float *keys;
    float *news, *decays;
    size_t key_stride, new_stride, decay_stride;
};
/* Row n of the chunk, whose key is there: out[d_v] = S' q. log_decay <= 0. */
void ref_chunk_row(const struct ref_chunk *c, uint32_t n, const float *q, const float *v,
                   float beta, float log_decay, float *out);
/* Moves the first n_rows rows into the memory. */
void ref_chunk_close(const struct ref_chunk *c, uint32_t n_rows);
/* Floats of a sequence's state in this layer. */
size_t ref_delta_floats(const struct op_delta_net *o);

/* What a sequence keeps (ref_state.c). */
static inline size_t ref_cache_row(const struct ref_cache *c, uint32_t seq, uint32_t pos)
{
    return (size_t)exec_kv_page(c->pages, seq, pos) * c->n_rows + pos % c->n_rows;
}
uint64_t ref_cache_bytes(const struct plan *p, const struct exec_params *params);
/* Of the recurrent states of one sequence. */
size_t ref_state_floats(const struct plan *p);
/* Allocate, and set what lies where. */
bool ref_make_cache(struct ref *r, struct err *e);
bool ref_make_states(struct ref *r, struct err *e);
/* As in struct backend. */
uint64_t ref_state_bytes(const struct plan *p, const struct exec_params *params);
bool ref_state_copy(void *state, uint32_t seq, uint32_t n_tokens, struct state_copy *copy,
                    struct err *e);
uint64_t ref_rows_bytes(const struct plan *p, const struct exec_params *params, uint32_t n);
bool ref_rows_copy(void *state, uint32_t seq, uint32_t first, uint32_t end, struct state_copy *copy,
                   struct err *e);
bool ref_page_copy(void *state, const struct page_copy *copy, struct err *e);

void ref_embed(struct ref *r, const struct op_embed *o);
void ref_project(struct ref *r, const struct op_project *o);
void ref_delta_net(struct ref *r, const struct op_delta_net *o);
void ref_add_project(struct ref *r, const struct op_add_project *o);
void ref_glu(struct ref *r, const struct op_glu *o);
void ref_head(struct ref *r, const struct op_head *o, float *logits);
void ref_attend(struct ref *r, const struct op_attend *o);
void ref_attend_mla(struct ref *r, const struct op_attend_mla *o);
void ref_route(struct ref *r, const struct op_route *o);
void ref_experts_up(struct ref *r, const struct op_experts_up *o);
void ref_experts_down(struct ref *r, const struct op_experts_down *o);
