/* anthropic: "tools", in the shape of chat completions' functions, and "tool_choice". */
#include "server/anthropic.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

static str shown(str s)
{
    return str_sub(s, 0, 40);
}

static void put_spec(const struct json *tool, struct buf *out)
{
    const struct json *description = json_get(tool, "description");
    const struct json *schema = json_get(tool, "input_schema");
    buf_str(out, STR("{\"name\":"));
    json_print(json_get(tool, "name"), JSON_COMPACT, out);
    if (description) {
        buf_str(out, STR(",\"description\":"));
        json_print(description, JSON_COMPACT, out);
    }
    if (schema) {
        buf_str(out, STR(",\"parameters\":"));
        json_print(schema, JSON_COMPACT, out);
    }
    buf_str(out, json_bool(json_get(tool, "strict")) ? STR(",\"strict\":true}") : STR("}"));
}

/* As Claude Code's ToolSearch describes it to the model, whose references these are. */
static str definition(struct anthropic_request *r, const struct json *tool)
{
    struct buf spec = {0};
    put_spec(tool, &spec);
    str text = arena_fmt(&r->base.arena, "<functions>\n<function>%.*s</function>\n</functions>",
                         STRF(buf_view(&spec)));
    buf_free(&spec);
    return text;
}

str anthropic_load_tool(struct anthropic_request *r, str name)
{
    enum { MOST = 4096 }; /* each is compared with each: 16 million, a second or two */
    const struct json *list = json_get(r->base.body, "tools");
    if (r->n_references++ >= MOST)
        return STR("");
    if (!r->loaded)
        r->loaded = arena_new(&r->base.arena, json_count(list) + 1, sizeof *r->loaded);
    for (size_t i = 0; i < json_count(list) && i < MOST; i++) {
        const struct json *tool = json_at(list, i);
        if (name.n == 0 || r->loaded[i] || !str_eq(json_str(json_get(tool, "name")), name))
            continue;
        r->loaded[i] = true;
        return definition(r, tool);
    }
    return STR("");
}

static bool is_ours(const struct json *tool)
{
    const struct json *type = json_get(tool, "type");
    return !type || str_eq(json_str(type), STR("custom"));
}

/* What Anthropic's servers would run (web_search_20250305, ...) is not offered: nobody here can. */
static void skip(struct anthropic_request *r, const struct json *tool)
{
    char *notice = r->base.notice;
    size_t at = strlen(notice), room = sizeof r->base.notice - at;
    snprintf(notice + at, room, "%stool of type '%.*s' is not offered to the model", at ? "; " : "",
             STRF(shown(json_str(json_get(tool, "type")))));
    r->n_skipped++;
}

/* deferred: those that a message tells of, else those that are told of before all messages. */
static bool collect(struct anthropic_request *r, bool deferred, struct buf *specs,
                    struct openai_error *e)
{
    static const struct openai_field table[] = {
        FIELD_NEEDED("name", TYPE_STRING, STORE_NOTHING, 0),
        FIELD_CHECKED("description", TYPE_STRING),
        FIELD_CHECKED("input_schema", TYPE_OBJECT),
        FIELD_CHECKED("strict", TYPE_BOOL),
        FIELD_CHECKED("defer_loading", TYPE_BOOL),
    };
    const struct json *list = json_get(r->base.body, "tools");
    for (size_t i = 0; i < json_count(list); i++) {
        const struct json *tool = json_at(list, i);
        struct openai_path at = openai_path("tools[%zu]", i);
        if (json_type(tool) != JSON_OBJECT)
            return openai_refuse(e, at.text, "'%s' must be an object.", at.text);
        if (json_bool(json_get(tool, "defer_loading")) != deferred)
            continue;
        if (!is_ours(tool)) {
            skip(r, tool);
            continue;
        }
        if (!openai_fields(tool, at.text, table, FIELD_COUNT(table), NULL, e))
            return false;
        if (deferred && !(r->loaded && r->loaded[i]))
            continue;
        if (specs->n > 1)
            buf_byte(specs, ',');
        put_spec(tool, specs);
        r->base.n_loaded += deferred;
    }
    return true;
}

bool anthropic_parse_tools(struct anthropic_request *r, struct openai_error *e)
{
    struct chat_request *c = &r->base.conversation;
    struct buf text = {0};
    struct err why;
    buf_byte(&text, '[');
    bool ok = collect(r, false, &text, e) && collect(r, true, &text, e);
    buf_byte(&text, ']');
    r->specs = ok ? json_parse(buf_view(&text), &why) : NULL;
    buf_free(&text);
    if (ok && !r->specs)
        return openai_refuse(e, "tools", "'tools' cannot be taken: %s", why.msg);
    size_t n = json_count(r->specs);
    struct chat_tool *tools = arena_new(&r->base.arena, n + 1, sizeof *tools);
    for (size_t i = 0; i < n; i++) {
        const struct json *spec = json_at(r->specs, i);
        tools[i] = (struct chat_tool){.name = json_str(json_get(spec, "name")),
                                      .spec = spec,
                                      .parameters = json_get(spec, "parameters")};
        r->base.n_strict += json_bool(json_get(spec, "strict"));
    }
    c->tools = tools;
    c->n_tools = n;
    return ok;
}

/* ---- tool_choice ---- */

/* One call of this tool. One that only Anthropic's servers have cannot be forced: the model says in
 * words what it can do instead. */
static bool choose_one(struct anthropic_request *r, str name, struct openai_error *e)
{
    const struct json *list = json_get(r->base.body, "tools");
    const struct chat_request *c = &r->base.conversation;
    for (size_t i = 0; i < c->n_tools; i++)
        if (str_eq(c->tools[i].name, name)) {
            r->base.calls = OPENAI_MUST_CALL;
            r->base.only_tool = &c->tools[i];
            return true;
        }
    for (size_t i = 0; i < json_count(list); i++)
        if (str_eq(json_str(json_get(json_at(list, i), "name")), name))
            return true;
    return openai_refuse(e, "tool_choice", "'tool_choice' names '%.*s', which is not in 'tools'.",
                         STRF(shown(name)));
}

static bool choose_any(struct anthropic_request *r, struct openai_error *e)
{
    if (r->base.conversation.n_tools == 0)
        return r->n_skipped > 0 ||
               openai_refuse(e, "tool_choice",
                             "'tool_choice' is of type 'any', and there are no tools to call.");
    r->base.calls = OPENAI_MUST_CALL;
    return true;
}

bool anthropic_parse_tool_choice(struct anthropic_request *r, struct openai_error *e)
{
    static const struct openai_field table[] = {
        FIELD_NEEDED("type", TYPE_STRING, STORE_NOTHING, 0),
        FIELD_CHECKED("name", TYPE_STRING),
        FIELD_STORED("disable_parallel_tool_use", TYPE_BOOL, STORE_BOOL,
                     offsetof(struct anthropic_request, base.one_call)),
    };
    const struct json *choice = json_get(r->base.body, "tool_choice");
    str type = json_str(json_get(choice, "type"));
    if (!choice)
        return true;
    if (!openai_fields(choice, "tool_choice", table, FIELD_COUNT(table), r, e))
        return false;
    if (str_eq(type, STR("tool")))
        return choose_one(r, json_str(json_get(choice, "name")), e);
    if (str_eq(type, STR("any")))
        return choose_any(r, e);
    if (str_eq(type, STR("none")))
        r->base.conversation.n_tools = 0;
    return str_eq(type, STR("auto")) || str_eq(type, STR("none")) ||
           openai_refuse(e, "tool_choice.type",
                         "'tool_choice.type' is '%.*s'; it must be auto, any, tool or none.",
                         STRF(shown(type)));
}
