/* jinja: filters that turn one value into one. Those over lists are in jinja_filter_list.c. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "base/utf8.h"
#include "text/jinja_int.h"

static bool run_tojson(struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_run *r = c->run;
    size_t begin = jinja_begin(r);
    struct jinja_json_style style = {.key_separator = STR(": ")};
    const struct jinja_value *separators = &c->arg[2];
    if (!jinja_arg_int(c, 1, -1, &style.indent))
        return false;
    if (style.indent > 64)
        return jinja_fail_limit(r, "tojson: an indent of more than 64");
    style.ascii = jinja_truth(&c->arg[0]);
    style.sort_keys = jinja_truth(&c->arg[3]);
    style.item_separator = style.indent < 0 ? STR(", ") : STR(",");
    if (jinja_is_list(separators)) {
        if (separators->n != 2 || separators->items[0].kind != JINJA_STRING ||
            separators->items[1].kind != JINJA_STRING)
            return jinja_fail(r, "tojson: separators must be two str");
        style.item_separator = jinja_str(&separators->items[0]);
        style.key_separator = jinja_str(&separators->items[1]);
    }
    return jinja_put_json(r, &c->in, &style) && jinja_take(r, begin, out);
}

static bool run_from_json(struct jinja_call *c, struct jinja_value *out)
{
    return jinja_parse_json(c->run, &c->in, out);
}

static bool run_string(struct jinja_call *c, struct jinja_value *out)
{
    return jinja_to_str(c->run, &c->in, out);
}

/* Markup in Python. */
static bool run_safe(struct jinja_call *c, struct jinja_value *out)
{
    bool ok = jinja_to_str(c->run, &c->in, out);
    out->safe = true;
    return ok;
}

static bool run_length(struct jinja_call *c, struct jinja_value *out)
{
    size_t n;
    if (!jinja_length(c->run, &c->in, &n))
        return false;
    *out = jinja_int((int64_t)n);
    return true;
}

static bool run_default(struct jinja_call *c, struct jinja_value *out)
{
    bool missing =
        c->in.kind == JINJA_UNDEFINED || (jinja_truth(&c->arg[1]) && !jinja_truth(&c->in));
    *out = c->in;
    if (missing)
        *out = c->arg[0].kind == JINJA_ABSENT ? jinja_text(STR("")) : c->arg[0];
    return true;
}

/* ---- text ---- */

static bool run_trim(struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value s;
    bool has_set = c->arg[0].kind == JINJA_STRING;
    str set = has_set ? jinja_str(&c->arg[0]) : STR("");
    if (!jinja_to_str(c->run, &c->in, &s))
        return false;
    *out = jinja_strip(&s, has_set ? &set : NULL, true, true);
    return true;
}

static bool recase(struct jinja_call *c, enum jinja_case to, struct jinja_value *out)
{
    struct jinja_value s;
    return jinja_to_str(c->run, &c->in, &s) && jinja_recase(c->run, &s, to, out);
}

static bool run_upper(struct jinja_call *c, struct jinja_value *out)
{
    return recase(c, JINJA_UPPER, out);
}

static bool run_lower(struct jinja_call *c, struct jinja_value *out)
{
    return recase(c, JINJA_LOWER, out);
}

static bool run_title(struct jinja_call *c, struct jinja_value *out)
{
    return recase(c, JINJA_WORDS, out);
}

static bool run_capitalize(struct jinja_call *c, struct jinja_value *out)
{
    return recase(c, JINJA_CAPITALIZE, out);
}

static bool run_replace(struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value s, from, to;
    int64_t max;
    return jinja_arg_int(c, 2, -1, &max) && jinja_to_str(c->run, &c->in, &s) &&
           jinja_to_str(c->run, &c->arg[0], &from) && jinja_to_str(c->run, &c->arg[1], &to) &&
           jinja_replace(c->run, &s, &from, &to, max, out);
}

/* Indents the lines after the first (all with `first`); empty ones only with `blank`. */
static bool run_indent(struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_run *r = c->run;
    struct jinja_value s, pad;
    bool by_text = c->arg[0].kind == JINJA_STRING;
    int64_t width = 4;
    if (!jinja_to_str(r, &c->in, &s) || (!by_text && !jinja_arg_int(c, 0, 4, &width)))
        return false;
    if (width > 1000)
        return jinja_fail_limit(r, "indent: a width of more than 1000");
    size_t begin = jinja_begin(r);
    for (int64_t i = 0; i < width; i++)
        jinja_put_text(r, STR(" "));
    if (!jinja_take(r, begin, &pad))
        return false;
    pad = by_text ? c->arg[0] : pad;
    for (size_t at = 0; at <= s.n;) {
        size_t end = str_find(jinja_str(&s), STR("\n"), at);
        bool last = end == SIZE_MAX;
        end = last ? s.n : end;
        bool wanted = at == 0 ? jinja_truth(&c->arg[1]) : end > at || jinja_truth(&c->arg[2]);
        if (wanted)
            jinja_put(r, &pad);
        jinja_put_sub(r, &s, at, end + !last);
        at = end + 1;
    }
    return jinja_take(r, begin, out);
}

/* What Python's \w matches. */
static bool is_word(uint32_t cp)
{
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)cp);
    return cp == '_' || (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO) ||
           (k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO);
}

static bool run_wordcount(struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value s;
    int64_t n = 0;
    if (!jinja_to_str(c->run, &c->in, &s))
        return false;
    for (bool inside = false; s.n;) {
        size_t step = jinja_char_at(jinja_str(&s), 1);
        uint32_t cp;
        bool word = utf8_decode((const unsigned char *)s.p, s.n, &cp) && is_word(cp);
        n += word && !inside;
        inside = word;
        s = jinja_sub(&s, step, s.n);
    }
    *out = jinja_int(n);
    return true;
}

/* ---- numbers ---- */

/* Python's int(text): white space around, a sign, digits with underscores. */
static bool text_to_number(const struct jinja_value *v, bool want_int, struct jinja_value *out)
{
    struct jinja_value s = jinja_strip(v, NULL, true, true);
    str text = jinja_str(&s);
    int64_t i;
    double f;
    if (str_starts(text, STR("+")))
        text = str_sub(text, 1, SIZE_MAX);
    if (want_int && str_to_i64(text, &i)) {
        *out = jinja_int(i);
        return true;
    }
    if (!str_to_f64(text, &f))
        return false;
    *out = jinja_float(f);
    return true;
}

static bool run_int(struct jinja_call *c, struct jinja_value *out)
{
    int64_t base;
    struct jinja_value v = c->in;
    *out = c->arg[0].kind == JINJA_ABSENT ? jinja_int(0) : c->arg[0];
    if (!jinja_arg_int(c, 1, 10, &base))
        return false;
    if (base != 10)
        return jinja_fail(c->run, "int: base %lld; only 10 is known", (long long)base);
    if (v.kind == JINJA_UNDEFINED)
        return jinja_fail(c->run, "int: '%.*s' is undefined", STRF(jinja_str(&v)));
    if (v.kind == JINJA_STRING && !text_to_number(&c->in, true, &v))
        return true;
    if (v.kind == JINJA_FLOAT && v.f > -0x1p63 && v.f < 0x1p63)
        *out = jinja_int((int64_t)v.f);
    else if (v.kind == JINJA_BOOL)
        *out = jinja_int(v.truth);
    else if (v.kind == JINJA_INT || v.kind == JINJA_BIG)
        *out = v;
    return true;
}

static bool run_float(struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value v = c->in;
    *out = c->arg[0].kind == JINJA_ABSENT ? jinja_float(0) : c->arg[0];
    if (v.kind == JINJA_UNDEFINED)
        return jinja_fail(c->run, "float: '%.*s' is undefined", STRF(jinja_str(&v)));
    if (v.kind == JINJA_STRING && !text_to_number(&c->in, false, &v))
        return true;
    if (jinja_is_number(&v))
        *out = jinja_float(jinja_to_f64(&v));
    return true;
}

static bool run_abs(struct jinja_call *c, struct jinja_value *out)
{
    if (!jinja_is_number(&c->in))
        return jinja_fail(c->run, "abs does not take %s", jinja_kind_name(&c->in));
    *out = c->in.kind == JINJA_BOOL ? jinja_int(c->in.truth) : c->in;
    return jinja_to_f64(&c->in) >= 0 || jinja_negate(c->run, c->in, out);
}

/* Common rounding is half to even and leaves integers alone, as Python's. */
static bool run_round(struct jinja_call *c, struct jinja_value *out)
{
    int64_t digits;
    if (!jinja_is_number(&c->in))
        return jinja_fail(c->run, "round does not take %s", jinja_kind_name(&c->in));
    if (!jinja_arg_int(c, 0, 0, &digits))
        return false;
    bool by_name = c->arg[1].kind == JINJA_STRING;
    str method = by_name ? jinja_str(&c->arg[1]) : STR("common");
    double scale = pow(10, (double)digits);
    double x = jinja_to_f64(&c->in);
    if (str_eq(method, STR("ceil"))) {
        *out = jinja_float(ceil(x * scale) / scale);
    } else if (str_eq(method, STR("floor"))) {
        *out = jinja_float(floor(x * scale) / scale);
    } else if (str_eq(method, STR("common")) && c->in.kind != JINJA_FLOAT && digits >= 0) {
        *out = c->in.kind == JINJA_BOOL ? jinja_int(c->in.truth) : c->in;
    } else if (str_eq(method, STR("common")) && digits >= 0 && digits <= 300) {
        char text[700];
        snprintf(text, sizeof text, "%.*f", (int)digits, x);
        *out = jinja_float(strtod(text, NULL));
    } else {
        return jinja_fail(c->run, "round takes 'common', 'ceil' or 'floor', and digits from 0");
    }
    return true;
}

const struct jinja_builtin *jinja_find_filter(str name)
{
    static const struct jinja_builtin table[] = {
        {"tojson", "ensure_ascii indent separators sort_keys", 0, run_tojson},
        {"from_json", "", 0, run_from_json},
        {"fromjson", "", 0, run_from_json},
        {"string", "", 0, run_string},
        {"safe", "", 0, run_safe},
        {"escape", "", 0, run_string},
        {"e", "", 0, run_string},
        {"length", "", 0, run_length},
        {"count", "", 0, run_length},
        {"default", "default_value boolean", 0, run_default},
        {"d", "default_value boolean", 0, run_default},
        {"trim", "chars", 0, run_trim},
        {"upper", "", 0, run_upper},
        {"lower", "", 0, run_lower},
        {"title", "", 0, run_title},
        {"capitalize", "", 0, run_capitalize},
        {"replace", "old new count", 2, run_replace},
        {"indent", "width first blank", 0, run_indent},
        {"wordcount", "", 0, run_wordcount},
        {"int", "default base", 0, run_int},
        {"float", "default", 0, run_float},
        {"abs", "", 0, run_abs},
        {"round", "precision method", 0, run_round},
        {0},
    };
    const struct jinja_builtin *b = jinja_lookup(table, name);
    return b ? b : jinja_find_list_filter(name);
}
