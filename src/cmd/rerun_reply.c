#include "cmd/rerun.h"

#include <stdlib.h>

#include "base/clock.h"
#include "text/schema.h"

void rerun_reply_open(struct rerun_reply *r, str path, bool streamed)
{
    *r = (struct rerun_reply){
        .path = path, .streamed = streamed, .n_prompt = -1, .n_cached = -1, .n_generated = -1};
}

void rerun_reply_free(struct rerun_reply *r)
{
    for (size_t i = 0; i < r->n_calls; i++) {
        buf_free(&r->calls[i].id);
        buf_free(&r->calls[i].name);
        buf_free(&r->calls[i].arguments);
    }
    free(r->calls);
    buf_free(&r->bytes);
    buf_free(&r->content);
    buf_free(&r->reasoning);
    buf_free(&r->error);
}

/* ---- what all protocols share ---- */

static void put_text(struct rerun_reply *r, struct buf *to, const struct json *text)
{
    str s = json_str(text);
    if (s.n && !r->first_ns)
        r->first_ns = clock_ns();
    buf_str(to, s);
}

static struct rerun_call *add_call(struct rerun_reply *r, const struct json *id,
                                   const struct json *name)
{
    r->calls = mem_grow(r->calls, r->n_calls + 1, sizeof *r->calls);
    struct rerun_call *call = &r->calls[r->n_calls++];
    *call = (struct rerun_call){0};
    buf_str(&call->id, json_str(id));
    put_text(r, &call->name, name);
    return call;
}

/* As text or, where the protocol has them so, as an object. */
static void put_arguments(struct rerun_call *call, const struct json *arguments)
{
    if (json_type(arguments) == JSON_STRING)
        buf_str(&call->arguments, json_str(arguments));
    else if (arguments)
        json_print(arguments, JSON_COMPACT, &call->arguments);
}

static void take_number(const struct json *v, const char *key, int64_t *out)
{
    if (json_get(v, key))
        *out = json_int(json_get(v, key));
}

static void take_error(struct rerun_reply *r, const struct json *error)
{
    const struct json *message = json_get(error, "message");
    if (error && r->error.n == 0)
        buf_str(&r->error, json_str(message ? message : error));
}

/* ---- chat completions and completions ---- */

static void take_chat_calls(struct rerun_reply *r, const struct json *list)
{
    for (size_t i = 0; i < json_count(list); i++) {
        const struct json *one = json_at(list, i), *f = json_get(one, "function");
        const struct json *index = json_get(one, "index");
        size_t at = index ? (size_t)json_int(index) : r->n_calls;
        struct rerun_call *call =
            at < r->n_calls ? &r->calls[at] : add_call(r, json_get(one, "id"), json_get(f, "name"));
        put_arguments(call, json_get(f, "arguments"));
    }
}

static void take_chat(struct rerun_reply *r, const struct json *v)
{
    const struct json *choice = json_at(json_get(v, "choices"), 0);
    const struct json *usage = json_get(v, "usage"), *timings = json_get(v, "timings");
    const struct json *message = json_get(choice, "delta");
    if (!message)
        message = json_get(choice, "message");
    put_text(r, &r->content, json_get(choice, "text"));
    put_text(r, &r->content, json_get(message, "content"));
    put_text(r, &r->reasoning, json_get(message, "reasoning_content"));
    take_chat_calls(r, json_get(message, "tool_calls"));
    take_number(usage, "prompt_tokens", &r->n_prompt);
    take_number(usage, "completion_tokens", &r->n_generated);
    take_number(json_get(usage, "prompt_tokens_details"), "cached_tokens", &r->n_cached);
    if (json_get(timings, "cache_n")) {
        r->n_cached = json_int(json_get(timings, "cache_n"));
        r->n_prompt = r->n_cached + json_int(json_get(timings, "prompt_n"));
        take_number(timings, "predicted_n", &r->n_generated);
    }
}

/* ---- Messages ---- */

/* input_tokens are those that were not cached. */
static void take_message_usage(struct rerun_reply *r, const struct json *usage)
{
    int64_t n_new = -1, n_made = 0;
    take_number(usage, "cache_read_input_tokens", &r->n_cached);
    take_number(usage, "cache_creation_input_tokens", &n_made);
    take_number(usage, "input_tokens", &n_new);
    take_number(usage, "output_tokens", &r->n_generated);
    if (n_new >= 0)
        r->n_prompt = n_new + n_made + (r->n_cached > 0 ? r->n_cached : 0);
}

static void take_block(struct rerun_reply *r, const struct json *block, bool whole)
{
    put_text(r, &r->content, json_get(block, "text"));
    put_text(r, &r->reasoning, json_get(block, "thinking"));
    if (!str_eq(json_str(json_get(block, "type")), STR("tool_use")))
        return;
    struct rerun_call *call = add_call(r, json_get(block, "id"), json_get(block, "name"));
    if (whole)
        put_arguments(call, json_get(block, "input"));
}

static void take_messages(struct rerun_reply *r, const struct json *v)
{
    const struct json *delta = json_get(v, "delta"), *content = json_get(v, "content");
    take_block(r, json_get(v, "content_block"), false);
    put_text(r, &r->content, json_get(delta, "text"));
    put_text(r, &r->reasoning, json_get(delta, "thinking"));
    if (json_get(delta, "partial_json") && r->n_calls)
        put_arguments(&r->calls[r->n_calls - 1], json_get(delta, "partial_json"));
    for (size_t i = 0; i < json_count(content); i++)
        take_block(r, json_at(content, i), true);
    take_message_usage(r, json_get(json_get(v, "message"), "usage"));
    take_message_usage(r, json_get(v, "usage"));
}

/* ---- Responses ---- */

static void take_item(struct rerun_reply *r, const struct json *item)
{
    str type = json_str(json_get(item, "type"));
    if (str_eq(type, STR("function_call"))) {
        put_arguments(add_call(r, json_get(item, "call_id"), json_get(item, "name")),
                      json_get(item, "arguments"));
    } else if (str_eq(type, STR("custom_tool_call"))) {
        struct rerun_call *call = add_call(r, json_get(item, "call_id"), json_get(item, "name"));
        put_arguments(call, json_get(item, "input"));
        call->raw = true;
    }
}

static void take_responses(struct rerun_reply *r, const struct json *v)
{
    const struct json *inner = json_get(v, "response"), *whole = inner ? inner : v;
    const struct json *usage = json_get(whole, "usage"), *output = json_get(v, "output");
    str type = json_str(json_get(v, "type"));
    put_text(r, str_find(type, STR("output_text"), 0) != SIZE_MAX ? &r->content : &r->reasoning,
             str_ends(type, STR(".delta")) ? json_get(v, "delta") : NULL);
    if (str_eq(type, STR("response.output_item.done")))
        take_item(r, json_get(v, "item"));
    for (size_t i = 0; i < json_count(output); i++) {
        take_item(r, json_at(output, i));
        put_text(r, &r->content,
                 json_get(json_at(json_get(json_at(output, i), "content"), 0), "text"));
    }
    take_error(r, json_get(inner, "error"));
    take_number(usage, "input_tokens", &r->n_prompt);
    take_number(usage, "output_tokens", &r->n_generated);
    take_number(json_get(usage, "input_tokens_details"), "cached_tokens", &r->n_cached);
}

/* ---- Ollama ---- */

static void take_ollama(struct rerun_reply *r, const struct json *v)
{
    const struct json *message = json_get(v, "message");
    put_text(r, &r->content, json_get(v, "response"));
    put_text(r, &r->content, json_get(message, "content"));
    put_text(r, &r->reasoning, json_get(message, "thinking"));
    take_chat_calls(r, json_get(message, "tool_calls"));
    take_number(v, "prompt_eval_count", &r->n_prompt);
    take_number(v, "eval_count", &r->n_generated);
}

/* ---- bytes ---- */

static void take_value(struct rerun_reply *r, str text)
{
    struct err ignored;
    struct json *v = json_parse(text, &ignored);
    take_error(r, json_get(v, "error"));
    if (str_starts(r->path, STR("/v1/messages")))
        take_messages(r, v);
    else if (str_starts(r->path, STR("/v1/responses")))
        take_responses(r, v);
    else if (str_starts(r->path, STR("/api/")))
        take_ollama(r, v);
    else
        take_chat(r, v);
    json_free(v);
}

/* A stream's line: of server-sent events, or a value of its own. Other lines say nothing. */
static void take_line(struct rerun_reply *r, str line)
{
    if (str_starts(line, STR("data:")))
        line = str_sub(line, 5, line.n);
    line = str_trim(line);
    if (str_starts(line, STR("{")))
        take_value(r, line);
}

void rerun_reply_put(struct rerun_reply *r, str bytes)
{
    size_t from = 0;
    buf_str(&r->bytes, bytes);
    str all = buf_view(&r->bytes);
    for (size_t end; r->streamed && (end = str_find(all, STR("\n"), from)) != SIZE_MAX;
         from = end + 1)
        take_line(r, str_sub(all, from, end));
    buf_drop(&r->bytes, from);
}

void rerun_reply_end(struct rerun_reply *r)
{
    if (r->streamed)
        take_line(r, buf_view(&r->bytes));
    else
        take_value(r, buf_view(&r->bytes));
    buf_free(&r->bytes);
}

/* ---- calls ---- */

/* The tool of this name, in any protocol's list; some have groups of tools. NULL: none. */
static const struct json *find_tool(const struct json *tools, str name, int depth)
{
    for (size_t i = 0; i < json_count(tools); i++) {
        const struct json *tool = json_at(tools, i), *f = json_get(tool, "function");
        const struct json *inner =
            depth ? find_tool(json_get(tool, "tools"), name, depth - 1) : NULL;
        if (inner)
            return inner;
        if (str_eq(json_str(json_get(f ? f : tool, "name")), name))
            return f ? f : tool;
    }
    return NULL;
}

static bool is_valid(const struct rerun_call *call, const struct json *request)
{
    const struct json *tool = find_tool(json_get(request, "tools"), buf_view(&call->name), 2);
    const struct json *schema = json_get(tool, "parameters");
    struct err ignored;
    if (!tool || call->raw)
        return tool != NULL;
    if (!schema)
        schema = json_get(tool, "input_schema");
    struct json *v = json_parse(buf_view(&call->arguments), &ignored);
    bool ok = json_type(v) == JSON_OBJECT && (!schema || schema_check(schema, schema, v, NULL));
    json_free(v);
    return ok;
}

size_t rerun_reply_valid(const struct rerun_reply *r, const struct json *request)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n_calls; i++)
        n += is_valid(&r->calls[i], request);
    return n;
}
