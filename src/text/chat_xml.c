/* chat: calls of Qwen3-Coder. A value is raw text and may hold anything, so its end is found by
 * what follows a closing tag. While a value's end is in doubt, it waits from the first tag in doubt
 * on; everything before is delivered as it comes if the parameter is a string. */
#include "text/chat_int.h"

#include <string.h>

enum { MAX_BLANK = 1024 };

static const str PARAMETER = {"<parameter=", 11};
static const str FUNCTION = {"<function=", 10};
static const str CALL = {"<tool_call>", 11};
static const str END_PARAMETER = {"</parameter>", 12};
static const str END_FUNCTION = {"</function>", 11};
static const str END_CALL = {"</tool_call>", 12};

static bool is_given(const struct chat_parser *p, str name)
{
    str rest = buf_view(&p->given);
    while (rest.n) {
        if (str_eq(str_cut(rest, 0, &rest), name))
            return true;
    }
    return false;
}

/* Was every parameter given that the tool cannot do without? */
static bool is_complete(const struct chat_parser *p)
{
    const struct json *required = p->tool ? json_get(p->tool->parameters, "required") : NULL;
    for (size_t i = 0; i < json_count(required) && json_type(required) == JSON_ARRAY; i++) {
        if (!is_given(p, json_str(json_at(required, i))))
            return false;
    }
    return true;
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
    p->types = chat_types_of(p->tool, p->given.p + p->name_at);
    p->value_open = false;
    p->close_at = p->other_at = SIZE_MAX;
    if (p->types == CHAT_STRING) {
        put_name(p);
        chat_emit(p, CHAT_CALL_ARGUMENTS, STR("\""));
    }
    chat_go(p, CHAT_IN_VALUE, inside);
}

/* The call is over, whatever it is that follows: it comes after the call. */
static bool leave_call(struct chat_parser *p, size_t position)
{
    chat_end_call(p, STR("}"));
    chat_go(p, CHAT_AFTER_CALL, position);
    return true;
}

bool chat_step_xml(struct chat_parser *p)
{
    str name;
    size_t n_tag;
    size_t at = p->done + chat_blank(chat_rest(p, p->done));
    str s = chat_rest(p, at);
    enum chat_match opens = chat_match_tag(p, s, PARAMETER, &name, &n_tag);
    enum chat_match strays = chat_match(p, s, END_PARAMETER);
    chat_go(p, CHAT_IN_XML, at);
    if (opens == CHAT_YES) {
        enter_value(p, name, at + n_tag);
        return true;
    }
    if (strays == CHAT_YES) {
        chat_go(p, CHAT_IN_XML, at + END_PARAMETER.n);
        return true;
    }
    bool maybe = opens == CHAT_MAYBE || strays == CHAT_MAYBE ||
                 chat_match(p, s, END_FUNCTION) == CHAT_MAYBE ||
                 chat_match(p, s, END_CALL) == CHAT_MAYBE;
    if (maybe)
        return false;
    bool cut_off =
        p->final && !is_complete(p) && !str_starts(s, END_FUNCTION) && !str_starts(s, END_CALL);
    if (cut_off || str_starts(s, PARAMETER)) {
        chat_go(p, CHAT_CUT_OFF, at);
        return true;
    }
    return leave_call(p, at);
}

/* ---- values ---- */

static str without_last_newline(str s)
{
    return str_ends(s, STR("\n")) ? str_sub(s, 0, s.n - 1) : s;
}

/* Delivers the string value up to a position, as the inside of a JSON string. */
static void put_string(struct chat_parser *p, str text)
{
    struct buf quoted = {0};
    json_quote(text, &quoted);
    chat_emit(p, CHAT_CALL_ARGUMENTS, str_sub(buf_view(&quoted), 1, quoted.n - 1));
    buf_free(&quoted);
    p->done += text.n;
}

/* The value ends at position `end`, the call goes on at `next`. */
static bool end_value(struct chat_parser *p, size_t end, size_t next)
{
    str value = without_last_newline(str_sub(chat_rest(p, p->done), 0, end - p->done));
    if (p->types == CHAT_STRING) {
        put_string(p, value);
        chat_emit(p, CHAT_CALL_ARGUMENTS, STR("\""));
    } else {
        struct buf text = {0};
        put_name(p);
        chat_value_put(value, p->types, &text);
        chat_emit(p, CHAT_CALL_ARGUMENTS, buf_view(&text));
        buf_free(&text);
    }
    chat_go(p, CHAT_IN_XML, next);
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
static enum chat_match match_close(const struct chat_parser *p, str s, str tag,
                                   const str *const *followers, bool *is_tag)
{
    enum chat_match m = chat_match(p, s, tag);
    *is_tag = m == CHAT_YES;
    return *is_tag ? followed_by(p, str_sub(s, tag.n, SIZE_MAX), followers) : m;
}

/* The tag of another parameter that the tool has and that was not given yet, at a line's start:
 * the model forgot to close this one. *is_tag: it is a parameter's tag, whichever. */
static enum chat_match match_next(const struct chat_parser *p, str s, bool *is_tag)
{
    str name;
    size_t n;
    enum chat_match m = chat_match_tag(p, s, PARAMETER, &name, &n);
    *is_tag = m == CHAT_YES;
    if (m != CHAT_YES)
        return m;
    struct buf key = {0};
    buf_str(&key, name);
    const struct json *properties = p->tool ? json_get(p->tool->parameters, "properties") : NULL;
    bool known = json_has(properties, key.p) && !is_given(p, name);
    buf_free(&key);
    return known ? CHAT_YES : CHAT_NO;
}

/* Does the value end at position at, where a '<' stands? Notes tags in doubt. *n_tag: bytes of the
 * tag that belong to the value's end. */
static enum chat_match match_end(struct chat_parser *p, size_t at, size_t *n_tag)
{
    static const str *const after_parameter[] = {&PARAMETER, &END_FUNCTION, &END_CALL, &CALL, NULL};
    static const str *const after_function[] = {&END_CALL, &CALL, &FUNCTION, NULL};
    static const str *const after_call[] = {&CALL, NULL};
    str s = chat_rest(p, at);
    bool is_parameter, is_function, is_call, is_next = false;
    enum chat_match m = match_close(p, s, END_PARAMETER, after_parameter, &is_parameter);
    *n_tag = m == CHAT_YES ? END_PARAMETER.n : 0;
    enum chat_match other = match_close(p, s, END_FUNCTION, after_function, &is_function);
    m = other > m ? other : m;
    other = match_close(p, s, END_CALL, after_call, &is_call);
    m = other > m ? other : m;
    if (at == p->value_at || chat_rest(p, at - 1).p[0] == '\n') {
        other = match_next(p, s, &is_next);
        m = other > m ? other : m;
    }
    if (m == CHAT_NO && is_parameter && p->close_at == SIZE_MAX)
        p->close_at = at;
    if (m == CHAT_NO && (is_function || is_call || is_next) && p->other_at == SIZE_MAX)
        p->other_at = at;
    return m;
}

/* The reply is over and no tag surely ended the value. */
static bool end_in_doubt(struct chat_parser *p)
{
    if (p->close_at != SIZE_MAX)
        return end_value(p, p->close_at, p->close_at + END_PARAMETER.n);
    if (p->other_at != SIZE_MAX)
        return end_value(p, p->other_at, p->other_at);
    if (p->types == CHAT_STRING)
        put_string(p, chat_rest(p, p->done));
    chat_go(p, CHAT_CUT_OFF, p->base + p->in.n);
    return false;
}

/* What of a string can be delivered: not from a tag in doubt on, and not what may be the newline
 * before one. */
static void put_so_far(struct chat_parser *p)
{
    size_t to = p->close_at < p->other_at ? p->close_at : p->other_at;
    to = to < p->scan ? to : p->scan;
    if (p->types == CHAT_STRING && to > p->done) {
        str text = str_sub(chat_rest(p, p->done), 0, to - p->done);
        text.n = chat_whole(without_last_newline(text));
        put_string(p, text);
    }
}

bool chat_step_value(struct chat_parser *p)
{
    str s = chat_rest(p, p->done);
    if (!p->value_open) {
        if (s.n == 0 && !p->final)
            return false;
        p->value_open = true;
        p->done += str_starts(s, STR("\n"));
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
