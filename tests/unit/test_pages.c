/* Pages: random copies, cuts and writes against sequences that share nothing; and that an exec
 * keeps what sequences begin with alike once. */
#include "base/mem.h"
#include "base/rng.h"
#include "kit/models.h"
#include "test.h"

/* ---- the tables ------------------------------------------------------------------------------ */

enum { SEQS = 4, SIZE = 4, CTX = 30, PAGES = SEQS * 8, FEW_PAGES = 12, STEPS = 20000 };

/* What sequences hold, and the memory that the tables tell where it is. */
struct memory {
    struct pages pages;
    uint32_t held[SEQS][CTX], n[SEQS];
    uint32_t bytes[PAGES][SIZE];
    uint32_t last; /* number written */
};

static uint32_t *place(struct memory *m, uint32_t seq, uint32_t pos)
{
    return &m->bytes[page_at(&m->pages, seq, pos / SIZE)][pos % SIZE];
}

static void write_numbers(struct memory *m, uint32_t seq, uint32_t first, uint32_t end)
{
    const struct page_copy copy = pages_write(&m->pages, seq, first, end);
    CHECK(copy.n_rows <= first % SIZE);
    memcpy(m->bytes[copy.to], m->bytes[copy.from], copy.n_rows * sizeof(uint32_t));
    for (uint32_t pos = first; pos < end; pos++)
        *place(m, seq, pos) = m->held[seq][pos] = ++m->last;
    m->n[seq] = end;
}

static void share_numbers(struct memory *m, uint32_t from, uint32_t to, uint32_t n)
{
    pages_share(&m->pages, from, to, n);
    memcpy(m->held[to], m->held[from], n * sizeof *m->held[to]);
    m->n[to] = n;
    for (uint32_t pos = 0; pos < n; pos++)
        CHECK(place(m, from, pos) == place(m, to, pos));
}

/* Pages of the sequences in `which`, and those that seq alone holds, counted page by page. */
static void check_counts(const struct memory *m, const bool which[SEQS], uint32_t seq)
{
    uint32_t n_held = 0, n_own = 0;
    for (uint32_t page = 0; page < m->pages.n_all; page++) {
        bool is_held = false, is_own = false;
        for (uint32_t i = 0; i < SEQS; i++)
            for (uint32_t at = 0; at < m->pages.n_in_seq; at++) {
                const bool has = page_at(&m->pages, i, at) == page;
                is_held = is_held || (has && which[i]);
                is_own = is_own || (has && i == seq);
            }
        n_held += is_held;
        n_own += is_own && m->pages.n_users[page] == 1;
    }
    CHECK_INT(pages_held(&m->pages, which), n_held);
    CHECK_INT(pages_own(&m->pages, seq), n_own);
}

static void check_tables(struct memory *m)
{
    const struct pages *p = &m->pages;
    uint32_t n_users[PAGES] = {0}, n_used = 0;
    for (uint32_t seq = 0; seq < SEQS; seq++)
        for (uint32_t i = 0; i < p->n_in_seq; i++) {
            const bool holds = i < pages_of(m->n[seq], SIZE);
            const uint32_t page = page_at(p, seq, i);
            CHECK(holds ? page < PAGES : page == NO_PAGE);
            n_used += holds && n_users[page]++ == 0;
        }
    CHECK_INT(pages_used(p), n_used);
    CHECK(!memcmp(p->n_users, n_users, p->n_all * sizeof *n_users));
    for (uint32_t i = 0; i < p->n_free; i++)
        CHECK_INT(n_users[p->free[i]], 0);
    for (uint32_t seq = 0; seq < SEQS; seq++)
        for (uint32_t pos = 0; pos < m->n[seq]; pos++)
            CHECK_INT(*place(m, seq, pos), m->held[seq][pos]);
}

TEST(pages_hold_what_sequences_hold_that_share_nothing)
{
    struct rng r = {test_seed()};
    struct memory m = {0};
    uint32_t n_copied = 0, n_shared = 0, n_full = 0;
    CHECK_INT(pages_of_all(SEQS, CTX, SIZE), PAGES);
    pages_make(&m.pages, SEQS, CTX, SIZE, PAGES);
    for (int i = 0; i < STEPS; i++) {
        const uint32_t seq = (uint32_t)rng_below(&r, SEQS);
        const uint32_t other = (seq + 1 + (uint32_t)rng_below(&r, SEQS - 1)) % SEQS;
        const uint32_t what = (uint32_t)rng_below(&r, 40);
        uint32_t first = m.n[seq];
        if (what == 0)
            first = (uint32_t)rng_below(&r, m.n[seq] + 1);
        if (what == 1) {
            share_numbers(&m, other, seq, (uint32_t)rng_below(&r, m.n[other] + 1));
            n_shared++;
        } else if (first < CTX) {
            const uint64_t changes = m.pages.n_changes;
            write_numbers(&m, seq, first,
                          first + 1 + (uint32_t)rng_below(&r, (CTX - first + 5) / 6));
            n_copied += m.pages.n_changes > changes && first % SIZE;
        }
        n_full += pages_used(&m.pages) == PAGES;
        check_tables(&m);
    }
    CHECK(n_copied > 50 && n_shared > 50 && n_full > 0);
    pages_clear(&m.pages);
    memset(m.n, 0, sizeof m.n);
    check_tables(&m);
    pages_free(&m.pages);
}

/* A pool that is too small for all: what is needed is what is taken, and a sequence that is cut
 * gives back what it alone holds. */
TEST(pages_that_may_run_out_are_counted_exactly)
{
    struct rng r = {test_seed()};
    struct memory m = {0};
    uint32_t n_short = 0, n_given_back = 0, n_sharing = 0;
    pages_make(&m.pages, SEQS, CTX, SIZE, FEW_PAGES);
    for (int i = 0; i < STEPS; i++) {
        const uint32_t seq = (uint32_t)rng_below(&r, SEQS);
        const uint32_t other = (seq + 1 + (uint32_t)rng_below(&r, SEQS - 1)) % SEQS;
        const uint32_t what = (uint32_t)rng_below(&r, 10);
        const bool which[SEQS] = {rng_below(&r, 2), rng_below(&r, 2), rng_below(&r, 2), false};
        check_counts(&m, which, seq);
        if (what == 0) {
            const uint32_t n = (uint32_t)rng_below(&r, m.n[seq] + 1);
            const uint32_t n_free = m.pages.n_free, n_own = pages_own(&m.pages, seq);
            pages_cut(&m.pages, seq, n);
            m.n[seq] = n;
            CHECK_INT(m.pages.n_free - n_free, n_own - pages_own(&m.pages, seq));
            n_given_back += m.pages.n_free > n_free;
        } else if (what == 1) {
            share_numbers(&m, other, seq, (uint32_t)rng_below(&r, m.n[other] + 1));
        } else if (m.n[seq] < CTX) {
            const uint32_t first = m.n[seq];
            const uint32_t end = first + 1 + (uint32_t)rng_below(&r, (CTX - first + 1) / 2);
            const uint32_t n_free = m.pages.n_free, n = pages_needed(&m.pages, seq, first, end);
            n_short += n > n_free;
            n_sharing += n > pages_of(end, SIZE) - pages_of(first, SIZE);
            if (n > n_free)
                continue;
            write_numbers(&m, seq, first, end);
            CHECK_INT(m.pages.n_free, n_free - n);
        }
        check_tables(&m);
    }
    CHECK(n_short > 50 && n_given_back > 50 && n_sharing > 50);
    pages_free(&m.pages);
}

TEST(pages_tell_when_positions_that_were_there_move)
{
    struct pages p;
    pages_make(&p, 2, CTX, SIZE, 2 * pages_of(CTX, SIZE));
    pages_write(&p, 0, 0, SIZE);
    const uint64_t moves = p.n_moves;
    pages_write(&p, 0, SIZE, SIZE + 1); /* a page more */
    pages_write(&p, 0, SIZE + 1, SIZE + 2);
    CHECK_INT(p.n_moves, moves);
    pages_share(&p, 0, 1, SIZE);
    CHECK(p.n_moves > moves);
    const uint64_t shared = p.n_moves;
    pages_write(&p, 1, SIZE - 1, SIZE);
    CHECK(p.n_moves > shared);
    const uint64_t written = p.n_moves;
    pages_cut(&p, 1, SIZE);
    CHECK_INT(p.n_moves, written);
    pages_cut(&p, 1, 0);
    CHECK(p.n_moves > written);
    pages_free(&p);
}

/* ---- an exec --------------------------------------------------------------------------------- */

enum { VOCAB = 96, POSITIONS = 200 };

static bool run_rows(struct exec *x, uint32_t seq, const int32_t *ids, uint32_t first, uint32_t end,
                     struct err *e)
{
    uint32_t pos[POSITIONS], seqs[POSITIONS];
    for (uint32_t i = first; i < end; i++) {
        pos[i - first] = i;
        seqs[i - first] = seq;
    }
    return exec_run(
        x, &(struct batch){.n = end - first, .ids = ids + first, .pos = pos, .seq = seqs}, e);
}

static struct exec_params two_seqs(uint32_t page, uint32_t n_pages)
{
    return (struct exec_params){.n_ctx = POSITIONS,
                                .n_seqs = 2,
                                .type_k = BLOCK_F16,
                                .type_v = BLOCK_F16,
                                .n_threads = 1,
                                .page = page,
                                .n_pages = n_pages};
}

static struct exec *open_exec(const char *backend, const struct plan *p, uint32_t page)
{
    const struct exec_params params = two_seqs(page, 0);
    struct exec *x = kit_open_exec(backend, p, &params);
    if (!x)
        test_skip("no such backend here");
    return x;
}

/* Runs ids[first, end) in a sequence; the logits of the last into out[VOCAB]. */
static void run(struct exec *x, uint32_t seq, const int32_t *ids, uint32_t first, uint32_t end,
                float *out)
{
    struct err e = {0};
    CHECK_OK(run_rows(x, seq, ids, first, end, &e));
    memcpy(out, exec_logits(x, 0), VOCAB * sizeof *out);
}

static void make_ids(uint64_t seed, int32_t ids[POSITIONS])
{
    struct rng r = {seed};
    for (uint32_t i = 0; i < POSITIONS; i++)
        ids[i] = (int32_t)rng_below(&r, VOCAB);
}

/* A copy takes no page until one of the two goes on; then what either says has the bits of one that
 * was never copied. */
static void check_shared(const char *backend, const char *arch, uint32_t page)
{
    struct err e = {0};
    struct kit_model m = kit_open_model(&(struct kit_spec){.arch = arch});
    struct exec *x = open_exec(backend, &m.model->plan, page);
    struct exec *alone = open_exec(backend, &m.model->plan, page);
    int32_t ids[POSITIONS], other[POSITIONS];
    float got[VOCAB], want[VOCAB];
    const uint32_t head = 2 * page + 5;
    make_ids(test_seed(), ids);
    make_ids(test_seed() + 1, other);
    memcpy(other, ids, head * sizeof *ids);
    run(x, 0, ids, 0, head + 3, got);
    CHECK_INT(exec_pages(x).n_used, 3);
    CHECK_INT(exec_pages(x).n_all, 2 * pages_of(POSITIONS, page));
    CHECK_OK(exec_seq_copy(x, 0, 1, head, &e));
    CHECK_INT(exec_pages(x).n_used, 3);

    run(x, 1, other, head, head + 4, got);
    CHECK_INT(exec_pages(x).n_used, 4);
    run(alone, 0, ids, 0, head + 3, want);
    run(alone, 0, other, head, head + 4, want);
    CHECK(!memcmp(got, want, sizeof want));

    run(x, 0, ids, head + 3, head + 7, got);
    CHECK_INT(exec_pages(x).n_used, 4);
    run(alone, 1, ids, 0, head + 3, want);
    run(alone, 1, ids, head + 3, head + 7, want);
    CHECK(!memcmp(got, want, sizeof want));

    run(x, 1, other, 3, 6, got); /* back into what both hold: the first page becomes two */
    CHECK_INT(exec_pages(x).n_used, 4);
    run(x, 0, ids, head + 7, head + 8, got);
    run(alone, 1, ids, head + 7, head + 8, want);
    CHECK(!memcmp(got, want, sizeof want));
    exec_close(x);
    exec_close(alone);
    kit_close_model(&m);
}

TEST(exec_keeps_once_what_sequences_share_on_ref)
{
    check_shared("ref", "qwen3moe", 16);
    check_shared("ref", "deepseek2", 16);
}

TEST(exec_keeps_once_what_sequences_share_on_cpu)
{
    check_shared("cpu", "qwen3moe", 16);
    check_shared("cpu", "deepseek2", 32);
}

/* Two sequences with pages for little more than one. */
static void check_small_pool(const char *backend, const char *arch, uint32_t page)
{
    struct err e = {0};
    struct kit_model m = kit_open_model(&(struct kit_spec){.arch = arch});
    const uint32_t n_pages = pages_of(POSITIONS, page), half = n_pages / 2 * page;
    struct exec_params params = two_seqs(page, n_pages - 1);
    struct mem_table small, whole;
    CHECK(!exec_memory(backend_find(backend), &m.model->plan, &params, &small, &e));
    CHECK_INT(e.code, ERR_USAGE);
    params.n_pages = n_pages;
    CHECK_OK(exec_memory(backend_find(backend), &m.model->plan, &params, &small, &e));
    struct exec *x = kit_open_exec(backend, &m.model->plan, &params);
    struct exec *alone = open_exec(backend, &m.model->plan, page);
    params.n_pages = 0;
    CHECK_OK(exec_memory(backend_find(backend), &m.model->plan, &params, &whole, &e));
    CHECK(small.total < whole.total);
    CHECK(exec_pages_suffice(alone) && !exec_pages_suffice(x));
    int32_t ids[POSITIONS];
    float got[VOCAB], want[VOCAB];
    make_ids(test_seed(), ids);
    run(x, 0, ids, 0, half, got);
    const uint32_t n_rest = POSITIONS - half, n_half = half / page;
    CHECK_INT(exec_pages_needed(x, 0, half, n_rest), n_pages - n_half);
    CHECK_INT(exec_pages_needed(x, 1, 0, POSITIONS), n_pages);
    /* Too many: refused, and sequences keep what is before it. */
    CHECK(!run_rows(x, 1, ids, 0, POSITIONS, &e));
    CHECK_INT(e.code, ERR_LIMIT);
    exec_seq_cut(x, 1, 0);
    CHECK_INT(exec_pages(x).n_used, n_half);
    CHECK_INT(exec_pages_held(x, (bool[]){true, false}), n_half);
    /* What both have costs nothing, and goes when both gave it up. */
    CHECK_OK(exec_seq_copy(x, 0, 1, half, &e));
    CHECK_INT(exec_pages_own(x, 1), 0);
    exec_seq_cut(x, 0, 0);
    CHECK_INT(exec_pages(x).n_used, n_half);
    run(x, 1, ids, half, POSITIONS, got);
    run(alone, 0, ids, 0, half, want);
    run(alone, 0, ids, half, POSITIONS, want);
    CHECK(!memcmp(got, want, sizeof want));
    CHECK_INT(exec_pages(x).n_used, n_pages);
    exec_seq_cut(x, 1, 0);
    CHECK_INT(exec_pages(x).n_used, 0);
    CHECK_INT(exec_reach(x, 1).last, 0);
    exec_close(x);
    exec_close(alone);
    kit_close_model(&m);
}

TEST(exec_goes_on_within_a_pool_that_is_too_small_for_all)
{
    check_small_pool("ref", "qwen3moe", 16);
    check_small_pool("cpu", "qwen3moe", 16);
    check_small_pool("cpu", "deepseek2", 32);
}

TEST(exec_keeps_once_what_sequences_share_on_vulkan)
{
    if (!kit_checks("vulkan"))
        test_skip("drivers are not checked in this build");
    check_shared("vulkan", "qwen3moe", 64);
    check_shared("vulkan", "deepseek2", 64);
}
