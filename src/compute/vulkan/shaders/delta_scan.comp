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
// A tile of KEYS elements of W's and the queries' rows, the elements of each quad in the order of turned(), or of 2 KEYS
// of the keys'. What lies between rows keeps those that are read together in banks of their own.
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

// Element j of what is read of quad `thread() % 8`: eight threads that read a quad each of a column of the memory, an
// element after the other, would meet in two banks; so each pair of them begins one element further.
uint turned(uint j)
{
    return (j + thread() % 8 / 2) % 4;
}

vec4 turn(vec4 x)
{
    const uint n = thread() % 8 / 2;
    const vec4 y = (n & 1) != 0 ? x.yzwx : x;
    return (n & 2) != 0 ? y.zwxy : y;
}

void put(Held h, uint tile)
{
    const uint t = thread();
    [[unroll]] for (uint i = 0; i < 2; i++)
        if (tile < READS)
            s_rows[(t / 8 + CHUNK * i) * PITCH + t % 8] = turn(h.x[i]);
        else
            s_rows[(t / 16 + 16 * i) * PITCH_K + t % 16] = h.x[i] * h.factor[i];
}

// Eight threads share four rows of the chunk and four columns: each has a quad of every tile's elements, then one sum
// over all of them (own_sum): a row's over the memory of W, or, the second half of the eight, of its query.
const uint N_SUMS = 8;

uint half_of()
{
    return thread() / 4 % 2;
}
uint quad_of()
{
    return thread() / 8 % QUADS;
}
uint first_row()
{
    return thread() / (8 * QUADS) * 4;
}
uint row_in_chunk()
{
    return first_row() + thread() % 4;
}

// Adds the tile's part of W S of four rows, then of q S.
void read_memory(uint tile, inout vec4 sums[N_SUMS])
{
    const uint k = thread() % 8;
    vec4 s[4];
    [[unroll]] for (uint j = 0; j < 4; j++)
        s[j] = s_memory[(tile * KEYS + 4 * k + turned(j)) * (QUADS + 1) + quad_of()];
    [[unroll]] for (uint i = 0; i < N_SUMS; i++) {
        const vec4 x = s_rows[(i / 4 * CHUNK + first_row() + i % 4) * PITCH + k];
        [[unroll]] for (uint j = 0; j < 4; j++)
            sums[i] += x[j] * s[j];
    }
}

// Of the sums of eight threads the one that is this thread's, in all of them: sum i of thread i.
vec4 own_sum(vec4 sums[N_SUMS])
{
    const uint t = thread();
    vec4 a[4], b[2];
    [[unroll]] for (uint i = 0; i < 4; i++)
        a[i] = ((t & 4) != 0 ? sums[i + 4] : sums[i]) +
               subgroupShuffleXor((t & 4) != 0 ? sums[i] : sums[i + 4], 4);
    [[unroll]] for (uint i = 0; i < 2; i++)
        b[i] = ((t & 2) != 0 ? a[i + 2] : a[i]) + subgroupShuffleXor((t & 2) != 0 ? a[i] : a[i + 2], 2);
    return ((t & 1) != 0 ? b[1] : b[0]) + subgroupShuffleXor((t & 1) != 0 ? b[0] : b[1], 1);
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
    return sum + subgroupShuffleXor(sum, 4);
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
        const vec4 mixed = p.mixed.v[(row_of(run, first + t / 8) * N_V_HEADS + head) * (CHUNK / 4) + t % 8];
        const vec4 factors = p.factors.v[at];
        vec4 sums[N_SUMS], own = vec4(0);
        [[unroll]] for (uint i = 0; i < N_SUMS; i++)
            sums[i] = vec4(0);
        [[dont_unroll]] for (uint tile = 0; tile < TILES; tile++) {
            barrier();
            if (tile == READS) {
                own = own_sum(sums);
                if (half_of() == 0)
                    s_news[row_in_chunk() * (QUADS + 1) + quad_of()] = is_row ? u - own : vec4(0);
                s_mixed[t / 8 * (CHUNK / 4 + 1) + t % 8] = mixed;
            }
            put(h, tile);
            barrier();
            const bool last = tile + 1 == TILES;
            h = fetch(run, last ? first + CHUNK : first, head, last ? 0 : tile + 1);
            if (tile < READS) {
                read_memory(tile, sums);
                continue;
            }
            if (tile == READS) {
                const vec4 result = factors[OF_QUERY] * own + mix_news();
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
