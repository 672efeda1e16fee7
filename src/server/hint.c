#include "server/hint.h"

static str from_headers(const struct http_request *http)
{
    static const char *const names[] = {"x-claude-code-session-id", "x-session-id", "thread-id",
                                        "session-id", "session_id"};
    str name = {NULL, 0};
    for (size_t i = 0; i < sizeof names / sizeof *names && !name.n; i++)
        name = http_header(http, names[i]);
    return name;
}

static str from_body(const struct json *body)
{
    const str names[] = {json_str(json_get(body, "prompt_cache_key")),
                         json_str(json_get(json_get(body, "metadata"), "user_id")),
                         json_str(json_get(body, "user"))};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].n)
            return names[i];
    return (str){NULL, 0};
}

static uint64_t number_of(const struct http_request *http, str name)
{
    if (!name.n)
        return 0;
    const uint64_t hint =
        str_hash(str_hash(STR_HASH, name), http_header(http, "x-claude-code-agent-id"));
    return hint ? hint : 1;
}

uint64_t hint_session(const struct http_request *http)
{
    return number_of(http, from_headers(http));
}

uint64_t hint_of(const struct http_request *http, const struct json *body)
{
    str name = from_headers(http);
    const struct json *slot = json_get(body, "id_slot");
    const int64_t n = json_int(slot);
    if (!name.n)
        name = from_body(body);
    if (!name.n && json_type(slot) == JSON_INT && n >= 0)
        name = (str){(const char *)&n, sizeof n};
    return number_of(http, name);
}
