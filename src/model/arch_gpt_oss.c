/* gpt-oss: gpt-oss-20b and -120b (spec "architectures" 5; 9 for Ollama's first files, "gptoss").
 * Attention with sinks, every other layer over a window; a bias on every matrix; the softmax of the
 * router over the chosen experts alone; clamped SwiGLU. */
#include "model/arch.h"

struct tables {
    uint32_t window;
    uint32_t period; /* the last layer of each period sees everything, the others the window */
    const struct rope *rope, *rope_window;
};

static struct tables read_tables(struct builder *b)
{
    struct tables t = {.period = 2};
    key_u32(b, "attention.sliding_window", REQUIRED, 1, UINT32_MAX, &t.window);
    key_u32(b, "attention.sliding_window_pattern", OPTIONAL, 1, 512, &t.period);
    struct rope_spec spec = rope_keys(b, ROPE_HALVES, ROPE_YARN);
    float base = b->hp->rope_base;
    key_f32(b, "rope.freq_base_swa", OPTIONAL, 1.001f, 1e12f, &base);
    if (b->failed)
        return t;
    spec.yarn_rounded = b->params->yarn_rounded;
    t.rope = rope_make(&b->plan->arena, &spec);
    spec.base = (double)base;
    t.rope_window = rope_make(&b->plan->arena, &spec);
    return t;
}

static void attention(struct builder *b, const struct layer_slots *s, const struct tables *t,
                      uint32_t i)
{
    layer_qkv_biases(b, layer_qkv(b, s, i), REQUIRED, i);
    const bool windowed = i % t->period < t->period - 1;
    struct op_attend *a =
        layer_attend(b, s, windowed ? t->rope_window : t->rope, windowed ? t->window : 0, i);
    a->sinks = bind_renamed(b, i, "attn_sinks.weight", "attn_sinks", vector(b->hp->n_head));
    layer_attn_output(b, s, i)->bias =
        bind_renamed(b, i, "attn_output.bias", "attn_out.bias", vector(b->hp->n_embd));
}

static void experts(struct builder *b, const struct layer_slots *s, uint32_t i)
{
    const struct hparams *hp = b->hp;
    const struct shape inner = matrix(hp->n_ff_expert, hp->n_expert);
    struct op_route *route = layer_route(b, s, "post_attention_norm.weight", i);
    route->bias = bind_tensor(b, i, "ffn_gate_inp.bias", vector(hp->n_expert));
    route->gating = GATE_TOPK_SOFTMAX;

    struct op_experts_up *up = layer_experts_up(b, s, i);
    up->gate_bias = bind_tensor(b, i, "ffn_gate_exps.bias", inner);
    up->up_bias = bind_tensor(b, i, "ffn_up_exps.bias", inner);
    up->act = ACT_SWIGLU_OAI;

    layer_experts_down(b, s, i)->bias =
        bind_tensor(b, i, "ffn_down_exps.bias", matrix(hp->n_embd, hp->n_expert));
}

void arch_gpt_oss(struct builder *b)
{
    struct layer_slots s = {0};
    hparams_need_experts(b, bind_size(b, 0, "ffn_gate_exps.weight", 1));
    const struct tables tables = read_tables(b);
    if (b->failed)
        return;
    layer_embed(b, &s);
    layer_attention_slots(b, &s);
    layer_expert_slots(b, &s);
    for (uint32_t i = 0; i < b->hp->n_layer; i++) {
        attention(b, &s, &tables, i);
        experts(b, &s, i);
    }
    layer_head(b, &s);
}
