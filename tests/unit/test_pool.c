#include "base/pool.h"

#include "base/clock.h"
#include "test.h"

enum { N_ITEMS = 1000, MAX_SIZE = 5 };

struct tally {
    struct pool *pool;
    int runs[MAX_SIZE];
    int taken[2][N_ITEMS];
    long long sum[MAX_SIZE];
};

static void take_two_phases(void *ctx, int i, int n)
{
    struct tally *t = ctx;
    uint32_t k;
    (void)n;
    t->runs[i]++;
    while ((k = pool_next(t->pool)) < N_ITEMS)
        t->taken[0][k]++;
    pool_barrier(t->pool);
    /* Everything that any thread wrote before the barrier is visible here. */
    t->sum[i] = 0;
    for (int j = 0; j < N_ITEMS; j++)
        t->sum[i] += t->taken[0][j];
    while ((k = pool_next(t->pool)) < N_ITEMS)
        t->taken[1][k]++;
}

TEST(pool_hands_out_every_item_once_per_phase)
{
    struct err e;
    for (int n = 1; n <= MAX_SIZE; n++) {
        struct tally t = {0};
        CHECK_OK(t.pool = pool_open(n, &e));
        CHECK_INT(pool_size(t.pool), n);
        enum { ROUNDS = 200 };
        for (int round = 1; round <= ROUNDS; round++) {
            pool_run(t.pool, take_two_phases, &t);
            for (int i = 0; i < n; i++)
                CHECK_INT(t.sum[i], (long long)round * N_ITEMS);
        }
        for (int i = 0; i < n; i++)
            CHECK_INT(t.runs[i], ROUNDS);
        for (int k = 0; k < N_ITEMS; k++) {
            CHECK_INT(t.taken[0][k], ROUNDS);
            CHECK_INT(t.taken[1][k], ROUNDS);
        }
        pool_close(t.pool);
    }
}

static void busy(uint64_t n_ns)
{
    for (uint64_t end = clock_ns() + n_ns; clock_ns() < end;)
        ;
}

static void uneven(void *ctx, int i, int n)
{
    struct tally *t = ctx;
    /* One thread is late by more than the others spin: they fall asleep and must be woken. */
    if (i == t->runs[0] % n)
        busy(500 * 1000);
    pool_barrier(t->pool);
    t->sum[i]++;
}

TEST(pool_wakes_threads_that_fell_asleep)
{
    struct err e;
    struct tally t = {0};
    CHECK_OK(t.pool = pool_open(3, &e));
    for (int round = 0; round < 20; round++) {
        t.runs[0] = round;
        busy(300 * 1000);
        pool_run(t.pool, uneven, &t);
    }
    for (int i = 0; i < 3; i++)
        CHECK_INT(t.sum[i], 20);
    pool_close(t.pool);
}

TEST(pool_refuses_absurd_thread_counts)
{
    struct err e = {0};
    CHECK(!pool_open(-1, &e));
    CHECK_INT(e.code, ERR_USAGE);
    CHECK(!pool_open(1 << 20, &e));
    pool_close(NULL);
}

TEST(pool_default_is_at_least_one_thread)
{
    struct err e;
    struct pool *p;
    CHECK_OK(p = pool_open(0, &e));
    CHECK(pool_size(p) >= 1);
    CHECK_INT(pool_size(p), pool_default_size());
    pool_close(p);
}
