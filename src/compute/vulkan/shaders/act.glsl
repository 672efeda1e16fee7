// Activation rows to shared memory, in the form that the matrix wants: 32 columns as 8-bit codes
// with a scale, x = d q, d = max|x| / 127, or floats.

// Four columns of one row by each thread; eight threads share a block. All threads of those eight
// must call.
void act_store(uint row_word, uint col, vec4 x)
{
    if (IS_FLOAT) {
        [[unroll]] for (uint i = 0; i < 4; i++)
            s_act[row_word + col + i] = floatBitsToUint(x[i]);
        return;
    }
    const vec4 a = abs(x);
    float most = max(max(a.x, a.y), max(a.z, a.w));
    most = max(most, subgroupShuffleXor(most, 1));
    most = max(most, subgroupShuffleXor(most, 2));
    most = max(most, subgroupShuffleXor(most, 4));
    const float d = most / 127;
    const float inverse = most > 0 ? 127 / most : 0;
    const ivec4 q = ivec4(roundEven(x * inverse)) & 255;
    s_act[row_word + col / 4] = uint(q.x | q.y << 8 | q.z << 16 | q.w << 24);
    if (col % 32 == 0)
        s_act[row_word + N_BLOCKS * 8 + col / 32] = floatBitsToUint(d);
}

// Whole rows of N_COLS columns: row t from in + rows[t] * N_COLS on.
void act_rows(Float4s in_rows, uint row, uint row_word)
{
    for (uint col = thread() * 4; col < N_COLS; col += THREADS * 4)
        act_store(row_word, col, in_rows.v[(row * N_COLS + col) / 4]);
}

// The same, times norm / sqrt(mean square + eps); returns that root's inverse.
float act_normed(Float4s in_rows, Float4s norm, float eps, uint row, uint row_word)
{
    float squares = 0;
    for (uint col = thread() * 4; col < N_COLS; col += THREADS * 4) {
        const vec4 x = in_rows.v[(row * N_COLS + col) / 4];
        squares += dot(x, x);
    }
    const float scale = inversesqrt(workgroup_sum(squares) / N_COLS + eps);
    for (uint col = thread() * 4; col < N_COLS; col += THREADS * 4)
        act_store(row_word, col, in_rows.v[(row * N_COLS + col) / 4] * scale * norm.v[col / 4]);
    return scale;
}
