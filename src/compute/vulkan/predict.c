/* Counts what a token takes from the steps, as record.c would record them, without a device. */
#include "compute/predict.h"

#include "base/num.h"
#include "compute/vulkan/steps.h"

const struct predict_machine predict_strix_halo = {"Strix Halo", 236e9, 4e-6};

/* gfx1151 with RADV, as far as steps depend on it. */
static const struct vk_caps strix_halo = {
    .is_unified = true,
    .subgroup_min = 32,
    .subgroup_max = 64,
    .shared_bytes = 65536,
    .max_workgroup = 1024,
    .max_alloc = 0xfffffffcu,
    .has_dot = true,
    .matrix_m = 16,
    .matrix_n = 16,
    .matrix_k = 16,
    .matrix_narrow = 16,
};

/* ---- bytes ----------------------------------------------------------------------------------- */

struct reading {
    const struct weights *weights;
    double n_bytes;
};

static void add_weight(void *ctx, const struct weight *w, double share)
{
    struct reading *r = ctx;
    const struct matrix *m = &r->weights->matrices[w->index];
    const double n_bytes = m->weight ? (double)m->group_bytes * m->n_groups * m->n_experts
                                     : (double)w->ne[0] * (double)w->ne[1] * (double)w->ne[2] * 4;
    r->n_bytes += share * n_bytes;
}

double gpu_row_bytes(const struct gpu *g)
{
    struct reading r = {.weights = &g->weights};
    for (size_t i = 0; i < g->plan->n_ops; i++)
        op_weights(&g->plan->ops[i], add_weight, &r);
    return r.n_bytes;
}

/* ---- phases ---------------------------------------------------------------------------------- */

struct counting {
    struct predict_work *out;
    struct touched since;
    uint32_t layer, n_of_layer;
};

static void add_step(struct counting *c, const struct step *s)
{
    const bool begins = step_waits(&c->since, &s->touched, false) || c->out->n_phases == 0;
    c->out->n_dispatches++;
    c->out->n_phases += begins;
    if (s->kind == STEP_EMBED || s->kind == STEP_HEAD)
        return;
    if (s->op->layer != c->layer)
        c->n_of_layer = 0;
    c->layer = s->op->layer;
    c->n_of_layer += begins;
    c->out->most_of_layer = (uint32_t)num_max(c->out->most_of_layer, c->n_of_layer);
}

static void count(const struct gpu *g, uint32_t n_keys, struct predict_work *out)
{
    struct counting c = {.out = out};
    *out = (struct predict_work){0};
    for (uint32_t i = 0; i < g->n_steps; i++)
        if (step_takes(&g->steps[i], 1, attention_keys(n_keys)))
            add_step(&c, &g->steps[i]);
    out->n_phases += g->plan->n_vocab > 0; /* the best tokens, or the copy of the logits */
    out->n_dispatches += g->pick.is_there;
    out->weight_bytes = gpu_row_bytes(g);
}

bool predict_work(const struct plan *p, const struct exec_params *params, uint32_t n_keys,
                  struct predict_work *out, struct err *e)
{
    struct vk *vk = vk_imagine(&strix_halo);
    struct exec_params filled = *params;
    filled.n_seqs = (uint32_t)num_max(params->n_seqs, 1);
    filled.n_ubatch = (uint32_t)num_max(params->n_ubatch, 1);
    filled.page = PAGE_POSITIONS;
    struct gpu *g = gpu_new(p, &filled, vk, e);
    if (g)
        count(g, n_keys, out);
    const bool ok = g != NULL;
    gpu_free(g);
    vk_close(vk);
    return ok;
}

double predict_tokens_per_s(const struct predict_machine *m, double n_bytes, uint32_t n_phases)
{
    return 1 / (n_bytes / m->bytes_per_s + n_phases * m->phase_s);
}
