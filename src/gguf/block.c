#include "gguf/block.h"

#include <string.h>
#include <strings.h>

#include "gguf/block_int.h"

const int8_t block_iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                     1,    13,   25,  38,  53,  69,  89,  113};
const int8_t block_mxfp4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

static const struct block_info infos[BLOCK_TYPE_LIMIT] = {
    [BLOCK_F32] = {"F32", 1, 4, block_decode_f32, block_encode_f32},
    [BLOCK_F16] = {"F16", 1, 2, block_decode_f16, block_encode_f16},
    [BLOCK_BF16] = {"BF16", 1, 2, block_decode_bf16, block_encode_bf16},
    [BLOCK_Q4_0] = {"Q4_0", 32, 18, block_decode_q4_0, block_encode_q4_0},
    [BLOCK_Q4_1] = {"Q4_1", 32, 20, block_decode_q4_1, block_encode_q4_1},
    [BLOCK_Q5_0] = {"Q5_0", 32, 22, block_decode_q5_0, block_encode_q5_0},
    [BLOCK_Q5_1] = {"Q5_1", 32, 24, block_decode_q5_1, block_encode_q5_1},
    [BLOCK_Q8_0] = {"Q8_0", 32, 34, block_decode_q8_0, block_encode_q8_0},
    [BLOCK_IQ4_NL] = {"IQ4_NL", 32, 18, block_decode_iq4_nl, block_encode_iq4_nl},
    [BLOCK_MXFP4] = {"MXFP4", 32, 17, block_decode_mxfp4, block_encode_mxfp4},
    [BLOCK_Q2_K] = {"Q2_K", 256, 84, block_decode_q2_k, NULL},
    [BLOCK_Q3_K] = {"Q3_K", 256, 110, block_decode_q3_k, NULL},
    [BLOCK_Q4_K] = {"Q4_K", 256, 144, block_decode_q4_k, block_encode_q4_k},
    [BLOCK_Q5_K] = {"Q5_K", 256, 176, block_decode_q5_k, block_encode_q5_k},
    [BLOCK_Q6_K] = {"Q6_K", 256, 210, block_decode_q6_k, block_encode_q6_k},
    [BLOCK_IQ4_XS] = {"IQ4_XS", 256, 136, block_decode_iq4_xs, NULL},
};

/* Ids that stand in files but that tawny does not read, so that a refusal can name them. */
static const char *const unread_names[BLOCK_TYPE_LIMIT] = {
    [4] = "Q4_2 (removed)",
    [5] = "Q4_3 (removed)",
    [9] = "Q8_1",
    [15] = "Q8_K",
    [16] = "IQ2_XXS",
    [17] = "IQ2_XS",
    [18] = "IQ3_XXS",
    [19] = "IQ1_S",
    [21] = "IQ3_S",
    [22] = "IQ2_S",
    [24] = "I8",
    [25] = "I16",
    [26] = "I32",
    [27] = "I64",
    [28] = "F64",
    [29] = "IQ1_M",
    [31] = "Q4_0_4_4 (removed)",
    [32] = "Q4_0_4_8 (removed)",
    [33] = "Q4_0_8_8 (removed)",
    [34] = "TQ1_0",
    [35] = "TQ2_0",
    [36] = "removed",
    [37] = "removed",
    [38] = "removed",
    [40] = "NVFP4",
    [41] = "Q1_0",
    [42] = "Q2_0",
};

const struct block_info *block_info(uint32_t type)
{
    return type < BLOCK_TYPE_LIMIT && infos[type].name ? &infos[type] : NULL;
}

const char *block_type_name(uint32_t type)
{
    const struct block_info *info = block_info(type);
    if (info)
        return info->name;
    return type < BLOCK_TYPE_LIMIT && unread_names[type] ? unread_names[type] : "unknown";
}

bool block_type_of(str name, enum block_type *out)
{
    for (uint32_t type = 0; type < BLOCK_TYPE_LIMIT; type++) {
        const char *known = infos[type].name;
        if (known && strlen(known) == name.n && strncasecmp(known, name.p, name.n) == 0) {
            *out = (enum block_type)type;
            return true;
        }
    }
    return false;
}

size_t block_row_bytes(enum block_type type, size_t n)
{
    const struct block_info *info = block_info((uint32_t)type);
    size_t bytes;
    if (!info || n % info->n_elems ||
        __builtin_mul_overflow(n / info->n_elems, info->n_bytes, &bytes))
        return 0;
    return bytes;
}

static float float_of(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint32_t bits_of(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

float block_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    uint32_t rest = h & 0x7fff;
    if (rest >= 0x7c00)
        return float_of(sign | 0x7f800000 | rest << 13);
    if (rest >= 0x0400)
        return float_of(sign | (rest + (112 << 10)) << 13);
    /* A subnormal half is a normal single: no step here may pass through a subnormal single, which
     * a thread that flushes those would turn into 0. */
    float magnitude = (float)rest * 0x1p-24f;
    return sign ? -magnitude : magnitude;
}

uint16_t block_f32_to_f16(float f)
{
    uint32_t bits = bits_of(f);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    uint32_t rest = bits & 0x7fffffff;
    if (rest > 0x7f800000)
        return sign | 0x7e00;
    if (rest >= bits_of(65520.0f)) /* halfway between the largest half and the next step */
        return sign | 0x7c00;
    if (rest >= bits_of(0x1p-14f)) {
        rest -= 112u << 23;
        return (uint16_t)(sign | (rest + 0xfff + (rest >> 13 & 1)) >> 13);
    }
    /* Singles just above 0.5 are 2^-24 apart, as subnormal halves are: the addition rounds. */
    return (uint16_t)(sign | (bits_of(0.5f + float_of(rest)) - bits_of(0.5f)));
}

float block_bf16_to_f32(uint16_t b)
{
    return float_of((uint32_t)b << 16);
}

uint16_t block_f32_to_bf16(float f)
{
    uint32_t bits = bits_of(f);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(bits >> 16 | 0x40); /* rounding could turn a NaN into infinity */
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float block_e8m0_half(uint8_t e)
{
    return float_of(e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23);
}
