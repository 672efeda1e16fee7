/* heap: what the test's process has of malloc, to hold memory that is counted to what it takes. */
#pragma once
#include <malloc.h>
#include <stddef.h>

/* Bytes, malloc's own heads included. Under a sanitizer, which has its own malloc, always 0. */
static inline size_t heap_in_use(void)
{
    const struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}
