/* watch: ends connections whose client is too slow. libmicrohttpd looks only at the time since the
 * last byte, so that a client that sends or takes a byte now and then would hold a connection, and
 * what was allocated for it, for ever. Here every step of a request has a deadline; a thread of its
 * own shuts down the sockets whose time is over, and whoever waits on them finds them closed.
 *
 * All functions may be called from any thread; a `watched` belongs to its connection. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"

struct watch;

/* One connection; zero-initialise. */
struct watched {
    struct watched *next, *before;
    int fd;
    const char *step;     /* what it is to do, static, for the log */
    uint64_t limit_ns;    /* that it has for it; 0: any time */
    uint64_t until_ns;    /* the end of it */
    uint64_t waits_since; /* clock_ns() when it began to wait for a request; 0: there is one */
    bool cut;
    bool extra; /* there is one more than there should be, and all have requests */
};

/* n_max: connections that there should be at most. NULL and e when there is no thread to be had. */
struct watch *watch_open(uint32_t n_max, const struct log *log, struct err *e);
/* After the last connection was removed. */
void watch_close(struct watch *w);

/* A new connection: it has ms for the head of its first request. When there are more than n_max
 * then, the one that waits longest for a request is shut down: idle ones do not keep others out. */
void watch_add(struct watch *w, struct watched *c, int fd, uint32_t ms);
/* The request is over: ms until the head of the next one is there. */
void watch_idle(struct watch *w, struct watched *c, uint32_t ms);
/* From now on it has ms for this step; 0: it does not depend on the client. */
void watch_step(struct watch *w, struct watched *c, const char *step, uint32_t ms);
/* Before its socket is closed. */
void watch_remove(struct watch *w, struct watched *c);
