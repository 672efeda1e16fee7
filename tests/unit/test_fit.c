/* How the engine settles its context: on a device that is opened once. */
#include "engine/fit.h"

#include <stdlib.h>
#include <string.h>

#include "compute/vulkan/vk.h"
#include "kit/models.h"
#include "test.h"

/* ref with a device that counts how often it is opened, asked and closed. */
struct counted {
    int n_opened, n_asked, n_closed;
    uint64_t available; /* 0: the machine's */
};
static struct counted counts;

static void *count_open(const struct exec_params *params, const struct log *log, struct err *e)
{
    (void)params, (void)log, (void)e;
    counts.n_opened++;
    return &counts;
}

static void count_close(void *device)
{
    CHECK(device == &counts);
    counts.n_closed++;
}

static bool count_memory(const struct plan *p, const struct exec_params *params,
                         struct mem_table *out, struct err *e)
{
    CHECK(params->opened == &counts);
    counts.n_asked++;
    const bool ok = backend_ref.memory(p, params, out, e);
    out->available = counts.available;
    return ok;
}

static struct backend counting_backend(void)
{
    struct backend b = backend_ref;
    b.device_open = count_open;
    b.device_close = count_close;
    b.memory = count_memory;
    return b;
}

TEST(fit_opens_the_device_once_for_all_its_questions)
{
    const struct backend b = counting_backend();
    struct kit_model m = kit_open_model(&(struct kit_spec){.n_embd = 64, .head_dim = 32});
    struct engine_params p = {.type_k = BLOCK_F16, .type_v = BLOCK_F16};
    struct fit f;
    struct err e;
    CHECK_OK(fit_with(&f, &b, m.model, &p, &e));
    CHECK(f.fits && f.params.opened == &counts);
    CHECK_INT(counts.n_opened, 1);
    CHECK(counts.n_asked > 1);
    fit_close(&f);
    CHECK_INT(counts.n_closed, 1);
    /* Less memory than that takes: many more questions. */
    counts.available = f.table.total / 4;
    CHECK_OK(fit_with(&f, &b, m.model, &p, &e));
    CHECK(f.params.n_ctx < 4096 && counts.n_asked > 6);
    CHECK_INT(counts.n_opened, 2);
    fit_close(&f);
    kit_close_model(&m);
}

/* With less and less memory: whole contexts for all sessions; these sharing fewer pages; fewer
 * sessions; less context. Never less where more would fit. */
TEST(fit_has_sessions_share_pages_before_it_cuts_anything)
{
    const struct backend b = counting_backend();
    struct kit_model m = kit_open_model(&(struct kit_spec){.n_embd = 64, .head_dim = 32});
    const struct engine_params p = {.type_k = BLOCK_F16, .type_v = BLOCK_F16, .cache_bytes = -1};
    const uint32_t n_ctx = 4096 / PAGE_POSITIONS, all = 4 * n_ctx, least = n_ctx + n_ctx / 2 + 4;
    struct fit f;
    struct err e;
    CHECK_OK(fit_with(&f, &b, m.model, &p, &e));
    fit_close(&f);
    CHECK_INT(f.params.n_ctx, 4096);
    CHECK_INT(f.params.n_seqs, 4);
    CHECK_INT(f.params.n_pages, all);
    const uint64_t whole = f.table.total;
    const uint64_t page =
        PAGE_POSITIONS * plan_kv_bytes_per_token(&m.model->plan, BLOCK_F16, BLOCK_F16);
    uint32_t before = all, n_shared = 0, n_fewer = 0, n_cut = 0;
    for (uint32_t i = 0; i < all; i++) {
        counts.available = whole - i * page;
        CHECK_OK(fit_with(&f, &b, m.model, &p, &e));
        fit_close(&f);
        if (!f.fits)
            break;
        CHECK(f.table.total <= counts.available && f.params.n_ctx % 256 == 0);
        const bool is_whole = f.params.n_ctx == 4096 && f.params.n_seqs == 4;
        CHECK(is_whole == (i <= all - least));
        if (is_whole) {
            CHECK(f.params.n_pages >= least && f.params.n_pages <= before);
            before = f.params.n_pages;
            n_shared += before < all;
        }
        n_fewer += f.params.n_ctx == 4096 && f.params.n_seqs < 4;
        n_cut += f.params.n_ctx < 4096;
    }
    CHECK_INT(n_shared, all - least);
    CHECK_INT(before, least);
    printf("    %u plans share pages, %u have fewer sessions, %u less context\n", n_shared, n_fewer,
           n_cut);
    CHECK(n_fewer > 0 && n_cut > 0);
    kit_close_model(&m);
}

TEST(fit_borrows_a_device_that_is_open_and_closes_its_own_when_it_fails)
{
    const struct backend b = counting_backend();
    struct kit_model m = kit_open_model(&(struct kit_spec){.n_embd = 64, .head_dim = 32});
    struct engine_params p = {
        .type_k = BLOCK_F16, .type_v = BLOCK_F16, .n_ctx = 64, .opened = &counts};
    struct fit f;
    struct err e;
    CHECK_OK(fit_with(&f, &b, m.model, &p, &e));
    fit_close(&f);
    CHECK_INT(counts.n_opened + counts.n_closed, 0);
    p.opened = NULL;
    p.type_k = BLOCK_Q6_K;
    CHECK(!fit_with(&f, &b, m.model, &p, &e));
    CHECK_INT(e.code, ERR_USAGE);
    CHECK_INT(counts.n_opened, 1);
    CHECK_INT(counts.n_closed, 1);
    kit_close_model(&m);
}

TEST(exec_open_takes_an_open_device_over)
{
    struct kit_model m = kit_open_model(&(struct kit_spec){.type = BLOCK_Q8_0});
    struct exec_params params = {
        .n_ctx = 64, .type_k = BLOCK_F16, .type_v = BLOCK_F16, .allow_software = true};
    struct mem_table table;
    struct err e;
    if (!kit_checks("vulkan") || !exec_device_open(&backend_vulkan, &params, NULL, &e))
        test_skip("no Vulkan here");
    for (int i = 0; i < 3; i++)
        CHECK_OK(exec_memory(&backend_vulkan, &m.model->plan, &params, &table, &e));
    struct exec *x = exec_open(&backend_vulkan, &m.model->plan, &params, NULL, NULL, &e);
    CHECK_OK(x);
    CHECK(exec_params_of(x)->opened == NULL);
    CHECK_OK(exec_run(
        x, &(struct batch){.n = 2, .ids = (int32_t[]){1, 2}, .pos = (uint32_t[]){0, 1}}, &e));
    exec_close(x);
    /* One that it refuses is closed, too. */
    params.max_bytes = 1;
    CHECK_OK(exec_device_open(&backend_vulkan, &params, NULL, &e));
    CHECK(!exec_open(&backend_vulkan, &m.model->plan, &params, NULL, NULL, &e));
    CHECK_INT(e.code, ERR_MEMORY);
    kit_close_model(&m);
}

/* A card with plenty of memory that gives max_alloc bytes at once. */
static struct vk *card(uint64_t max_alloc)
{
    return vk_imagine(&(struct vk_caps){.name = "a card",
                                        .subgroup_min = 32,
                                        .subgroup_max = 32,
                                        .shared_bytes = 65536,
                                        .max_workgroup = 1024,
                                        .max_alloc = max_alloc,
                                        .heap_bytes = 1ull << 36,
                                        .free_bytes = 1ull << 36});
}

/* The logits of a few tokens on a device that allocates no more than max_alloc bytes at once. */
static void logits_within(const struct model *m, uint64_t max_alloc, float *out)
{
    static const int32_t ids[] = {1, 5, 2, 7, 3, 4, 9, 8, 6, 10, 11, 12};
    enum { N = sizeof ids / sizeof *ids };
    struct exec_params params = {
        .n_ctx = 64, .n_ubatch = 8, .type_k = BLOCK_F16, .type_v = BLOCK_F16};
    struct err e;
    params.opened =
        vk_open(&(struct vk_params){.device = "llvmpipe", .max_alloc = max_alloc}, NULL, &e);
    if (!params.opened)
        test_skip("no software Vulkan device");
    struct exec *x = exec_open(&backend_vulkan, &m->plan, &params, NULL, NULL, &e);
    CHECK_OK(x);
    kit_run(x, ids, 0, N, 0, m->plan.n_vocab, out);
    kit_run(x, ids, 0, 1, 0, m->plan.n_vocab, out + N * m->plan.n_vocab);
    exec_close(x);
}

/* The same bits as from one. */
TEST(exec_spreads_weights_over_what_the_device_gives_at_once)
{
    enum { ROWS = 13 };
    struct kit_model m =
        kit_open_model(&(struct kit_spec){.n_embd = 512, .type = BLOCK_Q8_0, .n_vocab = 96});
    const size_t n_bytes = ROWS * m.model->plan.n_vocab * sizeof(float);
    float *one = malloc(n_bytes), *many = malloc(n_bytes);
    struct mem_table table;
    struct err e;
    struct exec_params params = {
        .n_ctx = 64, .n_ubatch = 8, .type_k = BLOCK_F16, .type_v = BLOCK_F16};
    if (!kit_checks("vulkan"))
        test_skip("drivers are not checked in this build");
    params.opened = card(1 << 30);
    CHECK_OK(exec_memory(&backend_vulkan, &m.model->plan, &params, &table, &e));
    exec_device_close(&backend_vulkan, &params);
    const uint64_t scratch = table.pieces[0].n_bytes, weights = table.rows[0].n_bytes;
    printf("    %llu KiB of weights, pieces of %llu KiB\n", (unsigned long long)weights >> 10,
           (unsigned long long)scratch >> 10);
    CHECK(weights > 2 * scratch);
    logits_within(m.model, 0, one);
    logits_within(m.model, scratch, many);
    CHECK(!memcmp(one, many, n_bytes));
    free(one);
    free(many);
    kit_close_model(&m);
}

/* The cache of a layer is larger than its weights and the activations of small batches. */
static struct kit_model open_thin(void)
{
    return kit_open_model(&(struct kit_spec){.arch = "qwen3",
                                             .n_embd = 64,
                                             .n_head = 16,
                                             .n_kv_head = 16,
                                             .head_dim = 32,
                                             .n_ff = 64,
                                             .n_vocab = 96,
                                             .type = BLOCK_Q8_0});
}

/* What fits on it, where the device is closed again. */
static void fit_on_card(struct fit *f, const struct model *m, const struct engine_params *asked,
                        uint64_t max_alloc)
{
    struct engine_params p = *asked;
    struct err e;
    p.opened = card(max_alloc);
    CHECK_OK(fit_with(f, &backend_vulkan, m, &p, &e));
    vk_close(p.opened);
    CHECK_INT(f->table.most_piece, max_alloc);
    CHECK(f->table.total < f->table.available); /* memory is no reason */
}

/* With smaller and smaller pieces, as with less and less memory. */
TEST(fit_keeps_a_layers_cache_to_what_the_device_gives_at_once)
{
    struct kit_model m = open_thin();
    const struct engine_params p = {
        .n_ubatch = 8, .type_k = BLOCK_F16, .type_v = BLOCK_F16, .cache_bytes = -1};
    const uint32_t n_ctx = 4096 / PAGE_POSITIONS, all = 4 * n_ctx, least = n_ctx + n_ctx / 2 + 4;
    struct fit f;
    fit_on_card(&f, m.model, &p, 1 << 30);
    CHECK(f.fits && f.params.n_ctx == 4096 && f.params.n_pages == all && !f.is_piece);
    CHECK(f.table.pieces[1].n_bytes > 0 && f.table.pieces[1].n_bytes % all == 0);
    const uint64_t page = f.table.pieces[1].n_bytes / all;
    uint32_t n_shared = 0, n_fewer = 0, n_cut = 0;
    for (uint32_t n = all; n > n_ctx / 2; n--) {
        fit_on_card(&f, m.model, &p, n * page + page - 1);
        CHECK(f.fits && f.table.pieces[1].n_bytes <= n * page);
        CHECK_INT(f.params.n_ctx < 4096, f.is_piece);
        const bool is_whole = f.params.n_ctx == 4096 && f.params.n_seqs == 4;
        CHECK_INT(is_whole, n >= least);
        if (is_whole)
            CHECK_INT(f.params.n_pages, n);
        n_shared += is_whole && n < all;
        n_fewer += f.params.n_ctx == 4096 && f.params.n_seqs < 4;
        n_cut += f.is_piece;
    }
    CHECK_INT(n_shared, all - least);
    CHECK(n_fewer > 0 && n_cut > 0);
    kit_close_model(&m);
}

/* A context that was asked for is not cut: it is refused before anything is allocated. */
TEST(fit_refuses_a_context_whose_cache_is_larger_than_the_device_gives_at_once)
{
    struct kit_model m = open_thin();
    const struct engine_params p = {
        .n_ctx = 4096, .n_sessions = 1, .n_ubatch = 8, .type_k = BLOCK_F16, .type_v = BLOCK_F16};
    struct buf text = {0};
    struct fit f;
    struct err e;
    fit_on_card(&f, m.model, &p, 1 << 30);
    const uint64_t most = f.table.pieces[1].n_bytes - 1;
    CHECK_OK(mem_table_check(&f.table, &e));
    fit_on_card(&f, m.model, &p, most);
    CHECK(!f.fits && f.params.n_ctx == 4096);
    CHECK(!mem_table_check(&f.table, &e));
    CHECK_INT(e.code, ERR_MEMORY);
    CHECK_STR(str_of(e.msg),
              STR("the keys or the values of a layer take 4.00 MiB (1 x 4096 tokens, keys F16, "
                  "values F16), the device allocates at most 4.00 MiB at once: use a smaller "
                  "context (-c) or a smaller cache type (-ctk, -ctv)"));
    mem_table_print(&f.table, &text);
    CHECK(str_find(buf_view(&text), STR("\none piece"), 0) != SIZE_MAX);
    struct exec_params params = f.params;
    params.opened = card(most);
    CHECK(!exec_open(&backend_vulkan, &m.model->plan, &params, NULL, NULL, &e));
    CHECK(e.code == ERR_MEMORY && str_find(str_of(e.msg), STR("at once"), 0) != SIZE_MAX);
    params = f.params;
    params.type_k = params.type_v = BLOCK_Q8_0;
    struct mem_table smaller;
    params.opened = card(most);
    CHECK_OK(exec_memory(&backend_vulkan, &m.model->plan, &params, &smaller, &e));
    CHECK_OK(mem_table_check(&smaller, &e));
    exec_device_close(&backend_vulkan, &params);
    buf_free(&text);
    kit_close_model(&m);
}

/* Where nobody said how many rows a batch has, it has half as many and so on, and no less context:
 * down to what the largest of them still fits. */
TEST(fit_keeps_batches_to_what_the_device_gives_at_once)
{
    struct kit_model m = open_thin();
    const struct engine_params p = {.type_k = BLOCK_Q4_0, .type_v = BLOCK_Q4_0, .cache_bytes = -1};
    struct fit f;
    fit_on_card(&f, m.model, &p, 1 << 30);
    uint32_t n_rows = backend_vulkan.n_ubatch;
    CHECK_INT(f.params.n_ubatch, n_rows);
    for (; n_rows > 128; n_rows /= 2) {
        const uint64_t needed = f.table.pieces[0].n_bytes;
        fit_on_card(&f, m.model, &p, needed);
        CHECK_INT(f.params.n_ubatch, n_rows);
        fit_on_card(&f, m.model, &p, needed - 1);
        CHECK(f.fits && f.params.n_ctx == 4096 && f.params.n_seqs == 4 && !f.is_piece);
        CHECK_INT(f.params.n_ubatch, n_rows / 2);
        CHECK(f.table.pieces[0].n_bytes < needed);
    }
    kit_close_model(&m);
}

/* One that was asked for is refused before anything is allocated, and the context is not cut. */
TEST(fit_refuses_batches_larger_than_the_device_gives_at_once)
{
    struct kit_model m = open_thin();
    const struct engine_params p = {
        .n_ubatch = 2048, .type_k = BLOCK_Q4_0, .type_v = BLOCK_Q4_0, .cache_bytes = -1};
    struct fit f;
    struct err e;
    fit_on_card(&f, m.model, &p, 1 << 30);
    const uint64_t most = f.table.pieces[0].n_bytes - 1;
    fit_on_card(&f, m.model, &p, most);
    CHECK(!f.fits && f.params.n_ctx == 4096 && f.params.n_ubatch == 2048);
    CHECK(!mem_table_check(&f.table, &e));
    CHECK_INT(e.code, ERR_MEMORY);
    printf("    %s\n", e.msg);
    CHECK(str_find(str_of(e.msg), STR("the activations of a batch take "), 0) == 0);
    CHECK(str_find(str_of(e.msg), STR(" (batches of 2048), the device allocates at most "), 0) !=
          SIZE_MAX);
    CHECK(str_find(str_of(e.msg), STR(" at once: use smaller batches (-ub)"), 0) != SIZE_MAX);
    struct exec_params params = f.params;
    params.opened = card(most);
    CHECK(!exec_open(&backend_vulkan, &m.model->plan, &params, NULL, NULL, &e));
    CHECK(e.code == ERR_MEMORY && str_find(str_of(e.msg), STR("(-ub)"), 0) != SIZE_MAX);
    kit_close_model(&m);
}
