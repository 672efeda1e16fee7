/* grammar: what a grammar's nodes and program promise: which rules may be empty, that none begins
 * with itself, how deep each state must go, and which bytes nothing tells apart. */
#include <stdlib.h>
#include <string.h>

#include "text/grammar_int.h"

/* ---- nullable ---- */

bool grammar_node_nullable(const struct grammar *g, uint32_t node)
{
    const struct node *n = &g->nodes[node];
    switch (n->kind) {
    case NODE_EMPTY: return true;
    case NODE_NOTHING:
    case NODE_BYTES:
    case NODE_CLASS:
    case NODE_TOKEN: return false;
    case NODE_SEQ:
        for (uint32_t i = 0; i < n->b; i++)
            if (!grammar_node_nullable(g, g->list[n->a + i]))
                return false;
        return true;
    case NODE_ALT:
        for (uint32_t i = 0; i < n->b; i++)
            if (grammar_node_nullable(g, g->list[n->a + i]))
                return true;
        return false;
    case NODE_REPEAT: return n->b == 0 || grammar_node_nullable(g, n->a);
    case NODE_CALL: return g->nullable[n->a];
    case NODE_SET: return g->sets[n->a].required == 0 && g->sets[n->a].min == 0;
    case NODE_SCAN: return g->scans[n->a].ends[0];
    }
    return false;
}

void grammar_find_nullable(struct grammar *g)
{
    free(g->nullable);
    g->nullable = mem_new(g->n_rules, sizeof *g->nullable);
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t r = g->n_rules; r-- > 0;) {
            if (g->nullable[r] || g->rules[r] == GRAMMAR_NEVER ||
                !grammar_node_nullable(g, g->rules[r]))
                continue;
            g->nullable[r] = changed = true;
        }
    }
}

/* ---- left recursion ---- */

enum mark { UNSEEN, OPEN, CLOSED };

struct left_walk {
    struct grammar *g;
    uint8_t *marks; /* [n_rules] */
    uint32_t depth;
    struct err *e;
};
enum { MAX_LEFT_DEPTH = 4000 };

static bool walk_left(struct left_walk *w, uint32_t node);

static bool walk_left_rule(struct left_walk *w, uint32_t rule)
{
    if (w->marks[rule] == CLOSED)
        return true;
    bool ok = w->marks[rule] != OPEN || err_set(w->e, ERR_USAGE, "it begins with itself");
    if (ok && w->g->rules[rule] == GRAMMAR_NEVER)
        ok = err_set(w->e, ERR_USAGE, "it is used and not defined");
    w->marks[rule] = OPEN;
    ok = ok && walk_left(w, w->g->rules[rule]);
    w->marks[rule] = CLOSED;
    if (!ok && w->g->bad_rule == GRAMMAR_NEVER)
        w->g->bad_rule = rule;
    return ok;
}

static bool walk_left_set(struct left_walk *w, const struct set_def *set)
{
    bool ok = true;
    for (uint32_t i = 0; ok && i < set->n; i++) {
        ok = walk_left(w, set->members[i].node);
        if (ok && grammar_node_nullable(w->g, set->members[i].node))
            ok = err_set(w->e, ERR_USAGE, "a member of a set may be empty");
    }
    return ok;
}

static bool walk_left(struct left_walk *w, uint32_t node)
{
    const struct node *n = &w->g->nodes[node];
    bool ok = ++w->depth < MAX_LEFT_DEPTH ||
              err_set(w->e, ERR_LIMIT, "rules are nested more than %d deep", MAX_LEFT_DEPTH);
    switch (ok ? n->kind : NODE_EMPTY) {
    case NODE_EMPTY:
    case NODE_NOTHING:
    case NODE_BYTES:
    case NODE_CLASS:
    case NODE_TOKEN:
    case NODE_SCAN: break;
    case NODE_SEQ:
        for (uint32_t i = 0; ok && i < n->b; i++) {
            ok = walk_left(w, w->g->list[n->a + i]);
            if (!grammar_node_nullable(w->g, w->g->list[n->a + i]))
                break;
        }
        break;
    case NODE_ALT:
        for (uint32_t i = 0; ok && i < n->b; i++)
            ok = walk_left(w, w->g->list[n->a + i]);
        break;
    case NODE_REPEAT: ok = walk_left(w, n->a); break;
    case NODE_CALL: ok = walk_left_rule(w, n->a); break;
    case NODE_SET: ok = walk_left_set(w, &w->g->sets[n->a]); break;
    }
    w->depth--;
    return ok;
}

bool grammar_check_left(struct grammar *g, uint32_t rule, struct err *e)
{
    struct left_walk w = {.g = g, .marks = mem_new(g->n_rules, 1), .e = e};
    /* Every rule, not only what stands at the left of `rule`: all of them are compiled. */
    bool ok = walk_left_rule(&w, rule);
    for (uint32_t r = 0; ok && r < g->n_rules; r++)
        ok = g->rules[r] == GRAMMAR_NEVER || walk_left_rule(&w, r);
    free(w.marks);
    return ok;
}

/* ---- depth that a state needs ---- */

static uint32_t max_u32(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* 1 + n, for a frame that is pushed. */
static uint32_t within(uint32_t n)
{
    return n >= GRAMMAR_NO_NEED ? GRAMMAR_NO_NEED : n + 1;
}

static int by_need(const void *x, const void *y)
{
    uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;
    return a < b ? -1 : a > b;
}

/* The depth at which n members that are not required can come: the n that need least, or one that
 * comes n times. */
static uint32_t need_of_optional(const struct grammar *g, const struct set_def *set, uint32_t n)
{
    uint32_t needs[GRAMMAR_MAX_MEMBERS], n_needs = 0, least_many = GRAMMAR_NO_NEED;
    for (uint32_t i = 0; i < set->n; i++) {
        uint32_t need = g->need[set->members[i].start];
        if (set->many >> i & 1 && need < least_many)
            least_many = need;
        if (!(set->required >> i & 1))
            needs[n_needs++] = need;
    }
    qsort(needs, n_needs, sizeof *needs, by_need);
    uint32_t least = n <= n_needs ? needs[n - 1] : GRAMMAR_NO_NEED;
    return least < least_many ? least : least_many;
}

static uint32_t need_of_set(const struct grammar *g, const struct set_def *set)
{
    uint32_t need = g->need[set->next];
    uint32_t n_required = (uint32_t)__builtin_popcountll(set->required);
    if (set->min > set->max || n_required > set->max)
        return GRAMMAR_NO_NEED;
    if (n_required > 1 || set->min > 1)
        need = max_u32(need, within(g->need[set->separator_start]));
    for (uint32_t i = 0; i < set->n; i++)
        if (set->required >> i & 1)
            need = max_u32(need, within(g->need[set->members[i].start]));
    if (set->min > n_required)
        need = max_u32(need, within(need_of_optional(g, set, set->min - n_required)));
    return need;
}

static uint32_t need_of(const struct grammar *g, const struct gstate *s)
{
    switch ((enum op)s->op) {
    case OP_BYTE:
    case OP_TOKEN: return g->need[s->next];
    case OP_SPLIT: {
        uint32_t least = GRAMMAR_NO_NEED;
        for (uint32_t i = 0; i < s->next; i++) {
            uint32_t n = g->need[g->targets[s->a + i]];
            least = n < least ? n : least;
        }
        return least;
    }
    case OP_CALL: return max_u32(within(g->need[g->rule_start[s->a]]), g->need[s->next]);
    case OP_RETURN:
    case OP_CHOOSE: return 0;
    case OP_REPEAT: {
        const struct repeat_def *r = &g->repeats[s->a];
        return r->min ? max_u32(within(g->need[r->body]), g->need[r->next]) : g->need[r->next];
    }
    case OP_SET: return need_of_set(g, &g->sets[s->a]);
    case OP_FAIL: return GRAMMAR_NO_NEED;
    }
    return GRAMMAR_NO_NEED;
}

bool grammar_find_need(struct grammar *g, struct err *e)
{
    enum { MAX_SWEEPS = 2000 };
    g->need = mem_new(g->n_states, sizeof *g->need);
    for (size_t i = 0; i < g->n_states; i++)
        g->need[i] = GRAMMAR_NO_NEED;
    bool changed = true;
    /* States are made from back to front: one sweep settles all of a rule but its loops. */
    for (int sweep = 0; changed; sweep++) {
        if (sweep == MAX_SWEEPS)
            return err_set(e, ERR_LIMIT, "the grammar's rules are nested too deeply");
        changed = false;
        for (size_t i = 0; i < g->n_states; i++) {
            uint32_t need = need_of(g, &g->states[i]);
            changed = changed || need < g->need[i];
            g->need[i] = need < g->need[i] ? need : g->need[i];
        }
    }
    if (g->need[g->root] <= GRAMMAR_MAX_FRAMES)
        return true;
    return err_set(e, ERR_USAGE, "no text matches the grammar within %d levels",
                   GRAMMAR_MAX_FRAMES);
}

/* ---- bytes ---- */

void grammar_find_byte_classes(struct grammar *g)
{
    g->n_byte_classes = 1;
    memset(g->byte_class, 0, sizeof g->byte_class);
    for (size_t c = 0; c < g->n_classes && g->n_byte_classes < 256; c++) {
        uint16_t split[256]; /* [old number] the new one for bytes inside; 0: none yet */
        bool outside[256] = {false};
        memset(split, 0, sizeof split);
        for (unsigned b = 0; b < 256; b++)
            if (!byteset_has(&g->classes[c], b))
                outside[g->byte_class[b]] = true;
        for (unsigned b = 0; b < 256; b++) {
            uint8_t old = g->byte_class[b];
            if (!byteset_has(&g->classes[c], b) || !outside[old])
                continue;
            if (!split[old])
                split[old] = (uint16_t)g->n_byte_classes++;
            g->byte_class[b] = (uint8_t)split[old];
        }
    }
    for (unsigned b = 256; b-- > 0;)
        g->byte_of[g->byte_class[b]] = (uint8_t)b;
}
