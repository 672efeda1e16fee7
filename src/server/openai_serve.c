/* openai_serve: chat completions and text completions, from the request to the bytes. */
#include "server/serve.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"

enum { IDLE_CHUNK_EVERY = 3 }; /* signs of life: so many comments, then a chunk */

struct answer {
    struct openai_request request;
    struct openai_head head;
};

static void begin(void *p, const struct reply_progress *at, struct buf *out)
{
    const struct answer *a = p;
    (void)at;
    openai_chunk_first(&a->head, out);
}

static void event(void *p, const struct chat_event *e, const struct openai_token *tokens,
                  size_t n_tokens, struct buf *out)
{
    const struct answer *a = p;
    if (out)
        openai_chunk_event(&a->head, e, tokens, n_tokens, out);
}

/* Some clients count bytes, some count data events: mostly a comment, sometimes a chunk. */
static void idle(void *p, const struct reply_progress *at, struct buf *out)
{
    const struct answer *a = p;
    if (at->n_idle % IDLE_CHUNK_EVERY == IDLE_CHUNK_EVERY - 1)
        openai_chunk_idle(&a->head, out);
    else
        buf_fmt(out, ": %zu of %zu prompt tokens read\n\n", at->n_read, at->n_prompt);
}

static void progress(void *p, const struct reply_progress *at, struct buf *out)
{
    const struct answer *a = p;
    if (out && a->request.want_progress)
        openai_chunk_progress(&a->head, at->n_prompt, at->n_cached, at->n_read, at->ns, out);
}

static void end(void *p, const struct reply_end *e, struct buf *out)
{
    struct answer *a = p;
    a->head.warning = e->warning;
    openai_chunk_finish(&a->head, e->finish, e->tokens, e->n_tokens, &e->usage, out);
    if (a->request.include_usage)
        openai_chunk_usage(&a->head, &e->usage, out);
    openai_chunk_done(out);
}

static void fail(void *p, const struct openai_error *e, struct buf *out)
{
    (void)p;
    buf_str(out, STR("data: "));
    openai_error_body(e, out);
    buf_str(out, STR("\n\n"));
}

static void whole(void *p, const struct reply_end *e, struct buf *out)
{
    struct answer *a = p;
    a->head.warning = e->warning;
    openai_reply_body(&a->head,
                      &(struct openai_reply){
                          .content = e->content,
                          .reasoning = e->reasoning,
                          .calls = e->calls,
                          .n_calls = e->n_calls,
                          .finish = e->finish,
                          .tokens = a->request.want_logprobs ? e->tokens : NULL,
                          .n_tokens = e->n_tokens,
                          .usage = e->usage,
                      },
                      out);
}

static void close_answer(void *p)
{
    struct answer *a = p;
    openai_request_free(&a->request);
    free(a);
}

static const struct protocol protocol = {
    .begin = begin,
    .event = event,
    .idle = idle,
    .progress = progress,
    .end = end,
    .fail = fail,
    .whole = whole,
    .close = close_answer,
};

void openai_serve(const struct server *s, struct http_request *http, bool chat)
{
    struct answer *a = mem_new(1, sizeof *a);
    struct openai_error e;
    struct sampling defaults;
    char id[25];
    engine_sampling_defaults(s->engine, &defaults);
    if (!openai_parse(http_body(http), chat, &defaults, &a->request, &e)) {
        server_refuse(http, &e);
        free(a);
        return;
    }
    server_log_notice(s, http, &a->request);
    server_make_id(id, sizeof id - 1);
    a->head = (struct openai_head){.chat = chat,
                                   .created = clock_unix(),
                                   .model = s->model_id,
                                   .timings = a->request.want_timings,
                                   .twice_reasoning = a->request.twice_reasoning,
                                   .usage_in_chunks = a->request.include_usage};
    struct reply_request to = {.protocol = &protocol, .state = a, .request = &a->request};
    snprintf(a->head.id, sizeof a->head.id, "%s%s", chat ? "chatcmpl-" : "cmpl-", id);
    snprintf(to.id, sizeof to.id, "%s", a->head.id);
    reply_run(s, http, &to);
}
