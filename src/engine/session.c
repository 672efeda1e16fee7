#include "engine/session.h"

#include <math.h>

#include "base/num.h"

/* LIVE_JOBS: without a touch, after which a session is nobody's any more.
 * COPY_PART: of a token read, what one copied costs: the copy of a state, and the session. Keys and
 * values are shared. */
enum { LIVE_JOBS = 64, COPY_PART = 32 };

uint32_t session_shared(const struct session *s, const int32_t *ids, size_t n)
{
    size_t most = num_min(s->n, n);
    uint32_t i = 0;
    while (i < most && s->ids[i] == ids[i])
        i++;
    return i;
}

uint32_t session_reach(const struct session *s, uint32_t n)
{
    uint32_t reach = n < s->reach.first ? 0 : (uint32_t)num_min(n, s->reach.last);
    for (uint32_t i = 0; i < s->n_snapshots; i++)
        if (s->snapshots[i].n <= n && s->snapshots[i].n > reach)
            reach = s->snapshots[i].n;
    return reach;
}

struct head session_head(const struct session *s, const int32_t *ids, size_t n)
{
    const uint32_t shared = session_shared(s, ids, n);
    return (struct head){shared, session_reach(s, shared)};
}

uint32_t session_farthest(const struct session *all, uint32_t n_sessions, uint32_t but,
                          const int32_t *ids, size_t n, struct head *out)
{
    uint32_t best = n_sessions;
    *out = (struct head){0};
    for (uint32_t i = 0; i < n_sessions; i++) {
        const struct head h = session_head(&all[i], ids, n);
        if (i == but || h.reach <= out->reach)
            continue;
        *out = h;
        best = i;
    }
    return best;
}

void session_cut(struct session *s, uint32_t n)
{
    s->n = n;
    for (uint32_t i = 0; i < s->n_snapshots; i++)
        if (s->snapshots[i].n > n)
            s->snapshots[i].n = 0;
}

struct snapshot *session_snapshot(const struct session *s, uint32_t n)
{
    for (uint32_t i = 0; i < s->n_snapshots; i++)
        if (n && s->snapshots[i].n == n)
            return &s->snapshots[i];
    return NULL;
}

void session_drop_snapshot(struct session *s, uint32_t n)
{
    struct snapshot *at = session_snapshot(s, n);
    if (at)
        at->n = 0;
}

static double value_of(const struct session *s, const struct snapshot *at, uint64_t n_jobs)
{
    uint32_t before = 0;
    for (uint32_t i = 0; i < s->n_snapshots; i++)
        if (s->snapshots[i].n < at->n && s->snapshots[i].n > before)
            before = s->snapshots[i].n;
    return (double)(at->n - before) / (double)(1 + n_jobs - at->last_used);
}

struct snapshot *session_snapshot_room(struct session *s, uint64_t n_jobs)
{
    struct snapshot *least = &s->snapshots[0];
    for (uint32_t i = 1; i < s->n_snapshots; i++)
        if (value_of(s, &s->snapshots[i], n_jobs) < value_of(s, least, n_jobs))
            least = &s->snapshots[i];
    return least;
}

/* How many of all were used after session i. */
static int rank_of(const struct session *all, uint32_t n_sessions, uint32_t i)
{
    int rank = 0;
    for (uint32_t k = 0; k < n_sessions; k++)
        rank += all[k].last_used > all[i].last_used;
    return rank;
}

uint32_t session_longest_live(const struct session *all, uint32_t n_sessions)
{
    uint32_t longest = 0;
    uint64_t newest = 0;
    for (uint32_t i = 0; i < n_sessions; i++) {
        newest = num_max(newest, all[i].last_used);
        if (all[i].n > all[longest].n)
            longest = i;
    }
    return newest - all[longest].last_used < LIVE_JOBS ? longest : n_sessions;
}

/* How often what would be cut off session i is halved, when `shared` of its tokens stay. */
static int staleness(const struct session *all, uint32_t n_sessions, uint32_t i, uint32_t shared,
                     uint64_t hint)
{
    const struct session *s = &all[i];
    const bool is_named = s->hint && s->interval, is_own = s->hint && s->hint == hint;
    const int rank = session_longest_live(all, n_sessions) == i ? 0 : rank_of(all, n_sessions, i);
    if (is_own && 2 * (uint64_t)shared > s->n)
        return rank + 1;
    return is_named && !is_own ? rank / 2 : rank;
}

uint32_t session_choose(const struct session *all, uint32_t n_sessions, const int32_t *ids,
                        size_t n, uint64_t hint)
{
    const uint32_t longest = session_longest_live(all, n_sessions);
    struct head most;
    uint32_t best = n_sessions;
    double least = HUGE_VAL;
    session_farthest(all, n_sessions, n_sessions, ids, n, &most);
    for (uint32_t i = 0; i < n_sessions; i++) {
        if (all[i].busy)
            continue;
        const struct head h = session_head(&all[i], ids, n);
        const uint64_t cut = all[i].n - h.shared;
        if (i == longest && n_sessions > 1 && 2 * n < cut && 2 * (size_t)h.shared < n)
            continue;
        const uint32_t copied = most.reach > h.shared ? most.reach - h.shared : 0;
        const double cost = (double)(n - most.reach) + (double)copied / COPY_PART +
                            ldexp((double)cut, -staleness(all, n_sessions, i, h.shared, hint));
        if (cost < least || (cost <= least && all[i].last_used < all[best].last_used)) {
            least = cost;
            best = i;
        }
    }
    return best;
}

double session_worth(const struct session *all, uint32_t n_sessions, uint32_t i)
{
    return ldexp((double)all[i].n, -staleness(all, n_sessions, i, 0, 0));
}
