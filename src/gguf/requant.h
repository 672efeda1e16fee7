/* requant: a model file with its matrices in another type. */
#pragma once
#include <stdatomic.h>

#include "gguf/gguf.h"

struct requant {
    enum block_type type;            /* of the recipe; one that blocks can be encoded to */
    int n_threads;                   /* 0: one per physical core */
    const struct progress *progress; /* in bytes written; may be NULL */
    const atomic_bool *stop;         /* may be NULL */
};

/* Writes in's model to path, which appears when it is complete; what stood there is replaced.
 * Metadata is copied but for general.file_type and the layout of shards. Matrices get the types of
 * the recipe, all else becomes F32; tensors that have their type already are copied bit by bit.
 * Refuses values that are not finite or that a half cannot hold. */
bool requant_file(const struct gguf *in, const char *path, const struct requant *r, struct err *e);
