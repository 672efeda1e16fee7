#version 460
// y[i] = SCALE * x[i] + add, wrapping. The smallest shader that has all that a shader can be
// given: specialisation constants (the workgroup's size among them), push constants and
// addresses. Tests of the device layer run it.
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_scalar_block_layout : require

layout(local_size_x = 64, local_size_x_id = 0) in;
layout(constant_id = 0) const uint N_THREADS = 64;
layout(constant_id = 1) const uint SCALE = 1;

layout(buffer_reference, scalar, buffer_reference_align = 4) buffer Words { uint v[]; };

layout(push_constant, scalar) uniform Push {
    Words x;
    Words y;
    uint n;
    uint add;
} p;

void main()
{
    const uint i = gl_WorkGroupID.x * N_THREADS + gl_LocalInvocationID.x;
    if (i < p.n)
        p.y.v[i] = SCALE * p.x.v[i] + p.add;
}
