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
    uint64_t interval;          /* jobs between its last two uses; 0: there was one */
    uint64_t hint;              /* job_params.hint of the last one */
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
/* What a session has of a prompt. */
struct head {
    uint32_t shared; /* tokens that both begin with */
    uint32_t reach;  /* of those, up to where the session can go on: session_reach */
};
struct head session_head(const struct session *s, const int32_t *ids, size_t n);
/* The session other than `but` that reaches farthest into the prompt, the first of equals, and what
 * it has; n_sessions and zeros: none has anything. */
uint32_t session_farthest(const struct session *all, uint32_t n_sessions, uint32_t but,
                          const int32_t *ids, size_t n, struct head *out);
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

/* The session, of those that are not busy, in which a prompt costs least, now and later, in tokens
 * read: the prompt's tokens that no session holds; a 32nd of those that would have to be copied
 * from another one, busy or not; and the tokens that cutting this one back throws away, since
 * somebody may come back for those. These count fully for the session used last, half for the one
 * before, a quarter for the next, and so on; an empty one loses nothing. Ties go to the longest
 * unused.
 *
 * A hint (job_params.hint, 0: none) makes two differences. A conversation that came back under its
 * name is half as stale to requests without that name. And what its own client cuts off it, if that
 * is less than half, counts half: it was rewritten there, and nobody comes back for it.
 *
 * So a conversation that goes on finds its session, one whose end was rewritten cuts its own, and a
 * branch (a sub-agent, another title, a side request) takes an empty or a stale session and a copy
 * of the head that it shares.
 *
 * The longest conversation does not grow stale for 64 jobs, and where there are others a request
 * less than half as long as what it would cut off, which mostly shares nothing with it, never gets
 * it: n_sessions where such a one has to wait for another session, or where all are busy. */
uint32_t session_choose(const struct session *all, uint32_t n_sessions, const int32_t *ids,
                        size_t n, uint64_t hint);
/* What would be lost of session i to requests that have nothing of it, by the same rule. */
double session_worth(const struct session *all, uint32_t n_sessions, uint32_t i);
/* The session that holds most, if somebody used it within 64 jobs; n_sessions: none. */
uint32_t session_longest_live(const struct session *all, uint32_t n_sessions);
