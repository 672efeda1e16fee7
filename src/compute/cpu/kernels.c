#include "compute/cpu/kernels.h"

const struct cpu_kernels *cpu_kernels_for(enum cpu_isa limit)
{
#if defined(__x86_64__)
    /* Every processor with AVX2 has F16C, which older compilers cannot ask for. */
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vnni");
    if (limit >= CPU_AVX512 && avx512)
        return &cpu_kernels_avx512;
    if (limit >= CPU_AVX2 && avx2)
        return &cpu_kernels_avx2;
#endif
    (void)limit;
    return &cpu_kernels_portable;
}
