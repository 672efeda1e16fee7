// First half of OP_ATTEND: the heads of q and k are normalised and rotated, k and v go to the cache, q to a
// scratch row, times the scale of the scores. x counts heads (q, then k, then v), HEADS a workgroup, y rows.
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
    Float4s q, k, v;
    uint64_t q_norm, k_norm; // 0 or [HEAD_DIM]
    uint64_t rotations;      // [position][N_ROT / 2] cosine, sine
    uint64_t keys, values;   // rows, see cache.glsl
    Float4sOut ready;        // [..][N_HEADS][HEAD_DIM]
    Words pos, seq;          // [..]
    Words table;             // see cache.glsl
    uint n_cache;            // positions of a ring
    float eps;
    float scale;
} p;

// A head is LANES threads', which keep its fours in registers until it is normalised.
const uint LANES = 32, HEADS = THREADS / LANES, PARTS = LANES / 8;
const uint WIDEST = HEAD_DIM > HEAD_DIM_V ? HEAD_DIM : HEAD_DIM_V;
const uint FOURS = (WIDEST / 4 + LANES - 1) / LANES;
vec4 fours[FOURS];
shared vec4 s_head[HEADS * WIDEST / 4];
shared float s_squares[HEADS * PARTS];

uint own()
{
    return thread() / LANES;
}

uint lane()
{
    return thread() % LANES;
}

#define SOURCE(i) s_head[(own() * WIDEST + (i)) / 4][(i) % 4]
#include "store.glsl"

void load_fours(Float4s from, uint at, uint n)
{
    [[unroll]] for (uint i = 0; i < FOURS; i++) {
        fours[i] = vec4(0);
        if (lane() + i * LANES < n)
            fours[i] = from.v[at + lane() + i * LANES];
    }
}

// Over the head, in the same order whatever the size of subgroups; all threads of the workgroup call it.
float sum_of_squares()
{
    float x = 0;
    [[unroll]] for (uint i = 0; i < FOURS; i++)
        x += dot(fours[i], fours[i]);
    x = block_sum(x);
    if (lane() % 8 == 0)
        s_squares[own() * PARTS + lane() / 8] = x;
    barrier();
    x = 0;
    [[unroll]] for (uint i = 0; i < PARTS; i++)
        x += s_squares[own() * PARTS + i];
    return x;
}

// To shared memory, times the factor and the elements of `norm`, if it is not 0.
void put_fours(uint n, float factor, uint64_t norm)
{
    [[unroll]] for (uint i = 0; i < FOURS; i++) {
        const uint at = lane() + i * LANES;
        if (at < n)
            s_head[own() * WIDEST / 4 + at] = fours[i] * factor * (norm != 0 ? Float4s(norm).v[at] : vec4(1));
    }
}

void rotate(uint pos)
{
    for (uint i = lane(); i < N_ROT / 2; i += LANES) {
        const uint a = ADJACENT != 0 ? 2 * i : i, b = ADJACENT != 0 ? a + 1 : i + N_ROT / 2;
        const vec2 turn = uintBitsToFloat(Vec2s(p.rotations).v[pos * (N_ROT / 2) + i]);
        const vec2 x = vec2(SOURCE(a), SOURCE(b));
        SOURCE(a) = x.x * turn.x - x.y * turn.y;
        SOURCE(b) = x.x * turn.y + x.y * turn.x;
    }
}

void store(uint token, uint head, uint pos, uint sequence)
{
    if (head < N_HEADS) {
        for (uint i = lane(); i < HEAD_DIM / 4; i += LANES)
            p.ready.v[(token * N_HEADS + head) * (HEAD_DIM / 4) + i] = s_head[own() * WIDEST / 4 + i];
        return;
    }
    const uint of_kv = (head - N_HEADS) % N_KV_HEADS;
    const uint64_t row = cache_row(Cache(p.table, p.n_cache, N_KV_HEADS, of_kv, sequence), pos);
    if (head < N_HEADS + N_KV_HEADS)
        store_row(KEY_TYPE, p.keys + row * cache_row_bytes(KEY_TYPE, HEAD_DIM), HEAD_DIM, lane(), LANES, true);
    else
        store_row(VALUE_TYPE, p.values + row * cache_row_bytes(VALUE_TYPE, HEAD_DIM_V), HEAD_DIM_V, lane(), LANES, true);
}

void main()
{
    const uint token = gl_WorkGroupID.y, head = gl_WorkGroupID.x * HEADS + own();
    const bool is_q = head < N_HEADS, is_k = !is_q && head < N_HEADS + N_KV_HEADS;
    const bool exists = head < N_HEADS + 2 * N_KV_HEADS;
    const uint pos = p.pos.v[token], sequence = p.seq.v[token];
    const uint n = (is_q || is_k ? HEAD_DIM : HEAD_DIM_V) / 4, of_kv = (head - N_HEADS) % N_KV_HEADS;
    if (is_q)
        load_fours(p.q, (token * N_HEADS + head) * n * (GATED != 0 ? 2 : 1), n);
    else
        load_fours(is_k ? p.k : p.v, (token * N_KV_HEADS + of_kv) * n, n);
    const uint64_t norm = is_q ? p.q_norm : is_k ? p.k_norm : 0;
    const float root = inversesqrt(sum_of_squares() / HEAD_DIM + p.eps);
    put_fours(n, (is_q ? p.scale : 1) * (norm != 0 ? root : 1), norm);
    barrier();
    if (N_ROT != 0 && (is_q || is_k))
        rotate(pos);
    barrier();
    if (exists)
        store(token, head, pos, sequence);
}
