/* mend: JSON as models write it to strict JSON, while it comes. What is sound passes unchanged,
 * byte for byte. Of what is not, only that is mended which has one reading:
 *
 *   in strings   control characters, invalid UTF-8, lone surrogates, unknown escapes (\d is \\d);
 *                single quotes around them
 *   elsewhere    names of members without quotes; True, False, None; a comma before a closing
 *                bracket; a bracket not closed before an outer one, or at the end (mend_close)
 *
 * Anything else breaks the value: what came out up to there stays, nothing more follows. Pure
 * functions over a struct; allocates nothing but the output. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/str.h"

/* The value may stand inside two more brackets when it is parsed. */
enum { MEND_MAX_DEPTH = JSON_MAX_DEPTH - 2, MEND_MAX_WORD = 400, MEND_MAX_HELD = 256 };

enum mend_state {
    MEND_FIRST,   /* after an opening bracket; at the very start: the value's own bracket */
    MEND_VALUE,   /* after a colon */
    MEND_NEXT,    /* after a comma, which is held */
    MEND_COLON,   /* after a member's name */
    MEND_AFTER,   /* after a value */
    MEND_STRING,  /* inside quotes */
    MEND_ESCAPE,  /* after a backslash, which is held */
    MEND_UNICODE, /* after \u, which is held with the digits so far */
    MEND_WORD,    /* number, true, ...: held */
    MEND_NAME,    /* a name without quotes */
    MEND_DONE,
    MEND_BROKEN,
};

/* Zero-initialise. The value must be an object or an array. */
struct mend {
    enum mend_state state;
    bool mended; /* something was not sound */
    uint32_t depth;
    char stack[MEND_MAX_DEPTH]; /* '{' or '[' */
    char quote;                 /* of the string */
    bool in_name;               /* the string is a member's name */
    char high[4];               /* digits of a surrogate that waits for its second half; 0: none */
    char held[MEND_MAX_WORD];   /* see the states; in strings: a UTF-8 sequence not complete yet */
    uint32_t n_held;
};

/* Reads from text, appends what is certain to out, and returns the number of bytes taken: all, or
 * those up to the value's end (DONE), or up to the byte that breaks it (BROKEN). No output is cut
 * inside a UTF-8 sequence. */
size_t mend_put(struct mend *m, str text, struct buf *out);
/* Is the next byte inside a string? */
bool mend_in_string(const struct mend *m);
/* Nothing more comes, on purpose: adds the brackets that are missing. False, and BROKEN, where that
 * does not make a value: inside a string, or where a name or a value is missing. */
bool mend_close(struct mend *m, struct buf *out);
