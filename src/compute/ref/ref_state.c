/* What a sequence keeps between runs: caches of keys and values, recurrent states, and copies of
 * what does not keep all of its history. */
#include <string.h>

#include "base/num.h"
#include "compute/ref/ref_int.h"

/* ---- caches ---------------------------------------------------------------------------------- */

static size_t layer_bytes(const struct kv_layer *kv, const struct exec_params *params)
{
    return exec_kv_pages(kv, params) * exec_kv_rows(kv, params) *
           (block_row_bytes(params->type_k, kv->k_width) +
            block_row_bytes(params->type_v, kv->v_width));
}

uint64_t ref_cache_bytes(const struct plan *p, const struct exec_params *params)
{
    uint64_t n_bytes = 0;
    for (size_t i = 0; i < p->n_kv; i++)
        n_bytes += layer_bytes(&p->kv[i], params);
    return n_bytes;
}

bool ref_make_cache(struct ref *r, struct err *e)
{
    const struct plan *p = r->plan;
    r->n_cache_bytes = ref_cache_bytes(p, &r->params);
    r->cache_bytes = mem_big(r->n_cache_bytes, "kv cache", e);
    if (!r->cache_bytes)
        return false;
    uint8_t *at = r->cache_bytes;
    r->cache = mem_new(p->n_kv, sizeof *r->cache);
    for (size_t i = 0; i < p->n_kv; i++) {
        struct ref_cache *c = &r->cache[i];
        c->k_row_bytes = block_row_bytes(r->params.type_k, p->kv[i].k_width);
        c->v_row_bytes = block_row_bytes(r->params.type_v, p->kv[i].v_width);
        c->n_rows = exec_kv_rows(&p->kv[i], &r->params);
        c->k = at;
        c->pages = exec_kv_table(&p->kv[i], &r->params);
        c->v = c->k + exec_kv_pages(&p->kv[i], &r->params) * c->n_rows * c->k_row_bytes;
        at += layer_bytes(&p->kv[i], &r->params);
    }
    return true;
}

/* ---- recurrent states ------------------------------------------------------------------------ */

size_t ref_state_floats(const struct plan *p)
{
    size_t n_floats = 0;
    for (size_t i = 0; i < p->n_ops; i++)
        if (p->ops[i].kind == OP_DELTA_NET)
            n_floats += ref_delta_floats(&p->ops[i].delta_net);
    return n_floats;
}

bool ref_make_states(struct ref *r, struct err *e)
{
    const struct plan *p = r->plan;
    if (p->n_states == 0)
        return true;
    r->n_state_floats = ref_state_floats(p);
    r->n_state_bytes = r->n_state_floats * r->params.n_seqs * sizeof(float);
    r->state_bytes = mem_big(r->n_state_bytes, "states", e);
    if (!r->state_bytes)
        return false;
    r->states = (float *)(void *)r->state_bytes;
    r->state_at = mem_new(p->n_states, sizeof *r->state_at);
    size_t at = 0;
    for (size_t i = 0; i < p->n_ops; i++) {
        const struct op_delta_net *o = &p->ops[i].delta_net;
        if (p->ops[i].kind != OP_DELTA_NET)
            continue;
        r->state_at[o->state] = at;
        at += ref_delta_floats(o);
    }
    return true;
}

bool ref_page_copy(void *state, const struct page_copy *copy, struct err *e)
{
    (void)e;
    const struct ref *r = state;
    for (size_t i = 0; i < r->plan->n_kv; i++) {
        const struct ref_cache *c = &r->cache[i];
        if (exec_kv_is_ring(&r->plan->kv[i], &r->params))
            continue;
        const size_t from = (size_t)copy->from * c->n_rows, to = (size_t)copy->to * c->n_rows;
        memcpy(c->k + to * c->k_row_bytes, c->k + from * c->k_row_bytes,
               copy->n_rows * c->k_row_bytes);
        memcpy(c->v + to * c->v_row_bytes, c->v + from * c->v_row_bytes,
               copy->n_rows * c->v_row_bytes);
    }
    return true;
}

/* ---- copies: the states, then for each ring its keys and its values, oldest position first -----
 */

uint64_t ref_state_bytes(const struct plan *p, const struct exec_params *params)
{
    uint64_t n_bytes = ref_state_floats(p) * sizeof(float);
    for (size_t i = 0; i < p->n_kv; i++)
        n_bytes += (uint64_t)exec_kv_saved(&p->kv[i], params) *
                   (block_row_bytes(params->type_k, p->kv[i].k_width) +
                    block_row_bytes(params->type_v, p->kv[i].v_width));
    return n_bytes;
}

static void copy_positions(const struct ref_cache *c, uint32_t seq, uint32_t first, uint32_t end,
                           struct state_copy *copy)
{
    for (uint32_t pos = first; pos < end; pos++) {
        const size_t row = ref_cache_row(c, seq, pos);
        state_copy_bytes(copy, c->k + row * c->k_row_bytes, c->k_row_bytes);
        state_copy_bytes(copy, c->v + row * c->v_row_bytes, c->v_row_bytes);
    }
}

uint64_t ref_rows_bytes(const struct plan *p, const struct exec_params *params, uint32_t n)
{
    uint64_t n_bytes = 0;
    for (size_t i = 0; i < p->n_kv; i++)
        if (!exec_kv_is_ring(&p->kv[i], params))
            n_bytes += n * (block_row_bytes(params->type_k, p->kv[i].k_width) +
                            block_row_bytes(params->type_v, p->kv[i].v_width));
    return n_bytes;
}

bool ref_rows_copy(void *state, uint32_t seq, uint32_t first, uint32_t end, struct state_copy *copy,
                   struct err *e)
{
    (void)e;
    const struct ref *r = state;
    for (size_t i = 0; i < r->plan->n_kv; i++)
        if (!exec_kv_is_ring(&r->plan->kv[i], &r->params))
            copy_positions(&r->cache[i], seq, first, end, copy);
    return true;
}

bool ref_state_copy(void *state, uint32_t seq, uint32_t n_tokens, struct state_copy *copy,
                    struct err *e)
{
    (void)e;
    const struct ref *r = state;
    if (r->n_state_floats)
        state_copy_bytes(copy, r->states + seq * r->n_state_floats,
                         r->n_state_floats * sizeof(float));
    for (size_t i = 0; i < r->plan->n_kv; i++) {
        const struct kv_layer *kv = &r->plan->kv[i];
        if (exec_kv_is_ring(kv, &r->params))
            copy_positions(&r->cache[i], seq, exec_window_first(kv->window, n_tokens), n_tokens,
                           copy);
    }
    return true;
}
