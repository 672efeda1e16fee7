#include "cmd/opts.h"

#include <math.h>

#include "base/buf.h"
#include "base/str.h"
#include "cmd/term.h"
#include "test.h"

struct values {
    const char *text;
    uint32_t u32;
    int32_t i32;
    uint64_t u64;
    float f32;
    bool flag;
    enum block_type type;
};

static const struct opt table[] = {
    {"-m --model", "FILE", "a file", NULL, OPT_TEXT, offsetof(struct values, text), 0, 0},
    {"-c --ctx-size --ctx", "TOKENS", "context", "all", OPT_U32, offsetof(struct values, u32), 1,
     4096},
    {"-n --predict", "TOKENS", "length", NULL, OPT_I32, offsetof(struct values, i32), 0, 0},
    {"--seed", "N", "seed", NULL, OPT_U64, offsetof(struct values, u64), 0, 1e15},
};
static const struct opt more[] = {
    {"--temp --temperature", "X", "heat", "0.7", OPT_F32, offsetof(struct values, f32), 0, 5},
    {"-v --verbose", NULL, "say more", NULL, OPT_FLAG, offsetof(struct values, flag), 0, 0},
    {"-ctk --cache-type-k", "TYPE", "keys", "f16", OPT_CACHE_TYPE, offsetof(struct values, type), 0,
     0},
    {"-ngl --n-gpu-layers", "N", "no device", NULL, OPT_IGNORED, 0, 0, 0},
    {"-fa --flash-attn", "[on|off|auto]", "always on", NULL, OPT_IGNORED, 0, 0, 0},
};
static const struct opt_example examples[] = {{"tawny test a", "one"}, {NULL, NULL}};

/* What one command line came to. */
struct result {
    struct values v;
    struct opt_words words;
    struct err e;
    struct buf notices;
    bool ok, full;
};

static void keep(void *ctx, enum log_level level, const char *line)
{
    (void)level;
    buf_fmt(ctx, "%s\n", line);
}

static void read_line(struct result *r, int argc, char **argv)
{
    *r = (struct result){0};
    struct opt_group groups[] = {OPT_GROUP("Main", table, &r->v), OPT_GROUP("More", more, &r->v)};
    struct opt_command c = {"test", "[A] [B]", "tests", examples, groups, 2, 0, 2, "Notes."};
    struct log notices = {keep, &r->notices};
    r->ok = opts_read(&c, argc, argv, &r->words, &notices, &r->full, &r->e);
}
#define READ(r, ...)                                                                               \
    char *argv_[] = {(char[]){"test"}, __VA_ARGS__};                                               \
    read_line(r, sizeof argv_ / sizeof *argv_, argv_)
#define W(text) ((char[]){text})

TEST(opts_reads_every_type_and_spelling)
{
    struct result r;
    READ(&r, W("-m"), W("x.gguf"), W("--ctx=128"), W("-n"), W("-1"), W("--seed"), W("77"),
         W("--temperature"), W("0.25"), W("-v"), W("-ctk"), W("q8_0"));
    CHECK(r.ok);
    CHECK_STR(str_of(r.v.text), STR("x.gguf"));
    CHECK_INT(r.v.u32, 128);
    CHECK_INT(r.v.i32, -1);
    CHECK_INT(r.v.u64, 77);
    CHECK(fabsf(r.v.f32 - 0.25f) < 1e-9f);
    CHECK(r.v.flag);
    CHECK_INT(r.v.type, BLOCK_Q8_0);
    CHECK_INT(r.words.n, 0);
}

TEST(opts_keeps_words_in_order_and_ends_options_at_two_dashes)
{
    struct result r;
    READ(&r, W("-"), W("-v"), W("--"), W("-m"));
    CHECK(r.ok);
    CHECK_INT(r.words.n, 2);
    CHECK_STR(str_of(r.words.at[0]), STR("-"));
    CHECK_STR(str_of(r.words.at[1]), STR("-m"));
    CHECK(r.v.flag);
}

TEST(opts_optional_value_takes_only_its_choices)
{
    struct result r;
    READ(&r, W("-fa"), W("on"), W("a"), W("-fa"), W("b"));
    CHECK(r.ok);
    CHECK_INT(r.words.n, 2);
    CHECK_STR(str_of(r.words.at[0]), STR("a"));
    CHECK_STR(buf_view(&r.notices), STR("-fa is ignored: always on\n-fa is ignored: always on\n"));
    buf_free(&r.notices);
}

TEST(opts_ignored_option_swallows_its_value)
{
    struct result r;
    READ(&r, W("-ngl"), W("99"), W("a"));
    CHECK(r.ok);
    CHECK_INT(r.words.n, 1);
    CHECK_STR(buf_view(&r.notices), STR("-ngl is ignored: no device\n"));
    buf_free(&r.notices);
}

#define REFUSED(message, ...)                                                                      \
    do {                                                                                           \
        struct result r_;                                                                          \
        READ(&r_, __VA_ARGS__);                                                                    \
        CHECK(!r_.ok);                                                                             \
        CHECK_INT(r_.e.code, ERR_USAGE);                                                           \
        CHECK_STR(str_of(r_.e.msg), STR(message));                                                 \
    } while (0)

TEST(opts_refusals_name_option_value_and_limit)
{
    REFUSED("test: unknown option '--tmep': did you mean '--temp'?", W("--tmep"), W("1"));
    REFUSED("test: unknown option '-ctz': did you mean '-ctk'?", W("-ctz"));
    REFUSED("test: unknown option '--xylophone': 'tawny test --help' lists all", W("--xylophone"));
    REFUSED("test: -c needs a value: TOKENS", W("-c"));
    REFUSED("test: -c: 'many' is not a whole number", W("-c"), W("many"));
    REFUSED("test: -c: '1.5' is not a whole number", W("-c"), W("1.5"));
    REFUSED("test: --ctx: 0 is outside 1 .. 4096", W("--ctx"), W("0"));
    REFUSED("test: --temp: 'nan' is not a number", W("--temp"), W("nan"));
    REFUSED("test: --temp: 9 is outside 0 .. 5", W("--temp=9"));
    REFUSED("test: -v takes no value", W("-v=1"));
    REFUSED("test: -ctk: 'q5_0' is not one of f16, q8_0, q4_0", W("-ctk"), W("q5_0"));
    REFUSED("test: unexpected argument 'c': tawny test [options] [A] [B]", W("a"), W("b"), W("c"));
    REFUSED("test: --seed: -1 is outside 0 .. 1e+15", W("--seed"), W("-1"));
}

TEST(opts_help_short_shows_the_first_group_and_full_all)
{
    struct buf brief = {0}, full = {0};
    struct values v = {0};
    struct opt_group groups[] = {OPT_GROUP("Main", table, &v), OPT_GROUP("More", more, &v)};
    struct opt_command c = {"test", "[A]", "tests", examples, groups, 2, 0, 1, "Notes."};
    opts_help(&c, false, &brief);
    opts_help(&c, true, &full);
    CHECK(
        str_starts(buf_view(&brief), STR("tawny test: tests\n\nExamples:\n  tawny test a  one\n")));
    CHECK(str_find(buf_view(&brief), STR("  -c, --ctx-size TOKENS       context [all]\n"), 0) !=
          SIZE_MAX);
    CHECK(str_find(buf_view(&brief), STR("--temp"), 0) == SIZE_MAX);
    CHECK(str_find(buf_view(&full), STR("  -c, --ctx-size, --ctx TOKENS\n"), 0) != SIZE_MAX);
    CHECK(str_find(buf_view(&full), STR("  --temp, --temperature X     heat [0.7]\n"), 0) !=
          SIZE_MAX);
    CHECK(str_ends(buf_view(&full), STR("\nNotes.\n")));
    buf_free(&brief);
    buf_free(&full);
}

TEST(opts_help_asked_for_is_no_error)
{
    struct result r;
    READ(&r, W("-h"));
    CHECK(!r.ok && !r.full);
    CHECK_INT(r.e.code, ERR_NONE);
    struct result f;
    char *argv[] = {W("test"), W("--help")};
    read_line(&f, 2, argv);
    CHECK(!f.ok && f.full);
}

TEST(opts_nearest_knows_slips_from_other_words)
{
    static const char *const names[] = {"run", "serve", "show", NULL};
    CHECK_STR(str_of(opts_nearest("sevre", names)), STR("serve"));
    CHECK_STR(str_of(opts_nearest("rnu", names)), STR("run"));
    CHECK(!opts_nearest("benchmark", names));
}

TEST(term_tables_align_and_count_code_points)
{
    struct table t = {.align = "lr"};
    const char *cells[] = {"name", "t/s", "pp512", "1.0 \u00b1 0.1", "x", "22.0 \u00b1 0.1"};
    for (size_t i = 0; i < 6; i++)
        table_cell(&t, "%s", cells[i]);
    struct buf text = {0}, md = {0};
    table_text(&t, &text);
    table_markdown(&t, &md);
    CHECK_STR(buf_view(&text), STR("name          t/s\n"
                                   "pp512   1.0 \u00b1 0.1\n"
                                   "x      22.0 \u00b1 0.1\n"));
    CHECK_STR(buf_view(&md), STR("| name  |        t/s |\n"
                                 "| ----- | ---------: |\n"
                                 "| pp512 |  1.0 \u00b1 0.1 |\n"
                                 "| x     | 22.0 \u00b1 0.1 |\n"));
    buf_free(&text);
    buf_free(&md);
    table_free(&t);
}

TEST(term_numbers_have_units)
{
    CHECK_STR(str_of(term_bytes(1023).text), STR("1023 B"));
    CHECK_STR(str_of(term_bytes(1.1 * 1024 * 1024).text), STR("1.10 MiB"));
    CHECK_STR(str_of(term_count(30532122624.0).text), STR("30.53 B"));
}

TEST(term_safe_leaves_text_and_drops_what_steers_a_terminal)
{
    struct buf out = {0};
    term_safe(STR("a\tb\n\033[2J\x7f\xc2\x9b"
                  "31m \u00e9\u263a\r"),
              &out);
    CHECK_STR(buf_view(&out), STR("a\tb\n?[2J??31m \u00e9\u263a?"));
    buf_free(&out);
}
