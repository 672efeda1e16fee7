#include "compute/cpu/layout.h"

#include <string.h>

static const struct layout_info LAYOUTS[LAYOUT_COUNT] = {
#define X(name, code, scale, ...) [LAYOUT_##name] = {BLOCK_##name, false, code, scale, 0},
    INT_LAYOUTS(X)
#undef X
        [LAYOUT_F32] = {BLOCK_F32, true, 0, 0, 4},
    [LAYOUT_F16] = {BLOCK_F16, true, 0, 0, 2},
    [LAYOUT_BF16] = {BLOCK_BF16, true, 0, 0, 2},
};

bool layout_of(enum block_type type, enum layout *out)
{
    for (int i = 0; i < LAYOUT_COUNT; i++) {
        if (LAYOUTS[i].type == type) {
            *out = (enum layout)i;
            return true;
        }
    }
    return false;
}

const struct layout_info *layout_info(enum layout l)
{
    return &LAYOUTS[l];
}

size_t layout_group_bytes(enum layout l, uint64_t n_cols)
{
    const struct layout_info *info = &LAYOUTS[l];
    size_t bytes;
    if (info->is_float) {
        bytes = (size_t)n_cols * ROWS * info->elem_bytes;
    } else {
        size_t n_blocks = (size_t)n_cols / BLOCK_COLS;
        bytes = n_blocks * code_bytes(info->code) +
                n_blocks / scale_blocks(info->scale) * scale_bytes(info->scale);
    }
    return (bytes + 63) & ~(size_t)63;
}

/* ---- codes: four at a time as the bytes of a word ------------------------------------------- */

static inline uint32_t word_at(const uint8_t *p)
{
    uint32_t w;
    memcpy(&w, p, sizeof w);
    return w;
}

static inline void word_put(uint8_t *p, uint32_t w)
{
    memcpy(p, &w, sizeof w);
}

enum {
    NIBBLES = 0x0f0f0f0f,
    PAIRS = 0x03030303,
    BITS = 0x01010101,
};

/* Bit i of the low four to byte i. */
static inline uint32_t spread(uint32_t bits)
{
    return ((bits & 15) * 0x00204081u) & BITS;
}

/* The quads of 32 half-split nibbles (file formats of section 2 of the spec). */
static inline void halves_quads(const uint8_t *qs, uint32_t q[8])
{
    for (int j = 0; j < 4; j++) {
        q[j] = word_at(qs + 4 * j) & NIBBLES;
        q[j + 4] = word_at(qs + 4 * j) >> 4 & NIBBLES;
    }
}

/* The eight quads of 32-column sub-block `sub` of one file block, in the layout's plane code. */
static void quads_of(enum layout l, const uint8_t *block, uint32_t sub, uint32_t q[8])
{
    uint32_t half = sub / 4, k = sub % 4;
    switch (l) {
    case LAYOUT_Q5_0:
    case LAYOUT_Q5_1: {
        const uint8_t *high = block + (l == LAYOUT_Q5_0 ? 2 : 4);
        halves_quads(high + 4, q);
        for (int j = 0; j < 8; j++)
            q[j] |= spread(word_at(high) >> 4 * j) << 4;
        break;
    }
    case LAYOUT_Q8_0: memcpy(q, block + 2, BLOCK_COLS); break;
    case LAYOUT_Q2_K:
        for (uint32_t j = 0; j < 8; j++)
            q[j] = word_at(block + 16 + 32 * half + 4 * j) >> 2 * k & PAIRS;
        break;
    case LAYOUT_Q3_K:
        for (uint32_t j = 0; j < 8; j++)
            q[j] = (word_at(block + 32 + 32 * half + 4 * j) >> 2 * k & PAIRS) |
                   (word_at(block + 4 * j) >> sub & BITS) << 2;
        break;
    case LAYOUT_Q4_K:
    case LAYOUT_Q5_K: {
        const uint8_t *low = block + (l == LAYOUT_Q4_K ? 16 : 48) + 32 * (sub / 2);
        for (uint32_t j = 0; j < 8; j++)
            q[j] = word_at(low + 4 * j) >> 4 * (sub % 2) & NIBBLES;
        for (uint32_t j = 0; l == LAYOUT_Q5_K && j < 8; j++)
            q[j] |= (word_at(block + 16 + 4 * j) >> sub & BITS) << 4;
        break;
    }
    case LAYOUT_Q6_K:
        for (uint32_t j = 0; j < 8; j++)
            q[j] = (word_at(block + 64 * half + 32 * (k % 2) + 4 * j) >> 4 * (k / 2) & NIBBLES) |
                   (word_at(block + 128 + 32 * half + 4 * j) >> 2 * k & PAIRS) << 4;
        break;
    default: break;
    }
}

/* Writes one row's quads into the planes of a block; the row is 4 bytes of every vector. */
static void quads_put(enum code_kind kind, const uint32_t q[8], uint8_t *row)
{
    uint32_t bits = 0;
    switch (kind) {
    case CODE_8:
        for (int j = 0; j < 8; j++)
            word_put(row + 64 * j, q[j]);
        return;
    case CODE_2:
    case CODE_3:
        for (int i = 0; i < 2; i++, q += 4, row += 64) {
            word_put(row, (q[0] & PAIRS) | (q[1] & PAIRS) << 2 | (q[2] & PAIRS) << 4 |
                              (q[3] & PAIRS) << 6);
            for (int s = 0; s < 4; s++)
                bits |= (q[s] >> 2 & BITS) << (4 * i + s);
        }
        if (kind == CODE_3)
            word_put(row, bits);
        return;
    case CODE_4:
    case CODE_5:
    case CODE_6:
        for (int i = 0; i < 4; i++)
            word_put(row + 64 * i, (q[i] & NIBBLES) | (q[i + 4] & NIBBLES) << 4);
        row += 256;
        for (int i = 0; kind == CODE_6 && i < 2; i++)
            word_put(row + 64 * i, (q[4 * i] >> 4 & PAIRS) | (q[4 * i + 1] >> 4 & PAIRS) << 2 |
                                       (q[4 * i + 2] >> 4 & PAIRS) << 4 |
                                       (q[4 * i + 3] >> 4 & PAIRS) << 6);
        for (int j = 0; j < 8; j++)
            bits |= (q[j] >> 4 & BITS) << j;
        if (kind == CODE_5)
            word_put(row, bits);
        return;
    }
}

/* Where the half-split nibbles of a sub-block are, for the types whose nibbles are the plane
 * already: one copy of four words, no arithmetic. NULL for the others. */
static const uint8_t *ready_nibbles(enum layout l, const uint8_t *block, uint32_t sub)
{
    switch (l) {
    case LAYOUT_Q4_0:
    case LAYOUT_IQ4_NL: return block + 2;
    case LAYOUT_Q4_1: return block + 4;
    case LAYOUT_MXFP4: return block + 1;
    case LAYOUT_IQ4_XS: return block + 8 + 16 * sub;
    default: return NULL;
    }
}

/* ---- scales --------------------------------------------------------------------------------- */

/* Scale and minimum j of Q4_K and Q5_K: 6 bits each in 12 bytes. */
static void scale_and_min(const uint8_t *s, uint32_t j, uint8_t *scale, uint8_t *min)
{
    if (j < 4) {
        *scale = s[j] & 63;
        *min = s[j + 4] & 63;
    } else {
        *scale = (uint8_t)((s[j + 4] & 15) | s[j - 4] >> 6 << 4);
        *min = (uint8_t)(s[j + 4] >> 4 | s[j] >> 6 << 4);
    }
}

/* The scales of one file block of row `lane` into its record. */
static void scales_put(enum layout l, const uint8_t *block, uint8_t *record, uint32_t lane)
{
    uint8_t *d = record + 2 * lane, *m = d + 32, *bytes = record + 32 + lane;
    switch (l) {
    case LAYOUT_MXFP4: record[lane] = block[0]; break;
    case LAYOUT_Q4_1:
    case LAYOUT_Q5_1:
        memcpy(d, block, 2);
        memcpy(m, block + 2, 2);
        break;
    case LAYOUT_IQ4_XS:
        memcpy(d, block, 2);
        for (uint32_t s = 0; s < 8; s++) {
            uint32_t high = (uint32_t)(block[2] | block[3] << 8) >> 2 * s & 3;
            uint32_t low = block[4 + s / 2] >> 4 * (s % 2) & 15;
            bytes[16 * s] = (uint8_t)((low | high << 4) - 32);
        }
        break;
    case LAYOUT_Q4_K:
    case LAYOUT_Q5_K:
        memcpy(d, block, 2);
        memcpy(m, block + 2, 2);
        for (uint32_t s = 0; s < 8; s++)
            scale_and_min(block + 4, s, bytes + 32 + 16 * s, bytes + 32 + 128 + 16 * s);
        break;
    case LAYOUT_Q6_K:
        memcpy(d, block + 208, 2);
        for (uint32_t s = 0; s < 16; s++)
            bytes[16 * s] = block[192 + s];
        break;
    case LAYOUT_Q3_K:
        memcpy(d, block + 108, 2);
        for (uint32_t s = 0; s < 16; s++) {
            uint32_t low = block[96 + s % 8] >> 4 * (s / 8) & 15;
            uint32_t high = block[96 + 8 + s % 4] >> 2 * (s / 4) & 3;
            bytes[16 * s] = (uint8_t)((low | high << 4) - 32);
        }
        break;
    case LAYOUT_Q2_K:
        memcpy(d, block + 80, 2);
        memcpy(m, block + 82, 2);
        for (uint32_t s = 0; s < 16; s++)
            bytes[32 + 16 * s] = block[s];
        break;
    default: memcpy(d, block, 2); break;
    }
}

/* ---- groups --------------------------------------------------------------------------------- */

static void pack_int_row(enum layout l, const uint8_t *row, uint32_t n_cols, uint32_t lane,
                         uint8_t *group)
{
    const struct layout_info *info = &LAYOUTS[l];
    const struct block_info *file = block_info(info->type);
    uint32_t n_blocks = n_cols / BLOCK_COLS, n_subs = file->n_elems / BLOCK_COLS;
    size_t plane_bytes = code_bytes(info->code), record_bytes = scale_bytes(info->scale);
    uint8_t *record = group + n_blocks * plane_bytes, *plane = group + 4 * lane;
    for (uint32_t b = 0; b < n_blocks; b += n_subs, row += file->n_bytes, record += record_bytes) {
        scales_put(l, row, record, lane);
        for (uint32_t sub = 0; sub < n_subs; sub++, plane += plane_bytes) {
            const uint8_t *ready = ready_nibbles(l, row, sub);
            uint32_t q[8];
            if (ready) {
                for (int i = 0; i < 4; i++)
                    word_put(plane + 64 * i, word_at(ready + 4 * i));
            } else {
                quads_of(l, row, sub, q);
                quads_put(info->code, q, plane);
            }
        }
    }
}

static void pack_float_row(uint32_t elem_bytes, const uint8_t *row, uint32_t n_cols, uint32_t lane,
                           uint8_t *group)
{
    for (uint32_t k = 0; k < n_cols; k++)
        memcpy(group + ((size_t)k * ROWS + lane) * elem_bytes, row + (size_t)k * elem_bytes,
               elem_bytes);
}

void layout_pack(enum layout l, const uint8_t *rows, uint32_t n_rows, uint32_t n_cols,
                 uint8_t *group)
{
    const struct layout_info *info = &LAYOUTS[l];
    size_t row_bytes = block_row_bytes(info->type, n_cols);
    if (n_rows < ROWS)
        memset(group, 0, layout_group_bytes(l, n_cols));
    for (uint32_t lane = 0; lane < n_rows; lane++, rows += row_bytes) {
        if (info->is_float)
            pack_float_row(info->elem_bytes, rows, n_cols, lane, group);
        else
            pack_int_row(l, rows, n_cols, lane, group);
    }
}
