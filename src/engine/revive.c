#include "engine/revive.h"

#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "engine/cold.h"
#include "engine/ration.h"
#include "engine/turn.h"

/* The tokens of a session again, in batches of n_ubatch. */
static bool read_again(struct engine *g, uint32_t seq, struct err *e)
{
    const struct session *s = &g->sessions[seq];
    uint32_t *pos = mem_new(g->n_ubatch, sizeof *pos), *seqs = mem_new(g->n_ubatch, sizeof *seqs);
    bool *want = mem_new(g->n_ubatch, sizeof *want), ok = true;
    for (uint32_t from = 0; ok && from < s->n; from += g->n_ubatch) {
        const uint32_t n = (uint32_t)num_min(g->n_ubatch, s->n - from);
        for (uint32_t i = 0; i < n; i++) {
            pos[i] = from + i;
            seqs[i] = seq;
        }
        const struct batch b = {
            .n = n, .ids = s->ids + from, .pos = pos, .seq = seqs, .want_logits = want};
        ok = exec_run(g->exec, &b, e);
    }
    free(pos);
    free(seqs);
    free(want);
    return ok;
}

/* A turn whose session does not fit beside those before it, now that nothing is shared, has to
 * wait. The first one fits. */
static void park_over(struct engine *g, uint32_t seq)
{
    const struct exec_pages p = exec_pages(g->exec);
    struct turn *t = &g->turns[seq];
    if (t->job && exec_pages_needed(g->exec, seq, 0, g->sessions[seq].n) > p.n_all - p.n_used)
        turn_park_lost(g, t);
}

/* What the device held is gone: sessions without a job are empty, and that of session `but`. */
static void lose_sessions(struct engine *g, uint32_t but)
{
    cold_lose_sessions(g);
    for (uint32_t i = 0; i < g->n_sessions; i++) {
        if (i == but || !g->turns[i].job || g->mover.turn == &g->turns[i])
            session_cut(&g->sessions[i], 0);
        g->sessions[i].reach = exec_reach(g->exec, i);
    }
}

/* All sessions as they were, those of the first jobs first. Returns the tokens read in *n_read. */
static bool read_sessions(struct engine *g, uint64_t *n_read, struct err *e)
{
    bool ok = true;
    uint64_t behind = 0;
    *n_read = 0;
    for (uint32_t i; (i = ration_next_session(g, behind)) < g->n_sessions;) {
        behind = g->sessions[i].last_used;
        park_over(g, i);
        ok = ok && read_again(g, i, e);
        *n_read += g->sessions[i].n;
    }
    for (uint32_t i = 0; i < g->n_sessions; i++)
        g->sessions[i].reach = exec_reach(g->exec, i);
    return ok;
}

/* Behind a loss: closes the device, counts, and says from when on it may be opened. */
static void lose(struct engine *g, const struct err *why)
{
    struct losses *l = &g->losses;
    log_warn(&g->log, "%s", why->msg);
    exec_lose(g->exec);
    l->in_a_row = l->n_rows < REVIVE_TOKENS ? l->in_a_row + 1 : 1;
    l->n_rows = 0;
    const uint32_t n_over = l->in_a_row > REVIVE_AT_ONCE ? l->in_a_row - REVIVE_AT_ONCE : 0;
    const uint64_t n_waits =
        n_over ? num_min(1ull << num_min(n_over - 1, 63), REVIVE_MOST_WAITS) : 0;
    l->open_at_ns = clock_ns() + n_waits * l->wait_ms * 1000000;
}

/* False and e: not yet. */
static bool may_open(const struct losses *l, struct err *e)
{
    const uint64_t now = clock_ns();
    return now >= l->open_at_ns ||
           err_set(e, ERR_DEVICE,
                   "the device was lost %u times in a row, each within %d tokens: it is opened "
                   "again with a request in %.0f s; start tawny with --backend cpu to do without "
                   "it",
                   l->in_a_row, REVIVE_TOKENS, ceil(1e-9 * (double)(l->open_at_ns - now)));
}

bool revive(struct engine *g, uint32_t but, struct err *e)
{
    const uint64_t start = clock_ns();
    uint64_t n_read = 0;
    bool is_back = false;
    if (e->code != ERR_DEVICE)
        return false;
    while (!is_back) {
        if (exec_is_open(g->exec))
            lose(g, e);
        lose_sessions(g, but);
        if (!may_open(&g->losses, e))
            return false;
        is_back = exec_reopen(g->exec, &g->log, NULL, e) && read_sessions(g, &n_read, e);
        if (!is_back && !exec_is_open(g->exec))
            lose(g, e);
    }
    log_warn(&g->log, "the device is back: %llu tokens were read again, all in %.1f s",
             (unsigned long long)n_read, 1e-9 * (double)(clock_ns() - start));
    return true;
}
