/* Reads arbitrary bytes as a request body. The first byte chooses the endpoint. What is refused has
 * a 400 with a message that prints as JSON. */
#include <stdlib.h>

#include "fuzz/fuzz.h"
#include "server/openai.h"

static void check_error(const struct openai_error *e)
{
    struct err why;
    struct buf body = {0};
    openai_error_body(e, &body);
    struct json *v = json_parse(buf_view(&body), &why);
    const struct json *error = json_get(v, "error");
    promise(e->status == 400 && json_str(json_get(error, "message")).n > 0);
    json_free(v);
    buf_free(&body);
}

FUZZ_TARGET(openai)
{
    struct openai_request request;
    struct openai_error e;
    struct sampling defaults = {.temperature = 1};
    if (n_bytes == 0)
        return;
    bool chat = bytes[0] == 'c';
    str body = {(const char *)bytes + 1, n_bytes - 1};
    if (!openai_parse(body, chat, &defaults, &request, &e)) {
        check_error(&e);
        return;
    }
    promise(!chat || request.conversation.n_messages > 0);
    promise(request.n_stops <= OPENAI_MAX_STOPS);
    promise(request.n_top_logprobs <= OPENAI_MAX_TOP_LOGPROBS);
    promise(request.sampling.temperature >= 0 && request.sampling.top_k >= 0);
    openai_request_free(&request);
}
