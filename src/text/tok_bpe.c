#include "text/tok_bpe.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static size_t pair_home(const struct bpe *b, uint32_t left, uint32_t right)
{
    uint64_t h = ((uint64_t)left << 32 | right) * 0x9e3779b97f4a7c15u;
    return (h ^ h >> 32) & b->mask;
}

/* The slot of the pair, or the empty one where it would go. */
static struct bpe_merge *pair_slot(const struct bpe *b, uint32_t left, uint32_t right)
{
    size_t i = pair_home(b, left, right);
    while (b->slots[i].rank != BPE_NONE && (b->slots[i].left != left || b->slots[i].right != right))
        i = (i + 1) & b->mask;
    return &b->slots[i];
}

void bpe_init(struct bpe *b, size_t n_merges)
{
    size_t n_slots = 16;
    while (n_slots < 2 * n_merges)
        n_slots *= 2;
    b->slots = mem_new(n_slots, sizeof *b->slots);
    b->mask = n_slots - 1;
    memset(b->slots, 0xff, n_slots * sizeof *b->slots);
    memset(b->byte_id, 0xff, sizeof b->byte_id);
}

void bpe_fini(struct bpe *b)
{
    free(b->slots);
}

void bpe_add(struct bpe *b, uint32_t left, uint32_t right, uint32_t rank, uint32_t joined)
{
    struct bpe_merge *slot = pair_slot(b, left, right);
    if (slot->rank == BPE_NONE)
        *slot = (struct bpe_merge){left, right, rank, joined};
}

void bpe_scratch_fini(struct bpe_scratch *s)
{
    free(s->nodes);
    free(s->heap);
}

size_t bpe_short(const struct bpe *b, str word, uint32_t *ids)
{
    const struct bpe_merge *join[BPE_SHORT]; /* of ids[i] and ids[i + 1] */
    size_t n = word.n;
    assert(n <= BPE_SHORT);
    for (size_t i = 0; i < n; i++)
        ids[i] = b->byte_id[(unsigned char)word.p[i]];
    for (size_t i = 0; i + 1 < n; i++)
        join[i] = pair_slot(b, ids[i], ids[i + 1]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (join[i]->rank < join[best]->rank)
                best = i;
        if (join[best]->rank == BPE_NONE)
            break;
        ids[best] = join[best]->joined;
        n--;
        memmove(ids + best + 1, ids + best + 2, (n - best - 1) * sizeof *ids);
        if (best + 1 < n) {
            memmove(join + best + 1, join + best + 2, (n - best - 2) * sizeof *join);
            join[best] = pair_slot(b, ids[best], ids[best + 1]);
        }
        if (best > 0)
            join[best - 1] = pair_slot(b, ids[best - 1], ids[best]);
    }
    return n;
}

/* A symbol in the doubly linked list over the word; indices into the array of nodes. */
struct bpe_node {
    uint32_t id;
    uint32_t rank; /* of the merge with the next one; BPE_NONE: none, or this node is gone */
    uint32_t before;
    uint32_t next;
};

/* A binary heap of candidates, rank << 32 | node: equal ranks come out leftmost first. Outdated
 * candidates stay in it and are recognised when they come out. */
struct heap {
    uint64_t *at;
    size_t n;
};

static void heap_push(struct heap *h, uint64_t key)
{
    size_t i = h->n++;
    while (i > 0 && h->at[(i - 1) / 2] > key) {
        h->at[i] = h->at[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    h->at[i] = key;
}

static uint64_t heap_pop(struct heap *h)
{
    uint64_t top = h->at[0];
    uint64_t key = h->at[--h->n];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= h->n)
            break;
        if (child + 1 < h->n && h->at[child + 1] < h->at[child])
            child++;
        if (h->at[child] >= key)
            break;
        h->at[i] = h->at[child];
        i = child;
    }
    h->at[i] = key;
    return top;
}

/* Looks up the merge of node i with its next one and makes it a candidate. */
static void consider(const struct bpe *b, struct bpe_node *nodes, struct heap *h, uint32_t i)
{
    uint32_t next = nodes[i].next;
    nodes[i].rank = next == BPE_NONE ? BPE_NONE : pair_slot(b, nodes[i].id, nodes[next].id)->rank;
    if (nodes[i].rank != BPE_NONE)
        heap_push(h, (uint64_t)nodes[i].rank << 32 | i);
}

static void join_with_next(const struct bpe *b, struct bpe_node *nodes, struct heap *h, uint32_t i)
{
    uint32_t gone = nodes[i].next;
    nodes[i].id = pair_slot(b, nodes[i].id, nodes[gone].id)->joined;
    nodes[i].next = nodes[gone].next;
    nodes[gone].rank = BPE_NONE;
    if (nodes[i].next != BPE_NONE)
        nodes[nodes[i].next].before = i;
    consider(b, nodes, h, i);
    if (nodes[i].before != BPE_NONE)
        consider(b, nodes, h, nodes[i].before);
}

size_t bpe_long(const struct bpe *b, str word, struct bpe_scratch *scratch, uint32_t *ids)
{
    uint32_t n = (uint32_t)word.n;
    assert(word.n > 0 && word.n <= BPE_MAX_WORD);
    if (scratch->room < n) {
        scratch->nodes = mem_grow(scratch->nodes, n, sizeof *scratch->nodes);
        /* One candidate per pair at the start; a merge takes one out and puts two in. */
        scratch->heap = mem_grow(scratch->heap, 2 * (size_t)n, sizeof *scratch->heap);
        scratch->room = n;
    }
    struct bpe_node *nodes = scratch->nodes;
    struct heap heap = {scratch->heap, 0};
    for (uint32_t i = 0; i < n; i++)
        nodes[i] = (struct bpe_node){b->byte_id[(unsigned char)word.p[i]], BPE_NONE,
                                     i ? i - 1 : BPE_NONE, i + 1 < n ? i + 1 : BPE_NONE};
    for (uint32_t i = 0; i < n; i++)
        consider(b, nodes, &heap, i);
    while (heap.n) {
        uint64_t top = heap_pop(&heap);
        uint32_t i = (uint32_t)top;
        if (nodes[i].rank == (uint32_t)(top >> 32))
            join_with_next(b, nodes, &heap, i);
    }
    size_t n_ids = 0;
    for (uint32_t i = 0; i != BPE_NONE; i = nodes[i].next)
        ids[n_ids++] = nodes[i].id;
    return n_ids;
}
