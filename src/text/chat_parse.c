/* chat: the parser's frame: reasoning, content and the way into calls and out of them. */
#include "text/chat_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

enum { MAX_MARK = 32 };

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
    if (text.n && !(kind == CHAT_CALL_ARGUMENTS && p->broken))
        p->params.sink(p->params.ctx,
                       &(struct chat_event){
                           .kind = kind, .text = text, .i_call = p->n_begun ? p->n_begun - 1 : 0});
}

const struct chat_tool *chat_tool_of(const struct chat_parser *p, str name)
{
    for (size_t i = 0; i < p->params.n_tools; i++) {
        if (str_eq(p->params.tools[i].name, name))
            return &p->params.tools[i];
    }
    return NULL;
}

void chat_begin_call(struct chat_parser *p, str name)
{
    char id[] = "call_........................";
    for (char *c = id + 5; *c; c++) {
        uint64_t k = rng_below(&p->ids, 52);
        *c = (char)(k < 26 ? 'a' + k : 'A' + (k - 26));
    }
    p->broken = p->mended = false;
    p->params.sink(p->params.ctx, &(struct chat_event){.kind = CHAT_CALL_BEGIN,
                                                       .i_call = p->n_begun++,
                                                       .id = str_of(id),
                                                       .name = name});
}

void chat_end_call(struct chat_parser *p)
{
    enum chat_flaw flaw = p->broken ? CHAT_CUT : p->mended ? CHAT_MENDED : CHAT_SOUND;
    p->params.sink(
        p->params.ctx,
        &(struct chat_event){.kind = CHAT_CALL_END, .i_call = p->n_begun - 1, .flaw = flaw});
    p->n_calls += flaw != CHAT_CUT;
    p->n_cut += flaw == CHAT_CUT;
}

void chat_cut_call(struct chat_parser *p)
{
    p->broken = true;
    chat_end_call(p);
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

/* A marker of n bytes at .scan means nothing here: it is as if it had not come. */
static void drop_marker(struct chat_parser *p, size_t n)
{
    size_t at = p->scan - p->base;
    memmove(p->in.p + at, p->in.p + at + n, p->in.n - at - n);
    p->in.n -= n;
}

/* ---- reasoning ---- */

static void enter_think(struct chat_parser *p, size_t position)
{
    if (p->has_thought)
        chat_emit(p, CHAT_REASONING, STR("\n"));
    p->has_thought = false;
    p->call_at = SIZE_MAX;
    p->lines = (struct chat_lines){0};
    chat_go(p, CHAT_IN_THINK, position);
}

/* A bare JSON call is the whole reply, or what follows another one. */
static bool opens_bare(const struct chat_parser *p)
{
    return p->params.format == CHAT_LLAMA_JSON && p->params.n_tools && !p->no_bare &&
           str_starts(chat_rest(p, p->scan), STR("{"));
}

static void enter_bare(struct chat_parser *p)
{
    p->is_bare = true;
    p->done = p->scan; /* if it is none, the white space before it does not matter either */
    chat_enter_json(p, p->scan);
}

static bool step_start(struct chat_parser *p)
{
    str open = STR("<think>"), close = STR("</think>");
    p->scan += chat_blank(chat_rest(p, p->scan));
    str s = chat_rest(p, p->scan);
    enum chat_match opens = chat_match(p, s, open);
    enum chat_match closes = chat_match(p, s, close);
    if (opens == CHAT_YES)
        enter_think(p, p->scan + open.n);
    else if (closes == CHAT_YES)
        chat_go(p, CHAT_AFTER_THINK, p->scan + close.n);
    else if (opens == CHAT_MAYBE || closes == CHAT_MAYBE)
        return false;
    else if (p->params.in_reasoning)
        enter_think(p, p->done);
    else if (opens_bare(p))
        enter_bare(p);
    else
        chat_go(p, CHAT_IN_CONTENT, p->done);
    return true;
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

/* Does a call start at .scan, outside of code? */
static enum chat_match match_call(const struct chat_parser *p, struct chat_head *head)
{
    if (!p->params.n_tools || chat_lines_code(&p->lines))
        return CHAT_NO;
    return chat_match_head(p, chat_rest(p, p->scan), !p->lines.has_text, head);
}

/* The reply ended inside the reasoning: a call in there was meant as one, if the model had no more
 * to say. */
static bool end_think(struct chat_parser *p)
{
    bool calls = p->by_model && p->call_at != SIZE_MAX;
    put_reasoning(p, calls ? p->call_at : p->scan, false);
    if (calls)
        chat_go(p, CHAT_IN_CONTENT, p->call_at);
    else
        p->done = p->scan;
    p->lines = (struct chat_lines){0};
    return calls;
}

/* What looks like a call is held back until the reasoning ends: behind </think> comes the real one,
 * but models forget to close. */
static bool step_think(struct chat_parser *p)
{
    str close = STR("</think>");
    for (; p->scan < end_of(p); p->scan++) {
        struct chat_head head = {0};
        str s = chat_rest(p, p->scan);
        enum chat_match closes = s.p[0] == '<' ? chat_match(p, s, close) : CHAT_NO;
        enum chat_match calls = CHAT_NO;
        if (s.p[0] == '<' && p->call_at == SIZE_MAX && closes == CHAT_NO)
            calls = match_call(p, &head);
        if (closes == CHAT_YES) {
            put_reasoning(p, p->scan, false);
            chat_go(p, CHAT_AFTER_THINK, p->scan + close.n);
            p->lines = (struct chat_lines){0};
            return true;
        }
        if (closes == CHAT_MAYBE || calls == CHAT_MAYBE)
            break;
        if (calls == CHAT_YES && !head.cut_off)
            p->call_at = p->scan;
        chat_lines_put(&p->lines, s.p[0]);
    }
    if (p->final)
        return end_think(p);
    put_reasoning(p, p->call_at < p->scan ? p->call_at : p->scan, true);
    return false;
}

static bool step_after_think(struct chat_parser *p)
{
    str s = chat_rest(p, p->done);
    size_t n = 0;
    while (n < s.n && (s.p[n] == '\n' || s.p[n] == '\r'))
        n++;
    chat_go(p, CHAT_AFTER_THINK, p->done + n);
    if (n == s.n)
        return false;
    if (opens_bare(p))
        enter_bare(p);
    else
        chat_go(p, CHAT_IN_CONTENT, p->done);
    return true;
}

/* ---- content ---- */

/* A call starts at .scan: content ends before it. */
static void enter_call(struct chat_parser *p, const struct chat_head *head)
{
    chat_put_content(p, false);
    size_t inside = p->scan + head->n_bytes;
    p->is_bare = false;
    if (head->cut_off)
        chat_go(p, CHAT_CUT_OFF, end_of(p));
    else if (head->is_json)
        chat_enter_json(p, inside);
    else
        chat_enter_tags(p, head, inside);
}

/* Markers that mean nothing in content, NULL-terminated. */
static const char *const *strays_of(const struct chat_parser *p)
{
    static const char *const none[] = {"</think>", NULL};
    static const char *const json[] = {"</think>", "<tool_call>", "</tool_call>", NULL};
    static const char *const qwen[] = {"</think>",     "<tool_call>", "</tool_call>",
                                       "</parameter>", "</function>", NULL};
    static const char *const glm[] = {"</think>",   "<tool_call>", "</tool_call>", "<arg_key>",
                                      "</arg_key>", "<arg_value>", "</arg_value>", NULL};
    static const char *const *const lists[CHAT_N_FORMATS] = {
        [CHAT_QWEN_XML] = qwen, [CHAT_HERMES_JSON] = json, [CHAT_HARMONY] = none,
        [CHAT_GLM] = glm,       [CHAT_LLAMA_JSON] = json,  [CHAT_PLAIN] = none,
    };
    return p->params.n_tools ? lists[p->params.format] : none;
}

/* Does such a marker stand at .scan? Its length. Code may show markers, and those of calls are text
 * to a model that has no tools. */
static enum chat_match match_stray(const struct chat_parser *p, size_t *n)
{
    enum chat_match best = CHAT_NO;
    if (chat_lines_code(&p->lines))
        return CHAT_NO;
    for (const char *const *stray = strays_of(p); *stray; stray++) {
        enum chat_match m = chat_match(p, chat_rest(p, p->scan), str_of(*stray));
        if (m == CHAT_YES)
            *n = str_of(*stray).n;
        best = m > best ? m : best;
    }
    return best;
}

static bool step_content(struct chat_parser *p)
{
    while (p->scan < end_of(p)) {
        char c = chat_rest(p, p->scan).p[0];
        if (c == '<') {
            struct chat_head head;
            size_t n_stray = 0;
            enum chat_match call = match_call(p, &head);
            enum chat_match stray = call == CHAT_NO ? match_stray(p, &n_stray) : CHAT_NO;
            if (call == CHAT_YES) {
                enter_call(p, &head);
                return true;
            }
            if (call == CHAT_MAYBE || stray == CHAT_MAYBE)
                break;
            if (stray == CHAT_YES) {
                drop_marker(p, n_stray);
                continue;
            }
        }
        chat_lines_put(&p->lines, c);
        p->scan++;
        if (!is_blank(c))
            p->text_end = p->scan;
    }
    if (p->final && (!p->after_call || p->text_end > p->done))
        p->text_end = p->scan;
    chat_put_content(p, !p->final);
    return false;
}

/* Closing tags; after a JSON call more brackets than were opened, and what parts bare ones. */
static enum chat_match match_closer(const struct chat_parser *p, str s, size_t *n)
{
    str closers[] = {STR("</tool_call>"), STR("</function>"), STR("}"), STR(";")};
    enum chat_match best = CHAT_NO;
    for (int i = 0; i < (p->tags ? 2 : p->is_bare ? 4 : 3); i++) {
        /* At the end, what could have become a closing tag is none, but no content either. */
        enum chat_match m = str_starts(s, closers[i])   ? CHAT_YES
                            : str_starts(closers[i], s) ? CHAT_MAYBE
                                                        : CHAT_NO;
        if (m == CHAT_YES)
            *n = closers[i].n;
        best = m > best ? m : best;
    }
    return best;
}

static bool step_after_call(struct chat_parser *p)
{
    size_t n = 0;
    str open = STR("<think>");
    p->scan += chat_blank(chat_rest(p, p->scan));
    str s = chat_rest(p, p->scan);
    enum chat_match closes = match_closer(p, s, &n);
    enum chat_match thinks = chat_match(p, s, open);
    if (closes == CHAT_YES)
        chat_go(p, CHAT_AFTER_CALL, p->scan + n);
    else if (thinks == CHAT_YES)
        enter_think(p, p->scan + open.n);
    else if (closes == CHAT_MAYBE || thinks == CHAT_MAYBE)
        return false;
    else if (opens_bare(p))
        enter_bare(p);
    else
        chat_go(p, CHAT_IN_CONTENT, p->done);
    return true;
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
    *p = (struct chat_parser){
        .params = *params, .ids = {params->id_seed}, .harmony.channel_at = SIZE_MAX};
    return p;
}

static void run(struct chat_parser *p)
{
    static bool (*const steps[])(struct chat_parser *) = {
        [CHAT_AT_START] = step_start,          [CHAT_IN_THINK] = step_think,
        [CHAT_AFTER_THINK] = step_after_think, [CHAT_IN_CONTENT] = step_content,
        [CHAT_IN_JSON] = chat_step_json,       [CHAT_IN_BROKEN] = chat_step_broken,
        [CHAT_IN_LOST] = chat_step_lost,       [CHAT_IN_TAGS] = chat_step_tags,
        [CHAT_IN_VALUE] = chat_step_value,     [CHAT_AFTER_CALL] = step_after_call,
        [CHAT_CUT_OFF] = step_cut_off,
    };
    while (steps[p->state](p))
        continue;
    buf_drop(&p->in, p->done - p->base);
    p->base = p->done;
}

void chat_parser_put(struct chat_parser *p, str text)
{
    if (p->params.format == CHAT_HARMONY) {
        chat_harmony_put(p, text);
        return;
    }
    buf_str(&p->in, text);
    run(p);
}

bool chat_parser_in_answer(const struct chat_parser *p)
{
    const struct chat_harmony *h = &p->harmony;
    if (p->params.format == CHAT_HARMONY)
        return h->in_body ? h->kind == HARMONY_CONTENT : !h->any_mark;
    switch (p->state) {
    case CHAT_AT_START: return !p->params.in_reasoning;
    case CHAT_IN_THINK:
    case CHAT_IN_JSON:
    case CHAT_IN_LOST:
    case CHAT_IN_TAGS:
    case CHAT_IN_VALUE: return false;
    default: return true;
    }
}

void chat_parser_end(struct chat_parser *p, bool by_model)
{
    p->final = true;
    p->by_model = by_model;
    if (p->params.format == CHAT_HARMONY)
        chat_harmony_end(p);
    else
        run(p);
}

size_t chat_parser_n_calls(const struct chat_parser *p)
{
    return p->n_calls;
}

size_t chat_parser_n_cut(const struct chat_parser *p)
{
    return p->n_cut;
}

void chat_parser_close(struct chat_parser *p)
{
    if (!p)
        return;
    buf_free(&p->in);
    buf_free(&p->given);
    chat_members_free(&p->members);
    free(p);
}

/* ---- tokens that are marks ---- */

/* What stands for a mark in the text of the formats that have no machine of their own. Llama's tag
 * comes before a call as <tool_call> does for others; empty: none. */
static str text_of_mark(enum chat_format f, str token)
{
    static const char *const tags[] = {"<think>",    "</think>",    "<tool_call>", "</tool_call>",
                                       "<arg_key>",  "</arg_key>",  "<arg_value>", "</arg_value>",
                                       "<function=", "</function>", "<parameter=", "</parameter>"};
    if (f == CHAT_LLAMA_JSON && str_eq(token, STR("<|python_tag|>")))
        return STR("<tool_call>");
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        if (str_eq(token, str_of(tags[i])))
            return token;
    }
    return STR("");
}

bool chat_is_mark(enum chat_format f, const struct tok *t, int32_t id)
{
    enum tok_type type = tok_type(t, id);
    if (f == CHAT_HARMONY)
        return (type == TOK_CONTROL || type == TOK_USER_DEFINED) &&
               chat_harmony_is_mark(tok_bytes(t, id));
    return type == TOK_CONTROL && text_of_mark(f, tok_bytes(t, id)).n;
}

void chat_parser_mark(struct chat_parser *p, str token)
{
    if (p->params.format == CHAT_HARMONY)
        chat_harmony_mark(p, token);
    else
        chat_parser_put(p, text_of_mark(p->params.format, token));
}

/* Bytes of the token like <|this|> that s starts with; 0: none. */
static size_t mark_size(str s)
{
    s = str_sub(s, 0, MAX_MARK);
    size_t end = str_starts(s, STR("<|")) ? str_find(s, STR("|>"), 2) : SIZE_MAX;
    return end == SIZE_MAX ? 0 : end + 2;
}

void chat_parser_put_marked(struct chat_parser *p, str text)
{
    enum chat_format f = p->params.format;
    size_t from = 0;
    for (size_t at = 0; at < text.n; at++) {
        size_t n = mark_size(str_sub(text, at, SIZE_MAX));
        str mark = str_sub(text, at, at + n);
        bool is_mark = f == CHAT_HARMONY ? chat_harmony_is_mark(mark)
                                         : f == CHAT_LLAMA_JSON && text_of_mark(f, mark).n;
        if (!is_mark)
            continue;
        chat_parser_put(p, str_sub(text, from, at));
        chat_parser_mark(p, mark);
        from = at + n;
        at = from - 1;
    }
    chat_parser_put(p, str_sub(text, from, SIZE_MAX));
}
