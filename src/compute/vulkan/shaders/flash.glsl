// Attention of many rows: OP_ATTEND's second half behind heads.comp, for prompts. A workgroup has the rows of some
// neighbouring tokens of one sequence and of all query heads of a key head: row r is query head r % N_QUERIES of token
// r / N_QUERIES. It walks the positions that any of them sees in tiles of keys and values in shared memory, with an
// online softmax in powers of two. x counts key heads and splits of the positions, y tiles of tokens; the last split of
// a tile to end merges all, in rising order.
//
// The includer keeps scores and sums: begin_rows, put_key, put_value, attend_tile, end_rows.
#include "common.glsl"
#include "cache.glsl"

layout(constant_id = 0) const uint HEAD_DIM = 128;   // a multiple of 8
layout(constant_id = 1) const uint HEAD_DIM_V = 128; // the same
layout(constant_id = 2) const uint KEY_TYPE = CACHE_F16;
layout(constant_id = 3) const uint VALUE_TYPE = CACHE_F16;
layout(constant_id = 4) const uint N_KV_HEADS = 4;
layout(constant_id = 5) const uint N_QUERIES = 8; // heads of a key head, at most ROWS
layout(constant_id = 6) const uint ROWS = 32;
layout(constant_id = 7) const uint KEYS = 32; // positions of a tile
layout(constant_id = 8) const uint WINDOW = 0; // 0: all
layout(constant_id = 9) const uint GATED = 0;  // q comes as [heads][HEAD_DIM query | gate]
// OP_ATTEND_MLA: all key heads share one row of the cache, and its first HEAD_DIM_V elements are the value. 10 to 13 are
// the includer's.
layout(constant_id = 14) const uint LATENT = 0;

layout(push_constant) uniform Push
{
    Float4s ready;         // [..][heads][HEAD_DIM], scaled
    Floats q;              // as they came
    uint64_t keys, values; // rows, see cache.glsl
    uint64_t sinks;        // 0 or [heads]
    Float4sOut to;         // [..][heads][HEAD_DIM_V]
    SharedFloat4s sums;    // [tiles][N_KV_HEADS][splits][ROWS][HEAD_DIM_V]
    Counters counters;     // [tiles][N_KV_HEADS]
    Words order;           // rows of the batch, those of a sequence side by side
    Vec4s runs;            // sequences: first of order, how many (0: the end), position, sequence
    Words table;           // see cache.glsl
    uint totals;           // floats behind sums: [tiles][N_KV_HEADS][splits][ROWS] maximum, total
    uint n_cache;
    uint n_splits;
} p;

const uint TOKENS = ROWS / N_QUERIES;
const uint KEY_EIGHTS = HEAD_DIM / 8, VALUE_EIGHTS = HEAD_DIM_V / 8;
const uint LOADS_K = (KEYS * KEY_EIGHTS + THREADS - 1) / THREADS;
const uint LOADS_V = LATENT != 0 ? 1 : (KEYS * VALUE_EIGHTS + THREADS - 1) / THREADS;
const uint QUADS = HEAD_DIM_V / 4;
// Without a window tiles begin at multiples of their length.
const bool ALIGNED = PAGE != 0 && WINDOW == 0;
const float LEAST = -1e30;
const float LOG2_E = 1.4426950408889634;

// The tile of tokens.
uint first_token, n_tokens; // of order
uint tile_pos, sequence;
uint kv_head, split;

// Queries of the workgroup's rows: times LOG2_E.
void begin_rows();
void put_key(uint row, uint eight, const Eight x);
// counts: else zeros.
void put_value(uint row, uint eight, const Eight x, bool counts);
// Positions from `at` on, those before `end`; is_whole: all rows see all of them.
void attend_tile(uint at, uint end, bool is_whole);
// Calls put for all rows and quads.
void end_rows();

// False past the last tile.
bool find_tile()
{
    uint tile = gl_WorkGroupID.y;
    for (uint i = 0;; i++) {
        const uvec4 run = p.runs.v[i];
        const uint n = (run.y + TOKENS - 1) / TOKENS;
        if (run.y == 0)
            return false;
        if (tile < n) {
            first_token = run.x + tile * TOKENS;
            n_tokens = min(TOKENS, run.y - tile * TOKENS);
            tile_pos = run.z + tile * TOKENS;
            sequence = run.w;
            return true;
        }
        tile -= n;
    }
}

uint row_token(uint row)
{
    return p.order.v[first_token + min(row / N_QUERIES, n_tokens - 1)];
}

vec4 ready(uint row, uint quad)
{
    const uint head = (row_token(row) * N_KV_HEADS + kv_head) * N_QUERIES + row % N_QUERIES;
    return LOG2_E * p.ready.v[head * (HEAD_DIM / 4) + quad];
}

// Whether a row sees a position that is before the end.
bool sees(uint row, uint pos)
{
    const uint own = tile_pos + row / N_QUERIES;
    return pos <= own && (WINDOW == 0 || pos + WINDOW > own);
}

// Of KEYS positions from `at` on, of which those before the end count. To be asked for early: it waits for the table.
Tile tile_of(uint at, uint end)
{
    Cache cache = Cache(p.table, p.n_cache, LATENT != 0 ? 1 : N_KV_HEADS,
                              LATENT != 0 ? 0 : kv_head, sequence);
    return cache_tile(cache, min(at, end - 1), min(at + KEYS, end) - 1, ALIGNED);
}

void load_tile(const Tile tile, uint first, uint end, out Eight keys[LOADS_K],
               out Eight values[LOADS_V])
{
    [[unroll]] for (uint i = 0; i < LOADS_K; i++) {
        const uint at = min(thread() + i * THREADS, KEYS * KEY_EIGHTS - 1);
        const uint row = min(at / KEY_EIGHTS, end - 1 - first);
        keys[i] = cache_load(KEY_TYPE, cache_at(tile, p.keys, KEY_TYPE, HEAD_DIM, row, ALIGNED), HEAD_DIM,
                             at % KEY_EIGHTS);
    }
    if (LATENT != 0)
        return;
    [[unroll]] for (uint i = 0; i < LOADS_V; i++) {
        const uint at = min(thread() + i * THREADS, KEYS * VALUE_EIGHTS - 1);
        const uint row = min(at / VALUE_EIGHTS, end - 1 - first);
        values[i] = cache_load(VALUE_TYPE, cache_at(tile, p.values, VALUE_TYPE, HEAD_DIM_V, row, ALIGNED),
                               HEAD_DIM_V, at % VALUE_EIGHTS);
    }
}

void put_tile(const Eight keys[LOADS_K], const Eight values[LOADS_V], uint n)
{
    [[unroll]] for (uint i = 0; i < LOADS_K; i++) {
        const uint at = thread() + i * THREADS;
        if (at < KEYS * KEY_EIGHTS)
            put_key(at / KEY_EIGHTS, at % KEY_EIGHTS, keys[i]);
    }
    if (LATENT != 0)
        return;
    [[unroll]] for (uint i = 0; i < LOADS_V; i++) {
        const uint at = thread() + i * THREADS;
        if (at < KEYS * VALUE_EIGHTS)
            put_value(at / VALUE_EIGHTS, at % VALUE_EIGHTS, values[i], at / VALUE_EIGHTS < n);
    }
}

// ---- results -----------------------------------------------------------------------------------

// The sum of a row's values, weighted by 2^(score - most), whose weights' sum is total.
void put_result(uint row, uint quad, vec4 sum, float most, float total)
{
    const uint head = kv_head * N_QUERIES + row % N_QUERIES;
    const uint at = row_token(row) * N_KV_HEADS * N_QUERIES + head;
    if (p.sinks != 0) {
        const float sink = LOG2_E * Floats(p.sinks).v[head], top = max(most, sink);
        sum *= exp2(most - top);
        total = total * exp2(most - top) + exp2(sink - top);
    }
    sum /= total;
    if (GATED != 0) {
        [[unroll]] for (uint k = 0; k < 4; k++)
            sum[k] /= 1 + exp(-p.q.v[at * 2 * HEAD_DIM + HEAD_DIM + 4 * quad + k]);
    }
    p.to.v[at * QUADS + quad] = sum;
}

// Rows of all splits of the workgroup's tile and head, split 0 first.
uint partials()
{
    return (gl_WorkGroupID.y * N_KV_HEADS + kv_head) * p.n_splits * ROWS;
}

SharedFloats totals()
{
    return SharedFloats(uint64_t(p.sums) + 4ul * p.totals);
}

void put(uint row, uint quad, vec4 sum, float most, float total)
{
    if (row >= n_tokens * N_QUERIES)
        return;
    if (p.n_splits == 1) {
        put_result(row, quad, sum, most, total);
        return;
    }
    const uint at = partials() + split * ROWS + row;
    p.sums.v[at * QUADS + quad] = sum;
    if (quad == 0) {
        totals().v[2 * at] = most;
        totals().v[2 * at + 1] = total;
    }
}

// Splits whose loads are under way together.
const uint MERGED = 8;

void merge()
{
    const uint last = p.n_splits - 1;
    for (uint i = thread(); i < n_tokens * N_QUERIES * QUADS; i += THREADS) {
        const uint row = partials() + i / QUADS, quad = i % QUADS;
        float most = LEAST, total = 0;
        vec4 sum = vec4(0);
        [[dont_unroll]] for (uint s = 0; s < p.n_splits; s += MERGED) {
            vec4 x[MERGED];
            float m[MERGED], l[MERGED], top = most;
            [[unroll]] for (uint k = 0; k < MERGED; k++) {
                const uint at = row + min(s + k, last) * ROWS;
                m[k] = totals().v[2 * at];
                l[k] = totals().v[2 * at + 1];
                x[k] = p.sums.v[at * QUADS + quad];
            }
            [[unroll]] for (uint k = 0; k < MERGED; k++)
                top = max(top, m[k]);
            const float keep = exp2(most - top);
            most = top;
            total *= keep;
            sum *= keep;
            [[unroll]] for (uint k = 0; k < MERGED; k++) {
                const float weight = s + k <= last ? exp2(m[k] - most) : 0;
                total += weight * l[k];
                sum += weight * x[k];
            }
        }
        put_result(i / QUADS, quad, sum, most, total);
    }
}

void main()
{
    if (!find_tile())
        return;
    kv_head = gl_WorkGroupID.x / p.n_splits;
    split = gl_WorkGroupID.x % p.n_splits;
    const uint own = tile_pos + 1, last = tile_pos + n_tokens;
    const uint start = WINDOW != 0 && own > WINDOW ? own - WINDOW : 0;
    const uint span = ((last - start + p.n_splits - 1) / p.n_splits + KEYS - 1) / KEYS * KEYS;
    const uint first = start + split * span, end = min(first + span, last);

    Eight keys[LOADS_K], values[LOADS_V];
    if (first < end)
        load_tile(tile_of(first, end), first, end, keys, values);
    begin_rows();
    barrier();
    for (uint at = first; at < end; at += KEYS) {
        const Tile next = tile_of(at + KEYS, end);
        put_tile(keys, values, end - at);
        barrier();
        if (at + KEYS < end)
            load_tile(next, at + KEYS, end, keys, values);
        attend_tile(at, end, at + KEYS <= own && (WINDOW == 0 || at + WINDOW >= last));
        barrier();
    }
    end_rows();
    if (p.n_splits > 1 &&
        last_to_arrive(p.counters, gl_WorkGroupID.y * N_KV_HEADS + kv_head, p.n_splits))
        merge();
}
