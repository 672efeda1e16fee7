/* anthropic: "system" and "messages" into the conversation that all protocols share. */
#include "server/anthropic.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "server/opaque.h"

struct walk {
    struct anthropic_request *r;
    struct arena *arena;
    struct chat_message *messages; /* [n], room for one per message and per block */
    size_t n;
    struct chat_call *calls; /* of all messages, room for one per block */
    size_t n_calls;
    bool open; /* the last message is the assistant's, and more of it may come */
    struct buf content, reasoning; /* of it */
};

static str shown(str s)
{
    return str_sub(s, 0, 40);
}

static str type_of(const struct json *block)
{
    return json_str(json_get(block, "type"));
}

/* ---- texts ---- */

/* Claude Code's first system block names its version and a hash of the request: a line that changes
 * what follows for the model's cache and tells the model nothing. */
static str without_attribution(str text)
{
    str rest = text;
    if (!str_starts(text, STR("x-anthropic-billing-header:")))
        return text;
    str_cut(text, '\n', &rest);
    return str_trim(rest);
}

static str as_json(struct walk *w, const struct json *v)
{
    struct buf text = {0};
    json_print(v, JSON_COMPACT, &text);
    str copy = arena_str(w->arena, buf_view(&text));
    buf_free(&text);
    return copy;
}

static str not_shown(struct walk *w, const char *where, str type)
{
    char *notice = w->r->base.notice;
    if (!notice[0])
        snprintf(notice, sizeof w->r->base.notice, "%s: the model is told that it is not shown",
                 where);
    return arena_fmt(w->arena, "[%.*s: not shown, this model reads text only]", STRF(type));
}

/* What the model reads for a block. */
static str block_text(struct walk *w, const struct json *block, const char *where)
{
    const struct json *source = json_get(block, "source");
    str type = type_of(block);
    if (json_type(block) == JSON_STRING)
        return json_str(block);
    if (str_eq(type, STR("text")))
        return json_str(json_get(block, "text"));
    if (str_eq(type, STR("image")))
        return not_shown(w, where, type);
    if (str_eq(type, STR("tool_reference"))) {
        str tool = anthropic_load_tool(w->r, json_str(json_get(block, "tool_name")));
        return tool.n ? tool : as_json(w, block);
    }
    if (!str_eq(type, STR("document")))
        return as_json(w, block);
    if (str_eq(type_of(source), STR("text")))
        return json_str(json_get(source, "data"));
    return str_eq(type_of(source), STR("content")) ? as_json(w, json_get(source, "content"))
                                                   : not_shown(w, where, type);
}

static void take_parts(struct walk *w, const struct json *content, const char *where,
                       struct chat_message *m)
{
    size_t n = json_count(content);
    str *parts = arena_new(w->arena, n + 1, sizeof *parts);
    if (json_type(content) == JSON_STRING) {
        m->content = json_str(content);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        struct openai_path at = openai_path("%s[%zu]", where, i);
        parts[i] = block_text(w, json_at(content, i), at.text);
    }
    chat_set_parts(m, parts, n);
}

/* ---- the assistant's turn ---- */

static void end_turn(struct walk *w)
{
    if (!w->open)
        return;
    struct chat_message *m = &w->messages[w->n - 1];
    m->content = arena_str(w->arena, buf_view(&w->content));
    m->reasoning = arena_str(w->arena, buf_view(&w->reasoning));
    buf_clear(&w->content);
    buf_clear(&w->reasoning);
    w->open = false;
}

static void add(struct walk *w, struct chat_message m)
{
    end_turn(w);
    w->messages[w->n++] = m;
}

/* Ids go out as "toolu_...", by which clients know theirs, and are "call_..." inside. */
static str call_id(struct walk *w, str id)
{
    if (!str_starts(id, STR("toolu_")))
        return id;
    return arena_fmt(w->arena, "call_%.*s", STRF(str_sub(id, 6, id.n)));
}

/* Hidden reasoning is in the signature, if this server made it (anthropic_reply.c). */
static void take_thinking(struct walk *w, const struct json *block)
{
    const char *carrier = json_get(block, "data") ? "data" : "signature";
    str text = json_str(json_get(block, "thinking")), tag, hidden;
    if (text.n == 0 && opaque_get(json_str(json_get(block, carrier)), w->arena, &tag, &hidden))
        text = hidden;
    buf_str(&w->reasoning, text);
}

static bool take_call(struct walk *w, const struct json *block, const char *where,
                      struct openai_error *e)
{
    static const struct openai_field table[] = {
        FIELD_NEEDED("id", TYPE_STRING, STORE_STR, offsetof(struct chat_call, id)),
        FIELD_NEEDED("name", TYPE_STRING, STORE_STR, offsetof(struct chat_call, name)),
        FIELD_CHECKED("input", TYPE_OBJECT | TYPE_STRING),
    };
    struct chat_message *m = &w->messages[w->n - 1];
    struct chat_call *call = &w->calls[w->n_calls++];
    const struct json *input = json_get(block, "input");
    if (!openai_fields(block, where, table, FIELD_COUNT(table), call, e))
        return false;
    call->id = call_id(w, call->id);
    call->arguments = json_type(input) == JSON_OBJECT ? as_json(w, input)
                      : input                         ? json_str(input)
                                                      : STR("{}");
    if (m->n_calls++ == 0)
        m->calls = call;
    return true;
}

/* Turns of the assistant that follow each other are one. */
static bool take_assistant(struct walk *w, const struct json *content, const char *where,
                           struct openai_error *e)
{
    if (!w->open)
        add(w, (struct chat_message){.role = CHAT_ASSISTANT});
    w->open = true;
    if (json_type(content) == JSON_STRING)
        buf_str(&w->content, json_str(content));
    for (size_t i = 0; json_type(content) == JSON_ARRAY && i < json_count(content); i++) {
        const struct json *block = json_at(content, i);
        struct openai_path at = openai_path("%s[%zu]", where, i);
        str type = type_of(block);
        if (str_eq(type, STR("thinking")) || str_eq(type, STR("redacted_thinking")))
            take_thinking(w, block);
        else if (!str_eq(type, STR("tool_use")))
            buf_str(&w->content, block_text(w, block, at.text));
        else if (!take_call(w, block, at.text, e))
            return false;
    }
    return true;
}

/* ---- the user's turn ---- */

static bool take_result(struct walk *w, const struct json *block, const char *where,
                        struct openai_error *e)
{
    static const struct openai_field table[] = {
        FIELD_NEEDED("tool_use_id", TYPE_STRING, STORE_STR, offsetof(struct chat_message, call_id)),
        FIELD_CHECKED("content", TYPE_STRING | TYPE_ARRAY),
        FIELD_STORED("is_error", TYPE_BOOL, STORE_BOOL, offsetof(struct chat_message, failed)),
    };
    struct chat_message m = {.role = CHAT_TOOL};
    struct openai_path at = openai_path("%s.content", where);
    if (!openai_fields(block, where, table, FIELD_COUNT(table), &m, e))
        return false;
    m.call_id = call_id(w, m.call_id);
    take_parts(w, json_get(block, "content"), at.text, &m);
    add(w, m);
    return true;
}

/* Texts that follow each other are parts of one message; results stand where they are. */
static bool take_user(struct walk *w, const struct json *content, const char *where,
                      struct openai_error *e)
{
    size_t n = json_count(content), from = 0, n_run = 0;
    str *parts = arena_new(w->arena, n + 1, sizeof *parts);
    struct chat_message m = {.role = CHAT_USER};
    if (json_type(content) == JSON_STRING) {
        m.content = json_str(content);
        add(w, m);
        return true;
    }
    for (size_t i = 0; i <= n; i++) {
        const struct json *block = i < n ? json_at(content, i) : NULL;
        struct openai_path at = openai_path("%s[%zu]", where, i);
        bool result = str_eq(type_of(block), STR("tool_result"));
        if (i < n && !result) {
            parts[from + n_run++] = block_text(w, block, at.text);
            continue;
        }
        if (n_run) {
            struct chat_message run = m;
            chat_set_parts(&run, parts + from, n_run);
            add(w, run);
        }
        from += n_run;
        n_run = 0;
        if (result && !take_result(w, block, at.text, e))
            return false;
    }
    return true;
}

/* ---- all ---- */

static void take_system(struct walk *w, const struct json *system)
{
    struct chat_message m = {.role = CHAT_SYSTEM};
    size_t n = json_type(system) == JSON_STRING ? 1 : json_count(system), n_kept = 0;
    str *parts = arena_new(w->arena, n + 1, sizeof *parts);
    for (size_t i = 0; i < n; i++) {
        struct openai_path at = openai_path("system[%zu]", i);
        bool whole = json_type(system) == JSON_STRING;
        str text = block_text(w, whole ? system : json_at(system, i), at.text);
        parts[n_kept] = without_attribution(text);
        n_kept += parts[n_kept].n > 0;
    }
    chat_set_parts(&m, parts, n_kept);
    if (n_kept)
        add(w, m);
}

static bool take_message(struct walk *w, const struct json *message, const char *where,
                         struct openai_error *e)
{
    static const struct openai_field table[] = {
        FIELD_NEEDED("role", TYPE_STRING, STORE_NOTHING, 0),
        FIELD_NEEDED("content", TYPE_STRING | TYPE_ARRAY, STORE_NOTHING, 0),
    };
    str role = json_str(json_get(message, "role"));
    const struct json *content = json_get(message, "content");
    struct openai_path at = openai_path("%s.content", where);
    struct chat_message m = {.role = CHAT_SYSTEM};
    if (json_type(message) != JSON_OBJECT)
        return openai_refuse(e, where, "'%s' must be an object.", where);
    if (!openai_fields(message, where, table, FIELD_COUNT(table), NULL, e))
        return false;
    if (str_eq(role, STR("assistant")))
        return take_assistant(w, content, at.text, e);
    if (str_eq(role, STR("user")))
        return take_user(w, content, at.text, e);
    if (!str_eq(role, STR("system")))
        return openai_refuse(e, where, "'%s.role' is '%.*s'; it must be user, assistant or system.",
                             where, STRF(shown(role)));
    take_parts(w, content, at.text, &m);
    add(w, m);
    return true;
}

/* A reply whose beginning the client has written would need a place in the model's format that
 * templates do not have. Anthropic's newer models refuse it in the same words. */
static bool check_end(const struct walk *w, struct openai_error *e)
{
    return w->messages[w->n - 1].role != CHAT_ASSISTANT ||
           openai_refuse(e, "messages",
                         "This model does not support assistant message prefill. The conversation "
                         "must end with a user message.");
}

static size_t count_blocks(const struct json *list)
{
    size_t n = json_count(list) + 1;
    for (size_t i = 0; i < json_count(list); i++)
        n += json_count(json_get(json_at(list, i), "content"));
    return n;
}

bool anthropic_parse_messages(struct anthropic_request *r, struct openai_error *e)
{
    const struct json *list = json_get(r->base.body, "messages");
    struct walk w = {.r = r, .arena = &r->base.arena};
    size_t room = count_blocks(list);
    w.messages = arena_new(w.arena, room, sizeof *w.messages);
    w.calls = arena_new(w.arena, room, sizeof *w.calls);
    take_system(&w, json_get(r->base.body, "system"));
    size_t n_system = w.n;
    bool ok = true;
    for (size_t i = 0; i < json_count(list) && ok; i++) {
        struct openai_path at = openai_path("messages[%zu]", i);
        ok = take_message(&w, json_at(list, i), at.text, e);
    }
    end_turn(&w);
    buf_free(&w.content);
    buf_free(&w.reasoning);
    r->base.conversation.messages = w.messages;
    r->base.conversation.n_messages = w.n;
    if (ok && w.n == n_system)
        return openai_refuse(e, "messages", "'messages' is empty; at least one is needed.");
    return ok && check_end(&w, e);
}
