/* inside: what the files of the engine share. Not for other rooms.
 *
 * Locks: `lock` guards the queue and everything in a job below its line; the engine's thread holds
 * it only to pass events on, never while the model runs. What stands above the line is set before
 * the job is queued and constant after. */
#pragma once
#include <pthread.h>
#include <stdatomic.h>

#include "engine/engine.h"
#include "engine/loop.h"
#include "engine/pace.h"
#include "engine/session.h"
#include "engine/store.h"

struct turn;

enum { TOP_MAX = 20 };

enum job_state { JOB_QUEUED, JOB_RUNNING, JOB_ENDED };

struct job {
    struct engine *engine;
    struct job_params params; /* pointers into the copies below */
    int32_t *prompt;
    struct logit_bias *bias;
    uint64_t submit_ns;
    atomic_bool cancel;
    /* ---- under engine.lock ---- */
    struct job *next; /* in the queue */
    enum job_state state;
    pthread_cond_t changed;
    bool prefill_news;
    size_t n_done;                /* prompt tokens in the cache */
    struct token_logprob *tokens; /* [n_tokens], of which n_read were handed out */
    struct token_logprob *tops;   /* [n_tokens][n_top_logprobs], with want_logprobs */
    uint32_t *n_tops;             /* [n_tokens] */
    size_t n_tokens, n_read, room;
    enum finish finish;
    struct err error;
    struct job_usage usage;
};

/* What is being moved: first what a session holds out of it and into the store, then what there is
 * of a turn's text into the turn's (cold.h). */
struct mover {
    bool is_on;
    struct turn *turn; /* NULL: a session without one gives its pages up */
    bool is_out;
    uint32_t seq;     /* out: the session */
    bool empties;     /* out: it gives its pages up then */
    bool parks;       /* out: and so the turn waits (ration.h) */
    uint32_t at, end; /* out: tokens of the session that are stored, of those to be; back: end
                         alone, of the text; 0: nothing is left */
    struct use use;   /* out: the conversation's */
    uint64_t patient_until_ns;
};

/* Of the device (revive.c). */
struct losses {
    uint64_t n_rows;   /* run since it was opened */
    uint32_t in_a_row; /* each within REVIVE_TOKENS rows */
    bool is_counted;   /* the last one, and it is not opened again yet */
    uint64_t open_at_ns, wait_ms;
};

struct engine {
    struct log log;
    struct gguf *file;
    struct model *model;
    struct tok *tok;
    struct exec *exec;
    const char *backend;
    uint32_t n_ctx, n_sessions, n_ubatch;
    struct sampling defaults;
    unsigned char *allowed; /* [n_vocab] tokens that may be drawn */
    pthread_t thread;
    bool thread_runs;
    pthread_mutex_t lock;
    /* ---- under lock ---- */
    pthread_cond_t queue_changed;
    struct job *first, *last; /* queue */
    bool quit;
    struct session_info *infos; /* [n_sessions] copies for other threads */
    struct engine_cache cache;
    /* ---- any thread ---- */
    atomic_bool interrupt; /* a job at work was cancelled */
    /* ---- engine thread only ---- */
    struct session *sessions;
    struct turn *turns; /* [n_sessions] who is at work in them; turn.job is written under lock */
    uint8_t *snapshot_bytes;                /* of all sessions */
    size_t n_snapshot_bytes, n_state_bytes; /* of all together, of one */
    struct store *store;                    /* NULL: what loses its session is lost */
    struct mover mover;
    uint64_t n_disk_tokens;       /* that came back from files */
    uint64_t n_emptied, n_parked; /* as in struct engine_cache */
    uint64_t n_jobs;
    struct pace pace;     /* of prompts */
    uint64_t ns_per_step; /* of the last step of replies; 0: not measured yet */
    struct losses losses;
    float *logits;     /* [n_vocab] the sampler's copy */
    bool oldest_next;  /* whose prompt was read last: the oldest, or the shortest */
    int32_t *step_ids; /* [n_sessions] */
    /* of a batch, [n_ubatch or n_sessions, what is more] */
    uint32_t *pos, *seq;
    bool *want;
    bool want_best, goes_on; /* as in struct batch */
    struct draw *draws;      /* [n_sessions] */
};

/* The thread: runs jobs until quit. */
void *engine_thread(void *engine);

/* News from the engine's thread to whoever waits on the job. */
void job_post_prefill(struct job *j, const struct job_usage *usage, size_t n_done);
void job_post_token(struct job *j, const struct token_logprob *token,
                    const struct token_logprob *top, uint32_t n_top);
/* The last touch: the job may be freed as soon as this is called, and the turn is free. */
void job_post_end(struct turn *t, enum finish finish, const struct err *error);
/* The same with the lock held, for a job of the queue. */
void job_end_locked(struct job *j, enum finish finish, const struct err *error,
                    const struct job_usage *usage);
/* Tells other threads what the sessions hold, with the lock held. */
void job_show_sessions(struct engine *g);
/* Takes a job out of the queue, to run it, with the lock held. */
void job_take(struct engine *g, struct job *j);
