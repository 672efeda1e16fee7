/* fit: settles how much context an engine gets before anything is allocated. */
#pragma once
#include "engine/engine.h"

struct fit {
    const struct backend *backend;
    const struct plan *plan;
    struct exec_params params; /* complete: n_ctx, n_pages and n_ubatch are settled */
    uint32_t n_pages;          /* asked for; 0: none */
    uint32_t n_ubatch;         /* the same */
    struct mem_table table;    /* what they need */
    /* Saved states per session and the size of each; 0 where sequences can be cut back anywhere. */
    uint32_t n_snapshots;
    uint64_t snapshot_bytes;
    uint64_t cache_bytes;   /* for conversations without a session, beside the table */
    uint32_t n_train;       /* the model's own context */
    uint32_t asked, wanted; /* tokens asked for (0: none), and what the default would be */
    bool fits;
    bool is_piece;    /* n_ctx is less than wanted for what lies in one piece (mem_table.pieces) */
    bool opened_here; /* params.opened, which is then to be closed or handed to exec_open */
};

/* Fills f from what was asked for, on the backend that engine_place finds. Where sessions with a
 * whole context each do not fit, they share fewer pages, down to those of one and a half; only then
 * there are fewer sessions, or less context, where these were not asked for. Without n_ctx: the
 * model's context as far as memory goes; when not even the smallest step fits, that much, with fits
 * false. The device is opened once, for all questions and for exec_open. */
bool fit_open(struct fit *f, const struct model *m, const struct engine_params *p, struct err *e);
/* The same on this backend. */
bool fit_with(struct fit *f, const struct backend *b, const struct model *m,
              const struct engine_params *p, struct err *e);
/* Closes the device again, where exec_open did not take it over. */
void fit_close(struct fit *f);
/* Tells the operator of a context that was cut or is too large, and the table when it does not fit.
 */
void fit_log(const struct fit *f, const struct log *log);
