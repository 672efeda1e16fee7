// The K likeliest tokens of a row of logits among those allowed: larger logits first, then lower ids (struct best of
// src/compute/exec.h). x counts slices of the vocabulary, y rows. Each thread of a slice finds the largest key of its few
// tokens; the last workgroup of a row to end looks into those few groups whose largest may be among the K.
//
// Nothing is sorted but what comes out: the K-th of the largest keys of pairs of threads is a limit which at least K
// entries pass, and what passes it is ranked by counting. The order is total, so it does not matter who writes first.
#version 460
#include "common.glsl"

layout(constant_id = 0) const uint K = 64;         // at most THREADS / 2
layout(constant_id = 1) const uint N_SLICES = 38;  // the last workgroup has a key of each in a thread
layout(constant_id = 2) const uint PER_GROUP = 16; // tokens, THREADS apart

// Between the workgroups of one dispatch.
layout(buffer_reference, std430, buffer_reference_align = 4) coherent buffer SharedWords { uint v[]; };

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
    Words allowed;     // a bit a token; 0 for those past the vocabulary, which have memory, too, in all slices
    SharedWords parts; // [..][N_SLICES][THREADS] the largest keys of groups
    Counters counters; // [..]
    Vec2sOut best;     // [..][K + 1] logit, id; behind the last one: 0, NO_ID; in the end the guess
    Words wanted;      // [..] the row of the batch
    // [rows of the batch] what the row is to be in the next step: the token guessed, one position further. Where the host
    // has another one, it writes them anew.
    WordsOut ids, pos;
    Draws draws;       // [..]
    Words order;       // as in flash.glsl: [..] rows of the batch
    uint64_t runs;     // 0, or [..] first, number, position, sequence: the position moves on, too
    uint n_vocab;
} p;

const uint NO_ID = 0xffffffff;

// An entry of a token: its key, which rises with the logit, and below it ~id, so that the larger one comes first. 0: none.
uint64_t entry_of(uint key, uint id)
{
    return packUint2x32(uvec2(~id, key));
}

uint key_of(uint64_t entry)
{
    return uint(entry >> 32);
}

uint id_of(uint64_t entry)
{
    return ~uint(entry);
}

// Groups that are looked into at once, and their tokens in turns of a thread's.
const uint GROUPS = PER_GROUP > 16 ? 2048 / PER_GROUP : 128, TURNS = (GROUPS * PER_GROUP + THREADS - 1) / THREADS;
shared uint s_groups[GROUPS];
shared uint64_t s_found[K + GROUPS * PER_GROUP + 16], s_best[K], s_limit;
shared uint s_n_groups, s_n_found;
shared float s_share[K], s_weight[K]; // of what is found: probabilities at temperature 1, at the draw's; not to scale

// 0: NaN and minus infinity. Plus infinity is the largest number, and there is one zero.
uint key_of_bits(uint bits)
{
    uint key = bits ^ (uint(int(bits) >> 31) | 0x80000000);
    key += uint(key == 0x7fffffff);
    return key - 0x00800000 > 0xff000000 ? 0 : min(key, 0xff7fffff);
}

uint bits_of_key(uint key)
{
    return key > 0x7fffffff ? key ^ 0x80000000 : ~key;
}

// The first token of a group; the others are THREADS apart.
uint first_of(uint group)
{
    return group / THREADS * PER_GROUP * THREADS + group % THREADS;
}

// Of a token, given the word with its bit; 0 if it is not allowed.
uint allowed_key(uint id, uint bits, uint word)
{
    return (word >> id % 32 & 1) != 0 ? key_of_bits(bits) : 0;
}

uint largest_key(uint row, uint group)
{
    const uint id = first_of(group);
    Words logits = Words(uint64_t(p.logits) + 4 * (row * p.n_vocab + id));
    Words allowed = Words(uint64_t(p.allowed) + 4 * (id / 32));
    uint bits[PER_GROUP], words[PER_GROUP], key = 0;
    [[unroll]] for (uint i = 0; i < PER_GROUP; i++) {
        bits[i] = logits.v[i * THREADS];
        words[i] = allowed.v[i * THREADS / 32];
    }
    [[unroll]] for (uint i = 0; i < PER_GROUP; i++)
        key = max(key, allowed_key(id, bits[i], words[i]));
    return key;
}

// How many of the n first of s_found, a multiple of 16, come before the entry: a pair of threads has the same one.
uint rank_of(uint64_t entry, uint n)
{
    uint rank = 0;
    [[dont_unroll]] for (uint i = thread() % 2; i < n; i += 16)
        [[unroll]] for (uint k = 0; k < 16; k += 2)
            rank += uint(s_found[i + k] > entry);
    return rank + subgroupShuffleXor(rank, 1);
}

// To s_limit what at least K entries are as large as: the K-th of the largest keys of pairs of threads.
void find_limit(const uint own[N_SLICES])
{
    uint key = own[0];
    [[unroll]] for (uint i = 1; i < N_SLICES; i++)
        key = max(key, own[i]);
    key = max(key, subgroupShuffleXor(key, 1));
    const uint64_t entry = entry_of(key, thread() / 2);
    s_found[thread() / 2] = entry;
    if (thread() == 0)
        s_limit = entry_of(1, NO_ID);
    barrier();
    if (rank_of(entry, THREADS / 2) == K - 1 && key != 0)
        s_limit = entry_of(key, NO_ID);
    if (thread() == 0)
        s_n_groups = s_n_found = 0;
    barrier();
}

// To s_groups as many as fit of those left whose key is as large as the limit. Left: a bit for each of own. Returns how
// many there were.
uint gather(const uint own[N_SLICES], inout uvec2 left)
{
    const uint limit = key_of(s_limit);
    uvec2 pass = uvec2(0);
    [[unroll]] for (uint i = 0; i < N_SLICES; i++)
        pass[i / 32] |= uint(own[i] >= limit) << i % 32;
    left &= pass;
    [[dont_unroll]] while (left != uvec2(0)) {
        const uint at = atomicAdd(s_n_groups, 1);
        if (at >= GROUPS)
            break;
        const uint slice = left.x != 0 ? findLSB(left.x) : 32 + findLSB(left.y);
        left = left.x != 0 ? uvec2(left.x & left.x - 1, left.y) : uvec2(0, left.y & left.y - 1);
        s_groups[at] = slice * THREADS + thread();
    }
    barrier();
    return s_n_groups;
}

// Adds what is as large as the limit of the first n > 0 of s_groups to s_found.
void look_into(uint row, uint n)
{
    const uint64_t limit = s_limit;
    uint ids[TURNS], bits[TURNS], words[TURNS];
    [[unroll]] for (uint i = 0; i < TURNS; i++) {
        const uint token = min(i * THREADS + thread(), n * PER_GROUP - 1);
        ids[i] = first_of(s_groups[token / PER_GROUP]) + token % PER_GROUP * THREADS;
        bits[i] = p.logits.v[row * p.n_vocab + ids[i]];
        words[i] = p.allowed.v[ids[i] / 32];
    }
    [[unroll]] for (uint i = 0; i < TURNS; i++) {
        const uint64_t entry = entry_of(allowed_key(ids[i], bits[i], words[i]), ids[i]);
        if (i * THREADS + thread() < n * PER_GROUP && entry >= limit)
            s_found[atomicAdd(s_n_found, 1)] = entry;
    }
}

// To s_best the K first of s_found, in order; returns how many there are, at most K.
uint rank_found()
{
    barrier();
    const uint n = s_n_found;
    if (thread() < 16)
        s_found[n + thread()] = 0;
    barrier();
    [[dont_unroll]] for (uint i = thread() / 2; i < n; i += THREADS / 2) {
        const uint64_t entry = s_found[i];
        const uint rank = rank_of(entry, n + 15 & ~15u);
        if (rank < K)
            s_best[rank] = entry;
    }
    barrier();
    return min(n, K);
}

// To s_best those of the row; returns how many there are, at most K.
uint find_best(uint row, const uint own[N_SLICES])
{
    uvec2 left = uvec2(0xffffffff);
    find_limit(own);
    uint n_best = 0;
    [[dont_unroll]] for (;;) {
        const uint n = gather(own, left);
        if (n != 0)
            look_into(row, min(n, GROUPS));
        n_best = rank_found();
        if (n <= GROUPS)
            return n_best;
        // Seldom: the next ones are looked into beside those found, of which the last one is the limit.
        if (thread() < n_best)
            s_found[thread()] = s_best[thread()];
        if (thread() == 0) {
            s_limit = n_best == K ? s_best[K - 1] : entry_of(1, NO_ID);
            s_n_groups = 0;
            s_n_found = n_best;
        }
        barrier();
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

float logit_of(uint64_t entry)
{
    return uintBitsToFloat(bits_of_key(key_of(entry)));
}

// Behind the list of a row, of which n entries are there.
void guess(uint row, uint n, Draw d, uint to, uint pos)
{
    if (n == 0)
        return;
    if (d.scale != 0) {
        n = min(n, d.top_k);
        if (thread() < n) {
            const float below =
                logit_of(s_best[thread()]) - logit_of(s_best[0]);
            s_share[thread()] = exp(below);
            s_weight[thread()] = below >= d.log_min_p ? exp(below * d.scale) : 0;
        }
        barrier();
    }
    if (thread() != 0)
        return;
    const uint id = id_of(s_best[d.scale != 0 ? draw(d, n) : 0]);
    p.best.v[row * (K + 1) + K] = uvec2(0, id);
    p.draws.v[row].state = d.state;
    p.ids.v[to] = id;
    p.pos.v[to] = pos + 1;
    for (uint i = 0; p.runs != 0 && i < gl_NumWorkGroups.y; i++)
        if (p.order.v[i] == to)
            WordsOut(p.runs).v[4 * i + 2]++;
}

void main()
{
    const uint t = thread(), row = gl_WorkGroupID.y, group = gl_WorkGroupID.x * THREADS + t;
    p.parts.v[row * N_SLICES * THREADS + group] = largest_key(row, group);
    if (!last_to_arrive(p.counters, row, N_SLICES))
        return;
    // Under way beside the rest.
    const Draw d = p.draws.v[row];
    const uint to = p.wanted.v[row], pos = p.pos.v[to];
    uint own[N_SLICES];
    [[unroll]] for (uint i = 0; i < N_SLICES; i++)
        own[i] = p.parts.v[(row * N_SLICES + i) * THREADS + t];
    const uint n = find_best(row, own);
    if (t < K) {
        const uint64_t entry = s_best[t];
        p.best.v[row * (K + 1) + t] = t < n ? uvec2(bits_of_key(key_of(entry)), id_of(entry)) : uvec2(0, NO_ID);
    }
    guess(row, n, d, to, pos);
}
