#include "engine/engine.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "engine/cold.h"
#include "engine/revive.h"
#include "engine/turn.h"

enum { TRIED = 16 }; /* tokens: of a prompt, as backends see it */

static bool open_snapshots(struct engine *g, const struct fit *f, struct err *e)
{
    g->sessions = mem_new(g->n_sessions, sizeof *g->sessions);
    if (f->n_snapshots == 0)
        return true;
    g->n_state_bytes = f->snapshot_bytes;
    g->n_snapshot_bytes = f->n_snapshots * f->snapshot_bytes * g->n_sessions;
    g->snapshot_bytes = mem_big(g->n_snapshot_bytes, "snapshots", e);
    uint8_t *at = g->snapshot_bytes;
    for (uint32_t i = 0; at && i < g->n_sessions; i++) {
        struct session *s = &g->sessions[i];
        s->n_snapshots = f->n_snapshots;
        s->snapshots = mem_new(f->n_snapshots, sizeof *s->snapshots);
        for (uint32_t k = 0; k < f->n_snapshots; k++, at += f->snapshot_bytes)
            s->snapshots[k].bytes = at;
    }
    return at != NULL;
}

/* Runs n tokens from the start; no logit behind the last one may be none. */
static bool try_tokens(struct engine *g, uint32_t n, struct err *e)
{
    const int32_t ids[TRIED] = {0};
    uint32_t pos[TRIED];
    for (uint32_t i = 0; i < n; i++)
        pos[i] = i;
    const struct batch b = {.n = n, .ids = ids, .pos = pos};
    if (!exec_run(g->exec, &b, e))
        return false;
    const float *logits = exec_logits(g->exec, 0);
    exec_seq_cut(g->exec, 0, 0); /* nobody's session holds these tokens */
    for (uint32_t i = 0; i < g->model->plan.n_vocab; i++)
        if (!isfinite(logits[i]))
            return err_set(e, ERR_DEVICE, "logit %u behind a batch of %u is %g", i, n,
                           (double)logits[i]);
    return true;
}

/* Has a GPU that nobody asked for run a token and a prompt, which have kernels of their own:
 * drivers fail, and some compute nonsense. */
static bool try_out(struct engine *g, struct err *e)
{
    const uint32_t n_ctx = exec_params_of(g->exec)->n_ctx;
    return try_tokens(g, 1, e) && try_tokens(g, (uint32_t)num_min(n_ctx, TRIED), e);
}

static bool is_found_gpu(const struct engine_params *p, const struct fit *f)
{
    return !p->backend && !p->device && f->backend != &backend_cpu;
}

/* Nothing is left of what failed. */
static bool load(struct engine *g, const struct engine_params *p, struct fit *f, struct err *e)
{
    fit_log(f, &p->log);
    f->params.allowed = g->allowed;
    if (!mem_table_check(&f->table, e)) {
        fit_close(f);
        return false;
    }
    g->exec = exec_open(f->backend, &g->model->plan, &f->params, &p->log, &p->progress, e);
    if (!g->exec || !is_found_gpu(p, f) || try_out(g, e))
        return g->exec != NULL;
    exec_close(g->exec);
    g->exec = NULL;
    return false;
}

/* Is it a failure that the processor need not have? */
static bool is_of_gpu(const struct err *e)
{
    return e->code == ERR_MEMORY || e->code == ERR_DEVICE || e->code == ERR_UNSUPPORTED;
}

static bool open_exec(struct engine *g, const struct engine_params *p, struct err *e)
{
    struct fit f;
    struct engine_params on_cpu = *p;
    on_cpu.backend = backend_cpu.name;
    if (!fit_open(&f, g->model, p, e))
        return false;
    if (!load(g, p, &f, e)) {
        if (!is_found_gpu(p, &f) || !is_of_gpu(e))
            return false;
        log_warn(&p->log, "the processor runs the model, not the GPU: %s", e->msg);
        if (!fit_open(&f, g->model, &on_cpu, e) || !load(g, &on_cpu, &f, e))
            return false;
    }
    g->backend = f.backend->name;
    g->n_ctx = f.params.n_ctx;
    g->n_sessions = f.params.n_seqs;
    g->n_ubatch = f.params.n_ubatch;
    g->losses.wait_ms = p->revive_wait_ms ? p->revive_wait_ms : REVIVE_WAIT_MS;
    if (!open_snapshots(g, &f, e))
        return false;
    cold_open(g, p, &f);
    return true;
}

bool engine_memory(const struct model *m, struct engine_params *p, struct mem_table *out,
                   struct err *e)
{
    struct fit f;
    if (!fit_open(&f, m, p, e))
        return false;
    p->n_ctx = f.params.n_ctx;
    p->n_sessions = f.params.n_seqs;
    *out = f.table;
    fit_close(&f);
    return true;
}

static void open_tok(struct engine *g, const struct log *log)
{
    struct err e;
    str kind = {NULL, 0};
    if (!gguf_str(g->file, "tokenizer.ggml.model", false, &kind, &e) || !kind.n ||
        str_eq(kind, STR("none")))
        return;
    g->tok = tok_open(g->file, log, &e);
    if (!g->tok)
        log_warn(log, "no tokenizer: %s", e.msg);
}

/* A default of the file is taken only where it is in range: it is a hint, not a part of the model.
 */
static void file_default(const struct gguf *f, const char *key, float min, float max, float *out)
{
    struct err e;
    float v = *out;
    if (gguf_f32(f, key, false, &v, &e) && v >= min && v <= max)
        *out = v;
}

static struct sampling file_defaults(const struct gguf *f)
{
    struct err e;
    uint32_t top_k = 20;
    struct sampling s = {.temperature = 0.7f, .top_p = 0.8f};
    file_default(f, "general.sampling.temp", 0, 5, &s.temperature);
    file_default(f, "general.sampling.top_p", 0, 1, &s.top_p);
    file_default(f, "general.sampling.min_p", 0, 1, &s.min_p);
    file_default(f, "general.sampling.penalty_repeat", 0.5f, 2, &s.repeat_penalty);
    if (!gguf_u32(f, "general.sampling.top_k", false, &top_k, &e) || top_k > INT32_MAX)
        top_k = 20;
    s.top_k = (int32_t)top_k;
    return s;
}

/* Rows of the output matrix past the vocabulary are padding, unused tokens mean nothing. */
static unsigned char *allowed_tokens(const struct engine *g)
{
    uint32_t n_vocab = g->model->plan.n_vocab;
    unsigned char *allowed = mem_new(n_vocab, 1);
    for (uint32_t i = 0; i < n_vocab; i++)
        allowed[i] =
            !g->tok || (i < tok_n_vocab(g->tok) && tok_type(g->tok, (int32_t)i) != TOK_UNUSED);
    return allowed;
}

static void open_sessions(struct engine *g)
{
    const size_t n_rows = num_max(g->n_ubatch, g->n_sessions);
    g->turns = mem_new(g->n_sessions, sizeof *g->turns);
    g->infos = mem_new(g->n_sessions, sizeof *g->infos);
    for (uint32_t i = 0; i < g->n_sessions; i++) {
        g->sessions[i].ids = mem_new(g->n_ctx, sizeof *g->sessions[i].ids);
        g->turns[i].seq = i;
    }
    g->step_ids = mem_new(g->n_sessions, sizeof *g->step_ids);
    g->logits = mem_new(g->model->plan.n_vocab, sizeof *g->logits);
    g->pos = mem_new(n_rows, sizeof *g->pos);
    g->seq = mem_new(n_rows, sizeof *g->seq);
    g->want = mem_new(n_rows, sizeof *g->want);
    g->draws = mem_new(g->n_sessions, sizeof *g->draws);
}

/* Signals are for the program's own threads. */
static bool start_thread(struct engine *g, struct err *e)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    g->thread_runs = pthread_create(&g->thread, NULL, engine_thread, g) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return g->thread_runs || err_set(e, ERR_IO, "cannot start the engine's thread");
}

struct engine *engine_open(const struct engine_params *p, struct err *e)
{
    struct engine *g = mem_new(1, sizeof *g);
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->queue_changed, NULL);
    g->log = p->log;
    g->file = gguf_open(p->path, &p->log, e);
    if (!g->file)
        goto fail;
    const struct model_params how = {.requant = p->requant};
    g->model = model_open_with(g->file, &how, &p->log, e);
    if (!g->model)
        goto fail;
    open_tok(g, &p->log);
    g->allowed = allowed_tokens(g);
    g->defaults = file_defaults(g->file);
    if (!open_exec(g, p, e))
        goto fail;
    open_sessions(g);
    if (!start_thread(g, e))
        goto fail;
    return g;
fail:
    engine_close(g);
    return NULL;
}

static void stop_thread(struct engine *g)
{
    pthread_mutex_lock(&g->lock);
    g->quit = true;
    for (uint32_t i = 0; i < g->n_sessions; i++)
        if (g->turns[i].job)
            atomic_store(&g->turns[i].job->cancel, true);
    atomic_store(&g->interrupt, true);
    for (struct job *j = g->first; j; j = j->next)
        job_end_locked(j, FINISH_CANCELLED, NULL, NULL);
    g->first = g->last = NULL;
    pthread_cond_signal(&g->queue_changed);
    pthread_mutex_unlock(&g->lock);
    pthread_join(g->thread, NULL);
}

void engine_close(struct engine *g)
{
    if (!g)
        return;
    if (g->thread_runs) {
        stop_thread(g);
        cold_close(g);
    }
    for (uint32_t i = 0; g->sessions && i < g->n_sessions; i++) {
        free(g->sessions[i].ids);
        free(g->sessions[i].snapshots);
    }
    mem_big_free(g->snapshot_bytes, g->n_snapshot_bytes);
    store_close(g->store);
    free(g->sessions);
    free(g->turns);
    free(g->infos);
    free(g->step_ids);
    free(g->logits);
    free(g->pos);
    free(g->seq);
    free(g->want);
    free(g->draws);
    free(g->allowed);
    exec_close(g->exec);
    tok_close(g->tok);
    model_close(g->model);
    gguf_close(g->file);
    pthread_cond_destroy(&g->queue_changed);
    pthread_mutex_destroy(&g->lock);
    free(g);
}

const struct gguf *engine_file(const struct engine *g)
{
    return g->file;
}

const struct model *engine_model(const struct engine *g)
{
    return g->model;
}

const struct tok *engine_tok(const struct engine *g)
{
    return g->tok;
}

uint32_t engine_n_sessions(const struct engine *g)
{
    return g->n_sessions;
}

const char *engine_backend(const struct engine *g)
{
    return g->backend;
}

uint32_t engine_n_ctx(const struct engine *g)
{
    return g->n_ctx;
}

void engine_sampling_defaults(const struct engine *g, struct sampling *out)
{
    *out = g->defaults;
}

void engine_set_sampling_defaults(struct engine *g, const struct sampling *s)
{
    g->defaults = *s;
}
