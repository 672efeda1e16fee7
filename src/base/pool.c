#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

enum {
    MAX_THREADS = 1024,
    LINE = 64, /* bytes that no two threads should write at the same time */
};
/* Longer than a phase of a forward pass is uneven, shorter than anybody notices in their fan. */
static const uint64_t SPIN_NS = 100 * 1000;

/* A counter that threads wait on: first spinning, then asleep. */
struct gate {
    _Alignas(LINE) atomic_uint seq;
    atomic_uint n_asleep;
    pthread_mutex_t lock;
    pthread_cond_t opened;
};

struct worker {
    struct pool *pool;
    pthread_t thread;
    int index;
};

struct pool {
    struct gate start; /* opens once per run, and to stop */
    struct gate phase; /* opens when all threads have arrived */
    _Alignas(LINE) atomic_uint n_arrived;
    _Alignas(LINE) atomic_uint next;
    _Alignas(LINE) int n_threads;
    void (*fn)(void *ctx, int i_thread, int n_threads);
    void *ctx;
    bool stop;
    struct worker *workers; /* [n_threads]; 0 is the caller and has no thread */
};

static void gate_init(struct gate *g)
{
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->opened, NULL);
}

static void gate_fini(struct gate *g)
{
    pthread_cond_destroy(&g->opened);
    pthread_mutex_destroy(&g->lock);
}

static void gate_open(struct gate *g)
{
    atomic_fetch_add(&g->seq, 1);
    if (atomic_load(&g->n_asleep) == 0)
        return;
    pthread_mutex_lock(&g->lock);
    pthread_cond_broadcast(&g->opened);
    pthread_mutex_unlock(&g->lock);
}

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Returns when seq is no longer what the caller saw before. n_asleep is raised before seq is looked
 * at again, and the opener changes seq before it looks at n_asleep (both sequentially consistent):
 * one of the two sees the other, so no wake-up is lost. */
static void gate_wait(struct gate *g, unsigned seen)
{
    uint64_t end_ns = 0;
    for (unsigned n = 1; atomic_load_explicit(&g->seq, memory_order_acquire) == seen; n++) {
        relax();
        if (n % 64)
            continue;
        uint64_t now_ns = clock_ns();
        if (!end_ns)
            end_ns = now_ns + SPIN_NS;
        else if (now_ns >= end_ns)
            break;
    }
    if (atomic_load(&g->seq) != seen)
        return;
    pthread_mutex_lock(&g->lock);
    atomic_fetch_add(&g->n_asleep, 1);
    while (atomic_load(&g->seq) == seen)
        pthread_cond_wait(&g->opened, &g->lock);
    atomic_fetch_sub(&g->n_asleep, 1);
    pthread_mutex_unlock(&g->lock);
}

void pool_barrier(struct pool *p)
{
    unsigned seen = atomic_load(&p->phase.seq);
    if (atomic_fetch_add(&p->n_arrived, 1) + 1 < (unsigned)p->n_threads) {
        gate_wait(&p->phase, seen);
        return;
    }
    atomic_store_explicit(&p->n_arrived, 0, memory_order_relaxed);
    atomic_store_explicit(&p->next, 0, memory_order_relaxed);
    gate_open(&p->phase);
}

uint32_t pool_next(struct pool *p)
{
    return atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed);
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct pool *p = w->pool;
    for (unsigned seen = 0;; seen++) {
        gate_wait(&p->start, seen);
        if (p->stop)
            return NULL;
        p->fn(p->ctx, w->index, p->n_threads);
        pool_barrier(p);
    }
}

void pool_run(struct pool *p, void (*fn)(void *ctx, int i_thread, int n_threads), void *ctx)
{
    p->fn = fn;
    p->ctx = ctx;
    gate_open(&p->start);
    fn(ctx, 0, p->n_threads);
    pool_barrier(p);
}

int pool_size(const struct pool *p)
{
    return p->n_threads;
}

/* True when the first hardware thread of cpu's core that the process may use is cpu itself. */
static bool leads_its_core(int cpu, const cpu_set_t *allowed)
{
    char path[96], list[256] = "";
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
    FILE *f = fopen(path, "r");
    if (!f)
        return true;
    if (!fgets(list, sizeof list, f))
        list[0] = 0;
    fclose(f);
    /* "0,64" or "0-1": ranges of hardware threads. */
    for (char *at = list; *at >= '0' && *at <= '9';) {
        long from = strtol(at, &at, 10);
        long to = *at == '-' ? strtol(at + 1, &at, 10) : from;
        for (long i = from; i <= to && i < CPU_SETSIZE; i++)
            if (CPU_ISSET(i, allowed))
                return i == cpu;
        if (*at == ',')
            at++;
    }
    return true;
}

int pool_default_size(void)
{
    cpu_set_t allowed;
    int n = 0;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return 1;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        n += CPU_ISSET(cpu, &allowed) && leads_its_core(cpu, &allowed);
    return n ? n : 1;
}

/* Workers leave every signal to the thread that the program expects it on. */
static int create_quietly(struct worker *w)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int status = pthread_create(&w->thread, NULL, work, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return status;
}

struct pool *pool_open(int n_threads, struct err *e)
{
    if (n_threads < 0 || n_threads > MAX_THREADS) {
        err_set(e, ERR_USAGE, "%d threads: choose 1 to %d, or 0 for one per core", n_threads,
                MAX_THREADS);
        return NULL;
    }
    if (n_threads == 0)
        n_threads = pool_default_size();
    struct pool *p = aligned_alloc(LINE, sizeof *p);
    if (!p) {
        err_set(e, ERR_MEMORY, "no memory for a thread pool");
        return NULL;
    }
    memset(p, 0, sizeof *p);
    gate_init(&p->start);
    gate_init(&p->phase);
    p->workers = mem_new((size_t)n_threads, sizeof *p->workers);
    for (p->n_threads = 1; p->n_threads < n_threads; p->n_threads++) {
        struct worker *w = &p->workers[p->n_threads];
        w->pool = p;
        w->index = p->n_threads;
        int status = create_quietly(w);
        if (status != 0) {
            err_set(e, ERR_IO, "cannot start thread %d of %d: %s; ask for fewer threads",
                    p->n_threads + 1, n_threads, strerror(status));
            pool_close(p);
            return NULL;
        }
    }
    return p;
}

void pool_close(struct pool *p)
{
    if (!p)
        return;
    p->stop = true;
    gate_open(&p->start);
    for (int i = 1; i < p->n_threads; i++)
        pthread_join(p->workers[i].thread, NULL);
    gate_fini(&p->phase);
    gate_fini(&p->start);
    free(p->workers);
    free(p);
}
