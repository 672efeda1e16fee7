// First half of OP_ATTEND: the heads of q and k are normalised and rotated, k and v go to the cache, q to a
// scratch row, times the scale of the scores. x counts heads (q, then k, then v), y rows.
#version 460
#include "common.glsl"
#include "cache.glsl"

layout(constant_id = 0) const uint HEAD_DIM = 128;
layout(constant_id = 1) const uint HEAD_DIM_V = 128;
layout(constant_id = 2) const uint KEY_TYPE = CACHE_F16;
layout(constant_id = 3) const uint VALUE_TYPE = CACHE_F16;
layout(constant_id = 4) const uint N_HEADS = 32;
layout(constant_id = 5) const uint N_KV_HEADS = 4;
layout(constant_id = 6) const uint N_ROT = 128; // rotated elements; 0: none
layout(constant_id = 7) const uint ADJACENT = 0; // pairs are (2i, 2i + 1), else (i, i + N_ROT / 2)
layout(constant_id = 8) const uint GATED = 0;    // q comes as [N_HEADS][HEAD_DIM query | gate]

layout(push_constant) uniform Push
{
    Floats q, k, v;
    uint64_t q_norm, k_norm; // 0 or [HEAD_DIM]
    uint64_t rotations;      // [position][N_ROT / 2] cosine, sine
    uint64_t keys, values;   // rows, see cache.glsl
    FloatsOut ready;         // [..][N_HEADS][HEAD_DIM]
    Words pos, seq;          // [..]
    Words table;             // see cache.glsl
    uint n_cache;            // positions of a ring
    float eps;
    float scale;
} p;

const uint MOST = 512; // elements of a head
shared float s_head[MOST];

void normalise(uint64_t norm)
{
    float squares = 0;
    for (uint i = thread(); i < HEAD_DIM; i += THREADS)
        squares += s_head[i] * s_head[i];
    const float root = inversesqrt(workgroup_sum(squares) / HEAD_DIM + p.eps);
    for (uint i = thread(); i < HEAD_DIM; i += THREADS)
        s_head[i] *= root * Floats(norm).v[i];
    barrier();
}

void rotate(uint pos)
{
    for (uint i = thread(); i < N_ROT / 2; i += THREADS) {
        const uint a = ADJACENT != 0 ? 2 * i : i, b = ADJACENT != 0 ? a + 1 : i + N_ROT / 2;
        const vec2 turn = uintBitsToFloat(Vec2s(p.rotations).v[pos * (N_ROT / 2) + i]);
        const vec2 x = vec2(s_head[a], s_head[b]);
        s_head[a] = x.x * turn.x - x.y * turn.y;
        s_head[b] = x.x * turn.y + x.y * turn.x;
    }
    barrier();
}

#define SOURCE(i) s_head[i]
#include "store.glsl"

void main()
{
    const uint t = thread(), token = gl_WorkGroupID.y, head = gl_WorkGroupID.x;
    const uint pos = p.pos.v[token];
    const uint sequence = p.seq.v[token];
    if (head < N_HEADS) {
        const uint step = GATED != 0 ? 2 * HEAD_DIM : HEAD_DIM;
        for (uint i = t; i < HEAD_DIM; i += THREADS)
            s_head[i] = p.q.v[(token * N_HEADS + head) * step + i];
    } else if (head < N_HEADS + N_KV_HEADS) {
        for (uint i = t; i < HEAD_DIM; i += THREADS)
            s_head[i] = p.k.v[(token * N_KV_HEADS + head - N_HEADS) * HEAD_DIM + i];
    } else {
        const uint h = head - N_HEADS - N_KV_HEADS;
        for (uint i = t; i < HEAD_DIM_V; i += THREADS)
            s_head[i] = p.v.v[(token * N_KV_HEADS + h) * HEAD_DIM_V + i];
        barrier();
        const uint64_t at = cache_row(Cache(p.table, p.n_cache, N_KV_HEADS, h, sequence), pos);
        store_row(VALUE_TYPE, p.values + at * cache_row_bytes(VALUE_TYPE, HEAD_DIM_V), HEAD_DIM_V);
        return;
    }
    barrier();
    const uint64_t norm = head < N_HEADS ? p.q_norm : p.k_norm;
    if (norm != 0)
        normalise(norm);
    if (N_ROT != 0)
        rotate(pos);
    if (head < N_HEADS) {
        for (uint i = t; i < HEAD_DIM; i += THREADS)
            p.ready.v[(token * N_HEADS + head) * HEAD_DIM + i] = s_head[i] * p.scale;
        return;
    }
    const uint64_t at =
        cache_row(Cache(p.table, p.n_cache, N_KV_HEADS, head - N_HEADS, sequence), pos);
    store_row(KEY_TYPE, p.keys + at * cache_row_bytes(KEY_TYPE, HEAD_DIM), HEAD_DIM);
}
