/* jinja: statements, and the program as a whole. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/jinja_int.h"

typedef struct jinja_node node;

static bool parse_body(struct jinja_parser *p, const char *const *ends, node **out);

static bool expect_close(struct jinja_parser *p)
{
    if (p->at->kind != JINJA_T_CLOSE)
        return jinja_expected(p, "the end of the tag") != NULL;
    p->at++;
    return true;
}

/* The rest of "{% name", which parse_body stopped at. */
static bool expect_end(struct jinja_parser *p, const char *name)
{
    char what[40] = "'{% ";
    if (jinja_accept_name(p, name))
        return expect_close(p);
    strcat(strcat(what, name), " %}'");
    return jinja_expected(p, what) != NULL;
}

/* Closes the opening tag and reads the body of a block up to {% end %}. */
static bool parse_block(struct jinja_parser *p, const char *end, node **out)
{
    const char *const ends[] = {end, NULL};
    return expect_close(p) && parse_body(p, ends, out) && expect_end(p, end);
}

static node *parse_if(struct jinja_parser *p, uint32_t line)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    static const char *const last[] = {"endif", NULL};
    node *condition = jinja_parse_tuple(p, true);
    node *first = condition ? jinja_node(p, JINJA_X_IF, line, condition, NULL) : NULL;
    node *n = first;
    if (!n || !expect_close(p) || !parse_body(p, ends, &n->b))
        return NULL;
    /* A chain of elif is flat: its members hang in .otherwise of the first, one after the other. */
    while (jinja_accept_name(p, "elif")) {
        line = p->at->line;
        condition = jinja_parse_tuple(p, true);
        node *more = condition ? jinja_node(p, JINJA_X_IF, line, condition, NULL) : NULL;
        if (!more || !expect_close(p) || !parse_body(p, ends, &more->b) ||
            !jinja_node_done(p, more))
            return NULL;
        *(n == first ? &first->otherwise : &n->next) = more;
        n = more;
    }
    if (jinja_accept_name(p, "else") && (!expect_close(p) || !parse_body(p, last, &first->c)))
        return NULL;
    return expect_end(p, "endif") ? jinja_node_done(p, first) : NULL;
}

static node *parse_for(struct jinja_parser *p, uint32_t line)
{
    static const char *const ends[] = {"else", "endfor", NULL};
    static const char *const last[] = {"endfor", NULL};
    node *target = jinja_parse_target(p);
    if (!target)
        return NULL;
    if (!jinja_accept_name(p, "in"))
        return jinja_expected(p, "'in'");
    node *items = jinja_parse_tuple(p, false);
    node *n = items ? jinja_node(p, JINJA_X_FOR, line, target, items) : NULL;
    if (!n || (jinja_accept_name(p, "if") && !(n->d = jinja_parse_expr(p))))
        return NULL;
    n->recursive = jinja_accept_name(p, "recursive");
    p->n_loops++;
    bool ok = expect_close(p) && parse_body(p, ends, &n->c);
    p->n_loops--;
    if (!ok)
        return NULL;
    if (jinja_accept_name(p, "else") && (!expect_close(p) || !parse_body(p, last, &n->otherwise)))
        return NULL;
    return expect_end(p, "endfor") ? jinja_node_done(p, n) : NULL;
}

static node *parse_set(struct jinja_parser *p, uint32_t line)
{
    node *target = jinja_parse_target(p);
    if (!target)
        return NULL;
    if (jinja_accept_op(p, "=")) {
        node *value = jinja_parse_tuple(p, true);
        return value && expect_close(p) ? jinja_node(p, JINJA_X_SET, line, target, value) : NULL;
    }
    if (p->at->kind != JINJA_T_CLOSE && !jinja_is_op(p, "|"))
        return jinja_expected(p, "'=' or the end of the tag");
    node *n = jinja_node(p, JINJA_X_SET_BLOCK, line, target, NULL);
    if (jinja_accept_op(p, "|") && !(n->b = jinja_parse_filters(p, NULL)))
        return NULL;
    return parse_block(p, "endset", &n->c) ? jinja_node_done(p, n) : NULL;
}

/* (name, name=default, ...) */
static bool parse_params(struct jinja_parser *p, node **end)
{
    if (!jinja_expect_op(p, "("))
        return false;
    for (bool first = true; !jinja_accept_op(p, ")"); first = false) {
        if (!first && !jinja_expect_op(p, ","))
            return false;
        if (jinja_accept_op(p, ")"))
            break;
        if (p->at->kind != JINJA_T_NAME)
            return jinja_expected(p, "a parameter's name") != NULL;
        const struct jinja_token *name = p->at++;
        node *value = NULL;
        if (jinja_accept_op(p, "=") && !(value = jinja_parse_expr(p)))
            return false;
        if (!(*end = jinja_node(p, JINJA_X_PARAM, name->line, value, NULL)))
            return false;
        (*end)->text = name->text;
        end = &(*end)->next;
    }
    return true;
}

/* A macro's body is its own: break inside belongs to loops inside. */
static bool parse_macro_body(struct jinja_parser *p, const char *end, node **out)
{
    uint32_t n_loops = p->n_loops;
    p->n_loops = 0;
    bool ok = parse_block(p, end, out);
    p->n_loops = n_loops;
    return ok;
}

static node *parse_macro(struct jinja_parser *p, uint32_t line)
{
    if (p->at->kind != JINJA_T_NAME)
        return jinja_expected(p, "the macro's name");
    node *n = jinja_node(p, JINJA_X_MACRO, line, NULL, NULL);
    n->text = p->at++->text;
    if (!parse_params(p, &n->a) || !parse_macro_body(p, "endmacro", &n->c))
        return NULL;
    return jinja_node_done(p, n);
}

static node *parse_call_block(struct jinja_parser *p, uint32_t line)
{
    node *caller = jinja_node(p, JINJA_X_MACRO, line, NULL, NULL);
    caller->text = STR("caller");
    if (jinja_is_op(p, "(") && !parse_params(p, &caller->a))
        return NULL;
    node *call = jinja_parse_expr(p);
    if (!call)
        return NULL;
    if (call->op != JINJA_X_CALL)
        return jinja_expected(p, "a macro call before the end of the call tag");
    if (!parse_macro_body(p, "endcall", &caller->c) || !jinja_node_done(p, caller))
        return NULL;
    return jinja_node(p, JINJA_X_CALL_BLOCK, line, call, caller);
}

static node *parse_filter_block(struct jinja_parser *p, uint32_t line)
{
    node *filters = jinja_parse_filters(p, NULL);
    node *n = filters ? jinja_node(p, JINJA_X_FILTER_BLOCK, line, NULL, filters) : NULL;
    return n && parse_block(p, "endfilter", &n->c) ? jinja_node_done(p, n) : NULL;
}

static node *parse_generation(struct jinja_parser *p, uint32_t line)
{
    node *n = jinja_node(p, JINJA_X_GROUP, line, NULL, NULL);
    return parse_block(p, "endgeneration", &n->c) ? jinja_node_done(p, n) : NULL;
}

static node *parse_jump(struct jinja_parser *p, uint32_t line, enum jinja_op op)
{
    if (p->n_loops == 0) {
        err_set(p->e, ERR_FORMAT, "template line %u: '%s' outside of a loop", line,
                op == JINJA_X_BREAK ? "break" : "continue");
        return NULL;
    }
    return expect_close(p) ? jinja_node(p, op, line, NULL, NULL) : NULL;
}

static node *parse_statement(struct jinja_parser *p)
{
    uint32_t line = p->at->line;
    if (p->at->kind != JINJA_T_NAME)
        return jinja_expected(p, "a statement");
    if (jinja_accept_name(p, "if"))
        return parse_if(p, line);
    if (jinja_accept_name(p, "for"))
        return parse_for(p, line);
    if (jinja_accept_name(p, "set"))
        return parse_set(p, line);
    if (jinja_accept_name(p, "macro"))
        return parse_macro(p, line);
    if (jinja_accept_name(p, "call"))
        return parse_call_block(p, line);
    if (jinja_accept_name(p, "filter"))
        return parse_filter_block(p, line);
    if (jinja_accept_name(p, "generation"))
        return parse_generation(p, line);
    if (jinja_accept_name(p, "break"))
        return parse_jump(p, line, JINJA_X_BREAK);
    if (jinja_accept_name(p, "continue"))
        return parse_jump(p, line, JINJA_X_CONTINUE);
    return jinja_expected(p, "one of the statements if, for, set, macro, call, filter, generation, "
                             "break, continue");
}

static node *parse_output(struct jinja_parser *p)
{
    uint32_t line = p->at++->line;
    node *value = jinja_parse_tuple(p, true);
    return value && expect_close(p) ? jinja_node(p, JINJA_X_PRINT, line, value, NULL) : NULL;
}

/* Is the reading position at "{% name" with one of the names? */
static bool at_end(const struct jinja_parser *p, const char *const *ends)
{
    const struct jinja_token *name = p->at + 1;
    for (; *ends; ends++) {
        if (name->kind == JINJA_T_NAME && str_eq(name->text, str_of(*ends)))
            return true;
    }
    return false;
}

/* Statements up to a tag with one of the names, whose "{%" is read; with none up to the end. */
static bool parse_body(struct jinja_parser *p, const char *const *ends, node **out)
{
    if (!jinja_deeper(p))
        return false;
    *out = NULL;
    for (;;) {
        const struct jinja_token *t = p->at;
        if (t->kind == JINJA_T_END && !*ends)
            break;
        if (t->kind == JINJA_T_STATEMENT && at_end(p, ends)) {
            p->at++;
            break;
        }
        if (t->kind == JINJA_T_TEXT) {
            *out = jinja_node(p, JINJA_X_TEXT, t->line, NULL, NULL);
            (*out)->text = t->text;
            p->at++;
        } else if (t->kind == JINJA_T_STATEMENT) {
            p->at++;
            *out = parse_statement(p);
        } else if (t->kind == JINJA_T_OUTPUT) {
            *out = parse_output(p);
        } else {
            char what[40];
            snprintf(what, sizeof what, "'{%% %s %%}'", *ends ? *ends : "");
            return jinja_expected(p, what) != NULL;
        }
        if (!*out)
            return false;
        out = &(*out)->next;
    }
    p->nesting--;
    return true;
}

/* As Jinja does: every line end is \n, and one at the very end is dropped. */
static str own_source(str source, struct arena *mem)
{
    char *copy = arena_new(mem, source.n + 1, 1);
    size_t n = 0;
    for (size_t i = 0; i < source.n; i++) {
        char c = source.p[i];
        if (c == '\r' && i + 1 < source.n && source.p[i + 1] == '\n')
            continue;
        copy[n++] = c == '\r' ? '\n' : c;
    }
    if (n && copy[n - 1] == '\n')
        n--;
    return (str){copy, n};
}

struct jinja *jinja_parse(str source, struct err *e)
{
    static const char *const no_ends[] = {NULL};
    if (source.n > JINJA_MAX_SOURCE) {
        err_set(e, ERR_LIMIT, "the template has %zu bytes, limit %d", source.n, JINJA_MAX_SOURCE);
        return NULL;
    }
    struct jinja *t = mem_new(1, sizeof *t);
    struct jinja_token *tokens = NULL;
    bool ok = jinja_lex(own_source(source, &t->mem), &tokens, e);
    struct jinja_parser p = {.mem = &t->mem, .at = tokens, .e = e};
    ok = ok && parse_body(&p, no_ends, &t->body);
    free(tokens);
    if (ok)
        return t;
    jinja_close(t);
    return NULL;
}

void jinja_close(struct jinja *t)
{
    if (!t)
        return;
    arena_free(&t->mem);
    free(t);
}
