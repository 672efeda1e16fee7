/* session: what the KV cache of one sequence holds, and which sequence a prompt should go to.
 * Engine thread only. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "compute/exec.h"

/* A saved state (exec_state_save) behind the first n tokens of its session; n 0: free. */
struct snapshot {
    uint32_t n;
    uint64_t last_used; /* the job that made it or went on from it */
    uint8_t *bytes;
};

struct session {
    int32_t *ids;               /* [n_ctx] tokens in the cache, positions 0 .. n-1 */
    uint32_t n;                 /* of those, in use */
    uint64_t last_used;         /* rises with every job; 0: never */
    bool busy;                  /* a job is at work in it */
    struct exec_reach reach;    /* from where it can go on without a snapshot */
    struct snapshot *snapshots; /* [n_snapshots]; 0: it can be cut back anywhere */
    uint32_t n_snapshots;
};

/* Length of the common head of the session's tokens and ids[n]. */
uint32_t session_shared(const struct session *s, const int32_t *ids, size_t n);

/* From where the session can go on when it is to keep no more than its first n tokens: the last
 * position up to n that is within reach or has a snapshot. */
uint32_t session_reach(const struct session *s, uint32_t n);
/* Keeps the first n tokens and their snapshots. */
void session_cut(struct session *s, uint32_t n);
/* The snapshot behind exactly n tokens, or NULL. */
struct snapshot *session_snapshot(const struct session *s, uint32_t n);
/* Frees it, if there is one. */
void session_drop_snapshot(struct session *s, uint32_t n);
/* A place for a new one: a free one, else that of the least valuable, which is lost. A snapshot is
 * worth the tokens that its loss would cost somebody who comes back to it, those since the one
 * before it, divided by the number of jobs since it was of use. n_jobs: the present one. */
struct snapshot *session_snapshot_room(struct session *s, uint64_t n_jobs);

/* The session, of those that are not busy, in which a prompt costs the fewest tokens
 * to read, now and later: the prompt's tokens that it does not hold, plus the tokens that cutting
 * it back throws away, since somebody may come back for those. The latter count fully for the
 * session used last, half for the one before, a quarter for the next, and so on; an empty one loses
 * nothing. Ties go to the longest unused.
 *
 * So a conversation that goes on finds its session, an edited one cuts its own, a short side
 * request or the first prompt of a sub-agent takes an empty or a stale session even where it shares
 * a system prompt with a long one, and nothing is thrown away while an empty session costs less.
 *
 * The longest conversation does not grow stale for 64 jobs, and where there are others a request
 * less than half as long as what it would cut off, which mostly shares nothing with it, never gets
 * it: n_sessions where such a one has to wait for another session, or where all are busy. */
uint32_t session_choose(const struct session *all, uint32_t n_sessions, const int32_t *ids,
                        size_t n);
