#include "server/opaque.h"

#include <stdint.h>

#include "base/utf8.h"

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const str magic = STR("tawny1\n");

/* RFC 4648, section 4. */
static void put_base64(str bytes, struct buf *out)
{
    for (size_t i = 0; i < bytes.n; i += 3) {
        uint32_t three = 0;
        size_t n = bytes.n - i < 3 ? bytes.n - i : 3;
        for (size_t k = 0; k < 3; k++)
            three = three << 8 | (k < n ? (unsigned char)bytes.p[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            buf_byte(out, k <= n ? letters[three >> (18 - 6 * k) & 63] : '=');
    }
}

static bool get_base64(str text, struct buf *out)
{
    int8_t value[256];
    for (size_t i = 0; i < sizeof value; i++)
        value[i] = -1;
    for (int i = 0; i < 64; i++)
        value[(unsigned char)letters[i]] = (int8_t)i;
    if (text.n % 4)
        return false;
    while (text.n && text.p[text.n - 1] == '=')
        text.n--;
    uint32_t bits = 0;
    unsigned n_bits = 0;
    for (size_t i = 0; i < text.n; i++) {
        int v = value[(unsigned char)text.p[i]];
        if (v < 0)
            return false;
        bits = bits << 6 | (uint32_t)v;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            buf_byte(out, (char)(bits >> n_bits));
        }
    }
    return true;
}

static bool is_utf8(str s)
{
    for (size_t i = 0; i < s.n;) {
        uint32_t ignored;
        size_t n = utf8_decode((const unsigned char *)s.p + i, s.n - i, &ignored);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

void opaque_put(str tag, str text, struct buf *out)
{
    struct buf plain = {0};
    buf_str(&plain, magic);
    buf_str(&plain, tag);
    buf_byte(&plain, '\n');
    buf_str(&plain, text);
    put_base64(buf_view(&plain), out);
    buf_free(&plain);
}

bool opaque_get(str token, struct arena *a, str *tag, str *text)
{
    struct buf plain = {0};
    bool ok = get_base64(token, &plain) && str_starts(buf_view(&plain), magic) &&
              is_utf8(buf_view(&plain)) &&
              str_find(buf_view(&plain), STR("\n"), magic.n) != SIZE_MAX;
    if (ok) {
        str all = arena_str(a, buf_view(&plain));
        *tag = str_cut(str_sub(all, magic.n, all.n), '\n', text);
    }
    buf_free(&plain);
    return ok;
}
