/* Attention: OP_ATTEND's steps, their commands, and the scratch they need. */
#include <string.h>

#include "base/num.h"
#include "compute/vulkan/steps.h"
#include "compute/vulkan/vk_shaders.h"

enum {
    ATTEND_SHARED = 1024,
    MOST_HEAD = 512,
    FEW_ROWS = 8, /* at most so many rows have their attention split */
    MOST_QUERIES = 30,
};

/* ---- steps ----------------------------------------------------------------------------------- */

static uint32_t cache_type(enum block_type type)
{
    return type == BLOCK_F32 ? 0 : type == BLOCK_F16 ? 1 : type == BLOCK_Q8_0 ? 2 : 3;
}

/* The largest tile of positions that fits into shared memory, see shaders/attend.comp; 0: none. */
static uint32_t key_tile(const struct gpu *g, const struct op_attend *o)
{
    const uint32_t queries = o->n_head / o->n_kv_head;
    const bool wide = g->params.type_k == BLOCK_F32 || g->params.type_v == BLOCK_F32;
    const uint64_t row = (uint64_t)(o->head_dim + o->head_dim_v) * (wide ? 4 : 2) + 16;
    for (uint32_t tile = 64; tile >= 16; tile /= 2) {
        const uint64_t bytes = tile * row + 4 * ((uint64_t)(queries + 1) * o->head_dim +
                                                 o->head_dim_v + (uint64_t)queries * (tile + 3));
        if (bytes + ATTEND_SHARED <= vk_caps(g->vk)->shared_bytes)
            return tile;
    }
    return 0;
}

static bool check_attend(const struct gpu *g, const struct op *op, struct err *e)
{
    const struct op_attend *o = &op->attend;
    const uint32_t queries = o->n_head / o->n_kv_head;
    if (o->head_dim % 8 || o->head_dim_v % 8 || o->head_dim > MOST_HEAD ||
        o->head_dim_v > MOST_HEAD || queries > MOST_QUERIES || !key_tile(g, o))
        return err_set(e, ERR_UNSUPPORTED,
                       "layer %u: %u query heads of %u and %u elements for one key head, the "
                       "vulkan backend takes up to %d of %d: use the cpu backend",
                       op->layer, queries, o->head_dim, o->head_dim_v, MOST_QUERIES, MOST_HEAD);
    if (block_row_bytes(g->params.type_k, o->head_dim) == 0 ||
        block_row_bytes(g->params.type_v, o->head_dim_v) == 0)
        return err_set(e, ERR_UNSUPPORTED,
                       "cache types %s and %s hold blocks of 32, heads have %u keys and %u values: "
                       "use f16",
                       block_info(g->params.type_k)->name, block_info(g->params.type_v)->name,
                       o->head_dim, o->head_dim_v);
    return true;
}

static uint32_t float_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

/* Single rows take one step where what is cached is what was computed, rounded at most to halves;
 * else the heads are made and stored by a step of their own. */
bool attention_add(struct gpu *g, const struct op *op, struct err *e)
{
    const struct op_attend *o = &op->attend;
    if (!check_attend(g, op, e))
        return false;
    const uint32_t key = cache_type(g->params.type_k), value = cache_type(g->params.type_v);
    const uint32_t n_rot = o->rope ? o->rope->n_rot : 0;
    const bool adjacent = o->rope && o->rope->pairs == ROPE_ADJACENT, fused = key < 2 && value < 2;
    struct step *s = step_add(g, STEP_HEADS, op);
    s->min_rows = fused ? 2 : 1;
    s->touched.reads = step_slot(o->q) | step_slot(o->k) | step_slot(o->v);
    s->touched.writes = 1ull << BIT_CACHE;
    s->pipeline[0] = s->pipeline[1] = step_spec(
        g, &(struct vk_pipeline_spec){.shader = VK_SHADER_HEADS,
                                      .n_consts = 9,
                                      .consts = {o->head_dim, o->head_dim_v, key, value, o->n_head,
                                                 o->n_kv_head, n_rot, adjacent, o->gated}});
    struct vk_pipeline_spec spec = {.shader = VK_SHADER_ATTEND,
                                    .n_consts = 15,
                                    .consts = {o->head_dim, o->head_dim_v, key, value, o->n_kv_head,
                                               o->n_head / o->n_kv_head, key_tile(g, o), o->window,
                                               o->gated, 0, n_rot, adjacent, float_bits(o->eps),
                                               float_bits(o->scale), g->params.n_ubatch}};
    s = step_add(g, STEP_ATTEND, op);
    s->touched.reads = 1ull << BIT_CACHE | step_slot(o->q) | step_slot(o->k) | step_slot(o->v);
    s->touched.writes = step_slot(o->out) | 1ull << BIT_CACHE;
    s->pipeline[1] = step_spec(g, &spec);
    spec.consts[9] = fused;
    s->pipeline[0] = step_spec(g, &spec);
    return true;
}

/* ---- commands -------------------------------------------------------------------------------- */

static address rotations(const struct gpu *g, const struct rope *rope)
{
    for (uint32_t i = 0; i < g->n_ropes; i++)
        if (g->ropes[i].rope == rope)
            return g->ropes[i].table.address;
    return 0;
}

void attention_heads(struct recorder *r, const struct step *s)
{
    const struct op_attend *o = &s->op->attend;
    const struct gpu_cache *cache = &r->g->caches[o->kv];
    const struct {
        address q, k, v, q_norm, k_norm, rotations, keys, values, ready, pos, seq;
        uint32_t n_cache;
        float eps, scale;
    } push = {
        .q = recorder_slot(r, o->q),
        .k = recorder_slot(r, o->k),
        .v = recorder_slot(r, o->v),
        .q_norm = gpu_vector(r->g, o->q_norm),
        .k_norm = gpu_vector(r->g, o->k_norm),
        .rotations = rotations(r->g, o->rope),
        .keys = cache->keys.address,
        .values = cache->values.address,
        .ready = r->g->scratch.address + r->g->ready_at,
        .pos = recorder_input(r, INPUT_POS),
        .seq = recorder_input(r, INPUT_SEQ),
        .n_cache = cache->n_rows,
        .eps = o->eps,
        .scale = o->scale,
    };
    DISPATCH(r, r->g->pipelines[s->pipeline[0]], push, o->n_head + 2 * o->n_kv_head, r->n_rows, 1);
}

void attention_attend(struct recorder *r, const struct step *s)
{
    const struct op_attend *o = &s->op->attend;
    const struct gpu_cache *cache = &r->g->caches[o->kv];
    const struct {
        address ready, q, k, v, q_norm, k_norm, rotations, keys, values, sinks, to, sums, counters,
            pos;
        uint32_t totals, n_cache, n_splits;
    } push = {
        .ready = r->g->scratch.address + r->g->ready_at,
        .q = recorder_slot(r, o->q),
        .k = recorder_slot(r, o->k),
        .v = recorder_slot(r, o->v),
        .q_norm = gpu_vector(r->g, o->q_norm),
        .k_norm = gpu_vector(r->g, o->k_norm),
        .rotations = rotations(r->g, o->rope),
        .keys = cache->keys.address,
        .values = cache->values.address,
        .sinks = gpu_vector(r->g, o->sinks),
        .to = recorder_slot(r, o->out),
        .sums = r->g->scratch.address + r->g->sums_at,
        .counters = r->g->scratch.address + r->g->counters_at,
        .pos = recorder_input(r, INPUT_POS),
        .totals = (uint32_t)((r->g->totals_at - r->g->sums_at) / sizeof(float)),
        .n_cache = cache->n_rows,
        .n_splits = o->window ? (uint32_t)num_min(r->n_splits, attention_splits(1, o->window))
                              : r->n_splits,
    };
    DISPATCH(r, r->g->pipelines[s->pipeline[r->n_rows > 1]], push, o->n_kv_head * push.n_splits,
             r->n_rows, 1);
}

/* ---- scratch --------------------------------------------------------------------------------- */

uint32_t attention_splits(uint32_t n_rows, uint32_t n_keys)
{
    enum { KEYS_PER_SPLIT = 128 };
    uint32_t n = 1;
    while (n_rows <= FEW_ROWS && n < MOST_SPLITS && n * KEYS_PER_SPLIT < n_keys)
        n *= 2;
    return n;
}

uint64_t attention_ready_floats(const struct gpu *g)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < g->n_steps; i++)
        if (g->steps[i].kind == STEP_HEADS)
            most = num_max(most, (uint64_t)g->steps[i].op->attend.n_head *
                                     g->steps[i].op->attend.head_dim);
    return most * g->params.n_ubatch;
}

/* Rows times splits, at most. */
static uint64_t most_splits(const struct gpu *g)
{
    return num_max(g->params.n_ubatch, FEW_ROWS * MOST_SPLITS);
}

uint64_t attention_sum_floats(const struct gpu *g)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < g->n_steps; i++)
        if (g->steps[i].kind == STEP_ATTEND)
            most = num_max(most, (uint64_t)g->steps[i].op->attend.n_head *
                                     g->steps[i].op->attend.head_dim_v);
    return most * most_splits(g);
}

uint64_t attention_total_floats(const struct gpu *g)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < g->n_steps; i++)
        if (g->steps[i].kind == STEP_ATTEND)
            most = num_max(most, 2 * (uint64_t)g->steps[i].op->attend.n_head);
    return most * most_splits(g);
}
