/* jinja: expressions at run time. */
#include <string.h>

#include "text/jinja_int.h"

/* ---- attributes, items, slices ---- */

static bool loop_attr(const struct jinja_loop *l, str name, struct jinja_value *out)
{
    size_t n = l->items.n;
    *out = jinja_undefined(name);
    if (str_eq(name, STR("index")))
        *out = jinja_int((int64_t)l->i + 1);
    else if (str_eq(name, STR("index0")))
        *out = jinja_int((int64_t)l->i);
    else if (str_eq(name, STR("revindex")))
        *out = jinja_int((int64_t)(n - l->i));
    else if (str_eq(name, STR("revindex0")))
        *out = jinja_int((int64_t)(n - l->i) - 1);
    else if (str_eq(name, STR("first")))
        *out = jinja_bool(l->i == 0);
    else if (str_eq(name, STR("last")))
        *out = jinja_bool(l->i + 1 == n);
    else if (str_eq(name, STR("length")))
        *out = jinja_int((int64_t)n);
    else if (str_eq(name, STR("depth")))
        *out = jinja_int(l->depth + 1);
    else if (str_eq(name, STR("depth0")))
        *out = jinja_int(l->depth);
    else if (str_eq(name, STR("previtem")) && l->i > 0)
        *out = l->items.items[l->i - 1];
    else if (str_eq(name, STR("nextitem")) && l->i + 1 < n)
        *out = l->items.items[l->i + 1];
    return true;
}

/* A method as a value, or undefined. */
static bool bind_method(struct jinja_run *r, struct jinja_value v, str name,
                        struct jinja_value *out)
{
    const struct jinja_builtin *b = jinja_find_method(&v, name);
    *out = jinja_undefined(name);
    if (b) {
        struct jinja_bound *bound = arena_new(&r->mem, 1, sizeof *bound);
        *bound = (struct jinja_bound){b, v};
        *out = (struct jinja_value){.kind = JINJA_FUNCTION, .function = bound};
    }
    return true;
}

bool jinja_attr(struct jinja_run *r, struct jinja_value v, str name, struct jinja_value *out)
{
    if (v.kind == JINJA_UNDEFINED)
        return jinja_fail(r, "'%.*s' is undefined, so it has no '%.*s'", STRF(jinja_str(&v)),
                          STRF(name));
    if (v.kind == JINJA_DICT || v.kind == JINJA_NAMESPACE) {
        struct jinja_value key = jinja_text(name);
        struct jinja_value *hit;
        if (!jinja_dict_find(r, v.dict, &key, &hit))
            return false;
        if (hit) {
            *out = *hit;
            return true;
        }
    }
    if (v.kind == JINJA_LOOP && !jinja_find_method(&v, name))
        return loop_attr(v.loop, name, out);
    return bind_method(r, v, name, out);
}

/* An index with Python's rule for negative ones; SIZE_MAX when it is out of range. */
static size_t place_of(int64_t i, size_t n)
{
    if (i < 0)
        i += (int64_t)n;
    return i < 0 || (uint64_t)i >= n ? SIZE_MAX : (size_t)i;
}

static bool string_item(struct jinja_run *r, const struct jinja_value *s, int64_t i,
                        struct jinja_value *out)
{
    str text = jinja_str(s);
    size_t at = place_of(i, jinja_count_chars(text));
    if (at != SIZE_MAX) {
        size_t from = jinja_char_at(text, at);
        *out = jinja_sub(s, from, from + jinja_char_at(str_sub(text, from, SIZE_MAX), 1));
    }
    return jinja_work(r, s->n / 64);
}

bool jinja_item(struct jinja_run *r, struct jinja_value v, struct jinja_value key,
                struct jinja_value *out)
{
    bool is_index = key.kind == JINJA_INT || key.kind == JINJA_BOOL;
    int64_t i = key.kind == JINJA_BOOL ? key.truth : key.i;
    str name = key.kind == JINJA_STRING ? jinja_str(&key) : STR("[...]");
    *out = jinja_undefined(name);
    if (v.kind == JINJA_UNDEFINED)
        return jinja_fail(r, "'%.*s' is undefined, so it has no item", STRF(jinja_str(&v)));
    if (v.kind == JINJA_DICT) {
        struct jinja_value *hit;
        if (key.kind == JINJA_LIST || key.kind == JINJA_DICT)
            return true;
        if (!jinja_dict_find(r, v.dict, &key, &hit))
            return false;
        if (hit)
            *out = *hit;
        return true;
    }
    if (v.kind == JINJA_STRING && is_index)
        return string_item(r, &v, i, out);
    if ((v.kind == JINJA_LIST || v.kind == JINJA_TUPLE) && is_index) {
        size_t at = place_of(i, v.n);
        if (at != SIZE_MAX)
            *out = v.items[at];
        return true;
    }
    return key.kind != JINJA_STRING || jinja_attr(r, v, name, out);
}

/* A bound of a slice over n items: as Python clamps it. */
static int64_t clamp(const struct jinja_value *v, int64_t n, int64_t step, int64_t otherwise)
{
    if (v->kind != JINJA_INT)
        return otherwise;
    int64_t low = step < 0 ? -1 : 0;
    int64_t high = step < 0 ? n - 1 : n;
    int64_t i = v->i < 0 ? v->i + n : v->i;
    return i < low ? low : i > high ? high : i;
}

static bool slice_list(struct jinja_run *r, const struct jinja_value *v, int64_t from, int64_t step,
                       int64_t count, struct jinja_value *out)
{
    if (step == 1) {
        *out = jinja_list(v->kind, v->n ? v->items + from : NULL, (size_t)count);
        return true;
    }
    struct jinja_value *items = jinja_room(r, (size_t)count, sizeof *items);
    if (!items)
        return false;
    for (int64_t k = 0; k < count; k++)
        items[k] = v->items[from + k * step];
    *out = jinja_list(v->kind, items, (size_t)count);
    return jinja_work(r, (size_t)count / 16);
}

static bool slice_string(struct jinja_run *r, const struct jinja_value *v, int64_t from,
                         int64_t step, int64_t count, struct jinja_value *out)
{
    str s = jinja_str(v);
    if (step == 1) {
        size_t begin = jinja_char_at(s, (size_t)from);
        size_t n = jinja_char_at(str_sub(s, begin, SIZE_MAX), (size_t)count);
        *out = jinja_sub(v, begin, begin + n);
        return jinja_work(r, s.n / 64);
    }
    struct jinja_value chars;
    if (!jinja_iterate(r, v, &chars))
        return false;
    size_t at = jinja_begin(r);
    for (int64_t k = 0; k < count; k++)
        jinja_put(r, &chars.items[from + k * step]);
    return jinja_take(r, at, out);
}

static bool slice(struct jinja_run *r, struct jinja_value v, const struct jinja_value *part,
                  struct jinja_value *out)
{
    size_t length;
    for (int i = 0; i < 3; i++) {
        if (part[i].kind != JINJA_INT && part[i].kind != JINJA_NONE)
            return jinja_fail(r, "a slice needs int or none, not %s", jinja_kind_name(&part[i]));
    }
    if (v.kind == JINJA_UNDEFINED)
        return jinja_fail(r, "'%.*s' is undefined, so it has no slice", STRF(jinja_str(&v)));
    if (v.kind != JINJA_STRING && v.kind != JINJA_LIST && v.kind != JINJA_TUPLE)
        return jinja_fail(r, "%s cannot be sliced", jinja_kind_name(&v));
    if (!jinja_length(r, &v, &length))
        return false;
    int64_t n = (int64_t)length;
    int64_t step = part[2].kind == JINJA_INT ? part[2].i : 1;
    if (step == 0)
        return jinja_fail(r, "the step of a slice is 0");
    /* Longer steps than the string give the same and could overflow. */
    step = step > n ? n + 1 : step < -n ? -n - 1 : step;
    int64_t from = clamp(&part[0], n, step, step < 0 ? n - 1 : 0);
    int64_t to = clamp(&part[1], n, step, step < 0 ? -1 : n);
    int64_t count = step < 0 ? (from - to - step - 1) / -step : (to - from + step - 1) / step;
    if ((step > 0 && to <= from) || (step < 0 && to >= from)) {
        from = 0;
        count = 0;
        step = 1;
    }
    return v.kind == JINJA_STRING ? slice_string(r, &v, from, step, count, out)
                                  : slice_list(r, &v, from, step, count, out);
}

static bool eval_slice(struct jinja_run *r, struct jinja_scope *s, const struct jinja_node *n,
                       struct jinja_value *out)
{
    struct jinja_value object;
    struct jinja_value part[3] = {{.kind = JINJA_NONE}, {.kind = JINJA_NONE}, {.kind = JINJA_NONE}};
    const struct jinja_node *nodes[3] = {n->b, n->c, n->d};
    if (!jinja_eval(r, s, n->a, &object))
        return false;
    for (int i = 0; i < 3; i++) {
        if (nodes[i] && !jinja_eval(r, s, nodes[i], &part[i]))
            return false;
    }
    return slice(r, object, part, out);
}

/* ---- names, lists, dictionaries ---- */

static void eval_name(struct jinja_run *r, struct jinja_scope *s, str name, struct jinja_value *out)
{
    struct jinja_var *v = jinja_find(s, name);
    *out = v ? v->value : jinja_undefined(name);
    const struct jinja_builtin *b = v ? NULL : jinja_find_global(name);
    if (b) {
        struct jinja_bound *bound = arena_new(&r->mem, 1, sizeof *bound);
        bound->builtin = b;
        *out = (struct jinja_value){.kind = JINJA_FUNCTION, .function = bound};
    }
}

static bool eval_items(struct jinja_run *r, struct jinja_scope *s, const struct jinja_node *list,
                       enum jinja_kind kind, struct jinja_value *out)
{
    size_t n = 0;
    for (const struct jinja_node *item = list; item; item = item->next)
        n++;
    struct jinja_value *items = jinja_room(r, n, sizeof *items);
    if (!items)
        return false;
    for (size_t i = 0; i < n; i++, list = list->next) {
        if (!jinja_eval(r, s, list, &items[i]))
            return false;
    }
    *out = jinja_list(kind, items, n);
    return true;
}

static bool eval_dict(struct jinja_run *r, struct jinja_scope *s, const struct jinja_node *pairs,
                      struct jinja_value *out)
{
    struct jinja_dict *d = jinja_dict_new(r);
    for (; pairs; pairs = pairs->next) {
        struct jinja_value key, value;
        if (!jinja_eval(r, s, pairs->a, &key) || !jinja_eval(r, s, pairs->b, &value) ||
            !jinja_dict_put(r, d, key, value))
            return false;
    }
    *out = (struct jinja_value){.kind = JINJA_DICT, .dict = d};
    return true;
}

/* ---- calls ---- */

bool jinja_eval_args(struct jinja_run *r, struct jinja_scope *s, const struct jinja_node *list,
                     struct jinja_args *out)
{
    size_t n = 0, n_named = 0;
    for (const struct jinja_node *a = list; a; a = a->next) {
        n++;
        n_named += a->text.n > 0;
    }
    *out = (struct jinja_args){0};
    if (n == 0)
        return true;
    struct jinja_value *at = jinja_room(r, n, sizeof *at);
    str *names = jinja_room(r, n, sizeof *names);
    if (!at || !names)
        return false;
    for (size_t i = 0; i < n; i++, list = list->next) {
        if (!jinja_eval(r, s, list->a, &at[i]))
            return false;
        if (list->text.n)
            names[i - (n - n_named)] = list->text;
    }
    *out = (struct jinja_args){at, n, names, n_named};
    return true;
}

bool jinja_call(struct jinja_run *r, struct jinja_value f, const struct jinja_args *args,
                const struct jinja_value *caller, struct jinja_value *out)
{
    switch (f.kind) {
    case JINJA_MACRO: return jinja_call_macro(r, f.macro, args, caller, out);
    case JINJA_LOOP: return jinja_call_loop(r, f.loop, args, out);
    case JINJA_FUNCTION:
        return jinja_call_builtin(r, f.function->builtin, f.function->self, args, out);
    case JINJA_UNDEFINED:
        return jinja_fail(r, "'%.*s' is undefined, so it cannot be called", STRF(jinja_str(&f)));
    default: return jinja_fail(r, "%s cannot be called", jinja_kind_name(&f));
    }
}

bool jinja_eval_callee(struct jinja_run *r, struct jinja_scope *s, const struct jinja_node *n,
                       struct jinja_value *out)
{
    struct jinja_value object;
    if (n->op != JINJA_X_ATTR)
        return jinja_eval(r, s, n, out);
    if (!jinja_eval(r, s, n->a, &object))
        return false;
    r->line = n->line;
    /* A mapping's methods come before its keys: a tool may have an argument called "items". */
    if (object.kind == JINJA_DICT && jinja_find_method(&object, n->text))
        return bind_method(r, object, n->text, out);
    if (!jinja_attr(r, object, n->text, out))
        return false;
    if (out->kind == JINJA_UNDEFINED)
        return jinja_fail(r, "%s has no method '%.*s' that a template may call",
                          jinja_kind_name(&object), STRF(n->text));
    return true;
}

static bool eval_call(struct jinja_run *r, struct jinja_scope *s, const struct jinja_node *n,
                      struct jinja_value *out)
{
    struct jinja_value f;
    struct jinja_args args;
    if (!jinja_eval_callee(r, s, n->a, &f) || !jinja_eval_args(r, s, n->b, &args))
        return false;
    r->line = n->line;
    return jinja_call(r, f, &args, NULL, out);
}

static bool apply(struct jinja_run *r, struct jinja_scope *s, const struct jinja_node *n,
                  struct jinja_value in, struct jinja_value *out)
{
    struct jinja_args args;
    if (!jinja_eval_args(r, s, n->b, &args))
        return false;
    r->line = n->line;
    if (!n->builtin)
        return jinja_fail(r, "there is no %s named '%.*s'",
                          n->op == JINJA_X_FILTER ? "filter" : "test", STRF(n->text));
    return jinja_call_builtin(r, n->builtin, in, &args, out);
}

bool jinja_apply_filters(struct jinja_run *r, struct jinja_scope *s, const struct jinja_node *n,
                         struct jinja_value in, struct jinja_value *out)
{
    if (n->a && !jinja_apply_filters(r, s, n->a, in, &in))
        return false;
    return apply(r, s, n, in, out);
}

/* ---- operators ---- */

static bool compare(struct jinja_run *r, enum jinja_compare op, const struct jinja_value *a,
                    const struct jinja_value *b, bool *out)
{
    int order = 0;
    switch (op) {
    case JINJA_EQ: return jinja_equal(r, a, b, out);
    case JINJA_NE:
        if (!jinja_equal(r, a, b, out))
            return false;
        *out = !*out;
        return true;
    case JINJA_IN: return jinja_contains(r, b, a, out);
    case JINJA_NOT_IN:
        if (!jinja_contains(r, b, a, out))
            return false;
        *out = !*out;
        return true;
    case JINJA_LT:
    case JINJA_LE:
    case JINJA_GT:
    case JINJA_GE: break;
    }
    if (!jinja_order(r, a, b, &order))
        return false;
    *out = op == JINJA_LT   ? order < 0
           : op == JINJA_LE ? order <= 0
           : op == JINJA_GT ? order > 0
                            : order >= 0;
    return true;
}

static bool eval_compare(struct jinja_run *r, struct jinja_scope *s, const struct jinja_node *n,
                         struct jinja_value *out)
{
    struct jinja_value left, right;
    bool holds = true;
    if (!jinja_eval(r, s, n->a, &left))
        return false;
    for (const struct jinja_node *o = n->b; o && holds; o = o->next) {
        if (!jinja_eval(r, s, o->a, &right))
            return false;
        r->line = n->line;
        if (!compare(r, o->compare, &left, &right, &holds))
            return false;
        left = right;
    }
    *out = jinja_bool(holds);
    return true;
}

static bool eval_binary(struct jinja_run *r, struct jinja_scope *s, const struct jinja_node *n,
                        struct jinja_value *out)
{
    struct jinja_value a, b;
    if (!jinja_eval(r, s, n->a, &a) || !jinja_eval(r, s, n->b, &b))
        return false;
    r->line = n->line;
    if (n->op == JINJA_X_ITEM)
        return jinja_item(r, a, b, out);
    if (n->op != JINJA_X_CONCAT)
        return jinja_arith(r, n->op, a, b, out);
    bool ok = jinja_to_str(r, &a, &a) && jinja_to_str(r, &b, &b) && jinja_concat(r, &a, &b, out);
    out->safe = false;
    return ok;
}

/* and, or: one of the operands. */
static bool eval_logic(struct jinja_run *r, struct jinja_scope *s, const struct jinja_node *n,
                       struct jinja_value *out)
{
    if (!jinja_eval(r, s, n->a, out))
        return false;
    if (jinja_truth(out) != (n->op == JINJA_X_AND))
        return true;
    return jinja_eval(r, s, n->b, out);
}

static bool eval_ternary(struct jinja_run *r, struct jinja_scope *s, const struct jinja_node *n,
                         struct jinja_value *out)
{
    struct jinja_value condition;
    if (!jinja_eval(r, s, n->a, &condition))
        return false;
    const struct jinja_node *branch = jinja_truth(&condition) ? n->b : n->c;
    if (branch)
        return jinja_eval(r, s, branch, out);
    *out = jinja_undefined(STR("the value of an if without else"));
    return true;
}

/* Operators with one operand that is evaluated first. */
static bool eval_unary(struct jinja_run *r, struct jinja_scope *s, const struct jinja_node *n,
                       struct jinja_value *out)
{
    struct jinja_value v;
    if (!jinja_eval(r, s, n->a, &v))
        return false;
    r->line = n->line;
    switch (n->op) {
    case JINJA_X_ATTR: return jinja_attr(r, v, n->text, out);
    case JINJA_X_NEG: return jinja_negate(r, v, out);
    case JINJA_X_NOT: *out = jinja_bool(!jinja_truth(&v)); return true;
    case JINJA_X_POS:
        *out = v;
        return jinja_is_number(&v) ||
               jinja_fail(r, "'+' does not take %s alone", jinja_kind_name(&v));
    default: return apply(r, s, n, v, out);
    }
}

static bool eval(struct jinja_run *r, struct jinja_scope *s, const struct jinja_node *n,
                 struct jinja_value *out)
{
    switch (n->op) {
    case JINJA_X_LIST: return eval_items(r, s, n->a, JINJA_LIST, out);
    case JINJA_X_TUPLE: return eval_items(r, s, n->a, JINJA_TUPLE, out);
    case JINJA_X_DICT: return eval_dict(r, s, n->a, out);
    case JINJA_X_SLICE: return eval_slice(r, s, n, out);
    case JINJA_X_CALL: return eval_call(r, s, n, out);
    case JINJA_X_COMPARE: return eval_compare(r, s, n, out);
    case JINJA_X_AND:
    case JINJA_X_OR: return eval_logic(r, s, n, out);
    case JINJA_X_TERNARY: return eval_ternary(r, s, n, out);
    case JINJA_X_ATTR:
    case JINJA_X_NEG:
    case JINJA_X_POS:
    case JINJA_X_NOT:
    case JINJA_X_FILTER:
    case JINJA_X_TEST: return eval_unary(r, s, n, out);
    default: return eval_binary(r, s, n, out);
    }
}

bool jinja_eval(struct jinja_run *r, struct jinja_scope *s, const struct jinja_node *n,
                struct jinja_value *out)
{
    if (n->op == JINJA_X_LITERAL) {
        *out = *n->value;
        return true;
    }
    if (n->op == JINJA_X_NAME) {
        eval_name(r, s, n->text, out);
        return true;
    }
    r->line = n->line;
    bool ok = jinja_enter(r) && jinja_work(r, 1) && eval(r, s, n, out);
    r->depth--;
    return ok;
}
