/* Runs of the vulkan backend. Commands are recorded for a number of rows, kept and submitted again;
 * a run is submitted in parts. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "compute/vulkan/pick.h"

/* Most of a submit: whatever else uses the GPU waits for it, and drivers reset one that takes
 * seconds (amdgpu: 2 s on a graphics ring). A cancelled run waits for two: while one part runs the
 * next is queued. */
static const double PART_NS = 100e6;
/* A row is taken to read its weights anew, this many bytes a ns, until rows were measured. */
static const double FIRST_BYTES_PER_NS = 100;

/* ---- recordings ------------------------------------------------------------------------------ */

static void free_parts(struct recording *r)
{
    for (uint32_t i = 0; i < r->n_parts; i++)
        vk_cmds_free(r->parts[i]);
    *r = (struct recording){0};
}

void run_free(struct gpu *g)
{
    for (int i = 0; i < N_RECORDINGS; i++)
        free_parts(&g->recordings[i]);
}

/* What a run of n rows takes: of few rows each number is measured for itself, since they share the
 * reading of weights. */
static double run_ns(const struct gpu *g, uint32_t n_rows)
{
    const bool few = n_rows < FEWEST_MEASURED;
    if (few && g->ns_of_few[n_rows] > 0)
        return g->ns_of_few[n_rows];
    const double a_row = few ? g->ns_of_few[1] : g->ns_per_row;
    return n_rows * (a_row > 0 ? a_row : gpu_row_bytes(g) / FIRST_BYTES_PER_NS);
}

/* Parts that keep a run of n rows within PART_NS each: a power of two, so that few numbers occur.
 * On software nobody waits for a few rows but who asked for them. */
uint32_t run_parts_needed(const struct gpu *g, uint32_t n_rows)
{
    const double ns = run_ns(g, n_rows);
    uint32_t n = 1;
    while (n < MOST_PARTS && n * 2 <= g->n_steps && n * PART_NS < ns)
        n *= 2;
    return n_rows <= FEW_TOKENS && vk_caps(g->vk)->is_software ? 1 : n;
}

static bool serves(const struct recording *r, const struct recording *wanted)
{
    return r->n_parts >= wanted->n_parts && r->n_parts <= 4 * wanted->n_parts &&
           r->n_rows == wanted->n_rows && r->n_wanted == wanted->n_wanted &&
           r->n_keys == wanted->n_keys && r->picks == wanted->picks && r->side == wanted->side;
}

/* In place of the recording unused for longest. */
const struct recording *run_recording(struct gpu *g, const struct recording *wanted, struct err *e)
{
    struct recording *oldest = &g->recordings[0];
    for (int i = 0; i < N_RECORDINGS; i++) {
        struct recording *r = &g->recordings[i];
        if (serves(r, wanted)) {
            r->last_used = ++g->n_runs;
            return r;
        }
        if (r->last_used < oldest->last_used)
            oldest = r;
    }
    free_parts(oldest);
    struct recording made = *wanted;
    made.n_parts = 0;
    for (uint32_t i = 0; i < wanted->n_parts; i++) {
        const struct step_range range = {g->n_steps * i / wanted->n_parts,
                                         g->n_steps * (i + 1) / wanted->n_parts};
        made.parts[i] = record(g, range, wanted, e);
        if (!made.parts[i]) {
            free_parts(&made);
            return NULL;
        }
        made.n_parts++;
    }
    made.last_used = ++g->n_runs;
    *oldest = made;
    return oldest;
}

/* ---- submits --------------------------------------------------------------------------------- */

static uint32_t timeout_ms(const struct gpu *g)
{
    return vk_caps(g->vk)->is_software ? SOFTWARE_TIMEOUT_MS : RUN_TIMEOUT_MS;
}

/* One part runs while the next is queued. */
static bool submit_parts(struct gpu *g, const struct recording *r, const atomic_bool *cancel,
                         struct err *e)
{
    for (uint32_t i = 0; i < r->n_parts; i++) {
        if (cancel && atomic_load(cancel))
            return err_set(e, ERR_CANCELLED, "cancelled");
        if (!vk_submit(g->vk, r->parts[i], e) ||
            (i && !vk_wait_cmds(g->vk, r->parts[i - 1], timeout_ms(g), e)))
            return false;
    }
    return true;
}

static bool run_parts(struct gpu *g, const struct recording *r, const atomic_bool *cancel,
                      struct err *e)
{
    const uint64_t start = clock_ns();
    const bool submitted = submit_parts(g, r, cancel, e);
    /* Also behind a failure: nothing of it is to run on. */
    struct err last = {0};
    const bool ended = vk_wait(g->vk, timeout_ms(g), submitted ? e : &last);
    const double ns = (double)(clock_ns() - start);
    if (submitted && ended && r->n_rows >= FEWEST_MEASURED)
        g->ns_per_row = ns / r->n_rows;
    else if (submitted && ended)
        g->ns_of_few[r->n_rows] = ns;
    return submitted && ended;
}

bool run_wait(struct gpu *g, struct err *e)
{
    return vk_wait(g->vk, timeout_ms(g), e);
}

bool run_wait_for(struct gpu *g, const struct recording *r, struct err *e)
{
    return vk_wait_cmds(g->vk, r->parts[r->n_parts - 1], timeout_ms(g), e);
}

bool gpu_submit(struct gpu *g, struct vk_cmds *cmds, struct err *e)
{
    return vk_submit(g->vk, cmds, e) && vk_wait(g->vk, timeout_ms(g), e);
}

static bool run_head(struct gpu *g, uint32_t from, uint32_t n, struct err *e)
{
    struct vk_cmds *cmds = record_head(g, from, n, e);
    const bool ok = cmds && gpu_submit(g, cmds, e);
    vk_cmds_free(cmds);
    return ok;
}

/* ---- a run ----------------------------------------------------------------------------------- */

static void take_logits(const struct gpu *g, uint32_t from, uint32_t n, float *logits)
{
    const size_t width = g->plan->n_vocab;
    memcpy(logits + from * width, g->logits.host, n * width * sizeof *logits);
}

bool run_write_inputs(struct gpu *g, const struct batch *b, uint32_t *n_wanted, uint32_t *n_keys,
                      struct err *e)
{
    const size_t room = g->params.n_ubatch, bytes = b->n * sizeof(uint32_t);
    uint32_t *wanted = mem_new(b->n, sizeof *wanted);
    *n_wanted = *n_keys = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        *n_keys = (uint32_t)num_max(*n_keys, b->pos[i] + 1);
        if (b->want_logits[i])
            wanted[(*n_wanted)++] = i;
    }
    const void *parts[] = {b->ids, b->pos, b->seq, wanted};
    bool ok = true;
    for (size_t i = 0; i < 4 && ok; i++)
        ok = !parts[i] ||
             vk_write(g->vk, &g->inputs, i * room * sizeof(uint32_t), parts[i], bytes, e);
    free(wanted);
    return ok && attention_write_inputs(g, b, e);
}

/* The rows, and the head of the first HEAD_ROWS wanted ones. */
static bool run_rows(struct gpu *g, const struct batch *b, bool picks, uint32_t *n_wanted,
                     struct err *e)
{
    uint32_t n_keys;
    if (!run_write_inputs(g, b, n_wanted, &n_keys, e) ||
        (picks && !pick_write_draws(g, b->draws, *n_wanted, e)))
        return false;
    const struct recording wanted = {.n_rows = b->n,
                                     .n_wanted = (uint32_t)num_min(*n_wanted, HEAD_ROWS),
                                     .n_keys = attention_keys(n_keys),
                                     .picks = picks,
                                     .n_parts = run_parts_needed(g, b->n)};
    const struct recording *r = run_recording(g, &wanted, e);
    if (!r || !run_parts(g, r, b->cancel, e))
        return false;
    if (g->params.profile)
        profile_add(g, r, b->n);
    return true;
}

bool gpu_run(void *state, const struct batch *b, float *logits, struct err *e)
{
    struct gpu *g = state;
    uint32_t n_wanted;
    if (!ahead_drop(g, e) || !run_rows(g, b, false, &n_wanted, e))
        return false;
    const uint32_t n_first = (uint32_t)num_min(n_wanted, HEAD_ROWS);
    if (n_first)
        take_logits(g, 0, n_first, logits);
    for (uint32_t from = n_first; from < n_wanted; from += HEAD_ROWS) {
        const uint32_t n = (uint32_t)num_min(n_wanted - from, HEAD_ROWS);
        if (!run_head(g, from, n, e))
            return false;
        take_logits(g, from, n, logits);
    }
    return true;
}

bool gpu_run_best(void *state, const struct batch *b, struct best *best, struct err *e)
{
    struct gpu *g = state;
    uint32_t n_wanted;
    bool done;
    if (!ahead_run(g, b, best, &done, e))
        return false;
    if (done)
        return true;
    if (!run_rows(g, b, true, &n_wanted, e))
        return false;
    g->logits_side = 0;
    for (uint32_t i = 0; i < n_wanted; i++)
        pick_take(g, 0, i, &best[i]);
    return true;
}

/* Behind a step that was begun ahead, which stays begun. */
bool gpu_row(void *state, uint32_t i, float *logits, struct err *e)
{
    struct gpu *g = state;
    const uint64_t n_bytes = g->plan->n_vocab * sizeof *logits;
    const uint64_t at = gpu_logits_at(g, g->logits_side) + i * n_bytes;
    return run_wait(g, e) && vk_read(g->vk, &g->scratch, at, logits, n_bytes, e);
}
