/* Stop strings over a stream in any pieces. */
#include "test.h"

#include "base/buf.h"
#include "base/rng.h"
#include "server/stops.h"

static struct buf run(const str *list, size_t n, str text, struct rng *r, bool *hit)
{
    struct stops s = {.list = list, .n = n};
    struct buf out = {0};
    for (size_t at = 0; at < text.n;) {
        size_t step = r ? 1 + rng_below(r, 4) : 1;
        stops_put(&s, str_sub(text, at, at + step), &out);
        at += step;
    }
    *hit = s.hit;
    if (!s.hit)
        stops_end(&s, &out);
    stops_free(&s);
    return out;
}

TEST(stops_cut_before_the_first_stop_string)
{
    str list[] = {STR("END"), STR("\n\n")};
    bool hit;
    struct buf out = run(list, 2, STR("one\ntwo EN\n\nthree END"), NULL, &hit);
    CHECK(hit);
    CHECK_STR(buf_view(&out), STR("one\ntwo EN"));
    buf_free(&out);
}

TEST(stops_give_back_what_was_only_a_beginning)
{
    str list[] = {STR("</answer>")};
    bool hit;
    struct buf out = run(list, 1, STR("a </ans b </answer"), NULL, &hit);
    CHECK(!hit);
    CHECK_STR(buf_view(&out), STR("a </ans b </answer"));
    buf_free(&out);
}

TEST(stops_hold_nothing_back_without_need)
{
    str list[] = {STR("xyz")};
    struct stops s = {.list = list, .n = 1};
    struct buf out = {0};
    stops_put(&s, STR("hello x"), &out);
    CHECK_STR(buf_view(&out), STR("hello "));
    stops_put(&s, STR("y"), &out);
    CHECK_STR(buf_view(&out), STR("hello "));
    stops_put(&s, STR("!"), &out);
    CHECK_STR(buf_view(&out), STR("hello xy!"));
    CHECK(!stops_put(&s, STR("x"), &out));
    CHECK(stops_put(&s, STR("yzzz"), &out));
    CHECK(stops_put(&s, STR("more"), &out));
    CHECK_STR(buf_view(&out), STR("hello xy!"));
    stops_free(&s);
    buf_free(&out);
}

TEST(stops_without_a_list_pass_everything_at_once)
{
    struct stops s = {0};
    struct buf out = {0};
    CHECK(!stops_put(&s, STR("abc"), &out));
    CHECK_STR(buf_view(&out), STR("abc"));
    stops_free(&s);
    buf_free(&out);
}

/* The shortest prefix of text that ends in a stop string, without the longest such string. */
static size_t expected_cut(const str *list, size_t n, str text)
{
    for (size_t end = 1; end <= text.n; end++) {
        size_t longest = 0;
        for (size_t k = 0; k < n; k++)
            if (str_ends(str_sub(text, 0, end), list[k]) && list[k].n > longest)
                longest = list[k].n;
        if (longest)
            return end - longest;
    }
    return SIZE_MAX;
}

/* Over an alphabet of two letters every overlap occurs. */
TEST(stops_do_not_depend_on_how_the_text_is_split)
{
    struct rng r = {test_seed()};
    for (int round = 0; round < 20000; round++) {
        char text[24], words[3][5];
        str list[3], all = {text, rng_below(&r, sizeof text)};
        size_t n = 1 + rng_below(&r, 3);
        for (size_t i = 0; i < all.n; i++)
            text[i] = (char)('a' + rng_below(&r, 2));
        for (size_t k = 0; k < n; k++) {
            list[k] = (str){words[k], 1 + rng_below(&r, 5)};
            for (size_t i = 0; i < list[k].n; i++)
                words[k][i] = (char)('a' + rng_below(&r, 2));
        }
        bool hit;
        size_t cut = expected_cut(list, n, all);
        struct buf out = run(list, n, all, &r, &hit);
        CHECK_INT(hit, cut != SIZE_MAX);
        CHECK_STR(buf_view(&out), hit ? str_sub(all, 0, cut) : all);
        buf_free(&out);
    }
}
