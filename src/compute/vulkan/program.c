/* The steps of a plan and their pipelines. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "compute/vulkan/pick.h"
#include "compute/vulkan/steps.h"
#include "compute/vulkan/vk_shaders.h"

enum {
    MOST_TOKENS = FEW_TOKENS, /* rows that share the unpacking of a weight block */
    MOST_TOKENS_SOFTWARE = 2, /* where compiling takes longer than running */
    /* Bytes of shared memory beside activations: of each subgroup two sums of 16 rows and one of
     * the workgroup, and of each row, squares; pairs of code values; the rest. */
    SUMS_BYTES = 2 * 16 * 4 + 4,
    SQUARES_BYTES = 4,
    TABLE_BYTES = 1024,
    COPIES_THREADS = 512, /* from as many threads on the table has copies, shaders/weights.glsl */
    COPIES_BYTES = 32 * TABLE_BYTES,
    OTHER_BYTES = 16,
    /* Of one row: a core's registers are enough for so many threads of these kernels. */
    CORE_THREADS = 1024,
    TEAM_GROUPS = 6, /* at most, of a core, for teams to take them */
    FLOAT_SPLIT_COLS = 256,
    MOST_RANKED =
        512,     /* experts, by every workgroup that reads them; more by one of the route step */
    TYPE_2 = 16, /* number of the constant in shaders/weights.glsl */
    MOST_STEPS_PER_OP = 6, /* three outputs, for few rows and for many */
};

/* ---- pipelines ------------------------------------------------------------------------------- */

/* The size of subgroups where a shader asks for none: the largest one, which is what drivers for
 * AMD and NVIDIA take. Intel's choose among three by the registers that a shader needs: 0, where
 * none of them is too small. */
static uint32_t usual_subgroup(const struct vk_caps *c)
{
    const bool may_choose = c->subgroup_min >= VK_LEAST_LANES;
    return may_choose && c->subgroup_max > 2 * c->subgroup_min ? 0 : c->subgroup_max;
}

uint32_t step_spec(struct gpu *g, const struct vk_pipeline_spec *asked)
{
    struct vk_pipeline_spec spec = *asked;
    if (!spec.subgroup)
        spec.subgroup = usual_subgroup(vk_caps(g->vk));
    for (uint32_t i = 0; i < g->n_specs; i++)
        if (!memcmp(&g->specs[i], &spec, sizeof spec))
            return i;
    if (g->n_specs == g->specs_room) {
        g->specs_room = g->specs_room ? 2 * g->specs_room : 32;
        g->specs = mem_grow(g->specs, g->specs_room, sizeof *g->specs);
    }
    g->specs[g->n_specs] = spec;
    return g->n_specs++;
}

static bool has_table(enum layout l)
{
    return l == LAYOUT_IQ4_NL || l == LAYOUT_IQ4_XS || l == LAYOUT_MXFP4;
}

/* A pipeline over a matrix: constants 0 to 4 of matrix.glsl, then the shader's own. */
struct over_matrix {
    enum vk_shader shader;
    const struct weight *w;
    uint32_t n_parts;  /* activation rows that a token has side by side; 0: none are needed */
    uint32_t n_tokens; /* at most, of a workgroup */
    uint32_t own[8], n_own;
    const struct weight *second; /* of TYPE_2; NULL: none */
    uint64_t n_groups; /* of 16 outputs, for a row; 0: of as many threads as the shader has */
};

static const struct matrix *matrix_of(const struct gpu *g, const struct weight *w)
{
    return &g->weights.matrices[w->index];
}

static bool needs_table(const struct gpu *g, const struct over_matrix *o)
{
    return has_table(matrix_of(g, o->w)->layout) ||
           (o->second && has_table(matrix_of(g, o->second)->layout));
}

/* Words of a token's activation rows, see shaders/matrix.glsl: of a block its scale, and its codes
 * for types with a table and for others. */
static uint64_t row_words(const struct gpu *g, const struct over_matrix *o)
{
    enum { CODE_WORDS = BLOCK_COLS / 4 };
    const struct matrix *m = matrix_of(g, o->w);
    if (matrix_is_float(m))
        return (uint64_t)m->n_cols * o->n_parts;
    const bool both =
        o->second && has_table(m->layout) != has_table(matrix_of(g, o->second)->layout);
    return (uint64_t)m->n_cols / BLOCK_COLS * o->n_parts * (1 + CODE_WORDS * (both ? 2 : 1));
}

/* Constants of shaders/route.glsl: numbers of over_matrix.own; of shaders/route_share.glsl. */
enum { N_EXPERTS = 2, N_USED = 3, N_SPLITS = 5, SHARED_EXPERTS = 1 };

/* Subgroups of a workgroup, at most. */
static uint64_t most_subgroups(const struct vk_caps *c, uint32_t threads)
{
    return threads / num_max(usual_subgroup(c), VK_LEAST_LANES);
}

/* What shaders/route.glsl holds: the best of each group of threads, candidates, how many, scores,
 * who was chosen. */
static uint64_t choice_bytes(const struct vk_caps *c, uint64_t n_experts, uint64_t n_used,
                             uint32_t threads)
{
    const uint64_t n_holders = num_min(n_experts, threads), most = n_holders / n_used;
    const bool is_wide = threads / most_subgroups(c, threads) >= 16;
    const uint64_t lanes = most >= 16 && is_wide ? 16 : most >= 8 ? 8 : most >= 4 ? 4 : 1;
    const uint64_t n_groups = (n_holders + lanes - 1) / lanes;
    return (n_groups + 3 * n_experts + 1 + 2 * n_used) * sizeof(float);
}

/* What shaders/route_share.glsl holds: the workgroup's outputs, sums of each subgroup's columns. */
static uint64_t share_bytes(const struct vk_caps *c, uint64_t n_experts, uint32_t n_tokens,
                            uint32_t threads)
{
    const uint64_t lanes = num_min(threads / most_subgroups(c, threads), 64);
    const uint64_t n_sums = (n_experts + 15) / 16 * 16 * (64 / lanes);
    return (16 * n_tokens + n_sums) * sizeof(float);
}

/* Bytes of shared memory of the shader alone. */
static uint64_t own_shared(const struct vk_caps *c, const struct over_matrix *o, uint32_t threads)
{
    if (o->shader == VK_SHADER_EXPERTS_DOWN)
        return 2 * (uint64_t)o->n_parts * sizeof(float);
    if (o->shader == VK_SHADER_ADD_PROJECT && o->n_own)
        return share_bytes(c, o->own[SHARED_EXPERTS], o->n_tokens, threads);
    if (o->shader != VK_SHADER_ROUTE && o->shader != VK_SHADER_GLU)
        return 0;
    return choice_bytes(c, num_max(o->own[N_EXPERTS], 1), num_max(o->own[N_USED], 1), threads);
}

/* Bytes of shared memory: of a workgroup, and of each of its rows. */
struct shared {
    uint64_t fixed, row;
};

static struct shared shared_of(const struct gpu *g, const struct over_matrix *o, uint32_t threads)
{
    const struct vk_caps *c = vk_caps(g->vk);
    const uint64_t n_subgroups = most_subgroups(c, threads);
    const uint64_t table = threads >= COPIES_THREADS ? COPIES_BYTES : TABLE_BYTES;
    return (struct shared){n_subgroups * SUMS_BYTES + OTHER_BYTES +
                               (needs_table(g, o) ? table : 0) + own_shared(c, o, threads),
                           row_words(g, o) * 4 + n_subgroups * SQUARES_BYTES +
                               sizeof(float) /* the head's key */};
}

/* Whether rows that do not fit into shared memory can go through prefill.c however few they are:
 * that multiplies with one type, and does not choose experts. */
static bool takes_wide(const struct step *s)
{
    switch (s->kind) {
    case STEP_PROJECT: return s->n_of_type == s->n_outs;
    case STEP_GLU: return s->op->glu.gate->type == s->op->glu.up->type;
    case STEP_ADD_PROJECT:
    case STEP_EXPERTS_DOWN:
    case STEP_HEAD: return true;
    default: return false;
    }
}

static uint64_t n_groups(const struct gpu *g, const struct weight *w)
{
    return matrix_of(g, w)->n_groups;
}

/* How a workgroup shares out its work. */
struct shape {
    uint32_t n_teams, threads;
};

static bool fits(const struct gpu *g, const struct over_matrix *o, uint32_t threads)
{
    const struct vk_caps *c = vk_caps(g->vk);
    const struct shared bytes = shared_of(g, o, threads);
    return threads <= num_min(MOST_THREADS, c->max_workgroup) &&
           bytes.fixed + bytes.row <= c->shared_bytes;
}

/* Whether the shader knows more than one team, see shaders/matrix.glsl. */
static bool has_teams(enum vk_shader shader)
{
    return shader == VK_SHADER_PROJECT || shader == VK_SHADER_GLU;
}

/* For one row, where all groups fit into the device at once with more threads: as many of these as
 * do, which wait for less memory, each; else as many teams as leave no core more to do than one by
 * one, so that what they share is made once. Where a core has more groups, which was not measured,
 * there are no teams. */
static struct shape shape_of(const struct gpu *g, const struct over_matrix *o)
{
    const uint64_t n_cores = vk_caps(g->vk)->n_cores, room = n_cores * CORE_THREADS;
    struct shape s = {1, THREADS};
    while (o->n_groups && 2 * s.threads * o->n_groups <= room && fits(g, o, 2 * s.threads))
        s.threads *= 2;
    if (!has_teams(o->shader) || s.threads > THREADS || o->n_groups > TEAM_GROUPS * n_cores)
        return s;
    const uint64_t least = (o->n_groups + n_cores - 1) / n_cores;
    for (uint32_t n = 2; fits(g, o, n * THREADS); n++) {
        const uint64_t n_workgroups = (o->n_groups + n - 1) / n;
        if (n * ((n_workgroups + n_cores - 1) / n_cores) <= least)
            s = (struct shape){n, n * THREADS};
    }
    return s;
}

static bool add_over_matrix(struct gpu *g, const struct over_matrix *o, struct step *s, int which,
                            struct err *e)
{
    const struct matrix *m = matrix_of(g, o->w);
    const uint64_t room = vk_caps(g->vk)->shared_bytes;
    const struct shape shape = which == 0 ? shape_of(g, o) : (struct shape){1, THREADS};
    const struct shared bytes = shared_of(g, o, shape.threads);
    const uint64_t fixed = bytes.fixed, row = bytes.row;
    uint32_t n_tokens = o->n_tokens;
    while (n_tokens > 1 && fixed + n_tokens * row > room)
        n_tokens /= 2;
    if (fixed + n_tokens * row > room) {
        s->is_wide = takes_wide(s);
        return s->is_wide ||
               err_set(e, ERR_UNSUPPORTED,
                       "tensor '%.*s': rows of %u columns need %llu bytes of shared memory, the "
                       "device has %llu: use the cpu backend",
                       STRF(o->w->name), m->n_cols, (unsigned long long)(fixed + row),
                       (unsigned long long)room);
    }
    struct vk_pipeline_spec spec = {.shader = (uint16_t)o->shader,
                                    .n_consts = (uint16_t)(5 + o->n_own),
                                    .threads = shape.threads == THREADS ? 0 : shape.threads};
    spec.consts[0] = (uint32_t)m->layout;
    spec.consts[1] = m->n_cols;
    spec.consts[2] = n_tokens;
    spec.consts[3] = shape.n_teams;
    spec.consts[4] = (uint32_t)num_max(o->n_parts, 1);
    memcpy(spec.consts + 5, o->own, o->n_own * sizeof *o->own);
    if (o->second) {
        spec.consts[TYPE_2] = (uint32_t)matrix_of(g, o->second)->layout;
        spec.n_consts = TYPE_2 + 1;
    }
    s->pipeline[which] = step_spec(g, &spec);
    s->n_tokens[which] = n_tokens;
    s->n_teams[which] = shape.n_teams;
    return true;
}

/* Both pipelines of a step: one row, and up to MOST_TOKENS. */
static bool add_both(struct gpu *g, struct over_matrix o, struct step *s, struct err *e)
{
    const uint32_t most = vk_caps(g->vk)->is_software
                              ? (uint32_t)num_min(o.n_tokens, MOST_TOKENS_SOFTWARE)
                              : o.n_tokens;
    o.n_tokens = 1;
    if (!add_over_matrix(g, &o, s, 0, e))
        return false;
    o.n_tokens = most;
    return add_over_matrix(g, &o, s, 1, e);
}

bool step_over_heads(struct gpu *g, const struct weight *w, struct step *s, struct err *e)
{
    return add_both(
        g, (struct over_matrix){VK_SHADER_HEAD_PRODUCT, w, 1, MOST_TOKENS, {0}, 0, NULL, 0}, s, e);
}

/* ---- steps ----------------------------------------------------------------------------------- */

struct step *step_add(struct gpu *g, enum step_kind kind, const struct op *op)
{
    struct step *s = &g->steps[g->n_steps++];
    *s = (struct step){.kind = kind, .op = op};
    return s;
}

static bool add_embed(struct gpu *g, const struct op *op, struct err *e)
{
    struct step *s = step_add(g, STEP_EMBED, op);
    s->touched.writes = step_slot(op->embed.x) | 1ull << BIT_LOGITS;
    return add_both(
        g, (struct over_matrix){VK_SHADER_EMBED, op->embed.table, 0, 1, {0}, 0, NULL, 0}, s, e);
}

/* Whether a dispatch can have outputs of both types, see TYPE_2 of shaders/weights.glsl. */
static bool go_together(const struct gpu *g, const struct weight *a, const struct weight *b)
{
    const struct matrix *m = matrix_of(g, a), *n = matrix_of(g, b);
    if (m->layout == n->layout)
        return true;
    const bool both_tables = has_table(m->layout) && has_table(n->layout);
    const bool one_table = (m->layout == LAYOUT_MXFP4) == (n->layout == LAYOUT_MXFP4);
    return !matrix_is_float(m) && !matrix_is_float(n) && (!both_tables || one_table);
}

static void take_out(struct step *s, uint32_t i)
{
    s->outs[s->n_outs++] = i;
    s->touched.writes |= step_slot(s->op->project.out[i].out);
}

/* The outputs from number i on that are not done yet: those of its type, then, for few rows, those
 * of one other. */
static bool add_project_step(struct gpu *g, const struct op *op, uint32_t i, bool few,
                             uint32_t *done, struct err *e)
{
    const struct op_project *o = &op->project;
    const struct weight *first = o->out[i].w, *second = NULL;
    struct step *s = step_add(g, STEP_PROJECT, op);
    s->touched.reads = step_slot(o->in);
    for (int pass = 0; pass < 1 + few; pass++)
        for (uint32_t j = i; j < o->n_out && s->n_outs < MOST_OUTS; j++) {
            const struct weight *w = o->out[j].w;
            const bool is_first = w->type == first->type;
            if (*done >> j & 1 || is_first != (pass == 0) ||
                (!is_first && (!go_together(g, first, w) || (second && w->type != second->type))))
                continue;
            second = is_first ? second : w;
            s->n_of_type += is_first;
            *done |= 1u << j;
            take_out(s, j);
        }
    struct over_matrix m = {VK_SHADER_PROJECT, first, 1,      MOST_TOKENS,
                            {o->norm != NULL}, 1,     second, 0};
    for (uint32_t j = 0; j < s->n_outs; j++)
        m.n_groups += n_groups(g, o->out[s->outs[j]].w);
    return add_both(g, m, s, e);
}

/* As few dispatches as the types allow: each costs some microseconds. Many rows go through a
 * product of one type each. */
static bool add_project(struct gpu *g, const struct op *op, struct err *e)
{
    const struct op_project *o = &op->project;
    for (int few = 1; few >= 0; few--) {
        uint32_t done = 0;
        for (uint32_t i = 0; i < o->n_out; i++) {
            if (done >> i & 1)
                continue;
            if (!add_project_step(g, op, i, few, &done, e))
                return false;
            struct step *s = &g->steps[g->n_steps - 1];
            s->max_rows = few ? FEW_TOKENS : 0;
            s->min_rows = few ? 0 : FEW_TOKENS + 1;
        }
    }
    return true;
}

/* Of two types that do not go together, in two steps of which the second needs the first. s: fresh;
 * m: with the gate's matrix. */
static bool add_gate_and_up(struct gpu *g, struct step *s, struct touched touched,
                            struct over_matrix m, const struct weight *up, struct err *e)
{
    enum { PART = 12 - 5 }; /* of over_matrix.own, see shaders/glu.comp */
    const struct weight *gate = m.w;
    s->touched = touched;
    if (gate->type == up->type)
        return add_both(g, m, s, e);
    /* What constants follow is not left as it is: lengths, of which none may be 0. */
    if (m.n_own <= N_EXPERTS)
        m.own[N_EXPERTS] = m.own[N_USED] = m.own[N_SPLITS] = 1;
    m.n_own = (uint32_t)num_max(m.n_own, N_SPLITS + 1);
    if (go_together(g, gate, up)) {
        m.second = up;
        return add_both(g, m, s, e);
    }
    const struct step fresh = *s;
    m.n_own = PART + 1;
    m.own[PART] = 1;
    m.w = up;
    if (!add_both(g, m, s, e))
        return false;
    s = &g->steps[g->n_steps++];
    *s = fresh;
    s->touched.reads |= touched.writes;
    m.own[PART] = 2;
    m.w = gate;
    return add_both(g, m, s, e);
}

/* Behind a router, over the rows that it normalises (a shared expert), few rows are normalised once
 * more instead of waited for: so both are one phase. */
static bool add_glu(struct gpu *g, const struct op *op, struct err *e)
{
    const struct op_glu *o = &op->glu;
    const struct op *before = op > g->plan->ops ? op - 1 : NULL;
    struct step *s = step_add(g, STEP_GLU, op);
    if (before && before->kind == OP_ROUTE && before->route.normed == o->in)
        s->route = &before->route;
    const struct touched touched = {step_slot(s->route ? s->route->x : o->in), step_slot(o->out)};
    const struct over_matrix m = {.shader = VK_SHADER_GLU,
                                  .w = o->gate,
                                  .n_parts = 1,
                                  .n_tokens = MOST_TOKENS / 2,
                                  .own = {s->route || o->norm, o->act},
                                  .n_own = 2,
                                  .n_groups = n_groups(g, o->gate)};
    return add_gate_and_up(g, s, touched, m, o->up, e);
}

/* The experts that a router's logits choose among when both are of one plan: then few rows are
 * routed by those who read the experts, see shaders/glu.comp. NULL: none, or so many that ranking
 * them in every workgroup takes longer than waiting for one that does. */
static const struct op_experts_up *find_experts(const struct plan *p, const struct op *route)
{
    const struct op *end = p->ops + (route->route.n_expert > MOST_RANKED ? 0 : p->n_ops);
    for (const struct op *op = route + 1; op < end && op->kind != OP_ROUTE; op++)
        if (op->kind == OP_EXPERTS_UP && op->experts_up.ids == route->route.ids)
            return &op->experts_up;
    return NULL;
}

static const struct op_route *find_route(const struct plan *p, const struct op *up)
{
    for (const struct op *op = up; op-- > p->ops;)
        if (op->kind == OP_ROUTE)
            return find_experts(p, op) == &up->experts_up ? &op->route : NULL;
    return NULL;
}

/* Whether somebody but the experts reads what the router has normalised. */
static bool is_read_elsewhere(const struct plan *p, const struct op *route)
{
    for (const struct op *op = route + 1; op < p->ops + p->n_ops && op->kind != OP_ROUTE; op++)
        if ((op->kind == OP_GLU && op->glu.in == route->route.normed) ||
            (op->kind == OP_ADD_PROJECT && op->add_project.gate &&
             op->add_project.gate_in == route->route.normed))
            return true;
    return false;
}

/* The router of the rows that op makes, if its logits can be made with them, 16 elements a
 * workgroup, see shaders/route_share.glsl: then few rows need no step for them. NULL: none. */
static const struct op_route *find_shared_route(const struct gpu *g, const struct op *op)
{
    const struct plan *p = g->plan;
    const struct op_add_project *o = &op->add_project;
    const struct op *next = op + 1 < p->ops + p->n_ops ? op + 1 : NULL;
    if (!next || next->kind != OP_ROUTE || next->route.x != o->x || o->gate ||
        p->ops->kind != OP_EMBED /* which clears the sums */)
        return NULL;
    const struct op_route *route = &next->route;
    return matrix_is_float(matrix_of(g, route->router)) && route->router->ne[0] == o->w->ne[1] &&
                   o->w->ne[1] % 16 == 0 && find_experts(p, next) && !is_read_elsewhere(p, next)
               ? route
               : NULL;
}

static bool add_add_project(struct gpu *g, const struct op *op, struct err *e)
{
    const struct op_add_project *o = &op->add_project;
    struct step *s = step_add(g, STEP_ADD_PROJECT, op);
    s->touched.reads = step_slot(o->in) | step_slot(o->x) | (o->gate ? step_slot(o->gate_in) : 0);
    s->touched.writes = step_slot(o->x);
    struct over_matrix m = {VK_SHADER_ADD_PROJECT, o->w, 1, MOST_TOKENS, {0}, 0, NULL,
                            n_groups(g, o->w)};
    const struct op_route *route = find_shared_route(g, op);
    if (!route)
        return add_both(g, m, s, e);
    s->route = route;
    s->shares_from = g->share_bytes;
    g->share_bytes += (uint64_t)route->n_expert * sizeof(int64_t);
    s->touched.writes |= 1ull << BIT_LOGITS;
    m.own[0] = (uint32_t)matrix_of(g, route->router)->layout;
    m.own[SHARED_EXPERTS] = route->n_expert;
    m.n_own = 2;
    return add_both(g, m, s, e);
}

static uint32_t route_splits(const struct op_route *o)
{
    return (uint32_t)num_min(ROUTE_SPLITS, 1 + (o->router->ne[0] - 1) / FLOAT_SPLIT_COLS);
}

static bool add_route_step(struct gpu *g, const struct op *op, bool chooses, struct err *e)
{
    const struct op_route *o = &op->route;
    struct step *s = step_add(g, STEP_ROUTE, op);
    s->touched.reads = step_slot(o->x);
    s->touched.writes = step_slot(o->normed) | 1ull << BIT_LOGITS;
    if (chooses)
        s->touched.writes |= step_slot(o->ids) | step_slot(o->weights);
    s->min_rows = chooses && find_experts(g->plan, op) ? FEW_TOKENS + 1 : 0;
    s->max_rows = chooses ? 0 : FEW_TOKENS;
    s->n_splits = route_splits(o);
    const struct over_matrix m = {VK_SHADER_ROUTE,
                                  o->router,
                                  1,
                                  1,
                                  {chooses, 0, o->n_expert, o->n_used, o->gating, s->n_splits},
                                  6,
                                  NULL,
                                  n_groups(g, o->router) * s->n_splits};
    return add_both(g, m, s, e);
}

/* The step that makes the logits of the route with its own rows; NULL: none. */
static const struct step *find_sharer(const struct gpu *g, const struct op_route *route)
{
    for (uint32_t i = g->n_steps; i-- > 0;)
        if (g->steps[i].kind == STEP_ADD_PROJECT && g->steps[i].route == route)
            return g->steps[i].is_wide ? NULL : &g->steps[i];
    return NULL;
}

static bool add_route(struct gpu *g, const struct op *op, struct err *e)
{
    const bool has_few = find_experts(g->plan, op) && !find_sharer(g, &op->route);
    return (!has_few || add_route_step(g, op, false, e)) && add_route_step(g, op, true, e);
}

static bool add_experts_up_step(struct gpu *g, const struct op *op, const struct op_route *route,
                                struct err *e)
{
    const struct op_experts_up *o = &op->experts_up;
    struct step *s = step_add(g, STEP_EXPERTS_UP, op);
    struct over_matrix m = {VK_SHADER_GLU, o->gate, 1,    1,
                            {0, o->act},   2,       NULL, n_groups(g, o->gate) * o->n_used};
    struct touched touched = {step_slot(o->in) | step_slot(o->ids), step_slot(o->out)};
    s->max_rows = route ? FEW_TOKENS : 0;
    s->min_rows = !route && find_route(g->plan, op) ? FEW_TOKENS + 1 : 0;
    if (route) {
        const struct step *sharer = find_sharer(g, route);
        s->is_shared = sharer != NULL;
        s->shares_from = sharer ? sharer->shares_from : 0;
        const uint32_t own[] = {
            s->is_shared,        o->act, route->n_expert, route->n_used, route->gating,
            route_splits(route), 1};
        memcpy(m.own, own, sizeof own);
        m.n_own = sizeof own / sizeof *own;
        s->route = route;
        touched.reads |= 1ull << BIT_LOGITS | (s->is_shared ? step_slot(route->x) : 0);
        touched.writes |= step_slot(o->ids) | step_slot(route->weights);
    }
    return add_gate_and_up(g, s, touched, m, o->up, e);
}

static bool add_experts_up(struct gpu *g, const struct op *op, struct err *e)
{
    const struct op_route *route = find_route(g->plan, op);
    return (!route || add_experts_up_step(g, op, route, e)) && add_experts_up_step(g, op, NULL, e);
}

static bool add_experts_down(struct gpu *g, const struct op *op, struct err *e)
{
    const struct op_experts_down *o = &op->experts_down;
    struct step *s = step_add(g, STEP_EXPERTS_DOWN, op);
    s->touched.reads =
        step_slot(o->in) | step_slot(o->ids) | step_slot(o->weights) | step_slot(o->x);
    s->touched.writes = step_slot(o->x);
    const struct over_matrix m = {VK_SHADER_EXPERTS_DOWN, o->down, o->n_used, 1, {0}, 0, NULL,
                                  n_groups(g, o->down)};
    return add_both(g, m, s, e);
}

static bool add_head(struct gpu *g, const struct op *op, struct err *e)
{
    struct step *s = step_add(g, STEP_HEAD, op);
    s->touched.reads = step_slot(op->head.x);
    const struct over_matrix m = {VK_SHADER_HEAD, op->head.w, 1, MOST_TOKENS, {0}, 0, NULL, 0};
    return add_both(g, m, s, e);
}

static bool add_op(struct gpu *g, const struct op *op, struct err *e)
{
    switch (op->kind) {
    case OP_EMBED: return add_embed(g, op, e);
    case OP_PROJECT: return add_project(g, op, e);
    case OP_ATTEND: return attention_add(g, op, e);
    case OP_ADD_PROJECT: return add_add_project(g, op, e);
    case OP_GLU: return add_glu(g, op, e);
    case OP_ROUTE: return add_route(g, op, e);
    case OP_EXPERTS_UP: return add_experts_up(g, op, e);
    case OP_EXPERTS_DOWN: return add_experts_down(g, op, e);
    case OP_HEAD: return add_head(g, op, e);
    case OP_DELTA_NET: delta_add(g, op); return true;
    case OP_ATTEND_MLA: return latent_add(g, op, e);
    case OP_KIND_COUNT: break;
    }
    return true;
}

bool program_make(struct gpu *g, struct err *e)
{
    g->steps = mem_new(g->plan->n_ops * MOST_STEPS_PER_OP, sizeof *g->steps);
    for (size_t i = 0; i < g->plan->n_ops; i++)
        if (!add_op(g, &g->plan->ops[i], e))
            return false;
    for (uint32_t i = 0; i < g->n_steps; i++) {
        struct step *s = &g->steps[i];
        if (g->params.n_ubatch > FEW_TOKENS || s->is_wide)
            prefill_add(g, s);
        if (s->is_wide && !s->many.is_there)
            return err_set(e, ERR_UNSUPPORTED,
                           "layer %u: the rows of %s do not fit into the device's %u bytes of "
                           "shared memory: use the cpu backend",
                           s->op->layer, op_name(s->op->kind), vk_caps(g->vk)->shared_bytes);
    }
    pick_add(g);
    return true;
}

bool program_compile(struct gpu *g, struct err *e)
{
    g->pipelines = mem_new(g->n_specs, sizeof *g->pipelines);
    return vk_pipelines_make(g->vk, g->specs, g->n_specs, g->pipelines, e);
}

/* ---- scratch --------------------------------------------------------------------------------- */

uint64_t program_route_floats(const struct gpu *g)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < g->n_steps; i++)
        if (g->steps[i].kind == STEP_ROUTE)
            most = num_max(most, (uint64_t)g->steps[i].op->route.n_expert * g->steps[i].n_splits);
    return most * g->params.n_ubatch;
}

uint64_t program_counters(const struct gpu *g)
{
    uint64_t most = 1;
    for (uint32_t i = 0; i < g->n_steps; i++)
        if (g->steps[i].kind == STEP_ATTEND || g->steps[i].kind == STEP_LATENT_ATTEND)
            most = num_max(most, g->steps[i].n_groups);
        else if (g->steps[i].kind == STEP_DELTA)
            most = num_max(most, g->steps[i].op->delta_net.n_v_head);
    return most * g->params.n_ubatch;
}
