/* devices: what the vulkan backend can run on here. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct device {
    char name[256];
    char driver[256];      /* its name and version */
    uint64_t memory_bytes; /* that the backend may use, in all */
    uint64_t free_bytes;
    bool is_unified;   /* one memory with the CPU */
    bool is_software;  /* a CPU pretending: taken only when named */
    bool has_dot;      /* fast dot products of 8-bit integers */
    bool has_matrix;   /* matrix units */
    uint32_t rank;     /* where none is named: 1 is taken, then 2, ...; 0: only when named */
    char why_not[512]; /* "", or what it lacks */
};

/* All devices, in the order of the indices that name them; *n of them, freed with free(). NULL and
 * e without the Vulkan loader or a driver. loader: the library to open; NULL: libvulkan.so.1. */
struct device *devices_list(const char *loader, size_t *n, struct err *e);
