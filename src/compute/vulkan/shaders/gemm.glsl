// Matrix times many activation rows, as rows.comp left them. A workgroup makes TILE_ROWS outputs for TILE rows: it
// unpacks STEP blocks of 32 columns of its weights into shared memory, beside them the same columns of its
// rows, and multiplies, while the next ones are on their way.
//
// With MATRICES shared memory holds halves and subgroups multiply cooperative matrices into floats; without, it holds floats
// and threads multiply and add: nothing is rounded. All sums run over the columns in rising order.
//
// KIND 2 has two matrices, whose groups alternate in the tile: a subgroup or thread has both values of an output.
#include "common.glsl"
#ifdef MATRICES
#extension GL_KHR_cooperative_matrix : require
#endif
#include "weights.glsl"

layout(constant_id = 5) const uint KIND = 0; // 0: to = W a + bias; 1: to += factor (W a + bias); 2: act(G a + bias, U a + bias)
layout(constant_id = 6) const uint ACTIVATION = 0; // enum activation of src/model/plan.h
layout(constant_id = 7) const uint TILE = 64;      // rows of a workgroup, a multiple of 16
layout(constant_id = 8) const uint STEP = 1;
layout(constant_id = 9) const uint SIZE_M = 16; // of a cooperative matrix
layout(constant_id = 10) const uint SIZE_N = 16;
layout(constant_id = 11) const uint SIZE_K = 16;
layout(constant_id = 12) const uint N_SUBGROUPS = 8;
layout(constant_id = 13) const uint HAS_TILES = 0;
layout(constant_id = 14) const uint N_SPLITS = 1; // of the columns: z counts them; KIND 0 without bias

layout(push_constant) uniform Push
{
    uint64_t rows;   // [..][N_COLS], halves or floats
    Vec2s scales;    // [..]: what the sums of a row are multiplied with, and KIND 1's factor
    uint64_t matrix, up; // up: of KIND 2
    uint64_t bias, up_bias; // 0 or [experts][n_out]
    Vec4s tiles;     // HAS_TILES: tiles.comp's table, expert, first, count; else row i of the dispatch is row i
    Words pairs;     // with tiles: the rows that they count, sorted by expert
    FloatsOut to;    // [..][N_SPLITS][n_out]
    uint n_out;
    uint n_groups; // of one expert
    uint n_used;   // outputs of a row, side by side: output i is of row i / n_used
    uint n_rows;   // without tiles
} p;

const uint TILE_ROWS = 128, TILE_GROUPS = TILE_ROWS / 16;
const uint GROUPS_OUT = KIND == 2 ? TILE_GROUPS / 2 : TILE_GROUPS; // groups of outputs
const uint COLS = STEP * 32;

#ifdef MATRICES
#define NUMBERS f16vec4
const uint PITCH = COLS / 4 + 2; // of a row, in NUMBERS: banks of neighbours differ
#else
#define NUMBERS vec4
const uint PITCH = COLS / 4 + 1;
#endif
shared NUMBERS s_weights[TILE_ROWS * PITCH];
shared NUMBERS s_rows_of[TILE * PITCH];
shared uint s_outs[TILE]; // number of the output, NONE past the end
shared vec2 s_scales[TILE]; // of its row
const uint NONE = 0xffffffff;

uint tile_expert, tile_count;

void find_tile()
{
    const uint t = thread();
    uint first = gl_WorkGroupID.y * TILE;
    tile_expert = 0;
    tile_count = p.n_rows - min(p.n_rows, first);
    if (HAS_TILES != 0) {
        const uvec4 tile = p.tiles.v[gl_WorkGroupID.y];
        tile_expert = tile.x;
        first = tile.y;
        tile_count = tile.z;
    }
    tile_count = min(tile_count, TILE);
    if (t >= TILE)
        return;
    const uint out_row = t >= tile_count ? NONE : HAS_TILES != 0 ? p.pairs.v[first + t] : first + t;
    s_outs[t] = out_row;
    if (out_row != NONE)
        s_scales[t] = uintBitsToFloat(p.scales.v[out_row / p.n_used]);
}

// Where group g of the tile lies. Past the end: the last one, whose outputs are not stored.
uint64_t group_of(uint g)
{
    const bool second = KIND == 2 && g % 2 == 1;
    const uint i = min(gl_WorkGroupID.x * GROUPS_OUT + (KIND == 2 ? g / 2 : g), p.n_groups - 1);
    return (second ? p.up : p.matrix) + uint64_t(tile_expert * p.n_groups + i) * group_bytes(TYPE);
}

// ---- from memory -------------------------------------------------------------------------------

// What a thread holds of the next columns. Integer types: a row of one block; float types: four rows of
// HELD_COLUMNS columns.
#ifdef MATRICES
const uint CHUNK = 8; // columns of a row that a thread loads at once
#else
const uint CHUNK = 4;
#endif
const uint ROW_CHUNKS = COLS / CHUNK;
const uint N_HELD = (TILE * ROW_CHUNKS + THREADS - 1) / THREADS;
const uint MOST_HELD = 4; // N_HELD at most
const uint HELD_COLUMNS = 4;

// Where the thread's chunks are, of the first step's columns: a row's beginning in chunks, plus the chunk; or NONE.
uint chunk_at[MOST_HELD];

// Behind find_tile and a barrier().
void find_chunks()
{
    [[unroll]] for (uint i = 0; i < N_HELD; i++) {
        const uint at = thread() + i * THREADS, row = at / ROW_CHUNKS;
        const uint out_row = row < TILE ? s_outs[row] : NONE;
        chunk_at[i] = out_row == NONE ? NONE : out_row / p.n_used * (N_COLS / CHUNK) + at % ROW_CHUNKS;
    }
}

struct Held {
    Codes codes;
    vec4 columns[HELD_COLUMNS];
    uvec4 rows[MOST_HELD];
};

// Integer types: group, block of the step and row of a thread.
bool has_block()
{
    return thread() < TILE_GROUPS * 16 * STEP;
}

uint own_block(uint step)
{
    return step * STEP + thread() / 16 % STEP;
}

Held fetch(uint step)
{
    const uint t = thread();
    Held h;
    if (IS_FLOAT) {
        [[unroll]] for (uint i = 0; i < HELD_COLUMNS; i++) {
            const uint at = t + i * THREADS, col = at / 4 % 32;
            h.columns[i] = load_column(TYPE, group_of(at / 128), step * 32 + col, at % 4);
        }
    } else if (has_block()) {
        h.codes = load_codes(TYPE, group_of(t / (16 * STEP)), min(own_block(step), N_BLOCKS - 1), t % 16);
    }
    [[unroll]] for (uint i = 0; i < N_HELD; i++) {
        h.rows[i] = uvec4(0);
        if (chunk_at[i] != NONE && step * ROW_CHUNKS + t % ROW_CHUNKS < N_COLS / CHUNK)
            h.rows[i] = Vec4s(p.rows).v[chunk_at[i] + step * ROW_CHUNKS];
    }
    return h;
}

// ---- to shared memory --------------------------------------------------------------------------

#ifdef MATRICES
// Halves of elements 0, 2 and 1, 3 of four codes, whose bytes become the last bits of halves of 1024 and more.
f16vec4 spread(uint codes)
{
    return f16vec4(unpackFloat2x16(codes & 0x00ff00ff | 0x64006400), unpackFloat2x16(codes >> 8 & 0x00ff00ff | 0x64006400));
}

// What 1536 was added to and thereby rounded to a whole number. `precise`: else compilers (Mesa's) add the two constants
// first, and nothing is rounded.
f16vec4 less_1536(f16vec4 x)
{
    precise f16vec4 whole = x - float16_t(1536);
    return whole;
}

// The code book of IQ4_NL, its 16 values exactly, however halves round: a polynomial that comes within 0.46 of them, at last
// rounded by what is added to it. A look-up in shared memory waits for others in the same bank.
f16vec4 code_book(uint codes)
{
    const f16vec4 x = spread(codes) - float16_t(1024 + 7);
    f16vec4 y = x * float16_t(0.0012865066528320312) + float16_t(0.0780029296875);
    y = y * x + float16_t(-0.2421875);
    y = y * x + float16_t(11.609375);
    return less_1536(y * x + float16_t(1536 - 10));
}

// Two codes of MXFP4, 16 bits apart. The last three bits are exponent and mantissa of a half, from code 2 on; the square of a
// code is less than that half for codes 0 and 1, whose value it is.
f16vec2 small_floats(uint codes)
{
    const uint size = codes & 0x00070007;
    const f16vec2 x = unpackFloat2x16(size | 0x64006400) - float16_t(1024);
    const f16vec2 value = min(unpackFloat2x16((size << 9) + 0x3c003c00), x * x);
    return unpackFloat2x16(packFloat2x16(value) | (codes & 0x00080008) << 12);
}

// The values of four nibbles, one a byte, of a type with a code book; elements 0, 2, 1, 3.
f16vec4 values_of_nibbles(uint codes)
{
    if (TYPE == MXFP4)
        return f16vec4(small_floats(codes), small_floats(codes >> 8));
    return code_book(codes);
}

// The values of four codes of quad `part` and of quad `part + 4` without their scale, elements 0, 2, 1, 3. a, a2: as in
// codes_of.
void numbers_of(const Codes c, uint a, uint a2, uint part, out f16vec4 low, out f16vec4 high)
{
    if (IS_OF_TABLE) {
        low = values_of_nibbles(a & 0x0f0f0f0f);
        high = values_of_nibbles(a >> 4 & 0x0f0f0f0f);
        return;
    }
    const bool is_signed = TYPE == Q8_0;
    const float16_t zero = float16_t(1024 + (is_signed ? 128 : offset_of(TYPE)));
    const uvec2 q = codes_of(TYPE, c, a, a2, part) ^ (is_signed ? 0x80808080 : 0);
    low = spread(q.x) - zero;
    high = spread(q.y) - zero;
}

// Halves that are exact: a scale of a block, or a power of two. One that is no half is held to the largest that is.
const bool HAS_HALF_SCALE = TYPE == Q4_0 || TYPE == Q8_0 || TYPE == IQ4_NL || TYPE == MXFP4;

f16vec4 scaled(f16vec4 values, float factor, float minimum)
{
    if (HAS_HALF_SCALE)
        return values * float16_t(TYPE == MXFP4 ? min(factor, 32768.0) : factor);
    return f16vec4(factor * vec4(values) + minimum);
}

// Rows eight apart lie in the same banks of shared memory: so these take the parts in another order.
const bool HAS_TURNS = true;
#else
void numbers_of(const Codes c, uint a, uint a2, uint part, out vec4 low, out vec4 high)
{
    values_of(TYPE, c, a, a2, part, low, high);
}

vec4 scaled(vec4 values, float factor, float minimum)
{
    return factor * values + minimum;
}

const bool HAS_TURNS = false;
#endif

void put_block(const Codes c, bool exists)
{
    const uint t = thread(), row = t / (16 * STEP) * 16 + t % 16, col = t / 16 % STEP * 8;
    const bool turns = HAS_TURNS && (t & 8) != 0;
    const Factors f = factors_of(TYPE, c, t % 16);
    [[unroll]] for (uint i = 0; i < 4; i++) {
        const uint part = turns ? i ^ 1 : i, to = row * PITCH + col + part;
        NUMBERS low, high;
        numbers_of(c, turns ? c.a[i ^ 1] : c.a[i], turns ? c.a2[i ^ 1] : c.a2[i], part, low, high);
        s_weights[to] = exists ? scaled(low, f.low, f.min_low) : NUMBERS(0);
        s_weights[to + 4] = exists ? scaled(high, f.high, f.min_high) : NUMBERS(0);
    }
}

void put(const Held h, uint step)
{
    const uint t = thread();
    if (IS_FLOAT) {
        [[unroll]] for (uint i = 0; i < HELD_COLUMNS; i++) {
            const uint at = t + i * THREADS, col = at / 4 % 32, row = at / 128 * 16 + at % 4 * 4;
            [[unroll]] for (uint r = 0; r < 4; r++)
                s_weights[(row + r) * PITCH + col / 4][col % 4] = NUMBERS(h.columns[i])[r];
        }
    } else if (has_block()) {
        put_block(h.codes, N_BLOCKS % STEP == 0 || own_block(step) < N_BLOCKS);
    }
    [[unroll]] for (uint i = 0; i < N_HELD; i++) {
        const uint at = t + i * THREADS, row = at / ROW_CHUNKS;
        if (row >= TILE)
            break;
#ifdef MATRICES
        const uint to = row * PITCH + at % ROW_CHUNKS * 2;
        s_rows_of[to] = f16vec4(unpackFloat2x16(h.rows[i].x), unpackFloat2x16(h.rows[i].y));
        s_rows_of[to + 1] = f16vec4(unpackFloat2x16(h.rows[i].z), unpackFloat2x16(h.rows[i].w));
#else
        s_rows_of[row * PITCH + at % ROW_CHUNKS] = uintBitsToFloat(h.rows[i]);
#endif
    }
}

// ---- out ---------------------------------------------------------------------------------------

float activate(float g, float u)
{
    if (ACTIVATION == 1) {
        g = min(g, 7.0);
        u = clamp(u, -7.0, 7.0);
        return g / (1 + exp(-1.702 * g)) * (u + 1);
    }
    return g / (1 + exp(-g)) * u;
}

// Where output o, counted from the tile's first, of row `row` of the tile goes; NONE past the end.
uint out_at(uint o, uint row)
{
    o += gl_WorkGroupID.x * GROUPS_OUT * 16;
    const uint out_row = s_outs[row];
    if (o >= p.n_out || out_row == NONE)
        return NONE;
    return (KIND == 1 ? out_row : out_row * N_SPLITS + gl_WorkGroupID.z) * p.n_out + o;
}

// What KIND 1 adds to.
float old_value(uint at)
{
    return KIND == 1 && at != NONE ? p.to.v[at] : 0;
}

// a, b: the sums of its one or two matrices.
void give(uint at, uint o, uint row, float a, float b, float old)
{
    if (at == NONE)
        return;
    o += gl_WorkGroupID.x * GROUPS_OUT * 16;
    const vec2 scale = s_scales[row];
    a *= scale.x;
    if (p.bias != 0)
        a += Floats(p.bias).v[tile_expert * p.n_out + o];
    if (KIND == 2) {
        b *= scale.x;
        if (p.up_bias != 0)
            b += Floats(p.up_bias).v[tile_expert * p.n_out + o];
        a = activate(a, b);
    }
    p.to.v[at] = KIND == 1 ? old + scale.y * a : a;
}

const uint N_STEPS = (N_BLOCKS + STEP - 1) / STEP;
const uint SPLIT_STEPS = (N_STEPS + N_SPLITS - 1) / N_SPLITS;

uint first_step()
{
    return min(gl_WorkGroupID.z * SPLIT_STEPS, N_STEPS - 1);
}

uint end_step()
{
    return min((gl_WorkGroupID.z + 1) * SPLIT_STEPS, N_STEPS);
}
