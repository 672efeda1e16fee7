/* cold: conversations that lose their session go to the host's memory and to files (store.h) and
 * come back from there. Both take time that others need: it is done in pieces, between the tokens
 * of those who are at work, for one turn at a time. Engine thread only, but for cold_open and
 * cold_close. */
#pragma once
#include "engine/fit.h"
#include "engine/inside.h"

/* The store, as far as there is one; what is wrong with the disk is logged, and it is done without.
 */
void cold_open(struct engine *g, const struct engine_params *p, const struct fit *f);
/* Writes to the disk what the sessions and the memory hold, for 10 seconds at most. Behind the
 * engine's thread. */
void cold_close(struct engine *g);

/* Before the prompt of t->job takes its session: what of that is to be stored, whose use is `use`.
 * To be followed by cold_step until that is not COLD_MOVES. */
void cold_begin(struct engine *g, struct turn *t, struct use use);
/* Session seq is to be stored and then to give up its pages; the turn `parks`, whose it is, waits
 * then; NULL: nobody is at work in it. Followed by cold_step likewise. */
void cold_empty(struct engine *g, uint32_t seq, struct turn *parks);
/* What there is in store of the text of a turn that waited is to come back. Likewise. */
void cold_bring(struct engine *g, struct turn *t);
/* Begins anew to bring back what there is of the text, behind a failure. */
void cold_again(struct engine *g);
/* Moves on for 100 ms at most; `alone`: nobody waits meanwhile, and it may sleep. */
enum cold { COLD_MOVES, COLD_DONE, COLD_FAILED };
/* DONE: what was to be stored is, as far as there is room, and the session holds what there was in
 * store of the text, if that is more than any session has; or the turn waits, since that needs more
 * pages than others give up (ration.h). FAILED and e: what it holds is not known. */
enum cold cold_step(struct engine *g, bool alone, struct err *e);
/* The rows that come next into the mover's turn, [*first, first + n); n 0: none. */
uint32_t cold_next_rows(const struct engine *g, uint32_t *first);
/* What the sessions held is lost (revive.c): nothing more of it can be stored. */
void cold_lose_sessions(struct engine *g);
/* The turn ends before that. */
void cold_abandon(struct engine *g, const struct turn *t);
/* What there is in store of a prompt. */
struct head cold_head(const struct engine *g, const int32_t *ids, size_t n);
