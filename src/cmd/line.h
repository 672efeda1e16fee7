/* line: the prompt of `tawny run`: libedit with a history that outlives the program. */
#pragma once
#include <stdbool.h>

#include "base/buf.h"
#include "cmd/interrupt.h"

struct line;
/* Needs a terminal on stdin and stderr. interrupt: borrowed; Ctrl-C at the prompt comes from it.
 * The history is $XDG_STATE_HOME/tawny/history, else ~/.local/state/tawny/history; without a home
 * there is none. */
struct line *line_open(const struct interrupt *interrupt);

enum line_result {
    LINE_OK,          /* a line, without its end, is in out */
    LINE_END,         /* Ctrl-D, or the terminal is gone */
    LINE_INTERRUPTED, /* Ctrl-C with something typed: it is thrown away */
    LINE_EMPTY_INTERRUPTED,
};
/* Replaces out. */
enum line_result line_read(struct line *l, struct buf *out);
/* Saves the history. */
void line_close(struct line *l);
