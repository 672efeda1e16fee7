#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "engine/turn.h"

static bool check_params(const struct engine *g, const struct job_params *p, struct err *e)
{
    uint32_t n_vocab = g->model->hp.n_vocab;
    if (!p->n_prompt)
        return err_set(e, ERR_USAGE, "the prompt is empty");
    if (p->n_prompt >= g->n_ctx)
        return err_set(
            e, ERR_LIMIT,
            "the prompt has %zu tokens, the context holds %u and needs room for one more",
            p->n_prompt, g->n_ctx);
    for (size_t i = 0; i < p->n_prompt; i++)
        if (p->prompt[i] < 0 || (uint32_t)p->prompt[i] >= n_vocab)
            return err_set(e, ERR_USAGE, "prompt token %zu is %d, the vocabulary has %u", i,
                           (int)p->prompt[i], n_vocab);
    if (p->n_top_logprobs > TOP_MAX)
        return err_set(e, ERR_USAGE, "top logprobs: %u is over the limit of %d", p->n_top_logprobs,
                       TOP_MAX);
    return sampling_check(&p->sampling, g->model->plan.n_vocab, e);
}

static struct job *job_new(struct engine *g, const struct job_params *p)
{
    struct job *j = mem_new(1, sizeof *j);
    j->engine = g;
    j->params = *p;
    j->params.constraint = constraint_ref(p->constraint);
    j->prompt = mem_new(p->n_prompt, sizeof *j->prompt);
    memcpy(j->prompt, p->prompt, p->n_prompt * sizeof *j->prompt);
    j->params.prompt = j->prompt;
    j->bias = mem_new(p->sampling.n_bias, sizeof *j->bias);
    if (p->sampling.n_bias)
        memcpy(j->bias, p->sampling.bias, p->sampling.n_bias * sizeof *j->bias);
    j->params.sampling.bias = j->bias;
    j->usage.n_prompt = p->n_prompt;
    j->submit_ns = clock_ns();
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&j->changed, &attr);
    pthread_condattr_destroy(&attr);
    return j;
}

struct job *engine_submit(struct engine *g, const struct job_params *p, struct err *e)
{
    if (!check_params(g, p, e))
        return NULL;
    struct job *j = job_new(g, p);
    pthread_mutex_lock(&g->lock);
    if (g->last)
        g->last->next = j;
    else
        g->first = j;
    g->last = j;
    pthread_cond_signal(&g->queue_changed);
    pthread_mutex_unlock(&g->lock);
    return j;
}

void job_post_prefill(struct job *j, const struct job_usage *usage, size_t n_done)
{
    pthread_mutex_lock(&j->engine->lock);
    j->usage = *usage;
    j->n_done = num_max(j->n_done, n_done); /* what is read again is no step back to a client */
    j->prefill_news = true;
    pthread_cond_signal(&j->changed);
    pthread_mutex_unlock(&j->engine->lock);
}

static void grow(struct job *j)
{
    size_t n_top = j->params.n_top_logprobs;
    j->room = j->room ? 2 * j->room : 64;
    j->tokens = mem_grow(j->tokens, j->room, sizeof *j->tokens);
    j->n_tops = mem_grow(j->n_tops, j->room, sizeof *j->n_tops);
    if (n_top)
        j->tops = mem_grow(j->tops, j->room * n_top, sizeof *j->tops);
}

void job_post_token(struct job *j, const struct token_logprob *token,
                    const struct token_logprob *top, uint32_t n_top)
{
    pthread_mutex_lock(&j->engine->lock);
    if (j->n_tokens == j->room)
        grow(j);
    j->tokens[j->n_tokens] = *token;
    j->n_tops[j->n_tokens] = n_top;
    if (n_top)
        memcpy(&j->tops[j->n_tokens * j->params.n_top_logprobs], top, n_top * sizeof *top);
    j->n_tokens++;
    pthread_cond_signal(&j->changed);
    pthread_mutex_unlock(&j->engine->lock);
}

void job_end_locked(struct job *j, enum finish finish, const struct err *error,
                    const struct job_usage *usage)
{
    j->state = JOB_ENDED;
    j->finish = finish;
    if (error)
        j->error = *error;
    if (usage)
        j->usage = *usage;
    pthread_cond_broadcast(&j->changed);
}

void job_show_sessions(struct engine *g)
{
    for (uint32_t i = 0; i < g->n_sessions; i++) {
        const struct session *s = &g->sessions[i];
        g->infos[i] = (struct session_info){s->n, s->busy, s->hint, g->n_jobs - s->last_used};
    }
    g->cache = (struct engine_cache){.disk_tokens = g->n_disk_tokens,
                                     .pages = exec_pages(g->exec),
                                     .n_emptied = g->n_emptied,
                                     .n_parked = g->n_parked};
    if (!g->store)
        return;
    g->cache.host_bytes = store_bytes(g->store);
    g->cache.disk_bytes = store_disk_bytes(g->store);
}

void engine_sessions(struct engine *g, struct session_info *out, struct engine_cache *cache)
{
    pthread_mutex_lock(&g->lock);
    memcpy(out, g->infos, g->n_sessions * sizeof *out);
    *cache = g->cache;
    pthread_mutex_unlock(&g->lock);
}

void job_post_end(struct turn *t, enum finish finish, const struct err *error)
{
    struct job *j = t->job;
    struct engine *g = j->engine;
    pthread_mutex_lock(&g->lock);
    t->job = NULL;
    job_show_sessions(g);
    job_end_locked(j, finish, error, &t->usage);
    pthread_mutex_unlock(&g->lock);
}

/* Waits until there is news or the time is over; false then. */
static bool wait_for_news(struct job *j, int timeout_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + (int64_t)(timeout_ms > 0 ? timeout_ms : 0) * 1000000;
    until.tv_sec += ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    while (!j->prefill_news && j->n_read == j->n_tokens && j->state != JOB_ENDED)
        if (pthread_cond_timedwait(&j->changed, &j->engine->lock, &until) == ETIMEDOUT)
            return j->prefill_news || j->n_read < j->n_tokens || j->state == JOB_ENDED;
    return true;
}

static void take_token(struct job *j, struct job_event *out)
{
    size_t i = j->n_read++;
    out->kind = JOB_TOKEN;
    out->token = j->tokens[i];
    out->n_top = j->n_tops[i];
    if (out->n_top)
        memcpy(out->top, &j->tops[i * j->params.n_top_logprobs], out->n_top * sizeof *out->top);
}

void job_next(struct job *j, int timeout_ms, struct job_event *out)
{
    pthread_mutex_lock(&j->engine->lock);
    if (!wait_for_news(j, timeout_ms)) {
        out->kind = JOB_TIMEOUT;
    } else if (j->prefill_news) {
        j->prefill_news = false;
        out->kind = JOB_PREFILL;
        out->n_done = j->n_done;
        out->n_total = j->params.n_prompt;
    } else if (j->n_read < j->n_tokens) {
        take_token(j, out);
    } else {
        out->kind = JOB_DONE;
        out->finish = j->finish;
        out->error = j->error;
    }
    pthread_mutex_unlock(&j->engine->lock);
}

static void unqueue(struct engine *g, struct job *j)
{
    struct job *before = NULL;
    for (struct job *at = g->first; at != j; at = at->next)
        before = at;
    if (before)
        before->next = j->next;
    else
        g->first = j->next;
    if (g->last == j)
        g->last = before;
    j->next = NULL;
}

void job_take(struct engine *g, struct job *j)
{
    unqueue(g, j);
    j->state = JOB_RUNNING;
}

void job_cancel(struct job *j)
{
    struct engine *g = j->engine;
    atomic_store(&j->cancel, true);
    pthread_mutex_lock(&g->lock);
    if (j->state == JOB_RUNNING)
        atomic_store(&g->interrupt, true);
    if (j->state == JOB_QUEUED) {
        unqueue(g, j);
        j->usage.queue_ns = clock_ns() - j->submit_ns;
        job_end_locked(j, FINISH_CANCELLED, NULL, NULL);
    }
    pthread_mutex_unlock(&g->lock);
}

struct job_usage job_usage(struct job *j)
{
    pthread_mutex_lock(&j->engine->lock);
    struct job_usage u = j->usage;
    pthread_mutex_unlock(&j->engine->lock);
    return u;
}

void job_close(struct job *j)
{
    if (!j)
        return;
    job_cancel(j);
    pthread_mutex_lock(&j->engine->lock);
    while (j->state != JOB_ENDED)
        pthread_cond_wait(&j->changed, &j->engine->lock);
    pthread_mutex_unlock(&j->engine->lock);
    pthread_cond_destroy(&j->changed);
    constraint_unref(j->params.constraint);
    free(j->prompt);
    free(j->bias);
    free(j->tokens);
    free(j->tops);
    free(j->n_tops);
    free(j);
}
