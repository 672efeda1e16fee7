/* jinja: methods of strings, mappings, lists and loops. Those that change their object are missing:
 * transformers' sandbox refuses them too. */
#include <string.h>

#include <utf8proc.h>

#include "base/utf8.h"
#include "text/jinja_int.h"
#include "text/pystr.h"

/* ---- splitting ---- */

/* A list of strings that grows. */
struct pieces {
    struct jinja_value *at;
    size_t n;
    size_t room;
};

static bool add_piece(struct jinja_run *r, struct pieces *list, struct jinja_value piece)
{
    if (list->n == list->room) {
        size_t room = list->room ? 2 * list->room : 4;
        struct jinja_value *more = jinja_room(r, room, sizeof *more);
        if (!more)
            return false;
        if (list->n)
            memcpy(more, list->at, list->n * sizeof *more);
        list->at = more;
        list->room = room;
    }
    list->at[list->n++] = piece;
    return true;
}

/* Bytes from `at` on that are (or are not) white space. */
static size_t run_of(str s, size_t at, bool space)
{
    size_t end = at;
    while (end < s.n) {
        uint32_t cp;
        size_t n = utf8_decode((const unsigned char *)s.p + end, s.n - end, &cp);
        if ((n && pystr_is_space(cp)) != space)
            break;
        end += n ? n : 1;
    }
    return end - at;
}

static bool split_words(struct jinja_run *r, const struct jinja_value *s, int64_t max,
                        struct pieces *list)
{
    str text = jinja_str(s);
    size_t at = run_of(text, 0, true);
    for (; at < text.n; max--) {
        if (max == 0) {
            struct jinja_value rest = jinja_sub(s, at, text.n);
            return add_piece(r, list, jinja_strip(&rest, NULL, false, true));
        }
        size_t n = run_of(text, at, false);
        if (!add_piece(r, list, jinja_sub(s, at, at + n)))
            return false;
        at += n;
        at += run_of(text, at, true);
    }
    return true;
}

static bool split_at(struct jinja_run *r, const struct jinja_value *s, str separator, int64_t max,
                     struct pieces *list)
{
    size_t at = 0;
    for (; max != 0; max--) {
        size_t hit = str_find(jinja_str(s), separator, at);
        if (hit == SIZE_MAX)
            break;
        if (!add_piece(r, list, jinja_sub(s, at, hit)))
            return false;
        at = hit + separator.n;
    }
    return add_piece(r, list, jinja_sub(s, at, s->n));
}

/* The last occurrence of needle that ends at or before `end`; SIZE_MAX when there is none. */
static size_t find_last(str s, str needle, size_t end)
{
    if (needle.n > end)
        return SIZE_MAX;
    for (size_t at = end - needle.n;; at--) {
        if (str_starts(str_sub(s, at, SIZE_MAX), needle))
            return at;
        if (at == 0)
            return SIZE_MAX;
    }
}

static bool split_from_end(struct jinja_run *r, const struct jinja_value *s, str separator,
                           int64_t max, struct pieces *list)
{
    size_t end = s->n;
    for (; max != 0; max--) {
        size_t hit = find_last(jinja_str(s), separator, end);
        if (hit == SIZE_MAX)
            break;
        if (!add_piece(r, list, jinja_sub(s, hit + separator.n, end)))
            return false;
        end = hit;
    }
    if (!add_piece(r, list, jinja_sub(s, 0, end)))
        return false;
    for (size_t i = 0; i < list->n / 2; i++) {
        struct jinja_value v = list->at[i];
        list->at[i] = list->at[list->n - 1 - i];
        list->at[list->n - 1 - i] = v;
    }
    return true;
}

static bool split(struct jinja_call *c, bool from_end, struct jinja_value *out)
{
    struct pieces list = {0};
    int64_t max;
    bool ok;
    bool by_words = c->arg[0].kind == JINJA_ABSENT || c->arg[0].kind == JINJA_NONE;
    if (!jinja_arg_int(c, 1, -1, &max) || (!by_words && !jinja_arg_str(c, 0, "split's separator")))
        return false;
    str separator = by_words ? STR("") : jinja_str(&c->arg[0]);
    if (!by_words && separator.n == 0)
        return jinja_fail(c->run, "split: the separator is empty");
    if (by_words && from_end && max >= 0)
        return jinja_fail(c->run, "rsplit with a count needs a separator");
    if (by_words)
        ok = split_words(c->run, &c->in, max, &list);
    else if (from_end)
        ok = split_from_end(c->run, &c->in, separator, max, &list);
    else
        ok = split_at(c->run, &c->in, separator, max, &list);
    *out = jinja_list(JINJA_LIST, list.at, list.n);
    return ok && jinja_work(c->run, list.n / 8 + c->in.n / 64);
}

static bool run_split(struct jinja_call *c, struct jinja_value *out)
{
    return split(c, false, out);
}

static bool run_rsplit(struct jinja_call *c, struct jinja_value *out)
{
    return split(c, true, out);
}

static bool run_splitlines(struct jinja_call *c, struct jinja_value *out)
{
    struct pieces list = {0};
    const struct jinja_value *s = &c->in;
    bool keep = jinja_truth(&c->arg[0]);
    for (size_t at = 0; at < s->n;) {
        size_t end = at;
        while (end < s->n && s->p[end] != '\n' && s->p[end] != '\r')
            end++;
        size_t next = end + (end < s->n);
        if (next < s->n && s->p[end] == '\r' && s->p[next] == '\n')
            next++;
        if (!add_piece(c->run, &list, jinja_sub(s, at, keep ? next : end)))
            return false;
        at = next;
    }
    *out = jinja_list(JINJA_LIST, list.at, list.n);
    return jinja_work(c->run, list.n / 8 + s->n / 64);
}

/* ---- stripping, searching, changing ---- */

static bool strip(struct jinja_call *c, bool left, bool right, struct jinja_value *out)
{
    bool has_set = c->arg[0].kind != JINJA_ABSENT && c->arg[0].kind != JINJA_NONE;
    if (has_set && !jinja_arg_str(c, 0, "strip's characters"))
        return false;
    str set = has_set ? jinja_str(&c->arg[0]) : STR("");
    *out = jinja_strip(&c->in, has_set ? &set : NULL, left, right);
    return jinja_work(c->run, (c->in.n - out->n) / 16 * (1 + set.n / 16));
}

static bool run_strip(struct jinja_call *c, struct jinja_value *out)
{
    return strip(c, true, true, out);
}

static bool run_lstrip(struct jinja_call *c, struct jinja_value *out)
{
    return strip(c, true, false, out);
}

static bool run_rstrip(struct jinja_call *c, struct jinja_value *out)
{
    return strip(c, false, true, out);
}

/* One affix or a tuple of them. */
static bool has_affix(struct jinja_call *c, bool (*matches)(str, str), struct jinja_value *out)
{
    const struct jinja_value *one = &c->arg[0];
    size_t n = 1;
    if (one->kind == JINJA_TUPLE) {
        n = one->n;
        one = one->items;
    }
    *out = jinja_bool(false);
    for (size_t i = 0; i < n; i++) {
        if (one[i].kind != JINJA_STRING)
            return jinja_fail(c->run, "startswith and endswith need str, not %s",
                              jinja_kind_name(&one[i]));
        out->truth = out->truth || matches(jinja_str(&c->in), jinja_str(&one[i]));
    }
    return true;
}

static bool run_startswith(struct jinja_call *c, struct jinja_value *out)
{
    return has_affix(c, str_starts, out);
}

static bool run_endswith(struct jinja_call *c, struct jinja_value *out)
{
    return has_affix(c, str_ends, out);
}

static bool run_removeprefix(struct jinja_call *c, struct jinja_value *out)
{
    if (!jinja_arg_str(c, 0, "the prefix"))
        return false;
    bool there = str_starts(jinja_str(&c->in), jinja_str(&c->arg[0]));
    *out = jinja_sub(&c->in, there ? c->arg[0].n : 0, c->in.n);
    return true;
}

static bool run_removesuffix(struct jinja_call *c, struct jinja_value *out)
{
    if (!jinja_arg_str(c, 0, "the suffix"))
        return false;
    bool there = str_ends(jinja_str(&c->in), jinja_str(&c->arg[0]));
    *out = jinja_sub(&c->in, 0, c->in.n - (there ? c->arg[0].n : 0));
    return true;
}

/* The place of a part in characters, -1 when it is not there. */
static bool find(struct jinja_call *c, bool from_end, struct jinja_value *out)
{
    str s = jinja_str(&c->in);
    if (!jinja_arg_str(c, 0, "what is looked for"))
        return false;
    str needle = jinja_str(&c->arg[0]);
    size_t hit = from_end ? find_last(s, needle, s.n) : str_find(s, needle, 0);
    *out = jinja_int(hit == SIZE_MAX ? -1 : (int64_t)jinja_count_chars(str_sub(s, 0, hit)));
    return jinja_work(c->run, s.n / 64);
}

static bool run_find(struct jinja_call *c, struct jinja_value *out)
{
    return find(c, false, out);
}

static bool run_rfind(struct jinja_call *c, struct jinja_value *out)
{
    return find(c, true, out);
}

static bool run_str_index(struct jinja_call *c, struct jinja_value *out)
{
    return find(c, false, out) &&
           (out->i >= 0 || jinja_fail(c->run, "index: the part is not in the str"));
}

static bool run_str_count(struct jinja_call *c, struct jinja_value *out)
{
    str s = jinja_str(&c->in);
    int64_t n = 0;
    if (!jinja_arg_str(c, 0, "what is counted"))
        return false;
    str needle = jinja_str(&c->arg[0]);
    if (needle.n == 0)
        n = (int64_t)jinja_count_chars(s) + 1;
    for (size_t at = 0; needle.n && (at = str_find(s, needle, at)) != SIZE_MAX; at += needle.n)
        n++;
    *out = jinja_int(n);
    return jinja_work(c->run, s.n / 64);
}

static bool run_replace(struct jinja_call *c, struct jinja_value *out)
{
    int64_t max;
    return jinja_arg_str(c, 0, "what is replaced") && jinja_arg_str(c, 1, "the replacement") &&
           jinja_arg_int(c, 2, -1, &max) &&
           jinja_replace(c->run, &c->in, &c->arg[0], &c->arg[1], max, out);
}

static bool run_upper(struct jinja_call *c, struct jinja_value *out)
{
    return jinja_recase(c->run, &c->in, JINJA_UPPER, out);
}

static bool run_lower(struct jinja_call *c, struct jinja_value *out)
{
    return jinja_recase(c->run, &c->in, JINJA_LOWER, out);
}

static bool run_title(struct jinja_call *c, struct jinja_value *out)
{
    return jinja_recase(c->run, &c->in, JINJA_TITLE, out);
}

static bool run_capitalize(struct jinja_call *c, struct jinja_value *out)
{
    return jinja_recase(c->run, &c->in, JINJA_CAPITALIZE, out);
}

static bool run_join(struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value items;
    size_t begin = jinja_begin(c->run);
    if (!jinja_iterate(c->run, &c->arg[0], &items))
        return false;
    for (size_t i = 0; i < items.n; i++) {
        if (items.items[i].kind != JINJA_STRING)
            return jinja_fail(c->run, "join: item %zu is %s, expected str", i,
                              jinja_kind_name(&items.items[i]));
        if (i)
            jinja_put(c->run, &c->in);
        jinja_put(c->run, &items.items[i]);
    }
    return jinja_work(c->run, items.n) && jinja_take(c->run, begin, out);
}

/* A "{...}" of str.format: by number, by name, or the next one. */
static bool find_field(struct jinja_call *c, str field, size_t *i_auto, struct jinja_value *out)
{
    size_t n_places = c->all.n - c->all.n_named;
    int64_t i = 0;
    if (field.n == 0 || str_to_i64(field, &i)) {
        size_t at = field.n ? (size_t)i : (*i_auto)++;
        if (at >= n_places)
            return jinja_fail(c->run, "format: there is no argument %zu", at);
        *out = c->all.at[at];
        return true;
    }
    for (size_t k = 0; k < c->all.n_named; k++) {
        if (str_eq(c->all.names[k], field)) {
            *out = c->all.at[n_places + k];
            return true;
        }
    }
    return jinja_fail(c->run, "format: there is no argument '%.*s' (names and numbers are known)",
                      STRF(field));
}

static bool run_format(struct jinja_call *c, struct jinja_value *out)
{
    const struct jinja_value *s = &c->in;
    str text = jinja_str(s);
    size_t begin = jinja_begin(c->run);
    size_t i_auto = 0;
    for (size_t i = 0; i < s->n; i++) {
        bool brace = s->p[i] == '{' || s->p[i] == '}';
        if (!brace || (i + 1 < s->n && s->p[i + 1] == s->p[i])) {
            jinja_put_sub(c->run, s, i, i + 1);
            i += brace;
            continue;
        }
        size_t end = str_find(text, STR("}"), i);
        struct jinja_value v;
        if (s->p[i] == '}' || end == SIZE_MAX)
            return jinja_fail(c->run, "format: a single brace in the str");
        if (!find_field(c, str_sub(text, i + 1, end), &i_auto, &v) || !jinja_work(c->run, 1) ||
            !jinja_put_str(c->run, &v))
            return false;
        i = end;
    }
    return jinja_take(c->run, begin, out);
}

/* ---- kinds of characters ---- */

typedef bool char_test(uint32_t cp);

static bool is_digit(uint32_t cp)
{
    return utf8proc_category((utf8proc_int32_t)cp) == UTF8PROC_CATEGORY_ND;
}

static bool is_alpha(uint32_t cp)
{
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)cp);
    return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}

static bool is_alnum(uint32_t cp)
{
    return is_alpha(cp) || is_digit(cp);
}

static bool all_chars(struct jinja_call *c, char_test *test, struct jinja_value *out)
{
    const struct jinja_value *s = &c->in;
    *out = jinja_bool(s->n > 0);
    for (size_t i = 0; i < s->n && out->truth;) {
        uint32_t cp;
        size_t n = utf8_decode((const unsigned char *)s->p + i, s->n - i, &cp);
        out->truth = n && test(cp);
        i += n;
    }
    return jinja_work(c->run, s->n / 64);
}

static bool run_isdigit(struct jinja_call *c, struct jinja_value *out)
{
    return all_chars(c, is_digit, out);
}

static bool run_isalpha(struct jinja_call *c, struct jinja_value *out)
{
    return all_chars(c, is_alpha, out);
}

static bool run_isalnum(struct jinja_call *c, struct jinja_value *out)
{
    return all_chars(c, is_alnum, out);
}

static bool run_isspace(struct jinja_call *c, struct jinja_value *out)
{
    return all_chars(c, pystr_is_space, out);
}

/* ---- mappings ---- */

bool jinja_dict_items(struct jinja_run *r, const struct jinja_dict *d, enum jinja_kind kind,
                      struct jinja_value *out)
{
    struct jinja_value *pairs = jinja_room(r, d->n, sizeof *pairs);
    struct jinja_value *both = jinja_room(r, d->n, 2 * sizeof *both);
    if (!pairs || !both)
        return false;
    for (size_t i = 0; i < d->n; i++) {
        both[2 * i] = d->entries[i].key;
        both[2 * i + 1] = d->entries[i].value;
        pairs[i] = jinja_list(JINJA_TUPLE, &both[2 * i], 2);
    }
    *out = jinja_list(kind, pairs, d->n);
    return jinja_work(r, d->n / 8);
}

static bool run_items(struct jinja_call *c, struct jinja_value *out)
{
    return jinja_dict_items(c->run, c->in.dict, JINJA_LIST, out);
}

static bool run_keys(struct jinja_call *c, struct jinja_value *out)
{
    return jinja_iterate(c->run, &c->in, out);
}

static bool run_values(struct jinja_call *c, struct jinja_value *out)
{
    const struct jinja_dict *d = c->in.dict;
    struct jinja_value *values = jinja_room(c->run, d->n, sizeof *values);
    if (!values)
        return false;
    for (size_t i = 0; i < d->n; i++)
        values[i] = d->entries[i].value;
    *out = jinja_list(JINJA_LIST, values, d->n);
    return jinja_work(c->run, d->n / 8);
}

static bool run_get(struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value *hit;
    if (!jinja_dict_find(c->run, c->in.dict, &c->arg[0], &hit))
        return false;
    *out = c->arg[1].kind == JINJA_ABSENT ? jinja_none() : c->arg[1];
    if (hit)
        *out = *hit;
    return true;
}

static bool run_copy(struct jinja_call *c, struct jinja_value *out)
{
    *out = c->in;
    return true;
}

/* ---- lists and loops ---- */

static bool run_list_index(struct jinja_call *c, struct jinja_value *out)
{
    for (size_t i = 0; i < c->in.n; i++) {
        bool same;
        if (!jinja_equal(c->run, &c->in.items[i], &c->arg[0], &same))
            return false;
        if (same) {
            *out = jinja_int((int64_t)i);
            return true;
        }
    }
    return jinja_fail(c->run, "index: the value is not in the list");
}

static bool run_list_count(struct jinja_call *c, struct jinja_value *out)
{
    *out = jinja_int(0);
    for (size_t i = 0; i < c->in.n; i++) {
        bool same;
        if (!jinja_equal(c->run, &c->in.items[i], &c->arg[0], &same))
            return false;
        out->i += same;
    }
    return true;
}

static bool run_cycle(struct jinja_call *c, struct jinja_value *out)
{
    if (c->all.n == 0)
        return jinja_fail(c->run, "loop.cycle needs values");
    *out = c->all.at[c->in.loop->i % c->all.n];
    return true;
}

static bool run_changed(struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_loop *l = c->in.loop;
    struct jinja_value now = jinja_list(JINJA_TUPLE, c->all.at, c->all.n);
    bool same = false;
    if (l->last_change.kind != JINJA_ABSENT && !jinja_equal(c->run, &now, &l->last_change, &same))
        return false;
    l->last_change = now;
    *out = jinja_bool(!same);
    return true;
}

/* ---- tables ---- */

static const struct jinja_builtin of_str[] = {
    {"split", "sep maxsplit", 0, run_split},
    {"rsplit", "sep maxsplit", 0, run_rsplit},
    {"splitlines", "keepends", 0, run_splitlines},
    {"strip", "chars", 0, run_strip},
    {"lstrip", "chars", 0, run_lstrip},
    {"rstrip", "chars", 0, run_rstrip},
    {"startswith", "prefix", 1, run_startswith},
    {"endswith", "suffix", 1, run_endswith},
    {"removeprefix", "prefix", 1, run_removeprefix},
    {"removesuffix", "suffix", 1, run_removesuffix},
    {"find", "sub", 1, run_find},
    {"rfind", "sub", 1, run_rfind},
    {"index", "sub", 1, run_str_index},
    {"count", "sub", 1, run_str_count},
    {"replace", "old new count", 2, run_replace},
    {"upper", "", 0, run_upper},
    {"lower", "", 0, run_lower},
    {"title", "", 0, run_title},
    {"capitalize", "", 0, run_capitalize},
    {"join", "iterable", 1, run_join},
    {"format", NULL, 0, run_format},
    {"isdigit", "", 0, run_isdigit},
    {"isalpha", "", 0, run_isalpha},
    {"isalnum", "", 0, run_isalnum},
    {"isspace", "", 0, run_isspace},
    {0},
};

static const struct jinja_builtin of_dict[] = {
    {"items", "", 0, run_items},        {"keys", "", 0, run_keys}, {"values", "", 0, run_values},
    {"get", "key default", 1, run_get}, {"copy", "", 0, run_copy}, {0},
};

static const struct jinja_builtin of_list[] = {
    {"index", "value", 1, run_list_index},
    {"count", "value", 1, run_list_count},
    {"copy", "", 0, run_copy},
    {0},
};

static const struct jinja_builtin of_loop[] = {
    {"cycle", NULL, 0, run_cycle},
    {"changed", NULL, 0, run_changed},
    {0},
};

const struct jinja_builtin *jinja_find_method(const struct jinja_value *v, str name)
{
    switch (v->kind) {
    case JINJA_STRING: return jinja_lookup(of_str, name);
    case JINJA_DICT: return jinja_lookup(of_dict, name);
    case JINJA_LIST:
    case JINJA_TUPLE: return jinja_lookup(of_list, name);
    case JINJA_LOOP: return jinja_lookup(of_loop, name);
    default: return NULL;
    }
}
