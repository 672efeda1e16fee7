/* regex: patterns of JSON schemas as nodes. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "text/textform.h"

enum { MAX_DEPTH = 32, MAX_TERMS = 1024, MAX_RANGES = 256, MAX_CODE = 0x10ffff };

struct regex {
    struct grammar *g;
    enum text_form form;
    str source;
    size_t at;
    uint32_t depth;
    const char *why;
};

/* A class of characters. */
struct chars {
    struct code_range ranges[MAX_RANGES];
    size_t n;
};

static const struct code_range anything = {0, MAX_CODE};

static bool refuse(struct regex *r, const char *why)
{
    if (!r->why)
        r->why = why;
    return false;
}

static int peek(const struct regex *r)
{
    return r->at < r->source.n ? (unsigned char)r->source.p[r->at] : -1;
}

static bool take(struct regex *r, const char *text)
{
    if (!str_starts(str_sub(r->source, r->at, SIZE_MAX), str_of(text)))
        return false;
    r->at += strlen(text);
    return true;
}

static bool put_range(struct regex *r, struct chars *set, uint32_t from, uint32_t to)
{
    if (set->n == MAX_RANGES)
        return refuse(r, "a class with very many ranges");
    set->ranges[set->n++] = (struct code_range){from, to};
    return true;
}

static int by_from(const void *x, const void *y)
{
    const struct code_range *a = x, *b = y;
    return a->from < b->from ? -1 : a->from > b->from;
}

static bool invert(struct regex *r, struct chars *set)
{
    struct chars out = {.n = 0};
    uint32_t next = 0;
    qsort(set->ranges, set->n, sizeof *set->ranges, by_from);
    bool ok = true;
    for (size_t i = 0; ok && i < set->n; i++) {
        if (set->ranges[i].from > next)
            ok = put_range(r, &out, next, set->ranges[i].from - 1);
        if (set->ranges[i].to + 1 > next)
            next = set->ranges[i].to + 1;
    }
    if (ok && next <= MAX_CODE)
        ok = put_range(r, &out, next, MAX_CODE);
    *set = out;
    return ok;
}

/* \d \w \s and their opposites; false without an error when c is none of them. */
static bool put_named(struct regex *r, int c, struct chars *set)
{
    static const struct code_range digits[] = {{'0', '9'}};
    static const struct code_range word[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
    static const struct code_range space[] = {
        {9, 13},          {' ', ' '},       {0xa0, 0xa0},     {0x1680, 0x1680}, {0x2000, 0x200a},
        {0x2028, 0x2029}, {0x202f, 0x202f}, {0x205f, 0x205f}, {0x3000, 0x3000}, {0xfeff, 0xfeff}};
    int lower = c | 0x20;
    const struct code_range *list = lower == 'd' ? digits : lower == 'w' ? word : space;
    size_t n = lower == 'd' ? 1 : lower == 'w' ? 4 : sizeof space / sizeof *space;
    struct chars named = {.n = 0};
    bool ok = true;
    for (size_t i = 0; i < n; i++)
        put_range(r, &named, list[i].from, list[i].to);
    if (c != lower)
        ok = invert(r, &named);
    for (size_t i = 0; ok && i < named.n; i++)
        ok = put_range(r, set, named.ranges[i].from, named.ranges[i].to);
    return ok;
}

static bool is_named(int c)
{
    return c > 0 && strchr("dDwWsS", c) != NULL;
}

static bool read_hex(struct regex *r, size_t n_min, size_t n_max, uint32_t *out)
{
    size_t n = 0;
    *out = 0;
    for (; n < n_max; n++, r->at++) {
        int c = peek(r);
        int digit = c >= '0' && c <= '9'                     ? c - '0'
                    : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                             : -1;
        if (digit < 0)
            break;
        *out = *out << 4 | (uint32_t)digit;
    }
    return n >= n_min || refuse(r, "a broken \\x or \\u escape");
}

/* A \u escape; two of them may be the halves of one character. */
static bool read_unicode(struct regex *r, uint32_t *out)
{
    uint32_t low;
    if (take(r, "{"))
        return read_hex(r, 1, 6, out) && (take(r, "}") || refuse(r, "a broken \\u escape"));
    if (!read_hex(r, 4, 4, out))
        return false;
    if (*out >= 0xd800 && *out < 0xdc00 && take(r, "\\u")) {
        if (!read_hex(r, 4, 4, &low) || low < 0xdc00 || low > 0xdfff)
            return refuse(r, "half a surrogate pair");
        *out = 0x10000 + ((*out - 0xd800) << 10 | (low - 0xdc00));
    }
    return true;
}

/* The character of an escape, behind its backslash. */
static bool read_escape(struct regex *r, uint32_t *out)
{
    static const char names[] = "nrtfv0", values[] = "\n\r\t\f\v";
    int c = peek(r);
    const char *name = c > 0 ? strchr(names, c) : NULL;
    if (c < 0)
        return refuse(r, "a backslash at the end");
    r->at++;
    if (name)
        *out = (unsigned char)values[name - names];
    else if (c == 'x')
        return read_hex(r, 2, 2, out);
    else if (c == 'u')
        return read_unicode(r, out);
    else if (c == 'b' || c == 'B')
        return refuse(r, "\\b");
    else if (c == 'p' || c == 'P')
        return refuse(r, "\\p");
    else if ((c >= '1' && c <= '9') || c == 'k')
        return refuse(r, "a back reference");
    else if (c == 'c')
        return refuse(r, "\\c");
    else
        *out = (uint32_t)c;
    return c < 0x80 || refuse(r, "an escaped character that is not ASCII");
}

static bool read_char(struct regex *r, uint32_t *out)
{
    str rest = str_sub(r->source, r->at, SIZE_MAX);
    size_t n = rest.n ? utf8_decode((const unsigned char *)rest.p, rest.n, out) : 0;
    r->at += n;
    return n > 0 || refuse(r, "text that is not UTF-8");
}

/* One end of a range in a class, or a named class, which is put right away. */
static bool read_class_atom(struct regex *r, struct chars *set, uint32_t *out, bool *is_set)
{
    *is_set = false;
    if (!take(r, "\\"))
        return read_char(r, out);
    int c = peek(r);
    if (is_named(c)) {
        r->at++;
        *is_set = true;
        return put_named(r, c, set);
    }
    if (c == 'b') {
        r->at++;
        *out = '\b';
        return true;
    }
    return read_escape(r, out);
}

static bool read_class(struct regex *r, struct chars *set)
{
    bool negated = take(r, "^"), ok = true;
    set->n = 0;
    while (ok && peek(r) != ']') {
        uint32_t from, to;
        bool is_set, is_set_too = false;
        if (peek(r) < 0)
            return refuse(r, "a class without its end");
        ok = read_class_atom(r, set, &from, &is_set);
        to = from;
        if (ok && peek(r) == '-' && r->at + 1 < r->source.n && r->source.p[r->at + 1] != ']') {
            r->at++;
            ok = read_class_atom(r, set, &to, &is_set_too);
            if (ok && (is_set || is_set_too || from > to))
                ok = refuse(r, "a range without two ends");
        }
        if (ok && !is_set)
            ok = put_range(r, set, from, to);
    }
    r->at++;
    return ok && (!negated || invert(r, set));
}

static bool read_alternatives(struct regex *r, uint32_t *out);

static bool read_group(struct regex *r, uint32_t *out)
{
    if (take(r, "?")) {
        if (take(r, "<") && peek(r) != '=' && peek(r) != '!') {
            while (peek(r) >= 0 && peek(r) != '>')
                r->at++;
            r->at++;
        } else if (!take(r, ":")) {
            return refuse(r, "looking ahead or behind");
        }
    }
    if (r->depth++ == MAX_DEPTH)
        return refuse(r, "deeply nested groups");
    bool ok = read_alternatives(r, out);
    r->depth--;
    return ok && (take(r, ")") || refuse(r, "a group without its end"));
}

static bool read_atom(struct regex *r, uint32_t *out)
{
    struct chars set = {.n = 0};
    uint32_t c;
    if (take(r, "("))
        return read_group(r, out);
    if (take(r, "[")) {
        if (!read_class(r, &set))
            return false;
    } else if (take(r, ".")) {
        put_range(r, &set, '\n', '\n');
        put_range(r, &set, '\r', '\r');
        put_range(r, &set, 0x2028, 0x2029);
        invert(r, &set);
    } else if (take(r, "\\")) {
        bool ok = true;
        if (is_named(peek(r)))
            ok = put_named(r, r->source.p[r->at++], &set);
        else
            ok = read_escape(r, &c) && put_range(r, &set, c, c);
        if (!ok)
            return false;
    } else {
        int next = peek(r);
        if (next == '^' || next == '$')
            return refuse(r, "^ or $ in the middle");
        if (next > 0 && strchr("*+?", next))
            return refuse(r, "a repetition of nothing");
        if (!read_char(r, &c) || !put_range(r, &set, c, c))
            return false;
    }
    *out = textform_chars(r->g, r->form, set.ranges, set.n);
    return true;
}

/* {m}, {m,} or {m,n}; false, without an error, when the brace is a character. */
static bool read_count(struct regex *r, uint32_t *min, uint32_t *max)
{
    size_t from = r->at;
    uint64_t n[2] = {0, 0};
    int i = 0, n_digits[2] = {0, 0};
    if (!take(r, "{"))
        return false;
    for (int c; (c = peek(r)) == ',' || (c >= '0' && c <= '9'); r->at++) {
        if (c == ',' && i++ == 1)
            break;
        if (c == ',')
            continue;
        n_digits[i]++;
        n[i] = n[i] < GRAMMAR_UNBOUNDED ? 10 * n[i] + (uint64_t)(c - '0') : n[i];
    }
    if (n_digits[0] == 0 || !take(r, "}")) {
        r->at = from;
        return false;
    }
    *min = n[0] < GRAMMAR_UNBOUNDED ? (uint32_t)n[0] : GRAMMAR_UNBOUNDED - 1;
    *max = i == 0 ? *min : GRAMMAR_UNBOUNDED;
    if (n_digits[1] && n[1] < GRAMMAR_UNBOUNDED)
        *max = (uint32_t)n[1];
    return true;
}

static bool read_term(struct regex *r, uint32_t *out)
{
    uint32_t min = 0, max = GRAMMAR_UNBOUNDED;
    if (!read_atom(r, out))
        return false;
    if (take(r, "+"))
        min = 1;
    else if (take(r, "?"))
        max = 1;
    else if (!take(r, "*") && !read_count(r, &min, &max))
        return true;
    take(r, "?"); /* lazy: the same texts */
    *out = grammar_repeat(r->g, *out, min, max);
    return true;
}

static uint32_t anything_at_all(struct regex *r)
{
    return grammar_repeat(r->g, textform_chars(r->g, r->form, &anything, 1), 0, GRAMMAR_UNBOUNDED);
}

/* Up to | or ) or the end. The whole pattern's alternatives match anywhere. */
static bool read_sequence(struct regex *r, uint32_t *out)
{
    uint32_t *terms = mem_new(MAX_TERMS + 2, sizeof *terms);
    size_t n = 0;
    bool whole = r->depth == 0, anchored = false, ok = true;
    if (whole && !take(r, "^"))
        terms[n++] = anything_at_all(r);
    while (ok && peek(r) >= 0 && peek(r) != '|' && peek(r) != ')' && !anchored) {
        int after = r->at + 1 < r->source.n ? r->source.p[r->at + 1] : '|';
        anchored = whole && peek(r) == '$' && after == '|';
        if (anchored)
            r->at++;
        else
            ok = n < MAX_TERMS ? read_term(r, &terms[n++]) : refuse(r, "very many terms");
    }
    if (whole && !anchored)
        terms[n++] = anything_at_all(r);
    if (ok)
        *out = grammar_seq(r->g, terms, n);
    free(terms);
    return ok;
}

static bool read_alternatives(struct regex *r, uint32_t *out)
{
    uint32_t *alts = mem_new(MAX_TERMS, sizeof *alts);
    size_t n = 0;
    bool ok = true;
    do
        ok = n < MAX_TERMS ? read_sequence(r, &alts[n++]) : refuse(r, "very many alternatives");
    while (ok && take(r, "|"));
    if (ok)
        *out = grammar_alt(r->g, alts, n);
    free(alts);
    return ok;
}

bool regex_node(struct grammar *g, enum text_form form, str pattern, uint32_t *out,
                const char **why)
{
    struct regex r = {.g = g, .form = form, .source = pattern};
    bool ok = read_alternatives(&r, out);
    if (ok && r.at < pattern.n)
        ok = refuse(&r, "a ) too many");
    *why = r.why;
    return ok;
}
