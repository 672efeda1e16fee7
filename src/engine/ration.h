/* ration: who has pages of keys and values where there are fewer of them than all sessions would
 * need. Sessions without a job give theirs up when others lack them, the one worth least first
 * (session_worth), and come back from the store (cold.h). A job begins when what it reads and the
 * beginning of its reply have room beside those at work. Where replies grow beyond that, the job
 * that came last waits: its tokens are stored, its pages are free, and it goes on when there is
 * room. The job that came first never waits, and one sequence has room alone, so all end. The
 * longest conversation gives up its pages last, and small requests wait rather than have them.
 * With pages for all sessions nothing of this happens. Engine thread only. */
#pragma once
#include "engine/turn.h"

/* Whether a job of the queue may begin in session seq. */
bool ration_admits(const struct engine *g, const struct job *j, uint32_t seq);
/* The turn that waited and goes on now (turn_unpark); NULL: none. */
struct turn *ration_due(const struct engine *g);
/* Whether there are pages for what a turn does next: a piece of its text, a token of its reply, a
 * chunk from the store. Those that came before it have theirs first. */
bool ration_has_room(const struct engine *g, const struct turn *t);
/* Where somebody lacks pages, or soon will: has the mover, which is off, free some. True: it is on.
 */
bool ration_make_room(struct engine *g);
/* The session without a job that gives up its pages next; n_sessions: none. */
uint32_t ration_victim(const struct engine *g);
/* The session used next after job number `behind`; n_sessions: none. */
uint32_t ration_next_session(const struct engine *g, uint64_t behind);
