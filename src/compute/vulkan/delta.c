/* The gated delta net: OP_DELTA_NET's steps, their commands, and the states. A single row takes one
 * step; several are convolved before and normalised behind it, because there a row's convolution
 * reads inputs of rows that other workgroups have. Both run the plain recurrence. */
#include "base/num.h"
#include "compute/vulkan/steps.h"
#include "compute/vulkan/vk_shaders.h"

enum { PIECE = 32 }; /* columns of a workgroup, see shaders/delta.comp */

static uint32_t n_channels(const struct op_delta_net *o)
{
    return 2 * o->n_k_head * o->d_k + o->n_v_head * o->d_v;
}

static uint32_t n_pieces(const struct op_delta_net *o)
{
    return (o->d_v + PIECE - 1) / PIECE;
}

/* ---- steps ----------------------------------------------------------------------------------- */

void delta_add(struct gpu *g, const struct op *op)
{
    const struct op_delta_net *o = &op->delta_net;
    const uint64_t inputs = step_slot(o->qkv) | step_slot(o->beta) | step_slot(o->alpha);
    const uint64_t states = 1ull << BIT_CACHE, out = step_slot(o->out), z = step_slot(o->z);
    struct vk_pipeline_spec spec = {
        .shader = VK_SHADER_DELTA_CONV,
        .n_consts = 6,
        .consts = {o->d_k, o->d_v, o->n_k_head, o->n_v_head, o->n_conv, o->order == HEADS_TILED}};
    struct step *s = step_add(g, STEP_DELTA_CONV, op);
    s->min_rows = 2;
    s->touched = (struct touched){step_slot(o->qkv) | states, states};
    s->pipeline[0] = s->pipeline[1] = step_spec(g, &spec);

    s = step_add(g, STEP_DELTA, op);
    s->touched = (struct touched){inputs | z | states, out | states};
    spec.shader = VK_SHADER_DELTA;
    spec.n_consts = 7;
    s->pipeline[1] = step_spec(g, &spec);
    spec.consts[6] = true;
    s->pipeline[0] = step_spec(g, &spec);

    s = step_add(g, STEP_DELTA_GATE, op);
    s->min_rows = 2;
    s->touched = (struct touched){out | z, out};
    spec.shader = VK_SHADER_DELTA_GATE;
    spec.n_consts = 6;
    spec.consts[6] = 0;
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
    DISPATCH(r, r->g->pipelines[s->pipeline[1]], push, (n_channels(o) + THREADS - 1) / THREADS,
             r->n_rows, 1);
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
    DISPATCH(r, r->g->pipelines[s->pipeline[1]], push, o->n_v_head, r->n_rows, 1);
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

bool delta_make_states(struct gpu *g, struct err *e)
{
    for (size_t i = 0; i < g->plan->n_ops; i++) {
        const struct op_delta_net *o = &g->plan->ops[i].delta_net;
        if (g->plan->ops[i].kind != OP_DELTA_NET)
            continue;
        struct gpu_state *s = &g->states[o->state];
        if (!vk_buffer_make(g->vk, VK_PLACE_DEVICE, g->params.n_seqs * delta_history_bytes(o),
                            "states", &s->history, e) ||
            !vk_buffer_make(g->vk, VK_PLACE_DEVICE, g->params.n_seqs * delta_memory_bytes(o),
                            "states", &s->memory, e))
            return false;
    }
    return true;
}

uint64_t delta_ready_floats(const struct gpu *g)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < g->n_steps; i++)
        if (g->steps[i].kind == STEP_DELTA)
            most = num_max(most, n_channels(&g->steps[i].op->delta_net));
    return most * g->params.n_ubatch;
}
