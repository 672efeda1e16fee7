/* Mending JSON: sound values pass unchanged, what comes out whole is JSON, no cut matters. */
#include "text/mend.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/rng.h"
#include "test.h"

enum { N_VALUES = 3000, MAX_DEPTH = 4 };

/* What mend makes of a text that is fed in pieces (0: at once) and then closed. */
struct result {
    struct buf out;
    bool done, mended;
    size_t n_taken;
};

static struct result run(str text, size_t max_piece, struct rng *rng)
{
    struct result r = {0};
    struct mend m = {0};
    size_t n = text.n;
    while (r.n_taken < text.n && m.state != MEND_DONE && m.state != MEND_BROKEN) {
        if (max_piece)
            n = rng ? 1 + rng_below(rng, max_piece) : max_piece;
        r.n_taken += mend_put(&m, str_sub(text, r.n_taken, r.n_taken + n), &r.out);
    }
    r.done = m.state == MEND_DONE || mend_close(&m, &r.out);
    r.mended = m.mended;
    return r;
}

static bool parses(str text)
{
    struct err e;
    struct json *v = json_parse(text, &e);
    json_free(v);
    return v != NULL;
}

/* want: NULL where the value breaks. */
static void check(const char *text, const char *want, bool mended)
{
    for (size_t piece = 0; piece < 3; piece++) {
        struct result r = run(str_of(text), piece, NULL);
        CHECK_INT(r.done, want != NULL);
        if (want) {
            CHECK_STR(buf_view(&r.out), str_of(want));
            CHECK_INT(r.mended, mended);
            CHECK(parses(buf_view(&r.out)));
        }
        buf_free(&r.out);
    }
}

static void sound(const char *text)
{
    check(text, text, false);
}

static void mends(const char *text, const char *want)
{
    check(text, want, true);
}

static void breaks(const char *text)
{
    check(text, NULL, false);
}

TEST(mend_leaves_sound_json_as_it_is)
{
    sound("{}");
    sound("[ ]");
    sound("{ \"a\" : [1, -2.5e+3, true,\n\tfalse , null], \"\" : {\"b\": \"\"} }");
    sound(
        "[\"caf\xc3\xa9 \\u00e9 \\ud83d\\ude80 \\\" \\\\ \\/ \\b\\f\\n\\r\\t \xf0\x9f\x9a\x80\"]");
    sound("[\"\\uD83D\\uDE80 \\uD83d\\udE80 \\u00E9\"]");
    sound("{\"a\": \"it's </tool_call>\"}");
}

TEST(mend_puts_strings_right)
{
    mends("[\"a\nb\tc\x01\"]", "[\"a\\nb\\tc\\u0001\"]");
    mends("[\"\\d \\x41 \\u12 \\uZ\"]", "[\"\\\\d \\\\x41 \\\\u12 \\\\uZ\"]");
    mends("[\"\\\n\"]", "[\"\\\\\\n\"]");
    mends("['a \"b\" \\'c\\'']", "[\"a \\\"b\\\" 'c'\"]");
    mends("[\"\xff\xc3 \xe2\x82\"]", "[\"\xef\xbf\xbd\xef\xbf\xbd \xef\xbf\xbd\xef\xbf\xbd\"]");
    mends("[\"\\ud83d x\\ude80\\ud83d\\ud83d\\ude80\"]",
          "[\"\xef\xbf\xbd x\xef\xbf\xbd\xef\xbf\xbd\\ud83d\\ude80\"]");
    mends("[\"\\ud83d\"]", "[\"\xef\xbf\xbd\"]");
    mends("{\"a\\u0000b\": 1}", "{\"a\xef\xbf\xbd\x62\": 1}");
    mends("[\"\xc3\\n\"]", "[\"\xef\xbf\xbd\\n\"]");
}

TEST(mend_puts_structure_right)
{
    mends("{a: True, b_2: None, 'c': False}", "{\"a\": true, \"b_2\": null, \"c\": false}");
    mends("[1, 2, ]", "[1, 2 ]");
    mends("{\"a\": 1,}", "{\"a\": 1}");
    mends("{\"a\": [1, {\"b\": 2}", "{\"a\": [1, {\"b\": 2}]}");
    mends("{\"a\": [1}", "{\"a\": [1]}");
    mends("[{\"a\": 1]", "[{\"a\": 1}]");
    mends("{\"a\": 12", "{\"a\": 12}");
    mends("{\"a\": 1, ", "{\"a\": 1 }");
    mends("{", "{}");
}

TEST(mend_breaks_where_nothing_is_certain)
{
    breaks("{\"a\" 1}");
    breaks("{\"a\": }");
    breaks("{\"a\":");
    breaks("{\"a\"");
    breaks("{\"a");
    breaks("{,}");
    breaks("[1,,2]");
    breaks("[1 2]");
    breaks("[\"say \"hi\"\"]");
    breaks("[007]");
    breaks("[1.]");
    breaks("[nul]");
    breaks("[tru");
    breaks("[Oslo]");
    breaks("[NaN]");
    breaks("[//");
    breaks("\"a\"");
    breaks("12");
    breaks("}");
    breaks("");
}

TEST(mend_limits_depth_and_words)
{
    struct buf text = {0}, want = {0};
    for (int i = 0; i < MEND_MAX_DEPTH; i++)
        buf_byte(&text, '[');
    for (int i = 0; i < MEND_MAX_DEPTH; i++)
        buf_byte(&text, ']');
    sound(text.p);
    buf_clear(&text);
    for (int i = 0; i <= MEND_MAX_DEPTH; i++)
        buf_byte(&text, '[');
    breaks(text.p);
    buf_clear(&text);
    buf_byte(&text, '[');
    for (int i = 0; i < MEND_MAX_WORD; i++)
        buf_byte(&text, '1');
    buf_byte(&text, ']');
    sound(text.p);
    text.n--;
    buf_str(&text, STR("1]"));
    breaks(text.p);
    /* White space after a comma is kept up to a limit. */
    buf_clear(&text);
    buf_str(&text, STR("[1,"));
    for (int i = 0; i < 2 * MEND_MAX_HELD; i++)
        buf_byte(&text, ' ');
    buf_str(&text, STR("2]"));
    buf_fmt(&want, "[1,%*s2]", MEND_MAX_HELD - 1, "");
    mends(text.p, want.p);
    buf_free(&text);
    buf_free(&want);
}

/* ---- random values ---- */

static void random_json(struct rng *r, int depth, struct buf *out)
{
    static const char *const leaves[] = {"1",
                                         "-0.5e-3",
                                         "true",
                                         "null",
                                         "\"\"",
                                         "\"a b\"",
                                         "\"\\n\\\\\\\"\\ud83d\\ude80\"",
                                         "\"\xe2\x82\xac<{[,:\""};
    uint64_t kind = rng_below(r, depth ? 3 : 1);
    if (kind == 0 && depth < MAX_DEPTH) {
        buf_str(out, str_of(leaves[rng_below(r, sizeof leaves / sizeof *leaves)]));
        return;
    }
    bool is_object = rng_below(r, 2);
    buf_byte(out, is_object ? '{' : '[');
    for (uint64_t i = 0, n = rng_below(r, 4); i < n; i++) {
        if (i)
            buf_str(out, rng_below(r, 2) ? STR(", ") : STR(",\n "));
        if (is_object)
            buf_fmt(out, "\"k%d\"%s", (int)rng_below(r, 9), rng_below(r, 2) ? ": " : ":");
        random_json(r, depth ? depth - 1 : 0, out);
    }
    buf_byte(out, is_object ? '}' : ']');
}

static void damage(struct rng *r, struct buf *text)
{
    static const char bytes[] = "\"'\\{}[],:un0e\n\xff\xe2 <T";
    size_t at = rng_below(r, text->n);
    if (rng_below(r, 3) == 0)
        text->n = at + 1;
    else
        text->p[at] = bytes[rng_below(r, sizeof bytes - 1)];
}

TEST(mend_gives_json_or_breaks_however_the_text_is_cut)
{
    struct rng rng = {test_seed()};
    int n_done = 0;
    for (int i = 0; i < N_VALUES; i++) {
        struct buf text = {0};
        random_json(&rng, MAX_DEPTH, &text);
        if (text.p[0] != '{' && text.p[0] != '[') {
            buf_free(&text);
            continue;
        }
        struct result whole = run(buf_view(&text), 0, NULL);
        CHECK_STR(buf_view(&whole.out), buf_view(&text));
        CHECK(whole.done && !whole.mended);
        buf_free(&whole.out);
        for (uint64_t n = 1 + rng_below(&rng, 3); n > 0; n--)
            damage(&rng, &text);
        whole = run(buf_view(&text), 0, NULL);
        struct result pieces = run(buf_view(&text), 5, &rng);
        CHECK_STR(buf_view(&pieces.out), buf_view(&whole.out));
        CHECK_INT(pieces.n_taken, whole.n_taken);
        CHECK_INT(pieces.done, whole.done);
        CHECK_INT(pieces.mended, whole.mended);
        if (whole.done && !parses(buf_view(&whole.out)))
            test_fail(__FILE__, __LINE__, "no JSON: %.*s\nfrom %.*s", STRF(buf_view(&whole.out)),
                      STRF(buf_view(&text)));
        n_done += whole.done;
        buf_free(&whole.out);
        buf_free(&pieces.out);
        buf_free(&text);
    }
    CHECK(n_done > N_VALUES / 10);
}
