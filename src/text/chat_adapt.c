/* chat: a conversation in the form that a template takes. Texts stay at their position: a system
 * message that the template would refuse, drop or move to the front becomes a user's turn there,
 * because moving it would change the whole prompt and lose its cached prefix. */
#include <string.h>

#include "text/chat_layout.h"

/* The adapted messages so far. */
struct flow {
    const struct chat_layout *layout;
    const struct chat_request *in;
    struct arena *arena;
    struct chat_message *at;
    size_t n, room;
    bool *used;     /* results of `in` that stand already, with their call */
    bool text_tool; /* the last one is a result that was written as a user's text */
};

static str within(struct arena *a, str before, str s, str after)
{
    struct buf text = {0};
    buf_str(&text, before);
    buf_str(&text, s);
    buf_str(&text, after);
    str copy = arena_str(a, buf_view(&text));
    buf_free(&text);
    return copy;
}

static str join(struct arena *a, str first, str between, str second)
{
    if (first.n == 0 || second.n == 0)
        return first.n ? first : second;
    return within(a, first, between, second);
}

static str join_parts(struct flow *f, const struct chat_message *m)
{
    struct buf text = {0};
    for (size_t i = 0; i < m->n_parts; i++) {
        buf_str(&text, i ? f->layout->traits.separator : STR(""));
        buf_str(&text, m->parts[i]);
    }
    str copy = arena_str(f->arena, buf_view(&text));
    buf_free(&text);
    return copy;
}

/* ---- adding ---- */

static void add(struct flow *f, struct chat_message m)
{
    if (f->n == f->room) {
        size_t room = f->room ? 2 * f->room : 64;
        struct chat_message *more = arena_new(f->arena, room, sizeof *more);
        if (f->n)
            memcpy(more, f->at, f->n * sizeof *more);
        f->at = more;
        f->room = room;
    }
    f->at[f->n++] = m;
    f->text_tool = false;
}

static bool has_role(const struct flow *f, enum chat_role role)
{
    for (size_t i = 0; i < f->n; i++) {
        if (f->at[i].role == role)
            return true;
    }
    return false;
}

/* Some templates insist that a user speaks first, or at all. */
static void open_with_user(struct flow *f, enum chat_role next)
{
    bool first = next != CHAT_SYSTEM && !has_role(f, CHAT_USER) && !has_role(f, CHAT_ASSISTANT) &&
                 !has_role(f, CHAT_TOOL);
    if (f->layout->traits.alternate && first && next != CHAT_USER)
        add(f, (struct chat_message){.role = CHAT_USER});
}

/* Adds a turn of user or assistant, or appends to the one before where turns must alternate. */
static void add_turn(struct flow *f, struct chat_message m)
{
    open_with_user(f, m.role);
    struct chat_message *last = f->n ? &f->at[f->n - 1] : NULL;
    bool same = last && last->role == m.role && !last->n_calls;
    bool after_result = last && last->role == CHAT_TOOL && m.role == CHAT_USER;
    if (!f->layout->traits.alternate || (!same && !after_result)) {
        add(f, m);
        return;
    }
    last->content = join(f->arena, last->content, STR("\n\n"), m.content);
    last->reasoning = join(f->arena, last->reasoning, STR("\n\n"), m.reasoning);
    last->calls = m.calls;
    last->n_calls = m.n_calls;
    last->sampled = NULL;
    f->text_tool = false;
}

static void add_system(struct flow *f, struct chat_message m)
{
    enum chat_system where = f->layout->traits.system;
    bool at_start =
        !has_role(f, CHAT_USER) && !has_role(f, CHAT_ASSISTANT) && !has_role(f, CHAT_TOOL);
    if (where == CHAT_SYSTEM_ANYWHERE || (where == CHAT_SYSTEM_FIRST && f->n == 0)) {
        add(f, m);
        return;
    }
    if (where == CHAT_SYSTEM_FIRST && at_start) {
        f->at[0].content = join(f->arena, f->at[0].content, STR("\n\n"), m.content);
        return;
    }
    m.role = CHAT_USER;
    if (f->n)
        m.content =
            within(f->arena, STR("<system-reminder>\n"), m.content, STR("\n</system-reminder>"));
    add_turn(f, m);
}

/* ---- calls and results ---- */

/* Writes the calls into the text, for templates that know none. */
static void write_calls(struct flow *f, struct chat_message *m)
{
    struct buf text = {0};
    buf_str(&text, m->content);
    for (size_t i = 0; i < m->n_calls; i++) {
        str arguments = str_trim(m->calls[i].arguments);
        buf_str(&text,
                text.n ? STR("\n<tool_call>\n{\"name\": ") : STR("<tool_call>\n{\"name\": "));
        json_quote(m->calls[i].name, &text);
        buf_str(&text, STR(", \"arguments\": "));
        buf_str(&text, arguments.n ? arguments : STR("{}"));
        buf_str(&text, STR("}\n</tool_call>"));
    }
    m->content = arena_str(f->arena, buf_view(&text));
    m->calls = NULL;
    m->n_calls = 0;
    buf_free(&text);
}

/* Writes a result as the user's text; several stand in one turn. */
static void write_result(struct flow *f, const struct chat_message *m)
{
    str text = within(f->arena, STR("<tool_response>\n"), m->content, STR("\n</tool_response>"));
    if (f->text_tool) {
        struct chat_message *last = &f->at[f->n - 1];
        last->content = join(f->arena, last->content, STR("\n"), text);
    } else {
        add_turn(f, (struct chat_message){.role = CHAT_USER, .content = text});
    }
    f->text_tool = true;
}

static bool follows_call(const struct flow *f)
{
    size_t i = f->n;
    while (i > 0 && f->at[i - 1].role == CHAT_TOOL)
        i--;
    return i > 0 && f->at[i - 1].n_calls > 0;
}

static void add_result(struct flow *f, struct chat_message m)
{
    const struct chat_traits *t = &f->layout->traits;
    bool says_so = str_starts(m.content, STR("Error")) || str_starts(m.content, STR("error"));
    if (m.failed && !says_so)
        m.content = within(f->arena, STR("Error: "), m.content, STR(""));
    open_with_user(f, CHAT_TOOL);
    if (!t->tools || (t->needs_call && !follows_call(f)))
        write_result(f, &m);
    else
        add(f, m);
}

/* The content and reasoning with the first call, and each call's result behind it. */
static void split_calls(struct flow *f, const struct chat_message *m, size_t i)
{
    for (size_t k = 0; k < m->n_calls; k++) {
        struct chat_message one = *m;
        one.calls = &m->calls[k];
        one.n_calls = 1;
        one.sampled = NULL;
        if (k > 0)
            one.content = one.reasoning = (str){NULL, 0};
        add_turn(f, one);
        for (size_t r = i + 1; r < f->in->n_messages && f->in->messages[r].role == CHAT_TOOL; r++) {
            struct chat_message result = f->in->messages[r];
            if (f->used[r] || !str_eq(result.call_id, m->calls[k].id))
                continue;
            f->used[r] = true;
            if (result.n_parts)
                result.content = join_parts(f, &result);
            add_result(f, result);
            break;
        }
    }
}

static void add_assistant(struct flow *f, struct chat_message m, size_t i)
{
    const struct chat_traits *t = &f->layout->traits;
    if (!t->tools && m.n_calls)
        write_calls(f, &m);
    /* The template has one place for both: a call's message is analysis. */
    if (f->layout->format == CHAT_HARMONY && m.n_calls && m.reasoning.n) {
        m.reasoning = join(f->arena, m.reasoning, STR("\n\n"), m.content);
        m.content = (str){NULL, 0};
    }
    if (t->one_call && m.n_calls > 1)
        split_calls(f, &m, i);
    else
        add_turn(f, m);
}

/* ---- tools ---- */

/* The section of the system message that describes the tools. */
static bool write_tools(struct flow *f, str *out, struct err *e)
{
    struct jinja *program = jinja_parse(chat_builtin_tools(), e);
    struct chat_layout tools_only = {.program = program, .traits.tools = true};
    const struct chat_request r = {.tools = f->in->tools, .n_tools = f->in->n_tools};
    struct buf vars = {0}, text = {0};
    chat_vars_put(&tools_only, &r, false, &vars);
    struct json *v = program ? json_parse(buf_view(&vars), e) : NULL;
    bool ok = v && jinja_render(program, v, &(struct jinja_params){0}, &text, NULL, e);
    if (ok)
        *out = arena_str(f->arena, buf_view(&text));
    buf_free(&vars);
    buf_free(&text);
    json_free(v);
    jinja_close(program);
    return ok;
}

/* ---- the whole ---- */

static void add_message(struct flow *f, size_t i)
{
    struct chat_message m = f->in->messages[i];
    if (m.n_parts)
        m.content = join_parts(f, &m);
    m.n_parts = 0;
    switch (m.role) {
    case CHAT_SYSTEM: add_system(f, m); break;
    case CHAT_USER: add_turn(f, m); break;
    case CHAT_ASSISTANT: add_assistant(f, m, i); break;
    case CHAT_TOOL:
        if (!f->used[i])
            add_result(f, m);
        break;
    }
}

/* A user's turn behind the system messages, where the template wants one and there is none. */
static void need_user(struct flow *f)
{
    size_t i = 0;
    if (!f->layout->traits.needs_user || has_role(f, CHAT_USER))
        return;
    add(f, (struct chat_message){0});
    while (i + 1 < f->n && f->at[i].role == CHAT_SYSTEM)
        i++;
    memmove(&f->at[i + 1], &f->at[i], (f->n - 1 - i) * sizeof *f->at);
    f->at[i] = (struct chat_message){.role = CHAT_USER};
}

bool chat_adapt(const struct chat_layout *l, const struct chat_request *r, struct arena *a,
                struct chat_request *out, struct err *e)
{
    struct flow f = {.layout = l, .in = r, .arena = a};
    str section = {NULL, 0};
    f.used = arena_new(a, r->n_messages + 1, sizeof *f.used);
    bool write = !l->traits.tools && r->n_tools;
    if (write && !write_tools(&f, &section, e))
        return false;
    if (write && r->messages[0].role != CHAT_SYSTEM)
        add_system(&f, (struct chat_message){.role = CHAT_SYSTEM, .content = section});
    for (size_t i = 0; i < r->n_messages; i++) {
        add_message(&f, i);
        if (write && i == 0 && r->messages[0].role == CHAT_SYSTEM)
            f.at[0].content = join(a, f.at[0].content, STR("\n\n"), section);
    }
    need_user(&f);
    *out = *r;
    out->messages = f.at;
    out->n_messages = f.n;
    if (!l->traits.tools) {
        out->tools = NULL;
        out->n_tools = 0;
    }
    return true;
}
