#if defined(__x86_64__)
#include "compute/cpu/vec_avx512.h"

#define KERNELS      cpu_kernels_avx512
#define KERNELS_NAME "avx512"
#include "compute/cpu/kernels.inc.h"
#else
typedef int no_avx512_here;
#endif
