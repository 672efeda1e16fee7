/* interrupt: Ctrl-C and SIGTERM as something to look at, not as something that happens. */
#pragma once
#include <signal.h>
#include <stdbool.h>

#include "base/err.h"

/* From interrupt_open on, this thread and those it starts do not see the signals; they make fd
 * readable instead. Open it before the engine starts its threads. */
struct interrupt {
    int fd; /* readable while a signal waits */
    sigset_t old;
};
bool interrupt_open(struct interrupt *i, struct err *e);
/* Takes a waiting signal: its number, or 0. */
int interrupt_take(const struct interrupt *i);
void interrupt_close(struct interrupt *i);
