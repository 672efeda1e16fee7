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
shared uvec2 s_before[SUBGROUPS];

// Experts of pairs from `first` on, all under way at once; N_EXPERTS past the end.
const uint BATCH = 8;

void load_experts(uint first, out uint experts[BATCH])
{
    [[unroll]] for (uint i = 0; i < BATCH; i++) {
        const uint pair = first + i * THREADS + thread();
        experts[i] = pair < p.n_pairs ? p.ids.v[pair] : N_EXPERTS;
    }
}

// Of the threads before this one; `all`: of all threads.
uvec2 sum_before(uvec2 x, out uvec2 all)
{
    const uvec2 within = subgroupInclusiveAdd(x);
    if (gl_SubgroupInvocationID == subgroup_size() - 1)
        s_before[gl_SubgroupID] = within;
    barrier();
    uvec2 sum = within - x;
    all = uvec2(0);
    [[unroll]] for (uint i = 0; i < n_subgroups(); i++) {
        sum += i < gl_SubgroupID ? s_before[i] : uvec2(0);
        all += s_before[i];
    }
    barrier();
    return sum;
}

// Tiles of expert e, whose pairs and tiles are counted from `before`.
void put_tiles(uint e, uvec2 before)
{
    s_next[e] = before.x;
    uint tile = before.y;
    for (uint done = 0; done < s_count[e]; done += TILE, tile++) {
        p.tiles.v[4 * tile] = e;
        p.tiles.v[4 * tile + 1] = before.x + done;
        p.tiles.v[4 * tile + 2] = min(s_count[e] - done, TILE);
    }
}

void main()
{
    const uint t = thread();
    uint experts[BATCH];
    for (uint e = t; e < N_EXPERTS; e += THREADS)
        s_count[e] = 0;
    barrier();
    for (uint first = 0; first < p.n_pairs; first += BATCH * THREADS) {
        load_experts(first, experts);
        [[unroll]] for (uint i = 0; i < BATCH; i++)
            if (experts[i] < N_EXPERTS)
                atomicAdd(s_count[experts[i]], 1u);
    }
    barrier();
    uvec2 before = uvec2(0), all;
    for (uint first = 0; first < N_EXPERTS; first += THREADS) {
        const uint e = first + t, count = e < N_EXPERTS ? s_count[e] : 0;
        const uvec2 own = before + sum_before(uvec2(count, (count + TILE - 1) / TILE), all);
        if (e < N_EXPERTS)
            put_tiles(e, own);
        before += all;
    }
    if (t == 0) {
        p.counts.v[0] = p.x;
        p.counts.v[1] = before.y;
        p.counts.v[2] = 1;
    }
    barrier();
    for (uint first = 0; first < p.n_pairs; first += BATCH * THREADS) {
        load_experts(first, experts);
        [[unroll]] for (uint i = 0; i < BATCH; i++)
            if (experts[i] < N_EXPERTS)
                p.pairs.v[atomicAdd(s_next[experts[i]], 1u)] = first + i * THREADS + t;
    }
}
