/* A layer's experts as backends run them: the ops from the rows that a router reads to what the
 * experts add to them. The Vulkan backend makes logits with those rows, without a step of their own
 * (shaders/route_share.glsl). */
#include "kit/op_rig.h"
#include "test.h"

static const uint32_t experts[][2] = {{128, 8}, {32, 4}, {33, 1}, {8, 2}, {512, 10}};
static const uint32_t widths[] = {32, 96, 2880, 40, 2048};
static const uint32_t row_counts[] = {1, 8, 3, 17};

/* Float matrices before the choice: where rows are rounded to 8 bits, other experts may be right.
 */
static enum block_type float_type(uint64_t i)
{
    return i % 3 == 0 ? BLOCK_F32 : i % 3 == 1 ? BLOCK_F16 : BLOCK_BF16;
}

/* Outputs: x, and the weights of the chosen experts, where two as good as equal may change places.
 */
static void put_ops(struct rig *r, uint64_t i)
{
    const uint32_t n_expert = experts[i % 5][0], n_used = experts[i % 5][1], n = widths[i / 2 % 5];
    const uint32_t n_in = 32 * (1 + (uint32_t)i % 4), n_ff = 32 * (1 + (uint32_t)i % 3);
    const enum block_type type = n % 32 ? BLOCK_F16 : BLOCK_Q8_0;
    const enum gating gating = (enum gating)(i % 3);
    const bool bias = i % 4 == 0;
    snprintf(r->what, sizeof r->what, "gating %d, %u of %u experts, %u rows of %u", gating, n_used,
             n_expert, r->n_total, n);
    const slot_id x = rig_output(r, "x", n), weights = rig_output(r, "weights", n_used);
    const slot_id normed = plan_slot(&r->plan, "normed", n),
                  ids = plan_slot(&r->plan, "ids", n_used);
    const slot_id up = plan_slot(&r->plan, "up", n_used * n_ff);
    plan_op(&r->plan, OP_EMBED, 0)->embed =
        (struct op_embed){rig_matrix(r, BLOCK_F16, n, 13, 1), x};
    plan_op(&r->plan, OP_ADD_PROJECT, 0)->add_project =
        (struct op_add_project){.in = rig_input(r, "in", n_in),
                                .x = x,
                                .w = rig_matrix(r, float_type(i / 2), n_in, n, 1),
                                .bias = bias ? rig_floats(r, n, 1, 0) : NULL};
    plan_op(&r->plan, OP_ROUTE, 0)->route = (struct op_route){
        .x = x,
        .normed = normed,
        .ids = ids,
        .weights = weights,
        .norm = rig_floats(r, n, 1, 1),
        .eps = 1e-6f,
        .router = rig_matrix(r, float_type(i), n, n_expert, 1),
        .bias = bias ? rig_floats(r, n_expert, 1, 0) : NULL,
        .select_bias = gating == GATE_SIGMOID_BIAS ? rig_floats(r, n_expert, 1, 0) : NULL,
        .n_expert = n_expert,
        .n_used = n_used,
        .gating = gating,
        .scale = gating == GATE_SIGMOID_BIAS ? 1.8f : 1,
    };
    plan_op(&r->plan, OP_EXPERTS_UP, 0)->experts_up =
        (struct op_experts_up){.in = normed,
                               .ids = ids,
                               .out = up,
                               .gate = rig_matrix(r, type, n, n_ff, n_expert),
                               .up = rig_matrix(r, i % 2 ? type : BLOCK_F16, n, n_ff, n_expert),
                               .act = bias ? ACT_SWIGLU_OAI : ACT_SWIGLU,
                               .n_used = n_used};
    plan_op(&r->plan, OP_EXPERTS_DOWN, 0)->experts_down =
        (struct op_experts_down){.in = up,
                                 .ids = ids,
                                 .weights = weights,
                                 .x = x,
                                 .down = rig_matrix(r, BLOCK_Q8_0, n_ff, n, n_expert),
                                 .n_used = n_used};
}

TEST(ops_of_experts_behind_their_rows_match_ref)
{
    struct rig_count count = {.all = true};
    for (uint64_t i = 0; i < 20; i++) {
        struct rig r = rig_open(i, row_counts[i / 5 % 4]);
        put_ops(&r, i);
        rig_check(&r, rig_whole, &count);
    }
    rig_report(&count);
}

TEST(ops_of_experts_behind_their_rows_give_the_same_bits_again)
{
    for (uint64_t i = 0; i < 10; i += 3) {
        struct rig r = rig_open(i, row_counts[i / 5]);
        put_ops(&r, i);
        rig_check_same_bits("vulkan", &r);
        rig_close(&r);
    }
}
