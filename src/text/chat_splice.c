#include "text/chat_splice.h"

#include <stdlib.h>
#include <string.h>

#include "base/num.h"

/* A template's output that is being copied with changes. */
struct copy {
    const struct chat_layout *layout;
    const struct tok *tok;
    str header;
    str text;
    const struct jinja_spans *spans;
    size_t i_span; /* the first that ends after .done */
    size_t done;   /* of text: copied */
    struct chat_prompt *out;
};

static void put_span(struct chat_prompt *p, size_t from, size_t to)
{
    if (p->n_spans && p->spans[p->n_spans - 1].to == from) {
        p->spans[p->n_spans - 1].to = to;
        return;
    }
    if ((p->n_spans & (p->n_spans - 1)) == 0)
        p->spans = mem_grow(p->spans, p->n_spans ? 2 * p->n_spans : 1, sizeof *p->spans);
    p->spans[p->n_spans++] = (struct tok_span){from, to};
}

/* Copies the template's text up to `to`. */
static void copy_to(struct copy *c, size_t to)
{
    size_t shift = c->out->text.n - c->done;
    for (; c->i_span < c->spans->n && c->spans->at[c->i_span].from < to; c->i_span++) {
        const struct jinja_span *s = &c->spans->at[c->i_span];
        size_t from = s->from < c->done ? c->done : s->from;
        size_t end = s->to < to ? s->to : to;
        if (from < end)
            put_span(c->out, from + shift, end + shift);
        if (s->to > to)
            break;
    }
    buf_str(&c->out->text, str_sub(c->text, c->done, to));
    c->done = to;
}

/* Puts tokens, as they are. */
static void put_ids(struct copy *c, const int32_t *ids, size_t n)
{
    struct chat_prompt *p = c->out;
    struct chat_run run = {.from = p->text.n, .n_ids = n};
    if (n == 0)
        return;
    for (size_t i = 0; i < n; i++)
        buf_str(&p->text, tok_bytes(c->tok, ids[i]));
    run.to = p->text.n;
    run.ids = mem_new(n, sizeof *run.ids);
    memcpy(run.ids, ids, n * sizeof *ids);
    p->runs = mem_grow(p->runs, p->n_runs + 1, sizeof *p->runs);
    p->runs[p->n_runs++] = run;
}

/* ---- where a message's turn is ---- */

/* Positions in the template's text. */
struct turn {
    size_t from;  /* after the header */
    size_t first; /* of the answer: content or call */
    size_t to;    /* the token that ends it */
    bool reasons; /* reasoning is shown */
};

/* The last place before `to` where the header stands, behind it; SIZE_MAX: nowhere from `from` on.
 */
static size_t find_header(str text, str header, size_t from, size_t to)
{
    for (size_t at = to; at >= from + header.n; at--) {
        if (str_eq(str_sub(text, at - header.n, at), header))
            return at;
    }
    return SIZE_MAX;
}

/* A turn ends at a stop token, at the next header, and where a layout has no stop token there. */
static bool ends_turn(const struct copy *c, size_t at)
{
    static const struct {
        enum chat_format format;
        const char *text;
    } ends[] = {{CHAT_HARMONY, "<|end|>"},
                {CHAT_GLM, "<|user|>"},
                {CHAT_GLM, "<|observation|>"},
                {CHAT_GLM, "<|system|>"}};
    str rest = str_sub(c->text, at, SIZE_MAX);
    if (str_starts(rest, c->header))
        return true;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        if (c->layout->format == ends[i].format && str_starts(rest, str_of(ends[i].text)))
            return true;
    }
    size_t close = str_find(str_sub(rest, 0, 64), STR(">"), 0);
    int32_t id = close == SIZE_MAX ? -1 : tok_special(c->tok, str_sub(rest, 0, close + 1));
    return id >= 0 && tok_is_stop(c->tok, id);
}

/* Where the turn ends in the template's own text from `from` on; SIZE_MAX: not before `to`. */
static size_t find_end(const struct copy *c, size_t from, size_t to)
{
    for (size_t at = from; at < to; at++) {
        if (c->text.p[at] == c->header.p[0] || c->text.p[at] == '<') {
            if (ends_turn(c, at))
                return at;
        }
    }
    return to == c->text.n ? to : SIZE_MAX;
}

/* In harmony a turn goes on where another message of the assistant follows at once. */
static bool goes_on(const struct copy *c, size_t end)
{
    str rest = str_sub(c->text, end, SIZE_MAX), close = STR("<|end|>");
    return c->layout->format == CHAT_HARMONY && str_starts(rest, close) &&
           str_starts(str_sub(rest, close.n, SIZE_MAX), c->header);
}

/* The turn whose answer has this mark, and its reasoning the next one. A call's name may stand in
 * its result, too: the turn ends before that. */
static bool find_turn(const struct copy *c, uint8_t mark, struct turn *out)
{
    const struct jinja_spans *s = c->spans;
    size_t i = c->i_span;
    while (i < s->n && s->at[i].mark != mark && s->at[i].mark != mark + 1)
        i++;
    if (i == s->n)
        return false;
    size_t before = i ? num_max(s->at[i - 1].to, c->done) : 0;
    *out = (struct turn){.first = SIZE_MAX};
    out->from = find_header(c->text, c->header, before, s->at[i].from);
    for (bool more = true; more; i++) {
        bool last = i + 1 == s->n;
        out->reasons = out->reasons || s->at[i].mark == mark + 1;
        if (s->at[i].mark == mark && out->first == SIZE_MAX)
            out->first = s->at[i].from;
        out->to = find_end(c, s->at[i].to, last ? c->text.n : s->at[i + 1].from);
        bool same = !last && (s->at[i + 1].mark == mark || s->at[i + 1].mark == mark + 1);
        more = same && (out->to == SIZE_MAX || goes_on(c, out->to));
    }
    return out->first != SIZE_MAX && out->from != SIZE_MAX && out->to != SIZE_MAX;
}

/* ---- what stands there ---- */

size_t chat_answer_at(enum chat_format f, str reply)
{
    if (f == CHAT_HARMONY) {
        str next = STR("<|end|><|start|>assistant");
        size_t at =
            str_starts(reply, STR("<|channel|>analysis")) ? str_find(reply, next, 0) : SIZE_MAX;
        return at == SIZE_MAX ? 0 : at + next.n;
    }
    str text = str_trim(reply);
    size_t at = str_find(reply, STR("</think>"), 0);
    if (at == SIZE_MAX || !(str_starts(text, STR("<think>")) || str_starts(text, STR("</think>"))))
        return 0;
    for (at += 8; at < reply.n && reply.p[at] == '\n';)
        at++;
    return at;
}

/* The reply with what its prompt had opened it with. */
static str whole_text(const struct copy *c, const struct chat_sample *s, struct arena *a)
{
    struct buf text = {0};
    buf_str(&text, s->opening);
    for (size_t i = 0; i < s->n_ids; i++)
        buf_str(&text, tok_bytes(c->tok, s->ids[i]));
    str copy = arena_str(a, buf_view(&text));
    buf_free(&text);
    return copy;
}

/* The first token at or after byte `at` of the whole text; false when `at` is inside one. */
static bool token_at(const struct copy *c, const struct chat_sample *s, size_t at, size_t *out)
{
    size_t n = s->opening.n, i = 0;
    while (i < s->n_ids && n < at)
        n += tok_bytes(c->tok, s->ids[i++]).n;
    *out = i;
    return n == at || i == 0;
}

/* The whole reply where the template shows the same reasoning or none was sampled; else from its
 * answer on, because the template drops old reasoning. */
static void put_reply(struct copy *c, const struct chat_sample *s, const struct turn *t)
{
    struct arena a = {0};
    str whole = whole_text(c, s, &a);
    size_t answer = chat_answer_at(c->layout->format, whole);
    str shown = str_sub(c->text, t->from, t->first);
    size_t shown_answer = chat_answer_at(c->layout->format, shown);
    bool same = str_eq(str_sub(shown, 0, shown_answer), str_sub(whole, 0, answer));
    size_t i = 0;
    if (t->reasons || same) {
        copy_to(c, t->from);
        buf_str(&c->out->text, s->opening);
        put_ids(c, s->ids, s->n_ids);
        c->done = t->to;
    } else if (token_at(c, s, answer, &i)) {
        copy_to(c, t->from + shown_answer);
        put_ids(c, s->ids + i, s->n_ids - i);
        c->done = t->to;
    }
    arena_free(&a);
}

void chat_splice(const struct chat_layout *l, const struct tok *tok,
                 const struct chat_request *adapted, struct buf *text,
                 const struct jinja_spans *spans, struct chat_prompt *out)
{
    struct copy c = {.layout = l,
                     .tok = tok,
                     .header = buf_view(&l->header),
                     .text = buf_view(text),
                     .spans = spans,
                     .out = out};
    for (size_t i = 0; tok && c.header.n && i < adapted->n_messages; i++) {
        struct turn t;
        if (!adapted->messages[i].sampled || !find_turn(&c, chat_mark(adapted, i), &t))
            continue;
        put_reply(&c, adapted->messages[i].sampled, &t);
        while (c.i_span < spans->n && spans->at[c.i_span].to <= c.done)
            c.i_span++;
    }
    copy_to(&c, c.text.n);
    buf_free(text);
}
