/* Every architecture: what it refuses, how old files spell it, that both backends run it. */
#include <math.h>
#include <unistd.h>

#include "base/file.h"
#include "kit/models.h"
#include "test.h"

static const struct kit_spec families[] = {
    {.arch = "qwen3moe"},
    {.arch = "gpt-oss", .rope = "yarn"},
    {.arch = "qwen3"},
    {.arch = "qwen2"},
    {.arch = "llama", .rope_freqs = true},
    {.arch = "llama", .sparse = true},
    {.arch = "deepseek2"},
    {.arch = "qwen3next"},
    {.arch = "qwen35moe"},
};
enum { N_FAMILIES = sizeof families / sizeof *families };

/* ---- refusals -------------------------------------------------------------------------------- */

#define KV_B "blk.0.attn_kv_b.weight"
static const struct {
    struct kit_spec spec;
    const char *says;
} refusals[] = {
    {{.arch = "gpt-oss", .without = "attention.sliding_window"},
     "key 'gpt-oss.attention.sliding_window' is missing"},
    {{.arch = "gpt-oss", .changed_key = "attention.sliding_window"}, "is 0, must be 1 to"},
    {{.arch = "gpt-oss", .without = "blk.1.attn_sinks.weight"},
     "tensor 'blk.1.attn_sinks.weight' is missing: a gpt-oss model needs it"},
    {{.arch = "gptoss", .without = "blk.1.attn_sinks"},
     "tensor 'blk.1.attn_sinks.weight' is missing: a gptoss model needs it"},
    {{.arch = "gpt-oss", .without = "blk.0.attn_k.bias"}, "'blk.0.attn_k.bias' is missing"},
    {{.arch = "gpt-oss", .without = "blk.1.ffn_gate_inp.bias"}, "gate_inp.bias' is missing"},
    {{.arch = "gpt-oss", .reshaped = "blk.0.ffn_up_exps.bias"}, "{256, 9}, must be {256, 8}"},
    {{.arch = "gpt-oss", .without = "expert_count"}, "key 'gpt-oss.expert_count' is missing or 0"},
    {{.arch = "qwen3", .without = "feed_forward_length"},
     "key 'qwen3.feed_forward_length' is missing or 0"},
    {{.arch = "qwen3", .without = "blk.0.attn_q_norm.weight"}, "attn_q_norm.weight' is missing"},
    {{.arch = "qwen3", .without = "blk.1.ffn_up.weight"}, "'blk.1.ffn_up.weight' is missing"},
    {{.arch = "qwen2", .without = "blk.1.attn_v.bias"}, "'blk.1.attn_v.bias' is missing"},
    {{.arch = "llama", .reshaped = "blk.1.ffn_down.weight"}, "{256, 257}, must be {256, 256}"},
    {{.arch = "llama", .extra = "blk.0.attn_qkv.bias"}, "in one tensor are not supported"},
    {{.arch = "llama", .rope_freqs = true, .head_dim = 32, .reshaped = "rope_freqs.weight"},
     "tensor 'rope_freqs.weight' has shape {16, 2}, must be {16}"},
    {{.arch = "llama", .sparse = true, .without = "expert_used_count"}, "used_count' is missing"},
    {{.arch = "deepseek2", .extra_key = "expert_group_count", .extra_value = 8},
     "key 'deepseek2.expert_group_count' is 8: groups of experts are not supported"},
    {{.arch = "deepseek2", .changed_key = "expert_gating_func", .changed_to = 1},
     "only a normalised sigmoid router (2, true) is supported"},
    {{.arch = "deepseek2", .without = "expert_gating_func"}, "'deepseek2.expert_gating_func' 1"},
    {{.arch = "deepseek2",
      .extra_key = "rope.scaling.yarn_log_multiplier",
      .extra_value = 1,
      .extra_is_float = true},
     "key 'deepseek2.rope.scaling.yarn_log_multiplier' is 1: this form of YaRN is not supported"},
    {{.arch = "deepseek2", .extra = KV_B}, "tensor '" KV_B "': files with k_b and v_b in one"},
    {{.arch = "deepseek2", .without = "attention.kv_lora_rank"}, "kv_lora_rank' is missing"},
    {{.arch = "deepseek2", .without = "attention.key_length_mla"}, "key_length_mla' is missing"},
    {{.arch = "deepseek2", .changed_key = "rope.dimension_count", .changed_to = 96},
     "rope.dimension_count' is 96, must be below the 96 of a head's keys"},
    {{.arch = "deepseek2", .changed_key = "leading_dense_block_count", .changed_to = 3},
     "is 3, must be 0 to 2"},
    {{.arch = "deepseek2", .without = "blk.0.attn_q_a.weight"}, "attn_q_a.weight' is missing"},
    {{.arch = "deepseek2", .reshaped = "blk.1.attn_k_b.weight"},
     "tensor 'blk.1.attn_k_b.weight' has shape {64, 65, 4}, must be {64, 64, 4}"},
    {{.arch = "deepseek2", .reshaped = "blk.1.ffn_up_shexp.weight"},
     "{256, 257}, must be {256, 256}"},
    {{.arch = "qwen3next", .without = "ssm.conv_kernel"}, "ssm.conv_kernel' is missing"},
    {{.arch = "qwen3next", .without = "expert_shared_feed_forward_length"},
     "key 'qwen3next.expert_shared_feed_forward_length' is missing"},
    {{.arch = "qwen3next", .changed_key = "ssm.conv_kernel", .changed_to = 17}, "must be 2 to 16"},
    {{.arch = "qwen3next", .changed_key = "ssm.group_count", .changed_to = 3},
     "key 'qwen3next.ssm.time_step_rank' is 4, no multiple of ssm.group_count 3"},
    {{.arch = "qwen35moe", .changed_key = "ssm.inner_size", .changed_to = 63},
     "key 'qwen35moe.ssm.inner_size' is 63, must be ssm.time_step_rank * ssm.state_size = 64"},
    {{.arch = "qwen3next", .changed_key = "attention.value_length", .changed_to = 32},
     "attention.key_length' and value_length are 64 and 32, must be equal"},
    {{.arch = "qwen3next", .extra_key = "attention.recurrent_layers", .extra_value = 1},
     "must be an array of bool with one entry per block"},
    {{.arch = "qwen3next", .fused = true, .reshaped = "blk.0.ssm_in.weight"},
     "tensor 'blk.0.ssm_in.weight' has shape {256, 193}, must be {256, 192}"},
    {{.arch = "qwen3next", .changed_key = "full_attention_interval", .changed_to = 4},
     "tensor 'blk.1.attn_qkv.weight' is missing"},
    {{.arch = "qwen3next", .without = "blk.0.ssm_a"}, "tensor 'blk.0.ssm_a' is missing"},
    {{.arch = "qwen3next", .without = "blk.0.ssm_dt.bias"}, "'blk.0.ssm_dt.bias' is missing"},
    {{.arch = "qwen3next", .without = "blk.0.ssm_ba.weight"},
     "tensor 'blk.0.ssm_beta.weight' is missing: a qwen3next model needs it"},
    {{.arch = "qwen3next", .reshaped = "blk.0.ssm_ba.weight"}, "{256, 9}, must be {256, 8}"},
    {{.arch = "qwen35moe", .without = "blk.0.ssm_alpha.weight"},
     "tensor 'blk.0.ssm_alpha.weight' is missing: a qwen35moe model needs it"},
    {{.arch = "qwen35moe", .reshaped = "blk.0.ssm_conv1d.weight"}, "{4, 129}, must be {4, 128}"},
    {{.arch = "qwen35moe", .extra = "blk.0.ssm_ba.weight"},
     "tensor 'blk.0.ssm_ba.weight' has grouped heads, the model has tiled ones"},
    {{.arch = "qwen35moe", .reshaped = "blk.1.attn_q.weight"}, "{256, 513}, must be {256, 512}"},
    {{.arch = "qwen35moe", .without = "blk.1.ffn_gate_inp_shexp.weight"},
     "tensor 'blk.1.ffn_gate_inp_shexp.weight' is missing"},
};

TEST(model_refuses_what_an_architecture_lacks)
{
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        kit_check_refused(&refusals[i].spec, refusals[i].says);
}

/* Changes up to four bytes of the header: digits in keys, counts, shapes, types, offsets. */
static void damage(struct rng *rng, uint8_t *bytes, size_t n_header)
{
    for (uint64_t n = 1 + rng_below(rng, 4); n > 0; n--) {
        uint8_t *at = bytes + rng_below(rng, n_header);
        *at = (uint8_t)(rng_below(rng, 2) ? rng_u64(rng) : *at ^ 1u << rng_below(rng, 8));
    }
}

/* What still opens must run without harm, whatever comes out. */
static void run_damaged(const struct model *m)
{
    struct err e = {0};
    const struct exec_params params = {.n_ctx = 4, .n_ubatch = 4, .max_bytes = 256 << 20};
    struct exec *x = exec_open(&backend_ref, &m->plan, &params, NULL, NULL, &e);
    if (!x)
        return;
    const struct batch b = {.n = 3, .ids = (int32_t[]){1, 0, 2}, .pos = (uint32_t[]){0, 1, 2}};
    CHECK_OK(exec_run(x, &b, &e));
    exec_close(x);
}

static void survive_damage(const struct kit_spec *family, struct rng *rng, int *n_opened,
                           int *n_refused)
{
    struct err e = {0};
    struct kit_spec spec = *family;
    spec.n_embd = spec.n_ff = 32;
    spec.n_head = 2;
    spec.n_kv_head = 1;
    spec.head_dim = 8;
    char *path = kit_write_model(&spec);
    struct buf original = {0};
    CHECK_OK(file_read_all(path, 1 << 20, &original, &e));
    struct gguf *file = gguf_open(path, NULL, &e);
    CHECK_OK(file != NULL);
    const size_t n_header = gguf_tensor_at(file, 0)->offset;
    gguf_close(file);
    unlink(path);
    free(path);
    uint8_t *bytes = mem_new(original.n, 1);
    for (int i = 0; i < 1000; i++) {
        memcpy(bytes, original.p, original.n);
        damage(rng, bytes, n_header);
        file = gguf_open_memory(bytes, original.n, &e);
        if (!file)
            continue;
        struct model *m = model_open(file, NULL, &e);
        *(m ? n_opened : n_refused) += 1;
        if (m)
            run_damaged(m);
        model_close(m);
        gguf_close(file);
    }
    free(bytes);
    buf_free(&original);
}

TEST(model_survives_damaged_files)
{
    struct rng rng = {test_seed()};
    for (size_t i = 0; i < N_FAMILIES; i++) {
        int n_opened = 0, n_refused = 0;
        survive_damage(&families[i], &rng, &n_opened, &n_refused);
        printf("    %s: %d models opened, %d refused\n", families[i].arch, n_opened, n_refused);
        CHECK(n_opened > 0 && n_refused > 0);
    }
}

/* ---- runs ------------------------------------------------------------------------------------ */

enum { N_IDS = 20, N_VOCAB = 96, N_ALL = N_IDS * N_VOCAB };

/* false: the backend does not run the plan. */
static bool run(const char *backend, const struct kit_spec *spec, uint32_t n_batch, float *out)
{
    struct kit_model m = kit_open_model(spec);
    struct rng rng = {test_seed()};
    int32_t ids[N_IDS];
    for (int i = 0; i < N_IDS; i++)
        ids[i] = (int32_t)rng_below(&rng, N_VOCAB);
    const struct exec_params params = {.n_ctx = N_IDS, .n_threads = 2};
    struct exec *x = kit_open_exec(backend, &m.model->plan, &params);
    if (x)
        kit_run(x, ids, 0, N_IDS, n_batch, N_VOCAB, out);
    exec_close(x);
    kit_close_model(&m);
    return x != NULL;
}

/* Float weights: no rounding that could make a router choose otherwise. */
TEST(arch_runs_the_same_on_both_backends)
{
    static float want[N_ALL], got[N_ALL];
    for (size_t i = 0; i < 2 * N_FAMILIES; i++) {
        struct kit_spec spec = families[i / 2];
        spec.type = i % 2 ? BLOCK_F16 : BLOCK_F32;
        CHECK(run("ref", &spec, 7, want));
        if (!run("cpu", &spec, 7, got))
            continue;
        const double err = kit_rel_err(got, want, N_ALL);
        printf("    %s%s, %s: relative difference %.1e\n", spec.arch,
               spec.sparse ? " with experts" : "", block_info(spec.type)->name, err);
        CHECK(err <= 1e-4);
    }
}

TEST(arch_bits_do_not_depend_on_the_batch_size)
{
    static float want[N_ALL], got[N_ALL];
    for (size_t i = 0; i < N_FAMILIES; i++) {
        struct kit_spec spec = families[i];
        spec.type = BLOCK_Q8_0;
        if (!run("cpu", &spec, 0, want))
            continue;
        for (uint32_t n_batch = 1; n_batch <= 7; n_batch += 6) {
            CHECK(run("cpu", &spec, n_batch, got));
            if (memcmp(got, want, sizeof got))
                test_fail(__FILE__, __LINE__, "%s: batches of %u give other bits", spec.arch,
                          n_batch);
        }
    }
}

/* What Ollama's first files call otherwise, leave out or swap. */
TEST(arch_old_spellings_compute_the_same)
{
    static const struct kit_spec pairs[][2] = {
        {{.arch = "gpt-oss", .rope = "yarn"},
         {.arch = "gptoss", .rope = "yarn", .without = "rope.scaling.type"}},
        {{.arch = "deepseek2"}, {.arch = "glm4moelite"}},
        /* The list of recurrent layers has the last word. */
        {{.arch = "qwen35moe"},
         {.arch = "qwen3next",
          .ollama = true,
          .changed_key = "full_attention_interval",
          .changed_to = 1}},
    };
    static float want[N_ALL], got[N_ALL];
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        CHECK(run("ref", &pairs[i][0], 7, want));
        CHECK(run("ref", &pairs[i][1], 7, got));
        CHECK(memcmp(got, want, sizeof got) == 0);
    }
}

TEST(arch_rope_freqs_change_the_logits)
{
    static float with[N_ALL], without[N_ALL];
    CHECK(run("ref", &(struct kit_spec){.arch = "llama", .rope_freqs = true}, 7, with));
    CHECK(run("ref", &(struct kit_spec){.arch = "llama"}, 7, without));
    CHECK(kit_rel_err(with, without, N_ALL) > 1e-3);
}

/* ---- blocks for multi-token prediction ------------------------------------------------------- */

static void keep_line(void *ctx, enum log_level level, const char *line)
{
    buf_fmt(ctx, "%s%s\n", level == LOG_WARN ? "warning: " : "", line);
}

TEST(model_leaves_out_blocks_for_multi_token_prediction_with_a_note)
{
    for (size_t i = 0; i < N_FAMILIES; i++) {
        struct err e = {0};
        struct buf lines = {0}, want = {0};
        const struct log log = {keep_line, &lines};
        struct kit_spec spec = families[i];
        spec.extra_key = "nextn_predict_layers";
        spec.extra_value = 1;
        spec.extra = "blk.2.nextn.enorm.weight";
        char *path = kit_write_model(&spec);
        struct gguf *file = gguf_open(path, NULL, &e);
        CHECK_OK(file != NULL);
        struct model *m = model_open(file, &log, &e);
        CHECK_OK(m != NULL);
        CHECK_INT(m->hp.n_layer, 2);
        buf_fmt(&want, "%s: left out 1 block for multi-token prediction\n", path);
        CHECK_STR(buf_view(&lines), buf_view(&want));
        model_close(m);
        gguf_close(file);
        unlink(path);
        free(path);
        buf_free(&lines);
        buf_free(&want);
    }
}
