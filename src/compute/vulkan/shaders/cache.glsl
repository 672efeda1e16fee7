// Rows of a key or value cache: elements of one position of one head, side by side. Types: 0 F32,
// 1 F16, 2 Q8_0 (codes, then a half per 32), 3 Q4_0 (nibbles in rising order, then a half per 32).

const uint CACHE_F32 = 0, CACHE_F16 = 1, CACHE_Q8_0 = 2, CACHE_Q4_0 = 3;

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

// Bytes of a row, a multiple of 16.
uint cache_row_bytes(uint type, uint n)
{
    const uint bytes = type == CACHE_F32   ? 4 * n
                       : type == CACHE_F16 ? 2 * n
                       : type == CACHE_Q8_0 ? n + n / 16
                                            : n / 2 + n / 16;
    return bytes + 15 & ~15u;
}

// Where position i of a tile is, of the rows of n elements from address `at` on.
uint64_t cache_at(const Tile t, uint64_t at, uint type, uint n, uint i, bool is_aligned)
{
    const uint row_bytes = cache_row_bytes(type, n);
    if (is_aligned)
        return at + uint64_t(t.row) * row_bytes + i * row_bytes;
    return at + uint64_t(i < t.n ? t.row + i : t.next + i - t.n) * row_bytes;
}

// Eight elements as they lie in a row; scale: of quantised ones.
struct Eight {
    uvec4 a, b;
    float scale;
};

// Elements 8 i to 8 i + 7 of a row of n.
Eight cache_load(uint type, uint64_t row, uint n, uint i)
{
    Eight e;
    e.a = e.b = uvec4(0);
    e.scale = 1;
    if (type == CACHE_F32) {
        e.a = Vec4s(row).v[2 * i];
        e.b = Vec4s(row).v[2 * i + 1];
    } else if (type == CACHE_F16) {
        e.a = Vec4s(row).v[i];
    } else {
        if (type == CACHE_Q8_0)
            e.a.xy = Vec2s(row).v[i];
        else
            e.a.x = Words(row).v[i];
        const uint scales = type == CACHE_Q8_0 ? n : n / 2, block = i / 4;
        const uint w = Words(row).v[scales / 4 + block / 2];
        e.scale = unpackHalf2x16(block % 2 == 0 ? w & 0xffff : w >> 16).x;
    }
    return e;
}

// Pair k of the eight.
vec2 cache_pair(uint type, const Eight e, uint k)
{
    if (type == CACHE_F32)
        return uintBitsToFloat(k < 2 ? uvec2(e.a[2 * k], e.a[2 * k + 1])
                                     : uvec2(e.b[2 * k - 4], e.b[2 * k - 3]));
    if (type == CACHE_F16)
        return unpackHalf2x16(e.a[k]);
    if (type == CACHE_Q8_0) {
        const int w = int(e.a[k / 2] >> 16 * (k % 2));
        return e.scale * vec2(bitfieldExtract(w, 0, 8), bitfieldExtract(w, 8, 8));
    }
    const uint w = e.a.x >> 8 * k;
    return e.scale * (vec2(w & 15, w >> 4 & 15) - 8);
}
