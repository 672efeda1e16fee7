#include "server/watch.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"

struct watch {
    struct log log;
    uint32_t n_max;
    pthread_t thread;
    pthread_mutex_t lock; /* over what follows, and over the list's members */
    pthread_cond_t changed;
    struct watched *first;
    uint32_t n;
    uint64_t wake_ns; /* when the thread looks again; UINT64_MAX: when it is told to */
    bool ending;
};

/* Still in the list, so its socket is open and its number is nobody else's. */
static void cut(struct watched *c)
{
    c->cut = true;
    c->until_ns = 0;
    shutdown(c->fd, SHUT_RDWR);
}

/* Cuts those whose time is over; the end of the next one's. */
static uint64_t cut_late(struct watch *w)
{
    uint64_t now = clock_ns(), next = UINT64_MAX;
    for (struct watched *c = w->first; c; c = c->next) {
        if (!c->until_ns)
            continue;
        if (c->until_ns > now) {
            next = c->until_ns < next ? c->until_ns : next;
            continue;
        }
        /* Nothing came for a while between two requests: no news. */
        if (!c->waits_since)
            log_info(&w->log, "a client took more than %.3g s for %s: its connection was closed",
                     1e-9 * (double)c->limit_ns, c->step);
        cut(c);
    }
    return next;
}

static void *run(void *ctx)
{
    struct watch *w = ctx;
    pthread_mutex_lock(&w->lock);
    while (!w->ending) {
        w->wake_ns = cut_late(w);
        if (w->wake_ns == UINT64_MAX) {
            pthread_cond_wait(&w->changed, &w->lock);
            continue;
        }
        struct timespec until = {.tv_sec = (time_t)(w->wake_ns / 1000000000),
                                 .tv_nsec = (long)(w->wake_ns % 1000000000)};
        pthread_cond_timedwait(&w->changed, &w->lock, &until);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

struct watch *watch_open(uint32_t n_max, const struct log *log, struct err *e)
{
    struct watch *w = mem_new(1, sizeof *w);
    pthread_condattr_t attr;
    w->log = *log;
    w->n_max = n_max;
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->changed, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&w->thread, NULL, run, w) == 0)
        return w;
    err_set(e, ERR_MEMORY, "cannot start the thread that watches connections");
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    free(w);
    return NULL;
}

void watch_close(struct watch *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->ending = true;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

static void set_limit(struct watch *w, struct watched *c, uint32_t ms)
{
    c->limit_ns = (uint64_t)ms * 1000000;
    c->until_ns = ms && !c->cut ? clock_ns() + c->limit_ns : 0;
    if (c->until_ns && c->until_ns < w->wake_ns)
        pthread_cond_signal(&w->changed);
}

static bool make_room(struct watch *w, const struct watched *newest)
{
    struct watched *oldest = NULL;
    for (struct watched *c = w->first; c; c = c->next)
        if (c != newest && c->waits_since && !c->cut &&
            (!oldest || c->waits_since < oldest->waits_since))
            oldest = c;
    if (oldest)
        cut(oldest);
    return oldest != NULL;
}

void watch_add(struct watch *w, struct watched *c, int fd, uint32_t ms)
{
    pthread_mutex_lock(&w->lock);
    c->fd = fd;
    c->waits_since = clock_ns();
    c->next = w->first;
    if (c->next)
        c->next->before = c;
    w->first = c;
    set_limit(w, c, ms);
    c->extra = ++w->n > w->n_max && !make_room(w, c);
    pthread_mutex_unlock(&w->lock);
}

void watch_idle(struct watch *w, struct watched *c, uint32_t ms)
{
    pthread_mutex_lock(&w->lock);
    c->waits_since = clock_ns();
    set_limit(w, c, ms);
    pthread_mutex_unlock(&w->lock);
}

void watch_step(struct watch *w, struct watched *c, const char *step, uint32_t ms)
{
    pthread_mutex_lock(&w->lock);
    c->waits_since = 0;
    c->step = step;
    set_limit(w, c, ms);
    pthread_mutex_unlock(&w->lock);
}

void watch_remove(struct watch *w, struct watched *c)
{
    pthread_mutex_lock(&w->lock);
    if (c->before)
        c->before->next = c->next;
    else
        w->first = c->next;
    if (c->next)
        c->next->before = c->before;
    w->n--;
    pthread_mutex_unlock(&w->lock);
}
