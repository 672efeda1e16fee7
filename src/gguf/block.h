/* block: the number formats a tensor can have on disk, after shared spec "quants": sizes, scalar
 * dequantise (all types) and quantise (those a writer offers). The scalar code here is the truth
 * that every kernel is compared with. Pure functions, thread-safe. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* ggml's type ids as they stand in the file. */
enum block_type {
    BLOCK_F32 = 0,
    BLOCK_F16 = 1,
    BLOCK_Q4_0 = 2,
    BLOCK_Q4_1 = 3,
    BLOCK_Q5_0 = 6,
    BLOCK_Q5_1 = 7,
    BLOCK_Q8_0 = 8,
    BLOCK_Q2_K = 10,
    BLOCK_Q3_K = 11,
    BLOCK_Q4_K = 12,
    BLOCK_Q5_K = 13,
    BLOCK_Q6_K = 14,
    BLOCK_IQ4_NL = 20,
    BLOCK_IQ4_XS = 23,
    BLOCK_BF16 = 30,
    BLOCK_MXFP4 = 39,
    BLOCK_TYPE_LIMIT = 64,
};

struct block_info {
    const char *name; /* "Q4_K"; NULL for an id that tawny does not read */
    uint16_t n_elems; /* per block: 1, 32 or 256 */
    uint16_t n_bytes; /* per block */
    /* n_elems values are decoded / encoded per block; n is a multiple of n_elems. encode is NULL
     * where tawny does not write the type. It looks for the least squared error (Q8_0: follows the
     * usual rule); values that are not finite or above 65504 give valid codes without meaning. */
    void (*decode)(const void *blocks, float *out, size_t n);
    void (*encode)(const float *in, void *blocks, size_t n);
};

/* NULL for ids outside the table or not supported. */
const struct block_info *block_info(uint32_t type);
/* The name of an id that tawny knows of but does not read ("IQ2_XXS"), or "unknown". For refusals.
 */
const char *block_type_name(uint32_t type);
/* "q4_k", "Q4_K", "IQ4_NL" ... to the type; false when there is none. */
bool block_type_of(str name, enum block_type *out);
/* Bytes of a row of n elements; 0 when n is no multiple of the block or the type is unknown. */
size_t block_row_bytes(enum block_type type, size_t n);

/* IEEE half and bfloat16. To half: round to nearest even, overflow to infinity. */
float block_f16_to_f32(uint16_t h);
uint16_t block_f32_to_f16(float f);
float block_bf16_to_f32(uint16_t b);
uint16_t block_f32_to_bf16(float f);
/* MXFP4's shared exponent: 2^(e - 128), the factor for the doubled table block_mxfp4_values. */
float block_e8m0_half(uint8_t e);
/* 16-entry code books: IQ4_NL and IQ4_XS; MXFP4 (twice the E2M1 value). */
extern const int8_t block_iq4_values[16];
extern const int8_t block_mxfp4_values[16];
