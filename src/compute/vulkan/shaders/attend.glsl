// What attend.comp and attend_matrix.comp share: attention of single rows, OP_ATTEND or its second half behind heads.comp.
// x counts groups of query heads, y rows, z splits of the positions. Queries come to shared memory; each kernel has its
// own way through the keys; the last split of a row and group to end merges the splits, in rising order.
//
// FUSED is for single rows: a workgroup normalises and rotates its own queries and the new key, and the one that
// owns the new position stores it.
#include "common.glsl"
#include "cache.glsl"

layout(constant_id = 0) const uint HEAD_DIM = 128;   // a multiple of 8
layout(constant_id = 1) const uint HEAD_DIM_V = 128; // the same, at most 512
layout(constant_id = 2) const uint KEY_TYPE = CACHE_F16;
layout(constant_id = 3) const uint VALUE_TYPE = CACHE_F16;
layout(constant_id = 4) const uint N_GROUPS = 4;
layout(constant_id = 5) const uint N_QUERIES = 8; // heads of a group, at most 30
layout(constant_id = 7) const uint WINDOW = 0;    // 0: all
layout(constant_id = 8) const uint GATED = 0;     // q comes as [heads][HEAD_DIM query | gate]
layout(constant_id = 9) const uint FUSED = 0;
layout(constant_id = 10) const uint N_ROT = 128;  // see heads.comp
layout(constant_id = 11) const uint ADJACENT = 0;

layout(constant_id = 12) const uint EPS_BITS = 0;   // of a float
layout(constant_id = 13) const uint SCALE_BITS = 0; // of a float: FUSED queries are multiplied with it
layout(constant_id = 14) const uint N_UBATCH = 1;
layout(constant_id = 15) const uint SHARE = 1; // groups that have a key head in common
layout(constant_id = 23) const uint TABLE_AT = 0; // words from the positions to the table, see cache.glsl
const uint N_KV_HEADS = N_GROUPS / SHARE;

layout(push_constant) uniform Push
{
    Float4s ready;           // [..][heads][HEAD_DIM], scaled; not FUSED
    Float4s q, k, v;         // as they came
    uint64_t q_norm, k_norm; // 0 or [HEAD_DIM]
    uint64_t rotations;      // [position][N_ROT / 2] cosine, sine
    uint64_t keys, values;   // rows, see cache.glsl
    uint64_t sinks;          // 0 or [heads]
    Float4sOut to;           // [..][heads][HEAD_DIM_V]
    SharedVec2s sums;        // halves: [..][N_GROUPS][splits][N_QUERIES][HEAD_DIM_V]
    Counters counters;       // [..][N_GROUPS]
    Words pos;               // [N_UBATCH], then the sequences
    uint totals;             // bytes behind sums: [..][N_GROUPS][splits][N_QUERIES] maximum, total
    uint n_cache;
    uint n_splits;
} p;

// The queries; FUSED: then the new key and the new value.
const uint QUERY_ROWS = N_QUERIES + FUSED;
shared vec4 s_query[(QUERY_ROWS * HEAD_DIM + FUSED * HEAD_DIM_V) / 4];
#define QUERY(i) s_query[(i) / 4][(i) % 4]
const uint MOST_SPLITS = 34; // of src/compute/vulkan/gpu.h, even
const uint WEIGHED = (MOST_SPLITS + 7) / 8; // each of eight threads weighs so many
shared float s_weight[8 * WEIGHED * N_QUERIES];

uint source_row;
#define SOURCE(i) QUERY(source_row + (i))
#include "store.glsl"

const uint QUADS = HEAD_DIM_V / 4;
const float LEAST = -1e30;

// Without a window tiles begin at multiples of their length.
const bool ALIGNED = PAGE != 0 && WINDOW == 0;

Cache cache; // of the sequence and head
uint fresh_row; // of the row's position
uint token, group, split;
uint pos, first, end; // the row's position, and those of the workgroup

// ---- queries -----------------------------------------------------------------------------------

// FUSED: threads of a subgroup that share a query, the new key or the new value; threads left over have the value, too.
const uint ROWS = N_QUERIES + 2;
const uint ROOM = SUBGROUP_SIZE < THREADS / ROWS ? SUBGROUP_SIZE : THREADS / ROWS;
const uint ROW_THREADS = ROOM >= 32 ? 32 : ROOM >= 16 ? 16 : 8;
const uint WIDEST = HEAD_DIM > HEAD_DIM_V ? HEAD_DIM : HEAD_DIM_V;
const uint ROW_FOURS = (WIDEST / 4 + ROW_THREADS - 1) / ROW_THREADS; // of a thread
vec4 fetched[ROW_FOURS], fetched_norm[ROW_FOURS];
// Turns of a thread: a pair of a query or of the new key each.
const uint PAIRS = N_ROT != 0 ? N_ROT / 2 : 1;
const uint TURNS = (QUERY_ROWS * PAIRS + THREADS - 1) / THREADS;
vec2 turns[TURNS];

// Of a thread: a query, N_QUERIES for the new key, then the new value.
uint own_fetch()
{
    return min(thread() / ROW_THREADS, N_QUERIES + 1);
}

uint fetch_fours(uint q)
{
    return (q > N_QUERIES ? HEAD_DIM_V : HEAD_DIM) / 4;
}

uint64_t pick(uint q, uint64_t query, uint64_t key, uint64_t value)
{
    return q < N_QUERIES ? query : q == N_QUERIES ? key : value;
}

uint64_t norm_of(uint q)
{
    return pick(q, p.q_norm, p.k_norm, 0ul);
}

// Begins to load rows and their norms, without branches: where there is no norm, what is loaded is not used.
void fetch_rows()
{
    const uint q = own_fetch(), n = fetch_fours(q), step = (GATED != 0 ? 2 * HEAD_DIM : HEAD_DIM) / 4;
    const uint query = ((token * N_GROUPS + group) * N_QUERIES + q) * step,
               other = (token * N_KV_HEADS + group / SHARE) * n, from = q < N_QUERIES ? query : other;
    const uint64_t rows = pick(q, uint64_t(p.q), uint64_t(p.k), uint64_t(p.v)), norm = norm_of(q);
    const uint64_t factors = norm != 0 ? norm : rows;
    [[unroll]] for (uint i = 0; i < ROW_FOURS; i++) {
        const uint at = min(thread() % ROW_THREADS + i * ROW_THREADS, n - 1);
        fetched[i] = Float4s(rows).v[from + at];
        fetched_norm[i] = Float4s(factors).v[at];
    }
}

// Behind find_positions.
void fetch_turns()
{
    [[unroll]] for (uint i = 0; i < TURNS; i++)
        turns[i] =
            uintBitsToFloat(Vec2s(p.rotations).v[pos * PAIRS + (thread() + i * THREADS) % PAIRS]);
}

// To s_query, normalised, the queries times the scale.
void put_rows()
{
    const uint q = own_fetch(), n = fetch_fours(q), lane = thread() % ROW_THREADS;
    float squares = 0;
    [[unroll]] for (uint i = 0; i < ROW_FOURS; i++)
        if (lane + i * ROW_THREADS < n)
            squares += dot(fetched[i], fetched[i]);
    [[unroll]] for (uint s = 1; s < ROW_THREADS; s *= 2)
        squares += subgroupShuffleXor(squares, s);
    const bool has_norm = norm_of(q) != 0;
    float factor = q < N_QUERIES ? uintBitsToFloat(SCALE_BITS) : 1;
    if (has_norm)
        factor *= inversesqrt(squares / HEAD_DIM + uintBitsToFloat(EPS_BITS));
    [[unroll]] for (uint i = 0; i < ROW_FOURS; i++)
        if (lane + i * ROW_THREADS < n)
            s_query[q * (HEAD_DIM / 4) + lane + i * ROW_THREADS] =
                fetched[i] * factor * (has_norm ? fetched_norm[i] : vec4(1));
}

void rotate_rows()
{
    [[unroll]] for (uint i = 0; i < TURNS; i++) {
        const uint at = thread() + i * THREADS, pair = at % PAIRS, row = at / PAIRS * HEAD_DIM;
        if (at >= QUERY_ROWS * PAIRS)
            continue;
        const uint a = row + (ADJACENT != 0 ? 2 * pair : pair);
        const uint b = ADJACENT != 0 ? a + 1 : a + PAIRS;
        const vec2 x = vec2(QUERY(a), QUERY(b));
        QUERY(a) = x.x * turns[i].x - x.y * turns[i].y;
        QUERY(b) = x.x * turns[i].y + x.y * turns[i].x;
    }
}

// What is quantised comes back to s_query. Key and value are for different threads, where there are enough.
void store_fresh()
{
    const bool stores = group % SHARE == 0;
    source_row = N_QUERIES * HEAD_DIM;
    store_row(KEY_TYPE, p.keys + uint64_t(fresh_row) * cache_row_bytes(KEY_TYPE, HEAD_DIM), HEAD_DIM, thread(), THREADS,
              stores);
    source_row = QUERY_ROWS * HEAD_DIM;
    store_row(VALUE_TYPE, p.values + uint64_t(fresh_row) * cache_row_bytes(VALUE_TYPE, HEAD_DIM_V), HEAD_DIM_V,
              (thread() + THREADS / 2) % THREADS, THREADS, stores);
}

// Behind find_positions; what it does, it does while the first tile's page is looked up. FUSED: it ends what needs loads of
// its own, since who waits for those behind the first tile's may wait for the tile, too (NVIDIA).
void begin_queries()
{
    if (FUSED == 0) {
        const uint n = N_QUERIES * HEAD_DIM / 4;
        for (uint i = thread(); i < n; i += THREADS)
            s_query[i] = p.ready.v[(token * N_GROUPS + group) * n + i];
        return;
    }
    if (N_ROT != 0)
        fetch_turns();
    put_rows();
    if (N_ROT != 0) {
        barrier();
        rotate_rows();
    }
}

// While the first tile is loaded. owns: the new position is one of the workgroup's.
void end_queries(bool owns)
{
    barrier();
    if (FUSED == 0)
        return;
    if (owns)
        store_fresh();
    if (cache_is_coded(KEY_TYPE) || cache_is_coded(VALUE_TYPE))
        barrier();
}

// ---- positions ---------------------------------------------------------------------------------

// Loads that nothing has to be known for, all of them before the first is waited for: position and sequence, rows, norms.
// Splits begin at multiples of `step` from the first.
void find_positions(uint step)
{
    token = gl_WorkGroupID.y;
    group = gl_WorkGroupID.x;
    split = gl_WorkGroupID.z;
    pos = p.pos.v[token];
    const uint sequence = p.pos.v[N_UBATCH + token];
    if (FUSED != 0)
        fetch_rows();
    const uint last = pos + 1, start = WINDOW != 0 && last > WINDOW ? last - WINDOW : 0;
    const uint span = ((last - start + p.n_splits - 1) / p.n_splits + step - 1) / step * step;
    first = start + split * span;
    end = min(first + span, last);
    cache = Cache(Words(uint64_t(p.pos) + 4ul * TABLE_AT), p.n_cache, N_KV_HEADS, group / SHARE, sequence);
    if (FUSED != 0)
        fresh_row = cache_row(cache, pos);
}

// Of n positions from `at` on. To be asked for early: it waits for the table.
Tile tile_of(uint at, uint n)
{
    return cache_tile(cache, min(at, pos), min(at + n - 1, pos), ALIGNED);
}

// ---- results -----------------------------------------------------------------------------------

void put(uint q, uint quad, vec4 x)
{
    const uint row = (token * N_GROUPS + group) * N_QUERIES + q;
    if (GATED != 0)
        x /= 1 + exp(-p.q.v[(row * 2 + 1) * (HEAD_DIM / 4) + quad]);
    p.to.v[row * QUADS + quad] = x;
}

float sink_of(uint q)
{
    return p.sinks != 0 ? Floats(p.sinks).v[group * N_QUERIES + q] : LEAST;
}

// The sum of the values that query q saw here, weighted by e^(score - most), whose weights' sum is total. A split leaves
// the mean, in halves: it is among values that a cache of halves or less holds.
void put_part(uint q, uint quad, vec4 sum, float most, float total)
{
    if (p.n_splits == 1) {
        const float sink = sink_of(q), top = max(most, sink), keep = exp(most - top);
        const float all = total * keep + (p.sinks != 0 ? exp(sink - top) : 0);
        put(q, quad, sum * (keep / all));
        return;
    }
    const uint at = ((token * N_GROUPS + group) * p.n_splits + split) * N_QUERIES + q;
    const vec4 mean = total > 0 ? sum / total : vec4(0);
    p.sums.v[at * QUADS + quad] = uvec2(packHalf2x16(mean.xy), packHalf2x16(mean.zw));
    if (quad == 0)
        SharedVec2s(uint64_t(p.sums) + p.totals).v[at] = floatBitsToUint(vec2(most, total));
}

// Of every eighth split of a query.
vec2 totals[WEIGHED];

void load_totals(uint base)
{
    const uint q = min(thread() / 8, N_QUERIES - 1), lane = thread() % 8;
    [[unroll]] for (uint i = 0; i < WEIGHED; i++) {
        const uint s = min(8 * i + lane, p.n_splits - 1);
        totals[i] = uintBitsToFloat(SharedVec2s(uint64_t(p.sums) + p.totals).v[(base + s) * N_QUERIES + q]);
    }
}

// Splits that there are none of weigh 0.
void weigh_splits()
{
    const uint q = thread() / 8, lane = thread() % 8;
    if (q >= N_QUERIES)
        return;
    const float sink = sink_of(q);
    float most = sink, total = 0, w[WEIGHED];
    [[unroll]] for (uint i = 0; i < WEIGHED; i++)
        most = max(most, totals[i].x);
    [[unroll]] for (uint x = 1; x < 8; x *= 2)
        most = max(most, subgroupShuffleXor(most, x));
    [[unroll]] for (uint i = 0; i < WEIGHED; i++) {
        w[i] = 8 * i + lane < p.n_splits ? exp(totals[i].x - most) * totals[i].y : 0;
        total += w[i];
    }
    [[unroll]] for (uint x = 1; x < 8; x *= 2)
        total += subgroupShuffleXor(total, x);
    total += p.sinks != 0 ? exp(sink - most) : 0;
    [[unroll]] for (uint i = 0; i < WEIGHED; i++)
        s_weight[(8 * i + lane) * N_QUERIES + q] = w[i] / total;
}

const uint MEANS = N_QUERIES * QUADS / 2; // of a split, in eights
// Two threads share the splits of an eight, where s_query has room for what one hands over.
const uint SLICES = 2 * MEANS <= THREADS && HEAD_DIM_V <= HEAD_DIM ? 2 : 1;
const uint SLICE = THREADS / SLICES;
const uint FEW_SPLITS = MOST_SPLITS / 2; // that a thread asks for at once

void load_means(uint base, uint i, uint from, out uvec4 x[FEW_SPLITS])
{
    [[unroll]] for (uint k = 0; k < FEW_SPLITS; k++)
        x[k] = SharedVec4s(p.sums).v[(base + min(from + k, p.n_splits - 1)) * MEANS + i];
}

void add_means(uint q, uint from, const uvec4 x[FEW_SPLITS], inout vec4 a, inout vec4 b)
{
    [[unroll]] for (uint k = 0; k < FEW_SPLITS; k++) {
        const float w = s_weight[(from + k) * N_QUERIES + q];
        a += w * vec4(unpackHalf2x16(x[k].x), unpackHalf2x16(x[k].y));
        b += w * vec4(unpackHalf2x16(x[k].z), unpackHalf2x16(x[k].w));
    }
}

// The totals are asked for first: they are waited for first.
void merge(uint base)
{
    load_totals(base);
    [[unroll]] for (uint done = 0; done < MEANS; done += SLICE) {
        const uint own = done + thread() % SLICE, slice = thread() / SLICE, i = min(own, MEANS - 1);
        const uint q = i / (QUADS / 2);
        uvec4 x[FEW_SPLITS];
        vec4 a = vec4(0), b = vec4(0);
        load_means(base, i, slice * FEW_SPLITS, x);
        if (done == 0)
            weigh_splits();
        barrier();
        [[unroll]] for (uint n = 0; n < MOST_SPLITS / FEW_SPLITS / SLICES; n++) {
            const uint from = (n * SLICES + slice) * FEW_SPLITS;
            if (n != 0)
                load_means(base, i, from, x);
            add_means(q, from, x, a, b);
        }
        if (slice != 0 && own < MEANS) {
            s_query[2 * i] = a;
            s_query[2 * i + 1] = b;
        }
        if (SLICES != 1)
            barrier();
        if (slice == 0 && own < MEANS) {
            put(q, 2 * i % QUADS, SLICES != 1 ? a + s_query[2 * i] : a);
            put(q, 2 * i % QUADS + 1, SLICES != 1 ? b + s_query[2 * i + 1] : b);
        }
    }
}

// Behind the last put_part.
void end_row()
{
    if (p.n_splits > 1 && last_to_arrive(p.counters, token * N_GROUPS + group, p.n_splits))
        merge((token * N_GROUPS + group) * p.n_splits);
}
