/* automaton: runs a compiled grammar over bytes. The grammar is a pushdown automaton that may be in
 * many places at once; a state here is the set of all of them, each a place in the program and a
 * stack of frames. Stacks share their lower parts, equal stacks and equal sets are one object, and
 * every step is remembered: after a while it is one lookup per byte, as in a deterministic
 * automaton that is built while it is used.
 *
 * States are numbers, valid until automaton_trim. One thread at a time. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text/grammar.h"

#define AUTOMATON_DEAD 0u /* no text goes on from here */
/* Counts are told apart only where so many bytes could make a difference; the longest token. */
enum { AUTOMATON_HORIZON = 256 };
#define AUTOMATON_MIXED UINT32_MAX

struct automaton;
/* g: compiled; borrowed. */
struct automaton *automaton_open(const struct grammar *g);
void automaton_close(struct automaton *a);

uint32_t automaton_start(struct automaton *a);
uint32_t automaton_step(struct automaton *a, uint32_t state, uint8_t byte);
/* The state that each of the bytes from `from` to `to` leads to; AUTOMATON_MIXED: they differ. */
uint32_t automaton_range(struct automaton *a, uint32_t state, uint8_t from, uint8_t to);
/* Steps over all bytes. */
uint32_t automaton_text(struct automaton *a, uint32_t state, str text);
uint32_t automaton_token(struct automaton *a, uint32_t state, int32_t id);
/* May the text end here? */
bool automaton_accepts(const struct automaton *a, uint32_t state);
/* Control tokens that may follow: calls each(ctx, id). */
void automaton_each_token(const struct automaton *a, uint32_t state,
                          void (*each)(void *ctx, int32_t id), void *ctx);
/* The bytes that may follow. */
struct byteset automaton_bytes(const struct automaton *a, uint32_t state);

/* A state is made of parts, one for each frame that its places stand on; what it allows is what any
 * of them allows. inside: what a part does until it leaves its frame, whatever that stands on: a
 * state, whose steps end in `left` ones. Many parts have the same. outside: where the text goes on
 * after the frame was left. */
struct automaton_part {
    uint32_t inside, outside;
};
/* Valid until automaton_trim. */
const struct automaton_part *automaton_parts(struct automaton *a, uint32_t state, uint32_t *n);
/* A state that allows the same texts of up to `horizon` bytes and is the same for many counts; the
 * state itself when its counts matter. *left: the repetitions that may still begin, where one count
 * is all that the two differ in; else 0. */
uint32_t automaton_rough(struct automaton *a, uint32_t state, uint32_t horizon, uint32_t *left);
/* Has the frame of an inside state been left here (perhaps in one of several ways)? */
bool automaton_left(const struct automaton *a, uint32_t state);

/* A hostile grammar can be in very many places at once: over a limit the automaton breaks, and
 * every further step is AUTOMATON_DEAD. work: places that may be looked at until the next call. */
void automaton_allow(struct automaton *a, uint64_t work);
bool automaton_broken(const struct automaton *a);

size_t automaton_n_bytes(const struct automaton *a);
/* States so far; every number below it is one. */
uint32_t automaton_n_states(const struct automaton *a);
/* Forgets all states but the n given, which get new numbers. */
void automaton_trim(struct automaton *a, uint32_t *states, size_t n);
