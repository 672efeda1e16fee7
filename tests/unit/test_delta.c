/* The gated delta net: the op, which backends compute in chunks, against the recurrence of the
 * paper in double precision, over random shapes, lengths and splits; and what exec promises about
 * states.
 */
#include <math.h>

#include "compute/cpu/cpu.h"
#include "kit/models.h"
#include "test.h"

static const struct backend *const backends[] = {&backend_ref, &backend_cpu, &backend_cpu_avx2,
                                                 &backend_cpu_portable};
enum { N_BACKENDS = sizeof backends / sizeof *backends };

enum { MAX_ROWS = 200, MAX_HEADS = 8, MAX_DIM = 16, MAX_TAPS = 4 };

struct rig {
    struct rng rng;
    struct plan plan;
    struct op_delta_net op;
    slot_id slots[4]; /* qkv, z, beta, alpha */
    float *rows[4];   /* [n_rows][width] */
    float *vectors[4];
    uint32_t n_rows;
};

static const struct weight *vector(struct rig *r, int i, uint64_t n, uint64_t n_rows, float mean)
{
    struct weight *w = plan_weight(&r->plan, STR("w"), BLOCK_F32, (uint64_t[]){n, n_rows, 1});
    w->data = r->vectors[i] = kit_random_floats(&r->rng, n * n_rows, mean, 0.3f);
    return w;
}

static struct rig rig_open(uint64_t seed, enum head_order order)
{
    struct rig r = {.rng = {test_seed() * 1000003 + seed}};
    struct op_delta_net *o = &r.op;
    const uint32_t n_each = 1 + (uint32_t)rng_below(&r.rng, 3);
    o->n_k_head = 1 + (uint32_t)rng_below(&r.rng, 2);
    o->n_v_head = o->n_k_head * n_each;
    o->d_k = 1 + (uint32_t)rng_below(&r.rng, MAX_DIM);
    /* The norm over one or two values magnifies the rounding of those near 0. */
    o->d_v = 4 + (uint32_t)rng_below(&r.rng, MAX_DIM - 3);
    o->n_conv = 2 + (uint32_t)rng_below(&r.rng, MAX_TAPS - 1);
    o->order = order;
    o->eps = 1e-6f;
    r.n_rows = 1 + (uint32_t)rng_below(&r.rng, MAX_ROWS);
    const uint32_t n_v = o->n_v_head * o->d_v, n = 2 * o->n_k_head * o->d_k + n_v;
    const uint32_t widths[] = {n, n_v, o->n_v_head, o->n_v_head};
    static const char *const names[] = {"qkv", "z", "beta", "alpha"};
    for (int i = 0; i < 4; i++) {
        r.slots[i] = plan_slot(&r.plan, names[i], widths[i]);
        r.rows[i] = kit_random_floats(&r.rng, (size_t)r.n_rows * widths[i], 0.1f, 1);
    }
    o->qkv = r.slots[0];
    o->z = r.slots[1];
    o->beta = r.slots[2];
    o->alpha = r.slots[3];
    o->out = plan_slot(&r.plan, "out", n_v);
    o->conv = vector(&r, 0, o->n_conv, n, 0.3f);
    o->dt_bias = vector(&r, 1, o->n_v_head, 1, 0);
    o->decay = vector(&r, 2, o->n_v_head, 1, -0.6f); /* -1.12 to -0.08: all are negative */
    o->norm = vector(&r, 3, o->d_v, 1, 1);
    o->state = plan_state(&r.plan, (struct state_layer){(o->n_conv - 1) * n, n_v * o->d_k});
    plan_op(&r.plan, OP_DELTA_NET, 0)->delta_net = *o;
    return r;
}

static void rig_close(struct rig *r)
{
    plan_free(&r->plan);
    for (int i = 0; i < 4; i++) {
        free(r->rows[i]);
        free(r->vectors[i]);
    }
}

static const struct exec_params rig_params = {.n_ctx = MAX_ROWS, .n_seqs = 2};

static struct exec *rig_exec(const struct rig *r, const struct backend *b, int n_threads)
{
    struct err e = {0};
    struct exec *x;
    struct exec_params params = rig_params;
    params.n_threads = n_threads;
    CHECK_OK(x = exec_open(b, &r->plan, &params, NULL, NULL, &e));
    return x;
}

/* Rows [from, to) of sequence 0 in one batch; out[to - from][n_v * d_v]. */
static bool run_rows(struct exec *x, const struct rig *r, uint32_t from, uint32_t to, float *out,
                     struct err *e)
{
    uint32_t pos[MAX_ROWS];
    const uint32_t n = to - from;
    for (uint32_t t = 0; t < n; t++)
        pos[t] = from + t;
    for (int i = 0; i < 4; i++)
        CHECK(exec_slot_put(x, r->slots[i], n,
                            r->rows[i] + (size_t)from * r->plan.slots[r->slots[i]].width, e));
    if (!exec_run(x, &(struct batch){.n = n, .pos = pos}, e))
        return false;
    CHECK(exec_slot_get(x, r->op.out, n, out, e));
    return true;
}

/* ---- the recurrence -------------------------------------------------------------------------- */

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* Channel c of row t after the convolution: all earlier rows are at hand. */
static double convolved(const struct rig *r, uint32_t t, size_t c)
{
    const uint32_t n_taps = r->op.n_conv, width = r->plan.slots[r->op.qkv].width;
    double sum = 0;
    for (uint32_t i = 0; i < n_taps && i <= t; i++)
        sum += (double)r->vectors[0][c * n_taps + n_taps - 1 - i] *
               (double)r->rows[0][(size_t)(t - i) * width + c];
    return sum * sigmoid(sum);
}

/* n channels from c on, scaled to length `length` when it is not 0. */
static void head_of(const struct rig *r, uint32_t t, size_t c, uint32_t n, double length,
                    double *out)
{
    double sum = 1e-6;
    for (uint32_t i = 0; i < n; i++) {
        out[i] = convolved(r, t, c + i);
        sum += out[i] * out[i];
    }
    for (uint32_t i = 0; i < n && length > 0; i++)
        out[i] *= length / sqrt(sum);
}

/* One row of one value head: steps 3 to 8 of the spec, in its order. */
static void recur(const struct rig *r, uint32_t t, uint32_t h, double s[MAX_DIM][MAX_DIM],
                  double *out)
{
    const struct op_delta_net *o = &r->op;
    const size_t n_k = (size_t)o->n_k_head * o->d_k, at = (size_t)t * o->n_v_head + h;
    const size_t j = o->order == HEADS_TILED ? h % o->n_k_head : h / (o->n_v_head / o->n_k_head);
    double q[MAX_DIM], k[MAX_DIM], v[MAX_DIM], sum = 0;
    head_of(r, t, j * o->d_k, o->d_k, 1 / sqrt(o->d_k), q);
    head_of(r, t, n_k + j * o->d_k, o->d_k, 1, k);
    head_of(r, t, 2 * n_k + (size_t)h * o->d_v, o->d_v, 0, v);
    const double beta = sigmoid((double)r->rows[2][at]);
    const double a = (double)r->rows[3][at] + (double)r->vectors[1][h];
    const double decay = exp((double)r->vectors[2][h] * log(1 + exp(a)));
    for (uint32_t i = 0; i < o->d_v; i++) {
        double read = 0;
        out[i] = 0;
        for (uint32_t c = 0; c < o->d_k; c++)
            read += (s[c][i] *= decay) * k[c];
        for (uint32_t c = 0; c < o->d_k; c++) {
            s[c][i] += k[c] * beta * (v[i] - read);
            out[i] += s[c][i] * q[c];
        }
        sum += out[i] * out[i];
    }
    for (uint32_t i = 0; i < o->d_v; i++) {
        const double z = (double)r->rows[1][at * o->d_v + i];
        out[i] *= (double)r->vectors[3][i] / sqrt(sum / o->d_v + (double)o->eps) * z * sigmoid(z);
    }
}

/* Norm of the difference of all rows from the recurrence over its norm. */
static double relative_error(const struct rig *r, const float *got)
{
    double memory[MAX_HEADS][MAX_DIM][MAX_DIM] = {0}, out[MAX_DIM], difference = 0, norm = 0;
    for (uint32_t t = 0; t < r->n_rows; t++)
        for (uint32_t h = 0; h < r->op.n_v_head; h++) {
            recur(r, t, h, memory[h], out);
            for (uint32_t i = 0; i < r->op.d_v; i++) {
                const double d = (double)*got++ - out[i];
                difference += d * d;
                norm += out[i] * out[i];
            }
        }
    return sqrt(difference / norm);
}

/* Begun again at 0, in random pieces. */
static void run_in_pieces(struct exec *x, struct rig *r, uint32_t most_rows, float *out)
{
    struct err e = {0};
    const size_t width = r->plan.slots[r->op.out].width;
    for (uint32_t from = 0, to; from < r->n_rows; from = to) {
        to = from + 1 + (uint32_t)rng_below(&r->rng, most_rows);
        to = to < r->n_rows ? to : r->n_rows;
        CHECK_OK(run_rows(x, r, from, to, out + from * width, &e));
    }
}

/* Returns the relative error. */
static double check_chunks(struct rig *r, const struct backend *b, int n_threads)
{
    struct err e = {0};
    const size_t width = r->plan.slots[r->op.out].width;
    float *all = mem_new(r->n_rows * width, sizeof *all);
    float *got = mem_new(r->n_rows * width, sizeof *got);
    struct exec *x = rig_exec(r, b, 1);
    CHECK_OK(run_rows(x, r, 0, r->n_rows, all, &e));
    const double difference = relative_error(r, all);
    if (!(difference <= 1e-5))
        test_fail(__FILE__, __LINE__, "%s: %u rows differ by %g", b->name, r->n_rows, difference);
    exec_close(x);
    x = rig_exec(r, b, n_threads);
    for (int i = 0; i < 2; i++) {
        run_in_pieces(x, r, i ? r->n_rows : 3, got);
        if (memcmp(got, all, r->n_rows * width * sizeof *got))
            test_fail(__FILE__, __LINE__, "%s: %u rows on %d threads have other bits in pieces",
                      b->name, r->n_rows, n_threads);
    }
    exec_close(x);
    free(all);
    free(got);
    return difference;
}

TEST(delta_net_in_chunks_equals_the_recurrence_however_rows_are_split)
{
    for (size_t j = 0; j < N_BACKENDS; j++) {
        double most = 0;
        for (uint64_t i = 0; i < 60; i++) {
            struct rig r = rig_open(i, i % 2 ? HEADS_TILED : HEADS_GROUPED);
            most = fmax(most, check_chunks(&r, backends[j], 1 + (int)i % 3));
            rig_close(&r);
        }
        printf("    %-12s largest relative error %.1e\n", backends[j]->name, most);
    }
}

/* Row i of a batch of two sequences is row i / 2 of sequence i % 2, and both read the same rows. */
TEST(delta_net_keeps_interleaved_sequences_apart)
{
    struct err e = {0};
    for (uint64_t i = 0; i < 8; i++) {
        const struct backend *b = backends[i % N_BACKENDS];
        struct rig r = rig_open(300 + i, HEADS_GROUPED);
        uint32_t pos[2 * MAX_ROWS], seq[2 * MAX_ROWS];
        const uint32_t n = r.n_rows;
        const size_t width = r.plan.slots[r.op.out].width;
        float *want = mem_new(n * width, sizeof *want);
        float *got = mem_new(2 * n * width, sizeof *got);
        struct exec *x = rig_exec(&r, b, 2);
        CHECK_OK(run_rows(x, &r, 0, n, want, &e));
        for (uint32_t t = 0; t < 2 * n; t++) {
            pos[t] = t / 2;
            seq[t] = t % 2;
        }
        for (int k = 0; k < 4; k++) {
            const size_t w = r.plan.slots[r.slots[k]].width;
            float *twice = mem_new(2 * n * w, sizeof *twice);
            for (uint32_t t = 0; t < 2 * n; t++)
                memcpy(twice + t * w, r.rows[k] + t / 2 * w, w * sizeof *twice);
            CHECK_OK(exec_slot_put(x, r.slots[k], 2 * n, twice, &e));
            free(twice);
        }
        CHECK_OK(exec_run(x, &(struct batch){.n = 2 * n, .pos = pos, .seq = seq}, &e));
        CHECK_OK(exec_slot_get(x, r.op.out, 2 * n, got, &e));
        for (uint32_t t = 0; t < 2 * n; t++)
            CHECK(memcmp(got + t * width, want + t / 2 * width, width * sizeof *got) == 0);
        exec_close(x);
        free(want);
        free(got);
        rig_close(&r);
    }
}

/* ---- states ---------------------------------------------------------------------------------- */

TEST(exec_goes_back_to_a_saved_state_to_the_bit)
{
    struct err e = {0};
    for (uint64_t i = 0; i < 30; i++) {
        struct rig r = rig_open(100 + i, HEADS_GROUPED);
        const struct backend *b = backends[i % N_BACKENDS];
        const size_t width = r.plan.slots[r.op.out].width;
        const uint32_t at = (uint32_t)rng_below(&r.rng, r.n_rows), n = r.n_rows - at;
        float *want = mem_new(r.n_rows * width, sizeof *want);
        float *got = mem_new(r.n_rows * width, sizeof *got);
        struct exec *x = rig_exec(&r, b, 2);
        const uint64_t n_bytes = exec_state_bytes(b, &r.plan, &rig_params);
        void *saved = mem_new(n_bytes, 1);
        CHECK(n_bytes >= plan_state_bytes(&r.plan));
        if (at)
            CHECK_OK(run_rows(x, &r, 0, at, got, &e));
        CHECK_INT(exec_reach(x, 0).first, at);
        CHECK_INT(exec_reach(x, 0).last, at);
        CHECK_OK(exec_state_save(x, 0, at, saved, &e));
        CHECK_OK(run_rows(x, &r, at, r.n_rows, want, &e));
        CHECK_OK(exec_state_restore(x, 0, at, saved, &e));
        CHECK_OK(run_rows(x, &r, at, r.n_rows, got, &e));
        CHECK(memcmp(got, want, n * width * sizeof *got) == 0);
        exec_close(x);
        free(saved);
        free(want);
        free(got);
        rig_close(&r);
    }
}

TEST(exec_refuses_to_cut_back_what_has_a_state)
{
    struct err e = {0};
    float out[MAX_ROWS * MAX_HEADS * MAX_DIM];
    struct rig r = rig_open(7, HEADS_GROUPED);
    while (r.n_rows < 10) {
        rig_close(&r);
        r = rig_open(rng_u64(&r.rng), HEADS_GROUPED);
    }
    struct exec *x = rig_exec(&r, &backend_ref, 1);
    void *saved = mem_new(exec_state_bytes(&backend_ref, &r.plan, &rig_params), 1);
    CHECK_OK(run_rows(x, &r, 0, 4, out, &e));
    CHECK_OK(exec_state_save(x, 0, 4, saved, &e));
    CHECK_OK(run_rows(x, &r, 4, 8, out, &e));
    CHECK(!run_rows(x, &r, 6, 7, out, &e));
    CHECK_STR(
        str_of(e.msg),
        STR("row 0: position 6, but sequence 0 goes on at 8 to 8, at 0 or from a saved state"));
    CHECK_OK(run_rows(x, &r, 8, 9, out, &e));
    CHECK_OK(exec_state_restore(x, 0, 4, saved, &e));
    CHECK(!run_rows(x, &r, 8, 9, out, &e));
    CHECK_OK(run_rows(x, &r, 4, 5, out, &e));
    CHECK_OK(run_rows(x, &r, 0, 2, out, &e));
    /* The rows behind the state are gone. */
    CHECK(!exec_state_restore(x, 0, 4, saved, &e));
    CHECK_STR(str_of(e.msg), STR("the state is behind 4 tokens, sequence 0 holds 2"));
    /* A run that fails leaves no state, but what the cache held. */
    const atomic_bool cancel = true;
    CHECK_OK(run_rows(x, &r, 0, 8, out, &e));
    CHECK(!exec_run(x, &(struct batch){.n = 1, .pos = (uint32_t[]){8}, .cancel = &cancel}, &e));
    CHECK_INT(e.code, ERR_CANCELLED);
    CHECK(!run_rows(x, &r, 8, 9, out, &e));
    CHECK_OK(exec_state_restore(x, 0, 4, saved, &e));
    CHECK_OK(run_rows(x, &r, 4, 6, out, &e));
    exec_close(x);
    free(saved);
    rig_close(&r);
}

TEST(exec_plans_the_memory_of_states)
{
    struct err e = {0};
    struct mem_table t;
    struct rig r = rig_open(9, HEADS_TILED);
    const struct exec_params params = {.n_ctx = 16, .n_seqs = 3};
    for (size_t i = 0; i < N_BACKENDS; i++) {
        CHECK_OK(exec_memory(backends[i], &r.plan, &params, &t, &e));
        CHECK_STR(str_of(t.rows[2].what), STR("states"));
        CHECK_INT(t.rows[2].n_bytes, 3 * exec_state_bytes(backends[i], &r.plan, &params));
        CHECK_STR(str_of(t.rows[2].detail), STR("3 x 1 recurrent layers"));
    }
    rig_close(&r);
}
