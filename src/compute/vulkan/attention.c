/* Attention: OP_ATTEND's steps, their commands, and the scratch they need. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "compute/vulkan/steps.h"
#include "compute/vulkan/vk_shaders.h"

/* Of shaders/cache.glsl, and one of attend.glsl. */
enum { PAGE_CONSTS = 21 };

enum {
    ATTEND_SHARED = 2048, /* bytes of shaders/attend*.comp beside what is counted */
    ATTEND_SUMS = 8192,   /* of subgroups in shaders/attend.comp */
    MOST_HEAD = 512,
    MOST_TILE_BYTES = THREADS * 128 * 4, /* of a tile of shaders/attend.comp */
    FEW_ROWS = 8,        /* at most so many rows go one by one, where tiles of rows are possible */
    MOST_KEYS = 1 << 13, /* more make no more splits */
    FEW_QUERIES = 1,     /* of a workgroup of shaders/attend.comp at most, with few keys */
    MORE_QUERIES = 4,    /* with many */
    MANY_KEYS = 1 << 10, /* from here on (attention_keys) with shaders/attend_matrix.comp */
    MANY_KEYS_SOFTWARE = 1 << 9, /* so that tests come there */
    MATRIX_KEYS = 16,            /* positions of a tile there */
    MOST_MATRIX = 128,           /* elements of a head: its sums are in registers there */
    KEYS_PER_SPLIT = 64,
    KEYS_OF_ONE = 128, /* so many are not split: merging takes longer than a second tile */
    SPLIT_WEIGHTS = (MOST_SPLITS + 7) / 8 * 8, /* of a query in shaders/attend.glsl */
    KEYS_PER_TILE_SPLIT = 256,                 /* of shaders/flash.glsl */
    MOST_TILE_SPLITS = 32,
    ENOUGH_GROUPS = 128,      /* tiles are split until there are so many workgroups */
    WIDE_HEAD = 128,          /* elements; see matrix_spec */
    SHARED_HEAD_SOFTWARE = 8, /* at most: so that tests come there, more does not fit */
    FLASH_SHARED = 1024,      /* bytes of shared memory beside tiles and rows */
    MOST_QUERIES = 30,
    HEADS = 8,         /* of a workgroup of shaders/heads.comp */
    LONGEST_TILE = 64, /* positions: pages are multiples of it */
};

/* ---- steps ----------------------------------------------------------------------------------- */

/* Query heads of a workgroup of shaders/attend.comp, at most `most`: with few keys each has too
 * much to do, while there is nothing to do for others; with many they share what is read. */
static uint32_t attend_queries(const struct op_attend *o, uint32_t most)
{
    while (o->n_head / o->n_kv_head % most)
        most--;
    return most;
}

/* Bytes of shared memory of a workgroup there. */
static uint64_t attend_bytes(const struct op_attend *o, uint64_t queries)
{
    const uint64_t floats = (queries + 1) * o->head_dim + o->head_dim_v + queries * SPLIT_WEIGHTS;
    return 4 * floats + ATTEND_SUMS + ATTEND_SHARED;
}

/* Positions of a tile there, which lies in registers: 128 of each thread at most. */
static uint32_t key_tile(const struct gpu *g, const struct op_attend *o)
{
    const bool wide = g->params.type_k == BLOCK_F32 || g->params.type_v == BLOCK_F32;
    const uint32_t bytes = (o->head_dim + o->head_dim_v) * (wide ? 4 : 2);
    return bytes * LONGEST_TILE > MOST_TILE_BYTES ? LONGEST_TILE / 2 : LONGEST_TILE;
}

/* Lanes of a subgroup for attention: 32 where the device can, as rows of matrices and heads of 128
 * elements want it. */
static uint32_t lanes(const struct gpu *g)
{
    enum { WANTED = 32 };
    const struct vk_caps *c = vk_caps(g->vk);
    return c->subgroup_min <= WANTED && WANTED <= c->subgroup_max ? WANTED : c->subgroup_max;
}

static bool check_attend(const struct gpu *g, const struct op *op, struct err *e)
{
    const struct op_attend *o = &op->attend;
    const uint32_t queries = o->n_head / o->n_kv_head;
    if (o->head_dim % 8 || o->head_dim_v % 8 || o->head_dim > MOST_HEAD ||
        o->head_dim_v > MOST_HEAD || queries > MOST_QUERIES)
        return err_set(e, ERR_UNSUPPORTED,
                       "layer %u: %u query heads of %u and %u elements for one key head, the "
                       "vulkan backend takes up to %d of %d: use the cpu backend",
                       op->layer, queries, o->head_dim, o->head_dim_v, MOST_QUERIES, MOST_HEAD);
    const uint64_t bytes = attend_bytes(o, attend_queries(o, MORE_QUERIES));
    if (bytes > vk_caps(g->vk)->shared_bytes)
        return err_set(e, ERR_UNSUPPORTED,
                       "layer %u: query heads of %u and %u elements need %llu bytes of shared "
                       "memory, the device has %u: use the cpu backend",
                       op->layer, o->head_dim, o->head_dim_v, (unsigned long long)bytes,
                       vk_caps(g->vk)->shared_bytes);
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

/* Keys that a row sees of n_keys. */
static uint32_t keys_of(const struct op_attend *o, uint32_t n_keys)
{
    return o->window ? (uint32_t)num_min(o->window, n_keys) : n_keys;
}

/* ---- tiles of rows ---------------------------------------------------------------------------
 */

/* Constants 0 to 9 of shaders/flash.glsl, and those of pages. */
static struct vk_pipeline_spec flash_spec(const struct gpu *g, const struct op_attend *o)
{
    struct vk_pipeline_spec spec = {
        .shader = VK_SHADER_FLASH,
        .consts = {o->head_dim, o->head_dim_v, gpu_cache_type(g->params.type_k),
                   gpu_cache_type(g->params.type_v), o->n_kv_head, o->n_head / o->n_kv_head, 0, 0,
                   o->window, o->gated},
    };
    attention_pages(g, o->kv, &spec);
    return spec;
}

/* Cooperative matrices: a subgroup has as many rows as a matrix. False where the shapes do not go
 * together. */
static bool matrix_spec(const struct gpu *g, const struct op_attend *o,
                        struct vk_pipeline_spec *out)
{
    const struct vk_caps *c = vk_caps(g->vk);
    const uint32_t m = c->matrix_m, n = c->matrix_n, k = c->matrix_k;
    if (!m || g->params.type_k == BLOCK_F32 || g->params.type_v == BLOCK_F32)
        return false;
    /* Wide heads are too much for the 256 registers of one of 32 lanes on AMD (9.8 KB spilled):
     * there 64 lanes take a row, and the queries leave the registers. */
    const bool has_more = lanes(g) < c->subgroup_max;
    const bool shares = c->is_software ? o->head_dim <= SHARED_HEAD_SOFTWARE
                                       : o->head_dim_v > WIDE_HEAD && has_more;
    const uint32_t subgroup = lanes(g) << (shares && has_more);
    if (subgroup % m || THREADS % subgroup || n % (4 * (subgroup / m)) || o->head_dim % k ||
        o->head_dim_v % n)
        return false;
    const uint64_t rows = THREADS / subgroup * m;
    const uint64_t queries = shares ? rows * (2ull * o->head_dim + 16) : 0;
    for (uint32_t keys = 32; keys >= 8; keys /= 2) {
        const uint64_t tiles = keys * (2ull * (o->head_dim + o->head_dim_v) + 32);
        const uint64_t bytes = queries + tiles + rows * (4ull * (keys + 4) + 2ull * (keys + 8));
        if (keys % n || keys % k || o->head_dim % keys || keys % (4 * (subgroup / m)) ||
            bytes + FLASH_SHARED > c->shared_bytes)
            continue;
        *out = flash_spec(g, o);
        out->shader = shares ? VK_SHADER_FLASH_MATRIX_WIDE : VK_SHADER_FLASH_MATRIX;
        out->subgroup = subgroup;
        memcpy(out->consts + 6, (uint32_t[]){(uint32_t)rows, keys}, 2 * sizeof *out->consts);
        memcpy(out->consts + 10, (uint32_t[]){m, n, k, subgroup}, 4 * sizeof *out->consts);
        return true;
    }
    return false;
}

static bool plain_spec(const struct gpu *g, const struct op_attend *o, struct vk_pipeline_spec *out)
{
    const bool wide = g->params.type_k == BLOCK_F32 || g->params.type_v == BLOCK_F32;
    const uint64_t key = (uint64_t)(o->head_dim + o->head_dim_v) * (wide ? 4 : 2) + 16;
    for (uint32_t rows = 32; rows >= 8; rows /= 2)
        for (uint32_t keys = 32; keys >= 16; keys /= 2) {
            const uint64_t bytes = keys * key + rows * 4ull * (o->head_dim + keys + 3);
            if (bytes + FLASH_SHARED > vk_caps(g->vk)->shared_bytes)
                continue;
            *out = flash_spec(g, o);
            memcpy(out->consts + 6, (uint32_t[]){rows, keys}, 2 * sizeof *out->consts);
            return true;
        }
    return false;
}

/* Beside the steps of single rows, which take all batches where there are no tiles: false. */
static bool add_flash(struct gpu *g, const struct op *op, const struct step *attend)
{
    const struct op_attend *o = &op->attend;
    const uint32_t queries = o->n_head / o->n_kv_head;
    struct vk_pipeline_spec spec;
    if (!matrix_spec(g, o, &spec) && !plain_spec(g, o, &spec))
        return false;
    if (spec.consts[6] < queries)
        return false;
    struct step *s = step_add(g, STEP_FLASH, op);
    s->touched = attend->touched;
    s->min_rows = FEW_ROWS + 1;
    s->n_tile_rows = spec.consts[6];
    s->n_tokens[1] = spec.consts[6] / queries;
    s->pipeline[0] = s->pipeline[1] = step_spec(g, &spec);
    return true;
}

/* ---- single rows ------------------------------------------------------------------------------
 */

/* Elements of 16 bytes of a row. */
static uint32_t piece_elements(enum block_type type)
{
    return type == BLOCK_Q4_0 ? 32 : type == BLOCK_Q8_0 ? 16 : 8;
}

/* Constants of shaders/attend_matrix.comp. False where the shapes do not go together. */
static bool walker_spec(const struct gpu *g, const struct op_attend *o,
                        struct vk_pipeline_spec *out)
{
    const struct vk_caps *c = vk_caps(g->vk);
    const uint32_t keys = MATRIX_KEYS, queries = o->n_head / o->n_kv_head, subgroup = lanes(g);
    const uint32_t m = c->matrix_m, k = c->matrix_k;
    const uint32_t n = queries <= c->matrix_narrow ? c->matrix_narrow : c->matrix_n;
    if (!m || g->params.type_k == BLOCK_F32 || g->params.type_v == BLOCK_F32 || queries > n ||
        n > keys || keys % m || keys % k || subgroup % n || m % (subgroup / n) ||
        keys % (4 * (subgroup / n)))
        return false;
    const uint32_t pieces_k = keys * o->head_dim / piece_elements(g->params.type_k);
    const uint32_t pieces_v = keys * o->head_dim_v / piece_elements(g->params.type_v);
    if (o->head_dim % k || o->head_dim_v % m || pieces_k % subgroup || pieces_v % subgroup ||
        o->head_dim_v > o->head_dim || o->head_dim > MOST_MATRIX)
        return false;
    const uint64_t fixed =
        ATTEND_SHARED + 4 * ((queries + 1) * o->head_dim + o->head_dim_v + SPLIT_WEIGHTS * queries);
    const uint64_t row = 2 * o->head_dim + 16, place = keys * row + 8 * n;
    /* Scores, weights with factors, and half of the sums' elements take turns there. */
    const uint64_t weights = n * (2 * keys + 16 + 4 * m + 16);
    if (n * (4 * keys + 16) > keys * row || weights > keys * row || o->head_dim / 2 % m || m % 8 ||
        k % 8)
        return false;
    if (c->shared_bytes < fixed + place)
        return false;
    const uint64_t walkers = num_min((c->shared_bytes - fixed) / place, THREADS / subgroup);
    const uint32_t own[] = {(uint32_t)walkers, m, n, k, keys};
    out->shader = VK_SHADER_ATTEND_MATRIX;
    out->subgroup = out->consts[6] = subgroup;
    out->consts[4] = o->n_kv_head;
    out->consts[5] = queries;
    out->consts[15] = 1;
    memcpy(out->consts + 16, own, sizeof own);
    return true;
}

/* Constants of shaders/attend.comp, with so many query heads a workgroup at most. */
static struct vk_pipeline_spec attend_spec(const struct gpu *g, const struct op_attend *o,
                                           uint32_t most_queries)
{
    const uint32_t queries = attend_queries(o, most_queries);
    const uint32_t share = o->n_head / o->n_kv_head / queries;
    struct vk_pipeline_spec spec = {
        .shader = VK_SHADER_ATTEND,
        .subgroup = lanes(g),
        .consts = {o->head_dim, o->head_dim_v, gpu_cache_type(g->params.type_k),
                   gpu_cache_type(g->params.type_v), o->n_kv_head * share, queries, key_tile(g, o),
                   o->window, o->gated, 0, o->rope ? o->rope->n_rot : 0,
                   o->rope && o->rope->pairs == ROPE_ADJACENT, float_bits(o->eps),
                   float_bits(o->scale), g->params.n_ubatch, share}};
    attention_pages(g, o->kv, &spec);
    return spec;
}

static struct step *add_attend(struct gpu *g, const struct op *op, struct vk_pipeline_spec spec)
{
    const struct op_attend *o = &op->attend;
    struct step *s = step_add(g, STEP_ATTEND, op);
    s->touched.reads = 1ull << BIT_CACHE | step_slot(o->q) | step_slot(o->k) | step_slot(o->v);
    s->touched.writes = step_slot(o->out) | 1ull << BIT_CACHE;
    s->n_groups = spec.consts[4];
    s->pipeline[1] = step_spec(g, &spec);
    spec.consts[9] = 1;
    s->pipeline[0] = step_spec(g, &spec);
    return s;
}

/* In place of `few` where a row sees many keys: cooperative matrices where the device has them. */
static void add_many_keys(struct gpu *g, const struct op *op, struct step *few)
{
    const struct op_attend *o = &op->attend;
    const uint32_t from = vk_caps(g->vk)->is_software ? MANY_KEYS_SOFTWARE : MANY_KEYS;
    struct vk_pipeline_spec spec = attend_spec(g, o, MORE_QUERIES);
    if (attention_keys(keys_of(o, g->params.n_ctx)) < from ||
        (!walker_spec(g, o, &spec) && spec.consts[4] == few->n_groups))
        return;
    struct step *s = add_attend(g, op, spec);
    s->max_rows = few->max_rows;
    s->min_keys = few->max_keys = from;
}

/* A single row takes one step; of several the heads are made and stored by a step of their own. */
bool attention_add(struct gpu *g, const struct op *op, struct err *e)
{
    const struct op_attend *o = &op->attend;
    if (!check_attend(g, op, e))
        return false;
    const uint32_t key = gpu_cache_type(g->params.type_k), value = gpu_cache_type(g->params.type_v);
    const uint32_t n_rot = o->rope ? o->rope->n_rot : 0;
    const bool adjacent = o->rope && o->rope->pairs == ROPE_ADJACENT;
    struct step *s = step_add(g, STEP_HEADS, op);
    s->min_rows = 2;
    s->touched.reads = step_slot(o->q) | step_slot(o->k) | step_slot(o->v);
    s->touched.writes = 1ull << BIT_CACHE;
    struct vk_pipeline_spec heads = {.shader = VK_SHADER_HEADS,
                                     .consts = {o->head_dim, o->head_dim_v, key, value, o->n_head,
                                                o->n_kv_head, n_rot, adjacent, o->gated}};
    attention_pages(g, o->kv, &heads);
    s->pipeline[0] = s->pipeline[1] = step_spec(g, &heads);
    s = add_attend(g, op, attend_spec(g, o, FEW_QUERIES));
    s->max_rows = add_flash(g, op, s) ? FEW_ROWS : 0;
    add_many_keys(g, op, s);
    return true;
}

/* ---- splits and tiles -------------------------------------------------------------------------
 */

/* Sequences in a batch; the last is followed by one without rows. */
struct run {
    uint32_t first, n, pos, seq; /* of the batch's rows in order; the position of the first */
};

static uint64_t runs_offset(const struct exec_params *params)
{
    const uint64_t n_bytes = (uint64_t)N_INPUTS * params->n_ubatch * sizeof(uint32_t);
    return (n_bytes + sizeof(struct run) - 1) / sizeof(struct run) * sizeof(struct run);
}

/* The table of pages comes last. */
static uint64_t table_offset(const struct exec_params *params)
{
    return runs_offset(params) + ((uint64_t)params->n_seqs + 1) * sizeof(struct run);
}

static uint64_t table_bytes(const struct exec_params *params)
{
    return (uint64_t)params->n_seqs * pages_of(params->n_ctx, params->page) * sizeof(uint32_t);
}

void attention_pages(const struct gpu *g, uint32_t kv, struct vk_pipeline_spec *spec)
{
    const struct exec_params *params = &g->params;
    const uint64_t pos = (uint64_t)INPUT_POS * params->n_ubatch * sizeof(uint32_t);
    const uint32_t n_pages = pages_of(params->n_ctx, params->page);
    assert(params->page % LONGEST_TILE == 0 || n_pages == 1);
    spec->n_consts = PAGE_CONSTS + 3;
    if (exec_kv_is_ring(&g->plan->kv[kv], params))
        return;
    spec->consts[PAGE_CONSTS] = params->page;
    spec->consts[PAGE_CONSTS + 1] = n_pages;
    spec->consts[PAGE_CONSTS + 2] = (uint32_t)((table_offset(params) - pos) / sizeof(uint32_t));
}

/* Of many keys: so many that all cores have as many of the workgroups. Keys behind a power of two,
 * as contexts often have, would be a tile more for some of 32. */
static uint32_t most_splits(const struct gpu *g, uint32_t n_groups)
{
    const uint32_t round = vk_caps(g->vk)->n_cores / n_groups;
    return round && round < MOST_SPLITS ? MOST_SPLITS / round * round : MOST_SPLITS;
}

/* n_groups: of each of the rows. */
static uint32_t row_splits(const struct gpu *g, uint32_t n_groups, uint32_t n_rows, uint32_t n_keys)
{
    if (n_rows > FEW_ROWS || n_keys <= KEYS_OF_ONE)
        return 1;
    const uint32_t n = (n_keys + KEYS_PER_SPLIT - 1) / KEYS_PER_SPLIT;
    return (uint32_t)num_min(n, most_splits(g, n_groups * n_rows));
}

static uint32_t tile_splits(uint32_t n_groups, uint32_t n_keys, uint32_t keys_per_split)
{
    uint32_t n = 1;
    while (n * n_groups < ENOUGH_GROUPS && n < MOST_TILE_SPLITS && n * keys_per_split < n_keys)
        n *= 2;
    return n;
}

/* Tiles that n rows make, however many sequences they belong to. */
static uint32_t most_tiles(const struct gpu *g, const struct step *s, uint32_t n_rows)
{
    const uint32_t n = (n_rows + s->n_tokens[1] - 1) / s->n_tokens[1];
    return (uint32_t)num_min(n_rows, (uint64_t)n + g->params.n_seqs - 1);
}

static bool is_attention(const struct step *s)
{
    return s->kind == STEP_ATTEND || s->kind == STEP_FLASH || s->kind == STEP_LATENT_ATTEND;
}

/* ---- commands -------------------------------------------------------------------------------- */

VkDeviceAddress gpu_rotations(const struct gpu *g, const struct rope *rope)
{
    for (uint32_t i = 0; i < g->n_ropes; i++)
        if (g->ropes[i].rope == rope)
            return g->ropes[i].table.address;
    return 0;
}

address attention_runs(const struct recorder *r)
{
    return r->g->inputs.address + runs_offset(&r->g->params);
}

address attention_table(const struct recorder *r)
{
    return r->g->inputs.address + table_offset(&r->g->params);
}

void attention_heads(struct recorder *r, const struct step *s)
{
    const struct op_attend *o = &s->op->attend;
    const struct gpu_cache *cache = &r->g->caches[o->kv];
    const struct {
        address q, k, v, q_norm, k_norm, rotations, keys, values, ready, pos, seq, table;
        uint32_t n_cache;
        float eps, scale;
    } push = {
        .q = recorder_slot(r, o->q),
        .k = recorder_slot(r, o->k),
        .v = recorder_slot(r, o->v),
        .q_norm = gpu_vector(r->g, o->q_norm),
        .k_norm = gpu_vector(r->g, o->k_norm),
        .rotations = gpu_rotations(r->g, o->rope),
        .keys = cache->keys.address,
        .values = cache->values.address,
        .ready = r->g->scratch.address + r->g->ready_at,
        .pos = recorder_input(r, INPUT_POS),
        .seq = recorder_input(r, INPUT_SEQ),
        .table = attention_table(r),
        .n_cache = cache->n_rows,
        .eps = o->eps,
        .scale = o->scale,
    };
    const uint32_t n_heads = o->n_head + 2 * o->n_kv_head;
    DISPATCH(r, r->g->pipelines[s->pipeline[0]], push, (n_heads + HEADS - 1) / HEADS, r->n_rows, 1);
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
        .rotations = gpu_rotations(r->g, o->rope),
        .keys = cache->keys.address,
        .values = cache->values.address,
        .sinks = gpu_vector(r->g, o->sinks),
        .to = recorder_slot(r, o->out),
        .sums = r->g->scratch.address + r->g->sums_at,
        .counters = r->g->scratch.address + r->g->counters_at,
        .pos = recorder_input(r, INPUT_POS),
        .totals = (uint32_t)(r->g->totals_at - r->g->sums_at),
        .n_cache = cache->n_rows,
        .n_splits = row_splits(r->g, s->n_groups, r->n_rows, keys_of(o, r->n_keys)),
    };
    DISPATCH(r, r->g->pipelines[s->pipeline[r->n_rows > 1]], push, s->n_groups, r->n_rows,
             push.n_splits);
}

void attention_tiles(struct recorder *r, const struct step *s, const struct tiles_of_rows *t)
{
    const uint32_t n_tiles = most_tiles(r->g, s, r->n_rows);
    const struct {
        address ready, q, keys, values, sinks, to, sums, counters, order, runs, table;
        uint32_t totals, n_cache, n_splits;
    } push = {
        .ready = r->g->scratch.address + r->g->ready_at,
        .q = t->q,
        .keys = t->keys,
        .values = t->values,
        .sinks = t->sinks,
        .to = t->to,
        .sums = r->g->scratch.address + r->g->sums_at,
        .counters = r->g->scratch.address + r->g->counters_at,
        .order = recorder_input(r, INPUT_ORDER),
        .runs = attention_runs(r),
        .table = attention_table(r),
        .totals = (uint32_t)((r->g->totals_at - r->g->sums_at) / sizeof(float)),
        .n_cache = t->n_cache,
        .n_splits = tile_splits(n_tiles * t->n_groups, t->n_keys, t->keys_per_split),
    };
    DISPATCH(r, r->g->pipelines[s->pipeline[1]], push, t->n_groups * push.n_splits, n_tiles, 1);
}

void attention_flash(struct recorder *r, const struct step *s)
{
    const struct op_attend *o = &s->op->attend;
    const struct gpu_cache *cache = &r->g->caches[o->kv];
    const struct tiles_of_rows tiles = {
        .q = recorder_slot(r, o->q),
        .keys = cache->keys.address,
        .values = cache->values.address,
        .sinks = gpu_vector(r->g, o->sinks),
        .to = recorder_slot(r, o->out),
        .n_cache = cache->n_rows,
        .n_groups = o->n_kv_head,
        .n_keys = keys_of(o, r->n_keys),
        .keys_per_split = KEYS_PER_TILE_SPLIT,
    };
    attention_tiles(r, s, &tiles);
}

/* ---- inputs -----------------------------------------------------------------------------------
 */

uint32_t attention_keys(uint32_t n_keys)
{
    uint32_t n = KEYS_PER_SPLIT;
    while (n < n_keys && n < MOST_KEYS)
        n *= 2;
    return n;
}

uint64_t attention_input_bytes(const struct exec_params *params)
{
    return table_offset(params) + table_bytes(params);
}

bool attention_write_table(struct gpu *g, struct err *e)
{
    const struct pages *p = g->params.pages;
    const uint64_t n_bytes = table_bytes(&g->params);
    if (g->n_page_changes == p->n_changes)
        return true;
    if (!vk_write(g->vk, &g->inputs, table_offset(&g->params), p->table, n_bytes, e))
        return false;
    g->n_page_changes = p->n_changes;
    return true;
}

bool attention_write_inputs(struct gpu *g, const struct batch *b, struct err *e)
{
    if (!attention_write_table(g, e))
        return false;
    if (b->n <= FEW_ROWS && !g->few_in_tiles)
        return true;
    struct run *runs = mem_new((size_t)g->params.n_seqs + 1, sizeof *runs);
    uint32_t *order = mem_new(b->n, sizeof *order), n_runs = 0, n = 0;
    for (uint32_t seq = 0; seq < g->params.n_seqs && n < b->n; seq++) {
        struct run run = {.first = n, .seq = seq};
        for (uint32_t i = 0; i < b->n; i++)
            if (b->seq[i] == seq) {
                run.pos = run.n ? run.pos : b->pos[i];
                order[n++] = i;
                run.n++;
            }
        if (run.n)
            runs[n_runs++] = run;
    }
    const uint64_t order_at = (uint64_t)INPUT_ORDER * g->params.n_ubatch * sizeof *order;
    const bool ok =
        vk_write(g->vk, &g->inputs, order_at, order, b->n * sizeof *order, e) &&
        vk_write(g->vk, &g->inputs, runs_offset(&g->params), runs, (n_runs + 1) * sizeof *runs, e);
    free(runs);
    free(order);
    return ok;
}

/* ---- scratch --------------------------------------------------------------------------------- */

uint64_t attention_ready_floats(const struct gpu *g)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < g->n_steps; i++)
        if (g->steps[i].kind == STEP_HEADS)
            most = num_max(most, (uint64_t)g->steps[i].op->attend.n_head *
                                     g->steps[i].op->attend.head_dim);
    return most * g->params.n_ubatch;
}

/* Rows of partial sums times their splits, at most. */
static uint64_t most_partials(const struct step *s)
{
    return s->kind == STEP_ATTEND ? (uint64_t)FEW_ROWS * MOST_SPLITS * s->op->attend.n_head
                                  : 2ull * ENOUGH_GROUPS * s->n_tile_rows;
}

static uint32_t sum_width(const struct step *s)
{
    return s->kind == STEP_LATENT_ATTEND ? s->op->attend_mla.n_latent : s->op->attend.head_dim_v;
}

uint64_t attention_sum_floats(const struct gpu *g)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < g->n_steps; i++)
        if (is_attention(&g->steps[i]))
            most = num_max(most, most_partials(&g->steps[i]) * sum_width(&g->steps[i]));
    return most;
}

uint64_t attention_total_floats(const struct gpu *g)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < g->n_steps; i++)
        if (is_attention(&g->steps[i]))
            most = num_max(most, 2 * most_partials(&g->steps[i]));
    return most;
}
