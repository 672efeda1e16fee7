/* The cpu backend beyond what every backend is asked for: the same bits whatever the batch, the
 * threads and the split of long attention; the lower instruction sets; values that are not finite.
 */
#include <math.h>

#include "base/mem.h"
#include "compute/cpu/cpu.h"
#include "kit/models.h"
#include "test.h"

static struct exec *open_cpu(const struct backend *b, const struct plan *plan,
                             const struct exec_params *params)
{
    struct err e = {0};
    struct exec *x;
    CHECK_OK(x = exec_open(b, plan, params, NULL, NULL, &e));
    return x;
}

static int32_t *random_ids(uint32_t n, uint32_t n_vocab)
{
    struct rng r = {test_seed()};
    int32_t *ids = mem_new(n, sizeof *ids);
    for (uint32_t i = 0; i < n; i++)
        ids[i] = (int32_t)rng_below(&r, n_vocab);
    return ids;
}

/* Logits of the last n_last of n tokens; those run n_batch at a time after the others at once. */
static float *last_logits(const struct backend *b, const struct plan *plan,
                          const struct exec_params *params, uint32_t n, uint32_t n_last,
                          uint32_t n_batch)
{
    int32_t *ids = random_ids(n, plan->n_vocab);
    float *out = mem_new((size_t)n * plan->n_vocab, sizeof *out);
    struct exec *x = open_cpu(b, plan, params);
    kit_run(x, ids, 0, n - n_last, 0, plan->n_vocab, out);
    kit_run(x, ids, n - n_last, n, n_batch, plan->n_vocab, out);
    exec_close(x);
    free(ids);
    return out;
}

static void check_same_bits(const struct kit_spec *spec, struct exec_params params, uint32_t n)
{
    enum { N_LAST = 23 };
    static const uint32_t batches[] = {0, 1, 7, 16};
    struct kit_model m = kit_open_model(spec);
    const struct plan *plan = &m.model->plan;
    params.n_ctx = n;
    params.n_threads = 1;
    float *want = last_logits(&backend_cpu, plan, &params, n, N_LAST, 0);
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
        for (params.n_threads = 1; params.n_threads <= 3; params.n_threads++) {
            float *got = last_logits(&backend_cpu, plan, &params, n, N_LAST, batches[i]);
            if (memcmp(got, want, N_LAST * plan->n_vocab * sizeof *got))
                test_fail(__FILE__, __LINE__, "%s, cache %s, %u tokens: batch %u on %d threads",
                          block_info(spec->type)->name, block_info(params.type_k)->name, n,
                          batches[i], params.n_threads);
            free(got);
        }
    }
    free(want);
    kit_close_model(&m);
}

TEST(cpu_gives_the_same_bits_for_every_batch_and_thread_count)
{
    static const enum block_type types[] = {BLOCK_IQ4_NL, BLOCK_Q6_K, BLOCK_Q5_K,
                                            BLOCK_Q8_0,   BLOCK_BF16, BLOCK_MXFP4};
    static const enum block_type caches[] = {BLOCK_F16, BLOCK_Q8_0, BLOCK_Q4_0, BLOCK_F32};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct kit_spec spec = {.type = types[i], .n_head = i % 2 ? 8 : 4, .n_used = 3};
        struct exec_params params = {.type_k = caches[i % 4], .type_v = caches[i % 4]};
        check_same_bits(&spec, params, 90);
    }
}

/* Past 1024 positions a decode step is split over spans, a prompt is not. */
TEST(cpu_gives_the_same_bits_when_attention_is_split)
{
    struct kit_spec spec = {.type = BLOCK_Q4_K, .n_layer = 1};
    check_same_bits(&spec, (struct exec_params){.type_k = BLOCK_F16, .type_v = BLOCK_F16}, 2100);
}

TEST(cpu_long_attention_matches_ref)
{
    enum { N = 1100, N_LAST = 8 };
    struct kit_spec spec = {.type = BLOCK_F32, .n_layer = 1, .n_embd = 64};
    struct kit_model m = kit_open_model(&spec);
    const struct plan *plan = &m.model->plan;
    struct exec_params params = {.n_ctx = N, .n_threads = 2};
    float *want = last_logits(&backend_ref, plan, &params, N, N_LAST, 1);
    float *got = last_logits(&backend_cpu, plan, &params, N, N_LAST, 1);
    CHECK(kit_rel_err(got, want, (size_t)N_LAST * plan->n_vocab) < 1e-4);
    free(want);
    free(got);
    kit_close_model(&m);
}

TEST(cpu_lower_instruction_sets_match_ref)
{
    static const enum block_type types[] = {BLOCK_F32,  BLOCK_F16,  BLOCK_IQ4_NL, BLOCK_Q4_K,
                                            BLOCK_Q6_K, BLOCK_Q2_K, BLOCK_Q8_0,   BLOCK_MXFP4};
    static const struct backend *const backends[] = {&backend_cpu_portable, &backend_cpu_avx2};
    enum { N = 70 };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct kit_spec spec = {.type = types[i], .n_expert = 2}; /* no router to flip */
        struct kit_model m = kit_open_model(&spec);
        const struct plan *plan = &m.model->plan;
        struct exec_params params = {.n_ctx = N, .n_threads = 2};
        params.type_k = params.type_v = i % 2 ? BLOCK_Q8_0 : BLOCK_F16;
        float *want = last_logits(&backend_ref, plan, &params, N, 2, 0);
        for (int j = 0; j < 2; j++) {
            float *got = last_logits(backends[j], plan, &params, N, 2, 1);
            const double err = kit_rel_err(got, want, 2 * plan->n_vocab);
            if (!(err < (types[i] <= BLOCK_F16 ? 5e-3 : 5e-2)))
                test_fail(__FILE__, __LINE__, "%s, %s: relative error %g", backends[j]->name,
                          block_info(types[i])->name, err);
            free(got);
        }
        free(want);
        kit_close_model(&m);
    }
}

TEST(cpu_values_that_are_not_finite_stay_in_their_row)
{
    static const float odd[] = {NAN, INFINITY, -INFINITY};
    enum { N_COLS = 64, N_ACTS = 3 };
    struct rng r = {test_seed()};
    for (int isa = CPU_PORTABLE; isa <= CPU_AVX512; isa++) {
        const struct cpu_kernels *k = cpu_kernels_for((enum cpu_isa)isa);
        uint8_t *rows = kit_random_blocks(&r, BLOCK_IQ4_NL, ROWS * N_COLS, 1);
        size_t n_bytes = layout_group_bytes(LAYOUT_IQ4_NL, N_COLS);
        uint8_t *group = aligned_alloc(64, n_bytes);
        layout_pack(LAYOUT_IQ4_NL, rows, ROWS, N_COLS, group);
        for (int i = 0; i < 3; i++) {
            struct act_block acts[N_COLS / BLOCK_COLS * N_ACTS];
            float out[N_ACTS][ROWS];
            for (uint32_t row = 0; row < N_ACTS; row++) {
                float *x = kit_random_floats(&r, N_COLS, 0, 1);
                if (row == 1)
                    x[rng_below(&r, N_COLS)] = odd[i];
                k->quantise(x, N_COLS, acts + row, N_ACTS);
                free(x);
            }
            k->mul[LAYOUT_IQ4_NL](group, N_COLS, &(struct act_tile){.q = acts, .n_rows = N_ACTS},
                                  out);
            for (uint32_t row = 0; row < N_ACTS; row++)
                for (int lane = 0; lane < ROWS; lane++)
                    CHECK((row == 1) == !isfinite(out[row][lane]));
        }
        free(rows);
        free(group);
    }
}

TEST(cpu_refuses_a_cache_of_blocks_for_narrow_heads)
{
    struct kit_spec spec = {.head_dim = 16};
    struct kit_model m = kit_open_model(&spec);
    struct err e = {0};
    struct exec_params params = {.n_ctx = 8, .type_k = BLOCK_Q8_0, .type_v = BLOCK_Q8_0};
    CHECK(!exec_open(&backend_cpu, &m.model->plan, &params, NULL, NULL, &e));
    CHECK_INT(e.code, ERR_UNSUPPORTED);
    kit_close_model(&m);
}
