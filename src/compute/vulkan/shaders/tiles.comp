// Chosen experts of all rows to tiles of at most TILE pairs (row, choice) of one expert, for gemm.glsl: counted, summed,
// scattered. One workgroup. The order of an expert's pairs differs from run to run; what comes out of a
// pair does not depend on its place.
#version 460
#include "common.glsl"

layout(constant_id = 0) const uint N_EXPERTS = 128;
layout(constant_id = 1) const uint TILE = 64;

layout(push_constant) uniform Push
{
    Words ids; // [n_pairs]
    WordsOut counts; // of workgroups, x y z: for an indirect dispatch
    WordsOut tiles; // [..][4] expert, first pair, pairs
    WordsOut pairs; // [n_pairs]
    uint n_pairs;
    uint x;
} p;

shared uint s_count[N_EXPERTS], s_next[N_EXPERTS];

void main()
{
    const uint t = thread();
    for (uint e = t; e < N_EXPERTS; e += THREADS)
        s_count[e] = 0;
    barrier();
    for (uint i = t; i < p.n_pairs; i += THREADS)
        atomicAdd(s_count[p.ids.v[i]], 1u);
    barrier();
    for (uint e = t; e < N_EXPERTS; e += THREADS) {
        uint first = 0, tile = 0;
        [[dont_unroll]] for (uint i = 0; i < e; i++) {
            first += s_count[i];
            tile += (s_count[i] + TILE - 1) / TILE;
        }
        s_next[e] = first;
        for (uint done = 0; done < s_count[e]; done += TILE, tile++) {
            p.tiles.v[4 * tile] = e;
            p.tiles.v[4 * tile + 1] = first + done;
            p.tiles.v[4 * tile + 2] = min(s_count[e] - done, TILE);
        }
        if (e == N_EXPERTS - 1) {
            p.counts.v[0] = p.x;
            p.counts.v[1] = tile;
            p.counts.v[2] = 1;
        }
    }
    barrier();
    for (uint i = t; i < p.n_pairs; i += THREADS)
        p.pairs.v[atomicAdd(s_next[p.ids.v[i]], 1u)] = i;
}
