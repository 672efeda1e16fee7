/* responses_serve: /v1/responses, from the request to the bytes, and the responses that are kept.
 */
#include "server/serve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "server/responses.h"
#include "server/responses_reply.h"

struct answer {
    const struct server *server;
    struct responses_request request;
    struct responses_reply reply;
};

static void begin(void *p, const struct reply_progress *at, struct buf *out)
{
    struct answer *a = p;
    (void)at;
    responses_begin(&a->reply, out);
}

static void event(void *p, const struct chat_event *e, const struct openai_token *tokens,
                  size_t n_tokens, struct buf *out)
{
    struct answer *a = p;
    (void)tokens;
    (void)n_tokens;
    responses_event(&a->reply, e, out);
}

static void idle(void *p, const struct reply_progress *at, struct buf *out)
{
    struct answer *a = p;
    (void)at;
    responses_idle(&a->reply, out);
}

/* The object in body, and in the store if the client wants it there. */
static void make_body(struct answer *a, const struct reply_end *e, struct buf *body)
{
    struct buf id = {0}, output = {0};
    responses_body(&a->reply, e->finish, &e->usage, e->warning, body);
    if (a->request.store) {
        responses_id(&a->reply, &id);
        responses_output(&a->reply, &output);
        responses_store_put(a->server->responses, buf_view(&id), a->request.previous,
                            buf_view(&a->request.input), buf_view(&output), buf_view(body));
    }
    buf_free(&id);
    buf_free(&output);
}

static void end(void *p, const struct reply_end *e, struct buf *out)
{
    struct answer *a = p;
    struct buf body = {0};
    responses_end(&a->reply, e->finish, out);
    make_body(a, e, &body);
    responses_complete(&a->reply, e->finish, buf_view(&body), out);
    buf_free(&body);
}

static void whole(void *p, const struct reply_end *e, struct buf *out)
{
    struct answer *a = p;
    responses_end(&a->reply, e->finish, NULL);
    make_body(a, e, out);
}

static void fail(void *p, const struct openai_error *e, struct buf *out)
{
    struct answer *a = p;
    responses_fail(&a->reply, e, out);
}

/* Codex makes room in a conversation that is too long when the stream says so. */
static void refuse(void *p, struct http_request *http, const struct openai_error *e)
{
    struct answer *a = p;
    struct buf events = {0};
    if (!a->request.base.stream || !e->n_ctx) {
        server_refuse(http, e);
        return;
    }
    responses_begin(&a->reply, &events);
    responses_fail(&a->reply, e, &events);
    http_send(http, 200, "text/event-stream", buf_view(&events));
    buf_free(&events);
}

static void close_answer(void *p)
{
    struct answer *a = p;
    responses_reply_free(&a->reply);
    responses_request_free(&a->request);
    free(a);
}

static const struct protocol protocol = {
    .begin = begin,
    .event = event,
    .idle = idle,
    .end = end,
    .fail = fail,
    .whole = whole,
    .refuse = refuse,
    .close = close_answer,
};

/* False: the request was refused. */
static bool parse(const struct server *s, struct http_request *http, struct responses_request *out)
{
    struct openai_error e;
    struct sampling defaults;
    engine_sampling_defaults(s->engine, &defaults);
    if (!responses_parse(http_body(http), &defaults, s->responses, out, &e)) {
        server_refuse(http, &e);
        return false;
    }
    server_log_notice(s, http, &out->base);
    return true;
}

void responses_serve(const struct server *s, struct http_request *http)
{
    struct answer *a = mem_new(1, sizeof *a);
    a->server = s;
    if (!parse(s, http, &a->request)) {
        free(a);
        return;
    }
    a->reply = (struct responses_reply){
        .request = &a->request, .created = clock_unix(), .model = s->model_id};
    server_make_id(a->reply.tail, RESPONSES_TAIL);
    struct reply_request to = {.protocol = &protocol, .state = a, .request = &a->request.base};
    snprintf(to.id, sizeof to.id, "resp_%s", a->reply.tail);
    reply_run(s, http, &to);
}

void responses_serve_count(const struct server *s, struct http_request *http)
{
    struct responses_request request;
    struct buf body = {0};
    struct openai_error e;
    size_t n;
    if (!parse(s, http, &request))
        return;
    if (prompt_count(s, &request.base, &n, &e)) {
        buf_fmt(&body, "{\"object\":\"response.input_tokens\",\"input_tokens\":%zu}\n", n);
        http_send(http, 200, "application/json", buf_view(&body));
    } else {
        server_refuse(http, &e);
    }
    buf_free(&body);
    responses_request_free(&request);
}

/* ---- kept responses ---- */

void responses_serve_kept(const struct server *s, struct http_request *http, str id)
{
    struct openai_error e;
    struct buf body = {0};
    bool remove = str_eq(http_method(http), STR("DELETE"));
    bool there = remove ? responses_store_delete(s->responses, id)
                        : responses_store_body(s->responses, id, &body);
    if (remove && there) {
        buf_str(&body, STR("{\"id\":"));
        json_quote(id, &body);
        buf_str(&body, STR(",\"object\":\"response\",\"deleted\":true}"));
    }
    if (there) {
        http_send(http, 200, "application/json", buf_view(&body));
    } else {
        openai_fail(&e, 404, "response_not_found", "Response '%.*s' is not here (any more).",
                    (int)(id.n < 80 ? id.n : 80), id.p);
        server_refuse(http, &e);
    }
    buf_free(&body);
}
