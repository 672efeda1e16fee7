/* Reads arbitrary bytes as the body of /v1/messages. What is refused has a 400 whose body is JSON;
 * what is taken has a conversation that ends with another's turn than the assistant's, tools with
 * names, and a reply to it is JSON. */
#include <stdlib.h>

#include "fuzz/fuzz.h"
#include "server/anthropic_reply.h"

static void promise_json(str text)
{
    struct err why;
    struct json *v = json_parse(text, &why);
    promise(v != NULL);
    json_free(v);
}

static void check_conversation(const struct chat_request *c)
{
    promise(c->n_messages > 0 && c->messages[c->n_messages - 1].role != CHAT_ASSISTANT);
    for (size_t i = 0; i < c->n_messages; i++) {
        const struct chat_message *m = &c->messages[i];
        promise(!m->n_calls || m->role == CHAT_ASSISTANT);
        promise(!m->n_parts || m->content.n == 0);
        promise(i == 0 || m->role != CHAT_ASSISTANT || c->messages[i - 1].role != m->role);
    }
}

static void check_reply(const struct anthropic_request *q)
{
    struct anthropic_reply r = {
        .hide_reasoning = q->hide_reasoning, .id = "msg_T", .model = STR("m")};
    struct reply_end end = {.finish = "stop", .stop = q->base.n_stops ? q->base.stops[0] : STR("")};
    const struct chat_request *c = &q->base.conversation;
    str name = c->n_tools ? c->tools[0].name : STR("f");
    struct buf out = {0};
    anthropic_event(&r, &(struct chat_event){.kind = CHAT_REASONING, .text = name}, NULL);
    anthropic_event(&r, &(struct chat_event){.kind = CHAT_CALL_BEGIN, .id = name, .name = name},
                    NULL);
    anthropic_event(&r, &(struct chat_event){.kind = CHAT_CALL_ARGUMENTS, .text = name}, NULL);
    anthropic_event(&r, &(struct chat_event){.kind = CHAT_CALL_END}, NULL);
    if (q->search.n)
        anthropic_no_search(&r, "T", q->search, NULL);
    promise(q->base.n_loaded <= c->n_tools || c->n_tools == 0); /* tool_choice may be none */
    anthropic_whole(&r, &end, &out);
    promise_json(buf_view(&out));
    buf_free(&out);
    anthropic_reply_free(&r);
}

FUZZ_TARGET(anthropic)
{
    struct anthropic_request request;
    struct openai_error e;
    struct sampling defaults = {.temperature = 1};
    struct buf body = {0};
    if (anthropic_parse((str){(const char *)bytes, n_bytes}, &defaults, &request, &e)) {
        check_conversation(&request.base.conversation);
        check_reply(&request);
        anthropic_request_free(&request);
    } else {
        anthropic_error_body(&e, &body);
        promise_json(buf_view(&body));
        promise(e.status == 400 && e.message[0]);
        buf_free(&body);
    }
}
