#include "server/openai.h"

#include <limits.h>
#include <stddef.h>
#include <stdio.h>

#define IN(member)       offsetof(struct openai_request, member)
#define IN_SAMPLING(one) offsetof(struct openai_request, sampling.one)

/* Fields of both endpoints. Ranges are OpenAI's where the value means the same here, else what the
 * sampler takes. Later rows win: max_completion_tokens over max_tokens. */
static const struct openai_field common_fields[] = {
    FIELD_CHECKED("model", TYPE_STRING),
    FIELD_STORED("stream", TYPE_BOOL, STORE_BOOL, IN(stream)),
    FIELD_CHECKED("stream_options", TYPE_OBJECT),
    FIELD_RANGED("max_tokens", TYPE_INT, -1, INT_MAX, STORE_I32, IN(max_tokens)),
    FIELD_RANGED("max_completion_tokens", TYPE_INT, -1, INT_MAX, STORE_I32, IN(max_tokens)),
    FIELD_RANGED("temperature", TYPE_NUMBER, 0, 100, STORE_F32, IN_SAMPLING(temperature)),
    FIELD_RANGED("top_k", TYPE_INT, -1, INT_MAX, STORE_I32, IN_SAMPLING(top_k)),
    FIELD_RANGED("top_p", TYPE_NUMBER, 0, 1, STORE_F32, IN_SAMPLING(top_p)),
    FIELD_RANGED("min_p", TYPE_NUMBER, 0, 1, STORE_F32, IN_SAMPLING(min_p)),
    FIELD_RANGED("presence_penalty", TYPE_NUMBER, -2, 2, STORE_F32, IN_SAMPLING(presence_penalty)),
    FIELD_RANGED("frequency_penalty", TYPE_NUMBER, -2, 2, STORE_F32,
                 IN_SAMPLING(frequency_penalty)),
    FIELD_RANGED("repetition_penalty", TYPE_NUMBER, 0.01, 100, STORE_F32,
                 IN_SAMPLING(repeat_penalty)),
    FIELD_RANGED("repeat_penalty", TYPE_NUMBER, 0.01, 100, STORE_F32, IN_SAMPLING(repeat_penalty)),
    FIELD_RANGED("repeat_last_n", TYPE_INT, -1, INT_MAX, STORE_I32, IN_SAMPLING(penalty_last_n)),
    FIELD_STORED("seed", TYPE_INT, STORE_U64, IN_SAMPLING(seed)),
    FIELD_CHECKED("logit_bias", TYPE_OBJECT),
    FIELD_CHECKED("stop", TYPE_STRING | TYPE_ARRAY),
    FIELD_RANGED("n", TYPE_INT, 1, 1, STORE_NOTHING, 0),
    FIELD_STORED("return_progress", TYPE_BOOL, STORE_BOOL, IN(want_progress)),
    FIELD_STORED("timings_per_token", TYPE_BOOL, STORE_BOOL, IN(want_timings)),
    FIELD_STORED("ignore_eos", TYPE_BOOL, STORE_BOOL, IN(ignore_stop)),
    FIELD_CHECKED("user", TYPE_STRING),
    FIELD_CHECKED("prompt_cache_key", TYPE_STRING),
};

static const struct openai_field chat_fields[] = {
    FIELD_NEEDED("messages", TYPE_ARRAY, STORE_NOTHING, 0),
    FIELD_CHECKED("tools", TYPE_ARRAY),
    FIELD_CHECKED("tool_choice", TYPE_STRING | TYPE_OBJECT),
    FIELD_CHECKED("parallel_tool_calls", TYPE_BOOL),
    FIELD_STORED("logprobs", TYPE_BOOL, STORE_BOOL, IN(want_logprobs)),
    FIELD_RANGED("top_logprobs", TYPE_INT, 0, OPENAI_MAX_TOP_LOGPROBS, STORE_U32,
                 IN(n_top_logprobs)),
    FIELD_CHECKED("response_format", TYPE_OBJECT),
    FIELD_STORED("reasoning_effort", TYPE_STRING, STORE_STR, IN(conversation.effort)),
    FIELD_CHECKED("chat_template_kwargs", TYPE_OBJECT),
    FIELD_CHECKED("enable_thinking", TYPE_BOOL),
    FIELD_CHECKED("thinking", TYPE_OBJECT),
    FIELD_CHECKED("reasoning", TYPE_OBJECT),
    FIELD_STORED("include_reasoning", TYPE_BOOL, STORE_BOOL, IN(twice_reasoning)),
};

static const struct openai_field text_fields[] = {
    FIELD_NEEDED("prompt", TYPE_STRING | TYPE_ARRAY, STORE_NOTHING, 0),
    FIELD_RANGED("logprobs", TYPE_INT, 0, OPENAI_MAX_TOP_LOGPROBS, STORE_U32, IN(n_top_logprobs)),
    FIELD_CHECKED("echo", TYPE_BOOL),
    FIELD_CHECKED("suffix", TYPE_STRING),
    FIELD_RANGED("best_of", TYPE_INT, 1, 1, STORE_NOTHING, 0),
};

static bool parse_stream_options(struct openai_request *r, struct openai_error *e)
{
    static const struct openai_field table[] = {
        FIELD_STORED("include_usage", TYPE_BOOL, STORE_BOOL, IN(include_usage)),
    };
    return openai_fields(json_get(r->body, "stream_options"), "stream_options", table,
                         FIELD_COUNT(table), r, e);
}

bool openai_take_stops(struct openai_request *r, const struct json *stop, const char *where,
                       struct openai_error *e)
{
    bool many = json_type(stop) == JSON_ARRAY;
    size_t n = many ? json_count(stop) : stop != NULL;
    if (n > OPENAI_MAX_STOPS)
        return openai_refuse(e, where, "'%s' has %zu strings; the limit is %d.", where, n,
                             OPENAI_MAX_STOPS);
    str *list = arena_new(&r->arena, n + 1, sizeof *list);
    for (size_t i = 0; i < n; i++) {
        const struct json *one = many ? json_at(stop, i) : stop;
        if (json_type(one) != JSON_STRING)
            return openai_refuse(e, where, "'%s' must be a string or an array of strings.", where);
        list[i] = json_str(one);
        if (list[i].n > OPENAI_MAX_STOP_BYTES)
            return openai_refuse(e, where, "'%s[%zu]' has %zu bytes; the limit is %d.", where, i,
                                 list[i].n, OPENAI_MAX_STOP_BYTES);
        if (list[i].n == 0)
            return openai_refuse(e, where, "'%s[%zu]' is empty.", where, i);
    }
    r->stops = list;
    r->n_stops = n;
    return true;
}

bool openai_parse_stops(struct openai_request *r, struct openai_error *e)
{
    return openai_take_stops(r, json_get(r->body, "stop"), "stop", e);
}

/* No limit is -1. */
static bool check_limit(const struct openai_request *r, struct openai_error *e)
{
    const char *name = "max_completion_tokens";
    if (!json_get(r->body, name))
        name = "max_tokens";
    return !json_get(r->body, name) || r->max_tokens != 0 ||
           openai_refuse(e, name, "'%s' must be 1 or more, or -1 for no limit, not 0.", name);
}

static bool parse_logit_bias(struct openai_request *r, struct openai_error *e)
{
    const struct json *map = json_get(r->body, "logit_bias");
    struct logit_bias *list = arena_new(&r->arena, json_count(map) + 1, sizeof *list);
    struct json_iter it = {0};
    struct json *value;
    str key;
    size_t n = 0;
    while (json_next(map, &it, &key, &value)) {
        int64_t id;
        double bias = json_float(value);
        enum json_type type = json_type(value);
        if (!str_to_i64(key, &id) || id < 0 || id > INT32_MAX)
            return openai_refuse(e, "logit_bias",
                                 "'logit_bias' must map token ids to numbers: '%.*s' is no id.",
                                 (int)(key.n < 40 ? key.n : 40), key.p);
        if ((type != JSON_INT && type != JSON_FLOAT) || !(bias >= -100 && bias <= 100))
            return openai_refuse(e, "logit_bias",
                                 "'logit_bias' of token %lld must be a number from -100 to 100.",
                                 (long long)id);
        list[n++] = (struct logit_bias){(int32_t)id, (float)bias};
    }
    r->sampling.bias = list;
    r->sampling.n_bias = n;
    return true;
}

static bool parse_ids(struct openai_request *r, const struct json *list, struct openai_error *e)
{
    size_t n = json_count(list);
    int32_t *ids = arena_new(&r->arena, n, sizeof *ids);
    for (size_t i = 0; i < n; i++) {
        const struct json *one = json_at(list, i);
        int64_t id = json_int(one);
        if (json_type(one) != JSON_INT || id < 0 || id > INT32_MAX)
            return openai_refuse(e, "prompt", "'prompt[%zu]' is no token id.", i);
        ids[i] = (int32_t)id;
    }
    r->prompt_ids = ids;
    r->n_prompt_ids = n;
    return true;
}

/* A string, token ids, or an array that holds one of these. */
static bool parse_prompt(struct openai_request *r, struct openai_error *e)
{
    const struct json *prompt = json_get(r->body, "prompt");
    if (json_type(prompt) == JSON_ARRAY) {
        enum json_type of = json_type(json_at(prompt, 0));
        if (of == JSON_INT)
            return parse_ids(r, prompt, e);
        if (json_count(prompt) != 1 || (of != JSON_STRING && of != JSON_ARRAY))
            return openai_refuse(e, "prompt",
                                 "'prompt' must be one string or one array of token ids; this "
                                 "server makes one completion per request.");
        prompt = json_at(prompt, 0);
        if (of == JSON_ARRAY && json_count(prompt) > 0)
            return parse_ids(r, prompt, e);
    }
    if (json_type(prompt) != JSON_STRING)
        return openai_refuse(e, "prompt", "'prompt' has no tokens.");
    r->prompt = json_str(prompt);
    return true;
}

static bool parse_text(struct openai_request *r, struct openai_error *e)
{
    if (!openai_fields(r->body, "", text_fields, FIELD_COUNT(text_fields), r, e))
        return false;
    if (json_bool(json_get(r->body, "echo")))
        return openai_refuse(e, "echo", "'echo' is not supported.");
    if (json_str(json_get(r->body, "suffix")).n)
        return openai_refuse(e, "suffix", "'suffix' is not supported.");
    r->want_logprobs = json_get(r->body, "logprobs") != NULL;
    return parse_prompt(r, e);
}

/* How clients of other servers switch reasoning: Qwen's "enable_thinking", DeepSeek's and Z.ai's
 * "thinking": {"type"}, OpenRouter's "reasoning": {"effort", "enabled"}. */
static bool parse_thinking(struct openai_request *r, struct openai_error *e)
{
    static const struct openai_field thinking_fields[] = {FIELD_CHECKED("type", TYPE_STRING)};
    static const struct openai_field reasoning_fields[] = {
        FIELD_CHECKED("effort", TYPE_STRING),
        FIELD_CHECKED("enabled", TYPE_BOOL),
    };
    const struct json *thinking = json_get(r->body, "thinking");
    const struct json *reasoning = json_get(r->body, "reasoning");
    const struct json *flags[] = {json_get(r->body, "enable_thinking"),
                                  json_get(reasoning, "enabled")};
    str type = json_str(json_get(thinking, "type")),
        effort = json_str(json_get(reasoning, "effort"));
    bool on = str_eq(type, STR("enabled")), off = str_eq(type, STR("disabled"));
    if (!openai_fields(thinking, "thinking", thinking_fields, FIELD_COUNT(thinking_fields), NULL,
                       e) ||
        !openai_fields(reasoning, "reasoning", reasoning_fields, FIELD_COUNT(reasoning_fields),
                       NULL, e))
        return false;
    for (int i = 0; i < 2; i++) {
        on = on || json_bool(flags[i]);
        off = off || (flags[i] && !json_bool(flags[i]));
    }
    if (!r->conversation.effort.n)
        r->conversation.effort = off ? STR("none") : effort;
    r->conversation.think = on && !off;
    return true;
}

static bool parse_chat(struct openai_request *r, struct openai_error *e)
{
    if (!openai_fields(r->body, "", chat_fields, FIELD_COUNT(chat_fields), r, e))
        return false;
    const struct json *parallel = json_get(r->body, "parallel_tool_calls");
    r->one_call = parallel && !json_bool(parallel);
    r->conversation.settings = json_get(r->body, "chat_template_kwargs");
    return parse_thinking(r, e) && openai_parse_messages(r, e) && openai_parse_tools(r, e) &&
           openai_parse_tool_choice(r, e);
}

bool openai_parse(str body, bool chat, const struct sampling *defaults, struct openai_request *out,
                  struct openai_error *e)
{
    struct err why;
    *out = (struct openai_request){
        .chat = chat, .sampling = *defaults, .prompt_at = chat ? "messages" : "prompt"};
    out->body = json_parse(body, &why);
    if (!out->body) {
        openai_refuse(e, NULL, "The body is not JSON: %s", why.msg);
        goto fail;
    }
    if (json_type(out->body) != JSON_OBJECT) {
        openai_refuse(e, NULL, "The body must be a JSON object.");
        goto fail;
    }
    if (!openai_fields(out->body, "", common_fields, FIELD_COUNT(common_fields), out, e) ||
        !check_limit(out, e) || !parse_stream_options(out, e) || !openai_parse_stops(out, e) ||
        !parse_logit_bias(out, e) || !openai_parse_shape(out, e) ||
        !(chat ? parse_chat(out, e) : parse_text(out, e)))
        goto fail;
    const struct json *seed = json_get(out->body, "seed");
    out->random_seed = !seed || json_int(seed) == -1;
    out->want_timings |= out->want_progress;
    if (out->sampling.top_k < 0)
        out->sampling.top_k = 0;
    return true;
fail:
    openai_request_free(out);
    return false;
}

void openai_request_free(struct openai_request *r)
{
    json_free(r->body);
    arena_free(&r->arena);
    *r = (struct openai_request){0};
}
