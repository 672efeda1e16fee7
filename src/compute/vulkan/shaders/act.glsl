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
    const float inverse = most > 1e-36 ? 127 / most : 0; // below it overflows
    const ivec4 q = ivec4(roundEven(x * inverse)) & 255;
    s_act[row_word + col / 4] = uint(q.x | q.y << 8 | q.z << 16 | q.w << 24);
    if (col % 32 == 0)
        s_act[row_word + ROW_BLOCKS * 8 + col / 32] = floatBitsToUint(d);
}

// Loads under way at once: ACT_BATCH times four columns of each thread.
const uint ACT_BATCH = 8;
const uint ACT_STEPS = (ROW_COLS / 4 + THREADS - 1) / THREADS;
const uint ACT_VECS = ROW_COLS / 4;

void act_load(Float4s from, uint row, uint first, out vec4 x[ACT_BATCH])
{
    [[unroll]] for (uint i = 0; i < ACT_BATCH; i++)
        if (i < ACT_STEPS)
            x[i] = from.v[row * ACT_VECS + min(thread() + (first + i) * THREADS, ACT_VECS - 1)];
}

// Row `row` of from as it is, to row n of the workgroup's.
void act_row(Float4s from, uint row, uint n)
{
    for (uint first = 0; first < ACT_STEPS; first += ACT_BATCH) {
        vec4 x[ACT_BATCH];
        act_load(from, row, first, x);
        [[unroll]] for (uint i = 0; i < ACT_BATCH; i++) {
            const uint at = thread() + (first + i) * THREADS;
            if (at < ACT_VECS)
                act_store(n * ROW_WORDS, at * 4, x[i]);
        }
    }
}

// The same, times norm. What is still to be multiplied with is row_root: it needs the whole row, and nothing waits for
// it but the results.
shared float s_squares[N_TOKENS * SUBGROUPS];

void act_normed(Float4s from, Float4s norm, uint row, uint n)
{
    float squares = 0;
    for (uint first = 0; first < ACT_STEPS; first += ACT_BATCH) {
        vec4 x[ACT_BATCH], w[ACT_BATCH];
        act_load(from, row, first, x);
        act_load(norm, 0, first, w);
        [[unroll]] for (uint i = 0; i < ACT_BATCH; i++) {
            const uint at = thread() + (first + i) * THREADS;
            if (at < ACT_VECS) {
                squares += dot(x[i], x[i]);
                act_store(n * ROW_WORDS, at * 4, x[i] * w[i]);
            }
        }
    }
    squares = subgroupAdd(squares);
    if (gl_SubgroupInvocationID == 0)
        s_squares[n * SUBGROUPS + gl_SubgroupID] = squares;
}

// 1 / sqrt(mean square + eps) of row n of the workgroup's; a barrier() must lie between.
float row_root(uint n, float eps)
{
    float squares = 0;
    [[unroll]] for (uint i = 0; i < n_subgroups(); i++)
        squares += s_squares[n * SUBGROUPS + i];
    return inversesqrt(squares / N_COLS + eps);
}
