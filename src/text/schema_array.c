/* schema: arrays, and values without a schema. */
#include <stdlib.h>

#include "text/schema_int.h"

enum { MAX_PREFIX = 256 };

/* A list of elements: those of prefix one by one, then more. */
struct elements {
    struct conj rest;
    uint32_t prefix[MAX_PREFIX]; /* nodes */
    size_t n_prefix;
    bool closed; /* none behind the prefix */
    uint32_t min, max;
};

/* The schema of element i in one part: of its prefix, else of the others. */
static const struct json *element_schema(const struct json *part, size_t i)
{
    const struct json *items = json_get(part, "items");
    bool listed = json_type(items) == JSON_ARRAY; /* before 2020-12 */
    const struct json *prefix = listed ? items : json_get(part, "prefixItems");
    if (i < json_count(prefix) && json_type(prefix) == JSON_ARRAY)
        return json_at(prefix, i);
    return listed ? json_get(part, "additionalItems") : items;
}

static void read_elements(struct schema_builder *b, const struct conj *c, struct elements *out)
{
    size_t n_prefix = 0;
    *out = (struct elements){.max = GRAMMAR_UNBOUNDED};
    for (uint32_t i = 0; i < c->n; i++) {
        const struct json *part = c->part[i], *items = json_get(part, "items");
        bool listed = json_type(items) == JSON_ARRAY;
        size_t n = json_count(listed ? items : json_get(part, "prefixItems"));
        uint32_t min = schema_count(json_get(part, "minItems"), 0);
        uint32_t max = schema_count(json_get(part, "maxItems"), GRAMMAR_UNBOUNDED);
        n_prefix = n > n_prefix ? n : n_prefix;
        out->min = min > out->min ? min : out->min;
        out->max = max < out->max ? max : out->max;
        if (json_bool(json_get(part, "uniqueItems")))
            schema_note(b, "uniqueItems");
    }
    if (n_prefix > MAX_PREFIX) {
        schema_note(b, "very many prefixItems");
        n_prefix = MAX_PREFIX;
    }
    for (size_t i = 0; i <= n_prefix; i++) {
        struct conj element = {.n = 0};
        bool closed = false;
        for (uint32_t k = 0; k < c->n; k++) {
            const struct json *schema = element_schema(c->part[k], i);
            closed = closed || schema_is_false(schema);
            conj_add(b, &element, schema);
        }
        if (i == n_prefix) {
            out->rest = element;
            out->closed = closed;
        } else if (closed) {
            out->closed = true;
            break;
        } else {
            out->prefix[out->n_prefix++] = schema_value(b, &element);
        }
    }
}

/* What follows the first k elements; tail of a list that may end once it has min. */
static uint32_t elements_from(struct schema_builder *b, const struct elements *l, uint32_t k,
                              uint32_t comma, uint32_t rest)
{
    struct grammar *g = b->g;
    if (k >= l->max)
        return grammar_empty(g);
    if (k >= l->n_prefix) {
        uint32_t min = l->min > k ? l->min - k : 0;
        uint32_t max = l->max == GRAMMAR_UNBOUNDED ? l->max : l->max - k;
        if (l->closed)
            return min ? grammar_nothing(g) : grammar_empty(g);
        if (k > 0)
            return grammar_repeat(g, grammar_seq2(g, comma, rest), min, max);
        uint32_t more = grammar_repeat(g, grammar_seq2(g, comma, rest), min ? min - 1 : 0,
                                       max == GRAMMAR_UNBOUNDED ? max : max - 1);
        return grammar_repeat(g, grammar_seq2(g, rest, more), min ? 1 : 0, 1);
    }
    uint32_t parts[3], n = 0;
    if (k > 0)
        parts[n++] = comma;
    parts[n++] = l->prefix[k];
    parts[n++] = elements_from(b, l, k + 1, comma, rest);
    return grammar_repeat(g, grammar_seq(g, parts, n), k < l->min ? 1 : 0, 1);
}

uint32_t schema_array(struct schema_builder *b, const struct conj *c)
{
    struct elements *l = mem_new(1, sizeof *l);
    size_t mark = schema_enter(b, ".", STR("items"));
    read_elements(b, c, l);
    uint32_t rest = l->closed ? grammar_nothing(b->g) : schema_value(b, &l->rest);
    schema_leave(b, mark);
    uint32_t space = schema_builder_space(b);
    uint32_t comma = grammar_seq2(b->g, grammar_bytes(b->g, STR(",")), space);
    uint32_t parts[] = {grammar_bytes(b->g, STR("[")), space, elements_from(b, l, 0, comma, rest),
                        space, grammar_bytes(b->g, STR("]"))};
    uint32_t node = l->min > l->max ? grammar_nothing(b->g) : grammar_seq(b->g, parts, 5);
    free(l);
    return node;
}

uint32_t schema_any_value(struct schema_builder *b)
{
    struct conj none = {.n = 0};
    if (b->any_value != GRAMMAR_NEVER)
        return grammar_call(b->g, b->any_value);
    b->any_value = grammar_rule(b->g);
    uint32_t alts[] = {schema_object(b, &none, false),
                       schema_array(b, &none),
                       schema_any_string(b),
                       schema_number(b, &none, false),
                       grammar_bytes(b->g, STR("true")),
                       grammar_bytes(b->g, STR("false")),
                       grammar_bytes(b->g, STR("null"))};
    grammar_define(b->g, b->any_value, grammar_alt(b->g, alts, 7));
    return grammar_call(b->g, b->any_value);
}
