// What every shader starts with: extensions, memory by address, the workgroup.
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_integer_dot_product : require
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_atomic_int64 : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_shuffle : require

// Whole subgroups, in a row: thread() counts along subgroups. Who includes this says MANY_THREADS where there may be more
// than 256: 512 or 1024.
#ifdef MANY_THREADS
layout(constant_id = 30) const uint THREADS = 256;
layout(local_size_x = 256, local_size_x_id = 30) in;
#else
layout(local_size_x = 256) in;
const uint THREADS = 256;
#endif

// Where the host knows the size of subgroups, loops over lanes and subgroups have constant bounds.
layout(constant_id = 31) const uint SUBGROUP_SIZE = 0; // 0: it does not
uint subgroup_size()
{
    return SUBGROUP_SIZE != 0 ? SUBGROUP_SIZE : gl_SubgroupSize;
}

// At most: subgroups have 8 threads or more.
const uint LEAST_LANES = SUBGROUP_SIZE < 8 ? 8 : SUBGROUP_SIZE;
const uint SUBGROUPS = THREADS / LEAST_LANES;

uint n_subgroups()
{
    return SUBGROUP_SIZE != 0 ? THREADS / SUBGROUP_SIZE : gl_NumSubgroups;
}

uint thread()
{
    return gl_SubgroupID * subgroup_size() + gl_SubgroupInvocationID;
}

layout(buffer_reference, std430, buffer_reference_align = 16) readonly buffer Vec4s { uvec4 v[]; };
layout(buffer_reference, std430, buffer_reference_align = 8) readonly buffer Vec2s { uvec2 v[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) readonly buffer Words { uint v[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) readonly buffer Float4s { vec4 v[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) readonly buffer Floats { float v[]; };
layout(buffer_reference, std430, buffer_reference_align = 2) readonly buffer Halves { float16_t v[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) buffer Float4sOut { vec4 v[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) buffer FloatsOut { float v[]; };
layout(buffer_reference, std430, buffer_reference_align = 2) buffer HalvesOut { float16_t v[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) buffer WordsOut { uint v[]; };
layout(buffer_reference, std430, buffer_reference_align = 8) buffer Vec2sOut { uvec2 v[]; };
// Between the workgroups of one dispatch.
layout(buffer_reference, std430, buffer_reference_align = 16) coherent buffer SharedFloat4s { vec4 v[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) coherent buffer SharedVec4s { uvec4 v[]; };
layout(buffer_reference, std430, buffer_reference_align = 8) coherent buffer SharedVec2s { uvec2 v[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) coherent buffer SharedFloats { float v[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) coherent buffer Counters { uint v[]; };
// Sums of what workgroups have each a share in, in units of 1 / SHARE_UNITS: integers, so that they are the same in
// whatever order the shares come.
layout(buffer_reference, std430, buffer_reference_align = 8) buffer Sums { int64_t v[]; };
const float SHARE_UNITS = 17179869184.0; // 2^34

float share_sum(Sums sums, uint i)
{
    return float(sums.v[i]) / SHARE_UNITS;
}

// One of n_shares, which together do not overflow.
void add_share(Sums sums, uint i, float x, uint n_shares)
{
    const float most = 4.611686018427388e18 / SHARE_UNITS / n_shares; // 2^62
    atomicAdd(sums.v[i], int64_t(clamp(x, -most, most) * SHARE_UNITS));
}

// Sum over the workgroup, in the same order every time.
shared float s_reduce[SUBGROUPS];

float workgroup_sum(float x)
{
    x = subgroupAdd(x);
    if (gl_SubgroupInvocationID == 0)
        s_reduce[gl_SubgroupID] = x;
    barrier();
    x = s_reduce[0];
    [[unroll]] for (uint i = 1; i < n_subgroups(); i++)
        x += s_reduce[i];
    barrier();
    return x;
}

// Waits for the workgroup; what its threads did to buffers and to shared memory before is seen behind it.
void meet()
{
    controlBarrier(gl_ScopeWorkgroup, gl_ScopeWorkgroup,
                   gl_StorageSemanticsBuffer | gl_StorageSemanticsShared,
                   gl_SemanticsAcquireRelease);
}

// True in all threads of the workgroup that is the last of n to come here; what the others wrote
// before to coherent memory is then seen: one thread's atomic orders what the barriers about it
// order within the workgroups. The counter goes back to 0, for a later dispatch: nothing here waits for that.
shared uint s_arrived;
bool last_to_arrive(Counters c, uint i, uint n)
{
    meet();
    if (thread() == 0)
        s_arrived = atomicAdd(c.v[i], 1u, gl_ScopeDevice, gl_StorageSemanticsBuffer,
                              gl_SemanticsAcquireRelease);
    meet();
    const bool is_last = s_arrived == n - 1;
    if (is_last && thread() == 0)
        atomicStore(c.v[i], 0u, gl_ScopeDevice, 0, gl_SemanticsRelaxed);
    return is_last;
}
