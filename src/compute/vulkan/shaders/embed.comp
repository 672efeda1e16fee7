// OP_EMBED: x[t] = row ids[t] of the table. y counts rows; the threads of x share out the columns. It comes first: so it
// clears the sums of route_share.glsl, too.
#version 460
#include "common.glsl"
#include "weights.glsl"

layout(push_constant) uniform Push
{
    uint64_t table;
    Words ids;
    FloatsOut x; // [..][N_COLS]
    Sums shares;
    uint n_shares;
} p;

// Column i, or part i % 4 of block i / 4: its quads i % 4 and i % 4 + 4.
void put(uint64_t group, uint token, uint row, uint i)
{
    if (IS_FLOAT) {
        p.x.v[token * N_COLS + i] = load_column(TYPE, group, i, row / 4)[row % 4];
        return;
    }
    const uint block = i / 4, part = i % 4;
    const Codes c = load_codes(TYPE, group, block, row);
    const Factors f = factors_of(TYPE, c, row);
    vec4 low, high;
    values_of(TYPE, c, c.a[part], c.a2[part], part, low, high);
    [[unroll]] for (uint k = 0; k < 4; k++) {
        const uint to = token * N_COLS + block * 32 + part * 4 + k;
        p.x.v[to] = f.low * low[k] + f.min_low;
        p.x.v[to + 16] = f.high * high[k] + f.min_high;
    }
}

void main()
{
    const uint token = gl_WorkGroupID.y, id = p.ids.v[token];
    const uint64_t group = p.table + uint64_t(id / 16) * group_bytes(TYPE);
    const uint n = IS_FLOAT ? N_COLS : N_BLOCKS * 4;
    for (uint i = gl_WorkGroupID.x * THREADS + thread(); i < n; i += gl_NumWorkGroups.x * THREADS)
        put(group, token, id % 16, i);
    const uint n_threads = gl_NumWorkGroups.x * gl_NumWorkGroups.y * THREADS;
    for (uint i = (token * gl_NumWorkGroups.x + gl_WorkGroupID.x) * THREADS + thread(); i < p.n_shares; i += n_threads)
        p.shares.v[i] = 0;
}
