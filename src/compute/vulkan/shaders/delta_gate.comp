// Last of three steps of OP_DELTA_NET for several rows: the gated norm. x counts groups of eight value heads, y rows. A
// subgroup takes one head after the other, so nobody waits for anyone.
#version 460
#include "common.glsl"
#include "delta.glsl"

layout(push_constant) uniform Push
{
    SharedFloats to; // [..][N_V_HEADS][D_V]
    Floats z;        // the same
    Floats norm;     // [D_V]
    float eps;
} p;

const uint HEADS = 8;

void main()
{
    const uint lane = gl_SubgroupInvocationID, stride = gl_SubgroupSize;
    const uint end = min((gl_WorkGroupID.x + 1) * HEADS, N_V_HEADS);
    for (uint head = gl_WorkGroupID.x * HEADS + gl_SubgroupID; head < end; head += gl_NumSubgroups) {
        const uint at = (gl_WorkGroupID.y * N_V_HEADS + head) * D_V;
        const float squares = subgroupAdd(squares_of(p.to, at, lane, stride));
        gated_norm(p.to, p.z, p.norm, p.eps, squares, at, lane, stride);
    }
}
