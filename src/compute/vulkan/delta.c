/* The gated delta net: OP_DELTA_NET's steps, their commands, and the states. A single row takes one
 * step; several are convolved before and normalised behind it, because there a row's convolution
 * reads inputs of rows that other workgroups have. A few run the plain recurrence, many the chunked
 * form (spec "architectures" 6.4). */
#include "base/num.h"
#include "compute/vulkan/steps.h"
#include "compute/vulkan/vk_shaders.h"

enum {
    FUSED = 6,      /* number of the constant in shaders/delta.comp */
    PIECE = 32,     /* columns of a workgroup there */
    GATE_HEADS = 8, /* value heads of a workgroup of shaders/delta_gate.comp */
    /* See shaders/delta_chunk.glsl and delta_scan.comp. */
    CHUNK = 32,         /* rows */
    SCAN_COLUMNS = 16,  /* of a workgroup */
    KEY_TILE = 64,      /* of which a key has a whole number */
    N_FACTORS = 4,      /* of a row and value head */
    SCAN_SHARED = 17408 /* bytes beside the memory's */
};

static uint32_t n_channels(const struct op_delta_net *o)
{
    return 2 * o->n_k_head * o->d_k + o->n_v_head * o->d_v;
}

static uint32_t n_pieces(const struct op_delta_net *o)
{
    return (o->d_v + PIECE - 1) / PIECE;
}

/* Whether many rows of the op go in chunks. */
static bool has_chunks(const struct gpu *g, const struct op_delta_net *o)
{
    const struct vk_caps *c = vk_caps(g->vk);
    const uint64_t memory = (uint64_t)o->d_k * (SCAN_COLUMNS + 4) * sizeof(float);
    return o->d_k % KEY_TILE == 0 && o->d_v % PIECE == 0 && c->subgroup_min >= 8 &&
           memory + SCAN_SHARED <= c->shared_bytes;
}

/* ---- steps ----------------------------------------------------------------------------------- */

static void add_chunks(struct gpu *g, const struct op *op, struct vk_pipeline_spec spec,
                       uint64_t inputs)
{
    const uint64_t states = 1ull << BIT_CACHE;
    struct step *s = step_add(g, STEP_DELTA_CHUNK, op);
    s->min_rows = FEW_TOKENS + 1;
    s->touched = (struct touched){inputs | states, states};
    spec.shader = VK_SHADER_DELTA_CHUNK;
    s->pipeline[0] = s->pipeline[1] = step_spec(g, &spec);

    s = step_add(g, STEP_DELTA_SCAN, op);
    s->min_rows = FEW_TOKENS + 1;
    s->touched = (struct touched){states, step_slot(op->delta_net.out) | states};
    spec.shader = VK_SHADER_DELTA_SCAN;
    s->pipeline[0] = s->pipeline[1] = step_spec(g, &spec);
}

void delta_add(struct gpu *g, const struct op *op)
{
    const struct op_delta_net *o = &op->delta_net;
    const uint64_t inputs = step_slot(o->qkv) | step_slot(o->beta) | step_slot(o->alpha);
    const uint64_t states = 1ull << BIT_CACHE, out = step_slot(o->out), z = step_slot(o->z);
    struct vk_pipeline_spec spec = {
        .shader = VK_SHADER_DELTA_CONV,
        .n_consts = FUSED + 2,
        .consts = {o->d_k, o->d_v, o->n_k_head, o->n_v_head, o->n_conv, o->order == HEADS_TILED}};
    spec.consts[FUSED + 1] = o->beta == o->alpha;
    struct step *s = step_add(g, STEP_DELTA_CONV, op);
    s->min_rows = 2;
    s->touched = (struct touched){step_slot(o->qkv) | states, states};
    s->pipeline[0] = s->pipeline[1] = step_spec(g, &spec);

    if (has_chunks(g, o))
        add_chunks(g, op, spec, inputs);

    s = step_add(g, STEP_DELTA, op);
    s->max_rows = has_chunks(g, o) ? FEW_TOKENS : 0;
    s->touched = (struct touched){inputs | z | states, out | states};
    spec.shader = VK_SHADER_DELTA;
    s->pipeline[1] = step_spec(g, &spec);
    spec.consts[FUSED] = true;
    s->pipeline[0] = step_spec(g, &spec);

    s = step_add(g, STEP_DELTA_GATE, op);
    s->min_rows = 2;
    s->touched = (struct touched){out | z, out};
    spec.shader = VK_SHADER_DELTA_GATE;
    spec.consts[FUSED] = false;
    s->pipeline[0] = s->pipeline[1] = step_spec(g, &spec);
}

/* ---- commands -------------------------------------------------------------------------------- */

void delta_conv(struct recorder *r, const struct step *s)
{
    const struct op_delta_net *o = &s->op->delta_net;
    const struct {
        address qkv, ready, taps, history, pos, seq;
    } push = {
        .qkv = recorder_slot(r, o->qkv),
        .ready = r->g->scratch.address + r->g->ready_at,
        .taps = gpu_vector(r->g, o->conv),
        .history = r->g->states[o->state].history.address,
        .pos = recorder_input(r, INPUT_POS),
        .seq = recorder_input(r, INPUT_SEQ),
    };
    const uint32_t n = n_channels(o) % 4 == 0 ? n_channels(o) / 4 : n_channels(o);
    DISPATCH(r, r->g->pipelines[s->pipeline[1]], push, (n + THREADS - 1) / THREADS, r->n_rows, 1);
}

void delta_recur(struct recorder *r, const struct step *s)
{
    const struct op_delta_net *o = &s->op->delta_net;
    const struct gpu_state *state = &r->g->states[o->state];
    const struct {
        address qkv, ready, z, beta, alpha, to, taps, dt_bias, decay, norm, history, memory, pos,
            seq, counters;
        uint32_t n_rows;
        float eps;
    } push = {
        .qkv = recorder_slot(r, o->qkv),
        .ready = r->g->scratch.address + r->g->ready_at,
        .z = recorder_slot(r, o->z),
        .beta = recorder_slot(r, o->beta),
        .alpha = recorder_slot(r, o->alpha),
        .to = recorder_slot(r, o->out),
        .taps = gpu_vector(r->g, o->conv),
        .dt_bias = gpu_vector(r->g, o->dt_bias),
        .decay = gpu_vector(r->g, o->decay),
        .norm = gpu_vector(r->g, o->norm),
        .history = state->history.address,
        .memory = state->memory.address,
        .pos = recorder_input(r, INPUT_POS),
        .seq = recorder_input(r, INPUT_SEQ),
        .counters = r->g->scratch.address + r->g->counters_at,
        .n_rows = r->n_rows,
        .eps = o->eps,
    };
    const bool several = r->n_rows > 1;
    DISPATCH(r, r->g->pipelines[s->pipeline[several]], push, o->n_v_head * n_pieces(o),
             several ? r->g->params.n_seqs : 1, 1);
}

/* Behind the convolved rows: W, mixed and factors, see shaders/delta_chunk.comp. */
struct chunk_room {
    uint64_t known, mixed, factors, n_bytes;
};

static struct chunk_room chunk_room(const struct op_delta_net *o, uint64_t n_rows)
{
    struct chunk_room c;
    c.known = n_rows * n_channels(o) * sizeof(float);
    c.mixed = c.known + n_rows * o->n_v_head * o->d_k * sizeof(float);
    c.factors = c.mixed + n_rows * o->n_v_head * CHUNK * sizeof(float);
    c.n_bytes = c.factors + n_rows * o->n_v_head * N_FACTORS * sizeof(float);
    return c;
}

void delta_chunk(struct recorder *r, const struct step *s)
{
    const struct op_delta_net *o = &s->op->delta_net;
    const struct chunk_room room = chunk_room(o, r->g->params.n_ubatch);
    const address ready = r->g->scratch.address + r->g->ready_at;
    const struct {
        address rows, ready, known, mixed, factors, qkv, history, beta, alpha, dt_bias, decay,
            order, runs;
    } push = {
        .rows = ready,
        .ready = ready,
        .known = ready + room.known,
        .mixed = ready + room.mixed,
        .factors = ready + room.factors,
        .qkv = recorder_slot(r, o->qkv),
        .history = r->g->states[o->state].history.address,
        .beta = recorder_slot(r, o->beta),
        .alpha = recorder_slot(r, o->alpha),
        .dt_bias = gpu_vector(r->g, o->dt_bias),
        .decay = gpu_vector(r->g, o->decay),
        .order = recorder_input(r, INPUT_ORDER),
        .runs = attention_runs(r),
    };
    const uint32_t n_runs = (uint32_t)num_min(r->g->params.n_seqs, r->n_rows);
    DISPATCH(r, r->g->pipelines[s->pipeline[1]], push, o->n_k_head, r->n_rows / CHUNK + n_runs, 1);
}

void delta_scan(struct recorder *r, const struct step *s)
{
    const struct op_delta_net *o = &s->op->delta_net;
    const struct chunk_room room = chunk_room(o, r->g->params.n_ubatch);
    const address ready = r->g->scratch.address + r->g->ready_at;
    const struct {
        address rows, known, mixed, factors, to, memory, order, runs;
    } push = {
        .rows = ready,
        .known = ready + room.known,
        .mixed = ready + room.mixed,
        .factors = ready + room.factors,
        .to = recorder_slot(r, o->out),
        .memory = r->g->states[o->state].memory.address,
        .order = recorder_input(r, INPUT_ORDER),
        .runs = attention_runs(r),
    };
    DISPATCH(r, r->g->pipelines[s->pipeline[1]], push, o->n_v_head * (o->d_v / SCAN_COLUMNS),
             (uint32_t)num_min(r->g->params.n_seqs, r->n_rows), 1);
}

void delta_gate(struct recorder *r, const struct step *s)
{
    const struct op_delta_net *o = &s->op->delta_net;
    const struct {
        address to, z, norm;
        float eps;
    } push = {
        .to = recorder_slot(r, o->out),
        .z = recorder_slot(r, o->z),
        .norm = gpu_vector(r->g, o->norm),
        .eps = o->eps,
    };
    DISPATCH(r, r->g->pipelines[s->pipeline[1]], push, (o->n_v_head + GATE_HEADS - 1) / GATE_HEADS,
             r->n_rows, 1);
}

/* ---- memory ---------------------------------------------------------------------------------- */

uint64_t delta_history_bytes(const struct op_delta_net *o)
{
    return (uint64_t)o->n_conv * n_channels(o) * sizeof(float);
}

uint64_t delta_memory_bytes(const struct op_delta_net *o)
{
    return (uint64_t)o->n_v_head * n_pieces(o) * PIECE * o->d_k * sizeof(float);
}

uint64_t delta_state_bytes(const struct plan *p)
{
    uint64_t n = 0;
    for (size_t i = 0; i < p->n_ops; i++)
        if (p->ops[i].kind == OP_DELTA_NET)
            n += delta_history_bytes(&p->ops[i].delta_net) +
                 delta_memory_bytes(&p->ops[i].delta_net);
    return n;
}

enum { N_HALVES = 2 }; /* of a memory: head_of_memory of shaders/delta.glsl */

uint64_t delta_memory_at(const struct op_delta_net *o, uint32_t seq, uint32_t n_tokens)
{
    return ((uint64_t)seq * N_HALVES + n_tokens % N_HALVES) * delta_memory_bytes(o);
}

uint64_t delta_kept_bytes(const struct plan *p)
{
    uint64_t n = delta_state_bytes(p);
    for (size_t i = 0; i < p->n_ops; i++)
        if (p->ops[i].kind == OP_DELTA_NET)
            n += (N_HALVES - 1) * delta_memory_bytes(&p->ops[i].delta_net);
    return n;
}

bool delta_make_states(struct gpu *g, struct err *e)
{
    for (size_t i = 0; i < g->plan->n_ops; i++) {
        const struct op_delta_net *o = &g->plan->ops[i].delta_net;
        if (g->plan->ops[i].kind != OP_DELTA_NET)
            continue;
        struct gpu_state *s = &g->states[o->state];
        if (!vk_buffer_make(g->vk, VK_PLACE_DEVICE, g->params.n_seqs * delta_history_bytes(o),
                            "states", &s->history, e) ||
            !vk_buffer_make(g->vk, VK_PLACE_DEVICE, delta_memory_at(o, g->params.n_seqs, 0),
                            "states", &s->memory, e))
            return false;
    }
    return true;
}

uint64_t delta_ready_floats(const struct gpu *g)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < g->n_steps; i++) {
        const struct op_delta_net *o = &g->steps[i].op->delta_net;
        if (g->steps[i].kind == STEP_DELTA)
            most = num_max(most, has_chunks(g, o) ? chunk_room(o, 1).n_bytes / sizeof(float)
                                                  : n_channels(o));
    }
    return most * g->params.n_ubatch;
}
