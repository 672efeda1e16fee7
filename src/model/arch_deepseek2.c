/* deepseek2: GLM-4.7-Flash, and others of DeepSeek's shape without expert groups (spec
 * "architectures" 8; 9 for Ollama's first files, "glm4moelite"). Latent attention; leading dense
 * blocks, then experts chosen by a biased sigmoid and a shared expert. */
#include <math.h>

#include "model/arch.h"

enum { MAX_LATENT = 1 << 16, MAX_HEAD_DIM = 4096, MAX_SHARED = 64 };

struct mla {
    uint32_t n_q_latent; /* 0: q comes straight from x */
    uint32_t n_latent;
    uint32_t n_qk, n_v; /* of a head; the last n_rot of n_qk are rotated */
    const struct rope *rope;
};

struct slots {
    struct layer_slots common;
    slot_id q_latent, q, kv;
};

/* GLM-4.7-Flash by its shape: its files may leave out how the router works. */
static bool is_glm(const struct builder *b)
{
    const uint32_t n_blocks = b->hp->n_layer + b->hp->n_nextn;
    return b->hp->n_vocab == 154880 && (n_blocks == 47 || n_blocks == 48);
}

static bool is_first_ollama(const struct builder *b)
{
    return str_eq(str_of(b->arch), STR("glm4moelite"));
}

static struct mla read_attention(struct builder *b)
{
    struct mla m = {0};
    float log_multiplier = 0;
    /* Ollama's first files have the two pairs of sizes the other way round. */
    const bool swapped = is_first_ollama(b);
    key_u32(b, "attention.q_lora_rank", OPTIONAL, 0, MAX_LATENT, &m.n_q_latent);
    key_u32(b, "attention.kv_lora_rank", REQUIRED, 1, MAX_LATENT, &m.n_latent);
    if (bind_has(b, 0, "attn_kv_b.weight"))
        build_fail(b, ERR_UNSUPPORTED,
                   "tensor 'blk.0.attn_kv_b.weight': files with k_b and v_b in one tensor are not "
                   "supported; convert the model again with a newer converter");
    key_u32(b, swapped ? "attention.key_length" : "attention.key_length_mla", REQUIRED, 1,
            MAX_HEAD_DIM, &m.n_qk);
    key_u32(b, swapped ? "attention.value_length" : "attention.value_length_mla", REQUIRED, 1,
            MAX_HEAD_DIM, &m.n_v);
    if (b->hp->n_rot >= m.n_qk)
        build_fail(b, ERR_FORMAT,
                   "key '%s.rope.dimension_count' is %u, must be below the %u of a "
                   "head's keys",
                   b->arch, b->hp->n_rot, m.n_qk);
    key_f32(b, "rope.scaling.yarn_log_multiplier", OPTIONAL, -1e6f, 1e6f, &log_multiplier);
    if (log_multiplier != 0)
        build_fail(b, ERR_UNSUPPORTED,
                   "key '%s.rope.scaling.yarn_log_multiplier' is %g: this form of YaRN is not "
                   "supported",
                   b->arch, (double)log_multiplier);
    m.rope = rope_from_keys(b, ROPE_ADJACENT);
    return m;
}

/* Reads the experts' keys; returns the router's scale. */
static float read_experts(struct builder *b)
{
    enum { GATING_SOFTMAX = 1, GATING_SIGMOID = 2 };
    const bool glm = is_glm(b) || is_first_ollama(b);
    uint32_t gating = glm ? GATING_SIGMOID : GATING_SOFTMAX, n_groups = 1, n_shared = 0;
    bool norm = glm;
    float scale = 1;
    hparams_need_experts(b, 0);
    key_u32(b, "expert_shared_count", OPTIONAL, 0, MAX_SHARED, &n_shared);
    b->hp->n_ff_shared = n_shared * b->hp->n_ff_expert;
    key_u32(b, "expert_group_count", OPTIONAL, 0, UINT32_MAX, &n_groups);
    key_u32(b, "expert_gating_func", OPTIONAL, 0, UINT32_MAX, &gating);
    key_bool(b, "expert_weights_norm", OPTIONAL, &norm);
    key_f32(b, "expert_weights_scale", OPTIONAL, 0, 1e6f, &scale);
    if (n_groups > 1)
        build_fail(b, ERR_UNSUPPORTED,
                   "key '%s.expert_group_count' is %u: groups of experts are not supported",
                   b->arch, n_groups);
    if (gating != GATING_SIGMOID || !norm)
        build_fail(
            b, ERR_UNSUPPORTED,
            "keys '%s.expert_gating_func' %u and 'expert_weights_norm' %s: only a normalised "
            "sigmoid router (%d, true) is supported",
            b->arch, gating, norm ? "true" : "false", GATING_SIGMOID);
    return scale == 0 ? 1 : scale;
}

static void make_slots(struct builder *b, struct slots *s, const struct mla *m)
{
    const struct hparams *hp = b->hp;
    if (m->n_q_latent)
        s->q_latent = plan_slot(b->plan, "q latent", m->n_q_latent);
    s->q = plan_slot(b->plan, "q", hp->n_head * m->n_qk);
    s->kv = plan_slot(b->plan, "kv latent", m->n_latent + hp->n_rot);
    s->common.attended = plan_slot(b->plan, "attended", hp->n_head * m->n_v);
    layer_glu_slots(b, &s->common);
    layer_expert_slots(b, &s->common);
    if (hp->n_ff_shared)
        layer_shared_slots(b, &s->common);
}

/* q and the latent of keys and values. */
static void project(struct builder *b, const struct slots *s, const struct mla *m, uint32_t i)
{
    const struct hparams *hp = b->hp;
    const uint64_t d = hp->n_embd, n_q = hp->n_head * m->n_qk;
    struct op_project *o = &plan_op(b->plan, OP_PROJECT, i)->project;
    *o = (struct op_project){
        .in = s->common.x,
        .norm = bind_tensor(b, i, "attn_norm.weight", vector(d)),
        .eps = hp->rms_eps,
        .n_out = 2,
    };
    o->out[1].w = bind_tensor(b, i, "attn_kv_a_mqa.weight", matrix(d, m->n_latent + hp->n_rot));
    o->out[1].out = s->kv;
    if (m->n_q_latent == 0) {
        o->out[0].w = bind_tensor(b, i, "attn_q.weight", matrix(d, n_q));
        o->out[0].out = s->q;
        return;
    }
    o->out[0].w = bind_tensor(b, i, "attn_q_a.weight", matrix(d, m->n_q_latent));
    o->out[0].out = s->q_latent;
    const struct weight *q_b = bind_tensor(b, i, "attn_q_b.weight", matrix(m->n_q_latent, n_q));
    plan_op(b->plan, OP_PROJECT, i)->project = (struct op_project){
        .in = s->q_latent,
        .norm = bind_tensor(b, i, "attn_q_a_norm.weight", vector(m->n_q_latent)),
        .eps = hp->rms_eps,
        .n_out = 1,
        .out = {{q_b, NULL, s->q}},
    };
}

static void attend(struct builder *b, const struct slots *s, const struct mla *m, uint32_t i)
{
    const struct hparams *hp = b->hp;
    const uint32_t n_nope = m->n_qk - hp->n_rot;
    plan_op(b->plan, OP_ATTEND_MLA, i)->attend_mla = (struct op_attend_mla){
        .q = s->q,
        .kv_in = s->kv,
        .out = s->common.attended,
        .latent_norm = bind_tensor(b, i, "attn_kv_a_norm.weight", vector(m->n_latent)),
        .key_up = bind_tensor(b, i, "attn_k_b.weight", matrices(n_nope, m->n_latent, hp->n_head)),
        .value_down =
            bind_tensor(b, i, "attn_v_b.weight", matrices(m->n_latent, m->n_v, hp->n_head)),
        .eps = hp->rms_eps,
        .n_head = hp->n_head,
        .n_nope = n_nope,
        .n_latent = m->n_latent,
        .head_dim_v = m->n_v,
        .rope = m->rope,
        .scale = (float)(1 / sqrt(m->n_qk)),
        .kv = plan_kv(b->plan, (struct kv_layer){.k_width = m->n_latent + hp->n_rot}),
    };
}

static void experts(struct builder *b, const struct layer_slots *s, float scale, uint32_t i)
{
    struct op_route *route = layer_route(b, s, "ffn_norm.weight", i);
    route->gating = GATE_SIGMOID_BIAS;
    route->scale = scale;
    route->select_bias = bind_optional(b, i, "exp_probs_b.bias", vector(b->hp->n_expert));
    if (b->hp->n_ff_shared)
        layer_shared(b, s, i);
    layer_experts_up(b, s, i);
    if (b->hp->n_ff_shared)
        layer_shared_down(b, s, i);
    layer_experts_down(b, s, i);
}

void arch_deepseek2(struct builder *b)
{
    struct slots s = {0};
    uint32_t n_dense = 0;
    const struct mla m = read_attention(b);
    const float scale = read_experts(b);
    key_u32(b, "leading_dense_block_count", OPTIONAL, 0, b->hp->n_layer, &n_dense);
    if (n_dense)
        hparams_need_ff(b);
    if (b->failed)
        return;
    /* What the attention's output is wide, for layer_attn_output. */
    b->hp->head_dim_k = m.n_qk;
    b->hp->head_dim_v = m.n_v;
    layer_embed(b, &s.common);
    make_slots(b, &s, &m);
    for (uint32_t i = 0; i < b->hp->n_layer; i++) {
        project(b, &s, &m, i);
        attend(b, &s, &m, i);
        layer_attn_output(b, &s.common, i);
        if (i < n_dense) {
            layer_glu(b, &s.common, i);
            layer_glu_down(b, &s.common, i);
        } else {
            experts(b, &s.common, scale, i);
        }
    }
    layer_head(b, &s.common);
}
