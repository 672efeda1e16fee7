/* The hostile part of the reader: one pass over the bytes of a file's head with a cursor that
 * checks what is left before every read. Everything that is allocated is in proportion to bytes
 * that the file has, and names are compared by sorting, so no input costs more than n log n. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "gguf/gguf_int.h"

enum {
    PIECE_BYTES = 1 << 20,
    MIN_KEY_BYTES = 8 + 1 + 4 + 1,        /* name, type and value of the smallest key */
    MIN_TENSOR_BYTES = 8 + 1 + 4 + 4 + 8, /* the table entry of a tensor without dimensions */
};

/* Where parsing is. kind, i and name say what is being read, for messages. */
struct cursor {
    struct gguf_shard *s;
    uint64_t at;
    const char *kind; /* NULL: the header */
    uint64_t i;
    str name; /* empty until it is known */
    struct err *e;
};

static bool fail(const struct cursor *c, enum err_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool fail(const struct cursor *c, enum err_code code, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (!c->kind)
        return err_set(c->e, code, "%s: %s", c->s->path, text);
    if (!c->name.n)
        return err_set(c->e, code, "%s: %s %" PRIu64 ": %s", c->s->path, c->kind, c->i, text);
    str shown = str_sub(c->name, 0, 80);
    return err_set(c->e, code, "%s: %s '%.*s': %s", c->s->path, c->kind, STRF(shown), text);
}

static uint64_t remaining(const struct cursor *c)
{
    return c->s->n_bytes - c->at;
}

/* What is left of the part of the file in which metadata may stand. */
static uint64_t room(const struct cursor *c)
{
    return c->s->n_room - c->at;
}

/* Makes the next n bytes readable at head + at, or fails with "ends inside `what`". */
static bool need(struct cursor *c, uint64_t n, const char *what)
{
    struct gguf_shard *s = c->s;
    if (n > remaining(c))
        return fail(c, ERR_FORMAT,
                    "the file ends inside %s: %" PRIu64 " bytes needed at byte %" PRIu64
                    ", %" PRIu64 " left",
                    what, n, c->at, remaining(c));
    if (n > room(c))
        return fail(c, ERR_LIMIT,
                    "%s needs %" PRIu64 " bytes at byte %" PRIu64
                    ", limit for all metadata %d bytes",
                    what, n, c->at, GGUF_MAX_HEAD_BYTES);
    size_t end = (size_t)(c->at + n);
    if (end <= s->n_loaded)
        return true;
    size_t to = num_min(num_max(end, s->n_loaded + PIECE_BYTES), s->n_room);
    if (!file_read_at(s->fd, s->path, s->n_loaded, s->room + s->n_loaded, to - s->n_loaded, c->e))
        return false;
    s->n_loaded = to;
    return true;
}

static bool read_u32(struct cursor *c, const char *what, uint32_t *out)
{
    if (!need(c, sizeof *out, what))
        return false;
    memcpy(out, c->s->head + c->at, sizeof *out);
    c->at += sizeof *out;
    return true;
}

static bool read_u64(struct cursor *c, const char *what, uint64_t *out)
{
    if (!need(c, sizeof *out, what))
        return false;
    memcpy(out, c->s->head + c->at, sizeof *out);
    c->at += sizeof *out;
    return true;
}

/* A key or tensor name: 1 to max bytes without NUL. */
static bool read_name(struct cursor *c, uint64_t max, str *out)
{
    uint64_t n;
    if (!read_u64(c, "the length of its name", &n))
        return false;
    if (n < 1 || n > max)
        return fail(c, ERR_FORMAT, "its name has %" PRIu64 " bytes, must be 1 to %" PRIu64, n, max);
    if (!need(c, n, "its name"))
        return false;
    *out = (str){(const char *)c->s->head + c->at, (size_t)n};
    c->at += n;
    if (memchr(out->p, 0, out->n))
        return fail(c, ERR_FORMAT, "its name '%.*s' has a NUL byte", STRF(*out));
    return true;
}

/* Steps over a string value. */
static bool skip_string(struct cursor *c)
{
    uint64_t n;
    if (!read_u64(c, "the length of a string", &n) || !need(c, n, "a string"))
        return false;
    c->at += n;
    return true;
}

/* The elements of an array of strings; *starts gets where each begins, counted from the first. */
static bool read_strings(struct cursor *c, uint64_t n, uint32_t **starts)
{
    uint64_t from = c->at;
    *starts = mem_new(n, sizeof **starts);
    for (uint64_t i = 0; i < n; i++) {
        (*starts)[i] = (uint32_t)(c->at - from); /* below GGUF_MAX_HEAD_BYTES */
        if (!skip_string(c))
            return false;
    }
    return true;
}

/* Type and element count of a key's value. */
static bool read_value_type(struct cursor *c, struct gguf_kv *kv)
{
    uint32_t type;
    if (!read_u32(c, "its type", &type))
        return false;
    kv->n = 1;
    kv->is_array = type == GGUF_ARRAY;
    if (kv->is_array) {
        if (!read_u32(c, "its element type", &type) || !read_u64(c, "its element count", &kv->n))
            return false;
        if (type == GGUF_ARRAY)
            return fail(c, ERR_FORMAT, "an array of arrays, which GGUF does not allow");
    }
    if (type > GGUF_F64)
        return fail(c, ERR_FORMAT, "value type %" PRIu32 ", limit %d", type, GGUF_F64);
    kv->type = (enum gguf_type)type;
    return true;
}

static bool read_key(struct cursor *c, struct gguf_kv *kv, uint32_t **starts)
{
    if (!read_name(c, GGUF_MAX_KEY_BYTES, &kv->key))
        return false;
    c->name = kv->key;
    if (!read_value_type(c, kv))
        return false;
    kv->raw = c->s->head + c->at;
    size_t size = gguf_type_bytes((uint32_t)kv->type);
    uint64_t max = room(c) / (size ? size : 8); /* a string takes at least its length */
    if (kv->n > max)
        return fail(c, ERR_FORMAT,
                    "%" PRIu64 " elements of type %s, but the file has room for %" PRIu64, kv->n,
                    gguf_type_name((uint32_t)kv->type), max);
    if (size) {
        if (!need(c, kv->n * size, "its value"))
            return false;
        c->at += kv->n * size;
        return true;
    }
    return kv->is_array ? read_strings(c, kv->n, starts) : skip_string(c);
}

int gguf_compare(str a, str b)
{
    size_t n = num_min(a.n, b.n);
    int order = n ? memcmp(a.p, b.p, n) : 0;
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

static int compare_keys(const void *a, const void *b, void *ctx)
{
    const struct gguf_kv *at = ctx;
    return gguf_compare(at[*(const uint32_t *)a].key, at[*(const uint32_t *)b].key);
}

static bool read_keys(struct cursor *c, uint64_t n, struct gguf_keys *keys)
{
    keys->at = mem_new(n, sizeof *keys->at);
    keys->starts = mem_new(n, sizeof *keys->starts);
    keys->order = mem_new(n, sizeof *keys->order);
    c->kind = "key";
    for (c->i = 0; c->i < n; c->i++) {
        c->name = STR("");
        keys->n = c->i + 1; /* what is half read is freed too */
        if (!read_key(c, &keys->at[c->i], &keys->starts[c->i]))
            return false;
        keys->order[c->i] = (uint32_t)c->i;
    }
    qsort_r(keys->order, n, sizeof *keys->order, compare_keys, keys->at);
    for (uint64_t i = 1; i < n; i++) {
        c->name = keys->at[keys->order[i]].key;
        if (str_eq(c->name, keys->at[keys->order[i - 1]].key))
            return fail(c, ERR_FORMAT, "stands twice in the metadata");
    }
    c->kind = NULL;
    return true;
}

static bool read_alignment(struct cursor *c, const struct gguf_keys *keys, uint32_t *out)
{
    const struct gguf_kv *kv = gguf_keys_find(keys, STR("general.alignment"));
    *out = GGUF_DEFAULT_ALIGNMENT;
    if (!kv)
        return true;
    if (kv->is_array || kv->type != GGUF_U32)
        return fail(c, ERR_FORMAT, "key 'general.alignment' has type %s, must be u32",
                    kv->is_array ? "array" : gguf_type_name((uint32_t)kv->type));
    memcpy(out, kv->raw, sizeof *out);
    if (*out == 0 || (*out & (*out - 1)) || *out > GGUF_MAX_ALIGNMENT)
        return fail(c, ERR_FORMAT,
                    "key 'general.alignment' is %" PRIu32 ", must be a power of two up to %d", *out,
                    GGUF_MAX_ALIGNMENT);
    return true;
}

/* Number of elements and bytes from shape and type. */
static bool size_tensor(struct cursor *c, struct gguf_tensor *t, uint32_t type)
{
    const struct block_info *info = block_info(type);
    if (!info)
        return fail(c, ERR_UNSUPPORTED, "type %" PRIu32 " (%s) is not one that tawny reads", type,
                    block_type_name(type));
    t->type = (enum block_type)type;
    t->n_elems = 1;
    for (int d = 0; d < GGUF_MAX_DIMS; d++)
        if (!num_mul(t->n_elems, t->ne[d], &t->n_elems) || t->n_elems > (uint64_t)1 << 62)
            return fail(c, ERR_FORMAT,
                        "its elements exceed 2^62: %" PRIu64 " x %" PRIu64 " x %" PRIu64
                        " x %" PRIu64,
                        t->ne[0], t->ne[1], t->ne[2], t->ne[3]);
    if (t->ne[0] % info->n_elems)
        return fail(c, ERR_FORMAT,
                    "rows of %" PRIu64 " elements, must be a multiple of %s's block of %d",
                    t->ne[0], info->name, info->n_elems);
    if (!num_mul(t->n_elems / info->n_elems, info->n_bytes, &t->n_bytes))
        return fail(c, ERR_FORMAT, "its %" PRIu64 " elements of %s have no size in 64 bits",
                    t->n_elems, info->name);
    return true;
}

static bool read_tensor(struct cursor *c, struct gguf_tensor *t)
{
    uint32_t type;
    if (!read_name(c, GGUF_MAX_NAME_BYTES, &t->name))
        return false;
    c->name = t->name;
    if (!read_u32(c, "its number of dimensions", &t->n_dims))
        return false;
    if (t->n_dims > GGUF_MAX_DIMS)
        return fail(c, ERR_FORMAT, "%" PRIu32 " dimensions, limit %d", t->n_dims, GGUF_MAX_DIMS);
    for (uint32_t d = 0; d < GGUF_MAX_DIMS; d++) {
        t->ne[d] = 1;
        if (d < t->n_dims && !read_u64(c, "its shape", &t->ne[d]))
            return false;
        if (t->ne[d] == 0)
            return fail(c, ERR_FORMAT, "dimension %" PRIu32 " is 0, must be at least 1", d);
    }
    if (!read_u32(c, "its type", &type) || !size_tensor(c, t, type))
        return false;
    return read_u64(c, "its offset", &t->offset);
}

/* Turns the offset inside the data section into one inside the file. */
static bool place_tensor(const struct cursor *c, struct gguf_tensor *t, uint64_t data_start,
                         uint32_t alignment)
{
    uint64_t data_bytes = c->s->n_bytes - data_start;
    if (t->offset % alignment)
        return fail(c, ERR_FORMAT, "offset %" PRIu64 ", must be a multiple of %" PRIu32, t->offset,
                    alignment);
    if (t->offset > data_bytes || t->n_bytes > data_bytes - t->offset)
        return fail(c, ERR_FORMAT,
                    "%" PRIu64 " bytes at offset %" PRIu64 ", but the data section has %" PRIu64
                    " bytes: the file is cut short",
                    t->n_bytes, t->offset, data_bytes);
    t->offset += data_start;
    return true;
}

static int compare_offsets(const void *a, const void *b, void *ctx)
{
    const struct gguf_tensor *at = ctx;
    uint64_t x = at[*(const uint32_t *)a].offset, y = at[*(const uint32_t *)b].offset;
    return (x > y) - (x < y);
}

static bool check_overlaps(struct cursor *c, const struct gguf_tensor *at, size_t n)
{
    uint32_t *order = mem_new(n, sizeof *order);
    bool ok = true;
    for (size_t i = 0; i < n; i++)
        order[i] = (uint32_t)i;
    qsort_r(order, n, sizeof *order, compare_offsets, (void *)(uintptr_t)at);
    for (size_t i = 1; ok && i < n; i++) {
        const struct gguf_tensor *a = &at[order[i - 1]], *b = &at[order[i]];
        c->name = b->name;
        if (b->offset - a->offset < a->n_bytes)
            ok = fail(c, ERR_FORMAT,
                      "begins at byte %" PRIu64 ", inside tensor '%.*s' that ends at %" PRIu64,
                      b->offset, STRF(a->name), a->offset + a->n_bytes);
    }
    free(order);
    return ok;
}

static bool read_tensors(struct cursor *c, uint64_t n, uint32_t i_shard, uint32_t alignment,
                         struct gguf_tensors *tensors)
{
    uint64_t data_start;
    tensors->at = mem_grow(tensors->at, tensors->n + n, sizeof *tensors->at);
    struct gguf_tensor *at = tensors->at + tensors->n;
    c->kind = "tensor";
    for (c->i = 0; c->i < n; c->i++) {
        c->name = STR("");
        at[c->i] = (struct gguf_tensor){.shard = i_shard};
        if (!read_tensor(c, &at[c->i]))
            return false;
    }
    if (n == 0)
        return true; /* a vocabulary: no data section, and the file may end before its padding */
    if (!num_align(c->at, alignment, &data_start) || data_start > c->s->n_bytes) {
        c->kind = NULL;
        return fail(c, ERR_FORMAT,
                    "the file has %" PRIu64
                    " bytes and ends before its tensor data at byte %" PRIu64,
                    c->s->n_bytes, data_start);
    }
    for (uint64_t i = 0; i < n; i++) {
        c->name = at[i].name;
        if (!place_tensor(c, &at[i], data_start, alignment))
            return false;
    }
    tensors->n += n;
    return check_overlaps(c, at, n);
}

static bool read_header(struct cursor *c, uint32_t *version, uint64_t *n_tensors, uint64_t *n_keys)
{
    uint32_t magic;
    if (!read_u32(c, "the magic number", &magic))
        return false;
    if (magic != 0x46554747)
        return fail(c, ERR_FORMAT,
                    "not a GGUF file: begins with the bytes %08" PRIx32
                    ", must be 47475546 (\"GGUF\")",
                    __builtin_bswap32(magic));
    if (!read_u32(c, "the version", version))
        return false;
    if (*version && (*version & 0xffff) == 0)
        return fail(c, ERR_UNSUPPORTED, "a big-endian file, which tawny does not read");
    if (*version < 2 || *version > 3)
        return fail(c, ERR_UNSUPPORTED, "GGUF version %" PRIu32 ", tawny reads 2 and 3", *version);
    return read_u64(c, "the number of tensors", n_tensors) &&
           read_u64(c, "the number of keys", n_keys);
}

/* A count from the header: below the limit and possible in the bytes that are left. */
static bool check_count(const struct cursor *c, const char *what, uint64_t n, uint64_t limit,
                        uint64_t min_bytes)
{
    if (n > limit)
        return fail(c, ERR_LIMIT, "%" PRIu64 " %s, limit %" PRIu64, n, what, limit);
    if (n > room(c) / min_bytes)
        return fail(c, ERR_FORMAT, "%" PRIu64 " %s, but the file has room for %" PRIu64, n, what,
                    room(c) / min_bytes);
    return true;
}

bool gguf_parse(struct gguf_shard *s, uint32_t i_shard, struct gguf_keys *keys,
                struct gguf_tensors *tensors, uint32_t *version, struct err *e)
{
    struct cursor c = {.s = s, .e = e};
    uint64_t n_tensors = 0, n_keys = 0;
    uint32_t alignment = 0;
    return read_header(&c, version, &n_tensors, &n_keys) &&
           check_count(&c, "keys", n_keys, GGUF_MAX_KEYS, MIN_KEY_BYTES) &&
           check_count(&c, "tensors", n_tensors, GGUF_MAX_TENSORS - tensors->n, MIN_TENSOR_BYTES) &&
           read_keys(&c, n_keys, keys) && read_alignment(&c, keys, &alignment) &&
           read_tensors(&c, n_tensors, i_shard, alignment, tensors);
}
