/* What the disk has of earlier servers becomes the store's tree again. */
#include <stdlib.h>

#include "engine/store_int.h"

struct found {
    const struct disk_entry *at;
    struct chunk *chunk; /* NULL: it does not fit */
};

static int by_id(const void *a, const void *b)
{
    const uint64_t x = ((const struct found *)a)->at->head.id;
    const uint64_t y = ((const struct found *)b)->at->head.id;
    return (x > y) - (x < y);
}

/* Parents before those behind them. */
static int by_first(const void *a, const void *b)
{
    const uint32_t x = (*(struct found *const *)a)->at->head.first;
    const uint32_t y = (*(struct found *const *)b)->at->head.first;
    return (x > y) - (x < y);
}

static int by_use(const void *a, const void *b)
{
    const uint64_t x = (*(struct found *const *)a)->at->used;
    const uint64_t y = (*(struct found *const *)b)->at->used;
    return (x > y) - (x < y);
}

static struct chunk *find_chunk(const struct found *rows, size_t n, uint64_t id)
{
    const struct disk_entry key = {.head.id = id};
    const struct found *f = bsearch(&(struct found){&key, NULL}, rows, n, sizeof *rows, by_id);
    return f ? f->chunk : NULL;
}

static void file_part(struct store *s, struct chunk *c, struct part *p, size_t n)
{
    *p = (struct part){.n = n};
    store_move(s, c, p, PART_FILED);
}

/* Hangs it behind `parent`, if it belongs there. */
static struct chunk *put_rows(struct store *s, struct chunk *parent, const struct disk_head *h)
{
    if (!parent || parent->first + parent->n != h->first ||
        (parent != &s->root && parent->n != STORE_TOKENS))
        return NULL;
    struct chunk *c = store_link(parent, h->ids, h->first, h->n);
    c->id = h->id;
    file_part(s, c, &c->rows, h->n_bytes);
    return c;
}

static bool put_state(struct store *s, struct chunk *c, const struct disk_head *h)
{
    if (!c || h->n <= c->first || h->n > c->first + c->n || h->n_bytes != s->state_bytes ||
        s->state_bytes == 0)
        return false;
    file_part(s, c, &c->state, h->n_bytes);
    c->n_state = h->n;
    return true;
}

/* Every end of a conversation gets a use of its own; what stands before it is used with it. */
static uint64_t number_uses(struct store *s, struct found **rows, size_t n)
{
    uint64_t last = 0;
    qsort(rows, n, sizeof *rows, by_use);
    for (size_t i = 0; i < n; i++) {
        struct chunk *c = rows[i]->chunk;
        if (!c || c->children)
            continue;
        last++;
        for (; c != &s->root; c = c->parent)
            c->use.last = last;
    }
    return last;
}

/* Puts the files with the rows where they belong; returns how many do not. */
static size_t put_all_rows(struct store *s, struct found *rows, size_t n, uint32_t n_ctx,
                           uint64_t (*rows_bytes)(const void *ctx, uint32_t n), const void *ctx,
                           uint64_t *n_uses)
{
    size_t n_bad = 0;
    struct found **order = calloc(n ? n : 1, sizeof(struct found *));
    for (size_t i = 0; order && i < n; i++)
        order[i] = &rows[i];
    if (!order)
        return 0;
    qsort(rows, n, sizeof *rows, by_id);
    qsort(order, n, sizeof *order, by_first);
    for (size_t i = 0; i < n; i++) {
        const struct disk_head *h = &order[i]->at->head;
        struct chunk *parent = h->first ? find_chunk(rows, n, h->parent) : &s->root;
        if (h->n_bytes == rows_bytes(ctx, h->n) && h->first + h->n <= n_ctx)
            order[i]->chunk = put_rows(s, parent, h);
        if (!order[i]->chunk)
            disk_remove(spool_disk(s->spool), h->id, DISK_ROWS);
        n_bad += !order[i]->chunk;
    }
    *n_uses = number_uses(s, order, n);
    free(order);
    return n_bad;
}

uint64_t store_restore(struct store *s, uint32_t n_ctx,
                       uint64_t (*rows_bytes)(const void *ctx, uint32_t n), const void *ctx)
{
    struct disk *d = spool_disk(s->spool);
    size_t n, n_rows = 0;
    uint64_t n_uses = 0;
    struct disk_entry *all = disk_list(d, &n);
    struct found *rows = calloc(n ? n : 1, sizeof *rows);
    for (size_t i = 0; rows && i < n; i++)
        if (all[i].head.kind == DISK_ROWS)
            rows[n_rows++] = (struct found){&all[i], NULL};
    size_t n_bad = rows ? put_all_rows(s, rows, n_rows, n_ctx, rows_bytes, ctx, &n_uses) : 0;
    for (size_t i = 0; rows && i < n; i++) {
        const struct disk_head *h = &all[i].head;
        if (h->kind != DISK_STATE || put_state(s, find_chunk(rows, n_rows, h->id), h))
            continue;
        disk_remove(d, h->id, DISK_STATE);
        n_bad++;
    }
    if (n_bad)
        log_info(&s->log, "%s: %zu files without the tokens before them were removed",
                 disk_folder(d), n_bad);
    free(rows);
    free(all);
    store_disk_room(s, 0, &(struct newcomer){NULL, UINT32_MAX, {n_uses, 0}});
    return n_uses;
}
