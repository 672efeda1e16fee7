// OP_ATTEND, or its second half behind heads.comp: softmax attention of all query heads of a key head over the
// cache. x counts key heads and splits of the positions, y rows. A workgroup walks its positions in tiles with an
// online softmax; the last of a row and key head to end merges the splits, in rising order.
//
// FUSED is for single rows: a workgroup normalises and rotates its own queries and the new key, and the one that
// owns the new position stores it.
#version 460
#include "common.glsl"
#include "cache.glsl"

layout(constant_id = 0) const uint HEAD_DIM = 128;   // a multiple of 8
layout(constant_id = 1) const uint HEAD_DIM_V = 128; // the same, at most 512
layout(constant_id = 2) const uint KEY_TYPE = CACHE_F16;
layout(constant_id = 3) const uint VALUE_TYPE = CACHE_F16;
layout(constant_id = 4) const uint N_KV_HEADS = 4;
layout(constant_id = 5) const uint N_QUERIES = 8; // heads of a key head, at most 30
layout(constant_id = 6) const uint TILE = 64;     // positions: 16, 32 or 64
layout(constant_id = 7) const uint WINDOW = 0;    // 0: all
layout(constant_id = 8) const uint GATED = 0;     // q comes as [heads][HEAD_DIM query | gate]
layout(constant_id = 9) const uint FUSED = 0;
layout(constant_id = 10) const uint N_ROT = 128;  // see heads.comp
layout(constant_id = 11) const uint ADJACENT = 0;

layout(constant_id = 12) const uint EPS_BITS = 0;   // of a float
layout(constant_id = 13) const uint SCALE_BITS = 0; // of a float: FUSED queries are multiplied with it
layout(constant_id = 14) const uint N_UBATCH = 1;

layout(push_constant) uniform Push
{
    Float4s ready;           // [..][heads][HEAD_DIM], scaled; not FUSED
    Floats q, k, v;          // as they came
    uint64_t q_norm, k_norm; // 0 or [HEAD_DIM]
    uint64_t rotations;      // [position][N_ROT / 2] cosine, sine
    uint64_t keys, values;   // [sequence][N_KV_HEADS][n_cache] rows
    uint64_t sinks;          // 0 or [heads]
    Float4sOut to;           // [..][heads][HEAD_DIM_V]
    SharedFloat4s sums;      // [..][N_KV_HEADS][splits][N_QUERIES][HEAD_DIM_V]
    Counters counters;       // [..][N_KV_HEADS]
    Words pos;               // [N_UBATCH], then the sequences
    uint totals;             // floats behind sums: [..][N_KV_HEADS][splits][N_QUERIES] maximum, total
    uint n_cache;
    uint n_splits;
} p;

// Tiles: rows of pairs of halves, or of floats where a cache is F32. Four words of padding keep the
// keys of neighbouring threads off the same banks.
const bool IS_WIDE = KEY_TYPE == CACHE_F32 || VALUE_TYPE == CACHE_F32;
const uint PER_WORD = IS_WIDE ? 1 : 2;
const uint KEY_VECS = HEAD_DIM / PER_WORD / 4 + 1; // uvec4 per row
const uint VALUE_VECS = HEAD_DIM_V / PER_WORD / 4;
shared uvec4 s_keys[TILE * KEY_VECS];
shared uvec4 s_values[TILE * VALUE_VECS];
// The queries; FUSED: then the new key and the new value.
const uint QUERY_ROWS = N_QUERIES + FUSED;
shared float s_query[QUERY_ROWS * HEAD_DIM + FUSED * HEAD_DIM_V];
const uint MOST_SPLITS = 32; // of src/compute/vulkan/gpu.h
shared float s_score[N_QUERIES * TILE];
shared float s_most[N_QUERIES], s_total[N_QUERIES], s_keep[N_QUERIES];

uint source_row;
#define SOURCE(i) s_query[source_row + (i)]
#include "store.glsl"

const uint LOADS_K = (TILE * HEAD_DIM / 8 + THREADS - 1) / THREADS;
const uint LOADS_V = (TILE * HEAD_DIM_V / 8 + THREADS - 1) / THREADS;
// Scores: a thread has one position and every SCORE_GROUPS-th query.
const uint SCORE_GROUPS = THREADS / TILE;
const uint SCORES = (N_QUERIES + SCORE_GROUPS - 1) / SCORE_GROUPS;
// Sums: a thread has four elements of every SUM_GROUPS-th query.
const uint QUADS = HEAD_DIM_V / 4;
const uint SUM_GROUPS = THREADS / QUADS;
const uint SUMS = (N_QUERIES + SUM_GROUPS - 1) / SUM_GROUPS;

const float LEAST = -1e30;

uint64_t keys_at, values_at; // of the sequence and head

void load_tile(uint first, uint end, out Eight keys[LOADS_K], out Eight values[LOADS_V])
{
    const uint n_cache = p.n_cache;
    [[unroll]] for (uint i = 0; i < LOADS_K; i++) {
        const uint at = min(thread() + i * THREADS, TILE * HEAD_DIM / 8 - 1);
        const uint pos = min(first + at / (HEAD_DIM / 8), end - 1) % n_cache;
        keys[i] = cache_load(KEY_TYPE,
                               keys_at + uint64_t(pos) * cache_row_bytes(KEY_TYPE, HEAD_DIM),
                               HEAD_DIM, at % (HEAD_DIM / 8));
    }
    [[unroll]] for (uint i = 0; i < LOADS_V; i++) {
        const uint at = min(thread() + i * THREADS, TILE * HEAD_DIM_V / 8 - 1);
        const uint pos = min(first + at / (HEAD_DIM_V / 8), end - 1) % n_cache;
        values[i] = cache_load(VALUE_TYPE,
                                 values_at + uint64_t(pos) * cache_row_bytes(VALUE_TYPE, HEAD_DIM_V),
                                 HEAD_DIM_V, at % (HEAD_DIM_V / 8));
    }
}

// Eight elements as one uvec4 of halves, or two of floats.
uvec4 narrow(uint type, const Eight e)
{
    if (type == CACHE_F16)
        return e.a;
    return uvec4(packHalf2x16(cache_pair(type, e, 0)), packHalf2x16(cache_pair(type, e, 1)),
                 packHalf2x16(cache_pair(type, e, 2)), packHalf2x16(cache_pair(type, e, 3)));
}

uvec4 wide(uint type, const Eight e, uint half_of)
{
    return floatBitsToUint(vec4(cache_pair(type, e, 2 * half_of), cache_pair(type, e, 2 * half_of + 1)));
}

// The n first rows of a tile count, the values of the others are 0. fresh: the row that comes from
// shared memory instead; TILE: none.
void put_tile(const Eight keys[LOADS_K], const Eight values[LOADS_V], uint n, uint fresh)
{
    [[unroll]] for (uint i = 0; i < LOADS_K; i++) {
        const uint at = thread() + i * THREADS, row = at / (HEAD_DIM / 8), e = at % (HEAD_DIM / 8);
        if (row >= TILE || FUSED != 0 && row == fresh)
            continue;
        if (IS_WIDE) {
            s_keys[row * KEY_VECS + 2 * e] = wide(KEY_TYPE, keys[i], 0);
            s_keys[row * KEY_VECS + 2 * e + 1] = wide(KEY_TYPE, keys[i], 1);
        } else {
            s_keys[row * KEY_VECS + e] = narrow(KEY_TYPE, keys[i]);
        }
    }
    [[unroll]] for (uint i = 0; i < LOADS_V; i++) {
        const uint at = thread() + i * THREADS, row = at / (HEAD_DIM_V / 8),
                   e = at % (HEAD_DIM_V / 8);
        if (row >= TILE || FUSED != 0 && row == fresh)
            continue;
        const bool counts = row < n;
        if (IS_WIDE) {
            s_values[row * VALUE_VECS + 2 * e] = counts ? wide(VALUE_TYPE, values[i], 0) : uvec4(0);
            s_values[row * VALUE_VECS + 2 * e + 1] =
                counts ? wide(VALUE_TYPE, values[i], 1) : uvec4(0);
        } else {
            s_values[row * VALUE_VECS + e] = counts ? narrow(VALUE_TYPE, values[i]) : uvec4(0);
        }
    }
}

// Four elements of s_query as the words of a tile: rounded as the cache rounds them.
uvec4 fresh_words(uint type, uint first)
{
    vec4 x[2];
    [[unroll]] for (uint k = 0; k < 8; k++)
        x[k / 4][k % 4] = s_query[first + min(k, IS_WIDE ? 3 : 7)];
    if (!IS_WIDE)
        return uvec4(packHalf2x16(x[0].xy), packHalf2x16(x[0].zw), packHalf2x16(x[1].xy),
                     packHalf2x16(x[1].zw));
    if (type == CACHE_F16)
        x[0] = vec4(unpackHalf2x16(packHalf2x16(x[0].xy)), unpackHalf2x16(packHalf2x16(x[0].zw)));
    return floatBitsToUint(x[0]);
}

void put_fresh(uint fresh)
{
    const uint per = 4 * PER_WORD;
    for (uint i = thread(); i < HEAD_DIM / per; i += THREADS)
        s_keys[fresh * KEY_VECS + i] = fresh_words(KEY_TYPE, N_QUERIES * HEAD_DIM + i * per);
    for (uint i = thread(); i < HEAD_DIM_V / per; i += THREADS)
        s_values[fresh * VALUE_VECS + i] = fresh_words(VALUE_TYPE, QUERY_ROWS * HEAD_DIM + i * per);
}

vec4 query(uint q, uint i)
{
    return vec4(s_query[q * HEAD_DIM + 4 * i], s_query[q * HEAD_DIM + 4 * i + 1],
                s_query[q * HEAD_DIM + 4 * i + 2], s_query[q * HEAD_DIM + 4 * i + 3]);
}

void score(uint first, uint end)
{
    const uint row = thread() % TILE, from = thread() / TILE;
    float s[SCORES];
    [[unroll]] for (uint i = 0; i < SCORES; i++)
        s[i] = 0;
    [[dont_unroll]] for (uint vec = 0; vec < KEY_VECS - 1; vec++) {
        const uvec4 w = s_keys[row * KEY_VECS + vec];
        [[unroll]] for (uint i = 0; i < SCORES; i++) {
            const uint q = min(from + i * SCORE_GROUPS, N_QUERIES - 1);
            if (IS_WIDE) {
                s[i] += dot(uintBitsToFloat(w), query(q, vec));
            } else {
                s[i] += dot(vec4(unpackHalf2x16(w.x), unpackHalf2x16(w.y)), query(q, 2 * vec));
                s[i] += dot(vec4(unpackHalf2x16(w.z), unpackHalf2x16(w.w)), query(q, 2 * vec + 1));
            }
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
    [[unroll]] for (uint i = 0; i < TILE; i += 8)
        most = max(most, s_score[q * TILE + i + lane]);
    [[unroll]] for (uint x = 1; x < 8; x *= 2)
        most = max(most, subgroupShuffleXor(most, x));
    float total = 0;
    [[unroll]] for (uint i = 0; i < TILE; i += 8) {
        const uint at = q * TILE + i + lane;
        const float w = first + i + lane < end ? exp(s_score[at] - most) : 0;
        s_score[at] = w;
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

vec4 value(uint row, uint quad)
{
    if (IS_WIDE)
        return uintBitsToFloat(s_values[row * VALUE_VECS + quad]);
    const uvec4 w = s_values[row * VALUE_VECS + quad / 2];
    const uvec2 h = quad % 2 == 0 ? w.xy : w.zw;
    return vec4(unpackHalf2x16(h.x), unpackHalf2x16(h.y));
}

void weigh(inout vec4 sum[SUMS])
{
    const uint quad = thread() % QUADS, from = thread() / QUADS;
    if (from >= SUM_GROUPS)
        return;
    [[unroll]] for (uint i = 0; i < SUMS; i++)
        sum[i] *= s_keep[min(from + i * SUM_GROUPS, N_QUERIES - 1)];
    [[dont_unroll]] for (uint first = 0; first < TILE; first += 8) {
        [[unroll]] for (uint row = first; row < first + 8; row++) {
            const vec4 v = value(row, quad);
            [[unroll]] for (uint i = 0; i < SUMS; i++)
                sum[i] += s_score[min(from + i * SUM_GROUPS, N_QUERIES - 1) * TILE + row] * v;
        }
    }
}

// ---- queries -----------------------------------------------------------------------------------

// Eight threads per query, then eight for the new key, eight for the new value: to s_query,
// normalised, the queries times the scale.
void fetch_rows(uint token, uint kv_head)
{
    const uint q = thread() / 8, lane = thread() % 8;
    if (q == N_QUERIES + 1)
        for (uint i = lane; i < HEAD_DIM_V; i += 8)
            s_query[QUERY_ROWS * HEAD_DIM + i] =
                p.v.v[(token * N_KV_HEADS + kv_head) * HEAD_DIM_V + i];
    if (q > N_QUERIES)
        return;
    const bool is_key = q == N_QUERIES;
    const uint step = GATED != 0 ? 2 * HEAD_DIM : HEAD_DIM;
    const uint head = token * N_KV_HEADS + kv_head;
    const uint from = is_key ? head * HEAD_DIM : (head * N_QUERIES + q) * step;
    const uint64_t norm = is_key ? p.k_norm : p.q_norm;
    Floats in_row = Floats(is_key ? uint64_t(p.k) : uint64_t(p.q));
    float x[HEAD_DIM / 8], squares = 0;
    [[unroll]] for (uint i = 0; i < HEAD_DIM / 8; i++) {
        x[i] = in_row.v[from + 8 * i + lane];
        squares += x[i] * x[i];
    }
    float factor = is_key ? 1 : uintBitsToFloat(SCALE_BITS);
    if (norm != 0) {
        [[unroll]] for (uint s = 1; s < 8; s *= 2)
            squares += subgroupShuffleXor(squares, s);
        factor *= inversesqrt(squares / HEAD_DIM + uintBitsToFloat(EPS_BITS));
    }
    [[unroll]] for (uint i = 0; i < HEAD_DIM / 8; i++)
        s_query[q * HEAD_DIM + 8 * i + lane] =
            x[i] * factor * (norm != 0 ? Floats(norm).v[8 * i + lane] : 1);
}

void rotate_rows(uint pos)
{
    const uint n = N_ROT / 2;
    for (uint i = thread(); i < QUERY_ROWS * n; i += THREADS) {
        const uint pair = i % n, row = i / n * HEAD_DIM;
        const uint a = row + (ADJACENT != 0 ? 2 * pair : pair);
        const uint b = ADJACENT != 0 ? a + 1 : a + n;
        const vec2 turn = uintBitsToFloat(Vec2s(p.rotations).v[pos * n + pair]);
        const vec2 x = vec2(s_query[a], s_query[b]);
        s_query[a] = x.x * turn.x - x.y * turn.y;
        s_query[b] = x.x * turn.y + x.y * turn.x;
    }
}

void store_fresh(uint pos)
{
    source_row = N_QUERIES * HEAD_DIM;
    store_row(KEY_TYPE,
              keys_at + uint64_t(pos % p.n_cache) * cache_row_bytes(KEY_TYPE, HEAD_DIM),
              HEAD_DIM);
    source_row = QUERY_ROWS * HEAD_DIM;
    store_row(VALUE_TYPE,
              values_at + uint64_t(pos % p.n_cache) * cache_row_bytes(VALUE_TYPE, HEAD_DIM_V),
              HEAD_DIM_V);
}

void make_queries(uint token, uint kv_head, uint pos, bool owns)
{
    if (FUSED == 0) {
        const uint n = N_QUERIES * HEAD_DIM / 4;
        for (uint i = thread(); i < n; i += THREADS) {
            const vec4 x = p.ready.v[(token * N_KV_HEADS + kv_head) * n + i];
            [[unroll]] for (uint k = 0; k < 4; k++)
                s_query[4 * i + k] = x[k];
        }
        return;
    }
    fetch_rows(token, kv_head);
    barrier();
    if (N_ROT != 0)
        rotate_rows(pos);
    barrier();
    if (owns)
        store_fresh(pos);
}

// ---- results -----------------------------------------------------------------------------------

void put(uint token, uint kv_head, uint q, uint quad, vec4 x)
{
    const uint row = (token * N_KV_HEADS + kv_head) * N_QUERIES + q;
    if (GATED != 0) {
        [[unroll]] for (uint k = 0; k < 4; k++)
            x[k] /= 1 + exp(-p.q.v[row * 2 * HEAD_DIM + HEAD_DIM + 4 * quad + k]);
    }
    p.to.v[row * QUADS + quad] = x;
}

float sink_of(uint kv_head, uint q)
{
    return p.sinks != 0 ? Floats(p.sinks).v[kv_head * N_QUERIES + q] : LEAST;
}

void finish(uint token, uint kv_head, vec4 sum[SUMS])
{
    const uint quad = thread() % QUADS, from = thread() / QUADS;
    [[unroll]] for (uint i = 0; i < SUMS; i++) {
        const uint q = from + i * SUM_GROUPS;
        if (from >= SUM_GROUPS || q >= N_QUERIES)
            continue;
        const float sink = sink_of(kv_head, q), most = max(s_most[q], sink);
        const float keep = exp(s_most[q] - most);
        const float total = s_total[q] * keep + (p.sinks != 0 ? exp(sink - most) : 0);
        put(token, kv_head, q, quad, sum[i] * (keep / total));
    }
}

// The weights of the splits stand where the values were.
float split_weight(uint s, uint q)
{
    return uintBitsToFloat(s_keys[(s * N_QUERIES + q) / 4][(s * N_QUERIES + q) % 4]);
}

void weigh_splits(uint kv_head, uint base)
{
    const uint q = thread() / 8, lane = thread() % 8;
    if (q >= N_QUERIES)
        return;
    const float sink = sink_of(kv_head, q);
    SharedFloats totals = SharedFloats(uint64_t(p.sums) + 4ul * p.totals);
    float m[MOST_SPLITS / 8], l[MOST_SPLITS / 8], most = sink;
    [[unroll]] for (uint i = 0; i < MOST_SPLITS / 8; i++) {
        const uint s = min(8 * i + lane, p.n_splits - 1), at = 2 * ((base + s) * N_QUERIES + q);
        m[i] = totals.v[at];
        l[i] = totals.v[at + 1];
        most = max(most, m[i]);
    }
    [[unroll]] for (uint x = 1; x < 8; x *= 2)
        most = max(most, subgroupShuffleXor(most, x));
    float total = 0;
    [[unroll]] for (uint i = 0; i < MOST_SPLITS / 8; i++)
        total += 8 * i + lane < p.n_splits ? exp(m[i] - most) * l[i] : 0;
    [[unroll]] for (uint x = 1; x < 8; x *= 2)
        total += subgroupShuffleXor(total, x);
    total += p.sinks != 0 ? exp(sink - most) : 0;
    [[unroll]] for (uint i = 0; i < MOST_SPLITS / 8; i++) {
        const uint s = 8 * i + lane, at = s * N_QUERIES + q;
        if (s < p.n_splits)
            s_keys[at / 4][at % 4] = floatBitsToUint(exp(m[i] - most) / total);
    }
}

void merge(uint token, uint kv_head, uint base)
{
    weigh_splits(kv_head, base);
    barrier();
    for (uint i = thread(); i < N_QUERIES * QUADS; i += THREADS) {
        const uint q = i / QUADS, quad = i % QUADS;
        vec4 sum = vec4(0);
        for (uint s = 0; s < p.n_splits; s += 8) {
            vec4 x[8];
            [[unroll]] for (uint k = 0; k < 8; k++)
                x[k] = p.sums.v[((base + min(s + k, p.n_splits - 1)) * N_QUERIES + q) * QUADS +
                                   quad];
            [[unroll]] for (uint k = 0; k < 8; k++)
                if (s + k < p.n_splits)
                    sum += split_weight(s + k, q) * x[k];
        }
        put(token, kv_head, q, quad, sum);
    }
}

void main()
{
    const uint t = thread(), token = gl_WorkGroupID.y;
    const uint kv_head = gl_WorkGroupID.x / p.n_splits, split = gl_WorkGroupID.x % p.n_splits;
    const uint pos = p.pos.v[token], last = pos + 1;
    const uint start = WINDOW != 0 && last > WINDOW ? last - WINDOW : 0;
    const uint span = ((last - start + p.n_splits - 1) / p.n_splits + TILE - 1) / TILE * TILE;
    const uint first = start + split * span, end = min(first + span, last);
    const uint64_t slot = uint64_t(p.pos.v[N_UBATCH + token] * N_KV_HEADS + kv_head) * p.n_cache;
    keys_at = p.keys + slot * cache_row_bytes(KEY_TYPE, HEAD_DIM);
    values_at = p.values + slot * cache_row_bytes(VALUE_TYPE, HEAD_DIM_V);

    Eight keys[LOADS_K], values[LOADS_V];
    if (first < end)
        load_tile(first, end, keys, values);
    make_queries(token, kv_head, pos, end == last && first < end);
    for (uint q = t; q < N_QUERIES; q += THREADS) {
        s_most[q] = LEAST;
        s_total[q] = 0;
    }
    vec4 sum[SUMS];
    [[unroll]] for (uint i = 0; i < SUMS; i++)
        sum[i] = vec4(0);
    for (uint at = first; at < end; at += TILE) {
        const uint fresh = FUSED != 0 && pos < at + TILE ? pos - at : TILE;
        put_tile(keys, values, end - at, fresh);
        if (fresh < TILE)
            put_fresh(fresh);
        barrier();
        if (at + TILE < end)
            load_tile(at + TILE, end, keys, values);
        score(at, end);
        barrier();
        soften(at, end);
        barrier();
        weigh(sum);
        barrier();
    }

    if (p.n_splits == 1) {
        finish(token, kv_head, sum);
        return;
    }
    const uint base = (token * N_KV_HEADS + kv_head) * p.n_splits;
    const uint quad = t % QUADS, from = t / QUADS;
    [[unroll]] for (uint i = 0; i < SUMS; i++) {
        const uint q = from + i * SUM_GROUPS;
        if (from >= SUM_GROUPS || q >= N_QUERIES)
            continue;
        p.sums.v[((base + split) * N_QUERIES + q) * QUADS + quad] = sum[i];
        if (quad == 0) {
            SharedFloats totals = SharedFloats(uint64_t(p.sums) + 4ul * p.totals);
            const uint at = 2 * ((base + split) * N_QUERIES + q);
            totals.v[at] = first < end ? s_most[q] : LEAST;
            totals.v[at + 1] = first < end ? s_total[q] : 0;
        }
    }
    if (last_to_arrive(p.counters, token * N_KV_HEADS + kv_head, p.n_splits))
        merge(token, kv_head, base);
}
