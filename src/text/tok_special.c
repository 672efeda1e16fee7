#include "text/tok_special.h"

#include <stdlib.h>
#include <string.h>

#include "base/num.h"

static int by_text(const void *a, const void *b)
{
    const struct special *x = a, *y = b;
    int order = memcmp(x->text.p, y->text.p, num_min(x->text.n, y->text.n));
    if (order == 0)
        order = (x->text.n > y->text.n) - (x->text.n < y->text.n);
    return order ? order : (x->id > y->id) - (x->id < y->id);
}

void special_index(struct special_set *set)
{
    uint32_t n = 0;
    if (set->n)
        qsort(set->all, set->n, sizeof *set->all, by_text);
    for (uint32_t i = 0; i < set->n; i++)
        if (n == 0 || !str_eq(set->all[n - 1].text, set->all[i].text))
            set->all[n++] = set->all[i];
    set->n = n;
    for (uint32_t b = 0, i = 0; b <= 256; b++) {
        while (i < n && (unsigned char)set->all[i].text.p[0] < b)
            i++;
        set->first[b] = i;
    }
}

const struct special *special_find(const struct special_set *set, str text)
{
    struct special key = {.text = text, .id = -1};
    uint32_t lo = 0, hi = set->n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (by_text(&set->all[mid], &key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < set->n && str_eq(set->all[lo].text, text) ? &set->all[lo] : NULL;
}

/* The first of all[lo, hi), which agree in the first `depth` bytes and are longer, whose byte there
 * is at least `least`. */
static uint32_t lower_bound(const struct special_set *set, uint32_t lo, uint32_t hi, size_t depth,
                            unsigned least)
{
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if ((unsigned char)set->all[mid].text.p[depth] < least)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Does [from, to) share a byte with a literal span? */
static bool touches_literal(struct special_search *s, size_t from, size_t to)
{
    while (s->i_literal < s->n_literal && s->literal[s->i_literal].to <= from)
        s->i_literal++;
    for (size_t i = s->i_literal; i < s->n_literal && s->literal[i].from < to; i++)
        if (s->literal[i].from < s->literal[i].to)
            return true;
    return false;
}

static bool allowed(struct special_search *s, const struct special *match, size_t at)
{
    return !match->control || (s->control && !touches_literal(s, at, at + match->text.n));
}

/* The longest allowed token at `at`: byte by byte, the range of tokens that agree so far narrows.
 * Sorted, a token that ends here stands first in its range. */
static const struct special *match_at(struct special_search *s, str text, size_t at)
{
    const struct special_set *set = s->set;
    const struct special *best = NULL;
    unsigned byte = (unsigned char)text.p[at];
    uint32_t lo = set->first[byte], hi = set->first[byte + 1];
    for (size_t depth = 1; lo < hi; depth++) {
        if (set->all[lo].text.n == depth) {
            if (allowed(s, &set->all[lo], at))
                best = &set->all[lo];
            lo++;
        }
        if (at + depth >= text.n)
            break;
        byte = (unsigned char)text.p[at + depth];
        hi = lower_bound(set, lo, hi, depth, byte + 1);
        lo = lower_bound(set, lo, hi, depth, byte);
    }
    return best;
}

const struct special *special_next(struct special_search *s, str text, size_t from, size_t *at)
{
    for (size_t i = from; i < text.n; i++) {
        unsigned byte = (unsigned char)text.p[i];
        if (s->set->first[byte] == s->set->first[byte + 1])
            continue;
        const struct special *match = match_at(s, text, i);
        if (match) {
            *at = i;
            return match;
        }
    }
    *at = text.n;
    return NULL;
}
