/* The writer read back by the reader, and sets of shards. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gguf/gguf.h"
#include "kit/gguf_make.h"
#include "test.h"

/* A fresh folder; the caller empties and removes it. */
static const char *make_folder(void)
{
    static char path[] = "/tmp/tawny-test-XXXXXX";
    CHECK(mkdtemp(path));
    return path;
}

/* Valid until the eighth call after this one. */
static const char *file_in(const char *folder, const char *name)
{
    static char paths[8][128];
    static unsigned n;
    char *path = paths[n++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static bool exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

static void write_keys(struct gguf_writer *w)
{
    str words[3] = {STR("one"), STR(""), STR("t\0w")};
    int32_t numbers[3] = {1, -2, INT32_MAX};
    gguf_writer_str(w, "general.architecture", STR("toy"));
    gguf_writer_u32(w, "toy.u32", UINT32_MAX);
    gguf_writer_f32(w, "toy.f32", 0.25f);
    gguf_writer_bool(w, "toy.bool", true);
    gguf_writer_strs(w, "toy.words", words, 3);
    gguf_writer_i32s(w, "toy.numbers", numbers, 3);
}

static void check_keys(const struct gguf *g)
{
    struct err e;
    str s;
    uint32_t u;
    float f;
    bool yes;
    CHECK_OK(gguf_str(g, "general.architecture", true, &s, &e));
    CHECK_STR(s, STR("toy"));
    CHECK(gguf_u32(g, "toy.u32", true, &u, &e) && u == UINT32_MAX);
    CHECK(gguf_f32(g, "toy.f32", true, &f, &e) && f == 0.25f);
    CHECK(gguf_bool(g, "toy.bool", true, &yes, &e) && yes);
    const struct gguf_kv *words = gguf_find(g, STR("toy.words"));
    CHECK(words && words->n == 3);
    CHECK_STR(gguf_elem_str(g, words, 2), STR("t\0w"));
    const struct gguf_kv *numbers = gguf_find(g, STR("toy.numbers"));
    CHECK(numbers && numbers->n == 3 && gguf_elem_i64(numbers, 1) == -2);
}

/* Writes keys and two tensors, "a" (3 floats) and "b" (one block of Q8_0), "b" first and in parts.
 */
static bool write_file(const char *path, struct err *e)
{
    float a[3] = {1, 2, 3};
    uint8_t b[34] = {0, 0x3c, 5};
    struct gguf_writer *w = gguf_writer_open(path, e);
    CHECK(w);
    write_keys(w);
    size_t ia = gguf_writer_tensor(w, STR("a"), BLOCK_F32, (uint64_t[]){3}, 1);
    size_t ib = gguf_writer_tensor(w, STR("b"), BLOCK_Q8_0, (uint64_t[]){32, 1, 1}, 3);
    bool ok = gguf_writer_start(w, e) && gguf_writer_data(w, ib, 2, b + 2, 32, e) &&
              gguf_writer_data(w, ib, 0, b, 2, e) && gguf_writer_data(w, ia, 0, a, sizeof a, e) &&
              !exists(path) && gguf_writer_finish(w, e);
    gguf_writer_close(w);
    return ok;
}

TEST(gguf_written_file_reads_back)
{
    struct err e;
    const char *folder = make_folder();
    const char *path = file_in(folder, "a.gguf");
    CHECK_OK(write_file(path, &e));
    struct gguf *g = gguf_open(path, NULL, &e);
    CHECK_OK(g);
    check_keys(g);
    CHECK_INT(gguf_n_kv(g), 6);
    CHECK_INT(gguf_n_tensors(g), 2);
    CHECK_INT(gguf_file_bytes(g) % 32, 0);
    float a[3], b[32];
    uint8_t block[34];
    CHECK_OK(gguf_read(g, gguf_tensor(g, STR("a")), 0, a, sizeof a, &e));
    CHECK_OK(gguf_read(g, gguf_tensor(g, STR("b")), 0, block, sizeof block, &e));
    block_info(BLOCK_Q8_0)->decode(block, b, 32);
    CHECK(a[0] == 1 && a[2] == 3 && b[0] == 5 && b[1] == 0);
    CHECK_INT(gguf_tensor(g, STR("b"))->n_dims, 3);
    gguf_close(g);
    unlink(path);
    CHECK(rmdir(folder) == 0); /* nothing else was left there */
}

/* Somebody else may shorten a file that is open: an error, and no signal as with a mapping. */
TEST(gguf_file_cut_after_opening_is_an_error)
{
    struct err e;
    float a[3];
    const char *folder = make_folder();
    const char *path = file_in(folder, "a.gguf");
    CHECK_OK(write_file(path, &e));
    struct gguf *g = gguf_open(path, NULL, &e);
    CHECK_OK(g);
    CHECK(truncate(path, 64) == 0);
    CHECK(!gguf_read(g, gguf_tensor(g, STR("a")), 0, a, sizeof a, &e));
    CHECK(strstr(e.msg, "a.gguf: ends at byte") && strstr(e.msg, "12 bytes short"));
    gguf_close(g);
    unlink(path);
    CHECK(rmdir(folder) == 0);
}

TEST(gguf_copied_keys_read_back)
{
    struct err e;
    struct buf b = {0};
    size_t at[MAKE_FIELDS];
    const char *folder = make_folder();
    const char *path = file_in(folder, "copy.gguf");
    make_sample(&b, at);
    struct gguf *from = gguf_open_memory(b.p, b.n, &e);
    CHECK_OK(from);
    struct gguf_writer *w = gguf_writer_open(path, &e);
    CHECK_OK(w);
    for (size_t i = 0; i < gguf_n_kv(from); i++)
        gguf_writer_copy(w, from, gguf_kv_at(from, i));
    CHECK_OK(gguf_writer_start(w, &e) && gguf_writer_finish(w, &e));
    gguf_writer_close(w);
    struct gguf *g = gguf_open(path, NULL, &e);
    CHECK_OK(g);
    CHECK_INT(gguf_n_kv(g), gguf_n_kv(from) - 1);
    CHECK(!gguf_find(g, STR("general.alignment")));
    CHECK_STR(gguf_elem_str(g, gguf_find(g, STR("toy.words")), 2), STR("t\0w"));
    CHECK_INT(gguf_elem_i64(gguf_find(g, STR("toy.list")), 1), -6);
    gguf_close(g);
    gguf_close(from);
    buf_free(&b);
    unlink(path);
    CHECK(rmdir(folder) == 0);
}

TEST(gguf_unfinished_file_leaves_nothing)
{
    struct err e;
    const char *folder = make_folder();
    const char *path = file_in(folder, "a.gguf");
    struct gguf_writer *w = gguf_writer_open(path, &e);
    CHECK_OK(w);
    size_t i = gguf_writer_tensor(w, STR("a"), BLOCK_F32, (uint64_t[]){3}, 1);
    CHECK_OK(gguf_writer_start(w, &e) && gguf_writer_data(w, i, 0, "12345678", 8, &e));
    CHECK(!gguf_writer_finish(w, &e) && strstr(e.msg, "a.gguf: 8 of 12 bytes of tensors"));
    gguf_writer_close(w);
    gguf_writer_close(NULL);
    CHECK(!exists(path));
    CHECK(rmdir(folder) == 0);
    CHECK(!gguf_writer_open("/nonexistent/a.gguf", &e));
}

enum { N_SHARDS = 3 };

static const char *shard_path(const char *folder, int i)
{
    char name[64];
    snprintf(name, sizeof name, "m-%05d-of-%05d.gguf", i + 1, N_SHARDS);
    return file_in(folder, name);
}

/* What a test changes about a set of shards; the zero value is a valid set. */
struct split {
    uint32_t wrong_no;    /* added to split.no of shard 1 */
    uint32_t wrong_count; /* added to split.count of shard 1 */
    uint32_t wrong_total; /* added to split.tensors.count */
    bool same_names;      /* shard 2 repeats the tensor of shard 1 */
    bool no_last;         /* shard 2 is not there */
};

static void write_shards(const char *folder, const struct split *s)
{
    for (int i = 0; i < N_SHARDS; i++) {
        struct buf b = {0};
        char name[2] = {(char)('a' + (s->same_names && i == 2 ? 1 : i)), 0};
        bool odd = i == 1;
        make_header(&b, 3, 1, i ? 3 : 4);
        if (i == 0)
            make_key_u32(&b, STR("toy.only.first"), 5);
        make_key(&b, STR("split.no"), GGUF_U16);
        uint16_t no = (uint16_t)(i + (odd ? s->wrong_no : 0));
        uint16_t count = (uint16_t)(N_SHARDS + (odd ? s->wrong_count : 0));
        buf_put(&b, &no, sizeof no);
        make_key(&b, STR("split.count"), GGUF_U16);
        buf_put(&b, &count, sizeof count);
        make_key(&b, STR("split.tensors.count"), GGUF_I32);
        make_u32(&b, N_SHARDS + s->wrong_total);
        make_tensor(&b, str_of(name), BLOCK_F32, (uint64_t[]){1}, 1, 0);
        make_pad(&b);
        buf_put(&b, &(float){(float)i}, sizeof(float));
        FILE *f = fopen(shard_path(folder, i), "wb");
        CHECK(f && fwrite(b.p, 1, b.n, f) == b.n && fclose(f) == 0);
        buf_free(&b);
    }
    if (s->no_last)
        unlink(shard_path(folder, 2));
}

static void drop_shards(const char *folder)
{
    for (int i = 0; i < N_SHARDS; i++)
        unlink(shard_path(folder, i));
}

TEST(gguf_shards_are_one_model)
{
    struct err e;
    const char *folder = make_folder();
    write_shards(folder, &(struct split){0});
    struct gguf *g = gguf_open(shard_path(folder, 0), NULL, &e);
    CHECK_OK(g);
    CHECK_INT(gguf_n_shards(g), N_SHARDS);
    CHECK_INT(gguf_n_tensors(g), N_SHARDS);
    CHECK(gguf_find(g, STR("toy.only.first")));
    for (uint32_t i = 0; i < N_SHARDS; i++) {
        float value;
        const struct gguf_tensor *t = gguf_tensor(g, str_of(i == 0 ? "a" : i == 1 ? "b" : "c"));
        CHECK(t && t->shard == i);
        CHECK_OK(gguf_read(g, t, 0, &value, sizeof value, &e));
        CHECK(value == (float)i);
    }
    gguf_close(g);
    drop_shards(folder);
    CHECK(rmdir(folder) == 0);
}

TEST(gguf_broken_sets_of_shards_are_refused_by_name)
{
    static const struct {
        struct split split;
        const char *says;
    } rows[] = {
        {{.wrong_no = 1}, "m-00002-of-00003.gguf: key 'split.no' is 2, must be 1"},
        {{.wrong_count = 1}, "m-00002-of-00003.gguf: key 'split.count' is 4, the first shard's 3"},
        {{.wrong_total = 1}, "key 'split.tensors.count' is 4, but the shards have 3 tensors"},
        {{.same_names = true}, "tensor 'b' stands twice in the set of shards"},
        {{.no_last = true}, "m-00003-of-00003.gguf: No such file or directory"},
    };
    struct err e;
    const char *folder = make_folder();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        write_shards(folder, &rows[i].split);
        CHECK(!gguf_open(shard_path(folder, 0), NULL, &e));
        if (!strstr(e.msg, rows[i].says))
            test_fail(__FILE__, __LINE__, "got \"%s\", want \"%s\"", e.msg, rows[i].says);
    }
    write_shards(folder, &(struct split){0});
    CHECK(!gguf_open(shard_path(folder, 1), NULL, &e));
    CHECK(strstr(e.msg, "m-00002-of-00003.gguf: shard 2 of 3: open the first one instead"));
    const char *odd_name = file_in(folder, "model.gguf");
    CHECK(rename(shard_path(folder, 0), odd_name) == 0);
    CHECK(!gguf_open(odd_name, NULL, &e));
    CHECK(strstr(e.msg, "the first of 3 shards, must be named '...-00001-of-00003.gguf'"));
    unlink(odd_name);
    drop_shards(folder);
    CHECK(rmdir(folder) == 0);
}

static void keep_line(void *ctx, enum log_level level, const char *line)
{
    if (level == LOG_WARN)
        snprintf(ctx, 200, "%s", line);
}

TEST(gguf_metadata_of_later_shards_is_warned_about)
{
    struct err e;
    struct buf b = {0};
    char line[200] = "";
    struct log log = {keep_line, line};
    const char *folder = make_folder();
    write_shards(folder, &(struct split){0});
    make_header(&b, 3, 1, 3);
    make_key_u32(&b, STR("split.no"), 1);
    make_key_u32(&b, STR("split.count"), N_SHARDS);
    make_key_u32(&b, STR("toy.\033lost"), 1);
    make_tensor(&b, STR("b"), BLOCK_F32, (uint64_t[]){1}, 1, 0);
    make_pad(&b);
    make_u32(&b, 0);
    FILE *f = fopen(shard_path(folder, 1), "wb");
    CHECK(f && fwrite(b.p, 1, b.n, f) == b.n && fclose(f) == 0);
    struct gguf *g = gguf_open(shard_path(folder, 0), &log, &e);
    CHECK_OK(g);
    CHECK(strstr(line, "m-00002-of-00003.gguf: metadata outside the first shard is ignored"));
    CHECK(strstr(line, "toy.?lost"));
    gguf_close(g);
    buf_free(&b);
    drop_shards(folder);
    CHECK(rmdir(folder) == 0);
}
