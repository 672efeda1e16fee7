/* schema: the frame of the builder: references, combinations and types. A rule is made for each set
 * of schemas that hold together, so that recursion comes to an end. */
#include <stdlib.h>
#include <string.h>

#include "text/schema_int.h"

struct memo {
    struct conj conj;
    uint32_t rule;
};

struct schema_builder *schema_builder_open(struct grammar *g, const struct grammar_pattern *apart,
                                           size_t n)
{
    struct schema_builder *b = mem_new(1, sizeof *b);
    *b = (struct schema_builder){.g = g,
                                 .form = n ? TEXT_TAGGED : TEXT_JSON,
                                 .apart = apart,
                                 .n_apart = n,
                                 .memo_mask = 255,
                                 .notes = {.max = MAX_NOTES_BYTES},
                                 .space = GRAMMAR_NEVER,
                                 .string = GRAMMAR_NEVER,
                                 .string_rest = GRAMMAR_NEVER,
                                 .number = GRAMMAR_NEVER,
                                 .integer = GRAMMAR_NEVER,
                                 .any_value = GRAMMAR_NEVER,
                                 .any_object = GRAMMAR_NEVER,
                                 .any_array = GRAMMAR_NEVER};
    b->memo_slots = mem_new(b->memo_mask + 1, sizeof *b->memo_slots);
    return b;
}

void schema_builder_close(struct schema_builder *b)
{
    if (!b)
        return;
    arena_free(&b->arena);
    json_free(b->not_string);
    json_free(b->object);
    buf_free(&b->notes);
    free(b->memo);
    free(b->memo_slots);
    free(b);
}

str schema_builder_notes(const struct schema_builder *b)
{
    return buf_view(&b->notes);
}

void schema_note(struct schema_builder *b, const char *keyword)
{
    struct buf note = {0};
    buf_fmt(&note, "%.*s: %s; ", (int)b->n_path, b->path, keyword);
    if (str_find(buf_view(&b->notes), buf_view(&note), 0) == SIZE_MAX)
        buf_str(&b->notes, buf_view(&note));
    buf_free(&note);
}

size_t schema_enter(struct schema_builder *b, const char *separator, str name)
{
    size_t mark = b->n_path, n = strlen(separator);
    if (b->n_path + n + name.n < sizeof b->path) {
        memcpy(b->path + b->n_path, separator, n);
        memcpy(b->path + b->n_path + n, name.p, name.n);
        b->n_path += n + name.n;
    }
    return mark;
}

void schema_leave(struct schema_builder *b, size_t mark)
{
    b->n_path = mark;
}

/* ---- types ---- */

static const struct {
    const char *name;
    unsigned type;
} type_names[] = {
    {"string", IS_STRING}, {"integer", IS_INTEGER}, {"number", IS_NUMBER | IS_INTEGER},
    {"boolean", IS_BOOL},  {"object", IS_OBJECT},   {"array", IS_ARRAY},
    {"null", IS_NULL}};

unsigned schema_type_of(str name)
{
    for (size_t i = 0; i < sizeof type_names / sizeof *type_names; i++)
        if (str_eq(name, str_of(type_names[i].name)))
            return type_names[i].type;
    return 0;
}

unsigned schema_types(const struct json *type)
{
    unsigned types = schema_type_of(json_str(type));
    for (size_t i = 0; json_type(type) == JSON_ARRAY && i < json_count(type); i++)
        types |= schema_type_of(json_str(json_at(type, i)));
    return types ? types : IS_ANY;
}

unsigned schema_type_of_value(const struct json *v)
{
    double x = json_float(v);
    switch (json_type(v)) {
    case JSON_NULL: return IS_NULL;
    case JSON_BOOL: return IS_BOOL;
    case JSON_INT: return IS_INTEGER;
    case JSON_FLOAT:
        return x >= -1e18 && x <= 1e18 && x == (double)(int64_t)x ? IS_INTEGER : IS_NUMBER;
    case JSON_STRING: return IS_STRING;
    case JSON_ARRAY: return IS_ARRAY;
    case JSON_OBJECT: return IS_OBJECT;
    }
    return 0;
}

uint32_t schema_count(const struct json *v, uint32_t without)
{
    double n = json_float(v);
    if (json_type(v) != JSON_INT && json_type(v) != JSON_FLOAT)
        return without;
    return n >= GRAMMAR_UNBOUNDED ? GRAMMAR_UNBOUNDED - 1 : n > 0 ? (uint32_t)n : 0;
}

bool schema_is_false(const struct json *schema)
{
    return json_type(schema) == JSON_BOOL && !json_bool(schema);
}

/* ---- conjunctions ---- */

void conj_add(struct schema_builder *b, struct conj *c, const struct json *schema)
{
    if (!schema || (json_type(schema) == JSON_BOOL && json_bool(schema)) ||
        (json_type(schema) == JSON_OBJECT && json_count(schema) == 0))
        return;
    for (uint32_t i = 0; i < c->n; i++)
        if (c->part[i] == schema)
            return;
    if (c->n == MAX_PARTS) {
        schema_note(b, "more schemas at once than are followed");
        return;
    }
    c->done[c->n] = 0;
    c->part[c->n++] = schema;
}

const struct json *conj_get(const struct conj *c, const char *keyword)
{
    for (uint32_t i = 0; i < c->n; i++)
        if (json_has(c->part[i], keyword))
            return json_get(c->part[i], keyword);
    return NULL;
}

/* One step "NAME" of a reference, with ~0 ~1 and %XX decoded, in an object or array. */
static const struct json *resolve_step(const struct json *at, str step)
{
    struct buf name = {0};
    int64_t i;
    for (size_t k = 0; k < step.n; k++) {
        bool tilde = step.p[k] == '~' && k + 1 < step.n;
        char hex[3] = {0};
        if (step.p[k] == '%' && k + 2 < step.n) {
            memcpy(hex, step.p + k + 1, 2);
            buf_byte(&name, (char)strtol(hex, NULL, 16));
            k += 2;
        } else {
            buf_byte(&name, !tilde ? step.p[k] : step.p[k + 1] == '1' ? '/' : '~');
            k += tilde;
        }
    }
    const struct json *found = json_get(at, name.n ? name.p : "");
    if (json_type(at) == JSON_ARRAY && str_to_i64(step, &i) && i >= 0)
        found = json_at(at, (size_t)i);
    buf_free(&name);
    return found;
}

const struct json *schema_resolve(const struct json *root, str ref)
{
    if (str_eq(ref, STR("#")))
        return root;
    if (!str_starts(ref, STR("#/")))
        return NULL;
    str rest = str_sub(ref, 2, SIZE_MAX);
    for (bool more = true; more && root;) {
        more = memchr(rest.p, '/', rest.n) != NULL;
        root = resolve_step(root, str_cut(rest, '/', &rest));
    }
    return root;
}

/* Adds what references and allOf bring in. */
static void expand(struct schema_builder *b, struct conj *c)
{
    for (uint32_t i = 0; i < c->n; i++) {
        const struct json *ref = json_get(c->part[i], "$ref"), *all = json_get(c->part[i], "allOf");
        if (ref && !(c->done[i] & DONE_REF)) {
            const struct json *to = schema_resolve(b->root, json_str(ref));
            if (to)
                conj_add(b, c, to);
            else
                schema_note(b, "$ref to elsewhere");
        }
        for (size_t k = 0; json_type(all) == JSON_ARRAY && k < json_count(all); k++)
            if (!(c->done[i] & DONE_ALL))
                conj_add(b, c, json_at(all, k));
        c->done[i] |= DONE_REF | DONE_ALL;
    }
}

/* ---- the rules that were made ---- */

static size_t memo_slot(const struct schema_builder *b, const struct conj *c)
{
    uint64_t h = c->n;
    for (uint32_t i = 0; i < c->n; i++)
        h = (h ^ (uintptr_t)c->part[i] ^ (uint64_t)c->done[i] << 56) * 0x9e3779b97f4a7c15u;
    size_t at = (h ^ h >> 32) & b->memo_mask;
    for (; b->memo_slots[at]; at = (at + 1) & b->memo_mask) {
        const struct conj *x = &b->memo[b->memo_slots[at] - 1].conj;
        if (x->n == c->n && memcmp(x->part, c->part, c->n * sizeof *c->part) == 0 &&
            memcmp(x->done, c->done, c->n) == 0)
            break;
    }
    return at;
}

/* The rule of a conjunction; *is_new: it must be defined. */
static uint32_t rule_of(struct schema_builder *b, const struct conj *c, bool *is_new)
{
    size_t at = memo_slot(b, c);
    *is_new = b->memo_slots[at] == 0;
    if (!*is_new)
        return b->memo[b->memo_slots[at] - 1].rule;
    b->memo = mem_grow(b->memo, b->n_memo + 1, sizeof *b->memo);
    b->memo[b->n_memo] = (struct memo){*c, grammar_rule(b->g)};
    b->memo_slots[at] = (uint32_t)++b->n_memo;
    if (2 * b->n_memo > b->memo_mask) {
        b->memo_mask = 2 * b->memo_mask + 1;
        free(b->memo_slots);
        b->memo_slots = mem_new(b->memo_mask + 1, sizeof *b->memo_slots);
        for (size_t i = 0; i < b->n_memo; i++)
            b->memo_slots[memo_slot(b, &b->memo[i].conj)] = (uint32_t)i + 1;
    }
    return b->memo[b->n_memo - 1].rule;
}

/* ---- unions, values, types ---- */

static bool is_required(const struct json *schema, str name)
{
    const struct json *names = json_get(schema, "required");
    for (size_t i = 0; json_type(names) == JSON_ARRAY && i < json_count(names); i++)
        if (str_eq(json_str(json_at(names, i)), name))
            return true;
    return false;
}

/* Do two branches ask for different constants of a member that must be there, or for different
 * types? Then at most one of them can hold. */
static bool are_apart(const struct json *x, const struct json *y)
{
    const struct json *props = json_get(x, "properties");
    struct json_iter it = {0};
    struct json *schema;
    str name;
    if (json_has(x, "const") && json_has(y, "const"))
        return true;
    if (!(schema_types(json_get(x, "type")) & schema_types(json_get(y, "type"))))
        return true;
    while (json_next(props, &it, &name, &schema)) {
        const struct json *other = json_get(json_get(y, "properties"), name.p);
        if (json_has(schema, "const") && json_has(other, "const") &&
            !str_eq(json_str(json_get(schema, "const")), json_str(json_get(other, "const"))) &&
            (is_required(x, name) || is_required(y, name)))
            return true;
    }
    return false;
}

/* Branch i, or what it refers to: more must hold where it says more, which only sets it apart. */
static const struct json *branch_at(const struct json *root, const struct json *branches, size_t i)
{
    const struct json *branch = json_at(branches, i);
    const struct json *to = schema_resolve(root, json_str(json_get(branch, "$ref")));
    return to ? to : branch;
}

bool schema_branches_are_apart(const struct json *root, const struct json *branches)
{
    size_t n = json_count(branches);
    for (size_t i = 0; i < n; i++)
        for (size_t k = i + 1; k < n; k++)
            if (!are_apart(branch_at(root, branches, i), branch_at(root, branches, k)))
                return false;
    return true;
}

static uint32_t value_of_union(struct schema_builder *b, const struct conj *c, uint32_t i,
                               const char *keyword, uint8_t done)
{
    const struct json *branches = json_get(c->part[i], keyword);
    uint32_t alts[MAX_BRANCHES];
    size_t n = json_count(branches);
    if (n > MAX_BRANCHES) {
        schema_note(b, "very many branches");
        n = MAX_BRANCHES;
    }
    if (done == DONE_ONE && (n > 32 || !schema_branches_are_apart(b->root, branches)))
        schema_note(b, "oneOf (as anyOf)");
    for (size_t k = 0; k < n; k++) {
        struct conj with = *c;
        with.done[i] |= done;
        conj_add(b, &with, json_at(branches, k));
        alts[k] = schema_value(b, &with);
    }
    return grammar_alt(b->g, alts, n);
}

static uint32_t value_of_const(struct schema_builder *b, const struct json *value)
{
    struct buf text = {0};
    json_print(value, JSON_COMPACT, &text);
    uint32_t node = grammar_bytes(b->g, buf_view(&text));
    buf_free(&text);
    return node;
}

bool schema_allows(const struct schema_builder *b, const struct conj *c, const struct json *value)
{
    for (uint32_t k = 0; k < c->n; k++)
        if (!schema_check(b->root, c->part[k], value, NULL))
            return false;
    return true;
}

/* Values that are listed: those that all parts allow. */
static uint32_t value_of_list(struct schema_builder *b, const struct conj *c,
                              const struct json *list)
{
    uint32_t *alts = mem_new(json_count(list) + 1, sizeof *alts);
    size_t n = 0;
    for (size_t i = 0; i < json_count(list); i++)
        if (schema_allows(b, c, json_at(list, i)))
            alts[n++] = value_of_const(b, json_at(list, i));
    uint32_t node = grammar_alt(b->g, alts, n);
    free(alts);
    return node;
}

static unsigned types_of(const struct conj *c)
{
    unsigned types = IS_ANY;
    for (uint32_t i = 0; i < c->n; i++) {
        unsigned own = schema_types(json_get(c->part[i], "type"));
        own |= json_bool(json_get(c->part[i], "nullable")) ? IS_NULL : 0;
        types &= own;
        if (schema_is_false(c->part[i]))
            types = 0;
    }
    return types;
}

static uint32_t value_of_types(struct schema_builder *b, const struct conj *c)
{
    unsigned types = types_of(c);
    uint32_t alts[8], n = 0;
    if (types & IS_OBJECT)
        alts[n++] = schema_object(b, c, false);
    if (types & IS_ARRAY)
        alts[n++] = schema_array(b, c);
    if (types & IS_STRING)
        alts[n++] = schema_string(b, c);
    if (types & (IS_NUMBER | IS_INTEGER))
        alts[n++] = schema_number(b, c, !(types & IS_NUMBER));
    if (types & IS_BOOL)
        alts[n++] = grammar_alt(
            b->g, (uint32_t[]){grammar_bytes(b->g, STR("true")), grammar_bytes(b->g, STR("false"))},
            2);
    if (types & IS_NULL)
        alts[n++] = grammar_bytes(b->g, STR("null"));
    return grammar_alt(b->g, alts, n);
}

static void note_relaxed(struct schema_builder *b, const struct conj *c)
{
    static const char *const relaxed[] = {
        "not",          "if",           "dependentRequired",     "dependentSchemas",
        "dependencies", "contains",     "unevaluatedProperties", "unevaluatedItems",
        "$dynamicRef",  "$recursiveRef"};
    for (size_t i = 0; i < sizeof relaxed / sizeof *relaxed; i++)
        if (conj_get(c, relaxed[i]))
            schema_note(b, relaxed[i]);
}

static uint32_t make_value(struct schema_builder *b, const struct conj *c)
{
    for (uint32_t i = 0; i < c->n; i++) {
        if (json_count(json_get(c->part[i], "anyOf")) && !(c->done[i] & DONE_ANY))
            return value_of_union(b, c, i, "anyOf", DONE_ANY);
        if (json_count(json_get(c->part[i], "oneOf")) && !(c->done[i] & DONE_ONE))
            return value_of_union(b, c, i, "oneOf", DONE_ONE);
    }
    note_relaxed(b, c);
    for (uint32_t i = 0; i < c->n; i++)
        if (json_has(c->part[i], "const")) {
            const struct json *value = json_get(c->part[i], "const");
            return schema_allows(b, c, value) ? value_of_const(b, value) : grammar_nothing(b->g);
        }
    const struct json *list = conj_get(c, "enum");
    if (json_type(list) == JSON_ARRAY)
        return value_of_list(b, c, list);
    return value_of_types(b, c);
}

uint32_t schema_value(struct schema_builder *b, const struct conj *given)
{
    struct conj c = *given;
    bool is_new;
    expand(b, &c);
    if (c.n == 0)
        return schema_any_value(b);
    if (b->depth >= SCHEMA_MAX_DEPTH || b->n_memo >= SCHEMA_MAX_RULES) {
        schema_note(b, "a schema nested too deeply or with too many parts");
        return schema_any_value(b);
    }
    uint32_t rule = rule_of(b, &c, &is_new);
    if (is_new) {
        b->depth++;
        grammar_define(b->g, rule, make_value(b, &c));
        b->depth--;
    }
    return grammar_call(b->g, rule);
}

/* ---- the public functions ---- */

static struct conj start(struct schema_builder *b, const struct json *root,
                         const struct json *schema, const char *name)
{
    struct conj c = {.n = 0};
    b->root = root;
    b->n_path = 0;
    schema_enter(b, "", str_of(name));
    conj_add(b, &c, schema);
    return c;
}

void schema_builder_relaxed(struct schema_builder *b, const char *name, const char *keyword)
{
    b->n_path = 0;
    schema_enter(b, "", str_of(name));
    schema_note(b, keyword);
}

uint32_t schema_builder_value(struct schema_builder *b, const struct json *root,
                              const struct json *schema, const char *name)
{
    struct conj c = start(b, root, schema, name);
    return schema_value(b, &c);
}

uint32_t schema_builder_arguments(struct schema_builder *b, const struct json *root,
                                  const struct json *schema, const char *name)
{
    struct conj c = start(b, root, schema, name);
    expand(b, &c);
    /* A union of argument lists: each branch with what stands beside it. */
    if (conj_get(&c, "anyOf") || conj_get(&c, "oneOf")) {
        struct err e;
        if (!b->object)
            b->object = json_parse(STR("{\"type\":\"object\"}"), &e);
        conj_add(b, &c, b->object);
        return schema_value(b, &c);
    }
    note_relaxed(b, &c);
    return schema_object(b, &c, true);
}

/* The raw form of a union, or of what is none. */
static uint32_t raw_text(struct schema_builder *b, const struct conj *given,
                         const struct text_ends *ends)
{
    static const struct {
        const char *keyword;
        uint8_t done;
    } unions[] = {{"anyOf", DONE_ANY}, {"oneOf", DONE_ONE}};
    struct conj c = *given;
    expand(b, &c);
    for (uint32_t i = 0; i < c.n; i++)
        for (size_t u = 0; u < 2; u++) {
            const struct json *branches = json_get(c.part[i], unions[u].keyword);
            uint32_t alts[MAX_BRANCHES];
            size_t n = json_count(branches);
            if (n == 0 || n > MAX_BRANCHES || (c.done[i] & unions[u].done) || b->depth > 8)
                continue;
            b->depth++;
            for (size_t k = 0; k < n; k++) {
                struct conj with = c;
                with.done[i] |= unions[u].done;
                conj_add(b, &with, json_at(branches, k));
                alts[k] = raw_text(b, &with, ends);
            }
            b->depth--;
            return grammar_alt(b->g, alts, n);
        }
    note_relaxed(b, &c);
    return types_of(&c) & IS_STRING ? schema_text(b, &c, TEXT_RAW, ends) : grammar_nothing(b->g);
}

uint32_t schema_builder_raw(struct schema_builder *b, const struct json *root,
                            const struct json *const *schemas, size_t n,
                            const struct text_ends *ends, const char *name)
{
    struct conj c = start(b, root, NULL, name);
    for (size_t i = 0; i < n; i++)
        conj_add(b, &c, schemas[i]);
    return raw_text(b, &c, ends);
}

uint32_t schema_builder_not_string(struct schema_builder *b, const struct json *root,
                                   const struct json *const *schemas, size_t n, const char *name)
{
    struct conj c = start(b, root, NULL, name);
    struct err e;
    if (!b->not_string)
        b->not_string = json_parse(
            STR("{\"type\":[\"object\",\"array\",\"number\",\"boolean\",\"null\"]}"), &e);
    conj_add(b, &c, b->not_string);
    for (size_t i = 0; i < n; i++)
        conj_add(b, &c, schemas[i]);
    return schema_value(b, &c);
}

uint32_t schema_builder_space(struct schema_builder *b)
{
    if (b->space == GRAMMAR_NEVER) {
        struct byteset blank = {0};
        byteset_add(&blank, ' ', ' ');
        byteset_add(&blank, '\t', '\t');
        uint32_t indent = grammar_repeat(b->g, grammar_class(b->g, &blank), 0, MAX_SPACE);
        uint32_t line = grammar_seq2(b->g, grammar_bytes(b->g, STR("\n")), indent);
        uint32_t alts[] = {grammar_empty(b->g), grammar_bytes(b->g, STR(" ")), line};
        b->space = grammar_rule(b->g);
        grammar_define(b->g, b->space, grammar_alt(b->g, alts, 3));
    }
    return grammar_call(b->g, b->space);
}
