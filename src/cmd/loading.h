/* loading: opens an engine with a bar, and lets Ctrl-C end the program while it loads. */
#pragma once
#include "cmd/interrupt.h"
#include "cmd/term.h"
#include "engine/engine.h"

/* As long as the engine, which logs through it. Zero-initialise; do not move. */
struct loading {
    struct engine *engine; /* what loading_open opened */
    struct engine_params params;
    struct progress also; /* the caller's */
    struct bar bar;
    int done_fd; /* readable: the thread that loads is through */
    struct err error;
};

/* Opens l->engine. Sets p's log; p's progress is told, too. A signal ends the program at once,
 * whatever loading is at; leaves: a file that is removed then (NULL: none). */
bool loading_open(struct loading *l, const struct engine_params *p,
                  const struct interrupt *interrupt, const char *leaves, bool verbose,
                  struct err *e);
/* Closes the engine. */
void loading_close(struct loading *l);
