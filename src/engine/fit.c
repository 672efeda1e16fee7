#include "engine/fit.h"

#include "base/mem.h"
#include "base/num.h"
#include "compute/place.h"

enum { MAX_DEFAULT_CTX = 65536, CTX_STEP = 256, DEFAULT_SESSIONS = 4, LEAST_SESSIONS = 2 };
/* With less than this a GPU is no use to an agent: then rather the processor. */
enum { LEAST_GPU_CTX = 8192 };

/* Snapshots of what cannot be cut back: as many as these bytes hold, in all sessions together, and
 * as there is memory for beside the rest; enough for a conversation to go back one turn. */
enum { LEAST_SNAPSHOTS = 3, MOST_SNAPSHOTS = 16 };
static const uint64_t SNAPSHOT_BYTES = 2ull << 30, MOST_CACHE = 8ull << 30;

/* Adds them to the table, which has all else. */
static void plan_snapshots(struct fit *f)
{
    struct mem_table *t = &f->table;
    f->snapshot_bytes = exec_state_bytes(f->backend, f->plan, &f->params);
    f->n_snapshots = 0;
    if (f->snapshot_bytes == 0)
        return;
    const uint64_t left = t->available > t->total ? t->available - t->total : 0;
    const uint64_t n = num_min(left, SNAPSHOT_BYTES) / f->snapshot_bytes / f->params.n_seqs;
    f->n_snapshots = (uint32_t)num_max(LEAST_SNAPSHOTS, num_min(n, MOST_SNAPSHOTS));
    mem_table_add(t, "snapshots", (uint64_t)f->n_snapshots * f->params.n_seqs, f->snapshot_bytes,
                  "%u states for each of %u sessions", f->n_snapshots, f->params.n_seqs);
}

/* Half of what the machine has left, so that nothing else runs short: MOST_CACHE at most. A device
 * with memory of its own takes none of the machine's. */
static uint64_t cache_bytes(const struct fit *f, int64_t asked)
{
    const struct mem_table *t = &f->table;
    uint64_t left = t->available > t->total ? t->available - t->total : 0;
    if (asked != 0)
        return asked > 0 ? (uint64_t)asked : 0;
    if (t->is_device)
        left = mem_available();
    return num_min(left / 2, MOST_CACHE);
}

/* ---- pages ------------------------------------------------------------------------------------
 */

/* The least that sessions share: one and a half contexts, and a page for each of them. Then a long
 * conversation stays where it is beside others of half a context together. */
static uint32_t least_pages(const struct exec_params *p)
{
    const uint64_t n_ctx = pages_of(p->n_ctx, exec_page(p));
    return (uint32_t)num_min(exec_all_pages(p), n_ctx + n_ctx / 2 + p->n_seqs);
}

static bool try_pages(struct fit *f, uint64_t n_pages, struct err *e)
{
    f->params.n_pages = (uint32_t)num_min(n_pages, UINT32_MAX);
    f->params.n_ubatch = f->n_ubatch;
    if (!exec_memory(f->backend, f->plan, &f->params, &f->table, e))
        return false;
    f->params.n_ubatch = f->table.n_ubatch;
    plan_snapshots(f);
    f->fits = mem_table_fits(&f->table);
    return true;
}

/* As many pages as all sessions need, if they fit. If not, more than the least: as many as leave
 * the snapshots alone and, of the machine's memory, half of what is left, also for conversations
 * without a session. */
static bool grow_pages(struct fit *f, struct err *e)
{
    const uint32_t least = f->params.n_pages, n_snapshots = f->n_snapshots;
    const struct mem_table at_least = f->table;
    if (!f->fits || least == exec_all_pages(&f->params))
        return true;
    if (!try_pages(f, exec_all_pages(&f->params), e))
        return false;
    if (f->fits)
        return true;
    const uint64_t left = at_least.available - at_least.total;
    const uint64_t most = at_least.total + (at_least.is_device ? left : left / 2);
    uint64_t low = least, high = exec_all_pages(&f->params); /* low pages fit, high do not */
    while (high - low > 1) {
        const uint64_t middle = low + (high - low) / 2;
        if (!try_pages(f, middle, e))
            return false;
        *(f->fits && f->table.total <= most && f->n_snapshots == n_snapshots ? &low : &high) =
            middle;
    }
    return try_pages(f, low, e);
}

/* ---- context and sessions ---------------------------------------------------------------------
 */

static bool try_ctx(struct fit *f, uint32_t n_ctx, struct err *e)
{
    f->params.n_ctx = n_ctx;
    return try_pages(f, f->n_pages ? f->n_pages : least_pages(&f->params), e);
}

/* Batches that were asked for: less context or fewer sessions are no way out. */
static bool are_batches_too_large(const struct fit *f)
{
    const struct mem_piece *piece = mem_table_large_piece(&f->table);
    return f->n_ubatch && piece && piece->grows_with_rows;
}

/* Fewer sessions than the default where so many do not get the context that is wanted. */
static bool fit_sessions(struct fit *f, struct err *e)
{
    const uint32_t n_ctx = f->asked ? f->asked : f->wanted;
    for (f->params.n_seqs = DEFAULT_SESSIONS;; f->params.n_seqs--) {
        if (!try_ctx(f, n_ctx, e))
            return false;
        if (f->fits || f->params.n_seqs == LEAST_SESSIONS || are_batches_too_large(f))
            return true;
    }
}

/* The largest context up to f->wanted that fits, in steps of CTX_STEP; 0: none. */
static bool largest_ctx(struct fit *f, uint32_t *n_ctx, struct err *e)
{
    *n_ctx = f->wanted;
    if (!try_ctx(f, *n_ctx, e))
        return false;
    if (f->fits || are_batches_too_large(f))
        return true;
    f->is_piece = f->table.total <= f->table.available;
    uint32_t low = 0, high = (f->wanted + CTX_STEP - 1) / CTX_STEP; /* low steps fit, high do not */
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (!try_ctx(f, middle * CTX_STEP, e))
            return false;
        *(f->fits ? &low : &high) = middle;
    }
    *n_ctx = low * CTX_STEP;
    return true;
}

/* Settles what was not asked for. */
static bool settle(struct fit *f, const struct engine_params *p, struct err *e)
{
    if (!p->n_sessions && !fit_sessions(f, e))
        return false;
    uint32_t n_ctx = f->asked;
    if (!f->asked && !largest_ctx(f, &n_ctx, e))
        return false;
    if (!n_ctx)
        n_ctx = (uint32_t)num_min(f->wanted, CTX_STEP);
    return try_ctx(f, n_ctx, e) && (f->n_pages || grow_pages(f, e));
}

/* What is asked of the exec, but for context, sessions and pages. */
static struct exec_params params_of(const struct engine_params *p)
{
    return (struct exec_params){.n_ubatch = p->n_ubatch,
                                .type_k = p->type_k ? p->type_k : BLOCK_F16,
                                .type_v = p->type_v ? p->type_v : BLOCK_F16,
                                .n_threads = p->n_threads,
                                .device = p->device,
                                .cache_path = p->cache_path,
                                .allow_software = p->allow_software,
                                .lose_in = p->lose_in,
                                .page = p->page};
}

bool fit_with(struct fit *f, const struct backend *b, const struct model *m,
              const struct engine_params *p, struct err *e)
{
    *f = (struct fit){.backend = b, .plan = &m->plan};
    f->params = params_of(p);
    f->params.n_seqs = p->n_sessions;
    f->n_ubatch = p->n_ubatch;
    f->params.opened = p->opened;
    f->n_pages = p->n_pages;
    f->n_train = m->hp.n_ctx_train;
    f->asked = p->n_ctx;
    f->wanted = (uint32_t)num_min(f->n_train, MAX_DEFAULT_CTX);
    if (!p->opened && !exec_device_open(b, &f->params, &p->log, e))
        return false;
    f->opened_here = !p->opened;
    if (!settle(f, p, e)) {
        fit_close(f);
        return false;
    }
    f->cache_bytes = cache_bytes(f, p->cache_bytes);
    return true;
}

const struct backend *engine_place(const struct model *m, const struct engine_params *p,
                                   struct exec_params *device, struct err *e)
{
    const uint32_t n_ctx = (uint32_t)num_min(m->hp.n_ctx_train, LEAST_GPU_CTX);
    *device = params_of(p);
    device->n_ctx = p->n_ctx ? p->n_ctx : n_ctx;
    device->n_seqs = p->n_sessions ? p->n_sessions : LEAST_SESSIONS;
    device->n_pages = p->n_pages ? p->n_pages : least_pages(device);
    return place_choose(p->backend, &m->plan, device, &p->log, e);
}

bool fit_open(struct fit *f, const struct model *m, const struct engine_params *p, struct err *e)
{
    struct exec_params device;
    struct engine_params on = *p;
    if (p->opened)
        return fit_with(f, backend_find(p->backend), m, p, e);
    const struct backend *b = engine_place(m, p, &device, e);
    on.opened = device.opened;
    if (b && fit_with(f, b, m, &on, e)) {
        f->opened_here = device.opened != NULL;
        f->params.not_devices = device.not_devices;
        return true;
    }
    if (b)
        exec_device_close(b, &device);
    return false;
}

void fit_close(struct fit *f)
{
    if (f->opened_here)
        exec_device_close(f->backend, &f->params);
}

void fit_log(const struct fit *f, const struct log *log)
{
    uint32_t n_ctx = f->params.n_ctx;
    if (f->fits && f->params.n_pages < exec_all_pages(&f->params))
        log_info(log,
                 "%u sessions of %u tokens hold %llu at once; what of others has no room waits "
                 "in the machine's memory or is read again",
                 f->params.n_seqs, n_ctx,
                 (unsigned long long)f->params.n_pages * exec_page(&f->params));
    if (f->fits && f->cache_bytes)
        log_info(log, "conversations beyond %u keep up to %llu MiB of the machine's memory",
                 f->params.n_seqs, (unsigned long long)(f->cache_bytes >> 20));
    const uint64_t n_rows = num_min(f->backend->n_ubatch, (uint64_t)n_ctx * f->params.n_seqs);
    if (f->fits && !f->n_ubatch && f->params.n_ubatch < n_rows)
        log_info(log, "prompts are read %u tokens at once: the device allocates too little for %u",
                 f->params.n_ubatch, (uint32_t)n_rows);
    if (f->asked > f->n_train)
        log_warn(log, "a context of %u tokens is more than the %u the model was trained for", n_ctx,
                 f->n_train);
    if (f->fits && !f->asked && n_ctx < f->wanted)
        log_warn(log, "the context is cut from %u to %u tokens to fit into %s", f->wanted, n_ctx,
                 f->is_piece ? "what the device allocates at once for the keys or the values of a "
                               "layer: a smaller cache type (-ctk, -ctv) has room for more"
                             : "memory");
    struct buf text = {0};
    if (!f->fits)
        mem_table_print(&f->table, &text);
    for (str rest = buf_view(&text); rest.n;) {
        str line = str_cut(rest, '\n', &rest);
        log_warn(log, "%.*s", STRF(line));
    }
    buf_free(&text);
}
