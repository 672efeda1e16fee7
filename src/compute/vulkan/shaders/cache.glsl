// Rows of a key or value cache: elements of one position of one head, side by side. Types: 0 F32,
// 1 F16, 2 Q8_0 (codes, then a half per 32), 3 Q4_0 (nibbles in rising order, then a half per 32).

const uint CACHE_F32 = 0, CACHE_F16 = 1, CACHE_Q8_0 = 2, CACHE_Q4_0 = 3;

// Bytes of a row, a multiple of 16.
uint cache_row_bytes(uint type, uint n)
{
    const uint bytes = type == CACHE_F32   ? 4 * n
                       : type == CACHE_F16 ? 2 * n
                       : type == CACHE_Q8_0 ? n + n / 16
                                            : n / 2 + n / 16;
    return bytes + 15 & ~15u;
}

float cache_scale(uint64_t row, uint at, uint i)
{
    const uint w = Words(row).v[(at + i / 32 * 2) / 4];
    return unpackHalf2x16(i / 32 % 2 == 0 ? w & 0xffff : w >> 16).x;
}

// Elements i, i + 1 (i even) of a row of n.
vec2 cache_pair(uint type, uint64_t row, uint n, uint i)
{
    if (type == CACHE_F32)
        return uintBitsToFloat(Vec2s(row).v[i / 2]);
    if (type == CACHE_F16)
        return unpackHalf2x16(Words(row).v[i / 2]);
    if (type == CACHE_Q8_0) {
        const int w = int(Words(row).v[i / 4] >> 8 * (i % 4));
        return cache_scale(row, n, i) * vec2(bitfieldExtract(w, 0, 8), bitfieldExtract(w, 8, 8));
    }
    const uint w = Words(row).v[i / 8] >> 4 * (i % 8);
    return cache_scale(row, n / 2, i) * (vec2(w & 15, w >> 4 & 15) - 8);
}
