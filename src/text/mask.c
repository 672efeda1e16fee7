#include "text/mask.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "text/mask_int.h"

/* A mask with more tokens is kept as bits. */
enum { MAX_LISTED = 512 };
/* Places that may be looked at for one mask: some 100 ms. Usual grammars need a thousandth. */
enum { MAX_WORK = 4000000 };

struct masks *masks_open(const struct mask_vocab *v, struct automaton *a)
{
    struct masks *m = mem_new(1, sizeof *m);
    m->v = v;
    m->a = a;
    m->ids = mem_new(v->n_vocab, sizeof *m->ids);
    m->taken = mem_new(v->n_words, sizeof *m->taken);
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
            free_mask(&m->inner[i]->shorts.mask);
            free_mask(&m->inner[i]->others.mask);
            free(m->inner[i]->shorts.exits);
            free(m->inner[i]->others.exits);
        }
        free(m->at[i]);
        free(m->inner[i]);
    }
    for (int i = 0; i < MASK_N_PAIRS; i++)
        free_mask(&m->pairs[i].mask);
    memset(m->pairs, 0, sizeof m->pairs);
    free(m->at);
    free(m->inner);
    free(m->calm_next);
    m->at = NULL;
    m->inner = NULL;
    m->calm_next = NULL;
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

void mask_put_id(void *masks, int32_t id)
{
    struct masks *m = masks;
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
    struct token_mask out = {.n_words = m->v->n_words};
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
        uint64_t *bits = mem_new(m->v->n_words, sizeof *bits);
        for (uint32_t w = 0; w < m->v->n_words; w++) {
            bits[w] = m->taken[w];
            m->taken[w] = 0;
            out.n += (uint32_t)__builtin_popcountll(bits[w]);
        }
        out.bits = bits;
        m->n_bytes += m->v->n_words * sizeof *bits;
    }
    m->n_ids = 0;
    m->many = false;
    return out;
}

/* ---- walking the trie ---- */

static void put_range(struct masks *m, uint32_t from, uint32_t to)
{
    const int32_t *tokens = m->v->tokens;
    if (to - from > MAX_LISTED) {
        m->many = true;
        for (uint32_t k = from; k < to; k++)
            m->taken[tokens[k] / 64] |= UINT64_C(1) << (tokens[k] % 64);
    } else {
        for (uint32_t k = from; k < to; k++)
            mask_put_id(m, tokens[k]);
    }
}

static void drop_tokens(struct masks *m, uint32_t from, uint32_t to)
{
    for (uint32_t k = from; k < to; k++)
        m->taken[m->v->tokens[k] / 64] &= ~(UINT64_C(1) << (m->v->tokens[k] % 64));
}

static void put_mask(struct masks *m, const struct token_mask *mask)
{
    for (uint32_t i = 0; mask->ids && i < mask->n; i++)
        mask_put_id(m, mask->ids[i]);
    for (uint32_t w = 0; mask->bits && w < m->v->n_words; w++)
        m->taken[w] |= mask->bits[w];
    m->many = m->many || mask->bits;
}

static void put_exit(struct masks *m, uint32_t node)
{
    if (m->n_exits == m->exits_room) {
        m->exits_room = m->exits_room ? 2 * m->exits_room : 256;
        m->exits = mem_grow(m->exits, m->exits_room, sizeof *m->exits);
    }
    m->exits[m->n_exits++] = node;
}

/* Tries the nodes [from, to), a node's children with their subtrees, from a state on: what can be
 * read goes to .ids. With exits, nodes where the frame is left go to .exits. */
static void walk(struct masks *m, uint32_t from, uint32_t to, uint32_t state, bool exits)
{
    const struct trie_node *nodes = m->v->nodes;
    const uint32_t calm_end = m->v->section[MASK_CALM + 1];
    uint32_t path[AUTOMATON_HORIZON + 1];
    if (from >= to)
        return;
    path[nodes[from].depth] = state;
    for (uint32_t i = from; i < to;) {
        const struct trie_node *node = &nodes[i];
        uint32_t next = automaton_step(m->a, path[node->depth], node->byte);
        if (next == AUTOMATON_DEAD) {
            i = node->skip;
            continue;
        }
        path[node->depth + 1] = next;
        if (i < calm_end && node->whole && node->skip > i + 1 &&
            !(exits && automaton_left(m->a, next)) && mask_calm_run(m, next) == MASK_ALL_CALM) {
            put_range(m, node->from, nodes[node->skip].from);
            i = node->skip;
            continue;
        }
        put_range(m, node->from, node[1].from);
        if (exits && node->skip > i + 1 && automaton_left(m->a, next))
            put_exit(m, i);
        i++;
    }
}

static void walk_section(struct masks *m, enum mask_section s, uint32_t state)
{
    walk(m, m->v->section[s], m->v->section[s + 1], state, true);
}

/* ---- masks ---- */

/* Tries the calm tokens. Where only a few first characters matter, the others are not looked at. */
static void walk_calm(struct masks *m, uint32_t state)
{
    const struct mask_vocab *v = m->v;
    uint32_t most = automaton_step(m->a, state, '~');
    if (most == AUTOMATON_DEAD || automaton_left(m->a, most) ||
        mask_calm_run(m, most) != MASK_ALL_CALM) {
        walk_section(m, MASK_CALM, state);
        return;
    }
    bool high = mask_calm_high(m, state) == most;
    mask_put_calm(m, MASK_ALL_CALM);
    for (uint32_t i = 0; i < v->section[MASK_CALM + 1]; i = v->nodes[i].skip) {
        const struct trie_node *root = &v->nodes[i];
        if (root->byte >= 0x80 ? high : automaton_step(m->a, state, root->byte) == most)
            continue;
        drop_tokens(m, root->from, v->nodes[root->skip].from);
        walk(m, i, root->skip, state, true);
    }
}

/* Ends a collection with exits. */
static struct reach take_reach(struct masks *m)
{
    struct reach r = {.known = true, .mask = take(m), .n_exits = m->n_exits};
    r.exits = mem_new(m->n_exits, sizeof *r.exits);
    if (m->n_exits)
        memcpy(r.exits, m->exits, m->n_exits * sizeof *r.exits);
    m->n_bytes += m->n_exits * sizeof *r.exits;
    m->n_exits = 0;
    return r;
}

struct inner *mask_inner(struct masks *m, uint32_t state)
{
    mask_make_room(m);
    if (!m->inner[state]) {
        struct inner *in = mem_new(1, sizeof *in);
        in->rough = automaton_rough(m->a, state, MASK_SHORT, &in->left);
        mask_make_room(m);
        m->n_bytes += sizeof *in;
        m->inner[state] = in;
    }
    return m->inner[state];
}

/* Collects the short tokens at a state that does with most first bytes what `like` does. */
static void walk_like(struct masks *m, uint32_t state, uint32_t like, const struct reach *known)
{
    const struct mask_vocab *v = m->v;
    uint32_t exit = 0;
    put_mask(m, &known->mask);
    m->many = true;
    for (uint32_t i = v->section[MASK_SHORT_OTHERS]; i < v->section[MASK_SHORT_OTHERS + 1];) {
        const struct trie_node *root = &v->nodes[i];
        bool same =
            automaton_step(m->a, state, root->byte) == automaton_step(m->a, like, root->byte);
        for (; exit < known->n_exits && known->exits[exit] < root->skip; exit++)
            if (same)
                put_exit(m, known->exits[exit]);
        if (!same) {
            drop_tokens(m, root->from, v->nodes[root->skip].from);
            walk(m, i, root->skip, state, true);
        }
        i = root->skip;
    }
}

static const struct reach *shorts_of(struct masks *m, uint32_t rough)
{
    struct inner *in = mask_inner(m, rough);
    if (in->shorts.known)
        return &in->shorts;
    /* In the middle of a tag, say, where most letters lead back to plain text. */
    uint32_t like = automaton_step(m->a, rough, '~');
    bool is_like = like != rough && like != AUTOMATON_DEAD && !automaton_left(m->a, like) &&
                   automaton_step(m->a, like, '~') == like;
    if (is_like)
        walk_like(m, rough, like, shorts_of(m, like));
    else
        walk_section(m, MASK_SHORT_OTHERS, rough);
    in->shorts = take_reach(m);
    return &in->shorts;
}

static const struct reach *others_of(struct masks *m, uint32_t state)
{
    struct inner *in = mask_inner(m, state);
    if (in->others.known)
        return &in->others;
    uint32_t calm = mask_calm_left(m, state);
    if (!calm) {
        int32_t run = mask_calm_run(m, state);
        calm = run > 0 ? (uint32_t)run : 0;
        if (run == MASK_NOT_CALM)
            walk_calm(m, state);
    }
    walk_section(m, MASK_LONG_OTHERS, state);
    in->others = take_reach(m);
    in->others.calm = calm;
    return &in->others;
}

/* Room for every state that there is. */
void mask_make_room(struct masks *m)
{
    uint32_t n = automaton_n_states(m->a);
    if (n <= m->room)
        return;
    uint32_t room = n + n / 2;
    m->at = mem_grow(m->at, room, sizeof *m->at);
    m->inner = mem_grow(m->inner, room, sizeof *m->inner);
    m->calm_next = mem_grow(m->calm_next, room, sizeof *m->calm_next);
    memset(m->at + m->room, 0, (room - m->room) * sizeof *m->at);
    memset(m->inner + m->room, 0, (room - m->room) * sizeof *m->inner);
    memset(m->calm_next + m->room, 0, (room - m->room) * sizeof *m->calm_next);
    m->n_bytes += (room - m->room) * (sizeof *m->at + sizeof *m->inner + sizeof *m->calm_next);
    m->room = room;
}

/* Can anything be read at a state? */
static bool goes_on(const struct masks *m, uint32_t state)
{
    struct byteset set = automaton_bytes(m->a, state);
    return set.bits[0] | set.bits[1] | set.bits[2] | set.bits[3];
}

/* Collects what may be read within a frame and behind it. */
static void put_reach(struct masks *m, const struct reach *r, uint32_t outside)
{
    uint32_t n_exits = goes_on(m, outside) ? r->n_exits : 0;
    put_mask(m, &r->mask);
    if (r->calm)
        mask_put_calm(m, r->calm);
    for (uint32_t i = 0; i < n_exits; i++) {
        uint32_t node = r->exits[i];
        walk(m, node + 1, m->v->nodes[node].skip, outside, false);
    }
}

/* Where the masks of a rough state and what is behind it are kept. */
static struct pair *pair_of(struct masks *m, uint32_t rough, uint32_t outside)
{
    return &m->pairs[(rough * 31 + outside) % MASK_N_PAIRS];
}

static bool is_pair(const struct pair *p, uint32_t rough, uint32_t outside)
{
    return p->rough == rough && p->outside == outside;
}

/* Makes what the mask of a part is put together from. */
static void prepare(struct masks *m, const struct automaton_part *part)
{
    uint32_t rough = mask_inner(m, part->inside)->rough;
    struct pair *p = pair_of(m, rough, part->outside);
    others_of(m, part->inside);
    const struct reach *shorts = shorts_of(m, rough);
    if (rough == part->inside || is_pair(p, rough, part->outside))
        return;
    free_mask(&p->mask);
    put_reach(m, shorts, part->outside);
    *p = (struct pair){rough, part->outside, take(m)};
}

/* Collects what a part of a state allows. */
static void put_part(struct masks *m, const struct automaton_part *part)
{
    uint32_t rough = mask_inner(m, part->inside)->rough;
    const struct pair *p = pair_of(m, rough, part->outside);
    put_reach(m, others_of(m, part->inside), part->outside);
    if (is_pair(p, rough, part->outside))
        put_mask(m, &p->mask);
    else
        put_reach(m, shorts_of(m, rough), part->outside);
}

/* Is every token that is text in it, and the end? Marks that are neither count, too. */
static bool is_all(const struct masks *m, const struct token_mask *mask, uint32_t state)
{
    if (mask->n < m->v->n_tokens + m->v->n_stops || !automaton_accepts(m->a, state))
        return false;
    for (uint32_t i = 0; i < m->v->n_tokens; i++)
        if (!token_mask_has(mask, (uint32_t)m->v->tokens[i]))
            return false;
    return true;
}

const struct token_mask *masks_at(struct masks *m, uint32_t state)
{
    uint32_t n_parts;
    mask_make_room(m);
    if (m->at[state])
        return m->at[state];
    automaton_allow(m->a, MAX_WORK);
    const struct automaton_part *parts = automaton_parts(m->a, state, &n_parts);
    for (uint32_t i = 0; i < n_parts; i++)
        prepare(m, &parts[i]);
    for (uint32_t i = 0; i < n_parts; i++)
        put_part(m, &parts[i]);
    automaton_each_token(m->a, state, mask_put_id, m);
    for (uint32_t i = 0; i < m->v->n_stops && automaton_accepts(m->a, state); i++)
        mask_put_id(m, m->v->stops[i]);
    struct token_mask *mask = mem_new(1, sizeof *mask);
    *mask = take(m);
    mask->all = is_all(m, mask, state);
    m->n_bytes += sizeof *mask;
    mask_make_room(m);
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
