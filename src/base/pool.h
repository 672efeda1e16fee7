/* pool: a fixed set of threads that run one function together (fork and join). The caller is one of
 * them. Workers spin for some microseconds before they sleep, so that the short phases of a forward
 * pass do not pay for a wake-up. One owner thread calls pool_run; not re-entrant. */
#pragma once
#include <stdint.h>

#include "base/err.h"

struct pool;

/* n_threads in all, the caller included; 0: one per physical core this process may use. */
struct pool *pool_open(int n_threads, struct err *e);
/* The number of threads that 0 stands for. */
int pool_default_size(void);
int pool_size(const struct pool *p);
/* Runs fn(ctx, i, n) for i = 0 .. n-1, one thread each (i = 0 on the caller); returns when all did.
 */
void pool_run(struct pool *p, void (*fn)(void *ctx, int i_thread, int n_threads), void *ctx);
/* Inside fn: waits until all threads of the run are here; what was written before is visible after.
 */
void pool_barrier(struct pool *p);
/* Inside fn: hands out 0, 1, 2, ... once each; the count restarts at every barrier and run, so each
 * phase takes its work items from it: while ((i = pool_next(p)) < n_items) ... */
uint32_t pool_next(struct pool *p);
void pool_close(struct pool *p);
