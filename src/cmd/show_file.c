/* What stands in a model file: metadata and tensors. */
#include <string.h>

#include "base/json.h"
#include "base/num.h"
#include "cmd/show.h"

/* How many elements of an array are shown. */
enum { MAX_ELEMS = 4 };

/* Sums over the tensors of one type. */
struct type_sum {
    size_t n_tensors;
    uint64_t n_elems, n_bytes;
};

static void sum_types(const struct gguf *f, struct type_sum sums[BLOCK_TYPE_LIMIT])
{
    memset(sums, 0, BLOCK_TYPE_LIMIT * sizeof *sums);
    for (size_t i = 0; i < gguf_n_tensors(f); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(f, i);
        sums[t->type].n_tensors++;
        sums[t->type].n_elems += t->n_elems;
        sums[t->type].n_bytes += t->n_bytes;
    }
}

void show_quoted(str s, size_t max, struct buf *out)
{
    struct buf quoted = {0};
    size_t n = num_min(s.n, max);
    while (n > 0 && n < s.n && ((unsigned char)s.p[n] & 0xc0) == 0x80)
        n--; /* not inside a character */
    json_quote(str_sub(s, 0, n), &quoted);
    term_safe(buf_view(&quoted), out);
    if (n < s.n)
        buf_fmt(out, "... (%zu bytes)", s.n);
    buf_free(&quoted);
}

/* ---- metadata -------------------------------------------------------------------------------- */

static const char *type_name(enum gguf_type t)
{
    static const char *const names[] = {"u8",   "i8",  "u16",   "i16", "u32", "i32", "f32",
                                        "bool", "str", "array", "u64", "i64", "f64"};
    return names[t];
}

/* Element i as JSON text; strings are cut. */
static void put_elem(const struct gguf *f, const struct gguf_kv *kv, uint64_t i, struct buf *out)
{
    if (kv->type == GGUF_STRING) {
        show_quoted(gguf_elem_str(f, kv, i), SHOW_MAX_TEXT, out);
    } else if (kv->type == GGUF_F32 || kv->type == GGUF_F64) {
        buf_fmt(out, "%.7g", gguf_elem_f64(kv, i));
    } else if (kv->type == GGUF_BOOL) {
        buf_str(out, gguf_elem_i64(kv, i) ? STR("true") : STR("false"));
    } else if (kv->type == GGUF_U64) {
        buf_fmt(out, "%llu", (unsigned long long)gguf_elem_i64(kv, i));
    } else if (kv->type != GGUF_ARRAY) {
        buf_fmt(out, "%lld", (long long)gguf_elem_i64(kv, i));
    }
}

void show_metadata(const struct gguf *f, struct buf *out)
{
    struct table t = {.align = "lll"};
    for (size_t i = 0; i < gguf_n_kv(f); i++) {
        const struct gguf_kv *kv = gguf_kv_at(f, i);
        struct buf key = {0}, value = {0};
        show_quoted(kv->key, SIZE_MAX, &key);
        for (uint64_t k = 0; k < num_min(kv->n, MAX_ELEMS); k++) {
            buf_str(&value, k ? STR(", ") : STR(""));
            put_elem(f, kv, k, &value);
        }
        buf_str(&value, kv->n > MAX_ELEMS ? STR(", ...") : STR(""));
        table_cell(&t, "  %.*s", (int)key.n - 2, key.p + 1);
        if (kv->is_array)
            table_cell(&t, "%s[%llu]", type_name(kv->type), (unsigned long long)kv->n);
        else
            table_cell(&t, "%s", type_name(kv->type));
        table_cell(&t, "%s", value.n ? value.p : "");
        buf_free(&key);
        buf_free(&value);
    }
    buf_str(out, STR("\nMetadata\n"));
    table_text(&t, out);
    table_free(&t);
}

static void json_elem(struct jout *j, const char *key, const struct gguf *f,
                      const struct gguf_kv *kv, uint64_t i)
{
    if (kv->type == GGUF_STRING)
        jout_str(j, key, gguf_elem_str(f, kv, i));
    else if (kv->type == GGUF_F32 || kv->type == GGUF_F64)
        jout_f64(j, key, gguf_elem_f64(kv, i), 9);
    else if (kv->type == GGUF_BOOL)
        jout_bool(j, key, gguf_elem_i64(kv, i) != 0);
    else if (kv->type == GGUF_U64)
        jout_u64(j, key, (uint64_t)gguf_elem_i64(kv, i));
    else
        jout_i64(j, key, gguf_elem_i64(kv, i));
}

/* Arrays become {"count": n, "first": [...]}: a vocabulary is not what anybody wants here. */
void show_json_metadata(struct jout *j, const struct gguf *f)
{
    jout_begin(j, "metadata", '{');
    for (size_t i = 0; i < gguf_n_kv(f); i++) {
        const struct gguf_kv *kv = gguf_kv_at(f, i);
        struct buf key = {0};
        buf_fmt(&key, "%.*s", STRF(kv->key));
        if (!kv->is_array) {
            json_elem(j, key.p, f, kv, 0);
        } else {
            jout_begin(j, key.p, '{');
            jout_u64(j, "count", kv->n);
            jout_begin(j, "first", '[');
            for (uint64_t k = 0; k < num_min(kv->n, MAX_ELEMS) && kv->type != GGUF_ARRAY; k++)
                json_elem(j, NULL, f, kv, k);
            jout_end(j, ']');
            jout_end(j, '}');
        }
        buf_free(&key);
    }
    jout_end(j, '}');
}

/* ---- tensors --------------------------------------------------------------------------------- */

void show_types(const struct gguf *f, struct buf *out)
{
    struct type_sum sums[BLOCK_TYPE_LIMIT];
    uint64_t total = 0;
    sum_types(f, sums);
    for (size_t i = 0; i < BLOCK_TYPE_LIMIT; i++)
        total += sums[i].n_bytes;
    struct table t = {.align = "lrrrr"};
    const char *head[] = {"  type", "tensors", "parameters", "bytes", "share"};
    for (size_t i = 0; i < sizeof head / sizeof *head; i++)
        table_cell(&t, "%s", head[i]);
    for (uint32_t i = 0; i < BLOCK_TYPE_LIMIT; i++) {
        if (!sums[i].n_tensors)
            continue;
        table_cell(&t, "  %s", block_type_name(i));
        table_cell(&t, "%zu", sums[i].n_tensors);
        table_cell(&t, "%s", term_count((double)sums[i].n_elems).text);
        table_cell(&t, "%s", term_bytes((double)sums[i].n_bytes).text);
        table_cell(&t, "%.1f%%", 100.0 * (double)sums[i].n_bytes / (double)total);
    }
    buf_str(out, STR("\nTensors by type\n"));
    table_text(&t, out);
    table_free(&t);
}

static void put_shape(const struct gguf_tensor *t, struct buf *out)
{
    for (uint32_t d = 0; d < t->n_dims; d++)
        buf_fmt(out, "%s%llu", d ? " x " : "", (unsigned long long)t->ne[d]);
}

void show_tensors(const struct gguf *f, struct buf *out)
{
    struct table t = {.align = "lllr"};
    for (size_t i = 0; i < gguf_n_tensors(f); i++) {
        const struct gguf_tensor *tensor = gguf_tensor_at(f, i);
        struct buf name = {0}, shape = {0};
        show_quoted(tensor->name, SIZE_MAX, &name);
        put_shape(tensor, &shape);
        table_cell(&t, "  %.*s", (int)name.n - 2, name.p + 1);
        table_cell(&t, "%s", block_type_name(tensor->type));
        table_cell(&t, "%s", shape.n ? shape.p : "");
        table_cell(&t, "%s", term_bytes((double)tensor->n_bytes).text);
        buf_free(&name);
        buf_free(&shape);
    }
    buf_str(out, STR("\nTensors\n"));
    table_text(&t, out);
    table_free(&t);
}

void show_json_tensors(struct jout *j, const struct gguf *f, bool all)
{
    struct type_sum sums[BLOCK_TYPE_LIMIT];
    sum_types(f, sums);
    jout_begin(j, "tensor_types", '[');
    for (uint32_t i = 0; i < BLOCK_TYPE_LIMIT; i++) {
        if (!sums[i].n_tensors)
            continue;
        jout_begin(j, NULL, '{');
        jout_str(j, "type", str_of(block_type_name(i)));
        jout_u64(j, "tensors", sums[i].n_tensors);
        jout_u64(j, "parameters", sums[i].n_elems);
        jout_u64(j, "bytes", sums[i].n_bytes);
        jout_end(j, '}');
    }
    jout_end(j, ']');
    if (!all)
        return;
    jout_begin(j, "tensors", '[');
    for (size_t i = 0; i < gguf_n_tensors(f); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(f, i);
        jout_begin(j, NULL, '{');
        jout_str(j, "name", t->name);
        jout_str(j, "type", str_of(block_type_name(t->type)));
        jout_begin(j, "shape", '[');
        for (uint32_t d = 0; d < t->n_dims; d++)
            jout_u64(j, NULL, t->ne[d]);
        jout_end(j, ']');
        jout_u64(j, "bytes", t->n_bytes);
        jout_end(j, '}');
    }
    jout_end(j, ']');
}
