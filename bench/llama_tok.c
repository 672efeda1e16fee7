/* The rows of bench_tok with llama.cpp's tokenizer, for comparison in the same run.
 * build: cc -O2 -o llama_tok bench/llama_tok.c -lllama        usage: llama_tok TEXT MODEL... */
#include <llama.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 5 };

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void drop_log(enum ggml_log_level level, const char *text, void *ctx)
{
    (void)level, (void)text, (void)ctx;
}

static int bench(const char *path, const char *text, int n_bytes)
{
    double seconds[ROUNDS];
    struct llama_model_params params = llama_model_default_params();
    params.vocab_only = true;
    double from = now_s();
    struct llama_model *model = llama_model_load_from_file(path, params);
    double open_ms = 1e3 * (now_s() - from);
    llama_token *ids = malloc((size_t)n_bytes * sizeof *ids);
    int n = -1;
    for (int i = 0; model && i < ROUNDS; i++) {
        from = now_s();
        n = llama_tokenize(llama_model_get_vocab(model), text, n_bytes, ids, n_bytes, false, true);
        seconds[i] = now_s() - from;
    }
    free(ids);
    llama_model_free(model);
    if (n < 0)
        return 1;
    qsort(seconds, ROUNDS, sizeof *seconds, by_value);
    const char *name = strrchr(path, '/');
    printf("| llama.cpp | %s | %.0f | %.1f | %d | %.1f | |\n", name ? name + 1 : path, open_ms,
           1e-6 * n_bytes, n, 1e-6 * n_bytes / seconds[ROUNDS / 2]);
    return 0;
}

int main(int argc, char **argv)
{
    FILE *f = argc >= 3 ? fopen(argv[1], "rb") : NULL;
    if (!f) {
        fprintf(stderr, "usage: %s TEXT MODEL...\n", argv[0]);
        return 1;
    }
    fseek(f, 0, SEEK_END);
    long n_bytes = ftell(f);
    rewind(f);
    char *text = malloc((size_t)n_bytes + 1);
    int bad = !text || fread(text, 1, (size_t)n_bytes, f) != (size_t)n_bytes;
    fclose(f);
    llama_log_set(drop_log, NULL);
    for (int i = 2; !bad && i < argc; i++)
        bad = bench(argv[i], text, (int)n_bytes);
    free(text);
    return bad;
}
