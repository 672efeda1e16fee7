#include "server/anthropic.h"

#include <limits.h>
#include <stddef.h>

#define IN(member)       offsetof(struct anthropic_request, base.member)
#define IN_SAMPLING(one) offsetof(struct anthropic_request, base.sampling.one)

/* Anthropic's, and those of the sampler that chat completions take too. */
static const struct openai_field fields[] = {
    FIELD_CHECKED("model", TYPE_STRING),
    FIELD_NEEDED("messages", TYPE_ARRAY, STORE_NOTHING, 0),
    FIELD_CHECKED("system", TYPE_STRING | TYPE_ARRAY),
    FIELD_RANGED("max_tokens", TYPE_INT, 1, INT_MAX, STORE_I32, IN(max_tokens)),
    FIELD_CHECKED("stop_sequences", TYPE_ARRAY),
    FIELD_STORED("stream", TYPE_BOOL, STORE_BOOL, IN(stream)),
    FIELD_RANGED("temperature", TYPE_NUMBER, 0, 100, STORE_F32, IN_SAMPLING(temperature)),
    FIELD_RANGED("top_p", TYPE_NUMBER, 0, 1, STORE_F32, IN_SAMPLING(top_p)),
    FIELD_RANGED("top_k", TYPE_INT, -1, INT_MAX, STORE_I32, IN_SAMPLING(top_k)),
    FIELD_RANGED("min_p", TYPE_NUMBER, 0, 1, STORE_F32, IN_SAMPLING(min_p)),
    FIELD_STORED("seed", TYPE_INT, STORE_U64, IN_SAMPLING(seed)),
    FIELD_STORED("ignore_eos", TYPE_BOOL, STORE_BOOL, IN(ignore_stop)),
    FIELD_CHECKED("tools", TYPE_ARRAY),
    FIELD_CHECKED("tool_choice", TYPE_OBJECT),
    FIELD_CHECKED("thinking", TYPE_OBJECT),
    FIELD_CHECKED("output_config", TYPE_OBJECT),
    FIELD_CHECKED("output_format", TYPE_OBJECT),
    FIELD_CHECKED("metadata", TYPE_OBJECT),
    FIELD_CHECKED("chat_template_kwargs", TYPE_OBJECT),
};

/* ---- thinking ---- */

/* Templates know levels, clients budgets: those that Claude Code's words stand for. */
static str level_of(int64_t budget)
{
    if (budget <= 0)
        return STR("");
    return budget <= 4096 ? STR("low") : budget <= 16384 ? STR("medium") : STR("high");
}

/* Off unless the request turns it on. A model that cannot but reason then does so briefly, if its
 * template has a word for that. */
static bool parse_thinking(struct anthropic_request *r, struct openai_error *e)
{
    static const struct openai_field thinking_fields[] = {
        FIELD_NEEDED("type", TYPE_STRING, STORE_NOTHING, 0),
        FIELD_CHECKED("budget_tokens", TYPE_INT),
        FIELD_CHECKED("display", TYPE_STRING),
    };
    static const struct openai_field config_fields[] = {
        FIELD_CHECKED("effort", TYPE_STRING),
        FIELD_CHECKED("format", TYPE_OBJECT),
    };
    struct chat_request *c = &r->base.conversation;
    const struct json *thinking = json_get(r->base.body, "thinking");
    const struct json *config = json_get(r->base.body, "output_config");
    str effort = json_str(json_get(config, "effort"));
    if (!openai_fields(config, "output_config", config_fields, FIELD_COUNT(config_fields), NULL, e))
        return false;
    if (thinking && !openai_fields(thinking, "thinking", thinking_fields,
                                   FIELD_COUNT(thinking_fields), NULL, e))
        return false;
    c->think = thinking && !str_eq(json_str(json_get(thinking, "type")), STR("disabled"));
    /* "updates" shows notes on the progress, which other models write beside their reasoning. */
    str display = json_str(json_get(thinking, "display"));
    r->hide_reasoning = str_eq(display, STR("omitted")) || str_eq(display, STR("updates"));
    if (!c->think)
        c->effort = STR("none");
    else
        c->effort = effort.n ? effort : level_of(json_int(json_get(thinking, "budget_tokens")));
    return true;
}

/* ---- the rest ---- */

/* {"type": "json_schema", "schema": ...}, which was "output_format" before. */
static bool parse_format(struct anthropic_request *r, struct openai_error *e)
{
    static const struct openai_field table[] = {
        FIELD_NEEDED("type", TYPE_STRING, STORE_NOTHING, 0),
        FIELD_NEEDED("schema", TYPE_OBJECT | TYPE_BOOL, STORE_NOTHING, 0),
    };
    struct openai_request *q = &r->base;
    const struct json *format = json_get(json_get(q->body, "output_config"), "format");
    const char *where = format ? "output_config.format" : "output_format";
    if (!format)
        format = json_get(q->body, "output_format");
    if (!format)
        return true;
    if (!openai_fields(format, where, table, FIELD_COUNT(table), NULL, e))
        return false;
    if (!str_eq(json_str(json_get(format, "type")), STR("json_schema")))
        return openai_refuse(e, where, "'%s.type' must be json_schema.", where);
    q->content = OPENAI_SCHEMA;
    q->schema = json_get(format, "schema");
    q->schema_at = where;
    return true;
}

static bool parse(struct anthropic_request *r, str text, struct openai_error *e)
{
    struct openai_request *q = &r->base;
    struct err why;
    q->body = json_parse(text, &why);
    if (!q->body)
        return openai_refuse(e, NULL, "The body is not JSON: %s", why.msg);
    if (json_type(q->body) != JSON_OBJECT)
        return openai_refuse(e, NULL, "The body must be a JSON object.");
    if (!openai_fields(q->body, "", fields, FIELD_COUNT(fields), r, e))
        return false;
    q->conversation.settings = json_get(q->body, "chat_template_kwargs");
    const struct json *seed = json_get(q->body, "seed");
    q->random_seed = !seed || json_int(seed) == -1;
    if (q->sampling.top_k < 0)
        q->sampling.top_k = 0;
    if (!parse_thinking(r, e) ||
        !openai_take_stops(q, json_get(q->body, "stop_sequences"), "stop_sequences", e) ||
        !parse_format(r, e) || !anthropic_parse_messages(r, e) || !anthropic_parse_tools(r, e) ||
        !anthropic_parse_tool_choice(r, e))
        return false;
    anthropic_find_search(r);
    return true;
}

bool anthropic_parse(str body, const struct sampling *defaults, struct anthropic_request *out,
                     struct openai_error *e)
{
    *out = (struct anthropic_request){
        .base = {.chat = true, .sampling = *defaults, .prompt_at = "messages"}};
    if (parse(out, body, e))
        return true;
    anthropic_request_free(out);
    return false;
}

void anthropic_request_free(struct anthropic_request *r)
{
    openai_request_free(&r->base);
    json_free(r->specs);
    *r = (struct anthropic_request){0};
}
