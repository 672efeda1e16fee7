#include "gguf/synth.h"

#include <math.h>
#include <stdlib.h>

#include "gguf/gguf_fill.h"
#include "gguf/synth_fill.h"
#include "gguf/synth_int.h"

enum { MAX_LAYERS = 512, MAX_VOCAB = 1 << 21 };

static void set_unknown_name(const char *name, struct err *e)
{
    struct buf list = {0};
    for (size_t i = 0; synth_name(i); i++)
        buf_fmt(&list, "%s%s", i ? ", " : "", synth_name(i));
    err_set(e, ERR_USAGE, "no shapes for a model called '%s': there are %s", name, list.p);
    buf_free(&list);
}

/* The number of tokens of the tokenizer that is to be copied. */
static bool read_vocab(const struct gguf *g, uint32_t *n_vocab, struct err *e)
{
    const struct gguf_kv *kv = gguf_find(g, STR("tokenizer.ggml.tokens"));
    if (!kv || !kv->is_array || kv->type != GGUF_STRING || kv->n < 1 || kv->n > MAX_VOCAB)
        return err_set(e, ERR_FORMAT,
                       "%s: key 'tokenizer.ggml.tokens' must be an array of 1 to %d strings",
                       gguf_path(g), MAX_VOCAB);
    *n_vocab = (uint32_t)kv->n;
    return true;
}

struct synth *synth_open(const char *name, const struct synth_options *o, struct err *e)
{
    const struct synth_shape *known = synth_shape_of(name);
    if (!known) {
        set_unknown_name(name, e);
        return NULL;
    }
    if (o->n_layers > MAX_LAYERS) {
        err_set(e, ERR_USAGE, "%u layers, limit %d", o->n_layers, MAX_LAYERS);
        return NULL;
    }
    struct synth_shape m = *known;
    if (o->tokenizer && !read_vocab(o->tokenizer, &m.n_vocab, e))
        return NULL;
    m.n_layers = o->n_layers ? o->n_layers : m.n_layers;
    struct synth *s = mem_new(1, sizeof *s);
    s->shape = m;
    s->seed = o->seed;
    s->tokenizer = o->tokenizer;
    s->recipe = (struct recipe){.type = o->has_type ? o->type : m.type,
                                .n_layers = m.n_layers,
                                .kv_share = m.n_heads / m.n_kv_heads,
                                .tied = m.tied,
                                .imatrix = !o->no_imatrix};
    synth_list_tensors(s);
    return s;
}

void synth_close(struct synth *s)
{
    if (!s)
        return;
    arena_free(&s->arena);
    free(s->tensors);
    free(s);
}

const struct gguf_tensor *synth_tensors(const struct synth *s, size_t *n)
{
    *n = s->n_tensors;
    return s->tensors;
}

uint64_t synth_n_bytes(const struct synth *s)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < s->n_tensors; i++)
        sum += s->tensors[i].n_bytes;
    return sum;
}

static void put_tokenizer(struct gguf_writer *w, const struct gguf *from)
{
    if (!from)
        gguf_writer_str(w, "tokenizer.ggml.model", STR("none"));
    for (size_t i = 0; from && i < gguf_n_kv(from); i++)
        if (str_starts(gguf_kv_at(from, i)->key, STR("tokenizer.")))
            gguf_writer_copy(w, from, gguf_kv_at(from, i));
}

/* Tensors that are no matrices, by the end of their names, in the ranges that real ones have: decay
 * negative, time steps small, so that the recurrent state neither grows nor dies at once. */
static bool range_of(str name, float *low, float *high)
{
    static const struct {
        const char *end;
        float low, high;
    } rows[] = {
        {"norm.weight", 0.97f, 1.03f}, {"ssm_a", -4.0f, -0.25f},
        {"ssm_dt.bias", -4.0f, -1.0f}, {".bias", -0.03f, 0.03f},
        {"attn_sinks.weight", -1, 1},  {"ssm_conv1d.weight", -0.5f, 0.5f},
        {"rope_freqs.weight", 1, 8},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (str_ends(name, str_of(rows[i].end))) {
            *low = rows[i].low;
            *high = rows[i].high;
            return true;
        }
    return false;
}

/* Each piece has a generator of its own, so that threads do not matter. Matrices deviate by
 * 1 / sqrt(row length): they keep the size of what they are multiplied with. */
static bool make_piece(const void *ctx, size_t i_tensor, uint64_t first, size_t n, void *out,
                       struct err *e)
{
    const struct synth *s = ctx;
    const struct gguf_tensor *t = &s->tensors[i_tensor];
    struct rng r = {s->seed};
    float low, high;
    (void)e;
    r.state = rng_u64(&r) ^ (uint64_t)i_tensor << 40 ^ first;
    r.state = rng_u64(&r);
    if (range_of(t->name, &low, &high))
        synth_fill_range(low, high, &r, out, n);
    else
        synth_fill(t->type, 1 / sqrtf((float)t->ne[0]), &r, out, n);
    return true;
}

static struct gguf_writer *writer_with_keys(const struct synth *s, const char *path, struct err *e)
{
    struct gguf_writer *w = gguf_writer_open(path, e);
    if (w) {
        synth_put_keys(w, s);
        put_tokenizer(w, s->tokenizer);
    }
    return w;
}

bool synth_write(const struct synth *s, const char *path, int n_threads,
                 const struct progress *progress, const atomic_bool *stop, struct err *e)
{
    struct gguf_fill fill = {.tensors = s->tensors,
                             .n_tensors = s->n_tensors,
                             .make = make_piece,
                             .ctx = s,
                             .n_threads = n_threads,
                             .progress = progress,
                             .stop = stop};
    struct gguf_writer *w = writer_with_keys(s, path, e);
    if (!w)
        return false;
    bool ok = gguf_fill(&fill, w, e);
    gguf_writer_close(w);
    return ok;
}

/* Tensor i, which is one piece. */
static bool write_vector(const struct synth *s, struct gguf_writer *w, size_t i, struct err *e)
{
    const struct gguf_tensor *t = &s->tensors[i];
    void *bytes = mem_new(t->n_bytes, 1);
    bool ok = make_piece(s, i, 0, t->n_elems, bytes, e) &&
              gguf_writer_data(w, i, 0, bytes, t->n_bytes, e);
    free(bytes);
    return ok;
}

bool synth_write_empty(const struct synth *s, const char *path, struct err *e)
{
    struct gguf_writer *w = writer_with_keys(s, path, e);
    if (!w)
        return false;
    for (size_t i = 0; i < s->n_tensors; i++) {
        const struct gguf_tensor *t = &s->tensors[i];
        gguf_writer_tensor(w, t->name, t->type, t->ne, t->n_dims);
    }
    bool ok = gguf_writer_start_sparse(w, e);
    for (size_t i = 0; ok && i < s->n_tensors; i++)
        ok = s->tensors[i].n_dims > 1 || write_vector(s, w, i, e);
    ok = ok && gguf_writer_finish(w, e);
    gguf_writer_close(w);
    return ok;
}
