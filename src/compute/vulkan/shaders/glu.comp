// OP_GLU and OP_EXPERTS_UP: out = act(G a + bias, U a + bias), a = rms(in) or in. A team makes 16 outputs;
// x counts the groups of a row's chosen experts, N_TEAMS a workgroup, y rows. CHOOSES: first each workgroup picks the experts by the logits of
// route.comp or route_share.glsl, which costs less than waiting for one that does; one of them leaves the choice in memory.
#version 460
#define MANY_THREADS
#include "common.glsl"
#include "matrix.glsl"
#include "act.glsl"

layout(constant_id = 5) const uint HAS_NORM = 0;
layout(constant_id = 6) const uint ACTIVATION = 0; // enum activation of src/model/plan.h
layout(constant_id = 11) const uint CHOOSES = 0;
// Where a dispatch cannot have both types, one makes U a + bias (1), the next the rest (2); 0: all.
layout(constant_id = 12) const uint PART = 0;
const uint UP_TYPE = TYPE_2 < 255 ? TYPE_2 : TYPE;

layout(push_constant) uniform Push
{
    Float4s from; // [..][N_COLS]
    Float4s norm; // [N_COLS]
    uint64_t gate, up;
    uint64_t gate_bias, up_bias; // 0 or [experts][n_out]
    uint64_t ids;                // 0: one matrix; else [..][n_used]
    FloatsOut to;                // [..][n_used][n_out]
    uint n_out;
    uint n_used;
    uint n_groups; // of one expert
    float eps;
    uint n_tokens;
    float scale; // CHOOSES: as in route.comp, and these
    Floats partials; // IS_SHARED: sums of shares
    uint64_t router_bias, select_bias;
    FloatsOut weights;
    uint n_shares; // IS_SHARED: sums of a row
} p;

const bool IS_SHARED = CHOOSES != 0 && HAS_NORM != 0; // then the rows are not normed yet
#define SHARES_OF_ROW p.n_shares
#include "route.glsl"

uint64_t place_group; // of the matrix at hand
Place place_of(uint i)
{
    return Place(place_group, i, 1);
}

// The groups of the two matrices, and a load of each on its way.
struct Pair {
    uint64_t gate_group, up_group;
    Load gate, up;
};

void load_gate(inout Pair pair, uint at)
{
    place_group = pair.gate_group;
    pair.gate = load_at(TYPE, at);
}

void load_up(inout Pair pair, uint at)
{
    if (PART != 0)
        return;
    place_group = pair.up_group;
    pair.up = load_at(UP_TYPE, at);
}

// Step i of the thread's through both.
void step_pair(inout Pair pair, uint end, uint i, inout vec4 gate[N_TOKENS], inout vec4 up[N_TOKENS])
{
    const bool has_next = i + 1 < matrix_steps(0, end);
    const uint at = step_at(0, end, i), next = step_at(0, end, i + 1);
    if (has_step(0, end, i))
        add_load(TYPE, pair.gate, at, gate);
    if (has_next)
        load_gate(pair, next);
    if (PART == 0 && has_step(0, end, i))
        add_load(UP_TYPE, pair.up, at, up);
    if (has_next)
        load_up(pair, next);
}

float activate(float g, float u)
{
    if (ACTIVATION == 1) {
        g = min(g, 7.0);
        u = clamp(u, -7.0, 7.0);
        return g / (1 + exp(-1.702 * g)) * (u + 1);
    }
    return g / (1 + exp(-g)) * u;
}

Row row_of(uint token)
{
    return act_ahead(p.from, p.norm, HAS_NORM != 0, min(token, p.n_tokens - 1));
}

void put_rows(Row first, uint first_token)
{
    act_put(first, HAS_NORM != 0, 0);
    for (uint n = 1; n < N_TOKENS; n++)
        act_put(row_of(first_token + n), HAS_NORM != 0, n);
}

// Of the logits; sums of shares are of a row that is not normed.
float root_of_choice()
{
    if (!IS_SHARED)
        return 1;
    barrier();
    return row_root(0, p.eps);
}

void main()
{
    const uint t = team_thread(), first_token = gl_WorkGroupID.y * N_TOKENS;
    const uint n = gl_WorkGroupID.x * N_TEAMS + team(), end_group = p.n_groups * p.n_used, own = min(n, end_group - 1);
    const uint group = own % p.n_groups, j = own / p.n_groups;
    const uint end = IS_FLOAT ? N_COLS : N_BLOCKS;
    uint expert = 0;
    Row row = row_of(first_token);
    table_fill();
    if (CHOOSES != 0) {
        load_logits(first_token);
        put_rows(row, first_token);
        hold_logits(root_of_choice());
        choose();
        expert = s_ids[j];
    } else if (p.ids != 0) { // then N_TOKENS is 1
        expert = Words(p.ids).v[first_token * p.n_used + j];
    }
    const uint n_before = expert * p.n_groups + group;
    Pair pair;
    pair.gate_group = (PART == 1 ? p.up : p.gate) + uint64_t(n_before) * group_bytes(TYPE);
    pair.up_group = p.up + uint64_t(n_before) * group_bytes(UP_TYPE);
    load_gate(pair, step_at(0, end, 0));
    load_up(pair, step_at(0, end, 0));
    if (CHOOSES == 0)
        put_rows(row, first_token);
    barrier();

    vec4 gate[N_TOKENS], up[N_TOKENS];
    for (uint i = 0; i < N_TOKENS; i++)
        gate[i] = up[i] = vec4(0);
    if (steps_are_few(0, end)) {
        [[unroll]] for (uint i = 0; i < FEW_STEPS; i++)
            if (i < matrix_steps(0, end))
                step_pair(pair, end, i, gate, up);
    } else {
        [[dont_unroll]] for (uint i = 0; i < matrix_steps(0, end); i++)
            step_pair(pair, end, i, gate, up);
    }
    vec2 both = matrix_sum_pair(gate, up);

    const uint token = first_token + t / 16, o = group * 16 + t % 16;
    if (n < end_group && t < 16 * N_TOKENS && token < p.n_tokens && o < p.n_out) {
        const uint to = (token * p.n_used + j) * p.n_out + o;
        if (HAS_NORM != 0)
            both *= row_root(t / 16, p.eps);
        float g = both.x, u = PART == 1 ? both.x : both.y;
        if (p.gate_bias != 0)
            g += Floats(p.gate_bias).v[expert * p.n_out + o];
        if (PART == 2)
            u = p.to.v[to];
        else if (p.up_bias != 0)
            u += Floats(p.up_bias).v[expert * p.n_out + o];
        p.to.v[to] = PART == 1 ? u : activate(g, u);
    }
    if (CHOOSES != 0 && gl_WorkGroupID.x == 0)
        store_choice(first_token);
}
