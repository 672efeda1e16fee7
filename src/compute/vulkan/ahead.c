/* Steps that are begun before they are asked for. While one runs the next is queued behind it: the
 * device itself has put the first of the best tokens and the position after it into its inputs
 * (shaders/pick.comp), so it does not wait for the host to read, draw and submit. When the run that
 * is asked for next is that step, only its end is waited for; any other is a run as always. */
#include "base/num.h"
#include "compute/vulkan/pick.h"

/* Whether rows can be a step that the next one may follow: pick.comp moves the inputs on of steps
 * of few rows alone. */
static bool is_step(const struct gpu *g, const struct batch *b)
{
    return b->n <= FEW_TOKENS && !g->params.profile;
}

bool ahead_drop(struct gpu *g, struct err *e)
{
    const bool was_begun = g->ahead.is_begun;
    g->ahead.is_begun = false;
    return !was_begun || run_wait(g, e);
}

/* Whether a step was begun whose sequences still hold what they held: they may have been given what
 * another one has. */
static bool still_holds(const struct gpu *g)
{
    return g->ahead.is_begun && g->ahead.n_moves == g->params.pages->n_moves;
}

/* Whether the batch is the step that was begun. A part of it is not: the same row has other bits in
 * a batch of another size. */
static bool was_begun(const struct gpu *g, const struct batch *b)
{
    const struct step_rows *next = &g->ahead.next;
    bool same = still_holds(g) && b->n == next->n;
    for (uint32_t i = 0; same && i < b->n; i++)
        same = b->want_logits[i] && b->seq[i] == next->seq[i] && b->pos[i] == next->pos[i] &&
               b->ids[i] == next->ids[i];
    return same;
}

/* Begins a step of n rows, of which the longest sees n_keys, with the inputs as they are. NULL and
 * e: it was not. */
static const struct recording *begin(struct gpu *g, uint32_t n, uint32_t n_keys, struct err *e)
{
    g->ahead.side ^= 1;
    const struct recording wanted = {.n_rows = n,
                                     .n_wanted = n,
                                     .n_keys = attention_keys(n_keys),
                                     .picks = true,
                                     .side = g->ahead.side,
                                     .n_parts = 1};
    const struct recording *r = run_recording(g, &wanted, e);
    bool ok = r != NULL;
    for (uint32_t i = 0; ok && i < r->n_parts; i++)
        ok = vk_submit(g->vk, r->parts[i], e);
    return ok ? r : NULL;
}

/* Begins the step behind `now`, which runs. */
static bool begin_next(struct gpu *g, const struct batch *now, struct err *e)
{
    struct gpu_ahead *a = &g->ahead;
    uint32_t n_keys = 0;
    a->next.n = now->n;
    for (uint32_t i = 0; i < now->n; i++) {
        a->next.seq[i] = now->seq[i];
        a->next.pos[i] = now->pos[i] + 1;
        n_keys = (uint32_t)num_max(n_keys, a->next.pos[i] + 1);
    }
    a->recording = attention_write_table(g, e) ? begin(g, now->n, n_keys, e) : NULL;
    a->is_begun = a->recording != NULL;
    a->n_moves = g->params.pages->n_moves;
    return a->is_begun;
}

/* The step is under way as `r`, begun now or ahead. */
static bool finish(struct gpu *g, const struct batch *b, const struct recording *r,
                   struct best *best, struct err *e)
{
    struct gpu_ahead *a = &g->ahead;
    const uint32_t side = r->side;
    a->is_begun = false;
    if (b->goes_on && !begin_next(g, b, e)) {
        run_wait(g, &(struct err){0});
        return false;
    }
    if (!run_wait_for(g, r, e)) {
        a->is_begun = false; /* not to be waited for: the device is lost or hangs */
        return false;
    }
    for (uint32_t i = 0; i < b->n; i++) {
        pick_take(g, side, i, &best[i]);
        a->next.ids[i] = best[i].guess;
    }
    g->logits_side = side;
    return true;
}

bool ahead_run(struct gpu *g, const struct batch *b, struct best *best, bool *done, struct err *e)
{
    uint32_t n_wanted, n_keys;
    *done = was_begun(g, b);
    if (*done)
        return finish(g, b, g->ahead.recording, best, e);
    *done = b->goes_on && is_step(g, b) && run_parts_needed(g, b->n) == 1;
    if (!ahead_drop(g, e))
        return false;
    if (!*done)
        return true;
    if (b->cancel && atomic_load(b->cancel))
        return err_set(e, ERR_CANCELLED, "cancelled");
    if (!run_write_inputs(g, b, &n_wanted, &n_keys, e) ||
        !pick_write_draws(g, b->draws, n_wanted, e))
        return false;
    const struct recording *r = begin(g, b->n, n_keys, e);
    return r && finish(g, b, r, best, e);
}
