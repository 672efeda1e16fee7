// attend.glsl for few positions: a workgroup walks its positions in tiles in shared memory with an online softmax. Short
// code, which counts where a workgroup goes through it once.
#version 460
#include "attend.glsl"

layout(constant_id = 6) const uint TILE = 64; // positions: 16, 32 or 64

// Tiles: rows of pairs of halves, or of floats where a cache is F32. Four words of padding keep the
// keys of neighbouring threads off the same banks.
const bool IS_WIDE = KEY_TYPE == CACHE_F32 || VALUE_TYPE == CACHE_F32;
const uint PER_WORD = IS_WIDE ? 1 : 2;
const uint KEY_VECS = HEAD_DIM / PER_WORD / 4 + 1; // uvec4 per row
const uint VALUE_VECS = HEAD_DIM_V / PER_WORD / 4;
shared uvec4 s_keys[TILE * KEY_VECS];
shared uvec4 s_values[TILE * VALUE_VECS];

// Scores: a thread has one position of every SCORE_STEP-th query; where threads are left over, a part of the elements.
const uint SCORE_GROUPS = THREADS / TILE;
const uint VECS = KEY_VECS - 1;
const uint VECS_BY = VECS % 4 == 0 ? 4 : VECS % 2 == 0 ? 2 : 1;
const uint SPARE_SCORES = SCORE_GROUPS / N_QUERIES < VECS_BY ? SCORE_GROUPS / N_QUERIES : VECS_BY;
const uint SCORE_PARTS = SPARE_SCORES >= 4 ? 4 : SPARE_SCORES >= 2 ? 2 : 1;
const uint SCORE_STEP = SCORE_GROUPS / SCORE_PARTS;
const uint SCORES = (N_QUERIES + SCORE_STEP - 1) / SCORE_STEP;
shared float s_score[SCORE_PARTS * N_QUERIES * TILE]; // then, in the first part, weights
// Weights: so many threads a query.
const uint SOFT_THREADS = ROW_THREADS < TILE ? ROW_THREADS : TILE;
const uint SOFTS = TILE / SOFT_THREADS;
// Sums: a thread has four elements of every SUM_STEP-th query; where threads are left over, of some of the positions.
// Slices of these are added up where the keys were.
const uint SUM_GROUPS = THREADS / QUADS;
const uint PLACES = TILE * KEY_VECS / (N_QUERIES * QUADS);
const uint MOST_SLICES = PLACES < TILE / 8 ? PLACES : TILE / 8;
const uint SPARE_SUMS = SUM_GROUPS / N_QUERIES < MOST_SLICES ? SUM_GROUPS / N_QUERIES : MOST_SLICES;
const uint SLICES = SPARE_SUMS >= 8 ? 8 : SPARE_SUMS >= 4 ? 4 : SPARE_SUMS >= 2 ? 2 : 1;
const uint SUM_STEP = SUM_GROUPS / SLICES;
const uint SUMS = (N_QUERIES + SUM_STEP - 1) / SUM_STEP;

shared float s_most[N_QUERIES], s_total[N_QUERIES], s_keep[N_QUERIES];

const uint LOADS_K = (TILE * HEAD_DIM / 8 + THREADS - 1) / THREADS;
const uint LOADS_V = (TILE * HEAD_DIM_V / 8 + THREADS - 1) / THREADS;

void load_tile(const Tile tile, uint first, uint end, out Eight keys[LOADS_K],
               out Eight values[LOADS_V])
{
    [[unroll]] for (uint i = 0; i < LOADS_K; i++) {
        const uint at = min(thread() + i * THREADS, TILE * HEAD_DIM / 8 - 1);
        const uint row = min(at / (HEAD_DIM / 8), end - 1 - first);
        keys[i] = cache_load(KEY_TYPE, cache_at(tile, p.keys, KEY_TYPE, HEAD_DIM, row, ALIGNED), HEAD_DIM,
                             at % (HEAD_DIM / 8));
    }
    [[unroll]] for (uint i = 0; i < LOADS_V; i++) {
        const uint at = min(thread() + i * THREADS, TILE * HEAD_DIM_V / 8 - 1);
        const uint row = min(at / (HEAD_DIM_V / 8), end - 1 - first);
        values[i] = cache_load(VALUE_TYPE, cache_at(tile, p.values, VALUE_TYPE, HEAD_DIM_V, row, ALIGNED),
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
    vec4 x[2] = vec4[](s_query[first / 4], s_query[first / 4 + (IS_WIDE ? 0 : 1)]);
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
    return s_query[q * (HEAD_DIM / 4) + i];
}

void score()
{
    const uint row = thread() % TILE, group_of = thread() / TILE;
    const uint part = group_of % SCORE_PARTS, from = group_of / SCORE_PARTS;
    const uint n = VECS / SCORE_PARTS;
    float s[SCORES];
    [[unroll]] for (uint i = 0; i < SCORES; i++)
        s[i] = 0;
    [[dont_unroll]] for (uint vec = part * n; vec < part * n + n; vec++) {
        const uvec4 w = s_keys[row * KEY_VECS + vec];
        [[unroll]] for (uint i = 0; i < SCORES; i++) {
            const uint q = min(from + i * SCORE_STEP, N_QUERIES - 1);
            if (IS_WIDE) {
                s[i] += dot(uintBitsToFloat(w), query(q, vec));
            } else {
                s[i] += dot(vec4(unpackHalf2x16(w.x), unpackHalf2x16(w.y)), query(q, 2 * vec));
                s[i] += dot(vec4(unpackHalf2x16(w.z), unpackHalf2x16(w.w)), query(q, 2 * vec + 1));
            }
        }
    }
    [[unroll]] for (uint i = 0; i < SCORES; i++) {
        const uint q = from + i * SCORE_STEP;
        if (q < N_QUERIES)
            s_score[(part * N_QUERIES + q) * TILE + row] = s[i];
    }
}

// Scores become weights. The first n positions count.
void soften(uint n)
{
    const uint q = thread() / SOFT_THREADS, lane = thread() % SOFT_THREADS;
    if (q >= N_QUERIES)
        return;
    float s[SOFTS], most = s_most[q], total = 0;
    [[unroll]] for (uint i = 0; i < SOFTS; i++) {
        const uint row = i * SOFT_THREADS + lane;
        s[i] = 0;
        [[unroll]] for (uint part = 0; part < SCORE_PARTS; part++)
            s[i] += s_score[(part * N_QUERIES + q) * TILE + row];
        most = row < n ? max(most, s[i]) : most;
    }
    [[unroll]] for (uint x = 1; x < SOFT_THREADS; x *= 2)
        most = max(most, subgroupShuffleXor(most, x));
    [[unroll]] for (uint i = 0; i < SOFTS; i++) {
        const uint row = i * SOFT_THREADS + lane;
        const float w = row < n ? exp(s[i] - most) : 0;
        s_score[q * TILE + row] = w;
        total += w;
    }
    [[unroll]] for (uint x = 1; x < SOFT_THREADS; x *= 2)
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

// What of the sums a thread has.
struct Share {
    uint quad, query, slice; // of the queries the first
    bool is_any;
};

Share share_of()
{
    const uint from = thread() / QUADS;
    return Share(thread() % QUADS, from % SUM_STEP, from / SUM_STEP, from < SLICES * SUM_STEP);
}

void weigh(inout vec4 sum[SUMS])
{
    const Share own = share_of();
    if (!own.is_any)
        return;
    [[unroll]] for (uint i = 0; i < SUMS; i++)
        sum[i] *= s_keep[min(own.query + i * SUM_STEP, N_QUERIES - 1)];
    [[dont_unroll]] for (uint first = 8 * own.slice; first < TILE; first += 8 * SLICES) {
        [[unroll]] for (uint row = first; row < first + 8; row++) {
            const vec4 v = value(row, own.quad);
            [[unroll]] for (uint i = 0; i < SUMS; i++)
                sum[i] += s_score[min(own.query + i * SUM_STEP, N_QUERIES - 1) * TILE + row] * v;
        }
    }
}

// The slices' sums, in rising order, to the first one's.
void add_slices(inout vec4 sum[SUMS])
{
    const Share own = share_of();
    if (SLICES == 1)
        return;
    [[unroll]] for (uint i = 0; i < SUMS; i++) {
        const uint q = own.query + i * SUM_STEP;
        if (own.is_any && own.slice != 0 && q < N_QUERIES)
            s_keys[(own.slice * N_QUERIES + q) * QUADS + own.quad] = floatBitsToUint(sum[i]);
    }
    barrier();
    [[unroll]] for (uint i = 0; i < SUMS; i++) {
        const uint q = own.query + i * SUM_STEP;
        if (own.slice != 0 || q >= N_QUERIES)
            continue;
        [[unroll]] for (uint slice = 1; slice < SLICES; slice++)
            sum[i] += uintBitsToFloat(s_keys[(slice * N_QUERIES + q) * QUADS + own.quad]);
    }
}

void main()
{
    find_positions(TILE);
    const Tile tile = tile_of(first, TILE);
    if (FUSED != 0)
        fetch_rows();
    Eight keys[LOADS_K], values[LOADS_V];
    if (first < end)
        load_tile(tile, first, end, keys, values);
    make_queries(end == pos + 1 && first < end);
    for (uint q = thread(); q < N_QUERIES; q += THREADS) {
        s_most[q] = LEAST;
        s_total[q] = 0;
    }
    barrier();
    vec4 sum[SUMS];
    [[unroll]] for (uint i = 0; i < SUMS; i++)
        sum[i] = vec4(0);
    for (uint at = first; at < end; at += TILE) {
        const Tile next = tile_of(at + TILE, TILE);
        const uint fresh = FUSED != 0 && pos < at + TILE ? pos - at : TILE;
        put_tile(keys, values, end - at, fresh);
        if (fresh < TILE)
            put_fresh(fresh);
        barrier();
        if (at + TILE < end)
            load_tile(next, at + TILE, end, keys, values);
        score();
        barrier();
        soften(end - at);
        barrier();
        weigh(sum);
        barrier();
    }

    add_slices(sum);
    const Share own = share_of();
    [[unroll]] for (uint i = 0; i < SUMS; i++) {
        const uint q = own.query + i * SUM_STEP;
        if (own.is_any && own.slice == 0 && q < N_QUERIES)
            put_part(q, own.quad, sum[i], s_most[q], s_total[q]);
    }
    end_row();
}
