/* Files that are broken or unusual: refused with one line that names the key, or taken with a
 * warning. */
#include "base/mem.h"
#include "kit/tok_fixture.h"
#include "test.h"

struct lines {
    char text[4096];
    size_t n_lines;
};

static void keep_line(void *ctx, enum log_level level, const char *line)
{
    struct lines *l = ctx;
    size_t n = strlen(l->text);
    CHECK_INT(level, LOG_WARN);
    snprintf(l->text + n, sizeof l->text - n, "%s\n", line);
    l->n_lines++;
}

static void check_refused(void (*keys)(struct gguf_writer *w), enum err_code code, const char *says)
{
    struct err e = {0};
    CHECK(!tok_fixture_from_keys(keys, NULL, &e));
    CHECK_INT(e.code, code);
    if (!strstr(e.msg, says))
        test_fail(__FILE__, __LINE__, "'%s' does not say '%s'", e.msg, says);
}

/* Opens a file that is taken, and checks that its only warning says `says`. */
static struct tok *check_warned(void (*keys)(struct gguf_writer *w), const char *says)
{
    struct err e;
    struct lines lines = {0};
    struct log log = {keep_line, &lines};
    struct tok *t = tok_fixture_from_keys(keys, &log, &e);
    CHECK_OK(t);
    if (lines.n_lines != 1 || !strstr(lines.text, says))
        test_fail(__FILE__, __LINE__, "'%s' does not say '%s'", lines.text, says);
    return t;
}

static size_t n_ids(const struct tok *t, str text)
{
    struct tok_ids ids = {0};
    tok_encode(t, text, &(struct tok_params){.special = true}, &ids);
    free(ids.ids);
    return ids.n;
}

/* The 256 byte tokens and n others. */
static void put_tokens(struct gguf_writer *w, const char *const *others, size_t n)
{
    struct arena arena = {0};
    str *tokens = arena_new(&arena, 256 + n, sizeof *tokens);
    for (int b = 0; b < 256; b++) {
        struct buf letter = {0};
        char byte = (char)b;
        tok_fixture_alphabet((str){&byte, 1}, &letter);
        tokens[b] = arena_str(&arena, buf_view(&letter));
        buf_free(&letter);
    }
    for (size_t i = 0; i < n; i++)
        tokens[256 + i] = str_of(others[i]);
    gguf_writer_strs(w, "tokenizer.ggml.tokens", tokens, 256 + n);
    arena_free(&arena);
}

static void put_model(struct gguf_writer *w)
{
    gguf_writer_str(w, "tokenizer.ggml.model", STR("gpt2"));
    gguf_writer_str(w, "tokenizer.ggml.pre", STR("qwen2"));
}

static void put_merges(struct gguf_writer *w, const char *merge)
{
    gguf_writer_strs(w, "tokenizer.ggml.merges", (str[]){str_of(merge)}, 1);
}

static const char *const ab[] = {"ab"};

static void keys_empty(struct gguf_writer *w)
{
    gguf_writer_str(w, "general.architecture", STR("qwen3moe"));
}

static void keys_none(struct gguf_writer *w)
{
    gguf_writer_str(w, "tokenizer.ggml.model", STR("none"));
}

static void keys_bert(struct gguf_writer *w)
{
    gguf_writer_str(w, "tokenizer.ggml.model", STR("bert\x1b[31m"));
}

static void keys_model_number(struct gguf_writer *w)
{
    gguf_writer_u32(w, "tokenizer.ggml.model", 7);
}

TEST(tok_refuses_files_without_a_tokenizer_it_knows)
{
    check_refused(keys_empty, ERR_UNSUPPORTED, "no tokenizer");
    check_refused(keys_none, ERR_UNSUPPORTED, "no tokenizer");
    check_refused(keys_bert, ERR_UNSUPPORTED, "'bert?[31m'");
    check_refused(keys_model_number, ERR_FORMAT, "tokenizer.ggml.model");
}

static void keys_no_tokens(struct gguf_writer *w)
{
    put_model(w);
    put_merges(w, "a b");
}

static void keys_zero_tokens(struct gguf_writer *w)
{
    put_model(w);
    gguf_writer_strs(w, "tokenizer.ggml.tokens", NULL, 0);
}

static void keys_number_tokens(struct gguf_writer *w)
{
    put_model(w);
    gguf_writer_i32s(w, "tokenizer.ggml.tokens", (int32_t[]){1, 2}, 2);
}

static void keys_many_tokens(struct gguf_writer *w)
{
    enum { N = (1 << 21) + 1 };
    str *tokens = mem_new(N, sizeof *tokens);
    for (size_t i = 0; i < N; i++)
        tokens[i] = STR("x");
    put_model(w);
    gguf_writer_strs(w, "tokenizer.ggml.tokens", tokens, N);
    free(tokens);
}

static void keys_no_merges(struct gguf_writer *w)
{
    put_model(w);
    put_tokens(w, NULL, 0);
}

static void keys_short_types(struct gguf_writer *w)
{
    put_model(w);
    put_tokens(w, NULL, 0);
    put_merges(w, "a b");
    gguf_writer_i32s(w, "tokenizer.ggml.token_type", (int32_t[]){1, 1, 1}, 3);
}

static void keys_string_types(struct gguf_writer *w)
{
    put_model(w);
    put_tokens(w, NULL, 0);
    gguf_writer_strs(w, "tokenizer.ggml.token_type", (str[]){STR("1")}, 1);
}

static void keys_bos_flag_number(struct gguf_writer *w)
{
    put_model(w);
    put_tokens(w, ab, 1);
    put_merges(w, "a b");
    gguf_writer_u32(w, "tokenizer.ggml.add_bos_token", 1);
}

TEST(tok_refuses_arrays_that_are_missing_or_wrong)
{
    check_refused(keys_no_tokens, ERR_FORMAT, "tokenizer.ggml.tokens is missing");
    check_refused(keys_zero_tokens, ERR_LIMIT, "tokenizer.ggml.tokens has 0 entries");
    check_refused(keys_number_tokens, ERR_FORMAT, "not an array of strings");
    check_refused(keys_many_tokens, ERR_LIMIT, "2097153 entries, allowed are 1 to 2097152");
    check_refused(keys_no_merges, ERR_FORMAT, "tokenizer.ggml.merges is missing");
    check_refused(keys_short_types, ERR_FORMAT, "token_type has 3 entries for 256 tokens");
    check_refused(keys_string_types, ERR_FORMAT, "token_type is not an array of integers");
    check_refused(keys_bos_flag_number, ERR_FORMAT, "add_bos_token");
}

static void keys_unknown_pre(struct gguf_writer *w)
{
    gguf_writer_str(w, "tokenizer.ggml.model", STR("gpt2"));
    gguf_writer_str(w, "tokenizer.ggml.pre", STR("made-up"));
    put_tokens(w, ab, 1);
    put_merges(w, "a b");
}

static void keys_old_gptoss(struct gguf_writer *w)
{
    gguf_writer_str(w, "general.architecture", STR("gptoss"));
    gguf_writer_str(w, "tokenizer.ggml.model", STR("gpt2"));
    gguf_writer_str(w, "tokenizer.ggml.pre", STR("made-up"));
    put_tokens(w, (const char *const[]){"aB"}, 1);
    put_merges(w, "a B");
}

TEST(tok_splits_old_gptoss_files_as_gpt_4o)
{
    struct err e;
    struct lines lines = {0};
    struct log log = {keep_line, &lines};
    struct tok *t = tok_fixture_from_keys(keys_old_gptoss, &log, &e);
    CHECK_OK(t);
    CHECK_INT(lines.n_lines, 0);
    CHECK_INT(n_ids(t, STR("aB")), 2); /* the case turns: two words, so no merge */
    tok_close(t);
}

static void keys_duplicates(struct gguf_writer *w)
{
    put_model(w);
    put_tokens(w, (const char *const[]){"ab", "ab", "a"}, 3);
    put_merges(w, "a b");
}

static void keys_bad_merges(struct gguf_writer *w)
{
    static const str bad[] = {{"ab", 2},  {"a ", 2},    {" b", 2}, {"", 0},          {"a b", 3},
                              {"b a", 3}, {"a b c", 5}, {"  ", 2}, {"\xff \xff", 3}, {"a b", 3}};
    put_model(w);
    put_tokens(w, ab, 1);
    gguf_writer_strs(w, "tokenizer.ggml.merges", bad, sizeof bad / sizeof *bad);
}

static void keys_raw_pieces(struct gguf_writer *w)
{
    put_model(w);
    put_tokens(w, (const char *const[]){"a b", "\xff\xfe", "\u4e2d", "ab"}, 4);
    put_merges(w, "a b");
}

static void keys_odd_added(struct gguf_writer *w)
{
    int32_t types[259];
    char *big = mem_new(600, 1);
    memset(big, 'q', 599);
    for (int i = 0; i < 259; i++)
        types[i] = i < 257 ? TOK_NORMAL : TOK_CONTROL;
    put_model(w);
    put_tokens(w, (const char *const[]){"ab", "", big}, 3);
    put_merges(w, "a b");
    gguf_writer_i32s(w, "tokenizer.ggml.token_type", types, 259);
    free(big);
}

static void keys_bad_types(struct gguf_writer *w)
{
    int32_t types[257];
    for (int i = 0; i < 257; i++)
        types[i] = i % 3 == 0 ? 0 : i % 3 == 1 ? -1 : 1 << 30;
    put_model(w);
    put_tokens(w, ab, 1);
    put_merges(w, "b a");
    gguf_writer_i32s(w, "tokenizer.ggml.token_type", types, 257);
}

TEST(tok_takes_odd_files_with_one_warning)
{
    struct tok *t = check_warned(keys_unknown_pre, "'made-up'");
    CHECK_INT(n_ids(t, STR("ab.ab")), 3);
    tok_close(t);
    t = check_warned(keys_duplicates, "2 tokens repeat");
    CHECK_INT(n_ids(t, STR("ab")), 1);
    tok_close(t);
    t = check_warned(keys_bad_merges, "8 of 10 merges");
    CHECK_INT(n_ids(t, STR("ab")), 1);
    tok_close(t);
    t = check_warned(keys_raw_pieces, "3 tokens are not written in the byte alphabet");
    CHECK_STR(tok_bytes(t, 256), STR("a b"));
    CHECK_STR(tok_bytes(t, 258), STR("\u4e2d"));
    tok_close(t);
    t = check_warned(keys_odd_added, "2 added tokens are empty or over 512 bytes");
    CHECK_INT(n_ids(t, STR("qq")), 2);
    tok_close(t);
    t = check_warned(keys_bad_types, "1 of 1 merges");
    CHECK_INT(tok_type(t, 0), TOK_NORMAL);
    CHECK_INT(tok_type(t, 1), TOK_NORMAL);
    CHECK_INT(tok_type(t, 2), TOK_NORMAL);
    tok_close(t);
}

static void keys_bad_ids(struct gguf_writer *w)
{
    put_model(w);
    put_tokens(w, ab, 1);
    put_merges(w, "a b");
    gguf_writer_u32(w, "tokenizer.ggml.bos_token_id", 257);
    gguf_writer_str(w, "tokenizer.ggml.eos_token_id", STR("ab"));
    gguf_writer_f32(w, "tokenizer.ggml.eot_token_id", 1.0f);
    gguf_writer_bool(w, "tokenizer.ggml.add_bos_token", true);
}

TEST(tok_ignores_ids_that_are_no_tokens)
{
    struct err e;
    struct lines lines = {0};
    struct log log = {keep_line, &lines};
    struct tok *t = tok_fixture_from_keys(keys_bad_ids, &log, &e);
    CHECK_OK(t);
    CHECK_INT(lines.n_lines, 3);
    CHECK(strstr(lines.text, "bos_token_id is not the id of a token (0 to 256)"));
    CHECK_INT(tok_bos(t), -1);
    CHECK_INT(tok_eos(t), -1);
    CHECK(!tok_add_bos(t));
    for (int32_t id = 0; id < 257; id++)
        CHECK(!tok_is_stop(t, id));
    tok_close(t);
}

static void keys_few_bytes(struct gguf_writer *w)
{
    put_model(w);
    gguf_writer_strs(w, "tokenizer.ggml.tokens", (str[]){STR("<unk>"), STR("a"), STR("b")}, 3);
    gguf_writer_i32s(w, "tokenizer.ggml.token_type", (int32_t[]){TOK_UNKNOWN, 1, 1}, 3);
    put_merges(w, "a b");
}

static void keys_few_bytes_unknown(struct gguf_writer *w)
{
    keys_few_bytes(w);
    gguf_writer_u32(w, "tokenizer.ggml.unknown_token_id", 0);
}

TEST(tok_drops_bytes_without_a_token_or_makes_them_unknown)
{
    struct err e;
    struct tok *t = tok_fixture_from_keys(keys_few_bytes, NULL, &e);
    CHECK_OK(t);
    CHECK_INT(n_ids(t, STR("aXb")), 2);
    tok_close(t);
    t = tok_fixture_from_keys(keys_few_bytes_unknown, NULL, &e);
    CHECK_OK(t);
    struct tok_ids ids = {0};
    tok_encode(t, STR("aXb"), &(struct tok_params){0}, &ids);
    CHECK_INT(ids.n, 3);
    CHECK_INT(ids.ids[1], 0);
    free(ids.ids);
    tok_close(t);
}
