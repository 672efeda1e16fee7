#include "engine/store.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/mem.h"
#include "base/num.h"
#include "engine/store_int.h"

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

/* ---- parts ------------------------------------------------------------------------------------
 */

struct part *store_part(struct chunk *c, enum disk_kind kind)
{
    return kind == DISK_ROWS ? &c->rows : &c->state;
}

static bool is_in_ram(const struct chunk *c)
{
    return c->rows.place == PART_IN_RAM || c->state.place == PART_IN_RAM;
}

/* Adds the part to the sums of the place where it is, or takes it off (sign -1). */
static void count(struct store *s, const struct chunk *c, const struct part *p, int64_t sign)
{
    const uint64_t head = p == &c->rows ? sizeof *c : 0;
    if (p->place == PART_IN_RAM)
        s->n_bytes += (uint64_t)(sign * (int64_t)(p->n + head));
    if (p->place == PART_PASSING || p->place == PART_LEAVING || p->place == PART_FILED) {
        s->n_disk_bytes += (uint64_t)(sign * (int64_t)disk_file_bytes(p->n));
        s->n_files += (uint32_t)sign;
    }
    if (p->place == PART_PASSING || p->place == PART_LEAVING)
        s->n_in_flight += (uint64_t)(sign * (int64_t)p->n);
}

void store_move(struct store *s, struct chunk *c, struct part *p, enum part_place to)
{
    const bool was = is_in_ram(c);
    count(s, c, p, -1);
    p->place = to;
    count(s, c, p, 1);
    for (struct chunk *up = is_in_ram(c) != was ? c : NULL; up; up = up->parent)
        up->n_in_ram += was ? UINT32_MAX : 1;
}

static void drop_part(struct store *s, struct chunk *c, enum disk_kind kind)
{
    struct part *p = store_part(c, kind);
    if (p->place == PART_LEAVING)
        p->job->owner = NULL; /* frees the bytes */
    else if (p->bytes)
        mem_big_free(p->bytes, p->n);
    if (s->spool && (p->place == PART_LEAVING || p->place == PART_FILED))
        spool_remove(s->spool, c->id, kind);
    store_move(s, c, p, PART_NONE);
    *p = (struct part){0};
}

void store_drop_state(struct store *s, struct chunk *c)
{
    drop_part(s, c, DISK_STATE);
    c->n_state = 0;
}

static void drop_leaf(struct store *s, struct chunk *c)
{
    struct chunk **link = &c->parent->children;
    while (*link != c)
        link = &(*link)->next;
    *link = c->next;
    store_drop_state(s, c);
    drop_part(s, c, DISK_ROWS);
    free(c);
}

void store_drop(struct store *s, struct chunk *c)
{
    while (c->children)
        drop_leaf(s, store_first_leaf(c));
    drop_leaf(s, c);
}

/* The job goes with the spool, and the bytes with it. */
static void forget_job(struct part *p)
{
    if (p->place != PART_LEAVING)
        return;
    p->place = PART_FILED;
    p->bytes = NULL;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    store_release(s, NULL);
    for (struct chunk *c = NULL; (c = store_next(s, c));) {
        forget_job(&c->rows);
        forget_job(&c->state);
    }
    spool_close(s->spool);
    s->spool = NULL;
    while (s->root.children)
        store_drop(s, s->root.children);
    free(s);
}

/* ---- the tree ---------------------------------------------------------------------------------
 */

struct chunk *store_first_leaf(struct chunk *c)
{
    while (c->children)
        c = c->children;
    return c;
}

struct chunk *store_next(struct store *s, struct chunk *c)
{
    if (!c)
        c = store_first_leaf(&s->root);
    else
        c = c->next ? store_first_leaf(c->next) : c->parent;
    return c == &s->root ? NULL : c;
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

/* ---- putting ----------------------------------------------------------------------------------
 */

/* Of the children of a chunk, one that has a part of what ids go on with and nothing else. */
static struct chunk *part_of(const struct chunk *parent, const int32_t *ids, uint32_t n)
{
    for (struct chunk *c = parent->children; c; c = c->next)
        if (c->n < STORE_TOKENS && c->first + c->n <= n && count_shared(c, ids, n) == c->n)
            return c;
    return NULL;
}

struct chunk *store_link(struct chunk *parent, const int32_t *ids, uint32_t first, uint32_t n)
{
    struct chunk *c = mem_new(1, sizeof *c);
    *c = (struct chunk){.parent = parent, .next = parent->children, .first = first, .n = n};
    memcpy(c->ids, ids, n * sizeof *ids);
    parent->children = c;
    return c;
}

/* Room for n bytes of a newcomer, and where it is; PART_NONE: there is none. */
static enum part_place find_place(struct store *s, size_t n, size_t head, const struct newcomer *by)
{
    if (store_room(s, head + n, by))
        return PART_IN_RAM;
    return store_disk_room(s, disk_file_bytes(n), by) ? PART_PASSING : PART_NONE;
}

/* A name that no file has had. */
static uint64_t new_id(void)
{
    uint64_t id = 0;
    while (id == 0)
        if (getrandom(&id, sizeof id, 0) != sizeof id)
            id = 0;
    return id;
}

struct chunk *store_add(struct store *s, struct chunk *at, const int32_t *ids, uint32_t n,
                        uint32_t n_all, size_t n_row_bytes, struct use use)
{
    struct err e;
    struct chunk *parent = at ? at : &s->root;
    const uint32_t first = parent->first + parent->n;
    for (struct chunk *c; (c = part_of(parent, ids, first + n));)
        store_drop(s, c);
    const struct newcomer by = {at, n_all, use};
    const enum part_place place = find_place(s, n_row_bytes, sizeof *parent, &by);
    if (place == PART_NONE)
        return NULL;
    uint8_t *rows = n_row_bytes ? mem_big(n_row_bytes, "host cache", &e) : NULL;
    if (n_row_bytes && !rows)
        return NULL;
    struct chunk *c = store_link(parent, ids + first, first, n);
    c->id = new_id();
    c->use = use;
    c->rows = (struct part){.bytes = rows, .n = n_row_bytes};
    store_move(s, c, &c->rows, place);
    return c;
}

uint8_t *store_add_state(struct store *s, struct chunk *c, uint32_t n_all)
{
    struct err e;
    const struct newcomer by = {c, n_all, c->use};
    if (c->state.place == PART_IN_RAM || c->state.place == PART_PASSING)
        return c->state.bytes;
    store_drop_state(s, c);
    const enum part_place place = find_place(s, s->state_bytes, 0, &by);
    uint8_t *bytes = place != PART_NONE ? mem_big(s->state_bytes, "host cache", &e) : NULL;
    if (!bytes)
        return NULL;
    c->state = (struct part){.bytes = bytes, .n = s->state_bytes};
    store_move(s, c, &c->state, place);
    return bytes;
}

void store_filled(struct store *s, struct chunk *c)
{
    for (int kind = DISK_ROWS; kind <= DISK_STATE; kind++)
        if (store_part(c, (enum disk_kind)kind)->place == PART_PASSING)
            store_send(s, c, (enum disk_kind)kind);
}
