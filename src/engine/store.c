#include "engine/store.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"

enum { UNKNOWN_INTERVAL = 16, PATIENCE = 8, LIVE_JOBS = 64 };

struct store {
    uint64_t max_bytes, n_bytes;
    size_t state_bytes;
    struct chunk root; /* no tokens; its children begin conversations */
};

struct store *store_open(uint64_t max_bytes, size_t state_bytes)
{
    struct store *s = mem_new(1, sizeof *s);
    s->max_bytes = max_bytes;
    s->state_bytes = state_bytes;
    return s;
}

uint64_t store_bytes(const struct store *s)
{
    return s->n_bytes;
}

uint64_t store_max_bytes(const struct store *s)
{
    return s->max_bytes;
}

/* ---- the tree ---------------------------------------------------------------------------------
 */

static void drop_state(struct store *s, struct chunk *c)
{
    if (c->state) {
        mem_big_free(c->state, s->state_bytes);
        s->n_bytes -= s->state_bytes;
    }
    c->state = NULL;
    c->n_state = 0;
}

void store_drop(struct store *s, struct chunk *c)
{
    struct chunk **link = &c->parent->children;
    while (*link != c)
        link = &(*link)->next;
    *link = c->next;
    drop_state(s, c);
    if (c->rows)
        mem_big_free(c->rows, c->n_row_bytes);
    s->n_bytes -= sizeof *c + c->n_row_bytes;
    free(c);
}

/* The leaf behind c that comes first. */
static struct chunk *first_leaf(struct chunk *c)
{
    while (c->children)
        c = c->children;
    return c;
}

/* The leaf after c, going round the tree; NULL: c was the last. */
static struct chunk *next_leaf(struct chunk *c)
{
    while (c && !c->next)
        c = c->parent;
    return c ? first_leaf(c->next) : NULL;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    while (s->root.children)
        store_drop(s, first_leaf(&s->root));
    free(s);
}

static uint32_t count_shared(const struct chunk *c, const int32_t *ids, uint32_t n)
{
    const uint32_t most = (uint32_t)num_min(c->n, n - c->first);
    uint32_t shared = 0;
    while (shared < most && c->ids[shared] == ids[c->first + shared])
        shared++;
    return shared;
}

struct chunk *store_step(const struct store *s, const struct chunk *at, const int32_t *ids,
                         uint32_t n, uint32_t *n_shared)
{
    struct chunk *best = NULL;
    *n_shared = 0;
    for (struct chunk *c = at ? at->children : s->root.children; c; c = c->next) {
        const uint32_t shared = c->first < n ? count_shared(c, ids, n) : 0;
        if (shared <= *n_shared)
            continue;
        *n_shared = shared;
        best = c;
    }
    return best;
}

/* ---- room -------------------------------------------------------------------------------------
 */

/* The job that is expected to miss it; what has been given up is missed last. */
static uint64_t missed_at(const struct use *u, bool held, uint64_t now)
{
    const uint64_t interval = u->interval ? u->interval : UNKNOWN_INTERVAL;
    if (held)
        return UINT64_MAX;
    if (now > u->last + 2 * interval + PATIENCE)
        return UINT64_MAX - 1 - u->last;
    return u->last + interval;
}

/* The end of the longest conversation, of those that were used lately and are in no session. */
static const struct chunk *longest_live(struct store *s, uint64_t now)
{
    const struct chunk *longest = NULL;
    for (struct chunk *c = first_leaf(&s->root); c && c != &s->root; c = next_leaf(c))
        if (!c->held && now <= c->use.last + LIVE_JOBS &&
            (!longest || c->first + c->n > longest->first + longest->n))
            longest = c;
    return longest;
}

/* What has to give way to a conversation of n_all tokens; NULL: nothing. `but` stays. */
static struct chunk *least_missed(struct store *s, const struct chunk *but, uint32_t n_all,
                                  const struct use *use)
{
    const struct chunk *longest = longest_live(s, use->last);
    const bool is_longest = !longest || n_all > longest->first + longest->n;
    struct chunk *least = NULL;
    uint64_t last = is_longest ? 0 : missed_at(use, false, use->last);
    for (struct chunk *c = first_leaf(&s->root); c && c != &s->root; c = next_leaf(c)) {
        const uint64_t at = missed_at(&c->use, c->held, use->last);
        if (c == but || (c == longest && !is_longest) || at <= last)
            continue;
        least = c;
        last = at;
    }
    return least;
}

static bool make_room(struct store *s, uint64_t n_bytes, const struct chunk *but, uint32_t n_all,
                      const struct use *use)
{
    while (s->n_bytes + n_bytes > s->max_bytes) {
        struct chunk *c = n_bytes <= s->max_bytes ? least_missed(s, but, n_all, use) : NULL;
        if (!c)
            return false;
        store_drop(s, c);
    }
    return true;
}

/* Of the children of a chunk, one that has a part of what ids go on with and nothing else. */
static struct chunk *part_of(const struct chunk *parent, const int32_t *ids, uint32_t n)
{
    for (struct chunk *c = parent->children; c; c = c->next)
        if (c->n < STORE_TOKENS && c->first + c->n <= n && count_shared(c, ids, n) == c->n)
            return c;
    return NULL;
}

struct chunk *store_add(struct store *s, struct chunk *at, const int32_t *ids, uint32_t n,
                        uint32_t n_all, size_t n_row_bytes, struct use use)
{
    struct err e;
    struct chunk *parent = at ? at : &s->root;
    const uint32_t first = parent->first + parent->n;
    for (struct chunk *c; (c = part_of(parent, ids, first + n));)
        store_drop(s, c);
    if (!make_room(s, sizeof *parent + n_row_bytes, at, n_all, &use))
        return NULL;
    uint8_t *rows = n_row_bytes ? mem_big(n_row_bytes, "host cache", &e) : NULL;
    if (n_row_bytes && !rows)
        return NULL;
    struct chunk *c = mem_new(1, sizeof *c);
    *c = (struct chunk){.parent = parent,
                        .next = parent->children,
                        .first = first,
                        .n = n,
                        .rows = rows,
                        .n_row_bytes = n_row_bytes,
                        .use = use};
    memcpy(c->ids, ids + first, n * sizeof *ids);
    parent->children = c;
    s->n_bytes += sizeof *c + n_row_bytes;
    return c;
}

uint8_t *store_add_state(struct store *s, struct chunk *c, uint32_t n_all)
{
    struct err e;
    if (c->state)
        return c->state;
    if (!make_room(s, s->state_bytes, c, n_all, &c->use))
        return NULL;
    c->state = mem_big(s->state_bytes, "host cache", &e);
    if (c->state)
        s->n_bytes += s->state_bytes;
    return c->state;
}
