#include "text/toolcall.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "text/chat_int.h"
#include "text/lark.h"
#include "text/schema.h"
#include "text/toolcall_int.h"

static uint32_t text(struct toolcall *t, const char *bytes)
{
    return grammar_bytes(t->g, str_of(bytes));
}

uint32_t toolcall_maybe(struct toolcall *t, const char *bytes)
{
    return grammar_repeat(t->g, text(t, bytes), 0, 1);
}

static uint32_t any_text(struct toolcall *t)
{
    static const struct byteset all = {{UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX}};
    return grammar_repeat(t->g, grammar_class(t->g, &all), 0, GRAMMAR_UNBOUNDED);
}

/* ---- calls as JSON objects ---- */

bool toolcall_freeform(struct toolcall *t, const struct chat_tool *tool, enum text_form form,
                       uint32_t *node)
{
    const struct lark_params params = {.form = form, .apart = t->apart, .n_apart = t->n_apart};
    struct buf note = {0};
    struct err e;
    if (tool->lark.n == 0)
        return false;
    if (lark_node(t->g, &params, tool->lark, node, &e))
        return true;
    buf_fmt(&note, "its Lark grammar (%s)", e.msg);
    str name = arena_fmt(&t->arena, "%.*s", STRF(str_sub(tool->name, 0, 90)));
    schema_builder_relaxed(t->schemas, name.p, note.p);
    buf_free(&note);
    return false;
}

str toolcall_parameter(const struct chat_tool *tool)
{
    struct json_iter it = {0};
    struct json *schema;
    str name = {0};
    json_next(json_get(tool->parameters, "properties"), &it, &name, &schema);
    return name;
}

/* {"PARAMETER": "..."} with a text that follows the tool's grammar. */
static uint32_t freeform_object(struct toolcall *t, const struct chat_tool *tool, uint32_t inside)
{
    struct buf key = {0};
    json_quote(toolcall_parameter(tool), &key);
    const uint32_t space = schema_builder_space(t->schemas), quote = text(t, "\"");
    const uint32_t parts[] = {text(t, "{"), space, grammar_bytes(t->g, buf_view(&key)),
                              text(t, ":"), space, quote,
                              inside,       quote, space,
                              text(t, "}")};
    buf_free(&key);
    return grammar_seq(t->g, parts, sizeof parts / sizeof *parts);
}

static uint32_t arguments(struct toolcall *t, const struct chat_tool *tool)
{
    char name[96];
    uint32_t node;
    snprintf(name, sizeof name, "%.*s", (int)(tool->name.n < 90 ? tool->name.n : 90), tool->name.p);
    if (!tool->parameters)
        return text(t, "{}");
    if (toolcall_freeform(t, tool, TEXT_JSON, &node))
        return freeform_object(t, tool, node);
    return schema_builder_arguments(t->schemas, tool->parameters, tool->parameters, name);
}

/* {"name": "NAME", "arguments": {...}} */
static uint32_t json_call(struct toolcall *t, const struct chat_tool *tool, const char *key)
{
    struct grammar *g = t->g;
    struct buf name = {0};
    json_quote(tool->name, &name);
    uint32_t space = schema_builder_space(t->schemas);
    uint32_t parts[] = {
        text(t, "{"), space,       text(t, "\"name\":"), space, grammar_bytes(g, buf_view(&name)),
        text(t, ","), space,       text(t, key),         space, arguments(t, tool),
        space,        text(t, "}")};
    buf_free(&name);
    return grammar_seq(g, parts, sizeof parts / sizeof *parts);
}

static uint32_t hermes_call(struct toolcall *t, const struct chat_tool *tool)
{
    uint32_t parts[] = {toolcall_maybe(t, "\n"), json_call(t, tool, "\"arguments\":"),
                        toolcall_maybe(t, "\n"), text(t, "</tool_call>")};
    return grammar_seq(t->g, parts, 4);
}

/* ---- the whole reply, for formats whose marks are text ---- */

/* One call of any tool, behind what opened it. */
static uint32_t any_call(struct toolcall *t,
                         uint32_t (*call)(struct toolcall *t, const struct chat_tool *tool))
{
    uint32_t rule = grammar_rule(t->g);
    uint32_t *alts = mem_new(t->p->n_tools + 1, sizeof *alts);
    for (size_t i = 0; i < t->p->n_tools; i++)
        alts[i] = call(t, &t->p->tools[i]);
    grammar_define(t->g, rule, grammar_alt(t->g, alts, t->p->n_tools));
    free(alts);
    return grammar_call(t->g, rule);
}

/* <tool_call>; vocabularies may have it as a token that is no text. */
static uint32_t opener_token(struct toolcall *t)
{
    int32_t id = tok_special(t->p->tok, STR("<tool_call>"));
    bool is_mark = id >= 0 && tok_type(t->p->tok, id) == TOK_CONTROL;
    return is_mark ? grammar_token(t->g, id) : GRAMMAR_NEVER;
}

struct openers {
    uint32_t call; /* node behind <tool_call> */
    uint32_t bare; /* node behind a <function= that starts a line; GRAMMAR_NEVER: no such */
    uint32_t mark; /* the token for <tool_call>; GRAMMAR_NEVER: it is text */
};

static uint32_t blanks(struct toolcall *t)
{
    struct byteset set = {0};
    for (const char *c = " \t\r\n"; *c; c++)
        byteset_add(&set, (unsigned char)*c, (unsigned char)*c);
    return grammar_repeat(t->g, grammar_class(t->g, &set), 0, GRAMMAR_UNBOUNDED);
}

/* Free text with calls in it. behind: what follows a call; GRAMMAR_NEVER: the same again.
 * not_blank: it is a call or holds something else than blanks. */
static uint32_t free_text(struct toolcall *t, const struct openers *o, uint32_t behind,
                          bool not_blank)
{
    struct grammar *g = t->g;
    static const str call_tag = STR("<tool_call>"), function_tag = STR("<function=");
    uint32_t rule = grammar_rule(g);
    uint32_t again = behind == GRAMMAR_NEVER ? grammar_call(g, rule) : behind;
    uint32_t after = t->p->one_call ? toolcall_maybe(t, "\n") : again;
    struct grammar_pattern patterns[2] = {
        {.parts = &call_tag, .n_parts = 1, .then = grammar_seq2(g, o->call, after)}};
    size_t n = 1;
    if (o->bare != GRAMMAR_NEVER)
        patterns[n++] = (struct grammar_pattern){.parts = &function_tag,
                                                 .n_parts = 1,
                                                 .line_start = true,
                                                 .indent = true,
                                                 .then = grammar_seq2(g, o->bare, after)};
    uint32_t node = grammar_scan(g, &(struct grammar_scan){.patterns = patterns,
                                                           .n = n,
                                                           .may_end = true,
                                                           .not_blank = not_blank,
                                                           .any_byte = true});
    if (o->mark != GRAMMAR_NEVER) {
        uint32_t marked[] = {o->mark, o->call, after};
        uint32_t call = grammar_seq(g, marked, 3);
        node = grammar_seq2(g, node, grammar_repeat(g, call, 0, 1));
        if (not_blank)
            node = grammar_alt(g, (uint32_t[]){node, grammar_seq2(g, blanks(t), call)}, 2);
    }
    grammar_define(g, rule, node);
    return grammar_call(g, rule);
}

/* Calls and nothing else. */
static uint32_t only_calls(struct toolcall *t, const struct openers *o)
{
    struct grammar *g = t->g;
    uint32_t open = text(t, "<tool_call>");
    if (o->mark != GRAMMAR_NEVER)
        open = grammar_alt(g, (uint32_t[]){open, o->mark}, 2);
    uint32_t call = grammar_rule(g);
    grammar_define(g, call, grammar_seq2(g, open, o->call));
    uint32_t more = grammar_seq2(g, toolcall_maybe(t, "\n"), grammar_call(g, call));
    uint32_t parts[] = {grammar_call(g, call),
                        grammar_repeat(g, more, 0, t->p->one_call ? 0 : GRAMMAR_UNBOUNDED)};
    return grammar_seq(g, parts, 2);
}

/* Reasoning, if any, then the reply; behind reasoning, thoughtful. */
static uint32_t after_reasoning(struct toolcall *t, uint32_t reply, uint32_t thoughtful,
                                bool may_end)
{
    static const str close = STR("</think>");
    struct grammar *g = t->g;
    uint32_t line = grammar_bytes(g, STR("\n"));
    uint32_t lines = grammar_repeat(g, line, 0, 3);
    uint32_t rule = grammar_rule(g), behind = grammar_rule(g);
    grammar_define(g, rule, grammar_seq2(g, lines, reply));
    grammar_define(g, behind, grammar_seq2(g, lines, thoughtful));
    struct grammar_pattern pattern = {
        .parts = &close, .n_parts = 1, .then = grammar_call(g, behind)};
    uint32_t thought = grammar_scan(
        g,
        &(struct grammar_scan){.patterns = &pattern, .n = 1, .may_end = may_end, .any_byte = true});
    if (t->p->in_reasoning)
        return thought;
    if (!t->p->may_reason && !may_end)
        return grammar_call(g, rule);
    uint32_t parts[] = {lines, text(t, "<think>"), thought};
    return grammar_alt(g, (uint32_t[]){grammar_call(g, rule), grammar_seq(g, parts, 3)}, 2);
}

static uint32_t tagged_reply(struct toolcall *t)
{
    const struct toolcall_params *p = t->p;
    struct openers o = {.bare = GRAMMAR_NEVER, .mark = opener_token(t)};
    bool constrained = p->required || p->content != GRAMMAR_NEVER;
    if (p->n_tools == 0)
        return after_reasoning(t, p->content, p->content, false);
    if (p->format == CHAT_QWEN_XML) {
        o.bare = any_call(t, toolcall_xml);
        o.call = toolcall_xml_opened(t, o.bare);
    } else {
        o.call = any_call(t, p->format == CHAT_GLM ? toolcall_glm : hermes_call);
    }
    if (!constrained) {
        /* A turn of nothing but thoughts ends an agent's work: something is said, or done. */
        uint32_t any = free_text(t, &o, GRAMMAR_NEVER, false);
        return after_reasoning(t, any, free_text(t, &o, any, true), true);
    }
    uint32_t reply = only_calls(t, &o);
    if (!p->required)
        reply = grammar_alt(t->g, (uint32_t[]){reply, p->content}, 2);
    return after_reasoning(t, reply, reply, false);
}

/* ---- Llama: the object is the reply ---- */

static uint32_t llama_call(struct toolcall *t, const struct chat_tool *tool)
{
    return json_call(t, tool, "\"parameters\":");
}

static uint32_t llama_reply(struct toolcall *t)
{
    struct grammar *g = t->g;
    static const struct code_range no_brace[] = {
        {0, 8}, {11, 12}, {14, 31}, {33, 'z'}, {'|', 0x10ffff}};
    static const struct code_range blank[] = {{9, 10}, {13, 13}, {32, 32}};
    if (t->p->n_tools == 0)
        return t->p->content;
    uint32_t call = any_call(t, llama_call);
    if (t->p->required)
        return call;
    if (t->p->content != GRAMMAR_NEVER)
        return grammar_alt(g, (uint32_t[]){call, t->p->content}, 2);
    uint32_t other = grammar_seq2(g, grammar_chars(g, no_brace, 5), any_text(t));
    uint32_t start = grammar_repeat(g, grammar_chars(g, blank, 3), 0, GRAMMAR_UNBOUNDED);
    return grammar_seq2(g, start, grammar_alt(g, (uint32_t[]){call, other, grammar_empty(g)}, 3));
}

/* ---- harmony ---- */

/* A control token of the format. */
static uint32_t mark(struct toolcall *t, const char *name)
{
    int32_t id = tok_special(t->p->tok, str_of(name));
    if (id < 0)
        t->missing = name;
    return grammar_token(t->g, id);
}

/* to=functions.NAME in a header, and the body; in_channel: the channel stands before it. */
static uint32_t harmony_call(struct toolcall *t, const struct chat_tool *tool, bool in_channel)
{
    struct grammar *g = t->g;
    uint32_t word = text(t, " json");
    uint32_t constrain[] = {toolcall_maybe(t, " "), mark(t, "<|constrain|>"), text(t, "json")};
    uint32_t type = grammar_repeat(
        g, grammar_alt(g, (uint32_t[]){word, grammar_seq(g, constrain, 3)}, 2), 0, 1);
    uint32_t channel = grammar_seq2(g, mark(t, "<|channel|>"), text(t, "commentary"));
    uint32_t parts[] = {text(t, " to=functions."),
                        grammar_bytes(g, tool->name),
                        in_channel ? grammar_empty(g) : channel,
                        type,
                        mark(t, "<|message|>"),
                        arguments(t, tool)};
    return grammar_seq(g, parts, 6);
}

static uint32_t harmony_in_channel(struct toolcall *t, const struct chat_tool *tool)
{
    return harmony_call(t, tool, true);
}

static uint32_t harmony_before_channel(struct toolcall *t, const struct chat_tool *tool)
{
    return harmony_call(t, tool, false);
}

static uint32_t harmony_reply(struct toolcall *t)
{
    struct grammar *g = t->g;
    const struct toolcall_params *p = t->p;
    uint32_t rule = grammar_rule(g);
    uint32_t free = any_text(t);
    uint32_t next[] = {mark(t, "<|message|>"), free,
                       mark(t, "<|end|>"),     mark(t, "<|start|>"),
                       text(t, "assistant"),   grammar_call(g, rule)};
    uint32_t then = grammar_seq(g, next, 6);
    uint32_t channels[4], n = 0, forms[2], n_forms = 0;
    channels[n++] = grammar_seq2(g, text(t, "analysis"), then);
    if (!p->required) {
        uint32_t content = p->content == GRAMMAR_NEVER ? free : p->content;
        uint32_t final[] = {text(t, "final"), mark(t, "<|message|>"), content};
        channels[n++] = grammar_seq(g, final, 3);
        channels[n++] = grammar_seq2(g, text(t, "commentary"), then);
    }
    if (p->n_tools) {
        channels[n++] = grammar_seq2(g, text(t, "commentary"), any_call(t, harmony_in_channel));
        forms[n_forms++] = any_call(t, harmony_before_channel);
    }
    forms[n_forms++] = grammar_seq2(g, mark(t, "<|channel|>"), grammar_alt(g, channels, n));
    grammar_define(g, rule, grammar_alt(g, forms, n_forms));
    return grammar_call(g, rule);
}

/* ---- the public function ---- */

bool toolcall_rule(struct grammar *g, const struct toolcall_params *p, uint32_t *rule,
                   struct buf *notes, struct err *e)
{
    struct toolcall t = {.g = g, .p = p};
    bool in_tags = p->format == CHAT_QWEN_XML || p->format == CHAT_GLM;
    uint32_t node = GRAMMAR_NEVER;
    toolcall_open_tags(&t);
    t.schemas = schema_builder_open(g, in_tags ? t.apart : NULL, in_tags ? t.n_apart : 0);
    switch (p->format) {
    case CHAT_QWEN_XML:
    case CHAT_HERMES_JSON:
    case CHAT_GLM:
    case CHAT_PLAIN: node = tagged_reply(&t); break;
    case CHAT_LLAMA_JSON: node = llama_reply(&t); break;
    case CHAT_HARMONY: node = harmony_reply(&t); break;
    }
    *rule = grammar_rule(g);
    grammar_define(g, *rule, node);
    buf_str(notes, schema_builder_notes(t.schemas));
    schema_builder_close(t.schemas);
    arena_free(&t.arena);
    if (t.missing)
        return err_set(e, ERR_UNSUPPORTED, "the model's vocabulary has no token '%s'", t.missing);
    return true;
}
