// attend.glsl with cooperative matrices: the queries of a key head are the rows of one matrix. A subgroup walks every so
// many tiles of KEYS positions, through a place of its own in shared memory where keys, weights and values take
// turns, while the next tile is on its way to its registers; it waits for no other subgroup until the end, when their sums
// are added in order. Scores and weights are as in flash_matrix.comp.
#version 460
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_shader_subgroup_vote : require
#include "attend.glsl"

layout(constant_id = 6) const uint SUBGROUP = 32; // a multiple of M
layout(constant_id = 16) const uint WALKERS = 7;  // subgroups that have a place in shared memory
layout(constant_id = 17) const uint M = 16;       // rows: N_QUERIES, and unused ones
layout(constant_id = 18) const uint N = 16; // KEYS and HEAD_DIM_V are multiples
layout(constant_id = 19) const uint K = 16; // KEYS and HEAD_DIM are multiples
layout(constant_id = 20) const uint KEYS = 16; // positions of a tile, M at least

const uint LANES = SUBGROUP / M; // of a row
const uint WIDTH = KEYS / LANES; // columns of a lane, a multiple of 4
const uint PART = N / LANES;     // of them in a matrix of sums
const float LOG2_E = 1.4426950408889634;
const float SLACK = 8; // weights are at most 2^SLACK: halves hold them

// A subgroup's place: rows of four halves; 16 bytes of padding keep neighbouring rows off the same banks.
const uint EIGHTS_K = HEAD_DIM / 8, EIGHTS_V = HEAD_DIM_V / 8;
const uint PITCH = 2 * (EIGHTS_K > EIGHTS_V ? EIGHTS_K : EIGHTS_V) + 2;
const uint SCORE_PITCH = (KEYS > N ? KEYS : N) + 4; // floats
shared f16vec4 s_tile[WALKERS * KEYS * PITCH];
shared float s_scores[WALKERS * M * SCORE_PITCH];
shared float s_most[WALKERS * M], s_total[WALKERS * M];

const uint LOADS_K = KEYS * EIGHTS_K / SUBGROUP, LOADS_V = KEYS * EIGHTS_V / SUBGROUP;

#define MATRIX_ROWS coopmat<float16_t, gl_ScopeSubgroup, M, K, gl_MatrixUseA>
#define MATRIX_TILE coopmat<float16_t, gl_ScopeSubgroup, K, N, gl_MatrixUseB>
#define MATRIX_SUM coopmat<float, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator>
MATRIX_ROWS queries[HEAD_DIM / K];
MATRIX_SUM sums[HEAD_DIM_V / N];
float most, total; // of the lane's row

uint walker()
{
    return gl_SubgroupID;
}

uint place()
{
    return walker() * KEYS * PITCH;
}

uint scores_at()
{
    return walker() * M * SCORE_PITCH;
}

uint own_row()
{
    return gl_SubgroupInvocationID / LANES;
}

uint lane()
{
    return gl_SubgroupInvocationID % LANES;
}

// ---- from memory -------------------------------------------------------------------------------

// Element 8 (i % n) of position `at` + i / n comes with number i.
uint number(uint load)
{
    return gl_SubgroupInvocationID + load * SUBGROUP;
}

void load_keys(const Tile tile, uint at, out Eight keys[LOADS_K])
{
    [[unroll]] for (uint i = 0; i < LOADS_K; i++) {
        const uint row = min(number(i) / EIGHTS_K, end - 1 - at);
        keys[i] = cache_load(KEY_TYPE, cache_at(tile, p.keys, KEY_TYPE, HEAD_DIM, row, ALIGNED), HEAD_DIM,
                             number(i) % EIGHTS_K);
    }
}

void load_values(const Tile tile, uint at, out Eight values[LOADS_V])
{
    [[unroll]] for (uint i = 0; i < LOADS_V; i++) {
        const uint row = min(number(i) / EIGHTS_V, end - 1 - at);
        values[i] = cache_load(VALUE_TYPE, cache_at(tile, p.values, VALUE_TYPE, HEAD_DIM_V, row, ALIGNED),
                               HEAD_DIM_V, number(i) % EIGHTS_V);
    }
}

// ---- to shared memory --------------------------------------------------------------------------

f16vec4 halves(uint type, const Eight x, uint quad)
{
    if (type == CACHE_F16)
        return f16vec4(unpackFloat2x16(x.a[2 * quad]), unpackFloat2x16(x.a[2 * quad + 1]));
    return f16vec4(vec4(cache_pair(type, x, 2 * quad), cache_pair(type, x, 2 * quad + 1)));
}

void put_keys(const Eight keys[LOADS_K])
{
    [[unroll]] for (uint i = 0; i < LOADS_K; i++) {
        const uint to = place() + number(i) / EIGHTS_K * PITCH + number(i) % EIGHTS_K * 2;
        s_tile[to] = halves(KEY_TYPE, keys[i], 0);
        s_tile[to + 1] = halves(KEY_TYPE, keys[i], 1);
    }
}

void put_values(const Eight values[LOADS_V])
{
    [[unroll]] for (uint i = 0; i < LOADS_V; i++) {
        const uint to = place() + number(i) / EIGHTS_V * PITCH + number(i) % EIGHTS_V * 2;
        s_tile[to] = halves(VALUE_TYPE, values[i], 0);
        s_tile[to + 1] = halves(VALUE_TYPE, values[i], 1);
    }
}

// FUSED: the row of the new position, `n` elements from s_query[from] on, and of those behind it: what the cache has there is
// nobody's, and counts nothing.
void put_fresh(uint at, uint from, uint n)
{
    [[dont_unroll]] for (uint i = gl_SubgroupInvocationID; i < KEYS * (n / 4); i += SUBGROUP) {
        const uint row = i / (n / 4), quad = i % (n / 4);
        if (at + row >= pos)
            s_tile[place() + row * PITCH + quad] = f16vec4(s_query[from + quad]);
    }
}

// ---- the walk ----------------------------------------------------------------------------------

// Through the first subgroup's place: times LOG2_E.
void take_queries()
{
    for (uint i = thread(); i < M * (HEAD_DIM / 4); i += THREADS) {
        const uint row = i / (HEAD_DIM / 4), quad = i % (HEAD_DIM / 4);
        s_tile[row * PITCH + quad] =
            f16vec4(row < N_QUERIES ? LOG2_E * s_query[row * (HEAD_DIM / 4) + quad] : vec4(0));
    }
    barrier();
    [[unroll]] for (uint k = 0; k < HEAD_DIM / K; k++)
        coopMatLoad(queries[k], s_tile, k * (K / 4), PITCH, gl_CooperativeMatrixLayoutRowMajor);
    [[unroll]] for (uint d = 0; d < HEAD_DIM_V / N; d++)
        sums[d] = MATRIX_SUM(0);
    most = LEAST;
    total = 0;
    barrier();
}

void score()
{
    [[unroll]] for (uint n = 0; n < KEYS / N; n++) {
        MATRIX_SUM s = MATRIX_SUM(0);
        [[unroll]] for (uint k = 0; k < HEAD_DIM / K; k++) {
            MATRIX_TILE tile;
            coopMatLoad(tile, s_tile, place() + n * N * PITCH + k * (K / 4), PITCH,
                        gl_CooperativeMatrixLayoutColumnMajor);
            s = coopMatMulAdd(queries[k], tile, s);
        }
        coopMatStore(s, s_scores, scores_at() + n * N, SCORE_PITCH,
                     gl_CooperativeMatrixLayoutRowMajor);
    }
}

// The lane's scores, and the largest of its row; true when that of any row leaps, which all rows follow then.
bool take_scores(uint at, out float x[WIDTH], out float top)
{
    top = LEAST;
    [[unroll]] for (uint i = 0; i < WIDTH; i++) {
        const uint column = lane() * WIDTH + i;
        x[i] = s_scores[scores_at() + own_row() * SCORE_PITCH + column];
        x[i] = at + column < end ? x[i] : LEAST;
        top = max(top, x[i]);
    }
    [[unroll]] for (uint i = 1; i < LANES; i *= 2)
        top = max(top, subgroupShuffleXor(top, i));
    return subgroupAny(top > most + SLACK);
}

// The factor of a row's sums, as a row of a matrix where the scores were.
void put_factor(float keep)
{
    [[unroll]] for (uint i = 0; i < PART; i++)
        s_scores[scores_at() + own_row() * SCORE_PITCH + lane() * PART + i] = keep;
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
        const f16vec4 rounded = f16vec4(w);
        total += dot(vec4(rounded), vec4(1));
        s_tile[place() + own_row() * PITCH + (lane() * WIDTH + i) / 4] = rounded;
    }
}

void rescale()
{
    MATRIX_SUM factors;
    coopMatLoad(factors, s_scores, scores_at(), SCORE_PITCH, gl_CooperativeMatrixLayoutRowMajor);
    [[unroll]] for (uint d = 0; d < HEAD_DIM_V / N; d++)
        sums[d] *= factors;
}

void weigh(const uint k, const MATRIX_ROWS weights)
{
    [[unroll]] for (uint d = 0; d < HEAD_DIM_V / N; d++) {
        MATRIX_TILE tile;
        coopMatLoad(tile, s_tile, place() + k * K * PITCH + d * (N / 4), PITCH,
                    gl_CooperativeMatrixLayoutRowMajor);
        sums[d] = coopMatMulAdd(weights, tile, sums[d]);
    }
}

const uint STRIDE = KEYS * WALKERS; // positions of a round

bool works(uint at)
{
    return walker() < WALKERS && at < end;
}

// keys, values: of the first tile. All subgroups pass the same barriers: some devices count them together.
void walk(Eight keys[LOADS_K], Eight values[LOADS_V])
{
    const uint n_rounds = (end - min(first, end) + STRIDE - 1) / STRIDE;
    [[dont_unroll]] for (uint i = 0; i < n_rounds; i++) {
        const uint at = first + i * STRIDE + walker() * KEYS, next = at + STRIDE;
        const bool has_tile = works(at), has_next = works(next);
        const Tile tile = tile_of(next, KEYS);
        float x[WIDTH], top;
        bool leaps = false;
        MATRIX_ROWS weights[KEYS / K];
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
                coopMatLoad(weights[k], s_tile, place() + k * (K / 4), PITCH,
                            gl_CooperativeMatrixLayoutRowMajor);
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

// Sums then refer to the largest maximum of a row.
void agree()
{
    [[unroll]] for (uint i = 1; i < LANES; i *= 2)
        total += subgroupShuffleXor(total, i);
    if (walker() < WALKERS && lane() == 0) {
        s_most[walker() * M + own_row()] = most;
        s_total[walker() * M + own_row()] = total;
    }
    barrier();
    float top = most;
    [[unroll]] for (uint w = 0; w < WALKERS; w++)
        top = max(top, s_most[w * M + own_row()]);
    if (walker() < WALKERS)
        put_factor(exp2(most - top));
    subgroupBarrier();
    if (walker() < WALKERS)
        rescale();
    subgroupBarrier();
}

// Of a row, over its subgroups: in powers of e.
vec2 most_and_total(uint row)
{
    vec2 x = vec2(LEAST, 0);
    for (uint w = 0; w < WALKERS; w++)
        x.x = max(x.x, s_most[w * M + row]);
    for (uint w = 0; w < WALKERS; w++)
        x.y += exp2(s_most[w * M + row] - x.x) * s_total[w * M + row];
    return vec2(x.x / LOG2_E, x.y);
}

// Sums of the subgroups, added in order, to s_query.
void add_sums()
{
    const uint row = thread() / N, column = thread() % N;
    [[unroll]] for (uint d = 0; d < HEAD_DIM_V / N; d++) {
        if (walker() < WALKERS)
            coopMatStore(sums[d], s_scores, scores_at(), SCORE_PITCH,
                         gl_CooperativeMatrixLayoutRowMajor);
        barrier();
        if (row < N_QUERIES) {
            float sum = 0;
            [[unroll]] for (uint w = 0; w < WALKERS; w++)
                sum += s_scores[(w * M + row) * SCORE_PITCH + column];
            QUERY(row * HEAD_DIM_V + d * N + column) = sum;
        }
        barrier();
    }
}

void put_sums()
{
    [[dont_unroll]] for (uint i = thread(); i < N_QUERIES * QUADS; i += THREADS) {
        const vec2 own = most_and_total(i / QUADS);
        put_part(i / QUADS, i % QUADS, s_query[i], own.x, own.y);
    }
}

void main()
{
    find_positions(KEYS);
    const uint at = first + walker() * KEYS;
    const Tile tile = tile_of(at, KEYS);
    begin_queries();
    Eight keys[LOADS_K], values[LOADS_V];
    if (works(at)) {
        load_keys(tile, at, keys);
        load_values(tile, at, values);
    }
    end_queries(end == pos + 1 && first < end);
    take_queries();
    walk(keys, values);
    agree();
    add_sums();
    put_sums();
    end_row();
}
