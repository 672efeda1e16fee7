// OP_EXPERTS_DOWN: x += sum over j of weights[j] * (D_e in[j] + bias_e), e = ids[j]. A workgroup makes 16
// outputs of one row and owns them for all experts, in rising order of j.
#version 460
#define MANY_THREADS
#include "common.glsl"
#include "matrix.glsl"
#include "act.glsl"

const uint N_USED = N_PARTS;

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

shared uint s_ids[N_USED];
shared float s_weights[N_USED];

Place place_of(uint i)
{
    const uint n = IS_FLOAT ? N_COLS : N_BLOCKS, j = i / n;
    return Place(p.matrix + uint64_t(s_ids[j] * p.n_groups + gl_WorkGroupID.x) * group_bytes(TYPE), i % n,
                 s_weights[j]);
}

void main()
{
    const uint t = thread(), group = gl_WorkGroupID.x, token = gl_WorkGroupID.y;
    const uint end = IS_FLOAT ? ROW_COLS : ROW_BLOCKS, o = group * 16 + t % 16;
    Row row = act_ahead(p.from, p.from, false, token);
    const float before = p.x.v[token * p.n_out + min(o, p.n_out - 1)];
    if (t < N_USED) {
        s_ids[t] = p.ids.v[token * N_USED + t];
        s_weights[t] = p.weights.v[token * N_USED + t];
    }
    barrier();
    const Ahead ahead = matrix_ahead(TYPE, 0, end);
    table_fill();
    act_put(row, false, 0);
    barrier();

    vec4 sum[N_TOKENS]; // N_TOKENS is 1
    sum[0] = vec4(0);
    matrix_add(TYPE, ahead, 0, end, sum);
    float result = matrix_sum(sum);
    if (t < 16 && o < p.n_out) {
        for (uint j = 0; j < N_USED && p.bias != 0; j++)
            result += s_weights[j] * Floats(p.bias).v[s_ids[j] * p.n_out + o];
        p.x.v[token * p.n_out + o] = before + result;
    }
}
