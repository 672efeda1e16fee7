#include "text/gbnf.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

enum { MAX_ITEMS = 4096 }; /* of one sequence, alternatives of one group, ranges of one class */

struct named_rule {
    str name;
    uint32_t rule;
    uint32_t first_line; /* where it was used or defined first */
    bool defined;
};

struct gbnf {
    struct grammar *g;
    str source;
    size_t at;
    uint32_t depth;
    struct named_rule rules[GBNF_MAX_RULES];
    size_t n_rules;
    struct err *e;
};

/* ---- reading ---- */

static int peek(const struct gbnf *p)
{
    return p->at < p->source.n ? (unsigned char)p->source.p[p->at] : -1;
}

static uint32_t line_of(const struct gbnf *p)
{
    uint32_t line = 1;
    for (size_t i = 0; i < p->at; i++)
        line += p->source.p[i] == '\n';
    return line;
}

static bool refuse(const struct gbnf *p, const char *what)
{
    str rest = str_sub(p->source, p->at, p->at + 20);
    if (rest.n == 0)
        return err_set(p->e, ERR_FORMAT, "grammar, line %u: %s, not the end", line_of(p), what);
    return err_set(p->e, ERR_FORMAT, "grammar, line %u: %s, not '%.*s'", line_of(p), what,
                   STRF(rest));
}

static bool too_large(const struct gbnf *p, const char *what, unsigned limit)
{
    return err_set(p->e, ERR_LIMIT, "grammar, line %u: more than %u %s", line_of(p), limit, what);
}

static bool is_word(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

/* Blanks, line ends and comments. */
static void skip_space(struct gbnf *p)
{
    for (int c; (c = peek(p)) >= 0;) {
        if (c == '#')
            while (peek(p) >= 0 && peek(p) != '\n')
                p->at++;
        else if (c == ' ' || c == '\t' || c == '\n' || c == '\r')
            p->at++;
        else
            break;
    }
}

static bool take(struct gbnf *p, const char *text)
{
    if (!str_starts(str_sub(p->source, p->at, SIZE_MAX), str_of(text)))
        return false;
    p->at += strlen(text);
    return true;
}

static str read_word(struct gbnf *p)
{
    size_t from = p->at;
    while (is_word(peek(p)))
        p->at++;
    return str_sub(p->source, from, p->at);
}

/* Does `name ::=` stand here? */
static bool at_definition(struct gbnf *p)
{
    size_t from = p->at;
    bool is_name = read_word(p).n > 0;
    skip_space(p);
    bool is_definition = is_name && take(p, "::=");
    p->at = from;
    return is_definition;
}

static bool read_hex(struct gbnf *p, int n_digits, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < n_digits; i++) {
        int c = peek(p);
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return refuse(p, "expected a hexadecimal digit");
        *out = *out << 4 | (uint32_t)digit;
        p->at++;
    }
    return true;
}

/* One character of a literal or class. */
static bool read_char(struct gbnf *p, uint32_t *out)
{
    static const char names[] = "nrt\\\"[]-^", values[] = "\n\r\t\\\"[]-^";
    str rest = str_sub(p->source, p->at, SIZE_MAX);
    if (rest.n == 0)
        return refuse(p, "expected a character");
    if (rest.p[0] != '\\') {
        size_t n = utf8_decode((const unsigned char *)rest.p, rest.n, out);
        p->at += n;
        return n > 0 || refuse(p, "expected UTF-8");
    }
    p->at++;
    int c = peek(p);
    const char *name = c > 0 ? strchr(names, c) : NULL;
    p->at++;
    if (name) {
        *out = (unsigned char)values[name - names];
        return true;
    }
    if (c == 'x' || c == 'u' || c == 'U')
        return read_hex(p, c == 'x' ? 2 : c == 'u' ? 4 : 8, out);
    p->at--;
    return refuse(p, "expected an escape: \\n \\r \\t \\\\ \\\" \\[ \\] \\xHH \\uHHHH");
}

/* ---- parts of a rule ---- */

static bool read_literal(struct gbnf *p, uint32_t *out)
{
    struct buf bytes = {0};
    bool ok = true;
    while (ok && peek(p) != '"') {
        uint32_t c;
        ok = read_char(p, &c);
        if (ok)
            utf8_put(c, &bytes);
    }
    p->at++;
    if (ok)
        *out = grammar_bytes(p->g, buf_view(&bytes));
    buf_free(&bytes);
    return ok;
}

static int by_from(const void *x, const void *y)
{
    const struct code_range *a = x, *b = y;
    return a->from < b->from ? -1 : a->from > b->from;
}

/* What the ranges leave out; returns how many there are. */
static size_t invert(struct code_range *ranges, size_t n, struct code_range *out)
{
    uint32_t next = 0;
    size_t n_out = 0;
    qsort(ranges, n, sizeof *ranges, by_from);
    for (size_t i = 0; i < n; i++) {
        if (ranges[i].from > next)
            out[n_out++] = (struct code_range){next, ranges[i].from - 1};
        if (ranges[i].to + 1 > next)
            next = ranges[i].to + 1;
    }
    if (next <= 0x10ffff)
        out[n_out++] = (struct code_range){next, 0x10ffff};
    return n_out;
}

static bool read_class(struct gbnf *p, uint32_t *out)
{
    struct code_range *ranges = mem_new(2 * MAX_ITEMS + 2, sizeof *ranges);
    size_t n = 0;
    bool negated = take(p, "^"), ok = true;
    while (ok && peek(p) != ']') {
        struct code_range r;
        if (n == MAX_ITEMS) {
            ok = too_large(p, "ranges in a class", MAX_ITEMS);
            break;
        }
        ok = read_char(p, &r.from);
        r.to = r.from;
        if (ok && peek(p) == '-' && p->at + 1 < p->source.n && p->source.p[p->at + 1] != ']') {
            p->at++;
            ok = read_char(p, &r.to);
        }
        if (ok && (r.from > r.to || r.to > 0x10ffff))
            ok = refuse(p, "expected a range from a lower to a higher character");
        ranges[n++] = r;
    }
    p->at++;
    if (ok && negated) {
        size_t n_out = invert(ranges, n, ranges + MAX_ITEMS);
        *out = grammar_chars(p->g, ranges + MAX_ITEMS, n_out);
    } else if (ok) {
        *out = grammar_chars(p->g, ranges, n);
    }
    free(ranges);
    return ok;
}

static bool read_rule_name(struct gbnf *p, struct named_rule **out)
{
    str name = read_word(p);
    for (size_t i = 0; i < p->n_rules; i++)
        if (str_eq(p->rules[i].name, name)) {
            *out = &p->rules[i];
            return true;
        }
    if (p->n_rules == GBNF_MAX_RULES)
        return too_large(p, "rules", GBNF_MAX_RULES);
    *out = &p->rules[p->n_rules++];
    **out = (struct named_rule){.name = name, .rule = grammar_rule(p->g), .first_line = line_of(p)};
    return true;
}

static bool read_alternatives(struct gbnf *p, bool nested, uint32_t *out);

static bool read_atom(struct gbnf *p, uint32_t *out)
{
    static const struct code_range any = {0, 0x10ffff};
    if (take(p, "\""))
        return read_literal(p, out);
    if (take(p, "["))
        return read_class(p, out);
    if (take(p, "(")) {
        if (p->depth++ == GBNF_MAX_DEPTH)
            return too_large(p, "groups inside each other", GBNF_MAX_DEPTH);
        bool ok = read_alternatives(p, true, out);
        p->depth--;
        return ok && (take(p, ")") || refuse(p, "expected ')'"));
    }
    if (take(p, ".")) {
        *out = grammar_chars(p->g, &any, 1);
        return true;
    }
    if (!is_word(peek(p)))
        return refuse(p, "expected a literal, a class, a group or the name of a rule");
    struct named_rule *rule;
    if (!read_rule_name(p, &rule))
        return false;
    *out = grammar_call(p->g, rule->rule);
    return true;
}

static bool read_count(struct gbnf *p, uint32_t *out)
{
    uint64_t n = 0;
    if (peek(p) < '0' || peek(p) > '9')
        return refuse(p, "expected a number");
    for (; peek(p) >= '0' && peek(p) <= '9' && n < GRAMMAR_UNBOUNDED; p->at++)
        n = 10 * n + (uint64_t)(peek(p) - '0');
    *out = (uint32_t)n;
    return n < GRAMMAR_UNBOUNDED || too_large(p, "repetitions", GRAMMAR_UNBOUNDED - 1);
}

/* {m} {m,} {m,n} {,n} behind the brace. */
static bool read_braces(struct gbnf *p, uint32_t *min, uint32_t *max)
{
    *min = 0;
    skip_space(p);
    if (peek(p) != ',' && !read_count(p, min))
        return false;
    *max = *min;
    skip_space(p);
    if (take(p, ",")) {
        skip_space(p);
        *max = GRAMMAR_UNBOUNDED;
        if (peek(p) != '}' && !read_count(p, max))
            return false;
        skip_space(p);
    }
    if (*min > *max)
        return refuse(p, "expected the smaller count first");
    return take(p, "}") || refuse(p, "expected '}'");
}

static bool read_item(struct gbnf *p, uint32_t *out)
{
    bool ok = read_atom(p, out);
    while (ok) {
        uint32_t min = 0, max = GRAMMAR_UNBOUNDED;
        if (take(p, "+"))
            min = 1;
        else if (take(p, "?"))
            max = 1;
        else if (take(p, "{"))
            ok = read_braces(p, &min, &max);
        else if (!take(p, "*"))
            break;
        if (ok)
            *out = grammar_repeat(p->g, *out, min, max);
    }
    return ok;
}

static bool at_end_of_sequence(struct gbnf *p, bool nested)
{
    skip_space(p);
    int c = peek(p);
    return c < 0 || c == '|' || (nested ? c == ')' : at_definition(p));
}

static bool read_sequence(struct gbnf *p, bool nested, uint32_t *out)
{
    uint32_t *items = mem_new(MAX_ITEMS, sizeof *items);
    size_t n = 0;
    bool ok = true;
    while (ok && !at_end_of_sequence(p, nested))
        ok = n < MAX_ITEMS ? read_item(p, &items[n++])
                           : too_large(p, "items in a sequence", MAX_ITEMS);
    if (ok)
        *out = grammar_seq(p->g, items, n);
    free(items);
    return ok;
}

static bool read_alternatives(struct gbnf *p, bool nested, uint32_t *out)
{
    uint32_t *alts = mem_new(MAX_ITEMS, sizeof *alts);
    size_t n = 0;
    bool ok = true;
    do
        ok = n < MAX_ITEMS ? read_sequence(p, nested, &alts[n++])
                           : too_large(p, "alternatives", MAX_ITEMS);
    while (ok && take(p, "|"));
    if (ok)
        *out = grammar_alt(p->g, alts, n);
    free(alts);
    return ok;
}

/* ---- rules ---- */

static bool read_definition(struct gbnf *p)
{
    struct named_rule *rule;
    uint32_t node;
    if (!at_definition(p))
        return refuse(p, "expected 'name ::='");
    if (!read_rule_name(p, &rule))
        return false;
    skip_space(p);
    take(p, "::=");
    if (rule->defined)
        return err_set(p->e, ERR_FORMAT, "grammar, line %u: '%.*s' is defined twice", line_of(p),
                       STRF(rule->name));
    rule->defined = true;
    if (!read_alternatives(p, false, &node))
        return false;
    grammar_define(p->g, rule->rule, node);
    skip_space(p);
    return true;
}

static bool read_all(struct gbnf *p, uint32_t *root)
{
    bool has_root = false;
    skip_space(p);
    while (peek(p) >= 0)
        if (!read_definition(p))
            return false;
    for (size_t i = 0; i < p->n_rules; i++) {
        const struct named_rule *r = &p->rules[i];
        if (!r->defined)
            return err_set(p->e, ERR_FORMAT, "grammar, line %u: '%.*s' is not defined",
                           r->first_line, STRF(r->name));
        if (str_eq(r->name, STR("root"))) {
            *root = r->rule;
            has_root = true;
        }
    }
    return has_root || err_set(p->e, ERR_FORMAT, "the grammar has no rule 'root'");
}

/* Says which rule could not be compiled. */
static void name_rule(const struct gbnf *p)
{
    for (size_t i = 0; i < p->n_rules; i++)
        if (p->rules[i].rule == grammar_bad_rule(p->g))
            err_within(p->e, "grammar, line %u, rule '%.*s'", p->rules[i].first_line,
                       STRF(p->rules[i].name));
}

/* Reads source; the reader stays, for the names of rules. NULL: failed. */
static struct gbnf *read_source(struct grammar *g, str source, uint32_t *root, struct err *e)
{
    if (source.n > GBNF_MAX_SOURCE) {
        err_set(e, ERR_LIMIT, "the grammar has %zu bytes, the limit is %d", source.n,
                GBNF_MAX_SOURCE);
        return NULL;
    }
    struct gbnf *p = mem_new(1, sizeof *p);
    p->g = g;
    p->source = source;
    p->e = e;
    if (read_all(p, root))
        return p;
    free(p);
    return NULL;
}

bool gbnf_node(struct grammar *g, str source, uint32_t *node, struct err *e)
{
    uint32_t root;
    struct gbnf *p = read_source(g, source, &root, e);
    if (p)
        *node = grammar_call(g, root);
    free(p);
    return p != NULL;
}

bool gbnf_compile(struct grammar *g, str source, struct err *e)
{
    uint32_t root;
    struct gbnf *p = read_source(g, source, &root, e);
    bool ok = p && grammar_compile(g, root, e);
    if (p && !ok)
        name_rule(p);
    free(p);
    return ok;
}
