/* gguf_int: what the reader's files share: the shard (one file with its head in memory), the table
 * of metadata and the limits. */
#pragma once
#include "gguf/gguf.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are read and written as they are");

enum {
    GGUF_MAX_KEYS = 1 << 16,
    GGUF_MAX_TENSORS = 1 << 16, /* of all shards together */
    GGUF_MAX_KEY_BYTES = 65535,
    GGUF_MAX_NAME_BYTES = 63,
    GGUF_MAX_DIMS = 4,
    GGUF_MAX_SHARDS = 512,
    GGUF_DEFAULT_ALIGNMENT = 32,
    GGUF_MAX_ALIGNMENT = 1 << 20,
    GGUF_MAX_HEAD_BYTES = 512 << 20, /* header, metadata and tensor table of one shard */
};

struct gguf_shard {
    char *path;
    int fd;              /* -1: bytes in memory that belong to the caller */
    int past;            /* the same past the page cache, for weights; -1: not */
    uint64_t n_bytes;    /* of the file */
    const uint8_t *head; /* [n_room], of which the first n_loaded are read */
    uint8_t *room;       /* head, where it is ours */
    size_t n_room;
    size_t n_loaded;
};

/* Metadata in file order. */
struct gguf_keys {
    struct gguf_kv *at;
    uint32_t **starts; /* per key; for arrays of strings where each begins, from raw; else NULL */
    uint32_t *order;   /* indices sorted by key */
    size_t n;
};

/* The tensors of all shards in file order. */
struct gguf_tensors {
    struct gguf_tensor *at;
    uint32_t *order; /* indices sorted by name; made when all shards are in */
    size_t n;
};

struct gguf {
    struct gguf_shard *shards;
    uint32_t n_shards;
    uint32_t version;
    struct gguf_keys keys;
    struct gguf_tensors tensors;
};

/* Bytes of one value; 0 for strings, arrays and unknown types. */
size_t gguf_type_bytes(uint32_t type);
/* "u32", "string" ...; for messages. */
const char *gguf_type_name(uint32_t type);
/* memcmp order, the shorter first; for sorting. */
int gguf_compare(str a, str b);

/* Reads header, metadata and tensor table of a shard whose path, fd, n_bytes and head are set, and
 * checks all of it but duplicate tensor names. Appends to tensors; *keys must be zeroed and is to
 * be freed by the caller also on failure. */
bool gguf_parse(struct gguf_shard *s, uint32_t i_shard, struct gguf_keys *keys,
                struct gguf_tensors *tensors, uint32_t *version, struct err *e);
void gguf_keys_free(struct gguf_keys *keys);
const struct gguf_kv *gguf_keys_find(const struct gguf_keys *keys, str key);
bool gguf_keys_u32(const struct gguf_keys *keys, const char *path, const char *key, bool required,
                   uint32_t *out, struct err *e);
