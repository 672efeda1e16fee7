#include "server/responses_reply.h"

#include <stdlib.h>

#include "base/json.h"
#include "base/mem.h"
#include "server/freeform.h"
#include "server/opaque.h"

enum kind { REASONING, MESSAGE, FUNCTION, CUSTOM };

struct responses_item {
    enum kind kind;
    struct buf text;      /* as the client gets it; CUSTOM: see arguments */
    struct buf arguments; /* CUSTOM: of the function that stands for it */
    struct freeform freeform;
    struct buf call_id, name, space;
    enum { IN_PROGRESS, COMPLETED, INCOMPLETE } status;
};

/* ---- names ---- */

static const char *const prefixes[] = {"rs", "msg", "fc", "ctc"};

static void put_item_id(const struct responses_reply *r, size_t i, struct buf *out)
{
    buf_fmt(out, "%s_%s_%zu", prefixes[r->items[i].kind], r->tail, i);
}

void responses_id(const struct responses_reply *r, struct buf *out)
{
    buf_fmt(out, "resp_%s", r->tail);
}

static void put_member(struct buf *out, const char *name, str value)
{
    buf_fmt(out, ",\"%s\":", name);
    json_quote(value, out);
}

/* ---- objects ---- */

static void put_text_part(str text, struct buf *out)
{
    buf_str(out, STR("{\"type\":\"output_text\",\"text\":"));
    json_quote(text, out);
    buf_str(out, STR(",\"annotations\":[],\"logprobs\":[]}"));
}

static void put_thought_part(const struct responses_reply *r, str text, struct buf *out)
{
    buf_str(out, r->request->summarise ? STR("{\"type\":\"summary_text\",\"text\":")
                                       : STR("{\"type\":\"reasoning_text\",\"text\":"));
    json_quote(text, out);
    buf_byte(out, '}');
}

static void put_reasoning(const struct responses_reply *r, const struct responses_item *item,
                          struct buf *out)
{
    struct buf opaque = {0};
    str summary =
        r->request->summarise ? STR(",\"summary\":[") : STR(",\"summary\":[],\"content\":[");
    buf_str(out, summary);
    if (item->text.n)
        put_thought_part(r, buf_view(&item->text), out);
    buf_byte(out, ']');
    if (item->status != IN_PROGRESS) {
        opaque_put(str_of(r->tail), buf_view(&item->text), &opaque);
        put_member(out, "encrypted_content", buf_view(&opaque));
    }
    buf_free(&opaque);
}

static void put_call(const struct responses_item *item, struct buf *out)
{
    put_member(out, "call_id", buf_view(&item->call_id));
    put_member(out, "name", buf_view(&item->name));
    if (item->space.n)
        put_member(out, "namespace", buf_view(&item->space));
    put_member(out, item->kind == CUSTOM ? "input" : "arguments", buf_view(&item->text));
}

static void put_item(const struct responses_reply *r, size_t i, struct buf *out)
{
    static const char *const statuses[] = {"in_progress", "completed", "incomplete"};
    static const char *const types[] = {"reasoning", "message", "function_call",
                                        "custom_tool_call"};
    const struct responses_item *item = &r->items[i];
    buf_str(out, STR("{\"id\":\""));
    put_item_id(r, i, out);
    buf_fmt(out, "\",\"type\":\"%s\",\"status\":\"%s\"", types[item->kind], statuses[item->status]);
    switch (item->kind) {
    case REASONING: put_reasoning(r, item, out); break;
    case MESSAGE:
        buf_str(out, STR(",\"role\":\"assistant\",\"content\":["));
        if (item->text.n)
            put_text_part(buf_view(&item->text), out);
        buf_byte(out, ']');
        break;
    case FUNCTION:
    case CUSTOM: put_call(item, out); break;
    }
    buf_byte(out, '}');
}

void responses_output(const struct responses_reply *r, struct buf *out)
{
    for (size_t i = 0; i < r->n_items; i++) {
        if (i)
            buf_byte(out, ',');
        put_item(r, i, out);
    }
}

static void put_usage(const struct openai_usage *u, struct buf *out)
{
    buf_fmt(out,
            "{\"input_tokens\":%zu,\"input_tokens_details\":{\"cached_tokens\":%zu},"
            "\"output_tokens\":%zu,\"output_tokens_details\":{\"reasoning_tokens\":%zu},"
            "\"total_tokens\":%zu}",
            u->n_prompt, u->n_cached, u->n_generated, u->n_reasoning, u->n_prompt + u->n_generated);
}

static void put_error(const struct openai_error *e, struct buf *out)
{
    buf_str(out, STR("{\"code\":"));
    json_quote(str_of(e->code ? e->code : "server_error"), out);
    put_member(out, "message", str_of(e->message));
    buf_byte(out, '}');
}

/* What else a response object says. */
struct state {
    const char *status, *why_incomplete;
    const struct openai_error *error;
    const struct openai_usage *usage;
    str warning;
    bool echo, output;
};

static void put_response(const struct responses_reply *r, const struct state *s, struct buf *out)
{
    buf_fmt(out,
            "{\"id\":\"resp_%s\",\"object\":\"response\",\"created_at\":%lld,\"status\":\"%s\"",
            r->tail, (long long)r->created, s->status);
    put_member(out, "model", r->model);
    buf_byte(out, ',');
    if (s->echo)
        buf_str(out, buf_view(&r->request->echo));
    buf_str(out, STR("\"error\":"));
    if (s->error)
        put_error(s->error, out);
    else
        buf_str(out, STR("null"));
    if (s->why_incomplete)
        buf_fmt(out, ",\"incomplete_details\":{\"reason\":\"%s\"},\"output\":[", s->why_incomplete);
    else
        buf_str(out, STR(",\"incomplete_details\":null,\"output\":["));
    if (s->output)
        responses_output(r, out);
    buf_str(out, STR("],\"usage\":"));
    if (s->usage)
        put_usage(s->usage, out);
    else
        buf_str(out, STR("null"));
    if (s->warning.n) {
        buf_str(out, STR(",\"warnings\":["));
        json_quote(s->warning, out);
        buf_byte(out, ']');
    }
    buf_byte(out, '}');
}

/* ---- events ---- */

/* "event: TYPE" and the beginning of its data; the object stays open. */
static void open_event(struct responses_reply *r, const char *type, struct buf *out)
{
    buf_fmt(out, "event: %s\ndata: {\"type\":\"%s\",\"sequence_number\":%llu", type, type,
            (unsigned long long)r->n_events++);
}

static void close_event(struct buf *out)
{
    buf_str(out, STR("}\n\n"));
}

static void response_event(struct responses_reply *r, const char *type, const struct state *s,
                           struct buf *out)
{
    open_event(r, type, out);
    buf_str(out, STR(",\"response\":"));
    put_response(r, s, out);
    close_event(out);
}

/* An event about the last item: its id, its index and of its part. */
static void open_item_event(struct responses_reply *r, const char *type, const char *part,
                            struct buf *out)
{
    open_event(r, type, out);
    buf_str(out, STR(",\"item_id\":\""));
    put_item_id(r, r->n_items - 1, out);
    buf_fmt(out, "\",\"output_index\":%zu", r->n_items - 1);
    if (part)
        buf_fmt(out, ",\"%s\":0", part);
}

static void item_event(struct responses_reply *r, const char *type, struct buf *out)
{
    open_event(r, type, out);
    buf_fmt(out, ",\"output_index\":%zu,\"item\":", r->n_items - 1);
    put_item(r, r->n_items - 1, out);
    close_event(out);
}

/* The names of the events of an item that is filled by text. */
struct names {
    const char *part; /* index of the only part: "content_index"; NULL: the item has none */
    const char *part_added, *delta, *done, *part_done;
    const char *text; /* member of done */
};

static const struct names *names_of(const struct responses_reply *r)
{
    static const struct names message = {"content_index",
                                         "response.content_part.added",
                                         "response.output_text.delta",
                                         "response.output_text.done",
                                         "response.content_part.done",
                                         "text"};
    static const struct names summary = {"summary_index",
                                         "response.reasoning_summary_part.added",
                                         "response.reasoning_summary_text.delta",
                                         "response.reasoning_summary_text.done",
                                         "response.reasoning_summary_part.done",
                                         "text"};
    static const struct names thought = {"content_index",
                                         "response.content_part.added",
                                         "response.reasoning_text.delta",
                                         "response.reasoning_text.done",
                                         "response.content_part.done",
                                         "text"};
    static const struct names function = {NULL,
                                          NULL,
                                          "response.function_call_arguments.delta",
                                          "response.function_call_arguments.done",
                                          NULL,
                                          "arguments"};
    static const struct names custom = {NULL,
                                        NULL,
                                        "response.custom_tool_call_input.delta",
                                        "response.custom_tool_call_input.done",
                                        NULL,
                                        "input"};
    switch (r->items[r->n_items - 1].kind) {
    case REASONING: return r->request->summarise ? &summary : &thought;
    case MESSAGE: return &message;
    case FUNCTION: return &function;
    case CUSTOM: return &custom;
    }
    return &message;
}

static void put_part(struct responses_reply *r, str text, struct buf *out)
{
    buf_str(out, STR(",\"part\":"));
    if (r->items[r->n_items - 1].kind == MESSAGE)
        put_text_part(text, out);
    else
        put_thought_part(r, text, out);
}

static void announce(struct responses_reply *r, struct buf *out)
{
    const struct names *n = names_of(r);
    item_event(r, "response.output_item.added", out);
    if (!n->part)
        return;
    open_item_event(r, n->part_added, n->part, out);
    put_part(r, STR(""), out);
    close_event(out);
}

static void put_logprobs(struct responses_reply *r, struct buf *out)
{
    if (r->items[r->n_items - 1].kind == MESSAGE)
        buf_str(out, STR(",\"logprobs\":[]"));
}

static void send_delta(struct responses_reply *r, str text, struct buf *out)
{
    const struct names *n = names_of(r);
    open_item_event(r, n->delta, n->part, out);
    put_member(out, "delta", text);
    put_logprobs(r, out);
    close_event(out);
}

static void send_done(struct responses_reply *r, struct buf *out)
{
    const struct names *n = names_of(r);
    const struct responses_item *item = &r->items[r->n_items - 1];
    str text = buf_view(&item->text);
    open_item_event(r, n->done, n->part, out);
    put_member(out, n->text, text);
    put_logprobs(r, out);
    if (item->kind == FUNCTION)
        put_member(out, "name", buf_view(&item->name));
    close_event(out);
    if (n->part) {
        open_item_event(r, n->part_done, n->part, out);
        put_part(r, text, out);
        close_event(out);
    }
    item_event(r, "response.output_item.done", out);
}

/* ---- items ---- */

/* The last item gets no more. */
static void end_item(struct responses_reply *r, bool complete, struct buf *out)
{
    buf_clear(&r->held);
    if (!r->open)
        return;
    struct responses_item *item = &r->items[r->n_items - 1];
    r->open = false;
    item->status = complete ? COMPLETED : INCOMPLETE;
    if (item->kind == CUSTOM) {
        buf_clear(&item->text);
        freeform_text(buf_view(&item->arguments), &item->text);
    }
    if (out)
        send_done(r, out);
}

static struct responses_item *new_item(struct responses_reply *r, enum kind kind)
{
    r->items = mem_grow(r->items, r->n_items + 1, sizeof *r->items);
    r->items[r->n_items] = (struct responses_item){.kind = kind};
    r->open = true;
    return &r->items[r->n_items++];
}

static void put_text(struct responses_reply *r, str text, struct buf *out)
{
    struct responses_item *item = &r->items[r->n_items - 1];
    if (text.n == 0)
        return;
    buf_str(&item->text, text);
    if (out)
        send_delta(r, text, out);
}

/* White space between reasoning and calls is no message. */
static void take_text(struct responses_reply *r, enum kind kind, str text, struct buf *out)
{
    bool goes_on = r->open && r->items[r->n_items - 1].kind == kind;
    if (!goes_on && str_trim(text).n == 0) {
        buf_str(&r->held, text);
        return;
    }
    if (!goes_on) {
        struct buf held = r->held;
        r->held = (struct buf){0};
        end_item(r, true, out);
        new_item(r, kind);
        if (out)
            announce(r, out);
        if (kind == MESSAGE)
            put_text(r, buf_view(&held), out);
        buf_free(&held);
    }
    put_text(r, text, out);
}

static const struct responses_tool *find_tool(const struct responses_reply *r, str flat)
{
    for (size_t i = 0; i < r->request->n_tools; i++)
        if (str_eq(r->request->tools[i].flat, flat))
            return &r->request->tools[i];
    return NULL;
}

static void begin_call(struct responses_reply *r, const struct chat_event *event, struct buf *out)
{
    const struct responses_tool *tool = find_tool(r, event->name);
    end_item(r, true, out);
    struct responses_item *item = new_item(r, tool && tool->custom ? CUSTOM : FUNCTION);
    buf_str(&item->call_id, event->id);
    buf_str(&item->name, tool ? tool->name : event->name);
    if (tool)
        buf_str(&item->space, tool->space);
    if (out)
        announce(r, out);
}

static void put_arguments(struct responses_reply *r, str piece, struct buf *out)
{
    if (!r->open)
        return;
    struct responses_item *item = &r->items[r->n_items - 1];
    if (item->kind != CUSTOM) {
        put_text(r, piece, out);
        return;
    }
    struct buf text = {0};
    buf_str(&item->arguments, piece);
    freeform_put(&item->freeform, piece, &text);
    put_text(r, buf_view(&text), out);
    buf_free(&text);
}

void responses_event(struct responses_reply *r, const struct chat_event *event, struct buf *out)
{
    switch (event->kind) {
    case CHAT_REASONING: take_text(r, REASONING, event->text, out); break;
    case CHAT_CONTENT: take_text(r, MESSAGE, event->text, out); break;
    case CHAT_CALL_BEGIN: begin_call(r, event, out); break;
    case CHAT_CALL_ARGUMENTS: put_arguments(r, event->text, out); break;
    case CHAT_CALL_END:
        /* Cut off by a limit or broken by the model: responses_end knows which. */
        if (event->flaw != CHAT_CUT)
            end_item(r, true, out);
        break;
    }
}

/* ---- the reply ---- */

void responses_begin(struct responses_reply *r, struct buf *out)
{
    response_event(r, "response.created", &(struct state){.status = "in_progress", .echo = true},
                   out);
    responses_idle(r, out);
}

void responses_idle(struct responses_reply *r, struct buf *out)
{
    response_event(r, "response.in_progress", &(struct state){.status = "in_progress"}, out);
}

static bool is_limit(const char *finish)
{
    return str_eq(str_of(finish), STR("length"));
}

void responses_end(struct responses_reply *r, const char *finish, struct buf *out)
{
    bool is_call = r->open && r->items[r->n_items - 1].kind >= FUNCTION;
    if (is_call && !str_eq(str_of(finish), STR("tool_calls"))) {
        r->items[r->n_items - 1].status = INCOMPLETE;
        r->open = false;
    }
    end_item(r, !is_limit(finish), out);
}

/* How it ended, as the object says it. */
static struct state end_state(const char *finish, const struct openai_usage *u)
{
    bool repeats = str_eq(str_of(finish), STR(OPENAI_REPETITION));
    bool whole = !repeats && !is_limit(finish);
    return (struct state){.status = whole ? "completed" : "incomplete",
                          .why_incomplete = whole     ? NULL
                                            : repeats ? OPENAI_REPETITION
                                                      : "max_output_tokens",
                          .usage = u,
                          .echo = true,
                          .output = true};
}

void responses_complete(struct responses_reply *r, const char *finish, str body, struct buf *out)
{
    struct state s = end_state(finish, NULL);
    open_event(r, s.why_incomplete ? "response.incomplete" : "response.completed", out);
    buf_str(out, STR(",\"response\":"));
    buf_str(out, body);
    close_event(out);
}

void responses_fail(struct responses_reply *r, const struct openai_error *e, struct buf *out)
{
    response_event(r, "response.failed",
                   &(struct state){.status = "failed", .error = e, .echo = true, .output = true},
                   out);
}

void responses_body(const struct responses_reply *r, const char *finish,
                    const struct openai_usage *u, str warning, struct buf *out)
{
    struct state s = end_state(finish, u);
    s.warning = warning;
    put_response(r, &s, out);
}

void responses_reply_free(struct responses_reply *r)
{
    for (size_t i = 0; i < r->n_items; i++) {
        struct responses_item *item = &r->items[i];
        buf_free(&item->text);
        buf_free(&item->arguments);
        buf_free(&item->call_id);
        buf_free(&item->name);
        buf_free(&item->space);
        freeform_free(&item->freeform);
    }
    free(r->items);
    buf_free(&r->held);
}
