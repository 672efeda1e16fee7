/* responses: tools. What the model is offered are functions in the shape of chat completions; the
 * table beside them says what a call of one is for the client. */
#include "server/responses.h"

#include <stddef.h>
#include <stdio.h>

#include "base/mem.h"

struct list {
    struct responses_request *r;
    struct responses_tool *tools;
    str *larks; /* of each its grammar, or empty */
    size_t n;
    struct buf specs;   /* function objects, joined with "," */
    struct buf skipped; /* types that are not offered */
};

static str shown(str s)
{
    return str_sub(s, 0, 40);
}

str responses_flat_name(struct arena *a, str space, str name)
{
    if (space.n == 0)
        return name;
    bool joined = str_ends(space, STR("__"));
    return arena_fmt(a, joined ? "%.*s%.*s" : "%.*s__%.*s", STRF(space), STRF(name));
}

/* ---- what the model sees ---- */

static void put_member(struct buf *out, const char *key, str text)
{
    buf_fmt(out, "\"%s\":", key);
    json_quote(text, out);
}

static void put_function(struct list *l, const struct json *tool, str flat, str description)
{
    const struct json *parameters = json_get(tool, "parameters");
    put_member(&l->specs, "name", flat);
    if (description.n) {
        buf_byte(&l->specs, ',');
        put_member(&l->specs, "description", description);
    }
    if (parameters) {
        buf_str(&l->specs, STR(",\"parameters\":"));
        json_print(parameters, JSON_COMPACT, &l->specs);
    }
    if (json_bool(json_get(tool, "strict")))
        buf_str(&l->specs, STR(",\"strict\":true"));
}

/* A custom tool takes text: a function with one string. What the text must be is said where the
 * model reads it, and holds it while it is written: a regular expression as the string's pattern, a
 * Lark grammar beside the schema (lark_of). */
static void put_custom(struct list *l, const struct json *tool, str flat, str description)
{
    const struct json *format = json_get(tool, "format");
    str syntax = json_str(json_get(format, "syntax"));
    str definition = json_str(json_get(format, "definition"));
    struct buf text = {0};
    buf_str(&text, description);
    if (definition.n) {
        buf_fmt(&text, "%sThe input follows this grammar (%.*s):\n", text.n ? "\n\n" : "",
                STRF(shown(syntax)));
        buf_str(&text, definition);
    }
    put_member(&l->specs, "name", flat);
    buf_byte(&l->specs, ',');
    put_member(&l->specs, "description", buf_view(&text));
    buf_str(&l->specs, STR(",\"parameters\":{\"type\":\"object\",\"properties\":{\"input\":{"
                           "\"type\":\"string\""));
    if (definition.n && str_eq(syntax, STR("regex"))) {
        buf_clear(&text);
        buf_str(&text, STR("^(?:"));
        buf_str(&text, definition);
        buf_str(&text, STR(")$"));
        buf_byte(&l->specs, ',');
        put_member(&l->specs, "pattern", buf_view(&text));
    }
    buf_str(&l->specs, STR("}},\"required\":[\"input\"],\"additionalProperties\":false}"));
    buf_free(&text);
}

static str lark_of(const struct json *tool)
{
    const struct json *format = json_get(tool, "format");
    const bool is_lark = str_eq(json_str(json_get(format, "syntax")), STR("lark"));
    return is_lark ? json_str(json_get(format, "definition")) : STR("");
}

/* ---- the list ---- */

static void skip(struct list *l, str type)
{
    if (l->skipped.n < 100)
        buf_fmt(&l->skipped, "%s%.*s", l->skipped.n ? ", " : "", STRF(shown(type)));
}

static bool is_there(const struct list *l, str flat)
{
    for (size_t i = 0; i < l->n; i++)
        if (str_eq(l->tools[i].flat, flat))
            return true;
    return false;
}

/* A function or custom tool. about: of the namespace, before the description of its first tool. */
static bool add_tool(struct list *l, const struct json *tool, const char *where, str space,
                     str about, struct openai_error *e)
{
    static const struct openai_field table[] = {
        FIELD_NEEDED("name", TYPE_STRING, STORE_NOTHING, 0),
        FIELD_CHECKED("description", TYPE_STRING),
        FIELD_CHECKED("parameters", TYPE_OBJECT),
        FIELD_CHECKED("strict", TYPE_BOOL),
        FIELD_CHECKED("format", TYPE_OBJECT),
    };
    struct arena *a = &l->r->base.arena;
    if (!openai_fields(tool, where, table, FIELD_COUNT(table), NULL, e))
        return false;
    str name = json_str(json_get(tool, "name"));
    str description = json_str(json_get(tool, "description"));
    bool custom = str_eq(json_str(json_get(tool, "type")), STR("custom"));
    str flat = responses_flat_name(a, space, name);
    if (is_there(l, flat))
        return true; /* said again, by an item of the conversation */
    if (l->n == RESPONSES_MAX_TOOLS)
        return openai_refuse(e, where, "'%s' is one too many: the limit is %d tools.", where,
                             RESPONSES_MAX_TOOLS);
    if (about.n)
        description =
            arena_fmt(a, "%.*s: %.*s\n\n%.*s", STRF(space), STRF(about), STRF(description));
    buf_str(&l->specs, l->n ? STR(",{") : STR("{"));
    (custom ? put_custom : put_function)(l, tool, flat, description);
    buf_byte(&l->specs, '}');
    l->larks[l->n] = custom ? lark_of(tool) : STR("");
    l->tools[l->n++] = (struct responses_tool){flat, name, space, custom};
    return true;
}

static bool add_tools(struct list *l, const struct json *tools, const char *where, str space,
                      str about, struct openai_error *e)
{
    for (size_t i = 0; i < json_count(tools); i++) {
        const struct json *tool = json_at(tools, i);
        struct openai_path at = openai_path("%s[%zu]", where, i);
        str type = json_str(json_get(tool, "type"));
        if (json_type(tool) != JSON_OBJECT)
            return openai_refuse(e, at.text, "'%s' must be an object.", at.text);
        if (str_eq(type, STR("namespace")) && space.n == 0) {
            struct openai_path inner = openai_path("%s.tools", at.text);
            if (!add_tools(l, json_get(tool, "tools"), inner.text, json_str(json_get(tool, "name")),
                           json_str(json_get(tool, "description")), e))
                return false;
        } else if (str_eq(type, STR("function")) || str_eq(type, STR("custom"))) {
            if (!add_tool(l, tool, at.text, space, i == 0 ? about : STR(""), e))
                return false;
        } else {
            skip(l, type);
        }
    }
    return true;
}

/* ---- the request ---- */

static bool collect(struct list *l, const struct json *items, struct openai_error *e)
{
    if (!add_tools(l, json_get(l->r->base.body, "tools"), "tools", STR(""), STR(""), e))
        return false;
    for (size_t i = 0; i < json_count(items); i++) {
        const struct json *item = json_at(items, i);
        str type = json_str(json_get(item, "type"));
        struct openai_path at = openai_path("input[%zu].tools", i);
        if ((str_eq(type, STR("additional_tools")) || str_eq(type, STR("tool_search_output"))) &&
            !add_tools(l, json_get(item, "tools"), at.text, STR(""), STR(""), e))
            return false;
    }
    return true;
}

static bool take_specs(struct list *l, struct openai_error *e)
{
    struct openai_request *q = &l->r->base;
    struct chat_tool *tools = arena_new(&q->arena, l->n + 1, sizeof *tools);
    struct buf text = {0};
    struct err why;
    buf_byte(&text, '[');
    buf_str(&text, buf_view(&l->specs));
    buf_byte(&text, ']');
    struct json *specs = json_parse(buf_view(&text), &why);
    buf_free(&text);
    l->r->trees[1] = specs;
    if (!specs)
        return openai_refuse(e, "tools", "'tools' cannot be taken: %s", why.msg);
    for (size_t i = 0; i < l->n; i++) {
        const struct json *spec = json_at(specs, i);
        tools[i] = (struct chat_tool){.name = l->tools[i].flat,
                                      .spec = spec,
                                      .parameters = json_get(spec, "parameters"),
                                      .lark = l->larks[i]};
        q->n_strict += json_bool(json_get(spec, "strict"));
    }
    q->conversation.tools = tools;
    q->conversation.n_tools = l->n;
    l->r->tools = l->tools;
    l->r->n_tools = l->n;
    return true;
}

bool responses_parse_tools(struct responses_request *r, const struct json *items,
                           struct openai_error *e)
{
    struct list l = {.r = r};
    l.tools = arena_new(&r->base.arena, RESPONSES_MAX_TOOLS, sizeof *l.tools);
    l.larks = arena_new(&r->base.arena, RESPONSES_MAX_TOOLS, sizeof *l.larks);
    bool ok = collect(&l, items, e) && take_specs(&l, e);
    if (ok && l.skipped.n)
        snprintf(r->base.notice, sizeof r->base.notice,
                 "not offered to the model, tools of type %.*s", STRF(buf_view(&l.skipped)));
    buf_free(&l.specs);
    buf_free(&l.skipped);
    return ok;
}

/* ---- tool_choice ---- */

static const struct chat_tool *find_tool(const struct responses_request *r,
                                         const struct json *choice)
{
    str name = json_str(json_get(choice, "name"));
    str space = json_str(json_get(choice, "namespace"));
    for (size_t i = 0; i < r->n_tools; i++) {
        const struct responses_tool *t = &r->tools[i];
        if (str_eq(t->flat, name) || (str_eq(t->name, name) && str_eq(t->space, space)))
            return &r->base.conversation.tools[i];
    }
    return NULL;
}

static bool choose_one(struct responses_request *r, const struct json *choice,
                       struct openai_error *e)
{
    const struct chat_tool *tool = find_tool(r, choice);
    if (!tool)
        return openai_refuse(e, "tool_choice",
                             "'tool_choice' names '%.*s', which is not in 'tools'.",
                             STRF(shown(json_str(json_get(choice, "name")))));
    r->base.calls = OPENAI_MUST_CALL;
    r->base.only_tool = tool;
    return true;
}

/* {"type": "allowed_tools", "mode": ..., "tools": [...]}: the others are not offered. Those that
 * are stay in the order of the request's own list, each once. */
static bool choose_some(struct responses_request *r, const struct json *choice,
                        struct openai_error *e)
{
    struct chat_request *c = &r->base.conversation;
    const struct json *list = json_get(choice, "tools");
    struct chat_tool *tools = arena_new(&r->base.arena, r->n_tools + 1, sizeof *tools);
    bool *chosen = arena_new(&r->base.arena, r->n_tools + 1, sizeof *chosen);
    size_t n = 0;
    if (json_count(list) > RESPONSES_MAX_TOOLS)
        return openai_refuse(e, "tool_choice.tools", "'tool_choice.tools' has more than %d tools.",
                             RESPONSES_MAX_TOOLS);
    for (size_t i = 0; i < json_count(list); i++) {
        const struct chat_tool *tool = find_tool(r, json_at(list, i));
        if (tool)
            chosen[tool - c->tools] = true;
    }
    for (size_t i = 0; i < r->n_tools; i++)
        if (chosen[i])
            tools[n++] = c->tools[i];
    c->tools = tools;
    c->n_tools = n;
    if (str_eq(json_str(json_get(choice, "mode")), STR("required")) && n)
        r->base.calls = OPENAI_MUST_CALL;
    return true;
}

bool responses_parse_tool_choice(struct responses_request *r, struct openai_error *e)
{
    const struct json *choice = json_get(r->base.body, "tool_choice");
    str type = json_str(json_get(choice, "type"));
    if (json_type(choice) != JSON_OBJECT)
        return openai_parse_tool_choice(&r->base, e);
    if (str_eq(type, STR("function")) || str_eq(type, STR("custom")))
        return choose_one(r, choice, e);
    if (str_eq(type, STR("allowed_tools")))
        return choose_some(r, choice, e);
    return openai_refuse(e, "tool_choice",
                         "'tool_choice' is of type '%.*s'; it must be none, auto, required, or an "
                         "object of type function, custom or allowed_tools.",
                         STRF(shown(type)));
}
