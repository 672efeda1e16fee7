/* pages: where the layers that keep all positions of a sequence have them. A page is a number of
 * positions of all such layers, side by side; a table tells for each sequence in which page its
 * positions [i * size, (i + 1) * size) are. Several sequences may hold a page: what they begin with
 * alike is there once, until one of them is to write into it. Tables only; the bytes are a
 * backend's. One thread at a time. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { NO_PAGE = UINT32_MAX, PAGE_POSITIONS = 256 };

struct pages {
    uint32_t size;             /* positions of a page */
    uint32_t n_seqs, n_in_seq; /* pages that a sequence holds at most */
    uint32_t n_all, n_free;
    uint32_t *table;    /* [n_seqs][n_in_seq] pages, NO_PAGE behind a sequence's last */
    uint32_t *n_users;  /* [n_all] sequences that hold it */
    uint32_t *free;     /* [n_free] pages that nobody holds */
    uint64_t n_changes; /* of the table, so far */
    uint64_t n_moves;   /* those that gave positions which were there another page, or none */
};

void pages_free(struct pages *p);
/* No sequence holds anything. */
void pages_clear(struct pages *p);
/* Pages of n positions. */
static inline uint32_t pages_of(uint32_t n, uint32_t size)
{
    return n / size + (n % size != 0);
}
/* Pages that n_seqs sequences of n_ctx positions hold that share nothing: so many never run out. */
static inline uint64_t pages_of_all(uint32_t n_seqs, uint32_t n_ctx, uint32_t size)
{
    return (uint64_t)n_seqs * pages_of(n_ctx, size);
}
/* n_all pages, at most pages_of_all. */
void pages_make(struct pages *p, uint32_t n_seqs, uint32_t n_ctx, uint32_t size, uint32_t n_all);
/* The page with a sequence's positions from i * size on. */
static inline uint32_t page_at(const struct pages *p, uint32_t seq, uint32_t i)
{
    return p->table[(uint64_t)seq * p->n_in_seq + i];
}
static inline uint32_t pages_used(const struct pages *p)
{
    return p->n_all - p->n_free;
}

/* Whether a sequence holds any. */
bool pages_any(const struct pages *p, uint32_t seq);
/* Those that a sequence alone holds: free when it is cut to nothing. */
uint32_t pages_own(const struct pages *p, uint32_t seq);
/* Those that sequences of which[n_seqs] hold, one that several do counted once. */
uint32_t pages_held(const struct pages *p, const bool *which);

/* A sequence holds its first n positions and no more. */
void pages_cut(struct pages *p, uint32_t seq, uint32_t n);
/* `to` holds what `from` does of its first n positions, which it has, and nothing behind them. */
void pages_share(struct pages *p, uint32_t from, uint32_t to, uint32_t n);

/* The first n_rows positions of a page that must be copied to another. */
struct page_copy {
    uint32_t from, to, n_rows; /* 0: nothing to copy */
};
/* Free pages that pages_write would take. */
uint32_t pages_needed(const struct pages *p, uint32_t seq, uint32_t first, uint32_t end);
/* Positions [first, end) of a sequence are to be written, first < end; it has those before them,
 * and nothing behind them from now on. Its pages there are its own afterwards, of which as many are
 * free as pages_needed says once those behind `end` are. What of one that others hold too it keeps
 * must be copied before. */
struct page_copy pages_write(struct pages *p, uint32_t seq, uint32_t first, uint32_t end);
