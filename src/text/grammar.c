/* grammar: from nodes to the program that the automaton runs. States are made from back to front:
 * each node is compiled knowing the state that follows it. */
#include <stdlib.h>
#include <string.h>

#include "text/grammar_int.h"

/* Counted repetitions up to so many states are written out; larger ones count in a frame. */
enum { UNROLLED_STATES = 48, MAX_NULLABLE_REPEAT = 64, MAX_EMIT_DEPTH = 2000 };

struct emit {
    struct grammar *g;
    uint32_t fail;    /* the state that never matches */
    uint32_t depth;   /* of nodes inside each other */
    uint32_t n_empty; /* repetitions of what may be empty, over the limit */
};

static uint32_t put_state(struct emit *m, enum op op, uint32_t a, uint32_t next)
{
    struct grammar *g = m->g;
    if (g->n_states >= GRAMMAR_MAX_STATES) {
        g->over = true;
        return m->fail;
    }
    GROW(g->states, g->n_states, g->states_room);
    g->states[g->n_states] = (struct gstate){op, a, next};
    return (uint32_t)g->n_states++;
}

static uint32_t put_targets(struct emit *m, const uint32_t *targets, uint32_t n)
{
    struct grammar *g = m->g;
    uint32_t from = (uint32_t)g->n_targets;
    for (uint32_t i = 0; i < n; i++) {
        GROW(g->targets, g->n_targets, g->targets_room);
        g->targets[g->n_targets++] = targets[i];
    }
    return from;
}

static uint32_t put_split(struct emit *m, const uint32_t *targets, uint32_t n)
{
    uint32_t from = put_targets(m, targets, n);
    return put_state(m, OP_SPLIT, from, n);
}

static uint32_t emit(struct emit *m, uint32_t node, uint32_t next);

static uint32_t emit_bytes(struct emit *m, const struct node *n, uint32_t next)
{
    for (uint32_t i = n->b; i-- > 0;) {
        struct byteset one = {0};
        unsigned byte = (unsigned char)m->g->text[n->a + i];
        byteset_add(&one, byte, byte);
        next = put_state(m, OP_BYTE, grammar_class_of(m->g, &one), next);
    }
    return next;
}

static uint32_t emit_alt(struct emit *m, const struct node *n, uint32_t next)
{
    uint32_t *targets = mem_new(n->b, sizeof *targets);
    for (uint32_t i = 0; i < n->b; i++)
        targets[i] = emit(m, m->g->list[n->a + i], next);
    uint32_t state = put_split(m, targets, n->b);
    free(targets);
    return state;
}

/* node* */
static uint32_t emit_loop(struct emit *m, uint32_t node, uint32_t next)
{
    uint32_t loop = put_split(m, (uint32_t[]){m->fail, next}, 2);
    uint32_t body = emit(m, node, loop);
    if (loop != m->fail)
        m->g->targets[m->g->states[loop].a] = body;
    return loop;
}

/* node{min,max}, written out. */
static uint32_t emit_copies(struct emit *m, uint32_t node, uint32_t min, uint32_t max,
                            uint32_t next)
{
    uint32_t at = next;
    if (max == GRAMMAR_UNBOUNDED)
        at = emit_loop(m, node, next);
    else
        for (uint32_t i = min; i < max; i++)
            at = put_split(m, (uint32_t[]){emit(m, node, at), next}, 2);
    for (uint32_t i = 0; i < min; i++)
        at = emit(m, node, at);
    return at;
}

static uint32_t emit_counted(struct emit *m, const struct node *n, uint32_t next)
{
    struct grammar *g = m->g;
    uint32_t number = (uint32_t)g->n_repeats;
    GROW(g->repeats, g->n_repeats, g->repeats_room);
    g->n_repeats++;
    uint32_t end = put_state(m, OP_RETURN, 0, 0);
    uint32_t body = emit(m, n->a, end); /* may move .repeats */
    g->repeats[number] = (struct repeat_def){body, n->b, n->c, next};
    return put_state(m, OP_REPEAT, number, 0);
}

static uint32_t emit_repeat(struct emit *m, const struct node *n, uint32_t next)
{
    struct grammar *g = m->g;
    bool bounded = n->c != GRAMMAR_UNBOUNDED;
    uint32_t copies = bounded ? n->c : n->b;
    if (grammar_node_nullable(g, n->a)) {
        if (copies > MAX_NULLABLE_REPEAT) {
            m->n_empty++;
            return m->fail;
        }
        return emit_copies(m, n->a, bounded ? 0 : n->b, n->c, next);
    }
    if (copies <= 1)
        return emit_copies(m, n->a, n->b, n->c, next);
    /* One copy says how large they are; it stays behind unused when counting is better. */
    size_t before = g->n_states;
    emit(m, n->a, next);
    size_t size = g->n_states - before;
    if ((copies + 1) * (uint64_t)size <= UNROLLED_STATES)
        return emit_copies(m, n->a, n->b, n->c, next);
    return emit_counted(m, n, next);
}

static uint32_t emit_set(struct emit *m, uint32_t number, uint32_t next)
{
    struct grammar *g = m->g;
    uint32_t end = put_state(m, OP_RETURN, 0, 0);
    uint32_t choose = put_state(m, OP_CHOOSE, number, 0);
    struct set_def set = g->sets[number]; /* members are in the arena */
    set.separator_start = emit(m, set.separator, choose);
    for (uint32_t i = 0; i < set.n; i++)
        set.members[i].start = emit(m, set.members[i].node, end);
    set.next = next;
    g->sets[number] = set;
    return put_state(m, OP_SET, number, 0);
}

/* Where the edges of a scan lead, beside its own states. */
struct scan_exits {
    uint32_t *starts;   /* [n] states of the scan */
    uint32_t *after;    /* [patterns] state behind a match */
    uint32_t others[2]; /* characters that are not ASCII; escapes */
    uint32_t n_others;
    uint32_t next;
};

/* One state of a scan: its edges, grouped by where they lead. */
static void emit_scan_state(struct emit *m, const struct scan_def *scan, uint32_t i,
                            const struct scan_exits *x)
{
    struct grammar *g = m->g;
    const uint32_t *edges = scan->edges[i];
    bool done[128] = {false};
    uint32_t targets[128 + 3], n = 0;
    for (unsigned b = 0; b < 128; b++) {
        struct byteset set = {0};
        if (done[b] || edges[b] == SCAN_NEVER)
            continue;
        for (unsigned c = b; c < 128; c++)
            if (edges[c] == edges[b]) {
                byteset_add(&set, c, c);
                done[c] = true;
            }
        uint32_t to =
            edges[b] >= SCAN_MATCH ? x->after[edges[b] - SCAN_MATCH] : x->starts[edges[b]];
        targets[n++] = put_state(m, OP_BYTE, grammar_class_of(g, &set), to);
    }
    for (uint32_t k = 0; k < x->n_others; k++)
        targets[n++] = x->others[k];
    if (scan->ends[i])
        targets[n++] = x->next;
    uint32_t from = put_targets(m, targets, n);
    g->states[x->starts[i]].a = from;
    g->states[x->starts[i]].next = n;
}

static uint32_t emit_scan(struct emit *m, uint32_t number, uint32_t next)
{
    struct grammar *g = m->g;
    const struct scan_def scan = g->scans[number];
    static const struct code_range beyond_ascii = {0x80, 0x10ffff};
    static const struct byteset high = {{0, 0, UINT64_MAX, UINT64_MAX}};
    struct scan_exits x = {.next = next, .n_others = 1};
    x.starts = mem_new(scan.n, sizeof *x.starts);
    x.after = mem_new(scan.n_patterns, sizeof *x.after);
    for (uint32_t i = 0; i < scan.n_patterns; i++)
        x.after[i] = scan.then[i] == GRAMMAR_NEVER ? m->fail : emit(m, scan.then[i], next);
    for (uint32_t i = 0; i < scan.n; i++)
        x.starts[i] = put_state(m, OP_SPLIT, 0, 0);
    uint32_t other = scan.any_byte ? grammar_class(g, &high) : grammar_chars(g, &beyond_ascii, 1);
    x.others[0] = emit(m, other, x.starts[scan.reset]);
    if (scan.in_json)
        x.others[x.n_others++] = emit(m, scan.escape, x.starts[scan.reset]);
    for (uint32_t i = 0; i < scan.n && !g->over; i++)
        emit_scan_state(m, &scan, i, &x);
    uint32_t start = x.starts[0];
    free(x.starts);
    free(x.after);
    return start;
}

static uint32_t emit_node(struct emit *m, const struct node *n, uint32_t next)
{
    struct grammar *g = m->g;
    switch (n->kind) {
    case NODE_EMPTY: return next;
    case NODE_NOTHING: return m->fail;
    case NODE_BYTES: return emit_bytes(m, n, next);
    case NODE_CLASS: return put_state(m, OP_BYTE, n->a, next);
    case NODE_TOKEN: return put_state(m, OP_TOKEN, n->a, next);
    case NODE_SEQ:
        for (uint32_t i = n->b; i-- > 0;)
            next = emit(m, g->list[n->a + i], next);
        return next;
    case NODE_ALT: return emit_alt(m, n, next);
    case NODE_REPEAT: return emit_repeat(m, n, next);
    case NODE_CALL: return put_state(m, OP_CALL, n->a, next);
    case NODE_SET: return emit_set(m, n->a, next);
    case NODE_SCAN: return emit_scan(m, n->a, next);
    }
    return m->fail;
}

static uint32_t emit(struct emit *m, uint32_t node, uint32_t next)
{
    struct node n = m->g->nodes[node]; /* the array may move */
    if (m->g->over || m->depth >= MAX_EMIT_DEPTH) {
        m->g->over = true;
        return m->fail;
    }
    m->depth++;
    uint32_t state = emit_node(m, &n, next);
    m->depth--;
    return state;
}

static bool emit_all(struct grammar *g, uint32_t rule, struct err *e)
{
    struct emit m = {.g = g};
    m.fail = put_state(&m, OP_FAIL, 0, 0);
    uint32_t end = put_state(&m, OP_RETURN, 0, 0);
    g->rule_start = mem_new(g->n_rules, sizeof *g->rule_start);
    for (size_t r = 0; r < g->n_rules && !g->over; r++)
        g->rule_start[r] = g->rules[r] == GRAMMAR_NEVER ? m.fail : emit(&m, g->rules[r], end);
    g->root = g->rule_start[rule];
    if (m.n_empty)
        return err_set(e, ERR_LIMIT, "something that may be empty is repeated more than %d times",
                       MAX_NULLABLE_REPEAT);
    return true;
}

uint32_t grammar_bad_rule(const struct grammar *g)
{
    return g->bad_rule;
}

bool grammar_compile(struct grammar *g, uint32_t rule, struct err *e)
{
    if (!g->over) {
        grammar_find_nullable(g);
        if (!grammar_check_left(g, rule, e) || !emit_all(g, rule, e))
            return false;
    }
    if (g->over)
        return err_set(e, ERR_LIMIT,
                       "the grammar is too large: it needs more than %d nodes or %d "
                       "states",
                       GRAMMAR_MAX_NODES, GRAMMAR_MAX_STATES);
    if (!grammar_find_need(g, e))
        return false;
    grammar_find_byte_classes(g);
    return true;
}
