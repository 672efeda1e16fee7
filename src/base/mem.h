/* mem: host memory. Small allocations that fail end the program with a message: there is nothing
 * useful left to do. Large ones (weights, KV, request bodies) use mem_big, which returns an error.
 */
#pragma once
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

/* Zeroed memory for n elements of size bytes; never NULL. Freed with free(). */
void *mem_new(size_t n, size_t size);
/* realloc for arrays: n elements of size bytes, never NULL; the added part is not zeroed. */
void *mem_grow(void *p, size_t n, size_t size);
/* Page-aligned zeroed memory straight from the system, for weights and caches. NULL and e on
 * failure. Freed with mem_big_free and the same size. */
void *mem_big(size_t n_bytes, const char *what, struct err *e);
void mem_big_free(void *p, size_t n_bytes);
/* Bytes of physical memory that a new allocation can count on (MemAvailable, capped by a cgroup
 * limit); 0 when the system does not say. */
size_t mem_available(void);

/* arena: memory that dies together. Blocks are chained; nothing in it is freed alone.
 * Zero-initialise to open. One thread at a time. */
struct arena_block;
struct arena {
    struct arena_block *last;
    size_t n_bytes; /* handed out so far */
    size_t n_held;  /* of all blocks: the memory that the arena takes; one is 64 KiB or more */
};

/* What n bytes take of an arena. */
static inline size_t arena_size(size_t n)
{
    return (n + 15) & ~(size_t)15;
}
/* A block of just n bytes for what comes next, for things that are kept in great number. */
void arena_reserve(struct arena *a, size_t n);
/* Zeroed, 16-byte aligned; lives until arena_free. */
void *arena_new(struct arena *a, size_t n, size_t size);
/* Copies s; the copy is followed by a NUL byte that is not counted, so .p is a C string too. */
str arena_str(struct arena *a, str s);
str arena_fmt(struct arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Frees everything; the arena is empty and usable again. */
void arena_free(struct arena *a);
