/* Steps to dispatches. The structs are the push constants of shaders/NAME.comp. */
#include "base/num.h"
#include "compute/vulkan/pick.h"
#include "compute/vulkan/steps.h"

static uint32_t groups(const struct recorder *r, const struct weight *w)
{
    return r->g->weights.matrices[w->index].n_groups;
}

/* The pipeline of the step for n rows, and how many workgroups take them. */
static VkPipeline pick(const struct recorder *r, const struct step *s, uint32_t n, uint32_t *tiles)
{
    const int which = n > 1;
    *tiles = (n + s->n_tokens[which] - 1) / num_max(s->n_tokens[which], 1);
    return r->g->pipelines[s->pipeline[which]];
}

/* How many workgroups make n_groups groups of 16 outputs, of n rows. */
static uint32_t workgroups(const struct step *s, uint32_t n, uint32_t n_groups)
{
    const uint32_t n_teams = s->n_teams[n > 1];
    return (n_groups + n_teams - 1) / n_teams;
}

/* The sums of a row's shares that belong to a step with a route; how many a row has. */
static address shares(const struct recorder *r, const struct step *s)
{
    return r->g->scratch.address + r->g->shares_at + s->shares_from;
}

static uint32_t shares_of_row(const struct recorder *r)
{
    return (uint32_t)(r->g->share_bytes / sizeof(int64_t));
}

static void embed(struct recorder *r, const struct step *s)
{
    const struct op_embed *o = &s->op->embed;
    const struct {
        address table, ids, x, shares;
        uint32_t n_shares;
    } push = {
        .table = gpu_matrix(r->g, o->table),
        .ids = recorder_input(r, INPUT_IDS),
        .x = recorder_slot(r, o->x),
        .shares = r->g->scratch.address + r->g->shares_at,
        .n_shares = r->n_rows > FEW_TOKENS ? 0 : r->n_rows * shares_of_row(r),
    };
    DISPATCH(r, r->g->pipelines[s->pipeline[0]], push, 1, r->n_rows, 1);
}

struct push_project {
    address from, norm;
    struct {
        address matrix, bias, to;
    } outs[MOST_OUTS];
    uint32_t first[MOST_OUTS - 1], n_out[MOST_OUTS];
    float eps;
    uint32_t n_tokens, n_of_type, n_groups;
};

static void project(struct recorder *r, const struct step *s)
{
    const struct op_project *o = &s->op->project;
    struct push_project push = {
        .from = recorder_slot(r, o->in),
        .norm = gpu_vector(r->g, o->norm),
        .eps = o->eps,
        .n_tokens = r->n_rows,
        .n_of_type = s->n_of_type,
    };
    uint32_t tiles;
    for (uint32_t i = 0; i < MOST_OUTS; i++) {
        if (i > 0)
            push.first[i - 1] = push.n_groups;
        if (i >= s->n_outs)
            continue;
        const uint32_t j = s->outs[i];
        push.outs[i].matrix = gpu_matrix(r->g, o->out[j].w);
        push.outs[i].bias = gpu_vector(r->g, o->out[j].bias);
        push.outs[i].to = recorder_slot(r, o->out[j].out);
        push.n_out[i] = (uint32_t)o->out[j].w->ne[1];
        push.n_groups += groups(r, o->out[j].w);
    }
    VkPipeline pipeline = pick(r, s, r->n_rows, &tiles);
    DISPATCH(r, pipeline, push, workgroups(s, r->n_rows, push.n_groups), tiles, 1);
}

/* Groups that a workgroup takes: its rows are quantised once for all. */
enum { HEAD_GROUPS = 8 };

static void head(struct recorder *r, const struct step *s)
{
    const struct op_head *o = &s->op->head;
    const struct {
        address from, norm, map, matrix, to, allowed, keys;
        uint32_t n_keys, n_out, n_groups, n_tokens;
        float eps;
    } push = {
        .from = recorder_slot(r, o->x),
        .norm = gpu_vector(r->g, o->norm),
        .map = recorder_input(r, INPUT_WANTED) + r->first_wanted * sizeof(uint32_t),
        .matrix = gpu_matrix(r->g, o->w),
        .to = r->g->scratch.address + gpu_logits_at(r->g, r->side),
        .allowed = r->g->pick.allowed.address,
        .keys = r->picks ? r->g->scratch.address + r->g->pick.keys_at : 0,
        .n_keys = pick_keys(r->g),
        .n_out = (uint32_t)o->w->ne[1],
        .n_groups = groups(r, o->w),
        .n_tokens = r->n_wanted,
        .eps = o->eps,
    };
    uint32_t tiles;
    VkPipeline pipeline = pick(r, s, r->n_wanted, &tiles);
    DISPATCH(r, pipeline, push, (push.n_groups + HEAD_GROUPS - 1) / HEAD_GROUPS, tiles, 1);
}

static void copy_logits(struct recorder *r)
{
    vk_cmds_barrier(r->cmds);
    vk_cmds_copy(r->cmds, &r->g->scratch, gpu_logits_at(r->g, r->side), &r->g->logits, 0,
                 (uint64_t)r->n_wanted * r->g->plan->n_vocab * sizeof(float));
}

static void add_project(struct recorder *r, const struct step *s)
{
    const struct op_add_project *o = &s->op->add_project;
    struct {
        address from, matrix, bias, x, gate, gate_in;
        uint32_t n_out, n_gate, n_tokens, n_sums;
        address router, norm, sums;
    } push = {
        .from = recorder_slot(r, o->in),
        .matrix = gpu_matrix(r->g, o->w),
        .bias = gpu_vector(r->g, o->bias),
        .x = recorder_slot(r, o->x),
        .gate = gpu_vector(r->g, o->gate),
        .gate_in = o->gate ? recorder_slot(r, o->gate_in) : 0,
        .n_out = (uint32_t)o->w->ne[1],
        .n_gate = o->gate ? (uint32_t)o->gate->ne[0] : 0,
        .n_tokens = r->n_rows,
        .n_sums = shares_of_row(r),
    };
    if (s->route) {
        push.router = gpu_matrix(r->g, s->route->router);
        push.norm = gpu_vector(r->g, s->route->norm);
        push.sums = shares(r, s);
    }
    uint32_t tiles;
    VkPipeline pipeline = pick(r, s, r->n_rows, &tiles);
    DISPATCH(r, pipeline, push, groups(r, o->w), tiles, 1);
}

struct push_glu {
    address from, norm, gate, up, gate_bias, up_bias, ids, to;
    uint32_t n_out, n_used, n_groups;
    float eps;
    uint32_t n_tokens;
    float scale;
    address partials, router_bias, select_bias, weights;
    uint32_t n_shares;
};

static void glu(struct recorder *r, const struct step *s)
{
    const struct op_glu *o = &s->op->glu;
    const struct push_glu push = {
        .from = recorder_slot(r, s->route ? s->route->x : o->in),
        .norm = gpu_vector(r->g, s->route ? s->route->norm : o->norm),
        .gate = gpu_matrix(r->g, o->gate),
        .up = gpu_matrix(r->g, o->up),
        .gate_bias = gpu_vector(r->g, o->gate_bias),
        .up_bias = gpu_vector(r->g, o->up_bias),
        .to = recorder_slot(r, o->out),
        .n_out = (uint32_t)o->gate->ne[1],
        .n_used = 1,
        .n_groups = groups(r, o->gate),
        .eps = s->route ? s->route->eps : o->eps,
        .n_tokens = r->n_rows,
    };
    uint32_t tiles;
    VkPipeline pipeline = pick(r, s, r->n_rows, &tiles);
    DISPATCH(r, pipeline, push, workgroups(s, r->n_rows, push.n_groups), tiles, 1);
}

static void experts_up(struct recorder *r, const struct step *s)
{
    const struct op_experts_up *o = &s->op->experts_up;
    struct push_glu push = {
        .from = recorder_slot(r, o->in),
        .gate = gpu_matrix(r->g, o->gate),
        .up = gpu_matrix(r->g, o->up),
        .gate_bias = gpu_vector(r->g, o->gate_bias),
        .up_bias = gpu_vector(r->g, o->up_bias),
        .ids = recorder_slot(r, o->ids),
        .to = recorder_slot(r, o->out),
        .n_out = (uint32_t)o->gate->ne[1],
        .n_used = o->n_used,
        .n_groups = groups(r, o->gate),
        .n_tokens = r->n_rows,
    };
    if (s->route) {
        push.scale = s->route->scale;
        push.partials = r->g->scratch.address + r->g->route_at;
        push.router_bias = gpu_vector(r->g, s->route->bias);
        push.select_bias = gpu_vector(r->g, s->route->select_bias);
        push.weights = recorder_slot(r, s->route->weights);
    }
    if (s->is_shared) {
        push.from = recorder_slot(r, s->route->x);
        push.norm = gpu_vector(r->g, s->route->norm);
        push.eps = s->route->eps;
        push.partials = shares(r, s);
        push.n_shares = shares_of_row(r);
    }
    const uint32_t n_workgroups = workgroups(s, 1, push.n_groups * o->n_used);
    DISPATCH(r, r->g->pipelines[s->pipeline[0]], push, n_workgroups, r->n_rows, 1);
}

static void route(struct recorder *r, const struct step *s)
{
    const struct op_route *o = &s->op->route;
    const struct {
        address x, norm, matrix, bias, select_bias, normed, ids, weights, partials, counters;
        float eps, scale;
    } push = {
        .x = recorder_slot(r, o->x),
        .norm = gpu_vector(r->g, o->norm),
        .matrix = gpu_matrix(r->g, o->router),
        .bias = gpu_vector(r->g, o->bias),
        .select_bias = gpu_vector(r->g, o->select_bias),
        .normed = recorder_slot(r, o->normed),
        .ids = recorder_slot(r, o->ids),
        .weights = recorder_slot(r, o->weights),
        .partials = r->g->scratch.address + r->g->route_at,
        .counters = r->g->scratch.address + r->g->counters_at,
        .eps = o->eps,
        .scale = o->scale,
    };
    DISPATCH(r, r->g->pipelines[s->pipeline[0]], push, groups(r, o->router) * s->n_splits,
             r->n_rows, 1);
}

static void experts_down(struct recorder *r, const struct step *s)
{
    const struct op_experts_down *o = &s->op->experts_down;
    const struct {
        address from, matrix, bias, ids, weights, x;
        uint32_t n_out, n_groups;
    } push = {
        .from = recorder_slot(r, o->in),
        .matrix = gpu_matrix(r->g, o->down),
        .bias = gpu_vector(r->g, o->bias),
        .ids = recorder_slot(r, o->ids),
        .weights = recorder_slot(r, o->weights),
        .x = recorder_slot(r, o->x),
        .n_out = (uint32_t)o->down->ne[1],
        .n_groups = groups(r, o->down),
    };
    DISPATCH(r, r->g->pipelines[s->pipeline[0]], push, push.n_groups, r->n_rows, 1);
}

static void record_step(struct recorder *r, const struct step *s)
{
    static void (*const kinds[])(struct recorder * r, const struct step *s) = {
        [STEP_EMBED] = embed,
        [STEP_PROJECT] = project,
        [STEP_HEADS] = attention_heads,
        [STEP_ATTEND] = attention_attend,
        [STEP_FLASH] = attention_flash,
        [STEP_LATENT] = latent_rows,
        [STEP_LATENT_KEYS] = latent_keys,
        [STEP_LATENT_ATTEND] = latent_attend,
        [STEP_LATENT_VALUES] = latent_values,
        [STEP_DELTA_CONV] = delta_conv,
        [STEP_DELTA] = delta_recur,
        [STEP_DELTA_CHUNK] = delta_chunk,
        [STEP_DELTA_SCAN] = delta_scan,
        [STEP_DELTA_GATE] = delta_gate,
        [STEP_ADD_PROJECT] = add_project,
        [STEP_GLU] = glu,
        [STEP_ROUTE] = route,
        [STEP_EXPERTS_UP] = experts_up,
        [STEP_EXPERTS_DOWN] = experts_down,
        [STEP_HEAD] = head,
    };
    static const char *const names[] = {
        [STEP_EMBED] = "embed",
        [STEP_PROJECT] = "project",
        [STEP_HEADS] = "heads",
        [STEP_ATTEND] = "attend",
        [STEP_FLASH] = "flash",
        [STEP_LATENT] = "latent",
        [STEP_LATENT_KEYS] = "latent_keys",
        [STEP_LATENT_ATTEND] = "latent_attend",
        [STEP_LATENT_VALUES] = "latent_values",
        [STEP_DELTA_CONV] = "delta_conv",
        [STEP_DELTA] = "delta",
        [STEP_DELTA_CHUNK] = "delta_chunk",
        [STEP_DELTA_SCAN] = "delta_scan",
        [STEP_DELTA_GATE] = "delta_gate",
        [STEP_ADD_PROJECT] = "add_project",
        [STEP_GLU] = "glu",
        [STEP_ROUTE] = "route",
        [STEP_EXPERTS_UP] = "experts_up",
        [STEP_EXPERTS_DOWN] = "experts_down",
        [STEP_HEAD] = "head",
    };
    const bool many = prefill_takes(r, s);
    if (step_waits(&r->since, &s->touched, many && !prefill_has_rows(r, s)))
        vk_cmds_barrier_dispatches(r->cmds);
    (many ? prefill_record : kinds[s->kind])(r, s);
    if (s->kind == STEP_HEAD && !r->picks)
        copy_logits(r);
    if (r->g->params.profile)
        vk_cmds_stamp(r->cmds, names[s->kind], s->op->layer);
    if (s->kind == STEP_HEAD && r->picks)
        pick_record(r, !many);
}

struct vk_cmds *record(struct gpu *g, struct step_range steps, const struct recording *of,
                       struct err *e)
{
    struct recorder r = {.g = g,
                         .cmds = vk_cmds_begin(g->vk, e),
                         .n_rows = of->n_rows,
                         .n_wanted = of->n_wanted,
                         .n_keys = of->n_keys,
                         .picks = of->picks,
                         .side = of->side};
    if (!r.cmds)
        return NULL;
    if (g->params.profile)
        vk_cmds_stamp(r.cmds, "begin", 0);
    for (uint32_t i = steps.from; i < steps.end; i++)
        if ((r.n_wanted || g->steps[i].kind != STEP_HEAD) &&
            step_takes(&g->steps[i], r.n_rows, r.n_keys))
            record_step(&r, &g->steps[i]);
    if (vk_cmds_end(r.cmds, e))
        return r.cmds;
    vk_cmds_free(r.cmds);
    return NULL;
}

struct vk_cmds *record_head(struct gpu *g, uint32_t from, uint32_t n_wanted, struct err *e)
{
    struct recorder r = {.g = g,
                         .cmds = vk_cmds_begin(g->vk, e),
                         .n_wanted = n_wanted,
                         .n_keys = 1,
                         .first_wanted = from};
    if (!r.cmds)
        return NULL;
    for (uint32_t i = 0; i < g->n_steps; i++)
        if (g->steps[i].kind == STEP_HEAD)
            record_step(&r, &g->steps[i]);
    if (vk_cmds_end(r.cmds, e))
        return r.cmds;
    vk_cmds_free(r.cmds);
    return NULL;
}
