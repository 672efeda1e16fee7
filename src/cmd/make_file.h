/* make_file: what the commands that write a model file share: the options -t and --force, the bar,
 * Ctrl-C, and the line at the end. */
#pragma once
#include <stdatomic.h>

#include "base/err.h"
#include "base/log.h"
#include "cmd/opts.h"

struct make_opts {
    uint32_t n_threads; /* 0: one per core */
    bool force;
};
extern const struct opt make_table[2]; /* into a struct make_opts */

/* Writes the file; see gguf_fill for progress and stop. */
typedef bool make_fn(void *ctx, const struct progress *progress, const atomic_bool *stop,
                     struct err *e);

/* Refuses a path where something stands already, unless forced. */
bool make_allowed(const struct make_opts *o, const char *path, struct err *e);
/* Runs write(ctx, ...) with a bar. After Ctrl-C it fails with ERR_CANCELLED, and nothing half done
 * stays behind. Prints what was written, and how fast. */
bool make_run(const char *label, const char *path, make_fn *write, void *ctx, struct err *e);
/* The type called `name`; false and e, which lists what there is, when there is none. */
bool make_type(const char *name, enum block_type *out, struct err *e);
