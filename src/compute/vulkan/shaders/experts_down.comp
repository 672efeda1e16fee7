// OP_EXPERTS_DOWN: x += sum over j of weights[j] * (D_e in[j] + bias_e), e = ids[j]. A workgroup makes 16
// outputs of one row and owns them for all experts, in rising order of j.
#version 460
#include "common.glsl"
#include "matrix.glsl"
#include "act.glsl"

layout(constant_id = 4) const uint N_USED = 8;

layout(push_constant) uniform Push
{
    Float4s from; // [..][N_USED][N_COLS]
    uint64_t matrix;
    uint64_t bias; // 0 or [experts][n_out]
    Words ids;     // [..][N_USED]
    Floats weights;
    FloatsOut x; // [..][n_out]
    uint n_out;
    uint n_groups; // of one expert
} p;

void main()
{
    const uint t = thread(), group = gl_WorkGroupID.x, token = gl_WorkGroupID.y;
    const uint end = IS_FLOAT ? N_COLS : N_BLOCKS;
    table_fill();
    for (uint j = 0; j < N_USED; j++)
        act_rows(p.from, token * N_USED + j, j * ROW_WORDS);
    barrier();

    vec4 sum[N_TOKENS]; // N_TOKENS is 1
    sum[0] = vec4(0);
    float bias = 0;
    const uint o = group * 16 + t % 16;
    for (uint j = 0; j < N_USED; j++) {
        const uint expert = p.ids.v[token * N_USED + j];
        const float weight = p.weights.v[token * N_USED + j];
        const uint64_t at = p.matrix + uint64_t(expert * p.n_groups + group) * GROUP_BYTES;
        matrix_add(matrix_ahead(at, 0, end), at, 0, end, j * ROW_WORDS, weight, sum);
        if (p.bias != 0 && t < 16 && o < p.n_out)
            bias += weight * Floats(p.bias).v[expert * p.n_out + o];
    }
    const float result = matrix_sum(sum);
    if (t < 16 && o < p.n_out)
        p.x.v[token * p.n_out + o] += result + bias;
}
