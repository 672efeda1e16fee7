/* chat: where a call starts. <tool_call> opens one when an object, a function tag or, for GLM, a
 * name with its parameters follows; a function tag alone does at the start of a line (the model
 * forgets <tool_call>), but then only when what follows looks like the inside of a call. Code holds
 * none. */
#include "text/chat_int.h"

#include <string.h>

enum { MAX_NAME = 256, MAX_BLANK = 64, MAX_OPENED = 8 };

/* ---- fenced code (CommonMark 4.5, at any indentation: lists indent it) ---- */

static void end_line(struct chat_lines *l)
{
    bool fence = l->run >= 3;
    if (!l->in_fence && fence && !(l->run_char == '`' && l->ticks)) {
        l->in_fence = true;
        l->fence_char = l->run_char;
        l->fence_run = l->run;
    } else if (l->in_fence && fence && l->run_char == l->fence_char && l->run >= l->fence_run &&
               l->plain) {
        l->in_fence = false;
    }
    *l = (struct chat_lines){
        .in_fence = l->in_fence, .fence_char = l->fence_char, .fence_run = l->fence_run};
}

void chat_lines_put(struct chat_lines *l, char c)
{
    bool blank = c == ' ' || c == '\t' || c == '\r';
    if (c == '\n') {
        end_line(l);
        return;
    }
    if (!l->has_text && (c == '`' || c == '~')) {
        l->run_char = c;
        l->plain = true;
    }
    if (l->run_char && !l->run_over) {
        l->run_over = c != l->run_char;
        l->run += !l->run_over;
    }
    if (l->run_over) {
        l->plain = l->plain && blank;
        l->ticks = l->ticks || c == '`';
    }
    l->odd ^= c == '`' && !l->in_fence;
    l->has_text = l->has_text || !blank;
}

bool chat_lines_code(const struct chat_lines *l)
{
    if (!l->in_fence)
        return l->odd || (l->run >= 3 && !l->ticks);
    bool closes = l->run >= l->fence_run && l->run_char == l->fence_char && l->plain;
    return !closes;
}

/* ---- the opening tags ---- */

enum chat_match chat_match_tag(const struct chat_parser *p, str s, str open, str *name, size_t *n)
{
    enum chat_match m = chat_match(p, s, open);
    if (m != CHAT_YES)
        return m;
    size_t i = open.n;
    while (i < s.n && i < open.n + MAX_NAME && !strchr("<>\n", s.p[i]))
        i++;
    if (i == s.n)
        return p->final ? CHAT_NO : CHAT_MAYBE;
    *name = str_trim(str_sub(s, open.n, i));
    *n = i + 1;
    return s.p[i] == '>' && name->n ? CHAT_YES : CHAT_NO;
}

/* Does the inside of a call, one of n tags, follow at s[at...]? */
static enum chat_match match_inside(const struct chat_parser *p, str s, size_t at,
                                    const char *const *inside, size_t n)
{
    str tail = str_sub(s, at, SIZE_MAX);
    size_t n_blank = chat_blank(tail);
    tail = str_sub(tail, n_blank, SIZE_MAX);
    if (n_blank > MAX_BLANK)
        return CHAT_NO;
    if (p->final && tail.n == 0)
        return CHAT_YES;
    enum chat_match best = CHAT_NO;
    for (size_t i = 0; i < n; i++) {
        enum chat_match m = chat_match(p, tail, str_of(inside[i]));
        best = m > best ? m : best;
    }
    return best;
}

/* GLM: a name, then a parameter or the end. s starts with the name. */
static enum chat_match match_name(const struct chat_parser *p, str s, struct chat_head *out)
{
    static const char *const inside[] = {"<arg_key>", "</tool_call>"};
    size_t n = 0;
    while (n < s.n && n <= MAX_NAME && s.p[n] != '<' && s.p[n] != '\n')
        n++;
    out->name = str_trim(str_sub(s, 0, n));
    out->n_bytes += n;
    out->tags = &chat_tags_glm;
    if (n > MAX_NAME || (out->name.n == 0 && n < s.n) || memchr(out->name.p, ' ', out->name.n))
        return CHAT_NO;
    if (n == s.n) {
        out->cut_off = p->final && !(p->by_model && chat_tool_of(p, out->name));
        return p->final ? CHAT_YES : CHAT_MAYBE;
    }
    return match_inside(p, s, n, inside, 2);
}

/* <tool_call> was there, the rest starts at s[at...]. */
static enum chat_match match_opened(const struct chat_parser *p, str s, size_t at,
                                    struct chat_head *out)
{
    str open = STR("<function=");
    str tail = str_sub(s, at, SIZE_MAX);
    size_t n_tag;
    out->is_json = str_starts(tail, STR("{"));
    out->n_bytes = at;
    if (out->is_json)
        return CHAT_YES;
    enum chat_match m = chat_match_tag(p, tail, open, &out->name, &n_tag);
    if (m == CHAT_YES)
        out->n_bytes = at + n_tag;
    bool is_head =
        str_starts(open, tail) || (str_starts(tail, open) && !memchr(tail.p, '>', tail.n));
    out->cut_off = p->final && m == CHAT_NO && is_head;
    if (out->cut_off)
        return CHAT_YES;
    return m == CHAT_NO && p->params.format == CHAT_GLM ? match_name(p, tail, out) : m;
}

enum chat_match chat_match_head(const struct chat_parser *p, str s, bool at_line_start,
                                struct chat_head *out)
{
    static const char *const inside[] = {"<parameter=", "</function>", "</tool_call>"};
    str open = STR("<tool_call>");
    size_t at = 0;
    *out = (struct chat_head){.tags = &chat_tags_xml};
    for (int n_opened = 0; n_opened < MAX_OPENED; n_opened++) {
        str tail = str_sub(s, at, SIZE_MAX);
        enum chat_match m = chat_match(p, tail, open);
        if (m == CHAT_MAYBE && tail.n)
            return CHAT_MAYBE;
        if (m != CHAT_YES)
            break;
        size_t n_blank = chat_blank(str_sub(tail, open.n, SIZE_MAX));
        if (n_blank > MAX_BLANK)
            return CHAT_NO;
        at += open.n + n_blank;
    }
    if (at > 0)
        return match_opened(p, s, at, out);
    if (p->params.format != CHAT_QWEN_XML || !at_line_start)
        return CHAT_NO;
    enum chat_match m = chat_match_tag(p, s, STR("<function="), &out->name, &out->n_bytes);
    return m == CHAT_YES ? match_inside(p, s, out->n_bytes, inside, 3) : m;
}
