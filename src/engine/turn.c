#include "engine/turn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "engine/cold.h"
#include "engine/logprob.h"
#include "engine/revive.h"
#include "engine/share.h"

/* Whether no turn of a batch lost its pages; ERR_CANCELLED, so that the others repeat it. */
static bool all_there(const struct engine *g, uint32_t n, struct err *e)
{
    for (uint32_t i = 0; i < n; i++)
        if (g->turns[g->seq[i]].waits)
            return err_set(e, ERR_CANCELLED, "a sequence of the batch waits for pages");
    return true;
}

bool turn_rows(struct engine *g, const int32_t *ids, uint32_t n, const atomic_bool *cancel,
               struct err *e)
{
    const struct batch b = {.n = n,
                            .ids = ids,
                            .pos = g->pos,
                            .seq = g->seq,
                            .want_logits = g->want,
                            .cancel = cancel,
                            .want_best = g->want_best,
                            .draws = g->draws,
                            .goes_on = g->goes_on};
    bool done = exec_run(g->exec, &b, e);
    while (!done && revive(g, g->n_sessions, e))
        done = all_there(g, n, e) && exec_run(g->exec, &b, e);
    g->losses.n_rows += done ? n : 0;
    for (uint32_t i = 0; i < n; i++) {
        struct session *s = &g->sessions[g->seq[i]];
        if (done)
            s->ids[s->n++] = ids[i];
        s->reach = exec_reach(g->exec, g->seq[i]);
    }
    return done;
}

/* ---- beginning and end ------------------------------------------------------------------------
 */

static void end_turn(struct engine *g, struct turn *t, enum finish finish, const struct err *e)
{
    const uint64_t now = clock_ns();
    if (t->reads && t->usage.n_generated == 0)
        t->usage.prefill_ns = now - t->began_ns;
    else
        t->usage.decode_ns = now - t->began_ns - t->usage.prefill_ns;
    if (finish == FINISH_ERROR && e->code == ERR_CANCELLED)
        finish = FINISH_CANCELLED;
    if (finish == FINISH_ERROR && !t->refused)
        session_cut(&g->sessions[t->seq], 0); /* what the cache holds now is not known */
    g->sessions[t->seq].busy = false;
    cold_abandon(g, t);
    free(t->own_text);
    t->own_text = NULL;
    t->waits = false;
    sampler_close(t->sampler);
    constraint_end(t->constraint);
    job_post_end(t, finish, e);
}

void turn_begin(struct engine *g, struct turn *t)
{
    const struct job *j = t->job;
    struct session *s = &g->sessions[t->seq];
    const struct use use = {s->last_used, s->interval};
    s->busy = true;
    g->n_jobs++;
    /* Who shares most of it is who used it before. */
    s->interval =
        2 * session_shared(s, j->prompt, j->params.n_prompt) > s->n ? g->n_jobs - s->last_used : 0;
    s->last_used = g->n_jobs;
    s->hint = j->params.hint;
    t->began_ns = clock_ns();
    t->usage = (struct job_usage){
        .n_prompt = j->params.n_prompt, .queue_ns = t->began_ns - j->submit_ns, .session = t->seq};
    t->sampler = sampler_open(&j->params.sampling, g->model->plan.n_vocab, g->allowed);
    t->constraint = constraint_begin(j->params.constraint);
    for (size_t i = 0; i < j->params.n_prompt; i++)
        sampler_accept(t->sampler, j->prompt[i]);
    loop_init(&t->loop);
    t->n_whole = t->n_guessed = 0;
    t->refused = false;
    t->reads = true;
    t->text = j->prompt;
    t->n_text = (uint32_t)j->params.n_prompt;
    t->has_leader = t->has_read = false;
    cold_begin(g, t, use);
}

/* The turn is to read again what its session holds now, or was to hold. */
static void read_anew(struct engine *g, struct turn *t)
{
    const uint32_t n = g->sessions[t->seq].n;
    t->has_leader = false;
    if (t->reads)
        return;
    int32_t *text = mem_new(n + 1, sizeof *text);
    memcpy(text, g->sessions[t->seq].ids, n * sizeof *text);
    text[n] = t->next;
    free(t->own_text);
    t->text = t->own_text = text;
    t->n_text = n + 1;
    t->reads = true;
}

void turn_park(struct engine *g, struct turn *t)
{
    read_anew(g, t);
    cold_empty(g, t->seq, t);
}

void turn_park_lost(struct engine *g, struct turn *t)
{
    read_anew(g, t);
    session_cut(&g->sessions[t->seq], 0);
    t->waits = true;
    g->n_parked++;
}

void turn_unpark(struct engine *g, struct turn *t)
{
    t->waits = false;
    cold_bring(g, t);
}

void turn_move(struct engine *g, bool alone)
{
    struct turn *t = g->mover.turn;
    struct err e = {0};
    const enum cold moved = cold_step(g, alone, &e);
    if (moved == COLD_DONE && t && !t->waits)
        turn_join(g, t);
    else if (moved == COLD_FAILED && revive(g, t->seq, &e))
        cold_again(g);
    else if (moved == COLD_FAILED)
        end_turn(g, t, FINISH_ERROR, &e);
}

/* Clients hear of their prompt, not of what is read again of the reply. */
static void tell_progress(const struct engine *g, const struct turn *t)
{
    if (t->usage.n_generated == 0)
        job_post_prefill(t->job, &t->usage, g->sessions[t->seq].n);
}

void turn_join(struct engine *g, struct turn *t)
{
    struct err e = {0};
    const struct session *s = &g->sessions[t->seq];
    bool begun = share_begin(g, t, &e);
    while (!begun && revive(g, t->seq, &e))
        begun = share_begin(g, t, &e);
    if (!begun) {
        end_turn(g, t, FINISH_ERROR, &e);
        return;
    }
    if (!t->has_read)
        t->usage.n_cached = s->n;
    tell_progress(g, t);
    keep_snapshots(&t->keeper);
    share_keep(g, t);
    share_find_leader(g, t);
}

void turn_cancel(struct engine *g, struct turn *t)
{
    const struct err e = {0};
    end_turn(g, t, FINISH_CANCELLED, &e);
}

void turn_fail(struct engine *g, struct turn *t, const struct err *e)
{
    end_turn(g, t, FINISH_ERROR, e);
}

/* ---- the reply --------------------------------------------------------------------------------
 */

/* WHOLE_DRAWS: for which all logits are read at once, behind one that the best tokens did not
 * decide: a grammar that allows few tokens mostly goes on so, and to fetch them afterwards takes
 * longer.
 * SURE_DRAWS: of the token that was guessed, in a row, after which the next one is begun before it
 * is drawn, where penalties or a grammar may make it another: then the step that was begun has to
 * be waited for, which costs as much as some thirty right guesses save. */
enum { WHOLE_DRAWS = 16, SURE_DRAWS = 32 };

bool turn_takes_best(const struct turn *t)
{
    return t->n_whole == 0 && !t->job->params.want_logprobs && sampler_takes_best(t->sampler);
}

bool turn_goes_on(const struct turn *t)
{
    const struct job_params *p = &t->job->params;
    return t->n_guessed >= SURE_DRAWS &&
           (!p->max_tokens || t->usage.n_generated + 1 < p->max_tokens);
}

/* The id drawn, from the best tokens where they say enough; *logits: NULL then. -1 and e: the
 * logits could not be had, or are none. */
static int32_t draw(struct engine *g, struct turn *t, uint32_t row, const struct token_mask *mask,
                    const float **logits, struct err *e)
{
    const struct best *best = exec_best(g->exec, row);
    const int32_t id = best && best->n ? sampler_pick_best(t->sampler, best, mask) : -1;
    *logits = NULL;
    t->n_guessed = id >= 0 && id == best->guess ? t->n_guessed + 1 : 0;
    if (best && id < 0)
        t->n_whole = WHOLE_DRAWS;
    else if (t->n_whole > 0)
        t->n_whole--;
    if (id >= 0)
        return id;
    *logits = exec_row(g->exec, row, e);
    if (!*logits)
        return -1;
    memcpy(g->logits, *logits, g->model->plan.n_vocab * sizeof **logits);
    const int32_t drawn = sampler_pick(t->sampler, g->logits, mask);
    /* One whose logit is NaN is drawn where no other may be. */
    const bool any = !isnan((*logits)[drawn]) || exec_refuse_nan(g->exec, g->sessions[t->seq].n, e);
    return any ? drawn : -1;
}

/* Draws the next token from a row of the last run. */
static bool pick(struct engine *g, struct turn *by, uint32_t row, struct token_logprob *t,
                 struct token_logprob *top, uint32_t *n_top, struct err *e)
{
    const struct job_params *p = &by->job->params;
    const struct token_mask *mask;
    const float *logits;
    by->refused = !constraint_mask(by->constraint, &mask, e);
    if (by->refused)
        return false;
    *t = (struct token_logprob){.id = draw(g, by, row, mask, &logits, e)};
    if (t->id < 0)
        return false;
    sampler_accept(by->sampler, t->id);
    *n_top = 0;
    if (p->want_logprobs)
        *n_top = logprob_top(logits, g->model->plan.n_vocab, t->id, p->n_top_logprobs, t, top);
    return true;
}

/* A constraint has its end, whatever else was asked for. */
static bool is_stop(const struct engine *g, const struct job *j, int32_t id)
{
    bool goes_on = j->params.ignore_stop && !j->params.constraint;
    return !goes_on && g->tok && tok_is_stop(g->tok, id);
}

/* Does the reply go round in circles, though that was broken before? */
static bool is_loop(struct turn *t, int32_t id)
{
    int32_t next = -1;
    const bool ends = !t->job->params.ignore_stop && loop_put(&t->loop, id, &next) == LOOP_END;
    sampler_keep_out(t->sampler, next);
    return ends;
}

void turn_draw(struct engine *g, struct turn *t, uint32_t row)
{
    struct err e = {0};
    const struct job *j = t->job;
    const uint32_t max = j->params.max_tokens ? j->params.max_tokens : UINT32_MAX;
    struct token_logprob token, top[TOP_MAX];
    uint32_t n_top;
    if (!pick(g, t, row, &token, top, &n_top, &e)) {
        end_turn(g, t, FINISH_ERROR, &e);
        return;
    }
    t->usage.n_generated++;
    if (is_stop(g, j, token.id)) {
        end_turn(g, t, FINISH_STOP, &e);
        return;
    }
    t->refused = !constraint_accept(t->constraint, token.id, &e);
    if (t->refused) {
        end_turn(g, t, FINISH_ERROR, &e);
        return;
    }
    job_post_token(t->job, &token, top, n_top);
    t->next = token.id;
    if (t->usage.n_generated == max || g->sessions[t->seq].n == g->n_ctx)
        end_turn(g, t, FINISH_LENGTH, &e);
    else if (is_loop(t, token.id))
        end_turn(g, t, FINISH_LOOP, &e);
}

/* ---- the prompt -------------------------------------------------------------------------------
 */

uint32_t turn_left(const struct engine *g, const struct turn *t)
{
    return t->n_text - g->sessions[t->seq].n;
}

void turn_read(struct engine *g, struct turn *t, uint32_t n_rows)
{
    struct err e = {0};
    struct session *s = &g->sessions[t->seq];
    const uint32_t left = turn_left(g, t);
    const uint32_t n = keep_rows(&t->keeper, (uint32_t)num_min(n_rows, left));
    const int32_t *ids = t->text + s->n;
    for (uint32_t i = 0; i < n; i++) {
        g->pos[i] = s->n + i;
        g->seq[i] = t->seq;
        g->want[i] = i + 1 == left;
    }
    g->want_best = turn_takes_best(t);
    g->goes_on = false;
    sampler_next_draw(t->sampler, &g->draws[0]);
    const uint64_t start = clock_ns();
    if (!turn_rows(g, ids, n, &t->job->cancel, &e)) {
        if (!t->waits)
            end_turn(g, t, FINISH_ERROR, &e);
        return;
    }
    t->has_read = true;
    const uint64_t end = clock_ns();
    pace_put(&g->pace, s->n - n, n, end - start);
    keep_snapshots(&t->keeper);
    tell_progress(g, t);
    if (n < left)
        return;
    t->reads = false;
    if (t->usage.n_generated == 0)
        t->usage.prefill_ns = end - t->began_ns;
    turn_draw(g, t, 0);
}
