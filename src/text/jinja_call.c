/* jinja: calling built-in functions. */
#include <string.h>

#include "text/jinja_int.h"

const struct jinja_builtin *jinja_lookup(const struct jinja_builtin *table, str name)
{
    for (; table->name; table++) {
        if (str_eq(name, str_of(table->name)))
            return table;
    }
    return NULL;
}

/* The parameters' names, separated by blanks, into list; returns how many. */
static int split_params(const char *params, str *list)
{
    int n = 0;
    str rest = str_of(params);
    while (rest.n && n < JINJA_MAX_PARAMS)
        list[n++] = str_cut(rest, ' ', &rest);
    return n;
}

static bool bind(struct jinja_run *r, const struct jinja_builtin *b, const struct jinja_args *args,
                 struct jinja_value *slots)
{
    str names[JINJA_MAX_PARAMS];
    int n = split_params(b->params, names);
    size_t n_places = args->n - args->n_named;
    if (n_places > (size_t)n)
        return jinja_fail(r, "%s takes at most %d arguments, got %zu", b->name, n, n_places);
    for (size_t i = 0; i < n_places; i++)
        slots[i] = args->at[i];
    for (size_t k = 0; k < args->n_named; k++) {
        int i = 0;
        while (i < n && !str_eq(names[i], args->names[k]))
            i++;
        if (i == n)
            return jinja_fail(r, "%s has no argument '%.*s'", b->name, STRF(args->names[k]));
        slots[i] = args->at[n_places + k];
    }
    for (int i = 0; i < b->n_required; i++) {
        if (slots[i].kind == JINJA_ABSENT)
            return jinja_fail(r, "%s needs its argument '%.*s'", b->name, STRF(names[i]));
    }
    return true;
}

bool jinja_call_builtin(struct jinja_run *r, const struct jinja_builtin *b, struct jinja_value in,
                        const struct jinja_args *args, struct jinja_value *out)
{
    struct jinja_call c = {.run = r, .in = in, .all = *args};
    if (b->params && !bind(r, b, args, c.arg))
        return false;
    return jinja_work(r, 1) && b->run(&c, out);
}

bool jinja_arg_int(struct jinja_call *c, int i, int64_t otherwise, int64_t *out)
{
    const struct jinja_value *v = &c->arg[i];
    *out = otherwise;
    if (v->kind == JINJA_ABSENT || v->kind == JINJA_NONE)
        return true;
    if (v->kind != JINJA_INT && v->kind != JINJA_BOOL)
        return jinja_fail(c->run, "argument %d must be int, not %s", i + 1, jinja_kind_name(v));
    *out = v->kind == JINJA_BOOL ? v->truth : v->i;
    return true;
}

bool jinja_arg_str(struct jinja_call *c, int i, const char *what)
{
    const struct jinja_value *v = &c->arg[i];
    return v->kind == JINJA_STRING ||
           jinja_fail(c->run, "%s must be str, not %s", what, jinja_kind_name(v));
}
