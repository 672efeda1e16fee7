#include "engine/loop.h"

#include <stdbool.h>
#include <string.h>

void loop_init(struct loop *l)
{
    memset(l, 0, sizeof *l);
    memset(l->recent, -1, sizeof l->recent);
    l->at = LOOP_MAX_PERIOD;
}

/* Notes id; the window of recent tokens moves down through its buffer and starts again at the top.
 */
static void remember(struct loop *l, int32_t id)
{
    if (l->at == 0) {
        memcpy(l->recent + LOOP_MAX_PERIOD, l->recent, LOOP_MAX_PERIOD * sizeof *l->recent);
        l->at = LOOP_MAX_PERIOD;
    }
    l->recent[--l->at] = id;
    l->n_tokens++;
}

/* Prolongs or ends the runs of all periods. Is one as long as `least`? Written for the vectoriser:
 * no branch, no early end. */
static bool follow(struct loop *l, int32_t id, uint32_t least)
{
    const int32_t *restrict recent = l->recent + l->at;
    uint32_t *restrict run = l->run;
    uint32_t any = 0;
    for (uint32_t i = 0; i < LOOP_MAX_PERIOD; i++) {
        uint32_t n = recent[i] == id ? run[i] + 1 : 0;
        run[i] = n;
        any |= n >= least;
    }
    return any;
}

/* The shortest period whose run is long enough; 0: none. */
static uint32_t find_period(const struct loop *l, uint32_t least)
{
    const uint32_t turns = l->n_breaks ? LOOP_TURNS_AGAIN : LOOP_TURNS;
    for (uint32_t i = 0; i < LOOP_MAX_PERIOD; i++)
        if (l->run[i] >= least && l->run[i] >= turns * (i + 1))
            return i + 1;
    return 0;
}

enum loop_verdict loop_put(struct loop *l, int32_t id, int32_t *next)
{
    if (l->n_tokens - l->last_break > LOOP_FORGET)
        l->n_breaks = 0;
    uint32_t least = l->n_breaks ? LOOP_TOKENS_AGAIN : LOOP_TOKENS;
    bool any = follow(l, id, least);
    remember(l, id);
    uint32_t period = any ? find_period(l, least) : 0;
    if (period == 0)
        return LOOP_NONE;
    if (l->n_breaks == LOOP_BREAKS)
        return LOOP_END;
    /* Multiples of the period are cycles, too: all start anew. */
    memset(l->run, 0, sizeof l->run);
    l->n_breaks++;
    l->last_break = l->n_tokens;
    *next = l->recent[l->at + period - 1];
    return LOOP_BREAK;
}
