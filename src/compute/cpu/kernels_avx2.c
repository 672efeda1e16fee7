#if defined(__x86_64__)
#include "compute/cpu/vec_avx2.h"

#define KERNELS      cpu_kernels_avx2
#define KERNELS_NAME "avx2"
#include "compute/cpu/kernels.inc.h"
#else
typedef int no_avx2_here;
#endif
