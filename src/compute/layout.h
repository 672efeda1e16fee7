/* layout: how the backends that are built for speed keep a matrix. Rows are taken in groups of 16,
 * one row per SIMD lane, so that one instruction works on 16 output values and no sum across lanes
 * is ever needed; a thread of a GPU has a row, too. A group is one contiguous run of bytes that a
 * thread or workgroup streams through:
 *
 *   integer layouts: [code planes of block 0, 1, ...][scales of block 0, 1, ...]
 *     A block is 16 rows x 32 columns. Its codes are eight "quads": quad j holds, row after row,
 * the four codes of columns 4j .. 4j+3 (64 bytes), which is what a four-way byte dot product eats.
 *     Codes narrower than 8 bits are split into planes:
 *       4 bits: 64-byte vector i has quad i in its low nibbles and quad i + 4 in its high ones;
 *       2 bits: 64-byte vector i has quad 4i + s at bit 2s;  1 bit: quad j at bit j.
 *   float layouts: [column 0 of the 16 rows][column 1] ...
 *
 * Rows past the end of the matrix are zero. Nothing of the file's precision is lost: codes and
 * scales are the file's own. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gguf/block.h"

enum {
    ROWS = 16,       /* of a group */
    BLOCK_COLS = 32, /* of an integer block and of an activation block */
};

/* How a code of 2..8 bits lies in planes. */
enum code_kind { CODE_2, CODE_3, CODE_4, CODE_5, CODE_6, CODE_8 };

/* The scales of a block, each as 16 lanes. d and m are halves, s and t signed bytes. */
enum scale_kind {
    SCALE_HALF,      /* per block: d                         value = d c */
    SCALE_HALF_MIN,  /* per block: d, m                      value = d c + m */
    SCALE_EXPONENT,  /* per block: a byte e                  value = 2^(e - 128) c */
    SCALE_SUPER,     /* per 8 blocks: d, s[8]                value = d s c */
    SCALE_SUPER_MIN, /* per 8 blocks: d, m, s[8], t[8]       value = d s c - m t */
    SCALE_16,        /* per 8 blocks: d, s[16]: two halves   value = d s c */
    SCALE_16_MIN,    /* per 8 blocks: d, m, s|t<<4 [16]      value = d s c - m t */
};

/* X(layout, code, scale, offset, table): c is the plane code - offset, or table[code]. */
#define INT_LAYOUTS(X)                                                                             \
    X(Q4_0, CODE_4, SCALE_HALF, 8, NULL)                                                           \
    X(Q4_1, CODE_4, SCALE_HALF_MIN, 0, NULL)                                                       \
    X(Q5_0, CODE_5, SCALE_HALF, 16, NULL)                                                          \
    X(Q5_1, CODE_5, SCALE_HALF_MIN, 0, NULL)                                                       \
    X(Q8_0, CODE_8, SCALE_HALF, 0, NULL)                                                           \
    X(Q2_K, CODE_2, SCALE_16_MIN, 0, NULL)                                                         \
    X(Q3_K, CODE_3, SCALE_16, 4, NULL)                                                             \
    X(Q4_K, CODE_4, SCALE_SUPER_MIN, 0, NULL)                                                      \
    X(Q5_K, CODE_5, SCALE_SUPER_MIN, 0, NULL)                                                      \
    X(Q6_K, CODE_6, SCALE_16, 32, NULL)                                                            \
    X(IQ4_NL, CODE_4, SCALE_HALF, 0, block_iq4_values)                                             \
    X(IQ4_XS, CODE_4, SCALE_SUPER, 0, block_iq4_values)                                            \
    X(MXFP4, CODE_4, SCALE_EXPONENT, 0, block_mxfp4_values)

#define FLOAT_LAYOUTS(X) X(F32) X(F16) X(BF16)

enum layout {
#define X(name, ...) LAYOUT_##name,
    INT_LAYOUTS(X) FLOAT_LAYOUTS(X)
#undef X
        LAYOUT_COUNT,
};

/* Bytes of the code planes of one block. */
static inline size_t code_bytes(enum code_kind k)
{
    static const uint16_t bytes[] = {128, 192, 256, 320, 384, 512};
    return bytes[k];
}

/* Blocks that share one scale record, and that record's bytes. */
static inline uint32_t scale_blocks(enum scale_kind k)
{
    return k <= SCALE_EXPONENT ? 1 : 8;
}

static inline size_t scale_bytes(enum scale_kind k)
{
    static const uint16_t bytes[] = {32, 64, 16, 160, 320, 288, 320};
    return bytes[k];
}

struct layout_info {
    enum block_type type;
    bool is_float;
    enum code_kind code;
    enum scale_kind scale;
    uint8_t elem_bytes; /* of float layouts */
};

/* The layout for a file type; false when the backend has none. */
bool layout_of(enum block_type type, enum layout *out);
const struct layout_info *layout_info(enum layout l);
/* Bytes of a group of 16 rows with n_cols columns, a multiple of 64. */
size_t layout_group_bytes(enum layout l, uint64_t n_cols);
/* Repacks up to 16 rows of n_cols columns, as they stand in the file one after the other, into one
 * group. n_rows < 16: the rest becomes zero rows. */
void layout_pack(enum layout l, const uint8_t *rows, uint32_t n_rows, uint32_t n_cols,
                 uint8_t *group);
/* Puts what a row has in vectors of one kind side by side, so that a thread that has a row loads it
 * at once: from [vector][row] to [row][vector] go each plane of a block's codes, d and m, and the
 * two bytes that a block has of s, or of s and t. Float layouts stay. */
void layout_by_row(enum layout l, uint32_t n_cols, uint8_t *group);
