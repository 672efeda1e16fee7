// flash.glsl without cooperative matrices: a thread has one key and some rows for the scores, four elements of some
// rows for the sums.
#version 460
#include "flash.glsl"

// Tiles: rows of pairs of halves, or of floats where a cache is F32. Four words of padding keep the keys of
// neighbouring threads off the same banks.
const bool IS_WIDE = KEY_TYPE == CACHE_F32 || VALUE_TYPE == CACHE_F32;
const uint PER_WORD = IS_WIDE ? 1 : 2;
const uint KEY_VECS = HEAD_DIM / PER_WORD / 4 + 1; // uvec4 per row
const uint VALUE_VECS = LATENT != 0 ? KEY_VECS : HEAD_DIM_V / PER_WORD / 4;
shared uvec4 s_keys[KEYS * KEY_VECS];
shared uvec4 s_values[LATENT != 0 ? 1 : KEYS * VALUE_VECS];
shared vec4 s_query[ROWS * HEAD_DIM / 4];
shared float s_score[ROWS * KEYS];
shared float s_most[ROWS], s_total[ROWS], s_keep[ROWS];

// Scores: a thread has one position and every SCORE_GROUPS-th row, eight threads one row's maximum.
const uint SCORE_GROUPS = THREADS / KEYS;
const uint SCORES = (ROWS + SCORE_GROUPS - 1) / SCORE_GROUPS;
// Sums: a thread has four elements of every SUM_GROUPS-th row.
const uint SUM_GROUPS = THREADS / QUADS;
const uint SUMS = (ROWS + SUM_GROUPS - 1) / SUM_GROUPS;
vec4 sum[SUMS];

// Four of eight elements, as floats.
uvec4 wide(uint type, const Eight e, uint half_of)
{
    return floatBitsToUint(vec4(cache_pair(type, e, 2 * half_of), cache_pair(type, e, 2 * half_of + 1)));
}

void put_key(uint row, uint eight, const Eight x)
{
    if (IS_WIDE) {
        s_keys[row * KEY_VECS + 2 * eight] = wide(KEY_TYPE, x, 0);
        s_keys[row * KEY_VECS + 2 * eight + 1] = wide(KEY_TYPE, x, 1);
    } else {
        s_keys[row * KEY_VECS + eight] = cache_packed(KEY_TYPE, x);
    }
}

void put_value(uint row, uint eight, const Eight x, bool counts)
{
    if (IS_WIDE) {
        s_values[row * VALUE_VECS + 2 * eight] = counts ? wide(VALUE_TYPE, x, 0) : uvec4(0);
        s_values[row * VALUE_VECS + 2 * eight + 1] = counts ? wide(VALUE_TYPE, x, 1) : uvec4(0);
    } else {
        s_values[row * VALUE_VECS + eight] = counts ? cache_packed(VALUE_TYPE, x) : uvec4(0);
    }
}

void begin_rows()
{
    for (uint i = thread(); i < ROWS * HEAD_DIM / 4; i += THREADS)
        s_query[i] = ready(i / (HEAD_DIM / 4), i % (HEAD_DIM / 4));
    for (uint row = thread(); row < ROWS; row += THREADS) {
        s_most[row] = LEAST;
        s_total[row] = 0;
    }
    [[unroll]] for (uint i = 0; i < SUMS; i++)
        sum[i] = vec4(0);
}

vec4 query(uint row, uint i)
{
    return s_query[row * (HEAD_DIM / 4) + i];
}

void score(uint at, uint end, bool is_whole)
{
    const uint key = thread() % KEYS, from = thread() / KEYS;
    float s[SCORES];
    [[unroll]] for (uint i = 0; i < SCORES; i++)
        s[i] = 0;
    [[dont_unroll]] for (uint vec = 0; vec < KEY_VECS - 1; vec++) {
        const uvec4 w = s_keys[key * KEY_VECS + vec];
        [[unroll]] for (uint i = 0; i < SCORES; i++) {
            const uint row = min(from + i * SCORE_GROUPS, ROWS - 1);
            if (IS_WIDE) {
                s[i] += dot(uintBitsToFloat(w), query(row, vec));
            } else {
                s[i] += dot(vec4(unpackHalf2x16(w.x), unpackHalf2x16(w.y)), query(row, 2 * vec));
                s[i] += dot(vec4(unpackHalf2x16(w.z), unpackHalf2x16(w.w)), query(row, 2 * vec + 1));
            }
        }
    }
    [[unroll]] for (uint i = 0; i < SCORES; i++) {
        const uint row = from + i * SCORE_GROUPS;
        if (row < ROWS)
            s_score[row * KEYS + key] =
                is_whole || at + key < end && sees(row, at + key) ? s[i] : LEAST;
    }
}

// Eight threads per row: scores become weights.
void soften()
{
    const uint row = thread() / 8, lane = thread() % 8;
    if (row >= ROWS)
        return;
    float most = s_most[row];
    [[unroll]] for (uint i = 0; i < KEYS; i += 8)
        most = max(most, s_score[row * KEYS + i + lane]);
    [[unroll]] for (uint x = 1; x < 8; x *= 2)
        most = max(most, subgroupShuffleXor(most, x));
    float total = 0;
    [[unroll]] for (uint i = 0; i < KEYS; i += 8) {
        const float s = s_score[row * KEYS + i + lane], w = s > LEAST ? exp2(s - most) : 0;
        s_score[row * KEYS + i + lane] = w;
        total += w;
    }
    [[unroll]] for (uint x = 1; x < 8; x *= 2)
        total += subgroupShuffleXor(total, x);
    if (lane == 0) {
        const float keep = exp2(s_most[row] - most);
        s_keep[row] = keep;
        s_most[row] = most;
        s_total[row] = s_total[row] * keep + total;
    }
}

vec4 value(uint key, uint quad)
{
    const uint at = key * VALUE_VECS + (IS_WIDE ? quad : quad / 2);
    const uvec4 w = LATENT != 0 ? s_keys[at] : s_values[at];
    if (IS_WIDE)
        return uintBitsToFloat(w);
    const uvec2 h = quad % 2 == 0 ? w.xy : w.zw;
    return vec4(unpackHalf2x16(h.x), unpackHalf2x16(h.y));
}

void weigh()
{
    const uint quad = thread() % QUADS, from = thread() / QUADS;
    if (from >= SUM_GROUPS)
        return;
    [[unroll]] for (uint i = 0; i < SUMS; i++)
        sum[i] *= s_keep[min(from + i * SUM_GROUPS, ROWS - 1)];
    [[dont_unroll]] for (uint first = 0; first < KEYS; first += 8) {
        [[unroll]] for (uint key = first; key < first + 8; key++) {
            const vec4 v = value(key, quad);
            [[unroll]] for (uint i = 0; i < SUMS; i++)
                sum[i] += s_score[min(from + i * SUM_GROUPS, ROWS - 1) * KEYS + key] * v;
        }
    }
}

void attend_tile(uint at, uint end, bool is_whole)
{
    score(at, end, is_whole);
    barrier();
    soften();
    barrier();
    weigh();
}

void end_rows()
{
    const uint quad = thread() % QUADS, from = thread() / QUADS;
    [[unroll]] for (uint i = 0; i < SUMS; i++) {
        const uint row = from + i * SUM_GROUPS;
        if (from < SUM_GROUPS && row < ROWS)
            put(row, quad, sum[i], s_most[row], s_total[row]);
    }
}
