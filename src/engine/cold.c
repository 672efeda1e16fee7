#include "engine/cold.h"

#include <string.h>

#include "base/num.h"

/* LEAST_LOST: fewer tokens are not worth a copy. LEAST_PART: nor less than this part of what would
 * be copied. STATES: saved states that are stored of a conversation, its last ones. */
enum { LEAST_LOST = 64, LEAST_PART = 32, STATES = 3 };

/* ---- into the store ---------------------------------------------------------------------------
 */

/* Is much of the session in no other session, nor in what the prompt keeps of it? */
static bool loses_much(const struct engine *g, uint32_t seq, const int32_t *ids, size_t n)
{
    const struct session *s = &g->sessions[seq];
    struct head other;
    session_farthest(g->sessions, g->n_sessions, seq, s->ids, s->n, &other);
    const uint64_t lost = s->n - num_max(session_shared(s, ids, n), other.shared);
    return lost >= LEAST_LOST && lost * LEAST_PART >= s->n;
}

/* Tokens behind which the session's own state stands now, where states are needed; 0: none. */
static uint32_t state_stands(const struct session *s)
{
    return s->n_snapshots && exec_within(s->reach, s->n) ? s->n : 0;
}

/* Of the session's last states the one that is farthest, up to `end`; 0: none. */
static uint32_t last_state(const struct session *s, uint32_t end)
{
    const uint32_t own = state_stands(s);
    uint32_t last = own <= end ? own : 0, n_behind = own > end;
    for (uint32_t i = 0; i < s->n_snapshots; i++) {
        const uint32_t n = s->snapshots[i].n;
        n_behind += n > end && n != own;
        if (n <= end && n > last)
            last = n;
    }
    return n_behind < STATES ? last : 0;
}

static void put_state(struct engine *g, uint32_t seq, struct chunk *c)
{
    const struct session *s = &g->sessions[seq];
    struct err e;
    const uint32_t n = last_state(s, c->first + c->n);
    if (n <= c->first || n == c->n_state)
        return;
    uint8_t *bytes = store_add_state(g->store, c, s->n);
    if (!bytes)
        return;
    const struct snapshot *at = session_snapshot(s, n);
    if (at)
        memcpy(bytes, at->bytes, g->n_state_bytes);
    c->n_state = at || exec_state_save(g->exec, seq, n, bytes, &e) ? n : 0;
}

/* The chunk behind `at` with the next tokens of the session's n, new if need be; NULL: no room. */
static struct chunk *put_chunk(struct engine *g, uint32_t seq, struct chunk *at, uint32_t n)
{
    const struct session *s = &g->sessions[seq];
    const uint32_t first = at ? at->first + at->n : 0;
    const uint32_t size = (uint32_t)num_min(STORE_TOKENS, n - first);
    const struct use use = {s->last_used, s->interval};
    struct err e;
    uint32_t shared;
    struct chunk *c = store_step(g->store, at, s->ids, n, &shared);
    if (!c || shared < size) {
        c = store_add(g->store, at, s->ids, size, n, exec_rows_size(g->exec, size), use);
        if (c && !exec_rows_save(g->exec, seq, first, size, c->rows, &e)) {
            store_drop(g->store, c);
            return NULL;
        }
    }
    if (c) {
        c->use = use;
        c->held = false;
    }
    return c;
}

void cold_put(struct engine *g, uint32_t seq, const int32_t *ids, size_t n)
{
    const struct session *s = &g->sessions[seq];
    if (!g->store || !loses_much(g, seq, ids, n))
        return;
    const uint32_t end = s->n_snapshots ? last_state(s, s->n) : s->n;
    struct chunk *at = NULL;
    while (end > 0 && (!at || at->first + at->n < end)) {
        at = put_chunk(g, seq, at, end);
        if (!at)
            return;
        put_state(g, seq, at);
    }
}

/* ---- and back ---------------------------------------------------------------------------------
 */

struct head cold_head(const struct engine *g, const int32_t *ids, size_t n)
{
    struct head h = {0};
    uint32_t shared;
    for (const struct chunk *c = NULL; g->store;) {
        c = store_step(g->store, c, ids, (uint32_t)n, &shared);
        if (!c)
            break;
        h.shared = c->first + shared;
        if (c->n_state && c->n_state <= h.shared)
            h.reach = c->n_state;
        if (shared < STORE_TOKENS)
            break;
    }
    if (g->n_state_bytes == 0)
        h.reach = h.shared;
    return h;
}

bool cold_take(struct engine *g, uint32_t seq, const int32_t *ids, uint32_t n, struct err *e)
{
    struct session *s = &g->sessions[seq];
    uint32_t shared;
    struct chunk *c = NULL;
    session_cut(s, session_shared(s, ids, n));
    for (uint32_t end = 0; end < n; end = c->first + c->n) {
        c = store_step(g->store, c, ids, n, &shared);
        if (c->first + shared > s->n && !exec_rows_load(g->exec, seq, c->first, c->n, c->rows, e))
            return false;
        c->held = true;
    }
    memcpy(s->ids, ids, n * sizeof *ids);
    s->n = n;
    s->reach = exec_reach(g->exec, seq);
    s->interval = g->n_jobs - c->use.last;
    if (s->n_snapshots == 0)
        return true;
    struct snapshot *room = session_snapshot_room(s, g->n_jobs);
    memcpy(room->bytes, c->state, g->n_state_bytes);
    *room = (struct snapshot){.n = n, .last_used = g->n_jobs, .bytes = room->bytes};
    return true;
}
