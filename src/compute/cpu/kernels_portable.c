#include "compute/cpu/vec_portable.h"

#define KERNELS      cpu_kernels_portable
#define KERNELS_NAME "portable"
#include "compute/cpu/kernels.inc.h"
