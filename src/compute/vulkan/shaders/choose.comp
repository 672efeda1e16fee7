// Second half of OP_ROUTE for many rows, a workgroup each; gemm.comp made the logits.
#version 460
#include "common.glsl"

layout(push_constant) uniform Push
{
    Floats partials;            // [..][N_SPLITS][N_EXPERTS]
    uint64_t router_bias, select_bias; // 0 or [N_EXPERTS]
    uint64_t ids;               // [..][N_USED]
    FloatsOut weights;          // [..][N_USED]
    float scale;
} p;

const bool IS_SHARED = false;
#define SHARES_OF_ROW 0
#include "route.glsl"

void main()
{
    load_logits(gl_WorkGroupID.x);
    hold_logits(1);
    choose();
    store_choice(gl_WorkGroupID.x);
}
