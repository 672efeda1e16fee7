// attend.glsl for many positions: a subgroup walks every so many of its workgroup's with an online softmax in powers of
// two. Keys and values go from memory to its registers, where its queries and sums are, so it waits for no other until
// the end, when the subgroups' sums are added in order.
#version 460
#extension GL_KHR_shader_subgroup_vote : require
#include "attend.glsl"

layout(constant_id = 6) const uint SUBGROUP = 32; // at least 8
layout(constant_id = 15) const uint AT_ONCE = 8;  // subgroups whose sums fit into shared memory

// A subgroup has a set of up to eight queries (others have the other sets, at the same positions). LANES of its lanes
// have a position, each PARTS times eight elements of it; it takes LOADS times SIDE_BY_SIDE positions at a time.
const uint SETS = (N_QUERIES + 7) / 8;
const uint QUERIES = N_QUERIES > 4 ? 8 : N_QUERIES > 2 ? 4 : N_QUERIES; // of a set, rounded up
const uint EIGHTS_K = HEAD_DIM / 8, EIGHTS_V = HEAD_DIM_V / 8;
const uint EIGHTS = EIGHTS_K > EIGHTS_V ? EIGHTS_K : EIGHTS_V;
const uint WANTED_LANES = EIGHTS > 32 ? 64 : EIGHTS > 16 ? 32 : EIGHTS > 8 ? 16 : 8;
const uint LANES = WANTED_LANES < SUBGROUP ? WANTED_LANES : SUBGROUP;
const uint PARTS = (EIGHTS + LANES - 1) / LANES;
const uint SIDE_BY_SIDE = SUBGROUP / LANES;
const uint LOADS = PARTS == 1 ? 4 : 1;
const uint HELD = LOADS * PARTS;        // eights of keys, and of values
const uint OWN = 2 * PARTS * QUERIES; // quads of queries, and of sums
const uint WALKERS = THREADS / SUBGROUP / SETS; // subgroups of a set
const uint SUMS = (8 * QUADS + THREADS - 1) / THREADS; // of a thread, for a set

shared float s_most[THREADS / SUBGROUP * 8], s_total[THREADS / SUBGROUP * 8];
shared vec4 s_sums[AT_ONCE * QUERIES * QUADS];
const float LOG2_E = 1.4426950408889634;
const float SLACK = 8; // the maximum that weights refer to follows the true one in leaps of this

vec4 queries[OWN], sums[OWN];
float most, total; // of the query that is the lane's own

uint lane()
{
    return gl_SubgroupInvocationID % LANES;
}

uint walker()
{
    return gl_SubgroupID / SETS;
}

// Which query of a set is whose, by the order in which `gather` halves them.
uint own_query(uint lane)
{
    return QUERIES == 8   ? (lane & 1) << 2 | lane & 2 | lane >> 2 & 1
           : QUERIES == 4 ? (lane & 1) << 1 | lane >> 1 & 1
                          : lane & QUERIES - 1;
}

// ---- the walk ----------------------------------------------------------------------------------

uint position(uint at, uint load)
{
    return at + load * SIDE_BY_SIDE + gl_SubgroupInvocationID / LANES;
}

void load_rows(uint type, uint64_t rows, uint n, uint at, uint end, out Eight to[HELD])
{
    const uint n_cache = p.n_cache;
    [[unroll]] for (uint i = 0; i < LOADS; i++) {
        const uint pos = min(position(at, i), end - 1) % n_cache;
        [[unroll]] for (uint part = 0; part < PARTS; part++)
            to[i * PARTS + part] = cache_load(type, rows + uint64_t(pos) * cache_row_bytes(type, n), n,
                                              min(lane() + part * LANES, n / 8 - 1));
    }
}

// Eight elements of s_query as the cache has them, which is F16 or F32.
Eight fresh(uint type, uint first)
{
    vec4 x[2];
    Eight e;
    [[unroll]] for (uint k = 0; k < 8; k++)
        x[k / 4][k % 4] = s_query[first + k];
    e.a = floatBitsToUint(x[0]);
    e.b = floatBitsToUint(x[1]);
    e.scale = 1;
    if (type == CACHE_F16)
        e.a = uvec4(packHalf2x16(x[0].xy), packHalf2x16(x[0].zw), packHalf2x16(x[1].xy),
                    packHalf2x16(x[1].zw));
    return e;
}

// The new position comes from shared memory; what lies behind it in the cache is nobody's.
void put_fresh(uint at, uint pos, inout Eight keys[HELD], inout Eight values[HELD])
{
    [[unroll]] for (uint i = 0; i < HELD; i++) {
        const uint e = lane() + i % PARTS * LANES, here = position(at, i / PARTS);
        if (here == pos) {
            keys[i] = fresh(KEY_TYPE, N_QUERIES * HEAD_DIM + 8 * min(e, EIGHTS_K - 1));
            values[i] = fresh(VALUE_TYPE, QUERY_ROWS * HEAD_DIM + 8 * min(e, EIGHTS_V - 1));
        } else if (here > pos) {
            values[i].a = values[i].b = uvec4(0);
        }
    }
}

vec4 quad(uint type, const Eight e, uint which)
{
    return vec4(cache_pair(type, e, 2 * which), cache_pair(type, e, 2 * which + 1));
}

// Sums of x over the lanes of a position: each lane gets that of its own query. Halves the queries while it doubles
// the lanes.
float gather(float x[QUERIES])
{
    uint stride = 1;
    [[unroll]] for (uint n = QUERIES / 2; n > 0; n /= 2) {
        const bool upper = (gl_SubgroupInvocationID & stride) != 0;
        [[unroll]] for (uint i = 0; i < n; i++) {
            const float kept = upper ? x[i + n] : x[i], given = upper ? x[i] : x[i + n];
            x[i] = kept + subgroupShuffleXor(given, stride);
        }
        stride *= 2;
    }
    [[unroll]] for (; stride < LANES; stride *= 2)
        x[0] += subgroupShuffleXor(x[0], stride);
    return x[0];
}

float score(const Eight keys[HELD], uint load)
{
    float x[QUERIES];
    [[unroll]] for (uint q = 0; q < QUERIES; q++)
        x[q] = 0;
    [[unroll]] for (uint part = 0; part < PARTS; part++) {
        [[unroll]] for (uint which = 0; which < 2; which++) {
            const vec4 k = quad(KEY_TYPE, keys[load * PARTS + part], which);
            [[unroll]] for (uint q = 0; q < QUERIES; q++)
                x[q] += dot(k, queries[(q * PARTS + part) * 2 + which]);
        }
    }
    return gather(x);
}

// What lane own_query^-1(q) of the position has.
float of_query(float x, uint q)
{
    return subgroupShuffle(x, gl_SubgroupInvocationID / LANES * LANES + own_query(q));
}

void scale_sums(float keep)
{
    [[unroll]] for (uint q = 0; q < QUERIES; q++) {
        const float k = of_query(keep, q);
        [[unroll]] for (uint i = 0; i < 2 * PARTS; i++)
            sums[q * PARTS * 2 + i] *= k;
    }
}

void raise(float top)
{
    [[unroll]] for (uint stride = LANES; stride < SUBGROUP; stride *= 2)
        top = max(top, subgroupShuffleXor(top, stride));
    if (!subgroupAny(top > most + SLACK))
        return;
    const float next = max(most, top), keep = exp2(most - next);
    most = next;
    total *= keep;
    scale_sums(keep);
}

void weigh(const Eight values[HELD], uint load, float weight)
{
    float w[QUERIES];
    [[unroll]] for (uint q = 0; q < QUERIES; q++)
        w[q] = of_query(weight, q);
    [[unroll]] for (uint part = 0; part < PARTS; part++) {
        [[unroll]] for (uint which = 0; which < 2; which++) {
            const vec4 v = quad(VALUE_TYPE, values[load * PARTS + part], which);
            [[unroll]] for (uint q = 0; q < QUERIES; q++)
                sums[(q * PARTS + part) * 2 + which] += w[q] * v;
        }
    }
}

void take_queries()
{
    const uint set = gl_SubgroupID % SETS;
    [[unroll]] for (uint i = 0; i < OWN; i++) {
        const uint q = set * 8 + i / (2 * PARTS), e = lane() + i / 2 % PARTS * LANES;
        const bool is_there = q < N_QUERIES && e < EIGHTS_K;
        const uint at = is_there ? q * HEAD_DIM + 8 * e + 4 * (i % 2) : 0;
        const vec4 x = vec4(s_query[at], s_query[at + 1], s_query[at + 2], s_query[at + 3]);
        queries[i] = is_there ? LOG2_E * x : vec4(0);
        sums[i] = vec4(0);
    }
    most = LEAST;
    total = 0;
}

// keys: of the first positions.
void walk(Eight keys[HELD], uint from)
{
    const uint chunk = LOADS * SIDE_BY_SIDE;
    for (uint at = from; at < end; at += chunk * WALKERS) {
        Eight values[HELD];
        load_rows(VALUE_TYPE, values_at, HEAD_DIM_V, at, end, values);
        if (FUSED != 0 && pos < at + chunk)
            put_fresh(at, pos, keys, values);
        float x[LOADS], top = LEAST;
        [[unroll]] for (uint i = 0; i < LOADS; i++) {
            x[i] = score(keys, i);
            x[i] = position(at, i) < end ? x[i] : LEAST;
            top = max(top, x[i]);
        }
        if (at + chunk * WALKERS < end)
            load_rows(KEY_TYPE, keys_at, HEAD_DIM, at + chunk * WALKERS, end, keys);
        raise(top);
        [[unroll]] for (uint i = 0; i < LOADS; i++) {
            x[i] = x[i] > LEAST ? exp2(x[i] - most) : 0;
            total += x[i];
            weigh(values, i, x[i]);
        }
    }
}

// ---- the subgroups' sums -----------------------------------------------------------------------

// Maxima and totals of all subgroups to shared memory; then the sums refer to the largest maximum.
void agree()
{
    [[unroll]] for (uint stride = LANES; stride < SUBGROUP; stride *= 2)
        total += subgroupShuffleXor(total, stride);
    const uint own = own_query(gl_SubgroupInvocationID);
    if (gl_SubgroupInvocationID < QUERIES) {
        s_most[gl_SubgroupID * 8 + own] = most;
        s_total[gl_SubgroupID * 8 + own] = total;
    }
    barrier();
    float top = most;
    [[unroll]] for (uint w = 0; w < WALKERS; w++)
        top = max(top, s_most[(w * SETS + gl_SubgroupID % SETS) * 8 + own_query(lane() & QUERIES - 1)]);
    scale_sums(exp2(most - top));
    [[unroll]] for (uint i = 0; i < OWN; i++) {
        [[unroll]] for (uint stride = LANES; stride < SUBGROUP; stride *= 2)
            sums[i] += subgroupShuffleXor(sums[i], stride);
    }
}

// Sums of the set's walkers from `first` on, AT_ONCE of them, to shared memory.
void share_sums(uint set, uint first)
{
    if (gl_SubgroupID % SETS != set || walker() < first || walker() >= first + AT_ONCE ||
        walker() >= WALKERS || gl_SubgroupInvocationID >= LANES)
        return;
    [[unroll]] for (uint i = 0; i < OWN; i++) {
        const uint q = i / (2 * PARTS), quad = 2 * (lane() + i / 2 % PARTS * LANES) + i % 2;
        if (quad < QUADS)
            s_sums[((walker() - first) * QUERIES + q) * QUADS + quad] = sums[i];
    }
}

void add_sums(uint set, out vec4 sum[SUMS])
{
    [[unroll]] for (uint k = 0; k < SUMS; k++)
        sum[k] = vec4(0);
    [[dont_unroll]] for (uint first = 0; first < WALKERS; first += AT_ONCE) {
        share_sums(set, first);
        barrier();
        [[unroll]] for (uint k = 0; k < SUMS; k++) {
            const uint i = thread() + k * THREADS;
            for (uint w = 0; w < AT_ONCE && first + w < WALKERS && i < QUERIES * QUADS; w++)
                sum[k] += s_sums[w * QUERIES * QUADS + i];
        }
        barrier();
    }
}

// Of query q of a set, over its walkers: in powers of e.
vec2 most_and_total(uint set, uint q)
{
    vec2 x = vec2(LEAST, 0);
    for (uint w = 0; w < WALKERS; w++)
        x.x = max(x.x, s_most[(w * SETS + set) * 8 + q]);
    for (uint w = 0; w < WALKERS; w++)
        x.y += exp2(s_most[(w * SETS + set) * 8 + q] - x.x) * s_total[(w * SETS + set) * 8 + q];
    return vec2(x.x / LOG2_E, x.y);
}

void main()
{
    find_positions(8);
    const uint from = walker() < WALKERS ? first + walker() * LOADS * SIDE_BY_SIDE : end;
    Eight keys[HELD];
    if (from < end)
        load_rows(KEY_TYPE, keys_at, HEAD_DIM, from, end, keys);
    make_queries(token, kv_head, pos, end == pos + 1 && first < end);
    if (FUSED == 0)
        barrier();
    take_queries();
    walk(keys, from);
    agree();
    [[dont_unroll]] for (uint set = 0; set < SETS; set++) {
        vec4 sum[SUMS];
        add_sums(set, sum);
        [[unroll]] for (uint k = 0; k < SUMS; k++) {
            const uint i = thread() + k * THREADS, q = set * 8 + i / QUADS;
            const vec2 own = most_and_total(set, min(i / QUADS, QUERIES - 1));
            if (i < QUERIES * QUADS && q < N_QUERIES)
                put_part(q, i % QUADS, sum[k], own.x, own.y);
        }
    }
    end_row();
}
