/* The metadata of each architecture. */
#include <stdio.h>

#include "gguf/synth_int.h"

static const char *const arch_names[] = {
    [QWEN3MOE] = "qwen3moe",   [GPT_OSS] = "gpt-oss",     [QWEN3NEXT] = "qwen3next",
    [QWEN35MOE] = "qwen35moe", [DEEPSEEK2] = "deepseek2", [QWEN3] = "qwen3",
    [QWEN2] = "qwen2",         [LLAMA] = "llama",
};

struct key {
    char text[128];
};

static struct key key_of(const struct synth *s, const char *suffix)
{
    struct key k;
    snprintf(k.text, sizeof k.text, "%s.%s", arch_names[s->shape.arch], suffix);
    return k;
}

static void put_u32(struct gguf_writer *w, const struct synth *s, const char *suffix, uint32_t v)
{
    gguf_writer_u32(w, key_of(s, suffix).text, v);
}

static void put_f32(struct gguf_writer *w, const struct synth *s, const char *suffix, float v)
{
    gguf_writer_f32(w, key_of(s, suffix).text, v);
}

static void put_common(struct gguf_writer *w, const struct synth *s)
{
    const struct synth_shape *m = &s->shape;
    const bool latent = m->arch == DEEPSEEK2;
    char title[64];
    snprintf(title, sizeof title, "synthetic %s", m->name);
    gguf_writer_str(w, "general.architecture", str_of(arch_names[m->arch]));
    gguf_writer_str(w, "general.name", str_of(title));
    gguf_writer_u32(w, "general.quantization_version", 2);
    gguf_writer_u32(w, "general.file_type", recipe_file_type(s->recipe.type));
    put_u32(w, s, "block_count", m->n_layers + m->n_nextn);
    put_u32(w, s, "context_length", m->n_context);
    put_u32(w, s, "embedding_length", m->width);
    if (m->dense_ff)
        put_u32(w, s, "feed_forward_length", m->dense_ff);
    put_u32(w, s, "attention.head_count", m->n_heads);
    put_u32(w, s, "attention.head_count_kv", m->n_kv_heads);
    put_u32(w, s, "attention.key_length", latent ? GLM_LATENT + GLM_ROT : m->head_dim);
    put_u32(w, s, "attention.value_length", latent ? GLM_LATENT : m->head_dim);
    put_f32(w, s, "attention.layer_norm_rms_epsilon", m->eps);
    put_f32(w, s, "rope.freq_base", m->theta);
    if (m->n_experts) {
        put_u32(w, s, "expert_count", m->n_experts);
        put_u32(w, s, "expert_used_count", m->n_used);
        put_u32(w, s, "expert_feed_forward_length", m->ff);
    }
    put_u32(w, s, "vocab_size", m->n_vocab);
    if (m->n_nextn)
        put_u32(w, s, "nextn_predict_layers", m->n_nextn);
}

static void put_gpt_oss(struct gguf_writer *w, const struct synth *s)
{
    put_u32(w, s, "attention.sliding_window", 128);
    gguf_writer_str(w, "gpt-oss.rope.scaling.type", STR("yarn"));
    put_f32(w, s, "rope.scaling.factor", 32);
    put_u32(w, s, "rope.scaling.original_context_length", 4096);
}

static void put_delta_net(struct gguf_writer *w, const struct synth *s)
{
    put_u32(w, s, "expert_shared_feed_forward_length", s->shape.ff);
    put_u32(w, s, "rope.dimension_count", 64);
    if (s->shape.arch == QWEN35MOE)
        gguf_writer_i32s(w, "qwen35moe.rope.dimension_sections", (int32_t[]){11, 11, 10, 0}, 4);
    put_u32(w, s, "ssm.conv_kernel", DELTA_CONV);
    put_u32(w, s, "ssm.state_size", DELTA_STATE);
    put_u32(w, s, "ssm.group_count", DELTA_KEY_HEADS);
    put_u32(w, s, "ssm.time_step_rank", DELTA_VALUE_HEADS);
    put_u32(w, s, "ssm.inner_size", DELTA_INNER);
    put_u32(w, s, "full_attention_interval", synth_attention_interval(&s->shape));
}

static void put_glm(struct gguf_writer *w, const struct synth *s)
{
    enum { GATING_SIGMOID = 2 };
    put_u32(w, s, "leading_dense_block_count", GLM_DENSE_LAYERS);
    put_u32(w, s, "attention.q_lora_rank", GLM_Q_LATENT);
    put_u32(w, s, "attention.kv_lora_rank", GLM_LATENT);
    put_u32(w, s, "attention.key_length_mla", s->shape.head_dim);
    put_u32(w, s, "attention.value_length_mla", s->shape.head_dim);
    put_u32(w, s, "rope.dimension_count", GLM_ROT);
    put_u32(w, s, "expert_shared_count", 1);
    put_u32(w, s, "expert_group_count", 1);
    put_u32(w, s, "expert_group_used_count", 1);
    put_u32(w, s, "expert_gating_func", GATING_SIGMOID);
    put_f32(w, s, "expert_weights_scale", 1.8f);
    gguf_writer_bool(w, "deepseek2.expert_weights_norm", true);
}

void synth_put_keys(struct gguf_writer *w, const struct synth *s)
{
    put_common(w, s);
    switch (s->shape.arch) {
    case GPT_OSS: put_gpt_oss(w, s); break;
    case QWEN3NEXT:
    case QWEN35MOE: put_delta_net(w, s); break;
    case DEEPSEEK2: put_glm(w, s); break;
    case LLAMA: put_u32(w, s, "rope.dimension_count", s->shape.head_dim); break;
    case QWEN3MOE:
    case QWEN3:
    case QWEN2: break;
    }
}
