/* cmd_model: what the commands that open a model have in common. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "cmd/opts.h"
#include "cmd/term.h"
#include "engine/engine.h"

/* Options on memory and speed that run, serve and show share; zero, and for
 * threads -1, is the engine's default. */
struct model_opts {
    uint32_t n_ctx, n_ubatch;
    int32_t n_threads;
    enum block_type type_k, type_v;
    const char *backend, *device;
    char cache_path[TERM_MAX_PATH]; /* of compiled kernels; "": none */
    struct requant requant;
};
/* The words that --backend and --device take, for tables of other commands too. */
#define MODEL_BACKENDS "cpu, vulkan, or ref: slow and exact"
#define MODEL_PLACE    "a GPU with room for the model, else cpu"
#define MODEL_DEVICES  "GPU by index or part of its name, see 'tawny devices'"
/* The file that compiled kernels are kept in; NULL where there is no home for it. */
const char *model_cache_path(char out[TERM_MAX_PATH]);
/* How --requant is spelled, for the notes of --help. */
#define REQUANT_NOTES                                                                              \
    "--requant SPEC gives weights other types while they are loaded: ROLE=TYPE,... with the "      \
    "roles\n"                                                                                      \
    "embed, head (the output matrix), attn (linear attention included), experts, shared "          \
    "(experts),\n"                                                                                 \
    "ffn (dense), router; or a TYPE first, for all, as tawny quantize would write it. Types: "     \
    "F32\n"                                                                                        \
    "F16 BF16 Q8_0 Q6_K Q5_K Q5_1 Q5_0 Q4_K Q4_1 Q4_0 IQ4_NL MXFP4. What it saves and what it\n"   \
    "costs: tawny show MODEL --requant SPEC --text FILE."
/* The group for an option table; fills o with defaults. */
struct opt_group model_group(struct model_opts *o);
/* The engine's parameters from them. */
struct engine_params model_params(const struct model_opts *o, const char *path);

/* Options on sampling that run and serve share. Negative: not given, the model file decides. */
struct sampling_opts {
    float temperature, top_p, min_p, repeat_penalty;
    int32_t top_k;
};
struct opt_group sampling_group(struct sampling_opts *o);
/* Puts what was given over the defaults in s. */
void sampling_apply(const struct sampling_opts *o, struct sampling *s);

/* The file behind a MODEL argument: a path as it is; NULL or "demo": the model that ships with
 * tawny, looked for in share/ beside the program and in ../share/tawny/. Freed by the caller with
 * free(). NULL and e when the demo model is not there. */
char *model_path(const char *word, struct err *e);
/* Reads a chat template from a file. */
bool model_template(const char *path, struct buf *out, struct err *e);
/* Could word be meant as a model: "demo", an existing file, or a name that ends in .gguf? */
bool model_is_word(const char *word);
