#include "server/reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "server/constrain.h"
#include "server/logprobs.h"
#include "server/metrics.h"
#include "server/protocol.h"
#include "server/stops.h"

enum { POLL_MS = 20 }; /* how long a step waits */

struct collected_call {
    str id, name;
    struct buf arguments;
};

struct reply {
    const struct server *server;
    struct reply_request to;
    struct openai_request *request; /* of .to */
    struct job *job;

    struct prompt prompt;
    struct replay_reply sampled; /* what the conversation will bring back */
    struct tok_stream decode;
    struct stops stops;
    struct chat_parser *parser; /* NULL: a plain completion */
    struct buf bytes;           /* of one token: decoded, */
    struct buf piece, clean;    /* as UTF-8, then past the stop strings */
    size_t n_decoded, n_clean;  /* bytes of the reply so far */
    size_t n_tokens, n_reasoning;
    bool brought_reasoning; /* the last token did */
    struct logprobs logprobs;
    struct job_event progress; /* the last JOB_PREFILL */
    struct metrics_run run;
    uint64_t first_ns; /* from the request to the first token; 0: none came */

    struct buf *out; /* streaming: where bytes go at the moment */
    struct buf content, reasoning;
    struct buf warning, why; /* what the model wrote breaks the schema that was asked for */
    struct collected_call *calls;
    size_t n_calls;

    bool started;   /* the beginning is out */
    bool call_done; /* the one call that was allowed is complete */
    const char *finish;
    struct err error; /* code ERR_NONE: none */
    uint64_t queued_ns, sent_ns;
    unsigned n_idle;
};

/* ---- what the parser says ---- */

/* Is what the model wrote compared with a schema in the end? */
static bool is_checked(const struct reply *r)
{
    return r->request->content == OPENAI_SCHEMA || r->request->n_strict;
}

static struct collected_call *call_at(struct reply *r, size_t i)
{
    while (r->n_calls <= i) {
        r->calls = mem_grow(r->calls, r->n_calls + 1, sizeof *r->calls);
        r->calls[r->n_calls++] = (struct collected_call){0};
    }
    return &r->calls[i];
}

static void collect(struct reply *r, const struct chat_event *event)
{
    switch (event->kind) {
    case CHAT_CONTENT: buf_str(&r->content, event->text); break;
    case CHAT_REASONING: buf_str(&r->reasoning, event->text); break;
    case CHAT_CALL_BEGIN: {
        struct collected_call *call = call_at(r, event->i_call);
        call->id = arena_str(&r->request->arena, event->id);
        call->name = arena_str(&r->request->arena, event->name);
        break;
    }
    case CHAT_CALL_ARGUMENTS: buf_str(&call_at(r, event->i_call)->arguments, event->text); break;
    case CHAT_CALL_END: break;
    }
}

/* Log probabilities go with the text that they begin in; those of a reply at once, in the end. */
static void tell(struct reply *r, const struct chat_event *event)
{
    size_t n = r->out ? logprobs_before(&r->logprobs, r->n_clean) : 0;
    r->to.protocol->event(r->to.state, event, n ? r->logprobs.tokens : NULL, n, r->out);
    logprobs_drop(&r->logprobs, n);
}

static void on_event(void *ctx, const struct chat_event *event)
{
    struct reply *r = ctx;
    if (r->call_done)
        return;
    replay_event(&r->sampled, event);
    r->brought_reasoning |= event->kind == CHAT_REASONING;
    tell(r, event);
    if (!r->request->stream || is_checked(r))
        collect(r, event);
    if (event->kind == CHAT_CALL_END && event->flaw != CHAT_SOUND)
        log_info(&r->server->params.log, "%s: the arguments of call %zu %s", r->to.id,
                 event->i_call,
                 event->flaw == CHAT_MENDED ? "were not quite JSON and were put right"
                                            : "are no complete JSON");
    r->call_done = event->kind == CHAT_CALL_END && r->request->one_call;
}

/* ---- tokens to text ---- */

/* Did we end the reply, before the model did? */
static bool is_cut(const struct reply *r)
{
    return r->stops.hit || r->call_done;
}

static void pass_on(struct reply *r)
{
    str text = buf_view(&r->clean);
    r->n_clean += text.n;
    if (r->parser)
        chat_parser_put(r->parser, text);
    else if (text.n)
        on_event(r, &(struct chat_event){.kind = CHAT_CONTENT, .text = text});
    buf_clear(&r->clean);
}

/* Bytes of the text, which come next, that stop strings are not looked for in: they are for the
 * answer. Reasoning and calls end with a tag. */
static size_t beside_answer(const struct reply *r, str text)
{
    if (!r->parser || r->stops.held.n || chat_parser_in_answer(r->parser))
        return 0;
    const size_t tag_end = str_find(text, STR(">"), 0);
    return tag_end == SIZE_MAX ? text.n : tag_end + 1;
}

/* What is no UTF-8 (half of a character that a limit cut off) is U+FFFD on the wire. It is so for
 * everybody here, too: a reply that comes back is known by the text that its client saw. */
static void put_bytes(struct reply *r)
{
    buf_clear(&r->piece);
    utf8_clean(buf_view(&r->bytes), &r->piece);
    buf_clear(&r->bytes);
    r->n_decoded += r->piece.n;
    for (str rest = buf_view(&r->piece); rest.n && !r->stops.hit;) {
        const size_t n_beside = beside_answer(r, rest), n = n_beside ? n_beside : rest.n;
        if (n_beside)
            buf_str(&r->clean, str_sub(rest, 0, n));
        else
            stops_put(&r->stops, rest, &r->clean);
        pass_on(r);
        rest = str_sub(rest, n, rest.n);
    }
}

/* No token goes on with the text: what was held back comes out. */
static void end_text(struct reply *r)
{
    tok_stream_end(&r->decode, &r->bytes);
    put_bytes(r);
    if (!r->stops.hit)
        stops_end(&r->stops, &r->clean);
    pass_on(r);
}

/* Stop strings look at text: a mark ends it, and nothing of it is in them. */
static void take_mark(struct reply *r, int32_t id)
{
    end_text(r);
    if (!r->stops.hit)
        chat_parser_mark(r->parser, tok_bytes(r->server->tok, id));
}

static void take_text(struct reply *r, int32_t id)
{
    tok_stream_put(&r->decode, id, &r->bytes);
    put_bytes(r);
}

static void take_token(struct reply *r, const struct job_event *event)
{
    int32_t id = event->token.id;
    r->n_tokens++;
    atomic_store(&r->run.n_generated, r->n_tokens);
    if (r->n_tokens == 1)
        r->first_ns = clock_ns() - r->queued_ns;
    replay_token(&r->sampled, id);
    if (r->request->want_logprobs)
        logprobs_put(&r->logprobs, r->server->tok, event, r->n_decoded);
    r->brought_reasoning = false;
    if (r->parser && chat_is_mark(r->server->format, r->server->tok, id))
        take_mark(r, id);
    else
        take_text(r, id);
    r->n_reasoning += r->brought_reasoning;
}

/* Schemas that must hold have keywords that no grammar holds. What was cut off is known to be
 * broken. */
static void check_schemas(struct reply *r)
{
    const struct openai_request *q = r->request;
    if (q->content == OPENAI_SCHEMA && r->n_calls == 0 &&
        !constrain_check(q->schema, q->schema, buf_view(&r->content), &r->why))
        buf_fmt(&r->warning, "The content does not keep to the schema: %.*s.",
                STRF(buf_view(&r->why)));
    for (size_t i = 0; i < r->n_calls && q->n_strict; i++) {
        const struct chat_tool *tool = NULL;
        for (size_t k = 0; k < q->conversation.n_tools && !tool; k++)
            if (str_eq(q->conversation.tools[k].name, r->calls[i].name))
                tool = &q->conversation.tools[k];
        buf_clear(&r->why);
        if (tool && json_bool(json_get(tool->spec, "strict")) &&
            !constrain_check(tool->parameters, tool->parameters, buf_view(&r->calls[i].arguments),
                             &r->why))
            buf_fmt(&r->warning, "The arguments of '%.*s' do not keep to its schema: %.*s. ",
                    STRF(tool->name), STRF(buf_view(&r->why)));
    }
    if (r->warning.n)
        log_warn(&r->server->params.log, "%s: %.*s", r->to.id, STRF(buf_view(&r->warning)));
}

/* A call that the model itself left broken is one all the same: a client that gets its arguments
 * tells the model what is wrong with them; one that believes it has an answer stops. */
static const char *finish_reason(const struct reply *r, enum finish finish)
{
    if (finish == FINISH_LENGTH && !is_cut(r))
        return "length";
    if (finish == FINISH_LOOP)
        return OPENAI_REPETITION;
    size_t n_calls = r->parser ? chat_parser_n_calls(r->parser) : 0;
    size_t n_cut = r->parser && !is_cut(r) ? chat_parser_n_cut(r->parser) : 0;
    return n_calls || n_cut ? "tool_calls" : "stop";
}

/* The end of the text: what was held back comes out. */
static void finish(struct reply *r, enum finish why)
{
    if (!r->stops.hit)
        end_text(r);
    const bool call_done = r->call_done;
    if (r->parser)
        chat_parser_end(r->parser, why == FINISH_STOP && !is_cut(r));
    r->call_done = call_done; /* a call that ends only here is not complete */
    r->finish = finish_reason(r, why);
    if (is_checked(r) && why == FINISH_STOP && !r->stops.hit)
        check_schemas(r);
    /* A stop string leaves less in the conversation than was sampled, and a call that a limit cut
     * off is better shown to the model as its template shows calls. */
    const bool cut_call = why != FINISH_STOP && r->parser && chat_parser_n_cut(r->parser) > 0;
    if (r->parser && !r->stops.hit && (!cut_call || r->call_done))
        replay_put(r->server->replay, &r->sampled, buf_view(&r->prompt.opening));
}

/* ---- the job ---- */

/* Cancels and waits for the end (300 ms at most, the engine promises): usage is known only then. */
static void stop_job(struct reply *r)
{
    struct job_event event;
    job_cancel(r->job);
    do
        job_next(r->job, 1000, &event);
    while (event.kind != JOB_DONE && event.kind != JOB_TIMEOUT);
}

/* The client hung up: the engine is told, and how long it took is worth knowing. */
static void abandon(struct reply *r)
{
    uint64_t from = clock_ns();
    stop_job(r);
    log_info(
        &r->server->params.log,
        "%s: the client went away after %zu of %zu prompt tokens and %zu generated; stopped in "
        "%.0f ms",
        r->to.id, r->progress.n_done, r->progress.n_total, r->n_tokens,
        1e-6 * (double)(clock_ns() - from));
}

static void done(struct reply *r, const struct job_event *event)
{
    if (event->finish == FINISH_ERROR)
        r->error = event->error;
    else if (event->finish == FINISH_CANCELLED)
        err_set(&r->error, ERR_CANCELLED, "the server is shutting down");
    else
        finish(r, event->finish);
}

static struct reply_progress progress_of(struct reply *r)
{
    return (struct reply_progress){.n_read = r->progress.n_done,
                                   .n_prompt = r->progress.n_total,
                                   .n_cached = job_usage(r->job).n_cached,
                                   .ns = clock_ns() - r->queued_ns,
                                   .n_idle = r->n_idle};
}

static void take_progress(struct reply *r, const struct job_event *event)
{
    r->progress = *event;
    atomic_store(&r->run.session, job_usage(r->job).session);
    atomic_store(&r->run.started, true);
    atomic_store(&r->run.n_read, event->n_done);
    struct reply_progress at = progress_of(r);
    if (r->to.protocol->progress)
        r->to.protocol->progress(r->to.state, &at, r->out);
}

/* Takes the job's next event, waiting a moment for it. False: the reply has ended (finish is set,
 * or error). */
static bool advance(struct reply *r)
{
    struct job_event event;
    job_next(r->job, POLL_MS, &event);
    switch (event.kind) {
    case JOB_TIMEOUT: return true;
    case JOB_PREFILL: take_progress(r, &event); return true;
    case JOB_TOKEN:
        take_token(r, &event);
        if (!is_cut(r))
            return true;
        stop_job(r);
        finish(r, FINISH_STOP);
        return false;
    case JOB_DONE: done(r, &event); return false;
    }
    return true;
}

static struct openai_usage usage_of(struct reply *r)
{
    struct job_usage u = job_usage(r->job);
    return (struct openai_usage){.n_prompt = u.n_prompt,
                                 .n_cached = u.n_cached,
                                 .n_generated = is_cut(r) ? r->n_tokens : u.n_generated,
                                 .n_reasoning = r->n_reasoning,
                                 .prompt_ns = u.prefill_ns,
                                 .reply_ns = u.decode_ns};
}

static void log_reply(struct reply *r)
{
    struct openai_usage u = usage_of(r);
    struct job_usage j = job_usage(r->job);
    log_info(&r->server->params.log,
             "%s: %zu prompt tokens (%zu cached), %zu generated, %s; queued %.2f s, prompt %.2f s, "
             "reply %.2f s",
             r->to.id, u.n_prompt, u.n_cached, u.n_generated,
             r->error.code ? r->error.msg : r->finish, 1e-9 * (double)j.queue_ns,
             1e-9 * (double)j.prefill_ns, 1e-9 * (double)j.decode_ns);
}

static void count_reply(struct reply *r)
{
    struct job_usage u = job_usage(r->job);
    const char *end = r->error.code == ERR_NONE && r->finish ? r->finish : "cancelled";
    if (r->error.code && r->error.code != ERR_CANCELLED)
        end = "error";
    metrics_end(r->server->metrics, &r->run, end, &u, r->first_ns);
}

void reply_close(struct reply *r)
{
    if (!r)
        return;
    if (r->job && !r->finish && !r->error.code) {
        abandon(r);
        count_reply(r);
    }
    job_close(r->job);
    chat_parser_close(r->parser);
    logprobs_free(&r->logprobs);
    stops_free(&r->stops);
    for (size_t i = 0; i < r->n_calls; i++)
        buf_free(&r->calls[i].arguments);
    free(r->calls);
    buf_free(&r->bytes);
    buf_free(&r->piece);
    buf_free(&r->clean);
    buf_free(&r->content);
    buf_free(&r->reasoning);
    buf_free(&r->warning);
    buf_free(&r->why);
    replay_reply_free(&r->sampled);
    prompt_free(&r->prompt);
    r->to.protocol->close(r->to.state);
    free(r);
}

/* ---- the end ---- */

/* What there is to tell of it. The tokens' log probabilities begin in text that is on the wire. */
static struct reply_end end_of(struct reply *r)
{
    size_t n = logprobs_before(&r->logprobs, r->n_clean);
    struct chat_call *calls = arena_new(&r->request->arena, r->n_calls + 1, sizeof *calls);
    for (size_t i = 0; i < r->n_calls; i++)
        calls[i] =
            (struct chat_call){r->calls[i].id, r->calls[i].name, buf_view(&r->calls[i].arguments)};
    return (struct reply_end){.finish = r->finish,
                              .stop = r->stops.found,
                              .usage = usage_of(r),
                              .warning = buf_view(&r->warning),
                              .tokens = n || !r->request->stream ? r->logprobs.tokens : NULL,
                              .n_tokens = n,
                              .content = buf_view(&r->content),
                              .reasoning = buf_view(&r->reasoning),
                              .calls = calls,
                              .n_calls = r->n_calls};
}

/* ---- streamed ---- */

static void keep_alive(struct reply *r)
{
    uint64_t interval_ns = (uint64_t)r->server->params.keepalive_ms * 1000000;
    if (clock_ns() - r->sent_ns < interval_ns)
        return;
    struct reply_progress at = progress_of(r);
    r->to.protocol->idle(r->to.state, &at, r->out);
    r->n_idle++;
}

static void finish_stream(struct reply *r)
{
    struct openai_error e;
    if (r->error.code) {
        openai_fail(&e, r->error.code == ERR_DEVICE ? 503 : 500, NULL, "%s", r->error.msg);
        r->to.protocol->fail(r->to.state, &e, r->out);
        return;
    }
    struct reply_end end = end_of(r);
    r->to.protocol->end(r->to.state, &end, r->out);
}

/* ---- at once ---- */

static void send_whole(struct reply *r, struct buf *out)
{
    struct reply_end end = end_of(r);
    r->to.protocol->whole(r->to.state, &end, out);
}

bool reply_failed(const struct reply *r, struct openai_error *e)
{
    if (r->error.code)
        openai_fail(e, 500, NULL, "%s", r->error.msg);
    return r->error.code != ERR_NONE;
}

/* ---- step by step ---- */

static void end_reply(struct reply *r, struct buf *out)
{
    if (r->request->stream)
        finish_stream(r);
    else if (!r->error.code)
        send_whole(r, out);
    log_reply(r);
    count_reply(r);
}

bool reply_step(struct reply *r, struct buf *out)
{
    const size_t n_before = out->n;
    r->out = r->request->stream ? out : NULL;
    if (r->out && !r->started) {
        r->started = true;
        r->to.protocol->begin(r->to.state, &(struct reply_progress){.n_prompt = r->prompt.ids.n},
                              out);
    } else if (!advance(r)) {
        end_reply(r, out);
        return false;
    }
    if (r->out && out->n == n_before)
        keep_alive(r);
    if (out->n != n_before)
        r->sent_ns = clock_ns();
    return true;
}

/* ---- the beginning ---- */

static void open_parser(struct reply *r)
{
    r->parser = chat_parser_open(&(struct chat_parser_params){
        .format = r->server->format,
        .tools = r->request->conversation.tools,
        .n_tools = r->request->conversation.n_tools,
        .in_reasoning = r->prompt.in_reasoning,
        .id_seed = server_random(),
        .sink = on_event,
        .ctx = r,
    });
}

/* What sampling_check would refuse, with the field's name. */
static bool check_bias(const struct reply *r, struct openai_error *e)
{
    const struct sampling *s = &r->request->sampling;
    const uint32_t n_vocab = engine_model(r->server->engine)->plan.n_vocab;
    for (size_t i = 0; i < s->n_bias; i++)
        if ((uint32_t)s->bias[i].id >= n_vocab) /* the parser has none below 0 */
            return openai_refuse(e, "logit_bias",
                                 "'logit_bias' has token %d; the model's are 0 to %u.",
                                 (int)s->bias[i].id, n_vocab - 1);
    return true;
}

bool reply_submit(struct reply *r, uint64_t hint, struct openai_error *e)
{
    const struct tok_ids *ids = &r->prompt.ids;
    struct constraint *constraint;
    const struct openai_request *q = r->request;
    const char *param = q->prompt_at;
    size_t n_ctx = engine_n_ctx(r->server->engine);
    struct err why;
    if (ids->n == 0)
        return openai_refuse(e, param, "The prompt has no tokens.");
    if (ids->n >= n_ctx)
        return openai_overflow(e, param, ids->n, n_ctx);
    if (!check_bias(r, e) ||
        !constrain_request(r->server, q, r->prompt.in_reasoning, &constraint, e))
        return false;
    r->progress.n_total = ids->n;
    size_t room = n_ctx - ids->n;
    size_t wanted = q->max_tokens > 0 ? (size_t)q->max_tokens : room;
    r->job = engine_submit(r->server->engine,
                           &(struct job_params){
                               .prompt = ids->ids,
                               .n_prompt = ids->n,
                               .max_tokens = (uint32_t)(wanted < room ? wanted : room),
                               .sampling = q->sampling,
                               .n_top_logprobs = q->want_logprobs ? q->n_top_logprobs : 0,
                               .want_logprobs = q->want_logprobs,
                               .ignore_stop = q->ignore_stop,
                               .constraint = constraint,
                               .hint = hint,
                           },
                           &why);
    constraint_unref(constraint);
    if (r->job) {
        snprintf(r->run.id, sizeof r->run.id, "%s", r->to.id);
        r->run.n_prompt = ids->n;
        metrics_begin(r->server->metrics, &r->run);
        if (q->chat)
            open_parser(r);
        return true;
    }
    if (why.code == ERR_USAGE || why.code == ERR_LIMIT)
        return openai_refuse(e, NULL, "%s", why.msg);
    return openai_fail(e, 500, NULL, "%s", why.msg);
}

bool reply_encode(struct reply *r, struct openai_error *e)
{
    return prompt_encode(r->server, r->request, &r->prompt, e);
}

static bool same_samplers(const struct sampling *x, const struct sampling *y)
{
    return x->temperature == y->temperature && x->top_k == y->top_k && x->top_p == y->top_p &&
           x->min_p == y->min_p && x->repeat_penalty == y->repeat_penalty &&
           x->presence_penalty == y->presence_penalty &&
           x->frequency_penalty == y->frequency_penalty && x->penalty_last_n == y->penalty_last_n;
}

/* Clients have samplers of their own for models whose names they know (OpenCode for every "qwen"):
 * the operator sees that, and may have the model's instead. */
static void settle_samplers(const struct server *s, const char *id, struct sampling *asked)
{
    struct sampling ours;
    engine_sampling_defaults(s->engine, &ours);
    if (same_samplers(asked, &ours))
        return;
    log_info(&s->params.log,
             "%s: the client asks for temperature %g, top_k %d, top_p %g, min_p %g; the server's "
             "are %g, %d, %g, %g%s",
             id, (double)asked->temperature, asked->top_k, (double)asked->top_p,
             (double)asked->min_p, (double)ours.temperature, ours.top_k, (double)ours.top_p,
             (double)ours.min_p, s->params.force_samplers ? " and count" : "");
    if (!s->params.force_samplers)
        return;
    ours.seed = asked->seed;
    ours.bias = asked->bias;
    ours.n_bias = asked->n_bias;
    *asked = ours;
}

struct reply *reply_open(const struct server *s, const struct reply_request *to)
{
    struct reply *r = mem_new(1, sizeof *r);
    r->server = s;
    r->to = *to;
    r->request = to->request;
    r->queued_ns = r->sent_ns = clock_ns();
    r->decode.tok = s->tok;
    r->stops.list = r->request->stops;
    r->stops.n = r->request->n_stops;
    if (r->request->random_seed)
        r->request->sampling.seed = server_random();
    settle_samplers(s, to->id, &r->request->sampling);
    return r;
}

const struct reply_request *reply_asked(const struct reply *r)
{
    return &r->to;
}

const struct tok_ids *reply_prompt(const struct reply *r)
{
    return &r->prompt.ids;
}

struct record_usage reply_usage(struct reply *r)
{
    const struct job_usage u = job_usage(r->job);
    return (struct record_usage){.n_prompt = u.n_prompt,
                                 .n_cached = u.n_cached,
                                 .n_generated = atomic_load(&r->run.n_generated)};
}
