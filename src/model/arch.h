/* arch: what the architecture files build with. Private to model/.
 *
 * Failures stick: the first one is stored in b->e and sets b->failed; every later call does nothing
 * (and answers NULL), so that an architecture reads as a list of steps with one check at the end.
 */
#pragma once
#include "model/model.h"

struct builder {
    const struct gguf *file;
    const char *arch; /* prefix of the keys, as the file spells it */
    const struct model_params *params;
    const enum block_type *types; /* of the file's tensors, as they are loaded; NULL: as they are */
    const struct log *log;
    struct hparams *hp;
    struct plan *plan;
    struct err *e;
    bool failed;
};

/* One file per architecture: hyper-parameters beyond the common ones, tensors, ops. */
void arch_deepseek2(struct builder *b);
void arch_gpt_oss(struct builder *b);
void arch_llama(struct builder *b);
void arch_qwen2(struct builder *b);
void arch_qwen3(struct builder *b);
void arch_qwen35moe(struct builder *b);
void arch_qwen3moe(struct builder *b);
void arch_qwen3next(struct builder *b);

/* Stores the first failure. */
void build_fail(struct builder *b, enum err_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Keys, written without "<arch>.". Absent and not required: *out stays. Outside [lo, hi] (f32: not
 * finite, too) is a failure that names key, value and range. */
enum need { OPTIONAL, REQUIRED };
void key_u32(struct builder *b, const char *key, enum need need, uint32_t lo, uint32_t hi,
             uint32_t *out);
void key_f32(struct builder *b, const char *key, enum need need, float lo, float hi, float *out);
void key_bool(struct builder *b, const char *key, enum need need, bool *out);
/* A number or an array with one entry per block. Entries that are not 0 (0: a block that has no use
 * for it) must be equal. */
void key_u32_per_block(struct builder *b, const char *key, enum need need, uint32_t lo, uint32_t hi,
                       uint32_t *out);
/* The entry of this block of an optional array with one per block. */
void key_bool_of_block(struct builder *b, const char *key, uint32_t block, bool *out);
/* Fills b->hp with the keys common to all architectures, and n_vocab. */
void hparams_read(struct builder *b);
/* For architectures with experts: fails without them. n_ff: their width when the key
 * expert_feed_forward_length is missing; 0: the key is required. */
void hparams_need_experts(struct builder *b, uint64_t n_ff);
/* For architectures with a dense feed-forward: fails without its width. */
void hparams_need_ff(struct builder *b);

/* Shape of a tensor, as in the file: ne[0] runs fastest. */
struct shape {
    uint64_t ne[3];
};
static inline struct shape vector(uint64_t n)
{
    return (struct shape){{n, 1, 1}};
}
static inline struct shape matrix(uint64_t n_in, uint64_t n_out)
{
    return (struct shape){{n_in, n_out, 1}};
}
static inline struct shape matrices(uint64_t n_in, uint64_t n_out, uint64_t n)
{
    return (struct shape){{n_in, n_out, n}};
}

/* The block of tensors that belong to none: bind_tensor(b, NO_BLOCK, "output.weight", ...). */
enum { NO_BLOCK = -1 };
/* The weight "blk.<block>.<name>" with exactly this shape; a missing or different tensor fails. */
const struct weight *bind_tensor(struct builder *b, int block, const char *name, struct shape want);
/* NULL without failure when the file does not have it. */
const struct weight *bind_optional(struct builder *b, int block, const char *name,
                                   struct shape want);
/* Rows [first_row, first_row + part.ne[1]) of every matrix of a fused tensor whose matrices have
 * n_rows rows. */
const struct weight *bind_rows(struct builder *b, int block, const char *name, struct shape part,
                               uint64_t first_row, uint64_t n_rows);
/* A tensor {n_in, n * rows} of n groups of `rows` rows each. */
struct row_groups {
    uint64_t n_in, n, rows;
};
/* Of every group the rows [first, first + n). */
struct row_part {
    uint64_t first, n;
};
/* Of a tensor that is there: the rows of parts[0] of all groups, then those of parts[1], ...; at
 * most WEIGHT_MAX_RUNS parts. */
const struct weight *bind_groups(struct builder *b, int block, const char *name,
                                 const struct row_groups *groups, const struct row_part *parts,
                                 uint32_t n_parts);
/* The tensor under `name` or, where a file lacks that one, under `old_name`. */
const struct weight *bind_renamed(struct builder *b, int block, const char *name,
                                  const char *old_name, struct shape want);
bool bind_has(const struct builder *b, int block, const char *name);
/* ne[axis] of the tensor as the file has it, unchecked; 0: there is no such tensor. */
uint64_t bind_size(const struct builder *b, int block, const char *name, int axis);
/* One warning for all tensors of the file that nothing was bound to. */
void bind_warn_unused(const struct builder *b);

/* What a rotary table is made of (spec "architectures" 0.3, 0.4). */
enum rope_scaling { ROPE_PLAIN, ROPE_LINEAR, ROPE_YARN };
struct rope_spec {
    enum rope_pairs pairs;
    uint32_t n_rot;
    double base;
    enum rope_scaling scaling;
    double factor;      /* linear, yarn */
    double n_ctx_train; /* yarn: context before scaling */
    double attn_factor; /* yarn: multiplies cos and sin on top of YaRN's own; 1 as a rule */
    double beta_fast, beta_slow; /* yarn: turns over n_ctx_train between which it blends; 32, 1 */
    const float *pair_factors;   /* [n_rot / 2] the frequencies are divided by; NULL: 1 */
    bool yarn_rounded;           /* yarn: the limits of the blend are rounded outwards */
};
/* The table lives in the arena. */
const struct rope *rope_make(struct arena *a, const struct rope_spec *spec);
/* What the keys rope.*, the tensor rope_freqs and hp describe; yarn with rounded limits. unnamed:
 * the scaling of a file that has a factor but no type. Zeroed after a failure. */
struct rope_spec rope_keys(struct builder *b, enum rope_pairs pairs, enum rope_scaling unnamed);
/* The table of rope_keys, linear when they name no type; NULL after a failure. */
const struct rope *rope_from_keys(struct builder *b, enum rope_pairs pairs);

/* Stages that most architectures share (layer.c). Each adds one op over the tensors of block i
 * under their usual names and returns it, valid until the next op: the architecture sets what is
 * its own (biases, sinks, another gating). The slots are scratch of one block; all blocks share
 * them. */
struct layer_slots {
    slot_id x;
    bool q_gated; /* set before layer_attention_slots: queries come with gates (op_attend.gated) */
    slot_id q, k, v, attended;            /* layer_attention_slots */
    slot_id gated;                        /* layer_glu_slots */
    slot_id normed, ids, weights, chosen; /* layer_expert_slots */
    slot_id shared;                       /* layer_shared_slots */
};
void layer_attention_slots(struct builder *b, struct layer_slots *s);
void layer_glu_slots(struct builder *b, struct layer_slots *s);
void layer_expert_slots(struct builder *b, struct layer_slots *s);
void layer_shared_slots(struct builder *b, struct layer_slots *s);
/* Makes slot x; token_embd. */
void layer_embed(struct builder *b, struct layer_slots *s);
/* output_norm; output, or token_embd where there is none. The plan's last op. */
void layer_head(struct builder *b, const struct layer_slots *s);
/* attn_norm; attn_q, attn_k, attn_v or parts of attn_qkv: outputs 0, 1, 2. */
struct op_project *layer_qkv(struct builder *b, const struct layer_slots *s, uint32_t i);
/* With a KV layer of its own, scaled by 1 / sqrt(hd). window as in op_attend. */
struct op_attend *layer_attend(struct builder *b, const struct layer_slots *s,
                               const struct rope *rope, uint32_t window, uint32_t i);
/* attn_q.bias, attn_k.bias, attn_v.bias. */
void layer_qkv_biases(struct builder *b, struct op_project *o, enum need need, uint32_t i);
/* attn_q_norm, attn_k_norm. */
void layer_head_norms(struct builder *b, struct op_attend *o, uint32_t i);
/* attn_output. */
struct op_add_project *layer_attn_output(struct builder *b, const struct layer_slots *s,
                                         uint32_t i);
/* ffn_norm, ffn_gate, ffn_up; ACT_SWIGLU. */
struct op_glu *layer_glu(struct builder *b, const struct layer_slots *s, uint32_t i);
/* ffn_down. */
struct op_add_project *layer_glu_down(struct builder *b, const struct layer_slots *s, uint32_t i);
/* The shared expert, over what the router has normalised: ffn_gate_shexp, ffn_up_shexp;
 * ACT_SWIGLU. */
struct op_glu *layer_shared(struct builder *b, const struct layer_slots *s, uint32_t i);
/* ffn_down_shexp. */
struct op_add_project *layer_shared_down(struct builder *b, const struct layer_slots *s,
                                         uint32_t i);
/* ffn_gate_inp behind the norm of this name; GATE_SOFTMAX_NORM. */
struct op_route *layer_route(struct builder *b, const struct layer_slots *s, const char *norm,
                             uint32_t i);
/* ffn_gate_exps, ffn_up_exps or parts of ffn_gate_up_exps; ACT_SWIGLU. */
struct op_experts_up *layer_experts_up(struct builder *b, const struct layer_slots *s, uint32_t i);
/* ffn_down_exps. */
struct op_experts_down *layer_experts_down(struct builder *b, const struct layer_slots *s,
                                           uint32_t i);
