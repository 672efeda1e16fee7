#include "text/mask.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "text/mask_int.h"

/* A mask with more tokens is kept as bits. */
enum { MAX_LISTED = 512 };
/* Below so many nodes it does not pay to look for bytes that change nothing. */
enum { MIN_PRUNED = 20000 };
/* Places that may be looked at for one mask: some 100 ms. Usual grammars need a thousandth. */
enum { MAX_WORK = 4000000 };

/* What an inside state allows, whatever its frame stands on. */
struct inner {
    struct token_mask mask;
    uint32_t *exits; /* [n_exits] nodes at which the frame was left and tokens go on */
    uint32_t n_exits;
};

struct masks {
    const struct mask_vocab *v;
    struct automaton *a;
    struct token_mask **at; /* [room] by state */
    struct inner **inner;   /* [room] by inside state */
    uint32_t room;
    size_t n_bytes;
    /* The mask that is being made. */
    int32_t *ids; /* [n_vocab] each once */
    uint32_t n_ids;
    uint64_t *taken; /* [n_words] bits of .ids, and more bits when .many */
    bool many;
    uint32_t n_words;
    uint32_t *exits;
    uint32_t n_exits, exits_room;
};

struct masks *masks_open(const struct mask_vocab *v, struct automaton *a)
{
    struct masks *m = mem_new(1, sizeof *m);
    m->v = v;
    m->a = a;
    m->n_words = (v->n_vocab + 63) / 64;
    m->ids = mem_new(v->n_vocab, sizeof *m->ids);
    m->taken = mem_new(m->n_words, sizeof *m->taken);
    return m;
}

static void free_mask(const struct token_mask *mask)
{
    free(mask->ids);
    free(mask->bits);
}

static void forget(struct masks *m)
{
    for (uint32_t i = 0; i < m->room; i++) {
        if (m->at[i])
            free_mask(m->at[i]);
        if (m->inner[i]) {
            free_mask(&m->inner[i]->mask);
            free(m->inner[i]->exits);
        }
        free(m->at[i]);
        free(m->inner[i]);
    }
    free(m->at);
    free(m->inner);
    m->at = NULL;
    m->inner = NULL;
    m->room = 0;
    m->n_bytes = 0;
}

void masks_close(struct masks *m)
{
    if (!m)
        return;
    forget(m);
    free(m->ids);
    free(m->taken);
    free(m->exits);
    free(m);
}

/* ---- collecting tokens ---- */

static void put_id(void *ctx, int32_t id)
{
    struct masks *m = ctx;
    if (id < 0 || (uint32_t)id >= m->v->n_vocab)
        return;
    uint64_t *word = &m->taken[id / 64], bit = UINT64_C(1) << (id % 64);
    if (!(*word & bit))
        m->ids[m->n_ids++] = id;
    *word |= bit;
}

static int by_id(const void *x, const void *y)
{
    int32_t a = *(const int32_t *)x, b = *(const int32_t *)y;
    return a < b ? -1 : a > b;
}

/* The tokens collected as a mask; starts a new collection. */
static struct token_mask take(struct masks *m)
{
    struct token_mask out = {.n_words = m->n_words};
    if (m->n_ids <= MAX_LISTED && !m->many) {
        int32_t *ids = mem_new((size_t)m->n_ids + 1, sizeof *ids);
        qsort(m->ids, m->n_ids, sizeof *m->ids, by_id);
        memcpy(ids, m->ids, m->n_ids * sizeof *ids);
        for (uint32_t i = 0; i < m->n_ids; i++)
            m->taken[ids[i] / 64] = 0;
        out.n = m->n_ids;
        out.ids = ids;
        m->n_bytes += ((size_t)m->n_ids + 1) * sizeof *ids;
    } else {
        uint64_t *bits = mem_new(m->n_words, sizeof *bits);
        for (uint32_t w = 0; w < m->n_words; w++) {
            bits[w] = m->taken[w];
            m->taken[w] = 0;
            out.n += (uint32_t)__builtin_popcountll(bits[w]);
        }
        out.bits = bits;
        m->n_bytes += m->n_words * sizeof *bits;
    }
    m->n_ids = 0;
    m->many = false;
    out.all = out.n >= m->v->n_tokens + m->v->n_stops;
    return out;
}

/* ---- walking the trie ---- */

/* A state that some bytes leave as it is: a subtree of such bytes need not be read. Inside strings
 * that is most of the vocabulary. */
struct loop {
    uint32_t state;
    uint64_t groups; /* of these bytes */
};

static struct loop loop_of(struct masks *m, uint32_t state, bool exits)
{
    struct loop loop = {.state = state};
    uint64_t leaves = 0;
    if (state == AUTOMATON_DEAD || (exits && automaton_left(m->a, state)))
        return loop;
    for (unsigned byte = 0; byte < 256; byte++)
        if (automaton_step(m->a, state, (uint8_t)byte) != state)
            leaves |= UINT64_C(1) << mask_group((uint8_t)byte);
    loop.groups = ~leaves;
    return loop;
}

/* Does a node's subtree change nothing at a state? */
static bool is_loop(const struct loop *loops, uint32_t state, const struct trie_node *node)
{
    return (state == loops[0].state && (node->below & ~loops[0].groups) == 0) ||
           (state == loops[1].state && (node->below & ~loops[1].groups) == 0);
}

static void put_range(struct masks *m, uint32_t from, uint32_t to)
{
    for (uint32_t k = from; k < to; k++)
        put_id(m, m->v->tokens[k]);
}

/* Tries the nodes [from, to), a node's children with their subtrees, from a state on: what can be
 * read goes to .ids. With exits, nodes where the frame is left go to .exits. */
static void walk(struct masks *m, uint32_t from, uint32_t to, uint32_t state, bool exits)
{
    const struct trie_node *nodes = m->v->nodes;
    uint32_t path[AUTOMATON_HORIZON + 1];
    if (from >= to)
        return;
    path[nodes[from].depth] = state;
    /* Text begins in a state of its own and is soon in the one that letters leave as it is. */
    struct loop loops[2] = {{.state = AUTOMATON_DEAD}, {.state = AUTOMATON_DEAD}};
    if (to - from > MIN_PRUNED) {
        loops[0] = loop_of(m, state, exits);
        loops[1] = loop_of(m, automaton_step(m->a, state, 'e'), exits);
    }
    for (uint32_t i = from; i < to;) {
        const struct trie_node *node = &nodes[i];
        uint32_t next = automaton_step(m->a, path[node->depth], node->byte);
        if (next == AUTOMATON_DEAD) {
            i = node->skip;
            continue;
        }
        path[node->depth + 1] = next;
        if (is_loop(loops, next, node)) {
            put_range(m, node->from, nodes[node->skip].from);
            i = node->skip;
            continue;
        }
        put_range(m, node->from, node[1].from);
        if (exits && node->skip > i + 1 && automaton_left(m->a, next)) {
            if (m->n_exits == m->exits_room) {
                m->exits_room = m->exits_room ? 2 * m->exits_room : 256;
                m->exits = mem_grow(m->exits, m->exits_room, sizeof *m->exits);
            }
            m->exits[m->n_exits++] = i;
        }
        i++;
    }
}

/* ---- masks ---- */

static void make_inner(struct masks *m, uint32_t state)
{
    if (m->inner[state])
        return;
    struct inner *in = mem_new(1, sizeof *in);
    m->n_exits = 0;
    walk(m, 0, m->v->n_nodes, state, true);
    in->mask = take(m);
    in->n_exits = m->n_exits;
    in->exits = mem_new(m->n_exits, sizeof *in->exits);
    if (m->n_exits)
        memcpy(in->exits, m->exits, m->n_exits * sizeof *in->exits);
    m->n_bytes += sizeof *in + m->n_exits * sizeof *in->exits;
    m->inner[state] = in;
}

/* Room for every state that there is. */
static void make_room(struct masks *m)
{
    uint32_t n = automaton_n_states(m->a);
    if (n <= m->room)
        return;
    uint32_t room = n + n / 2;
    m->at = mem_grow(m->at, room, sizeof *m->at);
    m->inner = mem_grow(m->inner, room, sizeof *m->inner);
    memset(m->at + m->room, 0, (room - m->room) * sizeof *m->at);
    memset(m->inner + m->room, 0, (room - m->room) * sizeof *m->inner);
    m->n_bytes += (room - m->room) * (sizeof *m->at + sizeof *m->inner);
    m->room = room;
}

/* Can anything be read at a state? */
static bool goes_on(const struct masks *m, uint32_t state)
{
    struct byteset set = automaton_bytes(m->a, state);
    return set.bits[0] | set.bits[1] | set.bits[2] | set.bits[3];
}

/* Collects what a part of a state allows; its inner mask is there. */
static void put_part(struct masks *m, const struct automaton_part *part)
{
    const struct inner *in = m->inner[part->inside];
    uint32_t n_exits = goes_on(m, part->outside) ? in->n_exits : 0;
    for (uint32_t i = 0; in->mask.ids && i < in->mask.n; i++)
        put_id(m, in->mask.ids[i]);
    for (uint32_t w = 0; in->mask.bits && w < m->n_words; w++)
        m->taken[w] |= in->mask.bits[w];
    m->many = m->many || in->mask.bits;
    for (uint32_t i = 0; i < n_exits; i++) {
        uint32_t node = in->exits[i];
        walk(m, node + 1, m->v->nodes[node].skip, part->outside, false);
    }
}

const struct token_mask *masks_at(struct masks *m, uint32_t state)
{
    uint32_t n_parts;
    make_room(m);
    if (m->at[state])
        return m->at[state];
    automaton_allow(m->a, MAX_WORK);
    const struct automaton_part *parts = automaton_parts(m->a, state, &n_parts);
    make_room(m);
    for (uint32_t i = 0; i < n_parts; i++)
        make_inner(m, parts[i].inside);
    for (uint32_t i = 0; i < n_parts; i++)
        put_part(m, &parts[i]);
    automaton_each_token(m->a, state, put_id, m);
    for (uint32_t i = 0; i < m->v->n_stops && automaton_accepts(m->a, state); i++)
        put_id(m, m->v->stops[i]);
    struct token_mask *mask = mem_new(1, sizeof *mask);
    *mask = take(m);
    m->n_bytes += sizeof *mask;
    make_room(m);
    m->at[state] = mask;
    return automaton_broken(m->a) ? NULL : mask;
}

uint32_t masks_step(struct masks *m, uint32_t state, int32_t id)
{
    str bytes = mask_vocab_bytes(m->v, id);
    automaton_allow(m->a, MAX_WORK);
    if (bytes.n == 0)
        return automaton_token(m->a, state, id);
    return automaton_text(m->a, state, bytes);
}

void masks_trim(struct masks *m, uint32_t *states, size_t n, size_t max_bytes)
{
    if (m->n_bytes + automaton_n_bytes(m->a) <= max_bytes)
        return;
    forget(m);
    automaton_trim(m->a, states, n);
}
