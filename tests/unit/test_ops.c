/* Every backend against ref, op by op: plans of one op over random weights, ragged shapes and all
 * block types (kit/op_rig). */
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

/* Three steps over two sequences: 0 is read, then 1 is read while 0 is cut back to `cut` tokens and
 * goes on, then both take one token. */
static void two_sequences(struct rig *r, uint32_t n_first, uint32_t cut, uint32_t n_second)
{
    uint32_t n = 0;
    r->params.n_seqs = 2;
    r->n_steps = 3;
    r->n_rows[0] = n_first;
    r->n_rows[1] = n_second + 2;
    r->n_rows[2] = 2;
    r->n_total = n_first + n_second + 4;
    r->pos = rig_own(r, mem_new(r->n_total, sizeof *r->pos));
    r->seq = rig_own(r, mem_new(r->n_total, sizeof *r->seq));
    for (uint32_t i = 0; i < n_first; i++)
        r->pos[n++] = i;
    r->pos[n++] = cut;
    for (uint32_t i = 0; i < n_second; i++, n++) {
        r->seq[n] = 1;
        r->pos[n] = i;
    }
    r->pos[n++] = cut + 1;
    r->pos[n++] = cut + 2;
    r->seq[n] = 1;
    r->pos[n++] = n_second;
}

TEST(ops_attend_matches_ref)
{
    static const struct {
        uint32_t n_head, n_kv_head, head_dim, head_dim_v, n_rot;
    } shapes[] = {
        {4, 2, 64, 64, 64},    {8, 1, 32, 32, 32}, {3, 3, 128, 128, 128}, {8, 2, 32, 64, 16},
        {16, 2, 256, 256, 64}, {2, 1, 96, 96, 0},  {4, 2, 8, 8, 8}, /* for floats and halves alone:
                                                                       others come in blocks of 32
                                                                     */
    };
    static const enum block_type caches[] = {BLOCK_F32, BLOCK_F16, BLOCK_Q8_0, BLOCK_Q4_0};
    static const uint32_t lengths[] = {1, 9, 70, 130};
    struct rig_count count = {0};
    for (uint64_t i = 0; i < 96; i++) {
        const size_t shape = i % 24 % (i < 48 ? 7 : 6);
        const uint32_t n_head = shapes[shape].n_head, n_kv_head = shapes[shape].n_kv_head;
        const uint32_t dim = shapes[shape].head_dim, dim_v = shapes[shape].head_dim_v;
        struct rig r = rig_open(i, 0);
        double inv_freq[128];
        struct rope rope = {i % 5 ? ROPE_HALVES : ROPE_ADJACENT, shapes[shape].n_rot, inv_freq, 1};
        for (uint32_t j = 0; j < rope.n_rot / 2; j++)
            inv_freq[j] = pow(1e6, -2.0 * j / rope.n_rot);
        rope.mscale = i % 7 ? 1 : 1.35f;
        two_sequences(&r, lengths[i / 6 % 4], lengths[i / 6 % 4] / 2, 5);
        r.params.type_k = caches[i / 24];
        r.params.type_v = caches[i % 8 ? i / 24 : 1];
        r.coarse = !rig_is_float(r.params.type_k) || !rig_is_float(r.params.type_v);
        const bool gated = i % 4 == 1 && dim == dim_v;
        snprintf(r.what, sizeof r.what,
                 "case %d: %u/%u heads of %u/%u, cache %s/%s, %u rows, window %d, gated %d", (int)i,
                 n_head, n_kv_head, dim, dim_v, block_info(r.params.type_k)->name,
                 block_info(r.params.type_v)->name, r.n_rows[0], i % 3 ? 0 : 6, gated);
        struct op_attend o = {
            .q = rig_input(&r, "q", n_head * dim * (gated ? 2 : 1)),
            .k = rig_input(&r, "k", n_kv_head * dim),
            .v = rig_input(&r, "v", n_kv_head * dim_v),
            .out = rig_output(&r, "out", n_head * dim_v),
            .q_norm = i % 2 ? rig_floats(&r, dim, 1, 1) : NULL,
            .k_norm = i % 2 ? rig_floats(&r, dim, 1, 1) : NULL,
            .eps = 1e-6f,
            .n_head = n_head,
            .n_kv_head = n_kv_head,
            .head_dim = dim,
            .head_dim_v = dim_v,
            .rope = rope.n_rot ? &rope : NULL,
            .scale = 1 / sqrtf((float)dim),
            .window = i % 3 ? 0 : 6,
            .sinks = i % 5 == 2 ? rig_floats(&r, n_head, 1, 0) : NULL,
            .gated = gated,
        };
        o.kv = plan_kv(&r.plan, (struct kv_layer){n_kv_head * dim, n_kv_head * dim_v, 0});
        plan_op(&r.plan, OP_ATTEND, 0)->attend = o;
        rig_check(&r, rig_whole, &count);
    }
    rig_report(&count);
}

/* Batches that follow each other round a ring, of one sequence after the other and of both at once.
 */
static void round_a_ring(struct rig *r, uint32_t n)
{
    r->params.n_seqs = 2;
    r->params.n_ubatch = n;
    r->n_steps = MAX_STEPS;
    r->n_total = MAX_STEPS * n;
    r->pos = rig_own(r, mem_new(r->n_total, sizeof *r->pos));
    r->seq = rig_own(r, mem_new(r->n_total, sizeof *r->seq));
    uint32_t at[2] = {0};
    for (uint32_t i = 0; i < r->n_total; i++) {
        r->n_rows[i / n] = n;
        r->seq[i] = i / n == 2 ? i % 2 : i / n == 1 && n > 1;
        r->pos[i] = at[r->seq[i]]++;
    }
}

TEST(ops_attend_in_a_ring_matches_ref)
{
    static const enum block_type caches[] = {BLOCK_F32, BLOCK_F16, BLOCK_Q8_0, BLOCK_Q4_0};
    static const uint32_t windows[] = {1, 5, 16, 33, 70}, lengths[] = {1, 9, 63};
    enum { HEADS = 4, KV_HEADS = 2, DIM = 64 };
    struct rig_count count = {0};
    for (uint64_t i = 0; i < 60; i++) {
        struct rig r = rig_open(i, 0);
        const uint32_t window = windows[i % 5], n = lengths[i / 5 % 3];
        round_a_ring(&r, n);
        r.params.type_k = r.params.type_v = caches[i / 15];
        r.coarse = !rig_is_float(caches[i / 15]);
        snprintf(r.what, sizeof r.what, "case %d: window of %u, batches of %u, cache %s", (int)i,
                 window, n, block_info(caches[i / 15])->name);
        const struct op_attend o = {
            .q = rig_input(&r, "q", HEADS * DIM),
            .k = rig_input(&r, "k", KV_HEADS * DIM),
            .v = rig_input(&r, "v", KV_HEADS * DIM),
            .out = rig_output(&r, "out", HEADS * DIM),
            .n_head = HEADS,
            .n_kv_head = KV_HEADS,
            .head_dim = DIM,
            .head_dim_v = DIM,
            .scale = 0.125f,
            .window = window,
            .sinks = i % 2 ? rig_floats(&r, HEADS, 1, 0) : NULL,
            .kv = plan_kv(&r.plan, (struct kv_layer){KV_HEADS * DIM, KV_HEADS * DIM, window}),
        };
        plan_op(&r.plan, OP_ATTEND, 0)->attend = o;
        rig_check(&r, rig_whole, &count);
    }
    rig_report(&count);
}

/* Long enough that the keys of a row, and of a tile of rows, are split among workgroups; once
 * twice, for the same bits. */
TEST(ops_attend_at_depth_matches_ref)
{
    static const struct {
        uint32_t n_head, n_kv_head, dim, window;
        enum block_type cache;
        bool gated, sinks;
    } cases[] = {
        {8, 1, 128, 0, BLOCK_F16, false, false}, {4, 2, 64, 0, BLOCK_F16, false, true},
        {4, 2, 64, 300, BLOCK_F16, false, true}, {2, 1, 256, 0, BLOCK_F16, true, false},
        {6, 2, 64, 0, BLOCK_F32, false, false},  {8, 2, 128, 0, BLOCK_Q8_0, false, false},
        {8, 2, 128, 0, BLOCK_Q4_0, false, true},
    };
    static const uint32_t n_rows[] = {256, 251, 5, 1};
    struct rig_count count = {.all = true};
    for (uint64_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const uint32_t n_head = cases[i].n_head, n_kv_head = cases[i].n_kv_head, dim = cases[i].dim;
        struct rig r = rig_open(i, 0);
        r.params =
            (struct exec_params){.n_ctx = 600, .type_k = cases[i].cache, .type_v = cases[i].cache};
        r.n_steps = sizeof n_rows / sizeof *n_rows;
        for (uint32_t s = 0; s < r.n_steps; s++)
            r.n_total += r.n_rows[s] = n_rows[s];
        r.pos = rig_own(&r, mem_new(r.n_total, sizeof *r.pos));
        for (uint32_t t = 0; t < r.n_total; t++)
            r.pos[t] = t;
        r.coarse = !rig_is_float(cases[i].cache);
        snprintf(r.what, sizeof r.what, "case %d: %u/%u heads of %u, cache %s, window %u", (int)i,
                 n_head, n_kv_head, dim, block_info(cases[i].cache)->name, cases[i].window);
        struct op_attend o = {
            .q = rig_input(&r, "q", n_head * dim * (cases[i].gated ? 2 : 1)),
            .k = rig_input(&r, "k", n_kv_head * dim),
            .v = rig_input(&r, "v", n_kv_head * dim),
            .out = rig_output(&r, "out", n_head * dim),
            .n_head = n_head,
            .n_kv_head = n_kv_head,
            .head_dim = dim,
            .head_dim_v = dim,
            .scale = 1 / sqrtf((float)dim),
            .window = cases[i].window,
            .sinks = cases[i].sinks ? rig_floats(&r, n_head, 1, 0) : NULL,
            .gated = cases[i].gated,
        };
        o.kv = plan_kv(&r.plan, (struct kv_layer){n_kv_head * dim, n_kv_head * dim, o.window});
        plan_op(&r.plan, OP_ATTEND, 0)->attend = o;
        if (i == 0)
            rig_check_same_bits("vulkan", &r);
        rig_check(&r, rig_whole, &count);
    }
    rig_report(&count);
}

struct delta_shape {
    uint32_t n_k_head, n_v_head, d_k, d_v, n_conv;
};

/* The op over the rig's rows, which are there. */
static void add_delta_net(struct rig *r, const struct delta_shape *s, enum head_order order)
{
    const uint32_t n_v = s->n_v_head * s->d_v, n = 2 * s->n_k_head * s->d_k + n_v;
    snprintf(r->what, sizeof r->what, "%u/%u heads of %u/%u, %s, %u rows of %u sequences",
             s->n_k_head, s->n_v_head, s->d_k, s->d_v, order == HEADS_TILED ? "tiled" : "grouped",
             r->n_rows[0], r->params.n_seqs);
    const bool pairs = order == HEADS_GROUPED; /* beta and alpha in one slot */
    struct op_delta_net o = {
        .qkv = rig_input(r, "qkv", n),
        .z = rig_input(r, "z", n_v),
        .beta = rig_input(r, "beta", pairs ? 2 * s->n_v_head : s->n_v_head),
        .out = rig_output(r, "out", n_v),
        .conv = rig_floats(r, s->n_conv, n, 0.3f),
        .dt_bias = rig_floats(r, s->n_v_head, 1, 0),
        .decay = rig_floats(r, s->n_v_head, 1, -0.6f), /* all are negative */
        .norm = rig_floats(r, s->d_v, 1, 1),
        .eps = 1e-6f,
        .n_conv = s->n_conv,
        .n_k_head = s->n_k_head,
        .n_v_head = s->n_v_head,
        .d_k = s->d_k,
        .d_v = s->d_v,
        .order = order,
    };
    o.alpha = pairs ? o.beta : rig_input(r, "alpha", s->n_v_head);
    o.state = plan_state(&r->plan, (struct state_layer){(s->n_conv - 1) * n, n_v * o.d_k});
    plan_op(&r->plan, OP_DELTA_NET, 0)->delta_net = o;
}

TEST(ops_delta_net_matches_ref)
{
    static const struct delta_shape shapes[] = {
        {16, 32, 128, 128, 4}, {2, 4, 64, 64, 4}, {1, 3, 31, 33, 2}, {4, 4, 48, 16, 3}};
    static const uint32_t lengths[] = {1, 9, 64, 130};
    struct rig_count count = {0};
    for (uint64_t i = 0; i < 16; i++) {
        struct rig r = rig_open(i, 0);
        two_sequences(&r, lengths[i / 4], lengths[i / 4], 5);
        add_delta_net(&r, &shapes[i % 4], i % 2 ? HEADS_TILED : HEADS_GROUPED);
        rig_check(&r, rig_whole, &count);
    }
    rig_report(&count);
}

/* Four batches over the same states, each row of a random sequence: some of many rows, whose chunks
 * end anywhere, with a small one behind. */
static void mixed_sequences(struct rig *r, uint32_t n_first)
{
    uint32_t held[3] = {0};
    r->n_steps = 4;
    r->n_rows[0] = n_first;
    r->n_rows[1] = 9 + (uint32_t)rng_below(&r->rng, 100);
    r->n_rows[2] = 1 + (uint32_t)rng_below(&r->rng, 8);
    r->n_rows[3] = 9 + (uint32_t)rng_below(&r->rng, 30);
    for (uint32_t i = 0; i < r->n_steps; i++)
        r->n_total += r->n_rows[i];
    r->pos = rig_own(r, mem_new(r->n_total, sizeof *r->pos));
    r->seq = rig_own(r, mem_new(r->n_total, sizeof *r->seq));
    for (uint32_t t = 0; t < r->n_total; t++) {
        r->seq[t] = (uint32_t)rng_below(&r->rng, r->params.n_seqs);
        r->pos[t] = held[r->seq[t]]++;
    }
}

/* Rows like the first one, nearly all new and none forgotten: a token said again and again. What
 * inverts the products of a chunk's keys by their powers fails here. */
static void repeat_first_row(struct rig *r)
{
    const struct op_delta_net *o = &r->plan.ops[0].delta_net;
    float *beta = r->inputs[2].rows, *alpha = r->inputs[r->n_inputs - 1].rows;
    for (uint32_t h = 0; h < o->n_v_head; h++) {
        beta[delta_beta_at(o, h)] = 8;
        alpha[delta_alpha_at(o, h)] = -20;
    }
    for (size_t i = 0; i < r->n_inputs; i++) {
        const size_t width = r->plan.slots[r->inputs[i].slot].width;
        float *rows = r->inputs[i].rows;
        for (uint32_t t = 1; t < r->n_total; t++)
            memcpy(rows + t * width, rows, width * sizeof *rows);
    }
}

/* Where a backend has chunks, and whatever their length. */
TEST(ops_delta_net_of_many_rows_matches_ref)
{
    static const struct delta_shape shapes[] = {
        {2, 4, 64, 64, 4}, {1, 3, 128, 96, 3}, {2, 2, 192, 32, 2}, {16, 32, 128, 128, 4}};
    static const uint32_t lengths[] = {9, 31, 32, 33, 64, 65, 130, 200};
    enum { N_LENGTHS = sizeof lengths / sizeof *lengths };
    struct rig_count count = {.all = true};
    for (uint64_t i = 0; i < 2 * N_LENGTHS; i++) {
        const struct delta_shape *shape = &shapes[(i + i / N_LENGTHS) % 4];
        struct rig r = rig_open(i, 0);
        r.params.n_seqs = 1 + (uint32_t)rng_below(&r.rng, 3);
        r.params.n_ctx = 512;
        mixed_sequences(&r, lengths[i % N_LENGTHS]);
        add_delta_net(&r, shape, i % 2 ? HEADS_TILED : HEADS_GROUPED);
        if (i < 4)
            rig_check_same_bits("vulkan", &r);
        else if (i < 8)
            repeat_first_row(&r);
        rig_check(&r, rig_whole, &count);
    }
    rig_report(&count);
}

TEST(ops_attend_mla_matches_ref)
{
    static const struct {
        uint32_t n_head, n_nope, n_latent, n_rot, head_dim_v;
    } shapes[] = {
        {4, 32, 64, 32, 32}, {20, 192, 512, 64, 32}, {1, 64, 32, 32, 7}, {17, 32, 96, 64, 64}};
    static const enum block_type caches[] = {BLOCK_F32, BLOCK_F16, BLOCK_Q8_0, BLOCK_Q4_0};
    static const enum block_type types[] = {BLOCK_F32, BLOCK_F16, BLOCK_Q8_0, BLOCK_IQ4_NL};
    static const uint32_t lengths[] = {1, 9, 70, 130};
    struct rig_count count = {0};
    for (uint64_t i = 0; i < 64; i++) {
        const uint32_t n_head = shapes[i % 4].n_head, n_nope = shapes[i % 4].n_nope;
        const uint32_t n_latent = shapes[i % 4].n_latent, n_rot = shapes[i % 4].n_rot;
        const uint32_t dim_v = shapes[i % 4].head_dim_v;
        struct rig r = rig_open(i, 0);
        double inv_freq[32];
        const struct rope rope = {ROPE_ADJACENT, n_rot, inv_freq, 1};
        for (uint32_t j = 0; j < n_rot / 2; j++)
            inv_freq[j] = pow(1e6, -2.0 * j / n_rot);
        const uint32_t n_rows = n_head == 20 ? 9 : lengths[i / 4 % 4]; /* GLM's is slow on ref */
        two_sequences(&r, n_rows, n_rows / 2, 5);
        r.params.type_k = r.params.type_v = caches[i / 16];
        snprintf(r.what, sizeof r.what, "case %d: %u heads of %u+%u over %u, cache %s, %s, %u rows",
                 (int)i, n_head, n_nope, n_rot, n_latent, block_info(r.params.type_k)->name,
                 block_info(types[(i / 4 + i) % 4])->name, r.n_rows[0]);
        struct op_attend_mla o = {
            .q = rig_input(&r, "q", n_head * (n_nope + n_rot)),
            .kv_in = rig_input(&r, "kv", n_latent + n_rot),
            .out = rig_output(&r, "out", n_head * dim_v),
            .latent_norm = rig_floats(&r, n_latent, 1, 1),
            .key_up = rig_matrix(&r, types[(i / 4 + i) % 4], n_nope, n_latent, n_head),
            .value_down = rig_matrix(&r, types[(i / 4 + i) % 4], n_latent, dim_v, n_head),
            .eps = 1e-6f,
            .n_head = n_head,
            .n_nope = n_nope,
            .n_latent = n_latent,
            .head_dim_v = dim_v,
            .rope = &rope,
            .scale = 1 / sqrtf((float)(n_nope + n_rot)),
            .kv = plan_kv(&r.plan, (struct kv_layer){.k_width = n_latent + n_rot}),
        };
        r.coarse |= !rig_is_float(r.params.type_k);
        plan_op(&r.plan, OP_ATTEND_MLA, 0)->attend_mla = o;
        rig_check(&r, rig_whole, &count);
    }
    rig_report(&count);
}
