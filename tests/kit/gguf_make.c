#include "kit/gguf_make.h"

#include <string.h>

void make_u32(struct buf *b, uint32_t v)
{
    buf_put(b, &v, sizeof v);
}

void make_u64(struct buf *b, uint64_t v)
{
    buf_put(b, &v, sizeof v);
}

void make_str(struct buf *b, str s)
{
    make_u64(b, s.n);
    buf_str(b, s);
}

void make_header(struct buf *b, uint32_t version, uint64_t n_tensors, uint64_t n_keys)
{
    buf_str(b, STR("GGUF"));
    make_u32(b, version);
    make_u64(b, n_tensors);
    make_u64(b, n_keys);
}

void make_key(struct buf *b, str key, uint32_t type)
{
    make_str(b, key);
    make_u32(b, type);
}

void make_key_u32(struct buf *b, str key, uint32_t v)
{
    make_key(b, key, GGUF_U32);
    make_u32(b, v);
}

void make_tensor(struct buf *b, str name, uint32_t type, const uint64_t *ne, uint32_t n_dims,
                 uint64_t offset)
{
    make_str(b, name);
    make_u32(b, n_dims);
    for (uint32_t d = 0; d < n_dims; d++)
        make_u64(b, ne[d]);
    make_u32(b, type);
    make_u64(b, offset);
}

void make_pad(struct buf *b)
{
    while (b->n % 32)
        buf_byte(b, 0);
}

static void make_sample_keys(struct buf *b, size_t at[MAKE_FIELDS])
{
    at[MAKE_KEY_LENGTH] = b->n;
    at[MAKE_KEY_TYPE] = b->n + 8 + strlen("general.architecture");
    at[MAKE_STRING_LENGTH] = at[MAKE_KEY_TYPE] + 4;
    make_key(b, STR("general.architecture"), GGUF_STRING);
    make_str(b, STR("toy"));
    make_key_u32(b, STR("general.alignment"), 32);
    at[MAKE_ALIGNMENT] = b->n - 4;
    at[MAKE_ALIGNMENT_TYPE] = b->n - 8;
    make_key(b, STR("toy.list"), GGUF_ARRAY);
    at[MAKE_LIST_ELEM_TYPE] = b->n;
    at[MAKE_LIST_COUNT] = b->n + 4;
    make_u32(b, GGUF_I32);
    make_u64(b, 3);
    make_u32(b, 5);
    make_u32(b, (uint32_t)-6);
    make_u32(b, 7);
    make_key(b, STR("toy.words"), GGUF_ARRAY);
    at[MAKE_WORDS_COUNT] = b->n + 4;
    at[MAKE_WORD_LENGTH] = b->n + 12;
    make_u32(b, GGUF_STRING);
    make_u64(b, 3);
    make_str(b, STR("one"));
    make_str(b, STR(""));
    make_str(b, STR("t\0w"));
    make_key_u32(b, STR("toy.a"), 1);
    at[MAKE_OTHER_KEY] = b->n + 12;
    make_key_u32(b, STR("toy.b"), 2);
}

void make_sample(struct buf *b, size_t at[MAKE_FIELDS])
{
    at[MAKE_MAGIC] = 0;
    at[MAKE_VERSION] = 4;
    at[MAKE_N_TENSORS] = 8;
    at[MAKE_N_KEYS] = 16;
    make_header(b, 3, 2, 6);
    make_sample_keys(b, at);
    at[MAKE_NAME_LENGTH] = b->n;
    at[MAKE_NAME] = b->n + 8;
    at[MAKE_N_DIMS] = at[MAKE_NAME] + 3;
    at[MAKE_NE0] = at[MAKE_N_DIMS] + 4;
    at[MAKE_NE1] = at[MAKE_NE0] + 8;
    at[MAKE_TENSOR_TYPE] = at[MAKE_NE1] + 8;
    at[MAKE_OFFSET] = at[MAKE_TENSOR_TYPE] + 4;
    make_tensor(b, STR("w.a"), BLOCK_F32, (uint64_t[]){4, 2}, 2, 0);
    at[MAKE_SECOND_NAME] = b->n + 10;
    at[MAKE_SECOND_NE0] = b->n + 8 + 3 + 4;
    at[MAKE_SECOND_TYPE] = at[MAKE_SECOND_NE0] + 16;
    at[MAKE_SECOND_OFFSET] = at[MAKE_SECOND_TYPE] + 4;
    make_tensor(b, STR("w.b"), BLOCK_Q4_0, (uint64_t[]){32, 3}, 2, 32);
    make_pad(b);
    for (int i = 0; i < 8; i++)
        buf_put(b, &(float){(float)i}, sizeof(float));
    for (int i = 0; i < 3 * 18; i++)
        buf_byte(b, (char)i);
}

const struct make_case make_cases[] = {
    {"magic", MAKE_MAGIC, 4, 0x4c4d4747, "not a GGUF file: begins with the bytes 47474d4c"},
    {"version-0", MAKE_VERSION, 4, 0, "GGUF version 0, tawny reads 2 and 3"},
    {"version-1", MAKE_VERSION, 4, 1, "GGUF version 1, tawny reads 2 and 3"},
    {"version-4", MAKE_VERSION, 4, 4, "GGUF version 4, tawny reads 2 and 3"},
    {"big-endian", MAKE_VERSION, 4, 0x03000000, "a big-endian file"},
    {"n-tensors-limit", MAKE_N_TENSORS, 8, 65537, "65537 tensors, limit 65536"},
    {"n-tensors-negative", MAKE_N_TENSORS, 8, UINT64_MAX, "18446744073709551615 tensors, limit"},
    {"n-tensors-room", MAKE_N_TENSORS, 8, 4000, "4000 tensors, but the file has room for"},
    {"n-tensors-one-more", MAKE_N_TENSORS, 8, 3, "tensor 2: its name has"},
    {"n-keys-limit", MAKE_N_KEYS, 8, 65537, "65537 keys, limit 65536"},
    {"n-keys-room", MAKE_N_KEYS, 8, 4000, "4000 keys, but the file has room for"},
    {"key-empty", MAKE_KEY_LENGTH, 8, 0, "key 0: its name has 0 bytes, must be 1 to 65535"},
    {"key-long", MAKE_KEY_LENGTH, 8, 65536, "key 0: its name has 65536 bytes, must be 1 to 65535"},
    {"key-past-end", MAKE_KEY_LENGTH, 8, 60000,
     "key 0: the file ends inside its name: 60000 bytes"},
    {"key-nul", MAKE_OTHER_KEY, 1, 0, "has a NUL byte"},
    {"key-twice", MAKE_OTHER_KEY, 1, 'a', "key 'toy.a': stands twice"},
    {"value-type", MAKE_KEY_TYPE, 4, 13, "key 'general.architecture': value type 13, limit 12"},
    {"string-past-end", MAKE_STRING_LENGTH, 8, 5000,
     "key 'general.architecture': the file ends inside a string: 5000 bytes needed at byte"},
    {"string-wraps", MAKE_STRING_LENGTH, 8, UINT64_MAX,
     "the file ends inside a string: 18446744073709551615 bytes"},
    {"alignment-type", MAKE_ALIGNMENT_TYPE, 4, GGUF_I32,
     "key 'general.alignment' has type i32, must be u32"},
    {"alignment-0", MAKE_ALIGNMENT, 4, 0, "key 'general.alignment' is 0, must be a power of two"},
    {"alignment-24", MAKE_ALIGNMENT, 4, 24, "is 24, must be a power of two up to 1048576"},
    {"alignment-big", MAKE_ALIGNMENT, 4, 1 << 21, "is 2097152, must be a power of two"},
    {"alignment-past-end", MAKE_ALIGNMENT, 4, 1 << 20,
     "ends before its tensor data at byte 1048576"},
    {"array-of-arrays", MAKE_LIST_ELEM_TYPE, 4, GGUF_ARRAY, "key 'toy.list': an array of arrays"},
    {"array-type", MAKE_LIST_ELEM_TYPE, 4, 99, "key 'toy.list': value type 99, limit 12"},
    {"array-count", MAKE_LIST_COUNT, 8, 1000,
     "key 'toy.list': 1000 elements of type i32, but the file has room for"},
    {"array-wraps", MAKE_LIST_COUNT, 8, (uint64_t)1 << 62, "4611686018427387904 elements of type"},
    {"strings-count", MAKE_WORDS_COUNT, 8, 1000, "key 'toy.words': 1000 elements of type string"},
    {"strings-past-end", MAKE_WORD_LENGTH, 8, 7000,
     "key 'toy.words': the file ends inside a string"},
    {"name-empty", MAKE_NAME_LENGTH, 8, 0, "tensor 0: its name has 0 bytes, must be 1 to 63"},
    {"name-long", MAKE_NAME_LENGTH, 8, 64, "tensor 0: its name has 64 bytes, must be 1 to 63"},
    {"name-nul", MAKE_NAME, 1, 0, "has a NUL byte"},
    {"name-twice", MAKE_SECOND_NAME, 1, 'a', "tensor 'w.a' stands twice"},
    {"n-dims", MAKE_N_DIMS, 4, 5, "tensor 'w.a': 5 dimensions, limit 4"},
    {"dim-0", MAKE_NE1, 8, 0, "tensor 'w.a': dimension 1 is 0, must be at least 1"},
    {"elements", MAKE_NE1, 8, (uint64_t)1 << 61, "tensor 'w.a': its elements exceed 2^62: 4 x"},
    {"elements-wrap", MAKE_NE0, 8, UINT64_MAX, "tensor 'w.a': its elements exceed 2^62: 1844"},
    {"bytes-wrap", MAKE_NE1, 8, (uint64_t)1 << 60, "elements of F32 have no size in 64 bits"},
    {"type-unknown", MAKE_TENSOR_TYPE, 4, 77, "tensor 'w.a': type 77 (unknown) is not one"},
    {"type-unread", MAKE_TENSOR_TYPE, 4, 16, "tensor 'w.a': type 16 (IQ2_XXS) is not one"},
    {"type-removed", MAKE_TENSOR_TYPE, 4, 4, "tensor 'w.a': type 4 (Q4_2 (removed)) is not one"},
    {"block", MAKE_SECOND_NE0, 8, 33,
     "tensor 'w.b': rows of 33 elements, must be a multiple of Q4_0's block of 32"},
    {"offset-alignment", MAKE_SECOND_OFFSET, 8, 40,
     "tensor 'w.b': offset 40, must be a multiple of 32"},
    {"offset-past-end", MAKE_SECOND_OFFSET, 8, 64,
     "tensor 'w.b': 54 bytes at offset 64, but the data section has 86 bytes"},
    {"offset-wraps", MAKE_SECOND_OFFSET, 8, UINT64_MAX - 31,
     "tensor 'w.b': 54 bytes at offset 1844"},
    {"overlap", MAKE_SECOND_OFFSET, 8, 0, "begins at byte"},
};
const size_t make_n_cases = sizeof make_cases / sizeof *make_cases;

void make_broken(struct buf *b, const struct make_case *c)
{
    size_t at[MAKE_FIELDS];
    make_sample(b, at);
    memcpy(b->p + at[c->field], &c->value, (size_t)c->width);
}
