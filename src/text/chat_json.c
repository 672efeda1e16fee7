/* chat: JSON calls of Hermes and Llama. Everything goes through mend, so what is read here is
 * strict JSON. A call begins when its name is known and the object of its arguments has opened;
 * from then on the arguments stream. Before that point nothing is delivered, and what turns out to
 * be no call is content. */
#include "text/chat_int.h"

#include <stdlib.h>

#include "base/err.h"

static const str CLOSE = {"</tool_call>", 12};
static const str OPEN = {"<tool_call>", 11};

/* ---- the members of the call's object ---- */

/* The outermost object's string in .token, unescaped, replaces what out holds. */
static void take_string(struct chat_members *m, struct buf *out)
{
    struct err ignored;
    struct json *v = json_parse(buf_view(&m->token), &ignored);
    buf_clear(out);
    buf_str(out, json_str(v));
    json_free(v);
}

static void end_name(struct chat_members *m)
{
    struct buf name = {0};
    take_string(m, &name);
    str s = buf_view(&name);
    m->is_name = str_eq(s, STR("name"));
    /* Models sometimes call them parameters; Llama always does. */
    m->is_arguments = str_eq(s, STR("arguments")) || str_eq(s, STR("parameters"));
    buf_free(&name);
}

static void end_string(struct chat_members *m)
{
    if (!m->in_value) {
        end_name(m);
    } else if (m->is_name) {
        take_string(m, &m->name);
    } else if (m->is_arguments && !m->has_arguments) {
        take_string(m, &m->quoted);
        m->has_quoted = true;
    }
}

/* A byte of a value in the outermost object that opens something or is part of a word. */
static void outer_value(struct chat_members *m, char c)
{
    if (!m->is_arguments || m->has_arguments)
        return;
    if (c == '{')
        m->in_arguments = m->has_arguments = true;
    else if (c == '[' || (c != 'n' && c != 'u' && c != 'l')) /* of "null" */
        m->is_wrong = true;
}

static void string_byte(struct chat_members *m, char c)
{
    if (m->depth == 1)
        buf_byte(&m->token, c);
    if (m->escaped) {
        m->escaped = false;
    } else if (c == '\\') {
        m->escaped = true;
    } else if (c == '"') {
        m->in_string = false;
        if (m->depth == 1)
            end_string(m);
    }
}

static void outer_byte(struct chat_members *m, char c)
{
    if (c == ':')
        m->in_value = true;
    else if (c == ',')
        m->in_value = m->is_name = m->is_arguments = false;
    else if (m->in_value && chat_blank((str){&c, 1}) == 0 && c != '}')
        outer_value(m, c);
}

static void member_byte(struct chat_members *m, char c)
{
    bool inside = m->in_arguments;
    if (m->in_string) {
        string_byte(m, c);
    } else if (c == '"') {
        m->in_string = true;
        buf_clear(&m->token);
        buf_byte(&m->token, c);
    } else {
        if (m->depth == 1)
            outer_byte(m, c);
        inside = m->in_arguments;
        m->depth += c == '{' || c == '[';
        m->depth -= c == '}' || c == ']';
        m->in_arguments = m->in_arguments && m->depth > 1;
    }
    if (inside)
        buf_byte(&m->arguments, c);
}

static void clear_members(struct chat_members *m)
{
    buf_clear(&m->token);
    buf_clear(&m->name);
    buf_clear(&m->quoted);
    buf_clear(&m->arguments);
    *m = (struct chat_members){
        .token = m->token, .name = m->name, .quoted = m->quoted, .arguments = m->arguments};
}

void chat_members_free(struct chat_members *m)
{
    buf_free(&m->token);
    buf_free(&m->name);
    buf_free(&m->quoted);
    buf_free(&m->arguments);
}

/* ---- the call ---- */

/* Without the tag around it, only the name of a tool makes an object a call. */
static bool is_callable(const struct chat_parser *p)
{
    str name = buf_view(&p->members.name);
    return name.n && (!p->is_bare || chat_tool_of(p, name));
}

static bool has_begun(const struct chat_parser *p)
{
    return p->n_begun > p->n_calls + p->n_cut;
}

/* Begins the call as soon as it is one, and delivers what there is of its arguments. */
static void put_arguments(struct chat_parser *p)
{
    struct chat_members *m = &p->members;
    if (!has_begun(p)) {
        if (!m->has_arguments || !is_callable(p))
            return;
        chat_begin_call(p, buf_view(&m->name));
    }
    chat_emit(p, CHAT_CALL_ARGUMENTS, buf_view(&m->arguments));
    buf_clear(&m->arguments);
    p->done = p->scan;
}

/* The object is complete and no arguments opened in it: none were given, or they stand in a string.
 * False: it is no call. */
static bool begin_late(struct chat_parser *p)
{
    struct chat_members *m = &p->members;
    struct buf out = {0};
    str text = str_trim(m->has_quoted ? buf_view(&m->quoted) : STR(""));
    bool ok = is_callable(p) && !m->is_wrong;
    struct mend inner = {0};
    if (text.n == 0)
        buf_str(&out, STR("{}"));
    else
        ok = ok && text.p[0] == '{' && mend_put(&inner, text, &out) == text.n &&
             (inner.state == MEND_DONE || mend_close(&inner, &out));
    if (ok) {
        chat_begin_call(p, buf_view(&m->name));
        p->mended = inner.mended;
        chat_emit(p, CHAT_CALL_ARGUMENTS, buf_view(&out));
    }
    buf_free(&out);
    return ok;
}

static bool give_up(struct chat_parser *p)
{
    p->after_call = false;
    if (p->is_bare) {
        p->no_bare = true;
        chat_go(p, CHAT_IN_CONTENT, p->done);
        return true;
    }
    if (p->has_content)
        chat_emit(p, CHAT_CONTENT, STR("\n"));
    chat_go(p, CHAT_IN_BROKEN, p->done);
    return true;
}

/* The object ends before position `next`. */
static bool end_object(struct chat_parser *p, size_t next)
{
    put_arguments(p);
    if (!has_begun(p) && !begin_late(p))
        return give_up(p);
    p->mended = p->mended || p->mend.mended;
    chat_end_call(p);
    chat_go(p, CHAT_AFTER_CALL, next);
    return true;
}

/* Ends a call that has begun and whose object has not: the arguments may be whole all the same. */
static void end_early(struct chat_parser *p)
{
    put_arguments(p);
    p->broken = p->members.in_arguments;
    p->mended = true;
    if (has_begun(p))
        chat_end_call(p);
}

/* No JSON has the next byte here. */
static bool break_object(struct chat_parser *p)
{
    put_arguments(p);
    if (!has_begun(p))
        return give_up(p);
    end_early(p);
    chat_go(p, CHAT_IN_LOST, p->scan);
    return true;
}

static void put_strict(struct chat_parser *p, str strict)
{
    for (size_t i = 0; i < strict.n; i++)
        member_byte(&p->members, strict.p[i]);
}

/* A closing tag, or the end of the reply, stands before the object's own end. */
static bool close_object(struct chat_parser *p)
{
    struct buf strict = {0};
    bool ok = mend_close(&p->mend, &strict);
    put_strict(p, buf_view(&strict));
    buf_free(&strict);
    return ok ? end_object(p, p->scan) : break_object(p);
}

/* Does a tag stand at the reading position that ends the call there? In a string only one at the
 * start of a line does, which JSON does not have. */
static enum chat_match match_tag(const struct chat_parser *p, str s)
{
    bool in_string = mend_in_string(&p->mend);
    if (s.p[0] != (in_string ? '\n' : '<'))
        return CHAT_NO;
    s = str_sub(s, in_string, SIZE_MAX);
    enum chat_match closes = chat_match(p, s, CLOSE);
    enum chat_match opens = in_string ? CHAT_NO : chat_match(p, s, OPEN);
    return closes > opens ? closes : opens;
}

void chat_enter_json(struct chat_parser *p, size_t position)
{
    p->mend = (struct mend){0};
    p->tags = NULL;
    clear_members(&p->members);
    chat_go(p, CHAT_IN_JSON, position);
}

/* At the end of the reply. */
static bool end_in_json(struct chat_parser *p)
{
    if (p->by_model)
        return close_object(p);
    end_early(p);
    chat_go(p, CHAT_CUT_OFF, p->base + p->in.n);
    return true;
}

bool chat_step_json(struct chat_parser *p)
{
    struct buf strict = {0};
    enum chat_match tag = CHAT_NO;
    str s = chat_rest(p, p->scan);
    bool ended = false;
    for (; s.n && !ended; s = str_sub(s, 1, SIZE_MAX)) {
        tag = match_tag(p, s);
        if (tag != CHAT_NO)
            break;
        buf_clear(&strict);
        mend_put(&p->mend, str_sub(s, 0, 1), &strict);
        put_strict(p, buf_view(&strict));
        ended = p->mend.state == MEND_BROKEN || p->mend.state == MEND_DONE;
        p->scan += p->mend.state != MEND_BROKEN;
    }
    buf_free(&strict);
    if (p->mend.state == MEND_BROKEN)
        return break_object(p);
    if (p->mend.state == MEND_DONE)
        return end_object(p, p->scan);
    if (tag == CHAT_YES)
        return close_object(p);
    put_arguments(p);
    return p->final && end_in_json(p);
}

/* ---- what is left of broken ones ---- */

/* Moves .scan to the next tag that ends a broken call. */
static enum chat_match find_tag(struct chat_parser *p, size_t *n_tag)
{
    for (str s; (s = chat_rest(p, p->scan)).n; p->scan++) {
        enum chat_match closes = chat_match(p, s, CLOSE);
        enum chat_match opens = chat_match(p, s, OPEN);
        *n_tag = closes == CHAT_YES ? CLOSE.n : 0;
        if (closes == CHAT_YES || opens == CHAT_YES)
            return CHAT_YES;
        if (closes == CHAT_MAYBE || opens == CHAT_MAYBE)
            return CHAT_MAYBE;
        if (chat_blank(str_sub(s, 0, 1)) == 0)
            p->text_end = p->scan + 1;
    }
    return CHAT_NO;
}

bool chat_step_broken(struct chat_parser *p)
{
    size_t n_tag = 0;
    bool found = find_tag(p, &n_tag) == CHAT_YES;
    chat_put_content(p, !found && !p->final);
    if (found)
        chat_go(p, CHAT_AFTER_CALL, p->scan + n_tag);
    return found;
}

bool chat_step_lost(struct chat_parser *p)
{
    size_t n_tag = 0;
    bool found = find_tag(p, &n_tag) == CHAT_YES;
    chat_go(p, found ? CHAT_AFTER_CALL : CHAT_IN_LOST, p->scan + n_tag);
    return found;
}
