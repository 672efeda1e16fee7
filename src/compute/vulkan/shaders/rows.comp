// Activation rows for gemm.glsl: rms(in) or in, one row a workgroup. As halves they are scaled by a power of two that
// brings the largest to 512 to 1024: nothing overflows, and what is 2^23 times smaller is still there; four columns lie in
// the order 0, 2, 1, 3, in which weights become halves.
#version 460
#include "common.glsl"

layout(constant_id = 0) const uint N_COLS = 2048; // a multiple of 32
layout(constant_id = 1) const uint HAS_NORM = 1;
layout(constant_id = 2) const uint HALVES = 1;
layout(constant_id = 3) const uint HAS_MAP = 0;

layout(push_constant) uniform Push
{
    Float4s from; // [..][N_COLS]
    Float4s norm; // [N_COLS]
    Words map;    // HAS_MAP: which row of `from` row t is; else row t
    uint64_t gate;    // 0 or [n_gate]: the factor is sigmoid(gate . gate_in), else 1
    uint64_t gate_in; // [..][n_gate]
    uint64_t to;      // [..][N_COLS]
    FloatsOut scales; // [..]: to be multiplied with, factor
    float eps;
    uint n_gate;
} p;

float workgroup_max(float x)
{
    x = subgroupMax(x);
    if (gl_SubgroupInvocationID == 0)
        s_reduce[gl_SubgroupID] = x;
    barrier();
    x = s_reduce[0];
    [[unroll]] for (uint i = 1; i < n_subgroups(); i++)
        x = max(x, s_reduce[i]);
    barrier();
    return x;
}

float factor_of(uint row)
{
    if (p.gate == 0)
        return 1;
    float sum = 0;
    for (uint i = thread(); i < p.n_gate; i += THREADS)
        sum += Floats(p.gate).v[i] * Floats(p.gate_in).v[row * p.n_gate + i];
    return 1 / (1 + exp(-workgroup_sum(sum)));
}

vec4 value(uint at, uint i, float root)
{
    vec4 x = p.from.v[at + i];
    if (HAS_NORM != 0)
        x *= root * p.norm.v[i];
    return x;
}

void main()
{
    const uint n = N_COLS / 4, row = gl_WorkGroupID.x, to = row * n;
    const uint from = (HAS_MAP != 0 ? p.map.v[row] : row) * n;
    float root = 1, up = 1;
    if (HAS_NORM != 0) {
        float squares = 0;
        for (uint i = thread(); i < n; i += THREADS)
            squares += dot(p.from.v[from + i], p.from.v[from + i]);
        root = inversesqrt(workgroup_sum(squares) / N_COLS + p.eps);
    }
    if (HALVES != 0) {
        float most = 0;
        for (uint i = thread(); i < n; i += THREADS) {
            const vec4 x = abs(value(from, i, root));
            most = max(most, max(max(x.x, x.y), max(x.z, x.w)));
        }
        // 9 - floor(log2(most)), within what a float's exponent and its inverse's can be.
        const int exponent = int(floatBitsToUint(workgroup_max(most)) >> 23) - 127;
        up = uintBitsToFloat(uint(clamp(9 - exponent, -100, 100) + 127) << 23);
    }
    for (uint i = thread(); i < n; i += THREADS) {
        const vec4 x = value(from, i, root) * up;
        if (HALVES != 0)
            Vec2sOut(p.to).v[to + i] = uvec2(packHalf2x16(x.xz), packHalf2x16(x.yw));
        else
            Float4sOut(p.to).v[to + i] = x;
    }
    const float factor = factor_of(row);
    if (thread() == 0) {
        p.scales.v[2 * row] = 1 / up;
        p.scales.v[2 * row + 1] = factor;
    }
}
