// Activation rows to shared memory, in the form that the matrix wants: 32 columns as 8-bit codes with a scale,
// x = d q, d = max|x| / 127, or floats.

// Of a type with a table: the thread's four codes and those of the thread whose columns are 16 further or before, which has
// the other one of the two words.
uint look_up_order(uint codes, uint col)
{
    const uint other = subgroupShuffleXor(codes, 4);
    const bool is_far = (col & 16) != 0;
    const uint near = is_far ? other >> 16 : codes, far = is_far ? codes >> 16 : other;
    return near & 255 | (far & 255) << 8 | (near & 0xff00) << 8 | (far & 0xff00) << 16;
}

// Four columns of row n by each thread; eight threads share a block. All threads of those eight
// must call.
void act_store(uint n, uint col, vec4 x)
{
    if (IS_FLOAT) {
        [[unroll]] for (uint i = 0; i < 4; i++)
            s_floats[n * ROW_COLS + col + i] = x[i];
        return;
    }
    const vec4 a = abs(x);
    float most = max(max(a.x, a.y), max(a.z, a.w));
    most = max(most, subgroupShuffleXor(most, 1));
    most = max(most, subgroupShuffleXor(most, 2));
    most = max(most, subgroupShuffleXor(most, 4));
    const float inverse = most > 1e-36 ? 127 / most : 0; // below it overflows
    // Added to 1.5 * 2^23 a number is rounded, to even, and its bytes are the low ones: NVIDIA rounds and converts eight
    // times slower than it adds.
    const uvec4 q = floatBitsToUint(x * inverse + 12582912.0);
    const uint codes = q.x & 255 | (q.y & 255) << 8 | (q.z & 255) << 16 | q.w << 24;
    const uint block = n * ROW_BLOCKS + col / 32, to = 2 * block + col / 16 % 2;
    if (HAS_TABLE)
        s_codes[to][col / 4 % 4] = look_up_order(codes, col);
    if (HAS_PLAIN)
        s_codes[PLAIN_FROM + to][col / 4 % 4] = codes;
    if (col % 32 == 0)
        s_scales[block] = most / 127;
}

// Loads under way at once: ACT_BATCH times four columns of each thread.
const uint ACT_BATCH = 8;
const uint ACT_STEPS = (ROW_COLS / 4 + THREADS - 1) / THREADS;
const uint ACT_VECS = ROW_COLS / 4;

bool act_is_own(uint step)
{
    return ACT_VECS % THREADS == 0 || thread() + step * THREADS < ACT_VECS;
}

// Which four columns are the thread's in a step. Threads that are left over do what others do, eight of them what eight do: a
// branch that not all take would be waited at for whatever is under way (NVIDIA).
uint act_at(uint step)
{
    const uint at = thread() + step * THREADS;
    return act_is_own(step) ? at : IS_FLOAT ? ACT_VECS - 1 : at % 8;
}

void act_load(Float4s from, uint row, uint first, out vec4 x[ACT_BATCH])
{
    [[unroll]] for (uint i = 0; i < ACT_BATCH; i++)
        if (first + i < ACT_STEPS)
            x[i] = from.v[row * ACT_VECS + act_at(first + i)];
}

// A row of activations with its first loads, and those of what it is multiplied with (has_norm), under way. They are asked
// for before the first weights, which come from farther away: what is asked for behind these waits for them.
struct Row {
    Float4s from, norm;
    uint at;
    vec4 x[ACT_BATCH], w[ACT_BATCH];
};

Row act_ahead(Float4s from, Float4s norm, bool has_norm, uint at)
{
    Row row;
    row.from = from;
    row.norm = norm;
    row.at = at;
    act_load(from, at, 0, row.x);
    if (has_norm)
        act_load(norm, 0, 0, row.w);
    return row;
}

// The row as it is, or times norm, to row n of the workgroup's. What is then still to be multiplied with is row_root: it
// needs the whole row, and nothing waits for it but the results.
shared float s_squares[N_TOKENS * SUBGROUPS];

void act_put(Row row, bool has_norm, uint n)
{
    float squares = 0;
    for (uint first = 0; first < ACT_STEPS; first += ACT_BATCH) {
        if (first > 0) {
            act_load(row.from, row.at, first, row.x);
            if (has_norm)
                act_load(row.norm, 0, first, row.w);
        }
        [[unroll]] for (uint i = 0; i < ACT_BATCH; i++)
            if (first + i < ACT_STEPS) {
                if (has_norm)
                    squares += act_is_own(first + i) ? dot(row.x[i], row.x[i]) : 0;
                act_store(n, act_at(first + i) * 4, has_norm ? row.x[i] * row.w[i] : row.x[i]);
            }
    }
    if (!has_norm)
        return;
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
