/* mask_int: the trie, for mask*.c. */
#pragma once
#include "text/mask.h"

/* Nodes stand in preorder: a node's subtree is what follows it, up to `skip`. Tokens are sorted by
 * their bytes, which is the same order: those that end at node i are tokens[nodes[i].from,
 * nodes[i + 1].from). */
struct trie_node {
    uint32_t skip;
    uint32_t from;
    uint8_t depth; /* bytes before this one */
    uint8_t byte;
};

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
