// flash.glsl with cooperative matrices: a subgroup has M rows, whose sums and queries stay in its registers; with
// SHARED_QUERIES queries are in shared memory. Scores go through shared memory, too, since who holds which element of a
// matrix is the device's secret; the maximum that weights refer to follows the true one in leaps, so that the sums are
// seldom rescaled.
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_shader_subgroup_vote : require
#include "flash.glsl"

layout(constant_id = 10) const uint M = 16;
layout(constant_id = 11) const uint N = 16; // KEYS and HEAD_DIM_V are multiples
layout(constant_id = 12) const uint K = 16; // KEYS and HEAD_DIM are multiples
layout(constant_id = 13) const uint SUBGROUP = 32; // a multiple of M; HEAD_DIM is one of KEYS

const uint LANES = SUBGROUP / M;   // of a row
const uint WIDTH = KEYS / LANES;   // columns of a lane, a multiple of 4
const uint PART = N / LANES;       // of them in a matrix of sums, the same
const float SLACK = 8;             // weights are at most 2^SLACK: halves hold them

// Rows of four halves; 16 bytes of padding keep neighbouring rows off the same banks.
const uint KEY_PITCH = HEAD_DIM / 4 + 2, VALUE_PITCH = HEAD_DIM_V / 4 + 2;
const uint WEIGHT_PITCH = KEYS / 4 + 2;
const uint SCORE_PITCH = KEYS + 4; // floats
shared f16vec4 s_keys[KEYS * KEY_PITCH];
shared f16vec4 s_values[KEYS * VALUE_PITCH];
shared float s_scores[ROWS * SCORE_PITCH];
shared f16vec4 s_weights[ROWS * WEIGHT_PITCH];

#define MATRIX_QUERY coopmat<float16_t, gl_ScopeSubgroup, M, K, gl_MatrixUseA>
#define MATRIX_TILE coopmat<float16_t, gl_ScopeSubgroup, K, N, gl_MatrixUseB>
#define MATRIX_SUM coopmat<float, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator>
#ifdef SHARED_QUERIES
shared f16vec4 s_queries[ROWS * KEY_PITCH];
#else
MATRIX_QUERY queries[HEAD_DIM / K];
#endif
MATRIX_SUM sums[HEAD_DIM_V / N];
float most, total; // of the lane's row

uint first_row()
{
    return gl_SubgroupID * M;
}

uint own_row()
{
    return first_row() + gl_SubgroupInvocationID / LANES;
}

uint lane()
{
    return gl_SubgroupInvocationID % LANES;
}

f16vec4 halves(uint type, const Eight x, uint quad)
{
    return f16vec4(cache_halves(type, x, 2 * quad), cache_halves(type, x, 2 * quad + 1));
}

void put_key(uint row, uint eight, const Eight x)
{
    s_keys[row * KEY_PITCH + 2 * eight] = halves(KEY_TYPE, x, 0);
    s_keys[row * KEY_PITCH + 2 * eight + 1] = halves(KEY_TYPE, x, 1);
}

void put_value(uint row, uint eight, const Eight x, bool counts)
{
    s_values[row * VALUE_PITCH + 2 * eight] = counts ? halves(VALUE_TYPE, x, 0) : f16vec4(0);
    s_values[row * VALUE_PITCH + 2 * eight + 1] = counts ? halves(VALUE_TYPE, x, 1) : f16vec4(0);
}

#ifdef SHARED_QUERIES
void take_queries()
{
    [[dont_unroll]] for (uint quad = lane(); quad < HEAD_DIM / 4; quad += LANES)
        s_queries[own_row() * KEY_PITCH + quad] = f16vec4(ready(own_row(), quad));
    subgroupBarrier();
}
#else
// KEYS columns of the queries at a time, through the place of the weights.
void take_queries()
{
    [[unroll]] for (uint piece = 0; piece < HEAD_DIM / KEYS; piece++) {
        const uint quad = lane() * (WIDTH / 4);
        [[unroll]] for (uint i = 0; i < WIDTH / 4; i++)
            s_weights[own_row() * WEIGHT_PITCH + quad + i] =
                f16vec4(ready(own_row(), piece * (KEYS / 4) + quad + i));
        subgroupBarrier();
        [[unroll]] for (uint k = 0; k < KEYS / K; k++)
            coopMatLoad(queries[piece * (KEYS / K) + k], s_weights,
                        first_row() * WEIGHT_PITCH + k * (K / 4), WEIGHT_PITCH,
                        gl_CooperativeMatrixLayoutRowMajor);
        subgroupBarrier();
    }
}
#endif

void begin_rows()
{
    most = LEAST;
    total = 0;
    [[unroll]] for (uint d = 0; d < HEAD_DIM_V / N; d++)
        sums[d] = MATRIX_SUM(0);
    take_queries();
}

void score()
{
    [[unroll]] for (uint n = 0; n < KEYS / N; n++) {
        MATRIX_SUM s = MATRIX_SUM(0);
        [[unroll]] for (uint k = 0; k < HEAD_DIM / K; k++) {
            MATRIX_TILE tile;
#ifdef SHARED_QUERIES
            MATRIX_QUERY query;
            coopMatLoad(query, s_queries, first_row() * KEY_PITCH + k * (K / 4), KEY_PITCH,
                        gl_CooperativeMatrixLayoutRowMajor);
#endif
            coopMatLoad(tile, s_keys, n * N * KEY_PITCH + k * (K / 4), KEY_PITCH,
                        gl_CooperativeMatrixLayoutColumnMajor);
#ifdef SHARED_QUERIES
            s = coopMatMulAdd(query, tile, s);
#else
            s = coopMatMulAdd(queries[k], tile, s);
#endif
        }
        coopMatStore(s, s_scores, first_row() * SCORE_PITCH + n * N, SCORE_PITCH,
                     gl_CooperativeMatrixLayoutRowMajor);
    }
    subgroupBarrier();
}

// Scores become weights. When the maximum of any row leaps, that of all rows follows, and the factors of the sums stand
// where the scores were: true. All subgroups pass the same barriers: some devices count them together.
bool soften(uint at, uint end, bool is_whole)
{
    float x[WIDTH], top = LEAST;
    [[unroll]] for (uint i = 0; i < WIDTH; i++)
        x[i] = s_scores[own_row() * SCORE_PITCH + lane() * WIDTH + i];
    if (!is_whole) {
        [[unroll]] for (uint i = 0; i < WIDTH; i++) {
            const uint pos = at + lane() * WIDTH + i;
            x[i] = pos < end && sees(own_row(), pos) ? x[i] : LEAST;
        }
    }
    [[unroll]] for (uint i = 0; i < WIDTH; i++)
        top = max(top, x[i]);
    [[unroll]] for (uint i = 1; i < LANES; i *= 2)
        top = max(top, subgroupShuffleXor(top, i));
    const bool leaps = subgroupAny(top > most + SLACK);
    subgroupBarrier(); // all scores have been read
    if (leaps) {
        const float next = max(most, top), keep = exp2(most - next);
        most = next;
        total *= keep;
        [[unroll]] for (uint i = 0; i < PART; i++)
            s_scores[own_row() * SCORE_PITCH + lane() * PART + i] = keep;
    }
    [[unroll]] for (uint i = 0; i < WIDTH; i += 4) {
        vec4 w;
        [[unroll]] for (uint k = 0; k < 4; k++)
            w[k] = x[i + k] > LEAST ? exp2(x[i + k] - most) : 0;
        const f16vec4 rounded = f16vec4(w);
        total += dot(vec4(rounded), vec4(1));
        s_weights[own_row() * WEIGHT_PITCH + (lane() * WIDTH + i) / 4] = rounded;
    }
    subgroupBarrier();
    return leaps;
}

void rescale()
{
    MATRIX_SUM factors;
    coopMatLoad(factors, s_scores, first_row() * SCORE_PITCH, SCORE_PITCH,
                gl_CooperativeMatrixLayoutRowMajor);
    [[unroll]] for (uint d = 0; d < HEAD_DIM_V / N; d++)
        sums[d] *= factors;
}

void weigh()
{
    [[unroll]] for (uint k = 0; k < KEYS / K; k++) {
        MATRIX_QUERY weights;
        coopMatLoad(weights, s_weights, first_row() * WEIGHT_PITCH + k * (K / 4), WEIGHT_PITCH,
                    gl_CooperativeMatrixLayoutRowMajor);
        [[unroll]] for (uint d = 0; d < HEAD_DIM_V / N; d++) {
            MATRIX_TILE tile;
            coopMatLoad(tile, s_values, k * K * VALUE_PITCH + d * (N / 4), VALUE_PITCH,
                        gl_CooperativeMatrixLayoutRowMajor);
            sums[d] = coopMatMulAdd(weights, tile, sums[d]);
        }
    }
}

void attend_tile(uint at, uint end, bool is_whole)
{
    score();
    if (soften(at, end, is_whole))
        rescale();
    weigh();
}

// One matrix of sums at a time, through the place of the scores.
void end_rows()
{
    [[unroll]] for (uint i = 1; i < LANES; i *= 2)
        total += subgroupShuffleXor(total, i);
    [[unroll]] for (uint d = 0; d < HEAD_DIM_V / N; d++) {
        coopMatStore(sums[d], s_scores, first_row() * SCORE_PITCH, SCORE_PITCH,
                     gl_CooperativeMatrixLayoutRowMajor);
        subgroupBarrier();
        [[unroll]] for (uint i = 0; i < PART; i += 4) {
            vec4 sum;
            [[unroll]] for (uint k = 0; k < 4; k++)
                sum[k] = s_scores[own_row() * SCORE_PITCH + lane() * PART + i + k];
            put(own_row(), d * (N / 4) + (lane() * PART + i) / 4, sum, most, total);
        }
        subgroupBarrier();
    }
}
