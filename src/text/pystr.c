#include "text/pystr.h"

#include <utf8proc.h>

#include "base/utf8.h"

/* Python 3: white space of Unicode and the separators 0x1c-0x1f. */
bool pystr_is_space(uint32_t cp)
{
    return (cp >= 0x09 && cp <= 0x0d) || (cp >= 0x1c && cp <= 0x20) || cp == 0x85 || cp == 0xa0 ||
           cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 || cp == 0x2029 ||
           cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

/* str.isprintable of one code point. */
static bool is_printable(uint32_t cp)
{
    switch (utf8proc_category((utf8proc_int32_t)cp)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return false;
    case UTF8PROC_CATEGORY_ZS: return cp == ' ';
    default: return true;
    }
}

static void put_escape(uint32_t cp, struct buf *out)
{
    if (cp == '\n' || cp == '\r' || cp == '\t')
        buf_str(out, cp == '\n' ? STR("\\n") : cp == '\r' ? STR("\\r") : STR("\\t"));
    else if (cp < 0x100)
        buf_fmt(out, "\\x%02x", cp);
    else
        buf_fmt(out, cp < 0x10000 ? "\\u%04x" : "\\U%08x", cp);
}

char pystr_quote(str s)
{
    bool has_single = str_find(s, STR("'"), 0) != SIZE_MAX;
    return has_single && str_find(s, STR("\""), 0) == SIZE_MAX ? '"' : '\'';
}

size_t pystr_repr_char(str s, size_t i, char quote, struct buf *out)
{
    uint32_t cp = 0xfffd;
    size_t n = utf8_decode((const unsigned char *)s.p + i, s.n - i, &cp);
    if (n && (cp == (uint32_t)quote || cp == '\\'))
        buf_byte(out, '\\');
    if (n == 0)
        utf8_put(0xfffd, out);
    else if (is_printable(cp))
        buf_put(out, s.p + i, n);
    else
        put_escape(cp, out);
    return n ? n : 1;
}
