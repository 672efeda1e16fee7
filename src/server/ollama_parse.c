#include "server/ollama.h"

#include <limits.h>
#include <stddef.h>
#include <stdio.h>

#define IN(member)       offsetof(struct ollama_request, base.member)
#define IN_SAMPLING(one) offsetof(struct ollama_request, base.sampling.one)

static const struct openai_field common_fields[] = {
    FIELD_CHECKED("model", TYPE_STRING),
    FIELD_STORED("stream", TYPE_BOOL, STORE_BOOL, IN(stream)),
    FIELD_CHECKED("format", TYPE_STRING | TYPE_OBJECT),
    FIELD_CHECKED("options", TYPE_OBJECT),
    FIELD_CHECKED("keep_alive", TYPE_STRING | TYPE_NUMBER),
    FIELD_CHECKED("think", TYPE_BOOL | TYPE_STRING),
};

static const struct openai_field chat_fields[] = {
    FIELD_CHECKED("messages", TYPE_ARRAY),
    FIELD_CHECKED("tools", TYPE_ARRAY),
};

static const struct openai_field generate_fields[] = {
    FIELD_CHECKED("prompt", TYPE_STRING),   FIELD_CHECKED("suffix", TYPE_STRING),
    FIELD_CHECKED("system", TYPE_STRING),   FIELD_CHECKED("raw", TYPE_BOOL),
    FIELD_CHECKED("template", TYPE_STRING), FIELD_CHECKED("context", TYPE_ARRAY),
    FIELD_CHECKED("images", TYPE_ARRAY),
};

/* Ranges are the sampler's. num_predict below 0 is no limit. */
static const struct openai_field option_fields[] = {
    FIELD_RANGED("num_predict", TYPE_INT, -2, INT_MAX, STORE_I32, IN(max_tokens)),
    FIELD_RANGED("temperature", TYPE_NUMBER, 0, 100, STORE_F32, IN_SAMPLING(temperature)),
    FIELD_RANGED("top_k", TYPE_INT, -1, INT_MAX, STORE_I32, IN_SAMPLING(top_k)),
    FIELD_RANGED("top_p", TYPE_NUMBER, 0, 1, STORE_F32, IN_SAMPLING(top_p)),
    FIELD_RANGED("min_p", TYPE_NUMBER, 0, 1, STORE_F32, IN_SAMPLING(min_p)),
    FIELD_RANGED("repeat_penalty", TYPE_NUMBER, 0.01, 100, STORE_F32, IN_SAMPLING(repeat_penalty)),
    FIELD_RANGED("repeat_last_n", TYPE_INT, -1, INT_MAX, STORE_I32, IN_SAMPLING(penalty_last_n)),
    FIELD_RANGED("presence_penalty", TYPE_NUMBER, -2, 2, STORE_F32, IN_SAMPLING(presence_penalty)),
    FIELD_RANGED("frequency_penalty", TYPE_NUMBER, -2, 2, STORE_F32,
                 IN_SAMPLING(frequency_penalty)),
    FIELD_STORED("seed", TYPE_INT, STORE_U64, IN_SAMPLING(seed)),
    FIELD_CHECKED("stop", TYPE_STRING | TYPE_ARRAY),
    FIELD_CHECKED("num_ctx", TYPE_INT),
};

static bool parse_options(struct ollama_request *r, struct openai_error *e)
{
    const struct json *options = json_get(r->base.body, "options");
    const struct json *seed = json_get(options, "seed");
    if (!openai_fields(options, "options", option_fields, FIELD_COUNT(option_fields), r, e))
        return false;
    r->base.random_seed = !seed || json_int(seed) == -1;
    if (r->base.sampling.top_k < 0)
        r->base.sampling.top_k = 0;
    return openai_take_stops(&r->base, json_get(options, "stop"), "options.stop", e);
}

/* "json" or a schema. */
static bool parse_format(struct openai_request *q, struct openai_error *e)
{
    const struct json *format = json_get(q->body, "format");
    str name = json_str(format);
    if (json_type(format) == JSON_OBJECT) {
        q->content = OPENAI_SCHEMA;
        q->schema = format;
        q->schema_at = "format";
        return true;
    }
    if (str_eq(name, STR("json")))
        q->content = OPENAI_OBJECT;
    return name.n == 0 || q->content == OPENAI_OBJECT ||
           openai_refuse(e, "format", "'format' is '%.*s'; it must be \"json\" or a JSON schema.",
                         (int)(name.n < 40 ? name.n : 40), name.p);
}

static void parse_think(struct openai_request *q)
{
    const struct json *think = json_get(q->body, "think");
    if (json_type(think) == JSON_STRING)
        q->conversation.effort = json_str(think);
    else if (think && !json_bool(think))
        q->conversation.effort = STR("none");
    q->conversation.think = think && json_bool(think);
}

static bool parse_chat(struct ollama_request *r, struct openai_error *e)
{
    struct openai_request *q = &r->base;
    if (!openai_fields(q->body, "", chat_fields, FIELD_COUNT(chat_fields), r, e))
        return false;
    r->idle = json_count(json_get(q->body, "messages")) == 0;
    return openai_parse_tools(q, e) && (r->idle || ollama_parse_messages(r, e));
}

/* "prompt" is the user's message after "system", or with "raw" the model's text as it is. */
static bool parse_generate(struct ollama_request *r, struct openai_error *e)
{
    struct openai_request *q = &r->base;
    if (!openai_fields(q->body, "", generate_fields, FIELD_COUNT(generate_fields), r, e))
        return false;
    str prompt = json_str(json_get(q->body, "prompt")),
        system = json_str(json_get(q->body, "system"));
    if (json_str(json_get(q->body, "suffix")).n)
        return openai_refuse(e, "suffix", "'suffix' is not supported: the model does not insert.");
    if (json_count(json_get(q->body, "images")))
        return openai_refuse(e, "images", "'images': this model reads text only.");
    if (json_str(json_get(q->body, "template")).n || json_get(q->body, "context"))
        snprintf(q->notice, sizeof q->notice,
                 "'template' and 'context' are ignored: the model's own template is used");
    q->prompt_at = "prompt";
    r->idle = prompt.n == 0 && system.n == 0;
    q->chat = !json_bool(json_get(q->body, "raw"));
    q->prompt = prompt;
    struct chat_message *messages = arena_new(&q->arena, 2, sizeof *messages);
    size_t n = 0;
    if (system.n)
        messages[n++] = (struct chat_message){.role = CHAT_SYSTEM, .content = system};
    messages[n++] = (struct chat_message){.role = CHAT_USER, .content = prompt};
    q->conversation.messages = messages;
    q->conversation.n_messages = n;
    return true;
}

/* "0", "0s", 0: at once. */
static bool is_zero(const struct json *keep_alive)
{
    str text = json_str(keep_alive);
    if (json_type(keep_alive) == JSON_STRING)
        return text.n && text.p[0] == '0' && (text.n == 1 || text.p[1] < '0' || text.p[1] > '9') &&
               str_find(text, STR("."), 0) == SIZE_MAX;
    return keep_alive && json_float(keep_alive) == 0;
}

static bool parse_body(str body, struct ollama_request *r, struct openai_error *e)
{
    struct openai_request *q = &r->base;
    struct err why;
    q->body = json_parse(body, &why);
    if (!q->body)
        return openai_refuse(e, NULL, "the body is not JSON: %s", why.msg);
    if (json_type(q->body) != JSON_OBJECT)
        return openai_refuse(e, NULL, "the body must be a JSON object");
    if (!openai_fields(q->body, "", common_fields, FIELD_COUNT(common_fields), r, e) ||
        !parse_options(r, e) || !parse_format(q, e))
        return false;
    parse_think(q);
    r->unload = is_zero(json_get(q->body, "keep_alive"));
    return r->generate ? parse_generate(r, e) : parse_chat(r, e);
}

bool ollama_parse(str body, bool generate, const struct sampling *defaults,
                  struct ollama_request *out, struct openai_error *e)
{
    *out = (struct ollama_request){
        .base = {.chat = true, .stream = true, .sampling = *defaults, .prompt_at = "messages"},
        .generate = generate};
    if (parse_body(body, out, e))
        return true;
    ollama_request_free(out);
    return false;
}

void ollama_request_free(struct ollama_request *r)
{
    openai_request_free(&r->base);
    *r = (struct ollama_request){0};
}
