#include "server/anthropic_reply.h"

#include "base/json.h"
#include "server/opaque.h"

/* ---- events ---- */

/* "event: TYPE" and the beginning of its data; the object stays open. */
static void open_event(const char *type, struct buf *out)
{
    buf_fmt(out, "event: %s\ndata: {\"type\":\"%s\"", type, type);
}

static void close_event(struct buf *out)
{
    buf_str(out, STR("}\n\n"));
}

/* An event about the open block. */
static void open_block_event(const struct anthropic_reply *r, const char *type, struct buf *out)
{
    open_event(type, out);
    buf_fmt(out, ",\"index\":%zu", r->n_blocks);
}

static void put_delta(const struct anthropic_reply *r, const char *type, const char *member,
                      str text, struct buf *out)
{
    open_block_event(r, "content_block_delta", out);
    buf_fmt(out, ",\"delta\":{\"type\":\"%s\",\"%s\":", type, member);
    json_quote(text, out);
    buf_byte(out, '}');
    close_event(out);
}

/* ---- the message ---- */

static void put_head(const struct anthropic_reply *r, struct buf *out)
{
    buf_fmt(out, "{\"id\":\"%s\",\"type\":\"message\",\"role\":\"assistant\",\"model\":", r->id);
    json_quote(r->model, out);
}

/* Anthropic counts three kinds of prompt tokens, which add up to all of them. Every prompt is
 * cached here, at no price: nothing is "creation". */
static void put_usage(size_t n_prompt, size_t n_cached, size_t n_generated, struct buf *out)
{
    buf_fmt(out,
            ",\"usage\":{\"input_tokens\":%zu,\"cache_creation_input_tokens\":0,"
            "\"cache_read_input_tokens\":%zu,\"output_tokens\":%zu}",
            n_prompt - n_cached, n_cached, n_generated);
}

static void put_reason(const struct reply_end *end, struct buf *out)
{
    str finish = str_of(end->finish);
    bool stopped = str_eq(finish, STR("stop"));
    const char *reason = str_eq(finish, STR("tool_calls")) ? "tool_use"
                         : !stopped                        ? "max_tokens"
                         : end->stop.n                     ? "stop_sequence"
                                                           : "end_turn";
    buf_fmt(out, "\"stop_reason\":\"%s\",\"stop_sequence\":", reason);
    if (stopped && end->stop.n)
        json_quote(end->stop, out);
    else
        buf_str(out, STR("null"));
}

static void put_warning(const struct reply_end *end, struct buf *out)
{
    if (end->warning.n == 0)
        return;
    buf_str(out, STR(",\"warnings\":["));
    json_quote(end->warning, out);
    buf_byte(out, ']');
}

/* ---- blocks ---- */

/* Clients send thinking back only if it is signed. There is nothing to prove: the signature says
 * which reply it is of and holds what was not shown. */
static void put_signature(const struct anthropic_reply *r, struct buf *out)
{
    str hidden = r->hide_reasoning ? buf_view(&r->text) : STR("");
    opaque_put(str_of(r->id), hidden, out);
}

/* Arguments that are no JSON (cut off, or broken by the model) cannot stand as an object. The
 * member has the name that Anthropic's documentation gives it. */
static void put_input(str arguments, struct buf *out)
{
    struct err ignored;
    struct json *v = json_parse(arguments, &ignored);
    if (json_type(v) == JSON_OBJECT) {
        buf_str(out, arguments);
    } else {
        buf_str(out, STR("{\"INVALID_JSON\":"));
        json_quote(arguments, out);
        buf_byte(out, '}');
    }
    json_free(v);
}

/* The open block as an object; empty: as it begins. */
static void put_block(const struct anthropic_reply *r, bool empty, struct buf *out)
{
    str text = empty ? STR("") : buf_view(&r->text);
    struct buf signature = {0};
    switch (r->open) {
    case ANTHROPIC_NONE: break;
    case ANTHROPIC_THINKING:
        if (!empty)
            put_signature(r, &signature);
        buf_str(out, STR("{\"type\":\"thinking\",\"thinking\":"));
        json_quote(r->hide_reasoning ? STR("") : text, out);
        buf_str(out, STR(",\"signature\":"));
        json_quote(buf_view(&signature), out);
        break;
    case ANTHROPIC_TEXT:
        buf_str(out, STR("{\"type\":\"text\",\"text\":"));
        json_quote(text, out);
        break;
    case ANTHROPIC_TOOL:
        buf_str(out, STR("{\"type\":\"tool_use\""));
        buf_str(out, buf_view(&r->call));
        buf_str(out, STR(",\"input\":"));
        put_input(empty ? STR("{}") : text, out);
        break;
    }
    buf_byte(out, '}');
    buf_free(&signature);
}

static void send_stop(const struct anthropic_reply *r, struct buf *out)
{
    struct buf signature = {0};
    if (r->open == ANTHROPIC_THINKING) {
        put_signature(r, &signature);
        put_delta(r, "signature_delta", "signature", buf_view(&signature), out);
    }
    open_block_event(r, "content_block_stop", out);
    close_event(out);
    buf_free(&signature);
}

static void end_block(struct anthropic_reply *r, struct buf *out)
{
    buf_clear(&r->held);
    if (r->open == ANTHROPIC_NONE)
        return;
    if (out) {
        send_stop(r, out);
    } else {
        if (r->blocks.n)
            buf_byte(&r->blocks, ',');
        put_block(r, false, &r->blocks);
    }
    buf_clear(&r->text);
    r->open = ANTHROPIC_NONE;
    r->n_blocks++;
}

static void begin_block(struct anthropic_reply *r, enum anthropic_block kind, struct buf *out)
{
    end_block(r, out);
    r->open = kind;
    if (!out)
        return;
    open_block_event(r, "content_block_start", out);
    buf_str(out, STR(",\"content_block\":"));
    put_block(r, true, out);
    close_event(out);
}

static void put_text(struct anthropic_reply *r, str text, struct buf *out)
{
    static const char *const types[] = {NULL, "thinking_delta", "text_delta", "input_json_delta"};
    static const char *const members[] = {NULL, "thinking", "text", "partial_json"};
    bool hidden = r->open == ANTHROPIC_THINKING && r->hide_reasoning;
    if (text.n == 0 || r->open == ANTHROPIC_NONE)
        return;
    if (!out || hidden)
        buf_str(&r->text, text);
    if (out && !hidden)
        put_delta(r, types[r->open], members[r->open], text, out);
}

/* White space between thinking and calls is no text: Anthropic refuses such blocks, and clients
 * drop them. */
static void take_text(struct anthropic_reply *r, enum anthropic_block kind, str text,
                      struct buf *out)
{
    if (r->open != kind && str_trim(text).n == 0) {
        buf_str(&r->held, text);
        return;
    }
    if (r->open != kind) {
        struct buf held = r->held;
        r->held = (struct buf){0};
        begin_block(r, kind, out);
        if (kind == ANTHROPIC_TEXT)
            put_text(r, buf_view(&held), out);
        buf_free(&held);
    }
    put_text(r, text, out);
}

static void begin_call(struct anthropic_reply *r, const struct chat_event *event, struct buf *out)
{
    struct buf id = {0};
    str number = str_starts(event->id, STR("call_")) ? str_sub(event->id, 5, SIZE_MAX) : event->id;
    end_block(r, out);
    buf_fmt(&id, "toolu_%.*s", STRF(number));
    buf_clear(&r->call);
    buf_str(&r->call, STR(",\"id\":"));
    json_quote(buf_view(&id), &r->call);
    buf_str(&r->call, STR(",\"name\":"));
    json_quote(event->name, &r->call);
    buf_free(&id);
    begin_block(r, ANTHROPIC_TOOL, out);
}

void anthropic_event(struct anthropic_reply *r, const struct chat_event *event, struct buf *out)
{
    switch (event->kind) {
    case CHAT_REASONING: take_text(r, ANTHROPIC_THINKING, event->text, out); break;
    case CHAT_CONTENT: take_text(r, ANTHROPIC_TEXT, event->text, out); break;
    case CHAT_CALL_BEGIN: begin_call(r, event, out); break;
    case CHAT_CALL_ARGUMENTS: put_text(r, event->text, out); break;
    case CHAT_CALL_END: end_block(r, out); break;
    }
}

/* A block that is there at once, without its last brace. input: of a call, which streams tell as a
 * delta; empty: none. */
static void put_ready(struct anthropic_reply *r, str block, str input, struct buf *out)
{
    struct buf *to = out ? out : &r->blocks;
    end_block(r, out);
    if (out) {
        open_block_event(r, "content_block_start", out);
        buf_str(out, STR(",\"content_block\":"));
    } else if (r->blocks.n) {
        buf_byte(&r->blocks, ',');
    }
    buf_str(to, block);
    if (input.n)
        buf_fmt(to, ",\"input\":%.*s", STRF(out ? STR("{}") : input));
    buf_byte(to, '}');
    if (out) {
        close_event(out);
        if (input.n)
            put_delta(r, "input_json_delta", "partial_json", input, out);
        open_block_event(r, "content_block_stop", out);
        close_event(out);
    }
    r->n_blocks++;
}

void anthropic_no_search(struct anthropic_reply *r, const char *id, str query, struct buf *out)
{
    struct buf call = {0}, input = {0}, result = {0};
    buf_fmt(&call, "{\"type\":\"server_tool_use\",\"id\":\"srvtoolu_%s\",\"name\":\"web_search\"",
            id);
    buf_str(&input, STR("{\"query\":"));
    json_quote(query, &input);
    buf_byte(&input, '}');
    buf_fmt(&result,
            "{\"type\":\"web_search_tool_result\",\"tool_use_id\":\"srvtoolu_%s\",\"content\":{"
            "\"type\":\"web_search_tool_result_error\",\"error_code\":\"unavailable\"}",
            id);
    put_ready(r, buf_view(&call), buf_view(&input), out);
    put_ready(r, buf_view(&result), STR(""), out);
    buf_free(&call);
    buf_free(&input);
    buf_free(&result);
}

/* ---- the reply ---- */

void anthropic_begin(struct anthropic_reply *r, size_t n_prompt, struct buf *out)
{
    open_event("message_start", out);
    buf_str(out, STR(",\"message\":"));
    put_head(r, out);
    buf_str(out, STR(",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null"));
    put_usage(n_prompt, 0, 1, out);
    buf_byte(out, '}');
    close_event(out);
}

void anthropic_idle(const struct anthropic_reply *r, const struct reply_progress *at,
                    struct buf *out)
{
    buf_fmt(out, ": %zu of %zu prompt tokens read\n", at->n_read, at->n_prompt);
    open_event("ping", out);
    close_event(out);
    if (r->open == ANTHROPIC_THINKING && r->hide_reasoning)
        put_delta(r, "thinking_delta", "thinking", STR(""), out);
}

void anthropic_end(struct anthropic_reply *r, const struct reply_end *end, struct buf *out)
{
    const struct openai_usage *u = &end->usage;
    end_block(r, out);
    open_event("message_delta", out);
    buf_str(out, STR(",\"delta\":{"));
    put_reason(end, out);
    buf_byte(out, '}');
    put_usage(u->n_prompt, u->n_cached, u->n_generated, out);
    put_warning(end, out);
    close_event(out);
    open_event("message_stop", out);
    close_event(out);
}

void anthropic_whole(struct anthropic_reply *r, const struct reply_end *end, struct buf *out)
{
    const struct openai_usage *u = &end->usage;
    end_block(r, NULL);
    put_head(r, out);
    buf_str(out, STR(",\"content\":["));
    buf_str(out, buf_view(&r->blocks));
    buf_str(out, STR("],"));
    put_reason(end, out);
    put_usage(u->n_prompt, u->n_cached, u->n_generated, out);
    put_warning(end, out);
    buf_str(out, STR("}\n"));
}

void anthropic_reply_free(struct anthropic_reply *r)
{
    buf_free(&r->text);
    buf_free(&r->call);
    buf_free(&r->held);
    buf_free(&r->blocks);
}

/* ---- errors ---- */

static const char *type_of_status(int status)
{
    switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 413: return "request_too_large";
    case 429: return "rate_limit_error";
    case 503: return "overloaded_error";
    default: return status >= 500 ? "api_error" : "invalid_request_error";
    }
}

void anthropic_error_body(const struct openai_error *e, struct buf *out)
{
    /* Claude Code makes room in a conversation when it reads this wording, and only this. */
    struct buf overflow = {0};
    if (e->n_ctx)
        buf_fmt(&overflow, "prompt is too long: %zu tokens > %zu maximum", e->n_prompt,
                openai_max_prompt(e->n_prompt, e->n_ctx));
    buf_fmt(out, "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":",
            type_of_status(e->status));
    json_quote(e->n_ctx ? buf_view(&overflow) : str_of(e->message), out);
    buf_str(out, STR("}}"));
    buf_free(&overflow);
}

void anthropic_fail(const struct openai_error *e, struct buf *out)
{
    buf_str(out, STR("event: error\ndata: "));
    anthropic_error_body(e, out);
    buf_str(out, STR("\n\n"));
}
