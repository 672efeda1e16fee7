/* Reads arbitrary bytes as the body of /v1/responses, with one response in the store. What is
 * refused has a 400 or 404 whose body is JSON; what is taken has a conversation, and a reply to it
 * is JSON. */
#include <stdlib.h>

#include "fuzz/fuzz.h"
#include "server/responses_reply.h"

static void promise_json(str text)
{
    struct err why;
    struct json *v = json_parse(text, &why);
    promise(v != NULL);
    json_free(v);
}

static void check_error(const struct openai_error *e)
{
    struct buf body = {0};
    openai_error_body(e, &body);
    promise_json(buf_view(&body));
    promise((e->status == 400 || e->status == 404) && e->message[0]);
    buf_free(&body);
}

static void check_reply(const struct responses_request *q)
{
    struct responses_reply r = {.request = q, .tail = "T", .model = STR("m")};
    struct buf out = {0};
    str name = q->n_tools ? q->tools[0].flat : STR("f");
    responses_event(&r, &(struct chat_event){.kind = CHAT_REASONING, .text = STR("r")}, &out);
    responses_event(&r, &(struct chat_event){.kind = CHAT_CALL_BEGIN, .id = STR("c"), .name = name},
                    &out);
    responses_event(
        &r, &(struct chat_event){.kind = CHAT_CALL_ARGUMENTS, .text = STR("{\"input\":\"x")}, &out);
    responses_event(&r, &(struct chat_event){.kind = CHAT_CALL_END, .flaw = CHAT_CUT}, &out);
    responses_end(&r, "tool_calls", &out);
    buf_clear(&out);
    responses_body(&r, "tool_calls", &(struct openai_usage){0}, STR(""), &out);
    promise_json(buf_view(&out));
    buf_free(&out);
    responses_reply_free(&r);
}

FUZZ_TARGET(responses)
{
    struct responses_request request;
    struct openai_error e;
    struct sampling defaults = {.temperature = 1};
    struct responses_store *store = responses_store_open(1 << 16);
    responses_store_put(store, STR("resp_A"), STR(""), STR("{\"role\":\"user\",\"content\":\"1\"}"),
                        STR("{\"type\":\"message\",\"id\":\"msg_A_0\",\"role\":\"assistant\","
                            "\"content\":\"2\"}"),
                        STR("{}"));
    if (responses_parse((str){(const char *)bytes, n_bytes}, &defaults, store, &request, &e)) {
        const struct chat_request *c = &request.base.conversation;
        promise(c->n_messages > 0 && c->n_tools <= request.n_tools);
        for (size_t i = 0; i < c->n_messages; i++)
            promise(!c->messages[i].n_calls || c->messages[i].role == CHAT_ASSISTANT);
        check_reply(&request);
        responses_request_free(&request);
    } else {
        check_error(&e);
    }
    responses_store_close(store);
}
