/* The stages that most architectures share: grouped-query attention, a dense feed-forward or k of E
 * experts, pre-normed (spec "architectures" 0.2, 0.5, 0.6). */
#include <math.h>
#include <stdio.h>

#include "model/arch.h"

static uint64_t q_rows(const struct hparams *hp, const struct layer_slots *s)
{
    return (uint64_t)hp->n_head * hp->head_dim_k * (s->q_gated ? 2 : 1);
}

void layer_attention_slots(struct builder *b, struct layer_slots *s)
{
    const struct hparams *hp = b->hp;
    s->q = plan_slot(b->plan, "q", (uint32_t)q_rows(hp, s));
    s->k = plan_slot(b->plan, "k", hp->n_kv_head * hp->head_dim_k);
    s->v = plan_slot(b->plan, "v", hp->n_kv_head * hp->head_dim_v);
    s->attended = plan_slot(b->plan, "attended", hp->n_head * hp->head_dim_v);
}

void layer_glu_slots(struct builder *b, struct layer_slots *s)
{
    s->gated = plan_slot(b->plan, "gated", b->hp->n_ff);
}

void layer_expert_slots(struct builder *b, struct layer_slots *s)
{
    const struct hparams *hp = b->hp;
    s->normed = plan_slot(b->plan, "normed", hp->n_embd);
    s->ids = plan_slot(b->plan, "expert ids", hp->n_expert_used);
    s->weights = plan_slot(b->plan, "expert weights", hp->n_expert_used);
    s->chosen = plan_slot(b->plan, "experts", hp->n_expert_used * hp->n_ff_expert);
}

void layer_shared_slots(struct builder *b, struct layer_slots *s)
{
    s->shared = plan_slot(b->plan, "shared expert", b->hp->n_ff_shared);
}

static struct shape table_shape(const struct builder *b)
{
    return matrix(b->hp->n_embd, b->hp->n_vocab);
}

void layer_embed(struct builder *b, struct layer_slots *s)
{
    s->x = plan_slot(b->plan, "x", b->hp->n_embd);
    plan_op(b->plan, OP_EMBED, 0)->embed = (struct op_embed){
        .table = bind_tensor(b, NO_BLOCK, "token_embd.weight", table_shape(b)),
        .x = s->x,
    };
}

void layer_head(struct builder *b, const struct layer_slots *s)
{
    const struct hparams *hp = b->hp;
    const struct weight *table = b->plan->ops[0].embed.table;
    const struct weight *output = bind_optional(b, NO_BLOCK, "output.weight", table_shape(b));
    plan_op(b->plan, OP_HEAD, hp->n_layer)->head = (struct op_head){
        .x = s->x,
        .norm = bind_tensor(b, NO_BLOCK, "output_norm.weight", vector(hp->n_embd)),
        .eps = hp->rms_eps,
        .w = output ? output : table,
    };
    b->plan->n_layers = hp->n_layer;
    b->plan->n_vocab = hp->n_vocab;
}

struct op_project *layer_qkv(struct builder *b, const struct layer_slots *s, uint32_t i)
{
    const struct hparams *hp = b->hp;
    const uint64_t d = hp->n_embd;
    const uint64_t n_q = q_rows(hp, s);
    const uint64_t n_k = hp->n_kv_head * hp->head_dim_k;
    const uint64_t n_v = hp->n_kv_head * hp->head_dim_v;
    const struct weight *norm = bind_tensor(b, i, "attn_norm.weight", vector(d));
    const struct weight *q, *k, *v;
    if (bind_has(b, i, "attn_qkv.weight")) {
        const uint64_t n = n_q + n_k + n_v;
        q = bind_rows(b, i, "attn_qkv.weight", matrix(d, n_q), 0, n);
        k = bind_rows(b, i, "attn_qkv.weight", matrix(d, n_k), n_q, n);
        v = bind_rows(b, i, "attn_qkv.weight", matrix(d, n_v), n_q + n_k, n);
    } else {
        q = bind_tensor(b, i, "attn_q.weight", matrix(d, n_q));
        k = bind_tensor(b, i, "attn_k.weight", matrix(d, n_k));
        v = bind_tensor(b, i, "attn_v.weight", matrix(d, n_v));
    }
    struct op_project *o = &plan_op(b->plan, OP_PROJECT, i)->project;
    *o = (struct op_project){
        .in = s->x,
        .norm = norm,
        .eps = hp->rms_eps,
        .n_out = 3,
        .out = {{q, NULL, s->q}, {k, NULL, s->k}, {v, NULL, s->v}},
    };
    return o;
}

void layer_qkv_biases(struct builder *b, struct op_project *o, enum need need, uint32_t i)
{
    const struct hparams *hp = b->hp;
    const struct {
        const char *name;
        uint64_t n;
    } biases[] = {
        {"attn_q.bias", hp->n_head * hp->head_dim_k},
        {"attn_k.bias", hp->n_kv_head * hp->head_dim_k},
        {"attn_v.bias", hp->n_kv_head * hp->head_dim_v},
    };
    if (bind_has(b, i, "attn_qkv.bias"))
        build_fail(b, ERR_UNSUPPORTED,
                   "tensor 'blk.%u.attn_qkv.bias': biases of q, k and v in one "
                   "tensor are not supported",
                   i);
    for (int j = 0; j < 3; j++)
        o->out[j].bias = need == REQUIRED || bind_has(b, i, biases[j].name)
                             ? bind_tensor(b, i, biases[j].name, vector(biases[j].n))
                             : NULL;
}

struct op_attend *layer_attend(struct builder *b, const struct layer_slots *s,
                               const struct rope *rope, uint32_t window, uint32_t i)
{
    const struct hparams *hp = b->hp;
    const struct kv_layer kv = {
        .k_width = hp->n_kv_head * hp->head_dim_k,
        .v_width = hp->n_kv_head * hp->head_dim_v,
        .window = window,
    };
    struct op_attend *o = &plan_op(b->plan, OP_ATTEND, i)->attend;
    *o = (struct op_attend){
        .q = s->q,
        .k = s->k,
        .v = s->v,
        .out = s->attended,
        .eps = hp->rms_eps,
        .n_head = hp->n_head,
        .n_kv_head = hp->n_kv_head,
        .head_dim = hp->head_dim_k,
        .head_dim_v = hp->head_dim_v,
        .rope = rope,
        .scale = (float)(1 / sqrt(hp->head_dim_k)),
        .window = window,
        .gated = s->q_gated,
        .kv = plan_kv(b->plan, kv),
    };
    return o;
}

void layer_head_norms(struct builder *b, struct op_attend *o, uint32_t i)
{
    o->q_norm = bind_tensor(b, i, "attn_q_norm.weight", vector(o->head_dim));
    o->k_norm = bind_tensor(b, i, "attn_k_norm.weight", vector(o->head_dim));
}

struct op_add_project *layer_attn_output(struct builder *b, const struct layer_slots *s, uint32_t i)
{
    const uint64_t n_in = b->hp->n_head * b->hp->head_dim_v;
    struct op_add_project *o = &plan_op(b->plan, OP_ADD_PROJECT, i)->add_project;
    *o = (struct op_add_project){
        .in = s->attended,
        .x = s->x,
        .w = bind_renamed(b, i, "attn_output.weight", "attn_out.weight",
                          matrix(n_in, b->hp->n_embd)),
    };
    return o;
}

/* "<name><suffix>.weight" */
static const struct weight *bind_suffixed(struct builder *b, uint32_t i, const char *name,
                                          const char *suffix, struct shape want)
{
    char full[64];
    snprintf(full, sizeof full, "%s%s.weight", name, suffix);
    return bind_tensor(b, i, full, want);
}

static struct op_glu *add_glu(struct builder *b, const char *suffix, uint64_t n_ff, uint32_t i)
{
    struct op_glu *o = &plan_op(b->plan, OP_GLU, i)->glu;
    *o = (struct op_glu){
        .eps = b->hp->rms_eps,
        .gate = bind_suffixed(b, i, "ffn_gate", suffix, matrix(b->hp->n_embd, n_ff)),
        .up = bind_suffixed(b, i, "ffn_up", suffix, matrix(b->hp->n_embd, n_ff)),
        .act = ACT_SWIGLU,
    };
    return o;
}

static struct op_add_project *add_glu_down(struct builder *b, const char *suffix, uint64_t n_ff,
                                           uint32_t i)
{
    struct op_add_project *o = &plan_op(b->plan, OP_ADD_PROJECT, i)->add_project;
    o->w = bind_suffixed(b, i, "ffn_down", suffix, matrix(n_ff, b->hp->n_embd));
    return o;
}

struct op_glu *layer_glu(struct builder *b, const struct layer_slots *s, uint32_t i)
{
    struct op_glu *o = add_glu(b, "", b->hp->n_ff, i);
    o->in = s->x;
    o->out = s->gated;
    o->norm = bind_tensor(b, i, "ffn_norm.weight", vector(b->hp->n_embd));
    return o;
}

struct op_add_project *layer_glu_down(struct builder *b, const struct layer_slots *s, uint32_t i)
{
    struct op_add_project *o = add_glu_down(b, "", b->hp->n_ff, i);
    o->in = s->gated;
    o->x = s->x;
    return o;
}

struct op_glu *layer_shared(struct builder *b, const struct layer_slots *s, uint32_t i)
{
    struct op_glu *o = add_glu(b, "_shexp", b->hp->n_ff_shared, i);
    o->in = s->normed;
    o->out = s->shared;
    return o;
}

struct op_add_project *layer_shared_down(struct builder *b, const struct layer_slots *s, uint32_t i)
{
    struct op_add_project *o = add_glu_down(b, "_shexp", b->hp->n_ff_shared, i);
    o->in = s->shared;
    o->x = s->x;
    return o;
}

struct op_route *layer_route(struct builder *b, const struct layer_slots *s, const char *norm,
                             uint32_t i)
{
    const struct hparams *hp = b->hp;
    struct op_route *o = &plan_op(b->plan, OP_ROUTE, i)->route;
    *o = (struct op_route){
        .x = s->x,
        .normed = s->normed,
        .ids = s->ids,
        .weights = s->weights,
        .norm = bind_renamed(b, i, norm, "ffn_norm.weight", vector(hp->n_embd)),
        .eps = hp->rms_eps,
        .router = bind_tensor(b, i, "ffn_gate_inp.weight", matrix(hp->n_embd, hp->n_expert)),
        .n_expert = hp->n_expert,
        .n_used = hp->n_expert_used,
        .gating = GATE_SOFTMAX_NORM,
        .scale = 1,
    };
    return o;
}

struct op_experts_up *layer_experts_up(struct builder *b, const struct layer_slots *s, uint32_t i)
{
    const struct hparams *hp = b->hp;
    const uint64_t n_ff = hp->n_ff_expert;
    const struct shape shape = matrices(hp->n_embd, n_ff, hp->n_expert);
    const struct weight *gate, *up;
    if (bind_has(b, i, "ffn_gate_up_exps.weight")) {
        gate = bind_rows(b, i, "ffn_gate_up_exps.weight", shape, 0, 2 * n_ff);
        up = bind_rows(b, i, "ffn_gate_up_exps.weight", shape, n_ff, 2 * n_ff);
    } else {
        gate = bind_tensor(b, i, "ffn_gate_exps.weight", shape);
        up = bind_tensor(b, i, "ffn_up_exps.weight", shape);
    }
    struct op_experts_up *o = &plan_op(b->plan, OP_EXPERTS_UP, i)->experts_up;
    *o = (struct op_experts_up){
        .in = s->normed,
        .ids = s->ids,
        .out = s->chosen,
        .gate = gate,
        .up = up,
        .act = ACT_SWIGLU,
        .n_used = hp->n_expert_used,
    };
    return o;
}

struct op_experts_down *layer_experts_down(struct builder *b, const struct layer_slots *s,
                                           uint32_t i)
{
    const struct hparams *hp = b->hp;
    struct op_experts_down *o = &plan_op(b->plan, OP_EXPERTS_DOWN, i)->experts_down;
    *o = (struct op_experts_down){
        .in = s->chosen,
        .ids = s->ids,
        .weights = s->weights,
        .x = s->x,
        .down = bind_tensor(b, i, "ffn_down_exps.weight",
                            matrices(hp->n_ff_expert, hp->n_embd, hp->n_expert)),
        .n_used = hp->n_expert_used,
    };
    return o;
}
