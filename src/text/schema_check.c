/* schema: does a value keep to a schema? Independent of the grammars. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "text/automaton.h"
#include "text/schema_int.h"

enum { MAX_CHECK_DEPTH = 128, MAX_CHECK_STEPS = 2000000 };

struct check {
    const struct json *root;
    struct buf *why; /* NULL: not asked for */
    struct buf path;
    uint32_t depth;
    uint32_t steps; /* schemas looked at */
};

static bool check(struct check *k, const struct json *schema, const struct json *v);

static bool fail(struct check *k, const char *keyword)
{
    if (k->why && k->why->n == 0)
        buf_fmt(k->why, "at %.*s: %s", (int)k->path.n + !k->path.n, k->path.n ? k->path.p : ".",
                keyword);
    return false;
}

/* The same without a reason: branches that may fail. */
static bool holds(struct check *k, const struct json *schema, const struct json *v)
{
    struct buf *why = k->why;
    k->why = NULL;
    bool ok = check(k, schema, v);
    k->why = why;
    return ok;
}

static bool check_at(struct check *k, const struct json *schema, const struct json *v, str name)
{
    size_t n = k->path.n;
    buf_byte(&k->path, '.');
    buf_str(&k->path, name);
    bool ok = check(k, schema, v);
    k->path.n = n;
    return ok;
}

/* ---- equality ---- */

static bool is_number(const struct json *v)
{
    return json_type(v) == JSON_INT || json_type(v) == JSON_FLOAT;
}

static bool equal(const struct json *x, const struct json *y, uint32_t depth)
{
    if (is_number(x) && is_number(y))
        return json_type(x) == JSON_INT && json_type(y) == JSON_INT
                   ? json_int(x) == json_int(y)
                   : json_float(x) == json_float(y);
    if (json_type(x) != json_type(y) || json_count(x) != json_count(y) || depth == 0)
        return false;
    if (json_type(x) == JSON_BOOL)
        return json_bool(x) == json_bool(y);
    if (json_type(x) == JSON_STRING)
        return str_eq(json_str(x), json_str(y));
    if (json_type(x) == JSON_OBJECT) {
        struct json_iter it = {0};
        struct json *value;
        str name;
        while (json_next(x, &it, &name, &value))
            if (!json_has(y, name.p) || !equal(value, json_get(y, name.p), depth - 1))
                return false;
    } else {
        for (size_t i = 0; i < json_count(x); i++)
            if (!equal(json_at(x, i), json_at(y, i), depth - 1))
                return false;
    }
    return true;
}

static bool is_one_of(const struct json *list, const struct json *v)
{
    for (size_t i = 0; i < json_count(list); i++)
        if (equal(json_at(list, i), v, MAX_CHECK_DEPTH))
            return true;
    return false;
}

/* ---- types ---- */

/* Does text match a regular expression? True, too, when it is not supported. */
static bool matches(str pattern, str text)
{
    struct grammar *g = grammar_new();
    struct err e;
    const char *why;
    uint32_t node, rule = grammar_rule(g);
    bool ok = true;
    if (regex_node(g, TEXT_PLAIN, pattern, &node, &why)) {
        grammar_define(g, rule, node);
        if (grammar_compile(g, rule, &e)) {
            struct automaton *a = automaton_open(g);
            uint32_t end = automaton_text(a, automaton_start(a), text);
            ok = automaton_broken(a) || automaton_accepts(a, end);
            automaton_close(a);
        }
    }
    grammar_free(g);
    return ok;
}

static size_t n_code_points(str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += (s.p[i] & 0xc0) != 0x80;
    return n;
}

static bool check_string(struct check *k, const struct json *s, str text)
{
    const struct json *pattern = json_get(s, "pattern");
    const char *format = schema_format(json_str(json_get(s, "format")));
    if (n_code_points(text) < schema_count(json_get(s, "minLength"), 0))
        return fail(k, "minLength");
    if (n_code_points(text) > schema_count(json_get(s, "maxLength"), GRAMMAR_UNBOUNDED))
        return fail(k, "maxLength");
    if (json_type(pattern) == JSON_STRING && !matches(json_str(pattern), text))
        return fail(k, "pattern");
    return !format || matches(str_of(format), text) || fail(k, "format");
}

static bool check_number(struct check *k, const struct json *s, double x)
{
    const struct json *min = json_get(s, "minimum"), *max = json_get(s, "maximum");
    const struct json *above = json_get(s, "exclusiveMinimum");
    const struct json *below = json_get(s, "exclusiveMaximum");
    const struct json *step = json_get(s, "multipleOf");
    if (is_number(min) && (x < json_float(min) || (json_bool(above) && x == json_float(min))))
        return fail(k, "minimum");
    if (is_number(max) && (x > json_float(max) || (json_bool(below) && x == json_float(max))))
        return fail(k, "maximum");
    if (is_number(above) && x <= json_float(above))
        return fail(k, "exclusiveMinimum");
    if (is_number(below) && x >= json_float(below))
        return fail(k, "exclusiveMaximum");
    if (is_number(step) && json_float(step) > 0) {
        double times = x / json_float(step);
        if (fabs(times - round(times)) > 1e-9 * fmax(1, fabs(times)))
            return fail(k, "multipleOf");
    }
    return true;
}

static bool check_array(struct check *k, const struct json *s, const struct json *v)
{
    const struct json *items = json_get(s, "items"), *contains = json_get(s, "contains");
    bool listed = json_type(items) == JSON_ARRAY; /* before 2020-12 */
    const struct json *prefix = listed ? items : json_get(s, "prefixItems");
    const struct json *rest = listed ? json_get(s, "additionalItems") : items;
    size_t n = json_count(v), n_prefix = json_count(prefix), n_contained = 0;
    if (n < schema_count(json_get(s, "minItems"), 0))
        return fail(k, "minItems");
    if (n > schema_count(json_get(s, "maxItems"), GRAMMAR_UNBOUNDED))
        return fail(k, "maxItems");
    for (size_t i = 0; i < n; i++) {
        char name[24];
        snprintf(name, sizeof name, "%zu", i);
        if (!check_at(k, i < n_prefix ? json_at(prefix, i) : rest, json_at(v, i), str_of(name)))
            return false;
        n_contained += contains && holds(k, contains, json_at(v, i));
        for (size_t j = 0; j < i && json_bool(json_get(s, "uniqueItems")); j++)
            if (equal(json_at(v, i), json_at(v, j), MAX_CHECK_DEPTH))
                return fail(k, "uniqueItems");
    }
    if (contains && (n_contained < schema_count(json_get(s, "minContains"), 1) ||
                     n_contained > schema_count(json_get(s, "maxContains"), GRAMMAR_UNBOUNDED)))
        return fail(k, "contains");
    return true;
}

static bool check_member(struct check *k, const struct json *s, str name, const struct json *value)
{
    const struct json *named = json_get(s, "properties"), *names = json_get(s, "propertyNames");
    struct json_iter it = {0};
    struct json *schema;
    str pattern;
    bool known = json_has(named, name.p);
    if (known && !check_at(k, json_get(named, name.p), value, name))
        return false;
    while (json_next(json_get(s, "patternProperties"), &it, &pattern, &schema)) {
        if (!matches(pattern, name))
            continue;
        known = true;
        if (!check_at(k, schema, value, name))
            return false;
    }
    if (names) {
        struct err e;
        struct buf text = {0};
        json_quote(name, &text);
        struct json *as_value = json_parse(buf_view(&text), &e);
        bool ok = holds(k, names, as_value);
        json_free(as_value);
        buf_free(&text);
        if (!ok)
            return fail(k, "propertyNames");
    }
    return known || check_at(k, json_get(s, "additionalProperties"), value, name);
}

static bool check_object(struct check *k, const struct json *s, const struct json *v)
{
    const struct json *required = json_get(s, "required");
    const struct json *together = json_get(s, "dependentRequired");
    struct json_iter it = {0};
    struct json *value;
    str name;
    if (json_count(v) < schema_count(json_get(s, "minProperties"), 0))
        return fail(k, "minProperties");
    if (json_count(v) > schema_count(json_get(s, "maxProperties"), GRAMMAR_UNBOUNDED))
        return fail(k, "maxProperties");
    for (size_t i = 0; json_type(required) == JSON_ARRAY && i < json_count(required); i++)
        if (!json_has(v, json_str(json_at(required, i)).p))
            return fail(k, "required");
    while (json_next(v, &it, &name, &value)) {
        const struct json *too = json_get(together, name.p);
        if (!check_member(k, s, name, value))
            return false;
        for (size_t i = 0; json_type(too) == JSON_ARRAY && i < json_count(too); i++)
            if (!json_has(v, json_str(json_at(too, i)).p))
                return fail(k, "dependentRequired");
    }
    return true;
}

/* ---- combinations ---- */

static size_t n_that_hold(struct check *k, const struct json *list, const struct json *v)
{
    size_t n = 0;
    for (size_t i = 0; i < json_count(list); i++)
        n += holds(k, json_at(list, i), v);
    return n;
}

static bool check_combined(struct check *k, const struct json *s, const struct json *v)
{
    const struct json *all = json_get(s, "allOf"), *any = json_get(s, "anyOf");
    const struct json *one = json_get(s, "oneOf"), *when = json_get(s, "if");
    for (size_t i = 0; i < json_count(all); i++)
        if (!check(k, json_at(all, i), v))
            return false;
    if (json_count(any) && n_that_hold(k, any, v) == 0)
        return fail(k, "anyOf");
    if (json_count(one) && n_that_hold(k, one, v) != 1)
        return fail(k, "oneOf");
    if (json_has(s, "not") && holds(k, json_get(s, "not"), v))
        return fail(k, "not");
    return !when || check(k, json_get(s, holds(k, when, v) ? "then" : "else"), v);
}

static bool check_one(struct check *k, const struct json *s, const struct json *v)
{
    const struct json *list = json_get(s, "enum");
    unsigned types = schema_types(json_get(s, "type"));
    types |= json_bool(json_get(s, "nullable")) ? IS_NULL : 0;
    if (json_has(s, "$ref")) {
        const struct json *to = schema_resolve(k->root, json_str(json_get(s, "$ref")));
        if (to && !check(k, to, v))
            return false;
    }
    if (!(types & schema_type_of_value(v)))
        return fail(k, "type");
    if (json_type(list) == JSON_ARRAY && !is_one_of(list, v))
        return fail(k, "enum");
    if (json_has(s, "const") && !equal(json_get(s, "const"), v, MAX_CHECK_DEPTH))
        return fail(k, "const");
    switch (json_type(v)) {
    case JSON_NULL:
    case JSON_BOOL: break;
    case JSON_INT:
    case JSON_FLOAT:
        if (!check_number(k, s, json_float(v)))
            return false;
        break;
    case JSON_STRING:
        if (!check_string(k, s, json_str(v)))
            return false;
        break;
    case JSON_ARRAY:
        if (!check_array(k, s, v))
            return false;
        break;
    case JSON_OBJECT:
        if (!check_object(k, s, v))
            return false;
        break;
    }
    return check_combined(k, s, v);
}

static bool check(struct check *k, const struct json *schema, const struct json *v)
{
    if (json_type(schema) == JSON_BOOL)
        return json_bool(schema) || fail(k, "false");
    if (json_type(schema) != JSON_OBJECT)
        return true;
    if (k->depth >= MAX_CHECK_DEPTH || k->steps >= MAX_CHECK_STEPS)
        return fail(k, "too deep or too long to check");
    k->depth++;
    k->steps++;
    bool ok = check_one(k, schema, v);
    k->depth--;
    return ok;
}

bool schema_check(const struct json *root, const struct json *schema, const struct json *value,
                  struct buf *why)
{
    struct check k = {.root = root, .why = why, .path = {.max = 4096}};
    bool ok = check(&k, schema, value);
    buf_free(&k.path);
    return ok;
}
