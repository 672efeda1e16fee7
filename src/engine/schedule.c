/* The engine's thread. Every round it gives free sessions to waiting jobs, runs one token of all
 * replies as one batch, so that the weights are read once for all of them, and then a piece of one
 * prompt. A piece that others wait for is small: that bounds the gap between their tokens. */
#include <math.h>

#include "base/clock.h"
#include "engine/ration.h"
#include "engine/share.h"

/* A cancelled batch stops at the next op, so the longest op bounds the wait: a piece of a prompt is
 * made so small that this op should take a third of the 300 ms promised. The longest one is taken
 * to be four times the mean. The first piece of an engine's life measures.
 * STALL_NS: what a piece should take at most while other jobs are at work. */
enum { LONGEST_OP_NS = 100000000, LONGEST_OP_PART = 4, STALL_NS = 150000000 };

static uint32_t piece_rows(const struct engine *g, const struct turn *t, bool alone)
{
    const double part = fmin(1, (double)LONGEST_OP_PART / (double)g->model->plan.n_ops);
    const double ns = alone ? LONGEST_OP_NS / part : fmin(STALL_NS, LONGEST_OP_NS / part);
    return pace_rows(&g->pace, g->sessions[t->seq].n, ns, g->n_ubatch);
}

/* ---- who is at work ---------------------------------------------------------------------------
 */

static uint32_t count_turns(const struct engine *g)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->n_sessions; i++)
        n += g->turns[i].job != NULL;
    return n;
}

static void end_cancelled(struct engine *g)
{
    for (uint32_t i = 0; i < g->n_sessions; i++) {
        struct turn *t = &g->turns[i];
        if (t->job && atomic_load(&t->job->cancel))
            turn_cancel(g, t);
    }
}

/* The first job of the queue that may have a free session gets it; NULL: there is none. */
static struct turn *admit(struct engine *g)
{
    pthread_mutex_lock(&g->lock);
    struct turn *t = NULL;
    for (struct job *j = count_turns(g) < g->n_sessions ? g->first : NULL; j && !t; j = j->next) {
        const uint32_t seq = session_choose(g->sessions, g->n_sessions, j->prompt,
                                            j->params.n_prompt, j->params.hint);
        if (seq == g->n_sessions)
            continue;
        if (!ration_admits(g, j, seq))
            break; /* nor anyone behind it: it would wait for ever */
        job_take(g, j);
        t = &g->turns[seq];
        t->job = j;
    }
    pthread_mutex_unlock(&g->lock);
    return t;
}

/* Whether somebody can go on while the mover waits for the disk. */
static bool others_go_on(const struct engine *g)
{
    for (uint32_t i = 0; i < g->n_sessions; i++) {
        const struct turn *t = &g->turns[i];
        if (t->job && !t->waits && t != g->mover.turn && ration_has_room(g, t))
            return true;
    }
    return false;
}

/* One after the other: what a session held is stored before the next job chooses. True: that took
 * so long that no prompt is to be read in this round. */
static bool begin_turns(struct engine *g)
{
    const uint64_t start = clock_ns();
    bool came_back = false;
    for (;;) {
        if (g->mover.is_on)
            turn_move(g, !others_go_on(g));
        if (g->mover.is_on)
            break;
        if (ration_make_room(g))
            continue;
        struct turn *t = came_back ? NULL : ration_due(g);
        came_back = came_back || t;
        if (t) {
            turn_unpark(g, t);
            continue;
        }
        t = admit(g);
        if (!t)
            break;
        turn_begin(g, t);
    }
    return clock_ns() - start > STALL_NS / 3;
}

/* Sleeps while there is nothing to do. False: the engine is to end, and nobody is at work. */
static bool wait_for_work(struct engine *g)
{
    pthread_mutex_lock(&g->lock);
    job_show_sessions(g);
    while (!g->first && !g->quit && count_turns(g) == 0)
        pthread_cond_wait(&g->queue_changed, &g->lock);
    const bool goes_on = g->first || count_turns(g) > 0;
    pthread_mutex_unlock(&g->lock);
    return goes_on;
}

/* ---- replies ----------------------------------------------------------------------------------
 */

/* Whether a step is waited for rather than stopped. */
static bool is_short(const struct engine *g)
{
    return g->ns_per_step > 0 && g->ns_per_step < LONGEST_OP_NS;
}

/* What may stop a step of n replies. One that states are lost with is waited for, where that is
 * short or others would have to be read again. Without states, the others repeat the step. */
static const atomic_bool *step_cancel(struct engine *g, uint32_t n)
{
    if (g->model->plan.n_states == 0)
        return &g->interrupt;
    return n > 1 || is_short(g) ? NULL : &g->turns[g->seq[0]].job->cancel;
}

static bool in_reply(const struct turn *t)
{
    return t->job && !t->reads;
}

static bool in_replies(const struct engine *g)
{
    for (uint32_t i = 0; i < g->n_sessions; i++)
        if (in_reply(&g->turns[i]))
            return true;
    return false;
}

/* One token of all replies. */
static void step_replies(struct engine *g)
{
    struct err e = {0};
    uint32_t n = 0;
    g->want_best = true;
    g->goes_on = is_short(g); /* whoever cancels may have to wait for one step more */
    for (uint32_t i = 0; i < g->n_sessions; i++) {
        g->goes_on = g->goes_on && !(g->turns[i].job && g->turns[i].reads);
        if (!in_reply(&g->turns[i]) || !ration_has_room(g, &g->turns[i]))
            continue;
        g->want_best = g->want_best && turn_takes_best(&g->turns[i]);
        g->goes_on = g->goes_on && turn_goes_on(&g->turns[i]);
        g->step_ids[n] = g->turns[i].next;
        g->pos[n] = g->sessions[i].n;
        g->seq[n] = i;
        sampler_next_draw(g->turns[i].sampler, &g->draws[n]);
        g->want[n++] = true;
    }
    if (n == 0)
        return;
    const uint64_t start = clock_ns();
    const bool done = turn_rows(g, g->step_ids, n, step_cancel(g, n), &e);
    if (!done && e.code == ERR_CANCELLED)
        return; /* whoever was meant ends before the next step */
    for (uint32_t i = 0; i < n; i++) {
        struct turn *t = &g->turns[g->seq[i]];
        if (done)
            turn_draw(g, t, i);
        else
            turn_fail(g, t, &e);
    }
    g->ns_per_step = clock_ns() - start;
}

/* ---- prompts ----------------------------------------------------------------------------------
 */

/* Who waited for another to read what they share goes on when that is done. */
static void join_readers(struct engine *g)
{
    for (uint32_t i = 0; i < g->n_sessions; i++) {
        struct turn *t = &g->turns[i];
        if (t->job && t->reads && share_is_due(g, t))
            turn_join(g, t);
    }
}

/* Who reads what this turn needs next: itself, or whom it waits for. */
static struct turn *reader_for(const struct engine *g, struct turn *t)
{
    for (struct turn *u = share_leader(g, t); u; u = share_leader(g, t))
        t = u;
    return t;
}

/* Whose prompt is read next: by turns the one that is read soonest, so that a small request does
 * not wait for a long one, and the one that came first, so that no number of small ones holds it
 * up; or whom that one waits for. */
static struct turn *next_reader(struct engine *g)
{
    struct turn *best = NULL;
    g->oldest_next = !g->oldest_next;
    for (uint32_t i = 0; i < g->n_sessions; i++) {
        struct turn *t = &g->turns[i];
        if (!t->job || !t->reads || t->waits)
            continue;
        const struct turn *reader = reader_for(g, t);
        if (reader == g->mover.turn || !ration_has_room(g, reader))
            continue;
        if (!best || (g->oldest_next ? g->sessions[i].last_used < g->sessions[best->seq].last_used
                                     : turn_left(g, t) < turn_left(g, best)))
            best = t;
    }
    return best ? reader_for(g, best) : NULL;
}

void *engine_thread(void *engine)
{
    struct engine *g = engine;
    while (wait_for_work(g)) {
        const bool was_long = begin_turns(g);
        atomic_store(&g->interrupt, false); /* before the flags of the jobs are looked at */
        end_cancelled(g);
        step_replies(g);
        join_readers(g);
        struct turn *t = was_long && in_replies(g) ? NULL : next_reader(g);
        if (t)
            turn_read(g, t, piece_rows(g, t, count_turns(g) == 1));
    }
    return NULL;
}
