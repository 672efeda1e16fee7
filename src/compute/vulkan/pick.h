/* pick: the likeliest tokens of rows of logits, found on the device (shaders/pick.comp). */
#pragma once
#include "compute/vulkan/steps.h"

/* The last workgroup has a key of each slice in a thread's registers. A thread of a slice has a few
 * tokens, or more where there would be too many slices. */
enum {
    PICK_GROUP = 16,
    PICK_MOST_SLICES = 64,
    PICK_MOST_GROUP = 32,
    PICK_MOST_VOCAB = PICK_MOST_SLICES * PICK_MOST_GROUP * THREADS,
};

/* Its pipeline, where there are logits and the vocabulary is not too large: gpu.pick.is_there. */
void pick_add(struct gpu *g);
/* Scratch for what slices find. */
uint64_t pick_part_bytes(const struct gpu *g);
/* Behind the logits' last row, read but not heeded. */
uint64_t pick_past_bytes(const struct gpu *g);
bool pick_make_buffers(struct gpu *g, struct err *e);
void pick_free(struct gpu *g);
/* What the wanted rows' guesses are made by; NULL: the first token. */
bool pick_write_draws(struct gpu *g, const struct draw *draws, uint32_t n_wanted, struct err *e);
/* Behind the head: the best tokens of the wanted rows, from their logits in the scratch. */
void pick_record(struct recorder *r);
/* Those of a wanted row, from the side that its recording wrote. */
void pick_take(const struct gpu *g, uint32_t side, uint32_t row, struct best *out);
