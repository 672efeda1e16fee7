#include "engine/seen.h"

#include <stdlib.h>

#include "base/mem.h"

void seen_open(struct seen *s, uint32_t n_vocab, uint32_t window)
{
    *s = (struct seen){.window = window};
    s->ring = window ? mem_new(window, sizeof *s->ring) : NULL;
    s->count = mem_new(n_vocab, sizeof *s->count);
    s->place = mem_new(n_vocab, sizeof *s->place);
    s->distinct = mem_new(n_vocab, sizeof *s->distinct);
}

static void forget(struct seen *s, uint32_t id)
{
    if (--s->count[id])
        return;
    uint32_t last = s->distinct[--s->n_distinct];
    s->distinct[s->place[id]] = last;
    s->place[last] = s->place[id];
}

void seen_add(struct seen *s, uint32_t id)
{
    if (s->ring) {
        uint32_t *slot = &s->ring[s->n % s->window];
        if (s->n >= s->window)
            forget(s, *slot);
        *slot = id;
    }
    s->n++;
    if (!s->count[id]++) {
        s->place[id] = (uint32_t)s->n_distinct;
        s->distinct[s->n_distinct++] = id;
    }
}

void seen_close(struct seen *s)
{
    free(s->ring);
    free(s->count);
    free(s->place);
    free(s->distinct);
}
