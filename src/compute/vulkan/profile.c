/* Time per kind of step and of every one, from timestamps behind every dispatch. They keep
 * dispatches of one phase from overlapping: the sum is longer than a run without them. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "compute/vulkan/gpu.h"

static struct profile_row *row_of(struct profile *p, const char *label)
{
    for (uint32_t i = 0; i < p->n_rows; i++)
        if (!strcmp(p->rows[i].label, label))
            return &p->rows[i];
    if (p->n_rows == PROFILE_ROWS)
        return NULL;
    p->rows[p->n_rows].label = label;
    return &p->rows[p->n_rows++];
}

static struct exec_event *add_event(struct gpu *g)
{
    if (g->n_events == g->events_room) {
        g->events_room = g->events_room ? 2 * g->events_room : 1024;
        g->events = mem_grow(g->events, g->events_room, sizeof *g->events);
    }
    return &g->events[g->n_events++];
}

static void add_step(struct gpu *g, struct profile *p, const struct vk_stamp *s)
{
    struct profile_row *row = row_of(p, s->label);
    if (row) {
        row->n++;
        row->ns += s->ns;
    }
    if (g->n_events < EXEC_EVENTS)
        *add_event(g) = (struct exec_event){.what = s->label,
                                            .layer = s->layer,
                                            .begin_us = (s->at_ns - s->ns) / 1e3,
                                            .us = s->ns / 1e3};
}

static void add_part(struct gpu *g, struct profile *p, struct vk_cmds *cmds)
{
    struct vk_stamp s;
    for (uint32_t i = 0; vk_cmds_stamp_get(cmds, i, &s); i++)
        if (i > 0)
            add_step(g, p, &s);
    p->n_dispatches += vk_cmds_dispatches(cmds);
    p->n_barriers += vk_cmds_barriers(cmds);
}

/* The run around the events behind number `first`, which is its place. */
static void end_run(struct gpu *g, size_t first, uint32_t n_tokens)
{
    const struct exec_event *begin = &g->events[first + 1], *last = &g->events[g->n_events - 1];
    if (last < begin)
        g->n_events = first; /* a device without timestamps */
    else
        g->events[first] = (struct exec_event){.n_rows = n_tokens,
                                               .begin_us = begin->begin_us,
                                               .us = last->begin_us + last->us - begin->begin_us};
}

void profile_add(struct gpu *g, const struct recording *r, uint32_t n_tokens)
{
    struct profile *p = &g->profiles[n_tokens > 1];
    const size_t first = g->n_events;
    const bool keeps = first < EXEC_EVENTS;
    if (keeps)
        add_event(g);
    p->n_dispatches = p->n_barriers = 0;
    for (uint32_t i = 0; i < r->n_parts; i++)
        add_part(g, p, r->parts[i]);
    if (keeps)
        end_run(g, first, n_tokens);
    p->n_runs++;
    p->n_tokens += n_tokens;
}

static void print(const struct profile *p, const char *what, struct buf *out)
{
    double total = 0;
    for (uint32_t i = 0; i < p->n_rows; i++)
        total += p->rows[i].ns;
    if (!p->n_runs)
        return;
    buf_fmt(out, "\n%s: %.1f us a token, %u dispatches, %u barriers (with timestamps)\n", what,
            total / 1e3 / (double)p->n_tokens, p->n_dispatches, p->n_barriers);
    buf_fmt(out,
            "| step | calls a run | us a call | us a run | share |\n|---|---:|---:|---:|---:|\n");
    for (uint32_t i = 0; i < p->n_rows; i++) {
        const struct profile_row *r = &p->rows[i];
        buf_fmt(out, "| %s | %.0f | %.1f | %.0f | %.1f %% |\n", r->label,
                (double)r->n / (double)p->n_runs, r->ns / 1e3 / (double)r->n,
                r->ns / 1e3 / (double)p->n_runs, 100 * r->ns / total);
    }
}

void profile_print(const struct gpu *g, struct buf *out)
{
    print(&g->profiles[0], "one row", out);
    print(&g->profiles[1], "more rows", out);
}
