/* The vulkan backend's life: memory, loading, runs. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "compute/vulkan/pick.h"

enum { ALIGN = 256 };

/* ---- sizes ----------------------------------------------------------------------------------- */

static uint64_t carve(uint64_t *at, uint64_t n_bytes)
{
    const uint64_t from = *at;
    *at += (n_bytes + ALIGN - 1) / ALIGN * ALIGN;
    return from;
}

static void plan_scratch(struct gpu *g)
{
    const uint64_t n = g->params.n_ubatch;
    for (size_t i = 0; i < g->plan->n_slots; i++)
        g->slot_at[i] = carve(&g->n_scratch, n * g->plan->slots[i].width * sizeof(float));
    const uint64_t n_ready = num_max(attention_ready_floats(g), latent_ready_floats(g));
    g->ready_at = carve(&g->n_scratch, num_max(n_ready, delta_ready_floats(g)) * sizeof(float));
    g->mixed_at = carve(&g->n_scratch, latent_mixed_floats(g) * sizeof(float));
    g->sums_at = carve(&g->n_scratch, attention_sum_floats(g) * sizeof(float));
    g->totals_at = carve(&g->n_scratch, attention_total_floats(g) * sizeof(float));
    g->route_at = carve(&g->n_scratch, program_route_floats(g) * sizeof(float));
    g->shares_at = carve(&g->n_scratch, FEW_TOKENS * g->share_bytes);
    const struct many_room room = prefill_room(g);
    g->many_at.rows = carve(&g->n_scratch, room.rows);
    g->many_at.scales = carve(&g->n_scratch, room.scales);
    g->many_at.parts = carve(&g->n_scratch, room.parts);
    g->many_at.table = carve(&g->n_scratch, room.table);
    g->counters_at = carve(&g->n_scratch, program_counters(g) * sizeof(uint32_t));
    g->pick.keys_at = carve(&g->n_scratch, pick_key_bytes(g));
    g->pick.counters_at = carve(&g->n_scratch, EXEC_BEST_ROWS * sizeof(uint32_t));
    const uint64_t n_logits = (uint64_t)HEAD_ROWS * g->plan->n_vocab * sizeof(float);
    g->logits_at = carve(&g->n_scratch, n_logits + pick_past_bytes(g));
}

static uint64_t cache_rows(const struct gpu *g, const struct cache_shape *shape)
{
    return exec_kv_pages(&g->plan->kv[shape->kv], &g->params) * shape->n_heads *
           exec_kv_rows(&g->plan->kv[shape->kv], &g->params);
}

/* Of all caches, and into *piece of the largest, keys or values (make_caches). */
static uint64_t all_cache_bytes(const struct gpu *g, uint64_t *piece)
{
    struct cache_shape shape;
    uint64_t n = 0;
    *piece = 0;
    for (size_t i = 0; i < g->plan->n_ops; i++)
        if (gpu_cache_shape(&g->plan->ops[i], &g->params, &shape)) {
            n += cache_rows(g, &shape) * (shape.key + shape.value);
            *piece = num_max(*piece, cache_rows(g, &shape) * num_max(shape.key, shape.value));
        }
    return n;
}

static const struct rope *rope_of(const struct op *op)
{
    return op->kind == OP_ATTEND       ? op->attend.rope
           : op->kind == OP_ATTEND_MLA ? op->attend_mla.rope
                                       : NULL;
}

static uint64_t rope_bytes(const struct gpu *g, const struct rope *rope)
{
    return (uint64_t)g->params.n_ctx * (rope->n_rot / 2) * 2 * sizeof(float);
}

/* Of all different ones (make_ropes). */
static uint64_t all_rope_bytes(const struct gpu *g)
{
    uint64_t n = 0;
    for (size_t i = 0; i < g->plan->n_ops; i++) {
        const struct rope *rope = rope_of(&g->plan->ops[i]);
        size_t first = 0;
        while (rope && rope_of(&g->plan->ops[first]) != rope)
            first++;
        n += rope && first == i ? rope_bytes(g, rope) : 0;
    }
    return n;
}

/* ---- life ------------------------------------------------------------------------------------ */

void gpu_free(struct gpu *g)
{
    if (!g)
        return;
    run_free(g);
    for (uint32_t i = 0; i < g->n_arenas; i++)
        vk_buffer_free(g->vk, &g->arenas[i]);
    for (size_t i = 0; g->caches && i < g->plan->n_kv; i++) {
        vk_buffer_free(g->vk, &g->caches[i].keys);
        vk_buffer_free(g->vk, &g->caches[i].values);
    }
    for (size_t i = 0; g->states && i < g->plan->n_states; i++) {
        vk_buffer_free(g->vk, &g->states[i].history);
        vk_buffer_free(g->vk, &g->states[i].memory);
    }
    for (uint32_t i = 0; i < g->n_ropes; i++)
        vk_buffer_free(g->vk, &g->ropes[i].table);
    vk_buffer_free(g->vk, &g->scratch);
    vk_buffer_free(g->vk, &g->inputs);
    vk_buffer_free(g->vk, &g->logits);
    vk_buffer_free(g->vk, &g->saved);
    pick_free(g);
    if (g->pool)
        pool_close(g->pool);
    weights_free(&g->weights);
    free(g->events);
    free(g->arenas);
    free(g->caches);
    free(g->states);
    free(g->ropes);
    free(g->steps);
    free(g->specs);
    free(g->pipelines);
    free(g->slot_at);
    free(g);
}

static void *device_open(const struct exec_params *params, const struct log *log, struct err *e)
{
    const struct vk_params device = {.device = params->device,
                                     .allow_software = params->allow_software,
                                     .not_devices = params->not_devices,
                                     .or_next = params->or_next,
                                     .cache_path = params->cache_path,
                                     .validate = params->validate,
                                     .lose_in = params->lose_in};
    return vk_open(&device, log, e);
}

static void device_close(void *device)
{
    vk_close(device);
}

/* With its device. */
static void gpu_close(void *state)
{
    struct gpu *g = state;
    struct vk *vk = g->vk;
    struct err e;
    ahead_drop(g, &e); /* what it cannot wait for stays allocated (vk_wait) */
    gpu_free(g);
    vk_close(vk);
}

struct gpu *gpu_new(const struct plan *p, const struct exec_params *params, struct vk *vk,
                    struct err *e)
{
    struct gpu *g = mem_new(1, sizeof *g);
    g->vk = vk;
    g->plan = p;
    g->params = *params;
    g->slot_at = mem_new(p->n_slots + 1, sizeof *g->slot_at);
    g->caches = mem_new(p->n_kv + 1, sizeof *g->caches);
    g->states = mem_new(p->n_states + 1, sizeof *g->states);
    g->ropes = mem_new(p->n_ops + 1, sizeof *g->ropes);
    const struct weights_params where = {
        .arena_bytes = vk_caps(g->vk)->max_alloc / ALIGN * ALIGN,
        .embed_from_matrix = true,
    };
    if (!weights_plan(p, &where, &g->weights, e) || !program_make(g, e)) {
        gpu_free(g);
        return NULL;
    }
    plan_scratch(g);
    return g;
}

static bool shares_memory(const struct gpu *g)
{
    return vk_caps(g->vk)->is_unified || vk_caps(g->vk)->is_software;
}

/* Of a device that shares the machine's memory, no more than that has. */
static uint64_t available(const struct gpu *g)
{
    const uint64_t device = vk_free_bytes(g->vk), machine = mem_available();
    return shares_memory(g) && machine ? num_min(device, machine) : device;
}

static bool fill_table(const struct plan *p, const struct exec_params *params, struct vk *vk,
                       struct mem_table *out, struct err *e)
{
    uint64_t piece;
    struct gpu *g = gpu_new(p, params, vk, e);
    if (!g)
        return false;
    mem_table_add(out, "weights", 1, g->weights.n_bytes, "%zu tensors, repacked", p->n_weights);
    mem_table_add_kv(out, p, params, all_cache_bytes(g, &piece));
    mem_table_add(out, "scratch", 1, g->n_scratch, "batches of %u", params->n_ubatch);
    out->most_piece = vk_caps(vk)->max_alloc;
    mem_table_add_piece(out, &(struct mem_piece){
                                 .what = "the activations of a batch",
                                 .row = "scratch",
                                 .remedy = "smaller batches (-ub)",
                                 .n_bytes = g->n_scratch,
                                 .grows_with_rows = true,
                             });
    mem_table_add_piece(out,
                        &(struct mem_piece){
                            .what = "the keys or the values of a layer",
                            .row = "kv cache",
                            .remedy = "a smaller context (-c) or a smaller cache type (-ctk, -ctv)",
                            .n_bytes = piece,
                        });
    if (p->n_states)
        mem_table_add(out, "states", params->n_seqs, delta_kept_bytes(p),
                      "%u sequences, memories twice", params->n_seqs);
    const uint64_t n_saved = gpu_saved_bytes(p, params);
    if (n_saved)
        mem_table_add(out, "saved state", 1, n_saved, "one on its way");
    if (all_rope_bytes(g))
        mem_table_add(out, "rotations", 1, all_rope_bytes(g), "sines and cosines of %u positions",
                      params->n_ctx);
    out->available = available(g);
    out->is_device = !shares_memory(g);
    gpu_free(g);
    return true;
}

static bool gpu_memory(const struct plan *p, const struct exec_params *params,
                       struct mem_table *out, struct err *e)
{
    struct vk *vk = params->opened ? params->opened : device_open(params, NULL, e);
    const bool ok = vk && fill_table(p, params, vk, out, e);
    if (!params->opened)
        vk_close(vk);
    return ok;
}

/* ---- loading --------------------------------------------------------------------------------- */

/* Pieces go through a thread's own memory to the arena. */
struct loading {
    struct gpu *g;
    struct vk_upload *upload;
    uint8_t **rooms; /* [threads] */
};

static void *room(void *ctx, int i_thread, uint64_t offset, size_t n)
{
    (void)offset, (void)n;
    return ((struct loading *)ctx)->rooms[i_thread];
}

static bool put(void *ctx, int i_thread, uint64_t offset, size_t n, struct err *e)
{
    const struct loading *l = ctx;
    const uint64_t arena = l->g->weights.params.arena_bytes;
    return vk_upload_piece(l->upload, &l->g->arenas[offset / arena], offset % arena,
                           l->rooms[i_thread], n, e);
}

static bool make_arenas(struct gpu *g, struct err *e)
{
    const uint64_t arena = g->weights.params.arena_bytes, n_bytes = g->weights.n_bytes;
    const uint64_t n = (n_bytes + arena - 1) / arena;
    g->arenas = mem_new(n, sizeof *g->arenas);
    for (uint64_t i = 0; i < n; i++) {
        if (!vk_buffer_make(g->vk, VK_PLACE_DEVICE, num_min(arena, n_bytes - i * arena), "weights",
                            &g->arenas[i], e))
            return false;
        g->n_arenas++;
    }
    return true;
}

static bool load(struct gpu *g, const struct progress *progress, struct err *e)
{
    const size_t piece = weights_piece_bytes(g->plan, &g->weights);
    if (piece == 0)
        return true;
    struct loading l = {.g = g, .upload = vk_upload_begin(g->vk, piece)};
    g->pool = pool_open(g->params.n_threads, e);
    if (!g->pool) {
        vk_upload_end(l.upload, &(struct err){0});
        return false;
    }
    const int n_threads = pool_size(g->pool);
    l.rooms = mem_new((size_t)n_threads, sizeof *l.rooms);
    for (int i = 0; i < n_threads; i++)
        l.rooms[i] = mem_new(piece, 1);
    const struct weights_sink sink = {room, put, &l, true};
    bool ok = weights_load(g->plan, &g->weights, g->pool, &sink, progress, e);
    struct err last = {0};
    if (!vk_upload_end(l.upload, &last) && ok) {
        *e = last;
        ok = false;
    }
    for (int i = 0; i < n_threads; i++)
        free(l.rooms[i]);
    free(l.rooms);
    pool_close(g->pool);
    g->pool = NULL;
    return ok;
}

static bool make_caches(struct gpu *g, struct err *e)
{
    for (size_t i = 0; i < g->plan->n_ops; i++) {
        struct cache_shape shape;
        if (!gpu_cache_shape(&g->plan->ops[i], &g->params, &shape))
            continue;
        struct gpu_cache *c = &g->caches[shape.kv];
        const uint64_t n = cache_rows(g, &shape);
        c->n_rows = exec_kv_rows(&g->plan->kv[shape.kv], &g->params);
        c->table = exec_kv_table(&g->plan->kv[shape.kv], &g->params);
        if (!vk_buffer_make(g->vk, VK_PLACE_DEVICE, n * shape.key, "kv cache", &c->keys, e))
            return false;
        if (shape.value &&
            !vk_buffer_make(g->vk, VK_PLACE_DEVICE, n * shape.value, "kv cache", &c->values, e))
            return false;
    }
    const uint64_t n_saved = gpu_saved_bytes(g->plan, &g->params);
    return n_saved == 0 ||
           vk_buffer_make(g->vk, VK_PLACE_READBACK, n_saved, "saved state", &g->saved, e);
}

static bool make_rope(struct gpu *g, const struct rope *rope, struct err *e)
{
    const uint32_t n = rope->n_rot / 2;
    const uint64_t n_bytes = rope_bytes(g, rope);
    struct gpu_rope *r = &g->ropes[g->n_ropes];
    if (!vk_buffer_make(g->vk, VK_PLACE_DEVICE, n_bytes, "rotary table", &r->table, e))
        return false;
    g->n_ropes++;
    r->rope = rope;
    float *table = mem_new(n_bytes, 1);
    for (uint32_t pos = 0; pos < g->params.n_ctx; pos++) {
        for (uint32_t i = 0; i < n; i++) {
            const double angle = (double)pos * rope->inv_freq[i];
            table[2 * ((size_t)pos * n + i)] = (float)(cos(angle) * (double)rope->mscale);
            table[2 * ((size_t)pos * n + i) + 1] = (float)(sin(angle) * (double)rope->mscale);
        }
    }
    const bool ok = vk_write(g->vk, &r->table, 0, table, n_bytes, e);
    free(table);
    return ok;
}

static bool make_ropes(struct gpu *g, struct err *e)
{
    for (size_t i = 0; i < g->plan->n_ops; i++) {
        const struct rope *rope = rope_of(&g->plan->ops[i]);
        if (rope && !gpu_rotations(g, rope) && !make_rope(g, rope, e))
            return false;
    }
    return true;
}

/* All that it has on the device. */
static bool fill_device(struct gpu *g, const struct progress *progress, struct err *e)
{
    const uint64_t n_inputs = attention_input_bytes(&g->params);
    const uint64_t n_logits = (uint64_t)HEAD_ROWS * num_max(g->plan->n_vocab, 1) * sizeof(float);
    return program_compile(g, e) && make_arenas(g, e) && make_caches(g, e) &&
           delta_make_states(g, e) &&
           vk_buffer_make(g->vk, VK_PLACE_DEVICE, g->n_scratch, "scratch", &g->scratch, e) &&
           vk_buffer_make(g->vk, VK_PLACE_DEVICE, n_inputs, "inputs", &g->inputs, e) &&
           vk_buffer_make(g->vk, VK_PLACE_READBACK, n_logits, "logits", &g->logits, e) &&
           vk_fill_zero(g->vk, &g->scratch, 0, g->n_scratch, e) && make_ropes(g, e) &&
           pick_make_buffers(g, e) && load(g, progress, e);
}

static void *gpu_open(const struct plan *p, const struct exec_params *params, const struct log *log,
                      const struct progress *progress, struct err *e)
{
    struct vk *vk = params->opened ? params->opened : device_open(params, log, e);
    struct gpu *g = vk ? gpu_new(p, params, vk, e) : NULL;
    if (g && fill_device(g, progress, e))
        return g;
    gpu_free(g);
    vk_close(vk);
    return NULL;
}

/* ---- the backend ----------------------------------------------------------------------------- */

static bool gpu_slot_get(void *state, slot_id s, uint32_t n_rows, void *out, struct err *e)
{
    struct gpu *g = state;
    return ahead_drop(g, e) &&
           vk_read(g->vk, &g->scratch, g->slot_at[s], out,
                   (uint64_t)n_rows * g->plan->slots[s].width * sizeof(float), e);
}

static bool gpu_slot_put(void *state, slot_id s, uint32_t n_rows, const void *in, struct err *e)
{
    struct gpu *g = state;
    return ahead_drop(g, e) &&
           vk_write(g->vk, &g->scratch, g->slot_at[s], in,
                    (uint64_t)n_rows * g->plan->slots[s].width * sizeof(float), e);
}

static void gpu_profile(void *state, struct buf *out)
{
    profile_print(state, out);
}

static const struct exec_event *gpu_events(void *state, size_t *n)
{
    const struct gpu *g = state;
    *n = g->n_events;
    return g->events;
}

const struct backend backend_vulkan = {
    .name = "vulkan",
    .n_ubatch = 2048,
    .device_open = device_open,
    .device_close = device_close,
    .memory = gpu_memory,
    .open = gpu_open,
    .run = gpu_run,
    .most_vocab = PICK_MOST_VOCAB,
    .run_best = gpu_run_best,
    .row = gpu_row,
    .slot_get = gpu_slot_get,
    .slot_put = gpu_slot_put,
    .state_bytes = gpu_state_bytes,
    .state_copy = gpu_state_copy,
    .page_copy = gpu_page_copy,
    .rows_bytes = gpu_rows_bytes,
    .rows_copy = gpu_rows_copy,
    .profile = gpu_profile,
    .events = gpu_events,
    .close = gpu_close,
};
