#include "text/nfc.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/mem.h"

/* The longest canonical decomposition of one code point is 4 (U+1F82 and its like). */
enum { MAX_PARTS = 4 };

/* Position of the first character at or after i that has UC_RENORM, or text.n. *before: where the
 * character in front of it starts, or the position itself when there is none to compose with. */
static size_t find_renorm(const struct uclass *u, str text, size_t i, size_t *before)
{
    const unsigned char *s = (const unsigned char *)text.p;
    size_t last = i, len = 1;
    while (i < text.n) {
        uint64_t eight;
        while (text.n - i >= sizeof eight &&
               (memcpy(&eight, s + i, sizeof eight), (eight & 0x8080808080808080u) == 0)) {
            i += sizeof eight;
            last = i - 1;
        }
        if (i == text.n)
            break;
        if (uclass_at(u, s, i, text.n, &len) & UC_RENORM)
            break;
        last = s[i] >= 0x80 && len == 1 ? i + 1 : i;
        i += len;
    }
    *before = last;
    return i;
}

size_t nfc_quick(const struct uclass *u, str text)
{
    size_t before;
    return find_renorm(u, text, 0, &before) < text.n ? before : text.n;
}

static unsigned combining_class(utf8proc_int32_t cp)
{
    return utf8proc_get_property(cp)->combining_class;
}

/* The canonical order (UAX #15 D109): every run of characters with a combining class is sorted by
 * it, stably. Counting sort: utf8proc's own is quadratic, and the text may be an attack. spare has
 * room for n. */
static void order_marks(utf8proc_int32_t *cps, size_t n, utf8proc_int32_t *spare)
{
    for (size_t from = 0, to; from < n; from = to) {
        size_t start[257] = {0};
        for (to = from; to < n && combining_class(cps[to]) != 0; to++)
            start[combining_class(cps[to]) + 1]++;
        if (to - from < 2) {
            to = to == from ? to + 1 : to;
            continue;
        }
        for (size_t c = 1; c < 257; c++)
            start[c] += start[c - 1];
        for (size_t i = from; i < to; i++)
            spare[start[combining_class(cps[i])]++] = cps[i];
        memcpy(cps + from, spare, (to - from) * sizeof *cps);
    }
}

/* Normalises valid UTF-8. */
static void put_composed(str text, struct buf *out)
{
    const unsigned char *s = (const unsigned char *)text.p;
    utf8proc_int32_t *cps = mem_new(2 * text.n * MAX_PARTS, sizeof *cps);
    size_t n = 0, len;
    int boundary = 0;
    for (size_t i = 0; i < text.n; i += len) {
        uint32_t cp = 0;
        len = utf8_decode(s + i, text.n - i, &cp);
        n += (size_t)utf8proc_decompose_char((utf8proc_int32_t)cp, cps + n, MAX_PARTS,
                                             UTF8PROC_DECOMPOSE, &boundary);
    }
    order_marks(cps, n, cps + n);
    n = (size_t)utf8proc_normalize_utf32(cps, (utf8proc_ssize_t)n,
                                         UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    for (size_t i = 0; i < n; i++) {
        utf8proc_uint8_t bytes[4];
        buf_put(out, bytes, (size_t)utf8proc_encode_char(cps[i], bytes));
    }
    free(cps);
}

void nfc_put(const struct uclass *u, str text, struct buf *out)
{
    const unsigned char *s = (const unsigned char *)text.p;
    size_t i = 0;
    while (i < text.n) {
        size_t from, len;
        size_t to = find_renorm(u, text, i, &from);
        if (to == text.n)
            from = to;
        buf_put(out, text.p + i, from - i);
        while (to < text.n && uclass_at(u, s, to, text.n, &len) & UC_RENORM)
            to += len;
        if (to > from)
            put_composed(str_sub(text, from, to), out);
        i = to;
    }
}
