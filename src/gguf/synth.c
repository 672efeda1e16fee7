/* Shapes and keys come from the real files (spec "models", tensor lists beside it). */
#include "gguf/synth.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "gguf/gguf_fill.h"
#include "gguf/recipe.h"
#include "gguf/synth_fill.h"

enum { MAX_LAYERS = 512, MAX_VOCAB = 1 << 21 };
enum arch { QWEN3MOE, GPT_OSS, QWEN3NEXT };
static const char *const arch_names[] = {"qwen3moe", "gpt-oss", "qwen3next"};

struct shape {
    enum arch arch;
    enum block_type type;
    uint32_t n_layers, width, n_heads, n_kv_heads, head_dim;
    uint32_t n_experts, n_used, ff, dense_ff, n_vocab, n_context;
    float eps, theta;
};

/* The tiny ones are for trying things out: all parts of an architecture in a few megabytes. */
static const char *const names[] = {
    "qwen3-coder-30b", "qwen3-30b-2507", "gpt-oss-20b",    "qwen3-next-80b",
    "tiny-qwen3moe",   "tiny-gpt-oss",   "tiny-qwen3next", NULL,
};
static const struct shape shapes[] = {
    {QWEN3MOE, BLOCK_IQ4_NL, 48, 2048, 32, 4, 128, 128, 8, 768, 5472, 151936, 262144, 1e-6f, 1e7f},
    {QWEN3MOE, BLOCK_IQ4_NL, 48, 2048, 32, 4, 128, 128, 8, 768, 6144, 151936, 262144, 1e-6f, 1e7f},
    {GPT_OSS, BLOCK_MXFP4, 24, 2880, 64, 8, 64, 32, 4, 2880, 2880, 201088, 131072, 1e-5f, 1.5e5f},
    {QWEN3NEXT, BLOCK_IQ4_NL, 48, 2048, 16, 2, 256, 512, 10, 512, 5120, 151936, 262144, 1e-6f,
     1e7f},
    {QWEN3MOE, BLOCK_IQ4_NL, 4, 256, 4, 1, 64, 8, 2, 256, 512, 1024, 4096, 1e-6f, 1e7f},
    {GPT_OSS, BLOCK_MXFP4, 4, 288, 8, 1, 64, 8, 2, 288, 288, 1024, 8192, 1e-5f, 1.5e5f},
    {QWEN3NEXT, BLOCK_IQ4_NL, 4, 256, 2, 1, 256, 16, 4, 256, 512, 1024, 4096, 1e-6f, 1e7f},
};

/* The gated delta net of qwen3next. Fewer than 4 layers end with one that has attention: llama.cpp
 * does not load a model without any. */
enum {
    DELTA_KEY_HEADS = 16,
    DELTA_VALUE_HEADS = 32,
    DELTA_STATE = 128, /* per head */
    DELTA_CONV = 4,
    DELTA_INNER = DELTA_VALUE_HEADS * DELTA_STATE,
    DELTA_CHANNELS = 2 * DELTA_KEY_HEADS * DELTA_STATE + DELTA_INNER,
    DELTA_INTERVAL = 4, /* every fourth layer has attention */
};

struct synth {
    struct arena arena; /* tensor names */
    struct shape shape;
    struct recipe recipe;
    const char *name;
    const struct gguf *tokenizer;
    uint64_t seed;
    struct gguf_tensor *tensors;
    size_t n_tensors;
};

const char *const *synth_names(void)
{
    return names;
}

/* Adds a tensor; a dimension of 0 ends the shape. */
static void add(struct synth *s, str name, uint64_t ne0, uint64_t ne1, uint64_t ne2)
{
    s->tensors = mem_grow(s->tensors, s->n_tensors + 1, sizeof *s->tensors);
    struct gguf_tensor *t = &s->tensors[s->n_tensors++];
    *t = (struct gguf_tensor){.name = name, .ne = {ne0, ne1, ne2}, .n_dims = 1};
    t->n_dims += (ne1 != 0) + (ne2 != 0);
    for (uint32_t d = t->n_dims; d < 4; d++)
        t->ne[d] = 1;
    t->type = recipe_pick(&s->recipe, name, t->ne);
    gguf_fill_size(t);
}

/* The same for layer i, "blk.i.name". */
static void add_to_layer(struct synth *s, uint32_t i, const char *name, uint64_t ne0, uint64_t ne1,
                         uint64_t ne2)
{
    add(s, arena_fmt(&s->arena, "blk.%u.%s", i, name), ne0, ne1, ne2);
}

/* Queries, keys, values and output with their biases or head norms; queries may be doubled by a
 * gate. */
static void add_attention(struct synth *s, uint32_t i)
{
    const struct shape *m = &s->shape;
    bool bias = m->arch == GPT_OSS;
    uint64_t q = m->n_heads * m->head_dim, kv = m->n_kv_heads * m->head_dim;
    add_to_layer(s, i, "attn_q.weight", m->width, m->arch == QWEN3NEXT ? 2 * q : q, 0);
    if (bias)
        add_to_layer(s, i, "attn_q.bias", q, 0, 0);
    add_to_layer(s, i, "attn_k.weight", m->width, kv, 0);
    if (bias)
        add_to_layer(s, i, "attn_k.bias", kv, 0, 0);
    add_to_layer(s, i, "attn_v.weight", m->width, kv, 0);
    if (bias)
        add_to_layer(s, i, "attn_v.bias", kv, 0, 0);
    add_to_layer(s, i, "attn_output.weight", q, m->width, 0);
    if (bias) {
        add_to_layer(s, i, "attn_output.bias", m->width, 0, 0);
        add_to_layer(s, i, "attn_sinks.weight", m->n_heads, 0, 0);
    } else {
        add_to_layer(s, i, "attn_q_norm.weight", m->head_dim, 0, 0);
        add_to_layer(s, i, "attn_k_norm.weight", m->head_dim, 0, 0);
    }
}

static void add_delta_net(struct synth *s, uint32_t i)
{
    uint64_t width = s->shape.width;
    add_to_layer(s, i, "attn_qkv.weight", width, DELTA_CHANNELS, 0);
    add_to_layer(s, i, "attn_gate.weight", width, DELTA_INNER, 0);
    add_to_layer(s, i, "ssm_conv1d.weight", DELTA_CONV, DELTA_CHANNELS, 0);
    add_to_layer(s, i, "ssm_dt.bias", DELTA_VALUE_HEADS, 0, 0);
    add_to_layer(s, i, "ssm_a", DELTA_VALUE_HEADS, 0, 0);
    add_to_layer(s, i, "ssm_ba.weight", width, 2 * DELTA_VALUE_HEADS, 0);
    add_to_layer(s, i, "ssm_norm.weight", DELTA_STATE, 0, 0);
    add_to_layer(s, i, "ssm_out.weight", DELTA_INNER, width, 0);
}

static void add_experts(struct synth *s, uint32_t i)
{
    static const char *const parts[] = {"gate", "up", "down"};
    const struct shape *m = &s->shape;
    bool bias = m->arch == GPT_OSS;
    add_to_layer(s, i, "ffn_gate_inp.weight", m->width, m->n_experts, 0);
    if (bias)
        add_to_layer(s, i, "ffn_gate_inp.bias", m->n_experts, 0, 0);
    for (int k = 0; k < 3; k++) {
        char name[64];
        uint64_t in = k == 2 ? m->ff : m->width, out = k == 2 ? m->width : m->ff;
        snprintf(name, sizeof name, "ffn_%s_exps.weight", parts[k]);
        add_to_layer(s, i, name, in, out, m->n_experts);
        snprintf(name, sizeof name, "ffn_%s_exps.bias", parts[k]);
        if (bias)
            add_to_layer(s, i, name, out, m->n_experts, 0);
    }
    if (m->arch != QWEN3NEXT)
        return;
    add_to_layer(s, i, "ffn_gate_inp_shexp.weight", m->width, 0, 0);
    add_to_layer(s, i, "ffn_gate_shexp.weight", m->width, m->ff, 0);
    add_to_layer(s, i, "ffn_up_shexp.weight", m->width, m->ff, 0);
    add_to_layer(s, i, "ffn_down_shexp.weight", m->ff, m->width, 0);
}

static uint32_t attention_interval(const struct synth *s)
{
    return s->shape.n_layers < DELTA_INTERVAL ? s->shape.n_layers : DELTA_INTERVAL;
}

static void plan(struct synth *s)
{
    const struct shape *m = &s->shape;
    add(s, STR("token_embd.weight"), m->width, m->n_vocab, 0);
    for (uint32_t i = 0; i < m->n_layers; i++) {
        bool linear = m->arch == QWEN3NEXT && (i + 1) % attention_interval(s) != 0;
        add_to_layer(s, i, "attn_norm.weight", m->width, 0, 0);
        add_to_layer(s, i, m->arch == QWEN3MOE ? "ffn_norm.weight" : "post_attention_norm.weight",
                     m->width, 0, 0);
        if (linear)
            add_delta_net(s, i);
        else
            add_attention(s, i);
        add_experts(s, i);
    }
    add(s, STR("output_norm.weight"), m->width, 0, 0);
    add(s, STR("output.weight"), m->width, m->n_vocab, 0);
}

static void set_unknown_name(const char *name, struct err *e)
{
    struct buf list = {0};
    for (const char *const *n = names; *n; n++)
        buf_fmt(&list, "%s%s", n == names ? "" : ", ", *n);
    err_set(e, ERR_USAGE, "no shapes for a model called '%s': there are %s", name, list.p);
    buf_free(&list);
}

/* The number of tokens of the tokenizer that is to be copied. */
static bool read_vocab(const struct gguf *g, uint32_t *n_vocab, struct err *e)
{
    const struct gguf_kv *kv = gguf_find(g, STR("tokenizer.ggml.tokens"));
    if (!kv || !kv->is_array || kv->type != GGUF_STRING || kv->n < 1 || kv->n > MAX_VOCAB)
        return err_set(e, ERR_FORMAT,
                       "%s: key 'tokenizer.ggml.tokens' must be an array of 1 to %d strings",
                       gguf_path(g), MAX_VOCAB);
    *n_vocab = (uint32_t)kv->n;
    return true;
}

struct synth *synth_open(const char *name, const struct synth_options *o, struct err *e)
{
    size_t i = 0;
    while (names[i] && strcmp(names[i], name))
        i++;
    if (!names[i]) {
        set_unknown_name(name, e);
        return NULL;
    }
    if (o->n_layers > MAX_LAYERS) {
        err_set(e, ERR_USAGE, "%u layers, limit %d", o->n_layers, MAX_LAYERS);
        return NULL;
    }
    struct shape m = shapes[i];
    if (o->tokenizer && !read_vocab(o->tokenizer, &m.n_vocab, e))
        return NULL;
    m.n_layers = o->n_layers ? o->n_layers : m.n_layers;
    struct synth *s = mem_new(1, sizeof *s);
    s->shape = m;
    s->name = names[i];
    s->seed = o->seed;
    s->tokenizer = o->tokenizer;
    s->recipe = (struct recipe){.type = o->has_type ? o->type : m.type,
                                .n_layers = m.n_layers,
                                .kv_share = m.n_heads / m.n_kv_heads,
                                .imatrix = true};
    plan(s);
    return s;
}

void synth_close(struct synth *s)
{
    if (!s)
        return;
    arena_free(&s->arena);
    free(s->tensors);
    free(s);
}

const struct gguf_tensor *synth_tensors(const struct synth *s, size_t *n)
{
    *n = s->n_tensors;
    return s->tensors;
}

uint64_t synth_n_bytes(const struct synth *s)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < s->n_tensors; i++)
        sum += s->tensors[i].n_bytes;
    return sum;
}

static void put_u32(struct gguf_writer *w, const struct synth *s, const char *suffix, uint32_t v)
{
    char key[128];
    snprintf(key, sizeof key, "%s.%s", arch_names[s->shape.arch], suffix);
    gguf_writer_u32(w, key, v);
}

static void put_f32(struct gguf_writer *w, const struct synth *s, const char *suffix, float v)
{
    char key[128];
    snprintf(key, sizeof key, "%s.%s", arch_names[s->shape.arch], suffix);
    gguf_writer_f32(w, key, v);
}

static void put_common_keys(struct gguf_writer *w, const struct synth *s)
{
    const struct shape *m = &s->shape;
    char title[64];
    snprintf(title, sizeof title, "synthetic %s", s->name);
    gguf_writer_str(w, "general.architecture", str_of(arch_names[m->arch]));
    gguf_writer_str(w, "general.name", str_of(title));
    gguf_writer_u32(w, "general.quantization_version", 2);
    gguf_writer_u32(w, "general.file_type", recipe_file_type(s->recipe.type));
    put_u32(w, s, "block_count", m->n_layers);
    put_u32(w, s, "context_length", m->n_context);
    put_u32(w, s, "embedding_length", m->width);
    put_u32(w, s, "feed_forward_length", m->dense_ff);
    put_u32(w, s, "attention.head_count", m->n_heads);
    put_u32(w, s, "attention.head_count_kv", m->n_kv_heads);
    put_u32(w, s, "attention.key_length", m->head_dim);
    put_u32(w, s, "attention.value_length", m->head_dim);
    put_f32(w, s, "attention.layer_norm_rms_epsilon", m->eps);
    put_f32(w, s, "rope.freq_base", m->theta);
    put_u32(w, s, "expert_count", m->n_experts);
    put_u32(w, s, "expert_used_count", m->n_used);
    put_u32(w, s, "expert_feed_forward_length", m->ff);
    put_u32(w, s, "vocab_size", m->n_vocab);
}

static void put_arch_keys(struct gguf_writer *w, const struct synth *s)
{
    switch (s->shape.arch) {
    case QWEN3MOE: break;
    case GPT_OSS:
        put_u32(w, s, "attention.sliding_window", 128);
        gguf_writer_str(w, "gpt-oss.rope.scaling.type", STR("yarn"));
        put_f32(w, s, "rope.scaling.factor", 32);
        put_u32(w, s, "rope.scaling.original_context_length", 4096);
        break;
    case QWEN3NEXT:
        put_u32(w, s, "expert_shared_feed_forward_length", s->shape.ff);
        put_u32(w, s, "rope.dimension_count", 64);
        put_u32(w, s, "ssm.conv_kernel", DELTA_CONV);
        put_u32(w, s, "ssm.state_size", DELTA_STATE);
        put_u32(w, s, "ssm.group_count", DELTA_KEY_HEADS);
        put_u32(w, s, "ssm.time_step_rank", DELTA_VALUE_HEADS);
        put_u32(w, s, "ssm.inner_size", DELTA_INNER);
        put_u32(w, s, "full_attention_interval", attention_interval(s));
        break;
    }
}

static void put_tokenizer(struct gguf_writer *w, const struct gguf *from)
{
    if (!from)
        gguf_writer_str(w, "tokenizer.ggml.model", STR("none"));
    for (size_t i = 0; from && i < gguf_n_kv(from); i++)
        if (str_starts(gguf_kv_at(from, i)->key, STR("tokenizer.")))
            gguf_writer_copy(w, from, gguf_kv_at(from, i));
}

/* Tensors that are no matrices, by the end of their names, in the ranges that real ones have: decay
 * negative, time steps small, so that the recurrent state neither grows nor dies at once. */
static bool range_of(str name, float *low, float *high)
{
    static const struct {
        const char *end;
        float low, high;
    } rows[] = {
        {"norm.weight", 0.97f, 1.03f}, {"ssm_a", -4.0f, -0.25f},
        {"ssm_dt.bias", -4.0f, -1.0f}, {".bias", -0.03f, 0.03f},
        {"attn_sinks.weight", -1, 1},  {"ssm_conv1d.weight", -0.5f, 0.5f},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (str_ends(name, str_of(rows[i].end))) {
            *low = rows[i].low;
            *high = rows[i].high;
            return true;
        }
    return false;
}

/* Each piece has a generator of its own, so that threads do not matter. Matrices deviate by
 * 1 / sqrt(row length): they keep the size of what they are multiplied with. */
static bool make_piece(const void *ctx, size_t i_tensor, uint64_t first, size_t n, void *out,
                       struct err *e)
{
    const struct synth *s = ctx;
    const struct gguf_tensor *t = &s->tensors[i_tensor];
    struct rng r = {s->seed};
    float low, high;
    (void)e;
    r.state = rng_u64(&r) ^ (uint64_t)i_tensor << 40 ^ first;
    r.state = rng_u64(&r);
    if (range_of(t->name, &low, &high))
        synth_fill_range(low, high, &r, out, n);
    else
        synth_fill(t->type, 1 / sqrtf((float)t->ne[0]), &r, out, n);
    return true;
}

bool synth_write(const struct synth *s, const char *path, int n_threads,
                 const struct progress *progress, const atomic_bool *stop, struct err *e)
{
    struct gguf_fill fill = {.tensors = s->tensors,
                             .n_tensors = s->n_tensors,
                             .make = make_piece,
                             .ctx = s,
                             .n_threads = n_threads,
                             .progress = progress,
                             .stop = stop};
    struct gguf_writer *w = gguf_writer_open(path, e);
    if (!w)
        return false;
    put_common_keys(w, s);
    put_arch_keys(w, s);
    put_tokenizer(w, s->tokenizer);
    bool ok = gguf_fill(&fill, w, e);
    gguf_writer_close(w);
    return ok;
}
