/* Opening models: what the plan says, what is refused and with which words. */
#include <math.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "kit/models.h"
#include "model/arch.h"
#include "test.h"

/* ---- refusals -------------------------------------------------------------------------------- */

static const struct {
    struct kit_spec spec;
    const char *says;
} refusals[] = {
    {{.without = "context_length"}, "key 'qwen3moe.context_length' is missing"},
    {{.without = "embedding_length"}, "key 'qwen3moe.embedding_length' is missing"},
    {{.without = "block_count"}, "key 'qwen3moe.block_count' is missing"},
    {{.without = "attention.head_count"}, "key 'qwen3moe.attention.head_count' is missing"},
    {{.without = "attention.layer_norm_rms_epsilon"}, "layer_norm_rms_epsilon' is missing"},
    {{.without = "expert_count"}, "key 'qwen3moe.expert_count' is missing or 0"},
    {{.without = "expert_used_count"}, "key 'qwen3moe.expert_used_count' is missing"},
    {{.arch = "qwen9"},
     "architecture 'qwen9' is not one of: qwen3moe, gpt-oss, qwen3, qwen2, llama, qwen3next, "
     "qwen35moe, deepseek2"},
    {{.changed_key = "block_count", .changed_to = 0}, "is 0, must be 1 to 512"},
    {{.changed_key = "block_count", .changed_to = 513}, "is 513, must be 1 to 512"},
    {{.changed_key = "block_count", .changed_to = 3}, "tensor 'blk.2.attn_norm.weight' is missing"},
    {{.changed_key = "embedding_length", .changed_to = 1u << 31}, "must be 1 to 65536"},
    {{.changed_key = "attention.head_count", .changed_to = 3}, "no multiple of head_count_kv 2"},
    {{.changed_key = "attention.head_count_kv", .changed_to = 0}, "is 0, must be 1 to 4096"},
    {{.changed_key = "attention.key_length", .changed_to = 33},
     "key 'qwen3moe.rope.dimension_count' is 33, must be even"},
    {{.changed_key = "expert_used_count", .changed_to = 9}, "is 9, must be 1 to 8"},
    {{.changed_key = "expert_count", .changed_to = 4096}, "is 4096, must be 0 to 1024"},
    {{.changed_key = "expert_feed_forward_length", .changed_to = 96},
     "tensor 'blk.0.ffn_gate_exps.weight' has shape {256, 256, 8}, must be {256, 96, 8}"},
    {{.without = "token_embd.weight"}, "tensor 'token_embd.weight' is missing"},
    {{.without = "output_norm.weight"}, "tensor 'output_norm.weight' is missing"},
    {{.without = "blk.1.attn_k.weight"},
     "tensor 'blk.1.attn_k.weight' is missing: a qwen3moe model needs it"},
    {{.without = "blk.0.ffn_gate_inp.weight"}, "'blk.0.ffn_gate_inp.weight' is missing"},
    {{.reshaped = "blk.0.attn_q.weight"},
     "tensor 'blk.0.attn_q.weight' has shape {256, 257}, must be {256, 256}"},
    {{.reshaped = "blk.1.ffn_down_exps.weight"}, "has shape {256, 257, 8}, must be {256, 256, 8}"},
    {{.reshaped = "blk.1.attn_norm.weight"}, "has shape {256, 2}, must be {256}"},
    {{.reshaped = "output.weight"}, "has shape {256, 97}, must be {256, 96}"},
    {{.rope = "longrope"},
     "key 'qwen3moe.rope.scaling.type' is 'longrope', must be none, linear or yarn"},
    {{.fused = true, .reshaped = "blk.0.attn_qkv.weight"}, "{256, 513}, must be {256, 512}"},
};

TEST(model_refuses_bad_files_with_their_reason)
{
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        kit_check_refused(&refusals[i].spec, refusals[i].says);
}

static void keep_line(void *ctx, enum log_level level, const char *line)
{
    struct buf *lines = ctx;
    buf_fmt(lines, "%s%s\n", level == LOG_WARN ? "warning: " : "", line);
}

TEST(model_warns_once_of_tensors_without_a_use)
{
    struct err e = {0};
    struct buf lines = {0};
    const struct log log = {keep_line, &lines};
    char *path = kit_write_model(&(struct kit_spec){.extra = "v.blk.0.weight"});
    struct gguf *file = gguf_open(path, NULL, &e);
    CHECK_OK(file != NULL);
    struct model *m = model_open(file, &log, &e);
    CHECK_OK(m != NULL);
    struct buf want = {0};
    buf_fmt(&want,
            "warning: %s: 1 tensors are not used by a qwen3moe model, the first is "
            "'v.blk.0.weight'\n",
            path);
    CHECK_STR(buf_view(&lines), buf_view(&want));
    model_close(m);
    gguf_close(file);
    unlink(path);
    free(path);
    buf_free(&lines);
    buf_free(&want);
}

/* ---- plans ----------------------------------------------------------------------------------- */

TEST(model_plan_has_the_ops_of_the_paper)
{
    static const enum op_kind block[] = {OP_PROJECT, OP_ATTEND,     OP_ADD_PROJECT,
                                         OP_ROUTE,   OP_EXPERTS_UP, OP_EXPERTS_DOWN};
    struct kit_model m = kit_open_model(&(struct kit_spec){.n_layer = 3});
    const struct plan *p = &m.model->plan;
    CHECK_INT(p->n_ops, 1 + 3 * 6 + 1);
    CHECK_INT(p->ops[0].kind, OP_EMBED);
    CHECK_INT(p->ops[19].kind, OP_HEAD);
    for (size_t i = 0; i < 18; i++) {
        CHECK_INT(p->ops[1 + i].kind, block[i % 6]);
        CHECK_INT(p->ops[1 + i].layer, i / 6);
    }
    CHECK_INT(p->n_kv, 3);
    CHECK_INT(p->kv[2].k_width, 2 * 64);
    CHECK_INT(p->n_vocab, 96);
    CHECK_INT(p->n_weights, 3 + 3 * 12);
    CHECK_INT(m.model->hp.n_ff_expert, 256);
    CHECK_INT(m.model->hp.n_rot, 64);
    kit_close_model(&m);
}

/* From shapes alone: what one token of the small model reads. */
TEST(model_counts_the_bytes_of_a_token)
{
    struct kit_model m = kit_open_model(&(struct kit_spec){.type = BLOCK_Q8_0});
    const struct plan *p = &m.model->plan;
    const double q8 = 34.0 / 32, f32 = 4;
    const double attention = q8 * 256 * (256 + 128 + 128 + 256) + f32 * (256 + 64 + 64);
    const double experts = q8 * 3 * 256 * 256 * 2 + f32 * (256 + 256 * 8);
    const double ends = q8 * 256 * (1 + 96) + f32 * 256;
    CHECK_INT(plan_weight_bytes_per_token(p), 2 * (attention + experts) + ends);
    CHECK_INT(plan_weight_bytes(p),
              2 * (attention + experts + q8 * 3 * 256 * 256 * 6) + ends + q8 * 256 * 95);
    CHECK_INT(plan_kv_bytes_per_token(p, BLOCK_F16, BLOCK_Q8_0), 2 * (128 * 2 + 128 / 32 * 34));
    kit_close_model(&m);
}

TEST(model_ties_the_output_to_the_embedding)
{
    struct kit_model m = kit_open_model(&(struct kit_spec){.tied = true});
    const struct plan *p = &m.model->plan;
    CHECK(p->ops[p->n_ops - 1].head.w == p->ops[0].embed.table);
    CHECK_INT(p->n_weights, 2 + 2 * 12);
    kit_close_model(&m);
}

TEST(model_plan_of_a_hybrid_has_states_where_others_have_caches)
{
    static const enum op_kind linear[] = {OP_PROJECT, OP_DELTA_NET, OP_ADD_PROJECT};
    static const enum op_kind attention[] = {OP_PROJECT, OP_ATTEND, OP_ADD_PROJECT};
    static const enum op_kind experts[] = {OP_ROUTE, OP_GLU, OP_EXPERTS_UP, OP_ADD_PROJECT,
                                           OP_EXPERTS_DOWN};
    struct kit_model m = kit_open_model(&(struct kit_spec){.arch = "qwen3next"});
    const struct plan *p = &m.model->plan;
    CHECK_INT(p->n_ops, 1 + 2 * 8 + 1);
    for (size_t i = 0; i < 16; i++)
        CHECK_INT(p->ops[1 + i].kind, i % 8 > 2 ? experts[i % 8 - 3]
                                      : i < 8   ? linear[i]
                                                : attention[i % 8]);
    CHECK(p->n_kv == 1 && p->n_states == 1 && p->ops[10].attend.gated);
    CHECK_INT(p->ops[2].delta_net.order, HEADS_GROUPED);
    CHECK_INT(plan_state_bytes(p), 4 * (3 * 128 + 4 * 16 * 16));
    CHECK_INT(p->slots[p->ops[10].attend.q].width, 2 * 4 * 64);
    kit_close_model(&m);
}

/* A fused tensor's parts, byte by byte, over the borders of experts. */
TEST(model_reads_parts_of_fused_tensors)
{
    struct err e = {0};
    struct kit_model m = kit_open_model(&(struct kit_spec){.type = BLOCK_Q4_0, .fused = true});
    const struct op_experts_up *o = &m.model->plan.ops[5].experts_up;
    const size_t n_part = o->gate->n_bytes / 8;
    const struct gguf_tensor *t = o->gate->tensor;
    uint8_t *whole = mem_new(t->n_bytes, 1), *part = mem_new(o->gate->n_bytes, 1);
    struct rng rng = {test_seed()};
    CHECK_INT(t->n_bytes, 2 * o->gate->n_bytes);
    CHECK_OK(gguf_read(m.file, t, 0, whole, t->n_bytes, &e));
    for (int i = 0; i < 50; i++) {
        const struct weight *w = i % 2 ? o->up : o->gate;
        const size_t from = i < 2 ? 0 : rng_below(&rng, w->n_bytes);
        const size_t n = i < 2 ? w->n_bytes : rng_below(&rng, w->n_bytes - from + 1);
        CHECK_OK(weight_read(w, from, part, n, &e));
        for (size_t j = 0; j < n; j++) {
            const size_t expert = (from + j) / n_part, inside = (from + j) % n_part;
            CHECK_INT(part[j], whole[(2 * expert + (size_t)(i % 2)) * n_part + inside]);
        }
    }
    free(whole);
    free(part);
    kit_close_model(&m);
}

/* rows[i]: the row of the tensor that row i of the weight is. */
static void check_rows(const struct weight *w, const uint64_t *rows, uint64_t n_rows,
                       struct rng *rng)
{
    struct err e = {0};
    const struct gguf_tensor *t = w->tensor;
    const size_t row_bytes = w->n_bytes / n_rows;
    uint8_t *whole = mem_new(t->n_bytes, 1), *part = mem_new(w->n_bytes, 1);
    CHECK_INT(w->ne[1], n_rows);
    CHECK_OK(gguf_read(w->file, t, 0, whole, t->n_bytes, &e));
    for (int i = 0; i < 30; i++) {
        const size_t from = i ? rng_below(rng, w->n_bytes) : 0;
        const size_t n = i ? rng_below(rng, w->n_bytes - from + 1) : w->n_bytes;
        CHECK_OK(weight_read(w, from, part, n, &e));
        for (size_t j = 0; j < n; j++) {
            const size_t row = (from + j) / row_bytes, inside = (from + j) % row_bytes;
            CHECK_INT(part[j], whole[rows[row] * row_bytes + inside]);
        }
    }
    free(whole);
    free(part);
}

/* The first files of qwen3next: 2 groups of [q 16, k 16, v 2 x 16, z 2 x 16] rows; and as all, of
 * [beta 2, alpha 2], which stay together. */
TEST(model_gathers_the_rows_of_grouped_heads)
{
    uint64_t qkv[128], z[64], n_qkv = 0;
    static const struct {
        uint64_t first, n;
    } parts[] = {{0, 16}, {16, 16}, {32, 32}};
    for (int p = 0; p < 3; p++)
        for (uint64_t group = 0; group < 2; group++)
            for (uint64_t i = 0; i < parts[p].n; i++)
                qkv[n_qkv++] = group * 96 + parts[p].first + i;
    for (uint64_t i = 0; i < 64; i++)
        z[i] = i / 32 * 96 + 64 + i % 32;
    const uint64_t gates[] = {0, 1, 2, 3, 4, 5, 6, 7};
    struct rng rng = {test_seed()};
    struct kit_model m =
        kit_open_model(&(struct kit_spec){.arch = "qwen3next", .type = BLOCK_Q8_0, .fused = true});
    const struct op_project *o = &m.model->plan.ops[1].project;
    CHECK_STR(o->out[0].w->name, STR("blk.0.ssm_in.weight"));
    check_rows(o->out[0].w, qkv, n_qkv, &rng);
    check_rows(o->out[1].w, z, 64, &rng);
    check_rows(o->out[2].w, gates, 8, &rng);
    CHECK_INT(o->n_out, 3);
    const struct op_delta_net *net = &m.model->plan.ops[2].delta_net;
    for (uint32_t h = 0; h < 4; h++) {
        CHECK_INT(delta_beta_at(net, h), h / 2 * 4 + h % 2);
        CHECK_INT(delta_alpha_at(net, h), h / 2 * 4 + 2 + h % 2);
    }
    kit_close_model(&m);
}

/* ---- rotary tables --------------------------------------------------------------------------- */

TEST(model_rope_table_is_plain_linear_or_yarn)
{
    struct arena a = {0};
    struct rope_spec spec = {.n_rot = 8, .base = 10000, .factor = 4, .attn_factor = 1};
    const struct rope *plain = rope_make(&a, &spec);
    spec.scaling = ROPE_LINEAR;
    const struct rope *linear = rope_make(&a, &spec);
    for (int i = 0; i < 4; i++) {
        CHECK(fabs(plain->inv_freq[i] - pow(10, -i)) < 1e-15);
        CHECK(fabs(linear->inv_freq[i] - pow(10, -i) / 4) < 1e-15);
    }
    CHECK(plain->mscale == 1 && linear->mscale == 1);
    arena_free(&a);
}

TEST(model_takes_rope_scaling_from_the_keys)
{
    static const struct {
        const char *type;
        double first, last; /* factors on the frequencies of the fastest and the slowest pair */
        double mscale;
    } cases[] = {{"none", 1, 1, 1}, {"linear", 0.25, 0.25, 1}, {"yarn", 1, 0.25, 1.138629436}};
    for (int i = 0; i < 3; i++) {
        struct kit_model m = kit_open_model(&(struct kit_spec){.rope = cases[i].type});
        const struct rope *rope = m.model->plan.ops[2].attend.rope;
        CHECK_INT(rope->n_rot, 64);
        CHECK(fabs(rope->inv_freq[0] - cases[i].first) < 1e-12);
        CHECK(fabs(rope->inv_freq[31] / pow(10000, -62.0 / 64) - cases[i].last) < 1e-9);
        CHECK(fabs((double)rope->mscale - cases[i].mscale) < 1e-6);
        kit_close_model(&m);
    }
}

TEST(model_yarn_table_matches_the_golden_one)
{
    struct err e = {0};
    struct arena a = {0};
    size_t n_bytes;
    char *text = kit_read_shared("spec/data/math-cases.json", &n_bytes);
    struct json *root = json_parse((str){text, n_bytes}, &e);
    CHECK_OK(root != NULL);
    const struct json *cases = json_get(json_get(root, "cases"), "yarn_gpt_oss");
    CHECK_INT(json_count(cases), 2);
    for (size_t i = 0; i < 2; i++) {
        const struct json *c = json_at(cases, i);
        const struct rope *rope =
            rope_make(&a, &(struct rope_spec){.n_rot = 64,
                                              .base = 150000,
                                              .scaling = ROPE_YARN,
                                              .factor = 32,
                                              .n_ctx_train = 4096,
                                              .attn_factor = 1,
                                              .beta_fast = 32,
                                              .beta_slow = 1,
                                              .yarn_rounded = json_bool(json_get(c, "truncate"))});
        CHECK(fabs((double)rope->mscale - json_float(json_get(c, "mscale"))) < 1e-6);
        for (size_t j = 0; j < 32; j++)
            CHECK(fabs(rope->inv_freq[j] - json_float(json_at(json_get(c, "inv_freq"), j))) <
                  1e-12);
    }
    json_free(root);
    free(text);
    arena_free(&a);
}
