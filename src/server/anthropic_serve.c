/* anthropic_serve: /v1/messages and /v1/messages/count_tokens, from the request to the bytes. */
#include "server/serve.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "server/anthropic.h"
#include "server/anthropic_reply.h"

struct answer {
    struct anthropic_request request;
    struct anthropic_reply reply;
};

static void begin(void *p, const struct reply_progress *at, struct buf *out)
{
    struct answer *a = p;
    anthropic_begin(&a->reply, at->n_prompt, out);
}

static void event(void *p, const struct chat_event *e, const struct openai_token *tokens,
                  size_t n_tokens, struct buf *out)
{
    struct answer *a = p;
    (void)tokens;
    (void)n_tokens;
    anthropic_event(&a->reply, e, out);
}

static void idle(void *p, const struct reply_progress *at, struct buf *out)
{
    const struct answer *a = p;
    anthropic_idle(&a->reply, at, out);
}

static void end(void *p, const struct reply_end *e, struct buf *out)
{
    struct answer *a = p;
    anthropic_end(&a->reply, e, out);
}

static void whole(void *p, const struct reply_end *e, struct buf *out)
{
    struct answer *a = p;
    anthropic_whole(&a->reply, e, out);
}

static void fail(void *p, const struct openai_error *e, struct buf *out)
{
    (void)p;
    anthropic_fail(e, out);
}

static void close_answer(void *p)
{
    struct answer *a = p;
    anthropic_reply_free(&a->reply);
    anthropic_request_free(&a->request);
    free(a);
}

static const struct protocol protocol = {
    .begin = begin,
    .event = event,
    .idle = idle,
    .end = end,
    .fail = fail,
    .whole = whole,
    .close = close_answer,
};

/* False: the request was refused. */
static bool parse(const struct server *s, struct http_request *http, struct anthropic_request *out)
{
    struct openai_error e;
    struct sampling defaults;
    engine_sampling_defaults(s->engine, &defaults);
    if (!anthropic_parse(http_body(http), &defaults, out, &e)) {
        server_refuse(http, &e);
        return false;
    }
    server_log_notice(s, http, &out->base);
    return true;
}

/* At once, and without the model. */
static void refuse_search(struct answer *a, struct http_request *http)
{
    const struct reply_end end = {.finish = "stop"};
    const bool streams = a->request.base.stream;
    struct buf out = {0};
    char id[25];
    server_make_id(id, sizeof id - 1);
    if (streams)
        anthropic_begin(&a->reply, 0, &out);
    anthropic_no_search(&a->reply, id, a->request.search, streams ? &out : NULL);
    (streams ? anthropic_end : anthropic_whole)(&a->reply, &end, &out);
    http_send(http, 200, streams ? "text/event-stream" : "application/json", buf_view(&out));
    buf_free(&out);
    close_answer(a);
}

void anthropic_serve(const struct server *s, struct http_request *http)
{
    struct answer *a = mem_new(1, sizeof *a);
    char id[25];
    if (!parse(s, http, &a->request)) {
        free(a);
        return;
    }
    a->reply =
        (struct anthropic_reply){.hide_reasoning = a->request.hide_reasoning, .model = s->model_id};
    server_make_id(id, sizeof id - 1);
    snprintf(a->reply.id, sizeof a->reply.id, "msg_%s", id);
    if (a->request.search.n) {
        refuse_search(a, http);
        return;
    }
    struct reply_request to = {.protocol = &protocol, .state = a, .request = &a->request.base};
    snprintf(to.id, sizeof to.id, "%s", a->reply.id);
    reply_run(s, http, &to);
}

void anthropic_serve_count(const struct server *s, struct http_request *http)
{
    struct anthropic_request request;
    struct buf body = {0};
    struct openai_error e;
    size_t n;
    if (!parse(s, http, &request))
        return;
    if (prompt_count(s, &request.base, &n, &e)) {
        buf_fmt(&body, "{\"input_tokens\":%zu}\n", n);
        http_send(http, 200, "application/json", buf_view(&body));
    } else {
        server_refuse(http, &e);
    }
    buf_free(&body);
    anthropic_request_free(&request);
}
