/* Cost of constraints: replies with tool calls go token by token through the masks of their tools'
 * grammar, as if a model had written them. Cold: with nothing remembered; warm: the same replies
 * again. usage: bench_mask VOCABULARY.gguf [REPLIES.json], which holds
 * {"tools": [function, ...], "replies": {"FORMAT": [text, ...], ...}}. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
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
};

struct cost {
    uint64_t mask_ns, accept_ns, worst_ns;
    size_t n_tokens, n_free; /* tokens before which nothing was forbidden */
    uint32_t n_refused;      /* replies that the grammar does not take */
};

static void run_reply(const struct bench *b, struct constraint *c, const struct tok_ids *ids,
                      struct cost *out)
{
    struct err e;
    const struct token_mask *mask;
    struct constraint_run *run = constraint_begin(c);
    for (size_t i = 0; i < ids->n; i++) {
        uint64_t start = clock_ns();
        bool ok = constraint_mask(run, &mask, &e);
        uint64_t middle = clock_ns();
        ok = ok && constraint_accept(run, ids->ids[i], &e);
        uint64_t end = clock_ns();
        out->mask_ns += middle - start;
        out->accept_ns += end - middle;
        out->worst_ns = end - start > out->worst_ns ? end - start : out->worst_ns;
        out->n_tokens++;
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

static void print_cost(const char *name, const char *state, const struct cost *c)
{
    double n = c->n_tokens ? (double)c->n_tokens : 1;
    printf("%-10s %-5s %7zu %6.1f %12.2f %12.2f %10.1f %8u\n", name, state, c->n_tokens,
           100 * (double)c->n_free / n, 1e-3 * (double)c->mask_ns / n,
           1e-3 * (double)c->accept_ns / n, 1e-3 * (double)c->worst_ns, c->n_refused);
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
    uint64_t start = clock_ns();
    if (!toolcall_rule(g, &p, &rule, &notes, &e) || !grammar_compile(g, rule, &e)) {
        fprintf(stderr, "%s\n", e.msg);
        exit(1);
    }
    *ms = 1e-6 * (double)(clock_ns() - start);
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
        tools[i] = (struct chat_tool){json_str(json_get(spec, "name")), spec,
                                      json_get(spec, "parameters")};
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
    uint64_t start = clock_ns();
    struct chat_tool *tools = read_tools(json_get(data, "tools"));
    struct bench b = {t, mask_vocab_open(t, tok_n_vocab(t)), tools,
                      json_count(json_get(data, "tools"))};
    printf("vocabulary of %u tokens: trie in %.0f ms\n", tok_n_vocab(t),
           1e-6 * (double)(clock_ns() - start));
    printf("%-10s %-5s %7s %6s %12s %12s %10s %8s\n", "format", "masks", "tokens", "free %",
           "mask us/tok", "step us/tok", "worst us", "refused");
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
