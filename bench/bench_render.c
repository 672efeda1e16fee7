/* Rendering on one core. usage: bench_render [TEMPLATE.jinja...]
 * For each template (without arguments: each of tawny's own) one row of a Markdown table: the best
 * time of five for an agent's conversation of about 400 KB, some 100,000 tokens, into a prompt with
 * its spans, and how long it takes to open the template. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/file.h"
#include "text/chat_layout.h"
#include "text/chat_template.h"

enum { ROUNDS = 5, N_TURNS = 150, RESULT_BYTES = 2000 };

/* A question, a call and its result, over and over: what an agent sends. */
static struct chat_request conversation(struct arena *a)
{
    static const char line[] = "    if (x < y && p[i] != \"\\n\") return parse(<b>{i}</b>);\n";
    struct chat_message *list = arena_new(a, 3 * N_TURNS, sizeof *list);
    struct chat_call *calls = arena_new(a, N_TURNS, sizeof *calls);
    struct buf result = {0};
    while (result.n < RESULT_BYTES)
        buf_str(&result, STR(line));
    str text = arena_str(a, buf_view(&result));
    buf_free(&result);
    for (size_t i = 0; i < N_TURNS; i++) {
        str id = arena_fmt(a, "call_%024zu", i);
        calls[i] = (struct chat_call){
            id, STR("edit_file"),
            arena_fmt(a, "{\"path\": \"src/file%zu.c\", \"line\": %zu, \"text\": \"%.*s\"}", i, i,
                      400,
                      "the new text of the line, some words long, and longer than that, so "
                      "that a call is about as long as agents' calls are on average")};
        list[3 * i] = (struct chat_message){.role = CHAT_USER, .content = str_sub(text, 0, 300)};
        list[3 * i + 1] = (struct chat_message){.role = CHAT_ASSISTANT,
                                                .content = STR("I will edit the file."),
                                                .calls = &calls[i],
                                                .n_calls = 1};
        list[3 * i + 2] = (struct chat_message){.role = CHAT_TOOL, .content = text, .call_id = id};
    }
    return (struct chat_request){.messages = list, .n_messages = 3 * N_TURNS};
}

static void measure(const char *name, str source)
{
    struct arena a = {0};
    struct chat_request r = conversation(&a);
    struct err e = {0};
    uint64_t from = clock_ns(), best_ns = UINT64_MAX;
    struct chat_template *t =
        chat_template_open(&(struct chat_template_params){.source = source}, &e);
    uint64_t open_ns = clock_ns() - from;
    size_t n_bytes = 0;
    for (int i = 0; t && i < ROUNDS; i++) {
        struct chat_prompt p = {0};
        from = clock_ns();
        if (!chat_render(t, &r, &p, &e))
            break;
        uint64_t ns = clock_ns() - from;
        best_ns = ns < best_ns ? ns : best_ns;
        n_bytes = p.text.n;
        chat_prompt_free(&p);
    }
    if (n_bytes)
        printf("| %s | %.0f | %.1f | %.1f |\n", name, 1e-3 * (double)n_bytes,
               1e-6 * (double)best_ns, 1e-6 * (double)open_ns);
    else
        printf("| %s | %s |\n", name, e.msg);
    chat_template_close(t);
    arena_free(&a);
}

int main(int argc, char **argv)
{
    printf("| template | prompt, KB | render, ms | open, ms |\n|---|---:|---:|---:|\n");
    for (int f = 0; argc < 2 && f < CHAT_PLAIN; f++)
        measure(chat_format_name((enum chat_format)f), chat_builtin((enum chat_format)f));
    for (int i = 1; i < argc; i++) {
        struct buf source = {0};
        struct err e;
        if (file_read_all(argv[i], 1 << 20, &source, &e))
            measure(argv[i], buf_view(&source));
        else
            fprintf(stderr, "%s\n", e.msg);
        buf_free(&source);
    }
    return 0;
}
