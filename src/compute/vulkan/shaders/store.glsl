// Writing a row of a cache (cache.glsl). The includer defines SOURCE(i), element i of the row in shared memory. What is
// quantised comes back to it as the cache has it. Eight threads of a subgroup have a block of 32, four elements each.

float block_sum(float x)
{
    [[unroll]] for (uint i = 1; i < 8; i *= 2)
        x += subgroupShuffleXor(x, i);
    return x;
}

// The block's element of the largest magnitude, the first of several.
float block_peak(vec4 x)
{
    float top = x[0];
    [[unroll]] for (uint i = 1; i < 4; i++)
        top = abs(x[i]) > abs(top) ? x[i] : top;
    [[unroll]] for (uint i = 1; i < 8; i *= 2) {
        const float other = subgroupShuffleXor(top, i);
        const bool is_before = (gl_SubgroupInvocationID & i) != 0;
        top = abs(other) > abs(top) || is_before && abs(other) == abs(top) ? other : top;
    }
    return top;
}

// The scale of 4-bit codes with the least squared error, as block_encode_q4_0 of src/gguf looks for
// it: what the largest value is scaled to is varied. reach: 1 / that value.
float fit_scale(vec4 x, float reach)
{
    const float peaks[10] = float[](-6.7, -7.2, -7.6, -8.0, -8.4, -8.8, 6.2, 6.7, 7.2, 7.6);
    float best = 0, best_gain = 0;
    [[unroll]] for (uint k = 0; k < 10; k++) {
        const vec4 v = roundEven(clamp(x * (peaks[k] * reach), -8.0, 7.0));
        const float xv = block_sum(dot(x, v)), vv = block_sum(dot(v, v));
        if (xv * xv > best_gain * vv) {
            best_gain = xv * xv / vv;
            best = xv / vv;
        }
    }
    return best;
}

float block_scale(uint type, vec4 x)
{
    const float peak = block_peak(x);
    if (type == CACHE_Q8_0)
        return abs(peak) / 127;
    return peak != 0 ? fit_scale(x, 1 / peak) : 0;
}

// Quad i of the row's codes: a word of Q8_0, half of one of Q4_0.
void store_codes(uint type, uint64_t row, uint i, ivec4 codes)
{
    const uvec4 c = uvec4(codes + (type == CACHE_Q8_0 ? ZERO_Q8_0 : ZERO_Q4_0));
    if (type == CACHE_Q8_0) {
        WordsOut(row).v[i] = c[0] | c[2] << 8 | c[1] << 16 | c[3] << 24;
        return;
    }
    const uint own = (c[0] | c[2] << 4 | c[1] << 16 | c[3] << 20) << 8 * (i % 2);
    const uint word = own | subgroupShuffleXor(own, 1);
    if (i % 2 == 0)
        WordsOut(row).v[i / 2] = word;
}

void store_quad(uint type, uint64_t row, uint n, uint i, bool stores)
{
    const vec4 x = vec4(SOURCE(4 * i), SOURCE(4 * i + 1), SOURCE(4 * i + 2), SOURCE(4 * i + 3));
    const float16_t scale = float16_t(block_scale(type, x));
    const float d = float(scale), inverse = d != 0 ? 1 / d : 0;
    const bool is_q8 = type == CACHE_Q8_0;
    const ivec4 codes = ivec4(roundEven(clamp(x * inverse, is_q8 ? -127.0 : -8.0, is_q8 ? 127.0 : 7.0)));
    [[unroll]] for (uint k = 0; k < 4; k++)
        SOURCE(4 * i + k) = d * codes[k];
    if (!stores)
        return;
    store_codes(type, row, i, codes);
    if (i % 8 == 0)
        HalvesOut(row + cache_element_bytes(type, n)).v[i / 8] = scale;
}

// n elements to `row`, by n_threads threads, of which number t is one. stores: false: they are only rounded.
void store_row(uint type, uint64_t row, uint n, uint t, uint n_threads, bool stores)
{
    if (cache_is_coded(type))
        for (uint i = t; i < n / 4; i += n_threads)
            store_quad(type, row, n, i, stores);
    else if (stores && type == CACHE_F32)
        for (uint i = t; i < n; i += n_threads)
            FloatsOut(row).v[i] = SOURCE(i);
    else if (stores)
        for (uint i = t; i < n / 2; i += n_threads)
            WordsOut(row).v[i] = packHalf2x16(vec2(SOURCE(2 * i), SOURCE(2 * i + 1)));
}
