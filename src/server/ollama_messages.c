#include "server/ollama.h"

#include <stddef.h>

/* Many clients send calls and results without ids: results answer the calls of the assistant's
 * message before them, by the tool's name or in order. */
struct open_calls {
    const struct chat_call *calls;
    bool *answered;
    size_t n;
};

static bool role_of(str name, enum chat_role *out)
{
    static const str names[] = {[CHAT_SYSTEM] = STR("system"),
                                [CHAT_USER] = STR("user"),
                                [CHAT_ASSISTANT] = STR("assistant"),
                                [CHAT_TOOL] = STR("tool")};
    for (size_t i = 0; i < FIELD_COUNT(names); i++)
        if (str_eq(name, names[i])) {
            *out = (enum chat_role)i;
            return true;
        }
    return false;
}

static str next_open(struct open_calls *open, str tool)
{
    for (size_t i = 0; i < open->n; i++)
        if (!open->answered[i] && (tool.n == 0 || str_eq(tool, open->calls[i].name))) {
            open->answered[i] = true;
            return open->calls[i].id;
        }
    return STR("");
}

static bool parse_call(struct openai_request *q, const struct json *json, const char *where,
                       struct chat_call *out, struct openai_error *e)
{
    static const struct openai_field call_fields[] = {
        FIELD_STORED("id", TYPE_STRING, STORE_STR, offsetof(struct chat_call, id)),
        FIELD_NEEDED("function", TYPE_OBJECT, STORE_NOTHING, 0),
    };
    static const struct openai_field function_fields[] = {
        FIELD_NEEDED("name", TYPE_STRING, STORE_STR, offsetof(struct chat_call, name)),
        FIELD_CHECKED("arguments", TYPE_OBJECT),
    };
    const struct json *function = json_get(json, "function");
    struct openai_path inner = openai_path("%s.function", where);
    if (!openai_fields(json, where, call_fields, FIELD_COUNT(call_fields), out, e) ||
        !openai_fields(function, inner.text, function_fields, FIELD_COUNT(function_fields), out, e))
        return false;
    const struct json *arguments = json_get(function, "arguments");
    struct buf text = {0};
    if (arguments)
        json_print(arguments, JSON_COMPACT, &text);
    out->arguments = arguments ? arena_str(&q->arena, buf_view(&text)) : STR("{}");
    buf_free(&text);
    return true;
}

static bool parse_calls(struct openai_request *q, const struct json *list, size_t i_message,
                        struct chat_message *out, struct open_calls *open, struct openai_error *e)
{
    size_t n = json_count(list);
    struct chat_call *calls = arena_new(&q->arena, n + 1, sizeof *calls);
    for (size_t i = 0; i < n; i++) {
        struct openai_path at = openai_path("messages[%zu].tool_calls[%zu]", i_message, i);
        if (!parse_call(q, json_at(list, i), at.text, &calls[i], e))
            return false;
        if (calls[i].id.n == 0)
            calls[i].id = arena_fmt(&q->arena, "call_%zu_%zu", i_message, i);
    }
    out->calls = calls;
    out->n_calls = n;
    *open = (struct open_calls){calls, arena_new(&q->arena, n + 1, sizeof(bool)), n};
    return true;
}

struct raw_message {
    str role, content, thinking, call_id, tool;
};

static bool parse_message(struct openai_request *q, const struct json *json, size_t i_message,
                          struct chat_message *out, struct open_calls *open, struct openai_error *e)
{
    static const struct openai_field table[] = {
        FIELD_NEEDED("role", TYPE_STRING, STORE_STR, offsetof(struct raw_message, role)),
        FIELD_STORED("content", TYPE_STRING, STORE_STR, offsetof(struct raw_message, content)),
        FIELD_STORED("thinking", TYPE_STRING, STORE_STR, offsetof(struct raw_message, thinking)),
        FIELD_STORED("tool_call_id", TYPE_STRING, STORE_STR, offsetof(struct raw_message, call_id)),
        FIELD_STORED("tool_name", TYPE_STRING, STORE_STR, offsetof(struct raw_message, tool)),
        FIELD_CHECKED("tool_calls", TYPE_ARRAY),
        FIELD_CHECKED("images", TYPE_ARRAY),
    };
    struct raw_message raw = {0};
    struct openai_path where = openai_path("messages[%zu]", i_message);
    if (!openai_fields(json, where.text, table, FIELD_COUNT(table), &raw, e))
        return false;
    if (!role_of(raw.role, &out->role))
        return openai_refuse(e, where.text,
                             "'%s.role' is '%.*s'; it must be system, user, assistant or tool.",
                             where.text, STRF(str_sub(raw.role, 0, 40)));
    if (json_count(json_get(json, "images")))
        return openai_refuse(e, where.text, "'%s.images': this model reads text only.", where.text);
    out->content = raw.content;
    out->reasoning = raw.thinking;
    const struct json *calls = json_get(json, "tool_calls");
    if (out->role == CHAT_ASSISTANT)
        return parse_calls(q, calls, i_message, out, open, e);
    if (out->role == CHAT_TOOL)
        out->call_id = raw.call_id.n ? raw.call_id : next_open(open, raw.tool);
    return true;
}

bool ollama_parse_messages(struct ollama_request *r, struct openai_error *e)
{
    struct openai_request *q = &r->base;
    const struct json *list = json_get(q->body, "messages");
    struct open_calls open = {0};
    size_t n = json_count(list);
    struct chat_message *messages = arena_new(&q->arena, n, sizeof *messages);
    for (size_t i = 0; i < n; i++)
        if (!parse_message(q, json_at(list, i), i, &messages[i], &open, e))
            return false;
    q->conversation.messages = messages;
    q->conversation.n_messages = n;
    return true;
}
