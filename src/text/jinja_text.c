/* jinja: strings that know which of their bytes came from the variables. New ones are written on
 * top of the output and taken away from there, so that one buffer serves all. */
#include <string.h>

#include <utf8proc.h>

#include "base/num.h"
#include "base/utf8.h"
#include "text/jinja_int.h"
#include "text/pystr.h"

/* ---- writing ---- */

size_t jinja_begin(const struct jinja_run *r)
{
    return r->out.n;
}

void jinja_mark(struct jinja_run *r, uint8_t mark)
{
    char marks[256];
    if (r->marks.n < r->out.n)
        memset(marks, mark, num_min(r->out.n - r->marks.n, sizeof marks));
    while (r->marks.n < r->out.n)
        buf_put(&r->marks, marks, num_min(r->out.n - r->marks.n, sizeof marks));
}

void jinja_put_as(struct jinja_run *r, str s, uint8_t mark)
{
    buf_str(&r->out, s);
    jinja_mark(r, mark);
}

void jinja_put_text(struct jinja_run *r, str own)
{
    jinja_put_as(r, own, 0);
}

void jinja_put_sub(struct jinja_run *r, const struct jinja_value *s, size_t from, size_t to)
{
    size_t n = r->out.n;
    buf_put(&r->out, s->p + from, to - from);
    if (s->mark && r->out.n > n)
        buf_put(&r->marks, s->mark + from, to - from);
    else
        jinja_mark(r, s->whole);
}

void jinja_put(struct jinja_run *r, const struct jinja_value *string)
{
    if (string->n)
        jinja_put_sub(r, string, 0, string->n);
}

static bool is_uniform(const char *marks, size_t n)
{
    return n < 2 || memcmp(marks, marks + 1, n - 1) == 0;
}

bool jinja_take(struct jinja_run *r, size_t begin, struct jinja_value *out)
{
    size_t n = r->out.n - begin;
    if (r->out.over)
        return jinja_fail_limit(r, "the output has more than %zu bytes", r->out.max);
    const char *marks = r->marks.n ? r->marks.p + begin : NULL;
    bool uniform = is_uniform(marks, n);
    char *bytes = jinja_room(r, n + 1, uniform ? 1 : 2);
    if (!bytes)
        return false;
    *out = (struct jinja_value){.kind = JINJA_STRING, .p = bytes, .n = n};
    if (n)
        memcpy(bytes, r->out.p + begin, n);
    if (n && uniform)
        out->whole = (uint8_t)marks[0];
    if (!uniform)
        out->mark = memcpy(bytes + n + 1, marks, n);
    r->out.n = begin;
    r->marks.n = begin;
    return jinja_work(r, n / 64);
}

/* ---- concatenation ---- */

static void copy_marks(char *to, const struct jinja_value *s)
{
    if (s->n && s->mark)
        memcpy(to, s->mark, s->n);
    else
        memset(to, s->whole, s->n);
}

/* Room behind a's bytes for n more: a's own tail when a is its end, else a copy of a with some
 * room, so that appending in a loop stays linear. */
static struct jinja_tail *tail_for(struct jinja_run *r, const struct jinja_value *a, size_t n)
{
    struct jinja_tail *t = a->tail;
    if (t && a->p + a->n == t->bytes + t->used && t->room - t->used >= n)
        return t;
    size_t room = a->n + n + num_max(a->n / 2, 64);
    t = jinja_room(r, 1, sizeof *t);
    char *bytes = t ? jinja_room(r, room, 2) : NULL;
    if (!bytes)
        return NULL;
    *t = (struct jinja_tail){.used = a->n, .room = room, .bytes = bytes, .marks = bytes + room};
    if (a->n)
        memcpy(bytes, a->p, a->n);
    copy_marks(t->marks, a);
    return t;
}

bool jinja_concat(struct jinja_run *r, const struct jinja_value *a, const struct jinja_value *b,
                  struct jinja_value *out)
{
    *out = a->n == 0 ? *b : *a;
    if (a->n == 0 || b->n == 0)
        return true;
    struct jinja_tail *t = tail_for(r, a, b->n);
    if (!t)
        return false;
    memcpy(t->bytes + t->used, b->p, b->n);
    copy_marks(t->marks + t->used, b);
    t->used += b->n;
    size_t from = t->used - b->n - a->n;
    bool uniform = !a->mark && !b->mark && a->whole == b->whole;
    *out = (struct jinja_value){.kind = JINJA_STRING,
                                .whole = uniform ? a->whole : 0,
                                .p = t->bytes + from,
                                .n = a->n + b->n,
                                .mark = uniform ? NULL : t->marks + from,
                                .tail = t};
    return jinja_work(r, b->n / 64);
}

bool jinja_escape(struct jinja_run *r, const struct jinja_value *s, struct jinja_value *out)
{
    static const char from[] = "&<>'\"";
    static const str to[] = {STR("&amp;"), STR("&lt;"), STR("&gt;"), STR("&#39;"), STR("&#34;")};
    size_t begin = jinja_begin(r), done = 0;
    for (size_t i = 0; i < s->n && !r->out.over; i++) {
        const char *hit = s->p[i] ? strchr(from, s->p[i]) : NULL;
        if (!hit)
            continue;
        jinja_put_sub(r, s, done, i);
        jinja_put_as(r, to[hit - from], s->mark ? (uint8_t)s->mark[i] : s->whole);
        done = i + 1;
    }
    jinja_put_sub(r, s, done, s->n);
    return jinja_work(r, s->n / 64) && jinja_take(r, begin, out);
}

/* ---- code points ---- */

/* Bytes of the code point at s[i]; a byte that is no UTF-8 counts as one. */
static size_t char_bytes(str s, size_t i, uint32_t *cp)
{
    size_t n = utf8_decode((const unsigned char *)s.p + i, s.n - i, cp);
    if (n == 0)
        *cp = 0xfffd;
    return n ? n : 1;
}

size_t jinja_count_chars(str s)
{
    size_t n = 0;
    uint32_t cp;
    for (size_t i = 0; i < s.n; n++)
        i += char_bytes(s, i, &cp);
    return n;
}

size_t jinja_char_at(str s, size_t i)
{
    size_t at = 0;
    uint32_t cp;
    for (; i && at < s.n; i--)
        at += char_bytes(s, at, &cp);
    return at;
}

static bool is_in(uint32_t cp, const str *set)
{
    uint32_t other;
    if (!set)
        return pystr_is_space(cp);
    for (size_t i = 0; i < set->n;) {
        i += char_bytes(*set, i, &other);
        if (other == cp)
            return true;
    }
    return false;
}

/* Start of the code point that ends at `end`. */
static size_t char_before(str s, size_t end, uint32_t *cp)
{
    size_t at = end - 1;
    while (at > 0 && end - at < 4 && ((unsigned char)s.p[at] & 0xc0) == 0x80)
        at--;
    if (utf8_decode((const unsigned char *)s.p + at, end - at, cp) == end - at)
        return at;
    *cp = 0xfffd;
    return end - 1;
}

struct jinja_value jinja_strip(const struct jinja_value *s, const str *set, bool left, bool right)
{
    size_t from = 0;
    size_t to = s->n;
    uint32_t cp = 0;
    while (left && from < to) {
        size_t n = char_bytes((str){s->p, to}, from, &cp);
        if (!is_in(cp, set))
            break;
        from += n;
    }
    while (right && to > from) {
        size_t at = char_before((str){s->p, to}, to, &cp);
        if (!is_in(cp, set) || at < from)
            break;
        to = at;
    }
    return jinja_sub(s, from, to);
}

/* ---- changing ---- */

/* Python's rule for an empty pattern: before every character and at the end. */
static void put_between(struct jinja_run *r, const struct jinja_value *s,
                        const struct jinja_value *to, int64_t max)
{
    uint32_t cp;
    for (size_t i = 0; i < s->n; max--) {
        size_t n = char_bytes(jinja_str(s), i, &cp);
        if (max > 0)
            jinja_put(r, to);
        jinja_put_sub(r, s, i, i + n);
        i += n;
    }
    if (max > 0)
        jinja_put(r, to);
}

bool jinja_replace(struct jinja_run *r, const struct jinja_value *s, const struct jinja_value *from,
                   const struct jinja_value *to, int64_t max, struct jinja_value *out)
{
    size_t begin = jinja_begin(r);
    if (max < 0)
        max = INT64_MAX;
    if (from->n == 0) {
        put_between(r, s, to, max);
        return jinja_take(r, begin, out);
    }
    size_t done = 0;
    for (; max > 0 && !r->out.over; max--) {
        size_t hit = str_find(jinja_str(s), jinja_str(from), done);
        if (hit == SIZE_MAX)
            break;
        jinja_put_sub(r, s, done, hit);
        jinja_put(r, to);
        done = hit + from->n;
    }
    jinja_put_sub(r, s, done, s->n);
    return jinja_work(r, s->n / 64) && jinja_take(r, begin, out);
}

static bool is_letter(uint32_t cp)
{
    utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
    return c == UTF8PROC_CATEGORY_LU || c == UTF8PROC_CATEGORY_LL || c == UTF8PROC_CATEGORY_LT;
}

/* Does a word start after the code point, by the rule of str.title or of the filter of that name?
 */
static bool starts_word(uint32_t before, enum jinja_case rule)
{
    if (rule == JINJA_TITLE)
        return !is_letter(before);
    return pystr_is_space(before) || (before < 0x80 && before && strchr("-({[<", (int)before));
}

static uint32_t recase(uint32_t cp, enum jinja_case to, bool first, uint32_t before)
{
    bool upper = to == JINJA_UPPER;
    if (to == JINJA_CAPITALIZE)
        upper = first;
    else if (to == JINJA_TITLE || to == JINJA_WORDS)
        upper = first || starts_word(before, to);
    return (uint32_t)(upper ? utf8proc_toupper((utf8proc_int32_t)cp)
                            : utf8proc_tolower((utf8proc_int32_t)cp));
}

bool jinja_recase(struct jinja_run *r, const struct jinja_value *s, enum jinja_case to,
                  struct jinja_value *out)
{
    size_t begin = jinja_begin(r);
    uint32_t before = 0;
    for (size_t i = 0; i < s->n && !r->out.over;) {
        uint32_t cp;
        size_t n = char_bytes(jinja_str(s), i, &cp);
        if (utf8_need((unsigned char)s->p[i]) != n)
            buf_byte(&r->out, s->p[i]);
        else
            utf8_put(recase(cp, to, i == 0, before), &r->out);
        jinja_mark(r, s->mark ? (uint8_t)s->mark[i] : s->whole);
        before = cp;
        i += n;
    }
    return jinja_work(r, s->n / 8) && jinja_take(r, begin, out);
}
