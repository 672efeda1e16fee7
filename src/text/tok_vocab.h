/* vocab: the tokens of a model as raw bytes, and the way back from bytes to ids. Immutable once
 * filled: readers are thread-safe. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/str.h"

enum {
    VOCAB_MAX_TOKENS = 1 << 21,
    VOCAB_TYPE = 0x0f, /* enum tok_type */
    VOCAB_STOP = 0x10, /* generation ends here */
};

struct vocab_slot {
    uint32_t tag; /* upper half of the hash */
    uint32_t id;  /* VOCAB_EMPTY, or an id, with VOCAB_WHOLE possibly added */
};
enum { VOCAB_WHOLE = 1 << 30 };
#define VOCAB_EMPTY UINT32_MAX

struct vocab {
    uint32_t n;
    char *bytes;           /* all pieces end to end */
    uint32_t *from;        /* [n + 1] piece i is bytes[from[i], from[i + 1]) */
    uint8_t *flags;        /* [n] type and VOCAB_STOP */
    uint32_t n_duplicates; /* ordinary tokens whose bytes another id has already */
    struct vocab_slot *slots;
    size_t mask; /* slots - 1 */
};

static inline uint64_t vocab_mix(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Hash of bytes by folded multiplication, the construction of wyhash (Wang Yi, public domain). */
static inline uint64_t vocab_hash(str s)
{
    const uint64_t k[3] = {0xa0761d6478bd642fu, 0xe7037ed1a0b428dbu, 0x8ebc6af09c88c6e3u};
    const char *p = s.p;
    uint64_t a = 0, b = 0, h = k[0] ^ s.n;
    uint32_t a4, b4;
    size_t n = s.n;
    for (; n > 16; p += 16, n -= 16) {
        memcpy(&a, p, 8);
        memcpy(&b, p + 8, 8);
        h = vocab_mix(a ^ k[1], b ^ h);
    }
    if (n >= 8) {
        memcpy(&a, p, 8);
        memcpy(&b, p + n - 8, 8);
    } else if (n >= 4) {
        memcpy(&a4, p, 4);
        memcpy(&b4, p + n - 4, 4);
        a = a4;
        b = b4;
    } else if (n > 0) {
        a = (uint64_t)(unsigned char)p[0] << 16 | (uint64_t)(unsigned char)p[n >> 1] << 8 |
            (unsigned char)p[n - 1];
        b = 0;
    }
    return vocab_mix(a ^ k[1], vocab_mix(b ^ k[2], h));
}

static inline str vocab_bytes(const struct vocab *v, uint32_t id)
{
    return (str){v->bytes + v->from[id], v->from[id + 1] - v->from[id]};
}

/* The slot of the bytes s with hash h; NULL when no ordinary token has them. */
static inline struct vocab_slot *vocab_slot(const struct vocab *v, str s, uint64_t h)
{
    for (size_t i = h & v->mask; v->slots[i].id != VOCAB_EMPTY; i = (i + 1) & v->mask) {
        if (v->slots[i].tag != (uint32_t)(h >> 32))
            continue;
        str piece = vocab_bytes(v, v->slots[i].id & ~(uint32_t)VOCAB_WHOLE);
        if (piece.n == s.n && memcmp(piece.p, s.p, s.n) == 0)
            return &v->slots[i];
    }
    return NULL;
}

/* The id of the ordinary token with these bytes; VOCAB_EMPTY when there is none. */
static inline uint32_t vocab_find(const struct vocab *v, str s)
{
    const struct vocab_slot *slot = vocab_slot(v, s, vocab_hash(s));
    return slot ? slot->id & ~(uint32_t)VOCAB_WHOLE : VOCAB_EMPTY;
}

/* Appends to out (room for s.n bytes) the raw bytes that s stands for in the byte alphabet of GPT-2
 * and returns how many; SIZE_MAX when s has a character outside the alphabet. */
size_t vocab_unalphabet(str s, char *out);

/* Builds the way back, when n, bytes, from and flags are filled in. Normal tokens are entered
 * first, then user-defined ones (merges may lead to both); control tokens never: ordinary text
 * cannot become one. */
void vocab_index(struct vocab *v);
void vocab_fini(struct vocab *v);
