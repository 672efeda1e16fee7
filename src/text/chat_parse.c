/* chat: the parser's frame: reasoning, content and the way into calls and out of them. */
#include "text/chat_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

/* ---- looking at text ---- */

static size_t end_of(const struct chat_parser *p)
{
    return p->base + p->in.n;
}

str chat_rest(const struct chat_parser *p, size_t from)
{
    return str_sub(buf_view(&p->in), from - p->base, SIZE_MAX);
}

static str part(const struct chat_parser *p, size_t from, size_t to)
{
    return str_sub(buf_view(&p->in), from - p->base, to - p->base);
}

enum chat_match chat_match(const struct chat_parser *p, str s, str marker)
{
    if (str_starts(s, marker))
        return CHAT_YES;
    return !p->final && str_starts(marker, s) ? CHAT_MAYBE : CHAT_NO;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

size_t chat_blank(str s)
{
    size_t n = 0;
    while (n < s.n && is_blank(s.p[n]))
        n++;
    return n;
}

size_t chat_whole(str s)
{
    for (size_t back = 1; back <= 3 && back <= s.n; back++) {
        unsigned char c = (unsigned char)s.p[s.n - back];
        if ((c & 0xc0) == 0x80)
            continue;
        bool unfinished = utf8_need(c) > back &&
                          (back == 1 || utf8_second_ok(c, (unsigned char)s.p[s.n - back + 1]));
        return unfinished ? s.n - back : s.n;
    }
    return s.n;
}

/* ---- events ---- */

void chat_emit(struct chat_parser *p, enum chat_event_kind kind, str text)
{
    if (text.n)
        p->params.sink(p->params.ctx,
                       &(struct chat_event){
                           .kind = kind, .text = text, .i_call = p->n_begun ? p->n_begun - 1 : 0});
}

void chat_begin_call(struct chat_parser *p, str name)
{
    char id[] = "call_........................";
    for (char *c = id + 5; *c; c++) {
        uint64_t k = rng_below(&p->ids, 52);
        *c = (char)(k < 26 ? 'a' + k : 'A' + (k - 26));
    }
    p->params.sink(p->params.ctx, &(struct chat_event){.kind = CHAT_CALL_BEGIN,
                                                       .i_call = p->n_begun++,
                                                       .id = str_of(id),
                                                       .name = name});
}

void chat_end_call(struct chat_parser *p, str arguments)
{
    chat_emit(p, CHAT_CALL_ARGUMENTS, arguments);
    p->params.sink(p->params.ctx,
                   &(struct chat_event){.kind = CHAT_CALL_END, .i_call = p->n_begun - 1});
    p->n_calls++;
}

void chat_put_content(struct chat_parser *p, bool hold)
{
    if (p->text_end <= p->done)
        return;
    if (p->after_call && !p->has_content)
        p->done += chat_blank(chat_rest(p, p->done));
    str text = part(p, p->done, p->text_end);
    if (hold)
        text.n = chat_whole(text);
    if (text.n == 0)
        return;
    chat_emit(p, CHAT_CONTENT, text);
    p->done += text.n;
    p->has_content = true;
    p->after_call = false;
}

void chat_go(struct chat_parser *p, enum chat_state state, size_t position)
{
    p->state = state;
    p->done = p->scan = p->text_end = position;
    if (state == CHAT_AFTER_CALL) {
        p->after_call = true;
        p->lines = (struct chat_lines){0};
    }
}

/* ---- reasoning ---- */

static bool step_start(struct chat_parser *p)
{
    str open = STR("<think>");
    p->scan += chat_blank(chat_rest(p, p->scan));
    enum chat_match m = chat_match(p, chat_rest(p, p->scan), open);
    if (m == CHAT_YES)
        chat_go(p, CHAT_IN_THINK, p->scan + open.n);
    else if (m == CHAT_NO)
        chat_go(p, CHAT_IN_CONTENT, p->done);
    return m != CHAT_MAYBE;
}

/* Delivers reasoning up to position `to`, without line ends at both ends of the whole. */
static void put_reasoning(struct chat_parser *p, size_t to, bool hold)
{
    str s = part(p, p->done, to);
    size_t from = 0;
    while (!p->has_thought && from < s.n && (s.p[from] == '\n' || s.p[from] == '\r'))
        from++;
    p->done += from;
    s = str_sub(s, from, s.n);
    if (hold)
        s.n = chat_whole(s);
    while (s.n && (s.p[s.n - 1] == '\n' || s.p[s.n - 1] == '\r'))
        s.n--;
    chat_emit(p, CHAT_REASONING, s);
    p->done += s.n;
    p->has_thought = p->has_thought || s.n;
}

static bool step_think(struct chat_parser *p)
{
    str close = STR("</think>");
    str s = chat_rest(p, p->scan);
    for (size_t i = 0; i < s.n; i++) {
        const char *hit = memchr(s.p + i, '<', s.n - i);
        if (!hit)
            break;
        i = (size_t)(hit - s.p);
        enum chat_match m = chat_match(p, str_sub(s, i, SIZE_MAX), close);
        if (m == CHAT_NO)
            continue;
        p->scan += i;
        put_reasoning(p, p->scan, m == CHAT_MAYBE);
        if (m == CHAT_YES)
            chat_go(p, CHAT_AFTER_THINK, p->scan + close.n);
        return m == CHAT_YES;
    }
    p->scan = end_of(p);
    put_reasoning(p, p->scan, !p->final);
    if (p->final)
        p->done = p->scan;
    return false;
}

static bool step_after_think(struct chat_parser *p)
{
    str s = chat_rest(p, p->done);
    size_t n = 0;
    while (n < s.n && (s.p[n] == '\n' || s.p[n] == '\r'))
        n++;
    chat_go(p, n < s.n ? CHAT_IN_CONTENT : CHAT_AFTER_THINK, p->done + n);
    return n < s.n;
}

/* ---- content ---- */

/* A call starts at .scan: content ends before it. */
static void enter_call(struct chat_parser *p, const struct chat_head *head)
{
    chat_put_content(p, false);
    size_t inside = p->scan + head->n_bytes;
    if (head->cut_off) {
        chat_go(p, CHAT_CUT_OFF, end_of(p));
    } else if (head->is_json) {
        p->depth = 0;
        p->in_string = p->escaped = false;
        chat_go(p, CHAT_IN_JSON, inside);
    } else {
        p->tool = NULL;
        for (size_t i = 0; i < p->params.n_tools && !p->tool; i++) {
            if (str_eq(p->params.tools[i].name, head->name))
                p->tool = &p->params.tools[i];
        }
        buf_clear(&p->given);
        chat_begin_call(p, head->name);
        chat_emit(p, CHAT_CALL_ARGUMENTS, STR("{"));
        chat_go(p, CHAT_IN_XML, inside);
    }
}

static bool step_content(struct chat_parser *p)
{
    for (; p->scan < end_of(p); p->scan++) {
        char c = chat_rest(p, p->scan).p[0];
        if (c == '<' && p->params.n_tools && !chat_lines_code(&p->lines)) {
            struct chat_head head;
            enum chat_match m =
                chat_match_head(p, chat_rest(p, p->scan), !p->lines.has_text, &head);
            if (m == CHAT_YES) {
                enter_call(p, &head);
                return true;
            }
            if (m == CHAT_MAYBE)
                break;
        }
        chat_lines_put(&p->lines, c);
        if (!is_blank(c))
            p->text_end = p->scan + 1;
    }
    if (p->final && (!p->after_call || p->text_end > p->done))
        p->text_end = p->scan;
    chat_put_content(p, !p->final);
    return false;
}

static bool step_after_call(struct chat_parser *p)
{
    p->scan += chat_blank(chat_rest(p, p->scan));
    str s = chat_rest(p, p->scan);
    str closers[] = {STR("</tool_call>"), STR("</function>")};
    bool maybe = false;
    for (int i = 0; i < 2; i++) {
        if (str_starts(s, closers[i])) {
            chat_go(p, CHAT_AFTER_CALL, p->scan + closers[i].n);
            return true;
        }
        maybe = maybe || str_starts(closers[i], s);
    }
    /* At the end, what could have become a closing tag is none, but no content either. */
    if (!maybe)
        chat_go(p, CHAT_IN_CONTENT, p->done);
    return !maybe;
}

static bool step_cut_off(struct chat_parser *p)
{
    p->done = p->scan = end_of(p);
    return false;
}

/* ---- the public functions ---- */

struct chat_parser *chat_parser_open(const struct chat_parser_params *params)
{
    struct chat_parser *p = mem_new(1, sizeof *p);
    *p = (struct chat_parser){.params = *params, .ids = {params->id_seed}};
    return p;
}

static void run(struct chat_parser *p)
{
    static bool (*const steps[])(struct chat_parser *) = {
        [CHAT_AT_START] = step_start,          [CHAT_IN_THINK] = step_think,
        [CHAT_AFTER_THINK] = step_after_think, [CHAT_IN_CONTENT] = step_content,
        [CHAT_IN_JSON] = chat_step_json,       [CHAT_IN_BROKEN] = chat_step_broken,
        [CHAT_IN_XML] = chat_step_xml,         [CHAT_IN_VALUE] = chat_step_value,
        [CHAT_AFTER_CALL] = step_after_call,   [CHAT_CUT_OFF] = step_cut_off,
    };
    while (steps[p->state](p))
        continue;
    buf_drop(&p->in, p->done - p->base);
    p->base = p->done;
}

void chat_parser_put(struct chat_parser *p, str text)
{
    buf_str(&p->in, text);
    run(p);
}

void chat_parser_end(struct chat_parser *p)
{
    p->final = true;
    run(p);
}

size_t chat_parser_n_calls(const struct chat_parser *p)
{
    return p->n_calls;
}

void chat_parser_close(struct chat_parser *p)
{
    if (!p)
        return;
    buf_free(&p->in);
    buf_free(&p->given);
    free(p);
}
