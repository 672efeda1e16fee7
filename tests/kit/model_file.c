/* Model files of every architecture, with random weights. */
#include <math.h>
#include <unistd.h>

#include "kit/models.h"
#include "test.h"

/* How an architecture's file differs from the others'. */
struct traits {
    const char *arch;
    bool head_norms;
    bool qkv_biases;
    bool sparse; /* experts */
    bool oss;    /* sinks and a bias on every matrix */
    bool latent; /* MLA; the first block dense, a shared expert */
    bool hybrid; /* even blocks recurrent, gated attention, a shared expert behind a gate */
    bool tiled;  /* hybrid: beta and alpha apart */
    bool old;    /* as Ollama's first files spell it */
};

static const struct traits families[] = {
    {"qwen3moe", .head_norms = true, .sparse = true},
    {"gpt-oss", .qkv_biases = true, .sparse = true, .oss = true},
    {"gptoss", .qkv_biases = true, .sparse = true, .oss = true, .old = true},
    {"qwen3", .head_norms = true},
    {"qwen2", .qkv_biases = true},
    {.arch = "llama"},
    {"deepseek2", .sparse = true, .latent = true},
    {"qwen3next", .head_norms = true, .sparse = true, .hybrid = true},
    {"qwen35moe", .head_norms = true, .sparse = true, .hybrid = true, .tiled = true},
    {"glm4moelite", .sparse = true, .latent = true, .old = true},
};

/* Of recurrent blocks. */
enum { KEY_HEADS = 2, VALUE_HEADS = 4, STATE = 16, TAPS = 4, INNER = VALUE_HEADS * STATE };
/* Widths of latent attention; fit for all block types of 32. */
enum { Q_LATENT = 96, LATENT = 64, ROPE = 32, NOPE = 64, VALUE = 32 };

struct writing {
    const struct kit_spec *spec;
    struct traits traits;
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
    s.window = s.window ? s.window : 6;
    s.arch = s.arch ? s.arch : "qwen3moe";
    return s;
}

static struct traits traits_of(const struct kit_spec *s)
{
    struct traits t = families[0];
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (is(families[i].arch, s->arch))
            t = families[i];
    t.sparse |= s->sparse;
    t.tiled |= s->ollama;
    return t;
}

/* ---- keys ------------------------------------------------------------------------------------ */

struct key {
    char text[96];
};

static struct key full_key(const struct writing *g, const char *name)
{
    struct key k;
    snprintf(k.text, sizeof k.text, "%s.%s", g->spec->arch, name);
    return k;
}

static void key(struct writing *g, const char *name, uint32_t value)
{
    if (is(g->spec->changed_key, name))
        value = g->spec->changed_to;
    if (!is(g->spec->without, name))
        gguf_writer_u32(g->w, full_key(g, name).text, value);
}

static void key_f32(struct writing *g, const char *name, float value)
{
    if (!is(g->spec->without, name))
        gguf_writer_f32(g->w, full_key(g, name).text, value);
}

static void rope_keys(struct writing *g)
{
    if (!is(g->spec->without, "rope.scaling.type"))
        gguf_writer_str(g->w, full_key(g, "rope.scaling.type").text, str_of(g->spec->rope));
    key_f32(g, "rope.scaling.factor", 4);
    key(g, "rope.scaling.original_context_length", 1024);
}

static void latent_keys(struct writing *g)
{
    const bool old = g->traits.old;
    key(g, "attention.key_length", old ? NOPE + ROPE : LATENT + ROPE);
    key(g, "attention.value_length", old ? VALUE : LATENT);
    key(g, "attention.key_length_mla", old ? LATENT + ROPE : NOPE + ROPE);
    key(g, "attention.value_length_mla", old ? LATENT : VALUE);
    key(g, "attention.q_lora_rank", Q_LATENT);
    key(g, "attention.kv_lora_rank", LATENT);
    key(g, "rope.dimension_count", ROPE);
    key(g, "leading_dense_block_count", 1);
    key(g, "expert_shared_count", 1);
    if (!old)
        key(g, "expert_gating_func", 2);
    gguf_writer_bool(g->w, full_key(g, "expert_weights_norm").text, true);
    key_f32(g, "expert_weights_scale", 1.8f);
}

/* Ollama: one number of heads per block, 0 where there is no cache. */
static void hybrid_keys(struct writing *g)
{
    const int32_t heads[] = {0, (int32_t)g->spec->n_kv_head};
    key(g, "expert_shared_feed_forward_length", g->spec->n_ff);
    key(g, "full_attention_interval", 2);
    key(g, "ssm.conv_kernel", TAPS);
    key(g, "ssm.state_size", STATE);
    key(g, "ssm.group_count", KEY_HEADS);
    key(g, "ssm.time_step_rank", VALUE_HEADS);
    key(g, "ssm.inner_size", INNER);
    if (!g->spec->ollama)
        return;
    gguf_writer_i32s(g->w, full_key(g, "attention.head_count_kv").text, heads, 2);
    gguf_writer_i32s(g->w, full_key(g, "attention.recurrent_layers").text, (int32_t[]){1, 0}, 2);
    gguf_writer_bool(g->w, full_key(g, "ssm.v_head_reordered").text, true);
}

static void metadata(struct writing *g)
{
    const struct kit_spec *s = g->spec;
    const struct traits *t = &g->traits;
    gguf_writer_str(g->w, "general.architecture", str_of(s->arch));
    gguf_writer_str(g->w, "tokenizer.ggml.model", STR("none"));
    key(g, "context_length", 4096);
    key(g, "embedding_length", s->n_embd);
    key(g, "block_count",
        s->n_layer + (is(s->extra_key, "nextn_predict_layers") ? s->extra_value : 0));
    key(g, "feed_forward_length", t->latent || !t->sparse ? s->n_ff : s->n_ff * s->n_used);
    key(g, "attention.head_count", s->n_head);
    if (!s->ollama)
        key(g, "attention.head_count_kv", t->latent ? (t->old ? s->n_head : 1) : s->n_kv_head);
    if (t->latent) {
        latent_keys(g);
    } else {
        key(g, "attention.key_length", s->head_dim);
        key(g, "attention.value_length", s->head_dim);
    }
    if (t->sparse) {
        key(g, "expert_count", s->n_expert);
        key(g, "expert_used_count", s->n_used);
        if (!(t->oss && t->old))
            key(g, "expert_feed_forward_length", s->n_ff);
    }
    if (t->oss)
        key(g, "attention.sliding_window", s->window);
    if (t->hybrid)
        hybrid_keys(g);
    key_f32(g, "attention.layer_norm_rms_epsilon", 1e-6f);
    if (s->rope)
        rope_keys(g);
    if (s->extra_key && s->extra_is_float)
        key_f32(g, s->extra_key, (float)s->extra_value);
    else if (s->extra_key)
        key(g, s->extra_key, s->extra_value);
}

/* ---- tensors --------------------------------------------------------------------------------- */

static void tensor(struct writing *g, const char *name, enum block_type type, uint64_t n_in,
                   uint64_t n_rows, uint64_t n_matrices)
{
    const struct kit_spec *s = g->spec;
    if (is(s->without, name))
        return;
    const uint64_t ne[3] = {n_in, n_rows + is(s->reshaped, name), n_matrices};
    const uint64_t n_elems = ne[0] * ne[1] * ne[2];
    const bool norm = strstr(name, "norm") || is(name, "rope_freqs.weight");
    const bool decay = strstr(name, "ssm_a") && !strstr(name, "ssm_alpha");
    const float mean = is(s->ruined, name) ? NAN : decay ? -0.5f : 1;
    const size_t i = g->n_tensors++;
    g->tensors[i].index = gguf_writer_tensor(g->w, str_of(name), type, ne,
                                             n_matrices > 1 ? 3
                                             : ne[1] > 1    ? 2
                                                            : 1);
    g->tensors[i].bytes =
        norm || decay ? (void *)kit_random_floats(&g->rng, n_elems, mean, 0.2f)
                      : kit_random_blocks(&g->rng, type, n_elems, 1.5f / sqrtf((float)n_in));
    g->tensors[i].n_bytes = block_row_bytes(type, n_in) * ne[1] * ne[2];
}

struct row {
    const char *name;
    bool there;
    bool float32;
    uint64_t n_in, n_rows, n_matrices;
};

static void tensors(struct writing *g, uint32_t layer, const struct row *list, size_t n)
{
    char name[64];
    for (size_t i = 0; i < n; i++) {
        snprintf(name, sizeof name, "blk.%u.%s", layer, list[i].name);
        if (list[i].there)
            tensor(g, name, list[i].float32 ? BLOCK_F32 : g->spec->type, list[i].n_in,
                   list[i].n_rows, list[i].n_matrices);
    }
}

static void recurrence(struct writing *g, uint32_t layer)
{
    const uint64_t d = g->spec->n_embd, n = 2 * KEY_HEADS * STATE + INNER;
    const bool tiled = g->traits.tiled, in = g->spec->fused && !tiled;
    const struct row list[] = {
        {"attn_norm.weight", true, true, d, 1, 1},
        {"ssm_in.weight", in, false, d, n + INNER, 1},
        {"attn_qkv.weight", !in, false, d, n, 1},
        {"attn_gate.weight", !in, false, d, INNER, 1},
        {"ssm_ba.weight", !tiled, false, d, 2 * VALUE_HEADS, 1},
        {"ssm_beta.weight", tiled, false, d, VALUE_HEADS, 1},
        {"ssm_alpha.weight", tiled, false, d, VALUE_HEADS, 1},
        {"ssm_conv1d.weight", true, true, TAPS, n, 1},
        {g->spec->ollama ? "ssm_dt" : "ssm_dt.bias", true, true, VALUE_HEADS, 1, 1},
        {"ssm_a", true, true, VALUE_HEADS, 1, 1},
        {"ssm_norm.weight", true, true, STATE, 1, 1},
        {"ssm_out.weight", true, false, INNER, d, 1},
    };
    tensors(g, layer, list, sizeof list / sizeof *list);
}

static void attention(struct writing *g, uint32_t layer)
{
    const struct kit_spec *s = g->spec;
    const struct traits *t = &g->traits;
    const uint64_t d = s->n_embd, n_q = s->n_head * s->head_dim, n_k = s->n_kv_head * s->head_dim;
    const uint64_t n_q_rows = t->hybrid ? 2 * n_q : n_q;
    const bool apart = !s->fused && !t->latent;
    const struct row list[] = {
        {"attn_norm.weight", true, true, d, 1, 1},
        {"attn_qkv.weight", s->fused, false, d, n_q_rows + 2 * n_k, 1},
        {"attn_q.weight", apart, false, d, n_q_rows, 1},
        {"attn_k.weight", apart, false, d, n_k, 1},
        {"attn_v.weight", apart, false, d, n_k, 1},
        {"attn_q.bias", t->qkv_biases, true, n_q, 1, 1},
        {"attn_k.bias", t->qkv_biases, true, n_k, 1, 1},
        {"attn_v.bias", t->qkv_biases, true, n_k, 1, 1},
        {"attn_q_a.weight", t->latent, false, d, Q_LATENT, 1},
        {"attn_q_a_norm.weight", t->latent, true, Q_LATENT, 1, 1},
        {"attn_q_b.weight", t->latent, false, Q_LATENT, s->n_head * (NOPE + ROPE), 1},
        {"attn_kv_a_mqa.weight", t->latent, false, d, LATENT + ROPE, 1},
        {"attn_kv_a_norm.weight", t->latent, true, LATENT, 1, 1},
        {"attn_k_b.weight", t->latent, false, NOPE, LATENT, s->n_head},
        {"attn_v_b.weight", t->latent, false, LATENT, VALUE, s->n_head},
        {t->oss && t->old ? "attn_out.weight" : "attn_output.weight", true, false,
         t->latent ? s->n_head * VALUE : n_q, d, 1},
        {t->old ? "attn_out.bias" : "attn_output.bias", t->oss, true, d, 1, 1},
        {t->old ? "attn_sinks" : "attn_sinks.weight", t->oss, true, s->n_head, 1, 1},
        {"attn_q_norm.weight", t->head_norms, true, s->head_dim, 1, 1},
        {"attn_k_norm.weight", t->head_norms, true, s->head_dim, 1, 1},
    };
    tensors(g, layer, list, sizeof list / sizeof *list);
}

static void feed_forward(struct writing *g, uint32_t layer)
{
    const struct kit_spec *s = g->spec;
    const struct traits *t = &g->traits;
    const bool sparse = t->sparse && !(t->latent && layer == 0), apart = sparse && !s->fused;
    const bool second = t->hybrid || (t->oss && !t->old), shared = t->hybrid || t->latent;
    const uint64_t d = s->n_embd, n_ff = s->n_ff, n = s->n_expert;
    const struct row list[] = {
        {second ? "post_attention_norm.weight" : "ffn_norm.weight", true, true, d, 1, 1},
        {"ffn_gate.weight", !sparse, false, d, n_ff, 1},
        {"ffn_up.weight", !sparse, false, d, n_ff, 1},
        {"ffn_down.weight", !sparse, false, n_ff, d, 1},
        {"ffn_gate_inp.weight", sparse, true, d, n, 1},
        {"ffn_gate_inp.bias", t->oss, true, n, 1, 1},
        {"exp_probs_b.bias", sparse && t->latent, true, n, 1, 1},
        {"ffn_gate_up_exps.weight", sparse && s->fused, false, d, 2 * n_ff, n},
        {"ffn_gate_exps.weight", apart, false, d, n_ff, n},
        {"ffn_up_exps.weight", apart, false, d, n_ff, n},
        {"ffn_down_exps.weight", sparse, false, n_ff, d, n},
        {"ffn_gate_exps.bias", t->oss, true, n_ff, n, 1},
        {"ffn_up_exps.bias", t->oss, true, n_ff, n, 1},
        {"ffn_down_exps.bias", t->oss, true, d, n, 1},
        {"ffn_gate_inp_shexp.weight", t->hybrid, true, d, 1, 1},
        {"ffn_gate_shexp.weight", sparse && shared, false, d, n_ff, 1},
        {"ffn_up_shexp.weight", sparse && shared, false, d, n_ff, 1},
        {"ffn_down_shexp.weight", sparse && shared, false, n_ff, d, 1},
    };
    tensors(g, layer, list, sizeof list / sizeof *list);
}

static void all_tensors(struct writing *g)
{
    const struct kit_spec *s = g->spec;
    tensor(g, "token_embd.weight", s->type, s->n_embd, s->n_vocab, 1);
    for (uint32_t i = 0; i < s->n_layer; i++) {
        (g->traits.hybrid && i % 2 == 0 ? recurrence : attention)(g, i);
        feed_forward(g, i);
    }
    tensor(g, "output_norm.weight", BLOCK_F32, s->n_embd, 1, 1);
    if (!s->tied)
        tensor(g, "output.weight", s->type, s->n_embd, s->n_vocab, 1);
    if (s->rope_freqs)
        tensor(g, "rope_freqs.weight", BLOCK_F32, s->head_dim / 2, 1, 1);
    if (s->extra)
        tensor(g, s->extra, BLOCK_F32, 1, 1, 1);
}

/* ---- files ----------------------------------------------------------------------------------- */

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
    g->traits = traits_of(&spec);
    g->rng.state = test_seed() + spec.seed;
    CHECK_OK(g->w = gguf_writer_open(path, &e));
    metadata(g);
    all_tensors(g);
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

void kit_check_refused(const struct kit_spec *spec, const char *says)
{
    struct err e = {0};
    char *path = kit_write_model(spec);
    struct gguf *file = gguf_open(path, NULL, &e);
    CHECK_OK(file != NULL);
    struct model *m = model_open(file, NULL, &e);
    if (m || !strstr(e.msg, says) || !strstr(e.msg, path))
        test_fail(__FILE__, __LINE__, "got \"%s\", want \"%s: ... %s\"", m ? "a model" : e.msg,
                  path, says);
    gguf_close(file);
    unlink(path);
    free(path);
}

void kit_close_model(struct kit_model *m)
{
    model_close(m->model);
    gguf_close(m->file);
    *m = (struct kit_model){0};
}
