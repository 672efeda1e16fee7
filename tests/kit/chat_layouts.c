#include "kit/chat_layouts.h"

#include "base/file.h"
#include "test.h"
#include "text/chat_layout.h"

struct chat_template *kit_builtin_template(enum chat_format f)
{
    struct err e = {0};
    struct chat_template *t =
        chat_template_open(&(struct chat_template_params){.source = chat_builtin(f)}, &e);
    if (!t)
        test_fail(__FILE__, __LINE__, "%s: %s", chat_format_name(f), e.msg);
    return t;
}

struct buf kit_template_source(const char *name)
{
    char path[300];
    struct buf text = {0};
    struct err e = {0};
    snprintf(path, sizeof path, "spec/data/templates/%s", name);
    CHECK_OK(file_read_all(test_shared(path), 1 << 20, &text, &e));
    return text;
}

struct chat_template *kit_template(const char *name)
{
    struct err e = {0};
    struct buf source = kit_template_source(name);
    struct chat_template *t =
        chat_template_open(&(struct chat_template_params){.source = buf_view(&source)}, &e);
    if (!t)
        test_fail(__FILE__, __LINE__, "%s: %s", name, e.msg);
    buf_free(&source);
    return t;
}

/* ---- contexts ---- */

static enum chat_role role_of(str name)
{
    static const char *const names[] = {"system", "user", "assistant", "tool"};
    for (int i = 0; i < 4; i++) {
        if (str_eq(name, str_of(names[i])))
            return (enum chat_role)i;
    }
    return CHAT_SYSTEM; /* developer */
}

static const struct chat_call *calls_of(const struct json *list, struct arena *a)
{
    struct chat_call *calls = arena_new(a, json_count(list) + 1, sizeof *calls);
    for (size_t i = 0; i < json_count(list); i++) {
        const struct json *f = json_get(json_at(list, i), "function");
        const struct json *arguments = json_get(f, "arguments");
        calls[i].id = json_str(json_get(json_at(list, i), "id"));
        calls[i].name = json_str(json_get(f, "name"));
        if (json_type(arguments) == JSON_STRING) {
            calls[i].arguments = json_str(arguments);
        } else {
            struct buf text = {0};
            json_print(arguments, JSON_PYTHON, &text);
            calls[i].arguments = arena_str(a, buf_view(&text));
            buf_free(&text);
        }
    }
    return calls;
}

static void set_content(struct chat_message *m, const struct json *content, struct arena *a)
{
    m->content = json_str(content);
    if (json_type(content) != JSON_ARRAY)
        return;
    str *parts = arena_new(a, json_count(content) + 1, sizeof *parts);
    for (size_t i = 0; i < json_count(content); i++)
        parts[i] = json_str(json_get(json_at(content, i), "text"));
    m->parts = parts;
    m->n_parts = json_count(content);
}

/* What is neither messages nor tools is a setting. */
static struct json *settings_of(const struct json *context)
{
    struct buf text = {0};
    struct json_iter it = {0};
    struct json *value;
    struct err e;
    str key;
    buf_byte(&text, '{');
    while (json_next(context, &it, &key, &value)) {
        if (str_eq(key, STR("messages")) || str_eq(key, STR("tools")))
            continue;
        buf_str(&text, text.n > 1 ? STR(",") : STR(""));
        json_quote(key, &text);
        buf_byte(&text, ':');
        json_print(value, JSON_COMPACT, &text);
    }
    buf_byte(&text, '}');
    struct json *v = json_parse(buf_view(&text), &e);
    CHECK(v);
    buf_free(&text);
    return v;
}

void kit_conversation_open(const struct json *context, struct kit_conversation *c)
{
    *c = (struct kit_conversation){0};
    const struct json *messages = json_get(context, "messages");
    const struct json *tools = json_get(context, "tools");
    struct chat_message *m = arena_new(&c->arena, json_count(messages) + 1, sizeof *m);
    struct chat_tool *t = arena_new(&c->arena, json_count(tools) + 1, sizeof *t);
    for (size_t i = 0; i < json_count(messages); i++) {
        const struct json *j = json_at(messages, i);
        const struct json *reasoning = json_get(j, "reasoning_content");
        m[i].role = role_of(json_str(json_get(j, "role")));
        set_content(&m[i], json_get(j, "content"), &c->arena);
        m[i].reasoning = json_str(reasoning ? reasoning : json_get(j, "thinking"));
        m[i].n_calls = json_count(json_get(j, "tool_calls"));
        m[i].calls = calls_of(json_get(j, "tool_calls"), &c->arena);
        m[i].call_id = json_str(json_get(j, "tool_call_id"));
    }
    for (size_t i = 0; i < json_count(tools); i++) {
        const struct json *f = json_get(json_at(tools, i), "function");
        t[i].spec = f ? f : json_at(tools, i);
        t[i].name = json_str(json_get(t[i].spec, "name"));
        t[i].parameters = json_get(t[i].spec, "parameters");
    }
    c->settings = settings_of(context);
    c->request = (struct chat_request){.messages = m,
                                       .n_messages = json_count(messages),
                                       .tools = t,
                                       .n_tools = json_count(tools),
                                       .settings = c->settings};
}

void kit_conversation_close(struct kit_conversation *c)
{
    json_free(c->settings);
    arena_free(&c->arena);
}
