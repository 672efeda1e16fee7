/* Rotary tables, made once per plan in double precision. */
#include <math.h>
#include <stdio.h>

#include "model/arch.h"

/* The pair whose wave turns n_turns times over the training context (YaRN, eq. for find_correction
 * in HF's modeling_rope_utils). */
static double yarn_pair_of_turns(const struct rope_spec *s, double n_turns)
{
    return s->n_rot * log(s->n_ctx_train / (2 * M_PI * n_turns)) / (2 * log(s->base));
}

/* YaRN keeps the fast pairs, stretches the slow ones by the factor, and blends between. */
static void yarn_stretch(const struct rope_spec *s, double *inv_freq)
{
    double low = yarn_pair_of_turns(s, s->beta_fast);
    double high = yarn_pair_of_turns(s, s->beta_slow);
    if (s->yarn_rounded) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, s->n_rot - 1.0);
    for (uint32_t i = 0; i < s->n_rot / 2; i++) {
        double stretched = fmin(fmax((i - low) / fmax(0.001, high - low), 0), 1);
        inv_freq[i] *= stretched / s->factor + (1 - stretched);
    }
}

const struct rope *rope_make(struct arena *a, const struct rope_spec *s)
{
    const uint32_t n_pairs = s->n_rot / 2;
    struct rope *rope = arena_new(a, 1, sizeof *rope);
    double *inv_freq = arena_new(a, n_pairs, sizeof *inv_freq);
    for (uint32_t i = 0; i < n_pairs; i++)
        inv_freq[i] =
            pow(s->base, -2.0 * i / s->n_rot) / (s->pair_factors ? (double)s->pair_factors[i] : 1);
    rope->mscale = 1;
    switch (s->scaling) {
    case ROPE_PLAIN: break;
    case ROPE_LINEAR:
        for (uint32_t i = 0; i < n_pairs; i++)
            inv_freq[i] /= s->factor;
        break;
    case ROPE_YARN:
        yarn_stretch(s, inv_freq);
        rope->mscale = (float)(s->attn_factor * (1 + 0.1 * log(s->factor)));
        break;
    }
    rope->pairs = s->pairs;
    rope->n_rot = s->n_rot;
    rope->inv_freq = inv_freq;
    return rope;
}

/* The scaling that the keys name; ROPE_PLAIN without a factor. */
static enum rope_scaling read_scaling(struct builder *b, enum rope_scaling unnamed, float *factor)
{
    char key[128];
    str type = {0};
    snprintf(key, sizeof key, "%s.rope.scaling.type", b->arch);
    if (b->failed || !gguf_str(b->file, key, false, &type, b->e)) {
        b->failed = true;
        return ROPE_PLAIN;
    }
    key_f32(b, "rope.scale_linear", OPTIONAL, 0, 1e6f, factor);
    key_f32(b, "rope.scaling.factor", OPTIONAL, 0, 1e6f, factor);
    if (str_eq(type, STR("none")) || *factor == 0)
        return ROPE_PLAIN;
    if (type.n == 0)
        return unnamed;
    if (str_eq(type, STR("linear")))
        return ROPE_LINEAR;
    if (str_eq(type, STR("yarn")))
        return ROPE_YARN;
    build_fail(b, ERR_UNSUPPORTED, "key '%s' is '%.*s', must be none, linear or yarn", key,
               STRF(type));
    return ROPE_PLAIN;
}

/* The tensor rope_freqs (Llama 3.1 and later), or NULL. Lives in the plan's arena. */
static const float *read_factors(struct builder *b)
{
    const uint32_t n = b->hp->n_rot / 2;
    const struct weight *w = bind_optional(b, NO_BLOCK, "rope_freqs.weight", vector(n));
    if (!w)
        return NULL;
    if (w->type != BLOCK_F32) {
        build_fail(b, ERR_FORMAT, "tensor 'rope_freqs.weight' is %s, must be F32",
                   block_type_name(w->type));
        return NULL;
    }
    float *factors = arena_new(&b->plan->arena, n, sizeof *factors);
    if (!weight_read(w, 0, factors, w->n_bytes, b->e))
        b->failed = true;
    for (uint32_t i = 0; i < n; i++)
        if (!b->failed && !(factors[i] >= 1e-6f && factors[i] <= 1e6f))
            build_fail(b, ERR_FORMAT,
                       "tensor 'rope_freqs.weight' has %g at %u, must be 1e-6 to 1e6",
                       (double)factors[i], i);
    return factors;
}

struct rope_spec rope_keys(struct builder *b, enum rope_pairs pairs, enum rope_scaling unnamed)
{
    float factor = 0, attn_factor = 1, beta_fast = 32, beta_slow = 1;
    uint32_t n_ctx_train = b->hp->n_ctx_train;
    const enum rope_scaling scaling = read_scaling(b, unnamed, &factor);
    key_u32(b, "rope.scaling.original_context_length", OPTIONAL, 1, UINT32_MAX, &n_ctx_train);
    key_f32(b, "rope.scaling.attn_factor", OPTIONAL, 1e-3f, 1e3f, &attn_factor);
    key_f32(b, "rope.scaling.yarn_beta_fast", OPTIONAL, 1e-3f, 1e6f, &beta_fast);
    key_f32(b, "rope.scaling.yarn_beta_slow", OPTIONAL, 1e-3f, 1e6f, &beta_slow);
    const float *pair_factors = read_factors(b);
    if (b->failed)
        return (struct rope_spec){0};
    return (struct rope_spec){
        .pairs = pairs,
        .n_rot = b->hp->n_rot,
        .base = (double)b->hp->rope_base,
        .scaling = scaling,
        .factor = (double)factor,
        .n_ctx_train = n_ctx_train,
        .attn_factor = (double)attn_factor,
        .beta_fast = (double)beta_fast,
        .beta_slow = (double)beta_slow,
        .pair_factors = pair_factors,
        .yarn_rounded = true,
    };
}

const struct rope *rope_from_keys(struct builder *b, enum rope_pairs pairs)
{
    const struct rope_spec spec = rope_keys(b, pairs, ROPE_LINEAR);
    return b->failed ? NULL : rope_make(&b->plan->arena, &spec);
}
