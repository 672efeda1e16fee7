/* schema: numbers. Integers within limits are written out digit by digit. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "text/schema_int.h"

/* What a double holds exactly: JSON numbers beyond lose digits in most clients. */
#define MAX_INTEGER 9007199254740991

static uint32_t digit(struct grammar *g, char from, char to)
{
    struct byteset set = {0};
    if (from > to)
        return grammar_nothing(g);
    byteset_add(&set, (unsigned char)from, (unsigned char)to);
    return grammar_class(g, &set);
}

static uint32_t digits(struct grammar *g, size_t n)
{
    return grammar_repeat(g, digit(g, '0', '9'), (uint32_t)n, (uint32_t)n);
}

/* Digits not below (or not above) those of `limit`, of the same length. */
static uint32_t at_least(struct grammar *g, const char *limit)
{
    if (!*limit)
        return grammar_empty(g);
    uint32_t same = grammar_seq2(g, digit(g, *limit, *limit), at_least(g, limit + 1));
    uint32_t above =
        grammar_seq2(g, digit(g, (char)(*limit + 1), '9'), digits(g, strlen(limit + 1)));
    return grammar_alt(g, (uint32_t[]){same, above}, 2);
}

static uint32_t at_most(struct grammar *g, const char *limit)
{
    if (!*limit)
        return grammar_empty(g);
    uint32_t same = grammar_seq2(g, digit(g, *limit, *limit), at_most(g, limit + 1));
    uint32_t below =
        grammar_seq2(g, digit(g, '0', (char)(*limit - 1)), digits(g, strlen(limit + 1)));
    return grammar_alt(g, (uint32_t[]){same, below}, 2);
}

/* Digits from lo to hi, which have the same length. */
static uint32_t same_length(struct grammar *g, const char *lo, const char *hi)
{
    if (!*lo)
        return grammar_empty(g);
    if (*lo == *hi)
        return grammar_seq2(g, digit(g, *lo, *lo), same_length(g, lo + 1, hi + 1));
    uint32_t alts[] = {
        grammar_seq2(g, digit(g, *lo, *lo), at_least(g, lo + 1)),
        grammar_seq2(g, digit(g, (char)(*lo + 1), (char)(*hi - 1)), digits(g, strlen(lo + 1))),
        grammar_seq2(g, digit(g, *hi, *hi), at_most(g, hi + 1))};
    return grammar_alt(g, alts, 3);
}

/* Integers from lo to hi, neither negative. */
static uint32_t natural(struct grammar *g, int64_t lo, int64_t hi)
{
    uint32_t alts[20];
    size_t n = 0;
    for (int64_t from = lo, power = 10; from <= hi; power *= 10) {
        char a[24], b[24];
        if (from >= power)
            continue;
        int64_t to = hi < power - 1 ? hi : power - 1;
        snprintf(a, sizeof a, "%lld", (long long)from);
        snprintf(b, sizeof b, "%lld", (long long)to);
        alts[n++] = same_length(g, a, b);
        from = to + 1;
    }
    return grammar_alt(g, alts, n);
}

static uint32_t integer_range(struct grammar *g, int64_t lo, int64_t hi)
{
    uint32_t alts[2];
    size_t n = 0;
    if (hi >= 0 && lo <= hi)
        alts[n++] = natural(g, lo > 0 ? lo : 0, hi);
    if (lo < 0 && lo <= hi)
        alts[n++] = grammar_seq2(g, grammar_bytes(g, STR("-")), natural(g, hi < -1 ? -hi : 1, -lo));
    return grammar_alt(g, alts, n);
}

/* .5 to .999...: a fraction that is not zero. */
static uint32_t fraction(struct grammar *g)
{
    uint32_t parts[] = {grammar_bytes(g, STR(".")), grammar_repeat(g, digit(g, '0', '9'), 0, 14),
                        digit(g, '1', '9')};
    return grammar_seq(g, parts, 3);
}

/* Numbers between two limits that are no integers: |x| is an integer and a fraction. */
static uint32_t fraction_range(struct grammar *g, double lo, double hi)
{
    double top = floor(hi) - 1, bottom = ceil(lo); /* n + fraction for n from bottom to top */
    uint32_t alts[2];
    size_t n = 0;
    if (top >= 0 && top >= bottom)
        alts[n++] = natural(g, bottom > 0 ? (int64_t)bottom : 0, (int64_t)top);
    if (bottom < 0 && bottom <= top) {
        double least = top < -1 ? -top - 1 : 0; /* -(n + fraction) */
        alts[n++] = grammar_seq2(g, grammar_bytes(g, STR("-")),
                                 natural(g, (int64_t)least, (int64_t)-bottom - 1));
    }
    return grammar_seq2(g, grammar_alt(g, alts, n), fraction(g));
}

struct limits {
    double lo, hi;   /* of integers */
    double from, to; /* of numbers, both ends perhaps outside */
    bool any;        /* there are none */
};

static void limit(struct limits *l, const struct json *v, bool is_min, bool exclusive)
{
    double x = fmin(fmax(json_float(v), -1e16), 1e16);
    if (json_type(v) != JSON_INT && json_type(v) != JSON_FLOAT)
        return;
    double at = is_min ? ceil(x) : floor(x);
    if (exclusive && at == x)
        at += is_min ? 1 : -1;
    l->any = false;
    if (is_min && at > l->lo)
        l->lo = at;
    if (is_min && x > l->from)
        l->from = x;
    if (!is_min && at < l->hi)
        l->hi = at;
    if (!is_min && x < l->to)
        l->to = x;
}

static struct limits limits_of(const struct conj *c)
{
    const double most = MAX_INTEGER;
    struct limits l = {-most, most, -most, most, true};
    for (uint32_t i = 0; i < c->n; i++) {
        const struct json *s = c->part[i];
        /* Draft 4 had booleans that made minimum and maximum exclusive. */
        limit(&l, json_get(s, "minimum"), true, json_bool(json_get(s, "exclusiveMinimum")));
        limit(&l, json_get(s, "maximum"), false, json_bool(json_get(s, "exclusiveMaximum")));
        limit(&l, json_get(s, "exclusiveMinimum"), true, true);
        limit(&l, json_get(s, "exclusiveMaximum"), false, true);
    }
    return l;
}

static uint32_t any_number(struct schema_builder *b, bool integer)
{
    uint32_t *rule = integer ? &b->integer : &b->number;
    const char *pattern = integer ? "^(?:-?[1-9][0-9]{0,14}|0)$"
                                  : "^-?(?:0|[1-9][0-9]{0,14})(?:\\.[0-9]{1,17})?"
                                    "(?:[eE][+-]?[0-9]{1,2})?$";
    const char *why;
    uint32_t node;
    if (*rule == GRAMMAR_NEVER) {
        *rule = grammar_rule(b->g);
        regex_node(b->g, TEXT_PLAIN, str_of(pattern), &node, &why);
        grammar_define(b->g, *rule, node);
    }
    return grammar_call(b->g, *rule);
}

uint32_t schema_number(struct schema_builder *b, const struct conj *c, bool integer)
{
    struct limits l = limits_of(c);
    for (uint32_t i = 0; i < c->n; i++) {
        const struct json *step = json_get(c->part[i], "multipleOf");
        if (step && json_float(step) == 1)
            integer = true;
        else if (step)
            schema_note(b, "multipleOf");
    }
    if (l.any)
        return any_number(b, integer);
    uint32_t whole = integer_range(b->g, (int64_t)l.lo, (int64_t)l.hi);
    if (integer)
        return whole;
    if (l.lo > l.hi) {
        schema_note(b, "minimum and maximum without an integer between them");
        return any_number(b, false);
    }
    uint32_t alts[] = {whole, fraction_range(b->g, l.from, l.to)};
    return grammar_alt(b->g, alts, 2);
}
