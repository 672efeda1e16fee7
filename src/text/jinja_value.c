/* jinja: what values are and how they compare. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "text/jinja_int.h"

/* ---- failing, counting ---- */

__attribute__((format(printf, 3, 0))) static bool fail(struct jinja_run *r, enum err_code code,
                                                       const char *format, va_list args)
{
    char text[512];
    vsnprintf(text, sizeof text, format, args);
    return err_set(r->e, code, "template line %u: %s", r->line, text);
}

bool jinja_fail(struct jinja_run *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fail(r, ERR_FORMAT, format, args);
    va_end(args);
    return false;
}

bool jinja_fail_limit(struct jinja_run *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fail(r, ERR_LIMIT, format, args);
    va_end(args);
    return false;
}

bool jinja_work(struct jinja_run *r, size_t n)
{
    r->steps += n;
    if (r->steps > r->max_steps)
        return jinja_fail_limit(r, "the template takes more than %llu steps",
                                (unsigned long long)r->max_steps);
    if (r->mem.n_bytes > r->max_memory)
        return jinja_fail_limit(r, "the template's values take more than %zu bytes", r->max_memory);
    return true;
}

bool jinja_enter(struct jinja_run *r)
{
    if (++r->depth <= JINJA_MAX_RECURSION)
        return true;
    return jinja_fail_limit(r, "nested deeper than %d at run time", JINJA_MAX_RECURSION);
}

void *jinja_room(struct jinja_run *r, size_t n, size_t size)
{
    uint64_t bytes;
    if (num_mul(n, size, &bytes) && bytes <= r->max_memory &&
        r->mem.n_bytes + bytes <= r->max_memory)
        return arena_new(&r->mem, n, size);
    jinja_fail_limit(r, "the template's values take more than %zu bytes", r->max_memory);
    return NULL;
}

/* ---- making ---- */

struct jinja_value jinja_none(void)
{
    return (struct jinja_value){.kind = JINJA_NONE};
}

struct jinja_value jinja_bool(bool b)
{
    return (struct jinja_value){.kind = JINJA_BOOL, .truth = b};
}

struct jinja_value jinja_int(int64_t i)
{
    return (struct jinja_value){.kind = JINJA_INT, .i = i};
}

struct jinja_value jinja_float(double f)
{
    return (struct jinja_value){.kind = JINJA_FLOAT, .f = f};
}

struct jinja_value jinja_text(str s)
{
    return (struct jinja_value){.kind = JINJA_STRING, .p = s.p, .n = s.n};
}

struct jinja_value jinja_undefined(str name)
{
    return (struct jinja_value){.kind = JINJA_UNDEFINED, .p = name.p, .n = name.n};
}

struct jinja_value jinja_list(enum jinja_kind kind, const struct jinja_value *items, size_t n)
{
    return (struct jinja_value){.kind = kind, .items = items, .n = n};
}

str jinja_str(const struct jinja_value *v)
{
    return (str){v->p, v->n};
}

struct jinja_value jinja_sub(const struct jinja_value *s, size_t from, size_t to)
{
    struct jinja_value v = *s;
    v.p += from;
    v.n = to - from;
    if (v.mark)
        v.mark += from;
    return v;
}

/* ---- asking ---- */

bool jinja_is_number(const struct jinja_value *v)
{
    return v->kind == JINJA_BOOL || v->kind == JINJA_INT || v->kind == JINJA_FLOAT ||
           v->kind == JINJA_BIG;
}

double jinja_to_f64(const struct jinja_value *v)
{
    switch (v->kind) {
    case JINJA_BOOL: return v->truth;
    case JINJA_INT: return (double)v->i;
    case JINJA_FLOAT: return v->f;
    case JINJA_BIG: return json_float(v->big);
    default: return 0;
    }
}

bool jinja_is_list(const struct jinja_value *v)
{
    return v->kind == JINJA_LIST || v->kind == JINJA_TUPLE || v->kind == JINJA_STREAM;
}

bool jinja_truth(const struct jinja_value *v)
{
    switch (v->kind) {
    case JINJA_ABSENT:
    case JINJA_UNDEFINED:
    case JINJA_NONE: return false;
    case JINJA_BOOL: return v->truth;
    case JINJA_INT: return v->i != 0;
    case JINJA_FLOAT: return v->f < 0 || v->f > 0 || isnan(v->f);
    case JINJA_STRING:
    case JINJA_LIST:
    case JINJA_TUPLE: return v->n > 0;
    case JINJA_DICT: return v->dict->n > 0;
    case JINJA_BIG:
    case JINJA_STREAM:
    case JINJA_NAMESPACE:
    case JINJA_MACRO:
    case JINJA_LOOP:
    case JINJA_FUNCTION: return true;
    }
    return false;
}

const char *jinja_kind_name(const struct jinja_value *v)
{
    switch (v->kind) {
    case JINJA_ABSENT:
    case JINJA_UNDEFINED: return "Undefined";
    case JINJA_NONE: return "NoneType";
    case JINJA_BOOL: return "bool";
    case JINJA_INT:
    case JINJA_BIG: return "int";
    case JINJA_FLOAT: return "float";
    case JINJA_STRING: return "str";
    case JINJA_LIST: return "list";
    case JINJA_TUPLE: return "tuple";
    case JINJA_STREAM: return "generator";
    case JINJA_DICT: return "dict";
    case JINJA_NAMESPACE: return "Namespace";
    case JINJA_MACRO: return "Macro";
    case JINJA_LOOP: return "LoopContext";
    case JINJA_FUNCTION: return "function";
    }
    return "?";
}

/* ---- comparing ---- */

static bool equal_items(struct jinja_run *r, const struct jinja_value *a,
                        const struct jinja_value *b, bool *out)
{
    *out = a->kind == b->kind && a->n == b->n;
    for (size_t i = 0; *out && i < a->n; i++) {
        if (!jinja_equal(r, &a->items[i], &b->items[i], out))
            return false;
    }
    return true;
}

static bool equal_dicts(struct jinja_run *r, const struct jinja_dict *a, const struct jinja_dict *b,
                        bool *out)
{
    *out = a->n == b->n;
    for (size_t i = 0; *out && i < a->n; i++) {
        struct jinja_value *other;
        if (!jinja_dict_find(r, b, &a->entries[i].key, &other))
            return false;
        *out = other != NULL;
        if (other && !jinja_equal(r, &a->entries[i].value, other, out))
            return false;
    }
    return true;
}

static bool equal_numbers(const struct jinja_value *a, const struct jinja_value *b)
{
    if (a->kind == JINJA_INT && b->kind == JINJA_INT)
        return a->i == b->i;
    double x = jinja_to_f64(a);
    double y = jinja_to_f64(b);
    return x >= y && x <= y;
}

/* Equality of what has no items. */
static bool equal_plain(const struct jinja_value *a, const struct jinja_value *b)
{
    if (jinja_is_number(a) && jinja_is_number(b))
        return equal_numbers(a, b);
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case JINJA_STRING: return str_eq(jinja_str(a), jinja_str(b));
    case JINJA_NAMESPACE: return a->dict == b->dict;
    case JINJA_MACRO: return a->macro == b->macro;
    case JINJA_LOOP: return a->loop == b->loop;
    case JINJA_FUNCTION: return a->function->builtin == b->function->builtin;
    default: return true;
    }
}

bool jinja_equal(struct jinja_run *r, const struct jinja_value *a, const struct jinja_value *b,
                 bool *out)
{
    bool ok = jinja_enter(r) && jinja_work(r, 1);
    if (ok && jinja_is_list(a) && jinja_is_list(b))
        ok = equal_items(r, a, b, out);
    else if (ok && a->kind == JINJA_DICT && b->kind == JINJA_DICT)
        ok = equal_dicts(r, a->dict, b->dict, out);
    else if (ok)
        *out = equal_plain(a, b);
    r->depth--;
    return ok;
}

static bool order_items(struct jinja_run *r, const struct jinja_value *a,
                        const struct jinja_value *b, int *out)
{
    for (size_t i = 0; i < a->n && i < b->n; i++) {
        bool same;
        if (!jinja_equal(r, &a->items[i], &b->items[i], &same))
            return false;
        if (!same)
            return jinja_order(r, &a->items[i], &b->items[i], out);
    }
    *out = a->n < b->n ? -1 : a->n > b->n;
    return true;
}

bool jinja_order(struct jinja_run *r, const struct jinja_value *a, const struct jinja_value *b,
                 int *out)
{
    bool ok = jinja_enter(r) && jinja_work(r, 1);
    if (!ok) {
        /* the error is set */
    } else if (a->kind == JINJA_INT && b->kind == JINJA_INT) {
        *out = a->i < b->i ? -1 : a->i > b->i;
    } else if (jinja_is_number(a) && jinja_is_number(b)) {
        double x = jinja_to_f64(a), y = jinja_to_f64(b);
        *out = x < y ? -1 : x > y;
    } else if (a->kind == JINJA_STRING && b->kind == JINJA_STRING) {
        int c = a->n && b->n ? memcmp(a->p, b->p, num_min(a->n, b->n)) : 0;
        *out = c ? c : a->n < b->n ? -1 : a->n > b->n;
    } else if (a->kind == b->kind && (a->kind == JINJA_LIST || a->kind == JINJA_TUPLE)) {
        ok = order_items(r, a, b, out);
    } else {
        ok = jinja_fail(r, "%s and %s have no order", jinja_kind_name(a), jinja_kind_name(b));
    }
    r->depth--;
    return ok;
}

bool jinja_contains(struct jinja_run *r, const struct jinja_value *hay,
                    const struct jinja_value *needle, bool *out)
{
    struct jinja_value *hit;
    *out = false;
    if (hay->kind == JINJA_STRING) {
        if (needle->kind != JINJA_STRING)
            return jinja_fail(r, "'in' looks for a str in a str, not for %s",
                              jinja_kind_name(needle));
        *out = str_find(jinja_str(hay), jinja_str(needle), 0) != SIZE_MAX;
        return jinja_work(r, hay->n / 64);
    }
    if (hay->kind == JINJA_DICT) {
        if (!jinja_dict_find(r, hay->dict, needle, &hit))
            return false;
        *out = hit != NULL;
        return true;
    }
    if (hay->kind == JINJA_UNDEFINED)
        return true;
    if (!jinja_is_list(hay))
        return jinja_fail(r, "'in' cannot look into %s", jinja_kind_name(hay));
    for (size_t i = 0; !*out && i < hay->n; i++) {
        if (!jinja_equal(r, &hay->items[i], needle, out))
            return false;
    }
    return true;
}

/* ---- walking ---- */

static bool list_keys(struct jinja_run *r, const struct jinja_dict *d, struct jinja_value *out)
{
    struct jinja_value *keys = jinja_room(r, d->n, sizeof *keys);
    if (!keys)
        return false;
    for (size_t i = 0; i < d->n; i++)
        keys[i] = d->entries[i].key;
    *out = jinja_list(JINJA_LIST, keys, d->n);
    return true;
}

static bool list_chars(struct jinja_run *r, const struct jinja_value *s, struct jinja_value *out)
{
    size_t n = jinja_count_chars(jinja_str(s));
    struct jinja_value *chars = jinja_room(r, n, sizeof *chars);
    if (!chars)
        return false;
    for (size_t i = 0, at = 0; i < n; i++) {
        size_t end = at + jinja_char_at(str_sub(jinja_str(s), at, SIZE_MAX), 1);
        chars[i] = jinja_sub(s, at, end);
        at = end;
    }
    *out = jinja_list(JINJA_LIST, chars, n);
    return jinja_work(r, n / 8);
}

bool jinja_iterate(struct jinja_run *r, const struct jinja_value *v, struct jinja_value *out)
{
    if (jinja_is_list(v)) {
        *out = *v;
        return true;
    }
    if (v->kind == JINJA_DICT)
        return list_keys(r, v->dict, out);
    if (v->kind == JINJA_STRING)
        return list_chars(r, v, out);
    if (v->kind != JINJA_UNDEFINED)
        return jinja_fail(r, "%s cannot be walked: expected a list, a dict or a str",
                          jinja_kind_name(v));
    *out = jinja_list(JINJA_LIST, NULL, 0);
    return true;
}

bool jinja_length(struct jinja_run *r, const struct jinja_value *v, size_t *out)
{
    *out = v->n;
    if (v->kind == JINJA_STRING)
        *out = jinja_count_chars(jinja_str(v));
    else if (v->kind == JINJA_UNDEFINED)
        *out = 0;
    else if (v->kind == JINJA_DICT)
        *out = v->dict->n;
    else if (v->kind != JINJA_LIST && v->kind != JINJA_TUPLE)
        return jinja_fail(r, "%s has no length", jinja_kind_name(v));
    return jinja_work(r, v->kind == JINJA_STRING ? v->n / 64 : 0);
}

/* ---- dictionaries ---- */

struct jinja_dict *jinja_dict_new(struct jinja_run *r)
{
    return arena_new(&r->mem, 1, sizeof(struct jinja_dict));
}

bool jinja_dict_find(struct jinja_run *r, const struct jinja_dict *d, const struct jinja_value *key,
                     struct jinja_value **out)
{
    *out = NULL;
    if (key->kind == JINJA_LIST || key->kind == JINJA_DICT)
        return jinja_fail(r, "%s cannot be a key", jinja_kind_name(key));
    for (size_t i = 0; i < d->n; i++) {
        struct jinja_entry *e = &d->entries[i];
        bool same = false;
        if (key->kind == JINJA_STRING && e->key.kind == JINJA_STRING)
            same = str_eq(jinja_str(key), jinja_str(&e->key));
        else if (!jinja_equal(r, &e->key, key, &same))
            return false;
        if (same) {
            *out = &e->value;
            break;
        }
    }
    return jinja_work(r, d->n / 16);
}

bool jinja_dict_put(struct jinja_run *r, struct jinja_dict *d, struct jinja_value key,
                    struct jinja_value value)
{
    struct jinja_value *old;
    if (!jinja_dict_find(r, d, &key, &old))
        return false;
    if (old) {
        *old = value;
        return true;
    }
    if (d->n == d->room) {
        size_t room = d->room ? 2 * d->room : 4;
        struct jinja_entry *more = jinja_room(r, room, sizeof *more);
        if (!more)
            return false;
        if (d->n)
            memcpy(more, d->entries, d->n * sizeof *more);
        d->entries = more;
        d->room = room;
    }
    d->entries[d->n++] = (struct jinja_entry){key, value};
    return true;
}
