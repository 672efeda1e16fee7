/* jinja: the chat templates that models bring, as transformers runs them: Jinja with trim_blocks,
 * lstrip_blocks, loop controls and the generation tag, in a sandbox without files, environment and
 * changes to the caller's values (shared spec "chat", section 7). Templates come from model files,
 * so both they and the variables may be hostile: everything is limited. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"

enum {
    JINJA_MAX_SOURCE = 1 << 20, /* bytes */
    JINJA_MAX_DEPTH = 200,      /* nesting of the syntax tree, and of values that are printed */
    JINJA_MAX_CALLS = 100,      /* macros and recursive loops inside each other */
    JINJA_MAX_RANGE = 1000000,
};

struct jinja;

/* Reads a template once. Immutable after that: any number of threads may render with it. The
 * program keeps its own copy of the source. NULL and e on failure, with line and construct. */
struct jinja *jinja_parse(str source, struct err *e);
void jinja_close(struct jinja *t);

/* The zero value is the default. */
struct jinja_params {
    int64_t now_unix; /* what strftime_now shows, in local time */
    /* The mark of strings in the variables, which every byte of theirs carries into the output; 0:
     * they count as the template's own. Asked for each variable (i is SIZE_MAX, member empty) and
     * each member of the i-th object in a variable that is a list; what is deeper has the mark of
     * that. NULL: 1 for all. */
    uint8_t (*mark)(void *ctx, str variable, size_t i, str member);
    void *mark_ctx;
    uint64_t max_steps; /* 0: 10^7 */
    size_t max_output;  /* bytes; 0: 64 MiB */
    size_t max_memory;  /* bytes of values; 0: 512 MiB */
};

/* Bytes [from, to) of an output that came from strings of the variables with this mark. */
struct jinja_span {
    size_t from, to;
    uint8_t mark;
};
/* In order, not overlapping. Zero-init; free with free(.at). */
struct jinja_spans {
    struct jinja_span *at;
    size_t n;
};

/* Renders with the members of vars (an object, not changed, must live for the call only). Appends
 * to out; spans may be NULL, its positions count from the start of what is appended. On failure out
 * is as before. ERR_USAGE is raise_exception's text, ERR_LIMIT a limit, ERR_FORMAT anything else
 * that the template got wrong. */
bool jinja_render(const struct jinja *t, const struct json *vars, const struct jinja_params *p,
                  struct buf *out, struct jinja_spans *spans, struct err *e);
