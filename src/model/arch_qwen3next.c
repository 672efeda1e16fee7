/* qwen3next (Qwen3-Next-80B-A3B, Qwen3-Coder-Next) and qwen35moe (Qwen3.5- and 3.6-35B-A3B): three
 * layers of linear attention, a gated delta net, to one of gated attention with partial rotation;
 * then k of E experts and a shared one behind a gate (spec "architectures" 6, 7; 9 for Ollama's
 * files). The two differ in the order of the value heads. rope.dimension_sections is not read: its
 * axes are equal where there is text alone. */
#include "model/arch.h"

struct hybrid {
    struct layer_slots s;
    slot_id qkv, z, beta, alpha, gates, delta; /* of the delta net; gates: beta and alpha in one */
    slot_id shared;
    uint32_t n_conv, n_k_head, n_v_head;
    uint32_t d_head;   /* of keys and of values */
    uint32_t interval; /* the last layer of each attends, where the file has no list */
    uint32_t n_ff_shared;
    enum head_order order;
    const struct rope *rope;
};

static uint64_t n_keys(const struct hybrid *h)
{
    return (uint64_t)h->n_k_head * h->d_head;
}

static uint64_t n_values(const struct hybrid *h)
{
    return (uint64_t)h->n_v_head * h->d_head;
}

/* ---- hyper-parameters ------------------------------------------------------------------------ */

static void check_heads(struct builder *b, const struct hybrid *h, uint32_t n_inner)
{
    if (b->failed)
        return;
    if (h->n_v_head % h->n_k_head)
        build_fail(b, ERR_FORMAT,
                   "key '%s.ssm.time_step_rank' is %u, no multiple of ssm.group_count %u", b->arch,
                   h->n_v_head, h->n_k_head);
    if (n_inner != n_values(h))
        build_fail(b, ERR_FORMAT,
                   "key '%s.ssm.inner_size' is %u, must be ssm.time_step_rank * ssm.state_size = "
                   "%llu",
                   b->arch, n_inner, (unsigned long long)n_values(h));
    if (b->hp->head_dim_k != b->hp->head_dim_v)
        build_fail(b, ERR_FORMAT,
                   "keys '%s.attention.key_length' and value_length are %u and %u, must be equal",
                   b->arch, b->hp->head_dim_k, b->hp->head_dim_v);
}

static void read_hparams(struct builder *b, struct hybrid *h)
{
    uint32_t n_inner = 0;
    bool tiled = h->order == HEADS_TILED;
    hparams_need_experts(b, 0);
    key_u32(b, "expert_shared_feed_forward_length", REQUIRED, 1, 1 << 20, &h->n_ff_shared);
    key_u32(b, "ssm.conv_kernel", REQUIRED, 2, 16, &h->n_conv);
    key_u32(b, "ssm.state_size", REQUIRED, 1, 1024, &h->d_head);
    key_u32(b, "ssm.group_count", REQUIRED, 1, 1024, &h->n_k_head);
    key_u32(b, "ssm.time_step_rank", REQUIRED, 1, 1024, &h->n_v_head);
    key_u32(b, "ssm.inner_size", REQUIRED, 1, 1 << 20, &n_inner);
    h->interval = 4;
    key_u32(b, "full_attention_interval", OPTIONAL, 1, 512, &h->interval);
    key_bool(b, "ssm.v_head_reordered", OPTIONAL, &tiled);
    h->order = tiled ? HEADS_TILED : HEADS_GROUPED;
    check_heads(b, h, n_inner);
}

/* A list in the file has the last word. */
static bool is_recurrent(struct builder *b, const struct hybrid *h, uint32_t i)
{
    bool recurrent = (i + 1) % h->interval != 0;
    key_bool_of_block(b, "attention.recurrent_layers", i, &recurrent);
    return recurrent;
}

/* ---- linear attention ------------------------------------------------------------------------ */

static void delta_slots(struct builder *b, struct hybrid *h)
{
    h->qkv = plan_slot(b->plan, "linear qkv", (uint32_t)(2 * n_keys(h) + n_values(h)));
    h->z = plan_slot(b->plan, "z", (uint32_t)n_values(h));
    h->beta = plan_slot(b->plan, "beta", h->n_v_head);
    h->alpha = plan_slot(b->plan, "alpha", h->n_v_head);
    h->gates = plan_slot(b->plan, "beta and alpha", 2 * h->n_v_head);
    h->delta = plan_slot(b->plan, "delta", (uint32_t)n_values(h));
    h->shared = plan_slot(b->plan, "shared expert", h->n_ff_shared);
}

struct inputs {
    const struct weight *qkv, *z, *beta, *alpha, *gates; /* gates or the two before it are NULL */
};

/* The first files have qkv and z in one tensor, the rows of a key head and its value heads
 * together. So has ssm_ba to this day, which stays one matrix: its slot is as delta_gates_width
 * says. */
static struct inputs bind_inputs(struct builder *b, const struct hybrid *h, uint32_t i)
{
    const uint64_t d = b->hp->n_embd, d_k = h->d_head;
    const uint64_t d_v = h->n_v_head / h->n_k_head * d_k;
    const bool ba = bind_has(b, i, "ssm_ba.weight"), in = bind_has(b, i, "ssm_in.weight");
    struct inputs w = {0};
    if ((ba || in) && h->order == HEADS_TILED)
        build_fail(b, ERR_UNSUPPORTED,
                   "tensor 'blk.%u.%s.weight' has grouped heads, the model has tiled ones", i,
                   ba ? "ssm_ba" : "ssm_in");
    if (in) {
        const struct row_part qkv[] = {{0, d_k}, {d_k, d_k}, {2 * d_k, d_v}};
        const struct row_part z = {2 * d_k + d_v, d_v};
        const struct row_groups groups = {d, h->n_k_head, 2 * d_k + 2 * d_v};
        w.qkv = bind_groups(b, i, "ssm_in.weight", &groups, qkv, 3);
        w.z = bind_groups(b, i, "ssm_in.weight", &groups, &z, 1);
    } else {
        w.qkv = bind_tensor(b, i, "attn_qkv.weight", matrix(d, 2 * n_keys(h) + n_values(h)));
        w.z = bind_tensor(b, i, "attn_gate.weight", matrix(d, n_values(h)));
    }
    if (ba) {
        w.gates = bind_tensor(b, i, "ssm_ba.weight", matrix(d, 2ull * h->n_v_head));
    } else {
        w.beta = bind_tensor(b, i, "ssm_beta.weight", matrix(d, h->n_v_head));
        w.alpha = bind_tensor(b, i, "ssm_alpha.weight", matrix(d, h->n_v_head));
    }
    return w;
}

static void delta_net(struct builder *b, const struct hybrid *h, const struct inputs *w, uint32_t i)
{
    const uint64_t n_channels = 2 * n_keys(h) + n_values(h);
    const struct state_layer state = {
        .conv_width = (uint32_t)((h->n_conv - 1) * n_channels),
        .memory_width = (uint32_t)(n_values(h) * h->d_head),
    };
    plan_op(b->plan, OP_DELTA_NET, i)->delta_net = (struct op_delta_net){
        .qkv = h->qkv,
        .z = h->z,
        .beta = w->gates ? h->gates : h->beta,
        .alpha = w->gates ? h->gates : h->alpha,
        .out = h->delta,
        .conv = bind_tensor(b, i, "ssm_conv1d.weight", matrix(h->n_conv, n_channels)),
        .dt_bias = bind_renamed(b, i, "ssm_dt.bias", "ssm_dt", vector(h->n_v_head)),
        .decay = bind_tensor(b, i, "ssm_a", vector(h->n_v_head)),
        .norm = bind_tensor(b, i, "ssm_norm.weight", vector(h->d_head)),
        .eps = b->hp->rms_eps,
        .n_conv = h->n_conv,
        .n_k_head = h->n_k_head,
        .n_v_head = h->n_v_head,
        .d_k = h->d_head,
        .d_v = h->d_head,
        .order = h->order,
        .state = plan_state(b->plan, state),
    };
}

static void linear_attention(struct builder *b, const struct hybrid *h, uint32_t i)
{
    const uint64_t d = b->hp->n_embd;
    const struct weight *norm = bind_tensor(b, i, "attn_norm.weight", vector(d));
    const struct inputs w = bind_inputs(b, h, i);
    struct op_project *o = &plan_op(b->plan, OP_PROJECT, i)->project;
    *o = (struct op_project){
        .in = h->s.x,
        .norm = norm,
        .eps = b->hp->rms_eps,
        .n_out = w.gates ? 3 : 4,
        .out = {{w.qkv, NULL, h->qkv},
                {w.z, NULL, h->z},
                {w.beta, NULL, h->beta},
                {w.alpha, NULL, h->alpha}},
    };
    if (w.gates) {
        o->out[2].w = w.gates;
        o->out[2].out = h->gates;
    }
    delta_net(b, h, &w, i);
    plan_op(b->plan, OP_ADD_PROJECT, i)->add_project = (struct op_add_project){
        .in = h->delta,
        .x = h->s.x,
        .w = bind_tensor(b, i, "ssm_out.weight", matrix(n_values(h), d)),
    };
}

/* ---- the rest of a layer --------------------------------------------------------------------- */

static void attention(struct builder *b, const struct hybrid *h, uint32_t i)
{
    layer_qkv(b, &h->s, i);
    layer_head_norms(b, layer_attend(b, &h->s, h->rope, 0, i), i);
    layer_attn_output(b, &h->s, i);
}

static void shared_expert(struct builder *b, const struct hybrid *h, uint32_t i)
{
    const uint64_t d = b->hp->n_embd;
    plan_op(b->plan, OP_GLU, i)->glu = (struct op_glu){
        .in = h->s.normed,
        .out = h->shared,
        .gate = bind_tensor(b, i, "ffn_gate_shexp.weight", matrix(d, h->n_ff_shared)),
        .up = bind_tensor(b, i, "ffn_up_shexp.weight", matrix(d, h->n_ff_shared)),
        .act = ACT_SWIGLU,
    };
}

static void shared_expert_down(struct builder *b, const struct hybrid *h, uint32_t i)
{
    const uint64_t d = b->hp->n_embd;
    plan_op(b->plan, OP_ADD_PROJECT, i)->add_project = (struct op_add_project){
        .in = h->shared,
        .x = h->s.x,
        .w = bind_tensor(b, i, "ffn_down_shexp.weight", matrix(h->n_ff_shared, d)),
        .gate = bind_tensor(b, i, "ffn_gate_inp_shexp.weight", vector(d)),
        .gate_in = h->s.normed,
    };
}

static void build(struct builder *b, enum head_order order)
{
    struct hybrid h = {.order = order, .s.q_gated = true};
    read_hparams(b, &h);
    h.rope = rope_from_keys(b, ROPE_HALVES);
    if (b->failed)
        return;
    layer_embed(b, &h.s);
    layer_attention_slots(b, &h.s);
    delta_slots(b, &h);
    layer_expert_slots(b, &h.s);
    for (uint32_t i = 0; i < b->hp->n_layer && !b->failed; i++) {
        (is_recurrent(b, &h, i) ? linear_attention : attention)(b, &h, i);
        layer_route(b, &h.s, "post_attention_norm.weight", i);
        shared_expert(b, &h, i);
        layer_experts_up(b, &h.s, i);
        shared_expert_down(b, &h, i);
        layer_experts_down(b, &h.s, i);
    }
    layer_head(b, &h.s);
}

void arch_qwen3next(struct builder *b)
{
    build(b, HEADS_GROUPED);
}

void arch_qwen35moe(struct builder *b)
{
    build(b, HEADS_TILED);
}
