#include "kit/models.h"

#include <math.h>
#include <unistd.h>

#include "base/file.h"
#include "test.h"

/* Where a block keeps its scales, and what they are for weights of mean 0 and known size. */
struct scale_layout {
    enum block_type type;
    int d_at;       /* byte of the half-precision scale; -1: none (MXFP4, floats) */
    int min_at;     /* byte of the minimum; -1: none */
    float min_by_d; /* minimum / scale that gives mean 0 */
};

static const struct scale_layout layouts[] = {
    {BLOCK_Q4_0, 0, -1, 0},     {BLOCK_Q4_1, 0, 2, -7.5f}, {BLOCK_Q5_0, 0, -1, 0},
    {BLOCK_Q5_1, 0, 2, -15.5f}, {BLOCK_Q8_0, 0, -1, 0},    {BLOCK_Q2_K, 80, 82, 1.5f},
    {BLOCK_Q3_K, 108, -1, 0},   {BLOCK_Q4_K, 0, 2, 7.5f},  {BLOCK_Q5_K, 0, 2, 15.5f},
    {BLOCK_Q6_K, 208, -1, 0},   {BLOCK_IQ4_NL, 0, -1, 0},  {BLOCK_IQ4_XS, 0, -1, 0},
};

static const struct scale_layout *layout_of(enum block_type type)
{
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        if (layouts[i].type == type)
            return &layouts[i];
    return NULL;
}

static void store_half(uint8_t *at, float f)
{
    uint16_t h = block_f32_to_f16(f);
    memcpy(at, &h, sizeof h);
}

/* Root of the mean square of one block's weights. */
static double block_rms(const struct block_info *info, const uint8_t *block)
{
    float values[256];
    double sum = 0;
    info->decode(block, values, info->n_elems);
    for (int i = 0; i < info->n_elems; i++)
        sum += (double)values[i] * (double)values[i];
    return sqrt(sum / info->n_elems);
}

/* Sets the scale of a block with random codes so that its weights have about the size wanted. */
static void scale_block(enum block_type type, uint8_t *block, float rms)
{
    const struct block_info *info = block_info(type);
    const struct scale_layout *l = layout_of(type);
    if (type == BLOCK_MXFP4) {
        block[0] = 128;
        block[0] = (uint8_t)(128 + lrint(log2((double)rms / fmax(block_rms(info, block), 1e-3))));
        return;
    }
    float d = 1;
    for (int pass = 0; pass < 2; pass++) {
        store_half(block + l->d_at, d);
        if (l->min_at >= 0)
            store_half(block + l->min_at, d * l->min_by_d);
        if (pass == 0)
            d = rms / (float)fmax(block_rms(info, block), 1e-3);
    }
}

float *kit_random_floats(struct rng *rng, size_t n, float mean, float rms)
{
    float *out = mem_new(n, sizeof *out);
    for (size_t i = 0; i < n; i++)
        out[i] = rng_f32(rng, mean - sqrtf(3) * rms, mean + sqrtf(3) * rms);
    return out;
}

void *kit_random_blocks(struct rng *rng, enum block_type type, uint64_t n_elems, float rms)
{
    const struct block_info *info = block_info(type);
    uint8_t *bytes = mem_new(n_elems / info->n_elems, info->n_bytes);
    for (uint64_t i = 0; i < n_elems / info->n_elems; i++) {
        uint8_t *block = bytes + i * info->n_bytes;
        float f = rng_f32(rng, -sqrtf(3) * rms, sqrtf(3) * rms);
        uint16_t half = type == BLOCK_BF16 ? block_f32_to_bf16(f) : block_f32_to_f16(f);
        if (type == BLOCK_F32)
            memcpy(block, &f, sizeof f);
        else if (type == BLOCK_F16 || type == BLOCK_BF16)
            memcpy(block, &half, sizeof half);
        else {
            for (int j = 0; j < info->n_bytes; j++)
                block[j] = (uint8_t)rng_u64(rng);
            scale_block(type, block, rms);
        }
    }
    return bytes;
}

/* ---- model files ----------------------------------------------------------------------------- */

struct writing {
    const struct kit_spec *spec;
    struct gguf_writer *w;
    struct rng rng;
    struct {
        size_t index;
        void *bytes;
        size_t n_bytes;
    } tensors[512];
    size_t n_tensors;
};

static bool is(const char *a, const char *b)
{
    return a && !strcmp(a, b);
}

static struct kit_spec with_defaults(const struct kit_spec *given)
{
    struct kit_spec s = *given;
    s.n_layer = s.n_layer ? s.n_layer : 2;
    s.n_embd = s.n_embd ? s.n_embd : 256;
    s.n_head = s.n_head ? s.n_head : 4;
    s.n_kv_head = s.n_kv_head ? s.n_kv_head : 2;
    s.head_dim = s.head_dim ? s.head_dim : 64;
    s.n_expert = s.n_expert ? s.n_expert : 8;
    s.n_used = s.n_used ? s.n_used : 2;
    s.n_ff = s.n_ff ? s.n_ff : 256;
    s.n_vocab = s.n_vocab ? s.n_vocab : 96;
    s.arch = s.arch ? s.arch : "qwen3moe";
    return s;
}

static void key(struct writing *g, const char *name, uint32_t value)
{
    char full[96];
    snprintf(full, sizeof full, "%s.%s", g->spec->arch, name);
    if (is(g->spec->changed_key, name))
        value = g->spec->changed_to;
    if (!is(g->spec->without, name))
        gguf_writer_u32(g->w, full, value);
}

static void tensor(struct writing *g, const char *name, enum block_type type, uint64_t n_in,
                   uint64_t n_rows, uint64_t n_matrices)
{
    const struct kit_spec *s = g->spec;
    if (is(s->without, name))
        return;
    const uint64_t ne[3] = {n_in, n_rows + is(s->reshaped, name), n_matrices};
    const uint64_t n_elems = ne[0] * ne[1] * ne[2];
    const bool norm = strstr(name, "norm") != NULL;
    const size_t i = g->n_tensors++;
    g->tensors[i].index = gguf_writer_tensor(g->w, str_of(name), type, ne,
                                             n_matrices > 1 ? 3
                                             : ne[1] > 1    ? 2
                                                            : 1);
    g->tensors[i].bytes =
        norm ? (void *)kit_random_floats(&g->rng, n_elems, 1, 0.2f)
             : kit_random_blocks(&g->rng, type, n_elems, 1.5f / sqrtf((float)n_in));
    g->tensors[i].n_bytes = block_row_bytes(type, n_in) * ne[1] * ne[2];
}

static void block_tensors(struct writing *g, uint32_t layer)
{
    const struct kit_spec *s = g->spec;
    const uint64_t d = s->n_embd, n_q = s->n_head * s->head_dim, n_k = s->n_kv_head * s->head_dim;
    char name[64];
    const struct {
        const char *name;
        bool there;
        bool float32;
        uint64_t n_in, n_rows, n_matrices;
    } list[] = {
        {"attn_norm", true, true, d, 1, 1},
        {"attn_qkv", s->fused, false, d, n_q + 2 * n_k, 1},
        {"attn_q", !s->fused, false, d, n_q, 1},
        {"attn_k", !s->fused, false, d, n_k, 1},
        {"attn_v", !s->fused, false, d, n_k, 1},
        {"attn_output", true, false, n_q, d, 1},
        {"attn_q_norm", true, true, s->head_dim, 1, 1},
        {"attn_k_norm", true, true, s->head_dim, 1, 1},
        {"ffn_norm", true, true, d, 1, 1},
        {"ffn_gate_inp", true, true, d, s->n_expert, 1},
        {"ffn_gate_up_exps", s->fused, false, d, 2 * s->n_ff, s->n_expert},
        {"ffn_gate_exps", !s->fused, false, d, s->n_ff, s->n_expert},
        {"ffn_up_exps", !s->fused, false, d, s->n_ff, s->n_expert},
        {"ffn_down_exps", true, false, s->n_ff, d, s->n_expert},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        snprintf(name, sizeof name, "blk.%u.%s.weight", layer, list[i].name);
        if (list[i].there)
            tensor(g, name, list[i].float32 ? BLOCK_F32 : s->type, list[i].n_in, list[i].n_rows,
                   list[i].n_matrices);
    }
}

static void rope_scaling(struct writing *g)
{
    char full[96];
    snprintf(full, sizeof full, "%s.rope.scaling.type", g->spec->arch);
    gguf_writer_str(g->w, full, str_of(g->spec->rope));
    snprintf(full, sizeof full, "%s.rope.scaling.factor", g->spec->arch);
    gguf_writer_f32(g->w, full, 4);
    key(g, "rope.scaling.original_context_length", 1024);
}

static void metadata(struct writing *g)
{
    const struct kit_spec *s = g->spec;
    char eps[96];
    gguf_writer_str(g->w, "general.architecture", str_of(s->arch));
    gguf_writer_str(g->w, "tokenizer.ggml.model", STR("none"));
    key(g, "context_length", 4096);
    key(g, "embedding_length", s->n_embd);
    key(g, "block_count", s->n_layer);
    key(g, "feed_forward_length", s->n_ff * s->n_used);
    key(g, "attention.head_count", s->n_head);
    key(g, "attention.head_count_kv", s->n_kv_head);
    key(g, "attention.key_length", s->head_dim);
    key(g, "attention.value_length", s->head_dim);
    key(g, "expert_count", s->n_expert);
    key(g, "expert_used_count", s->n_used);
    key(g, "expert_feed_forward_length", s->n_ff);
    snprintf(eps, sizeof eps, "%s.attention.layer_norm_rms_epsilon", s->arch);
    if (!is(s->without, "attention.layer_norm_rms_epsilon"))
        gguf_writer_f32(g->w, eps, 1e-6f);
    if (s->rope)
        rope_scaling(g);
}

char *kit_write_model(const struct kit_spec *given)
{
    struct err e = {0};
    const struct kit_spec spec = with_defaults(given);
    struct writing *g = mem_new(1, sizeof *g);
    char *path = strdup("/tmp/tawny-test-XXXXXX");
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    close(fd);
    g->spec = &spec;
    g->rng.state = test_seed() + spec.seed;
    CHECK_OK(g->w = gguf_writer_open(path, &e));
    metadata(g);
    tensor(g, "token_embd.weight", spec.type, spec.n_embd, spec.n_vocab, 1);
    for (uint32_t i = 0; i < spec.n_layer; i++)
        block_tensors(g, i);
    tensor(g, "output_norm.weight", BLOCK_F32, spec.n_embd, 1, 1);
    if (!spec.tied)
        tensor(g, "output.weight", spec.type, spec.n_embd, spec.n_vocab, 1);
    if (spec.extra)
        tensor(g, spec.extra, BLOCK_F32, 1, 1, 1);
    CHECK_OK(gguf_writer_start(g->w, &e));
    for (size_t i = 0; i < g->n_tensors; i++) {
        CHECK_OK(gguf_writer_data(g->w, g->tensors[i].index, 0, g->tensors[i].bytes,
                                  g->tensors[i].n_bytes, &e));
        free(g->tensors[i].bytes);
    }
    CHECK_OK(gguf_writer_finish(g->w, &e));
    gguf_writer_close(g->w);
    free(g);
    return path;
}

struct kit_model kit_open_model(const struct kit_spec *spec)
{
    struct err e = {0};
    struct kit_model m = {0};
    char *path = kit_write_model(spec);
    m.file = gguf_open(path, NULL, &e);
    unlink(path);
    free(path);
    CHECK_OK(m.file != NULL);
    CHECK_OK(m.model = model_open(m.file, NULL, &e));
    return m;
}

void kit_close_model(struct kit_model *m)
{
    model_close(m->model);
    gguf_close(m->file);
    *m = (struct kit_model){0};
}

/* ---- running --------------------------------------------------------------------------------- */

struct exec *kit_open_exec(const char *backend, const struct plan *plan,
                           const struct exec_params *params)
{
    struct err e = {0};
    const struct backend *b = backend_find(backend);
    if (!b)
        return NULL;
    struct exec *x = exec_open(b, plan, params, NULL, NULL, &e);
    if (!x && e.code == ERR_UNSUPPORTED) {
        printf("    %s\n", e.msg);
        return NULL;
    }
    CHECK_OK(x != NULL);
    return x;
}

void kit_run(struct exec *x, const int32_t *ids, uint32_t from, uint32_t to, uint32_t n_batch,
             uint32_t n_vocab, float *out)
{
    struct err e = {0};
    uint32_t *pos = mem_new(to, sizeof *pos);
    bool *want = mem_new(to, sizeof *want);
    for (uint32_t i = 0; i < to; i++) {
        pos[i] = i;
        want[i] = true;
    }
    while (from < to) {
        uint32_t n = n_batch && n_batch < to - from ? n_batch : to - from;
        const struct batch b = {.n = n, .ids = ids + from, .pos = pos + from, .want_logits = want};
        CHECK_OK(exec_run(x, &b, &e));
        for (uint32_t i = 0; i < n; i++, out += n_vocab)
            memcpy(out, exec_logits(x, i), n_vocab * sizeof *out);
        from += n;
    }
    free(pos);
    free(want);
}

double kit_rel_err(const float *got, const float *want, size_t n)
{
    double difference = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)got[i] - (double)want[i];
        if (!isfinite(d))
            return HUGE_VAL;
        difference += d * d;
        norm += (double)want[i] * (double)want[i];
    }
    return sqrt(difference / fmax(norm, 1e-300));
}

void *kit_read_shared(const char *relative, size_t *n_bytes)
{
    struct err e = {0};
    struct buf bytes = {0};
    CHECK_OK(file_read_all(test_shared(relative), 64 << 20, &bytes, &e));
    *n_bytes = bytes.n;
    return bytes.p;
}
