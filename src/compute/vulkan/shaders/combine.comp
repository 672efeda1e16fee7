// Second half of OP_EXPERTS_DOWN for many rows: x += sum over j of weights[j] * (down of choice j + bias), in rising
// order of j. x counts pieces of the outputs, y rows.
#version 460
#include "common.glsl"

layout(constant_id = 0) const uint N_USED = 8;

layout(push_constant) uniform Push
{
    Floats parts;    // [..][N_USED][n_out]
    uint64_t bias;   // 0 or [experts][n_out]
    Words ids;       // [..][N_USED]
    Floats weights;  // [..][N_USED]
    FloatsOut x;     // [..][n_out]
    uint n_out;
} p;

void main()
{
    const uint o = gl_WorkGroupID.x * THREADS + thread(), row = gl_WorkGroupID.y;
    if (o >= p.n_out)
        return;
    float sum = 0;
    [[unroll]] for (uint j = 0; j < N_USED; j++) {
        const uint pair = row * N_USED + j;
        float y = p.parts.v[pair * p.n_out + o];
        if (p.bias != 0)
            y += Floats(p.bias).v[p.ids.v[pair] * p.n_out + o];
        sum += p.weights.v[pair] * y;
    }
    p.x.v[row * p.n_out + o] += sum;
}
