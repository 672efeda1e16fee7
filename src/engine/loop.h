/* loop: finds a model that says the same over and over. A cycle is a run of tokens each of which is
 * the one `period` tokens before; every period up to LOOP_MAX_PERIOD is followed at once, exactly,
 * so a cycle is found after LOOP_TOKENS tokens or three more turns, whichever is more. No text of
 * 4,000 source files and documents comes near: their longest run is 72 tokens
 * (docs/architecture.md). Allocates nothing; one thread. */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum {
    LOOP_MAX_PERIOD = 1024,
    LOOP_TOKENS = 2048,      /* a table of 300 zeros or 150 like lines are no loop */
    LOOP_TOKENS_AGAIN = 256, /* once one was broken, soon after */
    LOOP_TURNS = 3,
    LOOP_TURNS_AGAIN = 1,
    LOOP_BREAKS = 3,    /* then the reply ends */
    LOOP_FORGET = 8192, /* tokens without a cycle after which nothing is held against the model */
};

enum loop_verdict {
    LOOP_NONE,
    LOOP_BREAK, /* the token that would go on with the cycle should not come next */
    LOOP_END,   /* the cycle was broken often enough: the reply should end */
};

/* Fill with loop_init. */
struct loop {
    int32_t recent[2 * LOOP_MAX_PERIOD]; /* newest first from .at on */
    uint32_t at;
    uint32_t run[LOOP_MAX_PERIOD]; /* [period - 1] tokens that equal the one a period before */
    uint32_t n_breaks;
    uint64_t n_tokens, last_break;
};
void loop_init(struct loop *l);
/* Takes the next token (ids are not negative). With LOOP_BREAK, *next is the token to keep out. */
enum loop_verdict loop_put(struct loop *l, int32_t id, int32_t *next);
