/* exec: runs a plan on a backend. An exec owns the weights in the backend's layout, the KV cache of
 * its sequences and the scratch slots. One thread at a time (the engine's).
 *
 * Memory is planned first: exec_memory says what needs how much before anything is allocated;
 * exec_open refuses with that table when it does not fit. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"
#include "model/plan.h"

/* Zero fields take the default in brackets. */
struct exec_params {
    uint32_t n_ctx;    /* tokens per sequence, required */
    uint32_t n_seqs;   /* sequences side by side [1] */
    uint32_t n_ubatch; /* rows run through the plan at once [512] */
    enum block_type type_k,
        type_v;         /* BLOCK_F16, BLOCK_Q8_0, BLOCK_Q4_0, or BLOCK_F32 (0) for exact tests */
    int n_threads;      /* [one per physical core] */
    uint64_t max_bytes; /* refuse a plan over this [what the machine has available] */
};

/* Rows of a batch: any mix of sequences; the positions of a sequence rise within the batch and
 * follow what the cache holds for it (a row may overwrite positions that are there: that is how a
 * sequence is cut back). In a plan with recurrent states a sequence goes on where its state is, or
 * from position 0: see exec_state_save. */
struct batch {
    uint32_t n;
    const int32_t *ids;      /* [n], 0 <= id < V; NULL: only for a plan without OP_EMBED */
    const uint32_t *pos;     /* [n], < n_ctx */
    const uint32_t *seq;     /* [n], < n_seqs; NULL: all 0 */
    const bool *want_logits; /* [n]; NULL: the last row only */
    const atomic_bool
        *cancel; /* NULL, or: becomes true when the work is to stop (looked at between ops) */
};

/* One line of the memory table. */
struct mem_row {
    const char *what; /* "weights", "kv cache", "scratch", ... */
    uint64_t n_bytes;
    char detail[96];
};
enum { MEM_MAX_ROWS = 16 };
struct mem_table {
    struct mem_row rows[MEM_MAX_ROWS];
    size_t n_rows;
    uint64_t total;     /* sum of the rows; UINT64_MAX when it overflows */
    uint64_t available; /* bytes the plan may take */
};
/* Adds the row "what: n_items * item_bytes" (saturating) to rows and total; detail as in printf. */
void mem_table_add(struct mem_table *t, const char *what, uint64_t n_items, uint64_t item_bytes,
                   const char *detail, ...) __attribute__((format(printf, 5, 6)));

/* A backend: exec.c dispatches to it. state is the backend's own. Parameters come with their
 * defaults filled in (but n_threads, where 0 stays 0: the backend's pool decides). */
struct exec;
struct backend {
    const char *name;
    /* Adds its rows to the table (exec.c adds the logits and the limit); false for parameters or
     * weight types it cannot do. */
    bool (*memory)(const struct plan *p, const struct exec_params *params, struct mem_table *out,
                   struct err *e);
    /* Loads the weights, with progress in bytes. */
    void *(*open)(const struct plan *p, const struct exec_params *params, const struct log *log,
                  const struct progress *progress, struct err *e);
    /* The batch is checked: 1 <= n <= n_ubatch, ids, positions and sequences are in range, seq and
     * want_logits are not NULL. logits: one row of plan.n_vocab floats per wanted row, in order. */
    bool (*run)(void *state, const struct batch *b, float *logits, struct err *e);
    /* Copies the first n_rows rows of a slot, [n_rows][slot.width], out of the backend or into it,
     * between runs. For tests and dumps. A slot that the backend never fills (fused away) is
     * ERR_UNSUPPORTED. */
    bool (*slot_get)(void *state, slot_id s, uint32_t n_rows, void *out, struct err *e);
    bool (*slot_put)(void *state, slot_id s, uint32_t n_rows, const void *in, struct err *e);
    /* The recurrent state of one sequence, state_bytes long. NULL, all three: a backend that
     * refuses plans with states. */
    uint64_t (*state_bytes)(const struct plan *p);
    void (*state_get)(void *state, uint32_t seq, void *out);
    void (*state_put)(void *state, uint32_t seq, const void *in);
    void (*close)(void *state);
};
extern const struct backend backend_ref; /* scalar float32: the truth */
extern const struct backend backend_cpu; /* SIMD, threads */
/* "ref", "cpu", ... or NULL. */
const struct backend *backend_find(const char *name);

/* The memory plan for a model without opening it (`tawny show`). Sets .available too. */
bool exec_memory(const struct backend *b, const struct plan *p, const struct exec_params *params,
                 struct mem_table *out, struct err *e);
/* Writes the table as text, one row a line: for error messages and `tawny show`. */
void mem_table_print(const struct mem_table *t, struct buf *out);

/* p is borrowed and must outlive the exec. NULL and e on failure; ERR_MEMORY when the plan does not
 * fit: then nothing was loaded and e names the total, what is available and the largest rows. */
struct exec *exec_open(const struct backend *b, const struct plan *p,
                       const struct exec_params *params, const struct log *log,
                       const struct progress *progress, struct err *e);
const struct exec_params *exec_params_of(const struct exec *x); /* with defaults filled in */
/* Runs the rows in pieces of n_ubatch. ERR_CANCELLED when b->cancel became true: the cache then
 * holds an unknown part of the rows; the caller goes on from the position it was at before (a plan
 * with states: from 0 or a saved state). */
bool exec_run(struct exec *x, const struct batch *b, struct err *e);

/* A recurrent state has no history: a sequence can be cut back to where its state was saved, or
 * begun again at position 0, not elsewhere. After a failed run it stands at 0, whatever the cache
 * holds. */
/* Bytes of a saved state; 0: the plan has none, every sequence can be cut back anywhere. */
uint64_t exec_state_bytes(const struct backend *b, const struct plan *p);
/* Copies the state of a sequence into out, exec_state_bytes long; returns the tokens it stands
 * behind. For plans with states. */
uint32_t exec_state_save(struct exec *x, uint32_t seq, void *out);
/* Sets the state of a sequence to one saved from it behind n_tokens tokens, which the sequence must
 * have held ever since: ERR_USAGE where the cache holds fewer. The next row is at n_tokens. */
bool exec_state_restore(struct exec *x, uint32_t seq, uint32_t n_tokens, const void *in,
                        struct err *e);
/* Logits of the i-th wanted row of the last run, [plan.n_vocab]; valid until the next run. */
const float *exec_logits(const struct exec *x, uint32_t i);
/* Reads or fills a slot between runs; n_rows <= n_ubatch. Slots hold what the last piece of at most
 * n_ubatch rows left in them. */
bool exec_slot_get(struct exec *x, slot_id s, uint32_t n_rows, void *out, struct err *e);
bool exec_slot_put(struct exec *x, slot_id s, uint32_t n_rows, const void *in, struct err *e);
void exec_close(struct exec *x);
