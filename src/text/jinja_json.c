/* jinja: JSON as values. Strings stay views into the JSON tree. */
#include <string.h>

#include "text/jinja_int.h"

/* Where a value stands, for jinja_params.mark. */
struct place {
    str variable;
    size_t i;  /* in the variable's list */
    int depth; /* 0: the variables; 1: a list; 2: an object in that list; 3: deeper */
    uint8_t mark;
};

static uint8_t mark_of(const struct jinja_run *r, const struct place *at, str key)
{
    const struct jinja_params *p = r->params;
    if (!p->mark || at->depth == 1 || at->depth == 3)
        return at->mark;
    if (at->depth == 0)
        return p->mark(p->mark_ctx, key, SIZE_MAX, (str){NULL, 0});
    return p->mark(p->mark_ctx, at->variable, at->i, key);
}

static struct jinja_value marked(str s, uint8_t mark)
{
    struct jinja_value v = jinja_text(s);
    v.whole = mark;
    return v;
}

static bool from(struct jinja_run *r, const struct json *j, struct place at,
                 struct jinja_value *out);

static bool from_array(struct jinja_run *r, const struct json *j, struct place at,
                       struct jinja_value *out)
{
    size_t n = json_count(j);
    struct jinja_value *items = jinja_room(r, n, sizeof *items);
    if (!items)
        return false;
    at.depth = at.depth == 0 ? 1 : 3;
    for (size_t i = 0; i < n; i++) {
        if (at.depth == 1)
            at.i = i;
        if (!from(r, json_at(j, i), at, &items[i]))
            return false;
    }
    *out = jinja_list(JINJA_LIST, items, n);
    return true;
}

static bool from_object(struct jinja_run *r, const struct json *j, struct place at,
                        struct jinja_dict *d)
{
    struct json_iter it = {0};
    struct json *value;
    str key;
    d->room = json_count(j);
    d->entries = jinja_room(r, d->room, sizeof *d->entries);
    if (!d->entries)
        return false;
    while (json_next(j, &it, &key, &value)) {
        struct jinja_entry *e = &d->entries[d->n++];
        struct place below = at;
        if (at.depth == 0)
            below.variable = key;
        below.mark = mark_of(r, &at, key);
        e->key = marked(key, below.mark);
        if (!from(r, value, below, &e->value))
            return false;
    }
    return true;
}

static struct jinja_value from_int(const struct json *j)
{
    int64_t i = json_int(j);
    struct jinja_value v = jinja_int(i);
    if (i == INT64_MAX || i == INT64_MIN) {
        struct buf text = {0};
        json_print(j, JSON_COMPACT, &text);
        if (!str_to_i64(buf_view(&text), &i))
            v = (struct jinja_value){.kind = JINJA_BIG, .big = j};
        buf_free(&text);
    }
    return v;
}

/* JSON_MAX_DEPTH bounds the recursion. */
static bool from(struct jinja_run *r, const struct json *j, struct place at,
                 struct jinja_value *out)
{
    switch (json_type(j)) {
    case JSON_NULL: *out = jinja_none(); return true;
    case JSON_BOOL: *out = jinja_bool(json_bool(j)); return true;
    case JSON_INT: *out = from_int(j); return true;
    case JSON_FLOAT: *out = jinja_float(json_float(j)); return true;
    case JSON_STRING: *out = marked(json_str(j), at.mark); return true;
    case JSON_ARRAY: return from_array(r, j, at, out);
    case JSON_OBJECT:
        *out = (struct jinja_value){.kind = JINJA_DICT, .dict = jinja_dict_new(r)};
        at.depth = at.depth == 1 ? 2 : 3;
        return from_object(r, j, at, out->dict);
    }
    return false;
}

bool jinja_from_json(struct jinja_run *r, const struct json *vars, struct jinja_dict *out)
{
    return from_object(r, vars, (struct place){.mark = 1}, out);
}

bool jinja_parse_json(struct jinja_run *r, const struct jinja_value *text, struct jinja_value *out)
{
    struct err why = {0};
    if (text->kind != JINJA_STRING)
        return jinja_fail(r, "from_json needs a str, not %s", jinja_kind_name(text));
    *out = jinja_none();
    if (str_eq(str_trim(jinja_str(text)), STR("null")))
        return true;
    struct jinja_tree *tree = arena_new(&r->mem, 1, sizeof *tree);
    tree->root = json_parse(jinja_str(text), &why);
    if (!tree->root)
        return jinja_fail(r, "from_json: %s", why.msg);
    tree->next = r->trees;
    r->trees = tree;
    return jinja_work(r, text->n / 8) &&
           from(r, tree->root, (struct place){.depth = 3, .mark = 1}, out);
}
