// Second of four steps of OP_DELTA_NET for many rows: of each chunk, what does not depend on the memory S before it.
// With k, q of length 1 and D_K^-1/2, G the logarithm of the decay since the chunk's begin and
//     A[t][s] = beta_t (k_t . k_s) e^(G_t - G_s) for s < t, else 0
// the rows' news are U - W S, where (I + A) U = beta V and (I + A) W = beta e^G K: forward substitution, a column a thread.
// U takes the place of V in `ready`. What a query has of the chunk's news: mixed[t][s] = (q_t . k_s) e^(G_t - G_s), s <= t.
// Keys and queries in `ready` are not scaled, their lengths are in `factors`. x counts key heads, y chunks.
#version 460
#include "common.glsl"
#include "delta.glsl"
#include "delta_chunk.glsl"

layout(push_constant) uniform Push
{
    Float4s rows;     // [..][CHANNELS] convolved
    uint64_t ready;   // the same
    uint64_t known;   // [..][N_V_HEADS][D_K] W
    FloatsOut mixed;  // [..][N_V_HEADS][CHUNK]
    Float4sOut factors; // [..][N_V_HEADS]
    Floats qkv;         // [..][CHANNELS]
    FloatsOut history;  // [sequence][N_CONV][CHANNELS]
    Floats beta, alpha; // beta_at, alpha_at
    Floats dt_bias, decay; // [N_V_HEADS]
    Words order;           // rows, those of a sequence side by side
    Vec4s runs;
} p;

// A tile: keys, then queries. A quad more between rows, so that eight rows lie in banks of their own.
const uint PITCH = KEYS / 4 + 1;
shared vec4 s_rows[2 * CHUNK * PITCH];
// A, its columns one behind the other.
const uint PITCH_A = CHUNK / 4 + 1;
shared vec4 s_a[CHUNK * PITCH_A];

shared uint s_row[CHUNK]; // of the batch; behind the last one, that again
shared float s_length_k[CHUNK], s_length_q[CHUNK]; // their inverses
// Of a head: logarithms of the decay of a row and since the begin; what values are times (beta), then keys.
shared float s_decay[CHUNK], s_since[CHUNK], s_times[2 * CHUNK];

// The tile's keys and queries of two rows.
struct Held {
    vec4 k, q;
};

Held fetch(uint key_head, uint tile)
{
    const uint row = s_row[thread() / 8];
    const uint at = row * ROW_QUADS + key_head * KEY_QUADS + tile * (KEYS / 4) + thread() % 8;
    return Held(p.rows.v[at + FIRST_KEY / 4], p.rows.v[at]);
}

// Products of row thread() / 8 with the keys of rows thread() % 8 + 8 j.
void multiply(uint key_head, out vec4 kk, out vec4 qk)
{
    const uint r = thread() / 8, eighth = thread() % 8;
    float squares = 0;
    kk = qk = vec4(0);
    Held h = fetch(key_head, 0);
    [[dont_unroll]] for (uint tile = 0; tile < D_K / KEYS; tile++) {
        barrier();
        s_rows[r * PITCH + eighth] = h.k;
        s_rows[(CHUNK + r) * PITCH + eighth] = h.q;
        barrier();
        h = fetch(key_head, min(tile + 1, D_K / KEYS - 1));
        [[unroll]] for (uint i = 0; i < KEYS / 4; i++) {
            const vec4 k = s_rows[r * PITCH + i], q = s_rows[(CHUNK + r) * PITCH + i];
            squares += dot(q, q);
            [[unroll]] for (uint j = 0; j < 4; j++) {
                const vec4 other = s_rows[(eighth + 8 * j) * PITCH + i];
                kk[j] += dot(k, other);
                qk[j] += dot(q, other);
            }
        }
    }
    if (eighth == 0)
        s_length_q[r] = inversesqrt(squares + 1e-6) * inversesqrt(float(D_K));
    [[unroll]] for (uint j = 0; j < 4; j++)
        if (eighth + 8 * j == r)
            s_length_k[r] = inversesqrt(kk[j] + 1e-6);
    barrier();
}

// s_since and s_times; all rows behind the n of the chunk change nothing.
void take_gates(uint n, uint head)
{
    const uint t = thread();
    if (t < CHUNK) {
        const float a = p.alpha.v[alpha_at(s_row[t], head)] + p.dt_bias.v[head];
        s_decay[t] = t < n ? p.decay.v[head] * (a > 20 ? a : log(1 + exp(a))) : 0;
        s_times[t] = t < n ? sigmoid(p.beta.v[beta_at(s_row[t], head)]) : 0;
    }
    barrier();
    if (t < CHUNK) {
        float since = 0;
        for (uint i = 0; i <= t; i++)
            since += s_decay[i];
        s_since[t] = since;
        s_times[CHUNK + t] = s_times[t] * s_length_k[t] * exp(since);
    }
    barrier();
}

// A, mixed and factors of a head.
void weigh(uint n, uint head, vec4 kk, vec4 qk)
{
    const uint r = thread() / 8, eighth = thread() % 8, at = s_row[r] * N_V_HEADS + head;
    [[unroll]] for (uint j = 0; j < 4; j++) {
        const uint s = eighth + 8 * j;
        const float factor = s <= r ? exp(s_since[r] - s_since[s]) * s_length_k[s] : 0;
        const float a = s < r ? s_times[r] * s_length_k[r] * factor * kk[j] : 0;
        s_a[s * PITCH_A + r / 4][r % 4] = a;
        if (r < n)
            p.mixed.v[at * CHUNK + s] = s_length_q[r] * factor * qk[j];
    }
    if (eighth == 0 && r < n) {
        const float last = s_since[CHUNK - 1];
        p.factors.v[at] = vec4(s_length_q[r] * exp(s_since[r]),
                               s_length_k[r] * exp(last - s_since[r]), exp(last), 0);
    }
    barrier();
}

// U, then W of a head.
void substitute(uint n, uint key_head, uint head)
{
    for (uint c = thread(); c < D_V + D_K; c += THREADS) {
        const bool is_value = c < D_V;
        const uint channel = is_value ? FIRST_VALUE + head * D_V + c : FIRST_KEY + key_head * D_K + c - D_V;
        const uint times = is_value ? 0 : CHUNK;
        float x[CHUNK];
        [[unroll]] for (uint t = 0; t < CHUNK; t++)
            x[t] = FloatsOut(p.ready).v[s_row[t] * CHANNELS + channel];
        [[unroll]] for (uint t = 0; t < CHUNK; t++)
            x[t] *= s_times[times + t];
        // Constant bounds, since x is in registers only where all loops are unrolled. Left of the diagonal A is 0.
        [[unroll]] for (uint s = 0; s < CHUNK; s++)
            [[unroll]] for (uint i = 0; i < CHUNK / 4; i++)
                if (4 * i + 3 > s) {
                    const vec4 a = s_a[s * PITCH_A + i];
                    [[unroll]] for (uint j = 0; j < 4; j++)
                        if (4 * i + j > s)
                            x[4 * i + j] -= a[j] * x[s];
                }
        FloatsOut to = FloatsOut(is_value ? p.ready : p.known);
        const uint width = is_value ? CHANNELS : N_V_HEADS * D_K;
        const uint at = is_value ? channel : head * D_K + c - D_V;
        [[unroll]] for (uint t = 0; t < CHUNK; t++)
            if (t < n)
                to.v[s_row[t] * width + at] = x[t];
    }
}

// The newest inputs of a key head's channels to the history, by the last chunk: position p in row p modulo N_CONV.
void keep(Run run, uint key_head)
{
    const uint n_mine = 2 * D_K + N_EACH * D_V;
    for (uint i = thread(); i < n_mine; i += THREADS) {
        const uint value = i - 2 * D_K;
        const uint c = i < 2 * D_K
                           ? i / D_K * FIRST_KEY + key_head * D_K + i % D_K
                           : FIRST_VALUE + head_at(key_head, value / D_V) * D_V + value % D_V;
        for (uint back = 1; back <= min(N_CONV, run.n); back++) {
            const uint row = p.order.v[run.first + run.n - back];
            const uint old = (run.pos + run.n - back) % N_CONV;
            p.history.v[(run.seq * N_CONV + old) * CHANNELS + c] = p.qkv.v[row * CHANNELS + c];
        }
    }
}

void main()
{
    const uint key_head = gl_WorkGroupID.x;
    uint chunk = gl_WorkGroupID.y, i = 0;
    Run run = run_at(p.runs, 0);
    for (; run.n != 0 && chunk * CHUNK >= run.n; run = run_at(p.runs, ++i))
        chunk -= (run.n + CHUNK - 1) / CHUNK;
    if (run.n == 0)
        return;
    const uint first = chunk * CHUNK, n = min(CHUNK, run.n - first);
    if (thread() < CHUNK)
        s_row[thread()] = p.order.v[run.first + first + min(thread(), n - 1)];
    barrier();
    vec4 kk, qk;
    multiply(key_head, kk, qk);
    for (uint j = 0; j < N_EACH; j++) {
        const uint head = head_at(key_head, j);
        take_gates(n, head);
        weigh(n, head, kk, qk);
        substitute(n, key_head, head);
        barrier();
    }
    if (first + n == run.n)
        keep(run, key_head);
}
