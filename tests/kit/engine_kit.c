#include "kit/engine_kit.h"

#include "base/mem.h"
#include "engine/logprob.h"
#include "kit/models.h"
#include "test.h"

struct engine *kit_open_engine(const char *backend, const char *path, uint32_t n_sessions,
                               uint32_t n_ctx, uint32_t n_ubatch)
{
    struct err e;
    struct engine_params p = {.path = path,
                              .backend = backend,
                              .device = strcmp(backend, "vulkan") ? NULL : "llvmpipe",
                              .n_ctx = n_ctx,
                              .n_sessions = n_sessions,
                              .n_ubatch = n_ubatch};
    if (!kit_checks(backend))
        return NULL;
    struct engine *g = engine_open(&p, &e);
    if (!g && p.device && e.code == ERR_UNSUPPORTED) {
        printf("    %s\n", e.msg);
        return NULL;
    }
    CHECK_OK(g);
    return g;
}

void kit_collect(struct job *j, struct kit_reply *r)
{
    struct job_event ev;
    r->n = r->n_prefill_events = 0;
    for (;;) {
        job_next(j, 60000, &ev);
        CHECK(ev.kind != JOB_TIMEOUT);
        if (ev.kind == JOB_DONE)
            break;
        if (ev.kind == JOB_PREFILL) {
            CHECK(r->n == 0 && ev.n_done <= ev.n_total);
            r->n_prefill_events++;
        } else {
            CHECK(r->n < KIT_REPLY_MAX);
            r->ids[r->n] = ev.token.id;
            r->logprobs[r->n++] = ev.token.logprob;
            r->token = ev;
        }
    }
    r->last = ev;
    r->usage = job_usage(j);
    job_next(j, 0, &ev);
    CHECK_INT(ev.kind, JOB_DONE);
}

struct kit_reply kit_ask(struct engine *g, const struct job_params *p)
{
    struct err e;
    struct kit_reply r;
    struct job *j = engine_submit(g, p, &e);
    CHECK_OK(j);
    kit_collect(j, &r);
    job_close(j);
    return r;
}

static int32_t greedy(const float *logits, uint32_t n)
{
    int32_t best = 0;
    for (uint32_t i = 1; i < n; i++)
        best = logits[i] > logits[best] ? (int32_t)i : best;
    return best;
}

void kit_cold_reply(const struct kit_cold *c, const int32_t *prompt, size_t n, size_t n_new,
                    int32_t *out, float *logprobs)
{
    const uint32_t n_vocab = c->plan->n_vocab;
    int32_t ids[KIT_REPLY_MAX];
    float *logits = mem_new((n + 1) * n_vocab, sizeof *logits);
    struct exec_params params = {.n_ctx = c->n_ctx, .type_k = BLOCK_F16, .type_v = BLOCK_F16};
    struct exec *x = kit_open_exec(c->backend, c->plan, &params);
    memcpy(ids, prompt, n * sizeof *ids);
    uint32_t from = 0;
    for (size_t i = 0; i < n_new; i++) {
        const uint32_t to = (uint32_t)(n + i);
        kit_run(x, ids, from, to, 0, n_vocab, logits);
        const float *row = logits + (size_t)(to - from - 1) * n_vocab;
        struct token_logprob token, none;
        ids[to] = out[i] = greedy(row, c->n_allowed);
        logprob_top(row, n_vocab, out[i], 0, &token, &none);
        if (logprobs)
            logprobs[i] = token.logprob;
        from = to;
    }
    exec_close(x);
    free(logits);
}
