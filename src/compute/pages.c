#include "compute/pages.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void pages_make(struct pages *p, uint32_t n_seqs, uint32_t n_ctx, uint32_t size, uint32_t n_all)
{
    *p = (struct pages){.size = size, .n_seqs = n_seqs, .n_in_seq = pages_of(n_ctx, size)};
    p->n_all = n_all;
    p->table = mem_new((size_t)n_seqs * p->n_in_seq, sizeof *p->table);
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
    for (uint64_t i = 0; i < (uint64_t)p->n_seqs * p->n_in_seq; i++)
        p->table[i] = NO_PAGE;
    for (uint32_t i = 0; i < p->n_all; i++) {
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

void pages_cut(struct pages *p, uint32_t seq, uint32_t n)
{
    const uint64_t n_changes = p->n_changes;
    cut(p, seq, pages_of(n, p->size));
    p->n_moves += p->n_changes > n_changes; /* what comes there again may get another page */
}

bool pages_any(const struct pages *p, uint32_t seq)
{
    return page_at(p, seq, 0) != NO_PAGE;
}

uint32_t pages_own(const struct pages *p, uint32_t seq)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->n_in_seq && page_at(p, seq, i) != NO_PAGE; i++)
        n += p->n_users[page_at(p, seq, i)] == 1;
    return n;
}

/* Whether a sequence of `which` before `seq` has its page i, too. Sequences hold a page for the
 * same positions, if they hold it. */
static bool is_counted(const struct pages *p, const bool *which, uint32_t seq, uint32_t i)
{
    for (uint32_t k = 0; k < seq; k++)
        if (which[k] && page_at(p, k, i) == page_at(p, seq, i))
            return true;
    return false;
}

uint32_t pages_held(const struct pages *p, const bool *which)
{
    uint32_t n = 0;
    for (uint32_t seq = 0; seq < p->n_seqs; seq++)
        for (uint32_t i = 0; which[seq] && i < p->n_in_seq && page_at(p, seq, i) != NO_PAGE; i++)
            n += !is_counted(p, which, seq, i);
    return n;
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

/* Whether a sequence may write into its page i. */
static bool is_own(const struct pages *p, uint32_t seq, uint32_t i)
{
    const uint32_t page = page_at(p, seq, i);
    return page != NO_PAGE && p->n_users[page] == 1;
}

uint32_t pages_needed(const struct pages *p, uint32_t seq, uint32_t first, uint32_t end)
{
    uint32_t n = 0;
    for (uint32_t i = first / p->size; i < pages_of(end, p->size); i++)
        n += !is_own(p, seq, i);
    return n;
}

struct page_copy pages_write(struct pages *p, uint32_t seq, uint32_t first, uint32_t end)
{
    struct page_copy copy = {0};
    const uint32_t n_pages = pages_of(end, p->size);
    cut(p, seq, n_pages); /* first, so that there is room */
    for (uint32_t i = first / p->size; i < n_pages; i++) {
        const uint32_t page = page_at(p, seq, i);
        if (is_own(p, seq, i))
            continue;
        const uint32_t own = take(p);
        if (i == first / p->size && page != NO_PAGE)
            copy = (struct page_copy){page, own, first % p->size};
        put(p, seq, i, own);
    }
    return copy;
}
