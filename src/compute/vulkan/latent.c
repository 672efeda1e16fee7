/* Latent attention: OP_ATTEND_MLA's steps, their commands, and the scratch they need. All heads
 * share one cached row a token. Its own two dispatches make that row and the queries (one phase),
 * then tiles of rows attend as in attention.c, for single rows too, then each head's sum goes
 * through the head's matrix. */
#include "base/num.h"
#include "compute/vulkan/steps.h"
#include "compute/vulkan/vk_shaders.h"

enum {
    MOST_LATENT = 1024,
    MOST_TILE_ROWS = 32,
    FLASH_SHARED = 1024, /* bytes of shared memory beside tiles and rows */
    KEYS_PER_SPLIT = 64,
    MOST_KEYS = 16, /* positions of a tile */
};

static uint32_t width(const struct op_attend_mla *o)
{
    return o->n_latent + o->rope->n_rot;
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* Heads that share a workgroup, and its rows: those heads of one token or more. */
struct tile {
    uint32_t heads, rows, keys;
};

/* As many rows as have room for their queries in shared memory beside a tile of keys, see
 * shaders/flash.comp; 0: none. As many heads as leave less than a quarter of that room unused: each
 * group of them reads all keys. */
static struct tile tile_of(const struct gpu *g, const struct op_attend_mla *o)
{
    const uint64_t room = vk_caps(g->vk)->shared_bytes - FLASH_SHARED;
    const uint64_t key = (uint64_t)width(o) * (g->params.type_k == BLOCK_F32 ? 4 : 2) + 16;
    struct tile best = {0};
    for (uint32_t keys = MOST_KEYS; keys >= 8; keys /= 2) {
        const uint64_t left = room > keys * key ? room - keys * key : 0;
        const uint64_t row = 4ull * (width(o) + keys + 3);
        const uint32_t most = (uint32_t)num_min(left / row, MOST_TILE_ROWS);
        uint32_t heads = (uint32_t)num_min(most, o->n_head);
        while (heads > 1 && (o->n_head % heads || 4 * (most / heads * heads) < 3 * most))
            heads--;
        if (heads && most / heads * heads > best.rows)
            best = (struct tile){heads, most / heads * heads, keys};
    }
    return best;
}

static bool check(const struct gpu *g, const struct op *op, struct err *e)
{
    const struct op_attend_mla *o = &op->attend_mla;
    if (width(o) % 8 || o->n_latent % 8 || o->n_nope % 4 || o->n_latent > MOST_LATENT ||
        !tile_of(g, o).rows)
        return err_set(
            e, ERR_UNSUPPORTED,
            "layer %u: latents of %u and %u elements, the vulkan backend takes multiples "
            "of 8 up to %d: use the cpu backend",
            op->layer, o->n_latent, o->rope->n_rot, MOST_LATENT);
    if (block_row_bytes(g->params.type_k, width(o)) == 0)
        return err_set(e, ERR_UNSUPPORTED,
                       "cache type %s holds blocks of 32, latents have %u elements: use f16",
                       block_info(g->params.type_k)->name, width(o));
    return true;
}

static void add_rows(struct gpu *g, const struct op *op)
{
    const struct op_attend_mla *o = &op->attend_mla;
    struct step *s = step_add(g, STEP_LATENT, op);
    s->touched.reads = step_slot(o->q) | step_slot(o->kv_in);
    s->touched.writes = 1ull << BIT_CACHE;
    struct vk_pipeline_spec spec = {
        .shader = VK_SHADER_LATENT,
        .consts = {o->n_latent, o->rope->n_rot, gpu_cache_type(g->params.type_k), o->n_head,
                   o->n_nope, o->rope->pairs == ROPE_ADJACENT},
    };
    attention_pages(g, o->kv, &spec);
    s->pipeline[0] = s->pipeline[1] = step_spec(g, &spec);
}

static void add_attend(struct gpu *g, const struct op *op)
{
    const struct op_attend_mla *o = &op->attend_mla;
    const uint32_t type = gpu_cache_type(g->params.type_k);
    const struct tile tile = tile_of(g, o);
    struct step *s = step_add(g, STEP_LATENT_ATTEND, op);
    s->touched.reads = 1ull << BIT_CACHE | step_slot(o->out);
    s->touched.writes = step_slot(o->out);
    s->n_groups = o->n_head / tile.heads;
    s->n_tile_rows = tile.rows;
    s->n_tokens[0] = s->n_tokens[1] = tile.rows / tile.heads;
    struct vk_pipeline_spec spec = {
        .shader = VK_SHADER_FLASH,
        .consts = {width(o), o->n_latent, type, type, s->n_groups, tile.heads, tile.rows,
                   tile.keys, [14] = true},
    };
    attention_pages(g, o->kv, &spec);
    s->pipeline[0] = s->pipeline[1] = step_spec(g, &spec);
}

/* The queries that are ready and the sums before the last product lie in scratch of this op alone,
 * which goes under the name of its output. */
bool latent_add(struct gpu *g, const struct op *op, struct err *e)
{
    const struct op_attend_mla *o = &op->attend_mla;
    if (!check(g, op, e))
        return false;
    g->few_in_tiles = true;
    add_rows(g, op);
    struct step *s = step_add(g, STEP_LATENT_KEYS, op);
    s->touched.reads = step_slot(o->q);
    s->touched.writes = step_slot(o->out);
    if (!step_over_heads(g, o->key_up, s, e))
        return false;
    add_attend(g, op);
    s = step_add(g, STEP_LATENT_VALUES, op);
    s->touched.reads = s->touched.writes = step_slot(o->out);
    return step_over_heads(g, o->value_down, s, e);
}

/* ---- commands -------------------------------------------------------------------------------- */

void latent_rows(struct recorder *r, const struct step *s)
{
    const struct op_attend_mla *o = &s->op->attend_mla;
    const struct gpu_cache *cache = &r->g->caches[o->kv];
    const struct {
        address q, kv, norm, rotations, keys, ready, pos, seq, table;
        uint32_t n_cache;
        float eps, scale;
    } push = {
        .q = recorder_slot(r, o->q),
        .kv = recorder_slot(r, o->kv_in),
        .norm = gpu_vector(r->g, o->latent_norm),
        .eps = o->eps,
        .rotations = gpu_rotations(r->g, o->rope),
        .keys = cache->keys.address,
        .n_cache = cache->n_rows,
        .ready = r->g->scratch.address + r->g->ready_at,
        .pos = recorder_input(r, INPUT_POS),
        .seq = recorder_input(r, INPUT_SEQ),
        .table = attention_table(r),
        .scale = o->scale,
    };
    DISPATCH(r, r->g->pipelines[s->pipeline[0]], push, 2, r->n_rows, 1);
}

struct push_head_product {
    address from, matrix, to;
    uint32_t in_row, in_head, out_row, out_head, n_out, n_tokens;
    float factor;
};

static void product(struct recorder *r, const struct step *s, const struct weight *w,
                    struct push_head_product push)
{
    const int which = r->n_rows > 1;
    const struct matrix *m = &r->g->weights.matrices[w->index];
    push.matrix = gpu_matrix(r->g, w);
    push.n_out = m->n_rows;
    push.n_tokens = r->n_rows;
    push.in_row = push.in_head * m->n_experts;
    push.out_row = push.out_head * m->n_experts;
    DISPATCH(r, r->g->pipelines[s->pipeline[which]], push, m->n_groups,
             (r->n_rows + s->n_tokens[which] - 1) / s->n_tokens[which], m->n_experts);
}

void latent_keys(struct recorder *r, const struct step *s)
{
    const struct op_attend_mla *o = &s->op->attend_mla;
    product(r, s, o->key_up,
            (struct push_head_product){.from = recorder_slot(r, o->q),
                                       .to = r->g->scratch.address + r->g->ready_at,
                                       .in_head = o->n_nope + o->rope->n_rot,
                                       .out_head = width(o),
                                       .factor = o->scale});
}

void latent_values(struct recorder *r, const struct step *s)
{
    const struct op_attend_mla *o = &s->op->attend_mla;
    product(r, s, o->value_down,
            (struct push_head_product){.from = r->g->scratch.address + r->g->mixed_at,
                                       .to = recorder_slot(r, o->out),
                                       .in_head = o->n_latent,
                                       .out_head = o->head_dim_v,
                                       .factor = 1});
}

void latent_attend(struct recorder *r, const struct step *s)
{
    const struct op_attend_mla *o = &s->op->attend_mla;
    const struct gpu_cache *cache = &r->g->caches[o->kv];
    const struct tiles_of_rows tiles = {
        .keys = cache->keys.address,
        .to = r->g->scratch.address + r->g->mixed_at,
        .n_cache = cache->n_rows,
        .n_groups = s->n_groups,
        .n_keys = r->n_keys,
        .keys_per_split = KEYS_PER_SPLIT,
    };
    attention_tiles(r, s, &tiles);
}

/* ---- scratch --------------------------------------------------------------------------------- */

static uint64_t most(const struct gpu *g, uint64_t (*n)(const struct step *s))
{
    uint64_t floats = 0;
    for (uint32_t i = 0; i < g->n_steps; i++)
        if (g->steps[i].kind == STEP_LATENT_ATTEND)
            floats = num_max(floats, n(&g->steps[i]));
    return floats;
}

static uint64_t ready_floats(const struct step *s)
{
    return (uint64_t)s->op->attend_mla.n_head * width(&s->op->attend_mla);
}

static uint64_t mixed_floats(const struct step *s)
{
    return (uint64_t)s->op->attend_mla.n_head * s->op->attend_mla.n_latent;
}

uint64_t latent_ready_floats(const struct gpu *g)
{
    return most(g, ready_floats) * g->params.n_ubatch;
}

uint64_t latent_mixed_floats(const struct gpu *g)
{
    return most(g, mixed_floats) * g->params.n_ubatch;
}
