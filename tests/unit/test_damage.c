/* Every tensor and key of the toy models damaged in turn: the model is refused with one line that
 * names what is wrong, or it was something that a model can do without. */
#include <ctype.h>

#include "kit/gguf_make.h"
#include "model/model.h"
#include "test.h"

static const char *const toys[] = {
    "qwen3moe.gguf",  "qwen3-dense-tied.gguf", "llama.gguf",     "gpt-oss.gguf",
    "qwen3next.gguf", "qwen3next-legacy.gguf", "qwen35moe.gguf", "glm47flash-deepseek2.gguf",
};
enum { N_TOYS = sizeof toys / sizeof *toys };

enum damage {
    NONE,
    TENSOR_MISSING,
    TENSOR_ROW_MORE,   /* of the last dimension */
    TENSOR_BLOCK_MORE, /* one more block in every row */
    TENSOR_DIM_MORE,
    KEY_MISSING,
    KEY_TEXT,
    KEY_ZERO,
    KEY_HUGE,
    KEY_MORE, /* by one */
};

/* A file of the metadata and tensor table of `from`, but for the damage to tensor or key i; all
 * data bytes are 0x3c. The tokenizer is left out. */
struct damaged {
    struct gguf *from;
    enum damage damage;
    size_t i;
    struct buf bytes;
};

static void put_value(struct buf *b, const struct gguf *g, const struct gguf_kv *kv)
{
    if (kv->is_array) {
        make_key(b, kv->key, GGUF_ARRAY);
        make_u32(b, kv->type);
        make_u64(b, kv->n);
    } else {
        make_key(b, kv->key, kv->type);
    }
    for (uint64_t i = 0; kv->type == GGUF_STRING && i < kv->n; i++)
        make_str(b, gguf_elem_str(g, kv, i));
    static const uint8_t widths[] = {
        [GGUF_U8] = 1,  [GGUF_I8] = 1,  [GGUF_U16] = 2, [GGUF_I16] = 2,
        [GGUF_U32] = 4, [GGUF_I32] = 4, [GGUF_F32] = 4, [GGUF_BOOL] = 1,
        [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8};
    if (kv->type != GGUF_STRING)
        buf_put(b, kv->raw, kv->n * widths[kv->type]);
}

static void put_number(struct buf *b, const struct gguf_kv *kv, double v)
{
    make_key(b, kv->key, GGUF_F32);
    buf_put(b, &(float){(float)v}, sizeof(float));
}

/* Returns false where the damage does not apply. */
static bool put_damaged_key(struct damaged *d, const struct gguf_kv *kv)
{
    struct buf *b = &d->bytes;
    const bool is_float = kv->type == GGUF_F32 || kv->type == GGUF_F64;
    if (d->damage == KEY_MISSING)
        return true;
    if (d->damage == KEY_TEXT) {
        make_key(b, kv->key, GGUF_STRING);
        make_str(b, STR("seven"));
        return true;
    }
    if (kv->is_array || kv->type == GGUF_STRING || kv->type == GGUF_BOOL)
        return false;
    if (is_float)
        put_number(b, kv,
                   d->damage == KEY_ZERO   ? 0
                   : d->damage == KEY_HUGE ? 1e30
                                           : 1 + gguf_elem_f64(kv, 0));
    else
        make_key_u32(b, kv->key,
                     d->damage == KEY_ZERO   ? 0
                     : d->damage == KEY_HUGE ? UINT32_MAX
                                             : (uint32_t)gguf_elem_i64(kv, 0) + 1);
    return true;
}

static bool is_tokenizer(const struct gguf_kv *kv)
{
    return str_starts(kv->key, STR("tokenizer."));
}

static void put_tensor(struct damaged *d, const struct gguf_tensor *t, bool hurt, uint64_t *at)
{
    const uint32_t block = block_info((uint32_t)t->type)->n_elems;
    uint64_t ne[4];
    uint32_t n_dims = t->n_dims;
    memcpy(ne, t->ne, sizeof ne);
    ne[0] += hurt && d->damage == TENSOR_BLOCK_MORE ? block : 0;
    ne[n_dims - 1] += hurt && d->damage == TENSOR_ROW_MORE && n_dims > 1;
    if (hurt && d->damage == TENSOR_ROW_MORE && n_dims == 1)
        ne[0] += block;
    if (hurt && d->damage == TENSOR_DIM_MORE)
        ne[n_dims++] = 2;
    make_tensor(&d->bytes, t->name, t->type, ne, n_dims, *at);
    uint64_t n_bytes = block_row_bytes(t->type, ne[0]);
    for (uint32_t k = 1; k < n_dims; k++)
        n_bytes *= ne[k];
    *at += (n_bytes + 31) / 32 * 32;
}

static bool make(struct damaged *d)
{
    const struct gguf *g = d->from;
    const bool of_key = d->damage >= KEY_MISSING, gone = d->damage == KEY_MISSING;
    uint64_t n_keys = 0, n_data = 0;
    d->bytes.n = 0;
    for (size_t i = 0; i < gguf_n_kv(g); i++)
        n_keys += !is_tokenizer(gguf_kv_at(g, i)) && !(gone && i == d->i);
    make_header(&d->bytes, 3, gguf_n_tensors(g) - (d->damage == TENSOR_MISSING), n_keys);
    for (size_t i = 0; i < gguf_n_kv(g); i++) {
        const struct gguf_kv *kv = gguf_kv_at(g, i);
        if (is_tokenizer(kv))
            continue;
        if (of_key && i == d->i) {
            if (!put_damaged_key(d, kv))
                return false;
        } else {
            put_value(&d->bytes, g, kv);
        }
    }
    for (size_t i = 0; i < gguf_n_tensors(g); i++)
        if (d->damage != TENSOR_MISSING || i != d->i)
            put_tensor(d, gguf_tensor_at(g, i), !of_key && d->damage && i == d->i, &n_data);
    make_pad(&d->bytes);
    char fill[4096];
    memset(fill, 0x3c, sizeof fill);
    for (; n_data > sizeof fill; n_data -= sizeof fill)
        buf_put(&d->bytes, fill, sizeof fill);
    buf_put(&d->bytes, fill, n_data);
    return true;
}

/* NULL and e: refused. */
static bool opens(struct damaged *d, struct err *e)
{
    struct gguf *g = gguf_open_memory(d->bytes.p, d->bytes.n, e);
    struct model *m = g ? model_open(g, NULL, e) : NULL;
    const bool ok = m != NULL;
    model_close(m);
    gguf_close(g);
    return ok;
}

/* One line that names a key or a tensor. */
static void check_message(const struct err *e, const char *toy, str what)
{
    bool one_line = e->msg[0] != 0;
    for (const char *c = e->msg; *c; c++)
        one_line = one_line && !iscntrl((unsigned char)*c);
    if (!one_line || (!strstr(e->msg, "tensor '") && !strstr(e->msg, "key '") &&
                      !strstr(e->msg, "keys '") && !strstr(e->msg, "architecture '")))
        test_fail(__FILE__, __LINE__, "%s, %.*s damaged: says '%s'", toy, STRF(what), e->msg);
}

static struct gguf *open_toy(const char *toy)
{
    struct err e;
    char path[128];
    snprintf(path, sizeof path, "spec/data/toy/%s", toy);
    struct gguf *g = gguf_open(test_shared(path), NULL, &e);
    CHECK_OK(g);
    return g;
}

static bool ends_in_any(str name, const char *const *ends)
{
    for (; *ends; ends++)
        if (str_ends(name, str_of(*ends)))
            return true;
    return false;
}

/* What a model can do without; a gap changes what it computes, not whether it can be run. */
static const char *const optional_tensors[] = {"output.weight", "rope_freqs.weight",
                                               "exp_probs_b.bias", NULL};

/* A vocabulary of one row more, without another matrix to compare it with, is one too. */
static bool is_harmless(const struct damaged *d, str name)
{
    if (d->damage == TENSOR_ROW_MORE)
        return str_eq(name, STR("token_embd.weight")) &&
               !gguf_tensor(d->from, STR("output.weight"));
    return d->damage == TENSOR_MISSING && ends_in_any(name, optional_tensors);
}

TEST(damaged_tensors_are_named)
{
    for (size_t k = 0; k < N_TOYS; k++) {
        struct damaged d = {.from = open_toy(toys[k])};
        struct err e = {0};
        CHECK(make(&d));
        CHECK_OK(opens(&d, &e));
        for (d.damage = TENSOR_MISSING; d.damage <= TENSOR_DIM_MORE; d.damage++)
            for (d.i = 0; d.i < gguf_n_tensors(d.from); d.i++) {
                const str name = gguf_tensor_at(d.from, d.i)->name;
                if (d.damage == TENSOR_DIM_MORE && gguf_tensor_at(d.from, d.i)->n_dims == 4)
                    continue;
                CHECK(make(&d));
                e = (struct err){0};
                if (opens(&d, &e)) {
                    if (!is_harmless(&d, name))
                        test_fail(__FILE__, __LINE__, "%s: opens with damage %d to %.*s", toys[k],
                                  d.damage, STRF(name));
                    continue;
                }
                check_message(&e, toys[k], name);
            }
        buf_free(&d.bytes);
        gguf_close(d.from);
    }
}

static const char *const required_keys[] = {"general.architecture",
                                            ".context_length",
                                            ".embedding_length",
                                            ".block_count",
                                            ".attention.head_count",
                                            ".attention.layer_norm_rms_epsilon",
                                            NULL};

/* A value of the wrong type is the key's own fault; a wrong number may show in a tensor that does
 * not fit it. */
static void check_key_named(const struct damaged *d, const struct err *e, str name)
{
    char text[128];
    snprintf(text, sizeof text, "%.*s", STRF(name));
    if (d->damage == KEY_TEXT && !str_eq(name, STR("general.architecture")) &&
        !strstr(e->msg, text))
        test_fail(__FILE__, __LINE__, "%s is text: says '%s'", text, e->msg);
}

TEST(damaged_keys_are_named)
{
    for (size_t k = 0; k < N_TOYS; k++) {
        struct damaged d = {.from = open_toy(toys[k])};
        for (d.damage = KEY_MISSING; d.damage <= KEY_MORE; d.damage++)
            for (d.i = 0; d.i < gguf_n_kv(d.from); d.i++) {
                const str name = gguf_kv_at(d.from, d.i)->key;
                struct err e = {0};
                if (is_tokenizer(gguf_kv_at(d.from, d.i)) || !make(&d))
                    continue;
                if (!opens(&d, &e)) {
                    check_message(&e, toys[k], name);
                    check_key_named(&d, &e, name);
                } else if (d.damage != KEY_MORE && ends_in_any(name, required_keys)) {
                    test_fail(__FILE__, __LINE__, "%s: opens with damage %d to %.*s", toys[k],
                              d.damage, STRF(name));
                }
            }
        buf_free(&d.bytes);
        gguf_close(d.from);
    }
}
