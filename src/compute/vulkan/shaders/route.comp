// OP_ROUTE: normed = rms(x); logits = router normed + bias; the last workgroup of a row to end picks the experts.
// A workgroup makes 16 logits over one of N_SPLITS pieces of the columns: x counts groups and pieces, y rows.
#version 460
#include "common.glsl"
#include "matrix.glsl"
#include "act.glsl"

layout(constant_id = 5) const uint N_EXPERTS = 128;
layout(constant_id = 6) const uint N_USED = 8;
layout(constant_id = 7) const uint GATING = 0; // enum gating of src/model/plan.h
layout(constant_id = 8) const uint N_SPLITS = 1;

layout(push_constant) uniform Push
{
    Float4s x;    // [..][N_COLS]
    Float4s norm; // [N_COLS]
    uint64_t matrix;
    uint64_t bias, select_bias; // 0 or [N_EXPERTS]
    Float4sOut normed;          // [..][N_COLS]
    WordsOut ids;               // [..][N_USED]
    FloatsOut weights;          // [..][N_USED]
    SharedFloats partials;      // [..][N_SPLITS][N_EXPERTS]
    Counters counters;          // [..]
    float eps;
    float scale;
} p;

uint64_t place_group; // of the matrix at hand
Place place_of(uint i)
{
    return Place(place_group, i, 1);
}

// Filled up to a multiple of 8 with what comes last.
shared float s_logits[(N_EXPERTS + 7) / 8 * 8]; // what is compared
shared float s_scores[N_EXPERTS]; // what the weights are made of
shared float s_chosen[N_USED];

// Position of expert e in falling order of s_logits, ties: lower expert first.
uint rank_of(uint e)
{
    const float mine = s_logits[e];
    uint rank = 0;
    for (uint i = 0; i < N_EXPERTS; i += 8)
        [[unroll]] for (uint k = i; k < i + 8; k++)
            rank += uint(s_logits[k] > mine || s_logits[k] == mine && k < e);
    return rank;
}

void choose(uint token)
{
    const uint t = thread();
    if (t < 8 && N_EXPERTS % 8 != 0)
        s_logits[N_EXPERTS / 8 * 8 + t] = -1e38; // those of experts follow behind a barrier
    barrier();
    for (uint e = t; e < N_EXPERTS; e += THREADS) {
        float logit = 0, parts[N_SPLITS];
        [[unroll]] for (uint s = 0; s < N_SPLITS; s++)
            parts[s] = p.partials.v[(token * N_SPLITS + s) * N_EXPERTS + e];
        [[unroll]] for (uint s = 0; s < N_SPLITS; s++)
            logit += parts[s];
        if (p.bias != 0)
            logit += Floats(p.bias).v[e];
        const float score = GATING == 2 ? 1 / (1 + exp(-logit)) : logit;
        s_scores[e] = score;
        s_logits[e] = score + (p.select_bias != 0 ? Floats(p.select_bias).v[e] : 0);
    }
    barrier();
    for (uint e = t; e < N_EXPERTS; e += THREADS) {
        const uint rank = rank_of(e);
        if (rank < N_USED) {
            p.ids.v[token * N_USED + rank] = e;
            s_chosen[rank] = s_scores[e];
        }
    }
    barrier();
    float total = 1; // of the softmax over all experts
    if (GATING == 0) {
        float sum = 0;
        for (uint e = t; e < N_EXPERTS; e += THREADS)
            sum += exp(s_scores[e] - s_chosen[0]);
        total = workgroup_sum(sum);
    }
    if (t >= N_USED)
        return;
    float sum = 0;
    for (uint j = 0; j < N_USED; j++)
        sum += GATING == 2 ? s_chosen[j] : exp(s_chosen[j] - s_chosen[0]) / total;
    float weight = GATING == 2 ? s_chosen[t] : exp(s_chosen[t] - s_chosen[0]) / total;
    if (GATING != 1)
        sum = max(sum, 6.103515625e-5);
    p.weights.v[token * N_USED + t] = weight / sum * (GATING == 2 ? p.scale : 1);
}

void main()
{
    const uint t = thread(), token = gl_WorkGroupID.y;
    const uint group = gl_WorkGroupID.x / N_SPLITS, split = gl_WorkGroupID.x % N_SPLITS;
    const uint64_t at = p.matrix + uint64_t(group) * GROUP_BYTES;
    const uint n = IS_FLOAT ? N_COLS : N_BLOCKS, step = (n + N_SPLITS - 1) / N_SPLITS;
    const uint first = min(split * step, n), end = min(first + step, n);

    place_group = at;
    Ahead ahead;
    if (first < end)
        ahead = matrix_ahead(first, end);
    table_fill();
    const float root = act_normed(p.x, p.norm, p.eps, token, 0);
    barrier();
    if (gl_WorkGroupID.x == 0)
        for (uint i = t; i < N_COLS / 4; i += THREADS)
            p.normed.v[token * (N_COLS / 4) + i] =
                p.x.v[token * (N_COLS / 4) + i] * root * p.norm.v[i];

    vec4 sum[N_TOKENS]; // N_TOKENS is 1
    sum[0] = vec4(0);
    if (first < end)
        matrix_add(ahead, first, end, sum);
    const float logit = matrix_sum(sum);
    const uint e = group * 16 + t;
    if (t < 16 && e < N_EXPERTS)
        p.partials.v[(token * N_SPLITS + split) * N_EXPERTS + e] = logit;
    if (last_to_arrive(p.counters, token, gl_NumWorkGroups.x))
        choose(token);
}
