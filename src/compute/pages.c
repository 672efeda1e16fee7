#include "compute/pages.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void pages_make(struct pages *p, uint32_t n_seqs, uint32_t n_ctx, uint32_t size)
{
    *p = (struct pages){.size = size, .n_seqs = n_seqs, .n_in_seq = pages_of(n_ctx, size)};
    p->n_all = n_seqs * p->n_in_seq;
    p->table = mem_new(p->n_all, sizeof *p->table);
    p->n_users = mem_new(p->n_all, sizeof *p->n_users);
    p->free = mem_new(p->n_all, sizeof *p->free);
    pages_clear(p);
}

void pages_free(struct pages *p)
{
    free(p->table);
    free(p->n_users);
    free(p->free);
    *p = (struct pages){0};
}

void pages_clear(struct pages *p)
{
    p->n_free = p->n_all;
    p->n_changes++;
    p->n_moves++;
    for (uint32_t i = 0; i < p->n_all; i++) {
        p->table[i] = NO_PAGE;
        p->n_users[i] = 0;
        p->free[i] = i; /* taken from the last on: nothing works only while they lie in a row */
    }
}

static uint32_t take(struct pages *p)
{
    assert(p->n_free);
    const uint32_t page = p->free[--p->n_free];
    p->n_users[page] = 1;
    return page;
}

static void give_back(struct pages *p, uint32_t page)
{
    if (page != NO_PAGE && --p->n_users[page] == 0)
        p->free[p->n_free++] = page;
}

/* Entry i of a sequence becomes `page`, which counts this user already. */
static void put(struct pages *p, uint32_t seq, uint32_t i, uint32_t page)
{
    uint32_t *at = &p->table[(uint64_t)seq * p->n_in_seq + i];
    p->n_changes++;
    p->n_moves += *at != NO_PAGE && page != NO_PAGE;
    give_back(p, *at);
    *at = page;
}

/* A sequence holds its first n pages and no more. */
static void cut(struct pages *p, uint32_t seq, uint32_t n)
{
    for (uint32_t i = n; i < p->n_in_seq && page_at(p, seq, i) != NO_PAGE; i++)
        put(p, seq, i, NO_PAGE);
}

void pages_share(struct pages *p, uint32_t from, uint32_t to, uint32_t n)
{
    const uint32_t n_pages = pages_of(n, p->size);
    p->n_moves++; /* also where only the number of positions is another */
    for (uint32_t i = 0; i < n_pages; i++) {
        const uint32_t page = page_at(p, from, i);
        if (page == page_at(p, to, i))
            continue;
        p->n_users[page]++;
        put(p, to, i, page);
    }
    cut(p, to, n_pages);
}

struct page_copy pages_write(struct pages *p, uint32_t seq, uint32_t first, uint32_t end)
{
    struct page_copy copy = {0};
    const uint32_t n_pages = pages_of(end, p->size);
    cut(p, seq, n_pages); /* first, so that there is room */
    for (uint32_t i = first / p->size; i < n_pages; i++) {
        const uint32_t page = page_at(p, seq, i);
        if (page != NO_PAGE && p->n_users[page] == 1)
            continue;
        const uint32_t own = take(p);
        if (i == first / p->size && page != NO_PAGE)
            copy = (struct page_copy){page, own, first % p->size};
        put(p, seq, i, own);
    }
    return copy;
}
