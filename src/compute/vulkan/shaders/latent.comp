// What OP_ATTEND_MLA does to a row beside its two products (head_product.comp): the latent is normalised, the key behind
// it rotated, and both stored as the one cached row of the token; the last elements of every head's query are rotated
// and put behind the product with the head's key matrix. x: 0 the latent, 1 the queries; y counts rows.
#version 460
#include "common.glsl"
#include "cache.glsl"

layout(constant_id = 0) const uint N_LATENT = 512;
layout(constant_id = 1) const uint N_ROT = 64;
layout(constant_id = 2) const uint KEY_TYPE = CACHE_F16;
layout(constant_id = 3) const uint N_HEADS = 20;
layout(constant_id = 4) const uint N_NOPE = 192; // elements of a query before the rotated ones
layout(constant_id = 5) const uint ADJACENT = 1; // see heads.comp

layout(push_constant) uniform Push
{
    Floats q;           // [..][N_HEADS][N_NOPE | N_ROT]
    Floats kv;          // [..][N_LATENT | N_ROT]
    Floats norm;        // [N_LATENT]
    uint64_t rotations; // [position][N_ROT / 2] cosine, sine
    uint64_t keys;      // rows, see cache.glsl
    FloatsOut ready;    // [..][N_HEADS][N_LATENT | N_ROT], scaled
    Words pos, seq;     // [..]
    Words table;        // see cache.glsl
    uint n_cache;
    float eps;
    float scale;
} p;

const uint WIDTH = N_LATENT + N_ROT;
shared float s_row[WIDTH];
#define SOURCE(i) s_row[i]
#include "store.glsl"

// The pair i of N_ROT elements as indices.
uvec2 pair_of(uint i)
{
    return ADJACENT != 0 ? uvec2(2 * i, 2 * i + 1) : uvec2(i, i + N_ROT / 2);
}

vec2 rotated(uint pos, uint i, vec2 x)
{
    const vec2 turn = uintBitsToFloat(Vec2s(p.rotations).v[pos * (N_ROT / 2) + i]);
    return vec2(x.x * turn.x - x.y * turn.y, x.x * turn.y + x.y * turn.x);
}

void rotate_queries(uint token, uint pos)
{
    for (uint i = thread(); i < N_HEADS * N_ROT / 2; i += THREADS) {
        const uint head = token * N_HEADS + i / (N_ROT / 2);
        const uint from = head * (N_NOPE + N_ROT) + N_NOPE, to = head * WIDTH + N_LATENT;
        const uvec2 pair = pair_of(i % (N_ROT / 2));
        const vec2 x = rotated(pos, i % (N_ROT / 2), vec2(p.q.v[from + pair.x], p.q.v[from + pair.y]));
        p.ready.v[to + pair.x] = p.scale * x.x;
        p.ready.v[to + pair.y] = p.scale * x.y;
    }
}

void make_row(uint token, uint pos)
{
    float squares = 0;
    for (uint i = thread(); i < N_LATENT; i += THREADS) {
        s_row[i] = p.kv.v[token * WIDTH + i];
        squares += s_row[i] * s_row[i];
    }
    const float root = inversesqrt(workgroup_sum(squares) / N_LATENT + p.eps);
    for (uint i = thread(); i < N_LATENT; i += THREADS)
        s_row[i] *= root * p.norm.v[i];
    for (uint i = thread(); i < N_ROT / 2; i += THREADS) {
        const uint from = token * WIDTH + N_LATENT;
        const uvec2 pair = pair_of(i);
        const vec2 x = rotated(pos, i, vec2(p.kv.v[from + pair.x], p.kv.v[from + pair.y]));
        s_row[N_LATENT + pair.x] = x.x;
        s_row[N_LATENT + pair.y] = x.y;
    }
    barrier();
}

void main()
{
    const uint token = gl_WorkGroupID.y, pos = p.pos.v[token];
    if (gl_WorkGroupID.x == 1) {
        rotate_queries(token, pos);
        return;
    }
    make_row(token, pos);
    const uint64_t at = cache_row(Cache(p.table, p.n_cache, 1, 0, p.seq.v[token]), pos);
    store_row(KEY_TYPE, p.keys + at * cache_row_bytes(KEY_TYPE, WIDTH), WIDTH, thread(), THREADS, true);
}
