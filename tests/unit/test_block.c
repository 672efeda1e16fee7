/* Block types: conversions of halves, and decoding of blocks worked out by hand from the formulas.
 */
#include "gguf/block.h"

#include <math.h>

#include "test.h"

TEST(block_table_is_consistent)
{
    enum block_type type;
    int n_known = 0;
    for (uint32_t id = 0; id < 100; id++) {
        const struct block_info *info = block_info(id);
        if (!info)
            continue;
        n_known++;
        CHECK(info->decode && info->n_elems && info->n_bytes);
        CHECK(block_type_of(str_of(info->name), &type) && (uint32_t)type == id);
        CHECK_INT(block_row_bytes((enum block_type)id, 256), 256 / info->n_elems * info->n_bytes);
    }
    CHECK_INT(n_known, 16);
    CHECK(block_type_of(STR("q4_k"), &type) && type == BLOCK_Q4_K);
    CHECK(!block_type_of(STR("q4"), &type) && !block_type_of(STR(""), &type));
    CHECK_INT(block_row_bytes(BLOCK_MXFP4, 2880), 1530);
    CHECK_INT(block_row_bytes(BLOCK_Q4_K, 2880), 0);
    CHECK_INT(block_row_bytes(BLOCK_F32, SIZE_MAX / 2), 0);
    CHECK_INT(block_row_bytes((enum block_type)16, 256), 0);
    CHECK_STR(str_of(block_type_name(18)), STR("IQ3_XXS"));
    CHECK_STR(str_of(block_type_name(12)), STR("Q4_K"));
    CHECK_STR(str_of(block_type_name(4000000000)), STR("unknown"));
}

TEST(block_half_values)
{
    static const struct {
        uint16_t half;
        float value;
    } rows[] = {
        {0x0000, 0.0f},        {0x3c00, 1.0f},     {0xc000, -2.0f},        {0x7bff, 65504.0f},
        {0x0400, 0x1p-14f},    {0x0001, 0x1p-24f}, {0x03ff, 0x1.ff8p-15f}, {0x8001, -0x1p-24f},
        {0x3555, 0x1.554p-2f}, {0x7c00, INFINITY}, {0xfc00, -INFINITY},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        CHECK(block_f16_to_f32(rows[i].half) == rows[i].value);
        CHECK_INT(block_f32_to_f16(rows[i].value), rows[i].half);
    }
    CHECK(signbit(block_f16_to_f32(0x8000)));
    CHECK(isnan(block_f16_to_f32(0x7e01)) && isnan(block_f16_to_f32(block_f32_to_f16(NAN))));
}

/* All halves survive the round trip, and what lies between two goes to the nearer one or, in the
 * middle, to the even one. */
TEST(block_half_rounds_to_nearest_even)
{
    for (uint32_t h = 0; h < 0x7c00; h++) {
        float a = block_f16_to_f32((uint16_t)h);
        float b = h == 0x7bff ? 65536.0f : block_f16_to_f32((uint16_t)(h + 1));
        float middle = a + (b - a) / 2;
        uint32_t even = h & 1 ? h + 1 : h;
        if (block_f32_to_f16(a) != h || block_f32_to_f16(-a) != (h | 0x8000) ||
            block_f32_to_f16(middle) != even || block_f32_to_f16(nextafterf(middle, 0)) != h ||
            block_f32_to_f16(nextafterf(middle, INFINITY)) != h + 1)
            test_fail(__FILE__, __LINE__, "half 0x%04x", h);
    }
}

TEST(block_bfloat_rounds_to_nearest_even)
{
    CHECK(block_bf16_to_f32(0x3fc0) == 1.5f);
    CHECK_INT(block_f32_to_bf16(0x1.01p0f), 0x3f80);
    CHECK_INT(block_f32_to_bf16(0x1.03p0f), 0x3f82);
    CHECK_INT(block_f32_to_bf16(0x1.010002p0f), 0x3f81);
    CHECK_INT(block_f32_to_bf16(-0x1.fffffep127f), 0xff80);
    CHECK(isnan(block_bf16_to_f32(block_f32_to_bf16(NAN))));
}

TEST(block_shared_exponent)
{
    CHECK(block_e8m0_half(0) == 0x1p-128f && block_e8m0_half(1) == 0x1p-127f);
    CHECK(block_e8m0_half(2) == 0x1p-126f && block_e8m0_half(128) == 1.0f);
    CHECK(block_e8m0_half(255) == 0x1p127f);
}

/* Decodes one block and compares some of its elements. */
static void check_block(enum block_type type, const uint8_t *block, const int *at,
                        const float *want, int n)
{
    float out[256];
    const struct block_info *info = block_info(type);
    info->decode(block, out, info->n_elems);
    for (int i = 0; i < n; i++)
        if (out[at[i]] != want[i])
            test_fail(__FILE__, __LINE__, "%s element %d: got %g, want %g", info->name, at[i],
                      (double)out[at[i]], (double)want[i]);
}

TEST(block_32_by_hand)
{
    int at[] = {0, 1, 16, 17};
    /* d = 0.5; first byte 0x2f: element 0 has code 15, element 16 code 2; second 0x80: 0 and 8. */
    uint8_t q4_0[18] = {0x00, 0x38, 0x2f, 0x80};
    check_block(BLOCK_Q4_0, q4_0, at, (float[]){3.5f, -4, -3, 0}, 4);
    check_block(BLOCK_IQ4_NL, q4_0, at, (float[]){56.5f, -63.5f, -41.5f, 0.5f}, 4);
    uint8_t q4_1[20] = {0x00, 0x38, 0x00, 0xbc, 0x2f, 0x80};
    check_block(BLOCK_Q4_1, q4_1, at, (float[]){6.5f, -1, 0, 3}, 4);
    /* qh bits 0 and 17 give those elements 16 more. */
    uint8_t q5_0[22] = {0x00, 0x38, 0x01, 0x00, 0x02, 0x00, 0x2f, 0x80};
    check_block(BLOCK_Q5_0, q5_0, at, (float[]){7.5f, -8, -7, 4}, 4);
    uint8_t q5_1[24] = {0x00, 0x38, 0x00, 0xbc, 0x01, 0x00, 0x02, 0x00, 0x2f, 0x80};
    check_block(BLOCK_Q5_1, q5_1, at, (float[]){14.5f, -1, 0, 11}, 4);
    uint8_t q8_0[34] = {0x00, 0x38, 0x7f, 0x80, [18] = 0xff, [19] = 2};
    check_block(BLOCK_Q8_0, q8_0, at, (float[]){63.5f, -64, -0.5f, 1}, 4);
    /* exponent 127 is a scale of 1; codes 15, 0, 2, 8 of the E2M1 table. */
    uint8_t mxfp4[17] = {127, 0x2f, 0x80};
    check_block(BLOCK_MXFP4, mxfp4, at, (float[]){-6, 0, 1, 0}, 4);
}

TEST(block_256_by_hand)
{
    float out[256];
    /* d = 1, dmin = 0.5. Sub-block 0: scale 3, min 2. Sub-block 5: scale 0x25 = 37 (low 5, up 2),
     * min 0x13 = 19 (low 3, up 1). */
    uint8_t q4_k[144] = {
        0x00,    0x3c,         0x00,        0x38,        [4] = 3,         [5] = 2 << 6,
        [8] = 2, [9] = 1 << 6, [13] = 0x35, [16] = 0x07, [16 + 64] = 0x90};
    block_info(BLOCK_Q4_K)->decode(q4_k, out, 256);
    CHECK(out[0] == 3 * 7 - 0.5f * 2 && out[1] == -1);
    CHECK(out[160] == 37 * 9 - 0.5f * 19 && out[161] == -9.5f);
    uint8_t q5_k[176] = {0x00, 0x3c, 0x00, 0x38, [4] = 3, [8] = 2, [16] = 1, [48] = 0x07};
    block_info(BLOCK_Q5_K)->decode(q5_k, out, 256);
    CHECK(out[0] == 3 * 23 - 1 && out[1] == -1 && out[32] == 0);
    /* Element 33 = low nibble of byte 33; element 97 = its high nibble; upper bits 2 and 3. */
    uint8_t q6_k[210] = {
        [33] = 0x5a, [128 + 1] = 2 << 2 | 3 << 6, [192 + 2] = 2, [192 + 6] = 0xfd, [209] = 0x3c};
    block_info(BLOCK_Q6_K)->decode(q6_k, out, 256);
    CHECK(out[33] == 2 * (0x2a - 32) && out[97] == -3 * (0x35 - 32) && out[32] == -64);
    /* Element 140 is in the second half, group 0 of it, byte 12; scale group 8. */
    uint8_t q2_k[84] = {[8] = 0x4a, [16 + 32 + 12] = 3, [81] = 0x3c, [83] = 0x38};
    block_info(BLOCK_Q2_K)->decode(q2_k, out, 256);
    CHECK(out[140] == 10 * 3 - 0.5f * 4 && out[141] == -2 && out[0] == 0);
    /* Scale 9: low 4 bits from the high nibble of s[1], upper from s[9] bits 4-5: 2 | 3 << 4. */
    uint8_t q3_k[110] = {
        [16] = 1 << 4, [32 + 32 + 16] = 1, [96 + 1] = 2 << 4, [96 + 9] = 3 << 4, [109] = 0x3c};
    block_info(BLOCK_Q3_K)->decode(q3_k, out, 256);
    CHECK(out[144] == (50 - 32) * 1 && out[145] == (50 - 32) * -4 && out[0] == 128);
    /* Sub-block 3: low 4 bits from sl[1] high, upper from sh bits 6-7: 1 | 3 << 4 = 49. */
    uint8_t iq4_xs[136] = {0x00, 0x3c, 3 << 6, 0, 0, 1 << 4, [8 + 48] = 0xf0};
    block_info(BLOCK_IQ4_XS)->decode(iq4_xs, out, 256);
    CHECK(out[96] == 17 * -127 && out[112] == 17 * 113 && out[0] == -32 * -127);
}
