/* The backend's life: memory, loading, and the walk over the plan. */
#include "compute/cpu/cpu.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"

enum {
    ALIGN = 64,
    LEAST_SPAN = 1024,
    MOST_SPANS = 64,
};

/* ---- sizes ------------------------------------------------------------------------------------
 */

static void widen(uint32_t *to, uint64_t n)
{
    *to = (uint32_t)num_max(*to, n);
}

static bool measure_attend(struct cpu *c, const struct op_attend *o, struct err *e)
{
    struct sizes *s = &c->sizes;
    widen(&s->max_cols, (uint64_t)o->n_kv_head * o->head_dim);
    widen(&s->max_head, (num_max(o->head_dim, o->head_dim_v) + ROWS - 1) / ROWS * ROWS);
    widen(&s->max_rot, o->rope ? o->rope->n_rot : 0);
    if (block_row_bytes(c->params.type_k, o->head_dim) == 0 ||
        block_row_bytes(c->params.type_v, o->head_dim_v) == 0)
        return err_set(e, ERR_UNSUPPORTED,
                       "cache types %s and %s hold blocks of 32, heads have %u keys and %u values: "
                       "use f16",
                       block_info(c->params.type_k)->name, block_info(c->params.type_v)->name,
                       o->head_dim, o->head_dim_v);
    return true;
}

static bool measure_attend_mla(struct cpu *c, const struct op_attend_mla *o, struct err *e)
{
    struct sizes *s = &c->sizes;
    const uint32_t width = c->plan->kv[o->kv].k_width;
    widen(&s->max_cols, num_max(width, o->n_nope));
    widen(&s->max_head, (width + ROWS - 1) / ROWS * ROWS);
    widen(&s->max_rot, o->rope->n_rot);
    widen(&s->max_latent_keys, (uint64_t)o->n_head * width);
    if (block_row_bytes(c->params.type_k, width) == 0)
        return err_set(e, ERR_UNSUPPORTED,
                       "cache type %s holds blocks of 32, the latent has %u elements: use f16",
                       block_info(c->params.type_k)->name, width);
    return true;
}

static bool measure_op(struct cpu *c, const struct op *op, struct err *e)
{
    struct sizes *s = &c->sizes;
    switch (op->kind) {
    case OP_PROJECT: widen(&s->max_cols, op->project.out[0].w->ne[0]); break;
    case OP_ATTEND: return measure_attend(c, &op->attend, e);
    case OP_ATTEND_MLA: return measure_attend_mla(c, &op->attend_mla, e);
    case OP_DELTA_NET: widen(&s->max_delta, delta_scratch_floats(&op->delta_net)); break;
    case OP_ADD_PROJECT: widen(&s->max_cols, op->add_project.w->ne[0]); break;
    case OP_ROUTE:
        widen(&s->max_cols, op->route.router->ne[0]);
        widen(&s->max_experts, op->route.n_expert);
        break;
    case OP_EXPERTS_UP:
        widen(&s->max_cols, op->experts_up.gate->ne[0]);
        widen(&s->max_experts, op->experts_up.gate->ne[2]);
        widen(&s->max_pairs, op->experts_up.n_used);
        break;
    case OP_EXPERTS_DOWN:
        widen(&s->max_cols, op->experts_down.down->ne[0]);
        widen(&s->max_ff, op->experts_down.down->ne[0]);
        widen(&s->max_experts, op->experts_down.down->ne[2]);
        widen(&s->max_pairs, op->experts_down.n_used);
        break;
    case OP_HEAD: widen(&s->max_cols, op->head.w->ne[0]); break;
    case OP_GLU: widen(&s->max_cols, op->glu.gate->ne[0]); break;
    case OP_EMBED:
    case OP_KIND_COUNT: break;
    }
    return true;
}

/* The op that takes its input from this one in quantised form and alone: the slot between the two
 * is never filled. NULL when there is none. */
static const struct op_experts_down *fused_down(const struct cpu *c, size_t i)
{
    const struct plan *p = c->plan;
    if (i + 1 >= p->n_ops || p->ops[i].kind != OP_EXPERTS_UP ||
        p->ops[i + 1].kind != OP_EXPERTS_DOWN)
        return NULL;
    const struct op_experts_up *up = &p->ops[i].experts_up;
    const struct op_experts_down *down = &p->ops[i + 1].experts_down;
    if (down->in != up->out || down->ids != up->ids || matrix_is_float(matrix_of(c, down->down)))
        return NULL;
    return down;
}

/* ---- memory -----------------------------------------------------------------------------------
 */

/* Hands out pieces of one allocation; before it exists, only counts. */
struct carver {
    uint8_t *base;
    uint64_t at;
};

static void *carve(struct carver *c, uint64_t n, size_t size)
{
    uint64_t at = c->at;
    c->at += (n * size + ALIGN - 1) / ALIGN * ALIGN;
    return c->base ? c->base + at : NULL;
}

static size_t key_tile_bytes(enum block_type type, uint32_t n)
{
    return KEY_TILE * block_row_bytes(type, n);
}

static void carve_cache(struct cpu *c, struct carver *to, uint32_t kv, uint32_t n_heads,
                        uint32_t n_keys, uint32_t n_values)
{
    struct cache *cache = &c->caches[kv];
    cache->n_heads = n_heads;
    cache->n_tiles = (exec_kv_rows(&c->plan->kv[kv], &c->params) + KEY_TILE - 1) / KEY_TILE;
    cache->key_tile_bytes = key_tile_bytes(c->params.type_k, n_keys);
    cache->value_bytes = block_row_bytes(c->params.type_v, n_values);
    cache->pages = exec_kv_table(&c->plan->kv[kv], &c->params);
    uint64_t n_tiles = exec_kv_pages(&c->plan->kv[kv], &c->params) * n_heads * cache->n_tiles;
    cache->keys = carve(to, n_tiles, cache->key_tile_bytes);
    cache->values = carve(to, n_tiles * KEY_TILE, cache->value_bytes);
}

static void carve_caches(struct cpu *c, struct carver *to)
{
    for (size_t i = 0; i < c->plan->n_ops; i++) {
        const struct op *op = &c->plan->ops[i];
        const struct op_attend *o = &op->attend;
        const uint32_t mla = op->attend_mla.kv;
        if (op->kind == OP_ATTEND)
            carve_cache(c, to, o->kv, o->n_kv_head, o->head_dim, o->head_dim_v);
        if (op->kind == OP_ATTEND_MLA)
            carve_cache(c, to, mla, 1, c->plan->kv[mla].k_width, 0);
    }
}

static void carve_thread(const struct cpu *c, struct carver *to, struct thread_scratch *t)
{
    const struct sizes *s = &c->sizes;
    t->row = carve(to, s->max_cols, sizeof *t->row);
    t->tile = carve(to, TILE_ROWS * (uint64_t)(s->max_cols / BLOCK_COLS), sizeof *t->tile);
    t->rows = carve(to, TILE_ROWS * (uint64_t)s->max_cols, sizeof *t->rows);
    t->q = carve(to, QUERY_TILE * (uint64_t)s->max_head, sizeof *t->q);
    t->k = carve(to, s->max_head, sizeof *t->k);
    t->v = carve(to, KEY_TILE * (uint64_t)s->max_head, sizeof *t->v);
    t->scores = carve(to, QUERY_TILE * KEY_BLOCK, sizeof *t->scores);
    t->acc = carve(to, QUERY_TILE * (uint64_t)s->max_head, sizeof *t->acc);
    t->total = carve(to, QUERY_TILE * (uint64_t)s->max_head, sizeof *t->total);
    t->delta = carve(to, s->max_delta, sizeof *t->delta);
}

static void carve_scratch(struct cpu *c, struct carver *to)
{
    const struct sizes *s = &c->sizes;
    uint64_t n = c->params.n_ubatch, n_pairs = n * s->max_pairs;
    for (size_t i = 0; i < c->plan->n_slots; i++)
        c->slots[i] = carve(to, n * c->plan->slots[i].width, sizeof **c->slots);
    c->acts = carve(to, n * (s->max_cols / BLOCK_COLS), sizeof *c->acts);
    c->normed = carve(to, n * s->max_cols, sizeof *c->normed);
    c->pair_acts = carve(to, n_pairs * (s->max_ff / BLOCK_COLS), sizeof *c->pair_acts);
    c->router = carve(to, n * s->max_experts, sizeof *c->router);
    c->cosines = carve(to, n * (s->max_rot / 2), sizeof *c->cosines);
    c->sines = carve(to, n * (s->max_rot / 2), sizeof *c->sines);
    c->pairs = carve(to, n_pairs, sizeof *c->pairs);
    c->first_pair = carve(to, s->max_experts + 1, sizeof *c->first_pair);
    c->chosen = carve(to, s->max_experts, sizeof *c->chosen);
    c->row_tiles = carve(to, n + 1, sizeof *c->row_tiles);
    c->wanted = carve(to, n, sizeof *c->wanted);
    c->latent_keys = carve(to, n * s->max_latent_keys, sizeof *c->latent_keys);
    c->partials = carve(to, attend_partial_floats(c), sizeof *c->partials);
    c->factors = carve(to, n, sizeof *c->factors);
    for (int i = 0; i < c->n_threads; i++)
        carve_thread(c, to, &c->threads[i]);
}

/* ---- life -------------------------------------------------------------------------------------
 */

static size_t n_state_bytes(const struct cpu *c)
{
    return c->params.n_seqs * c->n_state_floats * sizeof *c->states;
}

static void cpu_close(void *state)
{
    struct cpu *c = state;
    if (!c)
        return;
    pool_close(c->pool);
    weights_free(&c->weights);
    mem_big_free(c->cache_bytes, c->n_cache_bytes);
    mem_big_free(c->scratch_bytes, c->n_scratch_bytes);
    mem_big_free(c->states, n_state_bytes(c));
    free(c->state_at);
    free(c->caches);
    free(c->slots);
    free(c->is_fused);
    free(c->threads);
    free(c);
}

/* Everything but the large memory: what it will be is known after this. NULL and e when the backend
 * cannot do the plan. */
static struct cpu *cpu_new(const struct plan *p, const struct exec_params *params, struct err *e)
{
    struct cpu *c = mem_new(1, sizeof *c);
    c->plan = p;
    c->params = *params;
    c->n_threads = params->n_threads ? params->n_threads : pool_default_size();
    c->caches = mem_new(p->n_kv, sizeof *c->caches);
    c->slots = mem_new(p->n_slots, sizeof *c->slots);
    c->is_fused = mem_new(p->n_slots, sizeof *c->is_fused);
    c->threads = mem_new((size_t)num_max(1, (size_t)c->n_threads), sizeof *c->threads);
    c->state_at = mem_new(p->n_states, sizeof *c->state_at);
    c->n_state_floats = delta_place_states(p, c->state_at);
    /* At most MOST_SPANS spans, of whole key blocks. */
    c->span = (uint32_t)num_max(LEAST_SPAN, ((uint64_t)params->n_ctx / MOST_SPANS + KEY_BLOCK) /
                                                KEY_BLOCK * KEY_BLOCK);
    c->sizes.n_spans = (params->n_ctx + c->span - 1) / c->span;
    for (size_t i = 0; i < p->n_ops; i++)
        if (!measure_op(c, &p->ops[i], e))
            goto fail;
    if (!weights_plan(p, &(struct weights_params){0}, &c->weights, e))
        goto fail;
    for (size_t i = 0; i < p->n_ops; i++)
        if (fused_down(c, i))
            c->is_fused[p->ops[i].experts_up.out] = true;
    struct carver caches = {0}, scratch = {0};
    carve_caches(c, &caches);
    carve_scratch(c, &scratch);
    c->n_cache_bytes = caches.at;
    c->n_scratch_bytes = scratch.at;
    return c;
fail:
    cpu_close(c);
    return NULL;
}

static bool cpu_memory(const struct plan *p, const struct exec_params *params,
                       struct mem_table *out, struct err *e)
{
    struct cpu *c = cpu_new(p, params, e);
    if (!c)
        return false;
    mem_table_add(out, "weights", 1, c->weights.n_bytes, "%zu tensors, repacked", p->n_weights);
    mem_table_add_kv(out, p, params, c->n_cache_bytes);
    if (p->n_states)
        mem_table_add(out, "states", params->n_seqs, c->n_state_floats * sizeof *c->states,
                      "%u x %zu recurrent layers", params->n_seqs, p->n_states);
    mem_table_add(out, "scratch", 1, c->n_scratch_bytes, "batches of %u, %d threads",
                  params->n_ubatch, c->n_threads);
    cpu_close(c);
    return true;
}

static void *open_with(enum cpu_isa isa, const struct plan *p, const struct exec_params *params,
                       const struct progress *progress, struct err *e)
{
    struct cpu *c = cpu_new(p, params, e);
    if (!c)
        return NULL;
    c->kernels = cpu_kernels_for(isa);
    c->pool = pool_open(params->n_threads, e);
    if (!c->pool)
        goto fail;
    c->cache_bytes = mem_big(c->n_cache_bytes, "kv cache", e);
    c->scratch_bytes = c->cache_bytes ? mem_big(c->n_scratch_bytes, "scratch", e) : NULL;
    if (!c->scratch_bytes)
        goto fail;
    if (p->n_states && !(c->states = mem_big(n_state_bytes(c), "states", e)))
        goto fail;
    carve_caches(c, &(struct carver){c->cache_bytes, 0});
    carve_scratch(c, &(struct carver){c->scratch_bytes, 0});
    if (!weights_load_here(p, &c->weights, c->pool, progress, e))
        goto fail;
    return c;
fail:
    cpu_close(c);
    return NULL;
}

static void *cpu_open(const struct plan *p, const struct exec_params *params, const struct log *log,
                      const struct progress *progress, struct err *e)
{
    (void)log;
    return open_with(CPU_AVX512, p, params, progress, e);
}

static void *cpu_open_avx2(const struct plan *p, const struct exec_params *params,
                           const struct log *log, const struct progress *progress, struct err *e)
{
    (void)log;
    return open_with(CPU_AVX2, p, params, progress, e);
}

static void *cpu_open_portable(const struct plan *p, const struct exec_params *params,
                               const struct log *log, const struct progress *progress,
                               struct err *e)
{
    (void)log;
    return open_with(CPU_PORTABLE, p, params, progress, e);
}

/* ---- run --------------------------------------------------------------------------------------
 */

static void run_op(struct worker *w, size_t i)
{
    const struct op *op = &w->cpu->plan->ops[i];
    switch (op->kind) {
    case OP_EMBED: cpu_embed(w, &op->embed); break;
    case OP_PROJECT: cpu_project(w, &op->project); break;
    case OP_ATTEND: cpu_attend(w, &op->attend); break;
    case OP_ATTEND_MLA: cpu_attend_mla(w, &op->attend_mla); break;
    case OP_DELTA_NET: cpu_delta_net(w, &op->delta_net); break;
    case OP_ADD_PROJECT: cpu_add_project(w, &op->add_project); break;
    case OP_ROUTE: cpu_route(w, &op->route); break;
    case OP_EXPERTS_UP: cpu_experts_up(w, &op->experts_up, fused_down(w->cpu, i)); break;
    case OP_EXPERTS_DOWN: cpu_experts_down(w, &op->experts_down); break;
    case OP_HEAD: cpu_head(w, &op->head); break;
    case OP_GLU: cpu_glu(w, &op->glu); break;
    case OP_KIND_COUNT: break;
    }
}

static void run_thread(void *ctx, int i_thread, int n_threads)
{
    struct cpu *c = ctx;
    struct worker w = {
        .cpu = c,
        .kernels = c->kernels,
        .scratch = &c->threads[i_thread],
        .i_thread = i_thread,
        .n_rows = c->batch->n,
        .acts_slot = -1,
        .pairs_slot = -1,
        .pair_acts_slot = -1,
    };
    const atomic_bool *cancel = c->batch->cancel;
    (void)n_threads;
    for (size_t i = 0; i < c->plan->n_ops; i++) {
        /* Before the barriers of this op, so that all threads see the same after them. The last op
         * has none when no logits are wanted, and nothing comes after it. */
        if (i_thread == 0 && i + 1 < c->plan->n_ops)
            c->stop[i % 2] = cancel && atomic_load_explicit(cancel, memory_order_relaxed);
        run_op(&w, i);
        if (c->stop[i % 2])
            return;
    }
}

static bool cpu_run(void *state, const struct batch *b, float *logits, struct err *e)
{
    struct cpu *c = state;
    c->batch = b;
    c->logits = logits;
    c->n_wanted = 0;
    c->stop[0] = c->stop[1] = false;
    for (uint32_t t = 0; t < b->n; t++)
        if (b->want_logits[t])
            c->wanted[c->n_wanted++] = t;
    pool_run(c->pool, run_thread, c);
    if (c->stop[0] || c->stop[1])
        return err_set(e, ERR_CANCELLED, "cancelled in a batch of %u tokens", b->n);
    return true;
}

static bool cpu_slot_get(void *state, slot_id s, uint32_t n_rows, void *out, struct err *e)
{
    const struct cpu *c = state;
    if (c->is_fused[s])
        return err_set(e, ERR_UNSUPPORTED, "slot %s is never filled: two ops are one here",
                       c->plan->slots[s].name);
    memcpy(out, c->slots[s], (size_t)n_rows * c->plan->slots[s].width * sizeof(float));
    return true;
}

static bool cpu_slot_put(void *state, slot_id s, uint32_t n_rows, const void *in, struct err *e)
{
    const struct cpu *c = state;
    (void)e;
    memcpy(c->slots[s], in, (size_t)n_rows * c->plan->slots[s].width * sizeof(float));
    return true;
}

#define BACKEND(id, open_function)                                                                 \
    {                                                                                              \
        .name = (id), .n_ubatch = 512, .memory = cpu_memory, .open = (open_function),              \
        .run = cpu_run, .slot_get = cpu_slot_get, .slot_put = cpu_slot_put,                        \
        .state_bytes = cpu_state_bytes, .state_copy = cpu_state_copy, .page_copy = cpu_page_copy,  \
        .rows_bytes = cpu_rows_bytes, .rows_copy = cpu_rows_copy, .close = cpu_close               \
    }
const struct backend backend_cpu = BACKEND("cpu", cpu_open);
const struct backend backend_cpu_avx2 = BACKEND("cpu-avx2", cpu_open_avx2);
const struct backend backend_cpu_portable = BACKEND("cpu-portable", cpu_open_portable);
