// A group of 16 rows of a weight matrix (src/compute/layout.h) times activation rows in shared
// memory. N_PARTS groups can lie behind one another: then the activations do, too.
//
// 16 bytes of a group are four rows of one quad (integer types) or of one column (floats). Threads:
//   rows     thread % 4        which four of the 16 rows
//   integer  thread / 4 % 4    which part of a block: quads `part` and `part + 4`
//            thread / 16       which block: slice, slice + SLICES, ...
//   float    thread / 4        which column: slice, slice + SLICES, ...
// so that neighbours read neighbouring bytes.

// enum layout of src/compute/layout.h
const uint Q4_0 = 0, Q4_1 = 1, Q5_0 = 2, Q5_1 = 3, Q8_0 = 4, Q2_K = 5, Q3_K = 6, Q4_K = 7, Q5_K = 8,
           Q6_K = 9, IQ4_NL = 10, IQ4_XS = 11, MXFP4 = 12, F32 = 13, F16 = 14, BF16 = 15;

layout(constant_id = 0) const uint TYPE = 0;
layout(constant_id = 1) const uint N_COLS = 2048; // a multiple of 32
layout(constant_id = 2) const uint N_TOKENS = 1;  // activation rows of a workgroup
layout(constant_id = 3) const uint ACT_WORDS = 1024; // of s_act
layout(constant_id = 4) const uint N_PARTS = 1;

// A matrix of the workgroup's may have a second type; then both are integer types, of one table at most.
layout(constant_id = 16) const uint TYPE_2 = 255; // none

const bool IS_FLOAT = TYPE >= F32;
const bool IS_OF_TABLE = TYPE == IQ4_NL || TYPE == IQ4_XS || TYPE == MXFP4;
const uint TABLE_TYPE = IS_OF_TABLE ? TYPE : TYPE_2;
const bool HAS_TABLE = TABLE_TYPE == IQ4_NL || TABLE_TYPE == IQ4_XS || TABLE_TYPE == MXFP4;
const uint N_BLOCKS = N_COLS / 32;

// Functions of a type: it is a constant wherever they are called, and what is left of them is short.

bool has_table(uint type)
{
    return type == IQ4_NL || type == IQ4_XS || type == MXFP4;
}

// Bytes of the code planes of a block, of the scales of scale_blocks() blocks.
uint code_bytes(uint type)
{
    return type == Q2_K                                                            ? 128
           : type == Q3_K                                                          ? 192
           : type == Q5_0 || type == Q5_1 || type == Q5_K                          ? 320
           : type == Q6_K                                                          ? 384
           : type == Q8_0                                                          ? 512
                                                                                   : 256;
}

uint scale_blocks(uint type)
{
    return type >= Q2_K && type <= Q6_K || type == IQ4_XS ? 8 : 1;
}

uint scale_bytes(uint type)
{
    return type == Q4_1 || type == Q5_1                   ? 64
           : type == MXFP4                                ? 16
           : type == IQ4_XS                               ? 160
           : type == Q6_K || type == Q3_K                 ? 288
           : type == Q2_K || type == Q4_K || type == Q5_K ? 320
                                                          : 32;
}

// Unsigned codes minus this are the values.
int offset_of(uint type)
{
    return type == Q4_0 ? 8 : type == Q5_0 ? 16 : type == Q6_K ? 32 : type == Q3_K ? 4 : 0;
}

bool has_min(uint type)
{
    return type == Q4_1 || type == Q5_1 || type == Q2_K || type == Q4_K || type == Q5_K;
}

uint group_bytes(uint type, uint n_cols)
{
    const uint n_blocks = n_cols / 32;
    const uint bytes = type >= F32 ? n_cols * 16 * (type == F32 ? 4 : 2)
                                   : n_blocks * code_bytes(type) +
                                         n_blocks / scale_blocks(type) * scale_bytes(type);
    return bytes + 63 & ~63u;
}

uint group_bytes(uint type)
{
    return group_bytes(type, N_COLS);
}

// Activations of a row: integer types ROW_BLOCKS * 8 words of four codes, then ROW_BLOCKS scales;
// float types ROW_COLS floats.
const uint ROW_COLS = N_COLS * N_PARTS;
const uint ROW_BLOCKS = N_BLOCKS * N_PARTS;
const uint ROW_WORDS = IS_FLOAT ? ROW_COLS : ROW_BLOCKS * 9;
shared uint s_act[ACT_WORDS];

// Two nibbles to their two values: low in the first byte, high in the third.
shared uint s_pairs[HAS_TABLE ? 256 : 1];

// Values of the codes 0 to 15, four to a word. No array: drivers would keep it in memory.
int code_value(uint code)
{
    uint four;
    if (TABLE_TYPE == MXFP4)
        four = code < 8 ? (code < 4 ? 0x03020100 : 0x0c080604)
                        : (code < 12 ? 0xfdfeff00 : 0xf4f8fafc);
    else
        four = code < 8 ? (code < 4 ? 0xbfad9881 : 0xf6eaddcf)
                        : (code < 12 ? 0x26190d01 : 0x71594535);
    return bitfieldExtract(int(four), int(8 * (code & 3)), 8);
}

// Before the first matrix_add; a barrier() must lie between.
void table_fill()
{
    const uint pair = thread();
    if (HAS_TABLE && pair < 256)
        s_pairs[pair] = uint(code_value(pair & 15) & 255) | uint(code_value(pair >> 4) & 255) << 16;
}

// The values of eight nibbles: four low ones, four high ones.
uvec2 lookup(uint w)
{
    const uint ab = s_pairs[w & 255] | s_pairs[w >> 8 & 255] << 8;
    const uint cd = s_pairs[w >> 16 & 255] | s_pairs[w >> 24] << 8;
    return uvec2(ab & 0xffff | cd << 16, ab >> 16 | cd & 0xffff0000);
}

// ---- a block's part: four rows, quads `part` and `part + 4` -------------------------------------

struct Codes {
    uvec4 a, b, c; // planes; b and c where the type has them
    uvec4 scale;   // as they lie in memory, see load_scales
};

// Halves of four rows at byte `at`.
vec4 halves(uvec2 w)
{
    return vec4(unpackHalf2x16(w.x), unpackHalf2x16(w.y));
}

vec4 signed_bytes(uint w)
{
    return vec4(bitfieldExtract(int(w), 0, 8), bitfieldExtract(int(w), 8, 8),
                bitfieldExtract(int(w), 16, 8), bitfieldExtract(int(w), 24, 8));
}

vec4 low_nibbles(uint w)
{
    return vec4(w & 15, w >> 8 & 15, w >> 16 & 15, w >> 24 & 15);
}

uvec4 load_scales(uint type, uint64_t group, uint block, uint rows)
{
    const uint64_t record =
        group + N_BLOCKS * code_bytes(type) + uint64_t(block / scale_blocks(type) * scale_bytes(type));
    const uint b = block % scale_blocks(type);
    uvec4 s = uvec4(0);
    if (type == MXFP4) {
        s.x = Words(record).v[rows];
        return s;
    }
    s.xy = Vec2s(record).v[rows];
    if (type == Q4_1 || type == Q5_1)
        s.zw = Vec2s(record).v[4 + rows];
    if (type == IQ4_XS)
        s.z = Words(record).v[8 + 4 * b + rows];
    if (type == Q6_K || type == Q3_K) {
        s.z = Words(record).v[8 + 8 * b + rows];
        s.w = Words(record).v[8 + 8 * b + 4 + rows];
    }
    return s;
}

// The rest of the scales of the types with minimums: m (two words), then bytes.
uvec4 load_minimums(uint type, uint64_t group, uint block, uint rows)
{
    const uint64_t record =
        group + N_BLOCKS * code_bytes(type) + uint64_t(block / scale_blocks(type) * scale_bytes(type));
    const uint b = block % scale_blocks(type);
    uvec4 s = uvec4(Vec2s(record).v[4 + rows], 0, 0);
    if (type == Q2_K) {
        s.z = Words(record).v[16 + 8 * b + rows];
        s.w = Words(record).v[16 + 8 * b + 4 + rows];
    } else {
        s.z = Words(record).v[16 + 4 * b + rows];
        s.w = Words(record).v[16 + 32 + 4 * b + rows];
    }
    return s;
}

Codes load_codes(uint type, uint64_t group, uint block, uint part, uint rows)
{
    Vec4s v = Vec4s(group + uint64_t(block * code_bytes(type)));
    Codes c;
    c.b = c.c = uvec4(0);
    if (type == Q2_K || type == Q3_K) {
        c.a = v.v[rows];
        c.b = v.v[4 + rows];
        if (type == Q3_K)
            c.c = v.v[8 + rows];
    } else {
        c.a = v.v[4 * part + rows];
        if (type == Q8_0)
            c.b = v.v[4 * (part + 4) + rows];
        if (type == Q5_0 || type == Q5_1 || type == Q5_K || type == Q6_K)
            c.b = v.v[16 + rows];
        if (type == Q6_K)
            c.c = v.v[20 + rows];
    }
    c.scale = load_scales(type, group, block, rows);
    if (type == Q2_K || type == Q4_K || type == Q5_K) {
        // Q2_K reads all its planes from a and b; c carries what does not fit into scale.
        c.c = load_minimums(type, group, block, rows);
    }
    return c;
}

// Bits b of four bytes to bit `to` of each.
uint bits_at(uint w, uint b, uint mask, uint to)
{
    return (w >> b & mask) << to;
}

// Four codes of quad `part` and of quad `part + 4` of row r.
uvec2 codes_of(uint type, const Codes c, uint part, uint r)
{
    const uint PAIR = 0x03030303u, BIT = 0x01010101u;
    const uint a = c.a[r], b = c.b[r];
    if (has_table(type))
        return lookup(a);
    if (type == Q8_0)
        return uvec2(a, b);
    if (type == Q2_K)
        return uvec2(bits_at(a, 2 * part, PAIR, 0), bits_at(b, 2 * part, PAIR, 0));
    if (type == Q3_K)
        return uvec2(bits_at(a, 2 * part, PAIR, 0) | bits_at(c.c[r], part, BIT, 2),
                     bits_at(b, 2 * part, PAIR, 0) | bits_at(c.c[r], part + 4, BIT, 2));
    uvec2 q = uvec2(a & 0x0f0f0f0f, a >> 4 & 0x0f0f0f0f);
    if (type == Q5_0 || type == Q5_1 || type == Q5_K)
        q |= uvec2(bits_at(b, part, BIT, 4), bits_at(b, part + 4, BIT, 4));
    if (type == Q6_K)
        q |= uvec2(bits_at(b, 2 * part, PAIR, 4), bits_at(c.c[r], 2 * part, PAIR, 4));
    return q;
}

// 2^(e - 128), the values being doubled.
float exponent(uint e)
{
    return uintBitsToFloat(e >= 2 ? e - 1 << 23 : 0x00200000 << e);
}

// What the sums of the two quads, and the sums of their activations, are multiplied with.
struct Factors {
    vec4 low, high, min_low, min_high;
};

Factors factors_of(uint type, const Codes c)
{
    Factors f;
    f.min_low = f.min_high = vec4(0);
    if (type == MXFP4) {
        f.low = f.high = vec4(exponent(c.scale.x & 255), exponent(c.scale.x >> 8 & 255),
                              exponent(c.scale.x >> 16 & 255), exponent(c.scale.x >> 24));
        return f;
    }
    const vec4 d = halves(c.scale.xy);
    f.low = f.high = d;
    if (type == Q4_1 || type == Q5_1)
        f.min_low = f.min_high = halves(c.scale.zw);
    if (type == IQ4_XS)
        f.low = f.high = d * signed_bytes(c.scale.z);
    if (type == Q6_K || type == Q3_K) {
        f.low = d * signed_bytes(c.scale.z);
        f.high = d * signed_bytes(c.scale.w);
    }
    if (type == Q4_K || type == Q5_K) {
        f.low = f.high = d * signed_bytes(c.c.z);
        f.min_low = f.min_high = -halves(c.c.xy) * signed_bytes(c.c.w);
    }
    if (type == Q2_K) {
        const vec4 m = -halves(c.c.xy);
        f.low = d * low_nibbles(c.c.z);
        f.high = d * low_nibbles(c.c.w);
        f.min_low = m * low_nibbles(c.c.z >> 4);
        f.min_high = m * low_nibbles(c.c.w >> 4);
    }
    return f;
}

// sum[t] += factor * the part's product with activation row t, whose words begin at t * ROW_WORDS.
void add_part(uint type, const Codes c, uint part, uint act_block, float factor,
              inout vec4 sum[N_TOKENS])
{
    const Factors f = factors_of(type, c);
    const uvec2 q0 = codes_of(type, c, part, 0), q1 = codes_of(type, c, part, 1), q2 = codes_of(type, c, part, 2),
                q3 = codes_of(type, c, part, 3);
    [[unroll]] for (uint t = 0; t < N_TOKENS; t++) {
        const uint row = t * ROW_WORDS;
        const int x = int(s_act[row + act_block * 8 + part]);
        const int y = int(s_act[row + act_block * 8 + part + 4]);
        const float d = uintBitsToFloat(s_act[row + ROW_BLOCKS * 8 + act_block]) * factor;
        ivec4 a = ivec4(dotPacked4x8EXT(int(q0.x), x), dotPacked4x8EXT(int(q1.x), x),
                        dotPacked4x8EXT(int(q2.x), x), dotPacked4x8EXT(int(q3.x), x));
        ivec4 b = ivec4(dotPacked4x8EXT(int(q0.y), y), dotPacked4x8EXT(int(q1.y), y),
                        dotPacked4x8EXT(int(q2.y), y), dotPacked4x8EXT(int(q3.y), y));
        int nx = 0, ny = 0;
        if (offset_of(type) != 0 || has_min(type)) {
            nx = dotPacked4x8EXT(0x01010101, x);
            ny = dotPacked4x8EXT(0x01010101, y);
        }
        a -= offset_of(type) * nx;
        b -= offset_of(type) * ny;
        vec4 v;
        if (type == Q2_K || type == Q3_K || type == Q6_K)
            v = f.low * vec4(a) + f.high * vec4(b);
        else
            v = f.low * vec4(a + b);
        if (has_min(type))
            v += type == Q2_K ? f.min_low * float(nx) + f.min_high * float(ny)
                              : f.min_low * float(nx + ny);
        sum[t] += d * v;
    }
}

vec4 load_column(uint type, uint64_t group, uint col, uint rows)
{
    if (type == F32)
        return uintBitsToFloat(Vec4s(group).v[col * 4 + rows]);
    const uvec2 w = Vec2s(group).v[col * 4 + rows];
    if (type == F16)
        return halves(w);
    return uintBitsToFloat(uvec4(w.x << 16, w.x & 0xffff0000, w.y << 16, w.y & 0xffff0000));
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

const uint SLICES = IS_FLOAT ? THREADS / 4 : THREADS / 16;
uint slice()
{
    return IS_FLOAT ? thread() / 4 : thread() / 16;
}

// One block or column of a thread, on its way from memory.
struct Load {
    Codes codes;
    vec4 column;
    float factor;
};

Load load_at(uint type, uint i)
{
    const uint t = thread();
    const Place p = place_of(i);
    Load l;
    l.factor = p.factor;
    if (IS_FLOAT)
        l.column = load_column(type, p.group, p.at, t % 4);
    else
        l.codes = load_codes(type, p.group, p.at, t / 4 % 4, t % 4);
    return l;
}

// The first loads of a thread, under way while other work is done.
struct Ahead {
    Load a, b;
};

// Of the blocks or columns before `end`, those of this thread from `first` + slice() on.
Ahead matrix_ahead(uint type, uint first, uint end)
{
    return Ahead(load_at(type, min(first + slice(), end - 1)),
                 load_at(type, min(first + slice() + SLICES, end - 1)));
}

// sum[t] += block or column `at`, which is l, times activation row t.
void add_load(uint type, const Load l, uint at, inout vec4 sum[N_TOKENS])
{
    if (IS_FLOAT) {
        [[unroll]] for (uint n = 0; n < N_TOKENS; n++)
            sum[n] += l.column * (uintBitsToFloat(s_act[n * ROW_WORDS + at]) * l.factor);
    } else {
        add_part(type, l.codes, thread() / 4 % 4, at, l.factor, sum);
    }
}

// sum[t] += blocks or columns [first, end), of which the first are ahead, times activation row t. Two steps a turn, each
// with registers of its own: to move what is on its way to other registers is to wait for it. No more than two: more take so
// many registers that fewer workgroups run at once.
void matrix_add(uint type, Ahead ahead, uint first, uint end, inout vec4 sum[N_TOKENS])
{
    [[dont_unroll]] for (uint at = first + slice(); at < end; at += 2 * SLICES) {
        add_load(type, ahead.a, at, sum);
        if (at + 2 * SLICES < end)
            ahead.a = load_at(type, at + 2 * SLICES);
        if (at + SLICES < end)
            add_load(type, ahead.b, at + SLICES, sum);
        if (at + 3 * SLICES < end)
            ahead.b = load_at(type, at + 3 * SLICES);
    }
}

// Adds the sums of all threads. Afterwards thread 16 n + i < 16 N_TOKENS holds row i of the group
// for activation row n. All threads call it, once or with the number of sums that they made before.
shared float s_rows[2 * SUBGROUPS * 16];

// Sums of a subgroup to half `half` of s_rows.
void rows_put(vec4 x, uint part)
{
    [[unroll]] for (uint lane = 4; lane < subgroup_size(); lane *= 2)
        x += subgroupShuffleXor(x, lane);
    if (gl_SubgroupInvocationID < 4) {
        const uint row = (part * SUBGROUPS + gl_SubgroupID) * 16 + gl_SubgroupInvocationID * 4;
        [[unroll]] for (uint r = 0; r < 4; r++)
            s_rows[row + r] = x[r];
    }
}

float rows_get(uint part)
{
    float x = 0;
    [[unroll]] for (uint i = 0; i < n_subgroups(); i++)
        x += s_rows[(part * SUBGROUPS + i) * 16 + thread() % 16];
    return x;
}

float matrix_sum(vec4 sum[N_TOKENS], uint n_before)
{
    float result = 0;
    [[unroll]] for (uint n = 0; n < N_TOKENS; n++) {
        const uint part = (n_before + n) % 2;
        rows_put(sum[n], part);
        barrier();
        if (thread() / 16 == n)
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
        if (thread() / 16 == n)
            result = vec2(rows_get(0), rows_get(1));
    }
    return result;
}
