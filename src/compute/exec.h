/* exec: runs a plan on a backend. An exec owns the weights in the backend's layout, the KV cache
 * and the recurrent states of its sequences, and the scratch slots. One thread at a time (the
 * engine's).
 *
 * Memory is planned first: exec_memory says what needs how much before anything is allocated;
 * exec_open refuses with that table when it does not fit. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "compute/pages.h"
#include "model/plan.h"

/* Zero fields take the default in brackets. */
struct exec_params {
    uint32_t n_ctx;    /* tokens per sequence, required */
    uint32_t n_seqs;   /* sequences side by side [1] */
    uint32_t n_ubatch; /* rows run through the plan at once [the backend's, or half of it and so on
                          where what they need is more than the device gives at once] */
    enum block_type type_k,
        type_v;    /* BLOCK_F16, BLOCK_Q8_0, BLOCK_Q4_0, or BLOCK_F32 (0) for exact tests */
    int n_threads; /* [one per physical core] */
    uint32_t page; /* positions of a page of the cache, a multiple of EXEC_ROWS_ALIGN, for vulkan of
                      64, or n_ctx at least [PAGE_POSITIONS, or n_ctx where that is less] */
    uint32_t n_pages; /* that all sequences have together, enough for one of n_ctx at least [as many
                         as all need that share nothing] */
    uint64_t max_bytes; /* refuse a plan over this [what the backend's memory has
                           left] */
    /* For backends on devices. Strings are borrowed and must outlive the exec. */
    const char *device;     /* part of a name or an index of the list [the best] */
    const char *cache_path; /* file for compiled kernels [none] */
    bool allow_software;    /* take a device that is a CPU pretending, without being asked for it */
    uint64_t not_devices; /* where none is named: bits of indices of the list that are not taken */
    bool or_next;         /* and where the best one does not open, the next one is taken */
    bool profile;         /* measure every step: slower, see exec_profile */
    bool validate;        /* have every call checked: for tests, where the checker is there */
    atomic_int *lose_in;  /* for tests: submits left until a device counts as lost, see vk.h */
    void *opened;         /* the device, open (exec_device_open) [it is opened and closed again] */
    const struct pages *pages;    /* exec_open's, for the backend */
    const unsigned char *allowed; /* [plan.n_vocab] the tokens that best ones are chosen among;
                                     borrowed as the strings are [all] */
};

/* The likeliest tokens of a row: the first ones of those allowed, larger logits first, then lower
 * ids. NaN and minus infinity are left out, plus infinity counts as FLT_MAX. */
enum { EXEC_BEST = 64, EXEC_BEST_ROWS = 64 };
struct candidate {
    float logit;
    int32_t id;
};
struct best {
    uint32_t n; /* below EXEC_BEST: there are no others */
    struct candidate at[EXEC_BEST];
    int32_t guess; /* what will be drawn of them, as batch.draws tells; -1: none */
};

/* How a token is drawn from the best ones of a row: top-k of at most EXEC_BEST, top-p, min-p,
 * temperature, as the sampler of the engine does. A backend may round otherwise, or know no other
 * than the first: what it makes of this is a guess. */
struct draw {
    float temperature; /* 0: the first */
    uint32_t top_k;
    float top_p, min_p; /* 0: off, top_p also from 1 on */
    uint64_t state;     /* of a struct rng before the draw, which takes one number */
};

/* Rows of a batch: any mix of sequences; the positions of a sequence rise within the batch and
 * begin where it can go on (exec_reach). A row may overwrite positions that are there: that is how
 * a sequence is cut back. */
struct batch {
    uint32_t n;
    const int32_t *ids;      /* [n], 0 <= id < V; NULL: only for a plan without OP_EMBED */
    const uint32_t *pos;     /* [n], < n_ctx */
    const uint32_t *seq;     /* [n], < n_seqs; NULL: all 0 */
    const bool *want_logits; /* [n]; NULL: the last row only */
    const atomic_bool
        *cancel;    /* NULL, or: becomes true when the work is to stop (looked at between ops) */
    bool want_best; /* exec_best in place of logits, where the backend finds them and the batch is
                       one piece with at most EXEC_BEST_ROWS wanted rows */
    const struct draw *draws; /* [wanted rows] with want_best; NULL: the first is drawn */
    /* With want_best: the next run is most likely the same rows again, each one position further
     * with the token that is its guess. A device may begin it at once; where it is never asked for,
     * it costs the time that it takes. */
    bool goes_on;
};

/* One line of the memory table. */
struct mem_row {
    const char *what; /* "weights", "kv cache", "scratch", ... */
    uint64_t n_bytes;
    char detail[96];
};
/* The largest allocation of a kind: what it is, the row whose detail tells what it is for, and what
 * makes it smaller. */
struct mem_piece {
    const char *what, *row, *remedy;
    uint64_t n_bytes;
    bool grows_with_rows; /* those run at once (exec_params.n_ubatch) */
};
enum { MEM_MAX_ROWS = 16, MEM_MAX_PIECES = 4 };
struct mem_table {
    struct mem_row rows[MEM_MAX_ROWS];
    size_t n_rows;
    uint64_t total;     /* sum of the rows; UINT64_MAX when it overflows */
    uint64_t available; /* bytes the plan may take */
    bool is_device;     /* of a device's own memory, not the machine's */
    uint32_t n_ubatch;  /* rows at once that it is for */
    /* What lies in one allocation, and the most bytes that the device gives at once (0: there is no
     * such limit). */
    struct mem_piece pieces[MEM_MAX_PIECES];
    size_t n_pieces;
    uint64_t most_piece;
};
/* Adds the row "what: n_items * item_bytes" (saturating) to rows and total; detail as in printf. */
void mem_table_add(struct mem_table *t, const char *what, uint64_t n_items, uint64_t item_bytes,
                   const char *detail, ...) __attribute__((format(printf, 5, 6)));

/* For backends whose memory comes in pieces. */
void mem_table_add_piece(struct mem_table *t, const struct mem_piece *piece);

/* Adds the row "kv cache", n_bytes, with what of it is kept of a sequence. For backends. */
void mem_table_add_kv(struct mem_table *t, const struct plan *p, const struct exec_params *params,
                      uint64_t n_bytes);

/* A saved state on its way out of a backend (to) or into it (from); the other is NULL. */
struct state_copy {
    uint8_t *to;
    const uint8_t *from;
};
/* The next n bytes of the saved state are what is at `here`. */
static inline void state_copy_bytes(struct state_copy *c, void *here, size_t n)
{
    if (c->to) {
        memcpy(c->to, here, n);
        c->to += n;
    } else {
        memcpy(here, c->from, n);
        c->from += n;
    }
}

/* A backend: exec.c dispatches to it. state is the backend's own. Parameters come with their
 * defaults filled in (but n_threads, where 0 stays 0: the backend's pool decides). */
struct exec;
struct backend {
    const char *name;
    uint32_t n_ubatch; /* rows at once where the parameters do not say */
    /* The device that params name, for params.opened, and its end. NULL, both: there is none.
     * memory borrows it, open takes it over, also where it fails: what it returns closes it. */
    void *(*device_open)(const struct exec_params *params, const struct log *log, struct err *e);
    void (*device_close)(void *device);
    /* Adds its rows to the table (exec.c adds the logits), and says what is available where that is
     * not the machine's memory, and what pieces there may be; false for parameters or weight types
     * it cannot do. */
    bool (*memory)(const struct plan *p, const struct exec_params *params, struct mem_table *out,
                   struct err *e);
    /* Loads the weights, with progress in bytes. */
    void *(*open)(const struct plan *p, const struct exec_params *params, const struct log *log,
                  const struct progress *progress, struct err *e);
    /* The batch is checked: 1 <= n <= n_ubatch, ids, positions and sequences are in range, seq and
     * want_logits are not NULL. logits: one row of plan.n_vocab floats per wanted row, in order. */
    bool (*run)(void *state, const struct batch *b, float *logits, struct err *e);
    /* The same for at most EXEC_BEST_ROWS wanted rows with a list of tokens in place of each row's
     * logits, and behind it the logits of the i-th after all. goes_on is set only where all rows
     * are wanted, of different sequences, and have room for one more token; what of a sequence
     * stands at that position is lost then, and of a ring what that overwrites. Recurrent states
     * stand behind the rows of the batch until the next one is asked for. NULL, both, and for
     * vocabularies larger than this number: logits are read. */
    uint32_t most_vocab;
    bool (*run_best)(void *state, const struct batch *b, struct best *best, struct err *e);
    bool (*row)(void *state, uint32_t i, float *logits, struct err *e);
    /* Copies the first n_rows rows of a slot, [n_rows][slot.width], out of the backend or into it,
     * between runs. For tests and dumps. A slot that the backend never fills (fused away) is
     * ERR_UNSUPPORTED. */
    bool (*slot_get)(void *state, slot_id s, uint32_t n_rows, void *out, struct err *e);
    bool (*slot_put)(void *state, slot_id s, uint32_t n_rows, const void *in, struct err *e);
    /* A saved state: what a row behind n_tokens tokens of a sequence needs beside the layers that
     * keep all of it, which is the recurrent states and of every ring the positions that the row
     * sees (exec_kv_saved). state_bytes long, in the backend's own layout. NULL, both: a backend
     * that refuses plans with states and keeps all positions of every layer. False and e where a
     * device fails. */
    uint64_t (*state_bytes)(const struct plan *p, const struct exec_params *params);
    bool (*state_copy)(void *state, uint32_t seq, uint32_t n_tokens, struct state_copy *copy,
                       struct err *e);
    /* Copies the first positions of a page to another one, in the layers that keep all positions
     * (no rings), behind what was run and before what will be. False and e where a device fails. */
    bool (*page_copy)(void *state, const struct page_copy *copy, struct err *e);
    /* What these layers hold of positions [first, end) of a sequence, first a multiple of
     * EXEC_ROWS_ALIGN: rows_bytes(end - first) long, in the backend's own layout. */
    uint64_t (*rows_bytes)(const struct plan *p, const struct exec_params *params, uint32_t n);
    bool (*rows_copy)(void *state, uint32_t seq, uint32_t first, uint32_t end,
                      struct state_copy *copy, struct err *e);
    /* Tables of where the time went, as text, and the single steps, *n of them, until the next run.
     * NULL, both: the backend measures nothing. */
    void (*profile)(void *state, struct buf *out);
    const struct exec_event *(*events)(void *state, size_t *n);
    void (*close)(void *state);
};
/* For backends, with complete parameters. A KV layer has pages of rows: position p is in row p
 * modulo a page's rows. A layer that keeps all positions has those of params.pages. A layer with a
 * window is a ring, one page for each sequence, of this many rows or more: enough for the window of
 * the first row of a batch and the batch. */
uint32_t exec_kv_rows(const struct kv_layer *kv, const struct exec_params *params);
/* Whether it is a ring: shorter than the context. */
bool exec_kv_is_ring(const struct kv_layer *kv, const struct exec_params *params);
uint64_t exec_kv_pages(const struct kv_layer *kv, const struct exec_params *params);
/* What knows the layer's pages; NULL: a ring, page i is sequence i's. */
const struct pages *exec_kv_table(const struct kv_layer *kv, const struct exec_params *params);
/* The page of a sequence's position. */
static inline uint32_t exec_kv_page(const struct pages *table, uint32_t seq, uint32_t pos)
{
    return table ? page_at(table, seq, pos / table->size) : seq;
}
/* Positions of a page, and pages that all sequences need which share nothing: what params, with
 * n_ctx and n_seqs, come to with their defaults. */
uint32_t exec_page(const struct exec_params *params);
uint64_t exec_all_pages(const struct exec_params *params);
/* Of a ring, the most positions that a saved state has: those before the row to come that it sees.
 * 0 also where the layer keeps all. */
uint32_t exec_kv_saved(const struct kv_layer *kv, const struct exec_params *params);
/* The first position that a row at `pos` sees. */
static inline uint32_t exec_window_first(uint32_t window, uint32_t pos)
{
    return window && pos >= window ? pos - window + 1 : 0;
}
extern const struct backend backend_ref;    /* scalar float32: the truth */
extern const struct backend backend_cpu;    /* SIMD, threads */
extern const struct backend backend_vulkan; /* GPUs */
/* "ref", "cpu", ... or NULL. */
const struct backend *backend_find(const char *name);
/* The same for what a user asked for, one of both at least: name NULL is "vulkan", which has
 * device. NULL and ERR_USAGE for other names, and for a device where the backend has none to
 * choose. */
const struct backend *backend_choose(const char *name, const char *device, struct err *e);

/* Opens the device that params name, once for several questions: params->opened, which exec_memory
 * borrows and exec_open takes over, also where it fails. Nothing where the backend has no devices.
 */
bool exec_device_open(const struct backend *b, struct exec_params *params, const struct log *log,
                      struct err *e);
/* Closes one that exec_open did not take. */
void exec_device_close(const struct backend *b, struct exec_params *params);

/* The memory plan for a model without opening it (`tawny show`). Sets .available too. */
bool exec_memory(const struct backend *b, const struct plan *p, const struct exec_params *params,
                 struct mem_table *out, struct err *e);
/* The piece that is larger than the device gives at once; NULL: none is. */
const struct mem_piece *mem_table_large_piece(const struct mem_table *t);
/* All of it, and each piece. */
bool mem_table_fits(const struct mem_table *t);
/* ERR_MEMORY where it does not fit: the total, what is available and the largest rows, or the piece
 * that is too large. */
bool mem_table_check(const struct mem_table *t, struct err *e);
/* Writes the table as text, one row a line: for error messages and `tawny show`. */
void mem_table_print(const struct mem_table *t, struct buf *out);

/* p is borrowed and must outlive the exec. NULL and e on failure; ERR_MEMORY when the plan does not
 * fit: then nothing was loaded and e is that of mem_table_check. */
struct exec *exec_open(const struct backend *b, const struct plan *p,
                       const struct exec_params *params, const struct log *log,
                       const struct progress *progress, struct err *e);
const struct exec_params *exec_params_of(const struct exec *x); /* with defaults filled in */
/* Behind ERR_DEVICE, which stays until the device is opened again: closes it. All sequences are
 * empty; calls that need a device say that there is none (ERR_DEVICE). */
void exec_lose(struct exec *x);
bool exec_is_open(const struct exec *x);
/* exec_lose, then opens it, or where none was named the best one that opens, anew and loads the
 * weights again. False: there is no device; this may be repeated. */
bool exec_reopen(struct exec *x, const struct log *log, const struct progress *progress,
                 struct err *e);
/* Runs the rows in pieces of n_ubatch. ERR_USAGE where a sequence cannot go on at its first row,
 * ERR_LIMIT where pages run out (exec_pages_needed).
 * After a failure (ERR_CANCELLED when b->cancel became true) every sequence of the batch is cut
 * back to its first row of it, and exec_reach says from where it can go on. */
bool exec_run(struct exec *x, const struct batch *b, struct err *e);

/* Where a sequence can go on: at any position from first to last; always at 0, which begins it
 * again; and where a saved state of it stands.
 *   every layer keeps all tokens    0 to the tokens held
 *   layers with a window            the last n_ubatch tokens held, one fewer behind a run with
 *                                   goes_on: the ring still has the window before each of them (a
 *                                   plan whose rings are as long as the context: as above)
 *   recurrent layers                where the state stands; it has no history. 0 to 0 after a
 * failed run A plan with both kinds goes on where both can. */
struct exec_reach {
    uint32_t first, last;
};
struct exec_reach exec_reach(const struct exec *x, uint32_t seq);
static inline bool exec_within(struct exec_reach at, uint32_t n)
{
    return n == 0 || (at.first <= n && n <= at.last);
}
/* Bytes of a saved state; 0: every sequence can be cut back anywhere. params as for exec_open. */
uint64_t exec_state_bytes(const struct backend *b, const struct plan *p,
                          const struct exec_params *params);
/* Copies into out, exec_state_bytes long, what the sequence needs to go on behind its first
 * n_tokens tokens, which is within its reach. ERR_DEVICE: out is worth nothing. */
bool exec_state_save(struct exec *x, uint32_t seq, uint32_t n_tokens, void *out, struct err *e);
/* Cuts a sequence back to n_tokens tokens and to the state saved from it behind them. It must have
 * held them ever since: ERR_USAGE where it holds fewer. ERR_DEVICE: the sequence is empty. */
bool exec_state_restore(struct exec *x, uint32_t seq, uint32_t n_tokens, const void *in,
                        struct err *e);
/* Makes sequence `to` hold the first n tokens of `from` as if it had read them; what it held is
 * lost. Nothing is copied: both hold the pages until one writes into one of them. Only layers that
 * keep all tokens are meant: where there are rings or recurrent states, `to` goes on from a state
 * that was saved from `from` (exec_state_restore), or at 0. ERR_USAGE where `from` holds fewer.
 * ERR_DEVICE: `to` is empty. */
bool exec_seq_copy(struct exec *x, uint32_t from, uint32_t to, uint32_t n, struct err *e);
/* A sequence keeps its first n tokens at most, and pages behind them are free. It goes on as before
 * where it still can. */
void exec_seq_cut(struct exec *x, uint32_t seq, uint32_t n);
/* Pages of the cache that sequences hold, one that several hold counted once, and all of them. */
struct exec_pages {
    uint32_t n_used, n_all;
};
struct exec_pages exec_pages(const struct exec *x);
/* Those of the sequences in which[n_seqs], counted likewise. */
uint32_t exec_pages_held(const struct exec *x, const bool *which);
/* Whether a sequence holds any. */
bool exec_pages_any(const struct exec *x, uint32_t seq);
/* Those that a sequence alone holds. */
uint32_t exec_pages_own(const struct exec *x, uint32_t seq);
/* Free ones that n tokens behind the first ones of a sequence take: a run of them, or their
 * exec_rows_load. Sequences of one run that hold a page together take no more than the sum. */
uint32_t exec_pages_needed(const struct exec *x, uint32_t seq, uint32_t first, uint32_t n);
/* Whether all sequences can be full and share nothing: no run lacks pages then. */
bool exec_pages_suffice(const struct exec *x);
/* Out of the backend and back into it: what layers that keep all tokens hold of tokens [first,
 * first + n) of a sequence; first is a multiple of EXEC_ROWS_ALIGN. Beside a saved state this is
 * all that there is of a sequence. */
enum { EXEC_ROWS_ALIGN = 16 };
/* Bytes for n tokens. params as for exec_open. */
uint64_t exec_rows_bytes(const struct backend *b, const struct plan *p,
                         const struct exec_params *params, uint32_t n);
uint64_t exec_rows_size(const struct exec *x, uint32_t n); /* of an open one */
/* The sequence holds them. ERR_DEVICE: out is worth nothing. */
bool exec_rows_save(struct exec *x, uint32_t seq, uint32_t first, uint32_t n, void *out,
                    struct err *e);
/* Makes a sequence that holds at least `first` tokens hold first + n as if it had read them; it
 * goes on from there as after exec_seq_copy. ERR_DEVICE, ERR_LIMIT where pages run out: the
 * sequence is empty. */
bool exec_rows_load(struct exec *x, uint32_t seq, uint32_t first, uint32_t n, const void *in,
                    struct err *e);
/* Logits of the i-th wanted row of the last run, [plan.n_vocab]; valid until the next run. NULL
 * where it found the best tokens instead (batch.want_best). */
const float *exec_logits(const struct exec *x, uint32_t i);
/* These, as long; NULL where it has logits. */
const struct best *exec_best(const struct exec *x, uint32_t i);
/* false and ERR_FORMAT: says that the logits behind n tokens are NaN. Any thread. */
bool exec_refuse_nan(const struct exec *x, uint32_t n, struct err *e);
/* Logits in any case: fetched where the run left them behind. ERR_DEVICE. */
const float *exec_row(struct exec *x, uint32_t i, struct err *e);
/* Reads or fills a slot between runs; n_rows <= n_ubatch. Slots hold what the last piece of at most
 * n_ubatch rows left in them. */
bool exec_slot_get(struct exec *x, slot_id s, uint32_t n_rows, void *out, struct err *e);
bool exec_slot_put(struct exec *x, slot_id s, uint32_t n_rows, const void *in, struct err *e);
/* A step of a run, or the run around them: what is then NULL. */
struct exec_event {
    const char *what;
    uint32_t layer, n_rows; /* of the step; of the run */
    double begin_us, us;    /* by the device's clock, which begins anywhere; duration */
};
/* What ran when, in order, each run before its steps: *n events, of the first EXEC_EVENTS or a few
 * more; valid until the next run. None where exec_profile has nothing. */
enum { EXEC_EVENTS = 1 << 18 };
const struct exec_event *exec_events(const struct exec *x, size_t *n);
/* Appends tables of where the time of all runs went, as text, where params.profile was set and the
 * backend can tell. */
void exec_profile(const struct exec *x, struct buf *out);
void exec_close(struct exec *x);
