/* freeform: the text of a custom tool's call out of the arguments of the function that stands for
 * it, {"input": "..."}, as they are written. Zero-initialise; one thread. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

struct freeform {
    int state;         /* where in the object */
    struct buf key;    /* of its first member */
    uint32_t code;     /* of an escape, as far as it is there */
    unsigned n_digits; /* of it */
    uint32_t high;     /* the first half of a surrogate pair; 0: none waits */
};

/* Takes the next piece of the arguments and appends what it has of the text. */
void freeform_put(struct freeform *f, str piece, struct buf *out);
void freeform_free(struct freeform *f);

/* Appends the text of finished arguments. What is no such object is the text itself. */
void freeform_text(str arguments, struct buf *out);
