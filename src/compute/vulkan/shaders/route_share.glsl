// Logits of a router by those who make the rows that it reads: the 16 outputs of a workgroup are 16 columns of the router's
// matrix, so each workgroup adds its share to every logit, and no dispatch has to wait for whole rows. Whoever reads the
// sums (route.glsl) multiplies them with the row's root; embed.comp clears them for every batch. The includer's push
// constants are p.n_tokens, p.router, p.norm ([n_out], of the router's input), p.sums and p.n_sums, those of a row.
layout(constant_id = 5) const uint ROUTER = 255; // type of its matrix, one of floats; 255: none reads these rows
layout(constant_id = 6) const uint N_EXPERTS = 1;
const bool HAS_ROUTER = ROUTER != 255;

// Loads of four experts' weights of one column: thread % 4 counts experts, thread / 4 % 16 columns, then groups of 16 experts.
const uint N_PADDED = (N_EXPERTS + 15) / 16 * 16;
const uint N_LOADS = N_PADDED * 4;
const uint THREAD_LOADS = (N_LOADS + THREADS - 1) / THREADS;
// Columns that a subgroup adds up, of 16.
const uint SUM_COLS = LEAST_LANES < 64 ? LEAST_LANES / 4 : 16;

shared float s_normed[HAS_ROUTER ? 16 * N_TOKENS : 1];
shared float s_shares[HAS_ROUTER ? N_PADDED * 16 / SUM_COLS : 1];

vec4 columns[THREAD_LOADS];

// Columns of the workgroup's outputs, under way. n_cols: of the router's matrix.
void load_columns(uint group, uint n_cols)
{
    const uint64_t n_bytes = group_bytes(ROUTER, n_cols);
    [[unroll]] for (uint i = 0; i < THREAD_LOADS; i++) {
        const uint at = min(thread() + i * THREADS, N_LOADS - 1);
        columns[i] = load_column(ROUTER, p.router + at / 64 * n_bytes, group * 16 + at / 4 % 16, at % 4);
    }
}

// The workgroup's share of the logits of row n of its own, s_normed.
void put_share(uint n, Sums sums)
{
    [[unroll]] for (uint i = 0; i < THREAD_LOADS; i++) {
        const uint at = thread() + i * THREADS;
        vec4 x = columns[i] * s_normed[n * 16 + at / 4 % 16];
        [[unroll]] for (uint lane = 4; lane < 4 * SUM_COLS; lane *= 2)
            x += subgroupShuffleXor(x, lane);
        if (at < N_LOADS && at / 4 % SUM_COLS == 0)
            [[unroll]] for (uint r = 0; r < 4; r++)
                s_shares[at / 4 % 16 / SUM_COLS * N_PADDED + at / 64 * 16 + at % 4 * 4 + r] = x[r];
    }
    barrier();
    for (uint e = thread(); e < N_EXPERTS; e += THREADS) {
        float sum = 0;
        [[unroll]] for (uint i = 0; i < 16 / SUM_COLS; i++)
            sum += s_shares[i * N_PADDED + e];
        add_share(sums, e, sum, gl_NumWorkGroups.x);
    }
}

// Of rows first_token to first_token + N_TOKENS - 1, when s_normed is written.
void share_logits(uint first_token)
{
    const uint end = min(first_token + N_TOKENS, p.n_tokens);
    for (uint token = first_token; token < end; token++) {
        barrier();
        put_share(token - first_token, Sums(p.sums + token * p.n_sums * 8));
    }
}
