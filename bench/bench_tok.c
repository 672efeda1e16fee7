/* Tokenizer speed on one core. usage: bench_tok TEXT MODEL...
 * For each model's vocabulary one row of a Markdown table: the time to open it, and the medians of
 * five times over the whole text to ids and back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "text/tok.h"

enum { ROUNDS = 5, MAX_TEXT = 1 << 30 };

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values)
{
    qsort(values, ROUNDS, sizeof *values, by_value);
    return values[ROUNDS / 2];
}

static double seconds_since(uint64_t from)
{
    return 1e-9 * (double)(clock_ns() - from);
}

static void measure(const char *path, const struct tok *t, str text, double open_ms)
{
    double encode_s[ROUNDS], decode_s[ROUNDS];
    struct tok_ids ids = {0};
    struct buf back = {0};
    for (int i = 0; i < ROUNDS; i++) {
        ids.n = 0;
        buf_clear(&back);
        uint64_t from = clock_ns();
        tok_encode(t, text, &(struct tok_params){.special = true}, &ids);
        encode_s[i] = seconds_since(from);
        struct tok_stream stream = {.tok = t, .show_special = true};
        from = clock_ns();
        for (size_t k = 0; k < ids.n; k++)
            tok_stream_put(&stream, ids.ids[k], &back);
        tok_stream_end(&stream, &back);
        decode_s[i] = seconds_since(from);
    }
    const char *name = strrchr(path, '/');
    double mb = 1e-6 * (double)text.n;
    printf("| tawny | %s | %.0f | %.1f | %zu | %.1f | %.1f |\n", name ? name + 1 : path, open_ms,
           mb, ids.n, mb / median(encode_s), mb / median(decode_s));
    free(ids.ids);
    buf_free(&back);
}

static bool bench(const char *path, str text, struct err *e)
{
    struct gguf *g = gguf_open(path, NULL, e);
    if (!g)
        return false;
    uint64_t from = clock_ns();
    struct tok *t = tok_open(g, NULL, e);
    double open_ms = 1e3 * seconds_since(from);
    gguf_close(g);
    if (!t)
        return false;
    measure(path, t, text, open_ms);
    tok_close(t);
    return true;
}

int main(int argc, char **argv)
{
    struct err e;
    struct buf text = {0};
    bool ok = argc >= 3;
    if (!ok)
        err_set(&e, ERR_USAGE, "usage: %s TEXT MODEL...", argv[0]);
    ok = ok && file_read_all(argv[1], MAX_TEXT, &text, &e);
    for (int i = 2; ok && i < argc; i++)
        ok = bench(argv[i], buf_view(&text), &e);
    if (!ok)
        fprintf(stderr, "%s\n", e.msg);
    buf_free(&text);
    return !ok;
}
