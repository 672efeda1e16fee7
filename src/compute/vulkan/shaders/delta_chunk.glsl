// What the two shaders of a chunked OP_DELTA_NET share (delta_chunk.comp, delta_scan.comp): chunks, and what one leaves
// the other. D_K is a multiple of 64, D_V of 32.

const uint CHUNK = 32; // rows, at most, of one sequence
const uint KEYS = 32;  // elements of a key of a tile
const uint KEY_QUADS = D_K / 4, VALUE_QUADS = D_V / 4;
const uint ROW_QUADS = CHANNELS / 4;
const uint FIRST_KEY = N_K_HEADS * D_K, FIRST_VALUE = 2 * FIRST_KEY; // channels

// Sequences, as attention.c lays them down: first of `order`, how many rows (0: the end), position of the first, sequence.
struct Run {
    uint first, n, pos, seq;
};

Run run_at(Vec4s runs, uint i)
{
    const uvec4 r = runs.v[i];
    return Run(r.x, r.y, r.z, r.w);
}

uint key_head_of(uint head)
{
    return IS_TILED != 0 ? head % N_K_HEADS : head / N_EACH;
}

uint head_at(uint key_head, uint i)
{
    return IS_TILED != 0 ? i * N_K_HEADS + key_head : key_head * N_EACH + i;
}

// Of a row and value head, [..][N_V_HEADS]: what its sums over the memory are times for a query, its key before it goes
// to the memory, the memory itself until the chunk's end.
const uint OF_QUERY = 0, OF_KEY = 1, OF_MEMORY = 2;
