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
    // Neighbours begin with different copies: so they meet in no bank. The last threads may write a copy again.
    [[unroll]] for (uint i = 0; i < N_COPIES; i += THREADS / 256) {
        const uint copy = i + thread() / 256;
        s_pairs[pair * N_COPIES + (pair + copy) % N_COPIES] = values;
    }
}

uint look_up(uint pair)
{
    return s_pairs[pair * N_COPIES + gl_SubgroupInvocationID % N_COPIES];
}

// ---- 32 columns of a row -----------------------------------------------------------------------

// As they lie in memory. Of the types' planes: the words of vectors 0 to 3 (Q2_K and Q3_K: 0 and 1; Q8_0: also 4 to 7), then
// those with two bits or one. Of the scales: d and m, and a word with two bytes of two rows or one of four, of which the row's
// are number `row % 2` or `row % 4`: to load 16 bits alone takes NVIDIA longer.
struct Codes {
    uvec4 a, a2;
    uint b, c;
    f16vec2 d;
    uint bytes;
};

void load_scales(uint type, uint64_t group, uint block, uint row, inout Codes c)
{
    const uint record = N_BLOCKS * code_bytes(type) + block / scale_blocks(type) * scale_bytes(type);
    const uint bytes = record + (has_min(type) ? 64 : type == MXFP4 ? 0 : 32), b = block % scale_blocks(type);
    if (has_min(type))
        c.d = unpackFloat2x16(Words(group + uint64_t(record + 4 * row)).v[0]);
    else if (type != MXFP4)
        c.d.x = Halves(group + uint64_t(record + 2 * row)).v[0];
    if (type == MXFP4 || type == IQ4_XS)
        c.bytes = Words(group + uint64_t(bytes + 16 * b + row / 4 * 4)).v[0];
    else if (scale_blocks(type) != 1)
        c.bytes = Words(group + uint64_t(bytes + 32 * b + row / 2 * 4)).v[0];
}

Codes load_codes(uint type, uint64_t group, uint block, uint row)
{
    const uint at = block * code_bytes(type);
    Codes c = Codes(uvec4(0), uvec4(0), 0, 0, f16vec2(0), 0);
    if (type == Q2_K || type == Q3_K) {
        c.a.xy = Vec2s(group + uint64_t(at + 8 * row)).v[0];
    } else if (type == Q8_0) {
        c.a = Vec4s(group + uint64_t(at + 32 * row)).v[0];
        c.a2 = Vec4s(group + uint64_t(at + 32 * row)).v[1];
    } else {
        c.a = Vec4s(group + uint64_t(at + 16 * row)).v[0];
    }
    if (type == Q3_K)
        c.b = Words(group + uint64_t(at + 128 + 4 * row)).v[0];
    if (type == Q5_0 || type == Q5_1 || type == Q5_K)
        c.b = Words(group + uint64_t(at + 256 + 4 * row)).v[0];
    if (type == Q6_K) {
        const uvec2 both = Vec2s(group + uint64_t(at + 256 + 8 * row)).v[0];
        c.b = both.x;
        c.c = both.y;
    }
    load_scales(type, group, block, row, c);
    return c;
}

// Bits b of four bytes to bit `to` of each.
uint bits_at(uint w, uint b, uint mask, uint to)
{
    return (b >= to ? w >> b - to : w << to - b) & mask << to;
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

int signed_byte(uint w, uint i)
{
    return bitfieldExtract(int(w), int(8 * i), 8);
}

Factors factors_of(uint type, const Codes c, uint row)
{
    const int of_four = signed_byte(c.bytes, row % 4);
    const int first = signed_byte(c.bytes, row % 2 * 2), second = signed_byte(c.bytes, row % 2 * 2 + 1);
    const float d = float(c.d.x), m = -float(c.d.y);
    Factors f = Factors(d, d, 0, 0);
    if (type == MXFP4)
        f.low = f.high = exponent(of_four & 255);
    if (type == Q4_1 || type == Q5_1)
        f.min_low = f.min_high = float(c.d.y);
    if (type == IQ4_XS)
        f.low = f.high = d * of_four;
    if (type == Q6_K || type == Q3_K) {
        f.low = d * first;
        f.high = d * second;
    }
    if (type == Q4_K || type == Q5_K) {
        f.low = f.high = d * first;
        f.min_low = f.min_high = m * second;
    }
    if (type == Q2_K) {
        f.low = d * (first & 15);
        f.high = d * (second & 15);
        f.min_low = m * (first >> 4 & 15);
        f.min_high = m * (second >> 4 & 15);
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
