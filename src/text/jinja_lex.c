/* jinja: tokens. White space around tags is dealt with here: '-' strips all of it, lstrip_blocks
 * drops blanks between a line's start and a statement or comment, trim_blocks the line end after
 * one. */
#include <stdlib.h>
#include <string.h>

#include "text/jinja_int.h"

struct lexer {
    str src;
    size_t at;
    uint32_t line;
    struct jinja_token *tokens;
    size_t n;
    size_t room;
    struct buf open; /* brackets that are open in this tag: the closing ones they wait for */
    struct err *e;
};

static void add(struct lexer *x, enum jinja_token_kind kind, str text)
{
    if (x->n == x->room) {
        x->room = x->room ? 2 * x->room : 256;
        x->tokens = mem_grow(x->tokens, x->room, sizeof *x->tokens);
    }
    x->tokens[x->n++] = (struct jinja_token){kind, x->line, text};
}

static char peek(const struct lexer *x, size_t ahead)
{
    return x->at + ahead < x->src.n ? x->src.p[x->at + ahead] : '\0';
}

static bool starts(const struct lexer *x, const char *marker)
{
    return str_starts(str_sub(x->src, x->at, SIZE_MAX), str_of(marker));
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void move(struct lexer *x, size_t to)
{
    for (; x->at < to; x->at++)
        x->line += x->src.p[x->at] == '\n';
}

static void skip_blank(struct lexer *x)
{
    size_t to = x->at;
    while (to < x->src.n && is_blank(x->src.p[to]))
        to++;
    move(x, to);
}

static str strip_right(str s)
{
    struct jinja_value v = jinja_text(s);
    v = jinja_strip(&v, NULL, false, true);
    return jinja_str(&v);
}

/* Text before a tag, less what the tag's beginning takes off. */
static void add_text(struct lexer *x, size_t from, size_t to, bool lstrip, char sign)
{
    str s = str_sub(x->src, from, to);
    if (sign == '-') {
        s = strip_right(s);
    } else if (lstrip && sign != '+') {
        size_t line = s.n;
        while (line && s.p[line - 1] != '\n')
            line--;
        bool at_start = line || from == 0 || x->src.p[from - 1] == '\n';
        if (at_start && strip_right(str_sub(s, line, s.n)).n == 0)
            s.n = line;
    }
    if (s.n)
        add(x, JINJA_T_TEXT, s);
}

/* After the end of a tag: '-' takes all white space, trim_blocks one line end. */
static void after_tag(struct lexer *x, char sign, bool trim)
{
    if (sign == '-') {
        struct jinja_value rest = jinja_text(str_sub(x->src, x->at, SIZE_MAX));
        move(x, x->src.n - jinja_strip(&rest, NULL, true, false).n);
    } else if (sign != '+' && trim && peek(x, 0) == '\n') {
        move(x, x->at + 1);
    }
}

static bool skip_comment(struct lexer *x)
{
    size_t end = str_find(x->src, STR("#}"), x->at + 2);
    if (end == SIZE_MAX)
        return err_set(x->e, ERR_FORMAT, "template line %u: the comment has no end, expected '#}'",
                       x->line);
    char sign = end > x->at + 2 ? x->src.p[end - 1] : '\0';
    move(x, end + 2);
    after_tag(x, sign, true);
    return true;
}

/* "{% name %}" at the reading position: its length, or 0. */
static size_t match_tag(const struct lexer *x, size_t at, str name, char *open, char *close)
{
    size_t i = at + 2;
    *open = i < x->src.n ? x->src.p[i] : '\0';
    i += *open == '-' || *open == '+';
    while (i < x->src.n && is_blank(x->src.p[i]))
        i++;
    if (!str_starts(str_sub(x->src, i, SIZE_MAX), name))
        return 0;
    i += name.n;
    while (i < x->src.n && is_blank(x->src.p[i]))
        i++;
    *close = i < x->src.n ? x->src.p[i] : '\0';
    i += *close == '-' || *close == '+';
    return str_starts(str_sub(x->src, i, SIZE_MAX), STR("%}")) ? i + 2 - at : 0;
}

/* After {% raw %}: everything up to {% endraw %} is text. */
static bool read_raw(struct lexer *x, char sign)
{
    char open, close;
    after_tag(x, sign, false);
    size_t from = x->at;
    for (size_t end = from; (end = str_find(x->src, STR("{%"), end)) != SIZE_MAX; end += 2) {
        size_t n = match_tag(x, end, STR("endraw"), &open, &close);
        if (n == 0)
            continue;
        add_text(x, from, end, true, open);
        move(x, end + n);
        after_tag(x, close, true);
        return true;
    }
    return err_set(x->e, ERR_FORMAT, "template line %u: expected '{%% endraw %%}'", x->line);
}

/* ---- inside tags ---- */

static bool is_name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static void read_name(struct lexer *x)
{
    size_t from = x->at;
    while (is_name_start(peek(x, 0)) || is_digit(peek(x, 0)))
        x->at++;
    add(x, JINJA_T_NAME, str_sub(x->src, from, x->at));
}

static void skip_digits(struct lexer *x)
{
    while (is_digit(peek(x, 0)) || (peek(x, 0) == '_' && is_digit(peek(x, 1))))
        x->at++;
}

/* In "a.0.1" the numbers are indices, not 0.1. */
static void read_number(struct lexer *x)
{
    size_t from = x->at;
    bool is_float = false;
    bool after_dot = from && x->src.p[from - 1] == '.';
    skip_digits(x);
    if (!after_dot && peek(x, 0) == '.' && is_digit(peek(x, 1))) {
        is_float = true;
        x->at++;
        skip_digits(x);
    }
    size_t sign = peek(x, 1) == '+' || peek(x, 1) == '-';
    if (!after_dot && (peek(x, 0) | 0x20) == 'e' && is_digit(peek(x, 1 + sign))) {
        is_float = true;
        x->at += 1 + sign;
        skip_digits(x);
    }
    add(x, is_float ? JINJA_T_FLOAT : JINJA_T_INT, str_sub(x->src, from, x->at));
}

static bool read_string(struct lexer *x)
{
    char quote = peek(x, 0);
    size_t end = x->at + 1;
    while (end < x->src.n && x->src.p[end] != quote)
        end += x->src.p[end] == '\\' ? 2 : 1;
    if (end >= x->src.n)
        return err_set(x->e, ERR_FORMAT, "template line %u: the string has no end, expected %c",
                       x->line, quote);
    add(x, JINJA_T_STRING, str_sub(x->src, x->at + 1, end));
    move(x, end + 1);
    return true;
}

static bool read_operator(struct lexer *x)
{
    static const char *const two[] = {"//", "**", "==", "!=", ">=", "<="};
    char c = peek(x, 0);
    size_t n = 1;
    for (size_t i = 0; i < sizeof two / sizeof *two; i++)
        n = starts(x, two[i]) ? 2 : n;
    if (n == 1 && (c == '\0' || !strchr("+-/*%~[](){}><=.:|,", c)))
        return err_set(x->e, ERR_FORMAT, "template line %u: unexpected character '%c'", x->line, c);
    if (c == '(' || c == '[' || c == '{')
        buf_byte(&x->open, c == '(' ? ')' : c == '[' ? ']' : '}');
    if (c == ')' || c == ']' || c == '}') {
        if (x->open.n == 0 || x->open.p[x->open.n - 1] != c)
            return err_set(x->e, ERR_FORMAT, "template line %u: unexpected '%c', expected %s%c",
                           x->line, c, x->open.n ? "" : "no bracket before ",
                           x->open.n ? x->open.p[x->open.n - 1] : c);
        x->open.n--;
    }
    add(x, JINJA_T_OPERATOR, str_sub(x->src, x->at, x->at + n));
    x->at += n;
    return true;
}

/* The end of the tag, unless a bracket is open: "}}" may close two dictionaries. */
static bool read_close(struct lexer *x, const char *close)
{
    char sign = peek(x, 0) == '-' || peek(x, 0) == '+' ? peek(x, 0) : '\0';
    if (x->open.n || !str_starts(str_sub(x->src, x->at + (sign != 0), SIZE_MAX), str_of(close)))
        return false;
    add(x, JINJA_T_CLOSE, str_of(close));
    x->at += 2 + (sign != 0);
    after_tag(x, sign, close[0] == '%');
    return true;
}

static bool read_tag(struct lexer *x, const char *close)
{
    uint32_t line = x->line;
    char sign = peek(x, 2);
    add(x, close[0] == '%' ? JINJA_T_STATEMENT : JINJA_T_OUTPUT, str_sub(x->src, x->at, x->at + 2));
    x->at += 2 + (sign == '-' || sign == '+');
    x->open.n = 0;
    for (;;) {
        skip_blank(x);
        char c = peek(x, 0);
        if (x->at >= x->src.n)
            return err_set(x->e, ERR_FORMAT,
                           "template line %u: the tag that starts here has no end, expected '%s'",
                           line, close);
        if (read_close(x, close))
            return true;
        if (is_name_start(c))
            read_name(x);
        else if (is_digit(c))
            read_number(x);
        else if (c == '"' || c == '\'' ? !read_string(x) : !read_operator(x))
            return false;
    }
}

/* ---- the whole ---- */

static size_t find_tag(const struct lexer *x)
{
    for (size_t i = x->at; (i = str_find(x->src, STR("{"), i)) != SIZE_MAX; i++) {
        char c = i + 1 < x->src.n ? x->src.p[i + 1] : '\0';
        if (c == '{' || c == '%' || c == '#')
            return i;
    }
    return x->src.n;
}

static bool read_all(struct lexer *x)
{
    while (x->at < x->src.n) {
        size_t from = x->at;
        size_t tag = find_tag(x);
        char kind = tag < x->src.n ? x->src.p[tag + 1] : '\0';
        char sign = tag + 2 < x->src.n ? x->src.p[tag + 2] : '\0';
        char open, close;
        add_text(x, from, tag, kind == '%' || kind == '#', sign);
        move(x, tag);
        if (tag == x->src.n)
            break;
        size_t n_raw = kind == '%' ? match_tag(x, tag, STR("raw"), &open, &close) : 0;
        bool ok;
        if (kind == '#')
            ok = skip_comment(x);
        else if (n_raw) {
            move(x, tag + n_raw);
            ok = read_raw(x, close);
        } else
            ok = read_tag(x, kind == '%' ? "%}" : "}}");
        if (!ok)
            return false;
    }
    add(x, JINJA_T_END, STR(""));
    return true;
}

bool jinja_lex(str source, struct jinja_token **tokens, struct err *e)
{
    struct lexer x = {.src = source, .line = 1, .e = e};
    bool ok = read_all(&x);
    buf_free(&x.open);
    if (!ok) {
        free(x.tokens);
        x.tokens = NULL;
    }
    *tokens = x.tokens;
    return ok;
}
