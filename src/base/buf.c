#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"

/* Makes room for n more bytes and a NUL; false when the limit forbids them. */
static bool make_room(struct buf *b, size_t n)
{
    if (b->over || (b->max && n > b->max - b->n)) {
        b->over = true;
        return false;
    }
    if (b->room - b->n <= n) {
        b->room = num_max(num_max(64, 2 * b->room), b->n + n + 1);
        b->p = mem_grow(b->p, b->room, 1);
    }
    return true;
}

void buf_put(struct buf *b, const void *bytes, size_t n)
{
    if (!make_room(b, n))
        return;
    if (n)
        memcpy(b->p + b->n, bytes, n);
    b->n += n;
    b->p[b->n] = 0;
}

void buf_str(struct buf *b, str s)
{
    buf_put(b, s.p, s.n);
}

void buf_byte(struct buf *b, char c)
{
    buf_put(b, &c, 1);
}

void buf_fmt(struct buf *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n > 0 && make_room(b, (size_t)n)) {
        vsnprintf(b->p + b->n, (size_t)n + 1, format, again);
        b->n += (size_t)n;
    }
    va_end(again);
}

str buf_view(const struct buf *b)
{
    return b->n ? (str){b->p, b->n} : STR("");
}

void buf_clear(struct buf *b)
{
    b->n = 0;
    b->over = false;
}

void buf_drop(struct buf *b, size_t n)
{
    if (n > b->n)
        n = b->n;
    if (n == 0)
        return;
    memmove(b->p, b->p + n, b->n - n);
    b->n -= n;
    b->p[b->n] = 0;
}

void buf_free(struct buf *b)
{
    free(b->p);
    *b = (struct buf){.max = b->max};
}
