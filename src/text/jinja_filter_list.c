/* jinja: filters over lists. */
#include <string.h>

#include "text/jinja_int.h"

/* ---- attributes by path: "function.name", "0.text", 1 ---- */

static bool get_path(struct jinja_run *r, struct jinja_value v, const struct jinja_value *path,
                     const struct jinja_value *otherwise, struct jinja_value *out)
{
    *out = v;
    if (path->kind == JINJA_INT)
        return jinja_item(r, v, *path, out);
    if (path->kind != JINJA_STRING)
        return jinja_fail(r, "an attribute's name must be str, not %s", jinja_kind_name(path));
    str rest = jinja_str(path);
    while (rest.n) {
        str part = str_cut(rest, '.', &rest);
        int64_t i;
        struct jinja_value key = str_to_i64(part, &i) ? jinja_int(i) : jinja_text(part);
        if (!jinja_item(r, *out, key, out))
            return false;
        if (out->kind == JINJA_UNDEFINED && otherwise->kind != JINJA_ABSENT)
            *out = *otherwise;
    }
    return true;
}

/* The value that an item is compared by: itself or what is under a path; text without case. */
static bool get_key(struct jinja_run *r, struct jinja_value v, const struct jinja_value *path,
                    bool with_case, struct jinja_value *out)
{
    struct jinja_value none = {0};
    *out = v;
    if (path->kind != JINJA_ABSENT && path->kind != JINJA_NONE && !get_path(r, v, path, &none, out))
        return false;
    return with_case || out->kind != JINJA_STRING || jinja_recase(r, out, JINJA_LOWER, out);
}

/* ---- the parts of lists ---- */

static bool run_list(struct jinja_call *c, struct jinja_value *out)
{
    if (!jinja_iterate(c->run, &c->in, out))
        return false;
    out->kind = JINJA_LIST;
    return true;
}

static bool run_items(struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_run *r = c->run;
    *out = jinja_list(JINJA_STREAM, NULL, 0);
    if (c->in.kind == JINJA_UNDEFINED)
        return true;
    if (c->in.kind != JINJA_DICT)
        return jinja_fail(r, "items needs a mapping, not %s", jinja_kind_name(&c->in));
    return jinja_dict_items(r, c->in.dict, JINJA_STREAM, out);
}

static bool run_first(struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value items;
    if (!jinja_iterate(c->run, &c->in, &items))
        return false;
    *out = items.n ? items.items[0] : jinja_undefined(STR("the first item of an empty list"));
    return true;
}

static bool run_last(struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value items;
    if (!jinja_iterate(c->run, &c->in, &items))
        return false;
    *out =
        items.n ? items.items[items.n - 1] : jinja_undefined(STR("the last item of an empty list"));
    return true;
}

static bool run_reverse(struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_run *r = c->run;
    struct jinja_value items;
    size_t begin = jinja_begin(r);
    if (!jinja_iterate(r, &c->in, &items))
        return false;
    struct jinja_value *turned = jinja_room(r, items.n, sizeof *turned);
    if (!turned)
        return false;
    for (size_t i = 0; i < items.n; i++)
        turned[i] = items.items[items.n - 1 - i];
    *out = jinja_list(JINJA_STREAM, turned, items.n);
    if (c->in.kind != JINJA_STRING)
        return true;
    for (size_t i = 0; i < items.n; i++)
        jinja_put(r, &turned[i]);
    return jinja_take(r, begin, out);
}

static bool run_batch(struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_run *r = c->run;
    struct jinja_value items;
    int64_t size;
    if (!jinja_iterate(r, &c->in, &items) || !jinja_arg_int(c, 0, 0, &size))
        return false;
    if (size < 1 || size > JINJA_MAX_RANGE)
        return jinja_fail(r, "batch needs a size from 1 to %d", JINJA_MAX_RANGE);
    size_t step = (size_t)size;
    size_t n = (items.n + step - 1) / step;
    struct jinja_value *batches = jinja_room(r, n, sizeof *batches);
    bool fill = c->arg[1].kind != JINJA_ABSENT && c->arg[1].kind != JINJA_NONE;
    if (!batches)
        return false;
    for (size_t i = 0; i < n; i++) {
        size_t here = items.n - i * step < step ? items.n - i * step : step;
        size_t room = fill ? step : here;
        struct jinja_value *copy = jinja_room(r, room, sizeof *copy);
        if (!copy)
            return false;
        for (size_t k = 0; k < room; k++)
            copy[k] = k < here ? items.items[i * step + k] : c->arg[1];
        batches[i] = jinja_list(JINJA_LIST, copy, room);
    }
    *out = jinja_list(JINJA_STREAM, batches, n);
    return true;
}

static bool run_join(struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_run *r = c->run;
    struct jinja_value items, separator = jinja_text(STR(""));
    struct jinja_value none = {0};
    size_t begin = jinja_begin(r);
    if (c->arg[0].kind != JINJA_ABSENT && !jinja_to_str(r, &c->arg[0], &separator))
        return false;
    if (!jinja_iterate(r, &c->in, &items))
        return false;
    for (size_t i = 0; i < items.n; i++) {
        struct jinja_value v = items.items[i];
        bool by_path = c->arg[1].kind != JINJA_ABSENT && c->arg[1].kind != JINJA_NONE;
        if (by_path && !get_path(r, v, &c->arg[1], &none, &v))
            return false;
        if (i)
            jinja_put(r, &separator);
        if (!jinja_work(r, 1) || !jinja_put_str(r, &v))
            return false;
    }
    return jinja_take(r, begin, out);
}

/* ---- choosing and mapping ---- */

/* The arguments from the i-th place on. */
static struct jinja_args rest_of(const struct jinja_args *all, size_t i)
{
    struct jinja_args rest = *all;
    rest.at = i ? rest.at + i : rest.at;
    rest.n -= i;
    return rest;
}

/* What select, map and the like walk: nothing for what counts as false, none too. */
static bool iterate_if_true(struct jinja_call *c, struct jinja_value *items)
{
    *items = jinja_list(JINJA_LIST, NULL, 0);
    return !jinja_truth(&c->in) || jinja_iterate(c->run, &c->in, items);
}

/* select, reject (item by a test), selectattr, rejectattr (an attribute by a test). */
static bool choose(struct jinja_call *c, bool by_attr, bool keep, struct jinja_value *out)
{
    struct jinja_run *r = c->run;
    struct jinja_value items, none = {0};
    size_t n_places = c->all.n - c->all.n_named;
    if (n_places < by_attr)
        return jinja_fail(r, "selectattr and rejectattr need an attribute");
    const struct jinja_value *test = n_places > by_attr ? &c->all.at[by_attr] : NULL;
    struct jinja_args args = rest_of(&c->all, (size_t)by_attr + (test != NULL));
    if (test && test->kind != JINJA_STRING)
        return jinja_fail(r, "a test's name must be str, not %s", jinja_kind_name(test));
    if (!iterate_if_true(c, &items))
        return false;
    struct jinja_value *kept = jinja_room(r, items.n, sizeof *kept);
    size_t n = 0;
    if (!kept)
        return false;
    for (size_t i = 0; i < items.n; i++) {
        struct jinja_value v = items.items[i];
        if (by_attr && !get_path(r, v, &c->all.at[0], &none, &v))
            return false;
        bool pass = jinja_truth(&v);
        if (test && !jinja_run_test(r, jinja_str(test), v, &args, &pass))
            return false;
        if (pass == keep)
            kept[n++] = items.items[i];
    }
    *out = jinja_list(JINJA_STREAM, kept, n);
    return jinja_work(r, items.n);
}

static bool run_select(struct jinja_call *c, struct jinja_value *out)
{
    return choose(c, false, true, out);
}

static bool run_reject(struct jinja_call *c, struct jinja_value *out)
{
    return choose(c, false, false, out);
}

static bool run_selectattr(struct jinja_call *c, struct jinja_value *out)
{
    return choose(c, true, true, out);
}

static bool run_rejectattr(struct jinja_call *c, struct jinja_value *out)
{
    return choose(c, true, false, out);
}

static struct jinja_value named(const struct jinja_args *all, const char *name)
{
    for (size_t k = 0; k < all->n_named; k++) {
        if (str_eq(all->names[k], str_of(name)))
            return all->at[all->n - all->n_named + k];
    }
    return (struct jinja_value){0};
}

/* map("filter", args...) or map(attribute=path, default=value). */
static bool run_map(struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_run *r = c->run;
    struct jinja_value items;
    struct jinja_value path = named(&c->all, "attribute");
    struct jinja_value otherwise = named(&c->all, "default");
    const struct jinja_builtin *filter = NULL;
    struct jinja_args args = {0};
    if (path.kind == JINJA_ABSENT) {
        if (c->all.n == c->all.n_named || c->all.at[0].kind != JINJA_STRING)
            return jinja_fail(r, "map needs a filter's name or attribute=");
        filter = jinja_find_filter(jinja_str(&c->all.at[0]));
        args = rest_of(&c->all, 1);
        if (!filter)
            return jinja_fail(r, "there is no filter named '%.*s'", STRF(jinja_str(&c->all.at[0])));
    }
    if (!iterate_if_true(c, &items))
        return false;
    struct jinja_value *mapped = jinja_room(r, items.n, sizeof *mapped);
    if (!mapped || !jinja_enter(r))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < items.n; i++)
        ok = filter ? jinja_call_builtin(r, filter, items.items[i], &args, &mapped[i])
                    : get_path(r, items.items[i], &path, &otherwise, &mapped[i]);
    r->depth--;
    *out = jinja_list(JINJA_STREAM, mapped, items.n);
    return ok && jinja_work(r, items.n);
}

/* ---- order ---- */

struct keyed {
    struct jinja_value key;
    struct jinja_value value;
};

/* Merges the sorted halves of [from, to) through spare. */
static bool merge(struct jinja_run *r, struct keyed *at, struct keyed *spare, size_t from,
                  size_t middle, size_t to, bool reverse)
{
    size_t a = from, b = middle;
    for (size_t i = from; i < to; i++) {
        int order = 0;
        if (a < middle && b < to && !jinja_order(r, &at[a].key, &at[b].key, &order))
            return false;
        bool left = a < middle && (b == to || (reverse ? order >= 0 : order <= 0));
        spare[i] = left ? at[a++] : at[b++];
    }
    memcpy(at + from, spare + from, (to - from) * sizeof *at);
    return true;
}

/* Stable, also in reverse. */
static bool sort(struct jinja_run *r, struct keyed *at, size_t n, bool reverse)
{
    struct keyed *spare = jinja_room(r, n, sizeof *spare);
    if (!spare)
        return false;
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t from = 0; from + width < n; from += 2 * width) {
            size_t to = from + 2 * width < n ? from + 2 * width : n;
            if (!merge(r, at, spare, from, from + width, to, reverse))
                return false;
        }
    }
    return true;
}

/* Sorts items by their keys into a new list. */
static bool sorted_list(struct jinja_run *r, struct jinja_value items,
                        const struct jinja_value *path, bool with_case, bool reverse,
                        struct jinja_value *out)
{
    struct keyed *keyed = jinja_room(r, items.n, sizeof *keyed);
    struct jinja_value *list = jinja_room(r, items.n, sizeof *list);
    if (!keyed || !list)
        return false;
    for (size_t i = 0; i < items.n; i++) {
        keyed[i].value = items.items[i];
        if (!get_key(r, items.items[i], path, with_case, &keyed[i].key))
            return false;
    }
    if (!sort(r, keyed, items.n, reverse))
        return false;
    for (size_t i = 0; i < items.n; i++)
        list[i] = keyed[i].value;
    *out = jinja_list(JINJA_LIST, list, items.n);
    return true;
}

static bool run_sort(struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value items;
    return jinja_iterate(c->run, &c->in, &items) &&
           sorted_list(c->run, items, &c->arg[2], jinja_truth(&c->arg[1]), jinja_truth(&c->arg[0]),
                       out);
}

static bool run_dictsort(struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value items;
    struct jinja_value by = jinja_int(0);
    if (c->in.kind != JINJA_DICT)
        return jinja_fail(c->run, "dictsort needs a mapping, not %s", jinja_kind_name(&c->in));
    if (c->arg[1].kind == JINJA_STRING && str_eq(jinja_str(&c->arg[1]), STR("value")))
        by = jinja_int(1);
    return jinja_dict_items(c->run, c->in.dict, JINJA_LIST, &items) &&
           sorted_list(c->run, items, &by, jinja_truth(&c->arg[0]), jinja_truth(&c->arg[2]), out);
}

static bool run_unique(struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_run *r = c->run;
    struct jinja_value items;
    if (!jinja_iterate(r, &c->in, &items))
        return false;
    struct jinja_value *keys = jinja_room(r, items.n, sizeof *keys);
    struct jinja_value *kept = jinja_room(r, items.n, sizeof *kept);
    size_t n = 0;
    if (!keys || !kept)
        return false;
    for (size_t i = 0; i < items.n; i++) {
        struct jinja_value seen = jinja_list(JINJA_LIST, keys, n);
        bool known;
        if (!get_key(r, items.items[i], &c->arg[1], jinja_truth(&c->arg[0]), &keys[n]) ||
            !jinja_contains(r, &seen, &keys[n], &known))
            return false;
        if (!known)
            kept[n++] = items.items[i];
    }
    *out = jinja_list(JINJA_STREAM, kept, n);
    return true;
}

/* min (sign -1) and max (sign 1). */
static bool extreme(struct jinja_call *c, int sign, struct jinja_value *out)
{
    struct jinja_run *r = c->run;
    struct jinja_value items, best = {0}, key;
    *out = jinja_undefined(STR("the least or greatest of nothing"));
    if (!jinja_iterate(r, &c->in, &items))
        return false;
    for (size_t i = 0; i < items.n; i++) {
        int order = sign;
        if (!get_key(r, items.items[i], &c->arg[1], jinja_truth(&c->arg[0]), &key) ||
            (i && !jinja_order(r, &key, &best, &order)))
            return false;
        if (order * sign > 0) {
            best = key;
            *out = items.items[i];
        }
    }
    return true;
}

static bool run_min(struct jinja_call *c, struct jinja_value *out)
{
    return extreme(c, -1, out);
}

static bool run_max(struct jinja_call *c, struct jinja_value *out)
{
    return extreme(c, 1, out);
}

static bool run_sum(struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value items;
    *out = c->arg[1].kind == JINJA_ABSENT ? jinja_int(0) : c->arg[1];
    if (!jinja_iterate(c->run, &c->in, &items))
        return false;
    for (size_t i = 0; i < items.n; i++) {
        struct jinja_value v;
        if (!get_key(c->run, items.items[i], &c->arg[0], true, &v) || !jinja_work(c->run, 1) ||
            !jinja_arith(c->run, JINJA_X_ADD, *out, v, out))
            return false;
    }
    return true;
}

static bool run_attr(struct jinja_call *c, struct jinja_value *out)
{
    return jinja_arg_str(c, 0, "attr's name") &&
           jinja_attr(c->run, c->in, jinja_str(&c->arg[0]), out);
}

const struct jinja_builtin *jinja_find_list_filter(str name)
{
    static const struct jinja_builtin table[] = {
        {"list", "", 0, run_list},
        {"items", "", 0, run_items},
        {"first", "", 0, run_first},
        {"last", "", 0, run_last},
        {"reverse", "", 0, run_reverse},
        {"batch", "linecount fill_with", 1, run_batch},
        {"join", "d attribute", 0, run_join},
        {"select", NULL, 0, run_select},
        {"reject", NULL, 0, run_reject},
        {"selectattr", NULL, 0, run_selectattr},
        {"rejectattr", NULL, 0, run_rejectattr},
        {"map", NULL, 0, run_map},
        {"sort", "reverse case_sensitive attribute", 0, run_sort},
        {"dictsort", "case_sensitive by reverse", 0, run_dictsort},
        {"unique", "case_sensitive attribute", 0, run_unique},
        {"min", "case_sensitive attribute", 0, run_min},
        {"max", "case_sensitive attribute", 0, run_max},
        {"sum", "attribute start", 0, run_sum},
        {"attr", "name", 1, run_attr},
        {0},
    };
    return jinja_lookup(table, name);
}
