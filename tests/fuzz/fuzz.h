/* fuzz: one file tests/fuzz/fuzz_NAME.c per target, seeds in tests/fuzz/corpus/NAME/. The file
 * holds FUZZ_TARGET(NAME) { ... bytes, n_bytes ... } `make fuzz-NAME` builds it with libFuzzer; in
 * the unit tests the same function is run on every seed, so that other compilers check it too. The
 * body must survive any input, free what it allocates, and promise() what must hold. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

static inline void promise(bool kept)
{
    if (!kept)
        abort();
}

/* Runs fn on every file of the folder; the test fails when there is none. */
void fuzz_replay(const char *folder, void (*fn)(const uint8_t *bytes, size_t n_bytes));

#ifdef FUZZING
#define FUZZ_ENTRY(name)                                                                           \
    int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);                              \
    int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)                               \
    {                                                                                              \
        fuzz_##name(bytes, n_bytes);                                                               \
        return 0;                                                                                  \
    }
#else
#include "test.h"
#define FUZZ_ENTRY(name)                                                                           \
    TEST(fuzz_##name##_survives_its_seeds)                                                         \
    {                                                                                              \
        fuzz_replay("tests/fuzz/corpus/" #name, fuzz_##name);                                      \
    }
#endif

#define FUZZ_TARGET(name)                                                                          \
    static void fuzz_##name(const uint8_t *bytes, size_t n_bytes);                                 \
    FUZZ_ENTRY(name)                                                                               \
    static void fuzz_##name(const uint8_t *bytes, size_t n_bytes)
