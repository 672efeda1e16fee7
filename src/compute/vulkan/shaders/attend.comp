// attend.glsl for few positions: no step of a workgroup waits for another one of it but once at the end, as short as can be,
// since with few positions waiting is all that it does. LANES threads of a subgroup have a position's key and value in their
// registers, in parts of eight elements; each subgroup has an online softmax of its own positions.
#version 460
#include "attend.glsl"

layout(constant_id = 6) const uint TILE = 64; // positions: 32 or 64

const uint KEY_EIGHTS = HEAD_DIM / 8, VALUE_EIGHTS = HEAD_DIM_V / 8;
const uint MOST_LANES = SUBGROUP_SIZE >= 32 ? 32 : SUBGROUP_SIZE >= 16 ? 16 : 8;
const uint WANTED = WIDEST >= 256 ? 32 : WIDEST >= 128 ? 16 : 8;
const uint LANES = WANTED < MOST_LANES ? WANTED : MOST_LANES;
const uint KEY_PARTS = (KEY_EIGHTS + LANES - 1) / LANES; // of a thread
const uint VALUE_PARTS = (VALUE_EIGHTS + LANES - 1) / LANES;
const uint STRIDE = THREADS / LANES; // between positions of a thread
const uint N_ROWS = TILE / STRIDE;   // of a thread
const uint PARTS = N_QUERIES * VALUE_PARTS;
const uint LOADS_K = N_ROWS * KEY_PARTS, LOADS_V = N_ROWS * VALUE_PARTS;

uint lane()
{
    return thread() % LANES;
}

// Row i of the thread in a tile.
uint row_of(uint i)
{
    return thread() / LANES + i * STRIDE;
}

// Part i of the thread, of rows of n eights. Some threads may have none, and the last one's in its place.
uint part_of(uint i, uint n)
{
    return min(lane() + i * LANES, n - 1);
}

bool is_part(uint i, uint n)
{
    return lane() + i * LANES < n;
}

uint cached; // the end of the positions that come from the cache

// ---- tiles -------------------------------------------------------------------------------------

void load_keys(const Tile tile, uint at, out Eight keys[LOADS_K])
{
    [[unroll]] for (uint i = 0; i < LOADS_K; i++) {
        const uint row = min(row_of(i / KEY_PARTS), cached - 1 - at);
        keys[i] = cache_load(KEY_TYPE, cache_at(tile, p.keys, KEY_TYPE, HEAD_DIM, row, ALIGNED), HEAD_DIM,
                             part_of(i % KEY_PARTS, KEY_EIGHTS));
    }
}

void load_values(const Tile tile, uint at, out Eight values[LOADS_V])
{
    [[unroll]] for (uint i = 0; i < LOADS_V; i++) {
        const uint row = min(row_of(i / VALUE_PARTS), cached - 1 - at);
        values[i] = cache_load(VALUE_TYPE, cache_at(tile, p.values, VALUE_TYPE, HEAD_DIM_V, row, ALIGNED),
                               HEAD_DIM_V, part_of(i % VALUE_PARTS, VALUE_EIGHTS));
    }
}

// ---- the walk ----------------------------------------------------------------------------------

float most[N_QUERIES], total[N_QUERIES]; // of the subgroup; total: of the thread's rows
vec4 sum[2 * PARTS]; // of the thread's rows
float weight[N_QUERIES * N_ROWS];

vec4 cache_quad(uint type, const Eight e, uint half_of)
{
    return vec4(cache_pair(type, e, 2 * half_of), cache_pair(type, e, 2 * half_of + 1));
}

float add_lanes(float x)
{
    [[unroll]] for (uint i = 1; i < LANES; i *= 2)
        x += subgroupShuffleXor(x, i);
    return x;
}

// Quad `half_of` of part `part` of a query.
vec4 query(uint q, uint part, uint half_of)
{
    const vec4 x = s_query[q * (HEAD_DIM / 4) + 2 * part_of(part, KEY_EIGHTS) + half_of];
    return is_part(part, KEY_EIGHTS) ? x : vec4(0);
}

vec4 fresh_value(uint part, uint half_of)
{
    return s_query[QUERY_ROWS * HEAD_DIM / 4 + 2 * part_of(part, VALUE_EIGHTS) + half_of];
}

// As the cache rounds it; what is quantised is so already.
vec4 rounded(uint type, vec4 x)
{
    return type == CACHE_F16 ? vec4(unpackHalf2x16(packHalf2x16(x.xy)), unpackHalf2x16(packHalf2x16(x.zw))) : x;
}

// What the softmax begins with: nothing, or the new position, which is in shared memory.
void begin_walk(bool owns)
{
    [[unroll]] for (uint q = 0; q < N_QUERIES; q++) {
        most[q] = LEAST;
        total[q] = 0;
    }
    [[unroll]] for (uint i = 0; i < 2 * PARTS; i++)
        sum[i] = vec4(0);
    if (FUSED == 0 || !owns)
        return;
    [[unroll]] for (uint q = 0; q < N_QUERIES; q++) {
        float s = 0;
        [[unroll]] for (uint i = 0; i < 2 * KEY_PARTS; i++)
            s += dot(rounded(KEY_TYPE, query(N_QUERIES, i / 2, i % 2)), query(q, i / 2, i % 2));
        most[q] = add_lanes(s);
        total[q] = thread() < LANES ? 1 : 0;
    }
    if (thread() < LANES)
        [[unroll]] for (uint i = 0; i < 2 * PARTS; i++)
            sum[i] = rounded(VALUE_TYPE, fresh_value(i / 2 % VALUE_PARTS, i % 2));
}

// Scores of the thread's rows.
void score(const Eight keys[LOADS_K])
{
    [[unroll]] for (uint i = 0; i < N_QUERIES * N_ROWS; i++)
        weight[i] = 0;
    [[unroll]] for (uint part = 0; part < 2 * KEY_PARTS; part++)
        [[unroll]] for (uint q = 0; q < N_QUERIES; q++) {
            const vec4 x = query(q, part / 2, part % 2);
            [[unroll]] for (uint i = 0; i < N_ROWS; i++)
                weight[q * N_ROWS + i] +=
                    dot(cache_quad(KEY_TYPE, keys[i * KEY_PARTS + part / 2], part % 2), x);
        }
    [[unroll]] for (uint i = 0; i < N_QUERIES * N_ROWS; i++)
        weight[i] = add_lanes(weight[i]);
}

// Scores become weights, of which the first n positions of the tile count.
void soften(uint n)
{
    [[unroll]] for (uint q = 0; q < N_QUERIES; q++) {
        float top = most[q];
        [[unroll]] for (uint i = 0; i < N_ROWS; i++)
            top = row_of(i) < n ? max(top, weight[q * N_ROWS + i]) : top;
        for (uint x = LANES; x < subgroup_size(); x *= 2)
            top = max(top, subgroupShuffleXor(top, x));
        const float keep = exp(most[q] - top);
        most[q] = top;
        total[q] *= keep;
        [[unroll]] for (uint i = 0; i < 2 * VALUE_PARTS; i++)
            sum[q * 2 * VALUE_PARTS + i] *= keep;
        [[unroll]] for (uint i = 0; i < N_ROWS; i++) {
            const float w = row_of(i) < n ? exp(weight[q * N_ROWS + i] - top) : 0;
            weight[q * N_ROWS + i] = w;
            total[q] += w;
        }
    }
}

void weigh(const Eight values[LOADS_V])
{
    [[unroll]] for (uint i = 0; i < N_ROWS; i++)
        [[unroll]] for (uint part = 0; part < 2 * VALUE_PARTS; part++) {
            const vec4 v = cache_quad(VALUE_TYPE, values[i * VALUE_PARTS + part / 2], part % 2);
            [[unroll]] for (uint q = 0; q < N_QUERIES; q++)
                sum[q * 2 * VALUE_PARTS + part] += weight[q * N_ROWS + i] * v;
        }
}

// ---- the subgroups' sums -----------------------------------------------------------------------

// Parts of eight elements of the queries' sums, so many at once as there is room for.
const uint ROOM_PARTS = 256 / (SUBGROUPS * LANES);
const uint AT_ONCE = ROOM_PARTS < PARTS ? ROOM_PARTS : PARTS;
shared vec4 s_sum[AT_ONCE * SUBGROUPS * LANES * 2];
shared vec2 s_total[SUBGROUPS * N_QUERIES]; // maximum, total

void add_rows()
{
    for (uint x = LANES; x < subgroup_size(); x *= 2) {
        [[unroll]] for (uint i = 0; i < 2 * PARTS; i++)
            sum[i] += subgroupShuffleXor(sum[i], x);
        [[unroll]] for (uint q = 0; q < N_QUERIES; q++)
            total[q] += subgroupShuffleXor(total[q], x);
    }
    if (gl_SubgroupInvocationID == 0)
        [[unroll]] for (uint q = 0; q < N_QUERIES; q++)
            s_total[gl_SubgroupID * N_QUERIES + q] = vec2(most[q], total[q]);
}

// Over the subgroups, in their order: one quad of the sums of query q, which is number i of those in s_sum.
void put_sum(uint q, uint quad, uint i)
{
    float top = LEAST, all = 0;
    for (uint w = 0; w < n_subgroups(); w++)
        top = max(top, s_total[w * N_QUERIES + q].x);
    vec4 x = vec4(0);
    for (uint w = 0; w < n_subgroups(); w++) {
        const vec2 of = s_total[w * N_QUERIES + q];
        const float keep = exp(of.x - top);
        all += keep * of.y;
        x += keep * s_sum[w * (AT_ONCE * LANES * 2) + i];
    }
    put_part(q, quad, x, top, all);
}

void put_sums()
{
    [[unroll]] for (uint done = 0; done < PARTS; done += AT_ONCE) {
        if (done != 0)
            barrier();
        if (gl_SubgroupInvocationID < LANES)
            [[unroll]] for (uint i = 0; i < 2 * AT_ONCE && i < 2 * (PARTS - done); i++)
                s_sum[((gl_SubgroupID * AT_ONCE + i / 2) * LANES + lane()) * 2 + i % 2] =
                    sum[2 * done + i];
        barrier();
        const uint part = done + thread() / (2 * LANES), quad = part % VALUE_PARTS * 2 * LANES + thread() % (2 * LANES);
        if (thread() < AT_ONCE * 2 * LANES && part < PARTS && quad < QUADS)
            put_sum(part / VALUE_PARTS, quad, thread());
    }
}

void main()
{
    find_positions(TILE);
    const bool owns = end == pos + 1 && first < end;
    cached = FUSED != 0 ? min(end, pos) : end;
    Tile tile = tile_of(first, TILE);
    begin_queries();
    Eight keys[LOADS_K], values[LOADS_V];
    if (first < cached) {
        load_keys(tile, first, keys);
        load_values(tile, first, values);
    }
    end_queries(owns);
    begin_walk(owns);
    [[dont_unroll]] for (uint at = first; at < cached; at += TILE) {
        const uint next = at + TILE;
        if (next < cached)
            tile = tile_of(next, TILE);
        score(keys);
        if (next < cached)
            load_keys(tile, next, keys);
        soften(cached - at);
        weigh(values);
        if (next < cached)
            load_values(tile, next, values);
    }
    add_rows();
    put_sums();
    end_row();
}
