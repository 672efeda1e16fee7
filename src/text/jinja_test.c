/* jinja: tests, what stands after "is". */
#include <math.h>

#include "text/jinja_int.h"

static bool put(struct jinja_value *out, bool b)
{
    *out = jinja_bool(b);
    return true;
}

static bool is_defined(struct jinja_call *c, struct jinja_value *out)
{
    return put(out, c->in.kind != JINJA_UNDEFINED);
}

static bool is_undefined(struct jinja_call *c, struct jinja_value *out)
{
    return put(out, c->in.kind == JINJA_UNDEFINED);
}

static bool is_none(struct jinja_call *c, struct jinja_value *out)
{
    return put(out, c->in.kind == JINJA_NONE);
}

static bool is_boolean(struct jinja_call *c, struct jinja_value *out)
{
    return put(out, c->in.kind == JINJA_BOOL);
}

static bool is_true(struct jinja_call *c, struct jinja_value *out)
{
    return put(out, c->in.kind == JINJA_BOOL && c->in.truth);
}

static bool is_false(struct jinja_call *c, struct jinja_value *out)
{
    return put(out, c->in.kind == JINJA_BOOL && !c->in.truth);
}

static bool is_integer(struct jinja_call *c, struct jinja_value *out)
{
    return put(out, c->in.kind == JINJA_INT || c->in.kind == JINJA_BIG);
}

static bool is_float(struct jinja_call *c, struct jinja_value *out)
{
    return put(out, c->in.kind == JINJA_FLOAT);
}

static bool is_number(struct jinja_call *c, struct jinja_value *out)
{
    return put(out, jinja_is_number(&c->in));
}

static bool is_string(struct jinja_call *c, struct jinja_value *out)
{
    return put(out, c->in.kind == JINJA_STRING);
}

static bool is_mapping(struct jinja_call *c, struct jinja_value *out)
{
    return put(out, c->in.kind == JINJA_DICT);
}

/* What has a length and items: Jinja counts mappings and undefined values among them. */
static bool is_sequence(struct jinja_call *c, struct jinja_value *out)
{
    enum jinja_kind k = c->in.kind;
    return put(out, k == JINJA_STRING || k == JINJA_LIST || k == JINJA_TUPLE || k == JINJA_DICT ||
                        k == JINJA_UNDEFINED);
}

static bool is_iterable(struct jinja_call *c, struct jinja_value *out)
{
    is_sequence(c, out);
    return put(out, out->truth || c->in.kind == JINJA_STREAM || c->in.kind == JINJA_LOOP);
}

static bool is_callable(struct jinja_call *c, struct jinja_value *out)
{
    enum jinja_kind k = c->in.kind;
    return put(out,
               k == JINJA_MACRO || k == JINJA_FUNCTION || k == JINJA_LOOP || k == JINJA_UNDEFINED);
}

static bool is_equal(struct jinja_call *c, struct jinja_value *out)
{
    bool same;
    return jinja_equal(c->run, &c->in, &c->arg[0], &same) && put(out, same);
}

static bool is_not_equal(struct jinja_call *c, struct jinja_value *out)
{
    return is_equal(c, out) && put(out, !out->truth);
}

static bool is_same(struct jinja_call *c, struct jinja_value *out)
{
    return is_equal(c, out) && put(out, out->truth && c->in.kind == c->arg[0].kind);
}

static bool is_in(struct jinja_call *c, struct jinja_value *out)
{
    bool found;
    return jinja_contains(c->run, &c->arg[0], &c->in, &found) && put(out, found);
}

static bool is_less(struct jinja_call *c, struct jinja_value *out)
{
    int order = 0;
    return jinja_order(c->run, &c->in, &c->arg[0], &order) && put(out, order < 0);
}

static bool is_greater(struct jinja_call *c, struct jinja_value *out)
{
    int order = 0;
    return jinja_order(c->run, &c->in, &c->arg[0], &order) && put(out, order > 0);
}

static bool is_not_greater(struct jinja_call *c, struct jinja_value *out)
{
    return is_greater(c, out) && put(out, !out->truth);
}

static bool is_not_less(struct jinja_call *c, struct jinja_value *out)
{
    return is_less(c, out) && put(out, !out->truth);
}

static bool divides(struct jinja_call *c, struct jinja_value divisor, struct jinja_value *out)
{
    return jinja_arith(c->run, JINJA_X_MOD, c->in, divisor, out) && put(out, !jinja_truth(out));
}

static bool is_divisible(struct jinja_call *c, struct jinja_value *out)
{
    return divides(c, c->arg[0], out);
}

static bool is_even(struct jinja_call *c, struct jinja_value *out)
{
    return divides(c, jinja_int(2), out);
}

static bool is_odd(struct jinja_call *c, struct jinja_value *out)
{
    return is_even(c, out) && put(out, !out->truth);
}

/* Has letters, and all of them are of one case? */
static bool has_case(struct jinja_call *c, enum jinja_case which, struct jinja_value *out)
{
    struct jinja_value text, same, other;
    if (!jinja_to_str(c->run, &c->in, &text) || !jinja_recase(c->run, &text, which, &same) ||
        !jinja_recase(c->run, &text, which == JINJA_UPPER ? JINJA_LOWER : JINJA_UPPER, &other))
        return false;
    return put(out, str_eq(jinja_str(&text), jinja_str(&same)) &&
                        !str_eq(jinja_str(&text), jinja_str(&other)));
}

static bool is_lower(struct jinja_call *c, struct jinja_value *out)
{
    return has_case(c, JINJA_LOWER, out);
}

static bool is_upper(struct jinja_call *c, struct jinja_value *out)
{
    return has_case(c, JINJA_UPPER, out);
}

static bool is_filter(struct jinja_call *c, struct jinja_value *out)
{
    return put(out, c->in.kind == JINJA_STRING && jinja_find_filter(jinja_str(&c->in)));
}

static bool is_test(struct jinja_call *c, struct jinja_value *out)
{
    return put(out, c->in.kind == JINJA_STRING && jinja_find_test(jinja_str(&c->in)));
}

const struct jinja_builtin *jinja_find_test(str name)
{
    static const struct jinja_builtin table[] = {
        {"defined", "", 0, is_defined},
        {"undefined", "", 0, is_undefined},
        {"none", "", 0, is_none},
        {"boolean", "", 0, is_boolean},
        {"true", "", 0, is_true},
        {"false", "", 0, is_false},
        {"integer", "", 0, is_integer},
        {"float", "", 0, is_float},
        {"number", "", 0, is_number},
        {"string", "", 0, is_string},
        {"mapping", "", 0, is_mapping},
        {"sequence", "", 0, is_sequence},
        {"iterable", "", 0, is_iterable},
        {"callable", "", 0, is_callable},
        {"eq", "other", 1, is_equal},
        {"equalto", "other", 1, is_equal},
        {"==", "other", 1, is_equal},
        {"ne", "other", 1, is_not_equal},
        {"!=", "other", 1, is_not_equal},
        {"sameas", "other", 1, is_same},
        {"in", "list", 1, is_in},
        {"lt", "other", 1, is_less},
        {"lessthan", "other", 1, is_less},
        {"<", "other", 1, is_less},
        {"gt", "other", 1, is_greater},
        {"greaterthan", "other", 1, is_greater},
        {">", "other", 1, is_greater},
        {"le", "other", 1, is_not_greater},
        {"<=", "other", 1, is_not_greater},
        {"ge", "other", 1, is_not_less},
        {">=", "other", 1, is_not_less},
        {"divisibleby", "num", 1, is_divisible},
        {"even", "", 0, is_even},
        {"odd", "", 0, is_odd},
        {"lower", "", 0, is_lower},
        {"upper", "", 0, is_upper},
        {"filter", "", 0, is_filter},
        {"test", "", 0, is_test},
        {0},
    };
    return jinja_lookup(table, name);
}

bool jinja_run_test(struct jinja_run *r, str name, struct jinja_value in,
                    const struct jinja_args *args, bool *out)
{
    struct jinja_value result;
    const struct jinja_builtin *b = jinja_find_test(name);
    if (!b)
        return jinja_fail(r, "there is no test named '%.*s'", STRF(name));
    if (!jinja_call_builtin(r, b, in, args, &result))
        return false;
    *out = jinja_truth(&result);
    return true;
}
