/* quality: what other types do to a model's predictions, measured on text. */
#pragma once
#include "base/err.h"
#include "base/log.h"
#include "compute/exec.h"
#include "model/model.h"

/* Tokens that are read from nothing each time: the context of a prediction is shorter than this. */
enum { QUALITY_CHUNK = 512 };

/* Of model b against model a, over all positions of the text. */
struct quality {
    const char *backend;    /* that ran both */
    size_t n_tokens;        /* that were read */
    size_t n_predicted;     /* of them with a next token, which perplexity is about */
    double perplexity[2];   /* of a and b; NaN: nothing was predicted */
    double mean_kl, max_kl; /* of the distribution of b from that of a, in nats */
    double top1;            /* share of positions with the same likeliest token */
};

struct quality_params {
    const struct backend *backend;
    const char *device, *cache_path; /* as in exec_params */
    int n_threads;                   /* as in exec_params */
    enum block_type type_k, type_v;
    const struct log *log;
    const struct progress *loading; /* of each model, in bytes */
    const struct progress *running; /* in tokens */
};

/* Adds a position to q: the logits of both models and the token that follows, -1 for none. Sums
 * stand in the fields until quality_finish. */
void quality_add(struct quality *q, const float *logits_a, const float *logits_b, size_t n_vocab,
                 int32_t next);
void quality_finish(struct quality *q);
/* Loads both models side by side, which must fit into memory, and runs the ids through them, chunk
 * after chunk. Both have the same vocabulary. */
bool quality_measure(const struct model *a, const struct model *b, const int32_t *ids, size_t n,
                     const struct quality_params *p, struct quality *out, struct err *e);
