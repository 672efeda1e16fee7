/* deliver: brings replies to the clients that asked for them, and keeps what a client that asks
 * again needs. A request that is evidently the same one, sent again, attaches to its reply while
 * that is written: it gets it from its first byte, and the job runs once. The job is cancelled when
 * the last of its clients has gone. A reply that ended is kept for 60 s more.
 *
 * Sent again is what has the same path, key, body and names of the conversation (headers), and one
 * of
 *   x-stainless-retry-count   above that of those who asked before: an SDK's own retry
 *   Idempotency-Key           that of the first one; another one never attaches
 *   a session (hint_session)  while the reply is written: an agent has no use for two of them
 * Two clients that merely ask for the same get two replies: they may want two samples.
 *
 * What was sent is kept up to 4 MiB a reply and 64 MiB in all (server_params.max_kept); nobody
 * attaches to a reply that is longer. A client that is so much slower than another one of the same
 * reply is cut off. Thread-safe. */
#pragma once
#include <stddef.h>

struct deliveries;
/* max_kept: bytes of one reply; 16 times that of all. */
struct deliveries *deliveries_open(size_t max_kept);
/* After the last request. */
void deliveries_close(struct deliveries *all);
