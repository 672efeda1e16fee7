#include <float.h>
#include <math.h>

#include "compute/ref/ref_int.h"

static bool before(struct candidate a, struct candidate b)
{
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

/* Puts c where it belongs among the first ones, if it does. */
static void put(struct best *b, struct candidate c)
{
    if (b->n == EXEC_BEST && !before(c, b->at[EXEC_BEST - 1]))
        return;
    uint32_t at = b->n < EXEC_BEST ? b->n++ : EXEC_BEST - 1;
    for (; at > 0 && before(c, b->at[at - 1]); at--)
        b->at[at] = b->at[at - 1];
    b->at[at] = c;
}

void ref_pick(const float *logits, uint32_t n_vocab, const unsigned char *allowed, struct best *out)
{
    out->n = 0;
    for (uint32_t i = 0; i < n_vocab; i++)
        if (logits[i] > -INFINITY && (!allowed || allowed[i]))
            put(out, (struct candidate){fminf(logits[i], FLT_MAX), (int32_t)i});
    out->guess = out->n ? out->at[0].id : -1;
}
