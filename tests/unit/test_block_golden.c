/* Every golden block of the reference data decodes to the last bit. */
#include "base/file.h"
#include "base/json.h"
#include "gguf/block.h"
#include "test.h"

/* Two hex digits per byte; returns the number of bytes. */
static size_t unhex(str hex, uint8_t *out, size_t max)
{
    CHECK(hex.n % 2 == 0 && hex.n / 2 <= max);
    for (size_t i = 0; i < hex.n / 2; i++) {
        char digits[3] = {hex.p[2 * i], hex.p[2 * i + 1], 0};
        out[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return hex.n / 2;
}

static int check_vectors(str name, const struct json *row)
{
    enum block_type type;
    if (!block_type_of(name, &type))
        test_fail(__FILE__, __LINE__, "type %.*s is not known", STRF(name));
    const struct block_info *info = block_info((uint32_t)type);
    CHECK_INT(json_int(json_get(row, "ggml_type")), type);
    CHECK_INT(json_int(json_get(row, "block_elems")), info->n_elems);
    CHECK_INT(json_int(json_get(row, "block_bytes")), info->n_bytes);
    const struct json *vectors = json_get(row, "vectors");
    for (size_t i = 0; i < json_count(vectors); i++) {
        uint8_t block[256], want[256 * 4];
        float got[256];
        const struct json *v = json_at(vectors, i);
        CHECK_INT(unhex(json_str(json_get(v, "block_hex")), block, sizeof block), info->n_bytes);
        size_t n = unhex(json_str(json_get(v, "f32_le_hex")), want, sizeof want);
        CHECK_INT(n, 4 * info->n_elems);
        info->decode(block, got, info->n_elems);
        if (memcmp(got, want, n))
            test_fail(__FILE__, __LINE__, "%s, vector %zu differs", info->name, i);
    }
    return (int)json_count(vectors);
}

TEST(block_golden_vectors_decode_to_the_last_bit)
{
    struct err e;
    struct buf text = {0};
    int n_vectors = 0, n_types = 0;
    CHECK_OK(file_read_all(test_shared("spec/data/quant-vectors.json"), 1 << 20, &text, &e));
    struct json *root = json_parse(buf_view(&text), &e);
    CHECK_OK(root);
    struct json_iter it = {0};
    str name;
    struct json *row;
    while (json_next(json_get(root, "types"), &it, &name, &row)) {
        n_vectors += check_vectors(name, row);
        n_types++;
    }
    CHECK_INT(n_types, 15);
    CHECK(n_vectors >= 3 * 15);
    json_free(root);
    buf_free(&text);
}
