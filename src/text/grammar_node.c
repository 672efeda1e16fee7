/* grammar: building nodes. */
#include <stdlib.h>
#include <string.h>

#include "text/grammar_int.h"

struct grammar *grammar_new(void)
{
    struct grammar *g = mem_new(1, sizeof *g);
    g->class_mask = 255;
    g->bad_rule = GRAMMAR_NEVER;
    g->class_slots = mem_new(g->class_mask + 1, sizeof *g->class_slots);
    return g;
}

void grammar_free(struct grammar *g)
{
    if (!g)
        return;
    arena_free(&g->arena);
    free(g->nodes);
    free(g->list);
    free(g->text);
    free(g->classes);
    free(g->class_slots);
    free(g->rules);
    free(g->sets);
    free(g->scans);
    free(g->states);
    free(g->targets);
    free(g->repeats);
    free(g->rule_start);
    free(g->nullable);
    free(g->need);
    free(g);
}

/* ---- classes ---- */

static uint64_t class_hash(const struct byteset *s)
{
    uint64_t h = 0;
    for (int i = 0; i < 4; i++)
        h = (h ^ s->bits[i]) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 32;
}

/* The slot of a class: its number + 1, or 0 where it would stand. */
static uint32_t *class_slot(const struct grammar *g, const struct byteset *set)
{
    size_t i = class_hash(set) & g->class_mask;
    while (g->class_slots[i] && memcmp(&g->classes[g->class_slots[i] - 1], set, sizeof *set) != 0)
        i = (i + 1) & g->class_mask;
    return &g->class_slots[i];
}

uint32_t grammar_class_of(struct grammar *g, const struct byteset *set)
{
    uint32_t *slot = class_slot(g, set);
    if (*slot)
        return *slot - 1;
    GROW(g->classes, g->n_classes, g->classes_room);
    g->classes[g->n_classes++] = *set;
    *slot = (uint32_t)g->n_classes;
    if (2 * g->n_classes > g->class_mask) {
        g->class_mask = 2 * g->class_mask + 1;
        free(g->class_slots);
        g->class_slots = mem_new(g->class_mask + 1, sizeof *g->class_slots);
        for (size_t i = 0; i < g->n_classes; i++)
            *class_slot(g, &g->classes[i]) = (uint32_t)i + 1;
    }
    return *class_slot(g, set) - 1;
}

/* ---- nodes ---- */

static uint32_t put(struct grammar *g, struct node node)
{
    if (g->n_nodes >= GRAMMAR_MAX_NODES) {
        g->over = true;
        return 0; /* the first node there is; the grammar fails to compile */
    }
    GROW(g->nodes, g->n_nodes, g->nodes_room);
    g->nodes[g->n_nodes] = node;
    return (uint32_t)g->n_nodes++;
}

uint32_t grammar_empty(struct grammar *g)
{
    return put(g, (struct node){.kind = NODE_EMPTY});
}

uint32_t grammar_nothing(struct grammar *g)
{
    return put(g, (struct node){.kind = NODE_NOTHING});
}

uint32_t grammar_bytes(struct grammar *g, str bytes)
{
    if (bytes.n == 0)
        return grammar_empty(g);
    if (bytes.n > GRAMMAR_MAX_NODES - g->n_text) {
        g->over = true;
        return grammar_empty(g);
    }
    if (g->n_text + bytes.n > g->text_room) {
        g->text_room = 2 * (g->n_text + bytes.n);
        g->text = mem_grow(g->text, g->text_room, 1);
    }
    uint32_t from = (uint32_t)g->n_text;
    memcpy(g->text + from, bytes.p, bytes.n);
    g->n_text += bytes.n;
    return put(g, (struct node){NODE_BYTES, from, (uint32_t)bytes.n, 0});
}

uint32_t grammar_class(struct grammar *g, const struct byteset *set)
{
    static const struct byteset none;
    if (memcmp(set, &none, sizeof none) == 0)
        return grammar_nothing(g);
    return put(g, (struct node){.kind = NODE_CLASS, .a = grammar_class_of(g, set)});
}

uint32_t grammar_token(struct grammar *g, int32_t id)
{
    return put(g, (struct node){.kind = NODE_TOKEN, .a = (uint32_t)id});
}

static uint32_t put_list(struct grammar *g, enum node_kind kind, const uint32_t *nodes, size_t n)
{
    uint32_t from = (uint32_t)g->n_list;
    if (n > GRAMMAR_MAX_NODES - g->n_list) {
        g->over = true;
        return grammar_empty(g);
    }
    for (size_t i = 0; i < n; i++) {
        GROW(g->list, g->n_list, g->list_room);
        g->list[g->n_list++] = nodes[i];
    }
    return put(g, (struct node){kind, from, (uint32_t)n, 0});
}

uint32_t grammar_seq(struct grammar *g, const uint32_t *nodes, size_t n)
{
    return n == 1 ? nodes[0] : n ? put_list(g, NODE_SEQ, nodes, n) : grammar_empty(g);
}

uint32_t grammar_seq2(struct grammar *g, uint32_t a, uint32_t b)
{
    return grammar_seq(g, (uint32_t[]){a, b}, 2);
}

uint32_t grammar_alt(struct grammar *g, const uint32_t *nodes, size_t n)
{
    return n == 1 ? nodes[0] : n ? put_list(g, NODE_ALT, nodes, n) : grammar_nothing(g);
}

uint32_t grammar_repeat(struct grammar *g, uint32_t node, uint32_t min, uint32_t max)
{
    if (min > max)
        return grammar_nothing(g);
    if (max == 0)
        return grammar_empty(g);
    if (min == 1 && max == 1)
        return node;
    return put(g, (struct node){NODE_REPEAT, node, min, max});
}

/* ---- rules ---- */

uint32_t grammar_rule(struct grammar *g)
{
    if (g->n_rules >= GRAMMAR_MAX_NODES) {
        g->over = true;
        return 0;
    }
    GROW(g->rules, g->n_rules, g->rules_room);
    g->rules[g->n_rules] = GRAMMAR_NEVER;
    return (uint32_t)g->n_rules++;
}

void grammar_define(struct grammar *g, uint32_t rule, uint32_t node)
{
    g->rules[rule] = node;
}

uint32_t grammar_call(struct grammar *g, uint32_t rule)
{
    return put(g, (struct node){.kind = NODE_CALL, .a = rule});
}

/* ---- sets and scans ---- */

uint32_t grammar_set(struct grammar *g, const struct grammar_set *set)
{
    struct set_def def = {
        .n = (uint32_t)set->n, .separator = set->separator, .min = set->min, .max = set->max};
    if (set->n > GRAMMAR_MAX_MEMBERS) {
        g->over = true;
        return grammar_empty(g);
    }
    def.members = arena_new(&g->arena, set->n + 1, sizeof *def.members);
    for (size_t i = 0; i < set->n; i++) {
        def.members[i].node = set->members[i].node;
        def.required |= (uint64_t)set->members[i].required << i;
        def.many |= (uint64_t)set->members[i].many << i;
    }
    GROW(g->sets, g->n_sets, g->sets_room);
    g->sets[g->n_sets] = def;
    return put(g, (struct node){.kind = NODE_SET, .a = (uint32_t)g->n_sets++});
}

uint32_t grammar_scan(struct grammar *g, const struct grammar_scan *scan)
{
    struct scan_def def;
    if (!scan_build(g, scan, &def)) {
        g->over = true;
        return grammar_empty(g);
    }
    GROW(g->scans, g->n_scans, g->scans_room);
    g->scans[g->n_scans] = def;
    return put(g, (struct node){.kind = NODE_SCAN, .a = (uint32_t)g->n_scans++});
}

/* ---- code points ---- */

/* Code points [from, to] of one length whose sequences share all but their last `free` bytes'
 * ranges: a product of byte ranges. Splits until that holds. */
static void put_range(struct grammar *g, uint32_t from, uint32_t to, size_t n_bytes, uint32_t *alts,
                      size_t *n_alts)
{
    /* The lowest k continuation bytes (6 bits each) must be full in all but the last part. */
    for (size_t k = 1; k < n_bytes; k++) {
        uint32_t span = (1u << 6 * k) - 1;
        if ((from & ~span) == (to & ~span))
            continue;
        if (from & span) {
            put_range(g, from, from | span, n_bytes, alts, n_alts);
            put_range(g, (from | span) + 1, to, n_bytes, alts, n_alts);
            return;
        }
        if ((to & span) != span) {
            put_range(g, from, (to & ~span) - 1, n_bytes, alts, n_alts);
            put_range(g, to & ~span, to, n_bytes, alts, n_alts);
            return;
        }
    }
    static const unsigned lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    uint32_t parts[4];
    for (size_t i = 0; i < n_bytes; i++) {
        struct byteset set = {0};
        unsigned shift = 6 * (unsigned)(n_bytes - 1 - i);
        unsigned mask = n_bytes == 1 ? 0x7f : i == 0 ? 0x1f : 0x3f;
        unsigned mark = i == 0 ? lead[n_bytes] : 0x80;
        byteset_add(&set, mark | (from >> shift & mask), mark | (to >> shift & mask));
        parts[i] = grammar_class(g, &set);
    }
    alts[(*n_alts)++] = grammar_seq(g, parts, n_bytes);
}

uint32_t grammar_chars(struct grammar *g, const struct code_range *ranges, size_t n)
{
    /* Borders of the sequences' lengths, and of the surrogates. */
    static const struct {
        uint32_t from, to;
        size_t n_bytes;
    } parts[] = {{0x80, 0x7ff, 2}, {0x800, 0xd7ff, 3}, {0xe000, 0xffff, 3}, {0x10000, 0x10ffff, 4}};
    struct byteset ascii = {0};
    size_t room = 1 + 8 * 4 * n; /* put_range splits a range into fewer than 8 */
    uint32_t *alts = mem_new(room, sizeof *alts);
    size_t n_alts = 0;
    for (size_t i = 0; i < n; i++) {
        if (ranges[i].from < 0x80 && ranges[i].from <= ranges[i].to)
            byteset_add(&ascii, ranges[i].from, ranges[i].to < 0x80 ? ranges[i].to : 0x7f);
        for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) {
            uint32_t from = ranges[i].from > parts[k].from ? ranges[i].from : parts[k].from;
            uint32_t to = ranges[i].to < parts[k].to ? ranges[i].to : parts[k].to;
            if (from <= to)
                put_range(g, from, to, parts[k].n_bytes, alts, &n_alts);
        }
    }
    if (ascii.bits[0] || ascii.bits[1])
        alts[n_alts++] = grammar_class(g, &ascii);
    uint32_t node = grammar_alt(g, alts, n_alts);
    free(alts);
    return node;
}
