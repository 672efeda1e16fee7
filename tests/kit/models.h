/* models: small random models for tests, of any shape and block type, and comparing results. Every
 * failure ends the test. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"
#include "compute/exec.h"
#include "model/model.h"

/* n_bytes of random blocks of any type, the weights about normal in size: mean 0, root of the mean
 * square about `rms`. n_elems is a multiple of the block. Freed by the caller. */
void *kit_random_blocks(struct rng *rng, enum block_type type, uint64_t n_elems, float rms);
/* The vector form, F32. */
float *kit_random_floats(struct rng *rng, size_t n, float mean, float rms);

/* A model of any architecture. Zero fields take the default in brackets. */
struct kit_spec {
    enum block_type type; /* of the matrices [BLOCK_F32]; norms and router are F32 */
    uint32_t n_layer;     /* [2] */
    uint32_t n_embd;      /* [256] */
    uint32_t n_head;      /* [4] */
    uint32_t n_kv_head;   /* [2] */
    uint32_t head_dim;    /* [64] */
    uint32_t n_expert;    /* [8] */
    uint32_t n_used;      /* [2] */
    uint32_t n_ff;        /* of an expert [256] */
    uint32_t n_vocab;     /* [96] */
    uint32_t window;      /* of gpt-oss [6] */
    uint64_t seed;        /* weights, on top of test_seed() */
    bool tied;            /* no output.weight */
    bool fused;           /* attn_qkv, ffn_gate_up_exps; qwen3next: ssm_in */
    bool sparse;          /* experts where the architecture can do without (llama) */
    bool rope_freqs;      /* the tensor */
    bool ollama;          /* qwen3next as Ollama writes it: tiled heads, its names */
    const char *rope;     /* rope.scaling.type, with factor 4 from 1024 tokens [none of the keys] */
    const char *arch;     /* ["qwen3moe"], or an old spelling: its tensors' names and keys, too */
    /* For refusals. */
    const char *without;     /* a key (without "<arch>.") or tensor that is left out */
    const char *reshaped;    /* a tensor with one row more */
    const char *ruined;      /* a norm that is NaN; not refused */
    const char *extra;       /* a tensor more, of one element */
    const char *changed_key; /* this u32 key has the value ... */
    uint32_t changed_to;
    const char *extra_key; /* a u32 key more; nextn_predict_layers: block_count grows by it */
    uint32_t extra_value;
    bool extra_is_float; /* an f32 key instead */
};

/* Writes the model to a temporary file; its path is freed by the caller, who removes the file. */
char *kit_write_model(const struct kit_spec *spec);

struct kit_model {
    struct gguf *file;
    struct model *model;
};
/* Writes, opens, removes. */
struct kit_model kit_open_model(const struct kit_spec *spec);
void kit_close_model(struct kit_model *m);
/* Opening fails with a message that has the file's path and `says`. */
void kit_check_refused(const struct kit_spec *spec, const char *says);

/* Backend `name`, or NULL when this build or machine does not have it or when it does not run the
 * plan; it says so. */
/* False for a backend that is not checked in this build: a driver that compiles its own code takes
 * many times as long under a sanitizer and is not watched by it. */
bool kit_checks(const char *backend);

struct exec *kit_open_exec(const char *backend, const struct plan *plan,
                           const struct exec_params *params);
/* Runs ids[from, to) as positions from.. of sequence 0 in pieces of n_batch rows (0: all at once);
 * logits of every row into out[to - from][n_vocab]. */
void kit_run(struct exec *x, const int32_t *ids, uint32_t from, uint32_t to, uint32_t n_batch,
             uint32_t n_vocab, float *out);

/* Norm of the difference over the norm of `want`; NaN in got gives infinity. */
double kit_rel_err(const float *got, const float *want, size_t n);
/* Whole file below the reference data; freed by the caller. Skips the test without them. */
void *kit_read_shared(const char *relative, size_t *n_bytes);
