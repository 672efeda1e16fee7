#include "engine/spool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"

struct queue {
    struct spool_job *first, *last;
};

struct spool {
    struct disk *disk;
    pthread_t thread;
    pthread_mutex_t lock;
    /* ---- under lock ---- */
    pthread_cond_t posted, finished;
    struct queue reads, others, done;
    bool quit;
};

static void push(struct queue *q, struct spool_job *j)
{
    j->next = NULL;
    if (q->last)
        q->last->next = j;
    else
        q->first = j;
    q->last = j;
}

static struct spool_job *pop(struct queue *q)
{
    struct spool_job *j = q->first;
    if (!j)
        return NULL;
    q->first = j->next;
    if (!q->first)
        q->last = NULL;
    return j;
}

/* ---- the thread -------------------------------------------------------------------------------
 */

static void work(struct disk *d, struct spool_job *j)
{
    const enum disk_kind kind = (enum disk_kind)j->head.kind;
    switch (j->what) {
    case SPOOL_READ: j->ok = disk_read(d, &j->head, j->bytes, &j->error); break;
    case SPOOL_WRITE: j->ok = disk_write(d, &j->head, j->bytes, &j->error); break;
    case SPOOL_REMOVE: disk_remove(d, j->head.id, kind); break;
    case SPOOL_TOUCH: disk_touch(d, j->head.id, kind); break;
    }
}

static void *run(void *spool)
{
    struct spool *s = spool;
    pthread_mutex_lock(&s->lock);
    while (!s->quit) {
        struct spool_job *j = pop(&s->reads);
        if (!j)
            j = pop(&s->others);
        if (!j) {
            pthread_cond_wait(&s->posted, &s->lock);
            continue;
        }
        pthread_mutex_unlock(&s->lock);
        work(s->disk, j);
        pthread_mutex_lock(&s->lock);
        if (j->what == SPOOL_READ || j->what == SPOOL_WRITE) {
            push(&s->done, j);
            pthread_cond_signal(&s->finished);
        } else {
            spool_free(j);
        }
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- the engine's side ------------------------------------------------------------------------
 */

static bool start(struct spool *s)
{
    pthread_condattr_t attr;
    sigset_t all, old;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->posted, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->finished, &attr);
    pthread_condattr_destroy(&attr);
    sigfillset(&all); /* signals are for the program's own threads */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    const bool ok = pthread_create(&s->thread, NULL, run, s) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return ok;
}

static void destroy(struct spool *s)
{
    pthread_cond_destroy(&s->posted);
    pthread_cond_destroy(&s->finished);
    pthread_mutex_destroy(&s->lock);
    disk_close(s->disk);
    free(s);
}

struct spool *spool_open(struct disk *d, struct err *e)
{
    struct spool *s = mem_new(1, sizeof *s);
    s->disk = d;
    if (start(s))
        return s;
    destroy(s);
    err_set(e, ERR_IO, "cannot start the disk cache's thread");
    return NULL;
}

struct disk *spool_disk(const struct spool *s)
{
    return s->disk;
}

void spool_post(struct spool *s, struct spool_job *j)
{
    pthread_mutex_lock(&s->lock);
    push(j->what == SPOOL_READ ? &s->reads : &s->others, j);
    pthread_cond_signal(&s->posted);
    pthread_mutex_unlock(&s->lock);
}

static void post_small(struct spool *s, enum spool_what what, uint64_t id, enum disk_kind kind)
{
    struct spool_job *j = mem_new(1, sizeof *j);
    j->what = what;
    j->head.id = id;
    j->head.kind = kind;
    spool_post(s, j);
}

void spool_remove(struct spool *s, uint64_t id, enum disk_kind kind)
{
    post_small(s, SPOOL_REMOVE, id, kind);
}

void spool_touch(struct spool *s, uint64_t id, enum disk_kind kind)
{
    post_small(s, SPOOL_TOUCH, id, kind);
}

struct spool_job *spool_take(struct spool *s, int wait_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    const int64_t ns = until.tv_nsec + (int64_t)wait_ms * 1000000;
    until.tv_sec += ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    pthread_mutex_lock(&s->lock);
    while (wait_ms > 0 && !s->done.first)
        if (pthread_cond_timedwait(&s->finished, &s->lock, &until) == ETIMEDOUT)
            break;
    struct spool_job *j = pop(&s->done);
    pthread_mutex_unlock(&s->lock);
    return j;
}

void spool_free(struct spool_job *j)
{
    if (j && j->bytes)
        mem_big_free(j->bytes, j->head.n_bytes);
    free(j);
}

void spool_close(struct spool *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->quit = true;
    pthread_cond_signal(&s->posted);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    struct queue *const all[] = {&s->reads, &s->others, &s->done};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        for (struct spool_job *j; (j = pop(all[i])); spool_free(j))
            if (j->what == SPOOL_REMOVE)
                work(s->disk, j);
    destroy(s);
}
