/* Typed access to metadata. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gguf/gguf_int.h"

static const struct {
    const char *name;
    uint8_t n_bytes;
} types[] = {
    [GGUF_U8] = {"u8", 1},       [GGUF_I8] = {"i8", 1},     [GGUF_U16] = {"u16", 2},
    [GGUF_I16] = {"i16", 2},     [GGUF_U32] = {"u32", 4},   [GGUF_I32] = {"i32", 4},
    [GGUF_F32] = {"f32", 4},     [GGUF_BOOL] = {"bool", 1}, [GGUF_STRING] = {"string", 0},
    [GGUF_ARRAY] = {"array", 0}, [GGUF_U64] = {"u64", 8},   [GGUF_I64] = {"i64", 8},
    [GGUF_F64] = {"f64", 8},
};

size_t gguf_type_bytes(uint32_t type)
{
    return type <= GGUF_F64 ? types[type].n_bytes : 0;
}

const char *gguf_type_name(uint32_t type)
{
    return type <= GGUF_F64 ? types[type].name : "unknown";
}

const struct gguf_kv *gguf_keys_find(const struct gguf_keys *keys, str key)
{
    size_t lo = 0, hi = keys->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const struct gguf_kv *kv = &keys->at[keys->order[mid]];
        int order = gguf_compare(kv->key, key);
        if (order == 0)
            return kv;
        if (order < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

int64_t gguf_elem_i64(const struct gguf_kv *kv, uint64_t i)
{
    size_t size = gguf_type_bytes((uint32_t)kv->type);
    uint64_t bits = 0;
    memcpy(&bits, (const uint8_t *)kv->raw + i * size, size);
    switch (kv->type) {
    case GGUF_I8: return (int8_t)bits;
    case GGUF_I16: return (int16_t)bits;
    case GGUF_I32: return (int32_t)bits;
    case GGUF_BOOL: return bits != 0;
    case GGUF_U64: return bits > INT64_MAX ? INT64_MAX : (int64_t)bits;
    case GGUF_U8:
    case GGUF_U16:
    case GGUF_U32:
    case GGUF_I64: return (int64_t)bits;
    case GGUF_F32:
    case GGUF_F64:
    case GGUF_STRING:
    case GGUF_ARRAY: break;
    }
    return 0;
}

double gguf_elem_f64(const struct gguf_kv *kv, uint64_t i)
{
    if (kv->type == GGUF_F32) {
        float f;
        memcpy(&f, (const uint8_t *)kv->raw + i * sizeof f, sizeof f);
        return (double)f;
    }
    double d = 0;
    if (kv->type == GGUF_F64)
        memcpy(&d, (const uint8_t *)kv->raw + i * sizeof d, sizeof d);
    return d;
}

str gguf_elem_str(const struct gguf *g, const struct gguf_kv *kv, uint64_t i)
{
    const uint32_t *starts = g->keys.starts[kv - g->keys.at];
    const uint8_t *at = (const uint8_t *)kv->raw + (starts ? starts[i] : 0);
    uint64_t n;
    memcpy(&n, at, sizeof n);
    return (str){(const char *)at + sizeof n, (size_t)n};
}

/* A set of value types, and what to call it in a message. */
struct type_set {
    uint32_t bits;
    const char *name;
};
#define BIT(type) (1u << (type))
static const struct type_set integers = {BIT(GGUF_U8) | BIT(GGUF_I8) | BIT(GGUF_U16) |
                                             BIT(GGUF_I16) | BIT(GGUF_U32) | BIT(GGUF_I32) |
                                             BIT(GGUF_U64) | BIT(GGUF_I64),
                                         "an integer"};
static const struct type_set floats = {BIT(GGUF_F32) | BIT(GGUF_F64), "f32"};
static const struct type_set bools = {BIT(GGUF_BOOL), "bool"};
static const struct type_set strings = {BIT(GGUF_STRING), "string"};
#undef BIT

/* The key as one value of these types. False and e when it is needed and absent, an array or of
 * another type. *out is NULL when it is absent. */
static bool find_value(const struct gguf_keys *keys, const char *path, const char *key,
                       bool required, struct type_set wanted, const struct gguf_kv **out,
                       struct err *e)
{
    *out = gguf_keys_find(keys, str_of(key));
    if (!*out)
        return !required || err_set(e, ERR_FORMAT, "%s: key '%s' is missing", path, key);
    if ((*out)->is_array)
        return err_set(e, ERR_FORMAT, "%s: key '%s' is an array, must be one value", path, key);
    if (!(wanted.bits >> (*out)->type & 1))
        return err_set(e, ERR_FORMAT, "%s: key '%s' has type %s, must be %s", path, key,
                       gguf_type_name((uint32_t)(*out)->type), wanted.name);
    return true;
}

bool gguf_keys_u32(const struct gguf_keys *keys, const char *path, const char *key, bool required,
                   uint32_t *out, struct err *e)
{
    const struct gguf_kv *kv;
    if (!find_value(keys, path, key, required, integers, &kv, e))
        return false;
    if (!kv)
        return true;
    int64_t value = gguf_elem_i64(kv, 0);
    if (value < 0 || value > UINT32_MAX)
        return err_set(e, ERR_FORMAT, "%s: key '%s' is %" PRId64 ", must be 0 to %" PRIu32, path,
                       key, value, UINT32_MAX);
    *out = (uint32_t)value;
    return true;
}

bool gguf_u32(const struct gguf *g, const char *key, bool required, uint32_t *out, struct err *e)
{
    return gguf_keys_u32(&g->keys, gguf_path(g), key, required, out, e);
}

bool gguf_f32(const struct gguf *g, const char *key, bool required, float *out, struct err *e)
{
    const struct gguf_kv *kv;
    if (!find_value(&g->keys, gguf_path(g), key, required, floats, &kv, e))
        return false;
    if (!kv)
        return true;
    float value = (float)gguf_elem_f64(kv, 0);
    if (!isfinite(value))
        return err_set(e, ERR_FORMAT, "%s: key '%s' is %g, must be a finite f32", gguf_path(g), key,
                       gguf_elem_f64(kv, 0));
    *out = value;
    return true;
}

bool gguf_bool(const struct gguf *g, const char *key, bool required, bool *out, struct err *e)
{
    const struct gguf_kv *kv;
    bool ok = find_value(&g->keys, gguf_path(g), key, required, bools, &kv, e);
    if (ok && kv)
        *out = gguf_elem_i64(kv, 0) != 0;
    return ok;
}

bool gguf_str(const struct gguf *g, const char *key, bool required, str *out, struct err *e)
{
    const struct gguf_kv *kv;
    bool ok = find_value(&g->keys, gguf_path(g), key, required, strings, &kv, e);
    if (ok && kv)
        *out = gguf_elem_str(g, kv, 0);
    return ok;
}
