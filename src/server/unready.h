/* unready: what a server says until it has its model. Pure but for the clock; the counters may be
 * written and read by any thread. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "server/openai.h"

struct unready {
    uint64_t start_ns;            /* clock_ns() when loading began */
    _Atomic uint64_t done, total; /* bytes; total 0: nothing is known yet */
    atomic_bool over;             /* there is a model: what was written before is to be seen */
};

/* For struct progress, ctx a struct unready. */
void unready_step(void *unready, uint64_t done, uint64_t total);
/* 503, with the percentage where it is known. Returns false. */
bool unready_fail(const struct unready *u, struct openai_error *e);
/* The body of /health as llama-server has it, and how far loading is:
 * {"error":{"code":503,"message":"Loading model","type":"unavailable_error",
 * "loaded_bytes":N,"total_bytes":N}}; the last two where they are known. */
void unready_health(const struct unready *u, struct buf *out);
/* Retry-After: seconds (static text) after which it may be worth while, 1 to 30, by what elapsed_ns
 * brought. The official clients wait so long where it is under 60 s, and try two or more times. */
const char *unready_retry(uint64_t elapsed_ns, uint64_t done, uint64_t total);
