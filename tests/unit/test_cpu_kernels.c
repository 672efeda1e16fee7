/* Every layout and instruction set against the scalar decoder, over random ragged shapes. */
#include <math.h>

#include "base/rng.h"
#include "compute/cpu/kernels.h"
#include "test.h"

enum { MAX_COLS = 1024 };

/* Random blocks whose values stay small: all codes random, scales around one. */
static void random_blocks(struct rng *r, enum block_type type, uint8_t *out, size_t n_blocks)
{
    const struct block_info *info = block_info(type);
    for (size_t i = 0; i < n_blocks; i++, out += info->n_bytes) {
        for (uint32_t j = 0; j < info->n_bytes; j++)
            out[j] = (uint8_t)rng_u64(r);
        uint16_t d = block_f32_to_f16(rng_f32(r, -1, 1)), m = block_f32_to_f16(rng_f32(r, 0, 1));
        switch (type) {
        case BLOCK_F32: memcpy(out, &(float){rng_f32(r, -1, 1)}, 4); break;
        case BLOCK_F16: memcpy(out, &d, 2); break;
        case BLOCK_BF16: out[1] = (uint8_t)(0x3e | (out[1] & 0x81)); break;
        case BLOCK_MXFP4: out[0] = (uint8_t)(120 + rng_below(r, 16)); break;
        case BLOCK_Q6_K: memcpy(out + 208, &d, 2); break;
        case BLOCK_Q3_K: memcpy(out + 108, &d, 2); break;
        case BLOCK_Q2_K:
            memcpy(out + 80, &d, 2);
            memcpy(out + 82, &m, 2);
            break;
        case BLOCK_Q4_1:
        case BLOCK_Q5_1:
        case BLOCK_Q4_K:
        case BLOCK_Q5_K: memcpy(out + 2, &m, 2); __attribute__((fallthrough));
        default: memcpy(out, &d, 2);
        }
    }
}

static const struct cpu_kernels *isa_at(int i)
{
    const struct cpu_kernels *k = cpu_kernels_for((enum cpu_isa)i);
    return i > 0 && k == cpu_kernels_for((enum cpu_isa)(i - 1)) ? NULL : k;
}

struct operands {
    uint32_t n_cols, n_rows, n_acts;
    uint8_t *group;
    float weights[ROWS][MAX_COLS]; /* decoded */
    float x[TILE_ROWS][MAX_COLS];  /* activations */
    struct act_block blocks[TILE_ROWS * MAX_COLS / BLOCK_COLS];
};

static void operands_random(struct rng *r, enum layout l, struct operands *o)
{
    const struct block_info *file = block_info(layout_info(l)->type);
    uint32_t unit = file->n_elems > 32 ? file->n_elems : 32;
    static uint8_t raw[ROWS * MAX_COLS * 4];
    o->n_cols = unit * (1 + (uint32_t)rng_below(r, MAX_COLS / unit));
    o->n_rows = 1 + (uint32_t)rng_below(r, ROWS);
    o->n_acts = 1 + (uint32_t)rng_below(r, TILE_ROWS);
    random_blocks(r, layout_info(l)->type, raw, (size_t)o->n_rows * o->n_cols / file->n_elems);
    size_t bytes = layout_group_bytes(l, o->n_cols);
    CHECK(bytes % 64 == 0);
    free(o->group);
    CHECK(o->group = aligned_alloc(64, bytes));
    memset(o->group, 0xa5, bytes);
    layout_pack(l, raw, o->n_rows, o->n_cols, o->group);
    memset(o->weights, 0, sizeof o->weights);
    for (uint32_t i = 0; i < o->n_rows; i++)
        file->decode(raw + i * block_row_bytes(layout_info(l)->type, o->n_cols), o->weights[i],
                     o->n_cols);
    for (uint32_t i = 0; i < o->n_acts; i++)
        for (uint32_t k = 0; k < o->n_cols; k++)
            o->x[i][k] = rng_f32(r, -1, 1) * (k % 64 < 32 ? 1.0f : 0.01f);
}

/* What mul must give: exact sums over the quantised activations. */
static double want(const struct operands *o, bool is_float, uint32_t act, uint32_t row,
                   double *magnitude)
{
    double sum = 0;
    *magnitude = 0;
    for (uint32_t k = 0; k < o->n_cols; k++) {
        const struct act_block *a = &o->blocks[k / BLOCK_COLS * o->n_acts + act];
        double x = is_float ? (double)o->x[act][k] : (double)a->d * a->q[k % BLOCK_COLS];
        sum += x * (double)o->weights[row][k];
        *magnitude += fabs(x * (double)o->weights[row][k]);
    }
    return sum;
}

static void check_mul(const struct cpu_kernels *kernels, enum layout l, struct rng *r,
                      struct operands *o)
{
    float out[TILE_ROWS][ROWS], alone[1][ROWS];
    bool is_float = layout_info(l)->is_float;
    operands_random(r, l, o);
    for (uint32_t i = 0; i < o->n_acts; i++)
        kernels->quantise(o->x[i], o->n_cols, o->blocks + i, o->n_acts);
    struct act_tile tile = {o->blocks, o->x[0], MAX_COLS, o->n_acts};
    kernels->mul[l](o->group, o->n_cols, &tile, out);
    for (uint32_t i = 0; i < o->n_acts; i++) {
        for (uint32_t row = 0; row < ROWS; row++) {
            double magnitude, expected = want(o, is_float, i, row, &magnitude);
            double error = fabs((double)out[i][row] - expected);
            if (!(error <= 3e-6 * magnitude + 1e-30))
                test_fail(__FILE__, __LINE__, "%s %s: %u columns, act %u of %u, row %u: %g, not %g",
                          kernels->name, block_info(layout_info(l)->type)->name, o->n_cols, i,
                          o->n_acts, row, (double)out[i][row], expected);
        }
        /* Alone in its tile a row gives the same bits. */
        struct act_block lone[MAX_COLS / BLOCK_COLS];
        kernels->quantise(o->x[i], o->n_cols, lone, 1);
        struct act_tile one = {lone, o->x[i], MAX_COLS, 1};
        kernels->mul[l](o->group, o->n_cols, &one, alone);
        CHECK(memcmp(alone[0], out[i], sizeof alone[0]) == 0);
    }
}

TEST(cpu_mul_matches_the_decoder_for_every_layout_and_isa)
{
    struct rng r = {test_seed()};
    struct operands *o = calloc(1, sizeof *o);
    for (int isa = CPU_PORTABLE; isa <= CPU_AVX512; isa++) {
        const struct cpu_kernels *kernels = isa_at(isa);
        for (int l = 0; kernels && l < LAYOUT_COUNT; l++)
            for (int round = 0; round < 40; round++)
                check_mul(kernels, (enum layout)l, &r, o);
    }
    free(o->group);
    free(o);
}

TEST(cpu_turns_keys_into_values_for_every_isa)
{
    enum { N = 48 };
    struct rng r = {test_seed()};
    float keys[N][KEY_TILE], values[KEY_TILE][N];
    for (int isa = CPU_PORTABLE; isa <= CPU_AVX512; isa++) {
        const struct cpu_kernels *kernels = isa_at(isa);
        const uint32_t n_valid = 1 + (uint32_t)rng_below(&r, KEY_TILE);
        for (int i = 0; i < N; i++)
            for (int lane = 0; lane < KEY_TILE; lane++)
                keys[i][lane] = rng_f32(&r, -1, 1);
        if (!kernels)
            continue;
        kernels->turn_keys((const float(*)[KEY_TILE])keys, N, n_valid, values[0]);
        for (uint32_t lane = 0; lane < KEY_TILE; lane++)
            for (int i = 0; i < N; i++)
                CHECK(values[lane][i] == (lane < n_valid ? keys[i][lane] : 0));
    }
}

/* Where byte i of n vectors of elements of n_bytes is, [vector][row], once it is [row][vector]. */
static size_t turned(size_t i, size_t n, size_t n_bytes)
{
    const size_t element = i / n_bytes, vector = element / ROWS, row = element % ROWS;
    return (row * n + vector) * n_bytes + i % n_bytes;
}

/* Of byte i of a block's codes: the vectors of its plane, and where that begins. */
static size_t place_of_code(enum code_kind kind, size_t i)
{
    static const uint8_t n_vectors[][2] = {
        [CODE_2] = {2},    [CODE_3] = {2, 1}, [CODE_4] = {4},
        [CODE_5] = {4, 1}, [CODE_6] = {4, 2}, [CODE_8] = {8},
    };
    const size_t first = n_vectors[kind][0] * ROWS * sizeof(uint32_t);
    return i < first ? turned(i, n_vectors[kind][0], sizeof(uint32_t))
                     : first + turned(i - first, n_vectors[kind][1], sizeof(uint32_t));
}

/* Of byte i of a record of scales: d and m, then a block's two bytes of s, or one of s and of t. */
static size_t place_of_scale(enum scale_kind kind, size_t i)
{
    enum { HALVES = 2 * ROWS, PAIR = 2 * ROWS, OF_S = 8 * ROWS };
    const bool has_m = kind == SCALE_HALF_MIN || kind == SCALE_SUPER_MIN || kind == SCALE_16_MIN;
    const size_t first = has_m ? 2 * HALVES : HALVES;
    if (kind == SCALE_EXPONENT || kind == SCALE_SUPER)
        return i;
    if (i < first)
        return has_m ? turned(i, 2, 2) : i;
    i -= first;
    if (kind == SCALE_SUPER_MIN)
        return first + i % OF_S / ROWS * PAIR + i % ROWS * 2 + i / OF_S;
    return first + i / PAIR * PAIR + turned(i % PAIR, 2, 1);
}

/* What a row has in vectors of one kind comes side by side; nothing else moves. */
TEST(layout_by_row_turns_planes_and_scales)
{
    enum { N_COLS = 512, N_BLOCKS = N_COLS / BLOCK_COLS };
    static uint8_t before[ROWS * N_COLS * 4], after[sizeof before], wanted[sizeof before];
    struct rng r = {test_seed()};
    for (enum layout l = 0; l < LAYOUT_COUNT; l++) {
        const struct layout_info *info = layout_info(l);
        const size_t n = layout_group_bytes(l, N_COLS), n_code = code_bytes(info->code),
                     n_scale = scale_bytes(info->scale), codes = N_BLOCKS * n_code;
        CHECK(n <= sizeof before);
        for (size_t i = 0; i < n; i++)
            wanted[i] = after[i] = before[i] = (uint8_t)rng_u64(&r);
        layout_by_row(l, N_COLS, after);
        for (size_t i = 0; !info->is_float && i < codes; i++)
            wanted[i / n_code * n_code + place_of_code(info->code, i % n_code)] = before[i];
        const size_t scales = info->is_float ? 0 : N_BLOCKS / scale_blocks(info->scale) * n_scale;
        for (size_t i = 0; i < scales; i++)
            wanted[codes + i / n_scale * n_scale + place_of_scale(info->scale, i % n_scale)] =
                before[codes + i];
        CHECK(!memcmp(wanted, after, n));
    }
}
