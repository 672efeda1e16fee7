#include "gguf/gguf_fill.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/num.h"
#include "base/pool.h"

struct job {
    const struct gguf_fill *f;
    struct gguf_writer *w;
    struct pool *pool;
    uint64_t *first_piece; /* [n_tensors + 1], of each tensor in the order of all pieces */
    uint64_t n_bytes;
    _Atomic uint64_t n_done; /* bytes */
    atomic_bool failed;
    pthread_mutex_t lock; /* of e */
    struct err *e;
};

void gguf_fill_size(struct gguf_tensor *t)
{
    t->n_elems = 1;
    for (uint32_t d = 0; d < 4; d++) {
        if (d >= t->n_dims)
            t->ne[d] = 1;
        t->n_elems *= t->ne[d];
    }
    t->n_bytes = t->n_elems / t->ne[0] * block_row_bytes(t->type, t->ne[0]);
}

/* The tensor that piece i belongs to. */
static size_t tensor_of(const struct job *j, uint64_t i)
{
    size_t lo = 0, hi = j->f->n_tensors;
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (j->first_piece[mid] <= i)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

/* The first failure is the one that is told. */
static void give_up(struct job *j, const struct err *e)
{
    pthread_mutex_lock(&j->lock);
    if (!j->failed)
        *j->e = *e;
    j->failed = true;
    pthread_mutex_unlock(&j->lock);
}

static bool do_piece(struct job *j, uint64_t i, void *out, struct err *e)
{
    const struct gguf_fill *f = j->f;
    if (f->stop && *f->stop)
        return err_set(e, ERR_CANCELLED, "stopped");
    size_t i_tensor = tensor_of(j, i);
    const struct gguf_tensor *t = &f->tensors[i_tensor];
    uint64_t first = (i - j->first_piece[i_tensor]) * GGUF_FILL_PIECE;
    size_t n = num_min(t->n_elems - first, GGUF_FILL_PIECE);
    size_t n_bytes = block_row_bytes(t->type, n);
    if (!f->make(f->ctx, i_tensor, first, n, out, e) ||
        !gguf_writer_data(j->w, i_tensor, block_row_bytes(t->type, first), out, n_bytes, e))
        return false;
    uint64_t n_done = atomic_fetch_add(&j->n_done, n_bytes) + n_bytes;
    progress_step(f->progress, n_done, j->n_bytes);
    return true;
}

static void run_thread(void *ctx, int i_thread, int n_threads)
{
    struct job *j = ctx;
    struct err e;
    void *out = mem_new(GGUF_FILL_PIECE, sizeof(float));
    (void)i_thread;
    (void)n_threads;
    for (uint64_t i; !j->failed && (i = pool_next(j->pool)) < j->first_piece[j->f->n_tensors];)
        if (!do_piece(j, i, out, &e))
            give_up(j, &e);
    free(out);
}

bool gguf_fill(const struct gguf_fill *f, struct gguf_writer *w, struct err *e)
{
    struct job j = {.f = f, .w = w, .e = e, .lock = PTHREAD_MUTEX_INITIALIZER};
    j.first_piece = mem_new(f->n_tensors + 1, sizeof *j.first_piece);
    for (size_t i = 0; i < f->n_tensors; i++) {
        const struct gguf_tensor *t = &f->tensors[i];
        gguf_writer_tensor(w, t->name, t->type, t->ne, t->n_dims);
        j.first_piece[i + 1] =
            j.first_piece[i] + (t->n_elems + GGUF_FILL_PIECE - 1) / GGUF_FILL_PIECE;
        j.n_bytes += t->n_bytes;
    }
    bool ok = gguf_writer_start(w, e) && (j.pool = pool_open(f->n_threads, e));
    if (ok) {
        pool_run(j.pool, run_thread, &j);
        ok = !j.failed && gguf_writer_finish(w, e);
    }
    pool_close(j.pool);
    pthread_mutex_destroy(&j.lock);
    free(j.first_piece);
    return ok;
}
