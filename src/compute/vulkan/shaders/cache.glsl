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
