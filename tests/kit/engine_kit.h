/* engine_kit: jobs on an engine, and what a cold start answers. Every failure ends the test. */
#pragma once
#include "engine/engine.h"

enum { KIT_REPLY_MAX = 1024 };

/* Cache types are f16. "vulkan": the software device; NULL where there is none or it is not
 * checked. */
struct engine *kit_open_engine(const char *backend, const char *path, uint32_t n_sessions,
                               uint32_t n_ctx, uint32_t n_ubatch);

/* A reply and how it came about. */
struct kit_reply {
    int32_t ids[KIT_REPLY_MAX];
    float logprobs[KIT_REPLY_MAX]; /* with want_logprobs */
    struct job_event last;         /* DONE */
    struct job_event token;        /* the last TOKEN */
    size_t n, n_prefill_events;
    struct job_usage usage;
};
/* Waits for the end of a job. */
void kit_collect(struct job *j, struct kit_reply *r);
/* Submits, collects, closes. */
struct kit_reply kit_ask(struct engine *g, const struct job_params *p);

/* What a cold start answers: greedy generation straight on a new exec, the prompt in one batch and
 * nothing re-used. */
struct kit_cold {
    const char *backend;
    const struct plan *plan;
    uint32_t n_ctx;
    uint32_t n_allowed; /* ids below it are drawn */
};
/* n_new tokens, and unless NULL their log probabilities. n + n_new <= n_ctx, KIT_REPLY_MAX. */
void kit_cold_reply(const struct kit_cold *c, const int32_t *prompt, size_t n, size_t n_new,
                    int32_t *out, float *logprobs);
