// OP_EMBED: x[t] = row ids[t] of the table. y counts rows; the threads of x share out the columns. It comes first: so it
// clears the sums of route_share.glsl, too.
#version 460
#include "common.glsl"
#include "matrix.glsl"

layout(push_constant) uniform Push
{
    uint64_t table;
    Words ids;
    FloatsOut x; // [..][N_COLS]
    Sums shares;
    uint n_shares;
} p;

Place place_of(uint i)
{
    return Place(p.table, i, 1); // never called: rows are looked up here
}

void put(uint64_t group, uint token, uint row, uint i)
{
    const uint r = row % 4, rows = row / 4;
    if (IS_FLOAT) {
        p.x.v[token * N_COLS + i] = load_column(TYPE, group, i, rows)[r];
        return;
    }
    const uint block = i / 4, part = i % 4;
    const Codes c = load_codes(TYPE, group, block, part, rows);
    const Factors f = factors_of(TYPE, c);
    const uvec2 q = codes_of(TYPE, c, part, r);
    [[unroll]] for (uint k = 0; k < 4; k++) {
        const uint to = token * N_COLS + block * 32 + part * 4 + k;
        const float low = bitfieldExtract(int(q.x), int(8 * k), 8) - offset_of(TYPE);
        const float high = bitfieldExtract(int(q.y), int(8 * k), 8) - offset_of(TYPE);
        p.x.v[to] = f.low[r] * low + f.min_low[r];
        p.x.v[to + 16] = f.high[r] * high + f.min_high[r];
    }
}

void main()
{
    const uint token = gl_WorkGroupID.y, id = p.ids.v[token];
    const uint64_t group = p.table + uint64_t(id / 16) * group_bytes(TYPE);
    table_fill();
    barrier();
    const uint n = IS_FLOAT ? N_COLS : N_BLOCKS * 4;
    for (uint i = gl_WorkGroupID.x * THREADS + thread(); i < n; i += gl_NumWorkGroups.x * THREADS)
        put(group, token, id % 16, i);
    const uint n_threads = gl_NumWorkGroups.x * gl_NumWorkGroups.y * THREADS;
    for (uint i = (token * gl_NumWorkGroups.x + gl_WorkGroupID.x) * THREADS + thread(); i < p.n_shares; i += n_threads)
        p.shares.v[i] = 0;
}
