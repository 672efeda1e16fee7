/* What other types do to predictions. */
#include "cmd/quality.h"

#include <math.h>
#include <unistd.h>

#include "base/rng.h"
#include "gguf/synth.h"
#include "test.h"

static void check_near(double got, double want, double limit)
{
    if (!(fabs(got - want) <= limit))
        test_fail(__FILE__, __LINE__, "got %.12g, want %.12g", got, want);
}

TEST(quality_is_zero_for_equal_logits_and_right_for_others)
{
    enum { V = 3 };
    const float a[V] = {0, 1, 2}, b[V] = {2, 1, 0};
    struct quality same = {0}, other = {0};
    quality_add(&same, a, a, V, 2);
    quality_add(&same, b, b, V, -1);
    quality_finish(&same);
    CHECK(same.mean_kl == 0 && same.max_kl == 0 && same.top1 == 1);
    CHECK(same.n_tokens == 2 && same.n_predicted == 1);
    CHECK(same.perplexity[0] == same.perplexity[1]);
    check_near(same.perplexity[0], exp(-2) + exp(-1) + 1, 1e-6);

    /* By hand: p = (0.09003, 0.24473, 0.66524); KL(p || reversed) = 2 (p2 - p0). */
    quality_add(&other, a, b, V, 2);
    quality_add(&other, a, a, V, 0);
    quality_finish(&other);
    check_near(other.max_kl, 2 * (0.6652409558 - 0.0900305732), 1e-6);
    check_near(other.mean_kl, other.max_kl / 2, 1e-9);
    check_near(other.top1, 0.5, 1e-9);
    check_near(other.perplexity[1], 1 / 0.0900305732, 1e-4);
}

static struct model *open_with(const struct gguf *g, const char *spec)
{
    struct err e;
    struct model_params how = {0};
    if (spec)
        CHECK_OK(requant_parse(str_of(spec), &how.requant, &e));
    struct model *m = model_open_with(g, &how, NULL, &e);
    CHECK_OK(m);
    return m;
}

static struct quality measure(const struct gguf *g, const char *spec, const struct backend *backend)
{
    enum { N = QUALITY_CHUNK + 90 }; /* the second chunk begins again at position 0 */
    int32_t ids[N];
    struct err e;
    struct quality q;
    struct rng r = {test_seed()};
    const struct quality_params p = {
        .backend = backend, .n_threads = 2, .type_k = BLOCK_F16, .type_v = BLOCK_F16};
    struct model *a = open_with(g, NULL), *b = open_with(g, spec);
    for (int i = 0; i < N; i++)
        ids[i] = (int32_t)(rng_u64(&r) % a->plan.n_vocab);
    CHECK_OK(quality_measure(a, b, ids, N, &p, &q, &e));
    CHECK(q.n_tokens == N && q.n_predicted == N - 2);
    model_close(a);
    model_close(b);
    return q;
}

TEST(quality_of_types_that_change_nothing_is_perfect)
{
    static const struct {
        const char *name, *same, *other;
        const struct backend *backend;
    } rows[] = {
        {"tiny-qwen3moe", "experts=q8_0,head=q8_0", "attn=q4_0", &backend_cpu},
        {"tiny-qwen3next", "q8_0", "experts=q4_0,router=f16", &backend_cpu},
    };
    char path[64];
    snprintf(path, sizeof path, "/tmp/tawny-test-%ld-quality.gguf", (long)getpid());
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err e;
        const struct synth_options o = {
            .n_layers = 2, .seed = 3, .has_type = true, .type = BLOCK_Q8_0};
        struct synth *s = synth_open(rows[i].name, &o, &e);
        CHECK_OK(s);
        CHECK_OK(synth_write(s, path, 2, NULL, NULL, &e));
        synth_close(s);
        struct gguf *g = gguf_open(path, NULL, &e);
        CHECK_OK(g);
        struct quality q = measure(g, rows[i].same, rows[i].backend);
        CHECK(q.mean_kl == 0 && q.max_kl == 0 && q.top1 == 1);
        CHECK(q.perplexity[0] == q.perplexity[1]);
        q = measure(g, rows[i].other, rows[i].backend);
        CHECK(q.mean_kl > 1e-7 && q.max_kl >= q.mean_kl && q.perplexity[0] != q.perplexity[1]);
        gguf_close(g);
    }
    unlink(path);
}
