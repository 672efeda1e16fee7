/* Time per kind of step, from timestamps behind every dispatch. They keep dispatches of one phase
 * from overlapping: the sum is longer than a run without them. */
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

static void add_part(struct profile *p, struct vk_cmds *cmds)
{
    const char *label;
    uint32_t layer;
    double ns;
    for (uint32_t i = 0; vk_cmds_stamp_get(cmds, i, &label, &layer, &ns); i++) {
        struct profile_row *row = i ? row_of(p, label) : NULL;
        if (!row)
            continue;
        row->n++;
        row->ns += ns;
    }
    p->n_dispatches += vk_cmds_dispatches(cmds);
    p->n_barriers += vk_cmds_barriers(cmds);
}

void profile_add(struct gpu *g, const struct recording *r, uint32_t n_tokens)
{
    struct profile *p = &g->profiles[n_tokens > 1];
    p->n_dispatches = p->n_barriers = 0;
    for (uint32_t i = 0; i < r->n_parts; i++)
        add_part(p, r->parts[i]);
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
