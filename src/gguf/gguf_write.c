/* The writer: metadata and tensor table are collected in memory, then everything goes to a file
 * beside the path that is renamed at the end. Files are version 3 with an alignment of 32. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/num.h"
#include "gguf/gguf_int.h"

struct entry {
    uint64_t offset; /* in the data section */
    uint64_t n_bytes;
};

struct gguf_writer {
    struct file_out file;
    struct buf keys;
    struct buf table;
    uint64_t n_keys;
    struct entry *entries;
    size_t n_entries;
    uint64_t data_start;
    uint64_t data_bytes; /* so far, a multiple of the alignment */
    uint64_t n_promised; /* bytes of all tensors without padding */
    _Atomic uint64_t n_written;
    bool started;
    bool sparse; /* not all bytes will be written */
};

struct gguf_writer *gguf_writer_open(const char *path, struct err *e)
{
    struct gguf_writer *w = mem_new(1, sizeof *w);
    if (file_create(&w->file, path, e))
        return w;
    free(w);
    return NULL;
}

static void put_u32(struct buf *b, uint32_t v)
{
    buf_put(b, &v, sizeof v);
}

static void put_u64(struct buf *b, uint64_t v)
{
    buf_put(b, &v, sizeof v);
}

static void put_str(struct buf *b, str s)
{
    put_u64(b, s.n);
    buf_str(b, s);
}

static void put_key(struct gguf_writer *w, str key, enum gguf_type type)
{
    assert(!w->started);
    put_str(&w->keys, key);
    put_u32(&w->keys, type);
    w->n_keys++;
}

static void put_array_key(struct gguf_writer *w, str key, enum gguf_type type, uint64_t n)
{
    put_key(w, key, GGUF_ARRAY);
    put_u32(&w->keys, type);
    put_u64(&w->keys, n);
}

void gguf_writer_u32(struct gguf_writer *w, const char *key, uint32_t v)
{
    put_key(w, str_of(key), GGUF_U32);
    put_u32(&w->keys, v);
}

void gguf_writer_f32(struct gguf_writer *w, const char *key, float v)
{
    put_key(w, str_of(key), GGUF_F32);
    buf_put(&w->keys, &v, sizeof v);
}

void gguf_writer_bool(struct gguf_writer *w, const char *key, bool v)
{
    put_key(w, str_of(key), GGUF_BOOL);
    buf_byte(&w->keys, v);
}

void gguf_writer_str(struct gguf_writer *w, const char *key, str v)
{
    put_key(w, str_of(key), GGUF_STRING);
    put_str(&w->keys, v);
}

void gguf_writer_strs(struct gguf_writer *w, const char *key, const str *v, size_t n)
{
    put_array_key(w, str_of(key), GGUF_STRING, n);
    for (size_t i = 0; i < n; i++)
        put_str(&w->keys, v[i]);
}

void gguf_writer_i32s(struct gguf_writer *w, const char *key, const int32_t *v, size_t n)
{
    put_array_key(w, str_of(key), GGUF_I32, n);
    buf_put(&w->keys, v, n * sizeof *v);
}

void gguf_writer_copy(struct gguf_writer *w, const struct gguf *from, const struct gguf_kv *kv)
{
    if (str_eq(kv->key, STR("general.alignment")) || str_starts(kv->key, STR("split.")))
        return;
    if (kv->is_array)
        put_array_key(w, kv->key, kv->type, kv->n);
    else
        put_key(w, kv->key, kv->type);
    size_t size = gguf_type_bytes((uint32_t)kv->type);
    if (size) {
        buf_put(&w->keys, kv->raw, kv->n * size);
        return;
    }
    for (uint64_t i = 0; i < kv->n; i++)
        put_str(&w->keys, gguf_elem_str(from, kv, i));
}

size_t gguf_writer_tensor(struct gguf_writer *w, str name, enum block_type type, const uint64_t *ne,
                          uint32_t n_dims)
{
    uint64_t rows = 1;
    assert(!w->started && name.n >= 1 && name.n <= GGUF_MAX_NAME_BYTES && n_dims >= 1 &&
           n_dims <= GGUF_MAX_DIMS);
    put_str(&w->table, name);
    put_u32(&w->table, n_dims);
    for (uint32_t d = 0; d < n_dims; d++) {
        put_u64(&w->table, ne[d]);
        rows *= d ? ne[d] : 1;
    }
    put_u32(&w->table, type);
    put_u64(&w->table, w->data_bytes);
    uint64_t n_bytes = rows * block_row_bytes(type, ne[0]);
    assert(n_bytes > 0);
    w->entries = mem_grow(w->entries, w->n_entries + 1, sizeof *w->entries);
    w->entries[w->n_entries] = (struct entry){w->data_bytes, n_bytes};
    w->n_promised += n_bytes;
    w->data_bytes += n_bytes;
    num_align(w->data_bytes, GGUF_DEFAULT_ALIGNMENT, &w->data_bytes);
    return w->n_entries++;
}

static bool set_size(struct gguf_writer *w, uint64_t n_bytes, struct err *e)
{
    return ftruncate(w->file.fd, (off_t)n_bytes) == 0 ||
           err_sys(e, "%s: cannot set the size to %" PRIu64 " bytes", w->file.temp, n_bytes);
}

/* Gives the file its size. Where the system can it sets the blocks aside too, so that a full disk
 * is noticed now and not after an hour of work. */
static bool reserve(struct gguf_writer *w, uint64_t n_bytes, struct err *e)
{
    if (n_bytes == 0 || fallocate(w->file.fd, 0, 0, (off_t)n_bytes) == 0)
        return true;
    if (errno != EOPNOTSUPP && errno != ENOSYS)
        return err_sys(e, "%s: cannot reserve %" PRIu64 " bytes", w->file.temp, n_bytes);
    return set_size(w, n_bytes, e);
}

static bool write_head(struct gguf_writer *w,
                       bool (*make_room)(struct gguf_writer *w, uint64_t n_bytes, struct err *e),
                       struct err *e)
{
    struct buf head = {0};
    buf_str(&head, STR("GGUF"));
    put_u32(&head, 3);
    put_u64(&head, w->n_entries);
    put_u64(&head, w->n_keys);
    buf_str(&head, buf_view(&w->keys));
    buf_str(&head, buf_view(&w->table));
    num_align(head.n, GGUF_DEFAULT_ALIGNMENT, &w->data_start);
    w->started = true;
    bool ok = make_room(w, w->data_start + w->data_bytes, e) &&
              file_write_at(&w->file, 0, head.p, head.n, e);
    buf_free(&head);
    return ok;
}

bool gguf_writer_start(struct gguf_writer *w, struct err *e)
{
    return write_head(w, reserve, e);
}

bool gguf_writer_start_sparse(struct gguf_writer *w, struct err *e)
{
    w->sparse = true;
    return write_head(w, set_size, e);
}

bool gguf_writer_data(struct gguf_writer *w, size_t tensor, uint64_t offset, const void *bytes,
                      size_t n, struct err *e)
{
    const struct entry *t = &w->entries[tensor];
    assert(w->started && tensor < w->n_entries);
    assert(offset <= t->n_bytes && n <= t->n_bytes - offset);
    w->n_written += n;
    return file_write_at(&w->file, w->data_start + t->offset + offset, bytes, n, e);
}

bool gguf_writer_finish(struct gguf_writer *w, struct err *e)
{
    if (!w->sparse && w->n_written != w->n_promised)
        return err_set(e, ERR_FORMAT,
                       "%s: %" PRIu64 " of %" PRIu64 " bytes of tensors were written", w->file.path,
                       (uint64_t)w->n_written, w->n_promised);
    return file_commit(&w->file, e);
}

void gguf_writer_close(struct gguf_writer *w)
{
    if (!w)
        return;
    if (w->file.path)
        file_abandon(&w->file);
    buf_free(&w->keys);
    buf_free(&w->table);
    free(w->entries);
    free(w);
}
