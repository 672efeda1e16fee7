// attend.glsl with cooperative matrices: the queries of a key head are the columns of one matrix, which may be narrow, and
// keys and values the rows of others. A subgroup walks every so many tiles of KEYS positions, through a place of its own in
// shared memory where keys, scores, weights, values and at last sums take turns, while the next tile is on its way to its
// registers; it waits for no other subgroup until the end, when their sums are added in order. Scores and weights are as
// in flash_matrix.comp.
#version 460
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_shader_subgroup_vote : require
#include "attend.glsl"

layout(constant_id = 6) const uint SUBGROUP = 32; // a multiple of N
layout(constant_id = 16) const uint WALKERS = 7;  // subgroups that have a place in shared memory
layout(constant_id = 17) const uint M = 16;       // KEYS and HEAD_DIM_V are multiples
layout(constant_id = 18) const uint N = 16;       // columns: N_QUERIES, and unused ones
layout(constant_id = 19) const uint K = 16;       // KEYS and HEAD_DIM are multiples
layout(constant_id = 20) const uint KEYS = 16;    // positions of a tile, N at least

const uint LANES = SUBGROUP / N; // of a query
const uint WIDTH = KEYS / LANES; // positions of a lane, a multiple of 4
const uint PART = M / LANES;     // elements of a lane in a matrix of sums
const float LOG2_E = 1.4426950408889634;
const float SLACK = 8; // weights are at most 2^SLACK: halves hold them

// A subgroup's place: rows of eights, eight halves or four floats; one more keeps neighbouring rows off the same banks.
const uint EIGHTS_K = HEAD_DIM / 8, EIGHTS_V = HEAD_DIM_V / 8;
const uint PITCH = (EIGHTS_K > EIGHTS_V ? EIGHTS_K : EIGHTS_V) + 1;
const uint SCORE_PITCH = KEYS / 4 + 1;  // floats, a row a query
const uint WEIGHT_PITCH = KEYS / 8 + 1; // halves, a row a query; behind them
const uint FACTORS = N * WEIGHT_PITCH, FACTOR_PITCH = M / 4 + 1; // floats, a row a query
shared uvec4 s_place[WALKERS * KEYS * PITCH];
shared vec2 s_total[WALKERS * N]; // maximum, total

// Rows come in pieces of 16 bytes.
const uint PIECES_K = HEAD_DIM / CACHE_PIECE(KEY_TYPE), PIECES_V = HEAD_DIM_V / CACHE_PIECE(VALUE_TYPE);
const uint LOADS_K = KEYS * PIECES_K / SUBGROUP, LOADS_V = KEYS * PIECES_V / SUBGROUP;

#define MATRIX_TILE coopmat<float16_t, gl_ScopeSubgroup, M, K, gl_MatrixUseA>
#define MATRIX_QUERIES coopmat<float16_t, gl_ScopeSubgroup, K, N, gl_MatrixUseB>
#define MATRIX_SUM coopmat<float, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator>
MATRIX_QUERIES queries[HEAD_DIM / K];
MATRIX_SUM sums[HEAD_DIM_V / M];
float most, total; // of the lane's query

uint walker()
{
    return gl_SubgroupID;
}

uint place()
{
    return walker() * KEYS * PITCH;
}

uint own_query()
{
    return gl_SubgroupInvocationID / LANES;
}

uint lane()
{
    return gl_SubgroupInvocationID % LANES;
}

// ---- from memory -------------------------------------------------------------------------------

// Row and number in it of the lane's piece `load`, of rows of n.
uvec2 piece_at(uint load, uint n)
{
    const uint i = gl_SubgroupInvocationID + load * SUBGROUP;
    return uvec2(i / n, i % n);
}

void load_keys(const Tile tile, uint at, out Piece keys[LOADS_K])
{
    [[unroll]] for (uint i = 0; i < LOADS_K; i++) {
        const uvec2 own = piece_at(i, PIECES_K);
        const uint row = min(own.x, end - 1 - at);
        keys[i] = cache_load_piece(KEY_TYPE, cache_at(tile, p.keys, KEY_TYPE, HEAD_DIM, row, ALIGNED), HEAD_DIM,
                                   own.y);
    }
}

void load_values(const Tile tile, uint at, out Piece values[LOADS_V])
{
    [[unroll]] for (uint i = 0; i < LOADS_V; i++) {
        const uvec2 own = piece_at(i, PIECES_V);
        const uint row = min(own.x, end - 1 - at);
        values[i] = cache_load_piece(VALUE_TYPE, cache_at(tile, p.values, VALUE_TYPE, HEAD_DIM_V, row, ALIGNED),
                                     HEAD_DIM_V, own.y);
    }
}

// ---- to shared memory --------------------------------------------------------------------------

uvec4 halves_of(vec4 a, vec4 b)
{
    return uvec4(packHalf2x16(a.xy), packHalf2x16(a.zw), packHalf2x16(b.xy), packHalf2x16(b.zw));
}

// All eights of a piece.
void put_piece(uint type, uvec2 own, const Piece x)
{
    const uint n = CACHE_PIECE(type) / 8;
    [[unroll]] for (uint i = 0; i < n; i++)
        s_place[place() + own.x * PITCH + own.y * n + i] = cache_packed(type, cache_eight(type, x, i));
}

void put_keys(const Piece keys[LOADS_K])
{
    [[unroll]] for (uint i = 0; i < LOADS_K; i++)
        put_piece(KEY_TYPE, piece_at(i, PIECES_K), keys[i]);
}

void put_values(const Piece values[LOADS_V])
{
    [[unroll]] for (uint i = 0; i < LOADS_V; i++)
        put_piece(VALUE_TYPE, piece_at(i, PIECES_V), values[i]);
}

// FUSED: the row of the new position, `n` elements from s_query[from] on, and of those behind it: what the cache has there is
// nobody's, and counts nothing.
void put_fresh(uint at, uint from, uint n)
{
    [[dont_unroll]] for (uint i = gl_SubgroupInvocationID; i < KEYS * (n / 8); i += SUBGROUP) {
        const uint row = i / (n / 8), eight = i % (n / 8);
        if (at + row >= pos)
            s_place[place() + row * PITCH + eight] =
                halves_of(s_query[from + 2 * eight], s_query[from + 2 * eight + 1]);
    }
}

// ---- the walk ----------------------------------------------------------------------------------

// Through the first subgroup's place: times LOG2_E.
void take_queries()
{
    for (uint i = thread(); i < N * EIGHTS_K; i += THREADS) {
        const uint row = i / EIGHTS_K, eight = i % EIGHTS_K, from = row * (HEAD_DIM / 4) + 2 * eight;
        s_place[row * PITCH + eight] =
            row < N_QUERIES ? halves_of(LOG2_E * s_query[from], LOG2_E * s_query[from + 1]) : uvec4(0);
    }
    barrier();
    [[unroll]] for (uint k = 0; k < HEAD_DIM / K; k++)
        coopMatLoad(queries[k], s_place, k * (K / 8), PITCH, gl_CooperativeMatrixLayoutColumnMajor);
    [[unroll]] for (uint d = 0; d < HEAD_DIM_V / M; d++)
        sums[d] = MATRIX_SUM(0);
    most = LEAST;
    total = 0;
    barrier();
}

// Where the keys were.
void score()
{
    MATRIX_SUM s[KEYS / M];
    [[unroll]] for (uint m = 0; m < KEYS / M; m++) {
        s[m] = MATRIX_SUM(0);
        [[unroll]] for (uint k = 0; k < HEAD_DIM / K; k++) {
            MATRIX_TILE tile;
            coopMatLoad(tile, s_place, place() + m * M * PITCH + k * (K / 8), PITCH,
                        gl_CooperativeMatrixLayoutRowMajor);
            s[m] = coopMatMulAdd(tile, queries[k], s[m]);
        }
    }
    subgroupBarrier();
    [[unroll]] for (uint m = 0; m < KEYS / M; m++)
        coopMatStore(s[m], s_place, place() + m * (M / 4), SCORE_PITCH,
                     gl_CooperativeMatrixLayoutColumnMajor);
}

// The lane's scores, and the largest of its query; true when that of any query leaps, which all follow then.
bool take_scores(uint at, out float x[WIDTH], out float top)
{
    top = LEAST;
    [[unroll]] for (uint i = 0; i < WIDTH; i += 4) {
        const uint four = (lane() * WIDTH + i) / 4;
        const vec4 scores = uintBitsToFloat(s_place[place() + own_query() * SCORE_PITCH + four]);
        [[unroll]] for (uint k = 0; k < 4; k++) {
            x[i + k] = at + 4 * four + k < end ? scores[k] : LEAST;
            top = max(top, x[i + k]);
        }
    }
    [[unroll]] for (uint i = 1; i < LANES; i *= 2)
        top = max(top, subgroupShuffleXor(top, i));
    return subgroupAny(top > most + SLACK);
}

// The factor of a query's sums, as a column of a matrix behind the weights.
void put_factor(float keep)
{
    [[unroll]] for (uint i = 0; i < PART; i++) {
        const uint column = lane() * PART + i;
        s_place[place() + FACTORS + own_query() * FACTOR_PITCH + column / 4][column % 4] =
            floatBitsToUint(keep);
    }
}

void put_weights(const float x[WIDTH], float top, bool leaps)
{
    if (leaps) {
        const float next = max(most, top), keep = exp2(most - next);
        most = next;
        total *= keep;
        put_factor(keep);
    }
    [[unroll]] for (uint i = 0; i < WIDTH; i += 4) {
        vec4 w;
        [[unroll]] for (uint k = 0; k < 4; k++)
            w[k] = x[i + k] > LEAST ? exp2(x[i + k] - most) : 0;
        const uvec2 rounded = uvec2(packHalf2x16(w.xy), packHalf2x16(w.zw));
        total += dot(vec4(unpackHalf2x16(rounded.x), unpackHalf2x16(rounded.y)), vec4(1));
        const uint four = (lane() * WIDTH + i) / 4, to = place() + own_query() * WEIGHT_PITCH + four / 2;
        s_place[to][four % 2 * 2] = rounded.x;
        s_place[to][four % 2 * 2 + 1] = rounded.y;
    }
}

void rescale()
{
    MATRIX_SUM factors;
    coopMatLoad(factors, s_place, place() + FACTORS, FACTOR_PITCH,
                gl_CooperativeMatrixLayoutColumnMajor);
    [[unroll]] for (uint d = 0; d < HEAD_DIM_V / M; d++)
        sums[d] *= factors;
}

void weigh(const uint k, const MATRIX_QUERIES weights)
{
    [[unroll]] for (uint d = 0; d < HEAD_DIM_V / M; d++) {
        MATRIX_TILE tile;
        coopMatLoad(tile, s_place, place() + k * K * PITCH + d * (M / 8), PITCH,
                    gl_CooperativeMatrixLayoutColumnMajor);
        sums[d] = coopMatMulAdd(tile, weights, sums[d]);
    }
}

const uint STRIDE = KEYS * WALKERS; // positions of a round

bool works(uint at)
{
    return walker() < WALKERS && at < end;
}

// keys, values: of the first tile. All subgroups pass the same barriers: some devices count them together.
void walk(Piece keys[LOADS_K], Piece values[LOADS_V])
{
    const uint n_rounds = (end - min(first, end) + STRIDE - 1) / STRIDE;
    [[dont_unroll]] for (uint i = 0; i < n_rounds; i++) {
        const uint at = first + i * STRIDE + walker() * KEYS, next = at + STRIDE;
        const bool has_tile = works(at), has_next = works(next);
        const Tile tile = tile_of(next, KEYS);
        float x[WIDTH], top;
        bool leaps = false;
        MATRIX_QUERIES weights[KEYS / K];
        const bool has_fresh = FUSED != 0 && has_tile && at + KEYS > pos;
        if (has_tile)
            put_keys(keys);
        if (FUSED != 0)
            subgroupBarrier();
        if (has_fresh)
            put_fresh(at, N_QUERIES * HEAD_DIM / 4, HEAD_DIM);
        subgroupBarrier();
        if (has_next)
            load_keys(tile, next, keys);
        if (has_tile)
            score();
        subgroupBarrier();
        if (has_tile)
            leaps = take_scores(at, x, top);
        subgroupBarrier();
        if (has_tile)
            put_weights(x, top, leaps);
        subgroupBarrier();
        if (leaps)
            rescale();
        if (has_tile) {
            [[unroll]] for (uint k = 0; k < KEYS / K; k++)
                coopMatLoad(weights[k], s_place, place() + k * (K / 8), WEIGHT_PITCH,
                            gl_CooperativeMatrixLayoutColumnMajor);
        }
        subgroupBarrier();
        if (has_tile)
            put_values(values);
        if (FUSED != 0)
            subgroupBarrier();
        if (has_fresh)
            put_fresh(at, QUERY_ROWS * HEAD_DIM / 4, HEAD_DIM_V);
        subgroupBarrier();
        if (has_next)
            load_values(tile, next, values);
        if (has_tile) {
            [[unroll]] for (uint k = 0; k < KEYS / K; k++)
                weigh(k, weights[k]);
        }
        subgroupBarrier();
    }
}

// ---- the subgroups' sums -----------------------------------------------------------------------

// Elements of a query's sums that a place has room for, the rows of whole matrices.
const uint SUM_ROOM = 4 * (KEYS * PITCH / N - 1);
const uint AT_ONCE = SUM_ROOM / M * M, SUM_PITCH = AT_ONCE / 4 + 1;

// Over the subgroups, in their order: quad `at` of those in the places, of query q.
void put_sum(uint q, uint quad, uint at)
{
    float top = LEAST, all = 0;
    [[unroll]] for (uint w = 0; w < WALKERS; w++)
        top = max(top, s_total[w * N + q].x);
    vec4 x = vec4(0);
    [[unroll]] for (uint w = 0; w < WALKERS; w++) {
        const vec2 of = s_total[w * N + q];
        const float keep = exp2(of.x - top);
        all += keep * of.y;
        x += keep * uintBitsToFloat(s_place[w * KEYS * PITCH + q * SUM_PITCH + at]);
    }
    put_part(q, quad, x, top / LOG2_E, all);
}

void put_sums()
{
    [[unroll]] for (uint i = 1; i < LANES; i *= 2)
        total += subgroupShuffleXor(total, i);
    if (walker() < WALKERS && lane() == 0)
        s_total[walker() * N + own_query()] = vec2(most, total);
    [[unroll]] for (uint from = 0; from < HEAD_DIM_V; from += AT_ONCE) {
        const uint n = HEAD_DIM_V - from < AT_ONCE ? HEAD_DIM_V - from : AT_ONCE;
        if (from != 0)
            barrier();
        if (walker() < WALKERS)
            [[unroll]] for (uint d = 0; d < n / M; d++)
                coopMatStore(sums[from / M + d], s_place, place() + d * (M / 4), SUM_PITCH,
                             gl_CooperativeMatrixLayoutColumnMajor);
        barrier();
        for (uint i = thread(); i < N_QUERIES * (n / 4); i += THREADS)
            put_sum(i / (n / 4), from / 4 + i % (n / 4), i % (n / 4));
    }
}

void main()
{
    find_positions(KEYS);
    const uint at = first + walker() * KEYS;
    const Tile tile = tile_of(at, KEYS);
    begin_queries();
    Piece keys[LOADS_K], values[LOADS_V];
    if (works(at)) {
        load_keys(tile, at, keys);
        load_values(tile, at, values);
    }
    end_queries(end == pos + 1 && first < end);
    take_queries();
    walk(keys, values);
    put_sums();
    end_row();
}
