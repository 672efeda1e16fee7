#include "server/unpack.h"

#include <stdint.h>
#include <strings.h>

#include <zlib.h>
#include <zstd.h>

enum {
    PIECE_BYTES = 64 << 10,
    ZSTD_WINDOW_LOG = 25, /* 32 MiB: what levels up to 19 use for bodies of that size */
};

static bool is(str name, str wanted)
{
    return name.n == wanted.n && strncasecmp(name.p, wanted.p, name.n) == 0;
}

static bool too_much(size_t max, struct err *e)
{
    return err_set(e, ERR_LIMIT, "the body has more than %zu bytes when it is unpacked", max);
}

static bool put_piece(const char *piece, size_t n, size_t max, struct buf *out, struct err *e)
{
    if (n > max - out->n)
        return too_much(max, e);
    buf_put(out, piece, n);
    return true;
}

/* One frame after another, as the format allows. */
static bool unpack_zstd(str packed, size_t max, struct buf *out, struct err *e)
{
    char piece[PIECE_BYTES];
    ZSTD_DCtx *z = ZSTD_createDCtx();
    ZSTD_inBuffer in = {packed.p, packed.n, 0};
    size_t left = 1; /* of the frame; 0: at its end */
    bool ok = true, full = true;
    ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG);
    while (ok && (in.pos < in.size || full)) {
        ZSTD_outBuffer to = {piece, sizeof piece, 0};
        size_t before = in.pos;
        left = ZSTD_decompressStream(z, &to, &in);
        if (ZSTD_isError(left))
            ok = err_set(e, ERR_FORMAT, "the body is not zstd: %s", ZSTD_getErrorName(left));
        else
            ok = put_piece(piece, to.pos, max, out, e);
        full = to.pos == sizeof piece && left != 0;
        if (ok && in.pos == before && to.pos == 0)
            break;
    }
    ZSTD_freeDCtx(z);
    return ok && (left == 0 || err_set(e, ERR_FORMAT, "the zstd body is cut off"));
}

/* window_bits: zlib's, which also say the container. */
static bool unpack_zlib(str packed, int window_bits, size_t max, struct buf *out, struct err *e)
{
    char piece[PIECE_BYTES];
    z_stream z = {.next_in = (Bytef *)(uintptr_t)packed.p, .avail_in = (uInt)packed.n};
    bool ok = true;
    int at = Z_OK;
    if (packed.n > (size_t)1 << 30)
        return err_set(e, ERR_LIMIT, "the packed body has %zu bytes; the limit is 1 GiB", packed.n);
    if (inflateInit2(&z, window_bits) != Z_OK)
        return err_set(e, ERR_MEMORY, "the body cannot be unpacked: no memory");
    while (ok && at == Z_OK) {
        z.next_out = (Bytef *)piece;
        z.avail_out = sizeof piece;
        at = inflate(&z, Z_NO_FLUSH);
        ok = put_piece(piece, sizeof piece - z.avail_out, max, out, e);
    }
    if (ok && at == Z_BUF_ERROR)
        ok = err_set(e, ERR_FORMAT, "the packed body is cut off");
    else if (ok && at != Z_STREAM_END)
        ok = err_set(e, ERR_FORMAT, "the body does not have the encoding that its head names");
    else if (ok && z.avail_in)
        ok = err_set(e, ERR_FORMAT, "%u bytes follow the end of the packed body", z.avail_in);
    inflateEnd(&z);
    return ok;
}

bool unpack(str encoding, str packed, size_t max, struct buf *out, struct err *e)
{
    enum { GZIP = 16 + MAX_WBITS, ZLIB = MAX_WBITS };
    str name = str_trim(encoding);
    if (name.n == 0 || is(name, STR("identity"))) {
        buf_str(out, packed);
        return packed.n <= max || too_much(max, e);
    }
    if (is(name, STR("zstd")))
        return unpack_zstd(packed, max, out, e);
    if (is(name, STR("gzip")) || is(name, STR("x-gzip")))
        return unpack_zlib(packed, GZIP, max, out, e);
    if (is(name, STR("deflate")))
        return unpack_zlib(packed, ZLIB, max, out, e);
    return err_set(
        e, ERR_UNSUPPORTED,
        "the body's Content-Encoding '%.*s' is not known: send it as zstd, gzip, deflate "
        "or as it is",
        (int)(name.n < 40 ? name.n : 40), name.p);
}
