/* mask_int: the inside of masks, for mask*.c. */
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
    bool whole; /* no character is cut in two behind it */
};

/* The tokens are three tries, one behind the other. Calm tokens are whole characters without
 * controls, '"', '\\' and '<': nearly all of a vocabulary, and inside strings all the same. Of the
 * others those of more than MASK_SHORT bytes are few, and only they can tell apart most counts. */
enum mask_section { MASK_CALM, MASK_SHORT_OTHERS, MASK_LONG_OTHERS, MASK_N_SECTIONS };
enum { MASK_SHORT = 16, MASK_CALM_LENGTHS = 32 };

struct mask_vocab {
    uint32_t n_vocab;
    struct trie_node *nodes; /* [n_nodes], and one more */
    uint32_t n_nodes;
    uint32_t section[MASK_N_SECTIONS + 1]; /* the first node of each */
    int32_t *tokens;                       /* [n_tokens] */
    uint32_t n_tokens;
    int32_t *stops; /* [n_stops] */
    uint32_t n_stops;
    uint32_t *start; /* [n_vocab + 1] the bytes of text token id: bytes[start[id], start[id + 1]) */
    char *bytes;
    uint32_t n_words; /* of a set of tokens, as bits */
    uint64_t *calm;   /* [MASK_CALM_LENGTHS][n_words] calm tokens of up to i characters */
    /* Longer calm tokens. */
    struct long_calm {
        int32_t id;
        uint32_t n_chars;
    } * long_calm; /* [n_long_calm] */
    uint32_t n_long_calm;
};

/* What some tokens may do at an inside state, whatever its frame stands on. */
struct reach {
    bool known;
    uint32_t calm; /* all calm tokens of up to so many characters, not in .mask */
    struct token_mask mask;
    uint32_t *exits; /* [n_exits] nodes at which the frame was left and tokens go on */
    uint32_t n_exits;
};

struct inner {
    uint32_t rough; /* the state that says what short tokens may do */
    uint32_t left;  /* see automaton_rough */
    struct reach shorts;
    struct reach others;                                 /* calm and long ones */
    enum { STEP_UNKNOWN, STEP_COUNTS, STEP_MIXED } step; /* of a rough one: see mask_calm.c */
};

/* Short tokens at a rough state and behind it: the same for many counts of one string. */
struct pair {
    uint32_t rough, outside;
    struct token_mask mask;
};
enum { MASK_N_PAIRS = 64 };

struct masks {
    const struct mask_vocab *v;
    struct automaton *a;
    struct token_mask **at; /* [room] by state */
    struct inner **inner;   /* [room] by inside state */
    uint32_t *calm_next;    /* [room] by state: see mask_calm.c */
    uint32_t room;
    struct pair pairs[MASK_N_PAIRS];
    size_t n_bytes;
    /* The mask that is being made. */
    int32_t *ids; /* [n_vocab] each once */
    uint32_t n_ids;
    uint64_t *taken; /* [n_words] bits of .ids, and more bits when .many */
    bool many;
    uint32_t *exits;
    uint32_t n_exits, exits_room;
};

/* mask.c: room for every state that there is. */
void mask_make_room(struct masks *m);
void mask_put_id(void *masks, int32_t id);
/* What is known of an inside state. */
struct inner *mask_inner(struct masks *m, uint32_t state);

/* mask_calm.c */

/* So many calm characters, whichever, may come at a state before none may, up to
 * MASK_ALL_CALM: any number. MASK_NOT_CALM: it matters which, or the frame may be left. */
enum { MASK_ALL_CALM = 1 << 20, MASK_NOT_CALM = -1 };
int32_t mask_calm_run(struct masks *m, uint32_t state);
/* The same for an inside state with a count, without a look at all that follow; 0: not known so. */
uint32_t mask_calm_left(struct masks *m, uint32_t state);
/* The state behind any character that is not ASCII; AUTOMATON_MIXED: it depends. */
uint32_t mask_calm_high(struct masks *m, uint32_t state);
/* Collects the calm tokens of up to n characters. */
void mask_put_calm(struct masks *m, uint32_t n);
