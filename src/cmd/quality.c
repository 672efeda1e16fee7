#include "cmd/quality.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/num.h"

enum { N_ROWS = 64 }; /* run at once: two models' logits of so many rows are in memory */

struct measuring {
    struct exec *exec[2];
    const int32_t *ids;
    size_t n;
    size_t n_vocab;
    uint32_t pos[N_ROWS];
    bool want[N_ROWS];
};

/* ln of the sum of e^x. */
static double log_sum(const float *x, size_t n, size_t *top)
{
    double sum = 0;
    *top = 0;
    for (size_t i = 1; i < n; i++)
        *top = x[i] > x[*top] ? i : *top;
    for (size_t i = 0; i < n; i++)
        sum += exp((double)x[i] - (double)x[*top]);
    return (double)x[*top] + log(sum);
}

void quality_add(struct quality *q, const float *logits_a, const float *logits_b, size_t n_vocab,
                 int32_t next)
{
    size_t top_a, top_b;
    const double norm_a = log_sum(logits_a, n_vocab, &top_a);
    const double norm_b = log_sum(logits_b, n_vocab, &top_b);
    double kl = 0;
    for (size_t i = 0; i < n_vocab; i++) {
        const double a = (double)logits_a[i] - norm_a, b = (double)logits_b[i] - norm_b;
        kl += exp(a) * (a - b);
    }
    q->n_tokens++;
    q->mean_kl += kl;
    q->max_kl = fmax(q->max_kl, kl);
    q->top1 += top_a == top_b;
    if (next < 0)
        return;
    q->n_predicted++;
    q->perplexity[0] += norm_a - (double)logits_a[next];
    q->perplexity[1] += norm_b - (double)logits_b[next];
}

void quality_finish(struct quality *q)
{
    q->mean_kl /= (double)q->n_tokens;
    q->top1 /= (double)q->n_tokens;
    for (int i = 0; i < 2; i++)
        q->perplexity[i] =
            q->n_predicted ? exp(q->perplexity[i] / (double)q->n_predicted) : (double)NAN;
}

/* Ids [from, from + n) of a chunk that began at id `start`. */
static bool run_rows(struct measuring *m, size_t start, size_t from, uint32_t n, struct quality *q,
                     struct err *e)
{
    for (uint32_t i = 0; i < n; i++) {
        m->pos[i] = (uint32_t)(from - start) + i;
        m->want[i] = true;
    }
    const struct batch b = {.n = n, .ids = m->ids + from, .pos = m->pos, .want_logits = m->want};
    for (int i = 0; i < 2; i++)
        if (!exec_run(m->exec[i], &b, e))
            return false;
    for (uint32_t i = 0; i < n; i++) {
        const size_t next = from + i + 1;
        const bool known = next < m->n && next < start + QUALITY_CHUNK;
        quality_add(q, exec_logits(m->exec[0], i), exec_logits(m->exec[1], i), m->n_vocab,
                    known ? m->ids[next] : -1);
    }
    return true;
}

static bool run_all(struct measuring *m, const struct progress *progress, struct quality *q,
                    struct err *e)
{
    for (size_t start = 0; start < m->n; start += QUALITY_CHUNK) {
        const size_t end = num_min(m->n, start + QUALITY_CHUNK);
        for (size_t from = start; from < end; from += N_ROWS) {
            if (!run_rows(m, start, from, (uint32_t)num_min(end - from, N_ROWS), q, e))
                return false;
            progress_step(progress, from, m->n);
        }
    }
    return true;
}

bool quality_measure(const struct model *a, const struct model *b, const int32_t *ids, size_t n,
                     const struct quality_params *p, struct quality *out, struct err *e)
{
    const struct exec_params params = {.device = p->device,
                                       .cache_path = p->cache_path,
                                       .n_ctx = QUALITY_CHUNK,
                                       .n_ubatch = N_ROWS,
                                       .type_k = p->type_k,
                                       .type_v = p->type_v,
                                       .n_threads = p->n_threads};
    struct measuring m = {.ids = ids, .n = n, .n_vocab = a->plan.n_vocab};
    bool ok = true;
    *out = (struct quality){.backend = p->backend->name};
    for (int i = 0; i < 2 && ok; i++) {
        m.exec[i] = exec_open(p->backend, &(i ? b : a)->plan, &params, p->log, p->loading, e);
        ok = m.exec[i] != NULL;
    }
    ok = ok && run_all(&m, p->running, out, e);
    if (ok)
        quality_finish(out);
    exec_close(m.exec[0]);
    exec_close(m.exec[1]);
    return ok;
}
