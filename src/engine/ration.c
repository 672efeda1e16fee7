#include "engine/ration.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/num.h"
#include "engine/cold.h"

/* REPLY_TOKENS: of a reply for which there is room when its job begins, or REPLY_PART of the
 * context where that is less. AHEAD_TOKENS: of a reply, before its pages run out, from which on
 * sessions without a job give way. */
enum { REPLY_TOKENS = 1024, REPLY_PART = 32, AHEAD_TOKENS = 64 };

static uint32_t page_size(const struct engine *g)
{
    return exec_params_of(g->exec)->page;
}

static uint32_t count_free(const struct engine *g)
{
    const struct exec_pages p = exec_pages(g->exec);
    return p.n_all - p.n_used;
}

/* ---- turns in the order they came -------------------------------------------------------------
 */

static bool runs(const struct turn *t)
{
    return t->job && !t->waits;
}

static uint64_t came(const struct engine *g, const struct turn *t)
{
    return g->sessions[t->seq].last_used;
}

uint32_t ration_next_session(const struct engine *g, uint64_t behind)
{
    uint32_t next = g->n_sessions;
    for (uint32_t i = 0; i < g->n_sessions; i++) {
        const uint64_t used = g->sessions[i].last_used;
        if (used > behind && (next == g->n_sessions || used < g->sessions[next].last_used))
            next = i;
    }
    return next;
}

static struct turn *first_waiting(const struct engine *g)
{
    struct turn *first = NULL;
    for (uint32_t i = 0; i < g->n_sessions; i++) {
        struct turn *t = &g->turns[i];
        if (t->job && t->waits && (!first || came(g, t) < came(g, first)))
            first = t;
    }
    return first;
}

/* Does anyone else run? */
static bool others_run(const struct engine *g, const struct turn *but)
{
    for (uint32_t i = 0; i < g->n_sessions; i++)
        if (&g->turns[i] != but && runs(&g->turns[i]))
            return true;
    return false;
}

/* ---- what comes next --------------------------------------------------------------------------
 */

/* Pages for what a turn does next, of a reply n_reply tokens. */
static uint32_t needs(const struct engine *g, const struct turn *t, uint32_t n_reply)
{
    const uint32_t n = g->sessions[t->seq].n;
    if (!runs(t) || t->has_leader)
        return 0;
    if (t == g->mover.turn) {
        uint32_t first;
        const uint32_t n_rows = cold_next_rows(g, &first);
        return exec_pages_needed(g->exec, t->seq, first, n_rows);
    }
    const uint32_t n_rows = t->reads ? (uint32_t)num_min(turn_left(g, t), g->n_ubatch)
                                     : (uint32_t)num_min(n_reply, g->n_ctx - n);
    return exec_pages_needed(g->exec, t->seq, n, n_rows);
}

/* Of all that came up to a time. */
static uint64_t all_need(const struct engine *g, uint64_t up_to, uint32_t n_reply)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < g->n_sessions; i++)
        if (came(g, &g->turns[i]) <= up_to)
            n += needs(g, &g->turns[i], n_reply);
    return n;
}

bool ration_has_room(const struct engine *g, const struct turn *t)
{
    return exec_pages_suffice(g->exec) || all_need(g, came(g, t), 1) <= count_free(g);
}

/* ---- who gives way ----------------------------------------------------------------------------
 */

/* The session without a job that is worth least, of those other than `but` that hold pages, which
 * nobody else holds where there are such. */
static uint32_t least_worth(const struct engine *g, uint32_t but)
{
    uint32_t least = g->n_sessions;
    double worth = HUGE_VAL;
    bool frees = false;
    for (uint32_t i = 0; i < g->n_sessions; i++) {
        if (i == but || g->sessions[i].busy || !exec_pages_any(g->exec, i))
            continue;
        const bool frees_some = exec_pages_own(g->exec, i) > 0;
        const double w = session_worth(g->sessions, g->n_sessions, i);
        if (frees_some < frees || (frees_some == frees && w >= worth))
            continue;
        least = i;
        worth = w;
        frees = frees_some;
    }
    return least;
}

uint32_t ration_victim(const struct engine *g)
{
    const uint32_t longest = session_longest_live(g->sessions, g->n_sessions);
    const uint32_t victim = least_worth(g, longest);
    return victim < g->n_sessions || others_run(g, g->mover.turn) ? victim
                                                                  : least_worth(g, g->n_sessions);
}

/* The first turn to lack pages for what it does next; NULL: none. */
static const struct turn *first_lacking(const struct engine *g)
{
    const struct turn *first = NULL;
    for (uint32_t i = 0; i < g->n_sessions; i++) {
        const struct turn *t = &g->turns[i];
        if (runs(t) && !ration_has_room(g, t) && (!first || came(g, t) < came(g, first)))
            first = t;
    }
    return first;
}

/* The last turn that came after t and holds pages, which nobody else holds where there are such;
 * NULL: none. */
static struct turn *last_behind(const struct engine *g, const struct turn *t)
{
    struct turn *last = NULL;
    bool frees = false;
    for (uint32_t i = 0; i < g->n_sessions; i++) {
        struct turn *u = &g->turns[i];
        if (!runs(u) || came(g, u) <= came(g, t) || !exec_pages_any(g->exec, i))
            continue;
        const bool frees_some = exec_pages_own(g->exec, i) > 0;
        if (frees_some < frees || (frees_some == frees && last && came(g, u) < came(g, last)))
            continue;
        last = u;
        frees = frees_some;
    }
    return last;
}

/* Is there nobody at work who came before t? Then nobody's end is waited for. */
static bool is_first(const struct engine *g, const struct turn *t)
{
    for (uint32_t i = 0; i < g->n_sessions; i++)
        if (runs(&g->turns[i]) && came(g, &g->turns[i]) < came(g, t))
            return false;
    return true;
}

bool ration_make_room(struct engine *g)
{
    if (exec_pages_suffice(g->exec) || all_need(g, UINT64_MAX, AHEAD_TOKENS) <= count_free(g))
        return false;
    const uint32_t longest = session_longest_live(g->sessions, g->n_sessions);
    uint32_t victim = least_worth(g, longest);
    const struct turn *lacks = victim == g->n_sessions ? first_lacking(g) : NULL;
    struct turn *last = lacks ? last_behind(g, lacks) : NULL;
    if (last) {
        turn_park(g, last);
        return true;
    }
    if (lacks && is_first(g, lacks))
        victim = least_worth(g, g->n_sessions);
    if (victim < g->n_sessions)
        cold_empty(g, victim, NULL);
    return victim < g->n_sessions;
}

/* ---- who may begin ----------------------------------------------------------------------------
 */

/* Tokens that a job needs room for: its prompt and the beginning of its reply. */
static uint32_t end_of(const struct engine *g, const struct job *j)
{
    const uint64_t most = num_min(REPLY_TOKENS, g->n_ctx / REPLY_PART);
    const uint64_t n_reply = j->params.max_tokens ? num_min(j->params.max_tokens, most) : most;
    return (uint32_t)num_min(j->params.n_prompt + n_reply, g->n_ctx);
}

/* Pages for `end` tokens of which n are there; the page where it parts from others may have to be
 * copied. */
static uint32_t pages_behind(const struct engine *g, uint32_t n, uint32_t end)
{
    const uint32_t size = page_size(g);
    return end > n ? pages_of(end, size) - pages_of(n, size) + 1 : 1;
}

/* Pages that a turn is to have beside those it has. */
static uint32_t growth(const struct engine *g, const struct turn *t)
{
    const uint32_t n = g->sessions[t->seq].n;
    const uint32_t n_there = t->has_leader ? (uint32_t)num_max(n, t->n_shared) : n;
    return pages_behind(g, n_there, (uint32_t)num_max(t->n_text, end_of(g, t->job)));
}

/* Pages that are not to be had by a newcomer: of sessions with a job, of session `kept`, and what
 * turns other than `but` are to have beside. *which[n_sessions]: whose they are; caller frees. */
static uint64_t committed(const struct engine *g, uint32_t kept, const struct turn *but,
                          bool **which)
{
    uint64_t n = 0;
    *which = mem_new(g->n_sessions, sizeof **which);
    for (uint32_t i = 0; i < g->n_sessions; i++) {
        const struct turn *t = &g->turns[i];
        (*which)[i] = t->job || i == kept;
        n += t->job && t != but ? growth(g, t) : 0;
    }
    return n + exec_pages_held(g->exec, *which);
}

/* The most tokens of ids[n] that one of these sessions has and others can have from it. */
static uint32_t shared_with(const struct engine *g, const bool *which, const int32_t *ids, size_t n)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < g->n_sessions; i++)
        if (which[i])
            most = (uint32_t)num_max(most, session_head(&g->sessions[i], ids, n).reach);
    return most;
}

bool ration_admits(const struct engine *g, const struct job *j, uint32_t seq)
{
    if (exec_pages_suffice(g->exec) || !others_run(g, NULL))
        return !first_waiting(g);
    if (first_waiting(g))
        return false;
    const size_t n = j->params.n_prompt;
    uint32_t kept = session_longest_live(g->sessions, g->n_sessions);
    if (kept == seq || (kept < g->n_sessions && 2 * n >= g->sessions[kept].n))
        kept = g->n_sessions;
    bool *which;
    const uint64_t n_committed = committed(g, kept, NULL, &which);
    const uint32_t n_shared = shared_with(g, which, j->prompt, n - 1);
    free(which);
    return n_committed + pages_behind(g, n_shared, end_of(g, j)) <= exec_pages(g->exec).n_all;
}

struct turn *ration_due(const struct engine *g)
{
    struct turn *t = first_waiting(g);
    if (!t || !others_run(g, t))
        return t;
    bool *which;
    const uint64_t n_committed =
        committed(g, session_longest_live(g->sessions, g->n_sessions), t, &which);
    const uint32_t n_shared = shared_with(g, which, t->text, t->n_text - 1);
    free(which);
    const uint32_t end = (uint32_t)num_max(t->n_text, end_of(g, t->job));
    return n_committed + pages_behind(g, n_shared, end) <= exec_pages(g->exec).n_all ? t : NULL;
}
