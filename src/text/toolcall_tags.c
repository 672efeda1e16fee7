/* toolcall: calls made of tags. A string is raw text up to its closing tag, and the parser finds
 * that by what follows it (chat_tags.c): so a value may hold anything but a closing tag that is
 * followed like one, and the tag of a parameter. Other values are JSON, with the same limit in
 * their strings. */
#include <stdio.h>
#include <string.h>

#include "text/chat_int.h"
#include "text/toolcall_int.h"

enum { MAX_NAMES = 128, MAX_NAME = 64 };

static const str open_parameter = STR("<parameter="), open_key = STR("<arg_key>");

static void keep_apart(struct toolcall *t, const char *tag, const char *follower)
{
    str *parts = arena_new(&t->arena, 2, sizeof *parts);
    parts[0] = str_of(tag);
    parts[1] = str_of(follower);
    t->apart[t->n_apart++] =
        (struct grammar_pattern){.parts = parts, .n_parts = 2, .then = GRAMMAR_NEVER};
}

/* The tag that would begin a parameter of some tool. */
static void keep_name_apart(struct toolcall *t, str name)
{
    bool is_xml = t->p->format == CHAT_QWEN_XML;
    for (size_t i = 0; i < name.n; i++)
        if ((signed char)name.p[i] <= 0)
            return;
    for (size_t i = 0; i < t->n_apart; i++)
        if (t->apart[i].n_parts == 1 &&
            str_eq(str_sub(t->apart[i].parts[0], is_xml ? open_parameter.n : open_key.n,
                           t->apart[i].parts[0].n - (is_xml ? 1 : 10)),
                   name))
            return;
    str *part = arena_new(&t->arena, 1, sizeof *part);
    *part = is_xml ? arena_fmt(&t->arena, "<parameter=%.*s>", STRF(name))
                   : arena_fmt(&t->arena, "<arg_key>%.*s</arg_key>", STRF(name));
    t->apart[t->n_apart++] = (struct grammar_pattern){
        .parts = part, .n_parts = 1, .line_start = is_xml, .then = GRAMMAR_NEVER};
}

static void keep_names_apart(struct toolcall *t, const struct params_shape *shape)
{
    for (size_t k = 0; k < shape->n; k++) {
        struct json_iter it = {0};
        struct json *schema;
        str name;
        while (json_next(json_get(shape->part[k], "properties"), &it, &name, &schema))
            if (name.n <= MAX_NAME && t->n_apart < MAX_NAMES)
                keep_name_apart(t, name);
    }
}

void toolcall_open_tags(struct toolcall *t)
{
    static const char *const xml[][2] = {
        {"</parameter>", "<parameter="},  {"</parameter>", "</function>"},
        {"</parameter>", "</tool_call>"}, {"</parameter>", "<tool_call>"},
        {"</function>", "</tool_call>"},  {"</function>", "<tool_call>"},
        {"</function>", "<function="},    {"</tool_call>", "<tool_call>"}};
    static const char *const glm[][2] = {{"</arg_value>", "<arg_key>"},
                                         {"</arg_value>", "</tool_call>"},
                                         {"</arg_value>", "<tool_call>"},
                                         {"</tool_call>", "<tool_call>"}};
    bool is_xml = t->p->format == CHAT_QWEN_XML;
    size_t n = is_xml ? sizeof xml / sizeof *xml : sizeof glm / sizeof *glm;
    t->raw = GRAMMAR_NEVER;
    t->apart = arena_new(&t->arena, MAX_NAMES + 8, sizeof *t->apart);
    for (size_t i = 0; i < n; i++)
        keep_apart(t, is_xml ? xml[i][0] : glm[i][0], is_xml ? xml[i][1] : glm[i][1]);
    for (size_t i = 0; i < t->p->n_tools; i++) {
        struct params params;
        params_read(t->p->tools[i].parameters, &params);
        for (size_t k = 0; k < params.n; k++)
            keep_names_apart(t, &params.shapes[k]);
    }
}

static const char *value_end(const struct toolcall *t)
{
    return t->p->format == CHAT_QWEN_XML ? "\n</parameter>\n" : "</arg_value>";
}

/* A string without limits and its end: one rule, so that all values share their masks. */
static uint32_t raw_and_end(struct toolcall *t)
{
    struct grammar *g = t->g;
    if (t->raw == GRAMMAR_NEVER) {
        uint32_t any = grammar_scan(
            g, &(struct grammar_scan){.patterns = t->apart, .n = t->n_apart, .may_end = true});
        t->raw = grammar_rule(g);
        grammar_define(g, t->raw, grammar_seq2(g, any, grammar_bytes(g, str_of(value_end(t)))));
    }
    return grammar_call(g, t->raw);
}

/* Nothing but its type limits the value. */
static bool is_plain(const struct params_shape *all)
{
    static const char *const limits[] = {"enum", "const", "allOf", "anyOf", "oneOf", "not", "$ref"};
    bool is_typed = false;
    for (size_t k = 0; k < all->n; k++) {
        for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
            if (json_has(all->part[k], limits[i]))
                return false;
        is_typed = is_typed || json_get(all->part[k], "type");
    }
    return is_typed;
}

/* Qwen's template prints earlier booleans and nulls with Python's words, so its models write them
 * too, and the parser (chat_value.c) takes them for what they are. */
static uint32_t python_words(struct toolcall *t, unsigned types, uint32_t alts[3])
{
    uint32_t n = 0;
    if (types & CHAT_BOOL) {
        alts[n++] = grammar_bytes(t->g, STR("True"));
        alts[n++] = grammar_bytes(t->g, STR("False"));
    }
    if (types & CHAT_NULL)
        alts[n++] = grammar_bytes(t->g, STR("None"));
    return n;
}

/* A parameter's value and what ends it. types: for the parser, who does not know the shape. */
static uint32_t value(struct toolcall *t, const struct chat_tool *tool, str name, unsigned types,
                      const struct params_shape *all)
{
    struct grammar *g = t->g;
    uint32_t alts[2], words[4], text, n = 0, n_words = 0;
    char path[128];
    snprintf(path, sizeof path, "%.*s.%.*s", STRF(str_sub(tool->name, 0, 60)),
             STRF(str_sub(name, 0, 60)));
    if (types == 0)
        return raw_and_end(t); /* whatever it is, it is valid */
    uint32_t end = grammar_bytes(g, str_of(value_end(t)));
    if (types == CHAT_STRING && str_eq(name, toolcall_parameter(tool)) &&
        toolcall_freeform(t, tool, TEXT_RAW, &text))
        return grammar_seq2(g, text, end);
    if (types & CHAT_STRING)
        alts[n++] = schema_builder_raw(t->schemas, tool->parameters, all->part, all->n,
                                       &(struct text_ends){raw_and_end(t), end}, path);
    if (types != CHAT_STRING) {
        if (t->p->format == CHAT_QWEN_XML && is_plain(all))
            n_words = python_words(t, types, words);
        words[n_words++] =
            schema_builder_not_string(t->schemas, tool->parameters, all->part, all->n, path);
        alts[n++] = grammar_seq2(g, grammar_alt(g, words, n_words), end);
    }
    return grammar_alt(g, alts, n);
}

/* The tags before a value; name: a node. */
static uint32_t value_head(struct toolcall *t, uint32_t name)
{
    struct grammar *g = t->g;
    if (t->p->format == CHAT_QWEN_XML) {
        uint32_t parts[] = {grammar_bytes(g, open_parameter), name, grammar_bytes(g, STR(">\n"))};
        return grammar_seq(g, parts, 3);
    }
    uint32_t parts[] = {grammar_bytes(g, open_key), name, grammar_bytes(g, STR("</arg_key>")),
                        toolcall_maybe(t, "\n"), grammar_bytes(g, STR("<arg_value>"))};
    return grammar_seq(g, parts, 5);
}

/* One way to call a tool, and the parameters that stand in it. */
struct member_list {
    const struct chat_tool *tool;
    const struct params *params;
    const struct params_shape *shape;
    struct grammar_member members[GRAMMAR_MAX_MEMBERS];
    str names[GRAMMAR_MAX_MEMBERS];
    size_t n;
};

/* What the parts say of a parameter. False: they allow none. */
static bool schemas_of(const struct params_shape *shape, str name, struct params_shape *out)
{
    bool ok = true;
    out->n = 0;
    for (size_t i = 0; i < shape->n; i++) {
        const struct json *named = json_get(shape->part[i], "properties");
        bool is_named = json_has(named, name.p);
        const struct json *schema =
            json_get(is_named ? named : shape->part[i], is_named ? name.p : "additionalProperties");
        ok = ok && !schema_is_false(schema);
        if (schema)
            out->part[out->n++] = schema;
    }
    return ok;
}

static void put_member(struct toolcall *t, struct member_list *l, str name, bool required)
{
    struct params_shape schemas;
    if (l->n == GRAMMAR_MAX_MEMBERS) /* the model has enough to choose from */
        return;
    for (size_t i = 0; i < l->n; i++)
        if (str_eq(l->names[i], name))
            return;
    bool may_come = schemas_of(l->shape, name, &schemas);
    if (!may_come && !required)
        return;
    l->names[l->n] = name;
    const struct params one = {.shapes = {*l->shape}, .n = 1};
    unsigned types = chat_types_of(l->tool, l->params, name.p);
    unsigned own = chat_types_of(l->tool, &one, name.p);
    if ((own & CHAT_STRING) && (types & ~own)) /* the parser takes what looks like JSON for it */
        schema_builder_relaxed(t->schemas, name.p, "a string that has other types elsewhere");
    uint32_t node = may_come ? value(t, l->tool, name, types, &schemas) : grammar_nothing(t->g);
    l->members[l->n++] = (struct grammar_member){
        grammar_seq2(t->g, value_head(t, grammar_bytes(t->g, name)), node), required, false};
}

/* Any names and texts, for a tool that does not say what it takes. */
static void put_others(struct toolcall *t, struct member_list *l)
{
    static const struct code_range name[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
    uint32_t one = grammar_chars(t->g, name, 4);
    uint32_t head = value_head(t, grammar_repeat(t->g, one, 1, 40));
    l->members[l->n++] =
        (struct grammar_member){grammar_seq2(t->g, head, raw_and_end(t)), false, true};
}

/* Parameters stand in tags of their own: what else a schema says of them together is not held. */
static void note_relaxed(struct toolcall *t, const struct chat_tool *tool, const struct params *p)
{
    static const char *const relaxed[] = {"not",           "if",
                                          "minProperties", "maxProperties",
                                          "propertyNames", "patternProperties",
                                          "dependencies",  "dependentRequired",
                                          "$dynamicRef",   "dependentSchemas",
                                          "$recursiveRef", "unevaluatedProperties"};
    char name[96];
    snprintf(name, sizeof name, "%.*s", STRF(str_sub(tool->name, 0, 90)));
    for (size_t k = 0; k < p->n; k++)
        for (size_t i = 0; i < sizeof relaxed / sizeof *relaxed; i++)
            for (size_t j = 0; j < p->shapes[k].n; j++)
                if (json_has(p->shapes[k].part[j], relaxed[i]))
                    schema_builder_relaxed(t->schemas, name, relaxed[i]);
    if (p->overlaps)
        schema_builder_relaxed(t->schemas, name, "oneOf (as anyOf)");
    if (p->elsewhere)
        schema_builder_relaxed(t->schemas, name, "$ref to elsewhere");
    if (p->too_many)
        schema_builder_relaxed(t->schemas, name, "very many branches");
}

static uint32_t parameter_list(struct toolcall *t, struct member_list *l, uint32_t separator)
{
    const struct params_shape *s = l->shape;
    bool is_closed = false, names_some = false;
    for (size_t i = 0; i < s->n; i++) {
        const struct json *names = json_get(s->part[i], "required");
        for (size_t k = 0; json_type(names) == JSON_ARRAY && k < json_count(names); k++)
            put_member(t, l, json_str(json_at(names, k)), true);
        is_closed = is_closed || schema_is_false(json_get(s->part[i], "additionalProperties"));
        names_some = names_some || json_has(s->part[i], "properties");
    }
    for (size_t i = 0; i < s->n; i++) {
        struct json_iter it = {0};
        struct json *schema;
        str name;
        while (json_next(json_get(s->part[i], "properties"), &it, &name, &schema))
            put_member(t, l, name, false);
    }
    if (l->tool->parameters && !names_some && l->n == 0 && !is_closed)
        put_others(t, l);
    return grammar_set(t->g, &(struct grammar_set){.members = l->members,
                                                   .n = l->n,
                                                   .separator = separator,
                                                   .max = GRAMMAR_UNBOUNDED});
}

static uint32_t parameters(struct toolcall *t, const struct chat_tool *tool, uint32_t separator)
{
    struct params params;
    uint32_t alts[PARAMS_MAX_SHAPES];
    params_read(tool->parameters, &params);
    note_relaxed(t, tool, &params);
    for (size_t i = 0; i < params.n; i++) {
        struct member_list l = {.tool = tool, .params = &params, .shape = &params.shapes[i]};
        alts[i] = parameter_list(t, &l, separator);
    }
    return grammar_alt(t->g, alts, params.n);
}

uint32_t toolcall_xml(struct toolcall *t, const struct chat_tool *tool)
{
    struct grammar *g = t->g;
    uint32_t parts[] = {grammar_bytes(g, tool->name),
                        grammar_bytes(g, STR(">\n")),
                        parameters(t, tool, grammar_empty(g)),
                        grammar_bytes(g, STR("</function>")),
                        toolcall_maybe(t, "\n"),
                        grammar_bytes(g, STR("</tool_call>"))};
    return grammar_seq(g, parts, 6);
}

uint32_t toolcall_xml_opened(struct toolcall *t, uint32_t call)
{
    uint32_t parts[] = {toolcall_maybe(t, "\n"), grammar_bytes(t->g, STR("<function=")), call};
    return grammar_seq(t->g, parts, 3);
}

uint32_t toolcall_glm(struct toolcall *t, const struct chat_tool *tool)
{
    struct grammar *g = t->g;
    uint32_t line = toolcall_maybe(t, "\n");
    uint32_t parts[] = {grammar_bytes(g, tool->name), line, parameters(t, tool, line), line,
                        grammar_bytes(g, STR("</tool_call>"))};
    return grammar_seq(g, parts, 5);
}
