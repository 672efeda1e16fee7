/* The tokenizer over a small handmade vocabulary: no reference data needed. */
#include "kit/tok_fixture.h"
#include "test.h"
#include "text/tok_bpe.h"

/* Ids 256, 257, ... in this order. */
static const char *merges[][2] = {
    {"h", "e"}, {"l", "l"},   {"he", "ll"},     {"hell", "o"},        {" ", "hello"},
    {" ", " "}, {"  ", "  "}, {"\xc3", "\xa9"}, {"\xf0\x9f", "\x98"}, {"a", "a"},
    {"b", "c"}, {"a", "b"},   {"\xf0", "\x9f"}, {NULL, NULL},
};
enum { HE = 256, LL, HELL, HELLO, SP_HELLO, SP2, SP4, E_ACUTE, FACE3, AA, BC, AB, FACE2 };
enum { N_ORDINARY = FACE2 + 1 };

static const struct fixture_added added[] = {
    {"<|end|>", TOK_CONTROL},
    {"<|im_end|>", TOK_CONTROL},
    {"<think>", TOK_USER_DEFINED},
    {"<|im_", TOK_CONTROL},
    {"<|im_start|>", TOK_CONTROL},
    {"<unk>", TOK_UNKNOWN},
    {"[PAD]", TOK_UNUSED},
    {"hello", TOK_CONTROL},
    {"<|eot_id|>", TOK_USER_DEFINED},
    {"<|im_start|>x", TOK_USER_DEFINED},
    {NULL, TOK_NORMAL},
};
enum { END = N_ORDINARY, IM_END, THINK, IM_, IM_START, UNK, PAD, HELLO_CONTROL, EOT, IM_START_X };

static struct tok *open_with(const char *pre, void (*more_keys)(struct gguf_writer *w))
{
    struct err e;
    struct tok_fixture f = {.pre = pre, .merges = merges, .added = added, .more_keys = more_keys};
    struct tok *t = tok_fixture_open(&f, &e);
    CHECK_OK(t);
    return t;
}

static struct tok *open_qwen2(void)
{
    return open_with("qwen2", NULL);
}

static void check_ids(const struct tok *t, str text, const struct tok_params *p,
                      const int32_t *want)
{
    struct tok_ids got = {0};
    struct buf shown = {0};
    size_t n = 0;
    tok_encode(t, text, p, &got);
    while (want[n] >= 0)
        n++;
    for (size_t i = 0; i < got.n; i++)
        buf_fmt(&shown, " %d", got.ids[i]);
    if (got.n != n || (n && memcmp(got.ids, want, n * sizeof *want) != 0))
        test_fail(__FILE__, __LINE__, "'%.*s': got%s, want %zu ids from %d on", STRF(text),
                  buf_view(&shown).p, n, want[0]);
    buf_free(&shown);
    free(got.ids);
}

/* IDS(t, text, params, id, ...) */
#define IDS(t, text, params, ...)                                                                  \
    check_ids(t, STR(text), params, (const int32_t[]){__VA_ARGS__, -1})

static const struct tok_params raw = {0};
static const struct tok_params special = {.special = true};
static const struct tok_params plain = {.special = true, .plain = true};

TEST(tok_merges_by_rank_and_leftmost_first)
{
    struct tok *t = open_qwen2();
    IDS(t, "hello", &raw, HELLO);
    IDS(t, "hello hello", &raw, HELLO, SP_HELLO);
    IDS(t, "hellx", &raw, HELL, 'x');
    IDS(t, "abc", &raw, 'a', BC); /* b c ranks before a b */
    IDS(t, "aaa", &raw, AA, 'a'); /* the left pair of equals */
    IDS(t, "aaaab", &raw, AA, AA, 'b');
    IDS(t, "     x", &raw, SP4, ' ', 'x');
    IDS(t, "", &raw, -1);
    tok_close(t);
}

/* The piece with three bytes of the face is reachable only if the first two merge before; here they
 * rank behind, so the four bytes come out in two pieces. */
TEST(tok_does_not_emit_whole_tokens_that_merges_do_not_reach)
{
    struct tok *t = open_qwen2();
    IDS(t, "\xf0\x9f\x98\x80", &raw, FACE3, 0x80);
    tok_close(t);
    static const char *unreachable[][2] = {{"x", "y"}, {"xy", "z"}, {"y", "z"}, {NULL, NULL}};
    static const char *blocked[][2] = {{"y", "z"}, {"x", "y"}, {"xy", "z"}, {NULL, NULL}};
    struct err e;
    struct tok_fixture f = {.pre = "qwen2", .merges = unreachable};
    t = tok_fixture_open(&f, &e);
    CHECK_OK(t);
    IDS(t, "xyz", &raw, 257);
    tok_close(t);
    f.merges = blocked;
    t = tok_fixture_open(&f, &e);
    CHECK_OK(t);
    IDS(t, "xyz", &raw, 'x', 256); /* "xyz" is token 258, but y z joins first */
    tok_close(t);
    f.pre = "llama-bpe"; /* this family takes whole words first */
    t = tok_fixture_open(&f, &e);
    CHECK_OK(t);
    IDS(t, "xyz", &raw, 258);
    tok_close(t);
}

TEST(tok_recognises_added_tokens_on_request)
{
    struct tok *t = open_qwen2();
    IDS(t, "aa<|im_start|>aa", &special, AA, IM_START, AA);
    IDS(t, "<think>aa", &raw, THINK, AA);
    IDS(t, "<think>", &plain, '<', 't', 'h', 'i', 'n', 'k', '>');
    IDS(t, "<|end|>", &raw, '<', '|', 'e', 'n', 'd', '|', '>');
    IDS(t, "<unk>[PAD]", &special, UNK, '[', 'P', 'A', 'D', ']');
    tok_close(t);
}

TEST(tok_prefers_the_leftmost_and_longest_added_token)
{
    struct tok *t = open_qwen2();
    IDS(t, "<|im_start|>x", &special, IM_START_X);
    IDS(t, "<|im_start|>y", &special, IM_START, 'y');
    IDS(t, "<|im_s", &special, IM_, 's');
    IDS(t, "<<|im_end|>", &special, '<', IM_END);
    IDS(t, "<|im_start|>x", &raw, IM_START_X);
    IDS(t, "hello", &special, HELLO_CONTROL);
    tok_close(t);
}

TEST(tok_leaves_control_tokens_in_literal_spans_as_text)
{
    struct tok *t = open_qwen2();
    /*              0         1         2
                    0123456789012345678901234567 */
    str text = STR("<|end|><|end|><|end|><think>");
    struct tok_span spans[] = {{3, 3}, {7, 14}, {21, 28}};
    struct tok_params p = {.special = true, .literal = spans, .n_literal = 3};
    check_ids(t, text, &p,
              (const int32_t[]){END, '<', '|', 'e', 'n', 'd', '|', '>', END, THINK, -1});
    /* A token that lies partly in a span is not recognised: who wrote the other part? */
    for (size_t cut = 1; cut < 7; cut++) {
        struct tok_span head[] = {{0, cut}}, tail[] = {{cut, 7}}, inside[] = {{cut - 1, cut}};
        struct tok_span *all[] = {head, tail, inside};
        for (size_t i = 0; i < 3; i++) {
            p = (struct tok_params){.special = true, .literal = all[i], .n_literal = 1};
            IDS(t, "<|end|>", &p, '<', '|', 'e', 'n', 'd', '|', '>');
        }
    }
    /* The longest allowed one counts: the control token is text, its user-defined relative is not.
     */
    struct tok_span whole[] = {{0, 13}};
    p = (struct tok_params){.special = true, .literal = whole, .n_literal = 1};
    IDS(t, "<|im_start|>x", &p, IM_START_X);
    tok_close(t);
}

TEST(tok_normalises_where_the_family_does)
{
    struct tok *qwen = open_qwen2(), *gpt = open_with("gpt-4o", NULL);
    IDS(qwen, "e\xcc\x81", &raw, E_ACUTE);
    IDS(gpt, "e\xcc\x81", &raw, 'e', 0xcc, 0x81);
    /* Spans and added tokens are found in the text as it was. */
    struct tok_span spans[] = {{10, 17}};
    struct tok_params p = {.special = true, .literal = spans, .n_literal = 1};
    IDS(qwen, "e\xcc\x81<|end|><|end|>e\xcc\x81", &p, E_ACUTE, END, '<', '|', 'e', 'n', 'd', '|',
        '>', E_ACUTE);
    /* Nothing composes across an added token or a byte that is no UTF-8. */
    IDS(qwen, "e<think>\xcc\x81", &p, 'e', THINK, 0xcc, 0x81);
    IDS(qwen, "e\xff\xcc\x81", &p, 'e', 0xff, 0xcc, 0x81);
    tok_close(qwen);
    tok_close(gpt);
}

static void stream_all(struct tok_stream *s, const int32_t *ids, struct buf *out)
{
    for (; *ids >= 0; ids++)
        tok_stream_put(s, *ids, out);
}

TEST(tok_stream_holds_back_split_characters)
{
    struct tok *t = open_qwen2();
    struct buf out = {0};
    struct tok_stream s = {.tok = t};
    stream_all(&s, (const int32_t[]){'a', FACE2, -1}, &out);
    CHECK_STR(buf_view(&out), STR("a"));
    stream_all(&s, (const int32_t[]){0x98, END, -1}, &out); /* a control token between */
    CHECK_STR(buf_view(&out), STR("a"));
    stream_all(&s, (const int32_t[]){0x80, -1}, &out);
    CHECK_STR(buf_view(&out), STR("a\xf0\x9f\x98\x80"));
    /* What cannot become a character is not held. */
    stream_all(&s, (const int32_t[]){0xed, 0xa0, 0xff, 0xe4, 'b', -1}, &out);
    CHECK_STR(buf_view(&out), STR("a\xf0\x9f\x98\x80\xed\xa0\xff\xe4"
                                  "b"));
    buf_clear(&out);
    stream_all(&s, (const int32_t[]){0xe4, 0xb8, -1}, &out);
    CHECK_INT(out.n, 0);
    tok_stream_end(&s, &out);
    CHECK_STR(buf_view(&out), STR("\xe4\xb8"));
    buf_free(&out);
    tok_close(t);
}

TEST(tok_stream_prints_what_the_type_says)
{
    static const int32_t ids[] = {HELLO, END, THINK, UNK, PAD, 99999, SP_HELLO, -1};
    struct tok *t = open_qwen2();
    struct buf out = {0};
    struct tok_stream quiet = {.tok = t}, full = {.tok = t, .show_special = true};
    stream_all(&quiet, ids, &out);
    CHECK_STR(buf_view(&out), STR("hello<think> hello"));
    buf_clear(&out);
    stream_all(&full, ids, &out);
    CHECK_STR(buf_view(&out), STR("hello<|end|><think><unk> hello"));
    tok_stream_put(&full, -5, &out);
    CHECK_INT(out.n, 30);
    buf_free(&out);
    tok_close(t);
}

static void id_keys(struct gguf_writer *w)
{
    static const int32_t more[] = {AB, 1 << 20, -3};
    gguf_writer_u32(w, "tokenizer.ggml.bos_token_id", IM_START);
    gguf_writer_u32(w, "tokenizer.ggml.eos_token_id", THINK);
    gguf_writer_u32(w, "tokenizer.ggml.eot_token_id", 4000000000u);
    gguf_writer_u32(w, "tokenizer.ggml.eom_token_id", AA);
    gguf_writer_bool(w, "tokenizer.ggml.add_bos_token", true);
    gguf_writer_i32s(w, "tokenizer.ggml.eos_token_ids", more, 3);
}

static void check_stops(const struct tok *t, const int32_t *want)
{
    for (int32_t id = -1; id <= (int32_t)tok_n_vocab(t); id++)
        if (tok_is_stop(t, id))
            CHECK_INT(id, *want++);
    CHECK_INT(*want, -1);
}

TEST(tok_finds_ids_and_stops_by_key_and_by_text)
{
    struct tok *t = open_qwen2();
    CHECK_INT(tok_bos(t), -1);
    CHECK_INT(tok_eos(t), -1);
    CHECK(!tok_add_bos(t));
    CHECK_INT(tok_special(t, STR("<|im_start|>")), IM_START);
    CHECK_INT(tok_special(t, STR("<|im_star")), -1);
    CHECK_INT(tok_special(t, STR("[PAD]")), -1);
    CHECK_INT(tok_special(t, STR("")), -1);
    check_stops(t, (const int32_t[]){END, IM_END, EOT, -1});
    tok_close(t);
    t = open_with("qwen2", id_keys);
    CHECK_INT(tok_bos(t), IM_START);
    CHECK_INT(tok_eos(t), THINK);
    CHECK(tok_add_bos(t));
    check_stops(t, (const int32_t[]){AA, AB, END, IM_END, THINK, EOT, -1});
    tok_close(t);
}

TEST(tok_takes_end_out_of_the_stops_of_harmony)
{
    static const struct fixture_added harmony[] = {{"<|return|>", TOK_CONTROL},
                                                   {"<|call|>", TOK_CONTROL},
                                                   {"<|end|>", TOK_CONTROL},
                                                   {NULL, TOK_NORMAL}};
    struct err e;
    struct tok *t = tok_fixture_open(&(struct tok_fixture){.added = harmony}, &e);
    CHECK_OK(t);
    check_stops(t, (const int32_t[]){256, 257, -1});
    tok_close(t);
}

TEST(tok_gives_types_and_bytes_for_any_id)
{
    struct tok *t = open_qwen2();
    CHECK_INT(tok_n_vocab(t), IM_START_X + 1);
    CHECK_INT(tok_type(t, HELLO), TOK_NORMAL);
    CHECK_INT(tok_type(t, END), TOK_CONTROL);
    CHECK_INT(tok_type(t, -1), TOK_UNUSED);
    CHECK_INT(tok_type(t, IM_START_X + 1), TOK_UNUSED);
    CHECK_STR(tok_bytes(t, SP_HELLO), STR(" hello"));
    CHECK_STR(tok_bytes(t, 0), STR("\0"));
    CHECK_STR(tok_bytes(t, END), STR("<|end|>"));
    CHECK_STR(tok_bytes(t, INT32_MAX), STR(""));
    tok_close(t);
}
