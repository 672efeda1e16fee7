// OP_ROUTE: normed = rms(x); logits = router normed + bias. CHOOSES: the last workgroup of a row to end picks the
// experts; else who reads the logits does.
// A workgroup makes 16 logits over one of N_SPLITS pieces of the columns: x counts groups and pieces, y rows.
#version 460
#define MANY_THREADS
#include "common.glsl"
#include "matrix.glsl"
#include "act.glsl"

layout(constant_id = 5) const uint CHOOSES = 1;

layout(push_constant) uniform Push
{
    Float4s x;    // [..][N_COLS]
    Float4s norm; // [N_COLS]
    uint64_t matrix;
    uint64_t router_bias, select_bias; // 0 or [N_EXPERTS]
    Float4sOut normed;          // [..][N_COLS]
    uint64_t ids;               // [..][N_USED]
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

const bool IS_SHARED = false;
#define SHARES_OF_ROW 0
#include "route.glsl"

void main()
{
    const uint t = thread(), token = gl_WorkGroupID.y;
    const uint group = gl_WorkGroupID.x / N_SPLITS, split = gl_WorkGroupID.x % N_SPLITS;
    const uint64_t at = p.matrix + uint64_t(group) * group_bytes(TYPE);
    const uint n = IS_FLOAT ? N_COLS : N_BLOCKS, step = (n + N_SPLITS - 1) / N_SPLITS;
    const uint first = min(split * step, n), end = min(first + step, n);

    Row row = act_ahead(p.x, p.norm, true, token);
    place_group = at;
    Ahead ahead;
    if (first < end)
        ahead = matrix_ahead(TYPE, first, end);
    table_fill();
    act_put(row, true, 0);
    barrier();
    const float root = row_root(0, p.eps);
    if (gl_WorkGroupID.x == 0)
        for (uint i = t; i < N_COLS / 4; i += THREADS)
            p.normed.v[token * (N_COLS / 4) + i] =
                p.x.v[token * (N_COLS / 4) + i] * root * p.norm.v[i];

    vec4 sum[N_TOKENS]; // N_TOKENS is 1
    sum[0] = vec4(0);
    if (first < end)
        matrix_add(TYPE, ahead, first, end, sum);
    const float logit = matrix_sum(sum) * root;
    const uint e = group * 16 + t;
    if (t < 16 && e < N_EXPERTS)
        p.partials.v[(token * N_SPLITS + split) * N_EXPERTS + e] = logit;
    if (CHOOSES != 0 && last_to_arrive(p.counters, token, gl_NumWorkGroups.x)) {
        load_logits(token);
        hold_logits(1);
        choose();
        store_choice(token);
    }
}
