/* buf: growing bytes for output. Zero-initialise to open (no limit), or set .max first: a write
 * that would pass .max is dropped and sets .over, which stays set. Not thread-safe. */
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

struct buf {
    char *p;
    size_t n;
    size_t room;
    size_t max; /* bytes; 0: no limit */
    bool over;
};

void buf_put(struct buf *b, const void *bytes, size_t n);
void buf_str(struct buf *b, str s);
void buf_byte(struct buf *b, char c);
void buf_fmt(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What was written; valid until the next write. .p is followed by a NUL byte that is not counted.
 */
str buf_view(const struct buf *b);
/* Forgets the content, keeps the memory, clears .over. */
void buf_clear(struct buf *b);
/* Removes the first n bytes. */
void buf_drop(struct buf *b, size_t n);
void buf_free(struct buf *b);
