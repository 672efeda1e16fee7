// First of three steps of OP_DELTA_NET for several rows: the convolution. x counts channels, y rows.
#version 460
#include "common.glsl"
#include "delta.glsl"

layout(push_constant) uniform Push
{
    Floats qkv;        // [..][CHANNELS]
    FloatsOut ready;   // the same, convolved
    Floats taps;       // [N_CONV][CHANNELS], the newest last
    FloatsOut history; // [sequence][N_CONV][CHANNELS]
    Words pos, seq;    // [..]
} p;

void main()
{
    const uint c = gl_WorkGroupID.x * THREADS + thread(), row = gl_WorkGroupID.y;
    if (c < CHANNELS)
        p.ready.v[row * CHANNELS + c] =
            convolved(p.qkv, p.taps, p.history, p.seq, p.pos.v[row], row, c);
}
