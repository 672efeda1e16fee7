/* utf8: one code point at a time, strict (RFC 3629: no surrogates, nothing overlong, nothing above
 * U+10FFFF). Pure functions. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* Bytes of the sequence that a lead byte opens: 1 to 4, or 0 for a byte that can open none. */
static inline size_t utf8_need(unsigned char lead)
{
    if (lead < 0x80)
        return 1;
    if (lead < 0xc2 || lead > 0xf4)
        return 0;
    return lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/* May `second` follow `lead` (0xc2..0xf4)? The third and fourth byte can be any 0x80..0xbf. */
static inline bool utf8_second_ok(unsigned char lead, unsigned char second)
{
    unsigned char lo = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    unsigned char hi = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    return second >= lo && second <= hi;
}

/* Decodes the code point at p (n > 0 bytes are there). Returns its length and stores it in *cp; 0,
 * with *cp unspecified, when the bytes are not UTF-8. */
static inline size_t utf8_decode(const unsigned char *p, size_t n, uint32_t *cp)
{
    size_t need = utf8_need(p[0]);
    if (need == 1) {
        *cp = p[0];
        return 1;
    }
    if (need == 0 || n < need || !utf8_second_ok(p[0], p[1]))
        return 0;
    uint32_t c = (uint32_t)(p[0] & (0x7f >> need)) << 6 | (p[1] & 0x3f);
    for (size_t i = 2; i < need; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    *cp = c;
    return need;
}

/* Appends the bytes of a code point; what UTF-8 cannot encode becomes U+FFFD. */
static inline void utf8_put(uint32_t cp, struct buf *out)
{
    if (cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff))
        cp = 0xfffd;
    if (cp < 0x80) {
        buf_byte(out, (char)cp);
        return;
    }
    size_t n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    unsigned lead = n == 2 ? 0xc0 : n == 3 ? 0xe0 : 0xf0;
    buf_byte(out, (char)(lead | cp >> (6 * (n - 1))));
    for (size_t i = n - 1; i-- > 0;)
        buf_byte(out, (char)(0x80 | ((cp >> (6 * i)) & 0x3f)));
}

/* Appends s with U+FFFD for each byte that belongs to no code point. */
static inline void utf8_clean(str s, struct buf *out)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t done = 0; /* [done, i) is copied as it is */
    for (size_t i = 0; i < s.n;) {
        uint32_t ignored;
        const size_t n = utf8_decode(p + i, s.n - i, &ignored);
        if (n == 0) {
            buf_str(out, str_sub(s, done, i));
            utf8_put(0xfffd, out);
            done = i + 1;
        }
        i += n ? n : 1;
    }
    buf_str(out, str_sub(s, done, s.n));
}
