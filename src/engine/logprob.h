/* logprob: log probabilities of a row of logits, before any sampling. Pure functions. */
#pragma once
#include <stdint.h>

#include "engine/engine.h"

/* Log probability of token id, and the n most likely tokens (n <= 20, may pass n_vocab) into top,
 * largest first, equals by id. Returns how many were written. NaN counts as minus infinity; such
 * tokens have -INFINITY and are not listed. */
uint32_t logprob_top(const float *logits, uint32_t n_vocab, int32_t id, uint32_t n,
                     struct token_logprob *token, struct token_logprob *top);
