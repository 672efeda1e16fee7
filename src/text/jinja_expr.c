/* jinja: expressions. One function per level of precedence, loosest first, as Jinja's own parser
 * has them; filters and tests bind to the unary expression before them. */
#include <string.h>

#include "base/utf8.h"
#include "text/jinja_int.h"

typedef struct jinja_node node;

/* ---- nodes and tokens ---- */

node *jinja_node_done(struct jinja_parser *p, node *n)
{
    node *children[] = {n->a, n->b, n->c, n->d, n->otherwise};
    unsigned deepest = 0;
    for (size_t i = 0; i < sizeof children / sizeof *children; i++) {
        for (const node *child = children[i]; child; child = child->next)
            deepest = child->depth > deepest ? child->depth : deepest;
    }
    n->depth = (uint16_t)(deepest + 1);
    if (n->depth <= JINJA_MAX_DEPTH)
        return n;
    err_set(p->e, ERR_LIMIT, "template line %u: nested deeper than %d", n->line, JINJA_MAX_DEPTH);
    return NULL;
}

node *jinja_node(struct jinja_parser *p, enum jinja_op op, uint32_t line, node *a, node *b)
{
    node *n = arena_new(p->mem, 1, sizeof *n);
    n->op = op;
    n->line = line;
    n->a = a;
    n->b = b;
    return jinja_node_done(p, n);
}

void *jinja_expected(struct jinja_parser *p, const char *what)
{
    if (p->at->kind == JINJA_T_END)
        err_set(p->e, ERR_FORMAT, "template line %u: expected %s, found the end of the template",
                p->at->line, what);
    else
        err_set(p->e, ERR_FORMAT, "template line %u: expected %s, found '%.*s'", p->at->line, what,
                (int)(p->at->text.n < 40 ? p->at->text.n : 40), p->at->text.p);
    return NULL;
}

static bool is(const struct jinja_parser *p, enum jinja_token_kind kind, const char *text)
{
    return p->at->kind == kind && str_eq(p->at->text, str_of(text));
}

bool jinja_is_op(const struct jinja_parser *p, const char *op)
{
    return is(p, JINJA_T_OPERATOR, op);
}

bool jinja_is_name(const struct jinja_parser *p, const char *name)
{
    return is(p, JINJA_T_NAME, name);
}

bool jinja_accept_op(struct jinja_parser *p, const char *op)
{
    bool hit = jinja_is_op(p, op);
    p->at += hit;
    return hit;
}

bool jinja_accept_name(struct jinja_parser *p, const char *name)
{
    bool hit = jinja_is_name(p, name);
    p->at += hit;
    return hit;
}

bool jinja_expect_op(struct jinja_parser *p, const char *op)
{
    char what[8] = {'\'', op[0], '\''};
    if (jinja_accept_op(p, op))
        return true;
    jinja_expected(p, what);
    return false;
}

bool jinja_deeper(struct jinja_parser *p)
{
    if (++p->nesting <= JINJA_MAX_DEPTH)
        return true;
    return err_set(p->e, ERR_LIMIT, "template line %u: nested deeper than %d", p->at->line,
                   JINJA_MAX_DEPTH);
}

/* ---- literals ---- */

static node *literal(struct jinja_parser *p, struct jinja_value v)
{
    struct jinja_value *keep = arena_new(p->mem, 1, sizeof *keep);
    *keep = v;
    node *n = jinja_node(p, JINJA_X_LITERAL, p->at->line, NULL, NULL);
    n->value = keep;
    return n;
}

/* \xHH, \uHHHH, \UHHHHHHHH: the digits after the letter at s[i]; 0 when they are not there. */
static size_t read_hex(str s, size_t i, size_t n_digits, uint32_t *cp)
{
    *cp = 0;
    if (s.n - i <= n_digits)
        return 0;
    for (size_t k = 1; k <= n_digits; k++) {
        char c = s.p[i + k];
        char lower = (char)(c | 0x20);
        if (c >= '0' && c <= '9')
            *cp = *cp << 4 | (uint32_t)(c - '0');
        else if (lower >= 'a' && lower <= 'f')
            *cp = *cp << 4 | (uint32_t)(lower - 'a' + 10);
        else
            return 0;
    }
    return n_digits;
}

/* Puts the escape whose letter is at s[i]; returns the index after it. Python's rules: unknown
 * escapes stay as they are, a backslash joins lines. */
static size_t put_escape(str s, size_t i, struct buf *out)
{
    static const char from[] = "\\'\"abfnrtv";
    static const char to[] = "\\'\"\a\b\f\n\r\t\v";
    char c = s.p[i];
    uint32_t cp;
    size_t n = 0;
    const char *hit = c ? strchr(from, c) : NULL;
    if (c == '\n')
        return i + 1;
    if (hit) {
        buf_byte(out, to[hit - from]);
        return i + 1;
    }
    if (c == 'x' || c == 'u' || c == 'U')
        n = read_hex(s, i, c == 'x' ? 2 : c == 'u' ? 4 : 8, &cp);
    if (n) {
        utf8_put(cp, out);
    } else {
        buf_byte(out, '\\');
        buf_byte(out, c);
    }
    return i + 1 + n;
}

/* Neighbouring strings are one. */
static node *parse_string(struct jinja_parser *p)
{
    struct buf text = {0};
    for (; p->at->kind == JINJA_T_STRING; p->at++) {
        str s = p->at->text;
        for (size_t i = 0; i < s.n;) {
            if (s.p[i] == '\\' && i + 1 < s.n)
                i = put_escape(s, i + 1, &text);
            else
                buf_byte(&text, s.p[i++]);
        }
    }
    node *n = literal(p, jinja_text(arena_str(p->mem, buf_view(&text))));
    buf_free(&text);
    return n;
}

static node *parse_number(struct jinja_parser *p)
{
    char digits[400];
    size_t n = 0;
    for (size_t i = 0; i < p->at->text.n && n < sizeof digits; i++) {
        if (p->at->text.p[i] != '_')
            digits[n++] = p->at->text.p[i];
    }
    str s = {digits, n};
    int64_t i;
    double f;
    node *result;
    if (p->at->kind == JINJA_T_INT && str_to_i64(s, &i))
        result = literal(p, jinja_int(i));
    else if (p->at->kind == JINJA_T_FLOAT && str_to_f64(s, &f))
        result = literal(p, jinja_float(f));
    else
        return jinja_expected(p, "a number of at most 64 bits");
    p->at++;
    return result;
}

static node *parse_name(struct jinja_parser *p)
{
    str name = p->at->text;
    node *n;
    if (str_eq(name, STR("true")) || str_eq(name, STR("True"))) {
        n = literal(p, jinja_bool(true));
    } else if (str_eq(name, STR("false")) || str_eq(name, STR("False"))) {
        n = literal(p, jinja_bool(false));
    } else if (str_eq(name, STR("none")) || str_eq(name, STR("None"))) {
        n = literal(p, jinja_none());
    } else {
        n = jinja_node(p, JINJA_X_NAME, p->at->line, NULL, NULL);
        n->text = name;
    }
    p->at++;
    return n;
}

/* ---- brackets ---- */

static node *parse_list(struct jinja_parser *p)
{
    node *n = jinja_node(p, JINJA_X_LIST, p->at++->line, NULL, NULL);
    node **end = &n->a;
    while (!jinja_accept_op(p, "]")) {
        if (n->a && !jinja_expect_op(p, ","))
            return NULL;
        if (jinja_accept_op(p, "]"))
            break;
        if (!(*end = jinja_parse_expr(p)))
            return NULL;
        end = &(*end)->next;
    }
    return jinja_node_done(p, n);
}

static node *parse_dict(struct jinja_parser *p)
{
    node *n = jinja_node(p, JINJA_X_DICT, p->at++->line, NULL, NULL);
    node **end = &n->a;
    while (!jinja_accept_op(p, "}")) {
        if (n->a && !jinja_expect_op(p, ","))
            return NULL;
        if (jinja_accept_op(p, "}"))
            break;
        uint32_t line = p->at->line;
        node *key = jinja_parse_expr(p);
        node *value = key && jinja_expect_op(p, ":") ? jinja_parse_expr(p) : NULL;
        if (!value || !(*end = jinja_node(p, JINJA_X_PAIR, line, key, value)))
            return NULL;
        end = &(*end)->next;
    }
    return jinja_node_done(p, n);
}

static bool at_tuple_end(const struct jinja_parser *p)
{
    return p->at->kind == JINJA_T_CLOSE || jinja_is_op(p, ")") || jinja_is_name(p, "in") ||
           jinja_is_name(p, "recursive");
}

typedef node *parse_item(struct jinja_parser *p);

static node *parse_or(struct jinja_parser *p);

static node *parse_items(struct jinja_parser *p, parse_item *item, bool may_be_empty)
{
    uint32_t line = p->at->line;
    node *first = NULL;
    node **end = &first;
    bool is_tuple = false;
    while (!at_tuple_end(p)) {
        if (!(*end = item(p)))
            return NULL;
        end = &(*end)->next;
        if (!jinja_accept_op(p, ","))
            break;
        is_tuple = true;
    }
    if (!first && !may_be_empty)
        return jinja_expected(p, "an expression");
    return first && !is_tuple ? first : jinja_node(p, JINJA_X_TUPLE, line, first, NULL);
}

node *jinja_parse_tuple(struct jinja_parser *p, bool ternary)
{
    return parse_items(p, ternary ? jinja_parse_expr : parse_or, false);
}

static node *parse_parens(struct jinja_parser *p)
{
    p->at++;
    node *n = parse_items(p, jinja_parse_expr, true);
    return n && jinja_expect_op(p, ")") ? n : NULL;
}

node *jinja_parse_primary(struct jinja_parser *p)
{
    switch (p->at->kind) {
    case JINJA_T_NAME: return parse_name(p);
    case JINJA_T_STRING: return parse_string(p);
    case JINJA_T_INT:
    case JINJA_T_FLOAT: return parse_number(p);
    default: break;
    }
    if (jinja_is_op(p, "("))
        return parse_parens(p);
    if (jinja_is_op(p, "["))
        return parse_list(p);
    if (jinja_is_op(p, "{"))
        return parse_dict(p);
    return jinja_expected(p, "an expression");
}

/* ---- what follows a primary ---- */

static node *parse_args(struct jinja_parser *p)
{
    node *first = NULL;
    node **end = &first;
    bool named = false;
    p->at++;
    while (!jinja_accept_op(p, ")")) {
        if (first && !jinja_expect_op(p, ","))
            return NULL;
        if (jinja_accept_op(p, ")"))
            break;
        const struct jinja_token *t = p->at;
        str name = {0};
        if (t->kind == JINJA_T_NAME && t[1].kind == JINJA_T_OPERATOR &&
            str_eq(t[1].text, STR("="))) {
            name = t->text;
            named = true;
            p->at += 2;
        } else if (named) {
            return jinja_expected(p, "a named argument after a named argument");
        }
        node *value = jinja_parse_expr(p);
        if (!value || !(*end = jinja_node(p, JINJA_X_ARG, t->line, value, NULL)))
            return NULL;
        (*end)->text = name;
        end = &(*end)->next;
    }
    /* A group, so that no arguments and an error differ. */
    node *group = jinja_node(p, JINJA_X_GROUP, p->at->line, NULL, NULL);
    group->b = first;
    return group;
}

static node *parse_call(struct jinja_parser *p, node *callee)
{
    uint32_t line = p->at->line;
    node *args = parse_args(p);
    return args ? jinja_node(p, JINJA_X_CALL, line, callee, args->b) : NULL;
}

/* [index], [from:to:step]; several indices make a tuple. */
static node *parse_subscript(struct jinja_parser *p, node *object)
{
    uint32_t line = p->at++->line;
    node *part[3] = {0};
    int n_parts = 0;
    if (!jinja_is_op(p, ":") && !(part[0] = jinja_parse_tuple(p, true)))
        return NULL;
    while (n_parts < 2 && jinja_accept_op(p, ":")) {
        n_parts++;
        if (!jinja_is_op(p, ":") && !jinja_is_op(p, "]") && !(part[n_parts] = jinja_parse_expr(p)))
            return NULL;
    }
    if (!jinja_expect_op(p, "]"))
        return NULL;
    if (n_parts == 0)
        return jinja_node(p, JINJA_X_ITEM, line, object, part[0]);
    node *n = jinja_node(p, JINJA_X_SLICE, line, object, part[0]);
    if (!n)
        return NULL;
    n->c = part[1];
    n->d = part[2];
    return jinja_node_done(p, n);
}

static node *parse_dot(struct jinja_parser *p, node *object)
{
    uint32_t line = p->at++->line;
    if (p->at->kind == JINJA_T_INT) {
        node *index = parse_number(p);
        return index ? jinja_node(p, JINJA_X_ITEM, line, object, index) : NULL;
    }
    if (p->at->kind != JINJA_T_NAME)
        return jinja_expected(p, "a name after '.'");
    node *n = jinja_node(p, JINJA_X_ATTR, line, object, NULL);
    if (n)
        n->text = p->at++->text;
    return n;
}

node *jinja_parse_postfix(struct jinja_parser *p, node *n)
{
    while (n) {
        if (jinja_is_op(p, "."))
            n = parse_dot(p, n);
        else if (jinja_is_op(p, "["))
            n = parse_subscript(p, n);
        else if (jinja_is_op(p, "("))
            n = parse_call(p, n);
        else
            break;
    }
    return n;
}

/* A filter's or test's name, which may have dots. */
static bool parse_dotted(struct jinja_parser *p, str *name)
{
    if (p->at->kind != JINJA_T_NAME)
        return false;
    *name = p->at++->text;
    while (jinja_is_op(p, ".") && p->at[1].kind == JINJA_T_NAME) {
        *name = arena_fmt(p->mem, "%.*s.%.*s", STRF(*name), STRF(p->at[1].text));
        p->at += 2;
    }
    return true;
}

static node *parse_filter(struct jinja_parser *p, node *input)
{
    uint32_t line = p->at->line;
    str name;
    node *args = NULL;
    if (!parse_dotted(p, &name))
        return jinja_expected(p, "a filter's name");
    if (jinja_is_op(p, "(")) {
        node *group = parse_args(p);
        if (!group)
            return NULL;
        args = group->b;
    }
    node *n = jinja_node(p, JINJA_X_FILTER, line, input, args);
    if (n) {
        n->text = name;
        n->builtin = jinja_find_filter(name);
    }
    return n;
}

node *jinja_parse_filters(struct jinja_parser *p, node *input)
{
    node *n = parse_filter(p, input);
    while (n && jinja_accept_op(p, "|"))
        n = parse_filter(p, n);
    return n;
}

/* Could the next token start a test's argument that has no parentheses? */
static bool at_test_arg(const struct jinja_parser *p)
{
    switch (p->at->kind) {
    case JINJA_T_STRING:
    case JINJA_T_INT:
    case JINJA_T_FLOAT: return true;
    case JINJA_T_NAME:
        return !jinja_is_name(p, "else") && !jinja_is_name(p, "or") && !jinja_is_name(p, "and") &&
               !jinja_is_name(p, "if") && !jinja_is_name(p, "is");
    default: return jinja_is_op(p, "[") || jinja_is_op(p, "{");
    }
}

static node *parse_test(struct jinja_parser *p, node *input)
{
    uint32_t line = p->at->line;
    bool negated = jinja_accept_name(p, "not");
    node *args = NULL;
    str name;
    if (!parse_dotted(p, &name))
        return jinja_expected(p, "a test's name after 'is'");
    if (jinja_is_op(p, "(")) {
        node *group = parse_args(p);
        if (!group)
            return NULL;
        args = group->b;
    } else if (at_test_arg(p)) {
        node *value = jinja_parse_primary(p);
        value = value ? jinja_parse_postfix(p, value) : NULL;
        if (!value || !(args = jinja_node(p, JINJA_X_ARG, line, value, NULL)))
            return NULL;
    }
    node *n = jinja_node(p, JINJA_X_TEST, line, input, args);
    if (!n)
        return NULL;
    n->text = name;
    n->builtin = jinja_find_test(name);
    return negated ? jinja_node(p, JINJA_X_NOT, line, n, NULL) : n;
}

static node *parse_filters_and_tests(struct jinja_parser *p, node *n)
{
    while (n) {
        if (jinja_accept_op(p, "|"))
            n = parse_filter(p, n);
        else if (jinja_accept_name(p, "is"))
            n = parse_test(p, n);
        else if (jinja_is_op(p, "("))
            n = parse_call(p, n);
        else
            break;
    }
    return n;
}

/* ---- operators ---- */

static node *parse_unary(struct jinja_parser *p, bool with_filters)
{
    uint32_t line = p->at->line;
    node *n;
    if (!jinja_deeper(p))
        return NULL;
    if (jinja_is_op(p, "-") || jinja_is_op(p, "+")) {
        enum jinja_op op = jinja_is_op(p, "-") ? JINJA_X_NEG : JINJA_X_POS;
        p->at++;
        n = parse_unary(p, false);
        n = n ? jinja_node(p, op, line, n, NULL) : NULL;
    } else {
        n = jinja_parse_primary(p);
    }
    n = jinja_parse_postfix(p, n);
    if (with_filters)
        n = parse_filters_and_tests(p, n);
    p->nesting--;
    return n;
}

struct operator_row {
    const char *text;
    enum jinja_op op;
};

/* The operators of one level, left-associative, over the next level. */
static node *parse_binary(struct jinja_parser *p, const struct operator_row *rows, parse_item *next)
{
    node *left = next(p);
    while (left) {
        const struct operator_row *row = rows;
        while (row->text && !jinja_is_op(p, row->text))
            row++;
        if (!row->text)
            break;
        uint32_t line = p->at++->line;
        node *right = next(p);
        left = right ? jinja_node(p, row->op, line, left, right) : NULL;
    }
    return left;
}

static node *parse_filtered(struct jinja_parser *p)
{
    return parse_unary(p, true);
}

static node *parse_power(struct jinja_parser *p)
{
    static const struct operator_row rows[] = {{"**", JINJA_X_POW}, {0}};
    return parse_binary(p, rows, parse_filtered);
}

static node *parse_product(struct jinja_parser *p)
{
    static const struct operator_row rows[] = {
        {"*", JINJA_X_MUL}, {"/", JINJA_X_DIV}, {"//", JINJA_X_FLOORDIV}, {"%", JINJA_X_MOD}, {0}};
    return parse_binary(p, rows, parse_power);
}

static node *parse_concat(struct jinja_parser *p)
{
    static const struct operator_row rows[] = {{"~", JINJA_X_CONCAT}, {0}};
    return parse_binary(p, rows, parse_product);
}

static node *parse_sum(struct jinja_parser *p)
{
    static const struct operator_row rows[] = {{"+", JINJA_X_ADD}, {"-", JINJA_X_SUB}, {0}};
    return parse_binary(p, rows, parse_concat);
}

/* The comparison at the reading position, which is moved over it. */
static bool accept_compare(struct jinja_parser *p, enum jinja_compare *out)
{
    static const struct {
        const char *text;
        enum jinja_compare compare;
    } rows[] = {{"==", JINJA_EQ}, {"!=", JINJA_NE}, {"<=", JINJA_LE},
                {">=", JINJA_GE}, {"<", JINJA_LT},  {">", JINJA_GT}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        *out = rows[i].compare;
        if (jinja_accept_op(p, rows[i].text))
            return true;
    }
    *out = JINJA_IN;
    if (jinja_accept_name(p, "in"))
        return true;
    *out = JINJA_NOT_IN;
    bool not_in = jinja_is_name(p, "not") && p->at[1].kind == JINJA_T_NAME &&
                  str_eq(p->at[1].text, STR("in"));
    p->at += not_in ? 2 : 0;
    return not_in;
}

static node *parse_compare(struct jinja_parser *p)
{
    uint32_t line = p->at->line;
    node *first = parse_sum(p);
    node *operands = NULL;
    node **end = &operands;
    enum jinja_compare compare;
    while (first && accept_compare(p, &compare)) {
        node *value = parse_sum(p);
        if (!value || !(*end = jinja_node(p, JINJA_X_OPERAND, p->at->line, value, NULL)))
            return NULL;
        (*end)->compare = compare;
        end = &(*end)->next;
    }
    return first && operands ? jinja_node(p, JINJA_X_COMPARE, line, first, operands) : first;
}

static node *parse_not(struct jinja_parser *p)
{
    uint32_t line = p->at->line;
    if (!jinja_accept_name(p, "not"))
        return parse_compare(p);
    if (!jinja_deeper(p))
        return NULL;
    node *n = parse_not(p);
    p->nesting--;
    return n ? jinja_node(p, JINJA_X_NOT, line, n, NULL) : NULL;
}

/* "and" and "or". */
static node *parse_logic(struct jinja_parser *p, const char *word, enum jinja_op op,
                         parse_item *next)
{
    node *left = next(p);
    while (left && jinja_is_name(p, word)) {
        uint32_t line = p->at++->line;
        node *right = next(p);
        left = right ? jinja_node(p, op, line, left, right) : NULL;
    }
    return left;
}

static node *parse_and(struct jinja_parser *p)
{
    return parse_logic(p, "and", JINJA_X_AND, parse_not);
}

static node *parse_or(struct jinja_parser *p)
{
    return parse_logic(p, "or", JINJA_X_OR, parse_and);
}

node *jinja_parse_expr(struct jinja_parser *p)
{
    if (!jinja_deeper(p))
        return NULL;
    node *n = parse_or(p);
    while (n && jinja_is_name(p, "if")) {
        uint32_t line = p->at++->line;
        node *condition = parse_or(p);
        node *otherwise = NULL;
        if (condition && jinja_accept_name(p, "else") && !(otherwise = jinja_parse_expr(p)))
            return NULL;
        n = condition ? jinja_node(p, JINJA_X_TERNARY, line, condition, n) : NULL;
        if (!n)
            return NULL;
        n->c = otherwise;
        n = jinja_node_done(p, n);
    }
    p->nesting--;
    return n;
}

/* ---- what can be assigned to: names, attributes of namespaces, tuples of names ---- */

static node *parse_target_item(struct jinja_parser *p)
{
    if (!jinja_deeper(p))
        return NULL;
    node *n;
    if (jinja_accept_op(p, "(")) {
        n = jinja_parse_target(p);
        n = n && jinja_expect_op(p, ")") ? n : NULL;
    } else if (p->at->kind == JINJA_T_NAME) {
        n = jinja_node(p, JINJA_X_NAME, p->at->line, NULL, NULL);
        n->text = p->at++->text;
        if (jinja_is_op(p, "."))
            n = parse_dot(p, n);
    } else {
        n = jinja_expected(p, "a name to assign to");
    }
    p->nesting--;
    return n;
}

node *jinja_parse_target(struct jinja_parser *p)
{
    return parse_items(p, parse_target_item, false);
}
