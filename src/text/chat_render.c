/* chat: rendering. Byte for byte what the models' own templates give (Qwen3-Coder.jinja and
 * Qwen3-Next-Instruct.jinja as run by transformers); the tests hold it to that. */
#include "text/chat.h"

#include <stdlib.h>

#include "base/mem.h"
#include "text/pystr.h"

bool chat_can_render(const struct tok *t, struct err *e)
{
    if (tok_special(t, STR("<|im_start|>")) >= 0 && tok_special(t, STR("<|im_end|>")) >= 0)
        return true;
    return err_set(e, ERR_UNSUPPORTED,
                   "the model's chat layout is not ChatML (its vocabulary has no <|im_start|> and "
                   "<|im_end|>), the one that tawny renders: only raw prompts work "
                   "(/v1/completions, tawny run --raw)");
}

/* ---- text of the layout and text from outside ---- */

static void put(struct chat_prompt *p, str layout)
{
    buf_str(&p->text, layout);
}

/* Everything from `from` to the end came from the request. Neighbours are joined. */
static void mark(struct chat_prompt *p, size_t from)
{
    size_t to = p->text.n;
    if (from == to)
        return;
    if (p->n_spans && p->spans[p->n_spans - 1].to == from) {
        p->spans[p->n_spans - 1].to = to;
        return;
    }
    if ((p->n_spans & (p->n_spans - 1)) == 0)
        p->spans = mem_grow(p->spans, p->n_spans ? 2 * p->n_spans : 1, sizeof *p->spans);
    p->spans[p->n_spans++] = (struct tok_span){from, to};
}

static void put_outside(struct chat_prompt *p, str s)
{
    size_t from = p->text.n;
    buf_str(&p->text, s);
    mark(p, from);
}

static void put_json(struct chat_prompt *p, const struct json *v)
{
    size_t from = p->text.n;
    json_print(v, JSON_PYTHON, &p->text);
    mark(p, from);
}

static void put_pystr(struct chat_prompt *p, const struct json *v)
{
    size_t from = p->text.n;
    pystr_str(v, &p->text);
    mark(p, from);
}

/* "v | trim" of a template. */
static void put_stripped(struct chat_prompt *p, const struct json *v)
{
    struct buf text = {0};
    pystr_str(v, &text);
    put_outside(p, pystr_strip(buf_view(&text)));
    buf_free(&text);
}

static str role_name(enum chat_role role)
{
    switch (role) {
    case CHAT_SYSTEM: return STR("system");
    case CHAT_USER: return STR("user");
    case CHAT_ASSISTANT: return STR("assistant");
    case CHAT_TOOL: return STR("tool");
    }
    return STR("");
}

/* A whole turn of ChatML. */
static void put_turn(struct chat_prompt *p, enum chat_role role, str content)
{
    put(p, STR("<|im_start|>"));
    put(p, role_name(role));
    put(p, STR("\n"));
    put_outside(p, content);
    put(p, STR("<|im_end|>\n"));
}

/* ---- the layout of Qwen3-Coder ---- */

static bool is_one_of(str s, const char *const *list)
{
    for (; *list; list++) {
        if (str_eq(s, str_of(*list)))
            return true;
    }
    return false;
}

/* Lists and objects as JSON, the rest as Python prints it. */
static void put_xml_value(struct chat_prompt *p, const struct json *v)
{
    if (json_type(v) == JSON_OBJECT || json_type(v) == JSON_ARRAY)
        put_json(p, v);
    else
        put_pystr(p, v);
}

/* The members of a schema that have no element of their own. */
static void put_extra_keys(struct chat_prompt *p, const struct json *object,
                           const char *const *handled)
{
    struct json_iter it = {0};
    struct json *value;
    str key;
    while (json_next(object, &it, &key, &value)) {
        if (is_one_of(key, handled))
            continue;
        put(p, STR("\n<"));
        put_outside(p, key);
        put(p, STR(">"));
        put_xml_value(p, value);
        put(p, STR("</"));
        put_outside(p, key);
        put(p, STR(">"));
    }
}

static void put_description(struct chat_prompt *p, const struct json *object)
{
    if (!json_has(object, "description"))
        return;
    put(p, STR("\n<description>"));
    put_stripped(p, json_get(object, "description"));
    put(p, STR("</description>"));
}

static void put_xml_parameter(struct chat_prompt *p, str name, const struct json *schema)
{
    static const char *const handled[] = {"name", "type", "description", NULL};
    put(p, STR("\n<parameter>\n<name>"));
    put_outside(p, name);
    put(p, STR("</name>"));
    if (json_has(schema, "type")) {
        put(p, STR("\n<type>"));
        put_pystr(p, json_get(schema, "type"));
        put(p, STR("</type>"));
    }
    put_description(p, schema);
    put_extra_keys(p, schema, handled);
    put(p, STR("\n</parameter>"));
}

static void put_xml_tool(struct chat_prompt *p, const struct chat_tool *tool)
{
    static const char *const in_parameters[] = {"type", "properties", NULL};
    static const char *const in_tool[] = {"type", "name", "description", "parameters", NULL};
    struct json_iter it = {0};
    struct json *schema;
    str name;
    put(p, STR("\n<function>\n<name>"));
    put_outside(p, tool->name);
    put(p, STR("</name>"));
    put_description(p, tool->spec);
    put(p, STR("\n<parameters>"));
    while (json_next(json_get(tool->parameters, "properties"), &it, &name, &schema))
        put_xml_parameter(p, name, schema);
    put_extra_keys(p, tool->parameters, in_parameters);
    put(p, STR("\n</parameters>"));
    put_extra_keys(p, tool->spec, in_tool);
    put(p, STR("\n</function>"));
}

static void put_xml_tools(struct chat_prompt *p, const struct chat_request *r)
{
    put(p, STR("\n\n# Tools\n\nYou have access to the following tools:\n\n<tools>"));
    for (size_t i = 0; i < r->n_tools; i++)
        put_xml_tool(p, &r->tools[i]);
    put(p, STR("\n</tools>\n\nIf you choose to call a tool ONLY reply in the following format with "
               "NO suffix:\n\n<tool_call>\n<function=example_function_name>\n"
               "<parameter=example_parameter_1>\nvalue_1\n</parameter>\n"
               "<parameter=example_parameter_2>\nvalue_2\n</parameter>\n</function>\n</tool_call>"
               "\n\n<IMPORTANT>\nReminder:\n- Function calls MUST follow the specified format: the "
               "tool calling block MUST begin with an opening <tool_call> tag and end with a "
               "closing </tool_call> tag.\n- Required parameters MUST be specified\n- You may "
               "provide optional reasoning for your function call in natural language BEFORE the "
               "function call, but NOT after\n- If there is no function call available, answer the "
               "question like normal with your current knowledge and do not tell the user about "
               "function calls\n</IMPORTANT>"));
}

/* Arguments that are no JSON object stand in one parameter "arguments": refusing them would end a
 * conversation for one call that the model once got wrong. */
static void put_xml_arguments(struct chat_prompt *p, str arguments)
{
    struct err ignored;
    struct json *v = json_parse(arguments, &ignored);
    struct json_iter it = {0};
    struct json *value;
    str name;
    while (json_next(v, &it, &name, &value)) {
        put(p, STR("<parameter="));
        put_outside(p, name);
        put(p, STR(">\n"));
        put_xml_value(p, value);
        put(p, STR("\n</parameter>\n"));
    }
    if (json_type(v) != JSON_OBJECT && str_trim(arguments).n) {
        put(p, STR("<parameter=arguments>\n"));
        put_outside(p, arguments);
        put(p, STR("\n</parameter>\n"));
    }
    json_free(v);
}

static void put_xml_calls(struct chat_prompt *p, const struct chat_message *m)
{
    str content = pystr_strip(m->content);
    put(p, STR("<|im_start|>assistant"));
    if (content.n) {
        put(p, STR("\n"));
        put_outside(p, content);
        put(p, STR("\n"));
    }
    for (size_t i = 0; i < m->n_calls; i++) {
        put(p, STR("\n<tool_call>\n<function="));
        put_outside(p, m->calls[i].name);
        put(p, STR(">\n"));
        put_xml_arguments(p, m->calls[i].arguments);
        put(p, STR("</function>\n</tool_call>"));
    }
    put(p, STR("<|im_end|>\n"));
}

static void render_xml(const struct chat_request *r, struct chat_prompt *p)
{
    bool has_system = r->messages[0].role == CHAT_SYSTEM;
    if (has_system || r->n_tools) {
        put(p, STR("<|im_start|>system\n"));
        if (has_system)
            put_outside(p, r->messages[0].content);
        else
            put(p, STR("You are Qwen, a helpful AI assistant that can interact with a computer to "
                       "solve tasks."));
        if (r->n_tools)
            put_xml_tools(p, r);
        put(p, STR("<|im_end|>\n"));
    }
    size_t first = has_system;
    for (size_t i = first; i < r->n_messages; i++) {
        const struct chat_message *m = &r->messages[i];
        if (m->role == CHAT_ASSISTANT && m->n_calls) {
            put_xml_calls(p, m);
        } else if (m->role == CHAT_TOOL) {
            if (i > first && m[-1].role != CHAT_TOOL)
                put(p, STR("<|im_start|>user\n"));
            put(p, STR("<tool_response>\n"));
            put_outside(p, m->content);
            put(p, STR("\n</tool_response>\n"));
            if (i + 1 == r->n_messages || m[1].role != CHAT_TOOL)
                put(p, STR("<|im_end|>\n"));
        } else {
            put_turn(p, m->role, m->content);
        }
    }
}

/* ---- the layout of Qwen3 and Hermes ---- */

static void put_hermes_tools(struct chat_prompt *p, const struct chat_request *r)
{
    put(p,
        STR("# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou "
            "are provided with function signatures within <tools></tools> XML tags:\n<tools>"));
    for (size_t i = 0; i < r->n_tools; i++) {
        put(p, STR("\n{\"type\": \"function\", \"function\": "));
        put_json(p, r->tools[i].spec);
        put(p, STR("}"));
    }
    put(p, STR("\n</tools>\n\nFor each function call, return a json object with function name and "
               "arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": "
               "<function-name>, \"arguments\": <args-json-object>}\n</tool_call><|im_end|>\n"));
}

static void put_hermes_assistant(struct chat_prompt *p, const struct chat_message *m)
{
    put(p, STR("<|im_start|>assistant\n"));
    put_outside(p, m->content);
    for (size_t i = 0; i < m->n_calls; i++) {
        str arguments = m->calls[i].arguments;
        if (i || m->content.n)
            put(p, STR("\n"));
        put(p, STR("<tool_call>\n{\"name\": \""));
        put_outside(p, m->calls[i].name);
        put(p, STR("\", \"arguments\": "));
        if (str_trim(arguments).n)
            put_outside(p, arguments);
        else
            put(p, STR("{}"));
        put(p, STR("}\n</tool_call>"));
    }
    put(p, STR("<|im_end|>\n"));
}

static void render_hermes(const struct chat_request *r, struct chat_prompt *p)
{
    bool has_system = r->messages[0].role == CHAT_SYSTEM;
    if (r->n_tools) {
        put(p, STR("<|im_start|>system\n"));
        if (has_system) {
            put_outside(p, r->messages[0].content);
            put(p, STR("\n\n"));
        }
        put_hermes_tools(p, r);
    } else if (has_system) {
        put_turn(p, CHAT_SYSTEM, r->messages[0].content);
    }
    for (size_t i = has_system; i < r->n_messages; i++) {
        const struct chat_message *m = &r->messages[i];
        if (m->role == CHAT_ASSISTANT) {
            put_hermes_assistant(p, m);
        } else if (m->role == CHAT_TOOL) {
            if (i == 0 || m[-1].role != CHAT_TOOL)
                put(p, STR("<|im_start|>user"));
            put(p, STR("\n<tool_response>\n"));
            put_outside(p, m->content);
            put(p, STR("\n</tool_response>"));
            if (i + 1 == r->n_messages || m[1].role != CHAT_TOOL)
                put(p, STR("<|im_end|>\n"));
        } else {
            put_turn(p, m->role, m->content);
        }
    }
}

/* ---- the public functions ---- */

bool chat_render(enum chat_format f, const struct chat_request *r, struct chat_prompt *out,
                 struct err *e)
{
    if (r->n_messages == 0)
        return err_set(e, ERR_USAGE, "messages: the list is empty, at least one is needed");
    switch (f) {
    case CHAT_QWEN_XML: render_xml(r, out); break;
    case CHAT_HERMES_JSON: render_hermes(r, out); break;
    case CHAT_HARMONY:
    case CHAT_GLM:
    case CHAT_LLAMA_JSON:
    case CHAT_PLAIN:
        return err_set(e, ERR_UNSUPPORTED,
                       "conversations in the layout '%s' cannot be rendered yet",
                       chat_format_name(f));
    }
    put(out, STR("<|im_start|>assistant\n"));
    return true;
}

void chat_prompt_free(struct chat_prompt *p)
{
    buf_free(&p->text);
    free(p->spans);
    *p = (struct chat_prompt){0};
}
