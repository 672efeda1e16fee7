/* Gated delta net in chunks (spec "architectures" 6.3, 6.4). A row reads the memory S of the last
 * chunk border once, for its key and its query, and through their keys the rows since then; the
 * memory moves on at borders only, which are at multiples of DELTA_CHUNK positions:
 *     u_t = beta_t (v_t - e^G_t S' k_t - sum over s < t of (k_t . k_s) e^(G_t - G_s) u_s)
 *     o_t = e^G_t S' q_t + sum over s <= t of (q_t . k_s) e^(G_t - G_s) u_s
 * with G the logarithm of the decay since the border. The rows of an unfinished chunk are part of
 * the state, so these sums are the same however the rows come. A chunk is as long as a key tile:
 * generating a token then moves 1.2 times the memory's bytes, where the plain recurrence moves 2
 * times (read and write); longer chunks would have more rows to read beside it.
 *
 * An item is a key head with the value heads that use it: it alone touches their channels of the
 * convolution and their part of the state, so the op is one phase. */
#include <math.h>
#include <string.h>

#include "base/num.h"
#include "compute/cpu/cpu.h"

/* The state of a sequence in one layer. Value rows are n_lanes = d_v, padded, long. */
struct delta_state {
    float *conv;   /* [n_conv - 1][C] newest inputs, oldest first */
    float *memory; /* [n_v][d_k][n_lanes] */
    float *keys;   /* [n_k][d_k][KEY_TILE]: position in the lane */
    float *news;   /* [n_v][DELTA_CHUNK][n_lanes]: u */
    float *decays; /* [n_v][DELTA_CHUNK]: G */
};

static size_t padded(size_t n)
{
    return (n + ROWS - 1) / ROWS * ROWS;
}

static size_t n_keys(const struct op_delta_net *o)
{
    return (size_t)o->n_k_head * o->d_k;
}

static size_t n_channels(const struct op_delta_net *o)
{
    return 2 * n_keys(o) + (size_t)o->n_v_head * o->d_v;
}

/* Floats of the parts of a state, each a multiple of a cache line's. */
static size_t conv_floats(const struct op_delta_net *o)
{
    return padded((o->n_conv - 1) * n_channels(o));
}
static size_t memory_floats(const struct op_delta_net *o)
{
    return o->n_v_head * o->d_k * padded(o->d_v);
}
static size_t news_floats(const struct op_delta_net *o)
{
    return o->n_v_head * DELTA_CHUNK * padded(o->d_v);
}

static size_t state_floats(const struct op_delta_net *o)
{
    return conv_floats(o) + memory_floats(o) + n_keys(o) * KEY_TILE + news_floats(o) +
           (size_t)o->n_v_head * DELTA_CHUNK;
}

static struct delta_state state_of(const struct cpu *c, const struct op_delta_net *o, uint32_t seq)
{
    struct delta_state s;
    s.conv = c->states + seq * c->n_state_floats + c->state_at[o->state];
    s.memory = s.conv + conv_floats(o);
    s.keys = s.memory + memory_floats(o);
    s.news = s.keys + n_keys(o) * KEY_TILE;
    s.decays = s.news + news_floats(o);
    return s;
}

/* ---- sizes and copies ------------------------------------------------------------------------ */

size_t delta_place_states(const struct plan *p, size_t *at)
{
    size_t n_floats = 0;
    for (size_t i = 0; i < p->n_ops; i++) {
        const struct op_delta_net *o = &p->ops[i].delta_net;
        if (p->ops[i].kind != OP_DELTA_NET)
            continue;
        if (at)
            at[o->state] = n_floats;
        n_floats += state_floats(o);
    }
    return n_floats;
}

/* Scratch of a thread, in this order. */
struct delta_scratch {
    float *kq;   /* [2 * DELTA_CHUNK][d_k] */
    float *dots; /* [2 * DELTA_CHUNK][KEY_BLOCK] */
    float *v;    /* [DELTA_CHUNK][n_lanes] */
    float *out;  /* [2 * DELTA_CHUNK][n_lanes] */
};

size_t delta_scratch_floats(const struct op_delta_net *o)
{
    return DELTA_CHUNK * (2 * padded(o->d_k) + 2 * KEY_BLOCK + 3 * padded(o->d_v));
}

static struct delta_scratch scratch_of(const struct worker *w, const struct op_delta_net *o)
{
    struct delta_scratch s;
    s.kq = w->scratch->delta;
    s.dots = s.kq + 2 * DELTA_CHUNK * padded(o->d_k);
    s.v = s.dots + 2 * DELTA_CHUNK * KEY_BLOCK;
    s.out = s.v + DELTA_CHUNK * padded(o->d_v);
    return s;
}

/* ---- the op ---------------------------------------------------------------------------------- */

/* Rows of one sequence within one chunk, at rising positions. */
struct piece {
    const struct op_delta_net *op;
    struct delta_state state;
    struct delta_scratch scratch;
    uint32_t seq;
    uint32_t first, n;          /* place of the first in the chunk; number of rows */
    uint32_t rows[DELTA_CHUNK]; /* in the batch */
};

/* The next rows of piece.seq from row *t of the batch on. False when there are none. */
static bool next_piece(const struct worker *w, uint32_t *t, struct piece *p)
{
    const struct batch *b = w->cpu->batch;
    for (p->n = 0; *t < b->n; ++*t) {
        if (b->seq[*t] != p->seq)
            continue;
        if (p->n && b->pos[*t] % DELTA_CHUNK == 0)
            break;
        p->rows[p->n++] = *t;
    }
    if (p->n)
        p->first = b->pos[p->rows[0]] % DELTA_CHUNK;
    return p->n > 0;
}

/* Convolves n channels from `channel` on, for all rows of the piece, and moves their history on. */
static void convolve(const struct worker *w, const struct piece *p, size_t channel, uint32_t n,
                     float *out, size_t stride)
{
    const struct cpu *c = w->cpu;
    const uint32_t n_old = p->op->n_conv - 1;
    const size_t n_all = n_channels(p->op);
    const float *taps = vector_of(c, p->op->conv) + channel,
                *in[WEIGHTS_MAX_TAPS + DELTA_CHUNK] = {0};
    for (uint32_t i = 0; i < n_old; i++)
        in[i] = p->state.conv + i * n_all + channel;
    for (uint32_t r = 0; r < p->n; r++)
        in[n_old + r] = c->slots[p->op->qkv] + p->rows[r] * n_all + channel;
    w->kernels->convolve(taps, n_all, p->op->n_conv, in, p->n, n, out, stride);
    for (uint32_t i = 0; i < n_old; i++)
        memcpy(p->state.conv + i * n_all + channel, in[i + p->n], n * sizeof(float));
}

/* scratch.kq: keys and queries of key head `head`; scratch.dots: theirs with the chunk's keys. */
static void prepare_keys(const struct worker *w, const struct piece *p, uint32_t head)
{
    const uint32_t d_k = p->op->d_k;
    float *keys = p->scratch.kq, *queries = keys + (size_t)p->n * d_k;
    float *tile = p->state.keys + (size_t)head * d_k * KEY_TILE;
    convolve(w, p, (size_t)head * d_k, d_k, queries, d_k);
    convolve(w, p, n_keys(p->op) + (size_t)head * d_k, d_k, keys, d_k);
    for (uint32_t r = 0; r < p->n; r++) {
        w->kernels->normalise(queries + (size_t)r * d_k, d_k, 1 / sqrtf((float)d_k));
        w->kernels->normalise(keys + (size_t)r * d_k, d_k, 1);
        for (uint32_t i = 0; i < d_k; i++)
            tile[(size_t)i * KEY_TILE + p->first + r] = keys[(size_t)r * d_k + i];
    }
    for (uint32_t i = 0; i < 2; i++)
        w->kernels->score(keys + (size_t)i * p->n * d_k, p->n, d_k, (const float(*)[KEY_TILE])tile,
                          1, p->scratch.dots + (size_t)i * p->n * KEY_BLOCK);
}

static float sigmoid(float x)
{
    return 1 / (1 + expf(-x));
}

/* beta of the piece's rows, and their logarithms of the decay since the border. */
static void prepare_gates(const struct cpu *c, const struct piece *p, uint32_t head, float *beta,
                          float *decays)
{
    const struct op_delta_net *o = p->op;
    const float dt_bias = vector_of(c, o->dt_bias)[head], decay = vector_of(c, o->decay)[head];
    float since = p->first ? decays[p->first - 1] : 0;
    for (uint32_t r = 0; r < p->n; r++) {
        const size_t at = (size_t)p->rows[r] * delta_gates_width(o);
        const float a = c->slots[o->alpha][at + delta_alpha_at(o, head)] + dt_bias;
        since += decay * (a > 20 ? a : log1pf(expf(a)));
        decays[p->first + r] = since;
        beta[r] = sigmoid(c->slots[o->beta][at + delta_beta_at(o, head)]);
    }
}

static void value_head(const struct worker *w, const struct piece *p, uint32_t key_head,
                       uint32_t head)
{
    const struct cpu *c = w->cpu;
    const struct op_delta_net *o = p->op;
    const struct delta_scratch *s = &p->scratch;
    const size_t n_lanes = padded(o->d_v), n_v = (size_t)o->n_v_head * o->d_v;
    float beta[DELTA_CHUNK], *decays = p->state.decays + (size_t)head * DELTA_CHUNK;
    memset(s->v, 0, p->n * n_lanes * sizeof *s->v);
    convolve(w, p, 2 * n_keys(o) + (size_t)head * o->d_v, o->d_v, s->v, n_lanes);
    prepare_gates(c, p, head, beta, decays);
    w->kernels->delta(&(struct delta_rows){
        .d_k = o->d_k,
        .n_lanes = (uint32_t)n_lanes,
        .first = p->first,
        .n = p->n,
        .kq = s->kq,
        .dots = s->dots,
        .v = s->v,
        .beta = beta,
        .decays = decays,
        .keys = (const float(*)[KEY_TILE])(p->state.keys + (size_t)key_head * o->d_k * KEY_TILE),
        .memory = p->state.memory + head * o->d_k * n_lanes,
        .news = p->state.news + head * DELTA_CHUNK * n_lanes,
        .out = s->out,
    });
    for (uint32_t r = 0; r < p->n; r++) {
        const size_t at = p->rows[r] * n_v + (size_t)head * o->d_v;
        float *out = c->slots[o->out] + at;
        w->kernels->rms(s->out + (p->n + r) * n_lanes, vector_of(c, o->norm), o->eps, o->d_v, out);
        w->kernels->activate(ACT_SWIGLU, c->slots[o->z] + at, out, o->d_v, out);
    }
}

static uint32_t value_head_at(const struct op_delta_net *o, uint32_t key_head, uint32_t i)
{
    return o->order == HEADS_TILED ? i * o->n_k_head + key_head
                                   : key_head * (o->n_v_head / o->n_k_head) + i;
}

/* Before position 0: what a key head's items read before they write it. */
static void clear(const struct piece *p, uint32_t key_head)
{
    const struct op_delta_net *o = p->op;
    const size_t n_all = n_channels(o), n_memory = o->d_k * padded(o->d_v);
    const uint32_t n_each = o->n_v_head / o->n_k_head;
    for (uint32_t i = 0; i + 1 < o->n_conv; i++) {
        float *history = p->state.conv + i * n_all;
        memset(history + (size_t)key_head * o->d_k, 0, o->d_k * sizeof *history);
        memset(history + n_keys(o) + (size_t)key_head * o->d_k, 0, o->d_k * sizeof *history);
        for (uint32_t j = 0; j < n_each; j++)
            memset(history + 2 * n_keys(o) + (size_t)value_head_at(o, key_head, j) * o->d_v, 0,
                   o->d_v * sizeof *history);
    }
    for (uint32_t j = 0; j < n_each; j++)
        memset(p->state.memory + value_head_at(o, key_head, j) * n_memory, 0,
               n_memory * sizeof *p->state.memory);
}

void cpu_delta_net(struct worker *w, const struct op_delta_net *o)
{
    const struct cpu *c = w->cpu;
    const uint32_t n_items = c->params.n_seqs * o->n_k_head;
    for (uint32_t item; (item = pool_next(c->pool)) < n_items;) {
        const uint32_t key_head = item % o->n_k_head;
        struct piece p = {.op = o, .seq = item / o->n_k_head, .scratch = scratch_of(w, o)};
        p.state = state_of(c, o, p.seq);
        for (uint32_t t = 0; next_piece(w, &t, &p);) {
            if (c->batch->pos[p.rows[0]] == 0)
                clear(&p, key_head);
            prepare_keys(w, &p, key_head);
            for (uint32_t i = 0; i < o->n_v_head / o->n_k_head; i++)
                value_head(w, &p, key_head, value_head_at(o, key_head, i));
        }
    }
    pool_barrier(c->pool);
}
