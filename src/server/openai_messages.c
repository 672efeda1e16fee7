#include "server/openai.h"

#include <stddef.h>
#include <stdio.h>

/* Long strings of a client are cut in messages. */
static str shown(str s)
{
    return str_sub(s, 0, 40);
}

static bool role_of(str name, enum chat_role *out)
{
    static const struct {
        str name;
        enum chat_role role;
    } roles[] = {
        {STR("system"), CHAT_SYSTEM}, {STR("developer"), CHAT_SYSTEM},
        {STR("user"), CHAT_USER},     {STR("assistant"), CHAT_ASSISTANT},
        {STR("tool"), CHAT_TOOL},
    };
    for (size_t i = 0; i < FIELD_COUNT(roles); i++)
        if (str_eq(name, roles[i].name)) {
            *out = roles[i].role;
            return true;
        }
    return false;
}

struct part {
    str type, text, refusal;
};

static bool parse_part(const struct json *json, const char *where, struct part *out,
                       struct openai_error *e)
{
    static const struct openai_field table[] = {
        FIELD_NEEDED("type", TYPE_STRING, STORE_STR, offsetof(struct part, type)),
        FIELD_STORED("text", TYPE_STRING, STORE_STR, offsetof(struct part, text)),
        FIELD_STORED("refusal", TYPE_STRING, STORE_STR, offsetof(struct part, refusal)),
    };
    *out = (struct part){0};
    if (!openai_fields(json, where, table, FIELD_COUNT(table), out, e))
        return false;
    if (str_eq(out->type, STR("refusal")))
        out->text = out->refusal;
    else if (!str_eq(out->type, STR("text")))
        return openai_refuse(e, where,
                             "'%s' has type '%.*s': this model reads text only (no images, audio "
                             "or files).",
                             where, STRF(shown(out->type)));
    return true;
}

/* Text parts stay apart: what goes between them is the model's template's to say. */
static bool take_parts(struct openai_request *r, const struct json *list, const char *where,
                       struct chat_message *out, struct openai_error *e)
{
    size_t n = json_count(list);
    str *parts = arena_new(&r->arena, n + 1, sizeof *parts);
    for (size_t i = 0; i < n; i++) {
        struct part part;
        struct openai_path at = openai_path("%s[%zu]", where, i);
        if (!parse_part(json_at(list, i), at.text, &part, e))
            return false;
        parts[i] = part.text;
    }
    chat_set_parts(out, parts, n);
    return true;
}

/* OpenAI sends arguments as a string of JSON; some clients send the object itself. */
static str arguments_text(struct openai_request *r, const struct json *v)
{
    struct buf text = {0};
    if (json_type(v) != JSON_OBJECT)
        return v ? json_str(v) : STR("{}");
    json_print(v, JSON_COMPACT, &text);
    str copy = arena_str(&r->arena, buf_view(&text));
    buf_free(&text);
    return copy;
}

static bool parse_call(struct openai_request *r, const struct json *json, const char *where,
                       struct chat_call *out, struct openai_error *e)
{
    static const struct openai_field call_fields[] = {
        FIELD_STORED("id", TYPE_STRING, STORE_STR, offsetof(struct chat_call, id)),
        FIELD_CHECKED("type", TYPE_STRING),
        FIELD_NEEDED("function", TYPE_OBJECT, STORE_NOTHING, 0),
    };
    static const struct openai_field function_fields[] = {
        FIELD_NEEDED("name", TYPE_STRING, STORE_STR, offsetof(struct chat_call, name)),
        FIELD_CHECKED("arguments", TYPE_STRING | TYPE_OBJECT),
    };
    if (!openai_fields(json, where, call_fields, FIELD_COUNT(call_fields), out, e))
        return false;
    const struct json *function = json_get(json, "function");
    struct openai_path inner = openai_path("%s.function", where);
    if (!openai_fields(function, inner.text, function_fields, FIELD_COUNT(function_fields), out, e))
        return false;
    out->arguments = arguments_text(r, json_get(function, "arguments"));
    return true;
}

static bool parse_calls(struct openai_request *r, const struct json *list, const char *where,
                        struct chat_message *out, struct openai_error *e)
{
    out->n_calls = json_count(list);
    struct chat_call *calls = arena_new(&r->arena, out->n_calls + 1, sizeof *calls);
    out->calls = calls;
    for (size_t i = 0; i < out->n_calls; i++) {
        struct openai_path at = openai_path("%s[%zu]", where, i);
        if (!parse_call(r, json_at(list, i), at.text, &calls[i], e))
            return false;
    }
    return true;
}

struct raw_message {
    str role, call_id, reasoning, reasoning_content;
    bool is_error;
};

static bool parse_message(struct openai_request *r, const struct json *json, const char *where,
                          struct chat_message *out, struct openai_error *e)
{
    static const struct openai_field table[] = {
        FIELD_NEEDED("role", TYPE_STRING, STORE_STR, offsetof(struct raw_message, role)),
        FIELD_CHECKED("content", TYPE_STRING | TYPE_ARRAY),
        FIELD_CHECKED("name", TYPE_STRING),
        FIELD_CHECKED("tool_calls", TYPE_ARRAY),
        FIELD_STORED("tool_call_id", TYPE_STRING, STORE_STR, offsetof(struct raw_message, call_id)),
        FIELD_STORED("reasoning_content", TYPE_STRING, STORE_STR,
                     offsetof(struct raw_message, reasoning_content)),
        FIELD_STORED("reasoning", TYPE_STRING, STORE_STR, offsetof(struct raw_message, reasoning)),
        FIELD_STORED("is_error", TYPE_BOOL, STORE_BOOL, offsetof(struct raw_message, is_error)),
    };
    struct raw_message raw = {0};
    if (!openai_fields(json, where, table, FIELD_COUNT(table), &raw, e))
        return false;
    struct openai_path role = openai_path("%s.role", where);
    if (!role_of(raw.role, &out->role))
        return openai_refuse(e, role.text,
                             "'%s' is '%.*s'; it must be system, developer, user, assistant or "
                             "tool.",
                             role.text, STRF(shown(raw.role)));
    const struct json *content = json_get(json, "content");
    struct openai_path at = openai_path("%s.content", where);
    if (!content && (out->role == CHAT_SYSTEM || out->role == CHAT_USER))
        return openai_refuse(e, at.text, "'%s' is required.", at.text);
    out->call_id = raw.call_id;
    out->failed = raw.is_error;
    out->reasoning = raw.reasoning_content.n ? raw.reasoning_content : raw.reasoning;
    out->content = json_str(content);
    if (json_type(content) == JSON_ARRAY && !take_parts(r, content, at.text, out, e))
        return false;
    struct openai_path calls = openai_path("%s.tool_calls", where);
    return parse_calls(r, json_get(json, "tool_calls"), calls.text, out, e);
}

bool openai_parse_messages(struct openai_request *r, struct openai_error *e)
{
    const struct json *list = json_get(r->body, "messages");
    size_t n = json_count(list);
    if (n == 0)
        return openai_refuse(e, "messages", "'messages' is empty; a chat needs at least one.");
    struct chat_message *messages = arena_new(&r->arena, n, sizeof *messages);
    for (size_t i = 0; i < n; i++) {
        struct openai_path at = openai_path("messages[%zu]", i);
        if (!parse_message(r, json_at(list, i), at.text, &messages[i], e))
            return false;
    }
    r->conversation.messages = messages;
    r->conversation.n_messages = n;
    return true;
}

static bool parse_tool(const struct json *json, const char *where, struct chat_tool *out,
                       struct openai_error *e)
{
    static const struct openai_field tool_fields[] = {
        FIELD_NEEDED("function", TYPE_OBJECT, STORE_NOTHING, 0),
    };
    static const struct openai_field function_fields[] = {
        FIELD_NEEDED("name", TYPE_STRING, STORE_STR, offsetof(struct chat_tool, name)),
        FIELD_CHECKED("description", TYPE_STRING),
        FIELD_CHECKED("parameters", TYPE_OBJECT),
        FIELD_CHECKED("strict", TYPE_BOOL),
    };
    if (!openai_fields(json, where, tool_fields, FIELD_COUNT(tool_fields), out, e))
        return false;
    struct openai_path inner = openai_path("%s.function", where);
    out->spec = json_get(json, "function");
    out->parameters = json_get(out->spec, "parameters");
    return openai_fields(out->spec, inner.text, function_fields, FIELD_COUNT(function_fields), out,
                         e);
}

bool openai_parse_tools(struct openai_request *r, struct openai_error *e)
{
    const struct json *list = json_get(r->body, "tools");
    struct chat_tool *tools = arena_new(&r->arena, json_count(list) + 1, sizeof *tools);
    size_t n = 0;
    for (size_t i = 0; i < json_count(list); i++) {
        const struct json *one = json_at(list, i);
        struct openai_path at = openai_path("tools[%zu]", i);
        const struct json *type = json_get(one, "type");
        if (type && !str_eq(json_str(type), STR("function"))) {
            /* Clients offer tools of newer kinds beside functions: not a reason to refuse all. */
            snprintf(r->notice, sizeof r->notice, "%s is of type '%.*s': not offered to the model",
                     at.text, STRF(shown(json_str(type))));
            continue;
        }
        if (!parse_tool(one, at.text, &tools[n], e))
            return false;
        r->n_strict += json_bool(json_get(tools[n].spec, "strict"));
        n++;
    }
    r->conversation.tools = tools;
    r->conversation.n_tools = n;
    return true;
}
