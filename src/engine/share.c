#include "engine/share.h"

#include <string.h>

#include "base/num.h"
#include "engine/cold.h"

/* Fewer tokens than this in common are read twice rather than waited for. */
enum { LEAST_SHARED = 64 };

/* ---- what others hold -------------------------------------------------------------------------
 */

/* Gives `to` the state of `from` behind n tokens, as a snapshot. */
static bool take_state(struct engine *g, uint32_t from, uint32_t to, uint32_t n, struct err *e)
{
    struct snapshot *at = session_snapshot(&g->sessions[from], n);
    struct snapshot *room = session_snapshot_room(&g->sessions[to], g->n_jobs);
    room->n = 0;
    if (at) {
        memcpy(room->bytes, at->bytes, g->n_state_bytes);
        at->last_used = g->n_jobs;
    } else if (!exec_state_save(g->exec, from, n, room->bytes, e)) {
        return false;
    }
    room->n = n;
    room->last_used = g->n_jobs;
    return true;
}

/* Session `to` takes the first n tokens of `from`, of which it has the first `shared`. */
static bool take_head(struct engine *g, uint32_t from, uint32_t to, uint32_t shared, uint32_t n,
                      struct err *e)
{
    struct session *s = &g->sessions[to];
    session_cut(s, shared);
    if (s->n_snapshots && !take_state(g, from, to, n, e))
        return false;
    const bool done = exec_seq_copy(g->exec, from, to, n, e);
    s->reach = exec_reach(g->exec, to);
    memcpy(s->ids + shared, g->sessions[from].ids + shared, (n - shared) * sizeof *s->ids);
    s->n = n;
    return done;
}

bool share_begin(struct engine *g, struct turn *t, struct err *e)
{
    const size_t most = t->n_text - 1;
    struct session *s = &g->sessions[t->seq];
    const struct head own = session_head(s, t->text, most);
    const uint32_t n_stored = cold_head(g, t->text, most).shared;
    struct head other;
    const uint32_t from =
        session_farthest(g->sessions, g->n_sessions, t->seq, t->text, most, &other);
    bool ok = true;
    if (other.reach > own.reach)
        ok = take_head(g, from, t->seq, (uint32_t)num_min(own.shared, other.reach), other.reach, e);
    else
        session_cut(s, own.reach);
    if (!ok)
        return false;
    const uint64_t fork = num_max(n_stored, num_max(own.shared, other.shared));
    keep_begin(&t->keeper, g, t, (uint32_t)fork);
    struct snapshot *at = session_snapshot(s, s->n);
    if (at)
        at->last_used = g->n_jobs;
    exec_seq_cut(g->exec, t->seq, s->n);
    if (exec_within(s->reach, s->n))
        return true;
    const bool done = exec_state_restore(g->exec, t->seq, s->n, at->bytes, e);
    s->reach = exec_reach(g->exec, t->seq);
    return done;
}

/* ---- what others are reading ------------------------------------------------------------------
 */

/* How many tokens two texts begin with alike, without the last of `of`. */
static uint32_t count_shared(const struct turn *of, const struct turn *other)
{
    const uint64_t most = num_min(of->n_text - 1, other->n_text);
    uint32_t n = 0;
    while (n < most && of->text[n] == other->text[n])
        n++;
    return n;
}

struct turn *share_leader(const struct engine *g, const struct turn *t)
{
    return t->has_leader ? &g->turns[t->leader] : NULL;
}

void share_keep(struct engine *g, struct turn *t)
{
    for (uint32_t i = 0; i < g->n_sessions; i++) {
        const struct turn *u = &g->turns[i];
        if (u->job && share_leader(g, u) == t && u->n_shared > g->sessions[t->seq].n)
            keep_also(&t->keeper, u->n_shared);
    }
}

void share_find_leader(struct engine *g, struct turn *t)
{
    const uint64_t came = g->sessions[t->seq].last_used;
    uint32_t most = g->sessions[t->seq].n + LEAST_SHARED - 1;
    t->has_leader = false;
    for (uint32_t i = 0; i < g->n_sessions; i++) {
        const struct turn *u = &g->turns[i];
        if (!u->job || !u->reads || u->waits || g->sessions[i].last_used >= came)
            continue;
        const uint32_t n = count_shared(t, u);
        if (n <= most || g->sessions[i].n >= n)
            continue;
        most = n;
        t->has_leader = true;
        t->leader = i;
        t->leader_came = g->sessions[i].last_used;
        t->n_shared = n;
    }
    if (t->has_leader)
        share_keep(g, share_leader(g, t));
}

bool share_is_due(const struct engine *g, const struct turn *t)
{
    const struct turn *u = share_leader(g, t);
    if (!u)
        return false;
    const struct session *s = &g->sessions[t->leader];
    return !u->job || !u->reads || u->waits || s->last_used != t->leader_came ||
           s->n >= t->n_shared;
}
