/* Mends arbitrary text, at once and in pieces (the first byte says how): the same must come out,
 * and what comes out whole must be JSON. Sound JSON passes unchanged. */
#include <stdlib.h>

#include "base/err.h"
#include "base/rng.h"
#include "fuzz/fuzz.h"
#include "text/mend.h"

static bool mend(str text, size_t max_piece, struct rng *rng, struct mend *m, struct buf *out)
{
    for (size_t at = 0; at < text.n && m->state != MEND_DONE && m->state != MEND_BROKEN;) {
        size_t n = 1 + rng_below(rng, max_piece);
        at += mend_put(m, str_sub(text, at, at + n), out);
    }
    return m->state == MEND_DONE || mend_close(m, out);
}

FUZZ_TARGET(mend)
{
    if (n_bytes < 1)
        return;
    str text = {(const char *)bytes + 1, n_bytes - 1};
    struct rng rng = {bytes[0]};
    struct mend whole = {0}, pieces = {0};
    struct buf out = {0}, other = {0};
    struct err e;
    bool done = mend(text, SIZE_MAX / 2, &rng, &whole, &out);
    promise(mend(text, 1 + bytes[0] % 16, &rng, &pieces, &other) == done);
    promise(str_eq(buf_view(&out), buf_view(&other)) && whole.mended == pieces.mended);
    struct json *v = done ? json_parse(buf_view(&out), &e) : NULL;
    promise(!done || v);
    promise(!done || whole.mended || str_starts(text, buf_view(&out)) || json_scan(text) == 0);
    json_free(v);
    buf_free(&out);
    buf_free(&other);
}
