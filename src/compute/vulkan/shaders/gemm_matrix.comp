// Many rows by cooperative matrices.
#version 460
#define MATRICES
#include "gemm.glsl"

// Subgroups lie in four rows of two groups each; the rest of them share out the tile's activation rows.
const uint SUB_M = 32, SUBS_M = TILE_ROWS / SUB_M;
const uint SUB_N = TILE * SUBS_M / N_SUBGROUPS;
const uint N_M = SUB_M / SIZE_M, N_N = SUB_N / SIZE_N;

// One product of each subgroup on its way out.
const uint SIZE = SIZE_M * SIZE_N, LANES = THREADS / N_SUBGROUPS, PER_LANE = SIZE / LANES;
shared float s_out[N_SUBGROUPS * SIZE];

#define PRODUCT coopmat<float, gl_ScopeSubgroup, SIZE_M, SIZE_N, gl_MatrixUseAccumulator>

// Through shared memory, since who holds which element of a matrix is the device's secret. A macro: matrices are no
// arguments of functions.
#define STAGE(product, x)                                                                          \
    subgroupBarrier(); /* what was there has been read */                                          \
    coopMatStore(product, s_out, gl_SubgroupID * SIZE, SIZE_M,                                     \
                 gl_CooperativeMatrixLayoutColumnMajor);                                           \
    subgroupMemoryBarrierShared();                                                                 \
    subgroupBarrier();                                                                             \
    [[unroll]] for (uint e = 0; e < PER_LANE; e++)                                                 \
        x[e] = s_out[gl_SubgroupID * SIZE + e * LANES + gl_SubgroupInvocationID];

void main()
{
    const uint sub_m = gl_SubgroupID % SUBS_M, sub_n = gl_SubgroupID / SUBS_M;
    PRODUCT sum[N_M * N_N];
    [[unroll]] for (uint i = 0; i < N_M * N_N; i++)
        sum[i] = PRODUCT(0.0);
    find_tile();
    barrier();
    find_chunks();
    const bool idle = sub_n * SUB_N >= tile_count; // rows past the end of a short tile
    Held h = fetch(first_step());
    [[dont_unroll]] for (uint step = first_step(); step < end_step(); step++) {
        put(h, step);
        barrier();
        h = fetch(min(step + 1, N_STEPS - 1));
        if (!idle) {
            [[unroll]] for (uint k = 0; k < COLS; k += SIZE_K) {
                coopmat<float16_t, gl_ScopeSubgroup, SIZE_M, SIZE_K, gl_MatrixUseA> a[N_M];
                [[unroll]] for (uint i = 0; i < N_M; i++)
                    coopMatLoad(a[i], s_weights, (sub_m * SUB_M + i * SIZE_M) * PITCH + k / 4, PITCH,
                                gl_CooperativeMatrixLayoutRowMajor);
                [[unroll]] for (uint j = 0; j < N_N; j++) {
                    coopmat<float16_t, gl_ScopeSubgroup, SIZE_K, SIZE_N, gl_MatrixUseB> b;
                    coopMatLoad(b, s_rows_of, (sub_n * SUB_N + j * SIZE_N) * PITCH + k / 4, PITCH,
                                gl_CooperativeMatrixLayoutColumnMajor);
                    [[unroll]] for (uint i = 0; i < N_M; i++)
                        sum[i * N_N + j] = coopMatMulAdd(a[i], b, sum[i * N_N + j]);
                }
            }
        }
        barrier();
    }
    const uint n_m = KIND == 2 ? N_M / 2 : N_M, first = sub_m * (KIND == 2 ? SUB_M / 2 : SUB_M);
    [[unroll]] for (uint i = 0; i < n_m; i++)
        [[unroll]] for (uint j = 0; j < N_N; j++) {
            float a[PER_LANE], b[PER_LANE], old[PER_LANE];
            uint at[PER_LANE], o[PER_LANE], row[PER_LANE];
            [[unroll]] for (uint e = 0; e < PER_LANE; e++) {
                const uint element = e * LANES + gl_SubgroupInvocationID;
                o[e] = first + i * SIZE_M + element % SIZE_M;
                row[e] = sub_n * SUB_N + j * SIZE_N + element / SIZE_M;
                at[e] = out_at(o[e], row[e]);
                old[e] = old_value(at[e]);
            }
            STAGE(sum[i * N_N + j], a)
            if (KIND == 2) {
                STAGE(sum[(i + N_M / 2) * N_N + j], b)
            }
            [[unroll]] for (uint e = 0; e < PER_LANE; e++)
                give(at[e], o[e], row[e], a[e], KIND == 2 ? b[e] : 0, old[e]);
        }
}
