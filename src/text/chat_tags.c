/* chat: calls made of tags, of Qwen3-Coder and GLM. A value is raw text and may hold anything, so
 * its end is found by what follows a closing tag. While a value's end is in doubt, it waits from
 * the first tag in doubt on; everything before is delivered as it comes if the parameter is a
 * string, an object or an array. */
#include "text/chat_int.h"

#include <string.h>

enum { MAX_BLANK = 1024, MAX_NAME = 256 };

static const str PARAMETER = {"<parameter=", 11};
static const str FUNCTION = {"<function=", 10};
static const str CALL = {"<tool_call>", 11};
static const str END_PARAMETER = {"</parameter>", 12};
static const str END_FUNCTION = {"</function>", 11};
static const str END_CALL = {"</tool_call>", 12};
static const str KEY = {"<arg_key>", 9};
static const str END_KEY = {"</arg_key>", 10};
static const str VALUE = {"<arg_value>", 11};
static const str END_VALUE = {"</arg_value>", 12};

/* A tag that ends a value where one of the others follows (NULL-terminated), or the reply ends. */
struct ender {
    const str *tag;
    const str *const *followers;
};

struct chat_tags {
    const str *key;        /* a parameter starts with it */
    struct ender close;    /* of a value */
    struct ender outer[2]; /* those that end the value when its own closing tag is missing */
    /* Qwen: a parameter starts on a line of its own, and one line end on each side of its value is
     * not the value's. GLM puts nothing around values. */
    bool on_lines;
};

static const str *const after_parameter[] = {&PARAMETER, &END_FUNCTION, &END_CALL, &CALL, NULL};
static const str *const after_function[] = {&END_CALL, &CALL, &FUNCTION, NULL};
static const str *const after_call[] = {&CALL, NULL};
static const str *const after_value[] = {&KEY, &END_CALL, &CALL, NULL};

const struct chat_tags chat_tags_xml = {
    .key = &PARAMETER,
    .close = {&END_PARAMETER, after_parameter},
    .outer = {{&END_FUNCTION, after_function}, {&END_CALL, after_call}},
    .on_lines = true,
};
const struct chat_tags chat_tags_glm = {
    .key = &KEY,
    .close = {&END_VALUE, after_value},
    .outer = {{&END_CALL, after_call}, {&END_CALL, after_call}},
};

static bool is_given(const struct chat_parser *p, str name)
{
    str rest = buf_view(&p->given);
    while (rest.n) {
        if (str_eq(str_cut(rest, 0, &rest), name))
            return true;
    }
    return false;
}

static bool are_given(const struct chat_parser *p, const struct json *names)
{
    for (size_t i = 0; i < json_count(names) && json_type(names) == JSON_ARRAY; i++) {
        if (!is_given(p, json_str(json_at(names, i))))
            return false;
    }
    return true;
}

/* Was every parameter given that the tool cannot do without, in one of the ways to call it? */
static bool is_complete(const struct chat_parser *p)
{
    for (size_t i = 0; p->tool && i < p->takes.n; i++) {
        const struct params_shape *s = &p->takes.shapes[i];
        bool all = true;
        for (size_t k = 0; k < s->n; k++)
            all = all && are_given(p, json_get(s->part[k], "required"));
        if (all)
            return true;
    }
    return !p->tool;
}

/* ---- a parameter's name ---- */

/* <arg_key>NAME</arg_key> and <arg_value>; without the middle one, too. */
static enum chat_match match_key(const struct chat_parser *p, str s, str *name, size_t *n)
{
    enum chat_match m = chat_match(p, s, KEY);
    if (m != CHAT_YES)
        return m;
    str tail = str_sub(s, KEY.n, SIZE_MAX);
    const char *hit = tail.n ? memchr(tail.p, '<', tail.n) : NULL;
    size_t n_name = hit ? (size_t)(hit - tail.p) : tail.n;
    if (n_name > MAX_NAME || (!hit && p->final) || memchr(tail.p, 0, n_name))
        return CHAT_NO;
    if (!hit)
        return CHAT_MAYBE;
    *name = str_trim(str_sub(tail, 0, n_name));
    tail = str_sub(tail, n_name, SIZE_MAX);
    m = chat_match(p, tail, END_KEY);
    if (m == CHAT_MAYBE)
        return m;
    if (m == CHAT_YES)
        tail = str_sub(tail, END_KEY.n, SIZE_MAX);
    size_t n_blank = chat_blank(tail);
    if (n_blank > MAX_BLANK)
        return CHAT_NO;
    tail = str_sub(tail, n_blank, SIZE_MAX);
    m = chat_match(p, tail, VALUE);
    *n = s.n - tail.n + VALUE.n;
    return m == CHAT_YES && name->n == 0 ? CHAT_NO : m;
}

enum chat_match chat_match_parameter(const struct chat_parser *p, str s, str *name, size_t *n)
{
    if (p->tags == &chat_tags_glm)
        return match_key(p, s, name, n);
    return chat_match_tag(p, s, PARAMETER, name, n);
}

/* ---- between parameters ---- */

/* `"name": ` of the current parameter, after a comma if it is not the first. */
static void put_name(struct chat_parser *p)
{
    struct buf text = {0};
    str given = buf_view(&p->given);
    if (p->name_at)
        buf_str(&text, STR(", "));
    json_quote(str_sub(given, p->name_at, given.n - 1), &text);
    buf_str(&text, STR(": "));
    chat_emit(p, CHAT_CALL_ARGUMENTS, buf_view(&text));
    buf_free(&text);
}

/* A parameter's tag was read, its value starts at `inside`. */
static void enter_value(struct chat_parser *p, str name, size_t inside)
{
    p->name_at = p->given.n;
    buf_str(&p->given, name);
    buf_byte(&p->given, 0);
    p->types = chat_types_of(p->tool, &p->takes, p->given.p + p->name_at);
    p->value_open = p->is_json = false;
    p->close_at = p->other_at = SIZE_MAX;
    if (p->types == CHAT_STRING) {
        put_name(p);
        chat_emit(p, CHAT_CALL_ARGUMENTS, STR("\""));
    }
    chat_go(p, CHAT_IN_VALUE, inside);
}

void chat_enter_tags(struct chat_parser *p, const struct chat_head *head, size_t inside)
{
    p->tool = chat_tool_of(p, head->name);
    params_read(p->tool ? p->tool->parameters : NULL, &p->takes);
    p->tags = head->tags;
    buf_clear(&p->given);
    chat_begin_call(p, head->name);
    chat_emit(p, CHAT_CALL_ARGUMENTS, STR("{"));
    chat_go(p, CHAT_IN_TAGS, inside);
}

/* The call is over, whatever it is that follows: it comes after the call. */
static bool leave_call(struct chat_parser *p, size_t position)
{
    chat_emit(p, CHAT_CALL_ARGUMENTS, STR("}"));
    chat_end_call(p);
    chat_go(p, CHAT_AFTER_CALL, position);
    return true;
}

static bool cut_off(struct chat_parser *p)
{
    chat_cut_call(p);
    chat_go(p, CHAT_CUT_OFF, p->base + p->in.n);
    return true;
}

bool chat_step_tags(struct chat_parser *p)
{
    str name;
    size_t n_tag;
    size_t at = p->done + chat_blank(chat_rest(p, p->done));
    str s = chat_rest(p, at);
    enum chat_match opens = chat_match_parameter(p, s, &name, &n_tag);
    enum chat_match strays = chat_match(p, s, *p->tags->close.tag);
    chat_go(p, CHAT_IN_TAGS, at);
    if (opens == CHAT_YES) {
        enter_value(p, name, at + n_tag);
        return true;
    }
    if (strays == CHAT_YES) {
        chat_go(p, CHAT_IN_TAGS, at + p->tags->close.tag->n);
        return true;
    }
    bool maybe = opens == CHAT_MAYBE || strays == CHAT_MAYBE ||
                 chat_match(p, s, END_FUNCTION) == CHAT_MAYBE ||
                 chat_match(p, s, END_CALL) == CHAT_MAYBE;
    if (maybe)
        return false;
    bool ends = str_starts(s, END_FUNCTION) || str_starts(s, END_CALL);
    bool is_open = p->final && !ends && !(p->by_model && is_complete(p));
    if (is_open || str_starts(s, *p->tags->key))
        return cut_off(p);
    return leave_call(p, at);
}

/* ---- values ---- */

static str without_last_newline(const struct chat_parser *p, str s)
{
    return p->tags->on_lines && str_ends(s, STR("\n")) ? str_sub(s, 0, s.n - 1) : s;
}

/* Delivers the string value's next piece as the inside of a JSON string. */
static void put_string(struct chat_parser *p, str text)
{
    struct buf quoted = {0};
    json_quote(text, &quoted);
    chat_emit(p, CHAT_CALL_ARGUMENTS, str_sub(buf_view(&quoted), 1, quoted.n - 1));
    buf_free(&quoted);
    p->done += text.n;
}

/* The same for an object or array: as it is, unless it has to be put right. */
static void put_json(struct chat_parser *p, str text)
{
    struct buf out = {0};
    size_t n = mend_put(&p->mend, text, &out);
    chat_emit(p, CHAT_CALL_ARGUMENTS, buf_view(&out));
    buf_free(&out);
    p->broken = p->broken || p->mend.state == MEND_BROKEN;
    p->mended = p->mended || chat_blank(str_sub(text, n, SIZE_MAX)) < text.n - n;
    p->done += text.n;
}

static void end_json(struct chat_parser *p)
{
    struct buf out = {0};
    p->broken = p->broken || !mend_close(&p->mend, &out);
    p->mended = p->mended || p->mend.mended;
    chat_emit(p, CHAT_CALL_ARGUMENTS, buf_view(&out));
    buf_free(&out);
}

/* An object or array that nothing else may stand for is streamed from its bracket on. */
static void try_json(struct chat_parser *p, str text)
{
    unsigned bracket = text.n == 0 ? 0 : text.p[0] == '{' ? CHAT_OBJECT : CHAT_ARRAY;
    bool opens = text.n && (text.p[0] == '{' || text.p[0] == '[');
    if (p->is_json || !opens || !(p->types & bracket) || (p->types & CHAT_STRING))
        return;
    p->is_json = true;
    p->mend = (struct mend){0};
    put_name(p);
}

/* Delivers the value's next piece, if it is of a kind that can be delivered in pieces. */
static void put_piece(struct chat_parser *p, str text)
{
    if (p->types == CHAT_STRING) {
        put_string(p, text);
        return;
    }
    size_t n_blank = chat_blank(text);
    try_json(p, str_sub(text, n_blank, SIZE_MAX));
    if (!p->is_json)
        return;
    if (p->mend.state == MEND_FIRST && p->mend.depth == 0)
        p->done += n_blank;
    else
        n_blank = 0;
    put_json(p, str_sub(text, n_blank, SIZE_MAX));
}

/* The value ends at position `end`, the call goes on at `next`. */
static bool end_value(struct chat_parser *p, size_t end, size_t next)
{
    str value = without_last_newline(p, str_sub(chat_rest(p, p->done), 0, end - p->done));
    put_piece(p, value);
    if (p->types == CHAT_STRING) {
        chat_emit(p, CHAT_CALL_ARGUMENTS, STR("\""));
    } else if (p->is_json) {
        end_json(p);
    } else {
        struct buf text = {0};
        put_name(p);
        chat_value_put(value, p->types, &text);
        chat_emit(p, CHAT_CALL_ARGUMENTS, buf_view(&text));
        buf_free(&text);
    }
    chat_go(p, CHAT_IN_TAGS, next);
    return true;
}

/* Does one of the tags (a NULL-terminated list) stand at the start of s, after white space? The end
 * of the reply counts as one. */
static enum chat_match followed_by(const struct chat_parser *p, str s, const str *const *tags)
{
    size_t n_blank = chat_blank(s);
    enum chat_match best = CHAT_NO;
    if (n_blank > MAX_BLANK)
        return CHAT_NO;
    s = str_sub(s, n_blank, SIZE_MAX);
    if (p->final && s.n == 0)
        return CHAT_YES;
    for (; *tags; tags++) {
        enum chat_match m = chat_match(p, s, **tags);
        best = m > best ? m : best;
    }
    return best;
}

/* A closing tag at s and what follows it. *is_tag: the tag itself is there. */
static enum chat_match match_ender(const struct chat_parser *p, str s, const struct ender *e,
                                   bool *is_tag)
{
    enum chat_match m = chat_match(p, s, *e->tag);
    *is_tag = m == CHAT_YES;
    return *is_tag ? followed_by(p, str_sub(s, e->tag->n, SIZE_MAX), e->followers) : m;
}

/* The tag of another parameter that the tool has and that was not given yet: the model forgot to
 * close this one. *is_tag: it is a parameter's tag, whichever. */
static enum chat_match match_next(const struct chat_parser *p, str s, bool *is_tag)
{
    str name;
    size_t n;
    enum chat_match m = chat_match_parameter(p, s, &name, &n);
    *is_tag = m == CHAT_YES;
    if (m != CHAT_YES)
        return m;
    struct buf key = {0};
    buf_str(&key, name);
    const struct json *schema;
    size_t i = 0;
    bool known = params_next(&p->takes, key.p, &i, &schema) && !is_given(p, name);
    buf_free(&key);
    return known ? CHAT_YES : CHAT_NO;
}

/* Does the value end at position at, where a '<' stands? Notes tags in doubt. *n_tag: bytes of the
 * tag that belong to the value's end. */
static enum chat_match match_end(struct chat_parser *p, size_t at, size_t *n_tag)
{
    const struct chat_tags *tags = p->tags;
    str s = chat_rest(p, at);
    bool is_close, is_outer = false, is_tag;
    enum chat_match m = match_ender(p, s, &tags->close, &is_close);
    *n_tag = m == CHAT_YES ? tags->close.tag->n : 0;
    for (int i = 0; i < 2; i++) {
        enum chat_match other = match_ender(p, s, &tags->outer[i], &is_tag);
        is_outer = is_outer || is_tag;
        m = other > m ? other : m;
    }
    bool at_line_start = at == p->value_at || chat_rest(p, at - 1).p[0] == '\n';
    if (at_line_start || !tags->on_lines) {
        enum chat_match other = match_next(p, s, &is_tag);
        is_outer = is_outer || is_tag;
        m = other > m ? other : m;
    }
    if (m == CHAT_NO && is_close && p->close_at == SIZE_MAX)
        p->close_at = at;
    if (m == CHAT_NO && is_outer && p->other_at == SIZE_MAX)
        p->other_at = at;
    return m;
}

/* The reply is over and no tag surely ended the value. */
static bool end_in_doubt(struct chat_parser *p)
{
    if (p->by_model && p->close_at != SIZE_MAX)
        return end_value(p, p->close_at, p->close_at + p->tags->close.tag->n);
    if (p->by_model && p->other_at != SIZE_MAX)
        return end_value(p, p->other_at, p->other_at);
    put_piece(p, chat_rest(p, p->done));
    return cut_off(p);
}

/* What can be delivered: not from a tag in doubt on, and not what may be the newline before one. */
static void put_so_far(struct chat_parser *p)
{
    size_t to = p->close_at < p->other_at ? p->close_at : p->other_at;
    to = to < p->scan ? to : p->scan;
    if (to > p->done) {
        str text = str_sub(chat_rest(p, p->done), 0, to - p->done);
        text.n = chat_whole(without_last_newline(p, text));
        put_piece(p, text);
    }
}

bool chat_step_value(struct chat_parser *p)
{
    str s = chat_rest(p, p->done);
    if (!p->value_open) {
        if (s.n == 0 && !p->final)
            return false;
        p->value_open = true;
        p->done += p->tags->on_lines && str_starts(s, STR("\n"));
        p->scan = p->value_at = p->done;
    }
    for (;;) {
        s = chat_rest(p, p->scan);
        const char *hit = s.n ? memchr(s.p, '<', s.n) : NULL;
        p->scan += hit ? (size_t)(hit - s.p) : s.n;
        if (!hit)
            break;
        size_t n_tag;
        enum chat_match m = match_end(p, p->scan, &n_tag);
        if (m == CHAT_YES)
            return end_value(p, p->scan, p->scan + n_tag);
        if (m == CHAT_MAYBE)
            break;
        p->scan++;
    }
    if (p->final)
        return end_in_doubt(p);
    put_so_far(p);
    return false;
}
