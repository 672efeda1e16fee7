/* keep: takes snapshots of a session while a prompt is read into it, where conversations go back
 * to: the fork      where the prompt departs from what the session held: the end of the last reply,
 * a message that was edited, the end of a system prompt that others share the turn      before the
 * header of the reply to come: behind it, templates may rewrite messages      where the last few
 * begin, for who edits one of them; a session that read all of a long prompt at once has no forks
 * in it progress      one that follows the reading in steps, for a client that hangs up and asks
 * again Engine thread only. */
#pragma once
#include "engine/inside.h"

enum { KEEP_MESSAGES = 4, KEEP_OTHERS = 8 };

struct keeper {
    struct engine *engine;
    uint32_t seq;
    uint32_t borders[KEEP_MESSAGES + 2 + KEEP_OTHERS]; /* [n_borders] rising: positions worth a
                                                          snapshot */
    uint32_t n_borders, next; /* next: the first that is not behind the session */
    uint32_t progress;        /* the newest snapshot, or where the reading began */
    bool passing;             /* it is to be dropped for the next one */
};

/* For a turn whose session is cut back to where the reading begins; fork: as above, at most
 * n_text - 1. */
void keep_begin(struct keeper *k, struct engine *g, const struct turn *t, uint32_t fork);
/* One more position, ahead of what is read: where another prompt parts from this one. For 8 of them
 * at most; who comes later goes on from the snapshot before. */
void keep_also(struct keeper *k, uint32_t at);
/* Rows to read next, at most n_rows. A recurrent state has to be where a snapshot is wanted; a ring
 * can be saved from behind, and nothing is read in smaller pieces for it. */
uint32_t keep_rows(const struct keeper *k, uint32_t n_rows);
/* Before the first piece and after every one: takes what there is to take. */
void keep_snapshots(struct keeper *k);
