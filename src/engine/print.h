/* print: a number for a model with its settings, to know bytes of a cache again after a restart. */
#pragma once
#include "engine/fit.h"
#include "gguf/gguf.h"

/* Of all that keys, values and states of a sequence depend on: tawny's version, the backend and its
 * layout, the types of cache and weights, the file's metadata but for the texts of arrays, and the
 * first 4 KiB of every tensor. Files that only differ elsewhere are taken for the same; whoever
 * trains a model changes all of its tensors, or whole ones. n_row_bytes: of 256 tokens. */
bool print_model(const struct gguf *file, const struct fit *f, const struct requant *requant,
                 uint64_t n_row_bytes, uint64_t *out, struct err *e);
