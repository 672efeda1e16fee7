#include "server/ollama.h"

#include <time.h>

#include "base/json.h"

void ollama_error_body(const struct openai_error *e, struct buf *out)
{
    buf_str(out, STR("{\"error\":"));
    json_quote(str_of(e->message), out);
    buf_byte(out, '}');
}

void ollama_put_time(int64_t unix_s, struct buf *out)
{
    char text[40];
    time_t at = (time_t)unix_s;
    struct tm utc;
    gmtime_r(&at, &utc);
    strftime(text, sizeof text, "\"%Y-%m-%dT%H:%M:%SZ\"", &utc);
    buf_str(out, str_of(text));
}

/* {"model":...,"created_at":..., */
static void put_head(const struct ollama_reply *r, struct buf *out)
{
    buf_str(out, STR("{\"model\":"));
    json_quote(r->model, out);
    buf_str(out, STR(",\"created_at\":"));
    ollama_put_time(r->created, out);
    buf_byte(out, ',');
}

/* What the model said, as a member: "message" of a chat, "response" else. calls: the elements of
 * "tool_calls"; empty: none. */
static void put_said(const struct ollama_reply *r, str content, str thinking, str calls,
                     struct buf *out)
{
    bool generate = r->request->generate;
    buf_str(out, generate ? STR("\"response\":")
                          : STR("\"message\":{\"role\":\"assistant\",\"content\":"));
    json_quote(content, out);
    if (thinking.n) {
        buf_str(out, STR(",\"thinking\":"));
        json_quote(thinking, out);
    }
    if (calls.n)
        buf_fmt(out, ",\"tool_calls\":[%.*s]", STRF(calls));
    if (!generate)
        buf_byte(out, '}');
}

static void put_call(size_t i, str id, str name, str arguments, struct buf *out)
{
    buf_str(out, STR("{\"id\":"));
    json_quote(id, out);
    buf_fmt(out, ",\"function\":{\"index\":%zu,\"name\":", i);
    json_quote(name, out);
    buf_fmt(out, ",\"arguments\":%.*s}}", STRF(arguments));
}

static void put_line(const struct ollama_reply *r, str content, str thinking, str calls,
                     struct buf *out)
{
    put_head(r, out);
    put_said(r, content, thinking, calls, out);
    buf_str(out, STR(",\"done\":false}\n"));
}

void ollama_line_empty(const struct ollama_reply *r, struct buf *out)
{
    put_line(r, STR(""), STR(""), STR(""), out);
}

static void line_call(struct ollama_reply *r, struct buf *out)
{
    struct buf call = {0};
    put_call(r->n_calls++, r->id, r->name, buf_view(&r->arguments), &call);
    put_line(r, STR(""), STR(""), buf_view(&call), out);
    buf_free(&call);
}

void ollama_line_event(struct ollama_reply *r, const struct chat_event *event, struct buf *out)
{
    switch (event->kind) {
    case CHAT_CONTENT: put_line(r, event->text, STR(""), STR(""), out); break;
    case CHAT_REASONING: put_line(r, STR(""), event->text, STR(""), out); break;
    case CHAT_CALL_BEGIN:
        arena_free(&r->arena);
        r->id = arena_str(&r->arena, event->id);
        r->name = arena_str(&r->arena, event->name);
        buf_clear(&r->arguments);
        break;
    case CHAT_CALL_ARGUMENTS: buf_str(&r->arguments, event->text); break;
    case CHAT_CALL_END:
        if (event->flaw != CHAT_CUT)
            line_call(r, out);
        break;
    }
}

/* Ollama knows "stop" and "length". A call that is not whole does not come: the reply was cut. */
static const char *done_reason(const char *finish, bool lost_call)
{
    bool complete = str_eq(str_of(finish), STR("stop")) ||
                    (str_eq(str_of(finish), STR("tool_calls")) && !lost_call);
    return complete ? "stop" : "length";
}

/* "done":true and what it took, to the end of the object. Times are in nanoseconds. */
static void put_end(const struct ollama_reply *r, const char *reason, const struct openai_usage *u,
                    str warning, uint64_t now_ns, struct buf *out)
{
    buf_fmt(out, ",\"done\":true,\"done_reason\":\"%s\",\"total_duration\":%llu,", reason,
            (unsigned long long)(now_ns - r->start_ns));
    buf_fmt(out, "\"load_duration\":0,\"prompt_eval_count\":%zu,\"prompt_eval_duration\":%llu,",
            u->n_prompt, (unsigned long long)u->prompt_ns);
    buf_fmt(out, "\"eval_count\":%zu,\"eval_duration\":%llu", u->n_generated,
            (unsigned long long)u->reply_ns);
    if (warning.n) {
        buf_str(out, STR(",\"warnings\":["));
        json_quote(warning, out);
        buf_byte(out, ']');
    }
    buf_str(out, STR("}\n"));
}

void ollama_line_done(const struct ollama_reply *r, const char *finish,
                      const struct openai_usage *u, str warning, uint64_t now_ns, struct buf *out)
{
    put_head(r, out);
    put_said(r, STR(""), STR(""), STR(""), out);
    put_end(r, done_reason(finish, r->n_calls == 0), u, warning, now_ns, out);
}

void ollama_reply_body(const struct ollama_reply *r, const struct openai_reply *reply, str warning,
                       uint64_t now_ns, struct buf *out)
{
    struct buf calls = {0};
    size_t n = 0;
    for (size_t i = 0; i < reply->n_calls; i++) {
        const struct chat_call *call = &reply->calls[i];
        if (call->arguments.n == 0 || json_scan(call->arguments) != call->arguments.n)
            continue;
        if (n)
            buf_byte(&calls, ',');
        put_call(n++, call->id, call->name, call->arguments, &calls);
    }
    put_head(r, out);
    put_said(r, reply->content, reply->reasoning, buf_view(&calls), out);
    put_end(r, done_reason(reply->finish, n == 0), &reply->usage, warning, now_ns, out);
    buf_free(&calls);
}

void ollama_idle_body(const struct ollama_reply *r, struct buf *out)
{
    put_head(r, out);
    put_said(r, STR(""), STR(""), STR(""), out);
    buf_fmt(out, ",\"done\":true,\"done_reason\":\"%s\"}\n",
            r->request->unload ? "unload" : "load");
}

void ollama_reply_free(struct ollama_reply *r)
{
    arena_free(&r->arena);
    buf_free(&r->arguments);
}
