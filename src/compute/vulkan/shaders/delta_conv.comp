// First of three steps of OP_DELTA_NET for several rows: the convolution. x counts channels, or four of them
// where that is a whole number, y rows.
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

const uint WIDTH = CHANNELS % 4 == 0 ? 4 : 1;

void main()
{
    const uint c = gl_WorkGroupID.x * THREADS + thread(), row = gl_WorkGroupID.y;
    if (c >= CHANNELS / WIDTH)
        return;
    uint at[N_CONV];
    find_inputs(p.seq, p.pos.v[row], row, at);
    if (WIDTH == 4)
        Float4sOut(p.ready).v[row * (CHANNELS / 4) + c] =
            convolved_quad(Float4s(p.qkv), Float4s(p.taps), Float4sOut(p.history), at, c);
    else
        p.ready.v[row * CHANNELS + c] = convolved(p.qkv, p.taps, p.history, at, c);
}
