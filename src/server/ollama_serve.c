/* ollama_serve: /api/chat and /api/generate, from the request to the bytes. */
#include "server/serve.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "server/ollama.h"

struct answer {
    struct ollama_request request;
    struct ollama_reply reply;
};

static void begin(void *p, const struct reply_progress *at, struct buf *out)
{
    const struct answer *a = p;
    (void)at;
    ollama_line_empty(&a->reply, out);
}

static void event(void *p, const struct chat_event *e, const struct openai_token *tokens,
                  size_t n_tokens, struct buf *out)
{
    struct answer *a = p;
    (void)tokens;
    (void)n_tokens;
    if (out)
        ollama_line_event(&a->reply, e, out);
}

static void idle(void *p, const struct reply_progress *at, struct buf *out)
{
    const struct answer *a = p;
    (void)at;
    ollama_line_empty(&a->reply, out);
}

static void end(void *p, const struct reply_end *e, struct buf *out)
{
    const struct answer *a = p;
    ollama_line_done(&a->reply, e->finish, &e->usage, e->warning, clock_ns(), out);
}

static void fail(void *p, const struct openai_error *e, struct buf *out)
{
    (void)p;
    ollama_error_body(e, out);
    buf_byte(out, '\n');
}

static void whole(void *p, const struct reply_end *e, struct buf *out)
{
    const struct answer *a = p;
    ollama_reply_body(&a->reply,
                      &(struct openai_reply){.content = e->content,
                                             .reasoning = e->reasoning,
                                             .calls = e->calls,
                                             .n_calls = e->n_calls,
                                             .finish = e->finish,
                                             .usage = e->usage},
                      e->warning, clock_ns(), out);
}

static void close_answer(void *p)
{
    struct answer *a = p;
    ollama_reply_free(&a->reply);
    ollama_request_free(&a->request);
    free(a);
}

static const struct protocol protocol = {
    .stream_type = "application/x-ndjson",
    .begin = begin,
    .event = event,
    .idle = idle,
    .end = end,
    .fail = fail,
    .whole = whole,
    .close = close_answer,
};

void ollama_serve(const struct server *s, struct http_request *http, bool generate)
{
    struct answer *a = mem_new(1, sizeof *a);
    struct openai_error e;
    struct sampling defaults;
    char id[25];
    engine_sampling_defaults(s->engine, &defaults);
    if (!ollama_parse(http_body(http), generate, &defaults, &a->request, &e)) {
        server_refuse(http, &e);
        free(a);
        return;
    }
    server_log_notice(s, http, &a->request.base);
    a->reply = (struct ollama_reply){.request = &a->request,
                                     .model = s->model_id,
                                     .created = clock_unix(),
                                     .start_ns = clock_ns()};
    if (a->request.idle) {
        struct buf body = {0};
        ollama_idle_body(&a->reply, &body);
        http_send(http, 200, "application/json", buf_view(&body));
        buf_free(&body);
        close_answer(a);
        return;
    }
    struct reply_request to = {.protocol = &protocol, .state = a, .request = &a->request.base};
    server_make_id(id, sizeof id - 1);
    snprintf(to.id, sizeof to.id, "ollama-%s", id);
    reply_run(s, http, &to);
}
