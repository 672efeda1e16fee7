// The two products of OP_ATTEND_MLA: a matrix of its own for each head, out_h = factor * M_h in_h. A workgroup makes 16
// outputs of a head for N_TOKENS rows: x counts groups, y rows, z heads.
#version 460
#include "common.glsl"
#include "matrix.glsl"
#include "act.glsl"

layout(push_constant) uniform Push
{
    uint64_t from; // floats; heads and rows lie in_head and in_row apart, multiples of 4
    uint64_t matrix;
    FloatsOut to;
    uint in_row, in_head, out_row, out_head;
    uint n_out;
    uint n_tokens;
    float factor;
} p;

Place place_of(uint i)
{
    const uint n_groups = (p.n_out + 15) / 16;
    return Place(p.matrix + uint64_t(gl_WorkGroupID.z * n_groups + gl_WorkGroupID.x) * group_bytes(TYPE), i,
                 p.factor);
}

void main()
{
    const uint t = thread(), head = gl_WorkGroupID.z, first_token = gl_WorkGroupID.y * N_TOKENS;
    const uint end = IS_FLOAT ? N_COLS : N_BLOCKS;
    const Ahead ahead = matrix_ahead(TYPE, 0, end);
    table_fill();
    vec4 sum[N_TOKENS];
    for (uint n = 0; n < N_TOKENS; n++) {
        const uint token = min(first_token + n, p.n_tokens - 1);
        Float4s from = Float4s(p.from + 4ul * (token * p.in_row + head * p.in_head));
        act_put(act_ahead(from, from, false, 0), false, n);
        sum[n] = vec4(0);
    }
    barrier();
    matrix_add(TYPE, ahead, 0, end, sum);
    const float result = matrix_sum(sum);
    const uint token = first_token + t / 16, o = gl_WorkGroupID.x * 16 + t % 16;
    if (t < 16 * N_TOKENS && token < p.n_tokens && o < p.n_out)
        p.to.v[token * p.out_row + head * p.out_head + o] = result;
}
