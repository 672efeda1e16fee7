/* The encoders: how close they come to what was put in, measured beside a plain rounding of the
 * same numbers, and that no input breaks them. */
#include <math.h>

#include "base/rng.h"
#include "gguf/block.h"
#include "test.h"

enum { N = 1 << 16 };

struct sample {
    float x[N];
    double power; /* sum of squares */
};

static double normal(struct rng *r)
{
    return sqrt(-2 * log(1 - rng_f64(r))) * cos(6.283185307179586 * rng_f64(r));
}

static double laplace(struct rng *r)
{
    double u = rng_f64(r) - 0.5;
    return (u < 0 ? 1 : -1) * log(1 - 1.999999 * fabs(u));
}

static struct sample *make_numbers(double (*draw)(struct rng *r))
{
    struct sample *s = calloc(1, sizeof *s);
    struct rng r = {test_seed()};
    for (int i = 0; i < N; i++) {
        s->x[i] = (float)(0.02 * draw(&r));
        s->power += (double)s->x[i] * (double)s->x[i];
    }
    return s;
}

/* Root mean square of x - y over that of x. */
static double relative_error(const struct sample *s, const float *y)
{
    double sum = 0;
    for (int i = 0; i < N; i++) {
        double miss = (double)s->x[i] - (double)y[i];
        sum += miss * miss;
    }
    return sqrt(sum / s->power);
}

static double coded_error(const struct sample *s, enum block_type type)
{
    const struct block_info *info = block_info((uint32_t)type);
    uint8_t *blocks = malloc(block_row_bytes(type, N));
    float *y = malloc(N * sizeof *y);
    info->encode(s->x, blocks, N);
    info->decode(blocks, y, N);
    double error = relative_error(s, y);
    free(blocks);
    free(y);
    return error;
}

/* Plain roundings of n values, for comparison: the scale that just covers the largest value. */
typedef void plain_fn(const float *x, float *y, int n);

static float largest(const float *x, int n)
{
    float best = 0;
    for (int i = 0; i < n; i++)
        best = fabsf(x[i]) > fabsf(best) ? x[i] : best;
    return best;
}

static void plain_steps(const float *x, float *y, int n, float steps)
{
    float d = largest(x, n) / -steps;
    for (int i = 0; i < n; i++)
        y[i] = d * fminf(steps - 1, roundf(x[i] / d));
}

static void plain_q4_0(const float *x, float *y, int n)
{
    plain_steps(x, y, n, 8);
}

static void plain_q5_0(const float *x, float *y, int n)
{
    plain_steps(x, y, n, 16);
}

static void plain_q6_k(const float *x, float *y, int n)
{
    for (int i = 0; i < n; i += 16)
        plain_steps(x + i, y + i, 16, 32);
}

static void plain_line(const float *x, float *y, int n, float top)
{
    float low = x[0], high = x[0];
    for (int i = 1; i < n; i++) {
        low = fminf(low, x[i]);
        high = fmaxf(high, x[i]);
    }
    float d = (high - low) / top;
    for (int i = 0; i < n; i++)
        y[i] = low + d * roundf((x[i] - low) / d);
}

static void plain_q4_1(const float *x, float *y, int n)
{
    plain_line(x, y, n, 15);
}

static void plain_q5_1(const float *x, float *y, int n)
{
    plain_line(x, y, n, 31);
}

static void plain_book(const float *x, float *y, int n, const int8_t book[16], float d)
{
    for (int i = 0; i < n; i++) {
        y[i] = d * (float)book[0];
        for (int k = 1; k < 16; k++)
            if (fabsf(d * (float)book[k] - x[i]) < fabsf(y[i] - x[i]))
                y[i] = d * (float)book[k];
    }
}

static void plain_iq4_nl(const float *x, float *y, int n)
{
    plain_book(x, y, n, block_iq4_values, largest(x, n) / -127);
}

/* The OCP rule: the exponent of the largest value minus that of the format's largest. */
static void plain_mxfp4(const float *x, float *y, int n)
{
    float d = exp2f(floorf(log2f(fabsf(largest(x, n)))) - 3);
    plain_book(x, y, n, block_mxfp4_values, d);
}

static double plain_error(const struct sample *s, plain_fn *plain)
{
    float *y = malloc(N * sizeof *y);
    for (int i = 0; i < N; i += 32)
        plain(s->x + i, y + i, 32);
    double error = relative_error(s, y);
    free(y);
    return error;
}

/* The limits are the errors measured on 2^20 numbers of each kind, rounded up by about 1 %: a worse
 * search fails. Q4_K and Q5_K are compared with the roundings of Q4_1 and Q5_1, whose scale and
 * minimum have 16 bits each, not 6; Q6_K with one 16-bit scale per 16 values, not 8. */
TEST(block_encoders_beat_plain_rounding)
{
    static const struct {
        enum block_type type;
        plain_fn *plain;
        double normal, laplace;
    } rows[] = {
        {BLOCK_Q4_0, plain_q4_0, 0.0818, 0.1032},     {BLOCK_Q4_1, plain_q4_1, 0.0732, 0.0860},
        {BLOCK_IQ4_NL, plain_iq4_nl, 0.0741, 0.0857}, {BLOCK_MXFP4, plain_mxfp4, 0.1126, 0.1237},
        {BLOCK_Q4_K, plain_q4_1, 0.0720, 0.0847},     {BLOCK_Q5_0, plain_q5_0, 0.0405, 0.0517},
        {BLOCK_Q5_1, plain_q5_1, 0.0354, 0.0417},     {BLOCK_Q5_K, plain_q5_1, 0.0354, 0.0418},
        {BLOCK_Q6_K, plain_q6_k, 0.0168, 0.0206},
    };
    struct sample *s[2] = {make_numbers(normal), make_numbers(laplace)};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int kind = 0; kind < 2; kind++) {
            double coded = coded_error(s[kind], rows[i].type);
            double plain = plain_error(s[kind], rows[i].plain);
            printf("    %-6s %-7s plain %.5f, searched %.5f (%+.1f %%)\n",
                   block_type_name(rows[i].type), kind ? "laplace" : "normal", plain, coded,
                   100 * (coded / plain - 1));
            CHECK(coded < plain);
            CHECK(coded < (kind ? rows[i].laplace : rows[i].normal));
        }
    CHECK(coded_error(s[0], BLOCK_Q8_0) < 0.0054);
    CHECK(coded_error(s[0], BLOCK_F16) < 0.00022);
    CHECK(coded_error(s[0], BLOCK_BF16) < 0.0017);
    CHECK(coded_error(s[0], BLOCK_F32) == 0);
    free(s[0]);
    free(s[1]);
}

TEST(block_q8_0_follows_the_usual_rule)
{
    float x[32] = {0};
    uint8_t b[34];
    x[0] = 1.27f;
    x[1] = -1.27f;
    x[2] = 0.025f; /* 2.5 steps: halves go away from zero */
    x[3] = -0.025f;
    x[4] = 0.024f;
    block_info(BLOCK_Q8_0)->encode(x, b, 32);
    CHECK_INT(b[0] | b[1] << 8, block_f32_to_f16(0.01f));
    CHECK_INT((int8_t)b[2], 127);
    CHECK_INT((int8_t)b[3], -127);
    CHECK_INT((int8_t)b[4], 3);
    CHECK_INT((int8_t)b[5], -3);
    CHECK_INT((int8_t)b[6], 2);
    CHECK_INT(b[7], 0);
}

static void code_and_back(enum block_type type, const float *x, float *y, size_t n)
{
    uint8_t blocks[256 * 4];
    block_info((uint32_t)type)->encode(x, blocks, n);
    block_info((uint32_t)type)->decode(blocks, y, n);
}

static const enum block_type writable[] = {
    BLOCK_F32,  BLOCK_F16,  BLOCK_BF16,   BLOCK_Q8_0,  BLOCK_Q4_0, BLOCK_Q4_1, BLOCK_Q5_0,
    BLOCK_Q5_1, BLOCK_Q5_K, BLOCK_IQ4_NL, BLOCK_MXFP4, BLOCK_Q4_K, BLOCK_Q6_K,
};
enum { N_WRITABLE = sizeof writable / sizeof *writable };

TEST(block_writable_types_are_those_of_the_header)
{
    int n = 0;
    for (uint32_t id = 0; id < BLOCK_TYPE_LIMIT; id++)
        n += block_info(id) && block_info(id)->encode;
    CHECK_INT(n, N_WRITABLE);
    for (int i = 0; i < N_WRITABLE; i++)
        CHECK(block_info((uint32_t)writable[i])->encode);
}

TEST(block_zeros_stay_zeros_and_constants_stay_close)
{
    float x[256], y[256];
    for (int i = 0; i < N_WRITABLE; i++) {
        memset(x, 0, sizeof x);
        code_and_back(writable[i], x, y, 256);
        for (int k = 0; k < 256; k++)
            CHECK(y[k] == 0);
        for (int sign = -1; sign <= 1; sign += 2) {
            for (int k = 0; k < 256; k++)
                x[k] = (float)sign * 0.8f;
            code_and_back(writable[i], x, y, 256);
            for (int k = 0; k < 256; k++)
                if (fabsf(y[k] - x[k]) > (writable[i] == BLOCK_MXFP4 ? 0.061f : 0.004f))
                    test_fail(__FILE__, __LINE__, "%s: %g became %g", block_type_name(writable[i]),
                              (double)x[k], (double)y[k]);
        }
    }
}

/* Numbers that a block can hold exactly come back exactly: every code of each book, times a scale
 * that a half can hold. */
TEST(block_exact_values_come_back)
{
    float x[32], y[32];
    for (int i = 0; i < 32; i++)
        x[i] = 0.125f * (float)(i % 16 - 8);
    code_and_back(BLOCK_Q4_0, x, y, 32);
    CHECK(memcmp(x, y, sizeof x) == 0);
    for (int i = 0; i < 32; i++)
        x[i] = 0.25f * (float)(i % 16) - 1.5f;
    code_and_back(BLOCK_Q4_1, x, y, 32);
    CHECK(memcmp(x, y, sizeof x) == 0);
    for (int i = 0; i < 32; i++)
        x[i] = 0x1p-10f * (float)block_iq4_values[i % 16];
    code_and_back(BLOCK_IQ4_NL, x, y, 32);
    CHECK(memcmp(x, y, sizeof x) == 0);
    for (int i = 0; i < 32; i++)
        x[i] = 0x1p-7f * (float)block_mxfp4_values[i % 16];
    code_and_back(BLOCK_MXFP4, x, y, 32);
    CHECK(memcmp(x, y, sizeof x) == 0);
}

/* One large value among small ones must not be lost. */
TEST(block_outliers_survive)
{
    float x[256], y[256];
    struct rng r = {test_seed()};
    for (int i = 0; i < 256; i++)
        x[i] = rng_f32(&r, -0.01f, 0.01f);
    x[77] = 5;
    for (int i = 0; i < N_WRITABLE; i++) {
        code_and_back(writable[i], x, y, 256);
        if (fabsf(y[77] - 5) > (writable[i] == BLOCK_MXFP4 ? 1.01f : 0.05f))
            test_fail(__FILE__, __LINE__, "%s: 5 became %g", block_type_name(writable[i]),
                      (double)y[77]);
    }
}

/* Under the sanitizers this shows that no conversion is undefined. */
TEST(block_encoders_take_any_float)
{
    static const float odd[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 1e-45f, -1e-39f, 1e20f};
    float x[256], y[256];
    struct rng r = {test_seed()};
    for (int round = 0; round < 200; round++) {
        for (int i = 0; i < 256; i++) {
            uint32_t bits = (uint32_t)rng_u64(&r);
            memcpy(&x[i], &bits, sizeof x[i]);
            if (round % 2)
                x[i] = bits % 8 ? rng_f32(&r, -1, 1) : odd[bits / 8 % 8];
        }
        for (int i = 0; i < N_WRITABLE; i++)
            code_and_back(writable[i], x, y, 256);
    }
}
