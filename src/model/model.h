/* model: what a GGUF says about itself: hyper-parameters, tensors by name with checked shapes, and
 * from them the plan of the forward pass. One file per architecture (arch_NAME.c). Immutable after
 * open; thread-safe. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"
#include "gguf/gguf.h"
#include "gguf/requant.h"
#include "model/plan.h"

/* Keys common to all architectures (spec "architectures" 0.1), range-checked. */
struct hparams {
    uint32_t n_ctx_train; /* context_length */
    uint32_t n_embd;      /* d */
    uint32_t n_layer;     /* blocks that the forward pass runs */
    uint32_t n_nextn;     /* blocks behind them for multi-token prediction, left out */
    uint32_t n_ff;        /* dense feed-forward width; 0: not given */
    uint32_t n_head, n_kv_head;
    uint32_t head_dim_k, head_dim_v;
    float rms_eps;
    uint32_t n_rot;
    float rope_base;
    uint32_t n_expert, n_expert_used, n_ff_expert;
    uint32_t n_ff_shared; /* of the shared experts together; 0: none */
    uint32_t n_vocab;     /* rows of token_embd */
};

struct model {
    const struct gguf *file; /* borrowed; must outlive the model */
    const char *arch;        /* a name of model_arch_name */
    struct hparams hp;
    struct plan plan;
};

/* Choices that no model file makes. Zero is the default. */
struct model_params {
    /* gpt-oss: YaRN's limits rounded as llama.cpp does, to compare with it. The model was trained
     * with exact ones. */
    bool yarn_rounded;
    struct requant requant; /* weights get other types while they are loaded */
};

/* Reads hyper-parameters, binds tensors, builds the plan. An unknown architecture, a missing key or
 * tensor, or a shape that does not fit is one line that names it. */
struct model *model_open(const struct gguf *file, const struct log *log, struct err *e);
struct model *model_open_with(const struct gguf *file, const struct model_params *params,
                              const struct log *log, struct err *e);
void model_close(struct model *m);
/* "qwen3moe", ...: the architectures that model_open knows; NULL past the end. */
const char *model_arch_name(size_t i);
