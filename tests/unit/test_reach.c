/* Going on and going back: whatever way a sequence came to hold its tokens, the logits of a row
 * have the bits of a cold start (on a GPU, where kernels depend on the number of rows: they are
 * near those of ref), and what an exec cannot do it refuses. Random walks over two sequences of
 * models whose layers keep everything, a window, a recurrent state, or some of each. */
#include <pthread.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "kit/models.h"
#include "test.h"

enum { N_SEQS = 2, N_CTX = 120, N_SAVED = 4, WINDOW = 6 };

/* A model: an architecture of the kit, or qwen3next with a window in its attention layers. */
struct kind {
    const char *arch;
    bool windowed; /* made so here */
    bool has_state, has_window;
};
static const struct kind kinds[] = {
    {.arch = "qwen3moe"},
    {.arch = "gpt-oss", .has_window = true},
    {.arch = "qwen3next", .has_state = true},
    {.arch = "qwen3next", .windowed = true, .has_state = true, .has_window = true},
    {.arch = "deepseek2"},
};

static struct kit_model open_kind(const struct kind *k)
{
    struct kit_spec spec = {.arch = k->arch, .n_embd = 32, .head_dim = 32, .n_ff = 32};
    spec.window = WINDOW;
    struct kit_model m = kit_open_model(&spec);
    struct plan *p = &m.model->plan;
    for (size_t i = 0; k->windowed && i < p->n_ops; i++)
        if (p->ops[i].kind == OP_ATTEND)
            p->ops[i].attend.window = p->kv[p->ops[i].attend.kv].window = WINDOW;
    return m;
}

/* One sequence of a walk: what it should hold, and states saved from it. */
struct track {
    int32_t ids[N_CTX];
    uint32_t n;
    struct {
        uint32_t n; /* 0: free */
        void *bytes;
    } saved[N_SAVED];
};

struct walk {
    const struct kind *kind;
    const char *backend;
    const char *cold; /* of the cold starts */
    double limit;     /* largest relative error of a row; 0: the same bits */
    const struct plan *plan;
    struct exec *x;
    struct rng rng;
    uint32_t n_ubatch;
    struct track tracks[N_SEQS];
    uint64_t n_state_bytes;
    uint32_t n_refused, n_restored, n_cancelled, n_copied; /* what happened */
};

static uint32_t below(struct walk *w, uint32_t n)
{
    return (uint32_t)rng_below(&w->rng, n);
}

/* Rows of a batch, all of whose logits are wanted. */
struct rows {
    uint32_t n;
    int32_t ids[2 * N_CTX];
    uint32_t pos[2 * N_CTX], seq[2 * N_CTX];
    bool want[2 * N_CTX];
};

/* Adds the row at `pos` of a track. */
static void add_row(struct rows *r, const struct walk *w, uint32_t seq, uint32_t pos)
{
    r->ids[r->n] = w->tracks[seq].ids[pos];
    r->pos[r->n] = pos;
    r->seq[r->n] = seq;
    r->want[r->n++] = true;
}

static bool run_rows(struct walk *w, const struct rows *r, const atomic_bool *cancel, struct err *e)
{
    const struct batch b = {.n = r->n,
                            .ids = r->ids,
                            .pos = r->pos,
                            .seq = r->seq,
                            .want_logits = r->want,
                            .cancel = cancel};
    return exec_run(w->x, &b, e);
}

/* Runs rows [from, from + n) of a track. */
static bool run(struct walk *w, uint32_t seq, uint32_t from, uint32_t n, const atomic_bool *cancel,
                struct err *e)
{
    struct rows r = {0};
    for (uint32_t i = 0; i < n; i++)
        add_row(&r, w, seq, from + i);
    return run_rows(w, &r, cancel, e);
}

static bool differs(const struct walk *w, const float *got, const float *want)
{
    const size_t n_vocab = w->plan->n_vocab;
    return w->limit > 0 ? !(kit_rel_err(got, want, n_vocab) <= w->limit)
                        : memcmp(got, want, n_vocab * sizeof *want) != 0;
}

/* Every stride-th row of the last run, from row `first` on, has the logits of row from, from + 1,
 * ... of a cold start: all rows at once, with room for all of them. */
static void check_logits(const struct walk *w, const struct track *t, uint32_t from, uint32_t first,
                         uint32_t stride)
{
    const size_t n_vocab = w->plan->n_vocab;
    const struct exec_params params = {
        .n_ctx = t->n, .type_k = BLOCK_F16, .type_v = BLOCK_F16, .n_threads = 1};
    struct exec *cold = kit_open_exec(w->cold, w->plan, &params);
    float *want = mem_new(t->n * n_vocab, sizeof *want);
    kit_run(cold, t->ids, 0, t->n, 0, w->plan->n_vocab, want);
    for (uint32_t i = from; i < t->n; i++)
        if (differs(w, exec_logits(w->x, first + (i - from) * stride), want + i * n_vocab))
            test_fail(__FILE__, __LINE__, "%s%s on %s, batches of %u: row %u, read from %u on",
                      w->kind->arch, w->kind->windowed ? " with windows" : "", w->backend,
                      w->n_ubatch, i, from);
    exec_close(cold);
    free(want);
}

/* The track now ends at n: what was saved behind it is lost. */
static void cut(struct track *t, uint32_t n)
{
    t->n = n;
    for (int i = 0; i < N_SAVED; i++)
        if (t->saved[i].n > n)
            t->saved[i].n = 0;
}

/* The first position of reach after rows [from, n) were read. */
static uint32_t first_reached(const struct walk *w, struct exec_reach before, uint32_t from,
                              uint32_t n)
{
    const uint32_t first = from ? before.first : 0;
    if (w->kind->has_state)
        return n;
    return w->kind->has_window && n > first + w->n_ubatch ? n - w->n_ubatch : first;
}

/* Reads n new tokens from position `from` on, which may be out of reach. */
static void go_on(struct walk *w, uint32_t seq, uint32_t from, uint32_t n)
{
    struct err e = {0};
    struct track *t = &w->tracks[seq];
    const struct exec_reach before = exec_reach(w->x, seq);
    if (!exec_within(before, from)) {
        CHECK(!run(w, seq, from, 1, NULL, &e));
        CHECK_INT(e.code, ERR_USAGE);
        w->n_refused++;
        return;
    }
    cut(t, from);
    while (t->n < from + n && t->n < N_CTX)
        t->ids[t->n++] = (int32_t)rng_below(&w->rng, w->plan->n_vocab);
    if (t->n == from)
        return;
    CHECK_OK(run(w, seq, from, t->n - from, NULL, &e));
    check_logits(w, t, from, 0, 1);
    const struct exec_reach at = exec_reach(w->x, seq);
    CHECK_INT(at.last, t->n);
    CHECK_INT(at.first, first_reached(w, before, from, t->n));
}

/* One batch with rows of all sequences in turn. */
static void go_on_together(struct walk *w, uint32_t n)
{
    struct err e = {0};
    struct rows r = {0};
    for (uint32_t s = 0; s < N_SEQS; s++)
        if (!exec_within(exec_reach(w->x, s), w->tracks[s].n) || w->tracks[s].n + n > N_CTX)
            return;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t s = 0; s < N_SEQS; s++) {
            struct track *t = &w->tracks[s];
            t->ids[t->n++] = (int32_t)rng_below(&w->rng, w->plan->n_vocab);
            add_row(&r, w, s, t->n - 1);
        }
    CHECK_OK(run_rows(w, &r, NULL, &e));
    for (uint32_t s = 0; s < N_SEQS; s++)
        check_logits(w, &w->tracks[s], w->tracks[s].n - n, s, N_SEQS);
}

static void save(struct walk *w, uint32_t seq)
{
    struct err e = {0};
    struct track *t = &w->tracks[seq];
    const struct exec_reach at = exec_reach(w->x, seq);
    const uint32_t i = below(w, N_SAVED), n = at.first + below(w, at.last - at.first + 1);
    if (w->n_state_bytes == 0)
        return;
    CHECK_OK(exec_state_save(w->x, seq, n, t->saved[i].bytes, &e));
    t->saved[i].n = n;
}

/* False when there is nothing saved. */
static bool restore(struct walk *w, uint32_t seq)
{
    struct err e = {0};
    struct track *t = &w->tracks[seq];
    uint32_t i = below(w, N_SAVED);
    for (int k = 0; k < N_SAVED && t->saved[i].n == 0; k++)
        i = (i + 1) % N_SAVED;
    const uint32_t n = t->saved[i].n;
    if (n == 0)
        return false;
    CHECK_OK(exec_state_restore(w->x, seq, n, t->saved[i].bytes, &e));
    cut(t, n);
    CHECK(exec_within(exec_reach(w->x, seq), n));
    w->n_restored++;
    return true;
}

/* How many tokens the tracks begin with alike. */
static uint32_t shared_head(const struct walk *w)
{
    const struct track *a = &w->tracks[0], *b = &w->tracks[1];
    uint32_t n = 0;
    while (n < a->n && n < b->n && a->ids[n] == b->ids[n])
        n++;
    return n;
}

static void copy_through_host(struct walk *w, uint32_t from, uint32_t shared, uint32_t n)
{
    struct err e = {0};
    const size_t n_bytes =
        exec_rows_bytes(backend_find(w->backend), w->plan, exec_params_of(w->x), n - shared);
    void *bytes = mem_new(n_bytes, 1);
    CHECK_OK(exec_rows_save(w->x, from, shared, n - shared, bytes, &e));
    CHECK_OK(exec_rows_load(w->x, 1 - from, shared, n - shared, bytes, &e));
    free(bytes);
}

/* The other sequence takes the tokens that this one holds up to where it can go on, or up to
 * anywhere, straight or through the host: then only layers that keep everything can go on behind
 * them. */
static void copy(struct walk *w, uint32_t from)
{
    struct err e = {0};
    struct track *t = &w->tracks[from], *other = &w->tracks[1 - from];
    const struct exec_reach at = exec_reach(w->x, from);
    const uint32_t n =
        below(w, 2) ? at.first + below(w, at.last - at.first + 1) : below(w, t->n + 1);
    CHECK(!exec_seq_copy(w->x, from, 1 - from, t->n + 1, &e));
    CHECK_INT(e.code, ERR_USAGE);
    uint32_t shared = below(w, (uint32_t)num_min(shared_head(w), n) + 1);
    if (below(w, 2))
        CHECK_OK(exec_seq_copy(w->x, from, 1 - from, n, &e));
    else
        copy_through_host(w, from, shared -= shared % EXEC_ROWS_ALIGN, n);
    memcpy(other->ids, t->ids, n * sizeof *t->ids);
    cut(other, shared);
    other->n = n;
    const bool whole = !w->kind->has_state && w->n_state_bytes == 0;
    CHECK_INT(exec_reach(w->x, 1 - from).last, whole ? n : 0);
    w->n_copied++;
    if (whole || n == 0 || !exec_within(at, n))
        return;
    CHECK_OK(exec_state_save(w->x, from, n, other->saved[0].bytes, &e));
    other->saved[0].n = n;
    CHECK_OK(exec_state_restore(w->x, 1 - from, n, other->saved[0].bytes, &e));
    CHECK(exec_within(exec_reach(w->x, 1 - from), n));
}

struct canceller {
    atomic_bool cancel;
    uint64_t after_ns;
};

static void *cancel_later(void *ctx)
{
    struct canceller *c = ctx;
    const uint64_t until = clock_ns() + c->after_ns;
    while (clock_ns() < until)
        continue;
    atomic_store(&c->cancel, true);
    return NULL;
}

/* A run that is cancelled somewhere in it, or after it. A batch that is no longer than what rings
 * hold beyond a window costs nothing but a state. */
static void cancel(struct walk *w, uint32_t seq, uint32_t n)
{
    struct err e = {0};
    struct track *t = &w->tracks[seq];
    struct canceller c = {.after_ns = rng_below(&w->rng, 400000)};
    pthread_t thread;
    const uint32_t from = t->n;
    if (from + n > N_CTX || !exec_within(exec_reach(w->x, seq), from))
        return;
    for (uint32_t i = 0; i < n; i++)
        t->ids[from + i] = (int32_t)rng_below(&w->rng, w->plan->n_vocab);
    CHECK_INT(pthread_create(&thread, NULL, cancel_later, &c), 0);
    const bool done = run(w, seq, from, n, &c.cancel, &e);
    pthread_join(thread, NULL);
    if (done) {
        t->n += n;
        check_logits(w, t, from, 0, 1);
        return;
    }
    CHECK_INT(e.code, ERR_CANCELLED);
    const struct exec_reach at = exec_reach(w->x, seq);
    CHECK(at.last == from || at.last == 0);
    CHECK(at.last == from || w->kind->has_state || n > w->n_ubatch);
    w->n_cancelled++;
}

static void step(struct walk *w)
{
    const uint32_t seq = below(w, N_SEQS);
    const struct track *t = &w->tracks[seq];
    const uint32_t n = 1 + below(w, below(w, 2) ? 3 : 3 * WINDOW);
    switch (below(w, 11)) {
    case 0: go_on(w, seq, below(w, 4) ? t->n : 0, n); break;
    case 1: save(w, seq); break;
    case 2: restore(w, seq); break;
    case 3: go_on(w, seq, below(w, t->n + 1), n); break; /* often out of reach */
    case 4: go_on(w, seq, t->n - (uint32_t)num_min(t->n, below(w, WINDOW)), n); break;
    case 5: cancel(w, seq, n); break;
    case 6: go_on_together(w, n); break;
    case 7: copy(w, seq); break;
    default: /* where it is, if it can */
        if (!exec_within(exec_reach(w->x, seq), t->n) && !restore(w, seq))
            cut(&w->tracks[seq], 0);
        go_on(w, seq, t->n, n);
    }
}

/* In pages as small as can be. */
static void check_walk(const char *backend, const char *cold, const struct kind *kind,
                       uint32_t n_ubatch, int n_steps)
{
    struct kit_model m = open_kind(kind);
    const struct exec_params params = {.n_ctx = N_CTX,
                                       .n_seqs = N_SEQS,
                                       .n_ubatch = n_ubatch,
                                       .type_k = BLOCK_F16,
                                       .type_v = BLOCK_F16,
                                       .n_threads = 2,
                                       .page = strcmp(backend, "vulkan") ? 16 : 64};
    struct walk w = {.kind = kind,
                     .backend = backend,
                     .cold = cold,
                     .limit = strcmp(backend, cold) == 0 ? 0 : 1e-2,
                     .plan = &m.model->plan,
                     .x = kit_open_exec(backend, &m.model->plan, &params),
                     .rng = {test_seed() + n_ubatch},
                     .n_ubatch = n_ubatch};
    w.n_state_bytes = exec_state_bytes(backend_find(backend), w.plan, &params);
    CHECK(!w.x || (w.n_state_bytes > 0) == (kind->has_state || kind->has_window));
    for (int s = 0; s < N_SEQS; s++)
        for (int i = 0; i < N_SAVED; i++)
            w.tracks[s].saved[i].bytes = mem_new(w.n_state_bytes, 1);
    for (int i = 0; w.x && i < n_steps; i++)
        step(&w);
    if (w.x)
        printf("     %s%s on %s, batches of %u: %u refused, %u restored, %u cancelled, "
               "%u copied\n",
               kind->arch, kind->windowed ? " with windows" : "", backend, n_ubatch, w.n_refused,
               w.n_restored, w.n_cancelled, w.n_copied);
    for (int s = 0; s < N_SEQS; s++)
        for (int i = 0; i < N_SAVED; i++)
            free(w.tracks[s].saved[i].bytes);
    exec_close(w.x);
    kit_close_model(&m);
}

static void check_walks(const char *backend)
{
    static const uint32_t n_ubatch[] = {1, 4, 16, 40};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (size_t i = 0; i < sizeof n_ubatch / sizeof *n_ubatch; i++)
            check_walk(backend, backend, &kinds[k], n_ubatch[i], 60);
}

TEST(exec_rows_have_the_bits_of_a_cold_start_after_random_walks_on_ref)
{
    check_walks("ref");
}

TEST(exec_rows_have_the_bits_of_a_cold_start_after_random_walks_on_cpu)
{
    check_walks("cpu");
}

TEST(exec_rows_agree_with_ref_after_random_walks_on_vulkan)
{
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        check_walk("vulkan", "ref", &kinds[k], k % 2 ? 4 : 16, 25);
}

/* A layer with a window keeps that and a batch, and never more than the context. */
TEST(exec_rings_are_as_long_as_a_window_and_a_batch)
{
    static const struct {
        uint32_t n_ctx, n_ubatch, n_rows;
    } cases[] = {{1000, 10, 15}, {1000, 1, 6}, {16, 10, 15}, {15, 10, 15}, {5, 10, 5}, {5, 1, 5}};
    struct err e = {0};
    struct mem_table table;
    struct kit_model m = open_kind(&kinds[1]);
    const struct plan *p = &m.model->plan;
    const uint64_t layer = plan_kv_bytes_per_token(p, BLOCK_F16, BLOCK_F16) / 2; /* of two */
    CHECK_INT(p->n_kv, 2);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const uint32_t n_ctx = cases[i].n_ctx, n_rows = cases[i].n_rows;
        const struct exec_params params = {.n_ctx = n_ctx,
                                           .n_seqs = 3,
                                           .n_ubatch = cases[i].n_ubatch,
                                           .type_k = BLOCK_F16,
                                           .type_v = BLOCK_F16};
        CHECK_OK(exec_memory(&backend_ref, p, &params, &table, &e));
        CHECK_STR(str_of(table.rows[1].what), STR("kv cache"));
        const uint32_t page = n_ctx < PAGE_POSITIONS ? n_ctx : PAGE_POSITIONS;
        const uint32_t n_all = pages_of(n_ctx, page) * page; /* rows of what is no ring */
        CHECK_INT(table.rows[1].n_bytes, 3 * layer * ((n_rows < n_ctx ? n_rows : n_all) + n_all));
        CHECK((strstr(table.rows[1].detail, "1 of 2 layers keep") != NULL) == (n_rows < n_ctx));
        CHECK_INT(exec_state_bytes(&backend_ref, p, &params),
                  n_rows < n_ctx ? layer * (WINDOW - 1) : 0);
        CHECK_OK(exec_memory(&backend_cpu, p, &params, &table, &e));
        const uint32_t tiles = (n_rows + 15) / 16 + (n_all + 15) / 16;
        CHECK(table.rows[1].n_bytes >= 3 * layer * 16 * tiles &&
              table.rows[1].n_bytes < 3 * layer * 16 * tiles + 1024);
    }
    kit_close_model(&m);
}

/* Windows longer than the context, batches longer than both. */
TEST(exec_goes_back_anywhere_where_nothing_is_a_ring)
{
    struct err e = {0};
    struct kit_model m = open_kind(&kinds[1]);
    struct exec *x = kit_open_exec("cpu", &m.model->plan,
                                   &(struct exec_params){.n_ctx = WINDOW - 1, .type_k = BLOCK_F16});
    const int32_t ids[WINDOW] = {1, 2, 3, 4, 5, 6};
    const uint32_t pos[WINDOW] = {0, 1, 2, 3, 4, 5};
    CHECK_OK(exec_run(x, &(struct batch){.n = WINDOW - 1, .ids = ids, .pos = pos}, &e));
    CHECK(exec_reach(x, 0).first == 0 && exec_reach(x, 0).last == WINDOW - 1);
    CHECK_OK(exec_run(x, &(struct batch){.n = 1, .ids = ids, .pos = pos + 1}, &e));
    CHECK(!exec_run(x, &(struct batch){.n = 1, .ids = ids, .pos = pos + WINDOW - 1}, &e));
    CHECK_INT(e.code, ERR_LIMIT);
    exec_close(x);
    kit_close_model(&m);
}
