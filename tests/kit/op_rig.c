#include <math.h>

#include "base/num.h"
#include "kit/op_rig.h"
#include "test.h"

const enum block_type rig_types[N_RIG_TYPES] = {
    BLOCK_F32,  BLOCK_F16,    BLOCK_BF16,   BLOCK_Q4_0,  BLOCK_Q4_1, BLOCK_Q5_0,
    BLOCK_Q5_1, BLOCK_Q8_0,   BLOCK_Q2_K,   BLOCK_Q3_K,  BLOCK_Q4_K, BLOCK_Q5_K,
    BLOCK_Q6_K, BLOCK_IQ4_NL, BLOCK_IQ4_XS, BLOCK_MXFP4,
};

/* Largest relative error (norm over norm) of an output. Exact: float and half weights, norms,
 * attention over F32 and F16. Coarse: where a backend may round activations or queries to 8 bits.
 * Many: more than FEW_ROWS at once that quantised weights of one type take.
 */
static const struct checked_backend {
    const char *name;
    double exact, coarse, many;
    int every; /* it runs one case of so many, by the seed: a software device compiles slowly */
} backends[N_RIG_BACKENDS] = {
    {"cpu", 2e-3, 2e-2, 2e-2, 1},
    {"vulkan", 2e-3, 2e-2, 2e-3, 5},
};
enum { FEW_ROWS = 8 };

struct rig rig_open(uint64_t i_case, uint32_t n_rows)
{
    struct rig r = {0};
    r.rng.state = test_seed() * 1000003 + i_case;
    r.n_steps = 1;
    r.n_rows[0] = r.n_total = n_rows;
    return r;
}

void *rig_own(struct rig *r, void *p)
{
    CHECK(r->n_owned < MAX_OWNED);
    return r->owned[r->n_owned++] = p;
}

bool rig_is_float(enum block_type type)
{
    return type == BLOCK_F32 || type == BLOCK_F16 || type == BLOCK_BF16;
}

const struct weight *rig_matrix(struct rig *r, enum block_type type, uint64_t n_in, uint64_t n_out,
                                uint64_t n)
{
    const uint64_t ne[3] = {n_in, n_out, n};
    struct weight *w = plan_weight(&r->plan, STR("w"), type, ne);
    w->data =
        rig_own(r, kit_random_blocks(&r->rng, type, n_in * n_out * n, 1 / sqrtf((float)n_in)));
    r->quantised |= !rig_is_float(type);
    r->mixed |= r->n_matrices++ && type != r->type;
    r->type = type;
    return w;
}

const struct weight *rig_floats(struct rig *r, uint64_t n, uint64_t n_rows, float mean)
{
    const uint64_t ne[3] = {n, n_rows, 1};
    struct weight *w = plan_weight(&r->plan, STR("vector"), BLOCK_F32, ne);
    w->data = rig_own(r, kit_random_floats(&r->rng, n * n_rows, mean, 0.3f));
    return w;
}

slot_id rig_input(struct rig *r, const char *name, uint32_t width)
{
    slot_id s = plan_slot(&r->plan, name, width);
    r->inputs[r->n_inputs].slot = s;
    r->inputs[r->n_inputs++].rows =
        rig_own(r, kit_random_floats(&r->rng, (size_t)r->n_total * width, 0.1f, 1));
    return s;
}

slot_id rig_output(struct rig *r, const char *name, uint32_t width)
{
    slot_id s = plan_slot(&r->plan, name, width);
    r->outputs[r->n_outputs++] = s;
    return s;
}

slot_id rig_in_and_out(struct rig *r, const char *name, uint32_t width)
{
    slot_id s = rig_input(r, name, width);
    r->outputs[r->n_outputs++] = s;
    return s;
}

slot_id rig_expert_ids(struct rig *r, uint32_t n_expert, uint32_t n_used)
{
    slot_id s = rig_input(r, "ids", n_used);
    int32_t *ids = r->inputs[r->n_inputs - 1].rows;
    for (uint32_t t = 0; t < r->n_total; t++, ids += n_used) {
        uint32_t first = (uint32_t)rng_below(&r->rng, n_expert);
        for (uint32_t j = 0; j < n_used; j++)
            ids[j] = (int32_t)((first + 3 * j) % n_expert); /* 3 does not divide n_expert */
    }
    return s;
}

static size_t rig_n_results(const struct rig *r)
{
    size_t n = (size_t)r->n_total * r->plan.n_vocab;
    for (size_t i = 0; i < r->n_outputs; i++)
        n += (size_t)r->n_total * r->plan.slots[r->outputs[i]].width;
    return n;
}

/* Runs one step; appends logits and output slots to *out. */
static void run_step(struct exec *x, const struct rig *r, uint32_t from, uint32_t n, float **out)
{
    struct err e = {0};
    uint32_t pos[256];
    bool want[256];
    int32_t ids[256];
    for (uint32_t t = 0; t < n; t++) {
        pos[t] = r->pos ? r->pos[from + t] : t;
        want[t] = true;
        ids[t] = (int32_t)((from + t) * 7 % 13);
    }
    for (size_t i = 0; i < r->n_inputs; i++) {
        const size_t width = r->plan.slots[r->inputs[i].slot].width;
        const float *rows = r->inputs[i].rows;
        CHECK_OK(exec_slot_put(x, r->inputs[i].slot, n, rows + from * width, &e));
    }
    const struct batch b = {
        .n = n,
        .ids = ids,
        .pos = pos,
        .seq = r->seq ? r->seq + from : NULL,
        .want_logits = want,
    };
    CHECK_OK(exec_run(x, &b, &e));
    for (uint32_t t = 0; t < n && r->plan.n_vocab; t++, *out += r->plan.n_vocab)
        memcpy(*out, exec_logits(x, t), r->plan.n_vocab * sizeof **out);
    for (size_t i = 0; i < r->n_outputs; i++) {
        CHECK_OK(exec_slot_get(x, r->outputs[i], n, *out, &e));
        *out += (size_t)n * r->plan.slots[r->outputs[i]].width;
    }
}

/* What the validation layer says ends the test. */
static void take_line(void *ctx, enum log_level level, const char *line)
{
    const struct rig *r = ctx;
    if (level >= LOG_WARN && !strncmp(line, "Vulkan: ", 8))
        test_fail(__FILE__, __LINE__, "%s: %s", r->what, line);
}

/* Under the validation layer, where a device has one. */
static struct exec *open_checked(const struct backend *b, const struct rig *r,
                                 struct exec_params *params, struct err *e)
{
    const struct log log = {take_line, (void *)(uintptr_t)r};
    params->validate = true;
    struct exec *x = exec_open(b, &r->plan, params, &log, NULL, e);
    if (x || e->code != ERR_UNSUPPORTED)
        return x;
    params->validate = false;
    return exec_open(b, &r->plan, params, &log, NULL, e);
}

/* All steps on a fresh exec. NULL when the backend does not do this case. */
static float *results_of(const struct backend *b, const struct rig *r)
{
    struct err e = {0};
    struct exec_params params = r->params;
    params.n_ctx = params.n_ctx ? params.n_ctx : 256;
    /* No more than needed: a device compiles no kernels for larger batches. */
    for (uint32_t i = 0; i < r->n_steps && !r->params.n_ubatch; i++)
        params.n_ubatch = (uint32_t)fmax(params.n_ubatch, r->n_rows[i]);
    params.n_threads = 2;
    params.allow_software = true;
    struct exec *x = open_checked(b, r, &params, &e);
    if (!x && e.code == ERR_UNSUPPORTED)
        return NULL;
    CHECK_OK(x != NULL);
    float *results = mem_new(rig_n_results(r), sizeof *results);
    float *at = results;
    uint32_t from = 0;
    for (uint32_t i = 0; i < r->n_steps; i++, from += r->n_rows[i - 1])
        run_step(x, r, from, r->n_rows[i], &at);
    exec_close(x);
    return results;
}

void rig_close(struct rig *r)
{
    plan_free(&r->plan);
    for (size_t i = 0; i < r->n_owned; i++)
        free(r->owned[i]);
}

/* Which of the cases a backend runs: others for another seed. */
static bool is_turn(const struct checked_backend *b, int i_case)
{
    return (uint64_t)i_case % (uint64_t)b->every == test_seed() % (uint64_t)b->every;
}

static double limit_of(const struct checked_backend *b, const struct rig *r)
{
    uint32_t fewest = UINT32_MAX;
    for (uint32_t i = 0; i < r->n_steps; i++)
        fewest = (uint32_t)num_min(fewest, r->n_rows[i]);
    if (r->coarse)
        return b->coarse;
    if (!r->quantised)
        return b->exact;
    return fewest > FEW_ROWS && !r->mixed ? b->many : b->coarse;
}

void rig_check(struct rig *r,
               double (*compare)(const struct rig *, const float *got, const float *want),
               struct rig_count *count)
{
    float *want = results_of(&backend_ref, r);
    CHECK(want != NULL);
    for (size_t i = 0; i < N_RIG_BACKENDS; i++) {
        const struct backend *b = backend_find(backends[i].name);
        if (!kit_checks(backends[i].name) || (!count->all && !is_turn(&backends[i], count->cases)))
            continue;
        float *got = b ? results_of(b, r) : NULL;
        if (b)
            *(got ? &count->done[i] : &count->refused[i]) += 1;
        if (!got)
            continue;
        /* Rounding is as large as the inputs are: a few outputs that nearly cancel look worse. */
        const double few = fmax(1, sqrt(64.0 / (double)rig_n_results(r)));
        const double limit = few * limit_of(&backends[i], r);
        const double err = compare(r, got, want);
        if (!(err <= limit))
            test_fail(__FILE__, __LINE__, "%s, %s: relative error %g over %g", b->name, r->what,
                      err, limit);
        free(got);
    }
    count->cases++;
    free(want);
    rig_close(r);
}

void rig_check_same_bits(const char *backend, const struct rig *r)
{
    float *first = NULL, *second = NULL;
    if (kit_checks(backend) && (first = results_of(backend_find(backend), r)) != NULL) {
        second = results_of(backend_find(backend), r);
        if (memcmp(first, second, rig_n_results(r) * sizeof *first))
            test_fail(__FILE__, __LINE__, "%s, %s: other bits in a second run", backend, r->what);
    }
    free(first);
    free(second);
}

double rig_whole(const struct rig *r, const float *got, const float *want)
{
    return kit_rel_err(got, want, rig_n_results(r));
}

void rig_report(const struct rig_count *count)
{
    const char *idle = NULL;
    for (size_t i = 0; i < N_RIG_BACKENDS; i++) {
        printf("    %s: %d cases agree with ref, %d refused\n", backends[i].name, count->done[i],
               count->refused[i]);
        if (kit_checks(backends[i].name) && count->done[i] == 0)
            idle = backends[i].name;
    }
    if (idle) {
        char why[64];
        snprintf(why, sizeof why, "%s ran none of the cases", idle);
        test_skip(why);
    }
}
