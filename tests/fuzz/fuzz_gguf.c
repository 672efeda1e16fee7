/* Opens arbitrary bytes as a model file and, when they are accepted, walks everything that the
 * reader offers. */
#include <stdlib.h>

#include "fuzz/fuzz.h"
#include "gguf/gguf.h"

/* Touches every byte, so that a view outside the file is seen. */
static unsigned sum_bytes(str s)
{
    unsigned sum = 0;
    for (size_t i = 0; i < s.n; i++)
        sum += (unsigned char)s.p[i];
    return sum;
}

static void walk_key(const struct gguf *g, const struct gguf_kv *kv)
{
    promise(gguf_find(g, kv->key) == kv);
    for (uint64_t i = 0; i < kv->n; i++) {
        if (kv->type == GGUF_STRING)
            sum_bytes(gguf_elem_str(g, kv, i));
        gguf_elem_i64(kv, i);
        gguf_elem_f64(kv, i);
    }
}

static void get_typed(const struct gguf *g, const struct gguf_kv *kv)
{
    struct err e;
    uint32_t u = 0;
    float f = 0;
    bool yes = false;
    str s = {0};
    char key[64];
    if (kv->key.n >= sizeof key)
        return;
    for (size_t i = 0; i < kv->key.n; i++)
        key[i] = kv->key.p[i];
    key[kv->key.n] = 0;
    gguf_u32(g, key, true, &u, &e);
    gguf_f32(g, key, true, &f, &e);
    gguf_bool(g, key, true, &yes, &e);
    if (gguf_str(g, key, true, &s, &e))
        sum_bytes(s);
}

static void walk_tensor(const struct gguf *g, const struct gguf_tensor *t)
{
    struct err e;
    uint8_t block[256];
    float out[256];
    const struct block_info *info = block_info((uint32_t)t->type);
    promise(gguf_tensor(g, t->name) == t);
    promise(t->n_elems / info->n_elems * info->n_bytes == t->n_bytes);
    sum_bytes(t->name);
    for (uint64_t at = 0; at < t->n_bytes; at += info->n_bytes) {
        promise(gguf_read(g, t, at, block, info->n_bytes, &e));
        info->decode(block, out, info->n_elems);
    }
    promise(!gguf_read(g, t, t->n_bytes, block, 1, &e));
}

FUZZ_TARGET(gguf)
{
    struct err e = {0};
    struct gguf *g = gguf_open_memory(bytes, n_bytes, &e);
    if (!g) {
        promise(e.code != ERR_NONE && e.msg[0]);
        return;
    }
    promise(gguf_file_bytes(g) == n_bytes && gguf_n_shards(g) == 1);
    for (size_t i = 0; i < gguf_n_kv(g); i++) {
        walk_key(g, gguf_kv_at(g, i));
        get_typed(g, gguf_kv_at(g, i));
    }
    for (size_t i = 0; i < gguf_n_tensors(g); i++)
        walk_tensor(g, gguf_tensor_at(g, i));
    gguf_close(g);
}
