#include "gguf/requant.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/num.h"
#include "gguf/gguf_fill.h"
#include "gguf/recipe.h"

enum { STEP = 4096 }; /* elements between decoding and encoding: floats that stay in the cache */

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

bool requant_blocks(const struct gguf *g, const struct gguf_tensor *t, const void *in,
                    enum block_type to, void *out, size_t n, struct err *e)
{
    for (size_t i = 0; i < n; i += STEP) {
        float x[STEP];
        const size_t n_step = num_min(n - i, STEP);
        block_info((uint32_t)t->type)
            ->decode((const uint8_t *)in + block_row_bytes(t->type, i), x, n_step);
        if (!check_values(g, t, to, x, n_step, e))
            return false;
        block_info((uint32_t)to)->encode(x, (uint8_t *)out + block_row_bytes(to, i), n_step);
    }
    return true;
}

/* ---- writing a file -------------------------------------------------------------------------- */

struct making {
    const struct gguf *in;
    const struct gguf_tensor *out; /* [gguf_n_tensors(in)] */
};

static bool make_piece(const void *ctx, size_t i_tensor, uint64_t first, size_t n, void *out,
                       struct err *e)
{
    const struct making *m = ctx;
    const struct gguf_tensor *from = gguf_tensor_at(m->in, i_tensor);
    const enum block_type to = m->out[i_tensor].type;
    const size_t n_bytes = block_row_bytes(from->type, n);
    const uint64_t at = block_row_bytes(from->type, first);
    if (from->type == to)
        return gguf_read(m->in, from, at, out, n_bytes, e);
    uint8_t *blocks = mem_new(n_bytes, 1);
    const bool ok = gguf_read(m->in, from, at, blocks, n_bytes, e) &&
                    requant_blocks(m->in, from, blocks, to, out, n, e);
    free(blocks);
    return ok;
}

static void copy_keys(const struct gguf *in, const struct requant *r, struct gguf_writer *w)
{
    for (size_t i = 0; i < gguf_n_kv(in); i++) {
        const str key = gguf_kv_at(in, i)->key;
        if (!r->has_mix || (!str_eq(key, STR("general.file_type")) &&
                            !str_eq(key, STR("general.quantization_version"))))
            gguf_writer_copy(w, in, gguf_kv_at(in, i));
    }
    if (r->has_mix) {
        gguf_writer_u32(w, "general.quantization_version", 2);
        gguf_writer_u32(w, "general.file_type", recipe_file_type(r->mix));
    }
}

/* The tensors of the new file; freed by the caller. */
static struct gguf_tensor *retyped(const struct gguf *in, const enum block_type *types)
{
    const size_t n = gguf_n_tensors(in);
    struct gguf_tensor *out = mem_new(n, sizeof *out);
    for (size_t i = 0; i < n; i++) {
        out[i] = *gguf_tensor_at(in, i);
        out[i].n_dims = out[i].n_dims ? out[i].n_dims : 1;
        out[i].type = types[i];
        gguf_fill_size(&out[i]);
    }
    return out;
}

bool requant_file(const struct gguf *in, const char *path, const struct requant *r,
                  const struct requant_work *work, struct err *e)
{
    const size_t n = gguf_n_tensors(in);
    enum block_type *types = mem_new(n, sizeof *types);
    struct gguf_tensor *out = NULL;
    struct gguf_writer *w = NULL;
    bool ok = requant_types(in, r, types, e) && (w = gguf_writer_open(path, e));
    if (ok) {
        copy_keys(in, r, w);
        out = retyped(in, types);
        const struct gguf_fill fill = {.tensors = out,
                                       .n_tensors = n,
                                       .make = make_piece,
                                       .ctx = &(struct making){in, out},
                                       .n_threads = work->n_threads,
                                       .progress = work->progress,
                                       .stop = work->stop};
        ok = gguf_fill(&fill, w, e);
    }
    gguf_writer_close(w);
    free(out);
    free(types);
    return ok;
}
