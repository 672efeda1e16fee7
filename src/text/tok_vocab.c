#include "text/tok_vocab.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "text/tok.h"

/* Bytes that print as themselves in Latin-1 stand for themselves; the 68 others, in order, are
 * U+0100 and up. */
static bool is_own_letter(uint32_t cp)
{
    return (cp >= 0x21 && cp <= 0x7e) || (cp >= 0xa1 && cp <= 0xac) || (cp >= 0xae && cp <= 0xff);
}

/* The byte behind a letter of the alphabet, or -1. */
static int byte_of_letter(uint32_t cp)
{
    if (cp < 0x100)
        return is_own_letter(cp) ? (int)cp : -1;
    uint32_t i = cp - 0x100;
    if (i <= 0x20)
        return (int)i;
    if (i <= 0x20 + 0x22)
        return (int)(0x7f + i - 0x21);
    return i == 0x43 ? 0xad : -1;
}

size_t vocab_unalphabet(str s, char *out)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t n = 0, len;
    for (size_t i = 0; i < s.n; i += len) {
        uint32_t cp = 0;
        len = utf8_decode(p + i, s.n - i, &cp);
        int byte = len ? byte_of_letter(cp) : -1;
        if (byte < 0)
            return SIZE_MAX;
        out[n++] = (char)byte;
    }
    return n;
}

static void enter(struct vocab *v, uint32_t id)
{
    str piece = vocab_bytes(v, id);
    uint64_t h = vocab_hash(piece);
    if (vocab_slot(v, piece, h)) {
        v->n_duplicates += (v->flags[id] & VOCAB_TYPE) == TOK_NORMAL;
        return;
    }
    size_t i = h & v->mask;
    while (v->slots[i].id != VOCAB_EMPTY)
        i = (i + 1) & v->mask;
    v->slots[i] = (struct vocab_slot){(uint32_t)(h >> 32), id};
}

void vocab_index(struct vocab *v)
{
    size_t n_slots = 16;
    while (n_slots < 2 * (size_t)v->n)
        n_slots *= 2;
    v->slots = mem_new(n_slots, sizeof *v->slots);
    memset(v->slots, 0xff, n_slots * sizeof *v->slots);
    v->mask = n_slots - 1;
    for (uint32_t id = 0; id < v->n; id++)
        if ((v->flags[id] & VOCAB_TYPE) == TOK_NORMAL || (v->flags[id] & VOCAB_TYPE) == TOK_BYTE)
            enter(v, id);
    for (uint32_t id = 0; id < v->n; id++)
        if ((v->flags[id] & VOCAB_TYPE) == TOK_USER_DEFINED)
            enter(v, id);
}

void vocab_fini(struct vocab *v)
{
    free(v->bytes);
    free(v->from);
    free(v->flags);
    free(v->slots);
}
