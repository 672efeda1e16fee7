#include "engine/sampler.h"

#include <math.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "compute/ref/ref_int.h"
#include "test.h"

enum { MAX_VOCAB = 64 };

/* The chain written down plainly, in double precision over a full sort: probabilities of every
 * token. Returns false when a cut lies so near a token's share that rounding decides. */
struct ref_cand {
    double logit;
    int id;
};

static int by_logit(const void *a, const void *b)
{
    const struct ref_cand *x = a, *y = b;
    return x->logit != y->logit ? (x->logit < y->logit) - (x->logit > y->logit) : x->id - y->id;
}

static void plain_softmax(const struct ref_cand *c, int n, double temperature, double *out)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += out[i] = exp((c[i].logit - c[0].logit) / temperature);
    for (int i = 0; i < n; i++)
        out[i] /= sum;
}

static void ref_penalties(const struct sampling *p, const int *history, int n_history,
                          double *logits, int n)
{
    int last_n = p->penalty_last_n < 0 ? n_history : p->penalty_last_n ? p->penalty_last_n : 64;
    for (int id = 0; id < n; id++) {
        int count = 0;
        for (int i = n_history > last_n ? n_history - last_n : 0; i < n_history; i++)
            count += history[i] == id;
        if (!count)
            continue;
        double r = p->repeat_penalty > 0 ? (double)p->repeat_penalty : 1;
        logits[id] = logits[id] > 0 ? logits[id] / r : logits[id] * r;
        logits[id] -= count * (double)p->frequency_penalty + (double)p->presence_penalty;
    }
}

static bool ref_chain(const struct sampling *p, const double *logits, int n, double *prob)
{
    struct ref_cand c[MAX_VOCAB];
    double share[MAX_VOCAB];
    int k = 0;
    bool clear = true;
    for (int i = 0; i < n; i++)
        if (logits[i] > -HUGE_VAL)
            c[k++] = (struct ref_cand){logits[i], i};
    qsort(c, (size_t)k, sizeof *c, by_logit);
    if (p->top_k > 0 && p->top_k < k)
        k = p->top_k;
    plain_softmax(c, k, 1, share);
    if (p->top_p > 0 && p->top_p < 1) {
        double head = 0;
        int kept = 0;
        while (kept < k && head < (double)p->top_p) {
            head += share[kept++];
            clear = clear && fabs(head - (double)p->top_p) > 1e-5;
        }
        k = kept;
    }
    if (p->min_p > 0) {
        int kept = 0;
        for (int i = 0; i < k; i++) {
            double ratio = exp(c[i].logit - c[0].logit);
            clear = clear && fabs(ratio - (double)p->min_p) > 1e-5;
            kept += ratio >= (double)p->min_p;
        }
        k = kept;
    }
    plain_softmax(c, k, (double)p->temperature, share);
    memset(prob, 0, (size_t)n * sizeof *prob);
    for (int i = 0; i < k; i++)
        prob[c[i].id] = share[i];
    return clear;
}

/* Chi-square of counts against n_draws * prob; classes that expect fewer than 5 are joined.
 * Returns the distance from the mean in standard deviations (Wilson-Hilferty). */
static double chi_square_sigmas(const int *counts, const double *prob, int n, int n_draws)
{
    double chi = 0, rest = 0, rest_count = 0;
    int classes = 0;
    for (int i = 0; i < n; i++) {
        double expected = prob[i] * n_draws;
        if (expected < 5) {
            rest += expected;
            rest_count += counts[i];
            continue;
        }
        chi += (counts[i] - expected) * (counts[i] - expected) / expected;
        classes++;
    }
    if (rest >= 5) {
        chi += (rest_count - rest) * (rest_count - rest) / rest;
        classes++;
    }
    if (classes < 2)
        return 0;
    double df = classes - 1, t = 2 / (9 * df);
    return (cbrt(chi / df) - (1 - t)) / sqrt(t);
}

static struct sampling random_sampling(struct rng *r)
{
    struct sampling p = {.temperature = rng_f32(r, 0.2f, 1.8f), .seed = rng_u64(r)};
    if (rng_below(r, 2))
        p.top_k = 1 + (int32_t)rng_below(r, 30);
    if (rng_below(r, 2))
        p.top_p = rng_f32(r, 0.05f, 0.999f);
    if (rng_below(r, 2))
        p.min_p = rng_f32(r, 0.001f, 0.5f);
    if (rng_below(r, 2)) {
        p.repeat_penalty = rng_f32(r, 0.8f, 1.5f);
        p.presence_penalty = rng_f32(r, -1, 1);
        p.frequency_penalty = rng_f32(r, -0.5f, 0.5f);
        p.penalty_last_n = (int32_t)rng_below(r, 3) * 5 - 1;
    }
    return p;
}

/* Draws many times with one configuration and compares with the plain chain. */
static void compare_with_reference(struct rng *r)
{
    enum { DRAWS = 4000, HISTORY = 20 };
    int n = 1 + (int)rng_below(r, MAX_VOCAB), history[HISTORY], counts[MAX_VOCAB] = {0};
    float logits[MAX_VOCAB], work[MAX_VOCAB];
    double exact[MAX_VOCAB], prob[MAX_VOCAB];
    unsigned char allowed[MAX_VOCAB];
    struct sampling p = random_sampling(r);
    struct logit_bias bias[2] = {{(int32_t)rng_below(r, (uint64_t)n), rng_f32(r, -2, 2)},
                                 {(int32_t)rng_below(r, (uint64_t)n), -100}};
    p.bias = bias;
    p.n_bias = n > 2 ? rng_below(r, 3) : 0;
    for (int i = 0; i < n; i++) {
        logits[i] = rng_f32(r, -4, 4);
        allowed[i] = i < 3 || rng_below(r, 8) > 0;
        exact[i] = (double)logits[i];
    }
    struct sampler *s = sampler_open(&p, (uint32_t)n, allowed);
    for (int i = 0; i < HISTORY; i++) {
        history[i] = (int)rng_below(r, (uint64_t)n);
        sampler_accept(s, history[i]);
    }
    ref_penalties(&p, history, HISTORY, exact, n);
    for (size_t i = 0; i < p.n_bias; i++)
        exact[bias[i].id] += bias[i].bias <= -100 ? -HUGE_VAL : (double)bias[i].bias;
    for (int i = 0; i < n; i++)
        exact[i] = allowed[i] ? exact[i] : -HUGE_VAL;
    bool clear = ref_chain(&p, exact, n, prob);
    for (int i = 0; i < DRAWS && clear; i++) {
        memcpy(work, logits, sizeof work);
        int32_t id = sampler_pick(s, work, NULL);
        CHECK(id >= 0 && id < n);
        if (prob[id] <= 0)
            test_fail(__FILE__, __LINE__, "token %d cannot be drawn", (int)id);
        counts[id]++;
    }
    if (clear && chi_square_sigmas(counts, prob, n, DRAWS) > 5)
        test_fail(__FILE__, __LINE__, "chi-square is %.1f sigmas off",
                  chi_square_sigmas(counts, prob, n, DRAWS));
    sampler_close(s);
}

TEST(sampler_draws_like_the_plain_chain)
{
    struct rng r = {test_seed()};
    for (int i = 0; i < 200; i++)
        compare_with_reference(&r);
}

static int32_t pick_once(const struct sampling *p, float *logits, uint32_t n,
                         const unsigned char *allowed)
{
    struct sampler *s = sampler_open(p, n, allowed);
    int32_t id = sampler_pick(s, logits, NULL);
    sampler_close(s);
    return id;
}

TEST(sampler_greedy_takes_the_largest_and_the_lower_id_of_equals)
{
    struct sampling p = {0};
    float logits[] = {1, 3, 3, 2};
    CHECK_INT(pick_once(&p, logits, 4, NULL), 1);
    unsigned char allowed[] = {1, 0, 1, 1};
    CHECK_INT(pick_once(&p, logits, 4, allowed), 2);
}

TEST(sampler_survives_useless_logits)
{
    unsigned char allowed[] = {0, 0, 1, 1};
    const float kinds[][4] = {{-INFINITY, -INFINITY, -INFINITY, -INFINITY}, {NAN, NAN, NAN, NAN}};
    for (int kind = 0; kind < 2; kind++) {
        for (int t = 0; t < 2; t++) {
            for (int k = 0; k < 3; k++) {
                struct sampling p = {.temperature = (float)t, .top_k = k, .top_p = 0.5f};
                float logits[4];
                memcpy(logits, kinds[kind], sizeof logits);
                CHECK_INT(pick_once(&p, logits, 4, allowed), 2);
                memcpy(logits, kinds[kind], sizeof logits);
                CHECK_INT(pick_once(&p, logits, 4, NULL), 0);
            }
        }
    }
}

TEST(sampler_ignores_nan_among_numbers_and_takes_infinity)
{
    for (int t = 0; t < 2; t++) {
        struct sampling p = {.temperature = (float)t, .min_p = 0.01f, .top_p = 0.9f};
        float nan_first[] = {NAN, -3, 9, NAN};
        CHECK_INT(pick_once(&p, nan_first, 4, NULL), 2);
        float inf[] = {1, -3, INFINITY, 2};
        CHECK_INT(pick_once(&p, inf, 4, NULL), 2);
    }
}

TEST(sampler_works_with_one_token)
{
    struct sampling p = {.temperature = 1, .top_k = 40, .top_p = 0.1f, .min_p = 1};
    float logits[] = {-7};
    CHECK_INT(pick_once(&p, logits, 1, NULL), 0);
}

TEST(sampler_same_seed_same_tokens)
{
    struct rng r = {test_seed()};
    float logits[2][MAX_VOCAB];
    struct sampling p = {.temperature = 1.5f, .top_p = 0.95f, .seed = 11};
    struct sampling q = p;
    q.seed = 12;
    struct sampler *a = sampler_open(&p, MAX_VOCAB, NULL);
    struct sampler *b = sampler_open(&p, MAX_VOCAB, NULL);
    struct sampler *c = sampler_open(&q, MAX_VOCAB, NULL);
    int differ = 0;
    for (int i = 0; i < 100; i++) {
        for (int k = 0; k < MAX_VOCAB; k++)
            logits[0][k] = logits[1][k] = rng_f32(&r, -2, 2);
        int32_t id = sampler_pick(a, logits[0], NULL);
        CHECK_INT(sampler_pick(b, logits[0], NULL), id);
        differ += sampler_pick(c, logits[1], NULL) != id;
    }
    CHECK(differ > 50);
    sampler_close(a);
    sampler_close(b);
    sampler_close(c);
}

TEST(sampler_penalty_window_forgets)
{
    struct sampling p = {.presence_penalty = 5, .penalty_last_n = 3};
    struct sampler *s = sampler_open(&p, 8, NULL);
    sampler_accept(s, 4);
    for (int i = 0; i < 4; i++) {
        float logits[] = {0, 0, 0, 0, 2, 0, 1, 0};
        CHECK_INT(sampler_pick(s, logits, NULL), i < 3 ? 6 : 4);
        sampler_accept(s, 1);
    }
    sampler_close(s);
}

/* ---- from the best tokens alone ---------------------------------------------------------------
 */

enum { BEST_VOCAB = 300 };

/* Logits with ties, and some that are none. */
static void hard_logits(struct rng *r, float *out)
{
    for (int i = 0; i < BEST_VOCAB; i++)
        out[i] = rng_below(r, 50) == 0 ? NAN
                 : rng_below(r, 50)    ? rng_f32(r, -6, 6)
                                       : (float)rng_below(r, 4);
}

/* Bits for at least one token, or a short list; NULL: all. */
static const struct token_mask *random_mask(struct rng *r, struct token_mask *m, int32_t *ids,
                                            uint64_t *bits)
{
    const uint64_t kind = rng_below(r, 4);
    const uint64_t one_of = 1 + rng_below(r, 12);
    *m = (struct token_mask){0};
    memset(bits, 0, (BEST_VOCAB / 64 + 1) * sizeof *bits);
    for (uint32_t i = 0; i < BEST_VOCAB; i++)
        if (kind == 1 && rng_below(r, 40) == 0)
            ids[m->n++] = (int32_t)i;
        else if (kind >= 2 && rng_below(r, one_of) == 0)
            bits[i / 64] |= 1ull << i % 64;
    if (kind == 0 || (kind == 1 && m->n == 0))
        return NULL;
    *(kind == 1 ? (void **)&m->ids : (void **)&m->bits) = kind == 1 ? (void *)ids : (void *)bits;
    return m;
}

static struct sampling lowering_sampling(struct rng *r)
{
    struct sampling p = random_sampling(r);
    p.repeat_penalty = rng_below(r, 2) ? rng_f32(r, 1, 1.5f) : 0;
    p.presence_penalty = fabsf(p.presence_penalty);
    p.frequency_penalty = fabsf(p.frequency_penalty);
    p.top_k = 1 + (int32_t)rng_below(r, rng_below(r, 4) ? 20 : EXEC_BEST);
    if (rng_below(r, 3) == 0)
        p.temperature = 0;
    return p;
}

/* Two samplers of one configuration: one draws from all logits, the other from the best ones where
 * they are enough. Returns how many draws of `draws` they were enough for. */
static int compare_with_all_logits(struct rng *r, int draws)
{
    struct sampling p = lowering_sampling(r);
    struct logit_bias bias[2] = {{(int32_t)rng_below(r, BEST_VOCAB), -rng_f32(r, 0, 3)},
                                 {(int32_t)rng_below(r, BEST_VOCAB), -100}};
    unsigned char allowed[BEST_VOCAB];
    float logits[BEST_VOCAB];
    int n_decided = 0;
    p.bias = bias;
    p.n_bias = rng_below(r, 3);
    for (int i = 0; i < BEST_VOCAB; i++)
        allowed[i] = rng_below(r, 10) > 0;
    struct sampler *all = sampler_open(&p, BEST_VOCAB, allowed);
    struct sampler *few = sampler_open(&p, BEST_VOCAB, allowed);
    CHECK(sampler_takes_best(few));
    for (int i = 0; i < draws; i++) {
        struct token_mask m;
        int32_t ids[BEST_VOCAB];
        uint64_t bits[BEST_VOCAB / 64 + 1];
        struct best best;
        hard_logits(r, logits);
        ref_pick(logits, BEST_VOCAB, allowed, &best);
        const struct token_mask *mask = random_mask(r, &m, ids, bits);
        const int32_t out = rng_below(r, 4) ? -1 : best.at[rng_below(r, 3)].id;
        sampler_keep_out(all, out);
        sampler_keep_out(few, out);
        int32_t id = sampler_pick_best(few, &best, mask);
        n_decided += id >= 0;
        float copy[BEST_VOCAB];
        memcpy(copy, logits, sizeof copy);
        if (id < 0)
            id = sampler_pick(few, copy, mask);
        CHECK_INT(id, sampler_pick(all, logits, mask));
        sampler_accept(all, id);
        sampler_accept(few, id);
    }
    sampler_close(all);
    sampler_close(few);
    return n_decided;
}

TEST(sampler_draws_from_the_best_tokens_what_it_draws_from_all)
{
    enum { ROUNDS = 300, DRAWS = 20 };
    struct rng r = {test_seed()};
    int n_decided = 0;
    for (int i = 0; i < ROUNDS; i++)
        n_decided += compare_with_all_logits(&r, DRAWS);
    printf("    %d of %d draws from the best tokens\n", n_decided, ROUNDS * DRAWS);
    CHECK(n_decided > ROUNDS * DRAWS / 2);
    CHECK(n_decided < ROUNDS * DRAWS); /* both ways were gone */
}

TEST(sampler_asks_for_all_logits_where_others_may_come_first)
{
    struct logit_bias up = {3, 1};
    const struct sampling no[] = {{.temperature = 1},
                                  {.temperature = 1, .top_k = EXEC_BEST + 1},
                                  {.presence_penalty = -0.1f},
                                  {.repeat_penalty = 0.9f},
                                  {.bias = &up, .n_bias = 1}};
    const struct sampling yes[] = {{0}, {.temperature = 1, .top_k = EXEC_BEST}};
    for (size_t i = 0; i < 7; i++) {
        struct sampler *s = sampler_open(i < 5 ? &no[i] : &yes[i - 5], 8, NULL);
        CHECK_INT(sampler_takes_best(s), i >= 5);
        sampler_close(s);
    }
}

TEST(sampler_check_names_the_bad_field)
{
    struct err e = {0};
    struct sampling p = {.top_p = 1.5f};
    CHECK(!sampling_check(&p, 10, &e));
    CHECK_STR(str_of(e.msg), STR("top_p: 1.5 is outside 0 .. 1"));
    p = (struct sampling){.temperature = NAN};
    CHECK(!sampling_check(&p, 10, &e));
    struct logit_bias bias = {10, 1};
    p = (struct sampling){.bias = &bias, .n_bias = 1};
    CHECK(!sampling_check(&p, 10, &e));
    CHECK_STR(str_of(e.msg), STR("logit_bias: token: 10 is outside 0 .. 9"));
    bias.id = 9;
    CHECK_OK(sampling_check(&p, 10, &e));
}

/* Not judged by time: shows what a pick costs at a large vocabulary whose likeliest tokens stand
 * out, as those of a model do. */
TEST(sampler_large_vocabulary)
{
    enum { N = 151936, ROUNDS = 20 };
    float *logits = mem_new(N, sizeof *logits), *work = mem_new(N, sizeof *work);
    struct rng r = {test_seed()};
    for (int i = 0; i < N; i++)
        logits[i] = rng_f32(&r, -4, 4) + rng_f32(&r, -4, 4) + (float)(i % 7919 == 0) * 12;
    static const struct {
        const char *name;
        struct sampling p;
    } cases[] = {
        {"greedy", {.temperature = 0}},
        {"top_k 20, top_p 0.8", {.temperature = 0.7f, .top_k = 20, .top_p = 0.8f}},
        {"top_k 1000", {.temperature = 0.7f, .top_k = 1000}},
        {"top_p 0.95", {.temperature = 0.7f, .top_p = 0.95f}},
        {"min_p 0.05", {.temperature = 0.7f, .min_p = 0.05f}},
        {"temperature 1", {.temperature = 1}},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct sampler *s = sampler_open(&cases[c].p, N, NULL);
        uint64_t least_ns = UINT64_MAX;
        for (int i = 0; i < ROUNDS; i++) {
            memcpy(work, logits, N * sizeof *work);
            uint64_t start = clock_ns();
            int32_t id = sampler_pick(s, work, NULL);
            uint64_t ns = clock_ns() - start;
            least_ns = ns < least_ns ? ns : least_ns;
            CHECK(id >= 0 && id < N);
        }
        printf("     %-20s %7.1f us a pick\n", cases[c].name, (double)least_ns / 1e3);
        sampler_close(s);
    }
    free(logits);
    free(work);
}
