/* Attention. A query tile is up to 64 queries, 16 when there are few rows: the heads that share a
 * key head, of a few rows of one sequence. It walks the keys in blocks of 64 with an online
 * softmax, block borders at multiples of 64 positions, so that a query sees the same arithmetic in
 * every batch. Blocks are grouped in spans of cpu.span positions; every span is summed from zero
 * and the spans are merged in rising order, which lets a single long decode row be shared out among
 * threads without another rounding. */
#include <math.h>
#include <string.h>

#include "base/num.h"
#include "compute/cpu/attend.h"

enum { ROWS_PER_ITEM = KEY_TILE };
/* Start of a running maximum: below every score, but finite, so that e^(start - start) is 1. */
static const float LEAST_SCORE = -1e30f;

static int kv_type_index(enum block_type type)
{
    return type == BLOCK_F32 ? 0 : type == BLOCK_F16 ? 1 : type == BLOCK_Q8_0 ? 2 : 3;
}

struct attention attention_of(const struct cpu *c, const struct op_attend *o)
{
    const bool few_rows = c->batch->n < QUERY_TILE;
    const uint32_t heads = o->n_head / o->n_kv_head, most = few_rows ? FEW_QUERIES : QUERY_TILE;
    const uint32_t n_head_tiles = (heads + most - 1) / most;
    const uint32_t tile_heads = (heads + n_head_tiles - 1) / n_head_tiles;
    return (struct attention){
        .op = o,
        .cache = &c->caches[o->kv],
        .q_norm = vector_of(c, o->q_norm),
        .k_norm = vector_of(c, o->k_norm),
        .sinks = vector_of(c, o->sinks),
        .heads_per_kv = heads,
        .few_rows = few_rows,
        .n_tile_rows = most / tile_heads,
        .n_tile_heads = tile_heads,
        .n_head_tiles = n_head_tiles,
        .n_values = (o->head_dim_v + ROWS - 1) / ROWS * ROWS,
        .key_type = kv_type_index(c->params.type_k),
        .value_type = kv_type_index(c->params.type_v),
    };
}

/* ---- rotary table and cache -------------------------------------------------------------------
 */

void attend_rotations(struct worker *w, const struct rope *rope)
{
    struct cpu *c = w->cpu;
    uint32_t n = rope->n_rot / 2;
    if (w->rope == rope)
        return;
    for (uint32_t t; (t = pool_next(c->pool)) < w->n_rows;) {
        for (uint32_t i = 0; i < n; i++) {
            double angle = (double)c->batch->pos[t] * (double)rope->inv_freq[i];
            c->cosines[(size_t)t * n + i] = (float)(cos(angle) * (double)rope->mscale);
            c->sines[(size_t)t * n + i] = (float)(sin(angle) * (double)rope->mscale);
        }
    }
    w->rope = rope;
    pool_barrier(c->pool);
}

/* Heads that lie side by side: normalised and rotated in place for row t. */
static void turn_heads(struct worker *w, const struct op_attend *o, const float *norm, uint32_t t,
                       uint32_t n_heads, float *heads)
{
    for (uint32_t h = 0; norm && h < n_heads; h++) {
        float *head = heads + (size_t)h * o->head_dim;
        w->kernels->rms(head, norm, o->eps, o->head_dim, head);
    }
    if (o->rope) {
        size_t at = (size_t)t * (o->rope->n_rot / 2);
        w->kernels->rotate(heads, n_heads, o->head_dim, o->rope, w->cpu->cosines + at,
                           w->cpu->sines + at);
    }
}

void attend_store_key(enum block_type type, const float *key, uint32_t n, uint8_t *tile,
                      uint32_t lane)
{
    enum { N = BLOCK_COLS, HALF = N / 2 };
    if (type == BLOCK_F32) {
        for (uint32_t i = 0; i < n; i++)
            memcpy(tile + ((size_t)i * KEY_TILE + lane) * sizeof *key, key + i, sizeof *key);
    } else if (type == BLOCK_F16) {
        uint16_t *halves = (uint16_t *)(void *)tile;
        for (uint32_t i = 0; i < n; i++)
            halves[(size_t)i * KEY_TILE + lane] = block_f32_to_f16(key[i]);
    } else {
        uint32_t n_codes = type == BLOCK_Q8_0 ? N : HALF; /* bytes per 32 elements */
        for (uint32_t i = 0; i < n; i += N) {
            uint8_t block[2 + N];
            block_info(type)->encode(key + i, block, N);
            for (uint32_t j = 0; j < n_codes; j++)
                tile[j * KEY_TILE + lane] = block[2 + j];
            memcpy(tile + (size_t)n_codes * KEY_TILE + 2 * lane, block, 2);
            tile += (n_codes + 2) * KEY_TILE;
        }
    }
}

uint8_t *attend_key_tile(const struct cpu *c, const struct attention *a, uint32_t t, uint32_t head,
                         uint32_t pos)
{
    return a->cache->keys +
           cache_tile(a->cache, c->batch->seq[t], head, pos) * a->cache->key_tile_bytes;
}

static uint8_t *value_row(const struct cpu *c, const struct attention *a, uint32_t t, uint32_t head,
                          uint32_t pos)
{
    size_t tile = cache_tile(a->cache, c->batch->seq[t], head, pos);
    return a->cache->values + (tile * KEY_TILE + pos % KEY_TILE) * a->cache->value_bytes;
}

static void store_row(struct worker *w, const struct attention *a, uint32_t t)
{
    struct cpu *c = w->cpu;
    const struct op_attend *o = a->op;
    uint32_t pos = c->batch->pos[t], n_keys = o->n_kv_head * o->head_dim;
    float *keys = w->scratch->row;
    memcpy(keys, c->slots[o->k] + (size_t)t * n_keys, n_keys * sizeof *keys);
    turn_heads(w, o, a->k_norm, t, o->n_kv_head, keys);
    const float *values = c->slots[o->v] + (size_t)t * o->n_kv_head * o->head_dim_v;
    for (uint32_t h = 0; h < o->n_kv_head; h++) {
        attend_store_key(c->params.type_k, keys + (size_t)h * o->head_dim, o->head_dim,
                         attend_key_tile(c, a, t, h, pos), pos % KEY_TILE);
        block_info(c->params.type_v)
            ->encode(values + (size_t)h * o->head_dim_v, value_row(c, a, t, h, pos), o->head_dim_v);
    }
}

/* ---- one query tile ---------------------------------------------------------------------------
 */

/* Rows [t, t + n_rows) of one sequence, at rising positions, and some heads of one key head. */
struct query_tile {
    uint32_t t, n_rows;
    uint32_t kv_head, head, n_heads; /* head: first query head */
    uint32_t n;                      /* queries: n_rows * n_heads, row-major */
    uint32_t first, last;            /* positions: lowest visible to its rows, highest */
};

/* Sums of a query tile over some positions; acc rows lie n_values apart. */
struct sums {
    struct softmax m[QUERY_TILE];
    float *acc;
};

static void sums_clear(struct sums *s, const struct attention *a, uint32_t n)
{
    for (uint32_t r = 0; r < n; r++)
        s->m[r] = (struct softmax){LEAST_SCORE, 0};
    memset(s->acc, 0, (size_t)n * a->n_values * sizeof *s->acc);
}

static void load_queries(struct worker *w, const struct attention *a, const struct query_tile *q)
{
    const struct op_attend *o = a->op;
    size_t stride = (size_t)o->head_dim * (o->gated ? 2 : 1);
    for (uint32_t i = 0; i < q->n_rows; i++) {
        float *out = w->scratch->q + (size_t)i * q->n_heads * o->head_dim;
        const float *in = a->q + ((size_t)(q->t + i) * o->n_head + q->head) * stride;
        for (uint32_t h = 0; h < q->n_heads; h++)
            memcpy(out + (size_t)h * o->head_dim, in + h * stride, o->head_dim * sizeof *out);
        turn_heads(w, o, a->q_norm, q->t + i, q->n_heads, out);
    }
}

/* -infinity for the keys of block `key` that a row does not see. */
static void mask(const struct cpu *c, const struct attention *a, const struct query_tile *q,
                 uint32_t key, float *scores)
{
    for (uint32_t i = 0; i < q->n_rows; i++) {
        uint32_t pos = c->batch->pos[q->t + i], first = exec_window_first(a->op->window, pos);
        if (first <= key && key + KEY_BLOCK - 1 <= pos)
            continue;
        for (uint32_t h = 0; h < q->n_heads; h++) {
            float *s = scores + (size_t)(i * q->n_heads + h) * KEY_BLOCK;
            for (uint32_t k = 0; k < KEY_BLOCK; k++)
                if (key + k < first || key + k > pos)
                    s[k] = -INFINITY;
        }
    }
}

/* The values of the 16 positions from `key` on, of which n_valid count; zeros behind them, and for
 * positions that no row sees: something else may stand there. */
static void load_values(struct worker *w, const struct attention *a, const struct query_tile *q,
                        uint32_t key, uint32_t n_valid)
{
    struct thread_scratch *x = w->scratch;
    if (!a->values_in_keys) {
        w->kernels->load_values[a->value_type](value_row(w->cpu, a, q->t, q->kv_head, key),
                                               a->cache->value_bytes, a->op->head_dim_v, n_valid,
                                               x->v);
        if (key < q->first)
            memset(x->v, 0, (size_t)(q->first - key) * a->n_values * sizeof *x->v);
        return;
    }
    w->kernels->load_keys[a->key_type](attend_key_tile(w->cpu, a, q->t, q->kv_head, key),
                                       a->op->head_dim, x->k);
    w->kernels->turn_keys((const float(*)[KEY_TILE])x->k, a->n_values, n_valid, x->v);
}

/* Adds the 64 positions from `key` on to s. */
static void attend_block(struct worker *w, const struct attention *a, const struct query_tile *q,
                         uint32_t key, struct sums *s)
{
    static const float ones[QUERY_TILE] = {[0 ... QUERY_TILE - 1] = 1};
    const struct cpu *c = w->cpu;
    const struct op_attend *o = a->op;
    struct thread_scratch *x = w->scratch;
    float factor[QUERY_TILE];
    uint32_t begin = (uint32_t)num_max(key, q->first / KEY_TILE * KEY_TILE);
    uint32_t end = (uint32_t)num_min(key + KEY_BLOCK, q->last + 1);
    for (uint32_t k = begin; k < end; k += KEY_TILE) {
        w->kernels->load_keys[a->key_type](attend_key_tile(c, a, q->t, q->kv_head, k), o->head_dim,
                                           x->k);
        w->kernels->score(x->q, q->n, o->head_dim, (const float(*)[KEY_TILE])x->k, o->scale,
                          x->scores + (k - key));
    }
    mask(c, a, q, key, x->scores);
    for (uint32_t r = 0; r < q->n; r++)
        factor[r] = w->kernels->soften(&s->m[r], x->scores + (size_t)r * KEY_BLOCK);
    for (uint32_t k = begin; k < end; k += KEY_TILE) {
        load_values(w, a, q, k, end - k);
        w->kernels->weigh(x->scores + (k - key), q->n, x->v, a->n_values,
                          k == begin ? factor : ones, s->acc);
    }
}

/* The sums over span `span`. */
static void attend_span(struct worker *w, const struct attention *a, const struct query_tile *q,
                        uint32_t span, struct sums *s)
{
    uint32_t from =
        (uint32_t)num_max((size_t)span * w->cpu->span, q->first / KEY_BLOCK * KEY_BLOCK);
    uint64_t to = num_min(((uint64_t)span + 1) * w->cpu->span, (uint64_t)q->last + 1);
    sums_clear(s, a, q->n);
    for (uint64_t key = from; key < to; key += KEY_BLOCK)
        attend_block(w, a, q, (uint32_t)key, s);
}

/* total += part */
static void merge(const struct attention *a, const struct query_tile *q, const struct sums *part,
                  struct sums *total)
{
    for (uint32_t r = 0; r < q->n; r++) {
        struct softmax *t = &total->m[r];
        const struct softmax *p = &part->m[r];
        float max = fmaxf(t->max, p->max);
        float old = expf(t->max - max), new = expf(p->max - max);
        float *acc = total->acc + (size_t)r * a->n_values;
        const float *add = part->acc + (size_t)r * a->n_values;
        for (uint32_t i = 0; i < a->n_values; i++)
            acc[i] = acc[i] * old + add[i] * new;
        *t = (struct softmax){max, t->sum * old + p->sum * new};
    }
}

/* Sinks, division by the sum, gate; writes the output rows. */
static void finish(struct worker *w, const struct attention *a, const struct query_tile *q,
                   const struct sums *s)
{
    const struct op_attend *o = a->op;
    for (uint32_t r = 0; r < q->n; r++) {
        uint32_t t = q->t + r / q->n_heads, head = q->head + r % q->n_heads;
        float factor = 1, sum = s->m[r].sum;
        if (a->sinks) {
            float max = fmaxf(s->m[r].max, a->sinks[head]);
            factor = expf(s->m[r].max - max);
            sum = sum * factor + expf(a->sinks[head] - max);
        }
        float *out = a->out + ((size_t)t * o->n_head + head) * a->out_stride;
        const float *acc = s->acc + (size_t)r * a->n_values;
        for (uint32_t i = 0; i < o->head_dim_v; i++)
            out[i] = acc[i] * factor / sum;
        if (o->gated)
            w->kernels->gate(a->q + ((size_t)t * o->n_head + head) * 2 * o->head_dim + o->head_dim,
                             o->head_dim_v, out);
    }
}

/* ---- sharing out ------------------------------------------------------------------------------
 */

/* cpu.row_tiles: where each run of at most n_tile_rows neighbours of one sequence begins. */
void attend_make_row_tiles(struct cpu *c, const struct attention *a)
{
    uint32_t n = 0;
    for (uint32_t t = 0, from = 0; t < c->batch->n; t++) {
        bool joins = t > 0 && t - from < a->n_tile_rows &&
                     c->batch->seq[t] == c->batch->seq[from] &&
                     c->batch->pos[t] == c->batch->pos[t - 1] + 1;
        if (!joins)
            c->row_tiles[n++] = from = t;
    }
    c->row_tiles[n] = c->batch->n;
    c->n_row_tiles = n;
}

/* Tile i of all, the longest rows first: heads run fastest. */
static struct query_tile query_tile_at(const struct cpu *c, const struct attention *a, uint32_t i)
{
    const struct op_attend *o = a->op;
    uint32_t per_row = o->n_kv_head * a->n_head_tiles;
    uint32_t tile = c->n_row_tiles - 1 - i / per_row;
    uint32_t kv_head = i % per_row / a->n_head_tiles;
    uint32_t from = i % a->n_head_tiles * a->n_tile_heads;
    struct query_tile q = {
        .t = c->row_tiles[tile],
        .n_rows = c->row_tiles[tile + 1] - c->row_tiles[tile],
        .kv_head = kv_head,
        .head = kv_head * a->heads_per_kv + from,
        .n_heads = (uint32_t)num_min(a->n_tile_heads, a->heads_per_kv - from),
    };
    q.n = q.n_rows * q.n_heads;
    q.first = exec_window_first(o->window, c->batch->pos[q.t]);
    q.last = c->batch->pos[q.t + q.n_rows - 1];
    return q;
}

static void attend_tile(struct worker *w, const struct attention *a, const struct query_tile *q)
{
    struct sums total = {.acc = w->scratch->total}, part = {.acc = w->scratch->acc};
    load_queries(w, a, q);
    sums_clear(&total, a, q->n);
    for (uint32_t span = q->first / w->cpu->span; span <= q->last / w->cpu->span; span++) {
        attend_span(w, a, q, span, &part);
        merge(a, q, &part, &total);
    }
    finish(w, a, q, &total);
}

/* Floats of sums.m. */
enum { PARTIAL_HEAD = FEW_QUERIES * sizeof(struct softmax) / sizeof(float) };

/* Where the sums of tile i over a span wait for their merger: m, then acc. */
static float *partial_at(const struct cpu *c, const struct attention *a, uint32_t i,
                         uint32_t n_spans, uint32_t span)
{
    size_t n_floats = PARTIAL_HEAD + FEW_QUERIES * (size_t)a->n_values;
    return c->partials + ((size_t)i * n_spans + span) * n_floats;
}

/* Two phases for a few long tiles: spans are items, then tiles merge theirs in the same order as
 * attend_tile does. */
static void attend_split(struct worker *w, const struct attention *a, uint32_t n_tiles,
                         uint32_t n_spans)
{
    struct cpu *c = w->cpu;
    struct sums part;
    for (uint32_t item; (item = pool_next(c->pool)) < n_tiles * n_spans;) {
        uint32_t i = item / n_spans, span = item % n_spans;
        struct query_tile q = query_tile_at(c, a, i);
        if (span < q.first / c->span || span > q.last / c->span)
            continue;
        float *at = partial_at(c, a, i, n_spans, span);
        part.acc = at + PARTIAL_HEAD;
        load_queries(w, a, &q);
        attend_span(w, a, &q, span, &part);
        memcpy(at, part.m, q.n * sizeof *part.m);
    }
    pool_barrier(c->pool);
    for (uint32_t i; (i = pool_next(c->pool)) < n_tiles;) {
        struct query_tile q = query_tile_at(c, a, i);
        struct sums total = {.acc = w->scratch->total};
        sums_clear(&total, a, q.n);
        for (uint32_t span = q.first / c->span; span <= q.last / c->span; span++) {
            float *at = partial_at(c, a, i, n_spans, span);
            part.acc = at + PARTIAL_HEAD;
            memcpy(part.m, at, q.n * sizeof *part.m);
            merge(a, &q, &part, &total);
        }
        finish(w, a, &q, &total);
    }
}

void attend_tiles(struct worker *w, const struct attention *a)
{
    struct cpu *c = w->cpu;
    uint32_t n_tiles = c->n_row_tiles * a->op->n_kv_head * a->n_head_tiles, last = 0;
    for (uint32_t t = 0; t < w->n_rows; t++)
        last = (uint32_t)num_max(last, c->batch->pos[t]);
    uint32_t n_spans = last / c->span + 1;
    if (a->few_rows && n_spans > 1 && n_tiles < attend_split_tiles(c))
        attend_split(w, a, n_tiles, n_spans);
    else
        for (uint32_t i; (i = pool_next(c->pool)) < n_tiles;) {
            struct query_tile q = query_tile_at(c, a, i);
            attend_tile(w, a, &q);
        }
    pool_barrier(c->pool);
}

void cpu_attend(struct worker *w, const struct op_attend *o)
{
    struct cpu *c = w->cpu;
    struct attention a = attention_of(c, o);
    a.q = c->slots[o->q];
    a.out = c->slots[o->out];
    a.out_stride = o->head_dim_v;
    if (o->rope)
        attend_rotations(w, o->rope);
    if (w->i_thread == 0)
        attend_make_row_tiles(c, &a);
    for (uint32_t item; (item = pool_next(c->pool)) * ROWS_PER_ITEM < w->n_rows;) {
        uint32_t end = (uint32_t)num_min((item + 1) * ROWS_PER_ITEM, w->n_rows);
        for (uint32_t t = item * ROWS_PER_ITEM; t < end; t++)
            store_row(w, &a, t);
    }
    pool_barrier(c->pool);
    attend_tiles(w, &a);
}

/* ---- memory -----------------------------------------------------------------------------------
 */

uint32_t attend_split_tiles(const struct cpu *c)
{
    return 4 * (uint32_t)c->n_threads;
}

uint64_t attend_partial_floats(const struct cpu *c)
{
    if (c->sizes.n_spans < 2)
        return 0;
    return (uint64_t)attend_split_tiles(c) * c->sizes.n_spans *
           (PARTIAL_HEAD + FEW_QUERIES * c->sizes.max_head);
}
