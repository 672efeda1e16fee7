/* The reference backend: its operators against golden cases, and what exec promises around a run
 * (cutting back, cancelling, splitting, memory). */
#include <math.h>

#include "base/json.h"
#include "compute/ref/ref_int.h"
#include "kit/models.h"
#include "model/arch.h"
#include "test.h"

/* ---- golden cases of single operators -------------------------------------------------------- */

struct golden {
    char *text;
    struct json *root;
    const struct json *cases;
};

static struct golden golden_open(void)
{
    struct err e = {0};
    struct golden g;
    size_t n_bytes;
    g.text = kit_read_shared("spec/data/math-cases.json", &n_bytes);
    CHECK_OK(g.root = json_parse((str){g.text, n_bytes}, &e));
    g.cases = json_get(g.root, "cases");
    return g;
}

static void golden_close(struct golden *g)
{
    json_free(g->root);
    free(g->text);
}

enum { MAX_GOLDEN = 64 };
struct values {
    float at[MAX_GOLDEN];
    size_t n;
};

static struct values values_of(const struct json *list)
{
    struct values v = {0};
    v.n = json_count(list);
    CHECK(v.n > 0 && v.n <= MAX_GOLDEN);
    for (size_t i = 0; i < v.n; i++)
        v.at[i] = (float)json_float(json_at(list, i));
    return v;
}

static struct values values(const struct json *object, const char *key)
{
    return values_of(json_get(object, key));
}

/* Row i of a matrix. */
static struct values row_of(const struct json *object, const char *key, size_t i)
{
    return values_of(json_at(json_get(object, key), i));
}

static float number(const struct json *object, const char *key)
{
    CHECK(json_has(object, key));
    return (float)json_float(json_get(object, key));
}

static void check_near(const float *got, struct values want, const char *what)
{
    for (size_t i = 0; i < want.n; i++)
        if (!(fabsf(got[i] - want.at[i]) <= 1e-5f))
            test_fail(__FILE__, __LINE__, "%s[%zu]: got %.8g, want %.8g", what, i, (double)got[i],
                      (double)want.at[i]);
}

TEST(ref_norm_and_softmax_match_the_golden_cases)
{
    struct golden g = golden_open();
    const struct json *c = json_get(g.cases, "rms_norm");
    struct values x = values(c, "x"), w = values(c, "w");
    ref_rms(x.at, w.at, number(c, "eps"), x.n, x.at);
    check_near(x.at, values(c, "y"), "rms");
    c = json_get(g.cases, "softmax_sink");
    struct values scores = values(c, "scores");
    float sink = number(c, "sink");
    ref_softmax(scores.at, scores.n, &sink);
    check_near(scores.at, values(c, "probs"), "softmax");
    golden_close(&g);
}

/* The tables of the two YaRN cases are those of gpt-oss. */
static const struct rope *golden_rope(struct arena *a, const struct json *c)
{
    const bool yarn = str_starts(json_str(json_get(c, "kind")), STR("yarn"));
    const bool adjacent = str_eq(json_str(json_get(c, "kind")), STR("norm"));
    return rope_make(a, &(struct rope_spec){
                            .pairs = adjacent ? ROPE_ADJACENT : ROPE_HALVES,
                            .n_rot = yarn ? 64 : (uint32_t)number(c, "n_rot"),
                            .base = yarn ? 150000 : (double)number(c, "base"),
                            .scaling = yarn ? ROPE_YARN : ROPE_PLAIN,
                            .factor = 32,
                            .n_ctx_train = 4096,
                            .attn_factor = 1,
                            .beta_fast = 32,
                            .beta_slow = 1,
                            .yarn_rounded = str_find(json_str(json_get(c, "kind")),
                                                     STR("truncate true"), 0) != SIZE_MAX,
                        });
}

TEST(ref_rope_matches_the_golden_cases)
{
    struct golden g = golden_open();
    struct arena a = {0};
    const struct json *list = json_get(g.cases, "rope");
    CHECK_INT(json_count(list), 5);
    for (size_t i = 0; i < 5; i++) {
        const struct json *c = json_at(list, i);
        struct values x = values(c, "x");
        ref_rope(golden_rope(&a, c), (uint32_t)number(c, "pos"), x.at);
        check_near(x.at, values(c, "y"), "rope");
    }
    arena_free(&a);
    golden_close(&g);
}

TEST(ref_activations_match_the_golden_cases)
{
    static const char *const names[] = {"swiglu", "swiglu_oai"};
    static const enum activation acts[] = {ACT_SWIGLU, ACT_SWIGLU_OAI};
    struct golden g = golden_open();
    for (int i = 0; i < 2; i++) {
        const struct json *c = json_get(g.cases, names[i]);
        struct values gate = values(c, "gate"), up = values(c, "up");
        for (size_t j = 0; j < gate.n; j++)
            gate.at[j] = ref_activate(acts[i], gate.at[j], up.at[j]);
        check_near(gate.at, values(c, "y"), names[i]);
    }
    golden_close(&g);
}

TEST(ref_routers_match_the_golden_cases)
{
    static const struct {
        const char *name;
        enum gating gating;
    } routers[] = {
        {"router_softmax_norm", GATE_SOFTMAX_NORM},
        {"router_topk_then_softmax", GATE_TOPK_SOFTMAX},
        {"router_sigmoid_bias", GATE_SIGMOID_BIAS},
    };
    struct golden g = golden_open();
    for (int i = 0; i < 3; i++) {
        const struct json *c = json_get(g.cases, routers[i].name);
        struct values logits = values(c, "logits"), want = values(c, "weights");
        struct values experts = values(c, "experts"), bias = {0};
        int32_t ids[MAX_GOLDEN];
        float weights[MAX_GOLDEN];
        const bool biased = json_has(c, "bias");
        if (biased)
            bias = values(c, "bias");
        ref_gate(routers[i].gating, logits.at, biased ? bias.at : NULL, (uint32_t)logits.n,
                 (uint32_t)want.n, biased ? number(c, "scale") : 1, ids, weights);
        check_near(weights, want, routers[i].name);
        for (size_t j = 0; j < want.n; j++)
            CHECK_INT(ids[j], experts.at[j]);
    }
    golden_close(&g);
}

TEST(ref_router_takes_the_lower_expert_of_equals)
{
    float logits[6] = {1, 3, 2, 3, 2, 2};
    int32_t ids[4];
    float weights[4];
    ref_gate(GATE_SOFTMAX_NORM, logits, NULL, 6, 4, 1, ids, weights);
    CHECK_INT(ids[0], 1);
    CHECK_INT(ids[1], 3);
    CHECK_INT(ids[2], 2);
    CHECK_INT(ids[3], 4);
}

TEST(ref_router_chooses_experts_even_from_nan)
{
    float logits[4] = {NAN, NAN, NAN, NAN};
    int32_t ids[2];
    float weights[2];
    ref_gate(GATE_SOFTMAX_NORM, logits, NULL, 4, 2, 1, ids, weights);
    CHECK_INT(ids[0], 0);
    CHECK_INT(ids[1], 1);
}

/* ---- runs of a small model ------------------------------------------------------------------- */

enum { N_IDS = 40, N_VOCAB = 96, N_ALL = N_IDS * N_VOCAB };

static void random_ids(int32_t *ids, uint32_t n, uint64_t seed)
{
    struct rng rng = {test_seed() + seed};
    for (uint32_t i = 0; i < n; i++)
        ids[i] = (int32_t)rng_below(&rng, N_VOCAB);
}

static float *run_cold(const struct kit_model *m, const struct exec_params *params,
                       const int32_t *ids, uint32_t n_batch)
{
    struct exec *x = kit_open_exec("ref", &m->model->plan, params);
    float *out = mem_new(N_ALL, sizeof *out);
    kit_run(x, ids, 0, N_IDS, n_batch, N_VOCAB, out);
    exec_close(x);
    return out;
}

/* Bits, not tolerances: batches, pieces and what the cache held before leave no trace. */
static void check_same(const float *got, const float *want, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(&got[i], &want[i], sizeof *got))
            test_fail(__FILE__, __LINE__, "logit %zu: got %.9g, want %.9g", i, (double)got[i],
                      (double)want[i]);
}

TEST(exec_splits_batches_without_a_trace)
{
    int32_t ids[N_IDS];
    random_ids(ids, N_IDS, 1);
    struct kit_model m = kit_open_model(&(struct kit_spec){0});
    float *want = run_cold(&m, &(struct exec_params){.n_ctx = N_IDS}, ids, 0);
    static const uint32_t ubatches[] = {1, 3, 16, 39};
    for (int i = 0; i < 4; i++) {
        const struct exec_params params = {.n_ctx = N_IDS, .n_ubatch = ubatches[i]};
        float *got = run_cold(&m, &params, ids, i % 2 ? 0 : 11);
        check_same(got, want, N_ALL);
        free(got);
    }
    free(want);
    kit_close_model(&m);
}

TEST(exec_fused_tensors_compute_the_same)
{
    struct kit_model m = kit_open_model(&(struct kit_spec){.type = BLOCK_Q4_1, .fused = true});
    const struct plan *p = &m.model->plan;
    int32_t ids[N_IDS];
    random_ids(ids, N_IDS, 2);
    float *got = run_cold(&m, &(struct exec_params){.n_ctx = N_IDS}, ids, 0);
    /* The same plan with every weight read into memory as a tensor of its own. */
    struct err e = {0};
    for (size_t i = 0; i < p->n_weights; i++) {
        void *bytes = mem_new(p->weights[i]->n_bytes, 1);
        CHECK_OK(weight_read(p->weights[i], 0, bytes, p->weights[i]->n_bytes, &e));
        p->weights[i]->data = bytes;
        p->weights[i]->file = NULL;
    }
    float *want = run_cold(&m, &(struct exec_params){.n_ctx = N_IDS}, ids, 0);
    check_same(got, want, N_ALL);
    for (size_t i = 0; i < p->n_weights; i++)
        free((void *)(uintptr_t)p->weights[i]->data);
    free(got);
    free(want);
    kit_close_model(&m);
}

TEST(exec_cut_back_and_go_on_equals_a_cold_start)
{
    static const enum block_type caches[] = {BLOCK_F32, BLOCK_F16, BLOCK_Q8_0, BLOCK_Q4_0};
    struct kit_model m = kit_open_model(&(struct kit_spec){0});
    int32_t first[N_IDS], second[N_IDS];
    random_ids(first, N_IDS, 3);
    random_ids(second, N_IDS, 4);
    memcpy(second, first, 25 * sizeof *first);
    for (int i = 0; i < 4; i++) {
        const struct exec_params params = {
            .n_ctx = N_IDS, .type_k = caches[i], .type_v = caches[3 - i]};
        float *want = run_cold(&m, &params, second, 0), *got = mem_new(N_ALL, sizeof *got);
        struct exec *x = kit_open_exec("ref", &m.model->plan, &params);
        kit_run(x, first, 0, N_IDS, 0, N_VOCAB, got);
        kit_run(x, second, 25, N_IDS, 4, N_VOCAB, got);
        check_same(got, want + 25 * N_VOCAB, 15 * N_VOCAB);
        exec_close(x);
        free(got);
        free(want);
    }
    kit_close_model(&m);
}

TEST(exec_cache_types_differ_by_their_precision)
{
    static const struct {
        enum block_type type;
        double least, most;
    } caches[] = {{BLOCK_F16, 1e-6, 1e-3}, {BLOCK_Q8_0, 1e-4, 5e-2}, {BLOCK_Q4_0, 1e-3, 0.5}};
    /* All experts are used: a choice between near equals would hide the cache's part. */
    struct kit_model m = kit_open_model(&(struct kit_spec){.n_expert = 2, .n_used = 2});
    int32_t ids[N_IDS];
    random_ids(ids, N_IDS, 5);
    float *want = run_cold(&m, &(struct exec_params){.n_ctx = N_IDS}, ids, 0);
    for (int i = 0; i < 3; i++) {
        const struct exec_params params = {
            .n_ctx = N_IDS, .type_k = caches[i].type, .type_v = caches[i].type};
        float *got = run_cold(&m, &params, ids, 0);
        const double err = kit_rel_err(got, want, N_ALL);
        printf("    %s: relative difference %.1e\n", block_info(caches[i].type)->name, err);
        CHECK(err >= caches[i].least && err <= caches[i].most);
        free(got);
    }
    free(want);
    kit_close_model(&m);
}

/* Rows of two sequences, mixed in one batch, against each alone. */
TEST(exec_sequences_do_not_see_each_other)
{
    struct err e = {0};
    struct kit_model m = kit_open_model(&(struct kit_spec){0});
    int32_t ids[2][N_IDS], mixed[2 * N_IDS];
    uint32_t pos[2 * N_IDS], seq[2 * N_IDS];
    bool want_row[2 * N_IDS];
    for (uint32_t s = 0; s < 2; s++)
        random_ids(ids[s], N_IDS, 6 + s);
    for (uint32_t i = 0; i < 2 * N_IDS; i++) {
        seq[i] = i % 2;
        pos[i] = i / 2;
        mixed[i] = ids[seq[i]][pos[i]];
        want_row[i] = i % 3 != 0;
    }
    float *want[2];
    for (uint32_t s = 0; s < 2; s++)
        want[s] = run_cold(&m, &(struct exec_params){.n_ctx = N_IDS}, ids[s], 0);
    const struct exec_params params = {.n_ctx = N_IDS, .n_seqs = 2, .n_ubatch = 9};
    struct exec *x = kit_open_exec("ref", &m.model->plan, &params);
    const struct batch b = {
        .n = 2 * N_IDS, .ids = mixed, .pos = pos, .seq = seq, .want_logits = want_row};
    CHECK_OK(exec_run(x, &b, &e));
    uint32_t n_wanted = 0;
    for (uint32_t i = 0; i < 2 * N_IDS; i++)
        if (want_row[i])
            check_same(exec_logits(x, n_wanted++), want[seq[i]] + pos[i] * N_VOCAB, N_VOCAB);
    CHECK(exec_logits(x, n_wanted) == NULL);
    exec_close(x);
    free(want[0]);
    free(want[1]);
    kit_close_model(&m);
}

TEST(exec_refuses_rows_that_do_not_fit_the_cache)
{
    static const struct {
        uint32_t pos[2], seq[2];
        int32_t ids[2];
        const char *says;
    } cases[] = {
        {{0, 1}, {0, 0}, {5, 96}, "row 1: token 96, the vocabulary has 96"},
        {{0, 1}, {0, 0}, {-1, 5}, "row 0: token -1"},
        {{4, 5}, {0, 0}, {1, 1}, "row 0: position 4, but sequence 0 holds 3 tokens"},
        {{2, 4}, {0, 0}, {1, 1}, "row 1: position 4 follows position 2"},
        {{2, 2}, {0, 0}, {1, 1}, "row 1: position 2 follows position 2"},
        {{3, 0}, {0, 2}, {1, 1}, "row 1: sequence 2, there are 2"},
        {{1, 8}, {1, 0}, {1, 1}, "row 0: position 1, but sequence 1 holds 0 tokens"},
        {{0, 8}, {1, 0}, {1, 1}, "row 1: position 8 is outside the context of 8 tokens"},
    };
    struct err e = {0};
    struct kit_model m = kit_open_model(&(struct kit_spec){.n_layer = 1});
    const struct exec_params params = {.n_ctx = 8, .n_seqs = 2};
    struct exec *x = kit_open_exec("ref", &m.model->plan, &params);
    float out[3 * N_VOCAB];
    kit_run(x, (int32_t[]){1, 2, 3}, 0, 3, 0, N_VOCAB, out);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct batch b = {
            .n = 2, .ids = cases[i].ids, .pos = cases[i].pos, .seq = cases[i].seq};
        CHECK(!exec_run(x, &b, &e));
        if (!strstr(e.msg, cases[i].says))
            test_fail(__FILE__, __LINE__, "case %zu: got \"%s\", want \"%s\"", i, e.msg,
                      cases[i].says);
    }
    /* Nothing was run: the three tokens are still there. */
    CHECK_OK(
        exec_run(x, &(struct batch){.n = 1, .ids = (int32_t[]){4}, .pos = (uint32_t[]){3}}, &e));
    exec_close(x);
    kit_close_model(&m);
}

/* ref, with a caller that asks to stop while the third piece runs. */
static struct {
    atomic_bool cancel;
    int n_pieces;
} impatient;

static bool run_impatiently(void *state, const struct batch *b, float *logits, struct err *e)
{
    atomic_store(&impatient.cancel, ++impatient.n_pieces == 3);
    return backend_ref.run(state, b, logits, e);
}

TEST(exec_cancelled_run_goes_on_from_before_it)
{
    struct err e = {0};
    struct backend backend = backend_ref;
    backend.run = run_impatiently;
    struct kit_model m = kit_open_model(&(struct kit_spec){0});
    int32_t ids[N_IDS];
    uint32_t pos[N_IDS];
    random_ids(ids, N_IDS, 8);
    for (uint32_t i = 0; i < N_IDS; i++)
        pos[i] = i;
    const struct exec_params params = {.n_ctx = N_IDS, .n_ubatch = 5};
    float *want = run_cold(&m, &params, ids, 0), *got = mem_new(N_ALL, sizeof *got);
    struct exec *x = exec_open(&backend, &m.model->plan, &params, NULL, NULL, &e);
    CHECK_OK(x != NULL);
    kit_run(x, ids, 0, 10, 0, N_VOCAB, got);
    impatient.n_pieces = 0;
    struct batch b = {.n = 25, .ids = ids + 10, .pos = pos + 10, .cancel = &impatient.cancel};
    CHECK(!exec_run(x, &b, &e));
    CHECK_INT(e.code, ERR_CANCELLED);
    CHECK_INT(impatient.n_pieces, 3);
    CHECK(exec_logits(x, 0) == NULL);
    /* A flag that is up from the start: no piece runs. */
    CHECK(!exec_run(x, &b, &e));
    CHECK_INT(impatient.n_pieces, 3);
    /* Position 11 would follow rows that were cancelled: they do not count. */
    b = (struct batch){.n = 1, .ids = ids + 11, .pos = pos + 11};
    CHECK(!exec_run(x, &b, &e));
    CHECK_INT(e.code, ERR_USAGE);
    kit_run(x, ids, 10, N_IDS, 0, N_VOCAB, got);
    check_same(got, want + 10 * N_VOCAB, 30 * N_VOCAB);
    exec_close(x);
    free(got);
    free(want);
    kit_close_model(&m);
}

/* ---- gated delta net, its parts ------------------------------------------------------------- */

TEST(ref_parts_of_the_delta_net_match_the_golden_cases)
{
    struct golden g = golden_open();
    const struct json *c = json_get(g.cases, "l2_norm");
    struct values x = values(c, "x");
    ref_l2(x.at, x.n, 1);
    check_near(x.at, values(c, "y_reference_form"), "l2");

    c = json_get(g.cases, "gdn_decay");
    const struct values alpha = values(c, "alpha"), dt = values(c, "dt_bias");
    const struct values a = values(c, "ssm_a");
    for (size_t i = 0; i < a.n; i++)
        x.at[i] = ref_decay(a.at[i], alpha.at[i], dt.at[i]);
    check_near(x.at, values(c, "g"), "decay");

    c = json_get(g.cases, "gated_norm");
    x = values(c, "x");
    ref_gated_norm(x.at, values(c, "w").at, values(c, "z").at, number(c, "eps"), x.n, x.at);
    check_near(x.at, values(c, "y"), "gated norm");

    c = json_get(g.cases, "conv1d_silu");
    const size_t n_tokens = json_count(json_get(c, "x_tokens"));
    for (size_t i = 0; i < json_count(json_get(c, "kernel")); i++) {
        const struct values taps = row_of(c, "kernel", i);
        struct values history = row_of(c, "state_in", i);
        for (size_t t = 0; t < n_tokens; t++) {
            const float y =
                ref_conv(taps.at, (uint32_t)taps.n, history.at, 1, row_of(c, "x_tokens", t).at[i]);
            CHECK(fabsf(y - row_of(c, "y_tokens", t).at[i]) <= 1e-5f);
        }
        check_near(history.at, row_of(c, "state_out", i), "history");
    }
    golden_close(&g);
}

TEST(ref_chunk_of_the_delta_net_matches_the_golden_case)
{
    enum { DIM = 6, MAX_ROWS = 16 };
    float memory[DIM * DIM], keys[MAX_ROWS * DIM], news[MAX_ROWS * DIM], decays[MAX_ROWS];
    struct golden g = golden_open();
    const struct json *c = json_get(g.cases, "gated_delta_net");
    const struct values beta = values(c, "beta"), decay = values(c, "g_log_decay");
    const struct ref_chunk chunk = {DIM, DIM, memory, keys, news, decays, DIM, DIM, 1};
    CHECK(json_int(json_get(c, "dim")) == DIM && beta.n <= MAX_ROWS);
    for (size_t i = 0; i < DIM; i++)
        for (size_t j = 0; j < DIM; j++)
            memory[j * DIM + i] = row_of(c, "state_in_key_by_value", i).at[j];
    for (size_t t = 0; t < beta.n; t++) {
        float out[DIM];
        struct values q = row_of(c, "q_l2normed", t);
        for (size_t i = 0; i < DIM; i++)
            q.at[i] /= sqrtf(DIM);
        memcpy(keys + t * DIM, row_of(c, "k_l2normed", t).at, DIM * sizeof *keys);
        ref_chunk_row(&chunk, (uint32_t)t, q.at, row_of(c, "v", t).at, beta.at[t], decay.at[t],
                      out);
        check_near(out, row_of(c, "o", t), "o");
    }
    ref_chunk_close(&chunk, (uint32_t)beta.n);
    for (size_t i = 0; i < DIM; i++) {
        const struct values want = row_of(c, "state_out_key_by_value", i);
        for (size_t j = 0; j < DIM; j++)
            CHECK(fabsf(memory[j * DIM + i] - want.at[j]) <= 1e-5f);
    }
    golden_close(&g);
}

/* ---- windows --------------------------------------------------------------------------------- */

enum { WINDOW = 128, N_ROWS = WINDOW + 3, HEAD = 8 };

/* Attention alone over random rows of which one is another than in `rows`; NULL: none. */
static void attend_rows(float *rows[3], uint32_t window, const uint32_t *changed, float *out)
{
    struct err e = {0};
    struct plan p = {0};
    uint32_t pos[N_ROWS];
    static const char *const names[] = {"q", "k", "v"};
    slot_id slots[3];
    for (int i = 0; i < 3; i++)
        slots[i] = plan_slot(&p, names[i], HEAD);
    const slot_id attended = plan_slot(&p, "attended", HEAD);
    plan_op(&p, OP_ATTEND, 0)->attend = (struct op_attend){
        .q = slots[0],
        .k = slots[1],
        .v = slots[2],
        .out = attended,
        .n_head = 1,
        .n_kv_head = 1,
        .head_dim = HEAD,
        .head_dim_v = HEAD,
        .scale = 1,
        .window = window,
        .kv = plan_kv(&p, (struct kv_layer){HEAD, HEAD, window}),
    };
    struct exec *x = kit_open_exec("ref", &p, &(struct exec_params){.n_ctx = N_ROWS});
    if (changed)
        rows[2][*changed * HEAD] += 1;
    for (int i = 0; i < 3; i++)
        CHECK_OK(exec_slot_put(x, slots[i], N_ROWS, rows[i], &e));
    if (changed)
        rows[2][*changed * HEAD] -= 1;
    for (uint32_t t = 0; t < N_ROWS; t++)
        pos[t] = t;
    CHECK_OK(exec_run(x, &(struct batch){.n = N_ROWS, .pos = pos}, &e));
    CHECK_OK(exec_slot_get(x, attended, N_ROWS, out, &e));
    exec_close(x);
    plan_free(&p);
}

/* A value is seen by its own row and the window - 1 after it, by no other. */
TEST(ref_window_ends_where_it_should)
{
    struct rng rng = {test_seed()};
    float *rows[3], want[N_ROWS * HEAD], got[N_ROWS * HEAD];
    for (int i = 0; i < 3; i++)
        rows[i] = kit_random_floats(&rng, N_ROWS * HEAD, 0, 0.3f);
    for (uint32_t window = 0; window <= WINDOW; window += WINDOW) {
        attend_rows(rows, window, NULL, want);
        for (uint32_t changed = 0; changed < 3; changed++) {
            attend_rows(rows, window, &changed, got);
            for (uint32_t t = 0; t < N_ROWS; t++) {
                const bool sees = t >= changed && (!window || t - changed < window);
                CHECK_INT(memcmp(got + t * HEAD, want + t * HEAD, HEAD * sizeof *got) != 0, sees);
            }
        }
    }
    for (int i = 0; i < 3; i++)
        free(rows[i]);
}

/* ---- memory ---------------------------------------------------------------------------------- */

TEST(exec_refuses_a_plan_that_does_not_fit_with_numbers)
{
    struct err e = {0};
    struct mem_table t;
    struct buf text = {0};
    struct kit_model m = kit_open_model(&(struct kit_spec){0});
    const struct plan *p = &m.model->plan;
    struct exec_params params = {.n_ctx = 1 << 20, .n_seqs = 3, .max_bytes = 1 << 20};
    CHECK_OK(exec_memory(&backend_ref, p, &params, &t, &e));
    uint64_t sum = 0;
    for (size_t i = 0; i < t.n_rows; i++)
        sum += t.rows[i].n_bytes;
    CHECK_INT(t.total, sum);
    CHECK_INT(t.available, 1 << 20);
    CHECK_STR(str_of(t.rows[1].what), STR("kv cache"));
    CHECK_INT(t.rows[1].n_bytes,
              3 * (1ull << 20) * plan_kv_bytes_per_token(p, BLOCK_F32, BLOCK_F32));
    CHECK(exec_open(&backend_ref, p, &params, NULL, NULL, &e) == NULL);
    CHECK_INT(e.code, ERR_MEMORY);
    printf("    %s\n", e.msg);
    CHECK(strstr(e.msg, "the model needs 6.0") &&
          strstr(e.msg, "1.00 MiB are available (kv cache 6.00 GiB"));
    mem_table_print(&t, &text);
    CHECK(str_find(buf_view(&text), STR("\nkv cache       6.00 GiB   3 x 1048576 tokens"), 0) !=
          SIZE_MAX);
    CHECK(str_ends(buf_view(&text), STR("available      1.00 MiB\n")));
    /* The largest context there is: no overflow, the same refusal. */
    params.n_ctx = params.n_seqs = UINT32_MAX;
    CHECK(exec_open(&backend_ref, p, &params, NULL, NULL, &e) == NULL);
    CHECK_INT(e.code, ERR_MEMORY);
    params = (struct exec_params){0};
    CHECK(!exec_memory(&backend_ref, p, &params, &t, &e));
    CHECK_INT(e.code, ERR_USAGE);
    buf_free(&text);
    kit_close_model(&m);
}

TEST(exec_refuses_cache_types_that_do_not_fit_the_heads)
{
    struct err e = {0};
    struct mem_table t;
    struct kit_model m = kit_open_model(&(struct kit_spec){.head_dim = 20, .n_kv_head = 1});
    struct exec_params params = {.n_ctx = 16, .type_k = BLOCK_F16, .type_v = BLOCK_Q8_0};
    CHECK(!exec_memory(&backend_ref, &m.model->plan, &params, &t, &e));
    CHECK(strstr(e.msg, "cache type Q8_0 holds blocks of 32, layer 0 has 20 values"));
    params.type_v = BLOCK_Q4_K;
    CHECK(!exec_memory(&backend_ref, &m.model->plan, &params, &t, &e));
    CHECK_INT(e.code, ERR_USAGE);
    kit_close_model(&m);
}
