/* state: a file in which a server says how it is while it runs: "loading DONE TOTAL" (bytes), then
 * "ready URL". A lock on the file says that it runs; its pid goes with the lock, so what a dead
 * server wrote is never taken for a living one. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/log.h"

enum { STATE_BYTES = 256 };

struct state {
    int fd;                   /* -1: there is no such file */
    _Atomic uint64_t last_ns; /* steps come from any thread */
};
/* Takes the file at path (made if it is missing, with its folders). False and e: another process
 * has it. */
bool state_open(struct state *s, const char *path, struct err *e);
/* Writes how far loading is, ten times a second; for struct progress. */
struct progress state_progress(struct state *s);
void state_ready(struct state *s, const char *url);
/* Empties the file. */
void state_close(struct state *s);

struct state_seen {
    pid_t pid; /* of the server; 0: none runs */
    uint64_t done, total;
    char url[STATE_BYTES]; /* "": not ready */
};
/* Looks at the file of another process; one that is missing is one that nobody has. */
void state_see(const char *path, struct state_seen *out);
