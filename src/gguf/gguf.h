/* gguf: reads model files (GGUF version 2 and 3, one file or shards) and writes them. The file is
 * hostile: everything about its structure is checked once at open (shared spec "quants" section 7),
 * so that later code can rely on it; what a key means is checked by who reads that key. A struct
 * gguf is immutable after open: all readers are thread-safe. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"
#include "gguf/block.h"

enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
};

/* One metadata entry. For scalars n is 1. Array elements are read with gguf_elem_*. */
struct gguf_kv {
    str key;
    enum gguf_type type; /* of the value, or of the elements when is_array */
    bool is_array;
    uint64_t n;      /* elements */
    const void *raw; /* elements as in the file, unaligned; strings: see gguf_elem_str */
};

struct gguf_tensor {
    str name;
    enum block_type type;
    uint32_t n_dims;
    uint64_t ne[4]; /* ne[0] runs fastest; missing dims are 1 */
    uint64_t n_elems;
    uint64_t n_bytes;
    uint32_t shard;
    uint64_t offset; /* in the shard's file, from its start */
};

struct gguf;

/* Opens path; for the first of a set of shards (-00001-of-0000N) the others are opened too. NULL
 * and e on failure. Warnings (unknown things that are skipped) go to log, which may be NULL.
 * Limits: 65,536 keys and tensors, 512 shards, 512 MiB of metadata per shard. Memory: the metadata
 * as it stands in the file, 4 bytes per string of an array, about 100 per key and tensor. */
struct gguf *gguf_open(const char *path, const struct log *log, struct err *e);
/* The same checks over bytes in memory (fuzzing, tests); bytes must outlive the result. Tensors can
 * be read. */
struct gguf *gguf_open_memory(const void *bytes, size_t n_bytes, struct err *e);
void gguf_close(struct gguf *g);

const char *gguf_path(const struct gguf *g);
uint32_t gguf_version(const struct gguf *g);
uint32_t gguf_n_shards(const struct gguf *g);
/* Size of all shards together. */
uint64_t gguf_file_bytes(const struct gguf *g);

size_t gguf_n_kv(const struct gguf *g);
const struct gguf_kv *gguf_kv_at(const struct gguf *g, size_t i);
/* NULL when absent. */
const struct gguf_kv *gguf_find(const struct gguf *g, str key);

/* Typed access. Absent: true with *out unchanged when `required` is false, else an error that names
 * the key. Wrong type or out of range: always an error. Any integer type is taken for integers. */
bool gguf_u32(const struct gguf *g, const char *key, bool required, uint32_t *out, struct err *e);
bool gguf_f32(const struct gguf *g, const char *key, bool required, float *out, struct err *e);
bool gguf_bool(const struct gguf *g, const char *key, bool required, bool *out, struct err *e);
bool gguf_str(const struct gguf *g, const char *key, bool required, str *out, struct err *e);
/* Element i of an array (or the scalar, i = 0). The caller has checked type and count. Integer
 * types of any width and bool for gguf_elem_i64, u64 saturates; F32 and F64 for gguf_elem_f64.
 * Strings are O(1); kv must be g's own. */
int64_t gguf_elem_i64(const struct gguf_kv *kv, uint64_t i);
double gguf_elem_f64(const struct gguf_kv *kv, uint64_t i);
str gguf_elem_str(const struct gguf *g, const struct gguf_kv *kv, uint64_t i);

size_t gguf_n_tensors(const struct gguf *g);
const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, size_t i);
/* NULL when absent. */
const struct gguf_tensor *gguf_tensor(const struct gguf *g, str name);
/* Copies bytes [offset, offset + n) of the tensor's data into out. Thread-safe. */
bool gguf_read(const struct gguf *g, const struct gguf_tensor *t, uint64_t offset, void *out,
               size_t n, struct err *e);

/* Writer: add keys and tensors in the order wanted, then start; then write each tensor's bytes in
 * any order and from any thread; then finish. On any failure or without finish nothing is left at
 * path. */
struct gguf_writer;
struct gguf_writer *gguf_writer_open(const char *path, struct err *e);
void gguf_writer_u32(struct gguf_writer *w, const char *key, uint32_t v);
void gguf_writer_f32(struct gguf_writer *w, const char *key, float v);
void gguf_writer_bool(struct gguf_writer *w, const char *key, bool v);
void gguf_writer_str(struct gguf_writer *w, const char *key, str v);
void gguf_writer_strs(struct gguf_writer *w, const char *key, const str *v, size_t n);
void gguf_writer_i32s(struct gguf_writer *w, const char *key, const int32_t *v, size_t n);
/* Copies an entry of another file as it stands. general.alignment and split.* are left out: they
 * describe how the other file is laid out. */
void gguf_writer_copy(struct gguf_writer *w, const struct gguf *from, const struct gguf_kv *kv);
/* Returns the tensor's index for gguf_writer_data. ne has n_dims entries, 1 to 4; ne[0] is a
 * multiple of the type's block; the name has 1 to 63 bytes. Keys and names must not repeat. */
size_t gguf_writer_tensor(struct gguf_writer *w, str name, enum block_type type, const uint64_t *ne,
                          uint32_t n_dims);
/* Writes header and tensor table; the file has its final size after it, and its blocks are set
 * aside where the file system can do that. */
bool gguf_writer_start(struct gguf_writer *w, struct err *e);
/* The same for a file of which only a part will be written: the rest are zeros, which take no room
 * where the file system has holes. */
bool gguf_writer_start_sparse(struct gguf_writer *w, struct err *e);
bool gguf_writer_data(struct gguf_writer *w, size_t tensor, uint64_t offset, const void *bytes,
                      size_t n, struct err *e);
/* Refuses when not all bytes of all tensors were written, unless the file is sparse. */
bool gguf_writer_finish(struct gguf_writer *w, struct err *e);
/* Frees; removes the unfinished file. NULL is fine. */
void gguf_writer_close(struct gguf_writer *w);
