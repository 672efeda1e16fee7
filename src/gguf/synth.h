/* synth: model files with the shapes of known models and random weights, for measuring speed and
 * memory without the real ones. The same name, options and seed give the same bytes on every
 * machine, whatever the number of threads. */
#pragma once
#include <stdatomic.h>

#include "gguf/gguf.h"

struct synth_options {
    uint32_t n_layers; /* 0: as many as the model has; at most 512 */
    uint64_t seed;
    bool has_type;                /* false: the type that the model is usually used in */
    enum block_type type;         /* of most matrices (recipe.h) */
    bool no_imatrix;              /* the mix of a file made without an importance matrix */
    const struct gguf *tokenizer; /* its tokenizer is copied and gives the vocabulary's size; NULL:
                                     tokenizer.ggml.model is "none" */
};

struct synth;

/* Plans the file; nothing is written. NULL and e for a name that is not known and for a tokenizer
 * without tokens. */
struct synth *synth_open(const char *name, const struct synth_options *o, struct err *e);
void synth_close(struct synth *s);
/* The tensors in file order, with names, types, shapes and sizes. */
const struct gguf_tensor *synth_tensors(const struct synth *s, size_t *n);
/* Bytes of all tensors without padding. */
uint64_t synth_n_bytes(const struct synth *s);
/* Writes the file; it appears when it is complete. n_threads 0: one per physical core. progress (in
 * bytes) and stop may be NULL. */
bool synth_write(const struct synth *s, const char *path, int n_threads,
                 const struct progress *progress, const atomic_bool *stop, struct err *e);
/* Writes a file whose matrices are all zero, as holes that take no room on disk: what a model needs
 * can be shown without its gigabytes. */
bool synth_write_empty(const struct synth *s, const char *path, struct err *e);
/* The i-th name that synth_open knows; NULL behind the last. */
const char *synth_name(size_t i);
