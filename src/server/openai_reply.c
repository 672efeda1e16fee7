#include "server/openai_reply.h"

#include "base/json.h"

static void put_head(const struct openai_head *h, const char *object, struct buf *out)
{
    buf_fmt(out, "{\"id\":\"%s\",\"object\":\"%s\",\"created\":%lld,\"model\":", h->id, object,
            (long long)h->created);
    json_quote(h->model, out);
    buf_str(out, STR(",\"system_fingerprint\":\"tawny-" TAWNY_VERSION "\",\"choices\":["));
}

/* JSON has no infinity: a token that cannot come has the value OpenAI gives it. */
static double finite_logprob(float x)
{
    return x > -9999.0f ? (double)x : -9999.0;
}

static void put_logprob(const struct openai_logprob *p, struct buf *out)
{
    buf_str(out, STR("{\"token\":"));
    json_quote(p->bytes, out);
    buf_fmt(out, ",\"logprob\":%.6g,\"bytes\":[", finite_logprob(p->logprob));
    for (size_t i = 0; i < p->bytes.n; i++)
        buf_fmt(out, "%s%u", i ? "," : "", (unsigned char)p->bytes.p[i]);
    buf_byte(out, ']');
}

static void put_chat_logprobs(const struct openai_token *tokens, size_t n, struct buf *out)
{
    buf_str(out, STR("{\"content\":["));
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_byte(out, ',');
        put_logprob(&tokens[i].token, out);
        buf_str(out, STR(",\"top_logprobs\":["));
        for (size_t k = 0; k < tokens[i].n_top; k++) {
            if (k)
                buf_byte(out, ',');
            put_logprob(&tokens[i].top[k], out);
            buf_byte(out, '}');
        }
        buf_str(out, STR("]}"));
    }
    buf_str(out, STR("],\"refusal\":null}"));
}

/* The older shape of /v1/completions: parallel arrays. */
static void put_text_logprobs(const struct openai_token *tokens, size_t n, struct buf *out)
{
    buf_str(out, STR("{\"tokens\":["));
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_byte(out, ',');
        json_quote(tokens[i].token.bytes, out);
    }
    buf_str(out, STR("],\"token_logprobs\":["));
    for (size_t i = 0; i < n; i++)
        buf_fmt(out, "%s%.6g", i ? "," : "", finite_logprob(tokens[i].token.logprob));
    buf_str(out, STR("],\"top_logprobs\":["));
    for (size_t i = 0; i < n; i++) {
        buf_str(out, i ? STR(",{") : STR("{"));
        for (size_t k = 0; k < tokens[i].n_top; k++) {
            if (k)
                buf_byte(out, ',');
            json_quote(tokens[i].top[k].bytes, out);
            buf_fmt(out, ":%.6g", finite_logprob(tokens[i].top[k].logprob));
        }
        buf_byte(out, '}');
    }
    buf_str(out, STR("],\"text_offset\":["));
    for (size_t i = 0; i < n; i++)
        buf_fmt(out, "%s%zu", i ? "," : "", tokens[i].offset);
    buf_str(out, STR("]}"));
}

/* The end of a choice: ,"logprobs":...,"finish_reason":...} */
static void put_choice_end(const struct openai_head *h, const struct openai_token *tokens, size_t n,
                           const char *finish, struct buf *out)
{
    buf_str(out, STR(",\"logprobs\":"));
    if (!tokens)
        buf_str(out, STR("null"));
    else if (h->chat)
        put_chat_logprobs(tokens, n, out);
    else
        put_text_logprobs(tokens, n, out);
    if (finish && str_eq(str_of(finish), STR(OPENAI_REPETITION)))
        buf_str(out,
                STR(",\"finish_reason\":\"length\",\"stop_reason\":\"" OPENAI_REPETITION "\"}"));
    else if (finish)
        buf_fmt(out, ",\"finish_reason\":\"%s\"}", finish);
    else
        buf_str(out, STR(",\"finish_reason\":null}"));
}

static void put_usage(const struct openai_usage *u, struct buf *out)
{
    buf_fmt(out,
            "{\"prompt_tokens\":%zu,\"completion_tokens\":%zu,\"total_tokens\":%zu,"
            "\"prompt_tokens_details\":{\"cached_tokens\":%zu},"
            "\"completion_tokens_details\":{\"reasoning_tokens\":%zu}}",
            u->n_prompt, u->n_generated, u->n_prompt + u->n_generated, u->n_cached, u->n_reasoning);
}

static void open_chunk(const struct openai_head *h, struct buf *out)
{
    buf_str(out, STR("data: "));
    put_head(h, h->chat ? "chat.completion.chunk" : "text_completion", out);
}

static void put_warning(const struct openai_head *h, struct buf *out)
{
    if (h->warning.n == 0)
        return;
    buf_str(out, STR(",\"warnings\":["));
    json_quote(h->warning, out);
    buf_byte(out, ']');
}

/* Per token and per second, of n tokens in ns. */
static void put_speed(const char *what, size_t n, uint64_t ns, struct buf *out)
{
    double ms = 1e-6 * (double)ns;
    buf_fmt(out, "\"%s_n\":%zu,\"%s_ms\":%.3f,", what, n, what, ms);
    buf_fmt(out, "\"%s_per_token_ms\":%.3f,\"%s_per_second\":%.3f", what, n ? ms / (double)n : 0,
            what, ns ? 1e9 * (double)n / (double)ns : 0);
}

static void put_timings(const struct openai_usage *u, struct buf *out)
{
    buf_fmt(out, ",\"timings\":{\"cache_n\":%zu,", u->n_cached);
    put_speed("prompt", u->n_prompt - u->n_cached, u->prompt_ns, out);
    buf_byte(out, ',');
    put_speed("predicted", u->n_generated, u->reply_ns, out);
    buf_byte(out, '}');
}

static void close_chunk(const struct openai_head *h, struct buf *out)
{
    buf_str(out, h->usage_in_chunks ? STR(",\"usage\":null}\n\n") : STR("}\n\n"));
}

/* One chunk with a ready delta: an object for chat, a string for completions. */
static void put_chunk(const struct openai_head *h, str delta, const struct openai_token *tokens,
                      size_t n_tokens, const char *finish, struct buf *out)
{
    open_chunk(h, out);
    buf_str(out, h->chat ? STR("{\"index\":0,\"delta\":") : STR("{\"index\":0,\"text\":"));
    buf_str(out, delta);
    put_choice_end(h, tokens, n_tokens, finish, out);
    buf_byte(out, ']');
}

static str empty_delta(const struct openai_head *h)
{
    return h->chat ? STR("{}") : STR("\"\"");
}

void openai_chunk_first(const struct openai_head *h, struct buf *out)
{
    str delta = h->chat ? STR("{\"role\":\"assistant\",\"content\":\"\"}") : empty_delta(h);
    put_chunk(h, delta, NULL, 0, NULL, out);
    close_chunk(h, out);
}

void openai_chunk_idle(const struct openai_head *h, struct buf *out)
{
    put_chunk(h, empty_delta(h), NULL, 0, NULL, out);
    close_chunk(h, out);
}

void openai_chunk_progress(const struct openai_head *h, size_t n_prompt, size_t n_cached,
                           size_t n_read, uint64_t ns, struct buf *out)
{
    put_chunk(h, empty_delta(h), NULL, 0, NULL, out);
    buf_fmt(out,
            ",\"prompt_progress\":{\"total\":%zu,\"cache\":%zu,\"processed\":%zu,\"time_ms\":%llu}",
            n_prompt, n_cached, n_read, (unsigned long long)(ns / 1000000));
    close_chunk(h, out);
}

void openai_chunk_finish(const struct openai_head *h, const char *finish,
                         const struct openai_token *tokens, size_t n_tokens,
                         const struct openai_usage *u, struct buf *out)
{
    put_chunk(h, empty_delta(h), tokens, n_tokens, finish, out);
    put_warning(h, out);
    if (h->timings)
        put_timings(u, out);
    close_chunk(h, out);
}

/* As a member of a delta or a message, without a comma before it. */
static void put_reasoning(const struct openai_head *h, str text, struct buf *out)
{
    buf_str(out, STR("\"reasoning_content\":"));
    json_quote(text, out);
    if (h->twice_reasoning) {
        buf_str(out, STR(",\"reasoning\":"));
        json_quote(text, out);
    }
}

static void put_delta(const struct openai_head *h, const struct chat_event *event, struct buf *out)
{
    switch (event->kind) {
    case CHAT_CONTENT:
        buf_str(out, STR("{\"content\":"));
        json_quote(event->text, out);
        buf_byte(out, '}');
        break;
    case CHAT_REASONING:
        buf_byte(out, '{');
        put_reasoning(h, event->text, out);
        buf_byte(out, '}');
        break;
    case CHAT_CALL_BEGIN:
        buf_fmt(out, "{\"tool_calls\":[{\"index\":%zu,\"id\":", event->i_call);
        json_quote(event->id, out);
        buf_str(out, STR(",\"type\":\"function\",\"function\":{\"name\":"));
        json_quote(event->name, out);
        buf_str(out, STR(",\"arguments\":\"\"}}]}"));
        break;
    case CHAT_CALL_ARGUMENTS:
        buf_fmt(out, "{\"tool_calls\":[{\"index\":%zu,\"function\":{\"arguments\":", event->i_call);
        json_quote(event->text, out);
        buf_str(out, STR("}}]}"));
        break;
    case CHAT_CALL_END: break;
    }
}

void openai_chunk_event(const struct openai_head *h, const struct chat_event *event,
                        const struct openai_token *tokens, size_t n_tokens, struct buf *out)
{
    struct buf delta = {0};
    if (!h->chat)
        json_quote(event->text, &delta);
    else
        put_delta(h, event, &delta);
    if (delta.n) {
        put_chunk(h, buf_view(&delta), tokens, n_tokens, NULL, out);
        close_chunk(h, out);
    }
    buf_free(&delta);
}

void openai_chunk_usage(const struct openai_head *h, const struct openai_usage *u, struct buf *out)
{
    open_chunk(h, out);
    buf_str(out, STR("],\"usage\":"));
    put_usage(u, out);
    buf_str(out, STR("}\n\n"));
}

void openai_chunk_done(struct buf *out)
{
    buf_str(out, STR("data: [DONE]\n\n"));
}

static void put_message(const struct openai_head *h, const struct openai_reply *r, struct buf *out)
{
    buf_str(out, STR("{\"role\":\"assistant\",\"content\":"));
    if (r->content.n || !r->n_calls)
        json_quote(r->content, out);
    else
        buf_str(out, STR("null"));
    buf_str(out, STR(",\"refusal\":null"));
    if (r->reasoning.n) {
        buf_byte(out, ',');
        put_reasoning(h, r->reasoning, out);
    }
    for (size_t i = 0; i < r->n_calls; i++) {
        buf_str(out, i ? STR(",{\"id\":") : STR(",\"tool_calls\":[{\"id\":"));
        json_quote(r->calls[i].id, out);
        buf_str(out, STR(",\"type\":\"function\",\"function\":{\"name\":"));
        json_quote(r->calls[i].name, out);
        buf_str(out, STR(",\"arguments\":"));
        json_quote(r->calls[i].arguments, out);
        buf_str(out, STR("}}"));
    }
    buf_str(out, r->n_calls ? STR("]}") : STR("}"));
}

void openai_reply_body(const struct openai_head *h, const struct openai_reply *r, struct buf *out)
{
    put_head(h, h->chat ? "chat.completion" : "text_completion", out);
    buf_str(out, h->chat ? STR("{\"index\":0,\"message\":") : STR("{\"index\":0,\"text\":"));
    if (h->chat)
        put_message(h, r, out);
    else
        json_quote(r->content, out);
    put_choice_end(h, r->tokens, r->n_tokens, r->finish, out);
    buf_byte(out, ']');
    put_warning(h, out);
    buf_str(out, STR(",\"usage\":"));
    put_usage(&r->usage, out);
    if (h->timings)
        put_timings(&r->usage, out);
    buf_str(out, STR("}\n"));
}
