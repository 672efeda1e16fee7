/* Steps that a device begins before they are asked for: whatever is asked for instead, every row
 * has the bits that it has on a device which begins none. */
#include <limits.h>
#include <stdlib.h>

#include "base/rng.h"
#include "kit/models.h"
#include "test.h"

enum { N_VOCAB = 96, CTX = 200, PAGE = 64, SEQS = 3, STEPS = 60 };

/* Two of the same model, of which one is told where it may go on. */
struct twins {
    struct kit_model model;
    struct exec *x[2];
    uint32_t n[SEQS];   /* tokens held */
    int32_t next[SEQS]; /* what is guessed behind them */
    struct draw draws[SEQS];
    atomic_int n_submits; /* of the one that goes on, counted down */
    /* A saved state of sequence 0; behind no tokens: none. */
    size_t n_state_bytes;
    uint8_t *saved[2];
    uint32_t n_saved;
    int32_t next_saved;
};

/* Skips the test where there is no Vulkan. */
static void open_twins(struct twins *t, const char *arch, uint32_t n_ubatch)
{
    *t = (struct twins){.draws = {{0},
                                  {.temperature = 0.7f, .top_k = 20, .top_p = 0.9f, .state = 1},
                                  {.temperature = 1, .top_k = 5, .min_p = 0.1f, .state = 2}}};
    t->model =
        kit_open_model(&(struct kit_spec){.arch = arch, .type = BLOCK_Q8_0, .n_vocab = N_VOCAB});
    atomic_store(&t->n_submits, INT_MAX);
    for (int i = 0; i < 2; i++) {
        const struct exec_params params = {.n_ctx = CTX,
                                           .n_seqs = SEQS,
                                           .n_ubatch = n_ubatch,
                                           .type_k = BLOCK_F16,
                                           .type_v = BLOCK_F16,
                                           .page = PAGE,
                                           .lose_in = i ? &t->n_submits : NULL};
        t->x[i] = kit_open_exec("vulkan", &t->model.model->plan, &params);
        if (!t->x[i])
            test_skip("no Vulkan here");
        t->n_state_bytes = exec_state_bytes(&backend_vulkan, &t->model.model->plan, &params);
        t->saved[i] = calloc(t->n_state_bytes + 1, 1);
    }
}

static void close_twins(struct twins *t)
{
    for (int i = 0; i < 2; i++) {
        exec_close(t->x[i]);
        free(t->saved[i]);
    }
    kit_close_model(&t->model);
}

/* Both run the batch; lists are the same. */
static void run_both(struct twins *t, struct batch *b)
{
    struct err e = {0};
    for (int i = 0; i < 2; i++) {
        struct batch one = *b;
        one.goes_on = b->goes_on && i == 1;
        CHECK_OK(exec_run(t->x[i], &one, &e));
    }
    for (uint32_t i = 0; i < b->n; i++) {
        const struct best *want = exec_best(t->x[0], i), *got = exec_best(t->x[1], i);
        CHECK(want && got && want->n == got->n && want->n > 0);
        CHECK(!memcmp(want->at, got->at, want->n * sizeof *want->at));
        t->n[b->seq[i]] = b->pos[i] + 1;
        CHECK_INT(got->guess, want->guess);
        t->next[b->seq[i]] = want->guess;
        t->draws[b->seq[i]].state += 0x9e3779b97f4a7c15u; /* what a number drawn takes (rng.h) */
    }
}

/* A step of the sequences of a set, with the tokens guessed or others. Returns how many submits
 * the one that goes on took. */
static int step(struct twins *t, uint32_t set, bool others, bool goes_on)
{
    int32_t ids[SEQS];
    uint32_t pos[SEQS], seq[SEQS], n = 0;
    bool want[SEQS] = {true, true, true};
    struct draw draws[SEQS];
    for (uint32_t i = 0; i < SEQS; i++) {
        if (!(set >> i & 1))
            continue;
        ids[n] = others ? (t->next[i] + 7) % N_VOCAB : t->next[i];
        pos[n] = t->n[i];
        draws[n] = t->draws[i];
        seq[n++] = i;
    }
    struct batch b = {.n = n,
                      .ids = ids,
                      .pos = pos,
                      .seq = seq,
                      .want_logits = want,
                      .want_best = true,
                      .draws = draws,
                      .goes_on = goes_on};
    const int before = atomic_load(&t->n_submits);
    run_both(t, &b);
    return before - atomic_load(&t->n_submits);
}

static void read_prompt(struct twins *t, struct rng *r, uint32_t seq, uint32_t n)
{
    int32_t ids[CTX];
    uint32_t pos[CTX], seqs[CTX];
    struct err e = {0};
    for (uint32_t i = 0; i < n; i++) {
        ids[i] = (int32_t)rng_below(r, N_VOCAB);
        pos[i] = i;
        seqs[i] = seq;
    }
    for (int i = 0; i < 2; i++) {
        const struct batch b = {.n = n, .ids = ids, .pos = pos, .seq = seqs};
        CHECK_OK(exec_run(t->x[i], &b, &e));
    }
    t->n[seq] = n;
    t->next[seq] = ids[0];
    if (seq == 0)
        t->n_saved = 0;
}

static void save(struct twins *t, uint32_t seq)
{
    struct err e = {0};
    for (int i = 0; i < 2; i++)
        CHECK_OK(exec_state_save(t->x[i], seq, t->n[seq], t->saved[i], &e));
    t->n_saved = t->n[seq];
    t->next_saved = t->next[seq];
}

static void restore(struct twins *t, uint32_t seq)
{
    struct err e = {0};
    for (int i = 0; i < 2; i++)
        CHECK_OK(exec_state_restore(t->x[i], seq, t->n_saved, t->saved[i], &e));
    t->n[seq] = t->n_saved;
    t->next[seq] = t->next_saved;
}

/* The sequence as a whole. */
static void copy_session(struct twins *t, uint32_t from, uint32_t to)
{
    struct err e = {0};
    for (int i = 0; i < 2; i++)
        CHECK_OK(exec_seq_copy(t->x[i], from, to, t->n[from], &e));
    t->n[to] = t->n[from];
    t->next[to] = t->next[from];
    if (t->n_state_bytes) {
        save(t, from);
        restore(t, to);
        t->n_saved = from == 0 || to == 0 ? t->n_saved : 0;
    }
}

/* Both sequences go on with the same bits, as far as there is room. */
static void step_twice(struct twins *t, uint32_t from, uint32_t to)
{
    if (t->n[from] == CTX)
        return;
    step(t, 1u << from, false, true);
    const struct best first = *exec_best(t->x[1], 0);
    step(t, 1u << to, false, true);
    const struct best *then = exec_best(t->x[1], 0);
    CHECK_INT(then->n, first.n);
    CHECK(!memcmp(then->at, first.at, first.n * sizeof *first.at));
}

/* What may come between two steps. */
static void disturb(struct twins *t, struct rng *r, uint32_t what)
{
    const uint32_t from = (uint32_t)rng_below(r, SEQS), to = (from + 1) % SEQS;
    if (what == 0) {
        read_prompt(t, r, from, 1 + (uint32_t)rng_below(r, 30));
    } else if (what == 1) {
        copy_session(t, from, to);
        step_twice(t, from, to);
    } else if (what == 2 && t->n[from] > 1 &&
               exec_within(exec_reach(t->x[1], from), t->n[from] - 1)) {
        t->n[from]--;
        t->n_saved = 0;
    } else if (what == 3 && t->n_state_bytes) {
        save(t, 0);
    } else if (what == 4 && t->n_saved) {
        restore(t, 0);
    }
}

/* Rows of the last step in full. */
static void check_rows(struct twins *t, uint32_t n)
{
    struct err e = {0};
    for (uint32_t i = 0; i < n; i++) {
        const float *want = exec_row(t->x[0], i, &e), *got = exec_row(t->x[1], i, &e);
        CHECK_OK(want && got);
        CHECK(!memcmp(want, got, N_VOCAB * sizeof *want));
    }
}

static void walk(const char *arch, uint32_t n_ubatch)
{
    struct rng r = {test_seed()};
    struct twins t;
    open_twins(&t, arch, n_ubatch);
    for (uint32_t i = 0; i < SEQS; i++)
        read_prompt(&t, &r, i, 5 + 9 * i);
    uint32_t set = 1;
    for (int i = 0; i < STEPS; i++) {
        if (rng_below(&r, 8) == 0)
            disturb(&t, &r, (uint32_t)rng_below(&r, 5));
        if (rng_below(&r, 8) == 0)
            set = n_ubatch < SEQS ? 1u << rng_below(&r, SEQS)
                                  : 1 + (uint32_t)rng_below(&r, (1 << SEQS) - 1);
        for (uint32_t k = 0; k < SEQS; k++)
            if (t.n[k] == CTX)
                read_prompt(&t, &r, k, 3);
        step(&t, set, rng_below(&r, 8) == 0, rng_below(&r, 8) > 0);
        if (t.n_state_bytes && rng_below(&r, 8) == 0)
            save(&t, 0);
        if (rng_below(&r, 8) == 0)
            check_rows(&t, (uint32_t)__builtin_popcount(set));
    }
    close_twins(&t);
}

TEST(steps_begun_ahead_have_the_bits_of_steps_that_were_not)
{
    if (!kit_checks("vulkan"))
        test_skip("drivers are not checked in this build");
    walk("qwen3moe", 8);
    walk("gpt-oss", 8);   /* rings */
    walk("gpt-oss", 1);   /* as long as the window */
    walk("deepseek2", 8); /* tiles of single rows */
    walk("qwen3next", 8); /* recurrent states */
}

static void check_copies(const char *arch)
{
    struct rng r = {test_seed()};
    struct twins t;
    open_twins(&t, arch, 8);
    read_prompt(&t, &r, 0, 5);
    for (int i = 0; i < 4; i++) {
        step(&t, 1, false, true);
        copy_session(&t, 0, 1);
        step_twice(&t, 0, 1);
    }
    close_twins(&t);
}

TEST(a_session_copied_while_a_step_is_ahead_goes_on_like_the_first_one)
{
    if (!kit_checks("vulkan"))
        test_skip("drivers are not checked in this build");
    check_copies("gpt-oss");
    check_copies("qwen3next");
}

static void check_submits(const char *arch, bool begins)
{
    static const int ahead[] = {2, 1, 1, 0, 1, 2, 1, 2};
    struct rng r = {test_seed()};
    struct twins t;
    open_twins(&t, arch, 8);
    read_prompt(&t, &r, 0, 5);
    read_prompt(&t, &r, 1, 5);
    for (int i = 0; i < 8; i++) {
        /* 3 is the last, 4 one alone, 7 another token than the guess. */
        const int n = step(&t, i < 5 ? 1 : 3, i == 7, i != 3 && i != 4);
        CHECK_INT(n, begins ? ahead[i] : 1);
    }
    close_twins(&t);
}

TEST(steps_are_begun_ahead_where_they_can_be_taken_back)
{
    if (!kit_checks("vulkan"))
        test_skip("drivers are not checked in this build");
    check_submits("qwen3moe", true);
    check_submits("gpt-oss", true);
    check_submits("deepseek2", true);
    check_submits("qwen3next", true);
}

/* Beside what is saved of a sequence, room for another memory in each layer. */
TEST(a_device_plans_two_memories_of_a_recurrent_layer)
{
    struct err e = {0};
    struct mem_table table;
    struct kit_model m = kit_open_model(&(struct kit_spec){.arch = "qwen3next"});
    const struct plan *p = &m.model->plan;
    struct exec_params params = {.n_ctx = 16, .n_seqs = 3, .allow_software = true};
    if (!kit_checks("vulkan") || !exec_memory(&backend_vulkan, p, &params, &table, &e))
        test_skip("no Vulkan here");
    uint64_t n_bytes = 2 * exec_state_bytes(&backend_vulkan, p, &params);
    for (size_t i = 0; i < p->n_ops; i++) { /* the inputs of the convolution are there once */
        const struct op_delta_net *o = &p->ops[i].delta_net;
        if (p->ops[i].kind == OP_DELTA_NET)
            n_bytes -= o->n_conv * (2 * o->n_k_head * o->d_k + o->n_v_head * o->d_v) * 4;
    }
    CHECK(p->n_states > 0);
    CHECK_STR(str_of(table.rows[3].what), STR("states"));
    CHECK_INT(table.rows[3].n_bytes, 3 * n_bytes);
    kit_close_model(&m);
}

/* The step that was begun has the sequence, the position and the token of the one that is asked
 * for, but not what the sequence holds by then. At the end of a page nothing is copied between. */
TEST(steps_begun_ahead_are_not_taken_behind_a_copy)
{
    if (!kit_checks("vulkan"))
        test_skip("drivers are not checked in this build");
    struct rng r = {test_seed()};
    struct err e = {0};
    struct twins t;
    open_twins(&t, "qwen3moe", 8);
    read_prompt(&t, &r, 0, PAGE);
    read_prompt(&t, &r, 1, PAGE - 1);
    CHECK_INT(step(&t, 2, false, true), 2);
    CHECK_INT(t.n[1], t.n[0]);
    for (int i = 0; i < 2; i++)
        CHECK_OK(exec_seq_copy(t.x[i], 0, 1, t.n[0], &e));
    step(&t, 2, false, true);
    check_rows(&t, 1);
    close_twins(&t);
}
