// Weights as src/compute/layout.h keeps them, behind layout_by_row: groups of 16 rows, and how a thread takes 32 columns of
// one of them.

// enum layout of src/compute/layout.h
const uint Q4_0 = 0, Q4_1 = 1, Q5_0 = 2, Q5_1 = 3, Q8_0 = 4, Q2_K = 5, Q3_K = 6, Q4_K = 7, Q5_K = 8,
           Q6_K = 9, IQ4_NL = 10, IQ4_XS = 11, MXFP4 = 12, F32 = 13, F16 = 14, BF16 = 15;

layout(constant_id = 0) const uint TYPE = 0;
layout(constant_id = 1) const uint N_COLS = 2048; // a multiple of 32

// A matrix of the workgroup's may have a second type; then both are integer types, of one table at most.
const uint NO_TYPE = 255;
layout(constant_id = 16) const uint TYPE_2 = NO_TYPE;

const bool IS_FLOAT = TYPE >= F32;
const bool IS_OF_TABLE = TYPE == IQ4_NL || TYPE == IQ4_XS || TYPE == MXFP4;
const bool IS_2_OF_TABLE = TYPE_2 == IQ4_NL || TYPE_2 == IQ4_XS || TYPE_2 == MXFP4;
const uint N_TYPES = TYPE_2 == NO_TYPE ? 1 : 2, N_TABLES = (IS_OF_TABLE ? 1 : 0) + (IS_2_OF_TABLE ? 1 : 0);
const bool HAS_TABLE = N_TABLES > 0, HAS_PLAIN = N_TABLES < N_TYPES; // types with and without
const uint TABLE_TYPE = IS_OF_TABLE ? TYPE : TYPE_2;
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

// ---- types with a table of 16 values -----------------------------------------------------------

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

// Values of two nibbles, a byte: the low one's in the first byte, the high one's in the second. Large workgroups have a table
// for each of 32 banks, so that no look-up waits for another one; in small ones to fill them takes longer than they save.
const uint N_COPIES = THREADS >= 512 ? 32 : 1;
shared uint s_pairs[HAS_TABLE ? 256 * N_COPIES : 1];

// Before the first look-up; a barrier() must lie between.
void table_fill()
{
    if (!HAS_TABLE)
        return;
    const uint pair = thread() % 256;
    const uint values = uint(code_value(pair & 15) & 255) | uint(code_value(pair >> 4) & 255) << 8;
    // Neighbours begin with different copies: so they meet in no bank.
    [[unroll]] for (uint i = 0; i < N_COPIES; i += THREADS / 256) {
        const uint copy = i + thread() / 256;
        if (copy < N_COPIES)
            s_pairs[pair * N_COPIES + (pair + copy) % N_COPIES] = values;
    }
}

uint look_up(uint pair)
{
    return s_pairs[pair * N_COPIES + gl_SubgroupInvocationID % N_COPIES];
}

// ---- 32 columns of a row -----------------------------------------------------------------------

// As they lie in memory. Of the types' planes: the words of vectors 0 to 3 (Q2_K and Q3_K: 0 and 1; Q8_0: also 4 to 7), then
// the row's words of those with two bits or one. Of the scales: d and m, and words with bytes of four rows, of which the
// row's is `row % 4`.
struct Codes {
    uvec4 a, a2;
    uint b, c;
    f16vec2 d;
    uvec2 bytes;
};

void load_scales(uint type, uint64_t group, uint block, uint row, inout Codes c)
{
    const uint record = N_BLOCKS * code_bytes(type) + block / scale_blocks(type) * scale_bytes(type);
    const uint b = block % scale_blocks(type);
    Halves halves = Halves(group + uint64_t(record + 2 * row));
    Words bytes = Words(group + uint64_t(record + row / 4 * 4));
    if (type != MXFP4)
        c.d.x = halves.v[0];
    if (has_min(type))
        c.d.y = halves.v[16];
    if (type == MXFP4)
        c.bytes.x = bytes.v[0];
    if (type == IQ4_XS)
        c.bytes.x = bytes.v[8 + 4 * b];
    if (type == Q6_K || type == Q3_K)
        c.bytes = uvec2(bytes.v[8 + 8 * b], bytes.v[12 + 8 * b]);
    if (type == Q2_K)
        c.bytes = uvec2(bytes.v[16 + 8 * b], bytes.v[20 + 8 * b]);
    if (type == Q4_K || type == Q5_K)
        c.bytes = uvec2(bytes.v[16 + 4 * b], bytes.v[48 + 4 * b]);
}

Codes load_codes(uint type, uint64_t group, uint block, uint row)
{
    const uint at = block * code_bytes(type);
    Words w = Words(group + uint64_t(at + 4 * row));
    Codes c = Codes(uvec4(0), uvec4(0), 0, 0, f16vec2(0), uvec2(0));
    if (type == Q2_K || type == Q3_K) {
        c.a.xy = Vec2s(group + uint64_t(at + 8 * row)).v[0];
    } else if (type == Q8_0) {
        c.a = Vec4s(group + uint64_t(at + 32 * row)).v[0];
        c.a2 = Vec4s(group + uint64_t(at + 32 * row)).v[1];
    } else {
        c.a = Vec4s(group + uint64_t(at + 16 * row)).v[0];
    }
    if (type == Q3_K)
        c.b = w.v[32];
    if (type == Q5_0 || type == Q5_1 || type == Q5_K || type == Q6_K)
        c.b = w.v[64];
    if (type == Q6_K)
        c.c = w.v[80];
    load_scales(type, group, block, row, c);
    return c;
}

// Bits b of four bytes to bit `to` of each.
uint bits_at(uint w, uint b, uint mask, uint to)
{
    return (w >> b & mask) << to;
}

// Four codes of quad `part` and of quad `part + 4`, part < 4, of a type without a table. a, a2: words `part` of c.
uvec2 codes_of(uint type, const Codes c, uint a, uint a2, uint part)
{
    const uint PAIR = 0x03030303u, BIT = 0x01010101u;
    if (type == Q8_0)
        return uvec2(a, a2);
    if (type == Q2_K || type == Q3_K) {
        const uvec2 q = uvec2(bits_at(c.a.x, 2 * part, PAIR, 0), bits_at(c.a.y, 2 * part, PAIR, 0));
        return type == Q2_K ? q : q | uvec2(bits_at(c.b, part, BIT, 2), bits_at(c.b, part + 4, BIT, 2));
    }
    uvec2 q = uvec2(a & 0x0f0f0f0f, a >> 4 & 0x0f0f0f0f);
    if (type == Q5_0 || type == Q5_1 || type == Q5_K)
        q |= uvec2(bits_at(c.b, part, BIT, 4), bits_at(c.b, part + 4, BIT, 4));
    if (type == Q6_K)
        q |= uvec2(bits_at(c.b, 2 * part, PAIR, 4), bits_at(c.c, 2 * part, PAIR, 4));
    return q;
}

vec4 signed_bytes(uint w)
{
    return vec4(bitfieldExtract(int(w), 0, 8), bitfieldExtract(int(w), 8, 8),
                bitfieldExtract(int(w), 16, 8), bitfieldExtract(int(w), 24, 8));
}

vec4 nibble_values(uint w)
{
    return vec4(code_value(w & 15), code_value(w >> 8 & 15), code_value(w >> 16 & 15), code_value(w >> 24 & 15));
}

// Their values without scale and minimum, of any integer type.
void values_of(uint type, const Codes c, uint a, uint a2, uint part, out vec4 low, out vec4 high)
{
    if (has_table(type)) {
        low = nibble_values(a);
        high = nibble_values(a >> 4);
        return;
    }
    const uvec2 q = codes_of(type, c, a, a2, part);
    low = signed_bytes(q.x) - float(offset_of(type));
    high = signed_bytes(q.y) - float(offset_of(type));
}

// 2^(e - 128), the values being doubled.
float exponent(uint e)
{
    return uintBitsToFloat(e >= 2 ? e - 1 << 23 : 0x00200000 << e);
}

// What the sums of columns 0 to 15 and 16 to 31 are multiplied with, and the sums of their activations.
struct Factors {
    float low, high, min_low, min_high;
};

Factors factors_of(uint type, const Codes c, uint row)
{
    const int bit = int(8 * (row % 4));
    const float d = float(c.d.x);
    Factors f = Factors(d, d, 0, 0);
    if (type == MXFP4)
        f.low = f.high = exponent(bitfieldExtract(c.bytes.x, bit, 8));
    if (type == Q4_1 || type == Q5_1)
        f.min_low = f.min_high = float(c.d.y);
    if (type == IQ4_XS)
        f.low = f.high = d * bitfieldExtract(int(c.bytes.x), bit, 8);
    if (type == Q6_K || type == Q3_K) {
        f.low = d * bitfieldExtract(int(c.bytes.x), bit, 8);
        f.high = d * bitfieldExtract(int(c.bytes.y), bit, 8);
    }
    if (type == Q4_K || type == Q5_K) {
        f.low = f.high = d * bitfieldExtract(int(c.bytes.x), bit, 8);
        f.min_low = f.min_high = -float(c.d.y) * bitfieldExtract(int(c.bytes.y), bit, 8);
    }
    if (type == Q2_K) {
        const float m = -float(c.d.y);
        f.low = d * bitfieldExtract(c.bytes.x, bit, 4);
        f.high = d * bitfieldExtract(c.bytes.y, bit, 4);
        f.min_low = m * bitfieldExtract(c.bytes.x, bit + 4, 4);
        f.min_high = m * bitfieldExtract(c.bytes.y, bit + 4, 4);
    }
    return f;
}

// ---- a column of four rows, of float types -----------------------------------------------------

// Four halves.
vec4 halves(uvec2 w)
{
    return vec4(unpackHalf2x16(w.x), unpackHalf2x16(w.y));
}

// Rows 4 * rows and on.
vec4 load_column(uint type, uint64_t group, uint col, uint rows)
{
    if (type == F32)
        return uintBitsToFloat(Vec4s(group).v[col * 4 + rows]);
    const uvec2 w = Vec2s(group).v[col * 4 + rows];
    if (type == F16)
        return halves(w);
    return uintBitsToFloat(uvec4(w.x << 16, w.x & 0xffff0000, w.y << 16, w.y & 0xffff0000));
}
