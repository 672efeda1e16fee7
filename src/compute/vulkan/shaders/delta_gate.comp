// Last of three steps of OP_DELTA_NET for several rows: the gated norm. x counts value heads, y rows.
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

void main()
{
    gated_norm(p.to, p.z, p.norm, p.eps,
               (gl_WorkGroupID.y * N_V_HEADS + gl_WorkGroupID.x) * D_V);
}
