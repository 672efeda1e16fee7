/* Token ids against the reference data: the cases of other implementations over the real Qwen3 and
 * gpt-oss vocabularies, and llama.cpp's pairs of inputs and ids. */
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "kit/tok_fixture.h"
#include "test.h"

/* The vocabulary's file in the samples, and its name in the cases. */
struct vocabulary {
    const char *file;
    const char *name;
};
static const struct vocabulary qwen3 = {"qwen3-vocab.gguf.xz", "qwen3"};
static const struct vocabulary gptoss = {"gptoss-vocab.gguf.xz", "gptoss"};

static void read_shared(const char *relative, struct buf *out)
{
    struct err e;
    CHECK_OK(file_read_all(test_shared(relative), 16 << 20, out, &e));
}

static struct json *read_cases(void)
{
    struct err e;
    struct buf text = {0};
    read_shared("spec/data/tokenizer-cases.json", &text);
    struct json *cases = json_parse(buf_view(&text), &e);
    CHECK_OK(cases);
    buf_free(&text);
    return cases;
}

static void print_ids(struct buf *out, const struct tok_ids *got)
{
    for (size_t i = 0; i < got->n; i++)
        buf_fmt(out, " %d", got->ids[i]);
}

static void check_ids(const struct tok_ids *got, const struct json *want, str text)
{
    bool same = got->n == json_count(want);
    for (size_t i = 0; same && i < got->n; i++)
        same = got->ids[i] == json_int(json_at(want, i));
    if (same)
        return;
    struct buf shown = {0};
    print_ids(&shown, got);
    buf_fmt(&shown, ", want ");
    json_print(want, JSON_PYTHON, &shown);
    test_fail(__FILE__, __LINE__, "'%.*s': got%s", STRF(text), shown.p);
}

static void check_encode(const struct tok *t, str text, const struct json *want, bool plain)
{
    struct tok_ids got = {0};
    tok_encode(t, text, &(struct tok_params){.special = true, .plain = plain}, &got);
    check_ids(&got, want, text);
    free(got.ids);
}

/* All strings, with added tokens and as plain text; "NAME_as_text" is there only where it differs.
 */
static void run_cases(const struct vocabulary *v)
{
    char as_text[32];
    size_t n_as_text = 0;
    struct tok *t = tok_fixture_shared(v->file);
    struct json *root = read_cases();
    const struct json *cases = json_get(root, "cases");
    snprintf(as_text, sizeof as_text, "%s_as_text", v->name);
    CHECK_INT(json_count(cases), 629);
    for (size_t i = 0; i < json_count(cases); i++) {
        const struct json *c = json_at(cases, i);
        str text = json_str(json_get(c, "text"));
        const struct json *special = json_get(c, v->name);
        const struct json *plain = json_has(c, as_text) ? json_get(c, as_text) : special;
        CHECK_INT(json_type(special), JSON_ARRAY);
        check_encode(t, text, special, false);
        check_encode(t, text, plain, true);
        n_as_text += json_has(c, as_text);
    }
    CHECK(n_as_text > 10);
    json_free(root);
    tok_close(t);
}

TEST(tok_qwen3_gives_the_reference_ids)
{
    run_cases(&qwen3);
}

TEST(tok_gptoss_gives_the_reference_ids)
{
    run_cases(&gptoss);
}

/* Bytes replaced by U+FFFD as the reference does give its ids; the bytes as they are round-trip. */
static void run_invalid(const struct vocabulary *v)
{
    struct tok *t = tok_fixture_shared(v->file);
    struct json *root = read_cases();
    const struct json *cases = json_get(root, "invalid_utf8");
    CHECK_INT(json_count(cases), 16);
    for (size_t i = 0; i < json_count(cases); i++) {
        const struct json *c = json_at(cases, i);
        str hex = json_str(json_get(c, "bytes_hex"));
        struct buf bytes = {0}, back = {0};
        struct tok_ids ids = {0};
        unsigned byte;
        check_encode(t, json_str(json_get(c, "decoded")), json_get(c, v->name), false);
        for (size_t k = 0; k + 1 < hex.n && sscanf(hex.p + k, "%2x", &byte) == 1; k += 2)
            buf_byte(&bytes, (char)byte);
        tok_encode(t, buf_view(&bytes), &(struct tok_params){.special = true}, &ids);
        for (size_t k = 0; k < ids.n; k++)
            buf_str(&back, tok_bytes(t, ids.ids[k]));
        CHECK_STR(buf_view(&back), buf_view(&bytes));
        free(ids.ids);
        buf_free(&bytes);
        buf_free(&back);
    }
    json_free(root);
    tok_close(t);
}

TEST(tok_qwen3_keeps_invalid_utf8)
{
    run_invalid(&qwen3);
}

TEST(tok_gptoss_keeps_invalid_utf8)
{
    run_invalid(&gptoss);
}

/* The same vocabulary under a name whose family does not normalise. */
TEST(tok_qwen3_without_normalisation_gives_the_reference_ids)
{
    struct tok *t = tok_fixture_shared_as(qwen3.file, "deepseek-r1-qwen");
    struct json *root = read_cases();
    const struct json *cases = json_get(root, "cases");
    size_t n_differ = 0;
    for (size_t i = 0; i < json_count(cases); i++) {
        const struct json *c = json_at(cases, i);
        bool differs = json_has(c, "qwen3_no_nfc");
        check_encode(t, json_str(json_get(c, "text")),
                     json_get(c, differs ? "qwen3_no_nfc" : "qwen3"), false);
        n_differ += differs;
    }
    CHECK_INT(n_differ, 16);
    json_free(root);
    tok_close(t);
}

TEST(tok_stops_on_the_reference_ids)
{
    static const int32_t qwen3_stops[] = {151643, 151645, 151662, 151663, 151664, -1};
    static const int32_t gptoss_stops[] = {199999, 200002, 200012, -1};
    const struct {
        const struct vocabulary *v;
        const int32_t *ids;
    } all[] = {{&qwen3, qwen3_stops}, {&gptoss, gptoss_stops}};
    for (size_t k = 0; k < 2; k++) {
        struct tok *t = tok_fixture_shared(all[k].v->file);
        const int32_t *want = all[k].ids;
        for (int32_t id = 0; id < (int32_t)tok_n_vocab(t); id++)
            if (tok_is_stop(t, id))
                CHECK_INT(id, *want++);
        CHECK_INT(*want, -1);
        tok_close(t);
    }
}

/* llama.cpp's pairs: inputs with a line __ggml_vocab_test__ between them, a line of ids for each.
 */
static void run_pairs(const char *vocabulary, const char *pairs, size_t n_want)
{
    char name[96];
    struct buf inputs = {0}, outputs = {0};
    struct tok *t = tok_fixture_shared(vocabulary);
    snprintf(name, sizeof name, "spec/data/gguf-samples/%s.inp", pairs);
    read_shared(name, &inputs);
    snprintf(name, sizeof name, "spec/data/gguf-samples/%s.out", pairs);
    read_shared(name, &outputs);
    const str between = STR("\n__ggml_vocab_test__\n");
    str rest = buf_view(&outputs), in = buf_view(&inputs);
    size_t n = 0;
    for (size_t at = 0, end; at < in.n; at = end + between.n) {
        end = str_find(in, between, at);
        if (end == SIZE_MAX)
            break;
        struct buf got = {0};
        struct tok_ids ids = {0};
        tok_encode(t, str_sub(in, at, end), &(struct tok_params){.special = true}, &ids);
        print_ids(&got, &ids);
        CHECK_STR(buf_view(&got), str_cut(rest, '\n', &rest));
        free(ids.ids);
        buf_free(&got);
        n++;
    }
    CHECK_INT(n, n_want);
    buf_free(&inputs);
    buf_free(&outputs);
    tok_close(t);
}

TEST(tok_gpt2_gives_the_ids_of_llama_cpp)
{
    run_pairs("ggml-vocab-gpt-2.gguf", "ggml-vocab-gpt-2.gguf", 46);
}

TEST(tok_qwen2_gives_the_ids_of_llama_cpp)
{
    run_pairs("qwen3-vocab.gguf.xz", "ggml-vocab-qwen2.gguf", 46);
}

TEST(tok_refuses_sentencepiece_with_its_name)
{
    struct err e;
    struct buf bytes = {0};
    read_shared("spec/data/gguf-samples/ggml-vocab-llama-spm.gguf", &bytes);
    struct gguf *g = gguf_open_memory(bytes.p, bytes.n, &e);
    CHECK_OK(g);
    CHECK(!tok_open(g, NULL, &e));
    CHECK_INT(e.code, ERR_UNSUPPORTED);
    CHECK(strstr(e.msg, "SentencePiece"));
    gguf_close(g);
    buf_free(&bytes);
}
