/* Every backend against ref, op by op: plans of one op over random weights, ragged shapes and all
 * block types (kit/op_rig). Ops with a cache or a memory are in test_ops_state.c. */
#include <math.h>

#include "base/mem.h"
#include "compute/ref/ref_int.h"
#include "engine/sampler.h"
#include "kit/op_rig.h"
#include "test.h"

/* Of a second matrix: real files mix types. */
static enum block_type beside(enum block_type type, uint64_t i, uint32_t n_in)
{
    if (i % 7 == 0)
        return BLOCK_F16;
    return i % 7 == 3 && n_in % 32 == 0 ? BLOCK_Q5_1 : type;
}

static const uint32_t row_counts[] = {1, 2, 5, 8, 17, 64};
enum { N_ROW_COUNTS = sizeof row_counts / sizeof *row_counts };

/* Columns that the type can hold: small, odd in blocks, larger than a cache line's worth. */
static uint32_t columns(enum block_type type, uint64_t i)
{
    static const uint32_t blocks_of_32[] = {1, 3, 8, 21, 90};
    if (block_info(type)->n_elems == 256)
        return 256 * (1 + (uint32_t)(i % 3));
    return 32 * blocks_of_32[i % 5];
}

TEST(ops_embed_matches_ref)
{
    struct rig_count count = {0};
    for (uint64_t i = 0; i < N_RIG_TYPES * 3; i++) {
        const enum block_type type = rig_types[i % N_RIG_TYPES];
        const uint32_t n = columns(type, i);
        struct rig r = rig_open(i, row_counts[i % N_ROW_COUNTS]);
        snprintf(r.what, sizeof r.what, "%s {%u, 13}", block_info(type)->name, n);
        const struct weight *table = rig_matrix(&r, type, n, 13, 1);
        plan_op(&r.plan, OP_EMBED, 0)->embed = (struct op_embed){table, rig_output(&r, "x", n)};
        rig_check(&r, rig_whole, &count);
    }
    rig_report(&count);
}

TEST(ops_project_matches_ref)
{
    static const uint32_t widths[][4] = {{1, 3, 7, 16}, {33, 16, 16, 1}, {64, 100, 8, 5}};
    struct rig_count count = {0};
    for (uint64_t i = 0; i < N_RIG_TYPES * N_ROW_COUNTS; i++) {
        const enum block_type type = rig_types[i % N_RIG_TYPES];
        const uint32_t n_in = columns(type, i), n_out = 1 + (uint32_t)i % 4;
        struct rig r = rig_open(i, row_counts[i / N_RIG_TYPES]);
        snprintf(r.what, sizeof r.what, "%s, %u rows of %u, %u outputs", block_info(type)->name,
                 r.n_total, n_in, n_out);
        struct op_project o = {.in = rig_input(&r, "in", n_in), .eps = 1e-6f, .n_out = n_out};
        o.norm = i % 5 ? rig_floats(&r, n_in, 1, 1) : NULL;
        for (uint32_t j = 0; j < n_out; j++) {
            const uint32_t width = widths[i % 3][j];
            /* Other types for the last ones: real files mix them. */
            const enum block_type third = n_in % 32 ? type : BLOCK_Q8_0;
            o.out[j].w = rig_matrix(&r, j < 2 ? type : j == 2 ? third : BLOCK_F16, n_in, width, 1);
            o.out[j].bias = i % 3 ? NULL : rig_floats(&r, width, 1, 0);
            o.out[j].out = rig_output(&r, "out", width);
        }
        plan_op(&r.plan, OP_PROJECT, 0)->project = o;
        rig_check(&r, rig_whole, &count);
    }
    rig_report(&count);
}

TEST(ops_add_project_matches_ref)
{
    struct rig_count count = {0};
    for (uint64_t i = 0; i < N_RIG_TYPES * 4; i++) {
        const enum block_type type = rig_types[i % N_RIG_TYPES];
        const uint32_t n_in = columns(type, i), n_out = 1 + 37 * (uint32_t)(i % 4);
        struct rig r = rig_open(i, row_counts[i % N_ROW_COUNTS]);
        snprintf(r.what, sizeof r.what, "%s {%u, %u}, %u rows", block_info(type)->name, n_in, n_out,
                 r.n_total);
        struct op_add_project o = {
            .in = rig_input(&r, "in", n_in),
            .x = rig_in_and_out(&r, "x", n_out),
            .w = rig_matrix(&r, type, n_in, n_out, 1),
            .bias = i % 2 ? rig_floats(&r, n_out, 1, 0) : NULL,
        };
        if (i / N_RIG_TYPES == 3) {
            o.gate = rig_floats(&r, 96, 1, 0);
            o.gate_in = rig_input(&r, "gate in", 96);
        }
        plan_op(&r.plan, OP_ADD_PROJECT, 0)->add_project = o;
        rig_check(&r, rig_whole, &count);
    }
    rig_report(&count);
}

TEST(ops_glu_matches_ref)
{
    struct rig_count count = {0};
    for (uint64_t i = 0; i < N_RIG_TYPES * N_ROW_COUNTS; i++) {
        const enum block_type type = rig_types[i % N_RIG_TYPES];
        const uint32_t n_in = columns(type, i), n_ff = 3 + 29 * (uint32_t)(i % 4);
        const bool bias = i % 3 == 0;
        struct rig r = rig_open(i, row_counts[i / N_RIG_TYPES]);
        snprintf(r.what, sizeof r.what, "%s {%u, %u}, %u rows", block_info(type)->name, n_in, n_ff,
                 r.n_total);
        plan_op(&r.plan, OP_GLU, 0)->glu = (struct op_glu){
            .in = rig_input(&r, "in", n_in),
            .out = rig_output(&r, "out", n_ff),
            .norm = i % 5 ? rig_floats(&r, n_in, 1, 1) : NULL,
            .eps = 1e-6f,
            .gate = rig_matrix(&r, type, n_in, n_ff, 1),
            .up = rig_matrix(&r, beside(type, i, n_in), n_in, n_ff, 1),
            .gate_bias = bias ? rig_floats(&r, n_ff, 1, 0) : NULL,
            .up_bias = bias ? rig_floats(&r, n_ff, 1, 0) : NULL,
            .act = bias ? ACT_SWIGLU_OAI : ACT_SWIGLU,
        };
        rig_check(&r, rig_whole, &count);
    }
    rig_report(&count);
}

static void check_head(void)
{
    struct rig_count count = {0};
    for (uint64_t i = 0; i < N_RIG_TYPES * 2; i++) {
        const enum block_type type = rig_types[i % N_RIG_TYPES];
        const uint32_t n_in = columns(type, i), n_vocab = 1 + 150 * (uint32_t)(i % 3);
        struct rig r = rig_open(i, row_counts[i % N_ROW_COUNTS]);
        snprintf(r.what, sizeof r.what, "%s {%u, %u}, %u rows", block_info(type)->name, n_in,
                 n_vocab, r.n_total);
        plan_op(&r.plan, OP_HEAD, 0)->head = (struct op_head){
            .x = rig_input(&r, "x", n_in),
            .norm = rig_floats(&r, n_in, 1, 1),
            .eps = 1e-5f,
            .w = rig_matrix(&r, type, n_in, n_vocab, 1),
        };
        r.plan.n_vocab = n_vocab;
        rig_check(&r, rig_whole, &count);
    }
    rig_report(&count);
}

TEST(ops_head_matches_ref)
{
    check_head();
}

/* Logits with many equals, and numbers that are none; crowded: the large ones 256 ids apart. */
static const struct weight *hard_head(struct rig *r, uint32_t n_in, uint32_t n_vocab, bool crowded)
{
    static const float none[] = {NAN, -INFINITY, INFINITY, 0, -0.0f};
    const struct weight *w = rig_matrix(r, BLOCK_F32, n_in, n_vocab, 1);
    float *rows = r->owned[r->n_owned - 1];
    for (uint32_t i = 1; i < n_vocab; i++) {
        const uint64_t what = rng_below(&r->rng, 40), at = (uint64_t)i * n_in;
        if (what < 12)
            memcpy(rows + at, rows + rng_below(&r->rng, i) * n_in, n_in * sizeof *rows);
        else if (what < 17 && rng_below(&r->rng, 8) == 0)
            for (uint32_t j = 0; j < n_in; j++)
                rows[at + j] = j ? 0 : none[what - 12];
        else if (crowded && i % 256 > 16)
            for (uint32_t j = 0; j < n_in; j++)
                rows[at + j] /= 16;
    }
    return w;
}

static struct sampling random_draw(struct rng *r)
{
    struct sampling p = {.temperature = rng_f32(r, 0.2f, 1.8f), .seed = rng_u64(r)};
    p.top_k = 1 + (int32_t)rng_below(r, EXEC_BEST);
    if (rng_below(r, 2))
        p.top_p = rng_f32(r, 0.05f, 0.999f);
    if (rng_below(r, 2))
        p.min_p = rng_f32(r, 0.001f, 0.5f);
    if (rng_below(r, 4) == 0)
        p.temperature = 0;
    return p;
}

/* On one backend: the lists are those that the scalar code makes of the logits left behind.
 * Returns how many guesses were wrong. */
static int check_best(const char *backend, uint32_t n_vocab, uint32_t n_rows, uint64_t i_case)
{
    enum { N_IN = 32 };
    struct err e = {0};
    struct rig r = rig_open(i_case, n_rows);
    unsigned char *allowed = i_case % 2 ? rig_own(&r, mem_new(n_vocab, 1)) : NULL;
    bool want[64];
    uint32_t pos[64];
    plan_op(&r.plan, OP_HEAD, 0)->head =
        (struct op_head){.x = rig_input(&r, "x", N_IN),
                         .norm = rig_floats(&r, N_IN, 1, 1),
                         .eps = 1e-5f,
                         .w = hard_head(&r, N_IN, n_vocab, i_case > 6)};
    r.plan.n_vocab = n_vocab;
    for (uint32_t i = 0; allowed && i < n_vocab; i++)
        allowed[i] = rng_below(&r.rng, 3) > 0;
    for (uint32_t t = 0; t < n_rows; t++) {
        pos[t] = t;
        want[t] = t % 3 != 1;
    }
    struct exec *x =
        kit_open_exec(backend, &r.plan,
                      &(struct exec_params){.n_ctx = 64, .n_ubatch = n_rows, .allowed = allowed});
    if (!x)
        test_skip("no such backend here");
    CHECK_OK(exec_slot_put(x, r.inputs[0].slot, n_rows, r.inputs[0].rows, &e));
    struct sampler *samplers[64];
    struct draw draws[64];
    int n_wrong = 0;
    const uint32_t n_wanted = n_rows - (n_rows + 1) / 3;
    for (uint32_t i = 0; i < n_wanted; i++) {
        const struct sampling how = random_draw(&r.rng);
        samplers[i] = sampler_open(&how, n_vocab, allowed);
        sampler_next_draw(samplers[i], &draws[i]);
    }
    const struct batch b = {.n = n_rows,
                            .pos = pos,
                            .want_logits = want,
                            .want_best = true,
                            .draws = strcmp(backend, "ref") ? draws : NULL};
    for (int again = 0; again < 2; again++)
        CHECK_OK(exec_run(x, &b, &e));
    for (uint32_t i = 0; i < n_wanted; i++) {
        struct best expected;
        const struct best *got = exec_best(x, i);
        CHECK(got && !exec_logits(x, i));
        const float *logits = exec_row(x, i, &e);
        CHECK_OK(logits != NULL);
        ref_pick(logits, n_vocab, allowed, &expected);
        CHECK_INT(got->n, expected.n);
        for (uint32_t k = 0; k < got->n; k++) {
            CHECK_INT(got->at[k].id, expected.at[k].id);
            CHECK(got->at[k].logit == expected.at[k].logit); /* NOLINT: the same bits but zeros */
        }
        const int32_t id = b.draws ? sampler_pick_best(samplers[i], got, NULL) : expected.guess;
        n_wrong += id >= 0 && got->n && id != got->guess;
        sampler_close(samplers[i]);
    }
    exec_close(x);
    rig_close(&r);
    return n_wrong;
}

TEST(ops_best_tokens_are_those_of_the_logits)
{
    static const uint32_t sizes[] = {1, 63, 65, 300, 4097, 40000, 151936};
    static const uint32_t rows[] = {1, 5, 64};
    static const char *const names[] = {"ref", "vulkan"};
    int n_wrong = 0;
    for (uint64_t i = 0; i < 14; i++)
        for (size_t j = 0; j < 2; j++)
            if (kit_checks(names[j]))
                n_wrong += check_best(names[j], sizes[i % 7], i % 7 < 5 ? rows[i % 3] : 1, i);
    printf("    %d guesses were wrong\n", n_wrong);
    CHECK(n_wrong <= 1); /* by rounding: one of a million */
}

TEST(ops_head_of_wide_subgroups_matches_ref)
{
    setenv("LP_NATIVE_VECTOR_WIDTH", "512", true); /* lavapipe: 16 threads */
    check_head();
    CHECK(check_best("vulkan", 4097, 5, 1) <= 1);
}

/* Outputs: normed, weights, ids. Two experts whose scores are equal to rounding may change places:
 * then the weights agree although the ids do not. */
static double routed(const struct rig *r, const float *got, const float *want)
{
    const size_t n_normed = (size_t)r->n_total * r->plan.slots[r->outputs[0]].width;
    const size_t n_weights = (size_t)r->n_total * r->plan.slots[r->outputs[1]].width;
    const size_t n_ids = (size_t)r->n_total * r->plan.slots[r->outputs[2]].width;
    double err = kit_rel_err(got, want, n_normed);
    got += n_normed;
    want += n_normed;
    err = fmax(err, kit_rel_err(got, want, n_weights));
    for (size_t i = 0; i < n_ids; i++)
        if (memcmp(&got[n_weights + i], &want[n_weights + i], sizeof *got) &&
            fabsf(got[i] - want[i]) > 1e-5f)
            return HUGE_VAL;
    return err;
}

TEST(ops_route_matches_ref)
{
    static const uint32_t experts[][2] = {{8, 2}, {128, 8}, {4, 4}, {33, 1}, {512, 10}};
    struct rig_count count = {0};
    for (uint64_t i = 0; i < 50; i++) { /* of which vulkan has every fifth in software */
        const enum gating gating = (enum gating)(i % 3);
        const enum block_type type = i % 2 ? BLOCK_F32 : i % 4 ? BLOCK_F16 : BLOCK_BF16;
        const uint32_t n_expert = experts[i / 5 % 5][0], n_used = experts[i / 5 % 5][1];
        const uint32_t n_in = columns(type, i);
        struct rig r = rig_open(i, row_counts[i % N_ROW_COUNTS]);
        snprintf(r.what, sizeof r.what, "gating %d, %u of %u experts, %u rows of %u", gating,
                 n_used, n_expert, r.n_total, n_in);
        /* In this order, which the members of a struct have not. */
        const slot_id normed = rig_output(&r, "normed", n_in);
        const slot_id weights = rig_output(&r, "weights", n_used);
        const slot_id ids = rig_output(&r, "ids", n_used);
        struct op_route o = {
            .x = rig_input(&r, "x", n_in),
            .normed = normed,
            .weights = weights,
            .ids = ids,
            .norm = rig_floats(&r, n_in, 1, 1),
            .eps = 1e-6f,
            .router = rig_matrix(&r, type, n_in, n_expert, 1),
            .bias = i % 4 ? NULL : rig_floats(&r, n_expert, 1, 0),
            .select_bias = gating == GATE_SIGMOID_BIAS ? rig_floats(&r, n_expert, 1, 0) : NULL,
            .n_expert = n_expert,
            .n_used = n_used,
            .gating = gating,
            .scale = gating == GATE_SIGMOID_BIAS ? 1.8f : 1,
        };
        plan_op(&r.plan, OP_ROUTE, 0)->route = o;
        rig_check(&r, routed, &count);
    }
    rig_report(&count);
}

static double all_alike(const struct rig *r, const float *got, const float *want)
{
    return memcmp(got, want, r->plan.slots[r->outputs[0]].width * sizeof *got) ? HUGE_VAL : 0;
}

/* Of experts with the same row those with lower numbers, however they are ranked. */
TEST(ops_route_takes_the_first_of_equal_experts)
{
    static const uint32_t experts[][2] = {{33, 7}, {128, 8}, {130, 10}, {513, 10}};
    enum { N_IN = 64, N_KINDS = 3 };
    struct rig_count count = {.all = true};
    for (uint64_t i = 0; i < 4; i++) {
        const uint32_t n_expert = experts[i][0], n_used = experts[i][1];
        struct rig r = rig_open(i, 1);
        snprintf(r.what, sizeof r.what, "%u of %u experts", n_used, n_expert);
        const struct weight *router = rig_matrix(&r, BLOCK_F32, N_IN, n_expert, 1);
        float *rows = r.owned[r.n_owned - 1];
        for (uint32_t e = N_KINDS; e < n_expert; e++)
            memcpy(rows + e * N_IN, rows + e * 7 % N_KINDS * N_IN, N_IN * sizeof *rows);
        plan_op(&r.plan, OP_ROUTE, 0)->route = (struct op_route){
            .ids = rig_output(&r, "ids", n_used),
            .normed = plan_slot(&r.plan, "normed", N_IN),
            .weights = plan_slot(&r.plan, "weights", n_used),
            .x = rig_input(&r, "x", N_IN),
            .norm = rig_floats(&r, N_IN, 1, 1),
            .router = router,
            .n_expert = n_expert,
            .n_used = n_used,
        };
        rig_check(&r, all_alike, &count);
    }
    rig_report(&count);
}

TEST(ops_experts_up_matches_ref)
{
    struct rig_count count = {0};
    for (uint64_t i = 0; i < N_RIG_TYPES * N_ROW_COUNTS; i++) {
        const enum block_type type = rig_types[i % N_RIG_TYPES];
        const uint32_t n_in = columns(type, i), n_ff = 3 + 29 * (uint32_t)(i % 4);
        const uint32_t n_expert = i % 2 ? 8 : 5, n_used = 1 + (uint32_t)i % 4;
        const bool bias = i % 3 == 0;
        struct rig r = rig_open(i, row_counts[i / N_RIG_TYPES]);
        snprintf(r.what, sizeof r.what, "%s {%u, %u, %u}, %u used, %u rows", block_info(type)->name,
                 n_in, n_ff, n_expert, n_used, r.n_total);
        struct op_experts_up o = {
            .in = rig_input(&r, "in", n_in),
            .ids = rig_expert_ids(&r, n_expert, n_used),
            .out = rig_output(&r, "out", n_used * n_ff),
            .gate = rig_matrix(&r, type, n_in, n_ff, n_expert),
            .up = rig_matrix(&r, beside(type, i, n_in), n_in, n_ff, n_expert),
            .gate_bias = bias ? rig_floats(&r, n_ff, n_expert, 0) : NULL,
            .up_bias = bias ? rig_floats(&r, n_ff, n_expert, 0) : NULL,
            .act = bias ? ACT_SWIGLU_OAI : ACT_SWIGLU,
            .n_used = n_used,
        };
        plan_op(&r.plan, OP_EXPERTS_UP, 0)->experts_up = o;
        rig_check(&r, rig_whole, &count);
    }
    rig_report(&count);
}

TEST(ops_experts_down_matches_ref)
{
    struct rig_count count = {0};
    for (uint64_t i = 0; i < N_RIG_TYPES * N_ROW_COUNTS; i++) {
        const enum block_type type = rig_types[i % N_RIG_TYPES];
        const uint32_t n_ff = columns(type, i), n_out = 2 + 31 * (uint32_t)(i % 4);
        const uint32_t n_expert = i % 2 ? 8 : 5, n_used = 1 + (uint32_t)i % 4;
        struct rig r = rig_open(i, row_counts[i / N_RIG_TYPES]);
        snprintf(r.what, sizeof r.what, "%s {%u, %u, %u}, %u used, %u rows", block_info(type)->name,
                 n_ff, n_out, n_expert, n_used, r.n_total);
        struct op_experts_down o = {
            .in = rig_input(&r, "in", n_used * n_ff),
            .ids = rig_expert_ids(&r, n_expert, n_used),
            .weights = rig_input(&r, "weights", n_used),
            .x = rig_in_and_out(&r, "x", n_out),
            .down = rig_matrix(&r, type, n_ff, n_out, n_expert),
            .bias = i % 3 ? NULL : rig_floats(&r, n_out, n_expert, 0),
            .n_used = n_used,
        };
        plan_op(&r.plan, OP_EXPERTS_DOWN, 0)->experts_down = o;
        rig_check(&r, rig_whole, &count);
    }
    rig_report(&count);
}

/* Ops whose rows a GPU's shared memory does not hold. */
static void put_wide_op(struct rig *r, enum op_kind kind, enum block_type type, uint32_t n_in)
{
    const uint32_t n_out = 21, n_used = 2;
    struct op *op = plan_op(&r->plan, kind, 0);
    if (kind == OP_ADD_PROJECT)
        op->add_project = (struct op_add_project){.in = rig_input(r, "in", n_in),
                                                  .x = rig_in_and_out(r, "x", n_out),
                                                  .w = rig_matrix(r, type, n_in, n_out, 1)};
    else if (kind == OP_PROJECT)
        op->project = (struct op_project){
            .in = rig_input(r, "in", n_in),
            .norm = rig_floats(r, n_in, 1, 1),
            .eps = 1e-6f,
            .n_out = 2,
            .out = {{rig_matrix(r, type, n_in, n_out, 1), NULL, rig_output(r, "a", n_out)},
                    {rig_matrix(r, BLOCK_Q8_0, n_in, n_out, 1), NULL, rig_output(r, "b", n_out)}}};
    else if (kind == OP_GLU)
        op->glu = (struct op_glu){.in = rig_input(r, "in", n_in),
                                  .out = rig_output(r, "out", n_out),
                                  .gate = rig_matrix(r, type, n_in, n_out, 1),
                                  .up = rig_matrix(r, type, n_in, n_out, 1)};
    else
        op->experts_down = (struct op_experts_down){.in = rig_input(r, "in", n_used * n_in / 2),
                                                    .ids = rig_expert_ids(r, 5, n_used),
                                                    .weights = rig_input(r, "weights", n_used),
                                                    .x = rig_in_and_out(r, "x", n_out),
                                                    .down = rig_matrix(r, type, n_in / 2, n_out, 5),
                                                    .n_used = n_used};
}

TEST(ops_over_wide_rows_match_ref)
{
    static const enum op_kind kinds[] = {OP_ADD_PROJECT, OP_PROJECT, OP_GLU, OP_EXPERTS_DOWN};
    static const uint32_t rows[] = {1, 3, 11};
    struct rig_count count = {.all = true};
    for (uint64_t i = 0; i < 12; i++) {
        struct rig r = rig_open(i, rows[i / 4]);
        snprintf(r.what, sizeof r.what, "%s, %u rows of 32768", op_name(kinds[i % 4]), r.n_total);
        put_wide_op(&r, kinds[i % 4], i % 3 ? BLOCK_F16 : BLOCK_F32, 32768);
        rig_check(&r, rig_whole, &count);
    }
    rig_report(&count);
}
