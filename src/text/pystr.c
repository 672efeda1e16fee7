#include "text/pystr.h"

#include <string.h>

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

str pystr_strip(str s)
{
    size_t from = 0;
    size_t to = s.n;
    uint32_t cp = 0;
    size_t n;
    while (from < to && (n = utf8_decode((const unsigned char *)s.p + from, to - from, &cp)) != 0 &&
           pystr_is_space(cp))
        from += n;
    while (to > from) {
        size_t head = to - 1;
        while (head > from && to - head < 4 && ((unsigned char)s.p[head] & 0xc0) == 0x80)
            head--;
        n = utf8_decode((const unsigned char *)s.p + head, to - head, &cp);
        if (n != to - head || !pystr_is_space(cp))
            break;
        to = head;
    }
    return str_sub(s, from, to);
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

static void repr_string(str s, struct buf *out)
{
    char quote = pystr_quote(s);
    buf_byte(out, quote);
    for (size_t i = 0; i < s.n;)
        i += pystr_repr_char(s, i, quote, out);
    buf_byte(out, quote);
}

static void repr_array(const struct json *v, struct buf *out)
{
    buf_byte(out, '[');
    for (size_t i = 0; i < json_count(v); i++) {
        if (i)
            buf_str(out, STR(", "));
        pystr_repr(json_at(v, i), out);
    }
    buf_byte(out, ']');
}

static void repr_object(const struct json *v, struct buf *out)
{
    struct json_iter it = {0};
    struct json *value;
    str key;
    buf_byte(out, '{');
    for (bool more = json_next(v, &it, &key, &value); more;) {
        repr_string(key, out);
        buf_str(out, STR(": "));
        pystr_repr(value, out);
        more = json_next(v, &it, &key, &value);
        if (more)
            buf_str(out, STR(", "));
    }
    buf_byte(out, '}');
}

void pystr_repr(const struct json *v, struct buf *out)
{
    switch (json_type(v)) {
    case JSON_NULL: buf_str(out, STR("None")); break;
    case JSON_BOOL: buf_str(out, json_bool(v) ? STR("True") : STR("False")); break;
    case JSON_INT:
    case JSON_FLOAT: json_print(v, JSON_PYTHON, out); break;
    case JSON_STRING: repr_string(json_str(v), out); break;
    case JSON_ARRAY: repr_array(v, out); break;
    case JSON_OBJECT: repr_object(v, out); break;
    }
}

void pystr_str(const struct json *v, struct buf *out)
{
    if (json_type(v) == JSON_STRING)
        buf_str(out, json_str(v));
    else
        pystr_repr(v, out);
}
