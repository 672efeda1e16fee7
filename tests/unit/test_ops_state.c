/* As test_ops.c, the ops that remember: attention with its caches and rings, delta nets with their
 * memory, over several steps and sequences. */
#include <math.h>

#include "base/mem.h"
#include "kit/op_rig.h"
#include "test.h"

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

/* Attention over new inputs, with heads of random numbers; for the test to go on with. */
static struct op_attend attend_op(struct rig *r, uint32_t n_head, uint32_t n_kv_head, uint32_t dim,
                                  uint32_t dim_v, bool gated)
{
    return (struct op_attend){
        .q = rig_input(r, "q", n_head * dim * (gated ? 2 : 1)),
        .k = rig_input(r, "k", n_kv_head * dim),
        .v = rig_input(r, "v", n_kv_head * dim_v),
        .out = rig_output(r, "out", n_head * dim_v),
        .n_head = n_head,
        .n_kv_head = n_kv_head,
        .head_dim = dim,
        .head_dim_v = dim_v,
        .scale = 1 / sqrtf((float)dim),
        .gated = gated,
    };
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
        struct op_attend o = attend_op(&r, n_head, n_kv_head, dim, dim_v, gated);
        o.q_norm = i % 2 ? rig_floats(&r, dim, 1, 1) : NULL;
        o.k_norm = i % 2 ? rig_floats(&r, dim, 1, 1) : NULL;
        o.eps = 1e-6f;
        o.rope = rope.n_rot ? &rope : NULL;
        o.window = i % 3 ? 0 : 6;
        o.sinks = i % 5 == 2 ? rig_floats(&r, n_head, 1, 0) : NULL;
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
        struct op_attend o = attend_op(&r, HEADS, KV_HEADS, DIM, DIM, false);
        o.window = window;
        o.sinks = i % 2 ? rig_floats(&r, HEADS, 1, 0) : NULL;
        o.kv = plan_kv(&r.plan, (struct kv_layer){KV_HEADS * DIM, KV_HEADS * DIM, window});
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
        enum block_type keys, values;
        bool gated, sinks;
    } cases[] = {
        {8, 1, 128, 0, BLOCK_F16, BLOCK_F16, false, false},
        {4, 2, 64, 0, BLOCK_F16, BLOCK_F16, false, true},
        {4, 2, 64, 300, BLOCK_F16, BLOCK_F16, false, true},
        {2, 1, 256, 0, BLOCK_F16, BLOCK_F16, true, false},
        {6, 2, 64, 0, BLOCK_F32, BLOCK_F32, false, false},
        {8, 2, 128, 0, BLOCK_Q8_0, BLOCK_Q8_0, false, false},
        {8, 2, 128, 0, BLOCK_Q4_0, BLOCK_Q4_0, false, true},
        {16, 2, 64, 300, BLOCK_Q8_0, BLOCK_Q4_0, false, false},
        {8, 2, 64, 0, BLOCK_F16, BLOCK_Q8_0, true, false},
    };
    static const uint32_t n_rows[] = {256, 251, 5, 1, 1};
    struct rig_count count = {.all = true};
    for (uint64_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const uint32_t n_head = cases[i].n_head, n_kv_head = cases[i].n_kv_head, dim = cases[i].dim;
        struct rig r = rig_open(i, 0);
        r.params =
            (struct exec_params){.n_ctx = 600, .type_k = cases[i].keys, .type_v = cases[i].values};
        r.n_steps = sizeof n_rows / sizeof *n_rows;
        for (uint32_t s = 0; s < r.n_steps; s++)
            r.n_total += r.n_rows[s] = n_rows[s];
        r.pos = rig_own(&r, mem_new(r.n_total, sizeof *r.pos));
        for (uint32_t t = 0; t < r.n_total; t++)
            r.pos[t] = t;
        r.coarse = !rig_is_float(cases[i].keys) || !rig_is_float(cases[i].values);
        snprintf(r.what, sizeof r.what, "case %d: %u/%u heads of %u, cache %s/%s, window %u",
                 (int)i, n_head, n_kv_head, dim, block_info(cases[i].keys)->name,
                 block_info(cases[i].values)->name, cases[i].window);
        struct op_attend o = attend_op(&r, n_head, n_kv_head, dim, dim, cases[i].gated);
        o.window = cases[i].window;
        o.sinks = cases[i].sinks ? rig_floats(&r, n_head, 1, 0) : NULL;
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
