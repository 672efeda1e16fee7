/* pace: how many rows of a prompt fit a time. A row takes as long as its depth, the tokens before
 * it, makes it: with a small model most of the time is attention's, and the rows behind 20,000
 * tokens take 20 times as long as the first. So speeds are kept by depth, and what is not known is
 * taken to be slow: a piece that is too small costs little and measures, one that is too large
 * holds up replies. The clock is the caller's. Allocates nothing; one thread. */
#pragma once
#include <stdint.h>

enum {
    PACE_FIRST = 32,  /* rows while nothing is known */
    PACE_LEAST = 8,   /* fewer are not asked for, and say nothing about the speed of many */
    PACE_DEPTHS = 48, /* ranges of depth: two to a doubling */
};

/* Rows at a mean depth, and what each of them took. */
struct pace_speed {
    double depth, ns; /* ns 0: not measured yet */
};

/* All zero: nothing is known. */
struct pace {
    struct pace_speed last, at[PACE_DEPTHS]; /* the last piece; the last one of each range */
};

/* n_rows behind `depth` tokens took so long. */
void pace_put(struct pace *p, uint32_t depth, uint32_t n_rows, uint64_t ns);
/* Rows behind `depth` tokens that should take ns at most: PACE_LEAST or more, up to `most`. */
uint32_t pace_rows(const struct pace *p, uint32_t depth, double ns, uint32_t most);
