/* jinja: values as text: str() and repr() of Python, and JSON as Python's json.dumps writes it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "text/jinja_int.h"
#include "text/pystr.h"

static uint8_t mark_of(const struct jinja_value *s, size_t i)
{
    return s->mark ? (uint8_t)s->mark[i] : s->whole;
}

/* ---- str and repr ---- */

static void put_number(struct jinja_run *r, const struct jinja_value *v)
{
    if (v->kind == JINJA_BIG)
        json_print(v->big, JSON_PYTHON, &r->out);
    else if (v->kind == JINJA_INT)
        buf_fmt(&r->out, "%lld", (long long)v->i);
    else if (isnan(v->f))
        buf_str(&r->out, STR("nan"));
    else if (isinf(v->f))
        buf_str(&r->out, v->f < 0 ? STR("-inf") : STR("inf"));
    else
        json_print_f64(v->f, &r->out);
    jinja_mark(r, 0);
}

static void put_repr_string(struct jinja_run *r, const struct jinja_value *v)
{
    str s = jinja_str(v);
    char quote = pystr_quote(s);
    buf_byte(&r->out, quote);
    jinja_mark(r, 0);
    for (size_t i = 0; i < s.n;) {
        uint8_t mark = mark_of(v, i);
        i += pystr_repr_char(s, i, quote, &r->out);
        jinja_mark(r, mark);
    }
    buf_byte(&r->out, quote);
    jinja_mark(r, 0);
}

static bool put_repr_list(struct jinja_run *r, const struct jinja_value *v)
{
    jinja_put_text(r, v->kind == JINJA_TUPLE ? STR("(") : STR("["));
    for (size_t i = 0; i < v->n; i++) {
        if (i)
            jinja_put_text(r, STR(", "));
        if (!jinja_put_repr(r, &v->items[i]))
            return false;
    }
    if (v->kind == JINJA_TUPLE)
        jinja_put_text(r, v->n == 1 ? STR(",)") : STR(")"));
    else
        jinja_put_text(r, STR("]"));
    return true;
}

static bool put_repr_dict(struct jinja_run *r, const struct jinja_dict *d)
{
    jinja_put_text(r, STR("{"));
    for (size_t i = 0; i < d->n; i++) {
        if (i)
            jinja_put_text(r, STR(", "));
        if (!jinja_put_repr(r, &d->entries[i].key))
            return false;
        jinja_put_text(r, STR(": "));
        if (!jinja_put_repr(r, &d->entries[i].value))
            return false;
    }
    jinja_put_text(r, STR("}"));
    return true;
}

static bool put_repr(struct jinja_run *r, const struct jinja_value *v)
{
    switch (v->kind) {
    case JINJA_ABSENT: break;
    case JINJA_UNDEFINED: jinja_put_text(r, STR("Undefined")); break;
    case JINJA_NONE: jinja_put_text(r, STR("None")); break;
    case JINJA_BOOL: jinja_put_text(r, v->truth ? STR("True") : STR("False")); break;
    case JINJA_INT:
    case JINJA_BIG:
    case JINJA_FLOAT: put_number(r, v); break;
    case JINJA_STRING: put_repr_string(r, v); break;
    case JINJA_LIST:
    case JINJA_TUPLE: return put_repr_list(r, v);
    case JINJA_DICT: return put_repr_dict(r, v->dict);
    case JINJA_NAMESPACE:
        jinja_put_text(r, STR("<Namespace "));
        if (!put_repr_dict(r, v->dict))
            return false;
        jinja_put_text(r, STR(">"));
        break;
    case JINJA_STREAM: jinja_put_text(r, STR("<generator object>")); break;
    case JINJA_MACRO: jinja_put_text(r, STR("<Macro>")); break;
    case JINJA_LOOP: jinja_put_text(r, STR("<LoopContext>")); break;
    case JINJA_FUNCTION: jinja_put_text(r, STR("<function>")); break;
    }
    return true;
}

bool jinja_put_repr(struct jinja_run *r, const struct jinja_value *v)
{
    bool ok = jinja_enter(r) && jinja_work(r, 1) && put_repr(r, v);
    r->depth--;
    return ok;
}

bool jinja_put_str(struct jinja_run *r, const struct jinja_value *v)
{
    if (v->kind == JINJA_UNDEFINED)
        return true;
    if (v->kind != JINJA_STRING)
        return jinja_put_repr(r, v);
    jinja_put(r, v);
    return jinja_work(r, v->n / 64);
}

bool jinja_to_str(struct jinja_run *r, const struct jinja_value *v, struct jinja_value *out)
{
    struct jinja_value s = *v; /* v may be out */
    size_t begin = jinja_begin(r);
    *out = s;
    return s.kind == JINJA_STRING || (jinja_put_str(r, &s) && jinja_take(r, begin, out));
}

/* ---- JSON ---- */

static void put_utf16(struct jinja_run *r, uint32_t cp)
{
    if (cp >= 0x10000)
        buf_fmt(&r->out, "\\u%04x\\u%04x", 0xd800 + ((cp - 0x10000) >> 10),
                0xdc00 + ((cp - 0x10000) & 0x3ff));
    else
        buf_fmt(&r->out, "\\u%04x", cp);
}

/* The end of the bytes from i on that stand for themselves and have one mark. */
static size_t plain_end(const struct jinja_value *v, size_t i, bool ascii)
{
    uint8_t mark = mark_of(v, i);
    for (; i < v->n && mark_of(v, i) == mark; i++) {
        unsigned char c = (unsigned char)v->p[i];
        if (c < 0x20 || c == '"' || c == '\\' || (ascii && c >= 0x7f))
            break;
    }
    return i;
}

static void put_json_string(struct jinja_run *r, const struct jinja_value *v, bool ascii)
{
    static const char from[] = "\"\\\b\f\n\r\t";
    static const char to[] = "\"\\bfnrt";
    jinja_put_text(r, STR("\""));
    for (size_t i = 0; i < v->n;) {
        size_t end = plain_end(v, i, ascii);
        jinja_put_sub(r, v, i, end);
        if ((i = end) == v->n)
            break;
        unsigned char c = (unsigned char)v->p[i];
        const char *hit = c ? strchr(from, c) : NULL;
        uint8_t mark = mark_of(v, i);
        uint32_t cp = c;
        size_t n = 1;
        if (c >= 0x80)
            n = utf8_decode((const unsigned char *)v->p + i, v->n - i, &cp);
        if (hit)
            buf_put(&r->out, (char[]){'\\', to[hit - from]}, 2);
        else if (c < 0x20 || (ascii && c >= 0x7f))
            put_utf16(r, n ? cp : 0xfffd);
        else
            continue; /* only the mark changes here */
        jinja_mark(r, mark);
        i += n ? n : 1;
    }
    jinja_put_text(r, STR("\""));
}

static void put_line(struct jinja_run *r, const struct jinja_json_style *style, size_t level)
{
    if (style->indent < 0)
        return;
    jinja_put_text(r, STR("\n"));
    for (size_t n = (size_t)style->indent * level; n > 0 && !r->out.over; n--)
        buf_byte(&r->out, ' ');
    jinja_mark(r, 0);
}

static bool put_json(struct jinja_run *r, const struct jinja_value *v,
                     const struct jinja_json_style *style, size_t level);

static bool put_json_list(struct jinja_run *r, const struct jinja_value *v,
                          const struct jinja_json_style *style, size_t level)
{
    jinja_put_text(r, STR("["));
    for (size_t i = 0; i < v->n; i++) {
        if (i)
            jinja_put_text(r, style->item_separator);
        put_line(r, style, level + 1);
        if (!put_json(r, &v->items[i], style, level + 1))
            return false;
    }
    if (v->n)
        put_line(r, style, level);
    jinja_put_text(r, STR("]"));
    return true;
}

/* Keys are strings in JSON: others are written as their JSON text in quotes. */
static bool put_json_key(struct jinja_run *r, const struct jinja_value *key,
                         const struct jinja_json_style *style)
{
    if (key->kind == JINJA_STRING)
        return put_json(r, key, style, 0);
    if (!jinja_is_number(key) && key->kind != JINJA_NONE)
        return jinja_fail(r, "%s cannot be a key in JSON", jinja_kind_name(key));
    jinja_put_text(r, STR("\""));
    bool ok = put_json(r, key, style, 0);
    jinja_put_text(r, STR("\""));
    return ok;
}

static int compare_keys(const void *a, const void *b)
{
    const struct jinja_entry *x = a, *y = b;
    size_t n = x->key.n < y->key.n ? x->key.n : y->key.n;
    int c = n ? memcmp(x->key.p, y->key.p, n) : 0;
    return c ? c : x->key.n < y->key.n ? -1 : x->key.n > y->key.n;
}

static const struct jinja_entry *sorted(struct jinja_run *r, const struct jinja_dict *d)
{
    struct jinja_entry *copy = jinja_room(r, d->n, sizeof *copy);
    if (!copy)
        return NULL;
    for (size_t i = 0; i < d->n; i++) {
        copy[i] = d->entries[i];
        if (copy[i].key.kind != JINJA_STRING) {
            jinja_fail(r, "tojson can only sort keys that are str");
            return NULL;
        }
    }
    if (d->n)
        qsort(copy, d->n, sizeof *copy, compare_keys);
    return copy;
}

static bool put_json_dict(struct jinja_run *r, const struct jinja_dict *d,
                          const struct jinja_json_style *style, size_t level)
{
    const struct jinja_entry *entries = style->sort_keys ? sorted(r, d) : d->entries;
    if (style->sort_keys && !entries)
        return false;
    jinja_put_text(r, STR("{"));
    for (size_t i = 0; i < d->n; i++) {
        if (i)
            jinja_put_text(r, style->item_separator);
        put_line(r, style, level + 1);
        if (!put_json_key(r, &entries[i].key, style))
            return false;
        jinja_put_text(r, style->key_separator);
        if (!put_json(r, &entries[i].value, style, level + 1))
            return false;
    }
    if (d->n)
        put_line(r, style, level);
    jinja_put_text(r, STR("}"));
    return true;
}

static bool put_json_value(struct jinja_run *r, const struct jinja_value *v,
                           const struct jinja_json_style *style, size_t level)
{
    switch (v->kind) {
    case JINJA_NONE: jinja_put_text(r, STR("null")); return true;
    case JINJA_BOOL: jinja_put_text(r, v->truth ? STR("true") : STR("false")); return true;
    case JINJA_FLOAT:
        if (isfinite(v->f))
            put_number(r, v);
        else
            jinja_put_text(r, isnan(v->f) ? STR("NaN")
                              : v->f < 0  ? STR("-Infinity")
                                          : STR("Infinity"));
        return true;
    case JINJA_INT:
    case JINJA_BIG: put_number(r, v); return true;
    case JINJA_STRING: put_json_string(r, v, style->ascii); return jinja_work(r, v->n / 64);
    case JINJA_LIST:
    case JINJA_TUPLE: return put_json_list(r, v, style, level);
    case JINJA_DICT: return put_json_dict(r, v->dict, style, level);
    case JINJA_UNDEFINED: return jinja_fail(r, "tojson: '%.*s' is undefined", STRF(jinja_str(v)));
    default: return jinja_fail(r, "tojson cannot write %s", jinja_kind_name(v));
    }
}

static bool put_json(struct jinja_run *r, const struct jinja_value *v,
                     const struct jinja_json_style *style, size_t level)
{
    bool ok = jinja_enter(r) && jinja_work(r, 1) && put_json_value(r, v, style, level);
    r->depth--;
    return ok;
}

bool jinja_put_json(struct jinja_run *r, const struct jinja_value *v,
                    const struct jinja_json_style *style)
{
    return put_json(r, v, style, 0);
}
