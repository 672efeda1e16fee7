// OP_GLU and OP_EXPERTS_UP: out = act(G a + bias, U a + bias), a = rms(in) or in. A workgroup makes 16 outputs;
// x counts groups, y rows, z the chosen experts of a row. CHOOSES: first each workgroup picks the experts by the logits of
// route.comp, which costs less than waiting for one that does; one of them leaves the choice in memory.
#version 460
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
    Floats partials;
    uint64_t router_bias, select_bias;
    FloatsOut weights;
} p;

#include "route.glsl"

uint64_t place_group; // of the matrix at hand
Place place_of(uint i)
{
    return Place(place_group, i, 1);
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

void take_rows(uint first_token)
{
    for (uint n = 0; n < N_TOKENS; n++) {
        const uint token = min(first_token + n, p.n_tokens - 1);
        if (HAS_NORM != 0)
            act_normed(p.from, p.norm, token, n);
        else
            act_row(p.from, token, n);
    }
}

void main()
{
    const uint t = thread(), group = gl_WorkGroupID.x, first_token = gl_WorkGroupID.y * N_TOKENS,
               j = gl_WorkGroupID.z;
    const uint end = IS_FLOAT ? N_COLS : N_BLOCKS;
    uint expert = 0;
    table_fill();
    if (CHOOSES != 0) {
        take_rows(first_token);
        choose(first_token);
        expert = s_ids[j];
    } else if (p.ids != 0) { // then N_TOKENS is 1
        expert = Words(p.ids).v[first_token * p.n_used + j];
    }
    const uint n_before = expert * p.n_groups + group;
    const uint64_t gate_group = (PART == 1 ? p.up : p.gate) + uint64_t(n_before) * group_bytes(TYPE);
    const uint64_t up_group = p.up + uint64_t(n_before) * group_bytes(UP_TYPE);

    place_group = gate_group;
    const Ahead gate_ahead = matrix_ahead(TYPE, 0, end);
    place_group = up_group;
    Ahead up_ahead;
    if (PART == 0)
        up_ahead = matrix_ahead(UP_TYPE, 0, end);
    if (CHOOSES == 0)
        take_rows(first_token);
    barrier();

    vec4 gate[N_TOKENS], up[N_TOKENS];
    for (uint n = 0; n < N_TOKENS; n++)
        gate[n] = up[n] = vec4(0);
    place_group = gate_group;
    matrix_add(TYPE, gate_ahead, 0, end, gate);
    place_group = up_group;
    if (PART == 0)
        matrix_add(UP_TYPE, up_ahead, 0, end, up);
    vec2 both = matrix_sum_pair(gate, up);

    const uint token = first_token + t / 16, o = group * 16 + t % 16;
    if (t < 16 * N_TOKENS && token < p.n_tokens && o < p.n_out) {
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
    if (CHOOSES != 0 && group == 0 && j == 0)
        store_choice(first_token);
}
