/* The test runner's contract. A test file holds TEST(name) { ... } blocks; they register
 * themselves, the runner (tests/runner.c) forks one process per test with a time limit. CHECK
 * prints both operands and ends the test. Random tests take their seed from test_seed(), which is
 * printed on failure. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct test {
    const char *name;
    const char *file;
    void (*run)(void);
    struct test *next;
};

void test_register(struct test *t);
/* The seed of this run: --seed N, else a fixed default. */
uint64_t test_seed(void);
/* Ends the test as skipped (shared data that a stranger's clone does not have). */
void test_skip(const char *why) __attribute__((noreturn));
void test_fail(const char *file, int line, const char *format, ...)
    __attribute__((noreturn, format(printf, 3, 4)));
/* A file below the reference data (../shared beside the checkout, or --shared DIR), or skips the
 * test when the folder is not there. The path stays valid. */
const char *test_shared(const char *relative);

#define TEST(id)                                                                                   \
    static void test_##id(void);                                                                   \
    __attribute__((constructor)) static void test_register_##id(void)                              \
    {                                                                                              \
        static struct test t = {#id, __FILE__, test_##id, NULL};                                   \
        test_register(&t);                                                                         \
    }                                                                                              \
    static void test_##id(void)

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            test_fail(__FILE__, __LINE__, "not true: %s", #condition);                             \
    } while (0)

/* For calls that fill `struct err e`: shows its message. */
#define CHECK_OK(call)                                                                             \
    do {                                                                                           \
        if (!(call))                                                                               \
            test_fail(__FILE__, __LINE__, "%s: %s", #call, e.msg);                                 \
    } while (0)

#define CHECK_INT(got, want)                                                                       \
    do {                                                                                           \
        long long got_ = (long long)(got), want_ = (long long)(want);                              \
        if (got_ != want_)                                                                         \
            test_fail(__FILE__, __LINE__, "%s: got %lld, want %lld", #got, got_, want_);           \
    } while (0)

#define CHECK_STR(got, want)                                                                       \
    do {                                                                                           \
        str got_ = (got), want_ = (want);                                                          \
        if (got_.n != want_.n || (got_.n && memcmp(got_.p, want_.p, got_.n)))                      \
            test_fail(__FILE__, __LINE__, "%s: got \"%.*s\", want \"%.*s\"", #got, (int)got_.n,    \
                      got_.p, (int)want_.n, want_.p);                                              \
    } while (0)
