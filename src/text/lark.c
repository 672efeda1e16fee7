#include "text/lark.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"

enum { MAX_ITEMS = 1024 }; /* of one sequence, alternatives of one group */

struct lark_rule {
    str name;
    uint32_t rule;
    bool defined;
};

struct lark {
    struct grammar *g;
    const struct lark_params *params;
    uint32_t line;    /* rule for the rest of a line between tags; GRAMMAR_NEVER: not made yet */
    str source, rest; /* rest: what was not read yet */
    uint32_t depth;
    struct lark_rule *rules; /* [LARK_MAX_RULES] */
    size_t n_rules;
    struct err *e;
};

/* ---- reading ---- */

static int peek(const struct lark *p)
{
    return p->rest.n ? (unsigned char)p->rest.p[0] : -1;
}

static void drop(struct lark *p, size_t n)
{
    p->rest = str_sub(p->rest, n, SIZE_MAX);
}

static bool take(struct lark *p, const char *text)
{
    if (!str_starts(p->rest, str_of(text)))
        return false;
    drop(p, strlen(text));
    return true;
}

static bool refuse(const struct lark *p, const char *what)
{
    uint32_t line = 1;
    for (const char *c = p->source.p; c < p->rest.p; c++)
        line += *c == '\n';
    return err_set(p->e, ERR_FORMAT, "line %u: %s", line, what);
}

static bool is_letter(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static void skip_blanks(struct lark *p)
{
    while (peek(p) == ' ' || peek(p) == '\t')
        drop(p, 1);
}

/* Blanks, line ends and comments. */
static void skip_space(struct lark *p)
{
    for (;;) {
        skip_blanks(p);
        if (str_starts(p->rest, STR("//")))
            str_cut(p->rest, '\n', &p->rest);
        else if (peek(p) == '\n' || peek(p) == '\r')
            drop(p, 1);
        else
            return;
    }
}

static str read_name(struct lark *p)
{
    size_t n = 0;
    while (n < p->rest.n && (is_letter(p->rest.p[n]) || (n && is_digit(p->rest.p[n]))))
        n++;
    str name = str_sub(p->rest, 0, n);
    drop(p, n);
    return name;
}

static bool read_number(struct lark *p, uint32_t *out)
{
    uint64_t n = 0;
    if (!is_digit(peek(p)))
        return refuse(p, "a count is missing");
    for (; is_digit(peek(p)); drop(p, 1))
        n = n < GRAMMAR_UNBOUNDED ? 10 * n + (uint64_t)(peek(p) - '0') : n;
    *out = n < GRAMMAR_UNBOUNDED ? (uint32_t)n : GRAMMAR_UNBOUNDED - 1;
    return true;
}

/* "?name.2:", where a definition begins; its name, and the rest behind the colon. False, and
 * nothing is read: there is none. */
static bool take_definition(struct lark *p, str *name)
{
    const str before = p->rest;
    uint32_t ignored;
    while (peek(p) == '?' || peek(p) == '!')
        drop(p, 1);
    *name = read_name(p);
    if (take(p, ".")) {
        take(p, "-");
        if (is_digit(peek(p)))
            read_number(p, &ignored);
    }
    skip_blanks(p);
    if (name->n && take(p, ":"))
        return true;
    p->rest = before;
    return false;
}

static bool at_definition(const struct lark *p)
{
    struct lark ahead = *p;
    str name;
    return take_definition(&ahead, &name);
}

/* ---- rules ---- */

static struct lark_rule *rule_of(struct lark *p, str name)
{
    for (size_t i = 0; i < p->n_rules; i++)
        if (str_eq(p->rules[i].name, name))
            return &p->rules[i];
    if (p->n_rules == LARK_MAX_RULES) {
        refuse(p, "very many names");
        return NULL;
    }
    p->rules[p->n_rules] = (struct lark_rule){.name = name, .rule = grammar_rule(p->g)};
    return &p->rules[p->n_rules++];
}

static bool define(struct lark *p, str name, uint32_t node)
{
    struct lark_rule *r = rule_of(p, name);
    if (r && r->defined)
        return refuse(p, "a name is defined twice");
    if (r) {
        grammar_define(p->g, r->rule, node);
        r->defined = true;
    }
    return r != NULL;
}

/* ---- terminals ---- */

static bool between_tags(const struct lark *p)
{
    return p->params->form == TEXT_RAW;
}

/* Any text without a line end, and without what ends the value that it stands in. */
static uint32_t rest_of_line(struct lark *p)
{
    static const str line_end = STR("\n");
    if (p->line == GRAMMAR_NEVER) {
        struct grammar_pattern *apart = mem_new(p->params->n_apart + 1, sizeof *apart);
        size_t n = 0;
        apart[n++] =
            (struct grammar_pattern){.parts = &line_end, .n_parts = 1, .then = GRAMMAR_NEVER};
        for (size_t i = 0; i < p->params->n_apart; i++)
            if (!p->params->apart[i].line_start) /* this is not where a line starts */
                apart[n++] = p->params->apart[i];
        p->line = grammar_rule(p->g);
        grammar_define(
            p->g, p->line,
            grammar_scan(p->g, &(struct grammar_scan){.patterns = apart, .n = n, .may_end = true}));
        free(apart);
    }
    return grammar_call(p->g, p->line);
}

/* The same with a character at least, which does not begin a closing tag. */
static uint32_t some_of_line(struct lark *p)
{
    static const struct code_range other[] = {{0, 9}, {11, '<' - 1}, {'<' + 1, 0x10ffff}};
    static const struct code_range behind[] = {
        {0, 9}, {11, '/' - 1}, {'/' + 1, '<' - 1}, {'<' + 1, 0x10ffff}};
    struct grammar *g = p->g;
    const uint32_t angles = grammar_rule(g), line = rest_of_line(p);
    const uint32_t then[] = {grammar_empty(g), grammar_seq2(g, grammar_chars(g, behind, 4), line),
                             grammar_call(g, angles)};
    grammar_define(g, angles, grammar_seq2(g, grammar_bytes(g, STR("<")), grammar_alt(g, then, 3)));
    const uint32_t alts[] = {grammar_seq2(g, grammar_chars(g, other, 3), line),
                             grammar_call(g, angles)};
    return grammar_alt(g, alts, 2);
}

/* A regular expression between tags: a line's rest, or one that holds no '<'. */
static bool take_line(struct lark *p, str pattern, uint32_t *out, bool *is_line)
{
    static const char *const open[] = {".", "[^", "<", "\\S", "\\W", "\\D", "\\x", "\\u"};
    if (str_starts(pattern, STR("(")) && str_ends(pattern, STR(")")))
        pattern = str_sub(pattern, 1, pattern.n - 1);
    const bool any = str_eq(pattern, STR(".*")), some = str_eq(pattern, STR(".+"));
    *is_line = any || some;
    if (*is_line)
        *out = any ? rest_of_line(p) : some_of_line(p);
    for (size_t i = 0; !*is_line && i < sizeof open / sizeof *open; i++)
        if (str_find(pattern, str_of(open[i]), 0) != SIZE_MAX)
            return refuse(p, "an expression that may hold a '<', between tags");
    return true;
}

/* A whole text that matches; "." with or without line ends. */
static bool regex(struct lark *p, str pattern, bool dot_is_all, uint32_t *out)
{
    bool is_line = false;
    if (between_tags(p) && !dot_is_all && (!take_line(p, pattern, out, &is_line) || is_line))
        return is_line;
    if (between_tags(p) && dot_is_all)
        return refuse(p, "a flag of a regular expression, between tags");
    struct buf whole = {0};
    bool in_class = false;
    const char *why;
    buf_str(&whole, STR("^(?:"));
    for (size_t i = 0; i < pattern.n; i++) {
        const char c = pattern.p[i];
        if (c == '\\' && i + 1 < pattern.n) {
            buf_put(&whole, pattern.p + i++, 2);
            continue;
        }
        in_class = (in_class && c != ']') || (!in_class && c == '[');
        if (c == '.' && !in_class)
            buf_str(&whole, dot_is_all ? STR("[^]") : STR("[^\n]"));
        else
            buf_byte(&whole, c);
    }
    buf_str(&whole, STR(")$"));
    bool ok = regex_node(p->g, p->params->form, buf_view(&whole), out, &why) || refuse(p, why);
    buf_free(&whole);
    return ok;
}

/* Behind the first slash. */
static bool read_regex(struct lark *p, uint32_t *out)
{
    bool in_class = false, dot_is_all = false;
    size_t n = 0;
    for (; n < p->rest.n && (in_class || p->rest.p[n] != '/') && p->rest.p[n] != '\n'; n++) {
        if (p->rest.p[n] == '\\')
            n++;
        else
            in_class = (in_class && p->rest.p[n] != ']') || (!in_class && p->rest.p[n] == '[');
    }
    if (n >= p->rest.n || p->rest.p[n] != '/')
        return refuse(p, "a regular expression without its end");
    const str pattern = str_sub(p->rest, 0, n);
    drop(p, n + 1);
    while (peek(p) == 's' || peek(p) == 'u') {
        dot_is_all = dot_is_all || peek(p) == 's';
        drop(p, 1);
    }
    if (is_letter(peek(p)))
        return refuse(p, "a flag of a regular expression");
    return regex(p, pattern, dot_is_all, out);
}

static bool read_escape(struct lark *p, struct buf *out)
{
    static const char names[] = "nrtfv", values[] = "\n\r\t\f\v";
    const int c = peek(p);
    const char *hit = c > 0 ? strchr(names, c) : NULL;
    const size_t n_digits = c == 'x' ? 2 : c == 'u' ? 4 : 0;
    uint32_t code = 0;
    drop(p, 1);
    if (hit) {
        buf_byte(out, values[hit - names]);
    } else if (n_digits) {
        for (size_t i = 0; i < n_digits; i++, drop(p, 1)) {
            const int d = peek(p), low = d | 0x20;
            if (!is_digit(d) && !(low >= 'a' && low <= 'f'))
                return refuse(p, "a broken escape");
            code = code << 4 | (uint32_t)(is_digit(d) ? d - '0' : low - 'a' + 10);
        }
        utf8_put(code, out);
    } else if (c == '"' || c == '\\' || c == '\'') {
        buf_byte(out, (char)c);
    } else {
        return refuse(p, "an escape that is not known");
    }
    return true;
}

/* From its opening quote on. */
static bool read_string(struct lark *p, struct buf *out)
{
    if (!take(p, "\""))
        return refuse(p, "a string is missing");
    while (peek(p) >= 0 && peek(p) != '"' && peek(p) != '\n') {
        if (take(p, "\\")) {
            if (!read_escape(p, out))
                return false;
            continue;
        }
        buf_byte(out, (char)peek(p));
        drop(p, 1);
    }
    if (!take(p, "\""))
        return refuse(p, "a string without its end");
    return peek(p) != 'i' || refuse(p, "a string in any case");
}

/* The one character of a text. */
static bool one_char(const struct lark *p, const struct buf *text, uint32_t *out)
{
    const unsigned char *bytes = (const unsigned char *)text->p;
    return (text->n && utf8_decode(bytes, text->n, out) == text->n) ||
           refuse(p, "a range between texts that are no characters");
}

/* "text" or "a".."z". */
static bool read_literal(struct lark *p, uint32_t *out)
{
    struct buf text = {0}, last = {0};
    bool ok = read_string(p, &text);
    if (ok && take(p, "..")) {
        struct code_range range;
        ok = one_char(p, &text, &range.from) && read_string(p, &last) &&
             one_char(p, &last, &range.to) &&
             (range.from <= range.to || refuse(p, "a range that holds nothing"));
        if (ok && between_tags(p) && range.from <= '<' && range.to >= '<')
            ok = refuse(p, "a range with '<', between tags");
        if (ok)
            *out = textform_chars(p->g, p->params->form, &range, 1);
    } else if (ok && between_tags(p) && str_find(buf_view(&text), STR("<"), 0) != SIZE_MAX) {
        ok = refuse(p, "a string with '<', between tags");
    } else if (ok) {
        *out =
            text.n ? textform_literal(p->g, p->params->form, buf_view(&text)) : grammar_empty(p->g);
    }
    buf_free(&text);
    buf_free(&last);
    return ok;
}

/* ---- expressions ---- */

static bool read_alternatives(struct lark *p, uint32_t *out);

static bool read_group(struct lark *p, const char *end, uint32_t *out)
{
    if (p->depth == LARK_MAX_DEPTH)
        return refuse(p, "deeply nested groups");
    p->depth++;
    bool ok = read_alternatives(p, out);
    p->depth--;
    skip_space(p);
    return ok && (take(p, end) || refuse(p, "a group without its end"));
}

static bool read_atom(struct lark *p, uint32_t *out)
{
    if (take(p, "("))
        return read_group(p, ")", out);
    if (take(p, "[")) {
        bool ok = read_group(p, "]", out);
        *out = ok ? grammar_repeat(p->g, *out, 0, 1) : 0;
        return ok;
    }
    if (peek(p) == '"')
        return read_literal(p, out);
    if (take(p, "/"))
        return read_regex(p, out);
    const str name = read_name(p);
    if (name.n == 0)
        return refuse(p, "neither a name, a string, an expression nor a group");
    if (peek(p) == '{')
        return refuse(p, "a template");
    const struct lark_rule *r = rule_of(p, name);
    if (r)
        *out = grammar_call(p->g, r->rule);
    return r != NULL;
}

/* An atom and how often it comes. */
static bool read_item(struct lark *p, uint32_t *out)
{
    uint32_t min = 0, max = GRAMMAR_UNBOUNDED;
    if (!read_atom(p, out))
        return false;
    skip_blanks(p);
    if (take(p, "~")) {
        skip_blanks(p);
        if (!read_number(p, &min))
            return false;
        max = min;
        if (take(p, "..") && !read_number(p, &max))
            return false;
        if (max < min)
            return refuse(p, "a count that ends before it begins");
    } else if (take(p, "+")) {
        min = 1;
    } else if (peek(p) == '?' && !at_definition(p)) {
        drop(p, 1);
        max = 1;
    } else if (!take(p, "*")) {
        return true;
    }
    *out = grammar_repeat(p->g, *out, min, max);
    return true;
}

/* Does nothing more belong to the sequence? */
static bool ends_sequence(const struct lark *p)
{
    const int c = peek(p);
    return c < 0 || c == '|' || c == ')' || c == ']' || c == '%' || at_definition(p);
}

static bool read_sequence(struct lark *p, uint32_t *out)
{
    uint32_t *items = mem_new(MAX_ITEMS, sizeof *items);
    size_t n = 0;
    bool ok = true;
    for (skip_space(p); ok && !ends_sequence(p); skip_space(p)) {
        if (take(p, "->")) {
            skip_blanks(p);
            read_name(p);
            continue;
        }
        ok = n < MAX_ITEMS ? read_item(p, &items[n++]) : refuse(p, "a very long sequence");
    }
    if (ok)
        *out = n ? grammar_seq(p->g, items, n) : grammar_empty(p->g);
    free(items);
    return ok;
}

static bool read_alternatives(struct lark *p, uint32_t *out)
{
    uint32_t *alts = mem_new(MAX_ITEMS, sizeof *alts);
    size_t n = 0;
    bool ok;
    do
        ok = n < MAX_ITEMS ? read_sequence(p, &alts[n++]) : refuse(p, "very many alternatives");
    while (ok && take(p, "|"));
    if (ok)
        *out = grammar_alt(p->g, alts, n);
    free(alts);
    return ok;
}

/* ---- the whole ---- */

/* Lark's own terminals, those that name text without a context. */
static bool import_common(struct lark *p, str name, str as)
{
    static const struct {
        const char *name, *pattern;
    } common[] = {{"LF", "\\n"},
                  {"CR", "\\r"},
                  {"NEWLINE", "(?:\\r?\\n)+"},
                  {"WS", "[ \\t\\f\\r\\n]+"},
                  {"WS_INLINE", "[ \\t]+"},
                  {"DIGIT", "[0-9]"},
                  {"HEXDIGIT", "[0-9a-fA-F]"},
                  {"INT", "[0-9]+"},
                  {"SIGNED_INT", "[+-]?[0-9]+"},
                  {"LCASE_LETTER", "[a-z]"},
                  {"UCASE_LETTER", "[A-Z]"},
                  {"LETTER", "[a-zA-Z]"},
                  {"WORD", "[a-zA-Z]+"},
                  {"CNAME", "[a-zA-Z_][a-zA-Z0-9_]*"}};
    uint32_t node;
    for (size_t i = 0; i < sizeof common / sizeof *common; i++)
        if (str_eq(name, str_of(common[i].name)))
            return regex(p, str_of(common[i].pattern), false, &node) && define(p, as, node);
    return refuse(p, "an import of a terminal that is not known");
}

/* "common.LF", "common.LF -> NL" or "common (LF, WS)", to the line's end. */
static bool read_import(struct lark *p)
{
    skip_blanks(p);
    if (!take(p, "common"))
        return refuse(p, "an import from elsewhere than common");
    if (take(p, ".")) {
        const str name = read_name(p);
        str as = name;
        skip_blanks(p);
        if (take(p, "->")) {
            skip_blanks(p);
            as = read_name(p);
        }
        return import_common(p, name, as);
    }
    skip_blanks(p);
    bool ok = take(p, "(") || refuse(p, "an import of nothing");
    while (ok && !take(p, ")")) {
        const str name = read_name(p);
        ok = import_common(p, name, name);
        skip_blanks(p);
        take(p, ",");
        skip_blanks(p);
    }
    return ok;
}

static bool read_statements(struct lark *p)
{
    bool ok = true;
    for (skip_space(p); ok && peek(p) >= 0; skip_space(p)) {
        uint32_t node;
        str name;
        if (take(p, "%import"))
            ok = read_import(p);
        else if (take_definition(p, &name))
            ok = read_alternatives(p, &node) && define(p, name, node);
        else
            ok = refuse(p, peek(p) == '%' ? "a directive other than %import" : "no definition");
    }
    return ok;
}

static bool read_all(struct lark *p, uint32_t *out)
{
    if (p->source.n > LARK_MAX_SOURCE)
        return refuse(p, "more than 64 KiB");
    if (!read_statements(p))
        return false;
    const struct lark_rule *start = rule_of(p, STR("start"));
    for (size_t i = 0; i < p->n_rules; i++)
        if (!p->rules[i].defined)
            return err_set(p->e, ERR_FORMAT, "'%.*s' is not defined",
                           STRF(str_sub(p->rules[i].name, 0, 40)));
    if (start)
        *out = grammar_call(p->g, start->rule);
    return start != NULL;
}

static bool read_into(struct grammar *g, const struct lark_params *params, str source,
                      uint32_t *out, struct err *e)
{
    struct lark p = {
        .g = g, .params = params, .line = GRAMMAR_NEVER, .source = source, .rest = source, .e = e};
    p.rules = mem_new(LARK_MAX_RULES, sizeof *p.rules);
    bool ok = read_all(&p, out);
    free(p.rules);
    return ok;
}

/* Alone first: a rule that begins with itself would spoil the grammar that it is a part of. */
bool lark_node(struct grammar *g, const struct lark_params *params, str source, uint32_t *out,
               struct err *e)
{
    struct grammar *alone = grammar_new();
    uint32_t node;
    bool ok = read_into(alone, params, source, &node, e);
    if (ok) {
        const uint32_t rule = grammar_rule(alone);
        grammar_define(alone, rule, node);
        ok = grammar_compile(alone, rule, e);
    }
    grammar_free(alone);
    return ok && read_into(g, params, source, out, e);
}
