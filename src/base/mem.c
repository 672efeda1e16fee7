#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/num.h"

enum { BLOCK_BYTES = 64 << 10 };

struct arena_block {
    struct arena_block *before;
    size_t used;
    size_t size;
    _Alignas(16) char bytes[];
};

static void out_of_memory(size_t n_bytes)
{
    fprintf(stderr, "tawny: out of memory (%zu bytes)\n", n_bytes);
    abort();
}

void *mem_new(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size ? size : 1);
    if (!p)
        out_of_memory(n * size);
    return p;
}

void *mem_grow(void *p, size_t n, size_t size)
{
    void *q = reallocarray(p, n ? n : 1, size ? size : 1);
    if (!q)
        out_of_memory(n * size);
    return q;
}

void *mem_big(size_t n_bytes, const char *what, struct err *e)
{
    if (n_bytes == 0)
        n_bytes = 1;
    void *p = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        err_set(e, ERR_MEMORY, "%s: the system refused %zu MiB of memory", what, n_bytes >> 20);
        return NULL;
    }
    /* Weights and KV are streamed: 2 MiB pages save most of the page walks. A hint, may be refused.
     */
    madvise(p, n_bytes, MADV_HUGEPAGE);
    return p;
}

void mem_big_free(void *p, size_t n_bytes)
{
    if (p)
        munmap(p, n_bytes ? n_bytes : 1);
}

/* The first integer of a one-line system file; 0 when absent or "max". */
static size_t read_size_file(const char *path)
{
    unsigned long long value = 0;
    FILE *f = fopen(path, "r");
    if (!f)
        return 0;
    if (fscanf(f, "%llu", &value) != 1)
        value = 0;
    fclose(f);
    return value;
}

size_t mem_available(void)
{
    size_t available = 0;
    char line[128];
    FILE *f = fopen("/proc/meminfo", "r");
    if (!f)
        return 0;
    while (fgets(line, sizeof line, f)) {
        unsigned long long kib;
        if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
            available = kib << 10;
    }
    fclose(f);
    size_t limit = read_size_file("/sys/fs/cgroup/memory.max");
    size_t used = read_size_file("/sys/fs/cgroup/memory.current");
    if (limit && limit > used)
        available = num_min(available, limit - used);
    return available;
}

void arena_reserve(struct arena *a, size_t n)
{
    struct arena_block *b = mem_new(1, sizeof *b + n);
    b->before = a->last;
    b->size = n;
    a->last = b;
    a->n_held += sizeof *b + n;
}

void *arena_new(struct arena *a, size_t n, size_t size)
{
    uint64_t bytes;
    if (!num_mul(n, size, &bytes) || !num_align(bytes, 16, &bytes))
        out_of_memory(SIZE_MAX);
    struct arena_block *b = a->last;
    if (!b || b->size - b->used < bytes) {
        arena_reserve(a, num_max(BLOCK_BYTES, bytes));
        b = a->last;
    }
    void *p = b->bytes + b->used;
    b->used += bytes;
    a->n_bytes += bytes;
    return p;
}

str arena_str(struct arena *a, str s)
{
    char *copy = arena_new(a, s.n + 1, 1);
    if (s.n)
        memcpy(copy, s.p, s.n);
    return (str){copy, s.n};
}

str arena_fmt(struct arena *a, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = arena_new(a, (size_t)(n < 0 ? 0 : n) + 1, 1);
    if (n > 0)
        vsnprintf(text, (size_t)n + 1, format, again);
    va_end(again);
    return (str){text, (size_t)(n < 0 ? 0 : n)};
}

void arena_free(struct arena *a)
{
    while (a->last) {
        struct arena_block *b = a->last;
        a->last = b->before;
        free(b);
    }
    a->n_bytes = a->n_held = 0;
}
