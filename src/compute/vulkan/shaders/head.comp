// OP_HEAD: logits_i = W_i rms(in) of the rows that a map names. A workgroup normalises and quantises N_TOKENS rows once
// for several groups of 16 outputs. Each subgroup goes through groups of its own and waits for no other; where they are
// too small, or of unknown size, all threads share a group. The first loads of a group are under way while the one before
// it is added up. y counts the rows.
#version 460
#include "common.glsl"
#define TEAM (ALONE ? SUBGROUP_SIZE : THREADS)
const bool ALONE = SUBGROUP_SIZE >= 16;
#include "matrix.glsl"
#include "act.glsl"
#include "key.glsl"

layout(push_constant) uniform Push
{
    Float4s from; // [..][N_COLS]
    Float4s norm; // [N_COLS]
    Words map;    // [n_tokens] the numbers of the rows
    uint64_t matrix;
    FloatsOut to;  // [n_tokens][n_out]
    Words allowed; // as in pick.comp
    WordsOut keys; // 0, or [n_tokens][n_keys] the largest key of each group
    uint n_keys, n_out, n_groups, n_tokens;
    float eps;
} p;

const uint END = IS_FLOAT ? N_COLS : N_BLOCKS;
const uint TURN = 2 * SLICES;               // blocks or columns of two steps
const uint TURNS = (END + TURN - 1) / TURN; // of a group

uint stride() // from a group to the next one of the team
{
    return gl_NumWorkGroups.x * (THREADS / TEAM);
}

uint64_t place_group; // that is loaded from
Place place_of(uint i)
{
    return Place(place_group, i, 1);
}

Load load_next(uint at)
{
    return load_at(TYPE, min(at, END - 1));
}

bool has_keys()
{
    return uint64_t(p.keys) != 0;
}

// Returns the key; word: the one of p.allowed.
uint put(uint token, uint group, uint row, float x, uint word)
{
    const uint o = group * 16 + row;
    if (token >= p.n_tokens || o >= p.n_out)
        return 0;
    p.to.v[token * p.n_out + o] = x;
    return allowed_key(o, floatBitsToUint(x), word);
}

void put_key(uint token, uint group, uint key)
{
    if (has_keys() && token < p.n_tokens)
        p.keys.v[token * p.n_keys + group] = key;
}

// Of a group whose sums the subgroup has alone: 16 of its threads write a row each.
void put_alone(vec4 sum[N_TOKENS], uint first_token, uint group, uint word)
{
    const uint lane = gl_SubgroupInvocationID;
    [[unroll]] for (uint n = 0; n < N_TOKENS; n++) {
        const float x = IS_FLOAT ? column_sum(sum[n])[lane / 4 % 4] : lane_sum(sum[n].x);
        const uint row = IS_FLOAT ? lane % 4 * 4 + lane / 4 : lane;
        uint key = 0;
        if (lane < 16)
            key = put(first_token + n, group, row, row_root(n, p.eps) * x, word);
        [[unroll]] for (uint i = 1; i < 16; i *= 2)
            key = max(key, subgroupShuffleXor(key, i));
        if (lane == 0)
            put_key(first_token + n, group, key);
    }
}

// Of one that all threads share.
shared uint s_keys[N_TOKENS];
void put_together(vec4 sum[N_TOKENS], uint n_before, uint first_token, uint group, uint word)
{
    const uint t = thread();
    if (t < N_TOKENS)
        s_keys[t] = 0;
    const float x = matrix_sum(sum, n_before);
    if (t < 16 * N_TOKENS)
        atomicMax(s_keys[t / 16], put(first_token + t / 16, group, t % 16, row_root(t / 16, p.eps) * x, word));
    barrier();
    if (t < N_TOKENS)
        put_key(first_token + t, group, s_keys[t]);
}

Row row_of(uint token)
{
    return act_ahead(p.from, p.norm, true, p.map.v[min(token, p.n_tokens - 1)]);
}

uint64_t matrix_group(uint group)
{
    return p.matrix + uint64_t(group) * group_bytes(TYPE);
}

void main()
{
    const uint t = thread(), first_token = gl_WorkGroupID.y * N_TOKENS;
    uint group = gl_WorkGroupID.x * (THREADS / TEAM) + t / TEAM, n_sums = 0;
    place_group = matrix_group(min(group, p.n_groups - 1));
    Row row = row_of(first_token);
    Ahead ahead = Ahead(load_next(slice()), load_next(slice() + SLICES));
    table_fill();
    act_put(row, true, 0);
    for (uint n = 1; n < N_TOKENS; n++)
        act_put(row_of(first_token + n), true, n);
    barrier();

    [[dont_unroll]] for (; group < p.n_groups; group += stride()) {
        const uint word = has_keys() ? p.allowed.v[group * 16 / 32] : 0;
        vec4 sum[N_TOKENS];
        for (uint n = 0; n < N_TOKENS; n++)
            sum[n] = vec4(0);
        // Two steps a turn, each with registers of its own, as in matrix_add.
        [[dont_unroll]] for (uint turn = 0; turn < TURNS; turn++) {
            const bool is_last = turn == TURNS - 1;
            const uint at = turn * TURN + slice(), next = is_last ? slice() : at + TURN;
            const bool goes_on = !is_last || group + stride() < p.n_groups;
            if (is_last)
                place_group = matrix_group(group + stride());
            if (END % TURN == 0 || at < END)
                add_load(TYPE, ahead.a, at, sum);
            if (goes_on)
                ahead.a = load_next(next);
            if (END % TURN == 0 || at + SLICES < END)
                add_load(TYPE, ahead.b, at + SLICES, sum);
            if (goes_on)
                ahead.b = load_next(next + SLICES);
        }
        if (ALONE)
            put_alone(sum, first_token, group, word);
        else
            put_together(sum, n_sums, first_token, group, word);
        n_sums += N_TOKENS;
    }
}
