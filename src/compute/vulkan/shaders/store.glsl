// Writing a row of a cache (cache.glsl). The includer defines SOURCE(i), element i of the row in
// shared memory.

// The scale of 4-bit codes with the least squared error, as block_encode_q4_0 of src/gguf looks for
// it: what the largest value is scaled to is varied. reach: 1 / that value.
float fit_scale(uint first, float reach)
{
    const float peaks[10] = float[](-6.7, -7.2, -7.6, -8.0, -8.4, -8.8, 6.2, 6.7, 7.2, 7.6);
    float best = 0, best_gain = 0;
    for (uint k = 0; k < 10; k++) {
        float xv = 0, vv = 0;
        for (uint i = 0; i < 32; i++) {
            const float x = SOURCE(first + i);
            const float v = roundEven(clamp(x * (peaks[k] * reach), -8.0, 7.0));
            xv += x * v;
            vv += v * v;
        }
        if (xv * xv > best_gain * vv) {
            best_gain = xv * xv / vv;
            best = xv / vv;
        }
    }
    return best;
}

// One thread per block of 32: few of them, once per row.
void store_block(uint type, uint64_t row, uint n, uint block)
{
    const uint first = block * 32;
    float top = 0;
    for (uint i = 0; i < 32; i++)
        top = abs(SOURCE(first + i)) > abs(top) ? SOURCE(first + i) : top;
    float d = abs(top) / 127;
    if (type == CACHE_Q4_0)
        d = top != 0 ? fit_scale(first, 1 / top) : 0;
    d = float(float16_t(d));
    const float inverse = d != 0 ? 1 / d : 0;
    const uint bits = type == CACHE_Q8_0 ? 8 : 4, per = 32 / bits;
    for (uint w = 0; w < 32 / per; w++) {
        uint word = 0;
        for (uint i = 0; i < per; i++) {
            const float x = SOURCE(first + w * per + i) * inverse;
            const int code = type == CACHE_Q8_0 ? int(clamp(roundEven(x), -127.0, 127.0)) & 255
                                                : int(roundEven(clamp(x, -8.0, 7.0))) + 8;
            word |= uint(code) << i * bits;
        }
        WordsOut(row).v[block * (32 / per) + w] = word;
    }
    HalvesOut(row + n * bits / 8).v[block] = float16_t(d);
}

void store_row(uint type, uint64_t row, uint n)
{
    const uint t = thread();
    if (type == CACHE_F32)
        for (uint i = t; i < n; i += THREADS)
            FloatsOut(row).v[i] = SOURCE(i);
    else if (type == CACHE_F16)
        for (uint i = t; i < n / 2; i += THREADS)
            WordsOut(row).v[i] = packHalf2x16(vec2(SOURCE(2 * i), SOURCE(2 * i + 1)));
    else
        for (uint i = t; i < n / 32; i += THREADS)
            store_block(type, row, n, i);
}
