/* What sequences keep, copied: pages; and as saved states, which are the recurrent
 * states, then of every ring the tiles that hold the window of the row to come. */
#include "compute/cpu/cpu.h"

/* Most tiles that n neighbouring positions lie in. */
static uint32_t tiles_of(uint32_t n)
{
    return n ? (n + KEY_TILE - 2) / KEY_TILE + 1 : 0;
}

uint64_t cpu_state_bytes(const struct plan *p, const struct exec_params *params)
{
    uint64_t n_bytes = delta_place_states(p, NULL) * sizeof(float);
    for (size_t i = 0; i < p->n_kv; i++)
        n_bytes += (uint64_t)tiles_of(exec_kv_saved(&p->kv[i], params)) * KEY_TILE *
                   (block_row_bytes(params->type_k, p->kv[i].k_width) +
                    block_row_bytes(params->type_v, p->kv[i].v_width));
    return n_bytes;
}

/* Positions [first, end), in whole tiles: what stands in them beside these is seen by no row to
 * come. */
static void copy_tiles(const struct cache *cache, uint32_t seq, uint32_t first, uint32_t end,
                       struct state_copy *copy)
{
    const size_t value_tile_bytes = KEY_TILE * cache->value_bytes;
    for (uint32_t head = 0; head < cache->n_heads; head++)
        for (uint32_t tile = first / KEY_TILE; tile * KEY_TILE < end; tile++) {
            const size_t at = cache_tile(cache, seq, head, tile * KEY_TILE);
            state_copy_bytes(copy, cache->keys + at * cache->key_tile_bytes, cache->key_tile_bytes);
            state_copy_bytes(copy, cache->values + at * value_tile_bytes, value_tile_bytes);
        }
}

bool cpu_state_copy(void *state, uint32_t seq, uint32_t n_tokens, struct state_copy *copy,
                    struct err *e)
{
    (void)e;
    const struct cpu *c = state;
    const struct plan *p = c->plan;
    if (p->n_states)
        state_copy_bytes(copy, c->states + seq * c->n_state_floats,
                         c->n_state_floats * sizeof *c->states);
    for (size_t i = 0; i < p->n_kv; i++)
        if (exec_kv_is_ring(&p->kv[i], &c->params))
            copy_tiles(&c->caches[i], seq, exec_window_first(p->kv[i].window, n_tokens), n_tokens,
                       copy);
    return true;
}

uint64_t cpu_rows_bytes(const struct plan *p, const struct exec_params *params, uint32_t n)
{
    const uint64_t n_rows = (uint64_t)(n + KEY_TILE - 1) / KEY_TILE * KEY_TILE;
    uint64_t n_bytes = 0;
    for (size_t i = 0; i < p->n_kv; i++)
        if (!exec_kv_is_ring(&p->kv[i], params))
            n_bytes += n_rows * (block_row_bytes(params->type_k, p->kv[i].k_width) +
                                 block_row_bytes(params->type_v, p->kv[i].v_width));
    return n_bytes;
}

bool cpu_rows_copy(void *state, uint32_t seq, uint32_t first, uint32_t end, struct state_copy *copy,
                   struct err *e)
{
    (void)e;
    const struct cpu *c = state;
    for (size_t i = 0; i < c->plan->n_kv; i++)
        if (!exec_kv_is_ring(&c->plan->kv[i], &c->params))
            copy_tiles(&c->caches[i], seq, first, end, copy);
    return true;
}

/* Whole tiles here too: the rows behind are to be written. */
bool cpu_page_copy(void *state, const struct page_copy *copy, struct err *e)
{
    (void)e;
    const struct cpu *c = state;
    const size_t n_tiles = (copy->n_rows + KEY_TILE - 1) / KEY_TILE;
    for (size_t i = 0; i < c->plan->n_kv; i++) {
        const struct cache *cache = &c->caches[i];
        const size_t keys = cache->key_tile_bytes, values = KEY_TILE * cache->value_bytes;
        if (exec_kv_is_ring(&c->plan->kv[i], &c->params))
            continue;
        for (size_t head = 0; head < cache->n_heads; head++) {
            const size_t from = (copy->from * cache->n_heads + head) * cache->n_tiles;
            const size_t to = (copy->to * cache->n_heads + head) * cache->n_tiles;
            memcpy(cache->keys + to * keys, cache->keys + from * keys, n_tiles * keys);
            memcpy(cache->values + to * values, cache->values + from * values, n_tiles * values);
        }
    }
    return true;
}
