/* What sequences keep, copied: pages; and as saved states, which are the recurrent
 * states, then of every ring the positions that the row to come sees. The device gathers either in
 * one submit. Caches that the host could read are uncached
 * memory as a rule, so they too go through a buffer made for reading. */
#include "base/num.h"
#include "compute/vulkan/gpu.h"

bool gpu_cache_shape(const struct op *op, const struct exec_params *params, struct cache_shape *out)
{
    const struct op_attend *o = &op->attend;
    const struct op_attend_mla *m = &op->attend_mla;
    if (op->kind == OP_ATTEND)
        *out = (struct cache_shape){o->kv, o->n_kv_head, gpu_cache_row(params->type_k, o->head_dim),
                                    gpu_cache_row(params->type_v, o->head_dim_v)};
    else if (op->kind == OP_ATTEND_MLA)
        *out = (struct cache_shape){m->kv, 1,
                                    gpu_cache_row(params->type_k, m->n_latent + m->rope->n_rot), 0};
    return op->kind == OP_ATTEND || op->kind == OP_ATTEND_MLA;
}

/* Bytes of a position in all heads. */
static uint64_t position_bytes(const struct cache_shape *s)
{
    return s->n_heads * (s->key + s->value);
}

uint64_t gpu_state_bytes(const struct plan *p, const struct exec_params *params)
{
    struct cache_shape s;
    uint64_t n_bytes = delta_state_bytes(p);
    for (size_t i = 0; i < p->n_ops; i++)
        if (gpu_cache_shape(&p->ops[i], params, &s))
            n_bytes += exec_kv_saved(&p->kv[s.kv], params) * position_bytes(&s);
    return n_bytes;
}

uint64_t gpu_rows_bytes(const struct plan *p, const struct exec_params *params, uint32_t n)
{
    struct cache_shape s;
    uint64_t n_bytes = 0;
    for (size_t i = 0; i < p->n_ops; i++)
        if (gpu_cache_shape(&p->ops[i], params, &s) && !exec_kv_is_ring(&p->kv[s.kv], params))
            n_bytes += n * position_bytes(&s);
    return n_bytes;
}

/* Tokens that go through gpu.saved at once, at least. */
enum { ROWS_AT_ONCE = 64 };

uint64_t gpu_saved_bytes(const struct plan *p, const struct exec_params *params)
{
    return num_max(gpu_state_bytes(p, params), gpu_rows_bytes(p, params, ROWS_AT_ONCE));
}

/* Of a sequence. */
struct positions {
    uint32_t seq, first, end;
};

/* A copy being recorded: what comes next lies at `at` of gpu.saved. */
struct copying {
    struct gpu *g;
    struct vk_cmds *cmds;
    bool is_save;
    uint64_t at;
};

static void copy_part(struct copying *c, const struct vk_buffer *b, uint64_t offset,
                      uint64_t n_bytes)
{
    if (n_bytes == 0)
        return;
    if (c->is_save)
        vk_cmds_copy(c->cmds, b, offset, &c->g->saved, c->at, n_bytes);
    else
        vk_cmds_copy(c->cmds, &c->g->saved, c->at, b, offset, n_bytes);
    c->at += n_bytes;
}

/* Positions [first, end) of all heads of a sequence: runs of rows, each within a page. */
static void copy_rows(struct copying *c, const struct gpu_cache *cache, const struct vk_buffer *b,
                      uint64_t row_bytes, uint32_t n_heads, const struct positions *p)
{
    const uint32_t n_rows = cache->n_rows;
    for (uint32_t head = 0; head < n_heads; head++)
        for (uint32_t at = p->first; at < p->end; at += n_rows - at % n_rows) {
            const uint64_t page = exec_kv_page(cache->table, p->seq, at);
            const uint64_t row = (page * n_heads + head) * n_rows + at % n_rows;
            const uint64_t n = num_min(p->end - at, n_rows - at % n_rows);
            copy_part(c, b, row * row_bytes, n * row_bytes);
        }
}

/* Those behind n_tokens tokens. */
static void copy_states(struct copying *c, uint32_t seq, uint32_t n_tokens)
{
    const struct gpu *g = c->g;
    for (size_t i = 0; i < g->plan->n_ops; i++) {
        const struct op_delta_net *o = &g->plan->ops[i].delta_net;
        if (g->plan->ops[i].kind != OP_DELTA_NET)
            continue;
        const uint64_t n_history = delta_history_bytes(o), n_memory = delta_memory_bytes(o);
        copy_part(c, &g->states[o->state].history, seq * n_history, n_history);
        copy_part(c, &g->states[o->state].memory, delta_memory_at(o, seq, n_tokens), n_memory);
    }
}

/* Keys and values. */
static void copy_layer(struct copying *c, const struct cache_shape *s, const struct positions *p)
{
    const struct gpu_cache *cache = &c->g->caches[s->kv];
    copy_rows(c, cache, &cache->keys, s->key, s->n_heads, p);
    copy_rows(c, cache, &cache->values, s->value, s->n_heads, p);
}

static void copy_rings(struct copying *c, uint32_t seq, uint32_t n_tokens)
{
    const struct plan *p = c->g->plan;
    const struct exec_params *params = &c->g->params;
    struct cache_shape s;
    for (size_t i = 0; i < p->n_ops; i++)
        if (gpu_cache_shape(&p->ops[i], params, &s) && exec_kv_is_ring(&p->kv[s.kv], params))
            copy_layer(c, &s,
                       &(struct positions){seq, exec_window_first(p->kv[s.kv].window, n_tokens),
                                           n_tokens});
}

static void copy_whole(struct copying *c, const struct positions *of)
{
    const struct plan *p = c->g->plan;
    const struct exec_params *params = &c->g->params;
    struct cache_shape s;
    for (size_t i = 0; i < p->n_ops; i++)
        if (gpu_cache_shape(&p->ops[i], params, &s) && !exec_kv_is_ring(&p->kv[s.kv], params))
            copy_layer(c, &s, of);
}

/* Through gpu.saved, one way or the other; frees what was recorded. */
static bool submit_copy(struct copying *c, struct state_copy *copy, struct err *e)
{
    if (!c->is_save)
        state_copy_bytes(copy, c->g->saved.host, c->at);
    const bool ok = vk_cmds_end(c->cmds, e) && gpu_submit(c->g, c->cmds, e);
    if (ok && c->is_save)
        state_copy_bytes(copy, c->g->saved.host, c->at);
    vk_cmds_free(c->cmds);
    return ok;
}

bool gpu_state_copy(void *state, uint32_t seq, uint32_t n_tokens, struct state_copy *copy,
                    struct err *e)
{
    struct gpu *g = state;
    if (!ahead_drop(g, e))
        return false;
    struct copying c = {g, vk_cmds_begin(g->vk, e), copy->to != NULL, 0};
    if (!c.cmds)
        return false;
    copy_states(&c, seq, n_tokens);
    copy_rings(&c, seq, n_tokens);
    return submit_copy(&c, copy, e);
}

bool gpu_rows_copy(void *state, uint32_t seq, uint32_t first, uint32_t end, struct state_copy *copy,
                   struct err *e)
{
    struct gpu *g = state;
    if (!ahead_drop(g, e))
        return false;
    const uint64_t n_row = gpu_rows_bytes(g->plan, &g->params, 1);
    const uint32_t most = n_row ? (uint32_t)num_min(g->saved.n_bytes / n_row, end - first) : 0;
    for (uint32_t at = first; most && at < end; at += most) {
        struct copying c = {g, vk_cmds_begin(g->vk, e), copy->to != NULL, 0};
        if (!c.cmds)
            return false;
        copy_whole(&c, &(struct positions){seq, at, (uint32_t)num_min(at + most, end)});
        if (!submit_copy(&c, copy, e))
            return false;
    }
    return true;
}

static void copy_page(struct vk_cmds *cmds, const struct vk_buffer *b, uint64_t row_bytes,
                      uint32_t n_heads, uint32_t n_rows, const struct page_copy *copy)
{
    for (uint64_t head = 0; head < n_heads; head++) {
        const uint64_t from = (copy->from * (uint64_t)n_heads + head) * n_rows;
        const uint64_t to = (copy->to * (uint64_t)n_heads + head) * n_rows;
        vk_cmds_copy(cmds, b, from * row_bytes, b, to * row_bytes, copy->n_rows * row_bytes);
    }
}

bool gpu_page_copy(void *state, const struct page_copy *copy, struct err *e)
{
    struct gpu *g = state;
    struct vk_cmds *cmds = ahead_drop(g, e) ? vk_cmds_begin(g->vk, e) : NULL;
    if (!cmds)
        return false;
    struct cache_shape s;
    for (size_t i = 0; i < g->plan->n_ops; i++) {
        if (!gpu_cache_shape(&g->plan->ops[i], &g->params, &s) ||
            exec_kv_is_ring(&g->plan->kv[s.kv], &g->params))
            continue;
        const struct gpu_cache *cache = &g->caches[s.kv];
        copy_page(cmds, &cache->keys, s.key, s.n_heads, cache->n_rows, copy);
        if (s.value)
            copy_page(cmds, &cache->values, s.value, s.n_heads, cache->n_rows, copy);
    }
    const bool ok = vk_cmds_end(cmds, e) && gpu_submit(g, cmds, e);
    vk_cmds_free(cmds);
    return ok;
}
