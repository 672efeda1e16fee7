/* qwen3moe: Qwen3-30B-A3B, Qwen3-Coder-30B-A3B, Qwen3-235B-A22B (spec "architectures" 2).
 * Grouped-query attention with normalised heads, then k of E experts, both pre-normed. */
#include <math.h>

#include "model/arch.h"

/* Scratch of one block; every block uses the same. */
struct slots {
    slot_id x;
    slot_id q, k, v, attended;
    slot_id normed, ids, weights, activated;
};

static struct slots make_slots(struct plan *p, const struct hparams *hp)
{
    return (struct slots){
        .x = plan_slot(p, "x", hp->n_embd),
        .q = plan_slot(p, "q", hp->n_head * hp->head_dim_k),
        .k = plan_slot(p, "k", hp->n_kv_head * hp->head_dim_k),
        .v = plan_slot(p, "v", hp->n_kv_head * hp->head_dim_v),
        .attended = plan_slot(p, "attended", hp->n_head * hp->head_dim_v),
        .normed = plan_slot(p, "normed", hp->n_embd),
        .ids = plan_slot(p, "expert ids", hp->n_expert_used),
        .weights = plan_slot(p, "expert weights", hp->n_expert_used),
        .activated = plan_slot(p, "activated", hp->n_expert_used * hp->n_ff_expert),
    };
}

static void norm_qkv(struct builder *b, const struct slots *s, uint32_t i)
{
    const struct hparams *hp = b->hp;
    const uint64_t n_q = hp->n_head * hp->head_dim_k;
    const uint64_t n_k = hp->n_kv_head * hp->head_dim_k;
    const uint64_t n_v = hp->n_kv_head * hp->head_dim_v;
    const struct weight *norm = bind_tensor(b, i, "attn_norm.weight", vector(hp->n_embd));
    const struct weight *q, *k, *v;
    if (bind_has(b, i, "attn_qkv.weight")) {
        const uint64_t n = n_q + n_k + n_v;
        q = bind_rows(b, i, "attn_qkv.weight", matrix(hp->n_embd, n_q), 0, n);
        k = bind_rows(b, i, "attn_qkv.weight", matrix(hp->n_embd, n_k), n_q, n);
        v = bind_rows(b, i, "attn_qkv.weight", matrix(hp->n_embd, n_v), n_q + n_k, n);
    } else {
        q = bind_tensor(b, i, "attn_q.weight", matrix(hp->n_embd, n_q));
        k = bind_tensor(b, i, "attn_k.weight", matrix(hp->n_embd, n_k));
        v = bind_tensor(b, i, "attn_v.weight", matrix(hp->n_embd, n_v));
    }
    plan_op(b->plan, OP_PROJECT, i)->project = (struct op_project){
        .in = s->x,
        .norm = norm,
        .eps = hp->rms_eps,
        .n_out = 3,
        .out = {{q, NULL, s->q}, {k, NULL, s->k}, {v, NULL, s->v}},
    };
}

static void attend(struct builder *b, const struct slots *s, const struct rope *rope, uint32_t i)
{
    const struct hparams *hp = b->hp;
    const struct kv_layer kv = {
        .k_width = hp->n_kv_head * hp->head_dim_k,
        .v_width = hp->n_kv_head * hp->head_dim_v,
    };
    plan_op(b->plan, OP_ATTEND, i)->attend = (struct op_attend){
        .q = s->q,
        .k = s->k,
        .v = s->v,
        .out = s->attended,
        .q_norm = bind_tensor(b, i, "attn_q_norm.weight", vector(hp->head_dim_k)),
        .k_norm = bind_tensor(b, i, "attn_k_norm.weight", vector(hp->head_dim_k)),
        .eps = hp->rms_eps,
        .n_head = hp->n_head,
        .n_kv_head = hp->n_kv_head,
        .head_dim = hp->head_dim_k,
        .head_dim_v = hp->head_dim_v,
        .rope = rope,
        .scale = (float)(1 / sqrt(hp->head_dim_k)),
        .kv = plan_kv(b->plan, kv),
    };
    plan_op(b->plan, OP_ADD_PROJECT, i)->add_project = (struct op_add_project){
        .in = s->attended,
        .x = s->x,
        .w = bind_tensor(b, i, "attn_output.weight",
                         matrix((uint64_t)hp->n_head * hp->head_dim_v, hp->n_embd)),
    };
}

static void route(struct builder *b, const struct slots *s, uint32_t i)
{
    const struct hparams *hp = b->hp;
    plan_op(b->plan, OP_ROUTE, i)->route = (struct op_route){
        .x = s->x,
        .normed = s->normed,
        .ids = s->ids,
        .weights = s->weights,
        .norm = bind_tensor(b, i, "ffn_norm.weight", vector(hp->n_embd)),
        .eps = hp->rms_eps,
        .router = bind_tensor(b, i, "ffn_gate_inp.weight", matrix(hp->n_embd, hp->n_expert)),
        .n_expert = hp->n_expert,
        .n_used = hp->n_expert_used,
        .gating = GATE_SOFTMAX_NORM,
        .scale = 1,
    };
}

static void experts(struct builder *b, const struct slots *s, uint32_t i)
{
    const struct hparams *hp = b->hp;
    const uint64_t n_in = hp->n_embd, n_ff = hp->n_ff_expert, n = hp->n_expert;
    const struct weight *gate, *up;
    if (bind_has(b, i, "ffn_gate_up_exps.weight")) {
        gate = bind_rows(b, i, "ffn_gate_up_exps.weight", matrices(n_in, n_ff, n), 0, 2 * n_ff);
        up = bind_rows(b, i, "ffn_gate_up_exps.weight", matrices(n_in, n_ff, n), n_ff, 2 * n_ff);
    } else {
        gate = bind_tensor(b, i, "ffn_gate_exps.weight", matrices(n_in, n_ff, n));
        up = bind_tensor(b, i, "ffn_up_exps.weight", matrices(n_in, n_ff, n));
    }
    plan_op(b->plan, OP_EXPERTS_UP, i)->experts_up = (struct op_experts_up){
        .in = s->normed,
        .ids = s->ids,
        .out = s->activated,
        .gate = gate,
        .up = up,
        .act = ACT_SWIGLU,
        .n_used = hp->n_expert_used,
    };
    plan_op(b->plan, OP_EXPERTS_DOWN, i)->experts_down = (struct op_experts_down){
        .in = s->activated,
        .ids = s->ids,
        .weights = s->weights,
        .x = s->x,
        .down = bind_tensor(b, i, "ffn_down_exps.weight", matrices(n_ff, n_in, n)),
        .n_used = hp->n_expert_used,
    };
}

void arch_qwen3moe(struct builder *b)
{
    const struct hparams *hp = b->hp;
    struct plan *p = b->plan;
    if (hp->n_expert == 0) {
        build_fail(b, ERR_FORMAT, "key '%s.expert_count' is missing or 0", b->arch);
        return;
    }
    const struct slots s = make_slots(p, hp);
    const struct rope *rope = rope_from_keys(b, ROPE_HALVES);
    const struct shape table_shape = matrix(hp->n_embd, hp->n_vocab);
    const struct weight *table = bind_tensor(b, NO_BLOCK, "token_embd.weight", table_shape);
    plan_op(p, OP_EMBED, 0)->embed = (struct op_embed){table, s.x};
    for (uint32_t i = 0; i < hp->n_layer; i++) {
        norm_qkv(b, &s, i);
        attend(b, &s, rope, i);
        route(b, &s, i);
        experts(b, &s, i);
    }
    const struct weight *output = bind_optional(b, NO_BLOCK, "output.weight", table_shape);
    plan_op(p, OP_HEAD, hp->n_layer)->head = (struct op_head){
        .x = s.x,
        .norm = bind_tensor(b, NO_BLOCK, "output_norm.weight", vector(hp->n_embd)),
        .eps = hp->rms_eps,
        .w = output ? output : table,
    };
    p->n_layers = hp->n_layer;
    p->n_vocab = hp->n_vocab;
}
