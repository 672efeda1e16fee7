/* JSON: what goes in comes out, scanning agrees with parsing, hostile text is refused. */
#include "base/json.h"
#include "base/num.h"
#include "base/rng.h"
#include "base/utf8.h"
#include "test.h"

static struct json *must_parse(str text)
{
    struct err e = {0};
    struct json *v = json_parse(text, &e);
    if (!v)
        test_fail(__FILE__, __LINE__, "%.*s: %s", (int)num_min(text.n, 200), text.p, e.msg);
    return v;
}

/* Parses text and prints it again; the caller frees the buffer. */
static struct buf reprint(str text, enum json_style style)
{
    struct buf out = {0};
    struct json *v = must_parse(text);
    json_print(v, style, &out);
    json_free(v);
    return out;
}

static void check_print(str text, enum json_style style, str want)
{
    struct buf out = reprint(text, style);
    CHECK_STR(buf_view(&out), want);
    buf_free(&out);
}

TEST(json_numbers_keep_their_text)
{
    str compact = STR("[0,-0,1.0,1.50,1e20,1E-2,-12,9223372036854775807,9223372036854775808,"
                      "-9223372036854775809,123456789012345678901234567890,1e999]");
    check_print(compact, JSON_COMPACT, compact);
    struct json *v = must_parse(compact);
    CHECK_INT(json_type(json_at(v, 0)), JSON_INT);
    CHECK_INT(json_type(json_at(v, 1)), JSON_INT);
    CHECK_INT(json_type(json_at(v, 2)), JSON_FLOAT);
    CHECK_INT(json_type(json_at(v, 4)), JSON_FLOAT);
    CHECK_INT(json_type(json_at(v, 10)), JSON_INT);
    CHECK_INT(json_int(json_at(v, 6)), -12);
    CHECK_INT(json_int(json_at(v, 7)), INT64_MAX);
    CHECK_INT(json_int(json_at(v, 8)), INT64_MAX);
    CHECK_INT(json_int(json_at(v, 9)), INT64_MIN);
    CHECK_INT(json_int(json_at(v, 11)), INT64_MAX);
    CHECK(json_float(json_at(v, 4)) == 1e20);
    CHECK(json_float(json_at(v, 6)) == -12);
    json_free(v);
}

/* Right-hand sides are what Python 3 prints with json.dumps(json.loads(...)). */
TEST(json_prints_floats_like_python)
{
    static const char *const cases[][2] = {
        {"1.0", "1.0"},
        {"1.50", "1.5"},
        {"1e20", "1e+20"},
        {"1e15", "1000000000000000.0"},
        {"1e16", "1e+16"},
        {"123456789012345678.0", "1.2345678901234568e+17"},
        {"0.0001", "0.0001"},
        {"0.00001", "1e-05"},
        {"0.00012345", "0.00012345"},
        {"-0.0", "-0.0"},
        {"0.1", "0.1"},
        {"0.30000000000000004", "0.30000000000000004"},
        {"5e-324", "5e-324"},
        {"1.7976931348623157e308", "1.7976931348623157e+308"},
        {"9007199254740993.0", "9007199254740992.0"},
        {"-2.5E-3", "-0.0025"},
        {"100.25", "100.25"},
        {"7.1202363472230444e-307", "7.120236347223045e-307"},
        {"1E2", "100.0"},
        {"123456789012345678901234567890", "123456789012345678901234567890"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_print(str_of(cases[i][0]), JSON_PYTHON, str_of(cases[i][1]));
}

TEST(json_strings_hold_any_code_point)
{
    struct json *v = must_parse(STR("[\"a\\u0000b\",\"\\ud83d\\ude80\",\"\\ud83d\",\"\\ude80x\","
                                    "\"\\ud83d\\u0041\",\"\\ud83d\\ud83d\\ude80\",\"\\/\\b\\f\"]"));
    CHECK_STR(json_str(json_at(v, 0)), STR("a\0b"));
    CHECK_STR(json_str(json_at(v, 1)), STR("\xf0\x9f\x9a\x80"));
    CHECK_STR(json_str(json_at(v, 2)), STR("\xef\xbf\xbd"));
    CHECK_STR(json_str(json_at(v, 3)), STR("\xef\xbf\xbdx"));
    CHECK_STR(json_str(json_at(v, 4)), STR("\xef\xbf\xbd"
                                           "A"));
    CHECK_STR(json_str(json_at(v, 5)), STR("\xef\xbf\xbd\xf0\x9f\x9a\x80"));
    CHECK_STR(json_str(json_at(v, 6)), STR("/\b\f"));
    json_free(v);
    check_print(STR("\"a\\u0000\\u001f\\\"\\\\\\n\x7f\xc3\xa9\""), JSON_PYTHON,
                STR("\"a\\u0000\\u001f\\\"\\\\\\n\x7f\xc3\xa9\""));
    struct buf out = {0};
    json_quote(STR("\xff"
                   "a\xe2\x82"),
               &out);
    CHECK_STR(buf_view(&out), STR("\"\xef\xbf\xbd"
                                  "a\xef\xbf\xbd\xef\xbf\xbd\""));
    buf_free(&out);
}

TEST(json_objects_keep_order_and_the_last_of_equal_names)
{
    check_print(STR(" { \"b\" : 1 , \"a\" : [ ] , \"b\" : {\"\":null} } "), JSON_PYTHON,
                STR("{\"b\": {\"\": null}, \"a\": []}"));
    struct json *v = must_parse(STR("{\"z\":null,\"y\":true,\"x\":\"s\"}"));
    CHECK(json_has(v, "z") && !json_get(v, "z") && !json_has(v, "q"));
    CHECK(json_bool(json_get(v, "y")) && !json_bool(json_get(v, "x")));
    CHECK_INT(json_count(v), 3);
    struct json_iter it = {0};
    struct json *value;
    str key;
    char keys[8] = "";
    while (json_next(v, &it, &key, &value))
        strncat(keys, key.p, 1);
    CHECK_STR(str_of(keys), STR("zyx"));
    CHECK(!json_next(v, &it, &key, &value));
    json_free(v);
}

TEST(json_lookups_in_the_wrong_type_are_absent)
{
    struct json *v = must_parse(STR("[1,\"2\",{}]"));
    struct json_iter it = {0};
    struct json *value;
    str key;
    CHECK(!json_get(NULL, "a") && !json_get(v, "a") && !json_has(v, "a"));
    CHECK(!json_at(NULL, 0) && !json_at(v, 3) && !json_at(json_at(v, 2), 0));
    CHECK_INT(json_count(json_at(v, 1)), 0);
    CHECK_INT(json_int(json_at(v, 1)), 0);
    CHECK_STR(json_str(json_at(v, 0)), STR(""));
    CHECK(!json_next(v, &it, &key, &value));
    CHECK(!json_next(json_at(v, 2), &it, &key, &value));
    CHECK_INT(json_type(NULL), JSON_NULL);
    json_free(v);
    json_free(NULL);
}

TEST(json_refuses_what_is_not_json)
{
    static const struct {
        const char *text;
        const char *where;
    } cases[] = {
        {"", "byte 0"},
        {" ", "byte 1"},
        {"{", "byte 1"},
        {"[1,]", "byte 3"},
        {"[1 2]", "byte 3"},
        {"{\"a\"}", "byte 4"},
        {"{\"a\":}", "byte 5"},
        {"{\"a\":1,}", "byte 7"},
        {"{a:1}", "byte 1"},
        {"'a'", "byte 0"},
        {"01", "byte 1"},
        {"-", "byte 1"},
        {"1.", "byte 2"},
        {".5", "byte 0"},
        {"1e", "byte 2"},
        {"+1", "byte 0"},
        {"NaN", "byte 0"},
        {"Infinity", "byte 0"},
        {"-Infinity", "byte 1"},
        {"tru", "byte 0"},
        {"True", "byte 0"},
        {"truex", "byte 4"},
        {"null", "null"},
        {"[1]x", "byte 3"},
        {"\"abc", "byte 4"},
        {"\"a\nb\"", "byte 2"},
        {"\"\\x\"", "byte 2"},
        {"\"\\u12g4\"", "byte 5"},
        {"\"\\u12", "byte 5"},
        {"\"\\", "byte 2"},
        {"/**/1", "byte 0"},
        {"\"\xff\"", "byte 1"},
        {"\"\xc0\x80\"", "byte 1"},
        {"\"a\xed\xa0\x80\"", "byte 2"},
        {"\"\xf4\x90\x80\x80\"", "byte 1"},
        {"\"\xe2\x82", "byte 1"},
        {"\xef\xbb\xbf{}", "byte 0"},
        {"{\"a\\u0000b\":1}", "byte 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = {0};
        struct json *v = json_parse(str_of(cases[i].text), &e);
        if (v || !strstr(e.msg, cases[i].where))
            test_fail(__FILE__, __LINE__, "%s: %s, want %s", cases[i].text, v ? "accepted" : e.msg,
                      cases[i].where);
    }
    struct err e = {0};
    CHECK(!json_parse(STR("[1\0]"), &e));
}

static struct buf nested(size_t depth, bool closed)
{
    struct buf b = {0};
    for (size_t i = 0; i < depth; i++)
        buf_str(&b, i % 2 ? STR("{\"a\":") : STR("["));
    buf_byte(&b, '1');
    for (size_t i = depth; closed && i-- > 0;)
        buf_byte(&b, i % 2 ? '}' : ']');
    return b;
}

TEST(json_depth_is_limited)
{
    struct err e = {0};
    struct buf b = nested(JSON_MAX_DEPTH, true);
    struct json *v = must_parse(buf_view(&b));
    CHECK_INT(json_scan(buf_view(&b)), b.n);
    json_free(v);
    buf_free(&b);
    b = nested(JSON_MAX_DEPTH + 1, true);
    CHECK(!json_parse(buf_view(&b), &e) && strstr(e.msg, "64"));
    CHECK_INT(json_scan(buf_view(&b)), 0);
    buf_free(&b);
    b = nested(1000000, false);
    CHECK(!json_parse(buf_view(&b), &e));
    buf_free(&b);
}

/* ---- random values ---- */

static void random_string(struct rng *r, struct buf *out)
{
    static const char *const parts[] = {
        "a",  "<", "\"",   "\\",  "\n", "\x01", "\xc3\xa9", "{", "]", ",", "\xf0\x9f\x9a\x80",
        "\t", " ", "\x7f", "null"};
    struct buf text = {0};
    for (uint64_t n = rng_below(r, 12); n > 0; n--) {
        if (rng_below(r, 20) == 0)
            buf_byte(&text, 0);
        else
            buf_str(&text, str_of(parts[rng_below(r, sizeof parts / sizeof *parts)]));
    }
    json_quote(buf_view(&text), out);
    buf_free(&text);
}

static void random_value(struct rng *r, int depth, enum json_style style, struct buf *out)
{
    bool python = style == JSON_PYTHON;
    uint64_t kind = rng_below(r, depth ? 8 : 6);
    switch (kind) {
    case 0: buf_str(out, STR("null")); return;
    case 1: buf_str(out, rng_below(r, 2) ? STR("true") : STR("false")); return;
    case 2: buf_fmt(out, "%lld", (long long)rng_u64(r) >> rng_below(r, 64)); return;
    case 3: buf_fmt(out, "%llu9%llu", (unsigned long long)rng_u64(r) | 1, 7ull); return;
    case 4: buf_fmt(out, "%d.5", (int)rng_below(r, 2000) - 1000); return;
    case 5: random_string(r, out); return;
    default: break;
    }
    buf_byte(out, kind == 6 ? '[' : '{');
    uint64_t n = rng_below(r, 5);
    for (uint64_t i = 0; i < n; i++) {
        if (i)
            buf_str(out, python ? STR(", ") : STR(","));
        if (kind == 7)
            buf_fmt(out, "\"k%d\":%s", (int)i, python ? " " : "");
        random_value(r, depth - 1, style, out);
    }
    buf_byte(out, kind == 6 ? ']' : '}');
}

TEST(json_random_values_round_trip)
{
    struct rng r = {test_seed()};
    for (int i = 0; i < 5000; i++) {
        enum json_style style = i % 2 ? JSON_PYTHON : JSON_COMPACT;
        struct buf text = {0};
        buf_byte(&text, '['); /* a lone null is no value */
        random_value(&r, 6, style, &text);
        buf_byte(&text, ']');
        struct buf again = reprint(buf_view(&text), style);
        CHECK_STR(buf_view(&again), buf_view(&text));
        buf_free(&again);
        buf_free(&text);
    }
}

/* What others read in our JSON is what we go on with ourselves. */
TEST(json_quote_replaces_what_is_no_utf8_as_utf8_clean_does)
{
    static const char *const parts[] = {"a",        "\x80",         "\xc3",     "\xc3\xa9",
                                        "\xe2\x82", "\xe2\x82\xac", "\xf0\x9f", "\xf0\x9f\xa6\x89",
                                        "\xed\xa0", "\xff",         "\"\n"};
    struct rng r = {test_seed() + 3};
    for (int round = 0; round < 5000; round++) {
        struct buf bytes = {0}, text = {0}, clean = {0};
        for (uint64_t n = rng_below(&r, 8); n > 0; n--)
            buf_str(&bytes, str_of(parts[rng_below(&r, sizeof parts / sizeof *parts)]));
        json_quote(buf_view(&bytes), &text);
        utf8_clean(buf_view(&bytes), &clean);
        struct json *v = must_parse(buf_view(&text));
        CHECK_STR(json_str(v), buf_view(&clean));
        json_free(v);
        buf_clear(&bytes);
        utf8_clean(buf_view(&clean), &bytes); /* clean text stays as it is */
        CHECK_STR(buf_view(&bytes), buf_view(&clean));
        buf_free(&bytes);
        buf_free(&text);
        buf_free(&clean);
    }
}

TEST(json_scan_finds_the_end_and_no_earlier_one)
{
    struct rng r = {test_seed() + 1};
    for (int i = 0; i < 400; i++) {
        struct buf text = {0};
        buf_str(&text, rng_below(&r, 2) ? STR("  {\"a\":") : STR("{\"a\":"));
        random_value(&r, 4, JSON_PYTHON, &text);
        buf_byte(&text, '}');
        size_t n = text.n;
        for (size_t cut = 0; cut < n; cut++)
            CHECK_INT(json_scan(str_sub(buf_view(&text), 0, cut)), 0);
        buf_str(&text, STR("}\n</tool_call>{\"x\":"));
        for (size_t cut = n; cut <= text.n; cut++)
            CHECK_INT(json_scan(str_sub(buf_view(&text), 0, cut)), n);
        buf_free(&text);
    }
    CHECK_INT(json_scan(STR("\"a\\\"b\" tail")), 6);
    CHECK_INT(json_scan(STR("true, tail")), 4);
    CHECK_INT(json_scan(STR("12 ")), 2);
    CHECK_INT(json_scan(STR("{\"a\":1,]")), 0);
    CHECK_INT(json_scan(STR("{\"a\\u0000\":1}")), 0);
}

/* Valid text with random bytes changed: parsing may refuse it, but whatever it accepts must print
 * to text that parses to the same print. */
TEST(json_survives_damaged_text)
{
    struct rng r = {test_seed() + 2};
    int n_accepted = 0;
    for (int i = 0; i < 20000; i++) {
        struct err e = {0};
        struct buf text = {0};
        buf_byte(&text, '[');
        random_value(&r, 4, JSON_COMPACT, &text);
        buf_byte(&text, ']');
        for (uint64_t n = 1 + rng_below(&r, 2); n > 0; n--)
            text.p[rng_below(&r, text.n)] = (char)rng_u64(&r);
        struct json *v = json_parse(buf_view(&text), &e);
        size_t n_scanned = json_scan(buf_view(&text));
        CHECK(!v || n_scanned > 0);
        if (v) {
            struct buf once = {0};
            json_print(v, JSON_COMPACT, &once);
            struct buf twice = reprint(buf_view(&once), JSON_COMPACT);
            CHECK_STR(buf_view(&twice), buf_view(&once));
            buf_free(&once);
            buf_free(&twice);
            n_accepted++;
        }
        json_free(v);
        buf_free(&text);
    }
    CHECK(n_accepted > 100 && n_accepted < 19900);
}
