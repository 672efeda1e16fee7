/* grammar_int: the inside of a grammar, for grammar*.c and automaton*.c. */
#pragma once
#include "base/mem.h"
#include "text/grammar.h"

/* ---- nodes ---- */

enum node_kind {
    NODE_EMPTY,
    NODE_NOTHING,
    NODE_BYTES,  /* text[a, a + b) */
    NODE_CLASS,  /* class a */
    NODE_TOKEN,  /* id a */
    NODE_SEQ,    /* list[a, a + b) */
    NODE_ALT,    /* list[a, a + b) */
    NODE_REPEAT, /* node a, b to c times */
    NODE_CALL,   /* rule a */
    NODE_SET,    /* set a */
    NODE_SCAN,   /* scan a */
};
struct node {
    enum node_kind kind;
    uint32_t a, b, c;
};

struct set_member {
    uint32_t node;
    uint32_t start; /* state */
};
struct set_def {
    struct set_member *members;
    uint32_t n;
    uint64_t required, many; /* bits of members */
    uint32_t separator, separator_start;
    uint32_t min, max;
    uint32_t next; /* state */
};

/* A deterministic automaton over ASCII: edges[state][byte]; other characters lead to `reset`. */
struct scan_def {
    uint32_t n;
    uint32_t (*edges)[128]; /* state, or SCAN_NEVER, or SCAN_MATCH + pattern */
    uint32_t reset;
    uint32_t *then; /* [n_patterns] node */
    uint32_t n_patterns;
    bool *ends; /* [n] the text may end in this state */
    bool any_byte, in_json;
    uint32_t escape; /* node */
};
#define SCAN_NEVER UINT32_MAX
#define SCAN_MATCH (1u << 30)

/* ---- the program ---- */

enum op {
    OP_BYTE,   /* a byte of class a, then next */
    OP_TOKEN,  /* token a, then next */
    OP_SPLIT,  /* targets[a, a + next) */
    OP_CALL,   /* rule a, then next */
    OP_RETURN, /* the end of a rule, a repeated body or a member */
    OP_REPEAT, /* repetition a */
    OP_SET,    /* set a */
    OP_CHOOSE, /* the next member of set a, after a separator */
    OP_FAIL,
};
struct gstate {
    uint32_t op;
    uint32_t a;
    uint32_t next;
};
struct repeat_def {
    uint32_t body; /* state */
    uint32_t min, max;
    uint32_t next;
};

struct grammar {
    struct arena arena; /* of sets and scans */
    struct node *nodes;
    size_t n_nodes, nodes_room;
    uint32_t *list;
    size_t n_list, list_room;
    char *text;
    size_t n_text, text_room;
    struct byteset *classes;
    size_t n_classes, classes_room;
    uint32_t *class_slots; /* hash of classes: index + 1 */
    size_t class_mask;
    uint32_t *rules; /* node; GRAMMAR_NEVER: not defined */
    size_t n_rules, rules_room;
    struct set_def *sets;
    size_t n_sets, sets_room;
    struct scan_def *scans;
    size_t n_scans, scans_room;
    bool over;         /* a limit was passed */
    uint32_t bad_rule; /* what compiling failed at */

    /* Compiled. */
    struct gstate *states;
    size_t n_states, states_room;
    uint32_t *targets;
    size_t n_targets, targets_room;
    struct repeat_def *repeats;
    size_t n_repeats, repeats_room;
    uint32_t *rule_start; /* [n_rules] state */
    bool *nullable;       /* [n_rules] */
    uint32_t *need;       /* [n_states] frames that are pushed at least before this one is popped */
    uint32_t root;        /* state */
    uint8_t byte_class[256]; /* bytes that no state tells apart have one number */
    uint8_t byte_of[256];    /* one byte of each */
    uint32_t n_byte_classes;
};
enum { GRAMMAR_NO_NEED = 1 << 20 };

/* Room for one more element in a growing array; doubles it. */
#define GROW(array, n, room)                                                                       \
    do {                                                                                           \
        if ((n) == (room)) {                                                                       \
            (room) = (room) ? 2 * (room) : 64;                                                     \
            (array) = mem_grow((array), (room), sizeof *(array));                                  \
        }                                                                                          \
    } while (0)

/* grammar_node.c: the number of a class; equal sets have one. */
uint32_t grammar_class_of(struct grammar *g, const struct byteset *set);
/* grammar_scan.c: the automaton of a scan, in the arena; false over the limit. */
bool scan_build(struct grammar *g, const struct grammar_scan *scan, struct scan_def *out);
/* grammar_check.c: nullable rules, then left recursion. */
void grammar_find_nullable(struct grammar *g);
bool grammar_node_nullable(const struct grammar *g, uint32_t node);
bool grammar_check_left(struct grammar *g, uint32_t rule, struct err *e);
/* Fills need and the byte classes of a program. */
bool grammar_find_need(struct grammar *g, struct err *e);
void grammar_find_byte_classes(struct grammar *g);
