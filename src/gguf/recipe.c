#include "gguf/recipe.h"

static bool has(str name, const char *part)
{
    return str_find(name, str_of(part), 0) != SIZE_MAX;
}

bool recipe_is_matrix(str name, const uint64_t ne[4])
{
    int n_axes = 0;
    for (int d = 0; d < 4; d++)
        n_axes += ne[d] > 1;
    return n_axes >= 2 && str_ends(name, STR(".weight")) && !str_ends(name, STR("_norm.weight")) &&
           !has(name, "ffn_gate_inp") && !has(name, "ssm_conv1d") && !has(name, "position_embd");
}

/* The layer in "blk.17.attn_v.weight"; 0 for other names. */
static uint32_t layer_of(str name)
{
    int64_t layer = 0;
    str rest;
    if (str_starts(name, STR("blk.")))
        str_to_i64(str_cut(str_sub(name, 4, name.n), '.', &rest), &layer);
    return (uint32_t)layer;
}

/* The layers whose values and down projections get more bits: the first and the last eighth, and
 * every third between. */
static bool is_precious_layer(uint32_t layer, uint32_t n_layers)
{
    uint32_t eighth = n_layers / 8;
    return layer < eighth || layer >= 7 * n_layers / 8 || (layer - eighth) % 3 == 2;
}

static enum block_type wanted(const struct recipe *r, str name)
{
    uint32_t layer = layer_of(name);
    bool values = has(name, "attn_v.") || has(name, "attn_qkv.") || has(name, "attn_kv_b.");
    bool down = has(name, "ffn_down");
    bool output =
        str_eq(name, STR("output.weight")) || (r->tied && str_eq(name, STR("token_embd.weight")));
    switch (r->type) {
    case BLOCK_F32:
    case BLOCK_F16:
    case BLOCK_BF16:
    case BLOCK_Q8_0: return r->type;
    case BLOCK_MXFP4: return has(name, "_exps.") ? BLOCK_MXFP4 : BLOCK_Q8_0;
    default: break;
    }
    if (output)
        return BLOCK_Q6_K;
    if (r->type == BLOCK_IQ4_NL || r->type == BLOCK_IQ4_XS) {
        bool early = down && !r->imatrix && layer < r->n_layers / 8;
        if (early || (values && r->kv_share >= 4))
            return BLOCK_Q5_K;
    }
    if ((r->type == BLOCK_Q4_K || r->type == BLOCK_Q5_K) && (values || down) &&
        is_precious_layer(layer, r->n_layers))
        return BLOCK_Q6_K;
    return r->type;
}

/* For rows that are no multiple of 256. */
static enum block_type fall_back(enum block_type type)
{
    switch (type) {
    case BLOCK_Q2_K:
    case BLOCK_Q3_K: return BLOCK_Q4_0;
    case BLOCK_Q4_K: return BLOCK_Q5_0;
    case BLOCK_Q5_K: return BLOCK_Q5_1;
    case BLOCK_Q6_K: return BLOCK_Q8_0;
    case BLOCK_IQ4_XS: return BLOCK_IQ4_NL;
    default: return BLOCK_F16;
    }
}

enum block_type recipe_pick(const struct recipe *r, str name, const uint64_t ne[4])
{
    if (!recipe_is_matrix(name, ne))
        return BLOCK_F32;
    enum block_type type = wanted(r, name);
    while (ne[0] % block_info((uint32_t)type)->n_elems)
        type = fall_back(type);
    return type;
}

uint32_t recipe_file_type(enum block_type type)
{
    switch (type) {
    case BLOCK_F32: return 0;
    case BLOCK_F16: return 1;
    case BLOCK_Q4_0: return 2;
    case BLOCK_Q4_1: return 3;
    case BLOCK_Q8_0: return 7;
    case BLOCK_Q5_0: return 8;
    case BLOCK_Q5_1: return 9;
    case BLOCK_Q2_K: return 10;
    case BLOCK_Q3_K: return 12;
    case BLOCK_Q4_K: return 15;
    case BLOCK_Q5_K: return 17;
    case BLOCK_Q6_K: return 18;
    case BLOCK_IQ4_NL: return 25;
    case BLOCK_IQ4_XS: return 30;
    case BLOCK_BF16: return 32;
    case BLOCK_MXFP4: return 38;
    case BLOCK_TYPE_LIMIT: break;
    }
    return 0;
}
