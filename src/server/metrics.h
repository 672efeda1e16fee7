/* metrics: what the server did since it started, and the requests that run. Thread-safe. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "engine/engine.h"

/* A request that runs: a member of whoever runs it, in a list until metrics_end. */
struct metrics_run {
    struct metrics_run *prev, *next;
    char id[48];
    size_t n_prompt;
    atomic_size_t n_read, n_generated; /* set by the thread that runs it */
    atomic_uint session;               /* of the engine; once it has started */
    atomic_bool started;               /* not waiting any more */
};

struct metrics;
struct metrics *metrics_open(void);
void metrics_close(struct metrics *m);

void metrics_begin(struct metrics *m, struct metrics_run *run);
/* end: how it ended, static: "stop", "length", "tool_calls", "repetition", "cancelled", "error".
 * first_ns: from the request to the first token; 0: none came. */
void metrics_end(struct metrics *m, struct metrics_run *run, const char *end,
                 const struct job_usage *u, uint64_t first_ns);

/* What others know. */
struct metrics_now {
    uint32_t n_ctx;
    struct engine_cache cache;
    size_t kept_replies, kept_responses; /* bytes */
};
/* Prometheus' text format 0.0.4: llama-server's names, which dashboards know, and tawny's own. */
void metrics_text(struct metrics *m, const struct metrics_now *now, struct buf *out);
/* An array as llama-server's /slots has it: one for every session, with the request at work in it.
 */
void metrics_slots(struct metrics *m, const struct session_info *sessions, uint32_t n_sessions,
                   uint32_t n_ctx, struct buf *out);
