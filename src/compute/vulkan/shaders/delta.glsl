// What the shaders of OP_DELTA_NET share: its sizes, its convolution, its gated norm.

layout(constant_id = 0) const uint D_K = 128;
layout(constant_id = 1) const uint D_V = 128;
layout(constant_id = 2) const uint N_K_HEADS = 16;
layout(constant_id = 3) const uint N_V_HEADS = 32;
layout(constant_id = 4) const uint N_CONV = 4;
layout(constant_id = 5) const uint IS_TILED = 0; // enum head_order of src/model/plan.h
layout(constant_id = 7) const uint HAS_PAIRS = 0; // beta and alpha in one slot, see delta_gates_width there

// Channels of qkv: [N_K_HEADS][D_K] queries, as many keys, [N_V_HEADS][D_V] values.
const uint CHANNELS = 2 * N_K_HEADS * D_K + N_V_HEADS * D_V;

const uint N_EACH = N_V_HEADS / N_K_HEADS; // value heads of a key head

// Where beta and alpha of a row's head stand.
uint beta_at(uint row, uint head)
{
    return HAS_PAIRS != 0 ? row * 2 * N_V_HEADS + head + head / N_EACH * N_EACH : row * N_V_HEADS + head;
}
uint alpha_at(uint row, uint head)
{
    return beta_at(row, head) + (HAS_PAIRS != 0 ? N_EACH : 0);
}

// Of the memory, [sequence][2][N_V_HEADS]..: where a head stands behind n tokens. A step reads one half and writes the
// other, so one that was begun and is not wanted has lost only what stood before the last token.
uint head_of_memory(uint seq, uint n, uint head)
{
    return (seq * 2 + n % 2) * N_V_HEADS + head;
}

float sigmoid(float x)
{
    return 1 / (1 + exp(-x));
}

// The row of the batch that has the position before that of `row` in its sequence; -1: none has.
int row_before(Words seq, int row)
{
    const uint mine = seq.v[row];
    do
        row--;
    while (row >= 0 && seq.v[row] != mine);
    return row;
}

// Where the newest N_CONV inputs of a row are: a row of the batch, or, those from before it, of the history, with a bit.
// The history is [N_CONV][CHANNELS] of the sequence: the input of position p in row p modulo N_CONV.
const uint IN_HISTORY = 0x80000000, NOWHERE = 0xffffffff;

void find_inputs(Words seq, uint pos, uint row, out uint at[N_CONV])
{
    int in_batch = int(row);
    [[unroll]] for (uint i = 0; i < N_CONV; i++) {
        const uint old = seq.v[row] * N_CONV + (pos + N_CONV - i) % N_CONV;
        at[i] = i > pos ? NOWHERE : in_batch >= 0 ? uint(in_batch) : IN_HISTORY | old;
        if (i + 1 < N_CONV && in_batch >= 0)
            in_batch = row_before(seq, in_batch);
    }
}

// Taps times these inputs, of channel c or of the four from 4 c on.
#define CONVOLVED(NAME, TYPE, FLOATS, FLOATS_OUT, WIDTH)                                        \
    TYPE NAME(FLOATS qkv, FLOATS taps, FLOATS_OUT history, const uint at[N_CONV], uint c)       \
    {                                                                                           \
        TYPE sum = TYPE(0), x[N_CONV];                                                          \
        [[unroll]] for (uint i = 0; i < N_CONV; i++) {                                          \
            const uint k = (at[i] & ~IN_HISTORY) * (CHANNELS / WIDTH) + c;                      \
            x[i] = TYPE(0);                                                                     \
            if (at[i] != NOWHERE)                                                               \
                x[i] = (at[i] & IN_HISTORY) != 0 ? history.v[k] : qkv.v[k];                     \
        }                                                                                       \
        [[unroll]] for (uint i = N_CONV; i > 0; i--)                                            \
            sum += taps.v[(N_CONV - i) * (CHANNELS / WIDTH) + c] * x[i - 1];                    \
        return sum / (1 + exp(-sum));                                                           \
    }
CONVOLVED(convolved, float, Floats, FloatsOut, 1)
CONVOLVED(convolved_quad, vec4, Float4s, Float4sOut, 4)

// to = rms(to) * norm * silu(z) for a head of a row, both at `at`, in two parts: the squares of every `stride`-th element
// from `first` on; these elements, once all squares are added up.
float squares_of(SharedFloats to, uint at, uint first, uint stride)
{
    float squares = 0;
    for (uint i = first; i < D_V; i += stride)
        squares += to.v[at + i] * to.v[at + i];
    return squares;
}

void gated_norm(SharedFloats to, Floats z, Floats norm, float eps, float squares, uint at, uint first, uint stride)
{
    const float root = inversesqrt(squares / D_V + eps);
    for (uint i = first; i < D_V; i += stride) {
        const float gate = z.v[at + i];
        to.v[at + i] *= root * norm.v[i] * gate * sigmoid(gate);
    }
}
