// The same for heads so wide that registers are too few for sums and queries. A file of its own: with a constant that chose
// between the two, and so the length of the array of queries, an H100 computed nonsense.
#version 460
#define SHARED_QUERIES
#include "flash_matrix.glsl"
