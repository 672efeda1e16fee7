/* engine: a loaded model with its sessions. One thread owns the model; other threads hand it jobs
 * and wait for their events. A session is one mutable sequence with a KV cache: a job's prompt is
 * synchronised with the session that shares the longest prefix, and only the rest is read. Jobs in
 * several sessions run side by side, their replies in one batch a token.
 * Recurrent states and layers with a window cannot be cut back (far): copies of them are kept where
 * turns begin and prompts part. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"
#include "compute/exec.h"
#include "engine/sampler.h"
#include "model/model.h"
#include "text/constraint.h"
#include "text/tok.h"

/* Zero fields take the default in brackets. */
struct engine_params {
    const char *path;                /* GGUF file */
    const char *backend;             /* [engine_place's, and cpu where that one fails] */
    const char *device, *cache_path; /* as in exec_params; until engine_close */
    void *opened;   /* for engine_memory alone, with its backend: the device, open; borrowed */
    uint32_t n_ctx; /* tokens that a session may hold [the model's context, cut to what fits into
                       memory, at most 65536] */
    uint32_t
        n_sessions;    /* jobs at work side by side [4; fewer, down to 2, where memory is short] */
    uint32_t n_ubatch; /* [the backend's] */
    enum block_type type_k, type_v; /* [BLOCK_F16]; BLOCK_F32 (0) cannot be asked for here */
    /* Of the machine's memory, for conversations that lost their session [half of what is left, 8
     * GiB at most]; below 0: none. */
    int64_t cache_bytes;
    /* For what that has no room for, also behind a restart: a folder, for all models [none], and
     * the bytes of all together [an eighth of what is free, 16 GiB at most]; below 0: none. */
    const char *disk_path;
    int64_t disk_bytes;
    uint64_t disk_least_free; /* of the file system, left to others [1 GiB] */
    int n_threads;
    bool allow_software;     /* for tests, as in exec_params */
    atomic_int *lose_in;     /* the same */
    uint32_t revive_wait_ms; /* [REVIVE_WAIT_MS] */
    uint32_t page, n_pages;  /* the same */
    struct requant requant;  /* weights get other types while they are loaded [none] */
    struct log log;
    struct progress progress; /* loading, in bytes */
};

/* The backend that engine_open would take for m, and the device open in device->opened, which the
 * caller closes (exec_device_close). Where p names none, place_choose finds one, and takes a GPU
 * only where 8192 tokens (or p->n_ctx, or all that m was trained for) fit one and a half times, for
 * two sessions (or p->n_sessions). NULL and e. */
const struct backend *engine_place(const struct model *m, const struct engine_params *p,
                                   struct exec_params *device, struct err *e);
/* The memory that engine_open would plan for p and a model that is already read: nothing is loaded.
 * p->n_ctx and p->n_sessions become what the defaults came to; mem_table_fits says whether it
 * fits. */
bool engine_memory(const struct model *m, struct engine_params *p, struct mem_table *out,
                   struct err *e);

struct engine;
/* Loads the model and starts the engine's thread. */
struct engine *engine_open(const struct engine_params *p, struct err *e);
/* Cancels what runs, ends the thread, frees all. Jobs must have been closed. */
void engine_close(struct engine *g);

/* Immutable facts; valid while the engine is open. Thread-safe. */
const struct gguf *engine_file(const struct engine *g);
const struct model *engine_model(const struct engine *g);
const struct tok *engine_tok(const struct engine *g); /* NULL: the file has no tokenizer */
uint32_t engine_n_ctx(const struct engine *g);
const char *engine_backend(const struct engine *g); /* "cpu", "vulkan", ...: never freed */
uint32_t engine_n_sessions(const struct engine *g);
/* What a session holds, as of the last step of a reply or piece of a prompt. */
struct session_info {
    uint32_t n_tokens;
    bool busy;           /* a job is at work in it */
    uint64_t hint;       /* job_params.hint of its last job */
    uint64_t jobs_since; /* that began since then, in all sessions */
};
/* What is kept of conversations, with and without a session. */
struct engine_cache {
    uint64_t host_bytes, disk_bytes; /* in memory; in files */
    uint64_t disk_tokens;            /* that came back from files, so far */
    struct exec_pages pages;         /* of what is in sessions */
    /* So far: sessions without a job that gave their pages up, and jobs that waited for some. */
    uint64_t n_emptied, n_parked;
};
/* Into out[engine_n_sessions] and *cache. Any thread. */
void engine_sessions(struct engine *g, struct session_info *out, struct engine_cache *cache);
/* Sampling defaults of the file (general.sampling.*), else temperature 0.7, top_p 0.8, top_k 20. */
void engine_sampling_defaults(const struct engine *g, struct sampling *out);
/* Other defaults (the operator's), from now on. Only while no other thread uses the engine. */
void engine_set_sampling_defaults(struct engine *g, const struct sampling *s);

/* A request to generate. Everything is copied. */
struct job_params {
    const int32_t *prompt; /* n_prompt ids, at least one, fewer than n_ctx */
    size_t n_prompt;
    uint32_t max_tokens; /* 0: to the end of the context */
    struct sampling sampling;
    uint32_t n_top_logprobs; /* per token, at most 20; with want_logprobs */
    bool want_logprobs;
    bool ignore_stop; /* go on in loops and, without a constraint, after stop tokens (benchmarks) */
    /* What the reply has to follow [NULL: nothing]; the job holds a reference. */
    struct constraint *constraint;
    /* Whose it is, as far as the client says: requests of one conversation have the same number. It
     * changes no reply, only what is kept [0: not said]. */
    uint64_t hint;
};

enum finish {
    FINISH_STOP,
    FINISH_LENGTH,
    FINISH_LOOP, /* the model said the same over and over (loop.h) */
    FINISH_CANCELLED,
    FINISH_ERROR
};

struct token_logprob {
    int32_t id;
    float logprob; /* natural logarithm, of the distribution before any sampler but temperature 1 */
};

enum job_event_kind {
    JOB_TIMEOUT, /* nothing happened within the time given */
    JOB_PREFILL, /* n_done of n_total prompt tokens are in the cache */
    JOB_TOKEN,   /* one more token of the reply; a stop token that ends it is not sent */
    JOB_DONE,    /* the last event */
};
struct job_event {
    enum job_event_kind kind;
    size_t n_done, n_total;       /* PREFILL */
    struct token_logprob token;   /* TOKEN */
    struct token_logprob top[20]; /* TOKEN, n_top of them */
    uint32_t n_top;
    enum finish finish; /* DONE */
    struct err error;   /* DONE with FINISH_ERROR */
};

struct job_usage {
    size_t n_prompt;    /* tokens of the prompt */
    size_t n_cached;    /* of those, found in the session's cache */
    size_t n_generated; /* the stop token included */
    uint32_t session;   /* that it is or was in; worth nothing before the first event */
    uint64_t queue_ns, prefill_ns, decode_ns;
};

struct job;
/* Queues the request; jobs begin in the order they came, but one that only the longest conversation
 * could make room for waits (session_choose). They run side by side, one in a session.
 * NULL and e (ERR_LIMIT: prompt too long; ERR_USAGE: ids or parameters out of range). Any thread.
 */
struct job *engine_submit(struct engine *g, const struct job_params *p, struct err *e);
/* Waits at most timeout_ms for the next event. After DONE it answers DONE again. One waiting thread
 * per job. */
void job_next(struct job *j, int timeout_ms, struct job_event *out);
/* Asks the job to stop; it ends with FINISH_CANCELLED within 300 ms, also during prefill. What was
 * read so far stays in the session; with recurrent states, as far as the newest copy goes. Any
 * thread, any time. */
void job_cancel(struct job *j);
struct job_usage job_usage(struct job *j);
/* Cancels if still running, and frees. */
void job_close(struct job *j);
