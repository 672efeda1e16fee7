/* The tensors of each architecture. */
#include <stdio.h>

#include "gguf/gguf_fill.h"
#include "gguf/synth_int.h"

/* Adds a tensor; a dimension of 0 ends the shape. */
static void add(struct synth *s, str name, uint64_t ne0, uint64_t ne1, uint64_t ne2)
{
    s->tensors = mem_grow(s->tensors, s->n_tensors + 1, sizeof *s->tensors);
    struct gguf_tensor *t = &s->tensors[s->n_tensors++];
    *t = (struct gguf_tensor){.name = name, .ne = {ne0, ne1, ne2}, .n_dims = 1};
    t->n_dims += (ne1 != 0) + (ne2 != 0);
    for (uint32_t d = t->n_dims; d < 4; d++)
        t->ne[d] = 1;
    t->type = recipe_pick(&s->recipe, name, t->ne);
    gguf_fill_size(t);
}

/* The same for layer i, "blk.i.name". */
static void add_to_layer(struct synth *s, uint32_t i, const char *name, uint64_t ne0, uint64_t ne1,
                         uint64_t ne2)
{
    add(s, arena_fmt(&s->arena, "blk.%u.%s", i, name), ne0, ne1, ne2);
}

/* Queries, keys, values and output with their biases or head norms; queries may be doubled by a
 * gate. */
static void add_attention(struct synth *s, uint32_t i)
{
    const struct synth_shape *m = &s->shape;
    const bool bias = m->arch == GPT_OSS || m->arch == QWEN2;
    const uint64_t q = m->n_heads * m->head_dim, kv = m->n_kv_heads * m->head_dim;
    add_to_layer(s, i, "attn_q.weight", m->width, synth_has_delta_net(m) ? 2 * q : q, 0);
    if (bias)
        add_to_layer(s, i, "attn_q.bias", q, 0, 0);
    add_to_layer(s, i, "attn_k.weight", m->width, kv, 0);
    if (bias)
        add_to_layer(s, i, "attn_k.bias", kv, 0, 0);
    add_to_layer(s, i, "attn_v.weight", m->width, kv, 0);
    if (bias)
        add_to_layer(s, i, "attn_v.bias", kv, 0, 0);
    add_to_layer(s, i, "attn_output.weight", q, m->width, 0);
    if (m->arch == GPT_OSS) {
        add_to_layer(s, i, "attn_output.bias", m->width, 0, 0);
        add_to_layer(s, i, "attn_sinks.weight", m->n_heads, 0, 0);
    } else if (m->arch != QWEN2 && m->arch != LLAMA) {
        add_to_layer(s, i, "attn_q_norm.weight", m->head_dim, 0, 0);
        add_to_layer(s, i, "attn_k_norm.weight", m->head_dim, 0, 0);
    }
}

static void add_latent_attention(struct synth *s, uint32_t i)
{
    const struct synth_shape *m = &s->shape;
    const uint64_t q = m->n_heads * m->head_dim;
    add_to_layer(s, i, "attn_q_a.weight", m->width, GLM_Q_LATENT, 0);
    add_to_layer(s, i, "attn_q_a_norm.weight", GLM_Q_LATENT, 0, 0);
    add_to_layer(s, i, "attn_q_b.weight", GLM_Q_LATENT, q, 0);
    add_to_layer(s, i, "attn_kv_a_mqa.weight", m->width, GLM_LATENT + GLM_ROT, 0);
    add_to_layer(s, i, "attn_kv_a_norm.weight", GLM_LATENT, 0, 0);
    add_to_layer(s, i, "attn_k_b.weight", m->head_dim - GLM_ROT, GLM_LATENT, m->n_heads);
    add_to_layer(s, i, "attn_v_b.weight", GLM_LATENT, m->head_dim, m->n_heads);
    add_to_layer(s, i, "attn_output.weight", q, m->width, 0);
}

static void add_delta_net(struct synth *s, uint32_t i)
{
    const uint64_t width = s->shape.width;
    add_to_layer(s, i, "attn_qkv.weight", width, DELTA_CHANNELS, 0);
    add_to_layer(s, i, "attn_gate.weight", width, DELTA_INNER, 0);
    add_to_layer(s, i, "ssm_conv1d.weight", DELTA_CONV, DELTA_CHANNELS, 0);
    add_to_layer(s, i, "ssm_dt.bias", DELTA_VALUE_HEADS, 0, 0);
    add_to_layer(s, i, "ssm_a", DELTA_VALUE_HEADS, 0, 0);
    if (s->shape.arch == QWEN3NEXT) {
        add_to_layer(s, i, "ssm_ba.weight", width, 2 * DELTA_VALUE_HEADS, 0);
    } else {
        add_to_layer(s, i, "ssm_beta.weight", width, DELTA_VALUE_HEADS, 0);
        add_to_layer(s, i, "ssm_alpha.weight", width, DELTA_VALUE_HEADS, 0);
    }
    add_to_layer(s, i, "ssm_norm.weight", DELTA_STATE, 0, 0);
    add_to_layer(s, i, "ssm_out.weight", DELTA_INNER, width, 0);
}

/* gate, up and down with this end of the name; n_experts 0: one matrix each. */
static void add_glu(struct synth *s, uint32_t i, const char *end, uint64_t ff, uint64_t n_experts)
{
    static const char *const parts[] = {"gate", "up", "down"};
    const uint64_t width = s->shape.width;
    for (int k = 0; k < 3; k++) {
        char name[64];
        const uint64_t in = k == 2 ? ff : width, out = k == 2 ? width : ff;
        snprintf(name, sizeof name, "ffn_%s%s.weight", parts[k], end);
        add_to_layer(s, i, name, in, out, n_experts);
        snprintf(name, sizeof name, "ffn_%s%s.bias", parts[k], end);
        if (s->shape.arch == GPT_OSS)
            add_to_layer(s, i, name, out, n_experts, 0);
    }
}

static void add_experts(struct synth *s, uint32_t i)
{
    const struct synth_shape *m = &s->shape;
    add_to_layer(s, i, "ffn_gate_inp.weight", m->width, m->n_experts, 0);
    if (m->arch == GPT_OSS)
        add_to_layer(s, i, "ffn_gate_inp.bias", m->n_experts, 0, 0);
    if (m->arch == DEEPSEEK2)
        add_to_layer(s, i, "exp_probs_b.bias", m->n_experts, 0, 0);
    add_glu(s, i, "_exps", m->ff, m->n_experts);
    if (synth_has_delta_net(m))
        add_to_layer(s, i, "ffn_gate_inp_shexp.weight", m->width, 0, 0);
    if (synth_has_delta_net(m) || m->arch == DEEPSEEK2)
        add_glu(s, i, "_shexp", m->ff, 0);
}

static void add_layer(struct synth *s, uint32_t i)
{
    const struct synth_shape *m = &s->shape;
    const bool early_norm = m->arch == GPT_OSS || synth_has_delta_net(m);
    const bool linear =
        synth_has_delta_net(m) && i < m->n_layers && (i + 1) % synth_attention_interval(m) != 0;
    const bool dense = m->n_experts == 0 || (m->arch == DEEPSEEK2 && i < GLM_DENSE_LAYERS);
    add_to_layer(s, i, "attn_norm.weight", m->width, 0, 0);
    if (early_norm)
        add_to_layer(s, i, "post_attention_norm.weight", m->width, 0, 0);
    if (linear)
        add_delta_net(s, i);
    else if (m->arch == DEEPSEEK2)
        add_latent_attention(s, i);
    else
        add_attention(s, i);
    if (!early_norm)
        add_to_layer(s, i, "ffn_norm.weight", m->width, 0, 0);
    if (dense)
        add_glu(s, i, "", m->dense_ff, 0);
    else
        add_experts(s, i);
}

void synth_list_tensors(struct synth *s)
{
    const struct synth_shape *m = &s->shape;
    add(s, STR("token_embd.weight"), m->width, m->n_vocab, 0);
    if (m->arch == LLAMA)
        add(s, STR("rope_freqs.weight"), m->head_dim / 2, 0, 0);
    for (uint32_t i = 0; i < m->n_layers + m->n_nextn; i++)
        add_layer(s, i);
    for (uint32_t i = m->n_layers; i < m->n_layers + m->n_nextn; i++) {
        add_to_layer(s, i, "nextn.eh_proj.weight", 2 * m->width, m->width, 0);
        add_to_layer(s, i, "nextn.enorm.weight", m->width, 0, 0);
        add_to_layer(s, i, "nextn.hnorm.weight", m->width, 0, 0);
        add_to_layer(s, i, "nextn.shared_head_norm.weight", m->width, 0, 0);
    }
    add(s, STR("output_norm.weight"), m->width, 0, 0);
    if (!m->tied)
        add(s, STR("output.weight"), m->width, m->n_vocab, 0);
}
