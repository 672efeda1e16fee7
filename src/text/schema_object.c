/* schema: objects. Members may come in any order; each that the schema names comes once at most.
 * Members that it does not name may come only where it says so or names none. */
#include <stdlib.h>
#include <string.h>

#include "text/schema_int.h"

enum { MAX_PROPERTIES = 2048 };

struct property {
    str name;
    struct conj conj;
    bool required;
    bool never; /* the schema is false */
};

struct object {
    struct property *props; /* in the builder's arena */
    size_t n, room;
    struct conj others;       /* of members that are not named */
    bool open;                /* there may be some */
    const struct json *names; /* propertyNames */
    uint32_t min, max;
};

static struct property *property_of(struct schema_builder *b, struct object *o, str name)
{
    for (size_t i = 0; i < o->n; i++)
        if (str_eq(o->props[i].name, name))
            return &o->props[i];
    if (o->n == MAX_PROPERTIES) {
        schema_note(b, "very many properties");
        return NULL;
    }
    if (o->n == o->room) {
        size_t room = o->room ? 2 * o->room : 16;
        struct property *props = arena_new(&b->arena, room, sizeof *props);
        if (o->n)
            memcpy(props, o->props, o->n * sizeof *props);
        o->props = props;
        o->room = room;
    }
    o->props[o->n] = (struct property){.name = name};
    return &o->props[o->n++];
}

/* Names and what each part says of them; parts that do not name one say it of all others. */
static void read_properties(struct schema_builder *b, const struct conj *c, struct object *o)
{
    for (uint32_t i = 0; i < c->n; i++) {
        struct json_iter it = {0};
        struct json *schema;
        str name;
        const struct json *required = json_get(c->part[i], "required");
        while (json_next(json_get(c->part[i], "properties"), &it, &name, &schema))
            property_of(b, o, name);
        for (size_t k = 0; json_type(required) == JSON_ARRAY && k < json_count(required); k++) {
            struct property *p = property_of(b, o, json_str(json_at(required, k)));
            if (p)
                p->required = true;
        }
    }
    for (size_t k = 0; k < o->n; k++)
        for (uint32_t i = 0; i < c->n; i++) {
            const struct json *named = json_get(c->part[i], "properties");
            const struct json *schema = json_has(named, o->props[k].name.p)
                                            ? json_get(named, o->props[k].name.p)
                                            : json_get(c->part[i], "additionalProperties");
            o->props[k].never = o->props[k].never || schema_is_false(schema);
            conj_add(b, &o->props[k].conj, schema);
        }
}

static void read_object(struct schema_builder *b, const struct conj *c, bool only_named,
                        struct object *o)
{
    bool asks = false, forbids = false;
    *o = (struct object){.max = GRAMMAR_UNBOUNDED};
    read_properties(b, c, o);
    for (uint32_t i = 0; i < c->n; i++) {
        const struct json *part = c->part[i], *others = json_get(part, "additionalProperties");
        uint32_t min = schema_count(json_get(part, "minProperties"), 0);
        uint32_t max = schema_count(json_get(part, "maxProperties"), GRAMMAR_UNBOUNDED);
        o->min = min > o->min ? min : o->min;
        o->max = max < o->max ? max : o->max;
        asks = asks || (others && !schema_is_false(others));
        forbids = forbids || schema_is_false(others);
        conj_add(b, &o->others, schema_is_false(others) ? NULL : others);
        if (json_has(part, "propertyNames"))
            o->names = json_get(part, "propertyNames");
        if (json_count(json_get(part, "patternProperties")))
            schema_note(b, "patternProperties");
        if (json_count(json_get(part, "patternProperties")) && o->n == 0)
            forbids = false;
    }
    o->open = !forbids && (o->n == 0 || (asks && !only_named) || o->min > o->n);
    if (o->open && o->min > 1)
        schema_note(b, "minProperties (a name may come twice)");
}

/* ---- names ---- */

uint32_t schema_key(struct schema_builder *b, str name)
{
    struct buf text = {0};
    json_quote(name, &text);
    buf_byte(&text, ':');
    uint32_t node =
        grammar_seq2(b->g, grammar_bytes(b->g, buf_view(&text)), schema_builder_space(b));
    buf_free(&text);
    return node;
}

static int by_name(const void *x, const void *y)
{
    str a = *(const str *)x, b = *(const str *)y;
    int order = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);
    return order ? order : a.n < b.n ? -1 : a.n > b.n;
}

/* One printable ASCII character that needs no escape, without those in `less`, and without '<' in a
 * text that a tag ends. */
static uint32_t name_char(struct schema_builder *b, const struct byteset *less)
{
    struct byteset set = {0};
    for (unsigned c = ' '; c < 127; c++)
        if (c != '"' && c != '\\' && (c != '<' || b->form != TEXT_TAGGED) && !byteset_has(less, c))
            byteset_add(&set, c, c);
    return grammar_class(b->g, &set);
}

/* The rest of a name that differs from names[0, n), all of which begin with the same `at` bytes:
 * names are sorted. Only characters that need no escape, so that no name has two spellings. */
static uint32_t other_name(struct schema_builder *b, const str *names, size_t n, size_t at)
{
    struct grammar *g = b->g;
    uint32_t alts[130], n_alts = 0;
    struct byteset next = {0}, none = {0};
    bool is_one = n > 0 && names[0].n == at;
    uint32_t rest = grammar_repeat(g, name_char(b, &none), 0, 60);
    for (size_t i = is_one, end; i < n; i = end) {
        char c = names[i].p[at];
        for (end = i; end < n && names[end].p[at] == c; end++)
            continue;
        if (c <= ' ' || c == 127 || (unsigned char)c >= 128)
            continue;
        byteset_add(&next, (unsigned char)c, (unsigned char)c);
        if (at < 64 && c != '"' && c != '\\')
            alts[n_alts++] = grammar_seq2(g, grammar_bytes(g, (str){&c, 1}),
                                          other_name(b, names + i, end - i, at + 1));
    }
    alts[n_alts++] = grammar_seq2(g, name_char(b, &next), rest);
    if (!is_one && at > 0)
        alts[n_alts++] = grammar_empty(g);
    return grammar_alt(g, alts, n_alts);
}

/* A name that the schema does not name. */
static uint32_t other_key(struct schema_builder *b, const struct object *o)
{
    uint32_t quote = grammar_bytes(b->g, STR("\"")), name;
    if (o->names) {
        struct conj c = {.n = 0};
        bool listed = json_has(o->names, "enum") || json_has(o->names, "$ref");
        conj_add(b, &c, o->names);
        name = listed ? schema_value(b, &c) : schema_string(b, &c);
    } else {
        str *names = mem_new(o->n + 1, sizeof *names);
        for (size_t i = 0; i < o->n; i++)
            names[i] = o->props[i].name;
        qsort(names, o->n, sizeof *names, by_name);
        uint32_t parts[] = {quote, other_name(b, names, o->n, 0), quote};
        name = grammar_seq(b->g, parts, 3);
        free(names);
    }
    uint32_t parts[] = {name, grammar_bytes(b->g, STR(":")), schema_builder_space(b)};
    return grammar_seq(b->g, parts, 3);
}

/* ---- members ---- */

static uint32_t member(struct schema_builder *b, const struct property *p)
{
    size_t mark = schema_enter(b, ".", p->name);
    uint32_t node = p->never ? grammar_nothing(b->g) : schema_value(b, &p->conj);
    schema_leave(b, mark);
    return grammar_seq2(b->g, schema_key(b, p->name), node);
}

/* More members than a set takes: in the schema's order. From the last one on: `first` is what may
 * follow nothing, `more` what may follow a member. */
static uint32_t members_in_order(struct schema_builder *b, const struct object *o, uint32_t comma)
{
    struct grammar *g = b->g;
    uint32_t first = grammar_empty(g), more = first;
    if (o->min > 0 || o->max != GRAMMAR_UNBOUNDED)
        schema_note(b, "minProperties and maxProperties beside very many properties");
    for (size_t i = o->n; i-- > 0;) {
        if (o->props[i].never && !o->props[i].required)
            continue;
        uint32_t rules[] = {grammar_rule(g), grammar_rule(g)}; /* each is used twice */
        uint32_t with = grammar_seq2(g, member(b, &o->props[i]), more);
        uint32_t a[] = {with, first}, c[] = {grammar_seq2(g, comma, with), more};
        grammar_define(g, rules[0], grammar_alt(g, a, o->props[i].required ? 1 : 2));
        grammar_define(g, rules[1], grammar_alt(g, c, o->props[i].required ? 1 : 2));
        first = grammar_call(g, rules[0]);
        more = grammar_call(g, rules[1]);
    }
    return first;
}

static uint32_t members(struct schema_builder *b, const struct object *o, uint32_t comma)
{
    struct grammar_member list[GRAMMAR_MAX_MEMBERS];
    size_t n = 0;
    if (o->n + o->open > GRAMMAR_MAX_MEMBERS)
        return members_in_order(b, o, comma);
    for (size_t i = 0; i < o->n; i++)
        if (!o->props[i].never || o->props[i].required)
            list[n++] =
                (struct grammar_member){member(b, &o->props[i]), o->props[i].required, false};
    if (o->open) {
        size_t mark = schema_enter(b, ".", STR("*"));
        uint32_t value = schema_value(b, &o->others);
        schema_leave(b, mark);
        list[n++] =
            (struct grammar_member){grammar_seq2(b->g, other_key(b, o), value), false, true};
    }
    return grammar_set(
        b->g, &(struct grammar_set){
                  .members = list, .n = n, .separator = comma, .min = o->min, .max = o->max});
}

uint32_t schema_object(struct schema_builder *b, const struct conj *c, bool only_named)
{
    struct object o;
    if (c->n == 0 && b->any_object != GRAMMAR_NEVER)
        return grammar_call(b->g, b->any_object);
    uint32_t rule = grammar_rule(b->g);
    if (c->n == 0)
        b->any_object = rule;
    read_object(b, c, only_named, &o);
    uint32_t space = schema_builder_space(b);
    uint32_t comma = grammar_seq2(b->g, grammar_bytes(b->g, STR(",")), space);
    uint32_t parts[] = {grammar_bytes(b->g, STR("{")), space, members(b, &o, comma), space,
                        grammar_bytes(b->g, STR("}"))};
    grammar_define(b->g, rule, grammar_seq(b->g, parts, 5));
    return grammar_call(b->g, rule);
}
