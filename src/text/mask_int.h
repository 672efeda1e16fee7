/* mask_int: the trie, for mask*.c. */
#pragma once
#include <string.h>

#include "text/mask.h"

/* Nodes stand in preorder: a node's subtree is what follows it, up to `skip`. Tokens are sorted by
 * their bytes, which is the same order: those that end at node i are tokens[nodes[i].from,
 * nodes[i + 1].from). */
struct trie_node {
    uint64_t below; /* groups of the bytes in its subtree, its own left out */
    uint32_t skip;
    uint32_t from;
    uint8_t depth; /* bytes before this one */
    uint8_t byte;
};

/* Bytes in 64 groups: punctuation and white space one by one, the others by kind. */
static inline unsigned mask_group(uint8_t byte)
{
    static const char alone[] = "\n\t !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
    if (byte >= 0xc0)
        return 60 + (byte >= 0xe0) + (byte >= 0xf0);
    if (byte >= 0x80)
        return 59;
    if ((byte >= '0' && byte <= '9') || byte == 0)
        return byte ? 58 : 57;
    if ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z')
        return 56 - (byte >= 'a');
    const char *at = strchr(alone, byte);
    return at ? (unsigned)(at - alone) : 54;
}

struct mask_vocab {
    uint32_t n_vocab;
    struct trie_node *nodes; /* [n_nodes], and one more */
    uint32_t n_nodes;
    int32_t *tokens; /* [n_tokens] */
    uint32_t n_tokens;
    int32_t *stops; /* [n_stops] */
    uint32_t n_stops;
    uint32_t *start; /* [n_vocab + 1] the bytes of text token id: bytes[start[id], start[id + 1]) */
    char *bytes;
};
