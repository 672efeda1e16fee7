#include "server/stops.h"

#include <stdint.h>

/* Where the stop string begins that is complete first (of several, the longest), and which it is;
 * SIZE_MAX when there is none. Complete first, not beginning first: that does not depend on how the
 * text is split. */
static size_t first_stop(const struct stops *s, str text, str *which)
{
    size_t first = SIZE_MAX, first_end = SIZE_MAX;
    for (size_t i = 0; i < s->n; i++) {
        size_t at = str_find(text, s->list[i], 0);
        if (at == SIZE_MAX)
            continue;
        size_t end = at + s->list[i].n;
        if (end < first_end || (end == first_end && at < first)) {
            first = at;
            first_end = end;
            *which = s->list[i];
        }
    }
    return first;
}

/* Where the longest tail of text begins that is the head of a stop string; text.n for none. */
static size_t tail_to_hold(const struct stops *s, str text)
{
    size_t from = text.n;
    for (size_t i = 0; i < s->n; i++) {
        size_t n = s->list[i].n - 1;
        for (size_t at = text.n > n ? text.n - n : 0; at < from; at++)
            if (str_starts(s->list[i], str_sub(text, at, text.n)))
                from = at;
    }
    return from;
}

bool stops_put(struct stops *s, str piece, struct buf *out)
{
    if (s->hit)
        return true;
    buf_str(&s->held, piece);
    str text = buf_view(&s->held);
    size_t at = first_stop(s, text, &s->found);
    s->hit = at != SIZE_MAX;
    if (!s->hit)
        at = tail_to_hold(s, text);
    buf_str(out, str_sub(text, 0, at));
    if (s->hit)
        buf_clear(&s->held);
    else
        buf_drop(&s->held, at);
    return s->hit;
}

void stops_end(struct stops *s, struct buf *out)
{
    buf_str(out, buf_view(&s->held));
    buf_clear(&s->held);
}

void stops_free(struct stops *s)
{
    buf_free(&s->held);
}
