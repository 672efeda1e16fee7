/* Cost of constraints: replies with tool calls go token by token through the masks of their tools'
 * grammar, as if a model had written them. Fresh: every reply has a grammar of its own, of which
 * nothing is known; cold: one grammar for all, of which nothing is known at first; warm: the same
 * replies again. Times are the thread's CPU time, less what reading the clock takes.
 * usage: bench_mask VOCABULARY.gguf [REPLIES.json], which holds
 * {"tools": [function, ...], "replies": {"FORMAT": [text, ...], ...}}; a function may have the
 * "lark" grammar of its text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "gguf/gguf.h"
#include "text/constraint.h"
#include "text/toolcall.h"

struct bench {
    struct tok *tok;
    struct mask_vocab *vocab;
    const struct chat_tool *tools;
    size_t n_tools;
    double clock_us;
};

struct cost {
    double *us; /* [n_tokens] mask and step of each */
    size_t n_tokens, room;
    double step_us;   /* of all */
    size_t n_free;    /* tokens before which nothing was forbidden */
    size_t n_refused; /* replies that the grammar does not take */
};

static double cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return 1e6 * (double)t.tv_sec + 1e-3 * (double)t.tv_nsec;
}

/* What reading the clock adds to a measured time, at least. */
static double clock_cost(void)
{
    double least = 1e9;
    for (int i = 0; i < 10000; i++) {
        double start = cpu_us(), took = cpu_us() - start;
        least = took < least ? took : least;
    }
    return least;
}

static void put_cost(struct cost *c, double us)
{
    if (c->n_tokens == c->room) {
        c->room = c->room ? 2 * c->room : 1024;
        c->us = mem_grow(c->us, c->room, sizeof *c->us);
    }
    c->us[c->n_tokens++] = us;
}

static void run_reply(const struct bench *b, struct constraint *c, const struct tok_ids *ids,
                      struct cost *out)
{
    struct err e;
    const struct token_mask *mask;
    struct constraint_run *run = constraint_begin(c);
    for (size_t i = 0; i < ids->n; i++) {
        double start = cpu_us();
        bool ok = constraint_mask(run, &mask, &e);
        double middle = cpu_us();
        ok = ok && constraint_accept(run, ids->ids[i], &e);
        double end = cpu_us();
        put_cost(out, end - start - 2 * b->clock_us);
        out->step_us += end - middle - b->clock_us;
        out->n_free += mask == NULL;
        if (!ok) {
            str bytes = tok_bytes(b->tok, ids->ids[i]);
            printf("    refused at token %zu '%.*s': %s\n", i, STRF(bytes), e.msg);
            out->n_refused++;
            break;
        }
    }
    constraint_end(run);
}

static int by_cost(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return a < b ? -1 : a > b;
}

static void print_cost(const char *name, const char *state, struct cost *c)
{
    size_t n = c->n_tokens;
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += c->us[i];
    qsort(c->us, n, sizeof *c->us, by_cost);
    printf("%-10s %-5s %7zu %6.1f %8.2f %8.2f %8.2f %8.1f %9.1f %8zu\n", name, state, n,
           100 * (double)c->n_free / (double)n, sum / (double)n, c->step_us / (double)n,
           c->us[n / 2], c->us[n * 99 / 100], c->us[n - 1], c->n_refused);
    free(c->us);
}

static struct constraint *make(const struct bench *b, enum chat_format f, double *ms)
{
    struct err e;
    struct buf notes = {0};
    struct grammar *g = grammar_new();
    struct toolcall_params p = {.format = f,
                                .tok = b->tok,
                                .tools = b->tools,
                                .n_tools = b->n_tools,
                                .content = GRAMMAR_NEVER};
    uint32_t rule;
    double start = cpu_us();
    if (!toolcall_rule(g, &p, &rule, &notes, &e) || !grammar_compile(g, rule, &e)) {
        fprintf(stderr, "%s\n", e.msg);
        exit(1);
    }
    *ms = 1e-3 * (cpu_us() - start);
    if (notes.n)
        printf("    relaxed: %.*s\n", STRF(buf_view(&notes)));
    buf_free(&notes);
    return constraint_new(g, b->vocab, f != CHAT_HARMONY);
}

static void run_format(const struct bench *b, const char *name, const struct json *replies)
{
    enum chat_format f;
    double ms;
    if (!chat_format_find(str_of(name), &f))
        return;
    struct constraint *c = make(b, f, &ms);
    size_t n = json_count(replies);
    struct tok_ids *ids = mem_new(n, sizeof *ids);
    for (size_t i = 0; i < n; i++)
        tok_encode(b->tok, json_str(json_at(replies, i)), &(struct tok_params){.special = true},
                   &ids[i]);
    printf("    %s: grammar of %zu tools in %.1f ms\n", name, b->n_tools, ms);
    struct cost fresh = {0};
    for (size_t i = 0; i < n; i++) {
        struct constraint *own = make(b, f, &ms);
        run_reply(b, own, &ids[i], &fresh);
        constraint_unref(own);
    }
    print_cost(name, "fresh", &fresh);
    for (int pass = 0; pass < 2; pass++) {
        struct cost cost = {0};
        for (size_t i = 0; i < n; i++)
            run_reply(b, c, &ids[i], &cost);
        print_cost(name, pass ? "warm" : "cold", &cost);
    }
    for (size_t i = 0; i < n; i++)
        free(ids[i].ids);
    free(ids);
    constraint_unref(c);
}

static struct chat_tool *read_tools(const struct json *list)
{
    struct chat_tool *tools = mem_new(json_count(list), sizeof *tools);
    for (size_t i = 0; i < json_count(list); i++) {
        const struct json *spec = json_at(list, i);
        tools[i] = (struct chat_tool){.name = json_str(json_get(spec, "name")),
                                      .spec = spec,
                                      .parameters = json_get(spec, "parameters"),
                                      .lark = json_str(json_get(spec, "lark"))};
    }
    return tools;
}

int main(int argc, char **argv)
{
    struct err e = {0};
    struct buf text = {0};
    const char *file = argc > 2 ? argv[2] : "bench/mask.json";
    struct gguf *g = argc > 1 ? gguf_open(argv[1], NULL, &e) : NULL;
    struct tok *t = g ? tok_open(g, NULL, &e) : NULL;
    struct json *data =
        t && file_read_all(file, 64 << 20, &text, &e) ? json_parse(buf_view(&text), &e) : NULL;
    if (!data) {
        fprintf(stderr, "usage: bench_mask VOCABULARY.gguf [REPLIES.json]\n%s\n", e.msg);
        return 2;
    }
    double start = cpu_us();
    struct chat_tool *tools = read_tools(json_get(data, "tools"));
    struct bench b = {t, mask_vocab_open(t, tok_n_vocab(t)), tools,
                      json_count(json_get(data, "tools")), clock_cost()};
    printf("vocabulary of %u tokens: trie in %.0f ms\n", tok_n_vocab(t), 1e-3 * (cpu_us() - start));
    printf("%-10s %-5s %7s %6s %8s %8s %8s %8s %9s %8s\n", "format", "masks", "tokens", "free %",
           "us/token", "of step", "median", "p99", "worst", "refused");
    struct json_iter it = {0};
    struct json *replies;
    str name;
    while (json_next(json_get(data, "replies"), &it, &name, &replies))
        run_format(&b, name.p, replies);
    mask_vocab_close(b.vocab);
    free(tools);
    json_free(data);
    buf_free(&text);
    tok_close(t);
    gguf_close(g);
    return 0;
}
