/* responses: the items of "input" as messages. */
#include "server/responses.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "server/opaque.h"

/* Walks the items. The assistant's items that follow each other are one message. */
struct walk {
    struct responses_request *r;
    struct chat_message *messages;
    size_t n;
    struct chat_call *calls; /* of all messages, in order */
    size_t n_calls;
    bool open;                     /* the last message is the assistant's and takes more items */
    str reasoning_of;              /* tag of the reply whose reasoning it has */
    struct buf content, reasoning; /* of the open message */
    size_t n_skipped;
    str skipped; /* type of the first item that was left out */
};

static str shown(str s)
{
    return str_sub(s, 0, 40);
}

/* ---- texts ---- */

/* A part of a content. Agents show their models pictures that cannot be taken back: a note stands
 * where they were. */
static str part_text(struct walk *w, const struct json *part)
{
    static const char *const texts[] = {"input_text",     "output_text",  "text",
                                        "reasoning_text", "summary_text", "refusal"};
    str type = json_str(json_get(part, "type"));
    for (size_t i = 0; i < FIELD_COUNT(texts); i++)
        if (str_eq(type, str_of(texts[i])))
            return json_str(json_get(part, i == 5 ? "refusal" : "text"));
    return arena_fmt(&w->r->base.arena, "[%.*s: not shown, this model reads text only]",
                     STRF(shown(type)));
}

static bool take_content(struct walk *w, const struct json *content, const char *where,
                         struct chat_message *out, struct openai_error *e)
{
    size_t n = json_count(content);
    if (json_type(content) == JSON_STRING) {
        out->content = json_str(content);
        return true;
    }
    if (json_type(content) != JSON_ARRAY)
        return openai_refuse(e, where, "'%s' must be a string or an array of parts.", where);
    str *parts = arena_new(&w->r->base.arena, n + 1, sizeof *parts);
    for (size_t i = 0; i < n; i++) {
        if (json_type(json_at(content, i)) != JSON_OBJECT)
            return openai_refuse(e, where, "'%s[%zu]' must be an object.", where, i);
        parts[i] = part_text(w, json_at(content, i));
    }
    chat_set_parts(out, parts, n);
    return true;
}

/* ---- the assistant's items ---- */

static struct chat_message *assistant(struct walk *w)
{
    if (!w->open) {
        w->messages[w->n++] = (struct chat_message){.role = CHAT_ASSISTANT};
        w->open = true;
        w->reasoning_of = STR("");
    }
    return &w->messages[w->n - 1];
}

static void end_turn(struct walk *w)
{
    if (!w->open)
        return;
    struct chat_message *m = &w->messages[w->n - 1];
    m->content = arena_str(&w->r->base.arena, buf_view(&w->content));
    m->reasoning = arena_str(&w->r->base.arena, buf_view(&w->reasoning));
    buf_clear(&w->content);
    buf_clear(&w->reasoning);
    w->open = false;
}

/* Reasoning begins a turn, unless it is more of the reply that the turn is from. What others made
 * opaque cannot be read: there its text may stand beside it. */
static void take_reasoning(struct walk *w, const struct json *item)
{
    str tag = STR(""), text = STR("");
    const struct json *content = json_get(item, "content");
    bool ours =
        opaque_get(json_str(json_get(item, "encrypted_content")), &w->r->base.arena, &tag, &text);
    if (!ours || !str_eq(tag, w->reasoning_of))
        end_turn(w);
    assistant(w);
    w->reasoning_of = tag;
    buf_str(&w->reasoning, text);
    for (size_t i = 0; !ours && json_type(content) == JSON_ARRAY && i < json_count(content); i++)
        buf_str(&w->reasoning, json_str(json_get(json_at(content, i), "text")));
}

static void put_call(struct walk *w, str id, str name, str arguments)
{
    struct chat_message *m = assistant(w);
    if (m->n_calls == 0)
        m->calls = &w->calls[w->n_calls];
    w->calls[w->n_calls++] = (struct chat_call){id, name, arguments};
    m->n_calls++;
}

struct call_fields {
    str id, name, space, arguments;
};

static bool take_function_call(struct walk *w, const struct json *item, const char *where,
                               struct openai_error *e)
{
    static const struct openai_field table[] = {
        FIELD_NEEDED("call_id", TYPE_STRING, STORE_STR, offsetof(struct call_fields, id)),
        FIELD_NEEDED("name", TYPE_STRING, STORE_STR, offsetof(struct call_fields, name)),
        FIELD_STORED("namespace", TYPE_STRING, STORE_STR, offsetof(struct call_fields, space)),
        FIELD_STORED("arguments", TYPE_STRING, STORE_STR, offsetof(struct call_fields, arguments)),
    };
    struct call_fields f = {.arguments = STR("{}")};
    if (!openai_fields(item, where, table, FIELD_COUNT(table), &f, e))
        return false;
    put_call(w, f.id, responses_flat_name(&w->r->base.arena, f.space, f.name), f.arguments);
    return true;
}

static bool take_custom_call(struct walk *w, const struct json *item, const char *where,
                             struct openai_error *e)
{
    static const struct openai_field table[] = {
        FIELD_NEEDED("call_id", TYPE_STRING, STORE_STR, offsetof(struct call_fields, id)),
        FIELD_NEEDED("name", TYPE_STRING, STORE_STR, offsetof(struct call_fields, name)),
        FIELD_STORED("namespace", TYPE_STRING, STORE_STR, offsetof(struct call_fields, space)),
        FIELD_NEEDED("input", TYPE_STRING, STORE_STR, offsetof(struct call_fields, arguments)),
    };
    struct arena *a = &w->r->base.arena;
    struct call_fields f = {0};
    struct buf arguments = {0};
    if (!openai_fields(item, where, table, FIELD_COUNT(table), &f, e))
        return false;
    buf_str(&arguments, STR("{\"input\":"));
    json_quote(f.arguments, &arguments);
    buf_byte(&arguments, '}');
    put_call(w, f.id, responses_flat_name(a, f.space, f.name), arena_str(a, buf_view(&arguments)));
    buf_free(&arguments);
    return true;
}

/* A shell of OpenAI's own that an older client has run. */
static bool take_shell_call(struct walk *w, const struct json *item, const char *where,
                            struct openai_error *e)
{
    static const struct openai_field table[] = {
        FIELD_STORED("call_id", TYPE_STRING, STORE_STR, offsetof(struct call_fields, id)),
        FIELD_NEEDED("action", TYPE_OBJECT, STORE_NOTHING, 0),
    };
    struct call_fields f = {0};
    struct buf action = {0};
    if (!openai_fields(item, where, table, FIELD_COUNT(table), &f, e))
        return false;
    json_print(json_get(item, "action"), JSON_COMPACT, &action);
    put_call(w, f.id, STR("local_shell"), arena_str(&w->r->base.arena, buf_view(&action)));
    buf_free(&action);
    return true;
}

/* ---- the others ---- */

/* "output": a string, parts, or (of older clients) {"content": ..., "success": ...}. */
static bool take_output(struct walk *w, const struct json *item, const char *where,
                        struct openai_error *e)
{
    static const struct openai_field table[] = {
        FIELD_STORED("call_id", TYPE_STRING, STORE_STR, offsetof(struct chat_message, call_id)),
        FIELD_CHECKED("output", TYPE_STRING | TYPE_ARRAY | TYPE_OBJECT),
    };
    struct chat_message m = {.role = CHAT_TOOL};
    const struct json *output = json_get(item, "output");
    struct openai_path at = openai_path("%s.output", where);
    if (!openai_fields(item, where, table, FIELD_COUNT(table), &m, e))
        return false;
    if (json_type(output) == JSON_OBJECT) {
        m.failed = json_get(output, "success") && !json_bool(json_get(output, "success"));
        output = json_get(output, "content");
    }
    if (output && !take_content(w, output, at.text, &m, e))
        return false;
    end_turn(w);
    w->messages[w->n++] = m;
    return true;
}

static bool role_of(str name, enum chat_role *out)
{
    if (str_eq(name, STR("system")) || str_eq(name, STR("developer")))
        *out = CHAT_SYSTEM;
    else if (str_eq(name, STR("user")))
        *out = CHAT_USER;
    else if (str_eq(name, STR("assistant")))
        *out = CHAT_ASSISTANT;
    else
        return false;
    return true;
}

/* What the assistant said after its calls belongs to the turn that they are in; otherwise each of
 * its messages is a turn, with the reasoning before it. */
static void take_said(struct walk *w, const struct chat_message *said)
{
    if (w->content.n && !w->messages[w->n - 1].n_calls)
        end_turn(w);
    assistant(w);
    buf_str(&w->content, said->content);
    for (size_t i = 0; i < said->n_parts; i++)
        buf_str(&w->content, said->parts[i]);
}

static bool take_message(struct walk *w, const struct json *item, const char *where,
                         struct openai_error *e)
{
    static const struct openai_field table[] = {
        FIELD_NEEDED("role", TYPE_STRING, STORE_NOTHING, 0),
        FIELD_NEEDED("content", TYPE_STRING | TYPE_ARRAY, STORE_NOTHING, 0),
    };
    struct chat_message m = {0};
    str role = json_str(json_get(item, "role"));
    struct openai_path at = openai_path("%s.role", where);
    if (!openai_fields(item, where, table, FIELD_COUNT(table), NULL, e))
        return false;
    if (!role_of(role, &m.role))
        return openai_refuse(e, at.text,
                             "'%s' is '%.*s'; it must be system, developer, user or assistant.",
                             at.text, STRF(shown(role)));
    at = openai_path("%s.content", where);
    if (!take_content(w, json_get(item, "content"), at.text, &m, e))
        return false;
    if (m.role == CHAT_ASSISTANT) {
        take_said(w, &m);
        return true;
    }
    end_turn(w);
    w->messages[w->n++] = m;
    return true;
}

/* ---- all ---- */

typedef bool take_item(struct walk *w, const struct json *item, const char *where,
                       struct openai_error *e);

static const struct {
    const char *type;
    take_item *take;
} kinds[] = {
    {"message", take_message},
    {"function_call", take_function_call},
    {"custom_tool_call", take_custom_call},
    {"local_shell_call", take_shell_call},
    {"function_call_output", take_output},
    {"custom_tool_call_output", take_output},
    {"local_shell_call_output", take_output},
};

static bool take(struct walk *w, const struct json *item, const char *where, struct openai_error *e)
{
    str type = json_has(item, "type") ? json_str(json_get(item, "type")) : STR("message");
    if (json_type(item) != JSON_OBJECT)
        return openai_refuse(e, where, "'%s' must be an object.", where);
    for (size_t i = 0; i < FIELD_COUNT(kinds); i++)
        if (str_eq(type, str_of(kinds[i].type)))
            return kinds[i].take(w, item, where, e);
    if (str_eq(type, STR("reasoning")))
        take_reasoning(w, item);
    else if (!str_eq(type, STR("additional_tools")) && w->n_skipped++ == 0)
        w->skipped = shown(type); /* of a newer client: no reason to refuse all */
    return true;
}

bool responses_parse_input(struct responses_request *r, const struct json *items,
                           struct openai_error *e)
{
    struct openai_request *q = &r->base;
    size_t n = json_count(items);
    struct walk w = {.r = r};
    str instructions = json_str(json_get(q->body, "instructions"));
    w.messages = arena_new(&q->arena, n + 1, sizeof *w.messages);
    w.calls = arena_new(&q->arena, n + 1, sizeof *w.calls);
    if (instructions.n)
        w.messages[w.n++] = (struct chat_message){.role = CHAT_SYSTEM, .content = instructions};
    bool ok = true;
    for (size_t i = 0; i < n && ok; i++) {
        struct openai_path at = openai_path("input[%zu]", i);
        ok = take(&w, json_at(items, i), at.text, e);
    }
    end_turn(&w);
    buf_free(&w.content);
    buf_free(&w.reasoning);
    if (!ok)
        return false;
    if (w.n == 0)
        return openai_refuse(e, "input", "'input' has no message.");
    if (w.n_skipped) {
        size_t at = strlen(q->notice);
        snprintf(q->notice + at, sizeof q->notice - at,
                 "%sleft out, %zu items of kinds that are not known, the first a '%.*s'",
                 at ? "; " : "", w.n_skipped, STRF(w.skipped));
    }
    q->conversation.messages = w.messages;
    q->conversation.n_messages = w.n;
    return true;
}
