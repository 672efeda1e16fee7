/* Reads arbitrary bytes as the body of Ollama's /api/chat (first byte even) or /api/generate. What
 * is refused has a 400 whose body is JSON; what is taken has a conversation unless it is idle. */
#include <stdlib.h>

#include "fuzz/fuzz.h"
#include "server/ollama.h"

static void check_error(const struct openai_error *e)
{
    struct buf body = {0};
    struct err why;
    ollama_error_body(e, &body);
    struct json *v = json_parse(buf_view(&body), &why);
    promise(v && e->status == 400 && e->message[0]);
    json_free(v);
    buf_free(&body);
}

FUZZ_TARGET(ollama)
{
    struct ollama_request request;
    struct openai_error e;
    struct sampling defaults = {.temperature = 1};
    bool generate = n_bytes && bytes[0] % 2;
    str body = str_sub((str){(const char *)bytes, n_bytes}, 1, n_bytes);
    if (!ollama_parse(body, generate, &defaults, &request, &e)) {
        check_error(&e);
        return;
    }
    const struct chat_request *c = &request.base.conversation;
    promise(request.idle || generate || c->n_messages > 0);
    for (size_t i = 0; i < c->n_messages; i++)
        promise(!c->messages[i].n_calls || c->messages[i].role == CHAT_ASSISTANT);
    ollama_request_free(&request);
}
