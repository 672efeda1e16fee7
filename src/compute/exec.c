#include "compute/exec.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"

static const struct backend *const backends[] = {&backend_ref, &backend_cpu, &backend_vulkan};

/* What is left of a sequence. */
struct held {
    uint32_t n;       /* tokens in the cache */
    uint32_t whole;   /* rows from here on find their windows in the rings */
    uint32_t n_state; /* tokens that the recurrent states stand behind */
};

struct exec {
    const struct backend *backend;
    const struct plan *plan;
    struct exec_params params;
    void *state;
    const struct op_embed *embed; /* NULL: the plan takes its input from slots */
    struct held *held;            /* [n_seqs] */
    bool has_rings;
    struct pages pages;
    /* What the backend is handed in place of NULL, [n_ubatch]. */
    bool *want;
    uint32_t *seq;
    float *logits; /* [n_logits_room][n_vocab] */
    size_t n_logits_room;
    size_t n_logits;
    struct best *best; /* [EXEC_BEST_ROWS], of which n_best are the last run's */
    size_t n_best;
};

const struct backend *backend_find(const char *name)
{
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++)
        if (!strcmp(backends[i]->name, name))
            return backends[i];
    return NULL;
}

const struct backend *backend_choose(const char *name, const char *device, struct err *e)
{
    if (!name)
        name = "vulkan";
    const struct backend *b = backend_find(name);
    if (!b)
        err_set(e, ERR_USAGE, "there is no backend '%s'", name);
    else if (device && strcmp(name, "vulkan") != 0) {
        err_set(e, ERR_USAGE, "device '%s': the backend %s runs on the processor alone", device,
                name);
        b = NULL;
    }
    return b;
}

/* ---- caches ----------------------------------------------------------------------------------
 */

bool exec_kv_is_ring(const struct kv_layer *kv, const struct exec_params *params)
{
    return kv->window && (uint64_t)kv->window - 1 + params->n_ubatch < params->n_ctx;
}

uint32_t exec_kv_rows(const struct kv_layer *kv, const struct exec_params *params)
{
    return exec_kv_is_ring(kv, params) ? kv->window - 1 + params->n_ubatch : params->page;
}

uint64_t exec_kv_pages(const struct kv_layer *kv, const struct exec_params *params)
{
    return exec_kv_is_ring(kv, params) ? params->n_seqs : params->n_pages;
}

uint32_t exec_page(const struct exec_params *params)
{
    return (uint32_t)num_min(params->page ? params->page : PAGE_POSITIONS, params->n_ctx);
}

uint64_t exec_all_pages(const struct exec_params *params)
{
    return pages_of_all(params->n_seqs, params->n_ctx, exec_page(params));
}

const struct pages *exec_kv_table(const struct kv_layer *kv, const struct exec_params *params)
{
    return exec_kv_is_ring(kv, params) ? NULL : params->pages;
}

uint32_t exec_kv_saved(const struct kv_layer *kv, const struct exec_params *params)
{
    return exec_kv_is_ring(kv, params) ? kv->window - 1 : 0;
}

static bool has_rings(const struct plan *p, const struct exec_params *params)
{
    for (size_t i = 0; i < p->n_kv; i++)
        if (exec_kv_is_ring(&p->kv[i], params))
            return true;
    return false;
}

/* ---- parameters ------------------------------------------------------------------------------ */

static bool check_cache_type(const struct plan *p, enum block_type type, bool values, struct err *e)
{
    if (type != BLOCK_F32 && type != BLOCK_F16 && type != BLOCK_Q8_0 && type != BLOCK_Q4_0)
        return err_set(e, ERR_USAGE, "cache type %s is not one of: f32, f16, q8_0, q4_0",
                       block_type_name(type));
    for (size_t i = 0; i < p->n_kv; i++) {
        uint32_t width = values ? p->kv[i].v_width : p->kv[i].k_width;
        if (width && block_row_bytes(type, width) == 0)
            return err_set(
                e, ERR_UNSUPPORTED,
                "cache type %s holds blocks of %u, layer %zu has %u %s per token: use f16",
                block_info(type)->name, block_info(type)->n_elems, i, width,
                values ? "values" : "keys");
    }
    return true;
}

/* The defaults that do not depend on the machine. */
static struct exec_params with_defaults(const struct backend *b, const struct exec_params *given)
{
    struct exec_params p = *given;
    p.n_seqs = p.n_seqs ? p.n_seqs : 1;
    p.n_ubatch = p.n_ubatch ? p.n_ubatch : b->n_ubatch;
    p.n_ubatch = (uint32_t)num_min(p.n_ubatch, (uint64_t)p.n_ctx * p.n_seqs);
    p.page = exec_page(&p);
    const uint64_t n_all = p.page ? exec_all_pages(&p) : 0;
    p.n_pages = (uint32_t)num_min(p.n_pages ? p.n_pages : n_all, num_min(n_all, UINT32_MAX));
    return p;
}

static bool fill_params(const struct backend *b, const struct plan *p,
                        const struct exec_params *given, struct exec_params *out, struct err *e)
{
    *out = with_defaults(b, given);
    if (out->n_ctx == 0)
        return err_set(e, ERR_USAGE, "the context is 0 tokens, must be at least 1");
    if (out->n_pages < pages_of(out->n_ctx, out->page))
        return err_set(e, ERR_USAGE, "%u pages of %u tokens: a context of %u needs %u",
                       out->n_pages, out->page, out->n_ctx, pages_of(out->n_ctx, out->page));
    return check_cache_type(p, out->type_k, false, e) && check_cache_type(p, out->type_v, true, e);
}

/* What the plan may take: what the caller allows, else what the backend's own memory has, else the
 * machine's. */
static uint64_t available(const struct exec_params *given, const struct mem_table *t)
{
    if (given->max_bytes)
        return given->max_bytes;
    if (t->available)
        return t->available;
    return mem_available() ? mem_available() : UINT64_MAX;
}

/* Fewer rows at once are no use. */
enum { LEAST_UBATCH = 64 };

/* Whether fewer rows at once, where nobody said how many, keep a piece to what the device gives. */
static bool wants_fewer_rows(const struct exec_params *given, const struct mem_table *t)
{
    const struct mem_piece *piece = mem_table_large_piece(t);
    return piece && piece->grows_with_rows && !given->n_ubatch && t->n_ubatch > LEAST_UBATCH;
}

/* Fills params and table; does not compare with what is available. */
static bool plan_memory(const struct backend *b, const struct plan *p,
                        const struct exec_params *given, struct exec_params *params,
                        struct mem_table *out, struct err *e)
{
    struct exec_params tried = *given;
    do {
        *out = (struct mem_table){0};
        if (!fill_params(b, p, &tried, params, e) || !b->memory(p, params, out, e))
            return false;
        out->n_ubatch = params->n_ubatch;
        tried.n_ubatch = params->n_ubatch / 2;
    } while (wants_fewer_rows(given, out));
    if (p->n_vocab)
        mem_table_add(out, "logits", params->n_seqs, (uint64_t)p->n_vocab * sizeof(float),
                      "%u rows of %u", params->n_seqs, p->n_vocab);
    out->available = available(given, out);
    return true;
}

bool exec_memory(const struct backend *b, const struct plan *p, const struct exec_params *params,
                 struct mem_table *out, struct err *e)
{
    struct exec_params filled;
    return plan_memory(b, p, params, &filled, out, e);
}

/* ---- devices ---------------------------------------------------------------------------------
 */

bool exec_device_open(const struct backend *b, struct exec_params *params, const struct log *log,
                      struct err *e)
{
    params->opened = b->device_open ? b->device_open(params, log, e) : NULL;
    return params->opened || !b->device_open;
}

void exec_device_close(const struct backend *b, struct exec_params *params)
{
    if (params->opened)
        b->device_close(params->opened);
    params->opened = NULL;
}

/* ---- open and close -------------------------------------------------------------------------- */

/* Room for n rows of logits. What all sequences need is there from the start; a caller that wants
 * the logits of whole prompts makes it grow. */
static bool reserve_logits(struct exec *x, size_t n, struct err *e)
{
    if (n <= x->n_logits_room)
        return true;
    const size_t row_bytes = x->plan->n_vocab * sizeof(float);
    const size_t available = mem_available();
    if (available && n * row_bytes > available)
        return err_set(e, ERR_MEMORY, "%zu rows of logits need %zu MiB, %zu MiB are available", n,
                       n * row_bytes >> 20, available >> 20);
    float *logits = mem_big(n * row_bytes, "logits", e);
    if (!logits)
        return false;
    mem_big_free(x->logits, x->n_logits_room * row_bytes);
    x->logits = logits;
    x->n_logits_room = n;
    return true;
}

struct exec *exec_open(const struct backend *b, const struct plan *p,
                       const struct exec_params *params, const struct log *log,
                       const struct progress *progress, struct err *e)
{
    struct mem_table table;
    struct exec *x = mem_new(1, sizeof *x);
    x->backend = b;
    x->plan = p;
    if (!plan_memory(b, p, params, &x->params, &table, e) || !mem_table_check(&table, e))
        goto fail;
    for (size_t i = 0; i < p->n_ops; i++) {
        const struct op_attend *o = &p->ops[i].attend;
        if (p->ops[i].kind == OP_EMBED)
            x->embed = &p->ops[i].embed;
        if (p->ops[i].kind == OP_ATTEND && p->kv[o->kv].window)
            assert(o->window && o->window <= p->kv[o->kv].window);
    }
    x->held = mem_new(x->params.n_seqs, sizeof *x->held);
    x->has_rings = b->state_copy && has_rings(p, &x->params);
    assert(x->params.page % EXEC_ROWS_ALIGN == 0 || x->params.page == x->params.n_ctx);
    pages_make(&x->pages, x->params.n_seqs, x->params.n_ctx, x->params.page, x->params.n_pages);
    x->params.pages = &x->pages;
    x->want = mem_new(x->params.n_ubatch, sizeof *x->want);
    x->seq = mem_new(x->params.n_ubatch, sizeof *x->seq);
    x->best = mem_new(b->run_best ? EXEC_BEST_ROWS : 0, sizeof *x->best);
    if (p->n_vocab && !reserve_logits(x, x->params.n_seqs, e))
        goto fail;
    x->state = b->open(p, &x->params, log, progress, e);
    x->params.opened = NULL; /* the backend's now */
    if (!x->state)
        goto fail;
    return x;
fail:
    exec_device_close(b, &x->params);
    exec_close(x);
    return NULL;
}

void exec_lose(struct exec *x)
{
    if (x->state)
        x->backend->close(x->state);
    x->state = NULL;
    memset(x->held, 0, x->params.n_seqs * sizeof *x->held);
    pages_clear(&x->pages);
    x->n_logits = x->n_best = 0;
}

bool exec_is_open(const struct exec *x)
{
    return x->state != NULL;
}

bool exec_reopen(struct exec *x, const struct log *log, const struct progress *progress,
                 struct err *e)
{
    exec_lose(x);
    x->params.or_next = true;
    x->state = x->backend->open(x->plan, &x->params, log, progress, e);
    return x->state != NULL;
}

static bool has_device(const struct exec *x, struct err *e)
{
    return x->state || err_set(e, ERR_DEVICE, "the device was lost and is not open");
}

void exec_close(struct exec *x)
{
    if (!x)
        return;
    if (x->state)
        x->backend->close(x->state);
    mem_big_free(x->logits, x->n_logits_room * x->plan->n_vocab * sizeof(float));
    pages_free(&x->pages);
    free(x->held);
    free(x->want);
    free(x->seq);
    free(x->best);
    free(x);
}

const struct exec_params *exec_params_of(const struct exec *x)
{
    return &x->params;
}

/* ---- run ------------------------------------------------------------------------------------- */

static uint32_t seq_of(const struct batch *b, uint32_t i)
{
    return b->seq ? b->seq[i] : 0;
}

static bool wanted(const struct batch *b, uint32_t i)
{
    return b->want_logits ? b->want_logits[i] : i + 1 == b->n;
}

/* The row before row i of the same sequence, or i when it is the first. */
static uint32_t row_before(const struct batch *b, uint32_t i)
{
    for (uint32_t j = i; j-- > 0;)
        if (seq_of(b, j) == seq_of(b, i))
            return j;
    return i;
}

/* Whether a sequence can go on at its first row of a batch, row i. */
static bool check_begin(const struct exec *x, uint32_t i, uint32_t seq, uint32_t pos, struct err *e)
{
    const struct exec_reach at = exec_reach(x, seq);
    if (pos > x->held[seq].n)
        return err_set(e, ERR_USAGE, "row %u: position %u, but sequence %u holds %u tokens", i, pos,
                       seq, x->held[seq].n);
    if (!exec_within(at, pos))
        return err_set(e, ERR_USAGE,
                       "row %u: position %u, but sequence %u goes on at %u to %u, at 0 or from a "
                       "saved state",
                       i, pos, seq, at.first, at.last);
    return true;
}

static bool check_row(const struct exec *x, const struct batch *b, uint32_t i, struct err *e)
{
    const uint32_t seq = seq_of(b, i), pos = b->pos[i];
    if (seq >= x->params.n_seqs)
        return err_set(e, ERR_USAGE, "row %u: sequence %u, there are %u", i, seq, x->params.n_seqs);
    if (pos >= x->params.n_ctx)
        return err_set(e, ERR_LIMIT, "row %u: position %u is outside the context of %u tokens", i,
                       pos, x->params.n_ctx);
    const uint32_t before = row_before(b, i);
    if (before != i && pos != b->pos[before] + 1)
        return err_set(e, ERR_USAGE, "row %u: position %u follows position %u", i, pos,
                       b->pos[before]);
    if (before == i && !check_begin(x, i, seq, pos, e))
        return false;
    if (x->embed && (b->ids[i] < 0 || (uint64_t)b->ids[i] >= x->embed->table->ne[1]))
        return err_set(e, ERR_USAGE, "row %u: token %d, the vocabulary has %llu", i, b->ids[i],
                       (unsigned long long)x->embed->table->ne[1]);
    return true;
}

/* After a run that failed a sequence keeps what is before its first row of the batch, and no state.
 */
static void forget_rows(struct exec *x, const struct batch *b)
{
    for (uint32_t i = 0; i < b->n; i++) {
        struct held *h = &x->held[seq_of(b, i)];
        h->n = (uint32_t)num_min(h->n, b->pos[i]);
        h->n_state = 0;
    }
}

/* A row at pos is about to be stored, over the one that stood a ring's length before it. Rings hold
 * a window and n_ubatch rows. */
static void overwrite(const struct exec *x, struct held *h, uint32_t pos)
{
    if (pos == 0)
        h->whole = 0;
    if (x->has_rings && pos + 1 > x->params.n_ubatch)
        h->whole = (uint32_t)num_max(h->whole, pos + 1 - x->params.n_ubatch);
}

/* Positions [first, end) of a sequence get pages that are its own. False and e where there are not
 * as many, and where a device fails to copy what it keeps of one: it holds nothing then. */
static bool own_pages(struct exec *x, uint32_t seq, uint32_t first, uint32_t end, struct err *e)
{
    if (first == end)
        return true;
    pages_cut(&x->pages, seq, end);
    const uint32_t n = pages_needed(&x->pages, seq, first, end);
    if (n > x->pages.n_free)
        return err_set(e, ERR_LIMIT, "sequence %u needs %u pages for tokens %u to %u, %u are free",
                       seq, n, first, end - 1, x->pages.n_free);
    const struct page_copy copy = pages_write(&x->pages, seq, first, end);
    if (copy.n_rows == 0 || x->backend->page_copy(x->state, &copy, e))
        return true;
    x->held[seq] = (struct held){0};
    return false;
}

/* Rows [from, from + n) of b, at most n_ubatch, with nothing left NULL. */
static bool run_piece(struct exec *x, const struct batch *b, uint32_t from, uint32_t n,
                      struct err *e)
{
    uint32_t n_wanted = 0;
    for (uint32_t i = 0; i < n; i++) {
        x->seq[i] = seq_of(b, from + i);
        x->want[i] = x->plan->n_vocab && wanted(b, from + i);
        n_wanted += x->want[i];
        for (uint32_t pos = b->pos[from + i]; pos <= b->pos[from + i] + b->goes_on; pos++)
            overwrite(x, &x->held[x->seq[i]], pos);
        if (!own_pages(x, x->seq[i], b->pos[from + i], b->pos[from + i] + 1 + b->goes_on, e))
            return false;
    }
    const struct batch piece = {
        .n = n,
        .ids = b->ids ? b->ids + from : NULL,
        .pos = b->pos + from,
        .seq = x->seq,
        .want_logits = x->want,
        .cancel = b->cancel,
        .want_best = b->want_best,
        .draws = b->draws,
        .goes_on = b->goes_on,
    };
    if (b->want_best) {
        x->n_best = n_wanted;
        return x->backend->run_best(x->state, &piece, x->best, e);
    }
    float *logits = x->logits ? x->logits + x->n_logits * x->plan->n_vocab : NULL;
    if (!x->backend->run(x->state, &piece, logits, e))
        return false;
    x->n_logits += n_wanted;
    return true;
}

/* All rows in pieces. The batch is checked. */
static bool run_pieces(struct exec *x, const struct batch *b, struct err *e)
{
    for (uint32_t from = 0; from < b->n; from += x->params.n_ubatch) {
        const uint32_t n = (uint32_t)num_min(b->n - from, x->params.n_ubatch);
        if (b->cancel && atomic_load(b->cancel))
            return err_set(e, ERR_CANCELLED, "cancelled after %u of %u tokens", from, b->n);
        if (!run_piece(x, b, from, n, e))
            return false;
    }
    return true;
}

/* Whether the backend is to find the best tokens of the wanted rows. */
static bool finds_best(const struct exec *x, const struct batch *b, size_t n_wanted)
{
    return b->want_best && x->backend->run_best && x->plan->n_vocab &&
           x->plan->n_vocab <= x->backend->most_vocab && n_wanted > 0 &&
           n_wanted <= EXEC_BEST_ROWS && b->n <= x->params.n_ubatch;
}

/* Whether the step behind this batch may be begun: there is room for it. */
static bool may_go_on(const struct exec *x, const struct batch *b)
{
    uint32_t n_pages = 0;
    if (!b->want_best || !b->goes_on)
        return false;
    for (uint32_t i = 0; i < b->n; i++) {
        if (!wanted(b, i) || row_before(b, i) != i || b->pos[i] + 1 == x->params.n_ctx)
            return false;
        n_pages += exec_pages_needed(x, seq_of(b, i), b->pos[i], 2);
    }
    return exec_pages_suffice(x) || n_pages <= x->pages.n_free;
}

bool exec_run(struct exec *x, const struct batch *given, struct err *e)
{
    struct batch copy = *given, *b = &copy;
    size_t n_wanted = 0;
    assert(b->ids || !x->embed);
    x->n_logits = x->n_best = 0;
    if (!has_device(x, e))
        return false;
    for (uint32_t i = 0; i < b->n; i++) {
        if (!check_row(x, b, i, e))
            return false;
        n_wanted += wanted(b, i);
    }
    if (x->plan->n_vocab && !reserve_logits(x, n_wanted, e))
        return false;
    b->want_best = finds_best(x, given, n_wanted);
    b->goes_on = may_go_on(x, b);
    if (!run_pieces(x, b, e)) {
        forget_rows(x, b);
        x->n_logits = x->n_best = 0;
        return false;
    }
    for (uint32_t i = 0; i < b->n; i++) {
        struct held *h = &x->held[seq_of(b, i)];
        h->n = h->n_state = b->pos[i] + 1;
    }
    return true;
}

/* ---- going on and going back -----------------------------------------------------------------
 */

struct exec_reach exec_reach(const struct exec *x, uint32_t seq)
{
    assert(seq < x->params.n_seqs);
    const struct held *h = &x->held[seq];
    struct exec_reach at = {h->whole, h->n};
    if (x->plan->n_states)
        at = (struct exec_reach){(uint32_t)num_max(at.first, h->n_state),
                                 (uint32_t)num_min(at.last, h->n_state)};
    return at.first <= at.last ? at : (struct exec_reach){0, 0};
}

uint64_t exec_state_bytes(const struct backend *b, const struct plan *p,
                          const struct exec_params *params)
{
    const struct exec_params filled = with_defaults(b, params);
    return b->state_bytes ? b->state_bytes(p, &filled) : 0;
}

bool exec_state_save(struct exec *x, uint32_t seq, uint32_t n_tokens, void *out, struct err *e)
{
    const struct exec_reach at = exec_reach(x, seq);
    assert(x->backend->state_copy && at.first <= n_tokens && n_tokens <= at.last);
    return has_device(x, e) &&
           x->backend->state_copy(x->state, seq, n_tokens, &(struct state_copy){.to = out}, e);
}

bool exec_state_restore(struct exec *x, uint32_t seq, uint32_t n_tokens, const void *in,
                        struct err *e)
{
    assert(x->backend->state_copy && seq < x->params.n_seqs);
    if (n_tokens > x->held[seq].n)
        return err_set(e, ERR_USAGE, "the state is behind %u tokens, sequence %u holds %u",
                       n_tokens, seq, x->held[seq].n);
    if (!has_device(x, e) ||
        !x->backend->state_copy(x->state, seq, n_tokens, &(struct state_copy){.from = in}, e)) {
        x->held[seq] = (struct held){0};
        return false;
    }
    x->held[seq] = (struct held){
        .n = n_tokens,
        .whole = x->has_rings ? n_tokens : 0,
        .n_state = n_tokens,
    };
    return true;
}

/* A sequence was given n tokens in the layers that keep all, if that was done. */
static bool take_rows(struct exec *x, uint32_t seq, uint32_t n, bool done)
{
    /* No row finds its window in the rings. */
    x->held[seq] =
        done ? (struct held){.n = n, .whole = x->has_rings ? UINT32_MAX : 0} : (struct held){0};
    return done;
}

bool exec_seq_copy(struct exec *x, uint32_t from, uint32_t to, uint32_t n, struct err *e)
{
    assert(from != to && from < x->params.n_seqs && to < x->params.n_seqs);
    if (n > x->held[from].n)
        return err_set(e, ERR_USAGE, "%u tokens to copy, sequence %u holds %u", n, from,
                       x->held[from].n);
    if (!has_device(x, e))
        return take_rows(x, to, 0, false);
    pages_share(&x->pages, from, to, n);
    return take_rows(x, to, n, true);
}

void exec_seq_cut(struct exec *x, uint32_t seq, uint32_t n)
{
    struct held *h = &x->held[seq];
    if (n == 0)
        *h = (struct held){0};
    h->n = (uint32_t)num_min(h->n, n);
    pages_cut(&x->pages, seq, h->n);
}

struct exec_pages exec_pages(const struct exec *x)
{
    return (struct exec_pages){pages_used(&x->pages), x->pages.n_all};
}

uint32_t exec_pages_held(const struct exec *x, const bool *which)
{
    return pages_held(&x->pages, which);
}

bool exec_pages_any(const struct exec *x, uint32_t seq)
{
    return pages_any(&x->pages, seq);
}

uint32_t exec_pages_own(const struct exec *x, uint32_t seq)
{
    return pages_own(&x->pages, seq);
}

uint32_t exec_pages_needed(const struct exec *x, uint32_t seq, uint32_t first, uint32_t n)
{
    return n ? pages_needed(&x->pages, seq, first, first + n) : 0;
}

bool exec_pages_suffice(const struct exec *x)
{
    const struct pages *p = &x->pages;
    return p->n_all == (uint64_t)p->n_seqs * p->n_in_seq;
}

uint64_t exec_rows_bytes(const struct backend *b, const struct plan *p,
                         const struct exec_params *params, uint32_t n)
{
    const struct exec_params filled = with_defaults(b, params);
    return b->rows_bytes(p, &filled, n);
}

uint64_t exec_rows_size(const struct exec *x, uint32_t n)
{
    return x->backend->rows_bytes(x->plan, &x->params, n);
}

bool exec_rows_save(struct exec *x, uint32_t seq, uint32_t first, uint32_t n, void *out,
                    struct err *e)
{
    assert(first % EXEC_ROWS_ALIGN == 0 && first + n <= x->held[seq].n);
    struct state_copy copy = {.to = out};
    return has_device(x, e) && x->backend->rows_copy(x->state, seq, first, first + n, &copy, e);
}

bool exec_rows_load(struct exec *x, uint32_t seq, uint32_t first, uint32_t n, const void *in,
                    struct err *e)
{
    struct state_copy copy = {.from = in};
    assert(first % EXEC_ROWS_ALIGN == 0 && first <= x->held[seq].n && first + n <= x->params.n_ctx);
    return take_rows(x, seq, first + n,
                     has_device(x, e) && own_pages(x, seq, first, first + n, e) &&
                         x->backend->rows_copy(x->state, seq, first, first + n, &copy, e));
}

/* ---- results --------------------------------------------------------------------------------- */

const float *exec_logits(const struct exec *x, uint32_t i)
{
    return i < x->n_logits ? x->logits + (size_t)i * x->plan->n_vocab : NULL;
}

const struct best *exec_best(const struct exec *x, uint32_t i)
{
    return i < x->n_best ? &x->best[i] : NULL;
}

bool exec_refuse_nan(const struct exec *x, uint32_t n, struct err *e)
{
    return err_set(e, ERR_FORMAT,
                   "behind %u tokens the logits are NaN: the model's file is damaged, or the %s "
                   "backend fails on this device: try another --backend",
                   n, x->backend->name);
}

const float *exec_row(struct exec *x, uint32_t i, struct err *e)
{
    if (i >= x->n_best)
        return exec_logits(x, i);
    float *row = x->logits + (size_t)i * x->plan->n_vocab;
    return has_device(x, e) && x->backend->row(x->state, i, row, e) ? row : NULL;
}

bool exec_slot_get(struct exec *x, slot_id s, uint32_t n_rows, void *out, struct err *e)
{
    return x->backend->slot_get(x->state, s, n_rows, out, e);
}

bool exec_slot_put(struct exec *x, slot_id s, uint32_t n_rows, const void *in, struct err *e)
{
    return x->backend->slot_put(x->state, s, n_rows, in, e);
}

const struct exec_event *exec_events(const struct exec *x, size_t *n)
{
    *n = 0;
    return x->params.profile && x->backend->events ? x->backend->events(x->state, n) : NULL;
}

void exec_profile(const struct exec *x, struct buf *out)
{
    if (x->params.profile && x->backend->profile)
        x->backend->profile(x->state, out);
}
