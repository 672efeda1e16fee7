/* pick: the likeliest tokens of rows of logits, found on the device (shaders/pick.comp). */
#pragma once
#include "compute/vulkan/steps.h"

enum {
    PICK_GROUP = 16, /* tokens, of which the largest key is found first; as the head's groups */
    PICK_MOST_KEYS = 128, /* of a thread, in registers, where a workgroup has few of them */
    PICK_MOST_VOCAB = PICK_MOST_KEYS * PICK_GROUP * THREADS,
};

/* Its pipeline, where there are logits and the vocabulary is not too large: gpu.pick.is_there. */
void pick_add(struct gpu *g);
/* Largest keys of groups, of a row. */
uint32_t pick_keys(const struct gpu *g);
/* Scratch for the largest keys of groups. */
uint64_t pick_key_bytes(const struct gpu *g);
/* Behind the logits' last row, read but not heeded. */
uint64_t pick_past_bytes(const struct gpu *g);
bool pick_make_buffers(struct gpu *g, struct err *e);
void pick_free(struct gpu *g);
/* What the wanted rows' guesses are made by; NULL: the first token. */
bool pick_write_draws(struct gpu *g, const struct draw *draws, uint32_t n_wanted, struct err *e);
/* Behind the head: the best tokens of the wanted rows, from their logits in the scratch. has_keys:
 * the head wrote the largest ones of groups. */
void pick_record(struct recorder *r, bool has_keys);
/* Those of a wanted row, from the side that its recording wrote. */
void pick_take(const struct gpu *g, uint32_t side, uint32_t row, struct best *out);
