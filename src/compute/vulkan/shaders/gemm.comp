// Many rows by multiplying and adding: for devices without cooperative matrices, and for weights that are floats.
#version 460
#include "gemm.glsl"

// A thread has row t % 16 of all groups, and rows t / 16 + 16 j of the activations.
const uint PER_THREAD = TILE / 16;

void main()
{
    const uint t = thread();
    float sum[TILE_GROUPS * PER_THREAD];
    [[unroll]] for (uint i = 0; i < TILE_GROUPS * PER_THREAD; i++)
        sum[i] = 0;
    find_tile();
    barrier();
    find_chunks();
    Held h = fetch(first_step());
    [[dont_unroll]] for (uint step = first_step(); step < end_step(); step++) {
        put(h, step);
        barrier();
        h = fetch(min(step + 1, N_STEPS - 1));
        [[dont_unroll]] for (uint k = 0; k < COLS / 4; k++) {
            vec4 x[PER_THREAD];
            [[unroll]] for (uint j = 0; j < PER_THREAD; j++)
                x[j] = s_rows_of[(t / 16 + 16 * j) * PITCH + k];
            [[unroll]] for (uint g = 0; g < TILE_GROUPS; g++) {
                const vec4 w = s_weights[(g * 16 + t % 16) * PITCH + k];
                [[unroll]] for (uint j = 0; j < PER_THREAD; j++)
                    sum[g * PER_THREAD + j] += dot(w, x[j]);
            }
        }
        barrier();
    }
    [[unroll]] for (uint g = 0; g < GROUPS_OUT; g++)
        [[unroll]] for (uint j = 0; j < PER_THREAD; j++) {
            const uint a = KIND == 2 ? 2 * g : g, b = KIND == 2 ? 2 * g + 1 : g;
            const uint o = g * 16 + t % 16, row = t / 16 + 16 * j, at = out_at(o, row);
            give(at, o, row, sum[a * PER_THREAD + j], sum[b * PER_THREAD + j], old_value(at));
        }
}
