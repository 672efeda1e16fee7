/* Loops: true ones are found in time, ordinary text is none. */
#include "engine/loop.h"

#include <dirent.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "engine/engine.h"
#include "gguf/gguf.h"
#include "kit/models.h"
#include "test.h"
#include "text/tok.h"

enum { N_WORDS = 50000 };

/* Tokens after the start of a cycle of this period by which it is surely found. */
static uint32_t bound(uint32_t period)
{
    uint32_t run = LOOP_TURNS * period > LOOP_TOKENS ? LOOP_TURNS * period : LOOP_TOKENS;
    return run + period;
}

/* A cycle behind random tokens. The token that would go on is named. */
static void check_cycle(struct rng *r, struct loop *l, uint32_t period)
{
    int32_t cycle[LOOP_MAX_PERIOD], next = -1;
    loop_init(l);
    for (uint64_t n = rng_below(r, 3 * LOOP_MAX_PERIOD); n > 0; n--)
        CHECK_INT(loop_put(l, (int32_t)rng_below(r, N_WORDS), &next), LOOP_NONE);
    for (uint32_t i = 0; i < period; i++)
        cycle[i] = (int32_t)rng_below(r, N_WORDS);
    for (uint32_t i = 0;; i++) {
        if (i > bound(period))
            test_fail(__FILE__, __LINE__, "period %u: not found after %u tokens", period, i);
        if (loop_put(l, cycle[i % period], &next) == LOOP_NONE)
            continue;
        CHECK_INT(next, cycle[(i + 1) % period]);
        break;
    }
}

TEST(loop_finds_cycles_of_every_length_within_a_bound)
{
    struct rng r = {test_seed()};
    struct loop *l = mem_new(1, sizeof *l);
    for (uint32_t period = 1; period <= 70; period++)
        check_cycle(&r, l, period);
    for (int i = 0; i < 60; i++)
        check_cycle(&r, l, 1 + (uint32_t)rng_below(&r, LOOP_MAX_PERIOD));
    check_cycle(&r, l, LOOP_MAX_PERIOD);
    free(l);
}

/* Verdicts over a cycle that goes on whatever happens, up to the end. */
static uint32_t tokens_to_end(uint32_t period, uint32_t *n_breaks)
{
    struct loop *l = mem_new(1, sizeof *l);
    int32_t next;
    uint32_t n = 0;
    enum loop_verdict v = LOOP_NONE;
    *n_breaks = 0;
    loop_init(l);
    while (v != LOOP_END && n < 20 * LOOP_TOKENS) {
        v = loop_put(l, (int32_t)(n++ % period), &next);
        *n_breaks += v == LOOP_BREAK;
    }
    free(l);
    return n;
}

TEST(loop_that_goes_on_ends_the_reply)
{
    uint32_t n_breaks;
    CHECK_INT(tokens_to_end(1, &n_breaks), 1 + LOOP_TOKENS + LOOP_BREAKS * LOOP_TOKENS_AGAIN);
    CHECK_INT(n_breaks, LOOP_BREAKS);
    CHECK(tokens_to_end(100, &n_breaks) <= bound(100) + LOOP_BREAKS * (LOOP_TOKENS_AGAIN + 100));
    CHECK_INT(n_breaks, LOOP_BREAKS);
}

TEST(loop_broken_once_is_forgotten_in_the_end)
{
    struct loop *l = mem_new(1, sizeof *l);
    struct rng r = {test_seed()};
    int32_t next;
    loop_init(l);
    for (int round = 0; round < 2 * LOOP_BREAKS; round++) {
        enum loop_verdict v = LOOP_NONE;
        for (int i = 0; i <= LOOP_TOKENS; i++)
            v = loop_put(l, 7, &next);
        CHECK_INT(v, LOOP_BREAK);
        CHECK_INT(next, 7);
        for (int i = 0; i <= LOOP_FORGET; i++)
            CHECK_INT(loop_put(l, (int32_t)rng_below(&r, N_WORDS), &next), LOOP_NONE);
    }
    free(l);
}

/* ---- ordinary text ---- */

/* The tokens of a text hold no loop, read as one reply. */
static void check_text(const struct tok *tok, str text, const char *what)
{
    struct tok_ids ids = {0};
    struct loop *l = mem_new(1, sizeof *l);
    int32_t next;
    loop_init(l);
    tok_encode(tok, text, &(struct tok_params){0}, &ids);
    for (size_t i = 0; i < ids.n; i++) {
        if (loop_put(l, ids.ids[i], &next) != LOOP_NONE)
            test_fail(__FILE__, __LINE__, "%s: a loop at token %zu of %zu", what, i, ids.n);
    }
    free(ids.ids);
    free(l);
}

static struct tok *demo_tok(void)
{
    const struct log log = {0};
    struct err e;
    struct gguf *g = gguf_open("share/tawny-demo.gguf", &log, &e);
    CHECK_OK(g != NULL);
    struct tok *t = tok_open(g, &log, &e);
    CHECK_OK(t != NULL);
    gguf_close(g);
    return t;
}

static size_t check_folder(const struct tok *tok, const char *folder)
{
    DIR *d = opendir(folder);
    size_t n = 0;
    CHECK(d != NULL);
    for (struct dirent *entry; (entry = readdir(d));) {
        struct buf text = {0};
        struct err e;
        char path[512];
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (entry->d_type == DT_REG && file_read_all(path, 1 << 20, &text, &e)) {
            check_text(tok, buf_view(&text), path);
            n++;
        }
        buf_free(&text);
    }
    closedir(d);
    return n;
}

TEST(loop_is_not_seen_in_source_files)
{
    static const char *const folders[] = {"src/text", "src/compute/cpu", "src/model", "tests/unit",
                                          "docs",     "tests/cli",       "tools",     "src/gguf"};
    struct tok *tok = demo_tok();
    size_t n = 0;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        n += check_folder(tok, folders[i]);
    printf("    %zu files\n", n);
    CHECK(n > 100);
    tok_close(tok);
}

TEST(loop_is_not_seen_in_tables_and_long_runs)
{
    struct tok *tok = demo_tok();
    struct rng r = {test_seed()};
    struct buf text = {0};
    for (int i = 0; i < 150; i++) /* identical lines */
        buf_str(&text, STR("    {0, 0, NULL},\n"));
    check_text(tok, buf_view(&text), "identical lines");
    buf_clear(&text);
    for (int i = 0; i < 60; i++)
        buf_fmt(&text, "+------+----------+--------+\n| %4d | %8d | %6d |\n", i, i * i, i % 7);
    check_text(tok, buf_view(&text), "ASCII table");
    buf_clear(&text);
    for (int i = 0; i < 200; i++)
        buf_fmt(&text, "| name%d | yes | no | - |\n", i);
    check_text(tok, buf_view(&text), "Markdown table");
    buf_clear(&text);
    for (int i = 0; i < 40000; i++)
        buf_byte(
            &text,
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[rng_below(&r, 64)]);
    check_text(tok, buf_view(&text), "base64");
    buf_clear(&text);
    for (int i = 0; i < 300; i++)
        buf_fmt(&text, "%s0x%02x,", i % 16 ? " " : "\n    ", 0);
    check_text(tok, buf_view(&text), "300 zeros");
    buf_clear(&text);
    for (int i = 0; i < 2000; i++)
        buf_fmt(&text, "%d. item\n", i);
    check_text(tok, buf_view(&text), "a numbered list");
    buf_free(&text);
    tok_close(tok);
}

TEST(loop_costs_little)
{
    enum { N = 200000 };
    struct loop *l = mem_new(1, sizeof *l);
    struct rng r = {test_seed()};
    int32_t next;
    loop_init(l);
    uint64_t from = clock_ns();
    for (int i = 0; i < N; i++)
        loop_put(l, (int32_t)rng_below(&r, N_WORDS), &next);
    printf("    %.0f ns per token\n", (double)(clock_ns() - from) / N);
    free(l);
}

/* ---- in the engine ---- */

struct reply {
    int32_t ids[2 * LOOP_TOKENS];
    size_t n;
    enum finish finish;
};

/* A reply in which a bias makes token 5 come always, unless something stronger keeps it out. */
static struct reply ask(struct engine *g, float bias, bool ignore_stop)
{
    static const int32_t prompt[] = {1, 2, 3};
    const struct logit_bias always = {5, bias};
    const uint32_t max = ignore_stop ? LOOP_TOKENS + 16 : 2 * LOOP_TOKENS;
    const struct job_params p = {.prompt = prompt,
                                 .n_prompt = 3,
                                 .max_tokens = max,
                                 .ignore_stop = ignore_stop,
                                 .sampling = {.bias = &always, .n_bias = 1}};
    struct err e;
    struct job_event ev;
    struct reply r = {.n = 0};
    struct job *j = engine_submit(g, &p, &e);
    CHECK_OK(j);
    do {
        job_next(j, 60000, &ev);
        CHECK(ev.kind != JOB_TIMEOUT);
        if (ev.kind == JOB_TOKEN)
            r.ids[r.n++] = ev.token.id;
    } while (ev.kind != JOB_DONE);
    r.finish = ev.finish;
    job_close(j);
    return r;
}

TEST(engine_breaks_loops_and_ends_those_that_go_on)
{
    char *path = kit_write_model(&(struct kit_spec){
        .n_layer = 1, .n_embd = 32, .n_head = 1, .n_kv_head = 1, .head_dim = 32, .n_ff = 32});
    struct err e;
    struct engine *g = engine_open(
        &(struct engine_params){
            .path = path, .backend = "ref", .n_ctx = 2 * LOOP_TOKENS + 8, .n_sessions = 1},
        &e);
    CHECK_OK(g);
    struct reply got = ask(g, 60, false);
    CHECK_INT(got.ids[LOOP_TOKENS], 5);
    CHECK(got.ids[LOOP_TOKENS + 1] != 5);
    CHECK_INT(got.ids[LOOP_TOKENS + 2], 5);
    CHECK_INT(got.finish, FINISH_LOOP);
    got = ask(g, 1000, false); /* too strong to be kept out */
    CHECK_INT(got.n, 1 + LOOP_TOKENS + LOOP_BREAKS * LOOP_TOKENS_AGAIN);
    CHECK_INT(got.finish, FINISH_LOOP);
    got = ask(g, 60, true);
    CHECK_INT(got.n, LOOP_TOKENS + 16);
    CHECK_INT(got.finish, FINISH_LENGTH);
    engine_close(g);
    unlink(path);
    free(path);
}
