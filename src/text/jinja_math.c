/* jinja: arithmetic, with Python's rules: integers stay integers, // and % round down, + also joins
 * strings and lists, * repeats them. */
#include <math.h>
#include <string.h>

#include "text/jinja_int.h"

static bool too_large(struct jinja_run *r)
{
    return jinja_fail_limit(r, "a number has more than 64 bits");
}

static bool is_int(const struct jinja_value *v)
{
    return v->kind == JINJA_INT || v->kind == JINJA_BOOL;
}

static int64_t to_int(const struct jinja_value *v)
{
    return v->kind == JINJA_BOOL ? v->truth : v->i;
}

/* b is not 0; INT64_MIN / -1 is excluded by the caller. */
static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static bool int_power(int64_t base, int64_t n, int64_t *out)
{
    *out = 1;
    for (;;) {
        if ((n & 1) && __builtin_mul_overflow(*out, base, out))
            return false;
        n >>= 1;
        if (n == 0)
            return true;
        if (__builtin_mul_overflow(base, base, &base))
            return false;
    }
}

static bool int_arith(struct jinja_run *r, enum jinja_op op, int64_t a, int64_t b,
                      struct jinja_value *out)
{
    int64_t result = 0;
    bool ok = true;
    if ((op == JINJA_X_DIV || op == JINJA_X_FLOORDIV || op == JINJA_X_MOD) && b == 0)
        return jinja_fail(r, "division by zero");
    switch (op) {
    case JINJA_X_ADD: ok = !__builtin_add_overflow(a, b, &result); break;
    case JINJA_X_SUB: ok = !__builtin_sub_overflow(a, b, &result); break;
    case JINJA_X_MUL: ok = !__builtin_mul_overflow(a, b, &result); break;
    case JINJA_X_FLOORDIV:
        ok = a != INT64_MIN || b != -1;
        result = ok ? floor_div(a, b) : 0;
        break;
    case JINJA_X_MOD: result = b == -1 ? 0 : a - floor_div(a, b) * b; break;
    case JINJA_X_POW:
        if (b < 0) {
            *out = jinja_float(pow((double)a, (double)b));
            return a != 0 || jinja_fail(r, "division by zero");
        }
        ok = int_power(a, b, &result);
        break;
    default: *out = jinja_float((double)a / (double)b); return true;
    }
    *out = jinja_int(result);
    return ok || too_large(r);
}

static bool float_arith(struct jinja_run *r, enum jinja_op op, double a, double b,
                        struct jinja_value *out)
{
    bool by_zero = !(b < 0 || b > 0 || isnan(b));
    if ((op == JINJA_X_DIV || op == JINJA_X_FLOORDIV || op == JINJA_X_MOD) && by_zero)
        return jinja_fail(r, "division by zero");
    double result;
    switch (op) {
    case JINJA_X_ADD: result = a + b; break;
    case JINJA_X_SUB: result = a - b; break;
    case JINJA_X_MUL: result = a * b; break;
    case JINJA_X_DIV: result = a / b; break;
    case JINJA_X_FLOORDIV: result = floor(a / b); break;
    case JINJA_X_MOD:
        result = fmod(a, b);
        if ((result < 0 || result > 0) && (result < 0) != (b < 0))
            result += b;
        break;
    default: result = pow(a, b); break;
    }
    *out = jinja_float(result);
    return true;
}

static bool join_lists(struct jinja_run *r, struct jinja_value a, struct jinja_value b,
                       struct jinja_value *out)
{
    struct jinja_value *items = jinja_room(r, a.n + b.n, sizeof *items);
    if (!items)
        return false;
    if (a.n)
        memcpy(items, a.items, a.n * sizeof *items);
    if (b.n)
        memcpy(items + a.n, b.items, b.n * sizeof *items);
    *out = jinja_list(a.kind, items, a.n + b.n);
    return jinja_work(r, (a.n + b.n) / 16);
}

static bool repeat_list(struct jinja_run *r, struct jinja_value v, size_t times,
                        struct jinja_value *out)
{
    if (v.n && times > JINJA_MAX_RANGE / v.n)
        return jinja_fail_limit(r, "a list of more than %d items", JINJA_MAX_RANGE);
    struct jinja_value *items = jinja_room(r, v.n * times, sizeof *items);
    if (!items)
        return false;
    for (size_t i = 0; i < v.n * times; i++)
        items[i] = v.items[i % v.n];
    *out = jinja_list(v.kind, items, v.n * times);
    return jinja_work(r, out->n / 16);
}

/* The output's limit bounds the result; an empty string would never reach it. */
static bool repeat_string(struct jinja_run *r, struct jinja_value v, size_t times,
                          struct jinja_value *out)
{
    size_t begin = jinja_begin(r);
    for (; times && v.n && !r->out.over; times--)
        jinja_put(r, &v);
    return jinja_take(r, begin, out);
}

static bool repeat(struct jinja_run *r, struct jinja_value v, int64_t times,
                   struct jinja_value *out)
{
    size_t n = times > 0 ? (size_t)times : 0;
    return v.kind == JINJA_STRING ? repeat_string(r, v, n, out) : repeat_list(r, v, n, out);
}

/* a + b. Python's Markup, which the filter safe gives, escapes what it is joined with. */
static bool join_strings(struct jinja_run *r, struct jinja_value a, struct jinja_value b,
                         struct jinja_value *out)
{
    bool safe = a.safe || b.safe;
    if (safe && !a.safe && !jinja_escape(r, &a, &a))
        return false;
    if (safe && !b.safe && !jinja_escape(r, &b, &b))
        return false;
    bool ok = jinja_concat(r, &a, &b, out);
    out->safe = safe;
    return ok;
}

static const char *symbol(enum jinja_op op)
{
    switch (op) {
    case JINJA_X_ADD: return "+";
    case JINJA_X_SUB: return "-";
    case JINJA_X_MUL: return "*";
    case JINJA_X_DIV: return "/";
    case JINJA_X_FLOORDIV: return "//";
    case JINJA_X_MOD: return "%";
    default: return "**";
    }
}

static bool can_repeat(const struct jinja_value *v)
{
    return v->kind == JINJA_STRING || v->kind == JINJA_LIST || v->kind == JINJA_TUPLE;
}

bool jinja_arith(struct jinja_run *r, enum jinja_op op, struct jinja_value a, struct jinja_value b,
                 struct jinja_value *out)
{
    if (is_int(&a) && is_int(&b))
        return int_arith(r, op, to_int(&a), to_int(&b), out);
    if (jinja_is_number(&a) && jinja_is_number(&b))
        return float_arith(r, op, jinja_to_f64(&a), jinja_to_f64(&b), out);
    if (op == JINJA_X_ADD && a.kind == JINJA_STRING && b.kind == JINJA_STRING)
        return join_strings(r, a, b, out);
    if (op == JINJA_X_ADD && a.kind == b.kind && (a.kind == JINJA_LIST || a.kind == JINJA_TUPLE))
        return join_lists(r, a, b, out);
    if (op == JINJA_X_MUL && can_repeat(&a) && is_int(&b))
        return repeat(r, a, to_int(&b), out);
    if (op == JINJA_X_MUL && can_repeat(&b) && is_int(&a))
        return repeat(r, b, to_int(&a), out);
    const struct jinja_value *missing = a.kind == JINJA_UNDEFINED ? &a : &b;
    if (missing->kind == JINJA_UNDEFINED)
        return jinja_fail(r, "'%.*s' is undefined, an operand of '%s'", STRF(jinja_str(missing)),
                          symbol(op));
    return jinja_fail(r, "'%s' does not take %s and %s", symbol(op), jinja_kind_name(&a),
                      jinja_kind_name(&b));
}

bool jinja_negate(struct jinja_run *r, struct jinja_value v, struct jinja_value *out)
{
    if (is_int(&v))
        return int_arith(r, JINJA_X_SUB, 0, to_int(&v), out);
    if (!jinja_is_number(&v))
        return jinja_fail(r, "'-' does not take %s", jinja_kind_name(&v));
    *out = jinja_float(-jinja_to_f64(&v));
    return true;
}
