/* stops: cuts text at the first stop string, wherever the pieces of a stream break. Text that may
 * be the beginning of a stop string is held back until it is clear. Zero-initialise, set list and n
 * (borrowed, no empty strings); one thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/str.h"

struct stops {
    const str *list;
    size_t n;
    struct buf held;
    bool hit;
    str found; /* of the list: the one that was hit */
};

/* Takes the next piece; appends to out what surely comes before any stop string. Returns true when
 * a stop string was found: it and everything after is dropped, from then on. */
bool stops_put(struct stops *s, str piece, struct buf *out);
/* End of the text: appends what was held back. */
void stops_end(struct stops *s, struct buf *out);
void stops_free(struct stops *s);
