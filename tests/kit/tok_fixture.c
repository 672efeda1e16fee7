#include "kit/tok_fixture.h"

#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "test.h"

/* Bytes that are visible in Latin-1 stand for themselves, the others for U+0100 and up in order. */
void tok_fixture_alphabet(str s, struct buf *out)
{
    uint32_t letter[256], next = 0x100;
    for (uint32_t b = 0; b < 256; b++)
        letter[b] = b <= 0x20 || (b >= 0x7f && b <= 0xa0) || b == 0xad ? next++ : b;
    for (size_t i = 0; i < s.n; i++) {
        uint32_t cp = letter[(unsigned char)s.p[i]];
        if (cp >= 0x80)
            buf_byte(out, (char)(0xc0 | cp >> 6));
        buf_byte(out, (char)(cp < 0x80 ? cp : 0x80 | (cp & 0x3f)));
    }
}

struct entries {
    struct arena arena;
    str tokens[1024];
    int32_t types[1024];
    size_t n_tokens;
    str merges[512];
    size_t n_merges;
};

static str in_alphabet(struct entries *x, const char *left, const char *between, const char *right)
{
    struct buf b = {0};
    tok_fixture_alphabet(str_of(left), &b);
    buf_str(&b, str_of(between));
    tok_fixture_alphabet(str_of(right), &b);
    str copy = arena_str(&x->arena, buf_view(&b));
    buf_free(&b);
    return copy;
}

static void add_token(struct entries *x, str text, enum tok_type type)
{
    CHECK(x->n_tokens < sizeof x->tokens / sizeof *x->tokens);
    x->types[x->n_tokens] = (int32_t)type;
    x->tokens[x->n_tokens++] = text;
}

static void collect(struct entries *x, const struct tok_fixture *f)
{
    for (int b = 0; b < 256; b++) {
        struct buf letter = {0};
        char byte = (char)b;
        tok_fixture_alphabet((str){&byte, 1}, &letter);
        add_token(x, arena_str(&x->arena, buf_view(&letter)), TOK_NORMAL);
        buf_free(&letter);
    }
    for (size_t i = 0; f->merges && f->merges[i][0]; i++) {
        CHECK(x->n_merges < sizeof x->merges / sizeof *x->merges);
        x->merges[x->n_merges++] = in_alphabet(x, f->merges[i][0], " ", f->merges[i][1]);
        add_token(x, in_alphabet(x, f->merges[i][0], "", f->merges[i][1]), TOK_NORMAL);
    }
    for (size_t i = 0; f->added && f->added[i].text; i++)
        add_token(x, str_of(f->added[i].text), f->added[i].type);
}

/* A writer for a new temporary file, whose name goes to path. */
static struct gguf_writer *open_writer(char path[static 64])
{
    struct err e;
    strcpy(path, "/tmp/tawny-test-XXXXXX");
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    close(fd);
    struct gguf_writer *w = gguf_writer_open(path, &e);
    CHECK_OK(w);
    return w;
}

/* Ends the file, opens the tokenizer in it and removes it. */
static struct tok *finish(struct gguf_writer *w, const char *path, const struct log *log,
                          struct err *out)
{
    struct err e;
    CHECK_OK(gguf_writer_start(w, &e));
    CHECK_OK(gguf_writer_finish(w, &e));
    gguf_writer_close(w);
    struct gguf *g = gguf_open(path, NULL, &e);
    unlink(path);
    CHECK_OK(g);
    struct tok *t = tok_open(g, log, out);
    gguf_close(g);
    return t;
}

struct tok *tok_fixture_open(const struct tok_fixture *f, struct err *e)
{
    char path[64];
    struct entries *x = mem_new(1, sizeof *x);
    struct gguf_writer *w = open_writer(path);
    collect(x, f);
    gguf_writer_str(w, "tokenizer.ggml.model", STR("gpt2"));
    if (f->pre)
        gguf_writer_str(w, "tokenizer.ggml.pre", str_of(f->pre));
    gguf_writer_strs(w, "tokenizer.ggml.tokens", x->tokens, x->n_tokens);
    gguf_writer_i32s(w, "tokenizer.ggml.token_type", x->types, x->n_tokens);
    if (x->n_merges == 0)
        x->merges[x->n_merges++] = STR("no merge");
    gguf_writer_strs(w, "tokenizer.ggml.merges", x->merges, x->n_merges);
    if (f->more_keys)
        f->more_keys(w);
    arena_free(&x->arena);
    free(x);
    return finish(w, path, f->log, e);
}

struct tok *tok_fixture_from_keys(void (*keys)(struct gguf_writer *w), const struct log *log,
                                  struct err *e)
{
    char path[64];
    struct gguf_writer *w = open_writer(path);
    keys(w);
    return finish(w, path, log, e);
}

static void unpack(const char *path, struct buf *out)
{
    char *command, chunk[65536];
    size_t n;
    CHECK(asprintf(&command, "xz -dc -- '%s' 2>/dev/null", path) > 0);
    FILE *pipe = popen(command, "r");
    CHECK(pipe);
    while ((n = fread(chunk, 1, sizeof chunk, pipe)) > 0)
        buf_put(out, chunk, n);
    int status = pclose(pipe);
    free(command);
    if (status != 0)
        test_skip("the xz program could not unpack the reference vocabulary");
}

/* The file, in bytes that the caller frees after it. */
static struct gguf *open_shared(const char *name, struct buf *bytes)
{
    char *relative;
    struct err e;
    CHECK(asprintf(&relative, "spec/data/gguf-samples/%s", name) > 0);
    const char *path = test_shared(relative);
    if (str_ends(str_of(name), STR(".xz")))
        unpack(path, bytes);
    else
        CHECK_OK(file_read_all(path, 64 << 20, bytes, &e));
    free(relative);
    struct gguf *g = gguf_open_memory(bytes->p, bytes->n, &e);
    CHECK_OK(g);
    return g;
}

struct tok *tok_fixture_shared(const char *name)
{
    struct err e;
    struct buf bytes = {0};
    struct gguf *g = open_shared(name, &bytes);
    struct tok *t = tok_open(g, NULL, &e);
    CHECK_OK(t);
    gguf_close(g);
    buf_free(&bytes);
    return t;
}

struct tok *tok_fixture_shared_as(const char *name, const char *pre)
{
    char path[64];
    struct err e;
    struct buf bytes = {0};
    struct gguf *g = open_shared(name, &bytes);
    struct gguf_writer *w = open_writer(path);
    for (size_t i = 0; i < gguf_n_kv(g); i++)
        if (!str_eq(gguf_kv_at(g, i)->key, STR("tokenizer.ggml.pre")))
            gguf_writer_copy(w, g, gguf_kv_at(g, i));
    gguf_writer_str(w, "tokenizer.ggml.pre", str_of(pre));
    struct tok *t = finish(w, path, NULL, &e);
    CHECK_OK(t);
    gguf_close(g);
    buf_free(&bytes);
    return t;
}
