/* The kernels, written over the words of a vec_*.h header: kernels_ISA.c includes that header,
 * names the table with KERNELS, and includes this file. */
#include <math.h>
#include <string.h>

#include "compute/cpu/kernels.h"

/* Calls CALL(n) for pieces of n rows from row `r` on, n a constant that fits the registers. */
#define FOR_PIECES(r, n_rows, CALL)                                                                \
    do {                                                                                           \
        uint32_t r = 0;                                                                            \
        for (; VEC_ROWS >= 16 && r + 16 <= (n_rows); r += 16)                                      \
            CALL(16);                                                                              \
        for (; VEC_ROWS >= 8 && r + 8 <= (n_rows); r += 8)                                         \
            CALL(8);                                                                               \
        for (; VEC_ROWS >= 4 && r + 4 <= (n_rows); r += 4)                                         \
            CALL(4);                                                                               \
        for (; VEC_ROWS >= 2 && r + 2 <= (n_rows); r += 2)                                         \
            CALL(2);                                                                               \
        for (; r < (n_rows); r++)                                                                  \
            CALL(1);                                                                               \
    } while (0)

/* ---- matrix times activation rows ---------------------------------------------------------- */

/* The eight quads of a block. */
INLINE void unpack(enum code_kind kind, const uint8_t *p, vc c[8])
{
    UNROLL for (int j = 0; j < 8; j++)
    {
        if (kind == CODE_8)
            c[j] = vc_full(vc_load(p + 64 * j));
        else if (kind == CODE_2 || kind == CODE_3)
            c[j] = vc_take(vc_load(p + 64 * (j / 4)), 2 * (j % 4), 0x03);
        else
            c[j] = vc_take(vc_load(p + 64 * (j % 4)), j / 4 * 4, 0x0f);
        if (kind == CODE_3)
            c[j] = vc_or(c[j], vc_take(vc_load(p + 128), j - 2, 0x04));
        if (kind == CODE_5)
            c[j] = vc_or(c[j], vc_take(vc_load(p + 256), j - 4, 0x10));
        if (kind == CODE_6)
            c[j] = vc_or(c[j], vc_take(vc_load(p + 256 + 64 * (j / 4)), 2 * (j % 4) - 4, 0x30));
    }
}

/* What the 16 rows of a block multiply their sums with; m and its halves are to be added. */
struct scales {
    vf d, m;
    vf lo, hi, m_lo, m_hi; /* of the two halves of the block */
};

INLINE struct scales scales_of(enum scale_kind kind, const uint8_t *records, uint32_t block)
{
    const uint8_t *p = records + block / scale_blocks(kind) * scale_bytes(kind);
    uint32_t b = block % scale_blocks(kind);
    struct scales s;
    if (kind == SCALE_EXPONENT)
        s.d = vf_exponents(p);
    else
        s.d = vf_halves(p);
    if (kind == SCALE_HALF_MIN) {
        s.m = vf_halves(p + 32);
    } else if (kind == SCALE_SUPER) {
        s.d = vf_mul(s.d, vf_of_vi(vi_signed_bytes(p + 32 + 16 * b)));
    } else if (kind == SCALE_SUPER_MIN) {
        vf least = vf_mul(vf_halves(p + 32), vf_set1(-1.0f));
        s.m = vf_mul(least, vf_of_vi(vi_bytes(p + 64 + 128 + 16 * b)));
        s.d = vf_mul(s.d, vf_of_vi(vi_bytes(p + 64 + 16 * b)));
    } else if (kind == SCALE_16) {
        s.lo = vf_of_vi(vi_signed_bytes(p + 32 + 32 * b));
        s.hi = vf_of_vi(vi_signed_bytes(p + 32 + 32 * b + 16));
    } else if (kind == SCALE_16_MIN) {
        vf least = vf_mul(vf_halves(p + 32), vf_set1(-1.0f));
        vi lo = vi_bytes(p + 64 + 32 * b), hi = vi_bytes(p + 64 + 32 * b + 16);
        s.lo = vf_of_vi(vi_take(lo, 0, 15));
        s.hi = vf_of_vi(vi_take(hi, 0, 15));
        s.m_lo = vf_mul(least, vf_of_vi(vi_take(lo, 4, 15)));
        s.m_hi = vf_mul(least, vf_of_vi(vi_take(hi, 4, 15)));
    }
    return s;
}

/* log2(128 / offset): what turns the activation's -128 sum(q) into -offset sum(q). */
INLINE int32_t minus_offset(int32_t n, int offset)
{
    return offset == 0 ? 0 : n >> (7 - __builtin_ctz((unsigned)offset));
}

/* sum += (block of 16 rows) . (activation block) */
INLINE vf add_block(enum scale_kind kind, bool full, int offset, const vc c[8],
                    const struct scales *s, const struct act_block *a, vf sum)
{
    vf dot;
    if (kind == SCALE_16 || kind == SCALE_16_MIN) {
        vi lo = vi_dot_small(c, 4, a->q, vi_set1(minus_offset(a->n_lo, offset)));
        vi hi = vi_dot_small(c + 4, 4, a->q + 16, vi_set1(minus_offset(a->n - a->n_lo, offset)));
        dot = vf_fma(vf_of_vi(hi), s->hi, vf_mul(vf_of_vi(lo), s->lo));
    } else if (full) {
        dot = vf_of_vi(vi_dot_full(c, a));
    } else {
        dot = vf_of_vi(vi_dot_small(c, 8, a->q, vi_set1(minus_offset(a->n, offset))));
    }
    sum = vf_fma(dot, vf_mul(s->d, vf_set1(a->d)), sum);
    if (kind == SCALE_HALF_MIN || kind == SCALE_SUPER_MIN)
        sum = vf_fma(s->m, vf_set1(a->sum), sum);
    if (kind == SCALE_16_MIN) {
        float unit = a->d * (-1.0f / 128);
        sum = vf_fma(s->m_lo, vf_set1(unit * (float)a->n_lo), sum);
        sum = vf_fma(s->m_hi, vf_set1(unit * (float)(a->n - a->n_lo)), sum);
    }
    return sum;
}

enum { PREFETCH_ROWS = 4 }; /* activation rows up to which memory is waited for */

/* With few rows a group is read faster than the hardware's streams, which end at every page, fetch
 * it: asks for the codes some blocks ahead, and for the scales, which lie behind a group's codes,
 * of the next group. */
INLINE void prefetch_block(enum code_kind code, const uint8_t *codes, const uint8_t *scales,
                           size_t group_bytes)
{
    enum { AHEAD = 4096, LINE = 64 }; /* bytes */
    UNROLL for (size_t i = 0; i < code_bytes(code); i += LINE)
        __builtin_prefetch(codes + AHEAD + i);
    __builtin_prefetch(scales + group_bytes);
}

INLINE void mul_int_rows(enum code_kind code, enum scale_kind scale, int offset,
                         const int8_t *table, const uint8_t *group, uint32_t n_blocks,
                         const struct act_block *a, uint32_t stride, int n, float (*out)[ROWS])
{
    const uint8_t *records = group + (size_t)n_blocks * code_bytes(code);
    const size_t record_bytes = scale_bytes(scale) / scale_blocks(scale); /* of one block */
    const size_t group_bytes = n_blocks * (code_bytes(code) + record_bytes);
    vc values = table ? vc_table(table) : vc_load(group);
    vf sum[TILE_ROWS];
    UNROLL for (int r = 0; r < n; r++) sum[r] = vf_set1(0);
    for (uint32_t b = 0; b < n_blocks; b++, a += stride, group += code_bytes(code)) {
        vc c[8];
        if (n <= PREFETCH_ROWS)
            prefetch_block(code, group, records + b * record_bytes, group_bytes);
        unpack(code, group, c);
        if (table)
            UNROLL for (int j = 0; j < 8; j++) c[j] = vc_lookup(values, c[j]);
        struct scales s = scales_of(scale, records, b);
        UNROLL for (int r = 0; r < n; r++) sum[r] =
            add_block(scale, table || code == CODE_8, offset, c, &s, a + r, sum[r]);
    }
    UNROLL for (int r = 0; r < n; r++) vf_store(out[r], sum[r]);
}

INLINE void mul_int(enum code_kind code, enum scale_kind scale, int offset, const int8_t *table,
                    const uint8_t *group, uint32_t n_cols, const struct act_tile *a,
                    float (*out)[ROWS])
{
#define PIECE(n)                                                                                   \
    mul_int_rows(code, scale, offset, table, group, n_cols / BLOCK_COLS, a->q + r, a->n_rows, n,   \
                 out + r)
    FOR_PIECES(r, a->n_rows, PIECE);
#undef PIECE
}

#define X(name, code, scale, offset, table)                                                        \
    static void mul_##name(const uint8_t *group, uint32_t n_cols, const struct act_tile *a,        \
                           float(*out)[ROWS])                                                      \
    {                                                                                              \
        mul_int(code, scale, offset, table, group, n_cols, a, out);                                \
    }
INT_LAYOUTS(X)
#undef X

/* 16 weights of one column. */
INLINE vf column(enum layout l, const uint8_t *group, uint32_t k)
{
    if (l == LAYOUT_F16)
        return vf_halves(group + (size_t)k * 2 * ROWS);
    if (l == LAYOUT_BF16)
        return vf_bf16s(group + (size_t)k * 2 * ROWS);
    return vf_load((const float *)(const void *)group + (size_t)k * ROWS);
}

INLINE void mul_float_rows(enum layout l, const uint8_t *group, uint32_t n_cols, const float *x,
                           size_t stride, int n, float (*out)[ROWS])
{
    vf sum[TILE_ROWS];
    UNROLL for (int r = 0; r < n; r++) sum[r] = vf_set1(0);
    for (uint32_t k = 0; k < n_cols; k++) {
        vf w = column(l, group, k);
        UNROLL for (int r = 0; r < n; r++) sum[r] = vf_fma(w, vf_set1(x[r * stride + k]), sum[r]);
    }
    UNROLL for (int r = 0; r < n; r++) vf_store(out[r], sum[r]);
}

INLINE void mul_float(enum layout l, const uint8_t *group, uint32_t n_cols,
                      const struct act_tile *a, float (*out)[ROWS])
{
#define PIECE(n) mul_float_rows(l, group, n_cols, a->f + r * a->f_stride, a->f_stride, n, out + r)
    FOR_PIECES(r, a->n_rows, PIECE);
#undef PIECE
}

#define X(name)                                                                                    \
    static void mul_##name(const uint8_t *group, uint32_t n_cols, const struct act_tile *a,        \
                           float(*out)[ROWS])                                                      \
    {                                                                                              \
        mul_float(LAYOUT_##name, group, n_cols, a, out);                                           \
    }
FLOAT_LAYOUTS(X)
#undef X

/* ---- rows of floats -------------------------------------------------------------------------- */

/* Lanes [0, n) of p; the rest is 0. */
INLINE vf load_some(const float *p, uint32_t n)
{
    float lanes[ROWS] = {0};
    if (n >= ROWS)
        return vf_load(p);
    memcpy(lanes, p, n * sizeof *p);
    return vf_load(lanes);
}

INLINE void store_some(float *p, uint32_t n, vf v)
{
    float lanes[ROWS];
    if (n >= ROWS) {
        vf_store(p, v);
        return;
    }
    vf_store(lanes, v);
    memcpy(p, lanes, n * sizeof *p);
}

/* e^x within 2 units in the last place: x = n ln 2 + r, |r| <= ln 2 / 2, a Taylor polynomial in r.
 * Underflows to 0, overflows to infinity, keeps NaN. */
INLINE vf vf_exp(vf x)
{
    x = vf_min(vf_set1(89.0f), vf_max(vf_set1(-110.0f), x));
    vf n = vf_nearest(vf_mul(x, vf_set1(1.44269504f)));
    vf r = vf_fma(n, vf_set1(-0.693145752f), x);
    r = vf_fma(n, vf_set1(-1.42860677e-6f), r);
    vf p = vf_set1(1.0f / 5040);
    p = vf_fma(p, r, vf_set1(1.0f / 720));
    p = vf_fma(p, r, vf_set1(1.0f / 120));
    p = vf_fma(p, r, vf_set1(1.0f / 24));
    p = vf_fma(p, r, vf_set1(1.0f / 6));
    p = vf_fma(p, r, vf_set1(0.5f));
    p = vf_fma(p, r, vf_set1(1.0f));
    p = vf_fma(p, r, vf_set1(1.0f));
    return vf_exp2_scale(p, n);
}

/* 1 / (1 + e^-x) */
INLINE vf vf_sigmoid(vf x)
{
    vf one = vf_set1(1.0f);
    return vf_div(one, vf_add(one, vf_exp(vf_mul(x, vf_set1(-1.0f)))));
}

static void quantise(const float *x, uint32_t n_cols, struct act_block *out, size_t stride)
{
    for (uint32_t k = 0; k < n_cols; k += BLOCK_COLS, out += stride) {
        vf lo = vf_load(x + k), hi = vf_load(x + k + ROWS);
        /* 0 for finite values, else NaN: a maximum alone can lose a NaN. */
        vf zero = vf_set1(0);
        float odd = vf_sum(vf_fma(lo, zero, vf_mul(hi, zero)));
        if (odd != 0) {
            *out = (struct act_block){.d = odd, .sum = odd};
            continue;
        }
        float top = vf_top(vf_max(vf_abs(lo), vf_abs(hi)));
        vf scale = vf_set1(top > 0 ? 127.0f / top : 0);
        vi q_lo = vi_round(vf_mul(lo, scale)), q_hi = vi_round(vf_mul(hi, scale));
        vi_store_bytes(out->q, q_lo);
        vi_store_bytes(out->q + ROWS, q_hi);
        int32_t sum_lo = vi_sum(q_lo), sum_all = sum_lo + vi_sum(q_hi);
        out->d = top * (1.0f / 127);
        out->sum = out->d * (float)sum_all;
        out->n = -128 * sum_all;
        out->n_lo = -128 * sum_lo;
    }
}

/* The sum of x y over four chains of lanes. */
static float dot(const float *x, const float *y, uint32_t n)
{
    vf sums[4] = {vf_set1(0), vf_set1(0), vf_set1(0), vf_set1(0)};
    for (uint32_t i = 0; i < n; i += ROWS)
        sums[i / ROWS % 4] =
            vf_fma(load_some(x + i, n - i), load_some(y + i, n - i), sums[i / ROWS % 4]);
    return vf_sum(vf_add(vf_add(sums[0], sums[1]), vf_add(sums[2], sums[3])));
}

static void rms(const float *x, const float *w, float eps, uint32_t n, float *out)
{
    vf factor = vf_set1(1.0f / sqrtf(dot(x, x, n) / (float)n + eps));
    for (uint32_t i = 0; i < n; i += ROWS) {
        vf v = vf_mul(load_some(x + i, n - i), factor);
        store_some(out + i, n - i, w ? vf_mul(v, load_some(w + i, n - i)) : v);
    }
}

static void activate(enum activation act, const float *g, const float *u, uint32_t n, float *out)
{
    vf one = vf_set1(1.0f), limit = vf_set1(7.0f), least = vf_set1(-7.0f);
    for (uint32_t i = 0; i < n; i += ROWS) {
        vf a = load_some(g + i, n - i), b = load_some(u + i, n - i);
        if (act == ACT_SWIGLU_OAI) {
            a = vf_min(limit, a);
            b = vf_add(vf_max(least, vf_min(limit, b)), one);
            a = vf_mul(a, vf_sigmoid(vf_mul(a, vf_set1(1.702f))));
        } else {
            a = vf_mul(a, vf_sigmoid(a));
        }
        store_some(out + i, n - i, vf_mul(a, b));
    }
}

static void add_scaled(float w, const float *x, uint32_t n, float *y)
{
    vf scale = vf_set1(w);
    for (uint32_t i = 0; i < n; i += ROWS)
        store_some(y + i, n - i, vf_fma(scale, load_some(x + i, n - i), load_some(y + i, n - i)));
}

static void gate(const float *g, uint32_t n, float *x)
{
    for (uint32_t i = 0; i < n; i += ROWS)
        store_some(x + i, n - i,
                   vf_mul(load_some(x + i, n - i), vf_sigmoid(load_some(g + i, n - i))));
}

/* ---- attention ------------------------------------------------------------------------------- */

static void rotate(float *x, uint32_t n_head, size_t stride, const struct rope *rope,
                   const float *cosines, const float *sines)
{
    uint32_t n = rope->n_rot / 2;
    bool halves = rope->pairs == ROPE_HALVES;
    for (uint32_t h = 0; h < n_head; h++, x += stride) {
        float *first = x, *second = halves ? x + n : x + 1;
        uint32_t step = halves ? 1 : 2;
        for (uint32_t i = 0; i < n; i++) {
            float a = first[i * step], b = second[i * step];
            first[i * step] = a * cosines[i] - b * sines[i];
            second[i * step] = a * sines[i] + b * cosines[i];
        }
    }
}

static void load_keys_f32(const uint8_t *tile, uint32_t n, float (*k)[KEY_TILE])
{
    memcpy(k, tile, n * sizeof *k);
}

static void load_keys_f16(const uint8_t *tile, uint32_t n, float (*k)[KEY_TILE])
{
    for (uint32_t i = 0; i < n; i++)
        vf_store(k[i], vf_halves(tile + (size_t)i * 2 * KEY_TILE));
}

static void load_keys_q8_0(const uint8_t *tile, uint32_t n, float (*k)[KEY_TILE])
{
    enum { RECORD = BLOCK_COLS * KEY_TILE + 2 * KEY_TILE };
    for (uint32_t i = 0; i < n; i += BLOCK_COLS, tile += RECORD) {
        vf d = vf_halves(tile + BLOCK_COLS * KEY_TILE);
        for (uint32_t j = 0; j < BLOCK_COLS; j++)
            vf_store(k[i + j], vf_mul(d, vf_of_vi(vi_signed_bytes(tile + j * KEY_TILE))));
    }
}

static void load_keys_q4_0(const uint8_t *tile, uint32_t n, float (*k)[KEY_TILE])
{
    enum { HALF = BLOCK_COLS / 2, RECORD = HALF * KEY_TILE + 2 * KEY_TILE };
    for (uint32_t i = 0; i < n; i += BLOCK_COLS, tile += RECORD) {
        vf d = vf_halves(tile + HALF * KEY_TILE), least = vf_mul(d, vf_set1(-8.0f));
        for (uint32_t j = 0; j < HALF; j++) {
            vi both = vi_bytes(tile + j * KEY_TILE);
            vf_store(k[i + j], vf_fma(d, vf_of_vi(vi_take(both, 0, 15)), least));
            vf_store(k[i + HALF + j], vf_fma(d, vf_of_vi(vi_take(both, 4, 15)), least));
        }
    }
}

/* Elements [i, i + 16) of one value row; i + 16 <= n except for F32 and F16. */
INLINE vf value_lanes(int kv_type, const uint8_t *row, uint32_t i, uint32_t n)
{
    uint8_t lanes[ROWS * sizeof(float)] = {0};
    uint32_t elem_bytes = kv_type == 0 ? 4 : 2;
    if (kv_type < 2) {
        const uint8_t *p = row + (size_t)i * elem_bytes;
        if (n - i < ROWS)
            p = memcpy(lanes, p, (n - i) * elem_bytes);
        return kv_type == 0 ? vf_load((const float *)(const void *)p) : vf_halves(p);
    }
    uint32_t in_block = i % BLOCK_COLS;
    uint32_t block_bytes = kv_type == 2 ? 34 : 18;
    const uint8_t *block = row + (size_t)(i / BLOCK_COLS) * block_bytes;
    uint16_t d;
    memcpy(&d, block, sizeof d);
    vf scale = vf_set1(block_f16_to_f32(d));
    if (kv_type == 2)
        return vf_mul(scale, vf_of_vi(vi_signed_bytes(block + 2 + in_block)));
    vi codes = vi_take(vi_bytes(block + 2), in_block ? 4 : 0, 15);
    return vf_mul(scale, vf_of_vi(vi_add(codes, vi_set1(-8))));
}

INLINE void load_values(int kv_type, const uint8_t *rows, size_t row_bytes, uint32_t n,
                        uint32_t n_valid, float *v)
{
    for (uint32_t key = 0; key < KEY_TILE; key++)
        for (uint32_t i = 0; i < n; i += ROWS, v += ROWS)
            vf_store(v, key < n_valid ? value_lanes(kv_type, rows + key * row_bytes, i, n)
                                      : vf_set1(0));
}

#define X(name, kv_type)                                                                           \
    static void load_values_##name(const uint8_t *rows, size_t row_bytes, uint32_t n,              \
                                   uint32_t n_valid, float *v)                                     \
    {                                                                                              \
        load_values(kv_type, rows, row_bytes, n, n_valid, v);                                      \
    }
X(f32, 0)
X(f16, 1)
X(q8_0, 2)
X(q4_0, 3)
#undef X

static void turn_keys(const float (*k)[KEY_TILE], uint32_t n, uint32_t n_valid, float *v)
{
    for (uint32_t i = 0; i < n; i += ROWS, v += ROWS) {
        vf x[ROWS];
        UNROLL for (uint32_t j = 0; j < ROWS; j++) x[j] = vf_load(k[i + j]);
        vf_turn(x);
        UNROLL for (uint32_t lane = 0; lane < KEY_TILE; lane++)
            vf_store(v + (size_t)lane * n, lane < n_valid ? x[lane] : vf_set1(0));
    }
}

INLINE void score_rows(const float *q, uint32_t n, const float (*k)[KEY_TILE], float scale, int n_q,
                       float *s)
{
    vf sum[TILE_ROWS];
    UNROLL for (int r = 0; r < n_q; r++) sum[r] = vf_set1(0);
    for (uint32_t i = 0; i < n; i++) {
        vf lanes = vf_load(k[i]);
        UNROLL for (int r = 0; r < n_q; r++) sum[r] =
            vf_fma(lanes, vf_set1(q[(size_t)r * n + i]), sum[r]);
    }
    UNROLL for (int r = 0; r < n_q; r++)
        vf_store(s + r * KEY_BLOCK, vf_mul(sum[r], vf_set1(scale)));
}

static void score(const float *q, uint32_t n_q, uint32_t n, const float (*k)[KEY_TILE], float scale,
                  float *s)
{
#define PIECE(rows) score_rows(q + (size_t)r * n, n, k, scale, rows, s + r * KEY_BLOCK)
    FOR_PIECES(r, n_q, PIECE);
#undef PIECE
}

static float soften(struct softmax *m, float *s)
{
    vf top = vf_set1(m->max);
    for (uint32_t i = 0; i < KEY_BLOCK; i += ROWS)
        top = vf_max(top, vf_load(s + i));
    float max = vf_top(top);
    vf minus_max = vf_set1(-max), sum = vf_set1(0);
    for (uint32_t i = 0; i < KEY_BLOCK; i += ROWS) {
        vf p = vf_exp(vf_add(vf_load(s + i), minus_max));
        vf_store(s + i, p);
        sum = vf_add(sum, p);
    }
    float factor = expf(m->max - max);
    m->max = max;
    m->sum = m->sum * factor + vf_sum(sum);
    return factor;
}

INLINE void weigh_rows(const float *p, const float *v, uint32_t n, const float *factor, int n_q,
                       float *acc)
{
    for (uint32_t i = 0; i < n; i += ROWS) {
        vf sum[TILE_ROWS];
        UNROLL for (int r = 0; r < n_q; r++) sum[r] =
            vf_mul(vf_load(acc + (size_t)r * n + i), vf_set1(factor[r]));
        for (uint32_t key = 0; key < KEY_TILE; key++) {
            vf lanes = vf_load(v + (size_t)key * n + i);
            UNROLL for (int r = 0; r < n_q; r++) sum[r] =
                vf_fma(lanes, vf_set1(p[r * KEY_BLOCK + key]), sum[r]);
        }
        UNROLL for (int r = 0; r < n_q; r++) vf_store(acc + (size_t)r * n + i, sum[r]);
    }
}

static void weigh(const float *p, uint32_t n_q, const float *v, uint32_t n, const float *factor,
                  float *acc)
{
#define PIECE(rows) weigh_rows(p + r * KEY_BLOCK, v, n, factor + r, rows, acc + (size_t)r * n)
    FOR_PIECES(r, n_q, PIECE);
#undef PIECE
}

#include "compute/cpu/kernels_delta.inc.h"

#define X(name, ...) [LAYOUT_##name] = mul_##name,
const struct cpu_kernels KERNELS = {
    .name = KERNELS_NAME,
    .mul = {INT_LAYOUTS(X) FLOAT_LAYOUTS(X)},
    .quantise = quantise,
    .rms = rms,
    .activate = activate,
    .add_scaled = add_scaled,
    .gate = gate,
    .load_keys = {load_keys_f32, load_keys_f16, load_keys_q8_0, load_keys_q4_0},
    .load_values = {load_values_f32, load_values_f16, load_values_q8_0, load_values_q4_0},
    .turn_keys = turn_keys,
    .score = score,
    .soften = soften,
    .weigh = weigh,
    .rotate = rotate,
    .convolve = convolve,
    .normalise = normalise,
    .delta = delta,
    .dot = dot,
};
#undef X
