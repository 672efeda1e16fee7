/* jinja: statements at run time, macros, and the render as a whole. Scopes: `if` opens none; a pass
 * of a loop, a macro and the blocks that capture output do. */
#include <stdlib.h>
#include <string.h>

#include "text/jinja_int.h"

enum flow { FLOW_NEXT, FLOW_BREAK, FLOW_CONTINUE, FLOW_FAIL };

static enum flow exec_list(struct jinja_run *r, struct jinja_scope *s, const struct jinja_node *n);

/* ---- scopes ---- */

static struct jinja_scope *open_scope(struct jinja_run *r, struct jinja_scope *up)
{
    struct jinja_scope *s = arena_new(&r->mem, 1, sizeof *s);
    s->up = up;
    return s;
}

struct jinja_var *jinja_find(struct jinja_scope *s, str name)
{
    for (; s; s = s->up) {
        for (struct jinja_var *v = s->vars; v; v = v->next) {
            if (v->value.kind != JINJA_ABSENT && str_eq(v->name, name))
                return v;
        }
    }
    return NULL;
}

void jinja_set(struct jinja_run *r, struct jinja_scope *s, str name, struct jinja_value value)
{
    struct jinja_var *v = s->vars;
    while (v && !str_eq(v->name, name))
        v = v->next;
    if (!v) {
        v = arena_new(&r->mem, 1, sizeof *v);
        v->name = name;
        v->next = s->vars;
        s->vars = v;
    }
    v->value = value;
}

/* For the next pass of a loop: nothing is set, the memory stays. */
static void forget(struct jinja_scope *s)
{
    for (struct jinja_var *v = s->vars; v; v = v->next)
        v->value.kind = JINJA_ABSENT;
}

static bool assign(struct jinja_run *r, struct jinja_scope *s, const struct jinja_node *target,
                   struct jinja_value value);

static bool unpack(struct jinja_run *r, struct jinja_scope *s, const struct jinja_node *target,
                   struct jinja_value value)
{
    struct jinja_value items;
    size_t n = 0;
    for (const struct jinja_node *t = target->a; t; t = t->next)
        n++;
    if (!jinja_iterate(r, &value, &items))
        return false;
    if (items.n != n)
        return jinja_fail(r, "%zu names for %zu values", n, items.n);
    const struct jinja_node *t = target->a;
    for (size_t i = 0; i < n; i++, t = t->next) {
        if (!assign(r, s, t, items.items[i]))
            return false;
    }
    return true;
}

static bool assign(struct jinja_run *r, struct jinja_scope *s, const struct jinja_node *target,
                   struct jinja_value value)
{
    r->line = target->line;
    if (target->op == JINJA_X_NAME) {
        jinja_set(r, s, target->text, value);
        return true;
    }
    if (target->op == JINJA_X_TUPLE)
        return unpack(r, s, target, value);
    struct jinja_value object;
    if (!jinja_eval(r, s, target->a, &object))
        return false;
    if (object.kind != JINJA_NAMESPACE)
        return jinja_fail(r, "set %.*s.%.*s: only namespaces can be changed, not %s",
                          STRF(target->a->text), STRF(target->text), jinja_kind_name(&object));
    return jinja_dict_put(r, object.dict, jinja_text(target->text), value);
}

/* ---- loops ---- */

/* The items that pass the loop's "if". */
static bool filter_items(struct jinja_run *r, struct jinja_scope *up, const struct jinja_node *n,
                         struct jinja_value *items)
{
    struct jinja_value *kept = jinja_room(r, items->n, sizeof *kept);
    struct jinja_scope *s = open_scope(r, up);
    size_t n_kept = 0;
    if (!kept)
        return false;
    for (size_t i = 0; i < items->n; i++) {
        struct jinja_value pass;
        forget(s);
        if (!assign(r, s, n->a, items->items[i]) || !jinja_eval(r, s, n->d, &pass))
            return false;
        if (jinja_truth(&pass))
            kept[n_kept++] = items->items[i];
    }
    *items = jinja_list(JINJA_LIST, kept, n_kept);
    return true;
}

static enum flow run_loop(struct jinja_run *r, struct jinja_scope *up, const struct jinja_node *n,
                          struct jinja_value over, int64_t depth)
{
    struct jinja_value items;
    if (!jinja_iterate(r, &over, &items) || (n->d && !filter_items(r, up, n, &items)))
        return FLOW_FAIL;
    struct jinja_scope *s = open_scope(r, up);
    if (items.n == 0)
        return exec_list(r, s, n->otherwise);
    struct jinja_loop *l = arena_new(&r->mem, 1, sizeof *l);
    *l = (struct jinja_loop){.node = n, .scope = up, .items = items, .depth = depth};
    for (; l->i < items.n; l->i++) {
        forget(s);
        jinja_set(r, s, STR("loop"), (struct jinja_value){.kind = JINJA_LOOP, .loop = l});
        if (!jinja_work(r, 1) || !assign(r, s, n->a, items.items[l->i]))
            return FLOW_FAIL;
        enum flow f = exec_list(r, s, n->c);
        if (f == FLOW_FAIL)
            return f;
        if (f == FLOW_BREAK)
            break;
    }
    return FLOW_NEXT;
}

static bool enter_call(struct jinja_run *r)
{
    if (r->n_calls >= JINJA_MAX_CALLS)
        return jinja_fail_limit(r, "more than %d calls inside each other", JINJA_MAX_CALLS);
    r->n_calls++;
    return true;
}

bool jinja_call_loop(struct jinja_run *r, const struct jinja_loop *l, const struct jinja_args *args,
                     struct jinja_value *out)
{
    size_t begin = jinja_begin(r);
    if (!l->node->recursive || args->n != 1)
        return jinja_fail(r, "loop(items) needs one list and 'recursive' in its for statement");
    if (!enter_call(r))
        return false;
    enum flow f = run_loop(r, l->scope, l->node, args->at[0], l->depth + 1);
    r->n_calls--;
    return f != FLOW_FAIL && jinja_take(r, begin, out);
}

/* ---- macros ---- */

static bool bind_params(struct jinja_run *r, struct jinja_scope *s, const struct jinja_node *macro,
                        const struct jinja_args *args)
{
    size_t n_places = args->n - args->n_named;
    size_t i = 0, n_used = 0;
    for (const struct jinja_node *p = macro->a; p; p = p->next, i++) {
        struct jinja_value v = jinja_undefined(p->text);
        bool given = i < n_places;
        if (given)
            v = args->at[i];
        for (size_t k = 0; k < args->n_named; k++) {
            if (!str_eq(args->names[k], p->text))
                continue;
            if (given)
                return jinja_fail(r, "macro '%.*s' got '%.*s' twice", STRF(macro->text),
                                  STRF(p->text));
            v = args->at[n_places + k];
            given = true;
            n_used++;
        }
        if (!given && p->a && !jinja_eval(r, s, p->a, &v))
            return false;
        jinja_set(r, s, p->text, v);
    }
    if (n_places > i)
        return jinja_fail(r, "macro '%.*s' takes %zu arguments, got %zu", STRF(macro->text), i,
                          n_places);
    if (n_used < args->n_named)
        return jinja_fail(r, "macro '%.*s' got a named argument that it does not have",
                          STRF(macro->text));
    return true;
}

bool jinja_call_macro(struct jinja_run *r, const struct jinja_macro *m,
                      const struct jinja_args *args, const struct jinja_value *caller,
                      struct jinja_value *out)
{
    size_t begin = jinja_begin(r);
    if (!enter_call(r))
        return false;
    struct jinja_scope *s = open_scope(r, m->scope);
    if (caller)
        jinja_set(r, s, STR("caller"), *caller);
    bool ok = bind_params(r, s, m->node, args) && exec_list(r, s, m->node->c) != FLOW_FAIL &&
              jinja_take(r, begin, out);
    r->n_calls--;
    return ok;
}

static struct jinja_value new_macro(struct jinja_run *r, struct jinja_scope *s,
                                    const struct jinja_node *n)
{
    struct jinja_macro *m = arena_new(&r->mem, 1, sizeof *m);
    *m = (struct jinja_macro){n, s};
    return (struct jinja_value){.kind = JINJA_MACRO, .macro = m};
}

static bool exec_call_block(struct jinja_run *r, struct jinja_scope *s, const struct jinja_node *n)
{
    struct jinja_value f, result;
    struct jinja_value caller = new_macro(r, s, n->b);
    struct jinja_args args;
    if (!jinja_eval_callee(r, s, n->a->a, &f) || !jinja_eval_args(r, s, n->a->b, &args))
        return false;
    r->line = n->line;
    return jinja_call(r, f, &args, &caller, &result) && jinja_put_str(r, &result);
}

/* ---- statements ---- */

/* Runs the body of a block and takes its output as a string, through the block's filters. */
static bool capture(struct jinja_run *r, struct jinja_scope *s, const struct jinja_node *body,
                    const struct jinja_node *filters, struct jinja_value *out)
{
    size_t begin = jinja_begin(r);
    if (exec_list(r, open_scope(r, s), body) == FLOW_FAIL || !jinja_take(r, begin, out))
        return false;
    return !filters || jinja_apply_filters(r, s, filters, *out, out);
}

static enum flow exec_if(struct jinja_run *r, struct jinja_scope *s, const struct jinja_node *first)
{
    const struct jinja_node *n = first;
    while (n) {
        struct jinja_value condition;
        if (!jinja_eval(r, s, n->a, &condition))
            return FLOW_FAIL;
        if (jinja_truth(&condition))
            return exec_list(r, s, n->b);
        n = n == first ? first->otherwise : n->next;
    }
    return exec_list(r, s, first->c);
}

static enum flow exec_for(struct jinja_run *r, struct jinja_scope *s, const struct jinja_node *n)
{
    struct jinja_value over;
    if (!jinja_eval(r, s, n->b, &over))
        return FLOW_FAIL;
    r->line = n->line;
    return run_loop(r, s, n, over, 0);
}

static enum flow exec(struct jinja_run *r, struct jinja_scope *s, const struct jinja_node *n)
{
    struct jinja_value v;
    bool ok = true;
    switch (n->op) {
    case JINJA_X_TEXT: jinja_put_text(r, n->text); break;
    case JINJA_X_PRINT: ok = jinja_eval(r, s, n->a, &v) && jinja_put_str(r, &v); break;
    case JINJA_X_IF: return exec_if(r, s, n);
    case JINJA_X_FOR: return exec_for(r, s, n);
    case JINJA_X_SET: ok = jinja_eval(r, s, n->b, &v) && assign(r, s, n->a, v); break;
    case JINJA_X_SET_BLOCK: ok = capture(r, s, n->c, n->b, &v) && assign(r, s, n->a, v); break;
    case JINJA_X_MACRO: jinja_set(r, s, n->text, new_macro(r, s, n)); break;
    case JINJA_X_CALL_BLOCK: ok = exec_call_block(r, s, n); break;
    case JINJA_X_FILTER_BLOCK: ok = capture(r, s, n->c, n->b, &v) && jinja_put_str(r, &v); break;
    case JINJA_X_GROUP: return exec_list(r, open_scope(r, s), n->c);
    case JINJA_X_BREAK: return FLOW_BREAK;
    case JINJA_X_CONTINUE: return FLOW_CONTINUE;
    default: ok = jinja_fail(r, "not a statement"); break;
    }
    return ok ? FLOW_NEXT : FLOW_FAIL;
}

static enum flow exec_list(struct jinja_run *r, struct jinja_scope *s, const struct jinja_node *n)
{
    enum flow f = jinja_enter(r) ? FLOW_NEXT : FLOW_FAIL;
    for (; n && f == FLOW_NEXT; n = n->next) {
        r->line = n->line;
        if (!jinja_work(r, 1))
            f = FLOW_FAIL;
        else if (r->out.over)
            f = jinja_fail_limit(r, "the output has more than %zu bytes", r->out.max) ? FLOW_NEXT
                                                                                      : FLOW_FAIL;
        else
            f = exec(r, s, n);
    }
    r->depth--;
    return f;
}

/* ---- the render ---- */

static void add_span(struct jinja_spans *spans, struct jinja_span span)
{
    if ((spans->n & (spans->n - 1)) == 0)
        spans->at = mem_grow(spans->at, spans->n ? 2 * spans->n : 1, sizeof *spans->at);
    spans->at[spans->n++] = span;
}

static void collect_spans(const struct buf *marks, struct jinja_spans *spans)
{
    for (size_t i = 0; i < marks->n;) {
        size_t from = i;
        uint8_t mark = (uint8_t)marks->p[i];
        while (i < marks->n && (uint8_t)marks->p[i] == mark)
            i++;
        if (mark)
            add_span(spans, (struct jinja_span){from, i, mark});
    }
}

static bool run(struct jinja_run *r, const struct jinja *t, const struct json *vars)
{
    struct jinja_dict root = {0};
    struct jinja_scope scope = {0};
    if (!jinja_from_json(r, vars, &root))
        return false;
    for (size_t i = 0; i < root.n; i++)
        jinja_set(r, &scope, jinja_str(&root.entries[i].key), root.entries[i].value);
    if (exec_list(r, &scope, t->body) == FLOW_FAIL)
        return false;
    return !r->out.over || jinja_fail_limit(r, "the output has more than %zu bytes", r->out.max);
}

bool jinja_render(const struct jinja *t, const struct json *vars, const struct jinja_params *p,
                  struct buf *out, struct jinja_spans *spans, struct err *e)
{
    size_t max_output = p->max_output ? p->max_output : (size_t)64 << 20;
    struct jinja_run r = {.params = p,
                          .out = {.max = max_output},
                          .max_steps = p->max_steps ? p->max_steps : 10000000,
                          .max_memory = p->max_memory ? p->max_memory : (size_t)512 << 20,
                          .line = 1,
                          .e = e};
    bool ok = run(&r, t, vars);
    if (ok)
        buf_str(out, buf_view(&r.out));
    if (ok && spans)
        collect_spans(&r.marks, spans);
    buf_free(&r.out);
    buf_free(&r.marks);
    for (struct jinja_tree *tree = r.trees; tree; tree = tree->next)
        json_free(tree->root);
    arena_free(&r.mem);
    return ok;
}
