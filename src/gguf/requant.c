#include "gguf/requant.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/num.h"
#include "gguf/gguf_fill.h"
#include "gguf/recipe.h"

enum { STEP = 4096 }; /* elements between decoding and encoding: floats that stay in the cache */

struct work {
    const struct gguf *in;
    const struct gguf_tensor *out; /* [gguf_n_tensors(in)] */
};

/* Half is the narrowest scale of all types; F32 and BF16 hold every finite float. */
static bool check_values(const struct gguf *in, const struct gguf_tensor *t, enum block_type to,
                         const float *x, size_t n, struct err *e)
{
    float limit = to == BLOCK_F32 || to == BLOCK_BF16 ? 0x1.fffffep127f : 65504.0f;
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(x[i]) <= limit))
            return err_set(e, ERR_FORMAT, "%s: tensor '%.*s' holds %g, %s can hold up to %g",
                           gguf_path(in), STRF(t->name), (double)x[i],
                           block_type_name((uint32_t)to), (double)limit);
    return true;
}

static bool make_piece(const void *ctx, size_t i_tensor, uint64_t first, size_t n, void *out,
                       struct err *e)
{
    const struct work *w = ctx;
    const struct gguf_tensor *from = gguf_tensor_at(w->in, i_tensor);
    enum block_type to = w->out[i_tensor].type;
    size_t n_bytes = block_row_bytes(from->type, n);
    uint64_t at = block_row_bytes(from->type, first);
    if (from->type == to)
        return gguf_read(w->in, from, at, out, n_bytes, e);
    uint8_t *blocks = mem_new(n_bytes, 1);
    bool ok = gguf_read(w->in, from, at, blocks, n_bytes, e);
    for (size_t i = 0; ok && i < n; i += STEP) {
        float x[STEP];
        size_t n_step = num_min(n - i, STEP);
        block_info((uint32_t)from->type)
            ->decode(blocks + block_row_bytes(from->type, i), x, n_step);
        ok = check_values(w->in, from, to, x, n_step, e);
        if (ok)
            block_info((uint32_t)to)->encode(x, (uint8_t *)out + block_row_bytes(to, i), n_step);
    }
    free(blocks);
    return ok;
}

/* The largest value of an integer key "ARCH.suffix", scalar or per layer; 0 when absent. */
static int64_t largest_of(const struct gguf *in, const char *suffix)
{
    struct err e;
    str arch = STR("");
    char key[128];
    int64_t largest = 0;
    if (!gguf_str(in, "general.architecture", false, &arch, &e))
        return 0;
    snprintf(key, sizeof key, "%.*s.%s", STRF(arch), suffix);
    const struct gguf_kv *kv = gguf_find(in, str_of(key));
    for (uint64_t i = 0; kv && i < kv->n; i++)
        if (gguf_elem_i64(kv, i) > largest)
            largest = gguf_elem_i64(kv, i);
    return largest;
}

static struct recipe recipe_for(const struct gguf *in, enum block_type type)
{
    int64_t n_layers = largest_of(in, "block_count");
    int64_t n_heads = largest_of(in, "attention.head_count");
    int64_t n_kv_heads = largest_of(in, "attention.head_count_kv");
    return (struct recipe){
        .type = type,
        .n_layers = (uint32_t)num_min((size_t)n_layers, UINT32_MAX),
        .kv_share = (uint32_t)(n_kv_heads ? n_heads / n_kv_heads : 1),
        .tied = !gguf_tensor(in, STR("output.weight")),
    };
}

bool requant_file(const struct gguf *in, const char *path, const struct requant *r, struct err *e)
{
    size_t n = gguf_n_tensors(in);
    struct recipe recipe = recipe_for(in, r->type);
    if (!block_info((uint32_t)r->type) || !block_info((uint32_t)r->type)->encode)
        return err_set(e, ERR_UNSUPPORTED, "%s: tawny does not write type %s", path,
                       block_type_name((uint32_t)r->type));
    struct gguf_writer *w = gguf_writer_open(path, e);
    if (!w)
        return false;
    for (size_t i = 0; i < gguf_n_kv(in); i++) {
        str key = gguf_kv_at(in, i)->key;
        if (!str_eq(key, STR("general.file_type")) &&
            !str_eq(key, STR("general.quantization_version")))
            gguf_writer_copy(w, in, gguf_kv_at(in, i));
    }
    gguf_writer_u32(w, "general.quantization_version", 2);
    gguf_writer_u32(w, "general.file_type", recipe_file_type(r->type));
    struct gguf_tensor *out = mem_new(n, sizeof *out);
    for (size_t i = 0; i < n; i++) {
        out[i] = *gguf_tensor_at(in, i);
        out[i].n_dims = out[i].n_dims ? out[i].n_dims : 1;
        out[i].type = recipe_pick(&recipe, out[i].name, out[i].ne);
        gguf_fill_size(&out[i]);
    }
    struct gguf_fill fill = {.tensors = out,
                             .n_tensors = n,
                             .make = make_piece,
                             .ctx = &(struct work){in, out},
                             .n_threads = r->n_threads,
                             .progress = r->progress,
                             .stop = r->stop};
    bool ok = gguf_fill(&fill, w, e);
    gguf_writer_close(w);
    free(out);
    return ok;
}
