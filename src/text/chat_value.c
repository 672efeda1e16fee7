#include "text/chat_int.h"

#include <string.h>

/* Schemas come from the request: nesting and references are followed this far. */
enum { MAX_SCHEMA_DEPTH = 8 };

static unsigned type_of_name(str name)
{
    static const struct {
        const char *name;
        unsigned type;
    } names[] = {{"string", CHAT_STRING}, {"integer", CHAT_NUMBER}, {"number", CHAT_NUMBER},
                 {"boolean", CHAT_BOOL},  {"object", CHAT_OBJECT},  {"array", CHAT_ARRAY},
                 {"null", CHAT_NULL}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (str_eq(name, str_of(names[i].name)))
            return names[i].type;
    }
    return 0;
}

static unsigned type_of_json(const struct json *v)
{
    switch (json_type(v)) {
    case JSON_NULL: return CHAT_NULL;
    case JSON_BOOL: return CHAT_BOOL;
    case JSON_INT:
    case JSON_FLOAT: return CHAT_NUMBER;
    case JSON_STRING: return CHAT_STRING;
    case JSON_ARRAY: return CHAT_ARRAY;
    case JSON_OBJECT: return CHAT_OBJECT;
    }
    return 0;
}

/* "#/$defs/NAME" within root; NULL when there is no such place. */
static const struct json *resolve(const struct json *root, str ref)
{
    str rest = str_sub(ref, 2, SIZE_MAX);
    if (!str_starts(ref, STR("#/")))
        return NULL;
    while (root && rest.n) {
        char key[128];
        str step = str_cut(rest, '/', &rest);
        if (step.n >= sizeof key)
            return NULL;
        memcpy(key, step.p, step.n);
        key[step.n] = 0;
        root = json_get(root, key);
    }
    return root;
}

static unsigned types_of_schema(const struct json *root, const struct json *schema, int depth)
{
    static const char *const unions[] = {"anyOf", "oneOf", "allOf"};
    const struct json *type = json_get(schema, "type");
    unsigned types = type_of_name(json_str(type));
    if (depth == 0)
        return 0;
    for (size_t i = 0; i < json_count(type); i++)
        types |= type_of_name(json_str(json_at(type, i)));
    if (types)
        return types | (json_bool(json_get(schema, "nullable")) ? CHAT_NULL : 0);
    if (json_has(schema, "$ref"))
        return types_of_schema(root, resolve(root, json_str(json_get(schema, "$ref"))), depth - 1);
    for (size_t u = 0; u < sizeof unions / sizeof *unions; u++) {
        const struct json *list = json_get(schema, unions[u]);
        for (size_t i = 0; i < json_count(list); i++)
            types |= types_of_schema(root, json_at(list, i), depth - 1);
    }
    const struct json *values = json_get(schema, "enum");
    for (size_t i = 0; i < json_count(values) && json_type(values) == JSON_ARRAY; i++)
        types |= type_of_json(json_at(values, i));
    if (json_has(schema, "const"))
        types |= type_of_json(json_get(schema, "const"));
    if (json_has(schema, "properties"))
        types |= CHAT_OBJECT;
    return types | (json_has(schema, "items") ? CHAT_ARRAY : 0);
}

unsigned chat_types_of(const struct chat_tool *tool, const struct params *params,
                       const char *parameter)
{
    const struct json *schema;
    unsigned types = 0;
    for (size_t i = 0; tool && params_next(params, parameter, &i, &schema);)
        types |= types_of_schema(tool->parameters, schema, MAX_SCHEMA_DEPTH);
    return types;
}

/* Is s one JSON value and nothing else, flat enough to stand inside the arguments? */
static bool is_value(str s)
{
    if (s.n == 0 || chat_blank(s) || json_scan(s) != s.n)
        return false;
    struct buf inside = {0};
    buf_byte(&inside, '[');
    buf_str(&inside, s);
    buf_byte(&inside, ']');
    bool ok = json_scan(buf_view(&inside)) > 0;
    buf_free(&inside);
    return ok;
}

/* The type of a JSON text; 0 when s is none. */
static unsigned type_of_text(str s)
{
    if (!is_value(s))
        return 0;
    switch (s.p[0]) {
    case '{': return CHAT_OBJECT;
    case '[': return CHAT_ARRAY;
    case '"': return CHAT_STRING;
    case 't':
    case 'f': return CHAT_BOOL;
    case 'n': return CHAT_NULL;
    default: return CHAT_NUMBER;
    }
}

/* Templates print earlier arguments with Python's words, so models write them too. */
static str json_word(str s)
{
    if (str_eq(s, STR("True")))
        return STR("true");
    if (str_eq(s, STR("False")))
        return STR("false");
    return str_eq(s, STR("None")) ? STR("null") : s;
}

void chat_value_put(str value, unsigned types, struct buf *out)
{
    str text = types ? json_word(str_trim(value)) : value;
    unsigned found = types == CHAT_STRING ? 0 : type_of_text(text);
    unsigned taken = types;
    if (types == 0)
        taken = CHAT_OBJECT | CHAT_ARRAY | CHAT_NUMBER | CHAT_BOOL;
    else if (types & CHAT_STRING)
        taken = types & ~(unsigned)CHAT_STRING;
    else if (found)
        taken = found; /* not what was asked for, but the caller can say so better than we */
    if (found & taken)
        buf_str(out, text);
    else
        json_quote(value, out);
}
