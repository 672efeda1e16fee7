/* sampler: logits to a token. The chain: penalties, bias and the mask, then top-k, top-p, min-p
 * over the softmax, temperature, draw. Temperature 0 is greedy: the largest logit after penalties
 * and bias, ties to the lower id. One thread per sampler. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "compute/exec.h"
#include "text/mask.h"

struct logit_bias {
    int32_t id;
    float bias; /* added to the logit; -100 or less forbids the token */
};

/* The neutral value of each field is in brackets; a zeroed struct is greedy with everything else
 * off. */
struct sampling {
    float temperature;       /* [0: greedy] */
    int32_t top_k;           /* [0: off] */
    float top_p;             /* [0 or 1: off] */
    float min_p;             /* [0: off] */
    float repeat_penalty;    /* [0 or 1: off] divides positive, multiplies negative logits of seen
                                tokens */
    float presence_penalty;  /* [0] subtracted once from seen tokens */
    float frequency_penalty; /* [0] subtracted per occurrence */
    int32_t penalty_last_n;  /* tokens looked back at [0: 64]; -1: all */
    uint64_t seed;           /* [0] */
    const struct logit_bias *bias;
    size_t n_bias;
};

/* Are all fields in their ranges and the ids below n_vocab? ERR_USAGE names the field, its value
 * and the limits. */
bool sampling_check(const struct sampling *p, uint32_t n_vocab, struct err *e);

struct sampler;
/* Copies p, which has passed sampling_check. allowed: n_vocab flags, tokens that may be drawn at
 * all (padding rows and unused ones may not), or NULL for all; borrowed. */
struct sampler *sampler_open(const struct sampling *p, uint32_t n_vocab,
                             const unsigned char *allowed);
/* Tells the sampler of a token in the sequence (the prompt's too): penalties count them. */
void sampler_accept(struct sampler *s, int32_t id);
/* The next draw takes 100 from this token's logit; -1: from none. */
void sampler_keep_out(struct sampler *s, int32_t id);
/* Draws from logits[n_vocab], which it may change, among the tokens of mask (NULL: all). NaN counts
 * as minus infinity; when no token has a usable logit, the lowest allowed id comes out. */
int32_t sampler_pick(struct sampler *s, float *logits, const struct token_mask *mask);
/* Whether sampler_pick_best mostly has an answer: greedy, or top-k of at most EXEC_BEST, and no
 * penalty or bias raises a token. */
bool sampler_takes_best(const struct sampler *s);
/* The token that sampler_pick would draw from all logits, from the best of the tokens allowed
 * alone; -1 where these do not say it, with nothing drawn. */
int32_t sampler_pick_best(struct sampler *s, const struct best *best,
                          const struct token_mask *mask);
/* How sampler_pick_best would draw next, but for penalties, bias and masks: for a device to guess.
 */
void sampler_next_draw(const struct sampler *s, struct draw *out);
/* Whether there is neither penalty nor bias. */
bool sampler_is_plain(const struct sampler *s);
void sampler_close(struct sampler *s);
