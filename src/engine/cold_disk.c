/* The disk behind the host cache: opened with the engine, and filled when that ends. */
#include "base/clock.h"
#include "engine/cold.h"
#include "engine/cold_int.h"
#include "engine/print.h"

/* How long the end of a server may take for it. */
static const uint64_t CLOSE_NS = 10000000000u;

static uint64_t rows_bytes(const void *exec, uint32_t n)
{
    return exec_rows_size(exec, n);
}

static bool open_disk(struct engine *g, const struct engine_params *p, const struct fit *f,
                      struct err *e)
{
    struct disk_params how = {.folder = p->disk_path,
                              .max_bytes = (uint64_t)p->disk_bytes,
                              .least_free = p->disk_least_free,
                              .log = p->log};
    if (!print_model(g->file, f, &p->requant, exec_rows_size(g->exec, STORE_TOKENS),
                     &how.fingerprint, e))
        return false;
    struct disk *d = disk_open(&how, e);
    struct spool *s = d ? spool_open(d, e) : NULL;
    if (s)
        store_use_disk(g->store, s, &g->log);
    return s != NULL;
}

void cold_open(struct engine *g, const struct engine_params *p, const struct fit *f)
{
    const bool wants_disk = p->disk_path && p->disk_bytes >= 0;
    struct err e;
    if (!f->cache_bytes && !wants_disk)
        return;
    g->store = store_open(f->cache_bytes, g->n_state_bytes);
    if (!wants_disk)
        return;
    if (!open_disk(g, p, f, &e)) {
        log_warn(&g->log, "no disk cache: %s", e.msg);
        if (!f->cache_bytes)
            store_close(g->store);
        g->store = f->cache_bytes ? g->store : NULL;
        return;
    }
    g->n_jobs = store_restore(g->store, g->n_ctx, rows_bytes, g->exec);
    log_info(&g->log, "beyond that they keep up to %llu MiB in %s, where %llu MiB are",
             (unsigned long long)(store_disk_max_bytes(g->store) >> 20),
             store_disk_folder(g->store), (unsigned long long)(store_disk_bytes(g->store) >> 20));
}

/* ---- the end ----------------------------------------------------------------------------------
 */

/* As much as may be on its way; false: the time is over. */
static bool wait_for_room(struct engine *g, uint64_t until_ns)
{
    store_poll(g->store, 0);
    while (store_is_busy(g->store)) {
        if (clock_ns() > until_ns)
            return false;
        store_poll(g->store, 100);
    }
    return clock_ns() < until_ns;
}

/* From the beginning of its conversation on, so that nothing is written that leads nowhere. */
static void write_path(struct engine *g, struct chunk *c)
{
    if (c->parent->parent)
        write_path(g, c->parent);
    store_write(g->store, c);
}

/* The session used last of those used before job `before`; n_sessions: none. */
static uint32_t last_session(const struct engine *g, uint64_t before)
{
    uint32_t last = g->n_sessions;
    for (uint32_t i = 0; i < g->n_sessions; i++) {
        const uint64_t used = g->sessions[i].last_used;
        if (used > 0 && used < before &&
            (last == g->n_sessions || used > g->sessions[last].last_used))
            last = i;
    }
    return last;
}

static bool put_session(struct engine *g, uint32_t seq, uint64_t until_ns)
{
    const struct session *s = &g->sessions[seq];
    const uint32_t end = cold_end_of(s);
    for (uint32_t at = 0; at < end;) {
        if (!wait_for_room(g, until_ns))
            return false;
        if (!cold_put_next(g, seq, &at, end, (struct use){s->last_used, s->interval}))
            break;
    }
    return true;
}

static bool has_ram(const struct chunk *c)
{
    return c->rows.place == PART_IN_RAM || c->state.place == PART_IN_RAM;
}

/* What memory holds; false: the time is over. */
static bool write_memory(struct engine *g, uint64_t until_ns)
{
    for (struct chunk *c = NULL; (c = store_next(g->store, c));) {
        if (!has_ram(c))
            continue;
        if (store_is_busy(g->store)) {
            if (!wait_for_room(g, until_ns))
                return false;
            c = NULL; /* chunks may be gone: from the first one again */
            continue;
        }
        write_path(g, c);
    }
    return true;
}

/* So that nobody wonders what the end waits for. */
static void say_how_much(const struct engine *g)
{
    enum { MUCH = 256 << 20 };
    uint64_t n_bytes = store_bytes(g->store);
    for (uint32_t i = 0; i < g->n_sessions; i++)
        n_bytes += exec_rows_size(g->exec, g->sessions[i].n);
    if (n_bytes > MUCH)
        log_warn(&g->log, "up to %llu MiB of conversations are written to %s, for 10 s at most",
                 (unsigned long long)(n_bytes >> 20), store_disk_folder(g->store));
}

void cold_close(struct engine *g)
{
    const uint64_t until_ns = clock_ns() + CLOSE_NS;
    if (!g->store || !store_disk_folder(g->store))
        return;
    store_release(g->store, NULL);
    say_how_much(g);
    bool in_time = true;
    uint64_t before = UINT64_MAX;
    for (uint32_t i; in_time && (i = last_session(g, before)) < g->n_sessions;) {
        in_time = put_session(g, i, until_ns);
        before = g->sessions[i].last_used;
    }
    in_time = in_time && write_memory(g, until_ns);
    while (store_is_writing(g->store) && clock_ns() < until_ns)
        store_poll(g->store, 100);
    if (!in_time || store_is_writing(g->store))
        log_warn(&g->log,
                 "%s: not all conversations were written within 10 s; what is missing is "
                 "read again when it comes back",
                 store_disk_folder(g->store));
}
