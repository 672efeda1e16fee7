#include "engine/session.h"

#include <math.h>

#include "base/num.h"

uint32_t session_shared(const struct session *s, const int32_t *ids, size_t n)
{
    size_t most = num_min(s->n, n);
    uint32_t i = 0;
    while (i < most && s->ids[i] == ids[i])
        i++;
    return i;
}

/* How many of all were used after session i. */
static int rank_of(const struct session *all, uint32_t n_sessions, uint32_t i)
{
    int rank = 0;
    for (uint32_t k = 0; k < n_sessions; k++)
        rank += all[k].last_used > all[i].last_used;
    return rank;
}

uint32_t session_choose(const struct session *all, uint32_t n_sessions, const int32_t *ids,
                        size_t n)
{
    uint32_t best = 0;
    double least = HUGE_VAL;
    for (uint32_t i = 0; i < n_sessions; i++) {
        uint32_t shared = session_shared(&all[i], ids, n);
        double lost = ldexp(all[i].n - shared, -rank_of(all, n_sessions, i));
        double cost = (double)(n - shared) + lost;
        if (cost < least || (cost <= least && all[i].last_used < all[best].last_used)) {
            least = cost;
            best = i;
        }
    }
    return best;
}
