/* mask: which tokens may come next where a grammar holds. A token may come when the automaton can
 * read all of its bytes. The tokens are kept as a trie, so that a shared head is read once; what a
 * state allows is remembered; and what it allows within its own frame is remembered for all states
 * with the same inside. Inside a string nearly all tokens are decided at once: those of letters and
 * the like, which are sets made beforehand by their length. Only what holds quotes, backslashes,
 * line ends and so on is tried, and that once for all counts that are far enough from a limit. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text/automaton.h"
#include "text/tok.h"

/* The tokens of a vocabulary that are text, in a trie, and those that end a reply. Immutable:
 * shared by all threads. */
struct mask_vocab;
/* t may be closed after. n_vocab: ids that a mask covers, at least the tokenizer's. */
struct mask_vocab *mask_vocab_open(const struct tok *t, uint32_t n_vocab);
void mask_vocab_close(struct mask_vocab *v);
/* The bytes of a token that is text; empty for others and ids out of range. */
str mask_vocab_bytes(const struct mask_vocab *v, int32_t id);

/* A set of tokens: ids, or when they are many, a bit for each id of the vocabulary. */
struct token_mask {
    uint32_t n;
    int32_t *ids;   /* [n] rising; NULL: see bits */
    uint64_t *bits; /* bit id % 64 of bits[id / 64]; NULL: see ids */
    uint32_t n_words;
    bool all; /* every token that is text, and the end: nothing is forbidden */
};
static inline bool token_mask_has(const struct token_mask *m, uint32_t id)
{
    for (uint32_t i = 0; m->ids && i < m->n; i++)
        if (m->ids[i] == (int32_t)id)
            return true;
    return m->bits && m->bits[id / 64] >> (id % 64) & 1;
}

/* The masks of one automaton. One thread at a time. */
struct masks;
/* Both are borrowed. */
struct masks *masks_open(const struct mask_vocab *v, struct automaton *a);
void masks_close(struct masks *m);
/* What may come at a state (not AUTOMATON_DEAD); valid until masks_trim. NULL when the automaton
 * broke. Where the text may end, the tokens that end a reply are in it. */
const struct token_mask *masks_at(struct masks *m, uint32_t state);
/* The state after a token; AUTOMATON_DEAD when it may not come. Tokens that end a reply lead
 * nowhere. */
uint32_t masks_step(struct masks *m, uint32_t state, int32_t id);
/* Forgets everything but the n states, which get new numbers, once it takes more than max_bytes. */
void masks_trim(struct masks *m, uint32_t *states, size_t n, size_t max_bytes);
