/* term: what the commands show. Data goes to stdout; messages, bars and notices to stderr. Bars and
 * colours only where stderr is a terminal, colours not with NO_COLOR. */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/str.h"

enum exit_status {
    EXIT_OK = 0,
    EXIT_FAILED = 1,
    EXIT_WRONG_USAGE = 2,
    EXIT_INTERRUPTED = 130,
};

/* Prints "tawny: message" on stderr and returns the exit status that fits the code. */
int term_fail(const struct err *e);
/* A sink that prints warnings, and with verbose the rest too, as lines on stderr. */
struct log term_log(bool verbose);
bool term_is_tty(FILE *f);
/* Escape sequences for dim and normal text on f; "" where colours are not wanted. */
const char *term_dim(FILE *f);
const char *term_plain(FILE *f);

/* The path of a file of tawny's own: tawny/NAME in the folder of the environment variable, or in
 * HOME/below where that is not set. "" and false without either. */
enum { TERM_MAX_PATH = 4096 };
bool term_user_file(const char *variable, const char *below, const char *name,
                    char out[TERM_MAX_PATH]);

/* Appends UTF-8 text of unknown origin so that a terminal only shows it: control characters other
 * than newline and tab (escape sequences begin with one) become '?'. Whole characters only. */
void term_safe(str text, struct buf *out);

/* Writes text as it is; false when f does not take it. Does not flush. */
bool term_write(str text, FILE *f);
/* Appends what f has to its end. Refuses more than max bytes. name: of f, for errors. */
bool term_read(FILE *f, const char *name, size_t max, struct buf *out, struct err *e);
/* Writes out to stdout and frees it; false and e when stdout refuses (a full disk, a closed pipe).
 */
bool term_put(struct buf *out, struct err *e);

/* A progress bar on one line of stderr; draws nothing where that is no terminal. Appears after 0.2
 * s, so short steps leave no trace. */
enum bar_unit { BAR_BYTES, BAR_COUNT };
struct bar {
    const char *label;
    enum bar_unit unit;
    bool tty;
    bool drawn;
    uint64_t start_ns, last_ns;
    pthread_mutex_t lock;
};
void bar_open(struct bar *b, const char *label, enum bar_unit unit);
/* Hands the bar to a long step; steps may come from any thread. */
struct progress bar_progress(struct bar *b);
/* Draws done of total; total 0: only what is done. */
void bar_step(struct bar *b, uint64_t done, uint64_t total);
/* Takes the bar off the screen until the next step: for other output. */
void bar_wipe(struct bar *b);
void bar_close(struct bar *b);

/* Columns that UTF-8 text takes: code points, which is right for all that tawny prints. */
size_t term_width(const char *text);

/* A table of text cells; widths follow the widest cell. Zero-initialise, set align. */
struct table {
    const char *align; /* one letter per column: 'l' or 'r' */
    struct buf cells;  /* each cell ends with a NUL byte */
    size_t n_cells;
};
/* Adds the next cell, row by row; the first row is the head. */
void table_cell(struct table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Two spaces between columns, or a Markdown table. */
void table_text(const struct table *t, struct buf *out);
void table_markdown(const struct table *t, struct buf *out);
void table_free(struct table *t);

/* "1.10 GiB" (powers of 1024) and "30.5 B" (thousands, as parameters are counted). The result lives
 * in text. */
struct term_num {
    char text[32];
};
struct term_num term_bytes(double n_bytes);
struct term_num term_count(double n);

/* Indented JSON, written member by member. key is NULL in arrays and at the top. Zero-initialise
 * with .out. */
enum { JOUT_MAX_DEPTH = 16 };
struct jout {
    struct buf *out;
    size_t depth;
    bool more[JOUT_MAX_DEPTH]; /* a member came before, per depth */
};
void jout_begin(struct jout *j, const char *key, char open); /* '{' or '[' */
void jout_end(struct jout *j, char close);                   /* '}' or ']'; at the top: newline */
void jout_str(struct jout *j, const char *key, str v);
void jout_i64(struct jout *j, const char *key, int64_t v);
void jout_u64(struct jout *j, const char *key, uint64_t v);
/* With n_decimals digits; NaN and infinities become null. */
void jout_f64(struct jout *j, const char *key, double v, int n_decimals);
void jout_bool(struct jout *j, const char *key, bool v);
