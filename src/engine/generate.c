/* The engine's thread: synchronises a session with a job's prompt, then draws token after token. */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "engine/inside.h"
#include "engine/keep.h"
#include "engine/logprob.h"

/* A cancelled batch stops at the next op, so the longest op bounds the wait: a piece of prefill is
 * made so small that this op should take a third of the 300 ms promised. The longest one is taken
 * to be four times the mean. The first piece of an engine's life measures. */
enum { LONGEST_OP_NS = 100000000, LONGEST_OP_PART = 4, FIRST_PIECE = 32 };

static uint32_t piece_rows(const struct engine *g)
{
    if (g->ns_per_row <= 0)
        return (uint32_t)num_min(FIRST_PIECE, g->n_ubatch);
    double part = fmin(1, (double)LONGEST_OP_PART / (double)g->model->plan.n_ops);
    double rows = LONGEST_OP_NS / (g->ns_per_row * part);
    return rows < 1 ? 1 : rows < g->n_ubatch ? (uint32_t)rows : g->n_ubatch;
}

/* Runs ids at the session's end; on success they are part of it. On failure the session is as it
 * was, but may be out of reach. */
static bool extend(struct engine *g, uint32_t seq, const int32_t *ids, uint32_t n, bool want_logits,
                   const atomic_bool *cancel, struct err *e)
{
    struct session *s = &g->sessions[seq];
    for (uint32_t i = 0; i < n; i++) {
        g->pos[i] = s->n + i;
        g->seq[i] = seq;
        g->want[i] = false;
    }
    g->want[n - 1] = want_logits;
    struct batch b = {
        .n = n, .ids = ids, .pos = g->pos, .seq = g->seq, .want_logits = g->want, .cancel = cancel};
    const bool done = exec_run(g->exec, &b, e);
    s->reach = exec_reach(g->exec, seq);
    if (!done)
        return false;
    memcpy(s->ids + s->n, ids, n * sizeof *ids);
    s->n += n;
    return true;
}

/* ---- jobs -------------------------------------------------------------------------------------
 */

/* Reads the prompt from where the session has it on; the logits of its last token are left. */
static bool prefill(struct engine *g, struct job *j, uint32_t seq, struct keeper *k, struct err *e)
{
    const struct session *s = &g->sessions[seq];
    size_t n_prompt = j->params.n_prompt;
    job_post_prefill(j, s->n);
    keep_snapshots(k);
    while (s->n < n_prompt) {
        uint32_t n = (uint32_t)num_min(piece_rows(g), n_prompt - s->n);
        n = keep_rows(k, n);
        uint64_t start = clock_ns();
        if (!extend(g, seq, j->prompt + s->n, n, s->n + n == n_prompt, &j->cancel, e))
            return false;
        /* A row or two say nothing about the speed of many. */
        if (n >= FIRST_PIECE / 2)
            g->ns_per_row = (double)(clock_ns() - start) / n;
        keep_snapshots(k);
        job_post_prefill(j, s->n);
    }
    return true;
}

/* Taken from the logit of the token that would go on with a loop. Not infinite: where a grammar
 * allows nothing else, it may come. */
static const float LOOP_PENALTY = 100;

/* What chooses the tokens of a reply. */
struct choice {
    struct sampler *sampler;
    struct constraint_run *constraint; /* NULL: none */
    bool refused;                      /* the constraint cannot be followed */
};

/* Draws the next token from the last logits. */
static bool pick(struct engine *g, const struct job *j, struct choice *by, struct token_logprob *t,
                 struct token_logprob *top, uint32_t *n_top, struct err *e)
{
    uint32_t n_vocab = g->model->plan.n_vocab;
    const float *logits = exec_logits(g->exec, 0);
    const struct token_mask *mask;
    by->refused = !constraint_mask(by->constraint, &mask, e);
    if (by->refused)
        return false;
    memcpy(g->logits, logits, n_vocab * sizeof *logits);
    if (g->kept_out >= 0)
        g->logits[g->kept_out] -= LOOP_PENALTY;
    *t = (struct token_logprob){.id = sampler_pick(by->sampler, g->logits, mask)};
    sampler_accept(by->sampler, t->id);
    *n_top = 0;
    if (j->params.want_logprobs)
        *n_top = logprob_top(logits, n_vocab, t->id, j->params.n_top_logprobs, t, top);
    return true;
}

/* A constraint has its end, whatever else was asked for. */
static bool is_stop(const struct engine *g, const struct job *j, int32_t id)
{
    bool goes_on = j->params.ignore_stop && !j->params.constraint;
    return !goes_on && g->tok && tok_is_stop(g->tok, id);
}

/* Does the reply go round in circles, though that was broken before? */
static bool is_loop(struct engine *g, const struct job *j, int32_t id)
{
    g->kept_out = -1;
    return !j->params.ignore_stop && loop_put(&g->loop, id, &g->kept_out) == LOOP_END;
}

/* What may stop a step of decoding. A recurrent state would be lost with it and the reply read
 * again, so a step that is short is waited for. */
static const atomic_bool *step_cancel(const struct engine *g, const struct job *j)
{
    const bool is_short = g->ns_per_step > 0 && g->ns_per_step < LONGEST_OP_NS;
    return is_short && g->model->plan.n_states ? NULL : &j->cancel;
}

/* Draws until something ends the reply. */
static enum finish decode(struct engine *g, struct job *j, uint32_t seq, struct choice *by,
                          size_t *n_generated, struct err *e)
{
    struct session *s = &g->sessions[seq];
    uint32_t max = j->params.max_tokens ? j->params.max_tokens : UINT32_MAX;
    loop_init(&g->loop);
    g->kept_out = -1;
    for (;;) {
        struct token_logprob t, top[TOP_MAX];
        uint32_t n_top;
        if (atomic_load(&j->cancel))
            return FINISH_CANCELLED;
        if (!pick(g, j, by, &t, top, &n_top, e))
            return FINISH_ERROR;
        ++*n_generated;
        if (is_stop(g, j, t.id))
            return FINISH_STOP;
        by->refused = !constraint_accept(by->constraint, t.id, e);
        if (by->refused)
            return FINISH_ERROR;
        job_post_token(j, &t, top, n_top);
        if (*n_generated == max || s->n == g->n_ctx)
            return FINISH_LENGTH;
        if (is_loop(g, j, t.id))
            return FINISH_LOOP;
        const uint64_t start = clock_ns();
        if (!extend(g, seq, &t.id, 1, true, step_cancel(g, j), e))
            return FINISH_ERROR;
        g->ns_per_step = clock_ns() - start;
    }
}

/* Cuts the chosen session back to what it shares with the prompt, or farther, to where its state
 * can be had. The last token is always read again: its logits are needed. */
static bool sync_session(struct engine *g, const struct job *j, uint32_t *seq, struct keeper *k,
                         struct err *e)
{
    *seq = session_choose(g->sessions, g->n_sessions, j->prompt, j->params.n_prompt);
    struct session *s = &g->sessions[*seq];
    const uint32_t shared = session_shared(s, j->prompt, j->params.n_prompt);
    const uint32_t fork = (uint32_t)num_min(shared, j->params.n_prompt - 1);
    session_cut(s, session_reach(s, fork));
    keep_begin(k, g, *seq, j, fork);
    s->last_used = ++g->n_jobs;
    struct snapshot *from = session_snapshot(s, s->n);
    if (from)
        from->last_used = g->n_jobs;
    if (exec_within(s->reach, s->n))
        return true;
    const bool done = exec_state_restore(g->exec, *seq, s->n, from->bytes, e);
    s->reach = exec_reach(g->exec, *seq);
    return done;
}

static void run_job(struct engine *g, struct job *j)
{
    struct err e = {0};
    struct job_usage usage = {.n_prompt = j->params.n_prompt};
    uint64_t start = clock_ns();
    usage.queue_ns = start - j->submit_ns;
    uint32_t seq;
    struct keeper keeper;
    bool ready = sync_session(g, j, &seq, &keeper, &e);
    usage.n_cached = g->sessions[seq].n;
    struct choice by = {.sampler =
                            sampler_open(&j->params.sampling, g->model->plan.n_vocab, g->allowed),
                        .constraint = constraint_begin(j->params.constraint)};
    for (size_t i = 0; i < j->params.n_prompt; i++)
        sampler_accept(by.sampler, j->prompt[i]);
    enum finish finish = FINISH_ERROR;
    ready = ready && prefill(g, j, seq, &keeper, &e);
    uint64_t middle = clock_ns();
    usage.prefill_ns = middle - start;
    if (ready) {
        finish = decode(g, j, seq, &by, &usage.n_generated, &e);
        usage.decode_ns = clock_ns() - middle;
    }
    sampler_close(by.sampler);
    constraint_end(by.constraint);
    if (finish == FINISH_ERROR && e.code == ERR_CANCELLED)
        finish = FINISH_CANCELLED;
    if (finish == FINISH_ERROR && !by.refused)
        session_cut(&g->sessions[seq], 0); /* what the cache holds now is not known */
    job_post_end(j, finish, &e, &usage);
}

void *engine_thread(void *engine)
{
    struct engine *g = engine;
    pthread_mutex_lock(&g->lock);
    for (;;) {
        while (!g->first && !g->quit)
            pthread_cond_wait(&g->queue_changed, &g->lock);
        if (g->quit)
            break;
        struct job *j = g->first;
        g->first = j->next;
        if (!g->first)
            g->last = NULL;
        j->next = NULL;
        j->state = JOB_RUNNING;
        g->running = j;
        pthread_mutex_unlock(&g->lock);
        run_job(g, j);
        pthread_mutex_lock(&g->lock);
    }
    pthread_mutex_unlock(&g->lock);
    return NULL;
}
