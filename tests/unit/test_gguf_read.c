/* The reader: what it gives, and that it refuses every kind of broken file with a message that
 * names the place. */
#include "gguf/gguf.h"

#include <unistd.h>

#include "kit/gguf_make.h"
#include "test.h"

static struct gguf *open_buf(const struct buf *b, struct err *e)
{
    return gguf_open_memory(b->p, b->n, e);
}

/* Opens, expects a refusal whose message has `says` in it. */
static void check_refused(const struct buf *b, const char *name, const char *says)
{
    struct err e = {0};
    struct gguf *g = open_buf(b, &e);
    if (g)
        test_fail(__FILE__, __LINE__, "%s: was opened", name);
    if (!strstr(e.msg, says) || strncmp(e.msg, "(memory): ", 10) || strchr(e.msg, '\n'))
        test_fail(__FILE__, __LINE__, "%s: got \"%s\", want \"%s\"", name, e.msg, says);
}

TEST(gguf_sample_is_read)
{
    struct buf b = {0};
    struct err e;
    size_t at[MAKE_FIELDS];
    make_sample(&b, at);
    struct gguf *g = open_buf(&b, &e);
    CHECK_OK(g);
    CHECK_INT(gguf_version(g), 3);
    CHECK_INT(gguf_n_shards(g), 1);
    CHECK_INT(gguf_file_bytes(g), b.n);
    CHECK_INT(gguf_n_kv(g), 6);
    CHECK_STR(gguf_kv_at(g, 5)->key, STR("toy.b"));
    const struct gguf_kv *list = gguf_find(g, STR("toy.list"));
    CHECK(list && list->is_array && list->type == GGUF_I32 && list->n == 3);
    CHECK_INT(gguf_elem_i64(list, 1), -6);
    const struct gguf_kv *words = gguf_find(g, STR("toy.words"));
    CHECK(words && words->type == GGUF_STRING && words->n == 3);
    CHECK_STR(gguf_elem_str(g, words, 0), STR("one"));
    CHECK_STR(gguf_elem_str(g, words, 1), STR(""));
    CHECK_STR(gguf_elem_str(g, words, 2), STR("t\0w"));
    CHECK(!gguf_find(g, STR("toy.c")));
    CHECK(!gguf_tensor(g, STR("w.c")));
    CHECK_INT(gguf_n_tensors(g), 2);
    const struct gguf_tensor *t = gguf_tensor(g, STR("w.b"));
    CHECK(t == gguf_tensor_at(g, 1) && t->type == BLOCK_Q4_0 && t->n_dims == 2);
    CHECK_INT(t->ne[1], 3);
    CHECK_INT(t->ne[3], 1);
    CHECK_INT(t->n_elems, 96);
    CHECK_INT(t->n_bytes, 54);
    float two[2];
    CHECK_OK(gguf_read(g, gguf_tensor(g, STR("w.a")), 8, two, sizeof two, &e));
    CHECK(two[0] == 2 && two[1] == 3);
    CHECK(!gguf_read(g, gguf_tensor(g, STR("w.a")), 28, two, sizeof two, &e));
    CHECK(strstr(e.msg, "8 bytes at 28 wanted, it has 32"));
    gguf_close(g);
    buf_free(&b);
}

TEST(gguf_version_2_is_read)
{
    struct buf b = {0};
    struct err e;
    size_t at[MAKE_FIELDS];
    make_sample(&b, at);
    b.p[at[MAKE_VERSION]] = 2;
    struct gguf *g = open_buf(&b, &e);
    CHECK_OK(g);
    CHECK_INT(gguf_version(g), 2);
    gguf_close(g);
    buf_free(&b);
}

TEST(gguf_broken_files_are_refused_by_name)
{
    for (size_t i = 0; i < make_n_cases; i++) {
        struct buf b = {0};
        make_broken(&b, &make_cases[i]);
        check_refused(&b, make_cases[i].name, make_cases[i].says);
        buf_free(&b);
    }
}

/* The data of the last tensor ends where the file ends, so every shorter file is broken. */
TEST(gguf_every_truncation_is_refused)
{
    struct buf b = {0};
    size_t at[MAKE_FIELDS];
    make_sample(&b, at);
    for (size_t n = 0; n < b.n; n++) {
        struct err e = {0};
        char *exact = malloc(n + 1); /* so that a sanitizer sees a read past the end */
        memcpy(exact, b.p, n);
        char *bytes = realloc(exact, n ? n : 1);
        struct gguf *g = gguf_open_memory(bytes, n, &e);
        if (g || !e.msg[0])
            test_fail(__FILE__, __LINE__, "%zu of %zu bytes: %s", n, b.n, g ? "opened" : "silent");
        free(bytes);
    }
    buf_free(&b);
}

/* Any byte of the head may be anything: open or refuse, and never read outside. */
TEST(gguf_any_changed_byte_is_survived)
{
    struct buf b = {0};
    size_t at[MAKE_FIELDS];
    int n_opened = 0, n_refused = 0;
    make_sample(&b, at);
    for (size_t i = 0; i < b.n; i++)
        for (int v = 0; v < 256; v += 51) {
            struct err e = {0};
            char old = b.p[i];
            b.p[i] = (char)v;
            struct gguf *g = open_buf(&b, &e);
            n_opened += g != NULL;
            n_refused += g == NULL;
            gguf_close(g);
            b.p[i] = old;
        }
    CHECK(n_opened > 100 && n_refused > 100);
    buf_free(&b);
}

TEST(gguf_names_from_the_file_cannot_reach_the_terminal)
{
    struct buf b = {0};
    struct err e;
    make_header(&b, 3, 0, 1);
    make_key(&b, STR("a\033[2Jb\nc"), 13);
    make_u64(&b, 0);
    CHECK(!open_buf(&b, &e));
    CHECK(strstr(e.msg, "key 'a?[2Jb?c'"));
    buf_free(&b);
}

TEST(gguf_every_scalar_type_is_read)
{
    struct buf b = {0};
    struct err e;
    static const struct {
        const char *key;
        uint32_t type;
        uint64_t bits;
        int width;
        int64_t value;
    } rows[] = {
        {"u8", GGUF_U8, 0xff, 1, 255},
        {"i8", GGUF_I8, 0xff, 1, -1},
        {"u16", GGUF_U16, 0xfffe, 2, 65534},
        {"i16", GGUF_I16, 0xfffe, 2, -2},
        {"u32", GGUF_U32, 0xfffffffd, 4, 4294967293},
        {"i32", GGUF_I32, 0xfffffffd, 4, -3},
        {"u64", GGUF_U64, UINT64_MAX, 8, INT64_MAX},
        {"i64", GGUF_I64, UINT64_MAX, 8, -1},
        {"bool", GGUF_BOOL, 1, 1, 1},
        {"odd-bool", GGUF_BOOL, 7, 1, 1},
        {"f32", GGUF_F32, 0x3fc00000, 4, 0},
        {"f64", GGUF_F64, 0x3ff8000000000000, 8, 0},
        {"nan", GGUF_F32, 0x7fc00000, 4, 0},
    };
    size_t n = sizeof rows / sizeof *rows;
    make_header(&b, 3, 0, n);
    for (size_t i = 0; i < n; i++) {
        make_key(&b, str_of(rows[i].key), rows[i].type);
        buf_put(&b, &rows[i].bits, (size_t)rows[i].width);
    }
    struct gguf *g = open_buf(&b, &e);
    CHECK_OK(g);
    for (size_t i = 0; i < n; i++)
        if (rows[i].value)
            CHECK_INT(gguf_elem_i64(gguf_kv_at(g, i), 0), rows[i].value);
    uint32_t u = 9;
    float f = 9;
    bool yes = false;
    CHECK(!gguf_u32(g, "i16", false, &u, &e) && strstr(e.msg, "key 'i16' is -2, must be 0 to"));
    CHECK_INT(u, 9);
    CHECK(!gguf_u32(g, "u64", true, &u, &e) && strstr(e.msg, "key 'u64' is 9223372036854775807"));
    CHECK(gguf_u32(g, "u32", true, &u, &e) && u == 4294967293);
    CHECK(!gguf_u32(g, "bool", true, &u, &e) && strstr(e.msg, "has type bool, must be an integer"));
    CHECK(gguf_f32(g, "f32", true, &f, &e) && f == 1.5f);
    CHECK(gguf_f32(g, "f64", true, &f, &e) && f == 1.5f);
    CHECK(!gguf_f32(g, "nan", true, &f, &e) && strstr(e.msg, "key 'nan' is nan, must be a finite"));
    CHECK(!gguf_f32(g, "u8", true, &f, &e) && strstr(e.msg, "key 'u8' has type u8, must be f32"));
    CHECK(gguf_bool(g, "odd-bool", true, &yes, &e) && yes);
    CHECK(!gguf_bool(g, "u8", true, &yes, &e) && strstr(e.msg, "must be bool"));
    gguf_close(g);
    buf_free(&b);
}

TEST(gguf_absent_keys_and_wrong_kinds)
{
    struct buf b = {0};
    struct err e;
    size_t at[MAKE_FIELDS];
    uint32_t u = 9;
    str s = STR("unchanged");
    make_sample(&b, at);
    struct gguf *g = open_buf(&b, &e);
    CHECK_OK(g);
    CHECK(gguf_u32(g, "toy.none", false, &u, &e) && u == 9);
    CHECK(!gguf_u32(g, "toy.none", true, &u, &e));
    CHECK_STR(str_of(e.msg), STR("(memory): key 'toy.none' is missing"));
    CHECK(!gguf_u32(g, "toy.list", false, &u, &e) &&
          strstr(e.msg, "is an array, must be one value"));
    CHECK(!gguf_str(g, "toy.a", false, &s, &e) && strstr(e.msg, "has type u32, must be string"));
    CHECK(gguf_str(g, "general.architecture", true, &s, &e));
    CHECK_STR(s, STR("toy"));
    gguf_close(g);
    buf_free(&b);
}

TEST(gguf_each_of_many_keys_is_found)
{
    struct buf b = {0};
    struct err e;
    uint32_t n = 60000, v = 0;
    make_header(&b, 3, 0, n);
    for (uint32_t i = 0; i < n; i++) {
        char key[32];
        snprintf(key, sizeof key, "same.prefix.%u", i * 7919 % n);
        make_key_u32(&b, str_of(key), i);
    }
    struct gguf *g = open_buf(&b, &e);
    CHECK_OK(g);
    for (uint32_t i = 0; i < n; i++) {
        char key[32];
        snprintf(key, sizeof key, "same.prefix.%u", i * 7919 % n);
        CHECK(gguf_u32(g, key, true, &v, &e) && v == i);
    }
    gguf_close(g);
    buf_free(&b);
}

/* Metadata has a limit of its own where the file itself is long enough; the file is sparse. */
TEST(gguf_metadata_over_its_limit_is_refused_unread)
{
    struct err e;
    struct buf b = {0};
    char path[] = "/tmp/tawny-test-XXXXXX";
    int fd = mkstemp(path);
    make_header(&b, 3, 0, 1);
    make_key(&b, STR("long"), GGUF_STRING);
    make_u64(&b, 600 << 20);
    CHECK(fd >= 0 && write(fd, b.p, b.n) == (ssize_t)b.n && ftruncate(fd, 700 << 20) == 0);
    CHECK(!gguf_open(path, NULL, &e));
    CHECK(strstr(e.msg, ": key 'long': a string needs 629145600 bytes at byte 48, limit for all "
                        "metadata 536870912 bytes"));
    uint32_t type[2] = {GGUF_ARRAY, GGUF_STRING};
    uint64_t n = 80 << 20;
    CHECK(pwrite(fd, type, sizeof type, 36) == sizeof type && pwrite(fd, &n, 8, 44) == 8);
    CHECK(!gguf_open(path, NULL, &e));
    CHECK(strstr(e.msg, "key 'long': 83886080 elements of type string, but the file has room for"));
    close(fd);
    unlink(path);
    buf_free(&b);
}

TEST(gguf_file_that_is_missing_or_no_file)
{
    struct err e;
    CHECK(!gguf_open("/nonexistent/model.gguf", NULL, &e));
    CHECK_STR(str_of(e.msg), STR("/nonexistent/model.gguf: No such file or directory"));
    CHECK(!gguf_open("/", NULL, &e));
    CHECK_STR(str_of(e.msg), STR("/: not a regular file"));
}

TEST(gguf_vocabulary_samples_are_read)
{
    static const struct {
        const char *path;
        size_t n_keys;
        uint64_t n_tokens;
        const char *token_1000;
    } rows[] = {
        {"spec/data/gguf-samples/ggml-vocab-gpt-2.gguf", 16, 50257, "ale"},
        {"spec/data/gguf-samples/ggml-vocab-llama-spm.gguf", 22, 32000, "ied"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err e;
        struct gguf *g = gguf_open(test_shared(rows[i].path), NULL, &e);
        CHECK_OK(g);
        CHECK_INT(gguf_n_kv(g), rows[i].n_keys);
        CHECK_INT(gguf_n_tensors(g), 0);
        const struct gguf_kv *tokens = gguf_find(g, STR("tokenizer.ggml.tokens"));
        CHECK(tokens && tokens->n == rows[i].n_tokens);
        CHECK_STR(gguf_elem_str(g, tokens, 1000), str_of(rows[i].token_1000));
        gguf_close(g);
    }
}

TEST(gguf_model_samples_are_read)
{
    struct err e;
    struct gguf *g = gguf_open(test_shared("spec/data/toy/qwen3next.gguf"), NULL, &e);
    CHECK_OK(g);
    str arch = {0};
    CHECK_OK(gguf_str(g, "general.architecture", true, &arch, &e));
    CHECK_STR(arch, STR("qwen3next"));
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        uint8_t last;
        CHECK(gguf_tensor(g, t->name) == t);
        CHECK_OK(gguf_read(g, t, t->n_bytes - 1, &last, 1, &e));
    }
    gguf_close(g);
}
