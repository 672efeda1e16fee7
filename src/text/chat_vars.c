/* chat: the variables that a template sees, as transformers passes them. */
#include "text/chat_layout.h"

static void put_member(const char *name, str value, struct buf *out)
{
    buf_fmt(out, ",\"%s\":", name);
    json_quote(value, out);
}

/* ---- messages ---- */

/* Nine letters and digits that stand for an id. */
static void put_short_id(str id, struct buf *out)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    uint64_t hash = str_hash(STR_HASH, id);
    buf_byte(out, '"');
    for (int i = 0; i < 9; i++, hash /= sizeof letters - 1)
        buf_byte(out, letters[hash % (sizeof letters - 1)]);
    buf_byte(out, '"');
}

static void put_id(const struct chat_layout *l, const char *name, str id, struct buf *out)
{
    if (id.n == 0)
        return;
    buf_fmt(out, ",\"%s\":", name);
    if (l->traits.short_ids)
        put_short_id(id, out);
    else
        json_quote(id, out);
}

/* Arguments that are no JSON object stand in one member "arguments": refusing them would end a
 * conversation for one call that the model once got wrong. */
static void put_arguments(const struct chat_layout *l, str arguments, struct buf *out)
{
    struct err ignored;
    str text = str_trim(arguments);
    if (text.n == 0) {
        buf_str(out, l->traits.arguments_text ? STR("\"{}\"") : STR("{}"));
        return;
    }
    if (l->traits.arguments_text) {
        json_quote(arguments, out);
        return;
    }
    struct json *v = json_parse(text, &ignored);
    if (json_type(v) == JSON_OBJECT) {
        buf_str(out, text);
    } else {
        buf_str(out, STR("{\"arguments\":"));
        json_quote(arguments, out);
        buf_byte(out, '}');
    }
    json_free(v);
}

static void put_calls(const struct chat_layout *l, const struct chat_message *m, struct buf *out)
{
    buf_str(out, STR(",\"tool_calls\":["));
    for (size_t i = 0; i < m->n_calls; i++) {
        buf_str(out, i ? STR(",{\"type\":\"function\"") : STR("{\"type\":\"function\""));
        put_id(l, "id", m->calls[i].id, out);
        buf_str(out, STR(",\"function\":{\"name\":"));
        json_quote(m->calls[i].name, out);
        buf_str(out, STR(",\"arguments\":"));
        put_arguments(l, m->calls[i].arguments, out);
        buf_str(out, STR("}}"));
    }
    buf_byte(out, ']');
}

/* The name of the function that message i is the result of; empty when no call has its id. */
static str result_name(const struct chat_request *r, size_t i)
{
    str id = r->messages[i].call_id;
    while (id.n && i-- > 0) {
        const struct chat_message *m = &r->messages[i];
        for (size_t k = 0; k < m->n_calls; k++) {
            if (str_eq(m->calls[k].id, id))
                return m->calls[k].name;
        }
    }
    return (str){NULL, 0};
}

static void put_message(const struct chat_layout *l, const struct chat_request *r, size_t i,
                        struct buf *out)
{
    static const char *const names[] = {"system", "user", "assistant", "tool"};
    const struct chat_message *m = &r->messages[i];
    buf_fmt(out, "{\"role\":\"%s\"", names[m->role]);
    put_member("content", m->content, out);
    if (m->reasoning.n && l->reasoning_content)
        put_member("reasoning_content", m->reasoning, out);
    if (m->reasoning.n && l->reasoning)
        put_member("reasoning", m->reasoning, out);
    if (m->reasoning.n && l->thinking)
        put_member("thinking", m->reasoning, out);
    if (m->n_calls)
        put_calls(l, m, out);
    if (m->role == CHAT_TOOL) {
        str name = result_name(r, i);
        put_id(l, "tool_call_id", m->call_id, out);
        if (name.n)
            put_member("name", name, out);
    }
    buf_byte(out, '}');
}

/* ---- tools ---- */

/* An object with every member, and an empty description where it has none. */
static void put_described(const struct json *object, struct buf *out)
{
    json_print(object, JSON_COMPACT, out);
    if (json_type(object) != JSON_OBJECT || json_get(object, "description"))
        return;
    out->n--;
    buf_str(out, json_count(object) ? STR(",") : STR(""));
    buf_str(out, STR("\"description\":\"\"}"));
}

/* The parameters, each with a description. */
static void put_parameters(const struct json *parameters, struct buf *out)
{
    struct json_iter it = {0};
    struct json *schema;
    size_t n = 0;
    str name;
    json_print(parameters, JSON_COMPACT, out);
    if (json_type(parameters) != JSON_OBJECT)
        return;
    out->n--;
    buf_str(out, json_count(parameters) ? STR(",") : STR(""));
    buf_str(out, STR("\"properties\":{"));
    while (json_next(json_get(parameters, "properties"), &it, &name, &schema)) {
        buf_str(out, n++ ? STR(",") : STR(""));
        json_quote(name, out);
        buf_byte(out, ':');
        put_described(schema, out);
    }
    buf_str(out, STR("}}"));
}

/* For templates that count on descriptions and parameters. Of members with one name the last wins.
 */
static void put_full_spec(const struct chat_layout *l, const struct chat_tool *tool,
                          struct buf *out)
{
    put_described(tool->spec, out);
    out->n--;
    if (!tool->parameters) {
        buf_str(out, STR(",\"parameters\":{\"type\":\"object\",\"properties\":{}}"));
    } else if (l->traits.described) {
        buf_str(out, STR(",\"parameters\":"));
        put_parameters(tool->parameters, out);
    }
    buf_byte(out, '}');
}

static void put_tool(const struct chat_layout *l, const struct chat_tool *tool, struct buf *out)
{
    buf_str(out, STR("{\"type\":\"function\",\"function\":"));
    if (l->traits.full_tools || l->traits.described)
        put_full_spec(l, tool, out);
    else
        json_print(tool->spec, JSON_COMPACT, out);
    buf_byte(out, '}');
}

/* ---- the rest ---- */

/* gpt-oss knows three levels; clients have more names. */
static str effort_of(const struct chat_layout *l, str effort)
{
    static const struct {
        str name, level;
    } rows[] = {{STR("none"), STR("low")},
                {STR("minimal"), STR("low")},
                {STR("xhigh"), STR("high")},
                {STR("max"), STR("high")}};
    for (size_t i = 0; l->format == CHAT_HARMONY && i < sizeof rows / sizeof *rows; i++) {
        if (str_eq(effort, rows[i].name))
            return rows[i].level;
    }
    return effort;
}

/* The client's own variables, less those that are not its to set. */
static void put_settings(const struct json *settings, struct buf *out)
{
    static const char *const ours[] = {"messages", "tools", "add_generation_prompt", "bos_token",
                                       "eos_token"};
    struct json_iter it = {0};
    struct json *value;
    str key;
    while (json_next(settings, &it, &key, &value)) {
        bool skip = false;
        for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
            skip = skip || str_eq(key, str_of(ours[i]));
        if (skip)
            continue;
        buf_byte(out, ',');
        json_quote(key, out);
        buf_byte(out, ':');
        json_print(value, JSON_COMPACT, out);
    }
}

void chat_vars_put(const struct chat_layout *l, const struct chat_request *r, bool open_reply,
                   struct buf *out)
{
    buf_str(out, STR("{\"messages\":["));
    for (size_t i = 0; i < r->n_messages; i++) {
        if (i)
            buf_byte(out, ',');
        put_message(l, r, i, out);
    }
    buf_byte(out, ']');
    if (r->n_tools)
        buf_str(out, STR(",\"tools\":["));
    for (size_t i = 0; i < r->n_tools; i++) {
        if (i)
            buf_byte(out, ',');
        put_tool(l, &r->tools[i], out);
    }
    if (r->n_tools)
        buf_byte(out, ']');
    buf_fmt(out, ",\"add_generation_prompt\":%s", open_reply ? "true" : "false");
    put_member("bos_token", l->bos, out);
    put_member("eos_token", l->eos, out);
    if (r->effort.n && !json_has(r->settings, "reasoning_effort"))
        put_member("reasoning_effort", effort_of(l, r->effort), out);
    bool off = str_eq(r->effort, STR("none"));
    if ((r->think || off) && !json_has(r->settings, "enable_thinking"))
        buf_fmt(out, ",\"enable_thinking\":%s", r->think ? "true" : "false");
    put_settings(r->settings, out);
    buf_byte(out, '}');
}
