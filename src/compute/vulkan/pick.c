/* The likeliest tokens of a row: found on the device, so that the host reads them in place of all
 * logits. */
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/num.h"
#include "compute/vulkan/pick.h"
#include "compute/vulkan/vk_shaders.h"

/* What shaders/pick.comp writes for a token. */
struct picked {
    float logit;
    uint32_t id;
};
static const uint32_t NO_ID = UINT32_MAX;
/* The list, and behind it one whose id is the guess. */
enum { ROW = EXEC_BEST + 1, SIDE_BYTES = EXEC_BEST_ROWS * ROW * sizeof(struct picked) };

/* A draw as shaders/pick.comp has it. */
struct picking {
    float scale; /* of logits; 0: the first one is drawn */
    uint32_t top_k;
    float top_p, log_min_p;
    uint64_t state;
};

void pick_add(struct gpu *g)
{
    struct gpu_pick *p = &g->pick;
    const uint32_t n_vocab = g->plan->n_vocab;
    p->is_there = n_vocab > 0 && n_vocab <= PICK_MOST_VOCAB;
    if (!p->is_there)
        return;
    p->n_threads = vk_caps(g->vk)->max_workgroup < MOST_THREADS ? THREADS : MOST_THREADS;
    const uint32_t n_tokens = PICK_GROUP * p->n_threads;
    p->n_keys = (n_vocab + n_tokens - 1) / n_tokens;
    p->pipeline = step_spec(g, &(struct vk_pipeline_spec){.shader = VK_SHADER_PICK,
                                                          .n_consts = 2,
                                                          .threads = p->n_threads,
                                                          .consts = {EXEC_BEST, p->n_keys}});
}

uint32_t pick_keys(const struct gpu *g)
{
    return g->pick.n_keys * g->pick.n_threads;
}

uint64_t pick_key_bytes(const struct gpu *g)
{
    return (uint64_t)EXEC_BEST_ROWS * pick_keys(g) * sizeof(uint32_t);
}

/* Of all groups, of which the last ones may stand past the vocabulary. */
static uint32_t pick_tokens(const struct gpu *g)
{
    return pick_keys(g) * PICK_GROUP;
}

uint64_t pick_past_bytes(const struct gpu *g)
{
    return g->pick.is_there ? (pick_tokens(g) - g->plan->n_vocab) * sizeof(float) : 0;
}

bool pick_make_buffers(struct gpu *g, struct err *e)
{
    struct gpu_pick *p = &g->pick;
    const unsigned char *allowed = g->params.allowed;
    if (!p->is_there)
        return true;
    const uint32_t n_words = pick_tokens(g) / 32;
    uint32_t *bits = mem_new(n_words, sizeof *bits);
    for (uint32_t i = 0; i < g->plan->n_vocab; i++)
        bits[i / 32] |= (uint32_t)(!allowed || allowed[i]) << i % 32;
    const bool ok =
        vk_buffer_make(g->vk, VK_PLACE_DEVICE, n_words * sizeof *bits, "the list of tokens",
                       &p->allowed, e) &&
        vk_buffer_make(g->vk, VK_PLACE_READBACK, 2 * SIDE_BYTES, "the best tokens", &p->best, e) &&
        vk_buffer_make(g->vk, VK_PLACE_DEVICE, EXEC_BEST_ROWS * sizeof(struct picking), "draws",
                       &p->draws, e) &&
        vk_write(g->vk, &p->allowed, 0, bits, n_words * sizeof *bits, e);
    free(bits);
    return ok;
}

void pick_free(struct gpu *g)
{
    vk_buffer_free(g->vk, &g->pick.allowed);
    vk_buffer_free(g->vk, &g->pick.best);
    vk_buffer_free(g->vk, &g->pick.draws);
}

bool pick_write_draws(struct gpu *g, const struct draw *draws, uint32_t n_wanted, struct err *e)
{
    struct picking all[EXEC_BEST_ROWS] = {0};
    for (uint32_t i = 0; draws && i < n_wanted; i++) {
        const struct draw *d = &draws[i];
        all[i] = (struct picking){.scale = d->temperature > 0 ? 1 / d->temperature : 0,
                                  .top_k = d->top_k,
                                  .top_p = d->top_p > 0 && d->top_p < 1 ? d->top_p : 2,
                                  .log_min_p = d->min_p > 0 ? logf(d->min_p) : -FLT_MAX,
                                  .state = d->state};
    }
    return vk_write(g->vk, &g->pick.draws, 0, all, n_wanted * sizeof *all, e);
}

void pick_record(struct recorder *r, bool has_keys)
{
    const struct gpu_pick *p = &r->g->pick;
    /* A run a row, if it is a step. */
    const bool has_runs =
        r->g->few_in_tiles && r->n_rows == r->n_wanted && r->n_rows <= r->g->params.n_seqs;
    const struct {
        address logits, allowed, keys, counters, best, wanted, ids, pos, draws, order, runs;
        uint32_t n_vocab, has_keys;
    } push = {
        .logits = r->g->scratch.address + gpu_logits_at(r->g, r->side),
        .allowed = p->allowed.address,
        .keys = r->g->scratch.address + p->keys_at,
        .counters = r->g->scratch.address + p->counters_at,
        .best = p->best.address + r->side * SIDE_BYTES,
        .wanted = recorder_input(r, INPUT_WANTED),
        .ids = recorder_input(r, INPUT_IDS),
        .pos = recorder_input(r, INPUT_POS),
        .draws = p->draws.address,
        .order = recorder_input(r, INPUT_ORDER),
        .runs = has_runs ? attention_runs(r) : 0,
        .n_vocab = r->g->plan->n_vocab,
        .has_keys = has_keys,
    };
    vk_cmds_barrier_dispatches(r->cmds);
    DISPATCH(r, r->g->pipelines[p->pipeline], push, has_keys ? 1 : p->n_keys, r->n_wanted, 1);
    if (r->g->params.profile)
        vk_cmds_stamp(r->cmds, "pick", 0);
}

void pick_take(const struct gpu *g, uint32_t side, uint32_t row, struct best *out)
{
    const struct picked *at = g->pick.best.host;
    at += ((size_t)side * EXEC_BEST_ROWS + row) * ROW;
    for (out->n = 0; out->n < EXEC_BEST && at[out->n].id != NO_ID; out->n++)
        out->at[out->n] = (struct candidate){at[out->n].logit, (int32_t)at[out->n].id};
    out->guess = out->n ? (int32_t)at[EXEC_BEST].id : -1;
}
