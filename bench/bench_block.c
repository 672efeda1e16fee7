/* Block types on one core. usage: bench_block
 * For each type one row of a Markdown table: the best of a hundred times that the scalar code takes
 * to encode and to decode 65,536 normally distributed floats, in MB of floats per second, and the
 * relative root mean square error of the round trip. The runs are short so that on a busy machine
 * some of them are left alone. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/rng.h"
#include "gguf/block.h"

enum { ROUNDS = 100, N = 1 << 16 };

static double normal(struct rng *r)
{
    return sqrt(-2 * log(1 - rng_f64(r))) * cos(6.283185307179586 * rng_f64(r));
}

static double megabytes_per_s(uint64_t best_ns)
{
    return N * sizeof(float) * 1e3 / (double)best_ns;
}

static void measure(const struct block_info *info, const float *x, float *y, void *blocks)
{
    uint64_t encode_ns = UINT64_MAX, decode_ns = UINT64_MAX;
    double miss = 0, power = 0;
    if (!info->encode)
        return;
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t from = clock_ns();
        info->encode(x, blocks, N);
        uint64_t between = clock_ns();
        info->decode(blocks, y, N);
        uint64_t to = clock_ns();
        encode_ns = between - from < encode_ns ? between - from : encode_ns;
        decode_ns = to - between < decode_ns ? to - between : decode_ns;
    }
    for (int i = 0; i < N; i++) {
        double d = (double)x[i] - (double)y[i];
        miss += d * d;
        power += (double)x[i] * (double)x[i];
    }
    printf("| %-6s | %6.0f | %6.0f | %.5f |\n", info->name, megabytes_per_s(encode_ns),
           megabytes_per_s(decode_ns), sqrt(miss / power));
}

int main(void)
{
    float *x = malloc(N * sizeof *x), *y = malloc(N * sizeof *y), *blocks = malloc(N * sizeof *x);
    struct rng r = {1};
    for (int i = 0; i < N; i++)
        x[i] = (float)(0.02 * normal(&r));
    printf("| type   | encode MB/s | decode MB/s | error |\n|---|---:|---:|---:|\n");
    for (uint32_t id = 0; id < BLOCK_TYPE_LIMIT; id++)
        if (block_info(id))
            measure(block_info(id), x, y, blocks);
    free(x);
    free(y);
    free(blocks);
    return 0;
}
