/* plan: the forward pass of a model as a short program over coarse ops, the same for every backend
 * and for decode and prefill alike. An op is a fused stage: what one GPU phase or one threaded loop
 * does.
 *
 * Data flow. A batch has T rows (tokens). Every value between ops lives in a slot: T rows of
 * `width` 32-bit elements (float, or int32 for expert ids). Ops run in order; a backend may fuse
 * neighbours but the slots named here are what it must compute. Weights are referred to by pointer;
 * biases and norms are weights too. NULL means "not there". All vectors are rows; y = W x with W
 * stored as ne[1] rows of ne[0].
 *
 * Notation in the comments: x[T][d] is the residual stream, H query heads, G key/value heads, hd
 * their width, E experts of which k are used, ff their inner width, V vocabulary rows. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "gguf/gguf.h"

/* Pieces of a tensor's data: piece i < n begins at first + i * stride and has `bytes` bytes. */
struct weight_run {
    uint64_t first, stride, bytes, n;
};
enum { WEIGHT_MAX_RUNS = 3 };

/* A tensor of the model file, or a part of a fused one (q of attn_qkv, gate of ffn_gate_up_exps): a
 * reader sees it as if it were stored alone, and in `type`, which is the file's unless the model
 * was opened with other types. Its bytes are read with weight_read when a backend loads it. */
struct weight {
    str name;
    uint32_t index; /* its place in plan.weights: backends keep what they load in an array */
    enum block_type type;
    uint64_t ne[3];   /* ne[0] columns (inputs), ne[1] rows (outputs), ne[2] experts; missing: 1 */
    uint64_t n_bytes; /* in `type` */
    const struct gguf *file; /* where the bytes are; NULL: in memory at `data` (tests) */
    const struct gguf_tensor *tensor;
    const void *data;
    /* Where they are in the tensor's data, in the type of the file: one piece after the other. */
    struct weight_run runs[WEIGHT_MAX_RUNS];
    uint32_t n_runs;
};
/* Copies bytes [offset, offset + n) of the weight into out, converted where the file has another
 * type (any offset, but whole blocks are quicker). Thread-safe. */
bool weight_read(const struct weight *w, uint64_t offset, void *out, size_t n, struct err *e);

/* Index into plan.slots. */
typedef uint16_t slot_id;

struct slot {
    const char *name;
    uint32_t width; /* 32-bit elements per row */
};

enum rope_pairs { ROPE_HALVES, ROPE_ADJACENT };

/* Rotary embedding. The angle of pair i at position p is p * inv_freq[i]; cos and sin are
 * multiplied by mscale. Made once per plan in double precision (spec "architectures" 0.3, 0.4). */
struct rope {
    enum rope_pairs pairs;
    uint32_t n_rot;         /* rotated elements per head, even; the rest pass through */
    const double *inv_freq; /* [n_rot / 2]; in float the angle would be off by 1e-3 at 32k */
    float mscale;
};

enum op_kind {
    OP_EMBED,        /* token ids -> x */
    OP_PROJECT,      /* rms norm, then up to four matrices */
    OP_ATTEND,       /* head norms, rope, store k and v, softmax attention */
    OP_ATTEND_MLA,   /* the same over a latent that all heads share */
    OP_DELTA_NET,    /* causal convolution, gated delta rule over a state, gated norm */
    OP_ADD_PROJECT,  /* x += W in */
    OP_GLU,          /* rms norm, then act(gate, up) */
    OP_ROUTE,        /* rms norm, router, top k */
    OP_EXPERTS_UP,   /* act(gate, up) of the chosen experts */
    OP_EXPERTS_DOWN, /* x += weighted sum of the chosen experts' down projections */
    OP_HEAD,         /* rms norm and output matrix -> logits */
    OP_KIND_COUNT,
};

/* x[t] = table[ids[t]], dequantised. */
struct op_embed {
    const struct weight *table; /* {d, V} */
    slot_id x;
};

/* a = rms(in; norm, eps) (norm NULL: a = in); out_i = W_i a + bias_i. All out_i share the input. */
struct op_project {
    slot_id in;
    const struct weight *norm; /* {n_in} */
    float eps;
    uint32_t n_out; /* 1..4 */
    struct {
        const struct weight *w;    /* {n_in, n_out} */
        const struct weight *bias; /* {n_out} */
        slot_id out;
    } out[4];
};

/* Per row with position p and sequence s: every head of q and k is normalised (q_norm, k_norm over
 * hd, when present), rotated, k and v are stored at p in KV layer `kv` of s, then out_h = sum
 * softmax(scale * q_h . k(p')) v(p') over the visible p' <= p (spec 0.5). */
struct op_attend {
    slot_id q;                            /* [H * hd]; gated: [H][hd query | hd gate] */
    slot_id k;                            /* [G * hd] */
    slot_id v;                            /* [G * hd_v] */
    slot_id out;                          /* [H * hd_v] */
    const struct weight *q_norm, *k_norm; /* {hd} */
    float eps;
    uint32_t n_head, n_kv_head, head_dim, head_dim_v;
    const struct rope *rope; /* NULL: none */
    float scale;
    uint32_t window;            /* keys visible, the row's own included; 0: all */
    const struct weight *sinks; /* {H} */
    bool gated;                 /* out ⊙ sigmoid(gate) */
    uint32_t kv;                /* index into plan.kv */
};

/* Latent attention (MLA) in its absorbed form (spec 8). Per row with position p and sequence s: the
 * latent c = rms(kv[0 .. n_latent); latent_norm), the key r = rope(the n_rot elements behind it);
 * [c | r] is stored at p in KV layer `kv` of s. A head of q has n_nope elements and n_rot more,
 * which are rotated: key_h = [K_h nope | rope]. Then mixed_h = sum softmax(scale * key_h . [c |
 * r](p')) c(p') over p' <= p, and out_h = V_h mixed_h. */
struct op_attend_mla {
    slot_id q;                                /* [H][n_nope | n_rot] */
    slot_id kv_in;                            /* [n_latent | n_rot] */
    slot_id out;                              /* [H * hd_v] */
    const struct weight *latent_norm;         /* {n_latent} */
    const struct weight *key_up, *value_down; /* K {n_nope, n_latent, H}; V {n_latent, hd_v, H} */
    float eps;
    uint32_t n_head, n_nope, n_latent, head_dim_v;
    const struct rope *rope; /* of n_rot elements */
    float scale;
    uint32_t kv; /* index into plan.kv */
};

enum head_order {
    HEADS_GROUPED, /* value head h uses key head h / (n_v / n_k) */
    HEADS_TILED,   /* h mod n_k */
};

/* Linear attention (spec "architectures" 6.3): a gated delta net with n_k heads for q and k and n_v
 * for v. Per row, over the state `state` of its sequence, which is zero at position 0:
 *     m' = silu(conv over the newest n_conv rows of qkv), channel by channel; split into q, k, v;
 *     q and k of each head times 1 / sqrt(sum of squares + 1e-6), q also over sqrt(d_k);
 *     S = exp(decay * softplus(alpha + dt_bias)) S;
 *     S = S + k (sigmoid(beta) (v - S' k))';  o = S' q  (S' transposed);
 *     out = rms(o; norm, eps) ⊙ silu(z). */
struct op_delta_net {
    slot_id qkv;                  /* [n_k * d_k | n_k * d_k | n_v * d_v]: the C channels */
    slot_id z;                    /* [n_v * d_v] */
    slot_id beta, alpha;          /* [n_v] each; or the same slot, see delta_gates_width */
    slot_id out;                  /* [n_v * d_v] */
    const struct weight *conv;    /* {n_conv, C}, the newest row's factor last */
    const struct weight *dt_bias; /* {n_v} */
    const struct weight *decay;   /* {n_v}, negative */
    const struct weight *norm;    /* {d_v} */
    float eps;
    uint32_t n_conv, n_k_head, n_v_head, d_k, d_v;
    enum head_order order;
    uint32_t state; /* index into plan.states */
};

/* Width of the rows of beta and alpha, and where head h stands in them. In a slot for both,
 * [n_k][the betas of its n_v / n_k value heads | as many alphas], heads are grouped. */
static inline uint32_t delta_gates_width(const struct op_delta_net *o)
{
    return o->beta == o->alpha ? 2 * o->n_v_head : o->n_v_head;
}
static inline uint32_t delta_beta_at(const struct op_delta_net *o, uint32_t h)
{
    const uint32_t n_each = o->n_v_head / o->n_k_head;
    return o->beta == o->alpha ? h + h / n_each * n_each : h;
}
static inline uint32_t delta_alpha_at(const struct op_delta_net *o, uint32_t h)
{
    return delta_beta_at(o, h) + (o->beta == o->alpha ? o->n_v_head / o->n_k_head : 0);
}

/* x += factor * (W in + bias), factor = sigmoid(gate . gate_in) per row, 1 when gate is NULL. */
struct op_add_project {
    slot_id in;
    slot_id x;
    const struct weight *w;
    const struct weight *bias;
    const struct weight *gate; /* {d} */
    slot_id gate_in;           /* [d] */
};

enum activation {
    ACT_SWIGLU,     /* silu(g) * u */
    ACT_SWIGLU_OAI, /* g <= 7, |u| <= 7: g * sigmoid(1.702 g) * (u + 1) */
};

/* a = rms(in; norm, eps) (norm NULL: a = in); out = act(G a + gate_bias, U a + up_bias). */
struct op_glu {
    slot_id in;  /* [d] */
    slot_id out; /* [ff] */
    const struct weight *norm;
    float eps;
    const struct weight *gate, *up;           /* {d, ff} */
    const struct weight *gate_bias, *up_bias; /* {ff} */
    enum activation act;
};

enum gating {
    GATE_SOFTMAX_NORM, /* softmax over E, k largest, renormalised by their sum (at
                          least 6.103515625e-5) */
    GATE_TOPK_SOFTMAX, /* k largest logits, softmax over those */
    GATE_SIGMOID_BIAS, /* sigmoid; k largest of score + select_bias; renormalised; times scale */
};

/* normed = rms(x; norm, eps); logits = router normed + bias; ids[k], weights[k] by `gating` (spec
 * 0.6; ties: lower expert first; ids in falling order of score). */
struct op_route {
    slot_id x;
    slot_id normed;  /* [d] */
    slot_id ids;     /* int32 [k] */
    slot_id weights; /* [k] */
    const struct weight *norm;
    float eps;
    const struct weight *router;      /* {d, E} */
    const struct weight *bias;        /* {E} */
    const struct weight *select_bias; /* {E}, GATE_SIGMOID_BIAS */
    uint32_t n_expert, n_used;
    enum gating gating;
    float scale;
};

/* out[j] = act(G_e in + bias, U_e in + bias) for e = ids[j], j < k. */
struct op_experts_up {
    slot_id in;                               /* [d] */
    slot_id ids;                              /* [k] */
    slot_id out;                              /* [k * ff] */
    const struct weight *gate, *up;           /* {d, ff, E} */
    const struct weight *gate_bias, *up_bias; /* {ff, E} */
    enum activation act;
    uint32_t n_used;
};

/* x += sum_j weights[j] * (D_e in[j] + bias_e), e = ids[j]; j in rising order, so that the sum has
 * one order. */
struct op_experts_down {
    slot_id in; /* [k * ff] */
    slot_id ids, weights;
    slot_id x;
    const struct weight *down; /* {ff, d, E} */
    const struct weight *bias; /* {d, E} */
    uint32_t n_used;
};

/* logits = W rms(x; norm, eps), only for the rows whose logits are wanted. */
struct op_head {
    slot_id x;
    const struct weight *norm;
    float eps;
    const struct weight *w; /* {d, V} */
};

struct op {
    enum op_kind kind;
    uint16_t layer; /* for messages and profiles */
    union {
        struct op_embed embed;
        struct op_project project;
        struct op_attend attend;
        struct op_attend_mla attend_mla;
        struct op_delta_net delta_net;
        struct op_add_project add_project;
        struct op_glu glu;
        struct op_route route;
        struct op_experts_up experts_up;
        struct op_experts_down experts_down;
        struct op_head head;
    };
};

/* One attention layer's cache: per token, k_width keys and v_width values. */
struct kv_layer {
    uint32_t k_width; /* G * hd; MLA: n_latent + n_rot */
    uint32_t v_width; /* G * hd_v; MLA: 0, the values are a part of the keys */
    uint32_t window;  /* tokens that are read, the newest; 0: all */
};

/* What a recurrent layer remembers of a sequence, in 32-bit floats. Unlike a cache it holds no
 * history: a sequence with states cannot be cut back, only begun again or taken up from a saved
 * copy. */
struct state_layer {
    uint32_t conv_width;   /* (n_conv - 1) * C: newest inputs of the convolution */
    uint32_t memory_width; /* n_v * d_k * d_v: S */
};

struct plan {
    struct arena arena; /* owns everything below */
    struct op *ops;
    size_t n_ops;
    struct slot *slots;
    size_t n_slots;
    struct kv_layer *kv;
    size_t n_kv;
    struct state_layer *states;
    size_t n_states;
    struct weight **weights; /* in the order of plan_weight */
    size_t n_weights;
    uint32_t n_layers;
    uint32_t n_vocab; /* rows of the output matrix: logits per row; 0: a plan without OP_HEAD */
};

/* Building: zero-initialise the plan, add in any order. A plan without OP_EMBED takes its input
 * from slots filled by the caller (exec_slot_put): tests run single ops that way. */
slot_id plan_slot(struct plan *p, const char *name, uint32_t width);
/* A zeroed op at the end; the pointer is valid until the next plan_op. */
struct op *plan_op(struct plan *p, enum op_kind kind, uint32_t layer);
/* Returns the index for op_attend.kv. */
uint32_t plan_kv(struct plan *p, struct kv_layer kv);
/* Returns the index for op_delta_net.state. */
uint32_t plan_state(struct plan *p, struct state_layer state);
/* A weight with .index, .n_bytes and one run, for bytes of this type, set; ne[0] must be a multiple
 * of the type's block. The caller adds where the bytes are. The name is copied. */
struct weight *plan_weight(struct plan *p, str name, enum block_type type, const uint64_t ne[3]);

const char *op_name(enum op_kind kind);
/* Calls visit for every weight of the op, in the order of its struct; absent ones are skipped.
 * share: the part of the weight's bytes that one token reads (k / E for expert tensors, 1 / V for
 * the embedding table). */
void op_weights(const struct op *op, void (*visit)(void *ctx, const struct weight *w, double share),
                void *ctx);
/* Weight bytes that one generated token reads. */
double plan_weight_bytes_per_token(const struct plan *p);
/* KV bytes of one token over all layers, for cache types k and v. */
uint64_t plan_kv_bytes_per_token(const struct plan *p, enum block_type type_k,
                                 enum block_type type_v);
/* KV bytes that the token behind n_tokens others reads: of a layer with a window no more than
 * that. */
uint64_t plan_kv_bytes_read(const struct plan *p, uint32_t n_tokens, enum block_type type_k,
                            enum block_type type_v);
/* Bytes of the recurrent state of one sequence; 0: the plan has none, sequences can be cut back
 * anywhere. A generated token reads and writes all of it. */
uint64_t plan_state_bytes(const struct plan *p);
/* All that the token behind n_tokens others moves: weights and cache read, states read and written.
 */
double plan_bytes_per_token(const struct plan *p, uint32_t n_tokens, enum block_type type_k,
                            enum block_type type_v);
/* Bytes of all distinct weights in their types. */
uint64_t plan_weight_bytes(const struct plan *p);
void plan_free(struct plan *p);
