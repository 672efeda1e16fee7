// Third of four steps of OP_DELTA_NET for many rows: chunk after chunk, with S the memory before it and what delta_chunk.comp
// made of the chunk, each row's
//     news = U - W S,  out = factor q S + mixed news,
// then S = e^G S + sum over the rows of factor k news'. Columns of S do not depend on one another: a workgroup has 16 of
// one value head of one sequence, in shared memory from the first chunk to the last. x counts heads and their pieces of
// 16 columns, y sequences.
#version 460
#include "common.glsl"
#include "delta.glsl"
#include "delta_chunk.glsl"

layout(push_constant) uniform Push
{
    Float4s rows;       // [..][CHANNELS]: queries, keys, U
    Float4s known;      // [..][N_V_HEADS][D_K] W
    Float4s mixed;      // [..][N_V_HEADS][CHUNK]
    Float4s factors;    // [..][N_V_HEADS]
    Float4sOut to;      // [..][N_V_HEADS][D_V] before the gated norm
    Float4sOut memory;  // [sequence][2][N_V_HEADS][D_V / 32][D_K][32 columns], see head_of_memory
    Words order;        // rows, those of a sequence side by side
    Vec4s runs;
} p;

const uint QUADS = 4; // of columns
const uint PIECES = VALUE_QUADS / QUADS;
shared vec4 s_memory[D_K * (QUADS + 1)];
// A tile of KEYS elements of W's and the queries' rows, or of 2 KEYS of the keys'. What lies between rows keeps those that
// are read together in banks of their own.
const uint PITCH = KEYS / 4 + 2, PITCH_K = 2 * KEYS / 4 + 2;
shared vec4 s_rows[2 * CHUNK * PITCH];
shared vec4 s_mixed[CHUNK * (CHUNK / 4 + 1)];
shared vec4 s_news[CHUNK * (QUADS + 1)];

// Tiles of a chunk: W and queries, then keys.
const uint READS = D_K / KEYS, TILES = READS + D_K / (2 * KEYS);

uint row_of(Run run, uint i)
{
    return p.order.v[run.first + min(i, run.n - 1)];
}

// Quads of two rows, and what they are times.
struct Held {
    vec4 x[2];
    float factor[2];
};

Held fetch(Run run, uint first, uint head, uint tile)
{
    const uint t = thread();
    Held h;
    [[unroll]] for (uint i = 0; i < 2; i++) {
        h.factor[i] = 1;
        if (tile < READS) {
            const uint row = row_of(run, first + t / 8), quad = tile * (KEYS / 4) + t % 8;
            h.x[i] = i == 0 ? p.known.v[(row * N_V_HEADS + head) * KEY_QUADS + quad]
                            : p.rows.v[row * ROW_QUADS + key_head_of(head) * KEY_QUADS + quad];
        } else {
            const uint in_run = first + t / 16 + 16 * i, row = row_of(run, in_run);
            const uint quad = (tile - READS) * (KEYS / 2) + t % 16;
            h.x[i] = p.rows.v[row * ROW_QUADS + FIRST_KEY / 4 + key_head_of(head) * KEY_QUADS + quad];
            h.factor[i] = in_run < run.n ? p.factors.v[row * N_V_HEADS + head][OF_KEY] : 0;
        }
    }
    return h;
}

void put(Held h, uint tile)
{
    const uint t = thread();
    [[unroll]] for (uint i = 0; i < 2; i++)
        if (tile < READS)
            s_rows[(t / 8 + CHUNK * i) * PITCH + t % 8] = h.x[i];
        else
            s_rows[(t / 16 + 16 * i) * PITCH_K + t % 16] = h.x[i] * h.factor[i];
}

// Two threads share a row and four columns: each takes every other quad of what is summed over.
uint half_of()
{
    return thread() % 2;
}
uint quad_of()
{
    return thread() / 2 % QUADS;
}
uint row_in_chunk()
{
    return thread() / (2 * QUADS);
}

// Adds the tile's part of W S and of q S.
void read_memory(uint tile, inout vec4 known, inout vec4 asked)
{
    [[unroll]] for (uint i = 0; i < KEYS / 8; i++) {
        const uint k = 2 * i + half_of();
        const vec4 w = s_rows[row_in_chunk() * PITCH + k], q = s_rows[(CHUNK + row_in_chunk()) * PITCH + k];
        [[unroll]] for (uint j = 0; j < 4; j++) {
            const vec4 s = s_memory[(tile * KEYS + 4 * k + j) * (QUADS + 1) + quad_of()];
            known += w[j] * s;
            asked += q[j] * s;
        }
    }
}

// The sum over the chunk's rows of mixed news, in both threads of a row.
vec4 mix_news()
{
    vec4 sum = vec4(0);
    [[unroll]] for (uint i = 0; i < CHUNK / 8; i++) {
        const uint s = 2 * i + half_of();
        const vec4 m = s_mixed[row_in_chunk() * (CHUNK / 4 + 1) + s];
        [[unroll]] for (uint j = 0; j < 4; j++)
            sum += m[j] * s_news[(4 * s + j) * (QUADS + 1) + quad_of()];
    }
    return sum + subgroupShuffleXor(sum, 1);
}

// Keys times news to 2 KEYS elements of the memory: four threads share four elements and four columns, each takes every
// fourth row, and in the end one element.
void add_news(uint tile, float decay)
{
    const uint quarter = thread() % 4, quad = thread() / 4 % QUADS, keys = thread() / (4 * QUADS);
    vec4 sum[4];
    [[unroll]] for (uint j = 0; j < 4; j++)
        sum[j] = vec4(0);
    [[unroll]] for (uint i = 0; i < CHUNK / 4; i++) {
        const vec4 k = s_rows[(4 * i + quarter) * PITCH_K + keys];
        const vec4 news = s_news[(4 * i + quarter) * (QUADS + 1) + quad];
        [[unroll]] for (uint j = 0; j < 4; j++)
            sum[j] += k[j] * news;
    }
    const bool odd = quarter % 2 == 1, high = quarter >= 2;
    const vec4 a = (odd ? sum[1] : sum[0]) + subgroupShuffleXor(odd ? sum[0] : sum[1], 1);
    const vec4 b = (odd ? sum[3] : sum[2]) + subgroupShuffleXor(odd ? sum[2] : sum[3], 1);
    const vec4 mine = (high ? b : a) + subgroupShuffleXor(high ? a : b, 2);
    const uint at = (tile * 2 * KEYS + 4 * keys + quarter) * (QUADS + 1) + quad;
    s_memory[at] = decay * s_memory[at] + mine;
}

// Where the workgroup's columns of the memory begin, in vec4, behind n tokens.
uint memory_at(uint seq, uint n, uint head, uint piece)
{
    return (head_of_memory(seq, n, head) * (PIECES / 2) + piece / 2) * D_K * 8 + piece % 2 * QUADS;
}

void main()
{
    const uint t = thread(), head = gl_WorkGroupID.x / PIECES, piece = gl_WorkGroupID.x % PIECES;
    Run run = run_at(p.runs, 0);
    for (uint i = 0; i < gl_WorkGroupID.y && run.n != 0;)
        run = run_at(p.runs, ++i);
    if (run.n == 0)
        return;
    const uint memory = memory_at(run.seq, run.pos, head, piece);
    for (uint i = t; i < D_K * QUADS; i += THREADS)
        s_memory[i / QUADS * (QUADS + 1) + i % QUADS] =
            run.pos == 0 ? vec4(0) : p.memory.v[memory + i / QUADS * 8 + i % QUADS];

    Held h = fetch(run, 0, head, 0);
    [[dont_unroll]] for (uint first = 0; first < run.n; first += CHUNK) {
        const bool is_row = first + row_in_chunk() < run.n;
        const uint row = row_of(run, first + row_in_chunk()), at = row * N_V_HEADS + head;
        const uint column = piece * QUADS + quad_of();
        const vec4 u = p.rows.v[row * ROW_QUADS + FIRST_VALUE / 4 + head * VALUE_QUADS + column];
        const vec4 mixed = p.mixed.v[at * (CHUNK / 4) + t % 8], factors = p.factors.v[at];
        vec4 known = vec4(0), asked = vec4(0);
        [[dont_unroll]] for (uint tile = 0; tile < TILES; tile++) {
            barrier();
            if (tile == READS) {
                known += subgroupShuffleXor(known, 1);
                asked += subgroupShuffleXor(asked, 1);
                if (half_of() == 0)
                    s_news[row_in_chunk() * (QUADS + 1) + quad_of()] = is_row ? u - known : vec4(0);
                s_mixed[t / 8 * (CHUNK / 4 + 1) + t % 8] = mixed;
            }
            put(h, tile);
            barrier();
            const bool last = tile + 1 == TILES;
            h = fetch(run, last ? first + CHUNK : first, head, last ? 0 : tile + 1);
            if (tile < READS) {
                read_memory(tile, known, asked);
                continue;
            }
            if (tile == READS) {
                const vec4 result = factors[OF_QUERY] * asked + mix_news();
                if (half_of() == 1 && is_row)
                    p.to.v[at * VALUE_QUADS + column] = result;
            }
            add_news(tile - READS, factors[OF_MEMORY]);
        }
    }
    barrier();
    const uint to = memory_at(run.seq, run.pos + run.n, head, piece);
    for (uint i = t; i < D_K * QUADS; i += THREADS)
        p.memory.v[to + i / QUADS * 8 + i % QUADS] = s_memory[i / QUADS * (QUADS + 1) + i % QUADS];
}
