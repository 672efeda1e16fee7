// The K likeliest tokens of a row of logits among those allowed: larger logits first, then lower ids (struct best of
// src/compute/exec.h). The largest key of each group of 16 tokens is there already, from head.comp, or is found first by
// x workgroups, of which the last one goes on: it looks into those few groups whose largest may be among the K. y: rows.
//
// Nothing is sorted but what comes out: the K-th of the largest keys of buckets is a limit which at least K
// entries pass, and what passes it is ranked by counting. The order is total, so it does not matter who writes first.
#version 460
#define MANY_THREADS
#include "common.glsl"
#include "key.glsl"

layout(constant_id = 0) const uint K = 64;      // at most BUCKETS
layout(constant_id = 1) const uint N_KEYS = 10; // of a thread

const uint GROUP = 16; // tokens
const uint BUCKETS = 128, SHARERS = THREADS / BUCKETS; // threads of a bucket, or of an entry that is ranked: at most 8

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
    Words allowed;     // a bit a token; 0 for those past the vocabulary, which have memory, too, in all groups
    SharedWords keys;  // [..][N_KEYS][THREADS] the largest ones of groups
    Counters counters; // [..]
    Vec2sOut best;     // [..][K + 1] logit, id; behind the last one: 0, NO_ID; in the end the guess
    Words wanted;      // [..] the row of the batch
    // [rows of the batch] what the row is to be in the next step: the token guessed, one position further. Where the host
    // has another one, it writes them anew.
    WordsOut ids, pos;
    Draws draws;       // [..]
    Words order;       // as in flash.glsl: [..] rows of the batch
    uint64_t runs;     // 0, or [..] first, number, position, sequence: the position moves on, too
    uint n_vocab, has_keys;
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
const uint GROUPS = 128, TURNS = GROUPS * GROUP / THREADS;
shared uint s_groups[GROUPS];
shared uint64_t s_found[K + GROUPS * GROUP + 8 * SHARERS], s_best[K], s_limit;
shared uint s_n_groups, s_n_found;
shared float s_share[K], s_weight[K]; // of what is found: probabilities at temperature 1, at the draw's; not to scale

uint largest_key(uint row, uint group)
{
    Words logits = Words(uint64_t(p.logits) + 4 * (row * p.n_vocab + group * GROUP));
    const uint word = p.allowed.v[group * GROUP / 32];
    uint key = 0;
    [[unroll]] for (uint i = 0; i < GROUP; i++)
        key = max(key, allowed_key(group * GROUP + i, logits.v[i], word));
    return key;
}

// How many of the n first of s_found, a multiple of 8 SHARERS, come before the entry, which SHARERS threads have.
uint rank_of(uint64_t entry, uint n)
{
    uint rank = 0;
    [[dont_unroll]] for (uint i = thread() % SHARERS; i < n; i += 8 * SHARERS)
        [[unroll]] for (uint k = 0; k < 8; k++)
            rank += uint(s_found[i + k * SHARERS] > entry);
    [[unroll]] for (uint i = 1; i < SHARERS; i *= 2)
        rank += subgroupShuffleXor(rank, i);
    return rank;
}

// To s_limit what at least K entries are as large as: the K-th of the largest keys of buckets.
void find_limit(const uint own[N_KEYS])
{
    uint key = own[0];
    [[unroll]] for (uint i = 1; i < N_KEYS; i++)
        key = max(key, own[i]);
    [[unroll]] for (uint i = 1; i < SHARERS; i *= 2)
        key = max(key, subgroupShuffleXor(key, i));
    const uint64_t entry = entry_of(key, thread() / SHARERS);
    s_found[thread() / SHARERS] = entry;
    if (thread() == 0)
        s_limit = entry_of(1, NO_ID);
    barrier();
    if (rank_of(entry, BUCKETS) == K - 1 && key != 0)
        s_limit = entry_of(key, NO_ID);
    if (thread() == 0)
        s_n_groups = s_n_found = 0;
    barrier();
}

// To s_groups as many as fit of those left whose key is as large as the limit. Left: a bit for each of own. Returns how
// many there were.
const uint WORDS = (N_KEYS + 31) / 32;
uint gather(const uint own[N_KEYS], inout uint left[WORDS])
{
    const uint limit = key_of(s_limit);
    [[unroll]] for (uint w = 0; w < WORDS; w++) {
        uint pass = 0;
        [[unroll]] for (uint i = 32 * w; i < min(32 * w + 32, N_KEYS); i++)
            pass |= uint(own[i] >= limit) << i % 32;
        left[w] &= pass;
        [[dont_unroll]] while (left[w] != 0) {
            const uint at = atomicAdd(s_n_groups, 1);
            if (at >= GROUPS)
                break;
            s_groups[at] = (32 * w + findLSB(left[w])) * THREADS + thread();
            left[w] &= left[w] - 1;
        }
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
        const uint token = min(i * THREADS + thread(), n * GROUP - 1);
        ids[i] = s_groups[token / GROUP] * GROUP + token % GROUP;
        bits[i] = p.logits.v[row * p.n_vocab + ids[i]];
        words[i] = p.allowed.v[ids[i] / 32];
    }
    [[unroll]] for (uint i = 0; i < TURNS; i++) {
        const uint64_t entry = entry_of(allowed_key(ids[i], bits[i], words[i]), ids[i]);
        if (i * THREADS + thread() < n * GROUP && entry >= limit)
            s_found[atomicAdd(s_n_found, 1)] = entry;
    }
}

// To s_best the K first of s_found, in order; returns how many there are, at most K.
uint rank_found()
{
    barrier();
    const uint n = s_n_found;
    if (thread() < 8 * SHARERS)
        s_found[n + thread()] = 0;
    barrier();
    [[dont_unroll]] for (uint i = thread() / SHARERS; i < n; i += BUCKETS) {
        const uint64_t entry = s_found[i];
        const uint rank = rank_of(entry, n + 8 * SHARERS - 1 & ~(8 * SHARERS - 1));
        if (rank < K)
            s_best[rank] = entry;
    }
    barrier();
    return min(n, K);
}

// To s_best those of the row; returns how many there are, at most K.
uint find_best(uint row, const uint own[N_KEYS])
{
    uint left[WORDS];
    [[unroll]] for (uint w = 0; w < WORDS; w++)
        left[w] = 0xffffffff;
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
            const float below = logit_of(s_best[thread()]) - logit_of(s_best[0]);
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
    const uint t = thread(), row = gl_WorkGroupID.y, first = row * N_KEYS * THREADS + t;
    if (p.has_keys == 0) {
        const uint slice = gl_WorkGroupID.x * THREADS;
        p.keys.v[first + slice] = largest_key(row, slice + t);
        if (!last_to_arrive(p.counters, row, N_KEYS))
            return;
    }
    // Under way beside the rest.
    const Draw d = p.draws.v[row];
    const uint to = p.wanted.v[row], pos = p.pos.v[to];
    uint own[N_KEYS];
    [[unroll]] for (uint i = 0; i < N_KEYS; i++)
        own[i] = p.keys.v[first + i * THREADS];
    const uint n = find_best(row, own);
    if (t < K) {
        const uint64_t entry = s_best[t];
        p.best.v[row * (K + 1) + t] = t < n ? uvec2(bits_of_key(key_of(entry)), id_of(entry)) : uvec2(0, NO_ID);
    }
    guess(row, n, d, to, pos);
}
