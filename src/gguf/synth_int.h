/* What the files of synth share. */
#pragma once
#include "base/mem.h"
#include "gguf/recipe.h"
#include "gguf/synth.h"

enum synth_arch { QWEN3MOE, GPT_OSS, QWEN3NEXT, QWEN35MOE, DEEPSEEK2, QWEN3, QWEN2, LLAMA };

/* The numbers of a model that its keys and tensors follow from. */
struct synth_shape {
    const char *name;
    enum synth_arch arch;
    enum block_type type; /* it is usually used in */
    uint32_t n_layers, width, n_heads, n_kv_heads, head_dim;
    uint32_t n_experts, n_used, ff; /* of an expert; all 0: dense */
    uint32_t dense_ff;              /* of dense layers; where there are none, for the key alone */
    uint32_t n_vocab, n_context;
    float eps, theta;
    uint32_t n_nextn; /* blocks for multi-token prediction behind the layers */
    bool tied;        /* the embedding is the output matrix too */
};

/* The gated delta net of qwen3next and qwen35moe. */
enum {
    DELTA_KEY_HEADS = 16,
    DELTA_VALUE_HEADS = 32,
    DELTA_STATE = 128, /* per head */
    DELTA_CONV = 4,
    DELTA_INNER = DELTA_VALUE_HEADS * DELTA_STATE,
    DELTA_CHANNELS = 2 * DELTA_KEY_HEADS * DELTA_STATE + DELTA_INNER,
    DELTA_INTERVAL = 4, /* every fourth layer has attention */
};

/* The latent attention of GLM-4.7-Flash and what else is the same in all of its layers. */
enum {
    GLM_Q_LATENT = 768,
    GLM_LATENT = 512,
    GLM_ROT = 64,
    GLM_DENSE_LAYERS = 1, /* the first ones */
};

struct synth {
    struct arena arena; /* tensor names */
    struct synth_shape shape;
    struct recipe recipe;
    const struct gguf *tokenizer;
    uint64_t seed;
    struct gguf_tensor *tensors;
    size_t n_tensors;
};

/* NULL for an unknown name. */
const struct synth_shape *synth_shape_of(const char *name);
/* Every layer of an interval is linear attention but the last. Fewer layers than an interval are
 * one: llama.cpp does not load a model without any attention. */
uint32_t synth_attention_interval(const struct synth_shape *m);
bool synth_has_delta_net(const struct synth_shape *m);
/* Fills s->tensors from s->shape, in the order of the real files. */
void synth_list_tensors(struct synth *s);
/* Adds the keys of the shape and of the recipe; the tokenizer's are the caller's. */
void synth_put_keys(struct gguf_writer *w, const struct synth *s);
