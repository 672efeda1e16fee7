/* uclass: what the pre-tokenizers and the normaliser must know of each code point, one byte each in
 * a two-stage table (46 KB), filled from the distribution's utf8proc at open (2.8.0 of Debian
 * 12 has Unicode 15.0; a newer one differs in newly assigned characters only). Immutable after
 * open: readers are thread-safe. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/utf8.h"

enum {
    UC_LETTER = 1,  /* L */
    UC_MARK = 2,    /* M */
    UC_NUMBER = 4,  /* N */
    UC_SPACE = 8,   /* White_Space */
    UC_EOL = 16,    /* CR, LF */
    UC_UPPER = 32,  /* Lu Lt Lm Lo M: o200k's head of a word */
    UC_LOWER = 64,  /* Ll Lm Lo M: o200k's tail of a word */
    UC_RENORM = 128 /* NFC may change it, or join it with what stands before it */
};

enum { UC_N_CODE_POINTS = 0x110000, UC_BLOCK_BITS = 7, UC_BLOCK = 1 << UC_BLOCK_BITS };

struct uclass {
    uint16_t block[UC_N_CODE_POINTS >> UC_BLOCK_BITS];
    uint8_t *flags; /* [blocks][UC_BLOCK]; block 0 is ASCII */
};

/* Freed with uclass_close. */
struct uclass *uclass_open(void);
void uclass_close(struct uclass *u);

static inline unsigned uclass_of(const struct uclass *u, uint32_t cp)
{
    return u->flags[(size_t)u->block[cp >> UC_BLOCK_BITS] << UC_BLOCK_BITS | (cp & (UC_BLOCK - 1))];
}

/* The flags of the character at s[i], i < n, and its length in bytes. A byte that is not UTF-8 is a
 * character of its own with no flags. */
static inline unsigned uclass_at(const struct uclass *u, const unsigned char *s, size_t i, size_t n,
                                 size_t *n_bytes)
{
    uint32_t cp;
    *n_bytes = 1;
    if (s[i] < 0x80)
        return u->flags[s[i]];
    size_t len = utf8_decode(s + i, n - i, &cp);
    if (len == 0)
        return 0;
    *n_bytes = len;
    return uclass_of(u, cp);
}
