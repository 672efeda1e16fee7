/* rerun_run: which exchange may begin when, and a thread for each that is at work. */
#include "cmd/rerun.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

struct run {
    struct rerun_list *list;
    const struct rerun_params *params;
    pthread_mutex_t lock; /* over begun, ended and n_* */
    pthread_cond_t changed;
    size_t n_ended, n_running;
};

struct sending {
    struct run *run;
    struct rerun_exchange *x;
};

static void take_bytes(void *ctx, str bytes)
{
    rerun_reply_put(ctx, bytes);
}

/* Is the answer a stream? Ollama's are unless the request says no. */
static bool is_streamed(const struct rerun_exchange *x, const struct json *request)
{
    const struct json *stream = json_get(request, "stream");
    return stream ? json_bool(stream) : str_starts(x->path, STR("/api/"));
}

static void send_one(const struct run *run, struct rerun_exchange *x)
{
    struct err ignored;
    x->begin_ns = clock_ns();
    x->ok = rerun_fill(run->list, x, &x->error);
    struct json *request = json_parse(buf_view(&x->sent), &ignored);
    rerun_reply_open(&x->reply, x->path, is_streamed(x, request));
    x->begin_ns = clock_ns();
    x->ok = x->ok && rerun_post(&run->params->server, x->path, x->headers, buf_view(&x->sent),
                                &(struct rerun_sink){take_bytes, &x->reply}, &x->status, &x->error);
    rerun_reply_end(&x->reply);
    x->end_ns = clock_ns();
    if (x->ok && (x->status != x->wanted || (x->status == 200 && x->reply.error.n)))
        x->ok = err_set(&x->error, ERR_FORMAT, "status %d: %.*s", x->status,
                        (int)(x->reply.error.n < 300 ? x->reply.error.n : 300),
                        x->reply.error.n ? x->reply.error.p : "");
    x->n_valid = rerun_reply_valid(&x->reply, request);
    json_free(request);
}

static void *send_thread(void *ctx)
{
    struct sending *s = ctx;
    struct run *run = s->run;
    struct rerun_exchange *x = s->x;
    free(s);
    send_one(run, x);
    pthread_mutex_lock(&run->lock);
    x->ended = true;
    run->n_ended++;
    run->n_running--;
    pthread_cond_broadcast(&run->changed);
    pthread_mutex_unlock(&run->lock);
    return NULL;
}

/* Without `after`: those that had ended when it came must have ended, the others have begun. */
static bool is_ready(const struct run *run, size_t i)
{
    const struct rerun_exchange *at = run->list->at, *x = &at[i];
    bool ready = true;
    if (x->has_after) {
        for (size_t k = 0; k < x->n_after; k++)
            ready = ready && at[x->after[k]].ended;
    } else if (run->params->fast) {
        ready = x->session < 0 || at[x->session].ended;
    } else {
        for (size_t k = 0; k < i && ready; k++)
            ready = at[k].ended || (at[k].begun && at[k].end_ms > x->arrived_ms);
    }
    return ready;
}

/* The next one that may begin; the list's length: none. */
static size_t find_ready(const struct run *run)
{
    size_t i = 0;
    while (i < run->list->n && (run->list->at[i].begun || !is_ready(run, i)))
        i++;
    return i;
}

static void begin(struct run *run, struct rerun_exchange *x)
{
    struct sending *s = mem_new(1, sizeof *s);
    pthread_t thread;
    *s = (struct sending){run, x};
    x->begun = true;
    run->n_running++;
    if (pthread_create(&thread, NULL, send_thread, s) == 0) {
        pthread_detach(thread);
        return;
    }
    err_set(&x->error, ERR_IO, "no thread can be started");
    x->ended = true;
    run->n_ended++;
    run->n_running--;
    free(s);
}

void rerun_run(struct rerun_list *l, const struct rerun_params *p,
               void (*done)(void *ctx, size_t n_done), void *ctx)
{
    struct run run = {.list = l, .params = p};
    pthread_mutex_init(&run.lock, NULL);
    pthread_cond_init(&run.changed, NULL);
    pthread_mutex_lock(&run.lock);
    while (run.n_ended < l->n) {
        const size_t i = run.n_running < p->n_at_once ? find_ready(&run) : l->n;
        if (i < l->n) {
            begin(&run, &l->at[i]);
            continue;
        }
        pthread_cond_wait(&run.changed, &run.lock);
        if (done)
            done(ctx, run.n_ended);
    }
    pthread_mutex_unlock(&run.lock);
    pthread_mutex_destroy(&run.lock);
    pthread_cond_destroy(&run.changed);
}
