/* pick: the likeliest tokens of rows of logits, found on the device (shaders/pick.comp). */
#pragma once
#include "compute/vulkan/steps.h"

/* A thread's entries stand in registers, and EXEC_BEST times as many in shared memory. */
enum {
    PICK_MOST_SLICES = 64,
    PICK_MOST_PER_THREAD = 32,
    PICK_MOST_VOCAB = PICK_MOST_SLICES * PICK_MOST_PER_THREAD * THREADS,
};

/* Its pipeline, where there are logits and the vocabulary is not too large: gpu.pick.is_there. */
void pick_add(struct gpu *g);
/* Scratch for what slices find. */
uint64_t pick_part_bytes(const struct gpu *g);
bool pick_make_buffers(struct gpu *g, struct err *e);
void pick_free(struct gpu *g);
/* What the wanted rows' guesses are made by; NULL: the first token. */
bool pick_write_draws(struct gpu *g, const struct draw *draws, uint32_t n_wanted, struct err *e);
/* Behind the head: the best tokens of the wanted rows, from their logits in the scratch. */
void pick_record(struct recorder *r);
/* Those of a wanted row, from the side that its recording wrote. */
void pick_take(const struct gpu *g, uint32_t side, uint32_t row, struct best *out);
