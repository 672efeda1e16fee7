#include "server/unready.h"

#include <inttypes.h>

void unready_step(void *unready, uint64_t done, uint64_t total)
{
    struct unready *u = unready;
    atomic_store_explicit(&u->done, done, memory_order_relaxed);
    atomic_store_explicit(&u->total, total, memory_order_relaxed);
}

/* done and total are of one load, though perhaps not of one step. */
static uint64_t seen(const struct unready *u, uint64_t *total)
{
    uint64_t done = atomic_load_explicit(&u->done, memory_order_relaxed);
    *total = atomic_load_explicit(&u->total, memory_order_relaxed);
    return done < *total ? done : *total;
}

bool unready_fail(const struct unready *u, struct openai_error *e)
{
    uint64_t total, done = seen(u, &total);
    if (!total)
        return openai_fail(e, 503, "loading_model", "The model is loading: try again.");
    return openai_fail(e, 503, "loading_model", "The model is loading (%d %%): try again.",
                       (int)(100 * ((double)done / (double)total)));
}

void unready_health(const struct unready *u, struct buf *out)
{
    uint64_t total, done = seen(u, &total);
    buf_str(out, STR("{\"error\":{\"code\":503,\"message\":\"Loading model\","
                     "\"type\":\"unavailable_error\""));
    if (total)
        buf_fmt(out, ",\"loaded_bytes\":%" PRIu64 ",\"total_bytes\":%" PRIu64, done, total);
    buf_str(out, STR("}}\n"));
}

const char *unready_retry(uint64_t elapsed_ns, uint64_t done, uint64_t total)
{
    static const struct {
        double seconds;
        const char *text;
    } waits[] = {{1, "1"}, {2, "2"}, {5, "5"}, {10, "10"}, {20, "20"}, {30, "30"}};
    enum { N = sizeof waits / sizeof *waits, UNKNOWN = 1 };
    if (!done || done > total)
        return waits[UNKNOWN].text;
    const double left = 1e-9 * (double)elapsed_ns * (double)(total - done) / (double)done;
    size_t i = 0;
    while (i + 1 < N && waits[i].seconds < left)
        i++;
    return waits[i].text;
}
