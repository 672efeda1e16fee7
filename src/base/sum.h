/* sum: a fast 64-bit checksum, to notice bytes that were damaged. Not for secrets, nor against who
 * means harm: whoever can write the bytes can write the sum. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* Of n bytes, going on from `seed`; 0 to begin. Folded multiplication in four lanes, the
 * construction of wyhash (Wang Yi, public domain). Little-endian machines. */
uint64_t sum64(uint64_t seed, const void *bytes, size_t n);
