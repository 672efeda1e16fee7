/* Kernels of the cpu backend. usage: bench_cpu [THREADS]
 * One row of a Markdown table per instruction set and layout: GB/s of packed weights that one
 * activation row streams (decode) beside what plain reading of the same memory reaches, and
 * billions of multiply-adds per second with 16 activation rows (prefill). Best of ROUNDS: on a busy
 * machine some rounds are left alone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/pool.h"
#include "compute/cpu/kernels.h"

enum {
    ROUNDS = 15,
    LIMIT_NS = 250 * 1000 * 1000, /* after which slow kernels are left with fewer rounds */
    N_COLS = 2048,
    N_BYTES = 256 << 20, /* far over the caches of most machines */
    N_HOT_GROUPS = 8,    /* that the prefill figure goes round */
};

struct bench {
    struct pool *pool;
    uint8_t *weights;
    const struct cpu_kernels *kernels;
    enum layout layout;
    struct act_tile tile;
    uint64_t n_groups; /* per pass */
    uint64_t *sums;    /* per thread: keeps reads from being removed */
};

static void read_all(void *ctx, int i_thread, int n_threads)
{
    struct bench *b = ctx;
    uint64_t n = N_BYTES / sizeof(uint64_t) / (uint64_t)n_threads, sum[8] = {0};
    const uint64_t *at = (const uint64_t *)(const void *)b->weights + n * (uint64_t)i_thread;
    for (uint64_t i = 0; i + 8 <= n; i += 8) {
        __builtin_prefetch(at + i + 512); /* as the kernels do */
        for (int j = 0; j < 8; j++)
            sum[j] ^= at[i + j];
    }
    for (int j = 0; j < 8; j++)
        b->sums[i_thread] += sum[j];
}

static void multiply_all(void *ctx, int i_thread, int n_threads)
{
    struct bench *b = ctx;
    float out[TILE_ROWS][ROWS];
    size_t group_bytes = layout_group_bytes(b->layout, N_COLS);
    uint64_t n_hot = b->tile.n_rows > 1 ? N_HOT_GROUPS : b->n_groups;
    (void)n_threads;
    for (uint32_t item; (item = pool_next(b->pool)) * 8 < b->n_groups;)
        for (uint64_t g = item * 8; g < item * 8 + 8; g++)
            b->kernels->mul[b->layout](b->weights + g % n_hot * group_bytes, N_COLS, &b->tile, out);
    b->sums[i_thread] += (uint64_t)(out[0][0] > 0);
}

static double best_s(struct bench *b, void (*fn)(void *, int, int))
{
    uint64_t best = UINT64_MAX, end = clock_ns() + LIMIT_NS;
    for (int i = 0; i < ROUNDS && (i < 2 || clock_ns() < end); i++) {
        uint64_t from = clock_ns();
        pool_run(b->pool, fn, b);
        uint64_t took = clock_ns() - from;
        best = took < best ? took : best;
    }
    return (double)best * 1e-9;
}

static void measure(struct bench *b, double read_gb_s)
{
    size_t group_bytes = layout_group_bytes(b->layout, N_COLS);
    b->tile.n_rows = 1;
    b->n_groups = N_BYTES / group_bytes / 8 * 8;
    double gb_s = (double)(b->n_groups * group_bytes) / best_s(b, multiply_all) * 1e-9;
    b->tile.n_rows = TILE_ROWS;
    b->n_groups = 512;
    double macs = (double)b->n_groups * ROWS * N_COLS * TILE_ROWS;
    printf("| %-8s | %-6s | %6.1f | %3.0f %% | %6.0f |\n", b->kernels->name,
           block_info(layout_info(b->layout)->type)->name, gb_s, 100 * gb_s / read_gb_s,
           macs / best_s(b, multiply_all) * 1e-9);
}

int main(int argc, char **argv)
{
    struct err e;
    struct bench b = {.pool = pool_open(argc > 1 ? atoi(argv[1]) : 0, &e)};
    b.weights = b.pool ? mem_big(N_BYTES, "weights", &e) : NULL;
    if (!b.weights) {
        fprintf(stderr, "bench_cpu: %s\n", e.msg);
        return 1;
    }
    b.sums = mem_new((size_t)pool_size(b.pool), sizeof *b.sums);
    memset(b.weights, 0x11, N_BYTES); /* as halves and floats: small normal numbers */
    struct act_block *acts = mem_new(TILE_ROWS * N_COLS / BLOCK_COLS, sizeof *acts);
    float *rows = mem_new(TILE_ROWS * N_COLS, sizeof *rows);
    b.tile = (struct act_tile){.q = acts, .f = rows, .f_stride = N_COLS};
    double read_gb_s = N_BYTES / best_s(&b, read_all) * 1e-9;
    printf("%d threads; plain reading: %.1f GB/s\n\n", pool_size(b.pool), read_gb_s);
    printf("| isa | layout | 1 row, GB/s | of reading | 16 rows, GMAC/s |\n"
           "|---|---|---:|---:|---:|\n");
    for (int isa = CPU_PORTABLE; isa <= CPU_AVX512; isa++) {
        b.kernels = cpu_kernels_for((enum cpu_isa)isa);
        if (isa > CPU_PORTABLE && b.kernels == cpu_kernels_for((enum cpu_isa)(isa - 1)))
            continue;
        for (int l = 0; l < LAYOUT_COUNT; l++) {
            b.layout = (enum layout)l;
            measure(&b, read_gb_s);
        }
    }
    pool_close(b.pool);
    mem_big_free(b.weights, N_BYTES);
    free(b.sums);
    free(acts);
    free(rows);
    return 0;
}
