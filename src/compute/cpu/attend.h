/* attend: what ordinary and latent attention (mla.c) share. Private to compute/cpu/. */
#pragma once
#include "compute/cpu/cpu.h"

/* What an op is for this batch. */
struct attention {
    const struct op_attend *op;
    const struct cache *cache;
    const float *q_norm, *k_norm, *sinks;
    const float *q; /* [n_rows][n_head][head_dim, twice that when gated] */
    float *out;     /* [n_rows][n_head], heads out_stride apart; may be q: a tile reads its queries
                       before it writes */
    size_t out_stride;
    bool values_in_keys; /* a value is the first head_dim_v elements of its key */
    bool few_rows;       /* tiles are small, so that there are many */
    uint32_t heads_per_kv;
    uint32_t n_tile_rows, n_tile_heads; /* of a full query tile */
    uint32_t n_head_tiles;              /* query tiles over the heads of one key head */
    uint32_t n_values;                  /* head_dim_v, padded to lanes */
    int key_type, value_type;           /* index of load_keys and load_values */
};

/* Without q and out. */
struct attention attention_of(const struct cpu *c, const struct op_attend *o);
/* A phase unless worker.rope is it already: cosines and sines of every row. */
void attend_rotations(struct worker *w, const struct rope *rope);
/* Stores one key of n elements into lane `lane` of a tile. */
void attend_store_key(enum block_type type, const float *key, uint32_t n, uint8_t *tile,
                      uint32_t lane);
/* The tile of key head `head` that holds position pos of row t's sequence, in lane pos % KEY_TILE.
 */
uint8_t *attend_key_tile(const struct cpu *c, const struct attention *a, uint32_t t, uint32_t head,
                         uint32_t pos);
/* Cuts the batch into query tiles; thread 0, in a phase before attend_tiles. */
void attend_make_row_tiles(struct cpu *c, const struct attention *a);
/* The phases of the attention itself, when keys and values are stored. */
void attend_tiles(struct worker *w, const struct attention *a);
