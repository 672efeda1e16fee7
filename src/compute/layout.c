#include "compute/layout.h"

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

/* ---- codes: four columns as the bytes of a word, four rows as the words of a vector ------------
 */

typedef uint32_t words __attribute__((vector_size(16)));

/* The same place in four rows. */
struct place {
    const uint8_t *row[4];
};

static inline uint32_t word_at(const uint8_t *p)
{
    uint32_t w;
    memcpy(&w, p, sizeof w);
    return w;
}

/* Made lane by lane: a vector load of four words just stored would wait for the stores. */
static inline words words_at(const struct place *p, size_t offset)
{
    return (words){word_at(p->row[0] + offset), word_at(p->row[1] + offset),
                   word_at(p->row[2] + offset), word_at(p->row[3] + offset)};
}

static inline void words_put(uint8_t *p, words w)
{
    memcpy(p, &w, sizeof w);
}

enum {
    NIBBLES = 0x0f0f0f0f,
    PAIRS = 0x03030303,
    BITS = 0x01010101,
};

/* Bit i of the low four to byte i. */
static inline words spread(words bits)
{
    return ((bits & 15) * 0x00204081u) & BITS;
}

/* The quads of 32 half-split nibbles (file formats of section 2 of the spec). */
static inline void halves_quads(const struct place *p, size_t offset, words q[8])
{
    for (uint32_t j = 0; j < 4; j++) {
        words w = words_at(p, offset + 4 * j);
        q[j] = w & NIBBLES;
        q[j + 4] = w >> 4 & NIBBLES;
    }
}

/* The eight quads of 32-column sub-block `sub` of one file block, in the layout's plane code. */
static inline __attribute__((always_inline)) void quads_of(enum layout l, const struct place *p,
                                                           uint32_t sub, words q[8])
{
    uint32_t half = sub / 4, k = sub % 4;
    switch (l) {
    case LAYOUT_Q5_0:
    case LAYOUT_Q5_1: {
        uint32_t high = l == LAYOUT_Q5_0 ? 2 : 4;
        words bits = words_at(p, high);
        halves_quads(p, high + 4, q);
        for (uint32_t j = 0; j < 8; j++)
            q[j] |= spread(bits >> 4 * j) << 4;
        break;
    }
    case LAYOUT_Q8_0:
        for (uint32_t j = 0; j < 8; j++)
            q[j] = words_at(p, 2 + 4 * j);
        break;
    case LAYOUT_Q2_K:
        for (uint32_t j = 0; j < 8; j++)
            q[j] = words_at(p, 16 + 32 * half + 4 * j) >> 2 * k & PAIRS;
        break;
    case LAYOUT_Q3_K:
        for (uint32_t j = 0; j < 8; j++)
            q[j] = (words_at(p, 32 + 32 * half + 4 * j) >> 2 * k & PAIRS) |
                   (words_at(p, 4 * j) >> sub & BITS) << 2;
        break;
    case LAYOUT_Q4_K:
    case LAYOUT_Q5_K: {
        uint32_t low = (l == LAYOUT_Q4_K ? 16 : 48) + 32 * (sub / 2);
        for (uint32_t j = 0; j < 8; j++)
            q[j] = words_at(p, low + 4 * j) >> 4 * (sub % 2) & NIBBLES;
        for (uint32_t j = 0; l == LAYOUT_Q5_K && j < 8; j++)
            q[j] |= (words_at(p, 16 + 4 * j) >> sub & BITS) << 4;
        break;
    }
    case LAYOUT_Q6_K:
        for (uint32_t j = 0; j < 8; j++)
            q[j] = (words_at(p, 64 * half + 32 * (k % 2) + 4 * j) >> 4 * (k / 2) & NIBBLES) |
                   (words_at(p, 128 + 32 * half + 4 * j) >> 2 * k & PAIRS) << 4;
        break;
    default: break;
    }
}

/* Writes four rows' quads into the planes of a block; the rows are 16 bytes of every vector. */
static inline __attribute__((always_inline)) void quads_put(enum code_kind kind, const words q[8],
                                                            uint8_t *out)
{
    words bits = {0};
    switch (kind) {
    case CODE_8:
        for (int j = 0; j < 8; j++)
            words_put(out + 64 * j, q[j]);
        return;
    case CODE_2:
    case CODE_3:
        for (int i = 0; i < 2; i++, q += 4, out += 64) {
            words_put(out, (q[0] & PAIRS) | (q[1] & PAIRS) << 2 | (q[2] & PAIRS) << 4 |
                               (q[3] & PAIRS) << 6);
            for (int s = 0; s < 4; s++)
                bits |= (q[s] >> 2 & BITS) << (4 * i + s);
        }
        if (kind == CODE_3)
            words_put(out, bits);
        return;
    case CODE_4:
    case CODE_5:
    case CODE_6:
        for (int i = 0; i < 4; i++)
            words_put(out + 64 * i, (q[i] & NIBBLES) | (q[i + 4] & NIBBLES) << 4);
        out += 256;
        for (int i = 0; kind == CODE_6 && i < 2; i++)
            words_put(out + 64 * i, (q[4 * i] >> 4 & PAIRS) | (q[4 * i + 1] >> 4 & PAIRS) << 2 |
                                        (q[4 * i + 2] >> 4 & PAIRS) << 4 |
                                        (q[4 * i + 3] >> 4 & PAIRS) << 6);
        for (int j = 0; kind == CODE_5 && j < 8; j++)
            bits |= (q[j] >> 4 & BITS) << j;
        if (kind == CODE_5)
            words_put(out, bits);
        return;
    }
}

/* Where the half-split nibbles of a sub-block begin, for the types whose nibbles are the plane
 * already: only words change places. 0 for the others. */
static inline uint32_t ready_nibbles(enum layout l, uint32_t sub)
{
    switch (l) {
    case LAYOUT_Q4_0:
    case LAYOUT_IQ4_NL: return 2;
    case LAYOUT_Q4_1: return 4;
    case LAYOUT_MXFP4: return 1;
    case LAYOUT_IQ4_XS: return 8 + 16 * sub;
    default: return 0;
    }
}

/* 16 bytes of each of four rows become a vector of the rows' first words, of their second, ... */
static inline void nibbles_put(const struct place *p, uint32_t offset, uint8_t *out)
{
    words a, b, c, d;
    memcpy(&a, p->row[0] + offset, sizeof a);
    memcpy(&b, p->row[1] + offset, sizeof b);
    memcpy(&c, p->row[2] + offset, sizeof c);
    memcpy(&d, p->row[3] + offset, sizeof d);
    words ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    words cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    words ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    words cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    words_put(out, __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5));
    words_put(out + 64, __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7));
    words_put(out + 128, __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5));
    words_put(out + 192, __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7));
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
static inline __attribute__((always_inline)) void scales_put(enum layout l, const uint8_t *block,
                                                             uint8_t *record, uint32_t lane)
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

/* Four rows of a group, and how far on in the file their next block is. */
struct quartet {
    struct place p;
    size_t step[4];
};

/* One file block of four rows, the first in lane `lane`. Inlined with l a constant: no decision is
 * left inside. */
static inline __attribute__((always_inline)) void pack_blocks(enum layout l, struct quartet *q,
                                                              uint32_t n_subs, uint32_t lane,
                                                              uint8_t *planes, uint8_t *record)
{
    const struct layout_info *info = &LAYOUTS[l];
    for (uint32_t sub = 0; sub < n_subs; sub++, planes += code_bytes(info->code)) {
        uint32_t ready = ready_nibbles(l, sub);
        if (ready) {
            nibbles_put(&q->p, ready, planes + 4 * lane);
        } else {
            words quads[8];
            quads_of(l, &q->p, sub, quads);
            quads_put(info->code, quads, planes + 4 * lane);
        }
    }
#pragma GCC unroll 4
    for (uint32_t r = 0; r < 4; r++) {
        scales_put(l, q->p.row[r], record, lane + r);
        q->p.row[r] += q->step[r];
    }
}

/* Block by block, so that every cache line of the group is finished when it is left. */
static inline __attribute__((always_inline)) void
pack_int_rows(enum layout l, struct quartet rows[ROWS / 4], uint32_t n_cols, uint8_t *group)
{
    const struct layout_info *info = &LAYOUTS[l];
    uint32_t n_blocks = n_cols / BLOCK_COLS, n_subs = scale_blocks(info->scale);
    uint8_t *record = group + n_blocks * code_bytes(info->code);
    for (uint32_t b = 0; b < n_blocks; b += n_subs, record += scale_bytes(info->scale))
        for (uint32_t i = 0; i < ROWS / 4; i++)
            pack_blocks(l, &rows[i], n_subs, 4 * i, group + b * code_bytes(info->code), record);
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
    static const uint8_t zero_block[256];
    const struct layout_info *info = &LAYOUTS[l];
    const struct block_info *file = block_info(info->type);
    size_t row_bytes = block_row_bytes(info->type, n_cols);
    if (info->is_float && n_rows < ROWS)
        memset(group, 0, layout_group_bytes(l, n_cols));
    for (uint32_t lane = 0; info->is_float && lane < n_rows; lane++)
        pack_float_row(info->elem_bytes, rows + lane * row_bytes, n_cols, lane, group);
    struct quartet quartets[ROWS / 4];
    for (uint32_t i = 0; i < ROWS; i++) {
        bool there = i < n_rows;
        quartets[i / 4].p.row[i % 4] = there ? rows + i * row_bytes : zero_block;
        quartets[i / 4].step[i % 4] = there ? file->n_bytes : 0;
    }
    switch (l) {
#define X(name, ...)                                                                               \
    case LAYOUT_##name: pack_int_rows(LAYOUT_##name, quartets, n_cols, group); break;
        INT_LAYOUTS(X)
#undef X
    default: break;
    }
}

/* n vectors of n_elements of n_bytes each, from [vector][element] to [element][vector]. Inlined
 * with constants. */
static inline __attribute__((always_inline)) void turn(size_t n, size_t n_elements, size_t n_bytes,
                                                       uint8_t *vectors)
{
    enum { MOST_BYTES = 8 * ROWS * sizeof(uint32_t) };
    uint8_t from[MOST_BYTES];
    memcpy(from, vectors, n * n_elements * n_bytes);
    for (size_t i = 0; i < n_elements; i++)
        for (size_t v = 0; v < n; v++)
            memcpy(vectors + (i * n + v) * n_bytes, from + (v * n_elements + i) * n_bytes, n_bytes);
}

static void turn_codes(enum code_kind kind, uint8_t *planes)
{
    enum { WORD = sizeof(uint32_t) };
    switch (kind) {
    case CODE_2:
    case CODE_3: turn(2, ROWS, WORD, planes); break;
    case CODE_4:
    case CODE_5: turn(4, ROWS, WORD, planes); break;
    case CODE_6:
        turn(4, ROWS, WORD, planes);
        turn(2, ROWS, WORD, planes + 4 * ROWS * WORD);
        break;
    case CODE_8: turn(8, ROWS, WORD, planes); break;
    }
}

static void turn_scales(enum scale_kind kind, uint8_t *record)
{
    enum { HALF = 2, N_SUBS = 8 };
    const bool has_m = kind == SCALE_HALF_MIN || kind == SCALE_SUPER_MIN || kind == SCALE_16_MIN;
    uint8_t *bytes = record + (has_m ? 2 : 1) * ROWS * HALF;
    if (has_m)
        turn(2, ROWS, HALF, record);
    if (kind == SCALE_SUPER_MIN) /* all s, then all t */
        turn(2, N_SUBS * ROWS, 1, bytes);
    if (kind == SCALE_16 || kind == SCALE_16_MIN)
        for (int sub = 0; sub < N_SUBS; sub++)
            turn(2, ROWS, 1, bytes + sub * 2 * ROWS);
}

void layout_by_row(enum layout l, uint32_t n_cols, uint8_t *group)
{
    const struct layout_info *info = &LAYOUTS[l];
    if (info->is_float)
        return;
    const uint32_t n_blocks = n_cols / BLOCK_COLS, n_subs = scale_blocks(info->scale);
    uint8_t *record = group + n_blocks * code_bytes(info->code);
    for (uint32_t b = 0; b < n_blocks; b++)
        turn_codes(info->code, group + b * code_bytes(info->code));
    for (uint32_t b = 0; b < n_blocks; b += n_subs, record += scale_bytes(info->scale))
        turn_scales(info->scale, record);
}
