// OP_DELTA_NET, or its second half between delta_conv.comp and delta_gate.comp: the gated delta rule. Columns of a
// head's memory S do not depend on one another, so a workgroup has 32 columns of one value head of one sequence and
// takes the sequence's rows in order, S in registers from the first to the last. x counts heads and their pieces of
// 32 columns, y sequences.
//
// S is read once for both the key and the query: with S the memory before the row, d the decay,
//     news = beta (v - d S' k),  out = d S' q + (k . q) news,  S = d S + k news'.
//
// FUSED is for single rows: a workgroup convolves its own channels, and the last of a head to end makes the gated
// norm. The history's rows are those of N_CONV positions, so that the new input takes the place of one that no row to
// come needs and that no workgroup reads.
#version 460
#include "common.glsl"
#include "delta.glsl"

layout(constant_id = 6) const uint FUSED = 0;

layout(push_constant) uniform Push
{
    Floats qkv;         // [..][CHANNELS]
    Floats ready;       // the same, convolved; not FUSED
    Floats z;           // [..][N_V_HEADS][D_V]
    Floats beta, alpha; // beta_at, alpha_at
    SharedFloats to;    // [..][N_V_HEADS][D_V]; not FUSED: before the gated norm
    Floats taps;        // [N_CONV][CHANNELS]
    Floats dt_bias, decay; // [N_V_HEADS]
    Floats norm;           // [D_V]
    FloatsOut history;     // [sequence][N_CONV][CHANNELS]
    Float4sOut memory;     // [sequence][2][N_V_HEADS][PIECES][D_K][32 columns], see head_of_memory
    Words pos;             // [..]
    Words seq;             // [..]
    Counters counters;     // [N_V_HEADS]
    uint n_rows;
    float eps;
} p;

const uint QUADS = 8; // of columns: 32 of a workgroup
const uint PIECES = (D_V + 4 * QUADS - 1) / (4 * QUADS);
// A thread has four columns of every SLICES-th key.
const uint SLICES = THREADS / QUADS;
const uint N_KEYS = (D_K + SLICES - 1) / SLICES;

// Query, key, value of a row: padded with zeros, which change nothing.
const uint PADDED_K = N_KEYS * SLICES;
const uint MINE = 2 * PADDED_K + 4 * QUADS;
const uint FETCHES = (MINE + THREADS - 1) / THREADS;
shared float s_mine[MINE];

// Sums over the keys, by subgroup: S' k, S' q of a quad; k . k, q . q, k . q.
shared vec4 s_known[SUBGROUPS * QUADS], s_asked[SUBGROUPS * QUADS], s_dots[SUBGROUPS * QUADS];

// The channel of element i of s_mine; CHANNELS: none.
uint channel_of(uint i, uint head, uint piece)
{
    const uint key_head = IS_TILED != 0 ? head % N_K_HEADS : head / N_EACH;
    if (i < 2 * PADDED_K) {
        const uint k = i % PADDED_K, part = i / PADDED_K;
        return k < D_K ? (part * N_K_HEADS + key_head) * D_K + k : CHANNELS;
    }
    const uint column = piece * 4 * QUADS + i - 2 * PADDED_K;
    return i < MINE && column < D_V ? 2 * N_K_HEADS * D_K + head * D_V + column : CHANNELS;
}

uint next_row(uint row, uint seq)
{
    while (row < p.n_rows && p.seq.v[row] != seq)
        row++;
    return row;
}

// Of a row: the thread's elements of s_mine.
void fetch(uint row, uint head, uint piece, out float mine[FETCHES])
{
    uint at[N_CONV];
    if (FUSED != 0)
        find_inputs(p.seq, p.pos.v[row], row, at);
    [[unroll]] for (uint i = 0; i < FETCHES; i++) {
        const uint c = channel_of(thread() + i * THREADS, head, piece);
        mine[i] = 0;
        if (c < CHANNELS)
            mine[i] = FUSED != 0 ? convolved(p.qkv, p.taps, p.history, at, c)
                                 : p.ready.v[row * CHANNELS + c];
    }
}

// Of a row: sigmoid(beta) and the memory's decay.
vec2 gates(uint row, uint head)
{
    const float a = p.alpha.v[alpha_at(row, head)] + p.dt_bias.v[head];
    return vec2(sigmoid(p.beta.v[beta_at(row, head)]),
                exp(p.decay.v[head] * (a > 20 ? a : log(1 + exp(a)))));
}

// The sum over the slices, in the same order every time.
void sum_slices(inout vec4 known, inout vec4 asked, inout vec4 dots)
{
    const uint quad = thread() % QUADS;
    for (uint lane = QUADS; lane < subgroup_size(); lane *= 2) {
        known += subgroupShuffleXor(known, lane);
        asked += subgroupShuffleXor(asked, lane);
        dots += subgroupShuffleXor(dots, lane);
    }
    if (gl_SubgroupInvocationID < QUADS) {
        s_known[gl_SubgroupID * QUADS + quad] = known;
        s_asked[gl_SubgroupID * QUADS + quad] = asked;
        s_dots[gl_SubgroupID * QUADS + quad] = dots;
    }
    barrier();
    known = asked = dots = vec4(0);
    for (uint i = 0; i < n_subgroups(); i++) {
        known += s_known[i * QUADS + quad];
        asked += s_asked[i * QUADS + quad];
        dots += s_dots[i * QUADS + quad];
    }
}

// Where the workgroup's part of the memory is, in vec4, behind n tokens.
uint memory_at(uint seq, uint n, uint head, uint piece)
{
    return (head_of_memory(seq, n, head) * PIECES + piece) * D_K * QUADS;
}

// The newest inputs to the history: of queries and keys by the first workgroup that uses them. at: row p modulo
// N_CONV of the history is that of this row of the batch; -1: not in the batch.
void keep(const int at[N_CONV], uint seq, uint head, uint piece)
{
    const bool first = piece == 0 && (IS_TILED != 0 ? head < N_K_HEADS : head % N_EACH == 0);
    for (uint i = (first ? 0 : 2 * PADDED_K) + thread(); i < MINE; i += THREADS) {
        const uint c = channel_of(i, head, piece);
        if (c == CHANNELS)
            continue;
        [[unroll]] for (uint tap = 0; tap < N_CONV; tap++)
            if (at[tap] >= 0)
                p.history.v[(seq * N_CONV + tap) * CHANNELS + c] =
                    p.qkv.v[uint(at[tap]) * CHANNELS + c];
    }
}

void main()
{
    const uint t = thread(), quad = t % QUADS, slice = t / QUADS;
    const uint head = gl_WorkGroupID.x / PIECES, piece = gl_WorkGroupID.x % PIECES;
    const uint seq = FUSED != 0 ? p.seq.v[0] : gl_WorkGroupID.y;
    uint row = next_row(0, seq);
    if (row == p.n_rows)
        return;

    vec4 s[N_KEYS];
    uint pos = p.pos.v[row];
    const uint memory = memory_at(seq, pos, head, piece);
    const bool fresh = pos == 0;
    [[unroll]] for (uint i = 0; i < N_KEYS; i++) {
        const uint key = slice + i * SLICES;
        s[i] = fresh || key >= D_K ? vec4(0) : p.memory.v[memory + key * QUADS + quad];
    }
    int newest[N_CONV];
    [[unroll]] for (uint i = 0; i < N_CONV; i++)
        newest[i] = -1;

    float mine[FETCHES];
    fetch(row, head, piece, mine);
    vec2 gate = gates(row, head);
    while (row < p.n_rows) {
        [[unroll]] for (uint i = 0; i < FETCHES; i++)
            if (t + i * THREADS < MINE)
                s_mine[t + i * THREADS] = mine[i];
        barrier();
        const float beta = gate.x, decay = gate.y;
        pos = p.pos.v[row];
        const uint at = (row * N_V_HEADS + head) * D_V, old = pos % N_CONV;
        [[unroll]] for (uint i = 0; i < N_CONV; i++)
            newest[i] = i == old ? int(row) : newest[i];
        row = FUSED != 0 ? p.n_rows : next_row(row + 1, seq);
        if (row < p.n_rows) {
            fetch(row, head, piece, mine);
            gate = gates(row, head);
        }

        float k[N_KEYS];
        vec4 known = vec4(0), asked = vec4(0), dots = vec4(0), v;
        [[unroll]] for (uint i = 0; i < N_KEYS; i++) {
            const float q = s_mine[slice + i * SLICES];
            k[i] = s_mine[PADDED_K + slice + i * SLICES];
            known += k[i] * s[i];
            asked += q * s[i];
            dots += vec4(k[i] * k[i], q * q, k[i] * q, 0);
        }
        [[unroll]] for (uint i = 0; i < 4; i++)
            v[i] = s_mine[2 * PADDED_K + 4 * quad + i];
        sum_slices(known, asked, dots);
        const float k_scale = inversesqrt(dots.x + 1e-6);
        const float q_scale = inversesqrt(dots.y + 1e-6) * inversesqrt(float(D_K));
        const vec4 news = beta * (v - decay * k_scale * known);
        [[unroll]] for (uint i = 0; i < N_KEYS; i++)
            s[i] = decay * s[i] + (k_scale * k[i]) * news;
        if (slice == 0) {
            const vec4 result = q_scale * (decay * asked + (k_scale * dots.z) * news);
            [[unroll]] for (uint i = 0; i < 4; i++)
                if (piece * 4 * QUADS + 4 * quad + i < D_V)
                    p.to.v[at + piece * 4 * QUADS + 4 * quad + i] = result[i];
        }
    }

    const uint to = memory_at(seq, pos + 1, head, piece);
    [[unroll]] for (uint i = 0; i < N_KEYS; i++) {
        const uint key = slice + i * SLICES;
        if (key < D_K)
            p.memory.v[to + key * QUADS + quad] = s[i];
    }
    keep(newest, seq, head, piece);
    if (FUSED != 0 && last_to_arrive(p.counters, head, PIECES)) {
        const float squares = workgroup_sum(squares_of(p.to, head * D_V, t, THREADS));
        gated_norm(p.to, p.z, p.norm, p.eps, squares, head * D_V, t, THREADS);
    }
}
