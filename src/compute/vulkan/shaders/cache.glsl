// Rows of a key or value cache: elements of one position of one head, side by side. Types: 0 F32, 1 F16, 2 Q8_0 and
// 3 Q4_0 (codes from 0, then a half per 32). The codes of two neighbours lie 16 bits apart in a word, so that a mask leaves
// them where two halves have their lowest bits: bytes of elements 0, 2, 1, 3, nibbles of elements 0, 2, 4, 6, 1, 3, 5, 7.

const uint CACHE_F32 = 0, CACHE_F16 = 1, CACHE_Q8_0 = 2, CACHE_Q4_0 = 3;
const int ZERO_Q8_0 = 128, ZERO_Q4_0 = 8; // the code of 0

// ---- where rows are ----------------------------------------------------------------------------

// A cache is [page][head] rows of positions. What keeps all positions has pages of PAGE positions, and a table of them,
// [sequence][PAGES]. A ring is one page for each sequence, of n_cache positions, which go round in it.
layout(constant_id = 21) const uint PAGE = 0; // 0: a ring
layout(constant_id = 22) const uint PAGES = 0;
const uint PAGE_ROWS = PAGE != 0 ? PAGE : 1;

// The cache of an op: one head of n_heads.
struct Cache {
    Words table;
    uint n_cache, n_heads, head, sequence;
};

uint cache_page(const Cache c, uint pos)
{
    return PAGE != 0 ? c.table.v[c.sequence * PAGES + pos / PAGE_ROWS] : c.sequence;
}

// The first row of a page.
uint cache_first(const Cache c, uint page)
{
    return (page * c.n_heads + c.head) * (PAGE != 0 ? PAGE : c.n_cache);
}

uint cache_offset(const Cache c, uint pos)
{
    return PAGE != 0 ? pos % PAGE_ROWS : pos % c.n_cache;
}

uint cache_row(const Cache c, uint pos)
{
    return cache_first(c, cache_page(c, pos)) + cache_offset(c, pos);
}

// Rows of a tile, which is no longer than a page: n of them from `row` on, the others from `next` on. Those of an
// aligned tile lie within one page: it begins at a multiple of its length, and is of no ring.
struct Tile {
    uint row, next, n;
};

// Of positions first to last.
Tile cache_tile(const Cache c, uint first, uint last, bool is_aligned)
{
    Tile t;
    const uint offset = cache_offset(c, first);
    t.row = cache_first(c, cache_page(c, first)) + offset;
    t.next = is_aligned ? 0 : cache_first(c, cache_page(c, last));
    t.n = (PAGE != 0 ? PAGE : c.n_cache) - offset;
    return t;
}

// ---- rows --------------------------------------------------------------------------------------

bool cache_is_coded(uint type)
{
    return type == CACHE_Q8_0 || type == CACHE_Q4_0;
}

// Bytes of n elements; scales are behind them.
uint cache_element_bytes(uint type, uint n)
{
    return type == CACHE_F32 ? 4 * n : type == CACHE_F16 ? 2 * n : type == CACHE_Q8_0 ? n : n / 2;
}

// Bytes of a row, a multiple of 16.
uint cache_row_bytes(uint type, uint n)
{
    return cache_element_bytes(type, n) + (cache_is_coded(type) ? n / 16 : 0) + 15 & ~15u;
}

// Where position i of a tile is, of the rows of n elements from address `at` on.
uint64_t cache_at(const Tile t, uint64_t at, uint type, uint n, uint i, bool is_aligned)
{
    const uint row_bytes = cache_row_bytes(type, n);
    if (is_aligned)
        return at + uint64_t(t.row) * row_bytes + i * row_bytes;
    return at + uint64_t(i < t.n ? t.row + i : t.next + i - t.n) * row_bytes;
}

// Elements as they lie in a row; scale: of quantised ones.
struct Eight {
    uvec4 a, b;
    float16_t scale;
};
struct Piece { // 16 bytes of them
    uvec4 a;
    float16_t scale;
};

// Of the block of element i of a row of n.
float16_t cache_scale(uint type, uint64_t row, uint n, uint i)
{
    return cache_is_coded(type) ? Halves(row + cache_element_bytes(type, n)).v[i / 32] : float16_t(1);
}

// Elements 8 i to 8 i + 7 of a row of n.
Eight cache_load(uint type, uint64_t row, uint n, uint i)
{
    Eight e;
    e.a = e.b = uvec4(0);
    e.scale = cache_scale(type, row, n, 8 * i);
    if (type == CACHE_F32) {
        e.a = Vec4s(row).v[2 * i];
        e.b = Vec4s(row).v[2 * i + 1];
    } else if (type == CACHE_F16) {
        e.a = Vec4s(row).v[i];
    } else if (type == CACHE_Q8_0) {
        e.a.xy = Vec2s(row).v[i];
    } else {
        e.a.x = Words(row).v[i];
    }
    return e;
}

// Elements of a piece, of no floats. A macro, so that it is a constant where the type is.
#define CACHE_PIECE(type) ((type) == CACHE_Q4_0 ? 32u : (type) == CACHE_Q8_0 ? 16u : 8u)

// Piece i of a row of n.
Piece cache_load_piece(uint type, uint64_t row, uint n, uint i)
{
    return Piece(Vec4s(row).v[i], cache_scale(type, row, n, CACHE_PIECE(type) * i));
}

// Eight i of a piece.
Eight cache_eight(uint type, const Piece p, uint i)
{
    const uvec4 a = type == CACHE_F16    ? p.a
                    : type == CACHE_Q8_0 ? uvec4(p.a[2 * i % 4], p.a[(2 * i + 1) % 4], 0, 0)
                                         : uvec4(p.a[i % 4], 0, 0, 0);
    return Eight(a, uvec4(0), p.scale);
}

// Pair k of the eight without its scale. With the exponent of 1024 the code is a half's last bits.
f16vec2 cache_codes(uint type, const Eight e, uint k)
{
    const bool is_q8 = type == CACHE_Q8_0;
    const uint codes = is_q8 ? e.a[k / 2] >> 8 * (k % 2) & 0x00ff00ff : e.a.x >> 4 * k & 0x000f000f;
    return unpackFloat2x16(codes | 0x64006400) - float16_t(1024 + (is_q8 ? ZERO_Q8_0 : ZERO_Q4_0));
}

// Pair k of the eight.
vec2 cache_pair(uint type, const Eight e, uint k)
{
    if (type == CACHE_F32)
        return uintBitsToFloat(k < 2 ? uvec2(e.a[2 * k], e.a[2 * k + 1])
                                     : uvec2(e.b[2 * k - 4], e.b[2 * k - 3]));
    if (type == CACHE_F16)
        return unpackHalf2x16(e.a[k]);
    return float(e.scale) * vec2(cache_codes(type, e, k));
}

f16vec2 cache_halves(uint type, const Eight e, uint k)
{
    if (type == CACHE_F32)
        return f16vec2(cache_pair(type, e, k));
    return type == CACHE_F16 ? unpackFloat2x16(e.a[k]) : e.scale * cache_codes(type, e, k);
}

// All of the eight, in halves.
uvec4 cache_packed(uint type, const Eight e)
{
    return uvec4(packFloat2x16(cache_halves(type, e, 0)), packFloat2x16(cache_halves(type, e, 1)),
                 packFloat2x16(cache_halves(type, e, 2)), packFloat2x16(cache_halves(type, e, 3)));
}
