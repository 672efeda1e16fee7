/* special: the added tokens of a vocabulary and the search for them in text. Immutable once filled:
 * readers are thread-safe. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "text/tok.h"

/* Longer texts are left out: the search would be quadratic in them. */
enum { SPECIAL_MAX_BYTES = 512 };

struct special {
    str text; /* view into the vocabulary */
    int32_t id;
    bool control; /* else user-defined */
};

struct special_set {
    struct special *all; /* [n] sorted by text, no two alike */
    uint32_t n;
    uint32_t first[257]; /* those that start with byte b are all[first[b], first[b + 1]) */
};

/* Sorts `all`, drops what repeats a text (the lower id stays), fills `first`. */
void special_index(struct special_set *set);
/* NULL when no token has this text. */
const struct special *special_find(const struct special_set *set, str text);

/* Where added tokens may be found: every user-defined one anywhere; control ones, with `control`,
 * where they share no byte with a literal span. */
struct special_search {
    const struct special_set *set;
    bool control;
    const struct tok_span *literal;
    size_t n_literal;
    size_t i_literal; /* the first span that does not end at or before the position reached */
};
/* The leftmost match at or after `from`, the longest one there; stores its position in *at. NULL,
 * and *at = text.n, when there is none. Calls of one search must not go back in text. */
const struct special *special_next(struct special_search *s, str text, size_t from, size_t *at);
