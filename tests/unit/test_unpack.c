/* Compressed request bodies: what is taken, and what bombs and broken ones get. */
#include "test.h"

#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#include "kit/server_kit.h"
#include "server/unpack.h"

enum { MAX = 1 << 20 };

static void pack_zstd(str plain, struct buf *out)
{
    size_t room = ZSTD_compressBound(plain.n);
    char *packed = malloc(room);
    size_t n = ZSTD_compress(packed, room, plain.p, plain.n, 3);
    CHECK(!ZSTD_isError(n));
    buf_put(out, packed, n);
    free(packed);
}

/* window_bits: 31 for gzip, 15 for zlib. */
static void pack_zlib(str plain, int window_bits, struct buf *out)
{
    uLong room = compressBound((uLong)plain.n) + 64;
    unsigned char *packed = malloc(room);
    z_stream z = {.next_in = (Bytef *)(uintptr_t)plain.p,
                  .avail_in = (uInt)plain.n,
                  .next_out = packed,
                  .avail_out = (uInt)room};
    CHECK(deflateInit2(&z, 6, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    CHECK(deflate(&z, Z_FINISH) == Z_STREAM_END);
    buf_put(out, packed, z.total_out);
    deflateEnd(&z);
    free(packed);
}

static void pack(str encoding, str plain, struct buf *out)
{
    if (str_eq(encoding, STR("zstd")))
        pack_zstd(plain, out);
    else if (str_eq(encoding, STR("deflate")))
        pack_zlib(plain, 15, out);
    else
        pack_zlib(plain, 31, out);
}

static const str encodings[] = {STR("zstd"), STR("gzip"), STR("deflate")};

TEST(unpack_gives_back_what_was_packed)
{
    static const size_t sizes[] = {0, 1, 65536, 65537, 300000, MAX};
    struct buf plain = {0}, packed = {0}, out = {0};
    struct err e;
    for (size_t i = 0; i < MAX; i++)
        buf_byte(&plain, (char)("{\"a\":[1,2]} "[i % 12] + (i / 7000) % 3));
    for (int k = 0; k < 3; k++)
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            buf_clear(&packed);
            buf_clear(&out);
            pack(encodings[k], str_sub(buf_view(&plain), 0, sizes[i]), &packed);
            if (!unpack(encodings[k], buf_view(&packed), MAX, &out, &e))
                test_fail(__FILE__, __LINE__, "%s, %zu bytes: %s", encodings[k].p, sizes[i], e.msg);
            CHECK(str_eq(buf_view(&out), str_sub(buf_view(&plain), 0, sizes[i])));
        }
    buf_clear(&out);
    CHECK_OK(unpack(STR(""), STR("as it is"), MAX, &out, &e));
    CHECK_OK(unpack(STR(" Identity"), STR("."), MAX, &out, &e));
    CHECK_STR(buf_view(&out), STR("as it is."));
    buf_free(&plain);
    buf_free(&packed);
    buf_free(&out);
}

TEST(unpack_stops_at_the_limit)
{
    struct buf zeros = {0}, packed = {0}, out = {0};
    struct err e;
    for (size_t i = 0; i < 8 * MAX; i++)
        buf_byte(&zeros, 0);
    for (int k = 0; k < 3; k++) {
        buf_clear(&packed);
        buf_clear(&out);
        pack(encodings[k], buf_view(&zeros), &packed);
        CHECK(packed.n < MAX / 50);
        CHECK(!unpack(encodings[k], buf_view(&packed), MAX, &out, &e));
        CHECK_INT(e.code, ERR_LIMIT);
        CHECK(out.n <= MAX);
    }
    CHECK(!unpack(STR("br"), STR("x"), MAX, &out, &e));
    CHECK_INT(e.code, ERR_UNSUPPORTED);
    buf_free(&zeros);
    buf_free(&packed);
    buf_free(&out);
}

/* A window of 128 MiB would be allocated for a body of a few bytes. */
TEST(unpack_refuses_a_huge_window)
{
    static const unsigned char frame[] = {0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x88, 0x01, 0x00, 0x00};
    struct buf out = {0};
    struct err e;
    CHECK(!unpack(STR("zstd"), (str){(const char *)frame, sizeof frame}, MAX, &out, &e));
    CHECK_INT(e.code, ERR_FORMAT);
    buf_free(&out);
}

/* Cut off, changed and with something behind it: an error or the plain text, never a crash. */
TEST(unpack_survives_damage)
{
    struct buf packed = {0}, out = {0}, broken = {0};
    struct err e;
    str plain = STR("{\"input\":\"create hello.txt containing hi\",\"stream\":true,\"x\":[1,2,3]}");
    for (int k = 0; k < 3; k++) {
        buf_clear(&packed);
        pack(encodings[k], plain, &packed);
        for (size_t n = 0; n < packed.n; n++) {
            buf_clear(&out);
            CHECK(!unpack(encodings[k], str_sub(buf_view(&packed), 0, n), MAX, &out, &e));
            for (int bit = 0; bit < 8; bit++) {
                buf_clear(&out);
                buf_clear(&broken);
                buf_str(&broken, buf_view(&packed));
                broken.p[n] ^= (char)(1 << bit);
                unpack(encodings[k], buf_view(&broken), MAX, &out, &e);
                CHECK(out.n <= MAX);
            }
        }
        buf_byte(&packed, 'x');
        buf_clear(&out);
        CHECK(!unpack(encodings[k], buf_view(&packed), MAX, &out, &e));
    }
    buf_free(&packed);
    buf_free(&out);
    buf_free(&broken);
}

TEST(server_takes_compressed_bodies)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){.max_body = 4096});
    struct buf packed = {0}, in = {0}, big = {0};
    str body = STR("{\"prompt\":\"ab\",\"max_tokens\":2}");
    for (int k = 0; k < 3; k++) {
        char head[64];
        buf_clear(&packed);
        pack(encodings[k], body, &packed);
        snprintf(head, sizeof head, "Content-Encoding: %s\r\n", encodings[k].p);
        CHECK_INT(kit_fetch(s, "POST", "/v1/completions", head, buf_view(&packed), &in), 200);
        CHECK_INT(kit_fetch(s, "POST", "/v1/completions", head, body, &in), 400);
    }
    for (int i = 0; i < 5000; i++)
        buf_byte(&big, ' ');
    buf_clear(&packed);
    pack(STR("zstd"), buf_view(&big), &packed);
    CHECK_INT(kit_fetch(s, "POST", "/v1/completions", "Content-Encoding: zstd\r\n",
                        buf_view(&packed), &in),
              413);
    CHECK_INT(kit_fetch(s, "POST", "/v1/completions", "Content-Encoding: br\r\n", body, &in), 415);
    buf_free(&packed);
    buf_free(&in);
    buf_free(&big);
    kit_server_close(s);
}
