/* Whole models against the reference logits: ../shared/logits (llama.cpp on the dequantised
 * weights) and the toy models of ../shared/spec (float64). Each backend is one row of the table. */
#include <math.h>

#include "base/json.h"
#include "kit/models.h"
#include "test.h"

/* llama.cpp's own distance from the truth on its int8 path (logits/README.md): what a fast backend
 * is measured by. */
static const struct {
    const char *name;
    double llama_err;
} files[] = {
    {"gpt-oss-mxfp4", 0.0808},    {"qwen3moe-f16", 0.0007},   {"qwen3moe-iq4_nl", 0.0112},
    {"qwen3moe-iq4_xs", 0.0949},  {"qwen3moe-mxfp4", 0.0061}, {"qwen3moe-q2_k", 0.0012},
    {"qwen3moe-q3_k", 0.0399},    {"qwen3moe-q4_0", 0.0287},  {"qwen3moe-q4_1", 0.0050},
    {"qwen3moe-q4_k", 0.0397},    {"qwen3moe-q5_0", 0.0789},  {"qwen3moe-q5_1", 0.0003},
    {"qwen3moe-q5_k", 0.0006},    {"qwen3moe-q6_k", 0.0316},  {"qwen3moe-q8_0", 0.0694},
    {"qwen3next-iq4_nl", 0.0489}, {"qwen3next-q8_0", 0.1110},
};
enum { N_FILES = sizeof files / sizeof *files };

/* The logits of gpt-oss were made with llama.cpp's form of YaRN. */
static const struct model_params as_llama = {.yarn_rounded = true};

static double exact_limit(double llama_err)
{
    (void)llama_err;
    return 1e-3;
}

/* No farther off than llama.cpp by more than a quarter, or under 1e-2. */
static double fast_limit(double llama_err)
{
    return fmax(1.25 * llama_err, 1e-2);
}

/* Rows at a time (0: all) and threads; what comes out is the same to the bit. */
static const struct {
    uint32_t n_batch;
    int n_threads;
} ways[] = {{0, 1}, {1, 1}, {7, 1}, {1, 2}, {7, 3}, {0, 3}};

static const struct checked_backend {
    const char *name;
    double (*limit)(double llama_err); /* largest relative error allowed */
    int n_ways;                        /* of the above; ref has one thread */
    double ways_limit;                 /* relative difference between them; 0: the same bits */
    size_t ways_every; /* of so many files, one; over 1: of no toy (a software device is slow) */
    /* On the toy models: largest difference of a logit where all weights are floats, where some are
     * quantised, and the largest relative error. */
    double toy_float, toy_quantised, toy_rel;
} backends[] = {
    {"ref", exact_limit, 3, 0, 1, 1e-4, 1e-3, 1e-4},
    {"cpu", fast_limit, 6, 0, 1, 1e-4, 0.3, 5e-2},
    {"vulkan", fast_limit, 3, 2e-2, 6, 1e-4, 0.3, 5e-2},
};
enum { N_BACKENDS = sizeof backends / sizeof *backends };

/* The same on float weights over F16 keys and values. Relative: what an op may be off over F16, see
 * kit/op_rig.c; ref, too, is up to 4e-4 off. The difference is that of the largest logits, 46. */
static const double toy_f16 = 5e-2, toy_f16_rel = 2e-3;

/* Runs of each backend that a test asked for, and those that there were. */
struct tally {
    int n_asked, n_done;
};

static void count_run(struct tally *t, const struct checked_backend *b, bool done)
{
    t[b - backends].n_asked += kit_checks(b->name);
    t[b - backends].n_done += done;
}

/* A backend runs all or, where it has no device, nothing: then the test is skipped. */
static void report_runs(const struct tally *t)
{
    const char *idle = NULL;
    for (size_t i = 0; i < N_BACKENDS; i++) {
        printf("    %s: %d of %d runs\n", backends[i].name, t[i].n_done, t[i].n_asked);
        if (t[i].n_asked && !t[i].n_done)
            idle = backends[i].name;
        else
            CHECK_INT(t[i].n_done, t[i].n_asked);
    }
    if (idle) {
        char why[64];
        snprintf(why, sizeof why, "%s ran none of the models", idle);
        test_skip(why);
    }
}

struct loaded {
    struct gguf *file;
    struct model *model;
    int32_t *ids;
    float *want;
    uint32_t n_ids, n_vocab;
};

/* One way's logits beside another's. */
static void check_ways(const struct checked_backend *b, const char *what, double limit, int way,
                       const float *got, const float *all, size_t n)
{
    if (limit == 0 ? !memcmp(got, all, n * sizeof *got) : kit_rel_err(got, all, n) <= limit)
        return;
    test_fail(__FILE__, __LINE__,
              "%s on %s: batch %u on %d threads differs by %g, the limit is %g (0: no bit)",
              b->name, what, ways[way].n_batch, ways[way].n_threads, kit_rel_err(got, all, n),
              limit);
}

static struct loaded load(const char *name)
{
    struct err e = {0};
    struct loaded l = {0};
    char path[128];
    size_t n_bytes;
    snprintf(path, sizeof path, "logits/%s.gguf", name);
    CHECK_OK(l.file = gguf_open(test_shared(path), NULL, &e));
    CHECK_OK(l.model = model_open_with(l.file, &as_llama, NULL, &e));
    snprintf(path, sizeof path, "logits/%s.tokens", name);
    l.ids = kit_read_shared(path, &n_bytes);
    l.n_ids = (uint32_t)(n_bytes / sizeof *l.ids);
    l.n_vocab = l.model->plan.n_vocab;
    snprintf(path, sizeof path, "logits/%s.logits", name);
    l.want = kit_read_shared(path, &n_bytes);
    CHECK_INT(n_bytes, (size_t)l.n_ids * l.n_vocab * sizeof(float));
    return l;
}

static void unload(struct loaded *l)
{
    model_close(l->model);
    gguf_close(l->file);
    free(l->ids);
    free(l->want);
}

/* Logits of all positions from a fresh exec, n_batch rows at a time. */
static float *logits_of(const char *backend, const struct loaded *l, uint32_t n_batch,
                        int n_threads)
{
    const struct exec_params params = {.n_ctx = l->n_ids, .n_threads = n_threads};
    struct exec *x = kit_open_exec(backend, &l->model->plan, &params);
    if (!x)
        return NULL;
    float *out = mem_new((size_t)l->n_ids * l->n_vocab, sizeof *out);
    kit_run(x, l->ids, 0, l->n_ids, n_batch, l->n_vocab, out);
    exec_close(x);
    return out;
}

TEST(logits_agree_with_the_reference_for_every_quantisation)
{
    struct tally runs[N_BACKENDS] = {0};
    for (size_t i = 0; i < N_FILES; i++) {
        struct loaded l = load(files[i].name);
        for (size_t j = 0; j < N_BACKENDS; j++) {
            float *got = logits_of(backends[j].name, &l, 0, 2);
            count_run(runs, &backends[j], got != NULL);
            if (!got)
                continue;
            const double limit = backends[j].limit(files[i].llama_err);
            const double err = kit_rel_err(got, l.want, (size_t)l.n_ids * l.n_vocab);
            printf("    %-4s %-16s relative error %.2e, limit %.2e\n", backends[j].name,
                   files[i].name, err, limit);
            if (!(err <= limit))
                test_fail(__FILE__, __LINE__, "%s on %s: relative error %g over %g",
                          backends[j].name, files[i].name, err, limit);
            free(got);
        }
        unload(&l);
    }
    report_runs(runs);
}

TEST(logits_do_not_depend_on_the_batch_size_or_the_threads)
{
    struct tally runs[N_BACKENDS] = {0};
    for (size_t i = 0; i < N_FILES; i++) {
        struct loaded l = load(files[i].name);
        for (size_t j = 0; j < N_BACKENDS; j++) {
            if (i % backends[j].ways_every)
                continue;
            float *all = logits_of(backends[j].name, &l, 0, 1);
            count_run(runs, &backends[j], all != NULL);
            for (int k = 1; all && k < backends[j].n_ways; k++) {
                float *got = logits_of(backends[j].name, &l, ways[k].n_batch, ways[k].n_threads);
                /* Rows one by one have their activations rounded, many at once may not. */
                const double limit =
                    backends[j].ways_limit
                        ? fmax(backends[j].ways_limit, backends[j].limit(files[i].llama_err))
                        : 0;
                check_ways(&backends[j], files[i].name, limit, k, got, all,
                           (size_t)l.n_ids * l.n_vocab);
                free(got);
            }
            free(all);
        }
        unload(&l);
    }
    report_runs(runs);
}

/* ---- toy models ------------------------------------------------------------------------------ */

/* got: all rows of a run; want: rows at `positions` (NULL: all), with their largest logit. */
static void check_toy(const struct checked_backend *b, const char *what, double limit,
                      double rel_limit, const float *got, size_t n_vocab, const struct json *run)
{
    const struct json *positions = json_get(run, "positions"), *logits = json_get(run, "logits");
    double largest = 0, difference = 0, norm = 0;
    for (size_t i = 0; i < json_count(logits); i++) {
        const size_t pos = positions ? (size_t)json_int(json_at(positions, i)) : i;
        const int64_t top = json_int(json_at(json_get(run, "argmax"), i));
        const float *row = got + pos * n_vocab;
        double row_best = -HUGE_VAL;
        for (size_t j = 0; j < n_vocab; j++) {
            const double want = json_float(json_at(json_at(logits, i), j));
            const double d = fabs((double)row[j] - want);
            largest = fmax(largest, isnan(d) ? HUGE_VAL : d);
            difference += d * d;
            norm += want * want;
            row_best = fmax(row_best, (double)row[j]);
        }
        /* README of the toys: the same largest logit unless the two best are nearly equal. */
        CHECK((double)row[top] >= row_best - 0.3);
    }
    const double rel = sqrt(difference / norm);
    printf("    %-4s %-38s largest difference %.1e, relative error %.1e\n", b->name, what, largest,
           rel);
    if (!(largest <= limit && rel <= rel_limit))
        test_fail(__FILE__, __LINE__,
                  "%s on %s: difference %g over %g or relative error %g over %g", b->name, what,
                  largest, limit, rel, rel_limit);
}

static void toy_ids(const struct json *tokens, int32_t *ids)
{
    for (size_t i = 0; i < json_count(tokens); i++)
        ids[i] = (int32_t)json_int(json_at(tokens, i));
}

/* All rows of a toy in one way; false where the backend is not here. */
static bool run_toy(const struct checked_backend *b, const struct plan *plan, enum block_type cache,
                    int way, const int32_t *ids, uint32_t n, float *out, struct tally *runs)
{
    const struct exec_params params = {
        .n_ctx = n, .n_threads = ways[way].n_threads, .type_k = cache, .type_v = cache};
    struct exec *x = kit_open_exec(b->name, plan, &params);
    count_run(runs, b, x != NULL);
    if (!x)
        return false;
    kit_run(x, ids, 0, n, ways[way].n_batch, plan->n_vocab, out);
    exec_close(x);
    return true;
}

/* Every way, on a fresh cache each. */
static void check_toy_run(const struct plan *plan, const char *what, bool quantised,
                          const struct json *run, struct tally *runs)
{
    const struct json *tokens = json_get(run, "tokens");
    const uint32_t n = (uint32_t)json_count(tokens);
    const size_t n_logits = (size_t)n * plan->n_vocab;
    int32_t *ids = mem_new(n, sizeof *ids);
    float *all = mem_new(n_logits, sizeof *all), *got = mem_new(n_logits, sizeof *got);
    toy_ids(tokens, ids);
    for (size_t i = 0; i < N_BACKENDS; i++) {
        const struct checked_backend *b = &backends[i];
        for (int j = 0; j < (b->ways_every > 1 ? 1 : b->n_ways); j++) {
            if (!run_toy(b, plan, BLOCK_F32, j, ids, n, j ? got : all, runs))
                continue;
            if (j == 0)
                check_toy(b, what, quantised ? b->toy_quantised : b->toy_float, b->toy_rel, all,
                          plan->n_vocab, run);
            else
                check_ways(b, what, b->ways_limit, j, got, all, n_logits);
        }
    }
    free(ids);
    free(all);
    free(got);
}

/* Keys and values in F16, as served: a device with matrices has other kernels for them. */
static void check_toy_rounded(const struct plan *plan, const char *what, const struct json *run,
                              struct tally *runs)
{
    const struct json *tokens = json_get(run, "tokens");
    const uint32_t n = (uint32_t)json_count(tokens);
    int32_t *ids = mem_new(n, sizeof *ids);
    float *got = mem_new((size_t)n * plan->n_vocab, sizeof *got);
    toy_ids(tokens, ids);
    for (size_t i = 0; i < N_BACKENDS; i++)
        if (run_toy(&backends[i], plan, BLOCK_F16, 0, ids, n, got, runs))
            check_toy(&backends[i], what, toy_f16, toy_f16_rel, got, plan->n_vocab, run);
    free(ids);
    free(got);
}

static bool has_quantised(const struct plan *plan)
{
    for (size_t i = 0; i < plan->n_weights; i++)
        if (plan->weights[i]->type != BLOCK_F32)
            return true;
    return false;
}

static struct gguf *open_toy(str name)
{
    struct err e = {0};
    char path[128];
    snprintf(path, sizeof path, "spec/data/toy/%.*s", STRF(name));
    struct gguf *file = gguf_open(test_shared(path), NULL, &e);
    CHECK_OK(file != NULL);
    return file;
}

TEST(logits_agree_with_the_toy_models)
{
    struct err e = {0};
    size_t n_bytes;
    int n_models = 0;
    struct tally runs[N_BACKENDS] = {0};
    char *text = kit_read_shared("spec/data/toy/expected.json", &n_bytes);
    struct json *root = json_parse((str){text, n_bytes}, &e);
    CHECK_OK(root != NULL);
    const struct json *models = json_get(root, "models");
    for (size_t i = 0; i < json_count(models); i++) {
        const struct json *m = json_at(models, i);
        const str name = json_str(json_get(m, "file"));
        struct gguf *file = open_toy(name);
        struct model *model = model_open_with(file, &as_llama, NULL, &e);
        CHECK_OK(model != NULL);
        char label[64];
        snprintf(label, sizeof label, "%.*s, 24 tokens", STRF(name));
        check_toy_run(&model->plan, label, has_quantised(&model->plan), m, runs);
        snprintf(label, sizeof label, "%.*s, 150 tokens", STRF(name));
        check_toy_run(&model->plan, label, has_quantised(&model->plan), json_get(m, "long"), runs);
        snprintf(label, sizeof label, "%.*s, 150, F16 cache", STRF(name));
        if (!has_quantised(&model->plan))
            check_toy_rounded(&model->plan, label, json_get(m, "long"), runs);
        model_close(model);
        gguf_close(file);
        n_models++;
    }
    CHECK_INT(n_models, 12);
    json_free(root);
    free(text);
    report_runs(runs);
}

/* The default: exact limits, as the model was trained. Rounding them moves these logits by up to
 * 0.2. */
TEST(logits_of_gpt_oss_by_default_are_those_of_exact_yarn)
{
    struct err e = {0};
    size_t n_bytes;
    int n_models = 0;
    char *text = kit_read_shared("spec/data/toy/expected.json", &n_bytes);
    struct json *root = json_parse((str){text, n_bytes}, &e);
    CHECK_OK(root != NULL);
    const struct json *models = json_get(root, "models");
    for (size_t i = 0; i < json_count(models); i++) {
        const struct json *m = json_at(models, i), *tokens = json_get(m, "tokens");
        const struct json *last = json_get(m, "logits_truncate_false_last");
        if (!last)
            continue;
        struct gguf *file = open_toy(json_str(json_get(m, "file")));
        struct model *model = model_open(file, NULL, &e);
        CHECK_OK(model != NULL);
        const uint32_t n = (uint32_t)json_count(tokens), n_vocab = model->plan.n_vocab;
        int32_t *ids = mem_new(n, sizeof *ids);
        float *got = mem_new((size_t)n * n_vocab, sizeof *got);
        for (uint32_t j = 0; j < n; j++)
            ids[j] = (int32_t)json_int(json_at(tokens, j));
        struct exec *x = kit_open_exec("ref", &model->plan, &(struct exec_params){.n_ctx = n});
        kit_run(x, ids, 0, n, 0, n_vocab, got);
        CHECK_INT(json_count(last), n_vocab);
        for (uint32_t j = 0; j < n_vocab; j++) {
            const double want = json_float(json_at(last, j));
            CHECK(fabs((double)got[(size_t)(n - 1) * n_vocab + j] - want) <= 1e-4);
        }
        exec_close(x);
        free(ids);
        free(got);
        model_close(model);
        gguf_close(file);
        n_models++;
    }
    CHECK_INT(n_models, 2);
    json_free(root);
    free(text);
}
