// The K likeliest tokens of a row of logits among those allowed: larger logits first, then lower ids (struct best of
// src/compute/exec.h). x counts slices of the vocabulary, y rows. A workgroup finds the K first of its slice; the last
// one of a row to end finds the K first of all slices.
//
// Nothing is sorted but what comes out: the K-th of the threads' own first entries is a limit which at most K threads
// pass, and what passes it is ranked by counting. The order is total, so it does not matter who writes first.
#version 460
#include "common.glsl"

layout(constant_id = 0) const uint K = 64; // a power of two, at most THREADS
layout(constant_id = 1) const uint N_SLICES = 38;
layout(constant_id = 2) const uint PER_THREAD = 16; // entries: of a slice, and of all slices together

// Between the workgroups of one dispatch.
layout(buffer_reference, std430, buffer_reference_align = 8) coherent buffer SharedVec2s { uvec2 v[]; };

// struct draw of src/compute/exec.h.
struct Draw
{
    float scale; // of logits; 0: the first one is drawn
    uint top_k;
    float top_p, log_min_p;
    uint64_t state;
};
layout(buffer_reference, std430, buffer_reference_align = 8) buffer Draws { Draw v[]; };

layout(push_constant) uniform Push
{
    Words logits;      // [..][n_vocab] floats
    Words allowed;     // a bit a token
    SharedVec2s parts; // [..][N_SLICES][K]
    Counters counters; // [..]
    Vec2sOut best;     // [..][K + 1] logit, id; behind the last one: 0, NONE.y; in the end the guess
    Words wanted;      // [..] the row of the batch
    // [rows of the batch] what the row is to be in the next step: the token guessed, one position further. Where the host
    // has another one, it writes them anew.
    WordsOut ids, pos;
    Draws draws;       // [..]
    Words order;       // as in flash.glsl: [..] rows of the batch
    uint64_t runs;     // 0, or [..] first, number, position, sequence: the position moves on, too
    uint n_vocab;
} p;

// An entry: a key that rises with the logit, above 0, and the id.
const uvec2 NONE = uvec2(0, 0xffffffff);

shared uvec2 s_first[THREADS];
shared uvec2 s_limit;
shared uvec2 s_found[K * PER_THREAD];
shared uint s_n;
shared float s_share[K], s_weight[K]; // of what is found: probabilities at temperature 1, at the draw's; not to scale

bool before(uvec2 a, uvec2 b)
{
    return a.x > b.x || a.x == b.x && a.y < b.y;
}

// Of the bits of a float; 0: NaN and minus infinity. Plus infinity is the largest number.
uint key_of(uint bits)
{
    const uint size = bits & 0x7fffffff;
    if (size > 0x7f800000 || bits == 0xff800000)
        return 0;
    if (size == 0)
        return 0x80000000;
    return bits == 0x7f800000 ? 0xff7fffff : bits > 0x7fffffff ? ~bits : bits | 0x80000000;
}

uint bits_of(uint key)
{
    return key > 0x7fffffff ? key ^ 0x80000000 : ~key;
}

// To s_found those of all threads' entries that may be among the K first; returns how many.
uint gather(const uvec2 own[PER_THREAD])
{
    uvec2 first = own[0];
    [[unroll]] for (uint i = 1; i < PER_THREAD; i++)
        first = before(own[i], first) ? own[i] : first;
    s_first[thread()] = first;
    if (thread() == 0) {
        s_limit = NONE;
        s_n = 0;
    }
    barrier();
    uint rank = 0;
    [[dont_unroll]] for (uint i = 0; i < THREADS; i += 8)
        [[unroll]] for (uint k = 0; k < 8; k++)
            rank += uint(before(s_first[i + k], first));
    if (rank == K - 1 && first.x != 0)
        s_limit = first;
    barrier();
    const uvec2 limit = s_limit;
    [[unroll]] for (uint i = 0; i < PER_THREAD; i++)
        if (own[i].x != 0 && !before(limit, own[i]))
            s_found[atomicAdd(s_n, 1)] = own[i];
    barrier();
    return s_n;
}

uint rank_of(uvec2 entry, uint n)
{
    uint rank = 0;
    [[dont_unroll]] for (uint i = 0; i < n; i++)
        rank += uint(before(s_found[i], entry));
    return rank;
}

void load_slice(uint row, uint slice, out uvec2 own[PER_THREAD])
{
    [[unroll]] for (uint i = 0; i < PER_THREAD; i++) {
        const uint id = (slice * PER_THREAD + i) * THREADS + thread(), at = min(id, p.n_vocab - 1);
        const uint key = key_of(p.logits.v[row * p.n_vocab + at]);
        const bool counts = id < p.n_vocab && (p.allowed.v[at / 32] >> at % 32 & 1) != 0;
        own[i] = counts && key != 0 ? uvec2(key, id) : NONE;
    }
}

// A thread has entries of many ranks: with the first ones of slices on few threads, the limit would be low.
void load_parts(uint row, out uvec2 own[PER_THREAD])
{
    [[unroll]] for (uint i = 0; i < PER_THREAD; i++) {
        const uint slice = i * (THREADS / K) + thread() / K, rank = (thread() + 37 * i) % K;
        const uvec2 entry = p.parts.v[(row * N_SLICES + min(slice, N_SLICES - 1)) * K + rank];
        own[i] = slice < N_SLICES ? entry : NONE;
    }
}

void put(bool merges, uint row, uint slice, uint rank, uvec2 entry)
{
    if (merges) {
        const uvec2 found = uvec2(entry.x == 0 ? 0 : bits_of(entry.x), entry.y);
        s_first[rank] = found;
        p.best.v[row * (K + 1) + rank] = found;
    } else {
        p.parts.v[(row * N_SLICES + slice) * K + rank] = entry;
    }
}

// The next number of a struct rng (src/base/rng.h), in [0, 1].
float next_number(inout uint64_t state)
{
    uint64_t z = state += 0x9e3779b97f4a7c15ul;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ul;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebul;
    return float(uint((z ^ (z >> 31)) >> 32)) * 2.3283064365386963e-10; // 2^-32
}

// Which of the n > 0 entries the sampler (src/engine/sampler.c) will draw, but for its rounding.
uint draw(inout Draw d, uint n)
{
    float total = 0, head = 0, sum = 0;
    for (uint i = 0; i < n; i++)
        total += s_share[i];
    uint kept = 0;
    for (; kept < n && head < d.top_p * total; kept++) {
        head += s_share[kept];
        sum += s_weight[kept];
    }
    float at = next_number(d.state) * sum;
    uint last = 0;
    for (uint i = 0; i < kept && at >= 0; i++) {
        if (s_weight[i] > 0)
            last = i;
        at -= s_weight[i];
    }
    return last;
}

// Behind the list of a row, of which n entries are there.
void guess(uint row, uint n)
{
    if (n == 0)
        return;
    Draw d = p.draws.v[row];
    if (d.scale != 0) {
        n = min(n, d.top_k);
        barrier();
        if (thread() < n) {
            const float below = uintBitsToFloat(s_first[thread()].x) - uintBitsToFloat(s_first[0].x);
            s_share[thread()] = exp(below);
            s_weight[thread()] = below >= d.log_min_p ? exp(below * d.scale) : 0;
        }
    }
    barrier();
    if (thread() != 0)
        return;
    const uint id = s_first[d.scale != 0 ? draw(d, n) : 0].y, to = p.wanted.v[row];
    p.best.v[row * (K + 1) + K] = uvec2(0, id);
    p.draws.v[row].state = d.state;
    p.ids.v[to] = id;
    p.pos.v[to]++;
    for (uint i = 0; p.runs != 0 && i < gl_NumWorkGroups.y; i++)
        if (p.order.v[i] == to)
            WordsOut(p.runs).v[4 * i + 2]++;
}

void main()
{
    const uint row = gl_WorkGroupID.y, slice = gl_WorkGroupID.x;
    // One loop, so that the code is there once.
    [[dont_unroll]] for (uint pass = 0; pass < 2; pass++) {
        const bool merges = pass != 0;
        uvec2 own[PER_THREAD];
        if (merges)
            load_parts(row, own);
        else
            load_slice(row, slice, own);
        const uint n = gather(own);
        [[dont_unroll]] for (uint i = thread(); i < n; i += THREADS) {
            const uint rank = rank_of(s_found[i], n);
            if (rank < K)
                put(merges, row, slice, rank, s_found[i]);
        }
        if (thread() >= n && thread() < K)
            put(merges, row, slice, thread(), NONE);
        if (merges)
            guess(row, min(n, K));
        if (merges || !last_to_arrive(p.counters, row, N_SLICES))
            return;
    }
}
