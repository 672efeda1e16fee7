/* Matrices over many rows (prompts): shaders/gemm.glsl and what goes before and behind it.
 *
 * A step becomes up to three dispatches with barriers between: its rows are normalised and written
 * side by side (rows.comp), for experts the chosen ones are sorted into tiles (tiles.comp); the
 * product; for experts_down the weighted sum in a fixed order (combine.comp), for a router the
 * choice (choose.comp). */
#include <string.h>

#include "base/num.h"
#include "compute/vulkan/steps.h"
#include "compute/vulkan/vk_shaders.h"

enum {
    TILE_ROWS = 128,    /* outputs of a workgroup */
    LEAST_TILE = 32,    /* rows of a workgroup; twice and four times that, too */
    MOST_FMA_TILE = 64, /* more sums than that and a thread runs out of registers */
    SOFTWARE_TILE = 64, /* the only one there, where compiling takes longer than running */
    SOFTWARE_FMA_TILE = 32,
    ENOUGH_WORKGROUPS = 256, /* smaller tiles are better than fewer workgroups */
    MATRIX_SUBGROUP = 32,
    TABLE_BYTES = 1024, /* of pairs of code values */
    TABLE_TILES_AT = 16,
};

enum gemm_kind { GEMM_STORE, GEMM_ADD, GEMM_GLU };

static uint32_t tile_of(int i)
{
    return (uint32_t)LEAST_TILE << i;
}

static uint32_t subgroup(const struct vk_caps *c)
{
    return (uint32_t)num_min(num_max(MATRIX_SUBGROUP, c->subgroup_min), c->subgroup_max);
}

/* Whether products of this matrix go through cooperative matrices. Floats do not: halves would
 * round them. */
static bool has_matrices(const struct gpu *g, const struct matrix *m)
{
    const struct vk_caps *c = vk_caps(g->vk);
    return c->matrix_m && c->matrix_m <= 16 && c->matrix_n <= 16 && c->matrix_k <= 32 &&
           !matrix_is_float(m);
}

/* Shared memory of gemm.glsl. */
static uint64_t shared_bytes(const struct vk_caps *c, bool matrices, uint32_t tile, uint32_t step)
{
    const uint64_t pitch = matrices ? (step * 8 + 2) * 8 : (step * 8 + 1) * 16;
    const uint64_t out = THREADS / subgroup(c) * c->matrix_m * c->matrix_n * sizeof(float);
    return (TILE_ROWS + tile) * pitch + tile * 3 * sizeof(uint32_t) + TABLE_BYTES +
           (matrices ? out : 0);
}

/* The product with tiles of this size, or NO_PIPELINE where the device cannot. */
static uint32_t gemm_spec(struct gpu *g, const struct matrix *m, enum gemm_kind kind,
                          uint32_t activation, uint32_t tile, bool has_tiles, uint32_t n_splits)
{
    const struct vk_caps *c = vk_caps(g->vk);
    const bool matrices = has_matrices(g, m);
    const uint32_t n_subgroups = THREADS / subgroup(c);
    uint32_t step = matrices ? 2 : 1;
    if (shared_bytes(c, matrices, tile, step) > c->shared_bytes)
        step = 1;
    if (shared_bytes(c, matrices, tile, step) > c->shared_bytes)
        return NO_PIPELINE;
    if (matrices && tile * 4 / n_subgroups % c->matrix_n)
        return NO_PIPELINE;
    if (!matrices && tile > MOST_FMA_TILE)
        return NO_PIPELINE;
    struct vk_pipeline_spec spec = {
        .shader = matrices ? VK_SHADER_GEMM_MATRIX : VK_SHADER_GEMM,
        .n_consts = 15,
        .consts = {(uint32_t)m->layout, m->n_cols, 1, 1, 1, kind, activation, tile, step},
    };
    if (matrices) {
        spec.subgroup = subgroup(c);
        spec.consts[9] = c->matrix_m;
        spec.consts[10] = c->matrix_n;
        spec.consts[11] = c->matrix_k;
        spec.consts[12] = n_subgroups;
    }
    spec.consts[13] = has_tiles;
    spec.consts[14] = n_splits;
    return step_spec(g, &spec);
}

/* What a step multiplies. */
struct product {
    const struct weight *w;
    bool has_norm;
    enum gemm_kind kind;
    uint32_t activation;
    uint32_t n_expert, n_used; /* 0: no experts */
    uint32_t n_splits;         /* of the columns; 0: none */
    uint32_t per_row;          /* rows of the matrix's input for each row of the batch */
};

static bool product_of(const struct step *s, struct product *out)
{
    const struct op *op = s->op;
    switch (s->kind) {
    case STEP_PROJECT:
        *out = (struct product){.w = op->project.out[s->outs[0]].w,
                                .has_norm = op->project.norm != NULL};
        break;
    case STEP_HEAD: *out = (struct product){.w = op->head.w, .has_norm = true}; break;
    case STEP_ROUTE:
        *out = (struct product){.w = op->route.router, .has_norm = true, .n_splits = s->n_splits};
        break;
    case STEP_ADD_PROJECT: *out = (struct product){.w = op->add_project.w, .kind = GEMM_ADD}; break;
    case STEP_GLU:
        if (op->glu.gate->type != op->glu.up->type)
            return false;
        *out = (struct product){.w = op->glu.gate,
                                .has_norm = op->glu.norm != NULL,
                                .kind = GEMM_GLU,
                                .activation = op->glu.act};
        break;
    case STEP_EXPERTS_UP:
        if (op->experts_up.gate->type != op->experts_up.up->type)
            return false;
        *out = (struct product){.w = op->experts_up.gate,
                                .kind = GEMM_GLU,
                                .activation = op->experts_up.act,
                                .n_used = op->experts_up.n_used};
        break;
    case STEP_EXPERTS_DOWN:
        *out = (struct product){.w = op->experts_down.down, .n_used = op->experts_down.n_used};
        break;
    default: return false;
    }
    out->n_expert = out->n_used ? (uint32_t)out->w->ne[2] : 0;
    out->per_row = s->kind == STEP_EXPERTS_DOWN ? out->n_used : 1;
    return true;
}

void prefill_add(struct gpu *g, struct step *s)
{
    struct product p;
    if ((s->max_rows && s->max_rows <= FEW_TOKENS && !s->is_wide) || !product_of(s, &p))
        return;
    const struct matrix *m = &g->weights.matrices[p.w->index];
    struct many_rows *many = &s->many;
    if (m->n_cols % BLOCK_COLS)
        return; /* floats of a toy */
    if (s->kind == STEP_ROUTE && has_matrices(g, m))
        return; /* the normalised rows go to a slot, which holds floats */
    for (int i = 0; i < N_TILES; i++) {
        const uint32_t tile = tile_of(i);
        const bool skipped = vk_caps(g->vk)->is_software &&
                             tile != (has_matrices(g, m) ? SOFTWARE_TILE : SOFTWARE_FMA_TILE);
        many->gemm[i] = skipped ? NO_PIPELINE
                                : gemm_spec(g, m, p.kind, p.activation, tile, p.n_expert > 0,
                                            (uint32_t)num_max(p.n_splits, 1));
        if (many->gemm[i] == NO_PIPELINE)
            continue;
        many->is_there = true;
        if (p.n_expert)
            many->tiles[i] = step_spec(g, &(struct vk_pipeline_spec){.shader = VK_SHADER_TILES,
                                                                     .n_consts = 2,
                                                                     .consts = {p.n_expert, tile}});
    }
    if (!many->is_there)
        return;
    many->rows = step_spec(
        g, &(struct vk_pipeline_spec){
               .shader = VK_SHADER_ROWS,
               .n_consts = 4,
               .consts = {m->n_cols, p.has_norm, has_matrices(g, m), s->kind == STEP_HEAD}});
    if (s->kind == STEP_ROUTE)
        many->behind =
            step_spec(g, &(struct vk_pipeline_spec){
                             .shader = VK_SHADER_CHOOSE,
                             .n_consts = 11,
                             .consts = {0, 0, 0, 0, 0, 0, 0, s->op->route.n_expert,
                                        s->op->route.n_used, s->op->route.gating, s->n_splits}});
    if (s->kind == STEP_EXPERTS_DOWN)
        many->behind =
            step_spec(g, &(struct vk_pipeline_spec){
                             .shader = VK_SHADER_COMBINE, .n_consts = 1, .consts = {p.n_used}});
}

/* ---- scratch --------------------------------------------------------------------------------- */

static uint64_t most_tiles(uint64_t n_pairs, uint32_t n_expert)
{
    return n_pairs / LEAST_TILE + num_min(n_expert, n_pairs);
}

struct many_room prefill_room(const struct gpu *g)
{
    struct many_room room = {0};
    for (uint32_t i = 0; i < g->n_steps; i++) {
        const struct step *s = &g->steps[i];
        struct product p;
        if (!s->many.is_there || !product_of(s, &p))
            continue;
        const struct matrix *m = &g->weights.matrices[p.w->index];
        const uint64_t n = s->kind == STEP_HEAD ? HEAD_ROWS : g->params.n_ubatch;
        const uint64_t n_pairs = n * p.n_used, n_rows = n * p.per_row;
        if (s->kind != STEP_ROUTE)
            room.rows = num_max(room.rows, n_rows * m->n_cols * (has_matrices(g, m) ? 2 : 4));
        room.scales = num_max(room.scales, n_rows * 2 * sizeof(float));
        if (s->kind == STEP_EXPERTS_DOWN)
            room.parts = num_max(room.parts, n_pairs * m->n_rows * sizeof(float));
        if (p.n_expert)
            room.table = num_max(room.table, TABLE_TILES_AT + 16 * most_tiles(n_pairs, p.n_expert) +
                                                 n_pairs * sizeof(uint32_t));
    }
    return room;
}

/* ---- recording ------------------------------------------------------------------------------- */

struct push_rows {
    address from, norm, map, gate, gate_in, to, scales;
    float eps;
    uint32_t n_gate;
};

struct push_gemm {
    address rows, scales, matrix, up, bias, up_bias, tiles, pairs, to;
    uint32_t n_out, n_groups, n_used, n_rows;
};

static uint32_t rows_of(const struct recorder *r, const struct step *s)
{
    return s->kind == STEP_HEAD ? r->n_wanted : r->n_rows;
}

bool prefill_takes(const struct recorder *r, const struct step *s)
{
    return s->many.is_there && (s->is_wide || rows_of(r, s) > FEW_TOKENS);
}

static address room_at(const struct recorder *r, uint64_t at)
{
    return r->g->scratch.address + at;
}

/* The tile: at most twice the rows of an expert, whose weights are then unpacked once, and small
 * enough that there are workgroups for a whole device. The largest is for full tiles alone: its
 * sums take so many registers that a core may have no other workgroup to run where half of this
 * one rests. */
static int choose_tile(const struct step *s, uint32_t n_rows, uint32_t n_x)
{
    struct product p;
    product_of(s, &p);
    const uint32_t n_pairs = n_rows * (p.n_expert ? p.n_used : 1);
    const uint32_t mean = n_pairs / (p.n_expert ? p.n_expert : 1);
    int best = -1;
    for (int i = 0; i < N_TILES; i++) {
        const uint32_t tile = tile_of(i);
        const uint64_t n = (uint64_t)n_x * ((n_pairs + tile - 1) / tile);
        const uint32_t most = i == N_TILES - 1 ? mean : 2 * mean;
        const bool is_good = tile <= most && n >= ENOUGH_WORKGROUPS;
        if (s->many.gemm[i] != NO_PIPELINE && (best < 0 || is_good))
            best = i;
    }
    return best;
}

static void put_rows(struct recorder *r, const struct step *s, uint32_t n)
{
    const struct op *op = s->op;
    struct push_rows push = {.to = room_at(r, r->g->many_at.rows),
                             .scales = room_at(r, r->g->many_at.scales)};
    switch (s->kind) {
    case STEP_PROJECT:
        push.from = recorder_slot(r, op->project.in);
        push.norm = gpu_vector(r->g, op->project.norm);
        push.eps = op->project.eps;
        break;
    case STEP_HEAD:
        push.from = recorder_slot(r, op->head.x);
        push.norm = gpu_vector(r->g, op->head.norm);
        push.eps = op->head.eps;
        push.map = recorder_input(r, INPUT_WANTED) + r->first_wanted * sizeof(uint32_t);
        break;
    case STEP_ADD_PROJECT:
        push.from = recorder_slot(r, op->add_project.in);
        push.gate = gpu_vector(r->g, op->add_project.gate);
        if (op->add_project.gate) {
            push.gate_in = recorder_slot(r, op->add_project.gate_in);
            push.n_gate = (uint32_t)op->add_project.gate->ne[0];
        }
        break;
    case STEP_GLU:
        push.from = recorder_slot(r, op->glu.in);
        push.norm = gpu_vector(r->g, op->glu.norm);
        push.eps = op->glu.eps;
        break;
    case STEP_ROUTE:
        push.from = recorder_slot(r, op->route.x);
        push.norm = gpu_vector(r->g, op->route.norm);
        push.eps = op->route.eps;
        push.to = recorder_slot(r, op->route.normed);
        break;
    case STEP_EXPERTS_UP: push.from = recorder_slot(r, op->experts_up.in); break;
    default: push.from = recorder_slot(r, op->experts_down.in); break;
    }
    DISPATCH(r, r->g->pipelines[s->many.rows], push, n, 1, 1);
}

static struct push_gemm gemm_push(const struct recorder *r, const struct weight *w, uint32_t n)
{
    const struct matrix *m = &r->g->weights.matrices[w->index];
    return (struct push_gemm){
        .rows = room_at(r, r->g->many_at.rows),
        .scales = room_at(r, r->g->many_at.scales),
        .matrix = gpu_matrix(r->g, w),
        .n_out = m->n_rows,
        .n_groups = m->n_groups,
        .n_used = 1,
        .n_rows = n,
    };
}

/* Workgroups along the outputs. */
static uint32_t n_along(const struct step *s, uint32_t n_out)
{
    const bool pairs = s->kind == STEP_GLU || s->kind == STEP_EXPERTS_UP;
    const uint32_t per = pairs ? TILE_ROWS / 2 : TILE_ROWS;
    return (n_out + per - 1) / per;
}

static void multiply(struct recorder *r, const struct step *s, const struct push_gemm *push)
{
    const uint32_t n_x = n_along(s, push->n_out);
    const int i = choose_tile(s, push->n_rows, n_x);
    DISPATCH(r, r->g->pipelines[s->many.gemm[i]], *push, n_x,
             (push->n_rows + tile_of(i) - 1) / tile_of(i), num_max(s->n_splits, 1));
}

static void dense(struct recorder *r, const struct step *s, uint32_t n)
{
    const struct op *op = s->op;
    if (s->kind == STEP_PROJECT) {
        for (uint32_t i = 0; i < s->n_outs; i++) {
            const uint32_t j = s->outs[i];
            struct push_gemm push = gemm_push(r, op->project.out[j].w, n);
            push.bias = gpu_vector(r->g, op->project.out[j].bias);
            push.to = recorder_slot(r, op->project.out[j].out);
            multiply(r, s, &push);
        }
        return;
    }
    const struct weight *w = s->kind == STEP_HEAD  ? op->head.w
                             : s->kind == STEP_GLU ? op->glu.gate
                                                   : op->add_project.w;
    struct push_gemm push = gemm_push(r, w, n);
    if (s->kind == STEP_HEAD) {
        push.to = room_at(r, gpu_logits_at(r->g, r->side));
    } else if (s->kind == STEP_GLU) {
        push.up = gpu_matrix(r->g, op->glu.up);
        push.bias = gpu_vector(r->g, op->glu.gate_bias);
        push.up_bias = gpu_vector(r->g, op->glu.up_bias);
        push.to = recorder_slot(r, op->glu.out);
    } else {
        push.bias = gpu_vector(r->g, op->add_project.bias);
        push.to = recorder_slot(r, op->add_project.x);
    }
    multiply(r, s, &push);
}

static void combine(struct recorder *r, const struct step *s)
{
    const struct op_experts_down *o = &s->op->experts_down;
    const struct {
        address parts, bias, ids, weights, x;
        uint32_t n_out;
    } push = {
        .parts = room_at(r, r->g->many_at.parts),
        .bias = gpu_vector(r->g, o->bias),
        .ids = recorder_slot(r, o->ids),
        .weights = recorder_slot(r, o->weights),
        .x = recorder_slot(r, o->x),
        .n_out = (uint32_t)o->down->ne[1],
    };
    vk_cmds_barrier_dispatches(r->cmds);
    DISPATCH(r, r->g->pipelines[s->many.behind], push, (push.n_out + THREADS - 1) / THREADS,
             r->n_rows, 1);
}

static void experts(struct recorder *r, const struct step *s)
{
    const bool is_up = s->kind == STEP_EXPERTS_UP;
    const struct op_experts_up *up = &s->op->experts_up;
    const struct op_experts_down *down = &s->op->experts_down;
    const struct weight *w = is_up ? up->gate : down->down;
    const uint32_t n_used = is_up ? up->n_used : down->n_used, n_pairs = r->n_rows * n_used;
    const uint64_t table = r->g->many_at.table;
    const uint32_t n_x = n_along(s, (uint32_t)w->ne[1]);
    const int i = choose_tile(s, r->n_rows, n_x);
    const struct {
        address ids, counts, tiles, pairs;
        uint32_t n_pairs, x;
    } sort = {
        .ids = recorder_slot(r, is_up ? up->ids : down->ids),
        .counts = room_at(r, table),
        .tiles = room_at(r, table + TABLE_TILES_AT),
        .pairs = room_at(r, table + TABLE_TILES_AT + 16 * most_tiles(n_pairs, (uint32_t)w->ne[2])),
        .n_pairs = n_pairs,
        .x = n_x,
    };
    DISPATCH(r, r->g->pipelines[s->many.tiles[i]], sort, 1, 1, 1);
    vk_cmds_barrier(r->cmds);
    struct push_gemm push = gemm_push(r, w, 0);
    push.tiles = sort.tiles;
    push.pairs = sort.pairs;
    if (is_up) {
        push.n_used = n_used;
        push.up = gpu_matrix(r->g, up->up);
        push.bias = gpu_vector(r->g, up->gate_bias);
        push.up_bias = gpu_vector(r->g, up->up_bias);
        push.to = recorder_slot(r, up->out);
    } else {
        push.to = room_at(r, r->g->many_at.parts);
    }
    vk_cmds_dispatch_indirect(r->cmds, r->g->pipelines[s->many.gemm[i]], &push, sizeof push,
                              &r->g->scratch, table);
    if (!is_up)
        combine(r, s);
}

static void route(struct recorder *r, const struct step *s)
{
    const struct op_route *o = &s->op->route;
    const struct {
        address partials, router_bias, select_bias, ids, weights;
        float scale;
    } push = {
        .partials = room_at(r, r->g->route_at),
        .router_bias = gpu_vector(r->g, o->bias),
        .select_bias = gpu_vector(r->g, o->select_bias),
        .ids = recorder_slot(r, o->ids),
        .weights = recorder_slot(r, o->weights),
        .scale = o->scale,
    };
    struct push_gemm product = gemm_push(r, o->router, r->n_rows);
    product.rows = recorder_slot(r, o->normed);
    product.to = push.partials;
    multiply(r, s, &product);
    vk_cmds_barrier_dispatches(r->cmds);
    DISPATCH(r, r->g->pipelines[s->many.behind], push, r->n_rows, 1, 1);
}

bool prefill_has_rows(const struct recorder *r, const struct step *s)
{
    return r->has_rows && r->has_rows->op == s->op && r->has_rows->many.rows == s->many.rows;
}

void prefill_record(struct recorder *r, const struct step *s)
{
    const uint32_t n = rows_of(r, s);
    const bool has_experts = s->kind == STEP_EXPERTS_UP || s->kind == STEP_EXPERTS_DOWN;
    if (!prefill_has_rows(r, s)) {
        put_rows(r, s, s->kind == STEP_EXPERTS_DOWN ? n * s->op->experts_down.n_used : n);
        if (!has_experts)
            vk_cmds_barrier_dispatches(r->cmds);
    }
    r->has_rows = s;
    if (has_experts)
        experts(r, s);
    else if (s->kind == STEP_ROUTE)
        route(r, s);
    else
        dense(r, s, n);
}
