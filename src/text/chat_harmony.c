/* chat: harmony, the messages of gpt-oss (shared spec "chat", section 4). The model writes
 *
 *     <|channel|>analysis<|message|>TEXT<|end|><|start|>assistant<|channel|>final<|message|>TEXT
 *
 * and calls are messages to a recipient: " to=functions.NAME" before or behind the channel. The
 * marks are tokens and come apart from the text, so text that spells one is text. What a message
 * is, its header says: analysis is reasoning; commentary and final are content; a recipient makes a
 * call.
 *
 * A reply without its marks is read for what it most likely is: a header that is none is content; a
 * body starts without <|message|> where the words of the header end; any mark that begins a message
 * ends the one before. Turns of other roles, which the model only imagines, are dropped. */
#include "text/chat_int.h"

#include <string.h>

/* A header longer than this is the text of a message whose mark is missing. */
enum { MAX_HEADER = 200 };

enum mark { START, END, MESSAGE, CHANNEL, CONSTRAIN, RETURN, CALL, N_MARKS };

static enum mark mark_of(str token)
{
    static const char *const names[N_MARKS] = {
        [START] = "<|start|>",         [END] = "<|end|>",   [MESSAGE] = "<|message|>",
        [CHANNEL] = "<|channel|>",     [CALL] = "<|call|>", [RETURN] = "<|return|>",
        [CONSTRAIN] = "<|constrain|>",
    };
    enum mark m = 0;
    while (m < N_MARKS && !str_eq(token, str_of(names[m])))
        m++;
    return m;
}

bool chat_harmony_is_mark(str token)
{
    return mark_of(token) != N_MARKS;
}

/* ---- bodies ---- */

/* Delivers text of the message; with `hold`, without a character that more bytes may finish. */
static void put_text(struct chat_parser *p, bool hold)
{
    struct chat_harmony *h = &p->harmony;
    str text = buf_view(&p->in);
    if (hold)
        text.n = chat_whole(text);
    bool is_content = h->kind == HARMONY_CONTENT;
    bool *has_some = is_content ? &p->has_content : &p->has_thought;
    enum chat_event_kind kind = is_content ? CHAT_CONTENT : CHAT_REASONING;
    if (text.n && h->kind != HARMONY_NOTHING) {
        if (h->is_new && *has_some)
            chat_emit(p, kind, STR("\n\n"));
        chat_emit(p, kind, text);
        *has_some = true;
        h->is_new = false;
    }
    buf_drop(&p->in, text.n);
}

static void put_arguments(struct chat_parser *p)
{
    struct buf out = {0};
    str text = buf_view(&p->in);
    size_t n_blank = p->mend.state == MEND_FIRST && p->mend.depth == 0 ? chat_blank(text) : 0;
    str rest = str_sub(text, n_blank, SIZE_MAX);
    bool is_object = p->mend.depth || p->mend.state == MEND_DONE || str_starts(rest, STR("{"));
    if (rest.n) {
        size_t n = is_object ? mend_put(&p->mend, rest, &out) : 0;
        chat_emit(p, CHAT_CALL_ARGUMENTS, buf_view(&out));
        p->broken = p->broken || !is_object || p->mend.state == MEND_BROKEN;
        p->mended = p->mended || chat_blank(str_sub(rest, n, SIZE_MAX)) < rest.n - n;
    }
    buf_clear(&p->in);
    buf_free(&out);
}

/* The arguments of a message that was ended, not cut off. */
static void end_call(struct chat_parser *p)
{
    struct buf out = {0};
    if (p->mend.state == MEND_FIRST && p->mend.depth == 0 && !p->broken) {
        buf_str(&out, STR("{}"));
        p->mended = true;
    } else {
        p->broken = p->broken || !mend_close(&p->mend, &out);
        p->mended = p->mended || p->mend.mended;
    }
    chat_emit(p, CHAT_CALL_ARGUMENTS, buf_view(&out));
    buf_free(&out);
    chat_end_call(p);
}

static void put_body(struct chat_parser *p, bool hold)
{
    if (p->harmony.kind == HARMONY_CALL)
        put_arguments(p);
    else
        put_text(p, hold);
}

/* The message is over, unless a limit cut it off. */
static void end_body(struct chat_parser *p)
{
    struct chat_harmony *h = &p->harmony;
    put_body(p, false);
    bool cut = p->final && !p->by_model && p->mend.state != MEND_DONE;
    if (h->kind == HARMONY_CALL && cut)
        chat_cut_call(p);
    else if (h->kind == HARMONY_CALL)
        end_call(p);
    h->in_body = false;
}

/* ---- headers ---- */

static bool is_channel(str word)
{
    return str_eq(word, STR("analysis")) || str_eq(word, STR("commentary")) ||
           str_eq(word, STR("final"));
}

/* The word at the start of s, blanks before it left out; *rest: what follows it. */
static str next_word(str s, str *rest)
{
    s = str_sub(s, chat_blank(s), SIZE_MAX);
    size_t n = 0;
    while (n < s.n && !chat_blank(str_sub(s, n, n + 1)))
        n++;
    str role = STR("assistant"), glued = str_sub(s, role.n, n);
    if (str_starts(s, role) && is_channel(glued)) /* the mark between them is missing */
        n = role.n;
    *rest = str_sub(s, n, SIZE_MAX);
    return str_sub(s, 0, n);
}

/* Bytes of a header that are words of headers, when the mark that ends it is missing. */
static size_t header_size(const struct chat_parser *p)
{
    str header = buf_view(&p->given), rest = header;
    for (;;) {
        str tail;
        str word = next_word(rest, &tail);
        size_t brace = str_find(word, STR("{"), 0);
        size_t at = (size_t)(word.p - header.p);
        if (brace != SIZE_MAX && brace) { /* "json{" */
            word = str_sub(word, 0, brace);
            tail = str_sub(rest, at - (header.n - rest.n) + brace, SIZE_MAX);
        }
        bool is_first = p->harmony.channel_at <= at && p->harmony.channel_at >= header.n - rest.n;
        bool known = word.n && (is_first || is_channel(word) || str_starts(word, STR("to=")) ||
                                str_eq(word, STR("assistant")) || str_eq(word, STR("json")) ||
                                str_eq(word, STR("code")) || str_starts(word, STR("functions.")));
        if (!known)
            return header.n - rest.n;
        rest = tail;
    }
}

/* The name in "to=functions.NAME", or in "to=NAME" where the request has such a tool. Empty: the
 * message is no call. */
static str called_name(const struct chat_parser *p, str recipient)
{
    str prefix = STR("functions.");
    bool is_function = str_starts(recipient, prefix);
    str name = is_function ? str_sub(recipient, prefix.n, SIZE_MAX) : recipient;
    bool calls = p->params.n_tools && (is_function || chat_tool_of(p, name));
    return calls ? name : STR("");
}

/* What the header of n bytes says about its message. */
static void open_body(struct chat_parser *p, size_t n)
{
    struct chat_harmony *h = &p->harmony;
    str header = str_sub(buf_view(&p->given), 0, n), rest = header;
    str channel = STR(""), recipient = STR(""), role = STR("");
    for (str word; (word = next_word(rest, &rest)).n;) {
        size_t at = (size_t)(word.p - header.p);
        if (str_starts(word, STR("to=")))
            recipient = str_sub(word, 3, SIZE_MAX);
        else if (channel.n == 0 && (is_channel(word) || at >= h->channel_at))
            channel = word;
        else if (at < h->channel_at && role.n == 0)
            role = word;
    }
    bool foreign = h->after_start && role.n && !str_eq(role, STR("assistant"));
    bool reasons = str_starts(channel, STR("analysis"));
    str name = foreign ? STR("") : called_name(p, recipient);
    bool builtin = recipient.n && !name.n && p->params.n_tools &&
                   !str_starts(recipient, STR("assistant")) && !str_starts(recipient, STR("user"));
    h->kind = foreign              ? HARMONY_NOTHING
              : name.n             ? HARMONY_CALL
              : reasons || builtin ? HARMONY_REASONING
                                   : HARMONY_CONTENT;
    h->in_body = h->is_new = true;
    if (h->kind == HARMONY_CALL) {
        p->mend = (struct mend){0};
        chat_begin_call(p, name);
    }
}

static void new_header(struct chat_parser *p, bool after_start)
{
    p->harmony.in_body = false;
    p->harmony.after_start = after_start;
    p->harmony.channel_at = SIZE_MAX;
    buf_clear(&p->given);
}

/* The header goes no further, and no mark ended it: what is behind its words is the message. Words
 * alone are no message, and a reply that was cut off in them has none either. */
static void settle_header(struct chat_parser *p)
{
    struct chat_harmony *h = &p->harmony;
    size_t n = header_size(p);
    str text = str_sub(buf_view(&p->given), n, SIZE_MAX);
    bool is_partial = p->final && !p->by_model && h->any_mark;
    if (text.n == 0 || chat_blank(text) == text.n || is_partial) {
        new_header(p, false);
        return;
    }
    open_body(p, n);
    buf_clear(&p->in);
    buf_str(&p->in, n ? str_sub(text, chat_blank(text), SIZE_MAX) : text);
    put_body(p, true);
}

/* ---- what comes ---- */

static void header_byte(struct chat_parser *p, char c)
{
    buf_byte(&p->given, c);
    bool is_text = false;
    if (c == '\n' || c == '{') {
        str text = str_sub(buf_view(&p->given), header_size(p), SIZE_MAX);
        is_text = chat_blank(text) < text.n;
    }
    if (is_text || p->given.n >= MAX_HEADER)
        settle_header(p);
}

void chat_harmony_put(struct chat_parser *p, str text)
{
    size_t i = 0;
    for (; i < text.n && !p->harmony.in_body; i++)
        header_byte(p, text.p[i]);
    if (!p->harmony.in_body)
        return;
    buf_str(&p->in, str_sub(text, i, SIZE_MAX));
    put_body(p, true);
}

void chat_harmony_mark(struct chat_parser *p, str token)
{
    struct chat_harmony *h = &p->harmony;
    enum mark m = mark_of(token);
    if (m == MESSAGE && h->in_body)
        return;
    if (m == CONSTRAIN) {
        if (!h->in_body)
            buf_byte(&p->given, ' ');
        return;
    }
    h->any_mark = true;
    if (m == MESSAGE) {
        open_body(p, p->given.n);
        buf_clear(&p->in);
        return;
    }
    if (m == CHANNEL && !h->in_body) {
        h->channel_at = p->given.n;
        buf_byte(&p->given, ' ');
        return;
    }
    if (!h->in_body)
        settle_header(p);
    if (h->in_body)
        end_body(p);
    new_header(p, m == START);
    if (m == CHANNEL)
        h->channel_at = 0;
}

void chat_harmony_end(struct chat_parser *p)
{
    if (!p->harmony.in_body)
        settle_header(p);
    if (p->harmony.in_body)
        end_body(p);
}
