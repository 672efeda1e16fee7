/* clock: monotonic time. */
#pragma once
#include <stdint.h>

/* Nanoseconds since some fixed point in the past; never goes back. Thread-safe. */
uint64_t clock_ns(void);
/* Seconds since 1970 (UTC), for `created` fields and dates. */
int64_t clock_unix(void);
