// A group of 16 rows of a weight matrix (weights.glsl) times activation rows in shared memory. N_PARTS groups can lie behind
// one another: then the activations do, too.
//
// A workgroup has teams of threads, each with a group of its own: what all of them need, such as the activations, is made
// once. Threads of a team:
//   integer  thread % 16      which row
//            thread / 16      which block of 32 columns: slice, slice + SLICES, ...
//   float    thread % 4       which four of the rows
//            thread / 4       which column: slice, slice + SLICES, ...
// so that neighbours read neighbouring bytes.
#include "weights.glsl"

layout(constant_id = 2) const uint N_TOKENS = 1; // activation rows of a workgroup
layout(constant_id = 4) const uint N_PARTS = 1;

// Threads of a team, whole subgroups. Who includes this may say another number than the host.
#ifndef TEAM
layout(constant_id = 3) const uint N_TEAMS = 1;
const uint TEAM = THREADS / N_TEAMS;
#endif

uint team()
{
    return thread() / TEAM;
}

uint team_thread()
{
    return thread() % TEAM;
}

// Activations. Integer types: of a block of 32 columns eight words of four codes, and a scale. A type with a table has the
// columns of its words in the order of its look-ups: 4 i, 4 i + 16, 4 i + 1, 4 i + 17 in word i < 4, two columns further in
// word i + 4. Where another type has no table, its words come behind all these.
const uint ROW_COLS = N_COLS * N_PARTS;
const uint ROW_BLOCKS = N_BLOCKS * N_PARTS;
const uint N_CODES = IS_FLOAT ? 1 : 2 * ROW_BLOCKS * N_TOKENS;
const uint N_ORDERS = 1 + N_TABLES % 2 * (N_TYPES - 1);
shared uvec4 s_codes[N_ORDERS * N_CODES];

const uint PLAIN_FROM = HAS_TABLE ? N_CODES : 0;

shared float s_scales[IS_FLOAT ? 1 : ROW_BLOCKS * N_TOKENS];
shared float s_floats[IS_FLOAT ? ROW_COLS * N_TOKENS : 1];

// sum[t] += factor * the row's product with activation row t, block `at`; all four are the same.
void add_codes(uint type, const Codes c, uint at, float factor, inout vec4 sum[N_TOKENS])
{
    const Factors f = factors_of(type, c, thread() % 16);
    uvec4 low, high;
    [[unroll]] for (uint i = 0; i < 4; i++) {
        const uint a = c.a[i];
        const uvec2 q = has_table(type) ? uvec2(look_up(a & 255) + (look_up(a >> 8 & 255) << 16),
                                                look_up(a >> 16 & 255) + (look_up(a >> 24) << 16))
                                        : codes_of(type, c, a, c.a2[i], i);
        low[i] = q.x;
        high[i] = q.y;
    }
    [[unroll]] for (uint t = 0; t < N_TOKENS; t++) {
        const uint own = (has_table(type) ? 0 : PLAIN_FROM) + 2 * (t * ROW_BLOCKS + at);
        const uvec4 x = s_codes[own], y = s_codes[own + 1];
        int a = 0, b = 0, nx = 0, ny = 0;
        [[unroll]] for (uint i = 0; i < 4; i++) {
            a += dotPacked4x8EXT(int(low[i]), int(x[i]));
            b += dotPacked4x8EXT(int(high[i]), int(y[i]));
            if (offset_of(type) != 0 || has_min(type)) {
                nx += dotPacked4x8EXT(0x01010101, int(x[i]));
                ny += dotPacked4x8EXT(0x01010101, int(y[i]));
            }
        }
        a -= offset_of(type) * nx;
        b -= offset_of(type) * ny;
        float v;
        if (type == Q2_K || type == Q3_K || type == Q6_K)
            v = f.low * float(a) + f.high * float(b);
        else
            v = f.low * float(a + b);
        if (has_min(type))
            v += type == Q2_K ? f.min_low * float(nx) + f.min_high * float(ny) : f.min_low * float(nx + ny);
        sum[t] += s_scales[t * ROW_BLOCKS + at] * factor * v; // to .x alone: there RADV's compiler (Mesa 26.2) crashes
    }
}

// ---- the groups --------------------------------------------------------------------------------

// Where block or column i of the row lies, 0 <= i < ROW_BLOCKS or ROW_COLS, and what its product is
// multiplied with. Each shader has its own.
struct Place {
    uint64_t group;
    uint at;
    float factor;
};
Place place_of(uint i);

const uint SLICES = IS_FLOAT ? TEAM / 4 : TEAM / 16;
uint slice()
{
    return IS_FLOAT ? team_thread() / 4 : team_thread() / 16;
}

// One block or column of a thread, on its way from memory.
struct Load {
    Codes codes;
    vec4 column;
    float factor;
};

Load load_at(uint type, uint i)
{
    const Place p = place_of(i);
    Load l;
    l.factor = p.factor;
    if (IS_FLOAT)
        l.column = load_column(type, p.group, p.at, thread() % 4);
    else
        l.codes = load_codes(type, p.group, p.at, thread() % 16);
    return l;
}

// A thread's steps through blocks or columns [first, end): all threads have as many, so that no branch depends on the
// thread. In the last one some may have nothing; they load what the last thread does, and do not add it.
uint matrix_steps(uint first, uint end)
{
    return (end - first + SLICES - 1) / SLICES;
}

bool steps_are_whole(uint first, uint end)
{
    return (end - first) % SLICES == 0;
}

uint step_at(uint first, uint end, uint i)
{
    const uint at = first + slice() + i * SLICES;
    return steps_are_whole(first, end) ? at : min(at, end - 1);
}

bool has_step(uint first, uint end, uint i)
{
    return steps_are_whole(first, end) || first + slice() + i * SLICES < end;
}

const uint FEW_STEPS = 4;

// Then they are unrolled, and nothing is left of their conditions; with more rows they are too long for that.
bool steps_are_few(uint first, uint end)
{
    return matrix_steps(first, end) * N_TOKENS <= FEW_STEPS;
}

// The first loads of a thread, under way while other work is done.
struct Ahead {
    Load a, b;
};

Ahead matrix_ahead(uint type, uint first, uint end)
{
    const uint second = matrix_steps(first, end) > 1 ? 1 : 0;
    return Ahead(load_at(type, step_at(first, end, 0)), load_at(type, step_at(first, end, second)));
}

// sum[t] += block or column `at`, which is l, times activation row t. A block is of one row, a column of four.
void add_load(uint type, const Load l, uint at, inout vec4 sum[N_TOKENS])
{
    if (IS_FLOAT) {
        [[unroll]] for (uint n = 0; n < N_TOKENS; n++)
            sum[n] += l.column * (s_floats[n * ROW_COLS + at] * l.factor);
    } else {
        add_codes(type, l.codes, at, l.factor, sum);
    }
}

// Two steps, from i on, each with registers of its own: to move what is on its way to other registers is to wait for it. No
// more than two: more take so many registers that fewer workgroups run at once.
void matrix_turn(uint type, uint first, uint end, uint i, inout Ahead ahead, inout vec4 sum[N_TOKENS])
{
    const uint n = matrix_steps(first, end);
    if (has_step(first, end, i))
        add_load(type, ahead.a, step_at(first, end, i), sum);
    if (i + 2 < n)
        ahead.a = load_at(type, step_at(first, end, i + 2));
    if (i + 1 < n && has_step(first, end, i + 1))
        add_load(type, ahead.b, step_at(first, end, i + 1), sum);
    if (i + 3 < n)
        ahead.b = load_at(type, step_at(first, end, i + 3));
}

// sum[t] += blocks or columns [first, end), of which the first are ahead, times activation row t.
void matrix_add(uint type, Ahead ahead, uint first, uint end, inout vec4 sum[N_TOKENS])
{
    const uint n = matrix_steps(first, end);
    if (steps_are_few(first, end)) {
        [[unroll]] for (uint i = 0; i < FEW_STEPS; i += 2)
            if (i < n)
                matrix_turn(type, first, end, i, ahead, sum);
    } else {
        [[dont_unroll]] for (uint i = 0; i < n; i += 2)
            matrix_turn(type, first, end, i, ahead, sum);
    }
}

// Adds the sums of a team. Afterwards its thread 16 n + i < 16 N_TOKENS holds row i of the group for activation row n. All
// threads call it, once or with the number of sums that they made before.
//
// Of float types each subgroup makes sums of all 16 rows; else at least 16 threads do, of small subgroups several.
shared float s_rows[2 * SUBGROUPS * 16];

uint sharers()
{
    return IS_FLOAT ? subgroup_size() : max(subgroup_size(), 16);
}

// The subgroup's sum of a row, in threads that have the same lane % 16.
float lane_sum(float x)
{
    [[unroll]] for (uint lane = 16; lane < subgroup_size(); lane *= 2)
        x += subgroupShuffleXor(x, lane);
    return x;
}

vec4 column_sum(vec4 x)
{
    [[unroll]] for (uint lane = 4; lane < subgroup_size(); lane *= 2)
        x += subgroupShuffleXor(x, lane);
    return x;
}

// To half `part` of s_rows.
void rows_put(vec4 x, uint part)
{
    const uint to = (part * SUBGROUPS + thread() / sharers()) * 16;
    if (!IS_FLOAT) {
        const float sum = lane_sum(x.x);
        if (thread() % sharers() < 16)
            s_rows[to + thread() % 16] = sum;
        return;
    }
    const vec4 sums = column_sum(x);
    if (gl_SubgroupInvocationID < 4)
        [[unroll]] for (uint r = 0; r < 4; r++)
            s_rows[to + gl_SubgroupInvocationID * 4 + r] = sums[r];
}

float rows_get(uint part)
{
    const uint n = TEAM / sharers(), first = part * SUBGROUPS + team() * n;
    float x = 0;
    [[unroll]] for (uint i = 0; i < n; i++)
        x += s_rows[(first + i) * 16 + thread() % 16];
    return x;
}

float matrix_sum(vec4 sum[N_TOKENS], uint n_before)
{
    float result = 0;
    [[unroll]] for (uint n = 0; n < N_TOKENS; n++) {
        const uint part = (n_before + n) % 2;
        rows_put(sum[n], part);
        barrier();
        if (team_thread() / 16 == n)
            result = rows_get(part);
    }
    return result;
}

float matrix_sum(vec4 sum[N_TOKENS])
{
    return matrix_sum(sum, 0);
}

// The same for two matrices.
vec2 matrix_sum_pair(vec4 a[N_TOKENS], vec4 b[N_TOKENS])
{
    vec2 result = vec2(0);
    [[unroll]] for (uint n = 0; n < N_TOKENS; n++) {
        if (n > 0)
            barrier();
        rows_put(a[n], 0);
        rows_put(b[n], 1);
        barrier();
        if (team_thread() / 16 == n)
            result = vec2(rows_get(0), rows_get(1));
    }
    return result;
}
