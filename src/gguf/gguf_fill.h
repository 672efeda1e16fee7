/* gguf_fill: writes all tensors of a model file with all threads, piece by piece, each made by a
 * function. What quantising and making synthetic models share. */
#pragma once
#include <stdatomic.h>

#include "gguf/gguf.h"

struct gguf_fill {
    const struct gguf_tensor *tensors; /* name, type, shape and sizes are used */
    size_t n_tensors;
    /* Writes elements [first, first + n) of a tensor to out as blocks of its type. first is a
     * multiple of 256; n too, but for a tensor's last piece. From several threads at once. */
    bool (*make)(const void *ctx, size_t i_tensor, uint64_t first, size_t n, void *out,
                 struct err *e);
    const void *ctx;
    int n_threads;                   /* 0: one per physical core */
    const struct progress *progress; /* in bytes of tensors; may be NULL */
    const atomic_bool *stop; /* set by somebody to give up with ERR_CANCELLED; may be NULL */
};

enum { GGUF_FILL_PIECE = 1 << 18 }; /* elements at most */

/* Adds the tensors to w, which has all its keys, starts it, makes and writes the data and finishes.
 * On failure the caller closes w and nothing is left. */
bool gguf_fill(const struct gguf_fill *f, struct gguf_writer *w, struct err *e);
/* Sets n_elems, n_bytes and missing dims from name, type, n_dims and ne. */
void gguf_fill_size(struct gguf_tensor *t);
