#include "server/responses.h"

#include <limits.h>
#include <stddef.h>

enum { MAX_REFERENCES = 4096 };

#define IN(member)       offsetof(struct responses_request, member)
#define IN_BASE(one)     offsetof(struct responses_request, base.one)
#define IN_SAMPLING(one) offsetof(struct responses_request, base.sampling.one)

/* OpenAI's, and those of the sampler that chat completions take too. */
static const struct openai_field fields[] = {
    FIELD_CHECKED("model", TYPE_STRING),
    FIELD_CHECKED("input", TYPE_STRING | TYPE_ARRAY),
    FIELD_CHECKED("instructions", TYPE_STRING),
    FIELD_STORED("previous_response_id", TYPE_STRING, STORE_STR, IN(previous)),
    FIELD_STORED("store", TYPE_BOOL, STORE_BOOL, IN(store)),
    FIELD_STORED("stream", TYPE_BOOL, STORE_BOOL, IN_BASE(stream)),
    FIELD_RANGED("max_output_tokens", TYPE_INT, 1, INT_MAX, STORE_I32, IN_BASE(max_tokens)),
    FIELD_RANGED("temperature", TYPE_NUMBER, 0, 100, STORE_F32, IN_SAMPLING(temperature)),
    FIELD_RANGED("top_p", TYPE_NUMBER, 0, 1, STORE_F32, IN_SAMPLING(top_p)),
    FIELD_RANGED("top_k", TYPE_INT, -1, INT_MAX, STORE_I32, IN_SAMPLING(top_k)),
    FIELD_RANGED("min_p", TYPE_NUMBER, 0, 1, STORE_F32, IN_SAMPLING(min_p)),
    FIELD_STORED("seed", TYPE_INT, STORE_U64, IN_SAMPLING(seed)),
    FIELD_STORED("ignore_eos", TYPE_BOOL, STORE_BOOL, IN_BASE(ignore_stop)),
    FIELD_CHECKED("tools", TYPE_ARRAY),
    FIELD_CHECKED("tool_choice", TYPE_STRING | TYPE_OBJECT),
    FIELD_CHECKED("parallel_tool_calls", TYPE_BOOL),
    FIELD_CHECKED("reasoning", TYPE_OBJECT),
    FIELD_CHECKED("text", TYPE_OBJECT),
    FIELD_CHECKED("include", TYPE_ARRAY),
    FIELD_CHECKED("metadata", TYPE_OBJECT),
    FIELD_CHECKED("prompt_cache_key", TYPE_STRING),
    FIELD_CHECKED("user", TYPE_STRING),
    FIELD_CHECKED("chat_template_kwargs", TYPE_OBJECT),
    FIELD_CHECKED("background", TYPE_BOOL),
};

/* What cannot be done and would change the answer. */
static bool refuse_others(const struct json *body, struct openai_error *e)
{
    static const char *const names[] = {"conversation", "prompt"};
    for (size_t i = 0; i < FIELD_COUNT(names); i++)
        if (json_get(body, names[i]))
            return openai_refuse(e, names[i], "'%s' is not supported by this server.", names[i]);
    return !json_bool(json_get(body, "background")) ||
           openai_refuse(e, "background", "'background' is not supported by this server.");
}

static bool parse_reasoning(struct responses_request *r, struct openai_error *e)
{
    static const struct openai_field table[] = {
        FIELD_STORED("effort", TYPE_STRING, STORE_STR, IN_BASE(conversation.effort)),
        FIELD_CHECKED("summary", TYPE_STRING),
    };
    const struct json *reasoning = json_get(r->base.body, "reasoning");
    str summary = json_str(json_get(reasoning, "summary"));
    r->summarise = summary.n && !str_eq(summary, STR("none"));
    return openai_fields(reasoning, "reasoning", table, FIELD_COUNT(table), r, e);
}

/* {"format": {"type": "json_schema", "name": ..., "schema": ..., "strict": ...}} */
static bool parse_format(struct responses_request *r, struct openai_error *e)
{
    static const struct openai_field text_fields[] = {FIELD_CHECKED("format", TYPE_OBJECT)};
    static const struct openai_field format_fields[] = {
        FIELD_NEEDED("type", TYPE_STRING, STORE_NOTHING, 0),
        FIELD_CHECKED("schema", TYPE_OBJECT | TYPE_BOOL),
    };
    struct openai_request *q = &r->base;
    const struct json *text = json_get(q->body, "text");
    const struct json *format = json_get(text, "format");
    str type = json_str(json_get(format, "type"));
    if (!openai_fields(text, "text", text_fields, FIELD_COUNT(text_fields), NULL, e))
        return false;
    if (!format || str_eq(type, STR("text")))
        return true;
    if (!openai_fields(format, "text.format", format_fields, FIELD_COUNT(format_fields), NULL, e))
        return false;
    if (str_eq(type, STR("json_object"))) {
        q->content = OPENAI_OBJECT;
        return true;
    }
    if (!str_eq(type, STR("json_schema")))
        return openai_refuse(e, "text.format.type",
                             "'text.format.type' is '%.*s'; it must be text, json_object or "
                             "json_schema.",
                             (int)(type.n < 40 ? type.n : 40), type.p);
    q->content = OPENAI_SCHEMA;
    q->schema = json_get(format, "schema");
    q->schema_at = "text.format.schema";
    return q->schema || openai_refuse(e, q->schema_at, "'text.format.schema' is required.");
}

/* ---- the items ---- */

/* The request's own items: a string is one message of the user. */
static void put_own_items(const struct json *input, struct buf *out)
{
    if (json_type(input) == JSON_STRING) {
        buf_str(out, STR("{\"type\":\"message\",\"role\":\"user\",\"content\":"));
        json_quote(json_str(input), out);
        buf_byte(out, '}');
    }
    for (size_t i = 0; json_type(input) == JSON_ARRAY && i < json_count(input); i++) {
        if (i)
            buf_byte(out, ',');
        json_print(json_at(input, i), JSON_COMPACT, out);
    }
}

/* "msg_TAIL_3" is of the response "resp_TAIL". */
static str response_of(struct arena *a, str item)
{
    size_t from = str_find(item, STR("_"), 0);
    size_t to = from == SIZE_MAX ? from : str_find(item, STR("_"), from + 1);
    return to == SIZE_MAX ? STR("") : arena_fmt(a, "resp_%.*s", STRF(str_sub(item, from + 1, to)));
}

/* The item that {"type": "item_reference", "id": ...} names. */
static bool put_referred(struct responses_request *r, struct responses_store *store,
                         const struct json *reference, struct buf *out, struct openai_error *e)
{
    str id = json_str(json_get(reference, "id"));
    struct buf items = {0};
    struct err ignored;
    bool found = false;
    buf_byte(&items, '[');
    if (responses_store_output(store, response_of(&r->base.arena, id), &items)) {
        buf_byte(&items, ']');
        struct json *list = json_parse(buf_view(&items), &ignored);
        for (size_t i = 0; i < json_count(list) && !found; i++) {
            found = str_eq(json_str(json_get(json_at(list, i), "id")), id);
            if (found)
                json_print(json_at(list, i), JSON_COMPACT, out);
        }
        json_free(list);
    }
    buf_free(&items);
    return found || openai_fail(e, 404, "item_not_found",
                                "Item '%.*s' is not here (any more): send the item itself.",
                                (int)(id.n < 80 ? id.n : 80), id.p);
}

static bool is_reference(const struct json *item)
{
    return str_eq(json_str(json_get(item, "type")), STR("item_reference"));
}

/* The request's own items with what they refer to in its place. */
static bool resolve(struct responses_request *r, struct responses_store *store,
                    struct openai_error *e)
{
    const struct json *input = json_get(r->base.body, "input");
    size_t n = json_type(input) == JSON_ARRAY ? json_count(input) : 0, n_references = 0;
    for (size_t i = 0; i < n; i++)
        n_references += is_reference(json_at(input, i));
    if (n_references == 0) {
        put_own_items(input, &r->input);
        return true;
    }
    if (n_references > MAX_REFERENCES)
        return openai_refuse(e, "input", "'input' has %zu item references; the limit is %d.",
                             n_references, MAX_REFERENCES);
    r->input.max = (size_t)256 << 20; /* each reference copies what it names */
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_byte(&r->input, ',');
        if (!is_reference(json_at(input, i)))
            json_print(json_at(input, i), JSON_COMPACT, &r->input);
        else if (!put_referred(r, store, json_at(input, i), &r->input, e))
            return false;
    }
    return !r->input.over ||
           openai_refuse(e, "input", "'input' with what it refers to has more than 256 MiB.");
}

/* All items of the conversation, as one array. */
static bool gather(struct responses_request *r, struct responses_store *store,
                   struct openai_error *e)
{
    struct buf all = {0};
    struct err why = {0};
    bool ok = resolve(r, store, e);
    if (ok && r->previous.n && !responses_store_items(store, r->previous, &all)) {
        ok = openai_fail(e, 404, "previous_response_not_found",
                         "Previous response '%.*s' is not here (any more): send the whole "
                         "conversation as 'input'.",
                         (int)(r->previous.n < 80 ? r->previous.n : 80), r->previous.p);
        e->param = openai_path("previous_response_id");
    }
    if (ok) {
        struct buf list = {0};
        buf_byte(&list, '[');
        buf_str(&list, buf_view(&all));
        if (all.n && r->input.n)
            buf_byte(&list, ',');
        buf_str(&list, buf_view(&r->input));
        buf_byte(&list, ']');
        r->trees[0] = json_parse(buf_view(&list), &why);
        buf_free(&list);
        ok = r->trees[0] || openai_refuse(e, "input", "'input' cannot be taken: %s", why.msg);
    }
    buf_free(&all);
    return ok;
}

/* ---- what the response object repeats ---- */

static void put_echo(struct responses_request *r)
{
    static const struct {
        const char *name, *otherwise;
    } members[] = {
        {"instructions", "null"},
        {"max_output_tokens", "null"},
        {"metadata", "{}"},
        {"parallel_tool_calls", "true"},
        {"previous_response_id", "null"},
        {"prompt_cache_key", "null"},
        {"reasoning", "{\"effort\":null,\"summary\":null}"},
        {"store", "true"},
        {"temperature", "null"},
        {"text", "{\"format\":{\"type\":\"text\"}}"},
        {"tool_choice", "\"auto\""},
        {"tools", "[]"},
        {"top_p", "null"},
        {"user", "null"},
    };
    for (size_t i = 0; i < FIELD_COUNT(members); i++) {
        const struct json *value = json_get(r->base.body, members[i].name);
        buf_fmt(&r->echo, "\"%s\":", members[i].name);
        if (value)
            json_print(value, JSON_COMPACT, &r->echo);
        else
            buf_str(&r->echo, str_of(members[i].otherwise));
        buf_byte(&r->echo, ',');
    }
}

/* ---- all ---- */

static bool parse_body(str body, struct responses_request *r, struct openai_error *e)
{
    struct openai_request *q = &r->base;
    struct err why;
    q->body = json_parse(body, &why);
    if (!q->body)
        return openai_refuse(e, NULL, "The body is not JSON: %s", why.msg);
    if (json_type(q->body) != JSON_OBJECT)
        return openai_refuse(e, NULL, "The body must be a JSON object.");
    if (!openai_fields(q->body, "", fields, FIELD_COUNT(fields), r, e) ||
        !refuse_others(q->body, e) || !openai_parse_stops(q, e) || !parse_reasoning(r, e) ||
        !parse_format(r, e))
        return false;
    const struct json *parallel = json_get(q->body, "parallel_tool_calls");
    const struct json *seed = json_get(q->body, "seed");
    q->one_call = parallel && !json_bool(parallel);
    q->conversation.settings = json_get(q->body, "chat_template_kwargs");
    q->random_seed = !seed || json_int(seed) == -1;
    if (q->sampling.top_k < 0)
        q->sampling.top_k = 0;
    return true;
}

bool responses_parse(str body, const struct sampling *defaults, struct responses_store *store,
                     struct responses_request *out, struct openai_error *e)
{
    *out = (struct responses_request){
        .base = {.chat = true, .sampling = *defaults, .prompt_at = "input"}, .store = true};
    if (!parse_body(body, out, e) || !gather(out, store, e) ||
        !responses_parse_tools(out, out->trees[0], e) ||
        !responses_parse_input(out, out->trees[0], e) || !responses_parse_tool_choice(out, e)) {
        responses_request_free(out);
        return false;
    }
    put_echo(out);
    return true;
}

void responses_request_free(struct responses_request *r)
{
    json_free(r->trees[0]);
    json_free(r->trees[1]);
    buf_free(&r->echo);
    buf_free(&r->input);
    openai_request_free(&r->base);
    *r = (struct responses_request){0};
}
