/* openai: what shape a reply must have: "response_format", "grammar", "json_schema" and
 * "tool_choice". */
#include "server/openai.h"

#include <stddef.h>

#include "text/gbnf.h"

static str shown(str s)
{
    return str_sub(s, 0, 40);
}

/* ---- the content ---- */

/* {"type": "json_schema", "json_schema": {"schema": ..., "strict": ...}} */
static bool parse_json_schema(struct openai_request *r, const struct json *format,
                              struct openai_error *e)
{
    static const struct openai_field format_fields[] = {
        FIELD_NEEDED("json_schema", TYPE_OBJECT, STORE_NOTHING, 0),
    };
    static const struct openai_field schema_fields[] = {
        FIELD_CHECKED("name", TYPE_STRING),
        FIELD_NEEDED("schema", TYPE_OBJECT | TYPE_BOOL, STORE_NOTHING, 0),
        FIELD_CHECKED("strict", TYPE_BOOL),
    };
    const struct json *inner = json_get(format, "json_schema");
    if (!openai_fields(format, "response_format", format_fields, FIELD_COUNT(format_fields), NULL,
                       e) ||
        !openai_fields(inner, "response_format.json_schema", schema_fields,
                       FIELD_COUNT(schema_fields), NULL, e))
        return false;
    r->content = OPENAI_SCHEMA;
    r->schema = json_get(inner, "schema");
    r->schema_at = "response_format.json_schema.schema";
    return true;
}

static bool parse_response_format(struct openai_request *r, struct openai_error *e)
{
    static const struct openai_field table[] = {
        FIELD_NEEDED("type", TYPE_STRING, STORE_STR, 0),
        FIELD_CHECKED("schema", TYPE_OBJECT),
    };
    const struct json *format = json_get(r->body, "response_format");
    str type;
    if (!format)
        return true;
    if (!openai_fields(format, "response_format", table, FIELD_COUNT(table), &type, e))
        return false;
    if (str_eq(type, STR("json_schema")))
        return parse_json_schema(r, format, e);
    if (str_eq(type, STR("json_object"))) {
        r->schema = json_get(format, "schema"); /* llama-server's way to give one */
        r->schema_at = "response_format.schema";
        r->content = r->schema ? OPENAI_SCHEMA : OPENAI_OBJECT;
        return true;
    }
    return str_eq(type, STR("text")) ||
           openai_refuse(e, "response_format.type",
                         "'response_format.type' is '%.*s'; it must be text, json_object or "
                         "json_schema.",
                         STRF(shown(type)));
}

static bool parse_grammar(struct openai_request *r, struct openai_error *e)
{
    const struct json *grammar = json_get(r->body, "grammar");
    const struct json *schema = json_get(r->body, "json_schema");
    struct err why;
    if (json_str(grammar).n == 0 && !schema)
        return true;
    if (r->content != OPENAI_FREE || (schema && json_str(grammar).n))
        return openai_refuse(e, schema ? "json_schema" : "grammar",
                             "Only one of 'response_format', 'grammar' and 'json_schema' can shape "
                             "a reply.");
    if (schema) {
        r->content = OPENAI_SCHEMA;
        r->schema = schema;
        r->schema_at = "json_schema";
        return true;
    }
    struct grammar *g = grammar_new();
    bool ok = gbnf_compile(g, json_str(grammar), &why);
    grammar_free(g);
    r->content = OPENAI_GRAMMAR;
    r->grammar = json_str(grammar);
    return ok || openai_refuse(e, "grammar", "'grammar': %s", why.msg);
}

bool openai_parse_shape(struct openai_request *r, struct openai_error *e)
{
    static const struct openai_field table[] = {
        FIELD_CHECKED("grammar", TYPE_STRING),
        FIELD_CHECKED("json_schema", TYPE_OBJECT | TYPE_BOOL),
    };
    return openai_fields(r->body, "", table, FIELD_COUNT(table), NULL, e) &&
           (!r->chat || parse_response_format(r, e)) && parse_grammar(r, e);
}

/* ---- the calls ---- */

static bool parse_named_choice(struct openai_request *r, const struct json *choice,
                               struct openai_error *e)
{
    static const struct openai_field choice_fields[] = {
        FIELD_NEEDED("function", TYPE_OBJECT, STORE_NOTHING, 0),
    };
    static const struct openai_field function_fields[] = {
        FIELD_NEEDED("name", TYPE_STRING, STORE_STR, 0),
    };
    str name;
    if (!openai_fields(choice, "tool_choice", choice_fields, FIELD_COUNT(choice_fields), NULL, e) ||
        !openai_fields(json_get(choice, "function"), "tool_choice.function", function_fields,
                       FIELD_COUNT(function_fields), &name, e))
        return false;
    for (size_t i = 0; i < r->conversation.n_tools; i++)
        if (str_eq(r->conversation.tools[i].name, name)) {
            r->calls = OPENAI_MUST_CALL;
            r->only_tool = &r->conversation.tools[i];
            return true;
        }
    return openai_refuse(e, "tool_choice", "'tool_choice' names '%.*s', which is not in 'tools'.",
                         STRF(shown(name)));
}

bool openai_parse_tool_choice(struct openai_request *r, struct openai_error *e)
{
    const struct json *choice = json_get(r->body, "tool_choice");
    str name = json_str(choice);
    if (!choice || str_eq(name, STR("auto")))
        return true;
    if (json_type(choice) != JSON_STRING)
        return parse_named_choice(r, choice, e);
    if (str_eq(name, STR("none"))) {
        r->conversation.n_tools = 0;
        return true;
    }
    if (!str_eq(name, STR("required")))
        return openai_refuse(e, "tool_choice",
                             "'tool_choice' is '%.*s'; it must be none, auto, required or an "
                             "object that names a function.",
                             STRF(shown(name)));
    if (r->conversation.n_tools == 0)
        return openai_refuse(e, "tool_choice",
                             "'tool_choice' is 'required', and there are no tools to call.");
    r->calls = OPENAI_MUST_CALL;
    return true;
}
