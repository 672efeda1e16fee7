#include "cmd/talk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "cmd/term.h"

enum { POLL_MS = 50 };

/* A reply on its way to the screen. */
struct reply {
    struct buf content, reasoning; /* what the conversation keeps */
    struct tok_ids ids;            /* as sampled */
    struct buf opening;            /* what the prompt had written of it */
    bool is_whole;                 /* the model itself ended it */
    struct buf shown;              /* a piece on its way out */
    bool tty;                      /* stderr is a terminal: reasoning is shown */
    bool safe;                     /* stdout is a terminal: no escape sequences */
    bool thinking;                 /* the last thing shown was reasoning */
    bool failed;                   /* stdout does not take any more */
};

static void show_content(struct reply *r, str text)
{
    if (r->thinking)
        fprintf(stderr, "%s\n", term_plain(stderr));
    r->thinking = false;
    buf_str(&r->content, text);
    buf_clear(&r->shown);
    if (r->safe)
        term_safe(text, &r->shown);
    else
        buf_str(&r->shown, text);
    if (!term_write(buf_view(&r->shown), stdout) || fflush(stdout))
        r->failed = true;
}

static void show_reasoning(struct reply *r, str text)
{
    buf_str(&r->reasoning, text);
    if (!r->tty)
        return;
    if (!r->thinking)
        fputs(term_dim(stderr), stderr);
    r->thinking = true;
    buf_clear(&r->shown);
    term_safe(text, &r->shown);
    term_write(buf_view(&r->shown), stderr);
}

static void on_event(void *ctx, const struct chat_event *event)
{
    switch (event->kind) {
    case CHAT_CONTENT: show_content(ctx, event->text); break;
    case CHAT_REASONING: show_reasoning(ctx, event->text); break;
    case CHAT_CALL_BEGIN:
    case CHAT_CALL_ARGUMENTS:
    case CHAT_CALL_END: break; /* no tools are offered */
    }
}

/* The prompt's tokens: the text itself, or the conversation in the model's layout, with the
 * replies as they were sampled. */
static bool encode_prompt(const struct talk *t, str text, struct tok_ids *ids, struct buf *opening,
                          bool *in_reasoning, struct err *e)
{
    const struct tok *tok = engine_tok(t->engine);
    *in_reasoning = false;
    if (t->raw) {
        if (tok_add_bos(tok) && tok_bos(tok) >= 0)
            tok_ids_put(ids, tok_bos(tok));
        tok_encode(tok, text, &(struct tok_params){.special = true}, ids);
        return true;
    }
    struct chat_prompt p = {0};
    const struct chat_request r = {
        .messages = t->messages, .n_messages = t->n_messages, .now_unix = t->began_unix};
    if (!chat_render(t->chat, &r, &p, e))
        return false;
    chat_prompt_encode(&p, tok, ids);
    buf_str(opening, p.opening);
    *in_reasoning = p.in_reasoning;
    chat_prompt_free(&p);
    return true;
}

/* Text of the model as it comes: straight to the screen, or through the parser that tells
 * reasoning from answer. */
struct stream {
    struct tok_stream tokens;
    struct chat_parser *parser; /* NULL: raw */
    enum chat_format format;
    struct reply *reply;
    struct buf text;
};

static void stream_flush(struct stream *s)
{
    if (s->parser)
        chat_parser_put(s->parser, buf_view(&s->text));
    else if (s->text.n)
        show_content(s->reply, buf_view(&s->text));
    buf_clear(&s->text);
}

static void stream_token(struct stream *s, int32_t id)
{
    tok_ids_put(&s->reply->ids, id);
    bool is_mark = s->parser && chat_is_mark(s->format, s->tokens.tok, id);
    if (is_mark)
        tok_stream_end(&s->tokens, &s->text);
    else
        tok_stream_put(&s->tokens, id, &s->text);
    stream_flush(s);
    if (is_mark)
        chat_parser_mark(s->parser, tok_bytes(s->tokens.tok, id));
}

static void stream_end(struct stream *s, bool by_model)
{
    tok_stream_end(&s->tokens, &s->text);
    stream_flush(s);
    if (s->parser)
        chat_parser_end(s->parser, by_model);
}

/* Follows the job to its end. */
static struct job_event follow(struct job *j, const struct talk *t, struct stream *s, int *signal)
{
    struct bar bar;
    struct job_event ev;
    bar_open(&bar, "Reading", BAR_COUNT);
    do {
        int got = interrupt_take(t->interrupt);
        if (got || s->reply->failed)
            job_cancel(j);
        if (got)
            *signal = got;
        job_next(j, POLL_MS, &ev);
        if (ev.kind == JOB_PREFILL)
            bar_step(&bar, ev.n_done, ev.n_total);
        if (ev.kind == JOB_TOKEN) {
            bar_wipe(&bar);
            stream_token(s, ev.token.id);
        }
    } while (ev.kind != JOB_DONE);
    bar_close(&bar);
    stream_end(s, ev.finish == FINISH_STOP);
    return ev;
}

static double per_second(size_t n, uint64_t ns)
{
    return ns ? 1e9 * (double)n / (double)ns : 0;
}

static void show_stats(const struct job_usage *u, enum finish finish)
{
    size_t n_read = u->n_prompt - u->n_cached;
    fprintf(stderr, "%s[%zu tokens, %.1f/s; prompt %zu, %zu of them cached, %.1f/s%s]%s\n",
            term_dim(stderr), u->n_generated, per_second(u->n_generated, u->decode_ns), u->n_prompt,
            u->n_cached, per_second(n_read, u->prefill_ns),
            finish == FINISH_LENGTH      ? "; cut off at the limit"
            : finish == FINISH_CANCELLED ? "; stopped"
                                         : "",
            term_plain(stderr));
}

static struct chat_message *put_message(struct talk *t, enum chat_role role, str text)
{
    if (t->n_messages == t->room) {
        t->room = t->room ? 2 * t->room : 16;
        t->messages = mem_grow(t->messages, t->room, sizeof *t->messages);
    }
    t->messages[t->n_messages] =
        (struct chat_message){.role = role, .content = arena_str(&t->arena, text)};
    return &t->messages[t->n_messages++];
}

/* Keeps a reply; a whole one with its tokens, which stand in the next prompt as the model wrote
 * them, so that nothing of it is read again. */
static void put_reply(struct talk *t, const struct reply *r)
{
    struct chat_message *m = put_message(t, CHAT_ASSISTANT, buf_view(&r->content));
    if (!r->is_whole || !r->ids.n)
        return;
    struct chat_sample *sample = arena_new(&t->arena, 1, sizeof *sample);
    int32_t *ids = arena_new(&t->arena, r->ids.n, sizeof *ids);
    memcpy(ids, r->ids.ids, r->ids.n * sizeof *ids);
    *sample = (struct chat_sample){ids, r->ids.n, arena_str(&t->arena, buf_view(&r->opening))};
    m->sampled = sample;
    m->reasoning = arena_str(&t->arena, str_trim(buf_view(&r->reasoning)));
}

/* Runs the prompt and streams the reply. */
static bool run_job(struct talk *t, const struct tok_ids *ids, bool in_reasoning, struct reply *r,
                    int *signal, struct err *e)
{
    const struct job_params p = {.prompt = ids->ids,
                                 .n_prompt = ids->n,
                                 .max_tokens = t->max_tokens,
                                 .sampling = t->sampling};
    struct job *j = engine_submit(t->engine, &p, e);
    if (!j)
        return false;
    struct stream s = {.tokens = {.tok = engine_tok(t->engine)}, .reply = r};
    if (!t->raw) {
        s.format = chat_template_format(t->chat);
        s.parser = chat_parser_open(&(struct chat_parser_params){.format = s.format,
                                                                 .in_reasoning = in_reasoning,
                                                                 .id_seed = t->sampling.seed,
                                                                 .sink = on_event,
                                                                 .ctx = r});
    }
    struct job_event end = follow(j, t, &s, signal);
    struct job_usage usage = job_usage(j);
    job_close(j);
    chat_parser_close(s.parser);
    buf_free(&s.text);
    if (r->thinking)
        fputs(term_plain(stderr), stderr);
    if (end.finish == FINISH_ERROR)
        *e = end.error;
    if (r->failed)
        err_set(e, ERR_IO, "standard output does not take the reply");
    if (end.finish == FINISH_LOOP)
        fprintf(stderr, "\n%s[stopped: the model repeats itself]%s\n", term_dim(stderr),
                term_plain(stderr));
    bool ok = end.finish != FINISH_ERROR && !r->failed;
    r->is_whole = end.finish == FINISH_STOP;
    if (ok && r->content.n && r->content.p[r->content.n - 1] != '\n')
        fputs("\n", stdout);
    fflush(stdout);
    if (ok && t->stats)
        show_stats(&usage, end.finish);
    return ok;
}

bool talk_say(struct talk *t, str text, int *signal, struct err *e)
{
    struct reply r = {.tty = term_is_tty(stderr), .safe = term_is_tty(stdout)};
    struct tok_ids ids = {0};
    bool in_reasoning;
    *signal = 0;
    if (!t->n_messages)
        t->began_unix = clock_unix();
    if (!t->n_messages && t->system)
        put_message(t, CHAT_SYSTEM, str_of(t->system));
    put_message(t, CHAT_USER, text);
    bool ok = encode_prompt(t, text, &ids, &r.opening, &in_reasoning, e) &&
              run_job(t, &ids, in_reasoning, &r, signal, e);
    if (ok)
        put_reply(t, &r);
    else
        t->n_messages--;
    t->sampling.seed++; /* the same question again may get another answer */
    buf_free(&r.content);
    buf_free(&r.reasoning);
    buf_free(&r.opening);
    buf_free(&r.shown);
    free(r.ids.ids);
    free(ids.ids);
    return ok;
}

void talk_clear(struct talk *t)
{
    arena_free(&t->arena);
    free(t->messages);
    t->messages = NULL;
    t->n_messages = t->room = 0;
}
