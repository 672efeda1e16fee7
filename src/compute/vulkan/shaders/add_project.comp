// OP_ADD_PROJECT: x += factor * (W in + bias), factor = sigmoid(gate . gate_in) or 1. A workgroup makes 16
// outputs for N_TOKENS rows, and with ROUTER their share of the logits of the router that is behind.
#version 460
#define MANY_THREADS
#include "common.glsl"
#include "matrix.glsl"
#include "act.glsl"

layout(push_constant) uniform Push
{
    Float4s from; // [..][N_COLS]
    uint64_t matrix;
    uint64_t bias;    // 0 or [n_out]
    FloatsOut x;      // [..][n_out]
    uint64_t gate;    // 0 or [n_gate]
    uint64_t gate_in; // [..][n_gate]
    uint n_out, n_gate;
    uint n_tokens;
    uint n_sums;
    uint64_t router, norm, sums; // with ROUTER, see route_share.glsl
} p;

uint64_t place_group; // of the matrix at hand
Place place_of(uint i)
{
    return Place(place_group, i, 1);
}

#include "route_share.glsl"

float gate_of(uint token)
{
    float sum = 0;
    for (uint i = thread(); i < p.n_gate; i += THREADS)
        sum += Floats(p.gate).v[i] * Floats(p.gate_in).v[token * p.n_gate + i];
    return 1 / (1 + exp(-workgroup_sum(sum)));
}

void main()
{
    const uint t = thread(), group = gl_WorkGroupID.x, first_token = gl_WorkGroupID.y * N_TOKENS;
    const uint64_t at = p.matrix + uint64_t(group) * group_bytes(TYPE);
    const uint end = IS_FLOAT ? N_COLS : N_BLOCKS, o = group * 16 + t % 16;

    Row row = act_ahead(p.from, p.from, false, first_token);
    const float before = p.x.v[min((first_token + t / 16) * p.n_out + o, p.n_tokens * p.n_out - 1)];
    place_group = at;
    const Ahead ahead = matrix_ahead(TYPE, 0, end);
    float norm = 0;
    if (HAS_ROUTER) {
        load_columns(group, p.n_out);
        norm = o < p.n_out ? Floats(p.norm).v[o] : 0;
    }
    table_fill();
    float factor = 1;
    for (uint n = 0; n < N_TOKENS; n++) {
        const uint token = min(first_token + n, p.n_tokens - 1);
        act_put(n == 0 ? row : act_ahead(p.from, p.from, false, token), false, n);
        if (p.gate != 0) {
            const float g = gate_of(token);
            if (t / 16 == n)
                factor = g;
        }
    }
    barrier();

    vec4 sum[N_TOKENS];
    for (uint n = 0; n < N_TOKENS; n++)
        sum[n] = vec4(0);
    matrix_add(TYPE, ahead, 0, end, sum);
    float result = matrix_sum(sum);

    const uint token = first_token + t / 16;
    if (t < 16 * N_TOKENS && token < p.n_tokens && o < p.n_out) {
        if (p.bias != 0)
            result += Floats(p.bias).v[o];
        result = before + factor * result;
        p.x.v[token * p.n_out + o] = result;
    }
    if (HAS_ROUTER) {
        if (t < 16 * N_TOKENS)
            s_normed[t] = o < p.n_out ? result * norm : 0;
        share_logits(first_token);
    }
}
