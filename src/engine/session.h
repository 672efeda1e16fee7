/* session: what the KV cache of one sequence holds, and which sequence a prompt should go to.
 * Engine thread only. */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct session {
    int32_t *ids;       /* [n_ctx] tokens in the cache, positions 0 .. n-1 */
    uint32_t n;         /* of those, in use */
    uint64_t last_used; /* rises with every job; 0: never */
};

/* Length of the common head of the session's tokens and ids[n]. */
uint32_t session_shared(const struct session *s, const int32_t *ids, size_t n);

/* The session in which a prompt costs the fewest tokens to read, now and later: the prompt's tokens
 * that it does not hold, plus the tokens that cutting it back throws away, since somebody may come
 * back for those. The latter count fully for the session used last, half for the one before, a
 * quarter for the next, and so on; an empty one loses nothing. Ties go to the longest unused.
 *
 * So a conversation that goes on finds its session, an edited one cuts its own, a short side
 * request or the first prompt of a sub-agent takes an empty or a stale session even where it shares
 * a system prompt with a long one, and nothing is thrown away while an empty session costs less. */
uint32_t session_choose(const struct session *all, uint32_t n_sessions, const int32_t *ids,
                        size_t n);
