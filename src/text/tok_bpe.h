/* bpe: byte-pair merging of one word. The lowest-ranked pair of neighbours joins first, the
 * leftmost of equals, until no neighbours have a merge. Works on token ids; the table is immutable
 * once filled: readers are thread-safe, each with its own scratch. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum {
    BPE_SHORT = 40,          /* bytes up to which rescanning beats the heap */
    BPE_MAX_WORD = 4u << 20, /* longer words are cut here: the heap takes 32 bytes per byte */
};
#define BPE_NONE UINT32_MAX

struct bpe_merge {
    uint32_t left, right; /* token ids */
    uint32_t rank;        /* BPE_NONE: an empty slot */
    uint32_t joined;      /* token id */
};

struct bpe {
    struct bpe_merge *slots;
    size_t mask;
    uint32_t byte_id[256]; /* BPE_NONE: no token for this byte */
};

/* Working memory of bpe_long, grown as needed. Zero-initialise, free with bpe_scratch_fini. */
struct bpe_node;
struct bpe_scratch {
    struct bpe_node *nodes;
    uint64_t *heap;
    size_t room; /* bytes of word they are for */
};
void bpe_scratch_fini(struct bpe_scratch *s);

/* Room for n_merges; byte_id all BPE_NONE. */
void bpe_init(struct bpe *b, size_t n_merges);
void bpe_fini(struct bpe *b);
/* Adds a merge; the first of a pair counts. Not more than bpe_init was told. */
void bpe_add(struct bpe *b, uint32_t left, uint32_t right, uint32_t rank, uint32_t joined);

/* Write the ids of word to ids (room for word.n) and return how many. A byte without a token gives
 * BPE_NONE. Both compute the same: bpe_short in O(n^2) for up to BPE_SHORT bytes, bpe_long in
 * O(n log n) for up to BPE_MAX_WORD. */
size_t bpe_short(const struct bpe *b, str word, uint32_t *ids);
size_t bpe_long(const struct bpe *b, str word, struct bpe_scratch *scratch, uint32_t *ids);
