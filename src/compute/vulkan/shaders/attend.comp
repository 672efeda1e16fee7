// Second half of OP_ATTEND: softmax attention of all query heads of a key head over the cache. x counts key heads
// and splits of the positions, y rows. A workgroup walks its positions in tiles with an online softmax; the last
// of a row and key head to end merges the splits, in rising order.
#version 460
#include "common.glsl"
#include "cache.glsl"

layout(constant_id = 0) const uint HEAD_DIM = 128;   // even
layout(constant_id = 1) const uint HEAD_DIM_V = 128; // even, at most 512
layout(constant_id = 2) const uint KEY_TYPE = CACHE_F16;
layout(constant_id = 3) const uint VALUE_TYPE = CACHE_F16;
layout(constant_id = 4) const uint N_KV_HEADS = 4;
layout(constant_id = 5) const uint N_QUERIES = 8; // heads of a key head, at most 32
layout(constant_id = 6) const uint TILE = 64;     // positions: 16, 32 or 64
layout(constant_id = 7) const uint WINDOW = 0;    // 0: all
layout(constant_id = 8) const uint GATED = 0;

layout(push_constant) uniform Push
{
    Floats ready;          // [..][heads][HEAD_DIM], scaled
    uint64_t keys, values; // see heads.comp
    uint64_t gates;        // GATED: q as it came
    uint64_t sinks;        // 0 or [heads]
    FloatsOut to;          // [..][heads][HEAD_DIM_V]
    SharedFloats partials; // [..][N_KV_HEADS][splits][N_QUERIES][HEAD_DIM_V + 2]
    Counters counters;     // [..][N_KV_HEADS]
    Words pos, seq;        // [..]
    uint n_cache;
    uint n_splits;
} p;

// Keys of a tile: F32 as floats, else pairs of halves; a word of padding keeps rows off the same
// banks.
const bool IS_WIDE = KEY_TYPE == CACHE_F32;
const uint KEY_WORDS = (IS_WIDE ? HEAD_DIM : HEAD_DIM / 2) + 1;
shared uint s_keys[TILE * KEY_WORDS];
shared float s_query[N_QUERIES * HEAD_DIM];
shared float s_score[N_QUERIES * TILE];
shared float s_most[N_QUERIES], s_total[N_QUERIES], s_keep[N_QUERIES];

// Scores: a thread has one position and every SCORE_GROUPS-th query.
const uint SCORE_GROUPS = THREADS / TILE;
const uint SCORES = (N_QUERIES + SCORE_GROUPS - 1) / SCORE_GROUPS;
// Sums: a thread has two elements of every SUM_GROUPS-th query.
const uint PAIRS = HEAD_DIM_V / 2;
const uint SUM_GROUPS = THREADS / PAIRS;
const uint SUMS = (N_QUERIES + SUM_GROUPS - 1) / SUM_GROUPS;

const float LEAST = -1e30;

void load_keys(uint64_t keys, uint first, uint end)
{
    for (uint i = thread(); i < TILE * (HEAD_DIM / 2); i += THREADS) {
        const uint row = i / (HEAD_DIM / 2), pair = i % (HEAD_DIM / 2);
        const uint pos = min(first + row, end - 1) % p.n_cache;
        const uint64_t at = keys + uint64_t(pos) * cache_row_bytes(KEY_TYPE, HEAD_DIM);
        const vec2 x = cache_pair(KEY_TYPE, at, HEAD_DIM, 2 * pair);
        if (IS_WIDE) {
            s_keys[row * KEY_WORDS + 2 * pair] = floatBitsToUint(x.x);
            s_keys[row * KEY_WORDS + 2 * pair + 1] = floatBitsToUint(x.y);
        } else {
            s_keys[row * KEY_WORDS + pair] = packHalf2x16(x);
        }
    }
}

vec2 key_pair(uint row, uint pair)
{
    if (IS_WIDE)
        return vec2(uintBitsToFloat(s_keys[row * KEY_WORDS + 2 * pair]),
                    uintBitsToFloat(s_keys[row * KEY_WORDS + 2 * pair + 1]));
    return unpackHalf2x16(s_keys[row * KEY_WORDS + pair]);
}

void score(uint first, uint end)
{
    const uint row = thread() % TILE, from = thread() / TILE;
    float s[SCORES];
    [[unroll]] for (uint i = 0; i < SCORES; i++)
        s[i] = 0;
    for (uint pair = 0; pair < HEAD_DIM / 2; pair++) {
        const vec2 k = key_pair(row, pair);
        [[unroll]] for (uint i = 0; i < SCORES; i++) {
            const uint q = min(from + i * SCORE_GROUPS, N_QUERIES - 1) * HEAD_DIM + 2 * pair;
            s[i] += k.x * s_query[q] + k.y * s_query[q + 1];
        }
    }
    [[unroll]] for (uint i = 0; i < SCORES; i++) {
        const uint q = from + i * SCORE_GROUPS;
        if (q < N_QUERIES)
            s_score[q * TILE + row] = first + row < end ? s[i] : LEAST;
    }
}

// Eight threads per query: scores become weights.
void soften(uint first, uint end)
{
    const uint q = thread() / 8, lane = thread() % 8;
    if (q >= N_QUERIES)
        return;
    float most = s_most[q];
    for (uint i = lane; i < TILE; i += 8)
        most = max(most, s_score[q * TILE + i]);
    [[unroll]] for (uint x = 1; x < 8; x *= 2)
        most = max(most, subgroupShuffleXor(most, x));
    float total = 0;
    for (uint i = lane; i < TILE; i += 8) {
        const float w = first + i < end ? exp(s_score[q * TILE + i] - most) : 0;
        s_score[q * TILE + i] = w;
        total += w;
    }
    [[unroll]] for (uint x = 1; x < 8; x *= 2)
        total += subgroupShuffleXor(total, x);
    if (lane == 0) {
        const float keep = exp(s_most[q] - most);
        s_keep[q] = keep;
        s_most[q] = most;
        s_total[q] = s_total[q] * keep + total;
    }
}

void weigh(uint64_t values, uint first, uint end, inout vec2 sum[SUMS])
{
    const uint pair = thread() % PAIRS, from = thread() / PAIRS;
    if (from >= SUM_GROUPS)
        return;
    [[unroll]] for (uint i = 0; i < SUMS; i++)
        sum[i] *= s_keep[min(from + i * SUM_GROUPS, N_QUERIES - 1)];
    const uint n = min(TILE, end - first);
    for (uint row = 0; row < n; row++) {
        const uint64_t at = values + uint64_t((first + row) % p.n_cache) *
                                         cache_row_bytes(VALUE_TYPE, HEAD_DIM_V);
        const vec2 v = cache_pair(VALUE_TYPE, at, HEAD_DIM_V, 2 * pair);
        [[unroll]] for (uint i = 0; i < SUMS; i++)
            sum[i] += s_score[min(from + i * SUM_GROUPS, N_QUERIES - 1) * TILE + row] * v;
    }
}

void put(uint token, uint kv_head, uint q, uint element, float x)
{
    const uint head = kv_head * N_QUERIES + q, row = token * N_KV_HEADS * N_QUERIES + head;
    if (GATED != 0) {
        const float g = Floats(p.gates).v[row * 2 * HEAD_DIM + HEAD_DIM + element];
        x /= 1 + exp(-g);
    }
    p.to.v[row * HEAD_DIM_V + element] = x;
}

float sink_of(uint kv_head, uint q)
{
    return p.sinks != 0 ? Floats(p.sinks).v[kv_head * N_QUERIES + q] : LEAST;
}

// Sums, maximum and total of every split, one after the other, to the result.
void merge(uint token, uint kv_head, uint base)
{
    const uint STEP = HEAD_DIM_V + 2;
    for (uint i = thread(); i < N_QUERIES * HEAD_DIM_V; i += THREADS) {
        const uint q = i / HEAD_DIM_V, element = i % HEAD_DIM_V;
        const float sink = sink_of(kv_head, q);
        float most = sink;
        for (uint s = 0; s < p.n_splits; s++)
            most = max(most, p.partials.v[base + (s * N_QUERIES + q) * STEP + HEAD_DIM_V]);
        float sum = 0, total = p.sinks != 0 ? exp(sink - most) : 0;
        for (uint s = 0; s < p.n_splits; s++) {
            const uint at = base + (s * N_QUERIES + q) * STEP;
            const float w = exp(p.partials.v[at + HEAD_DIM_V] - most);
            sum += w * p.partials.v[at + element];
            total += w * p.partials.v[at + HEAD_DIM_V + 1];
        }
        put(token, kv_head, q, element, sum / total);
    }
}

void main()
{
    const uint t = thread(), token = gl_WorkGroupID.y;
    const uint kv_head = gl_WorkGroupID.x / p.n_splits, split = gl_WorkGroupID.x % p.n_splits;
    const uint last = p.pos.v[token] + 1;
    const uint start = WINDOW != 0 && last > WINDOW ? last - WINDOW : 0;
    const uint span = ((last - start + p.n_splits - 1) / p.n_splits + TILE - 1) / TILE * TILE;
    const uint first = start + split * span, end = min(first + span, last);
    const uint64_t slot = uint64_t(p.seq.v[token] * N_KV_HEADS + kv_head) * p.n_cache;
    const uint64_t keys = p.keys + slot * cache_row_bytes(KEY_TYPE, HEAD_DIM);
    const uint64_t values = p.values + slot * cache_row_bytes(VALUE_TYPE, HEAD_DIM_V);

    for (uint i = t; i < N_QUERIES * HEAD_DIM; i += THREADS)
        s_query[i] = p.ready.v[(token * N_KV_HEADS + kv_head) * N_QUERIES * HEAD_DIM + i];
    for (uint q = t; q < N_QUERIES; q += THREADS) {
        s_most[q] = LEAST;
        s_total[q] = 0;
    }
    vec2 sum[SUMS];
    [[unroll]] for (uint i = 0; i < SUMS; i++)
        sum[i] = vec2(0);
    for (uint at = first; at < end; at += TILE) {
        load_keys(keys, at, end);
        barrier();
        score(at, end);
        barrier();
        soften(at, end);
        barrier();
        weigh(values, at, end, sum);
    }
    barrier();

    const uint pair = t % PAIRS, from = t / PAIRS;
    const uint base = (token * N_KV_HEADS + kv_head) * p.n_splits * N_QUERIES * (HEAD_DIM_V + 2);
    [[unroll]] for (uint i = 0; i < SUMS; i++) {
        const uint q = from + i * SUM_GROUPS;
        if (from >= SUM_GROUPS || q >= N_QUERIES)
            continue;
        const uint at = base + (split * N_QUERIES + q) * (HEAD_DIM_V + 2);
        p.partials.v[at + 2 * pair] = sum[i].x;
        p.partials.v[at + 2 * pair + 1] = sum[i].y;
        if (pair == 0) {
            p.partials.v[at + HEAD_DIM_V] = s_most[q];
            p.partials.v[at + HEAD_DIM_V + 1] = s_total[q];
        }
    }
    if (last_to_arrive(p.counters, token * N_KV_HEADS + kv_head, p.n_splits))
        merge(token, kv_head, base);
}
