/* Where a model runs when nobody says: with devices that are made up, opened by ref. */
#include "compute/place.h"

#include <stdlib.h>

#include "base/buf.h"
#include "engine/engine.h"
#include "kit/engine_kit.h"
#include "kit/models.h"
#include "test.h"

/* ref as if it ran on a GPU, of which so many are open. */
static int n_open;

static void *fake_open(const struct exec_params *params, const struct log *log, struct err *e)
{
    (void)params, (void)log, (void)e;
    n_open++;
    return &n_open;
}

static void *fake_refuse(const struct exec_params *params, const struct log *log, struct err *e)
{
    (void)params, (void)log;
    err_set(e, ERR_UNSUPPORTED, "the driver does not start");
    return NULL;
}

static void fake_close(void *device)
{
    CHECK(device == &n_open);
    n_open--;
}

typedef void *open_fn(const struct exec_params *params, const struct log *log, struct err *e);
static struct backend fake_gpu(open_fn *open)
{
    struct backend b = backend_ref;
    b.device_open = open;
    b.device_close = fake_close;
    return b;
}

struct lines {
    struct buf text;
    int n_warnings;
};

static void keep_line(void *ctx, enum log_level level, const char *line)
{
    struct lines *l = ctx;
    printf("    %s\n", line);
    buf_fmt(&l->text, "%s\n", line);
    l->n_warnings += level == LOG_WARN;
}

static const struct device card = {.name = "a card", .has_dot = true, .rank = 1};

/* Places a small model with n_ctx tokens of context among n devices; the log then has `says`. */
static void places(const struct device *devices, size_t n, open_fn *open, uint32_t n_ctx,
                   bool on_gpu, bool warns, const char *says)
{
    struct kit_model m = kit_open_model(&(struct kit_spec){.n_embd = 64, .head_dim = 32});
    const struct backend gpu = fake_gpu(open);
    struct exec_params params = {.n_ctx = n_ctx, .n_seqs = 1};
    struct lines lines = {0};
    const struct log log = {keep_line, &lines};
    const struct backend *b = place_among(devices, n, &gpu, &m.model->plan, &params, &log);
    CHECK(b == (on_gpu ? &gpu : &backend_cpu));
    CHECK((params.opened != NULL) == on_gpu);
    CHECK_INT(n_open, on_gpu);
    CHECK_INT(lines.n_warnings, warns);
    CHECK(str_find(buf_view(&lines.text), str_of(says), 0) != SIZE_MAX);
    exec_device_close(b, &params);
    CHECK_INT(n_open, 0);
    buf_free(&lines.text);
    kit_close_model(&m);
}

TEST(place_is_a_gpu_where_there_is_one)
{
    const struct device others[] = {{.name = "llvmpipe", .is_software = true}, card};
    struct device built_in = card;
    places(&card, 1, fake_open, 256, true, false, "runs on a card");
    places(others, 2, fake_open, 256, true, false, "runs on a card");
    built_in.is_unified = true;
    places(&built_in, 1, fake_open, 256, true, false, "runs on a card");
}

TEST(place_is_the_processor_where_there_is_no_gpu)
{
    const struct device software = {.name = "llvmpipe", .is_software = true, .has_dot = true};
    places(NULL, 0, fake_open, 256, false, false, "no GPU");
    places(&software, 1, fake_open, 256, false, false, "no GPU");
}

TEST(place_is_the_processor_where_the_gpu_is_not_fit_for_it)
{
    struct device d = card;
    snprintf(d.why_not, sizeof d.why_not, "it has no 8-bit storage");
    places(&d, 1, fake_open, 256, false, true, "not a card: it has no 8-bit storage");
    d = card;
    d.has_dot = false;
    places(&d, 1, fake_open, 256, true, false, "runs on a card");
    d.is_unified = true;
    places(&d, 1, fake_open, 256, false, true, "no fast dot products");
    places(&card, 1, fake_refuse, 256, false, true, "not a card: the driver does not start");
    places(&card, 1, fake_open, UINT32_MAX / 2, false, true, "not a card: the model needs");
}

/* Of three cards: the first does not start, the second has no room. */
static void *open_but_the_first(const struct exec_params *params, const struct log *log,
                                struct err *e)
{
    return params->not_devices & 2 ? fake_open(params, log, e) : fake_refuse(params, log, e);
}

static bool room_but_on_the_second(const struct plan *p, const struct exec_params *params,
                                   struct mem_table *out, struct err *e)
{
    const bool ok = backend_ref.memory(p, params, out, e);
    out->available = params->not_devices & 1 ? UINT64_MAX : 1;
    return ok;
}

TEST(place_is_the_next_gpu_where_the_best_is_not_fit_for_it)
{
    struct device cards[] = {card, card, card};
    cards[1].name[0] = 'A'; /* the best one, then 0, then 2 */
    cards[0].name[0] = 'B';
    cards[2].name[0] = 'C';
    cards[0].rank = 2;
    cards[2].rank = 3;
    struct kit_model m = kit_open_model(&(struct kit_spec){.n_embd = 64, .head_dim = 32});
    struct backend gpu = fake_gpu(open_but_the_first);
    gpu.memory = room_but_on_the_second;
    struct exec_params params = {.n_ctx = 256, .n_seqs = 1};
    struct lines lines = {0};
    const struct log log = {keep_line, &lines};
    CHECK(place_among(cards, 3, &gpu, &m.model->plan, &params, &log) == &gpu);
    CHECK_INT(n_open, 1);
    CHECK_INT(params.not_devices, 3);
    CHECK_INT(lines.n_warnings, 2);
    static const char *const says[] = {"tried, not A card: the driver does not start",
                                       "tried, not B card: the model needs", "runs on C card"};
    for (size_t i = 0; i < sizeof says / sizeof *says; i++)
        CHECK(str_find(buf_view(&lines.text), str_of(says[i]), 0) != SIZE_MAX);
    exec_device_close(&gpu, &params);
    buf_free(&lines.text);
    kit_close_model(&m);
}

TEST(place_is_what_is_named)
{
    struct err e;
    struct kit_model m = kit_open_model(&(struct kit_spec){.n_embd = 64, .head_dim = 32});
    struct exec_params params = {.n_ctx = 256, .n_seqs = 1};
    CHECK(place_choose("ref", &m.model->plan, &params, NULL, &e) == &backend_ref);
    CHECK(!place_choose("abacus", &m.model->plan, &params, NULL, &e));
    CHECK_INT(e.code, ERR_USAGE);
    params.device = "no such device";
    CHECK(!place_choose(NULL, &m.model->plan, &params, NULL, &e));
    CHECK(!params.opened);
    kit_close_model(&m);
}

/* A device that nobody named is lost while the weights are copied to it. */
TEST(place_is_the_processor_where_the_gpu_fails_while_it_loads)
{
    struct err e;
    atomic_int lose_in = 1;
    struct lines lines = {0};
    if (!kit_checks("vulkan"))
        test_skip("vulkan is not checked in this build");
    char *path = kit_write_model(&(struct kit_spec){.n_embd = 64, .head_dim = 32});
    struct engine_params p = {.path = path,
                              .n_ctx = 256,
                              .n_sessions = 1,
                              .allow_software = true,
                              .lose_in = &lose_in,
                              .log = {keep_line, &lines}};
    struct engine *g = engine_open(&p, &e);
    CHECK_OK(g);
    if (str_find(buf_view(&lines.text), STR("runs on"), 0) == SIZE_MAX)
        test_skip("no software Vulkan device");
    CHECK(str_find(buf_view(&lines.text), STR("not the GPU: "), 0) != SIZE_MAX);
    CHECK_STR(str_of(engine_backend(g)), STR("cpu"));
    engine_close(g);
    /* One that was named stays. */
    lose_in = 1;
    p.device = "llvmpipe";
    CHECK_OK(g = engine_open(&p, &e));
    CHECK_STR(str_of(engine_backend(g)), STR("vulkan"));
    engine_close(g);
    buf_free(&lines.text);
    remove(path);
    free(path);
}
