// OP_PROJECT: out_i = W_i rms(in) + bias_i, up to three matrices, the first ones of TYPE, the rest of TYPE_2.
// A team makes 16 outputs of one matrix for N_TOKENS rows: x counts the groups of all matrices, N_TEAMS a workgroup, y the rows.
#version 460
#define MANY_THREADS
#include "common.glsl"
#include "matrix.glsl"
#include "act.glsl"

layout(constant_id = 5) const uint HAS_NORM = 1;

struct Output {
    uint64_t matrix, bias, to; // bias: 0 or [n_out]
};
layout(push_constant) uniform Push
{
    Float4s from; // [..][N_COLS]
    Float4s norm; // [N_COLS]
    Output outs[3];
    uint first[2]; // first group of outs[1], of outs[2]
    uint n_out[3]; // rows of the matrices
    float eps;
    uint n_tokens;
    uint n_of_type; // matrices of TYPE
    uint n_groups;  // of all
} p;

uint64_t place_group; // of the matrix at hand
Place place_of(uint i)
{
    return Place(place_group, i, 1);
}

Row row_of(uint token)
{
    return act_ahead(p.from, p.norm, HAS_NORM != 0, min(token, p.n_tokens - 1));
}

void main()
{
    const uint t = team_thread(), first_token = gl_WorkGroupID.y * N_TOKENS;
    const uint n = gl_WorkGroupID.x * N_TEAMS + team(), own = min(n, p.n_groups - 1);
    const uint i = own < p.first[0] ? 0 : own < p.first[1] ? 1 : 2;
    const uint group = own - (i == 0 ? 0 : p.first[i - 1]);
    const uint end = IS_FLOAT ? N_COLS : N_BLOCKS;
    const bool second = TYPE_2 <= BF16 && i >= p.n_of_type;

    place_group = p.outs[i].matrix + uint64_t(group) * group_bytes(second ? TYPE_2 : TYPE);
    Row row = row_of(first_token);
    Ahead ahead;
    if (second)
        ahead = matrix_ahead(TYPE_2, 0, end);
    else
        ahead = matrix_ahead(TYPE, 0, end);
    table_fill();
    act_put(row, HAS_NORM != 0, 0);
    for (uint k = 1; k < N_TOKENS; k++)
        act_put(row_of(first_token + k), HAS_NORM != 0, k);
    barrier();

    vec4 sum[N_TOKENS];
    for (uint k = 0; k < N_TOKENS; k++)
        sum[k] = vec4(0);
    if (second)
        matrix_add(TYPE_2, ahead, 0, end, sum);
    else
        matrix_add(TYPE, ahead, 0, end, sum);
    float result = matrix_sum(sum);

    const uint token = first_token + t / 16, o = group * 16 + t % 16;
    if (n < p.n_groups && t < 16 * N_TOKENS && token < p.n_tokens && o < p.n_out[i]) {
        if (HAS_NORM != 0)
            result *= row_root(t / 16, p.eps);
        if (p.outs[i].bias != 0)
            result += Floats(p.outs[i].bias).v[o];
        FloatsOut(p.outs[i].to).v[token * p.n_out[i] + o] = result;
    }
}
