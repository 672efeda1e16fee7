/* gguf_make: small GGUF files byte by byte, valid and broken, for the tests and the fuzz corpus of
 * the reader. Independent of the writer on purpose. */
#pragma once
#include "base/buf.h"
#include "gguf/gguf.h"

void make_u32(struct buf *b, uint32_t v);
void make_u64(struct buf *b, uint64_t v);
void make_str(struct buf *b, str s);
void make_header(struct buf *b, uint32_t version, uint64_t n_tensors, uint64_t n_keys);
/* A key's name and value type; the value follows. */
void make_key(struct buf *b, str key, uint32_t type);
void make_key_u32(struct buf *b, str key, uint32_t v);
void make_tensor(struct buf *b, str name, uint32_t type, const uint64_t *ne, uint32_t n_dims,
                 uint64_t offset);
/* Zeros up to a multiple of 32. */
void make_pad(struct buf *b);

/* Fields of the file that make_sample writes. */
enum make_field {
    MAKE_MAGIC,
    MAKE_VERSION,
    MAKE_N_TENSORS,
    MAKE_N_KEYS,
    MAKE_KEY_LENGTH,
    MAKE_KEY_TYPE,
    MAKE_STRING_LENGTH,
    MAKE_ALIGNMENT_TYPE,
    MAKE_ALIGNMENT,
    MAKE_LIST_ELEM_TYPE,
    MAKE_LIST_COUNT,
    MAKE_WORDS_COUNT,
    MAKE_WORD_LENGTH,
    MAKE_OTHER_KEY,   /* the last byte of "toy.b", the last key */
    MAKE_NAME_LENGTH, /* of tensor "w.a" */
    MAKE_NAME,
    MAKE_N_DIMS,
    MAKE_NE0,
    MAKE_NE1,
    MAKE_TENSOR_TYPE,
    MAKE_OFFSET,
    MAKE_SECOND_NAME, /* the last byte of "w.b" */
    MAKE_SECOND_TYPE,
    MAKE_SECOND_NE0,
    MAKE_SECOND_OFFSET,
    MAKE_FIELDS,
};

/* A valid file with keys of several types and the tensors "w.a" (F32 {4, 2}, values 0 to 7) and
 * "w.b" (Q4_0 {32, 3}); at[] gets the byte offset of each field. */
void make_sample(struct buf *b, size_t at[MAKE_FIELDS]);

/* A change to the sample that makes it invalid, and a part of the message that refuses it. */
struct make_case {
    const char *name;
    enum make_field field;
    int width; /* bytes of value that replace the field; 4 or 8; 1 for a single byte */
    uint64_t value;
    const char *says;
};
extern const struct make_case make_cases[];
extern const size_t make_n_cases;
/* The sample with the change applied. */
void make_broken(struct buf *b, const struct make_case *c);
