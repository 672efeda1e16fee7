/* json: the values are json-c's (ordered members, hashed lookups), the parser is not: json-c's own
 * takes comments and NaN, cuts integers at 64 bits and member names at a NUL, and differs
 * between versions. This one takes RFC 8259 and nothing else, so 0.16 and newer ones behave
 * alike. A number that json-c cannot hold exactly is stored as a double with its source text. */
#include "base/json.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Two names mean other things in json-c than here. */
#define json_bool jsonc_bool
#define json_type jsonc_type
#include <json-c/json_object.h>
#include <json-c/linkhash.h>
#undef json_bool
#undef json_type

#include "base/utf8.h"

/* ---- the tree ---- */

/* json-c's getters take non-const pointers without writing through them. */
static struct json_object *inner(const struct json *v)
{
    return (struct json_object *)(uintptr_t)v;
}

/* The end of the string that begins at `at`. */
static size_t skip_string(str text, size_t at)
{
    for (at++; at < text.n && text.p[at] != '"'; at++)
        at += text.p[at] == '\\';
    return at;
}

/* Measured with json-c 0.16 on x86-64, malloc's part included: an empty object takes 795 bytes (a
 * table of 16 members), an array 395 (32 elements), a member up to 200 with its name, an element up
 * to 107 and its text. */
size_t json_weigh(str text)
{
    enum { OBJECT = 800, ARRAY = 400, MORE = 110, NAME = 130 };
    size_t n = text.n;
    for (size_t i = 0; i < text.n; i++) {
        switch (text.p[i]) {
        case '"': i = skip_string(text, i); break;
        case '{': n += OBJECT; break;
        case '[': n += ARRAY; break;
        case ',': n += MORE; break;
        case ':': n += NAME; break;
        default: break;
        }
    }
    return n;
}

void json_free(struct json *v)
{
    json_object_put(inner(v));
}

/* The source text of a number that is stored as a double. */
static const char *number_text(const struct json *v)
{
    return json_object_get_userdata(inner(v));
}

enum json_type json_type(const struct json *v)
{
    switch (json_object_get_type(inner(v))) {
    case json_type_null: return JSON_NULL;
    case json_type_boolean: return JSON_BOOL;
    case json_type_int: return JSON_INT;
    case json_type_double: return strpbrk(number_text(v), ".eE") ? JSON_FLOAT : JSON_INT;
    case json_type_string: return JSON_STRING;
    case json_type_array: return JSON_ARRAY;
    case json_type_object: return JSON_OBJECT;
    }
    return JSON_NULL;
}

struct json *json_get(const struct json *v, const char *key)
{
    struct json_object *value = NULL;
    json_object_object_get_ex(inner(v), key, &value);
    return (struct json *)value;
}

bool json_has(const struct json *v, const char *key)
{
    return json_object_object_get_ex(inner(v), key, NULL);
}

size_t json_count(const struct json *v)
{
    if (json_type(v) == JSON_ARRAY)
        return json_object_array_length(inner(v));
    if (json_type(v) == JSON_OBJECT)
        return (size_t)json_object_object_length(inner(v));
    return 0;
}

struct json *json_at(const struct json *v, size_t i)
{
    if (json_type(v) != JSON_ARRAY)
        return NULL;
    return (struct json *)json_object_array_get_idx(inner(v), i);
}

bool json_next(const struct json *object, struct json_iter *it, str *key, struct json **value)
{
    if (json_type(object) != JSON_OBJECT)
        return false;
    struct lh_entry *entry = it->entry;
    if (!it->started)
        entry = lh_table_head(json_object_get_object(inner(object)));
    else if (entry)
        entry = lh_entry_next(entry);
    *it = (struct json_iter){entry, true};
    if (!entry)
        return false;
    *key = str_of(lh_entry_k(entry));
    *value = lh_entry_v(entry);
    return true;
}

str json_str(const struct json *v)
{
    if (json_type(v) != JSON_STRING)
        return STR("");
    return (str){json_object_get_string(inner(v)), (size_t)json_object_get_string_len(inner(v))};
}

bool json_bool(const struct json *v)
{
    return json_type(v) == JSON_BOOL && json_object_get_boolean(inner(v));
}

double json_float(const struct json *v)
{
    enum json_type t = json_type(v);
    return t == JSON_INT || t == JSON_FLOAT ? json_object_get_double(inner(v)) : 0;
}

int64_t json_int(const struct json *v)
{
    if (json_object_is_type(inner(v), json_type_int))
        return json_object_get_int64(inner(v));
    double x = json_float(v);
    if (x >= 0x1p63)
        return INT64_MAX;
    return x <= -0x1p63 ? INT64_MIN : (int64_t)x;
}

/* ---- parsing ---- */

/* Reads text from .at on. With .build unset it only checks the grammar and allocates nothing. */
struct reader {
    str text;
    size_t at;
    bool build;
    bool has_nul;       /* the last string holds one */
    struct buf scratch; /* a stack of unescaped strings; names are followed by NUL */
    const char *why;    /* what is wrong at .at, once something is */
};

static bool broken(struct reader *r, const char *why)
{
    r->why = why;
    return false;
}

/* The byte at the reading position; -1 at the end. */
static int peek(const struct reader *r)
{
    return r->at < r->text.n ? (unsigned char)r->text.p[r->at] : -1;
}

static bool accept(struct reader *r, char c)
{
    if (peek(r) != (unsigned char)c)
        return false;
    r->at++;
    return true;
}

static void skip_space(struct reader *r)
{
    while (r->at < r->text.n && memchr(" \t\r\n", r->text.p[r->at], 4))
        r->at++;
}

static bool read_hex4(struct reader *r, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < 4; i++, r->at++) {
        int c = peek(r);
        int lower = c | 0x20;
        if (c >= '0' && c <= '9')
            *out = *out << 4 | (uint32_t)(c - '0');
        else if (c > 0 && lower >= 'a' && lower <= 'f')
            *out = *out << 4 | (uint32_t)(lower - 'a' + 10);
        else
            return broken(r, "\\u needs four hexadecimal digits");
    }
    return true;
}

/* After "\u". A pair of surrogates is one code point, a lone one becomes U+FFFD: clients that cut
 * strings by UTF-16 units send them. */
static bool read_unicode_escape(struct reader *r)
{
    uint32_t cp, low;
    if (!read_hex4(r, &cp))
        return false;
    if (cp >= 0xd800 && cp < 0xdc00 && str_starts(str_sub(r->text, r->at, SIZE_MAX), STR("\\u"))) {
        size_t second = r->at;
        r->at += 2;
        if (!read_hex4(r, &low))
            return false;
        if (low >= 0xdc00 && low < 0xe000)
            cp = 0x10000 + ((cp - 0xd800) << 10 | (low - 0xdc00));
        else
            r->at = second;
    }
    r->has_nul = r->has_nul || cp == 0;
    if (r->build)
        utf8_put(cp, &r->scratch);
    return true;
}

/* After a backslash. */
static bool read_escape(struct reader *r)
{
    static const char from[] = "\"\\/bfnrt";
    static const char to[] = "\"\\/\b\f\n\r\t";
    int c = peek(r);
    const char *hit = c > 0 ? strchr(from, c) : NULL;
    if (c != 'u' && !hit)
        return broken(r, "unknown escape");
    r->at++;
    if (!hit)
        return read_unicode_escape(r);
    if (r->build)
        buf_byte(&r->scratch, to[hit - from]);
    return true;
}

/* Moves over the bytes of a string that stand for themselves; false at invalid UTF-8. */
static bool skip_plain(struct reader *r)
{
    while (r->at < r->text.n) {
        const unsigned char *p = (const unsigned char *)r->text.p + r->at;
        uint32_t cp;
        if (*p < 0x20 || *p == '"' || *p == '\\')
            break;
        size_t n = utf8_decode(p, r->text.n - r->at, &cp);
        if (n == 0)
            return broken(r, "invalid UTF-8");
        r->at += n;
    }
    return true;
}

/* A string; its unescaped bytes are pushed on scratch. */
static bool read_string(struct reader *r)
{
    if (!accept(r, '"'))
        return broken(r, "expected a string");
    r->has_nul = false;
    for (;;) {
        size_t from = r->at;
        if (!skip_plain(r))
            return false;
        if (r->build)
            buf_str(&r->scratch, str_sub(r->text, from, r->at));
        if (accept(r, '"'))
            return true;
        if (!accept(r, '\\'))
            return broken(r, r->at < r->text.n ? "control character in a string"
                                               : "the string does not end");
        if (!read_escape(r))
            return false;
    }
}

static bool skip_digits(struct reader *r)
{
    size_t from = r->at;
    while (peek(r) >= '0' && peek(r) <= '9')
        r->at++;
    return r->at > from;
}

static struct json_object *new_number(const char *text)
{
    errno = 0;
    long long value = strtoll(text, NULL, 10);
    if (!strpbrk(text, ".eE") && errno == 0 && strcmp(text, "-0") != 0)
        return json_object_new_int64(value);
    return json_object_new_double_s(strtod(text, NULL), text);
}

static bool read_number(struct reader *r, struct json_object **out)
{
    size_t from = r->at;
    accept(r, '-');
    if (!accept(r, '0') && !skip_digits(r))
        return broken(r, "expected a value");
    if (accept(r, '.') && !skip_digits(r))
        return broken(r, "expected a digit");
    if (accept(r, 'e') || accept(r, 'E')) {
        if (!accept(r, '-'))
            accept(r, '+');
        if (!skip_digits(r))
            return broken(r, "expected a digit");
    }
    if (!r->build)
        return true;
    size_t mark = r->scratch.n;
    buf_str(&r->scratch, str_sub(r->text, from, r->at));
    *out = new_number(r->scratch.p + mark);
    r->scratch.n = mark;
    return *out || broken(r, "out of memory");
}

static bool read_word(struct reader *r, str word)
{
    if (!str_starts(str_sub(r->text, r->at, SIZE_MAX), word))
        return broken(r, "expected a value");
    r->at += word.n;
    return true;
}

static bool read_value(struct reader *r, int depth, struct json_object **out);

static bool read_array(struct reader *r, int depth, struct json_object *array)
{
    skip_space(r);
    if (accept(r, ']'))
        return true;
    for (;;) {
        struct json_object *item = NULL;
        if (!read_value(r, depth, &item))
            return false;
        if (r->build && json_object_array_add(array, item) != 0) {
            json_object_put(item);
            return broken(r, "out of memory");
        }
        skip_space(r);
        if (accept(r, ']'))
            return true;
        if (!accept(r, ','))
            return broken(r, "expected ',' or ']'");
    }
}

static bool read_member(struct reader *r, int depth, struct json_object *object)
{
    size_t mark = r->scratch.n;
    size_t at = r->at;
    if (!read_string(r))
        return false;
    if (r->has_nul) {
        r->at = at;
        return broken(r, "NUL in a member name");
    }
    if (r->build)
        buf_byte(&r->scratch, 0);
    skip_space(r);
    if (!accept(r, ':'))
        return broken(r, "expected ':'");
    struct json_object *value = NULL;
    if (!read_value(r, depth, &value))
        return false;
    if (r->build && json_object_object_add(object, r->scratch.p + mark, value) != 0) {
        json_object_put(value);
        return broken(r, "out of memory");
    }
    r->scratch.n = mark;
    return true;
}

static bool read_object(struct reader *r, int depth, struct json_object *object)
{
    skip_space(r);
    if (accept(r, '}'))
        return true;
    for (;;) {
        skip_space(r);
        if (!read_member(r, depth, object))
            return false;
        skip_space(r);
        if (accept(r, '}'))
            return true;
        if (!accept(r, ','))
            return broken(r, "expected ',' or '}'");
    }
}

static bool read_container(struct reader *r, int depth, struct json_object **out)
{
    bool is_array = peek(r) == '[';
    if (depth == 0)
        return broken(r, "nested deeper than 64 levels");
    r->at++;
    if (r->build) {
        *out = is_array ? json_object_new_array() : json_object_new_object();
        if (!*out)
            return broken(r, "out of memory");
    }
    bool ok = is_array ? read_array(r, depth - 1, *out) : read_object(r, depth - 1, *out);
    if (!ok) {
        json_object_put(*out);
        *out = NULL;
    }
    return ok;
}

/* Reads a value, which may stand after white space; *out becomes the caller's. null gives NULL. */
static bool read_value(struct reader *r, int depth, struct json_object **out)
{
    skip_space(r);
    size_t mark = r->scratch.n;
    switch (peek(r)) {
    case '{':
    case '[': return read_container(r, depth, out);
    case '"':
        if (!read_string(r))
            return false;
        if (r->build) {
            *out = json_object_new_string_len(buf_view(&r->scratch).p + mark,
                                              (int)(r->scratch.n - mark));
            r->scratch.n = mark;
        }
        return !r->build || *out || broken(r, "out of memory");
    case 'n': return read_word(r, STR("null"));
    case 't':
    case 'f': {
        bool value = peek(r) == 't';
        if (!read_word(r, value ? STR("true") : STR("false")))
            return false;
        if (r->build)
            *out = json_object_new_boolean(value);
        return !r->build || *out || broken(r, "out of memory");
    }
    default: return read_number(r, out);
    }
}

struct json *json_parse(str text, struct err *e)
{
    _Static_assert(JSON_MAX_DEPTH == 64, "the message of read_container names the limit");
    struct reader r = {.text = text, .build = true};
    struct json_object *root = NULL;
    if (text.n > INT_MAX) {
        err_set(e, ERR_LIMIT, "JSON: %zu bytes, the limit is %d", text.n, INT_MAX);
        return NULL;
    }
    bool ok = read_value(&r, JSON_MAX_DEPTH, &root);
    if (ok) {
        skip_space(&r);
        if (r.at < text.n)
            ok = broken(&r, "text after the value");
        else if (!root)
            ok = broken(&r, "the value is null");
    }
    if (!ok) {
        err_set(e, ERR_FORMAT, "JSON: byte %zu of %zu: %s", r.at, text.n, r.why);
        json_object_put(root);
        root = NULL;
    }
    buf_free(&r.scratch);
    return (struct json *)root;
}

size_t json_scan(str text)
{
    struct reader r = {.text = text};
    struct json_object *none = NULL;
    return read_value(&r, JSON_MAX_DEPTH, &none) ? r.at : 0;
}

/* ---- printing ---- */

void json_quote(str s, struct buf *out)
{
    static const char from[] = "\"\\\b\f\n\r\t";
    static const char to[] = "\"\\bfnrt";
    size_t done = 0; /* [done, i) is copied as it is */
    buf_byte(out, '"');
    for (size_t i = 0; i < s.n;) {
        unsigned char c = (unsigned char)s.p[i];
        uint32_t cp;
        size_t n = utf8_decode((const unsigned char *)s.p + i, s.n - i, &cp);
        if (n && c >= 0x20 && c != '"' && c != '\\') {
            i += n;
            continue;
        }
        buf_str(out, str_sub(s, done, i));
        const char *hit = c ? strchr(from, c) : NULL;
        if (n == 0)
            utf8_put(0xfffd, out);
        else if (hit)
            buf_put(out, (char[]){'\\', to[hit - from]}, 2);
        else
            buf_fmt(out, "\\u%04x", c);
        done = ++i;
    }
    buf_str(out, str_sub(s, done, s.n));
    buf_byte(out, '"');
}

/* The fewest digits in %e form that read back as x. Above a power of two the doubles lie twice as
 * far apart as below it, so the digits rounded up may do where the nearest ones do not. */
static void shortest_digits(double x, char *text, size_t size)
{
    for (int precision = 0; precision <= 16; precision++) {
        snprintf(text, size, "%.*e", precision, x);
        if (strtod(text, NULL) == x)
            return;
        char *last = strchr(text, 'e') - 1;
        if (*last == '9')
            continue;
        ++*last;
        if (strtod(text, NULL) == x)
            return;
    }
}

/* Without an exponent for 1e-4 <= |x| < 1e16. */
void json_print_f64(double x, struct buf *out)
{
    char text[40];
    shortest_digits(x, text, sizeof text);
    char *mark = strchr(text, 'e');
    int exponent = atoi(mark + 1);
    if (exponent < -4 || exponent >= 16) {
        buf_str(out, str_of(text));
        return;
    }
    char digits[24];
    int n_digits = 0;
    for (const char *p = text; p < mark; p++) {
        if (*p >= '0' && *p <= '9')
            digits[n_digits++] = *p;
    }
    if (text[0] == '-')
        buf_byte(out, '-');
    if (exponent < 0)
        buf_put(out, "0.000", (size_t)(1 - exponent));
    for (int i = 0; i < n_digits || i <= exponent + 1; i++) {
        if (exponent >= 0 && i == exponent + 1)
            buf_byte(out, '.');
        if (i < n_digits || i <= exponent || exponent >= 0)
            buf_byte(out, i < n_digits ? digits[i] : '0');
    }
}

static void print_number(const struct json *v, enum json_style style, struct buf *out)
{
    if (json_object_is_type(inner(v), json_type_int))
        buf_fmt(out, "%lld", (long long)json_object_get_int64(inner(v)));
    else if (style == JSON_PYTHON && json_type(v) == JSON_FLOAT && isfinite(json_float(v)))
        json_print_f64(json_float(v), out);
    else
        buf_str(out, str_of(number_text(v)));
}

static void print_array(const struct json *v, enum json_style style, struct buf *out)
{
    buf_byte(out, '[');
    for (size_t i = 0; i < json_count(v); i++) {
        if (i)
            buf_str(out, style == JSON_PYTHON ? STR(", ") : STR(","));
        json_print(json_at(v, i), style, out);
    }
    buf_byte(out, ']');
}

static void print_object(const struct json *v, enum json_style style, struct buf *out)
{
    struct json_iter it = {0};
    struct json *value;
    str key;
    bool first = true;
    buf_byte(out, '{');
    while (json_next(v, &it, &key, &value)) {
        if (!first)
            buf_str(out, style == JSON_PYTHON ? STR(", ") : STR(","));
        first = false;
        json_quote(key, out);
        buf_str(out, style == JSON_PYTHON ? STR(": ") : STR(":"));
        json_print(value, style, out);
    }
    buf_byte(out, '}');
}

void json_print(const struct json *v, enum json_style style, struct buf *out)
{
    switch (json_type(v)) {
    case JSON_NULL: buf_str(out, STR("null")); break;
    case JSON_BOOL: buf_str(out, json_bool(v) ? STR("true") : STR("false")); break;
    case JSON_INT:
    case JSON_FLOAT: print_number(v, style, out); break;
    case JSON_STRING: json_quote(json_str(v), out); break;
    case JSON_ARRAY: print_array(v, style, out); break;
    case JSON_OBJECT: print_object(v, style, out); break;
    }
}
