#include "engine/print.h"

#include <string.h>

#include "base/num.h"
#include "base/sum.h"

/* MOST_ELEMS: of an array; longer ones belong to the vocabulary. */
enum { PIECE = 4096, MOST_ELEMS = 4096 };

static uint64_t add_text(uint64_t h, str s)
{
    return sum64(h, s.p, s.n);
}

static uint64_t add_number(uint64_t h, uint64_t n)
{
    return sum64(h, &n, sizeof n);
}

static uint64_t add_key(uint64_t h, const struct gguf *g, const struct gguf_kv *kv)
{
    h = add_number(add_text(h, kv->key), (uint64_t)kv->type << 32 ^ kv->n);
    if (kv->type == GGUF_STRING)
        return kv->is_array ? h : add_text(h, gguf_elem_str(g, kv, 0));
    for (uint64_t i = 0; i < kv->n && kv->n <= MOST_ELEMS; i++) {
        const double f = gguf_elem_f64(kv, i);
        h = add_number(h, (uint64_t)gguf_elem_i64(kv, i));
        h = sum64(h, &f, sizeof f);
    }
    return h;
}

static bool add_tensor(const struct gguf *g, const struct gguf_tensor *t, uint64_t *h,
                       struct err *e)
{
    uint8_t bytes[PIECE];
    const size_t n = (size_t)num_min(t->n_bytes, PIECE);
    if (!gguf_read(g, t, 0, bytes, n, e))
        return false;
    *h = add_number(add_text(*h, t->name), (uint64_t)t->type);
    *h = sum64(*h, t->ne, sizeof t->ne);
    *h = sum64(*h, bytes, n);
    return true;
}

bool print_model(const struct gguf *file, const struct fit *f, const struct requant *requant,
                 uint64_t n_row_bytes, uint64_t *out, struct err *e)
{
    struct buf types = {0};
    requant_print(requant, &types);
    uint64_t h = add_text(0, STR(TAWNY_VERSION));
    h = add_text(add_text(h, str_of(f->backend->name)), buf_view(&types));
    buf_free(&types);
    h = add_number(h, (uint64_t)f->params.type_k << 32 ^ (uint64_t)f->params.type_v);
    h = add_number(add_number(h, n_row_bytes), f->snapshot_bytes);
    for (size_t i = 0; i < gguf_n_kv(file); i++)
        h = add_key(h, file, gguf_kv_at(file, i));
    for (size_t i = 0; i < gguf_n_tensors(file); i++)
        if (!add_tensor(file, gguf_tensor_at(file, i), &h, e))
            return false;
    *out = h;
    return true;
}
