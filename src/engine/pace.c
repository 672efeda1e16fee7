#include "engine/pace.h"

#include <math.h>

#include "base/num.h"

/* Depth up to which attention takes no longer than the rest of a row: 550 tokens with the demo
 * model, and more with any larger one. */
enum { EVEN_DEPTH = 512 };

static uint32_t range_of(double depth)
{
    const double k = 2 * log2(depth / EVEN_DEPTH + 1);
    return (uint32_t)fmin(k, PACE_DEPTHS - 1);
}

static double mean_depth(uint32_t depth, uint32_t n_rows)
{
    return depth + (n_rows - 1) / 2.0;
}

/* What a row at `depth` takes at most, by one that is not as deep. */
static double slower(const struct pace_speed *s, double depth)
{
    return s->ns * (depth + EVEN_DEPTH) / (s->depth + EVEN_DEPTH);
}

/* ns of a row, by the last piece of that range. A deeper row takes longer, but no more than in
 * proportion: the last piece of all, which knows how busy the machine is, bounds what that one may
 * say. */
static double row_ns(const struct pace *p, double depth)
{
    const struct pace_speed *last = &p->last, *near = &p->at[range_of(depth)];
    const double in_proportion = slower(last, depth);
    const double low = fmin(last->ns, in_proportion), high = fmax(last->ns, in_proportion);
    if (near->ns <= 0)
        return high;
    return fmin(fmax(fmax(near->ns, slower(near, depth)), low), high);
}

void pace_put(struct pace *p, uint32_t depth, uint32_t n_rows, uint64_t ns)
{
    if (n_rows < PACE_LEAST)
        return;
    p->last = (struct pace_speed){mean_depth(depth, n_rows), fmax(1, (double)ns / n_rows)};
    p->at[range_of(p->last.depth)] = p->last;
}

uint32_t pace_rows(const struct pace *p, uint32_t depth, double ns, uint32_t most)
{
    if (p->last.ns <= 0)
        return (uint32_t)num_min(PACE_FIRST, most);
    uint32_t fit = (uint32_t)num_min(PACE_LEAST, most), over = most + 1;
    while (over - fit > 1) {
        const uint32_t n = fit + (over - fit) / 2;
        if (n * row_ns(p, mean_depth(depth, n)) <= ns)
            fit = n;
        else
            over = n;
    }
    return fit;
}
