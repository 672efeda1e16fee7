/* bench: what cmd_bench.c measures and bench_report.c writes down. Names as llama-bench has them,
 * so that scripts read both. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "compute/predict.h"
#include "gguf/block.h"
#include "model/model.h"

enum { BENCH_MAX_REPS = 1000 };

/* One line of the result: read n_prompt tokens, then generate n_gen, behind n_depth others. */
struct bench_test {
    uint32_t n_prompt, n_gen, n_depth, n_threads;
};

struct bench_result {
    struct bench_test test;
    int64_t test_time; /* seconds since 1970 */
    uint64_t samples_ns[BENCH_MAX_REPS];
    uint32_t n_samples;
    double bytes_per_token; /* read per generated token, weights and cache; 0: n_prompt is not 0 */
    /* What the same token takes on a GPU, told from the plan; n_phases 0: not known, or as above.
     */
    struct predict_work work;
};

/* What stands in every line. */
struct bench_setup {
    const struct model *model;
    const char *path;
    const char *backend;
    char cpu[96];
    uint32_t n_batch, n_ubatch;
    enum block_type type_k, type_v;
};

enum bench_format { BENCH_MD, BENCH_CSV, BENCH_JSON, BENCH_JSONL };

/* Tokens per second of sample i. */
double bench_rate(const struct bench_result *r, uint32_t i);
/* "pp512", "tg128 @ d4096", "pp512+tg128" into out. */
void bench_name(const struct bench_test *t, char *out, size_t room);

/* Appends the head, one result (first: no line before it), and the end of a report. Markdown has
 * the predictions in lines of their own, between the last result and the end. */
void bench_begin(enum bench_format f, struct buf *out);
void bench_line(enum bench_format f, const struct bench_setup *s, const struct bench_result *r,
                bool first, struct buf *out);
void bench_prediction(enum bench_format f, const struct bench_result *r, struct buf *out);
void bench_end(enum bench_format f, struct buf *out);

/* Appends what x ran when (exec_events) as trace events of process `number`, named as the backend
 * is; nothing where x measures nothing. */
void bench_trace(const struct exec *x, const char *backend, uint32_t number, struct buf *out);
/* Writes them to a file, which is there as a whole or not at all. */
bool bench_trace_write(const char *path, const struct buf *events, struct err *e);
