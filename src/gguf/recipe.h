/* recipe: which type each tensor of a quantised model gets. The mixes are those that llama.cpp
 * gives its files (spec "models" section 2), so that sizes and speeds can be compared; the type of
 * a recipe is what most matrices get. Pure functions. */
#pragma once
#include "gguf/gguf.h"

struct recipe {
    enum block_type type;
    uint32_t n_layers;
    uint32_t kv_share; /* query heads per KV head */
    bool tied;         /* no output.weight: the embedding is the output matrix too */
    bool imatrix;      /* the mix of a file made with an importance matrix */
};

/* True for what is multiplied with: at least two dimensions above 1, and neither a norm nor a
 * router, a convolution or a bias. All else is F32 in every recipe. */
bool recipe_is_matrix(str name, const uint64_t ne[4]);
/* The type for a tensor. Falls back where ne[0] is no multiple of the type's block: a K type to the
 * next larger one of 32, and last to F16. */
enum block_type recipe_pick(const struct recipe *r, str name, const uint64_t ne[4]);
/* general.file_type of a file made by the recipe. */
uint32_t recipe_file_type(enum block_type type);
