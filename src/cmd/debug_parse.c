/* `tawny debug parse`: what the server makes of a model's reply. The reply comes from standard
 * input, control tokens written out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "cmd/debug.h"
#include "cmd/opts.h"
#include "cmd/term.h"
#include "text/chat.h"

enum { MAX_REPLY = 64 << 20 };

struct parse_opts {
    const char *format, *tools;
    bool in_reasoning, limited;
};

#define AT(field) offsetof(struct parse_opts, field)
static const struct opt table[] = {
    {"--format", "NAME", "qwen-xml, hermes, harmony, glm, llama or none", NULL, OPT_TEXT,
     AT(format), 0, 0},
    {"--tools", "FILE", "the tools of the request, as JSON; without them nothing is a call", NULL,
     OPT_TEXT, AT(tools), 0, 0},
    {"--thinking", NULL, "the prompt opened the reasoning", NULL, OPT_FLAG, AT(in_reasoning), 0, 0},
    {"--cut", NULL, "a limit ended the reply, not the model", NULL, OPT_FLAG, AT(limited), 0, 0},
};
#undef AT

static const struct opt_example examples[] = {
    {"tawny debug parse --format hermes --tools tools.json < reply.txt",
     "one event a line, as JSON"},
    {"tawny debug parse --format harmony < reply.txt", "a request without tools"},
    {"tawny debug parse --format glm --thinking < reply.txt",
     "after a prompt that ends in <think>"},
    {NULL, NULL},
};

/* ---- tools ---- */

struct tools {
    struct json *root;
    struct chat_tool *list;
    size_t n;
};

/* The list of a request, the request itself, or functions without {"type": "function"} around them.
 */
static bool read_tools(const char *path, struct tools *t, struct err *e)
{
    struct buf text = {0};
    struct err why;
    bool ok = file_read_all(path, MAX_REPLY, &text, e);
    if (ok && !(t->root = json_parse(buf_view(&text), &why)))
        ok = err_set(e, ERR_FORMAT, "%s: %s", path, why.msg);
    buf_free(&text);
    const struct json *list = json_has(t->root, "tools") ? json_get(t->root, "tools") : t->root;
    if (ok && json_type(list) != JSON_ARRAY)
        return err_set(e, ERR_FORMAT, "%s: no list of tools, nor a request with one", path);
    t->list = mem_new(json_count(list), sizeof *t->list);
    for (size_t i = 0; ok && i < json_count(list); i++) {
        const struct json *item = json_at(list, i);
        const struct json *spec = json_has(item, "function") ? json_get(item, "function") : item;
        str name = json_str(json_get(spec, "name"));
        t->list[t->n++] = (struct chat_tool){
            .name = name, .spec = spec, .parameters = json_get(spec, "parameters")};
        if (name.n == 0)
            ok = err_set(e, ERR_FORMAT, "%s: tool %zu has no name", path, i);
    }
    return ok;
}

/* ---- events ---- */

static void put_member(const char *key, str value, struct buf *out)
{
    buf_fmt(out, ", \"%s\": ", key);
    json_quote(value, out);
}

static void on_event(void *ctx, const struct chat_event *event)
{
    static const char *const kinds[] = {"content", "reasoning", "call", "arguments", "end"};
    static const char *const flaws[] = {"sound", "mended", "cut"};
    struct buf *out = ctx;
    buf_fmt(out, "{\"event\": \"%s\"", kinds[event->kind]);
    if (event->kind >= CHAT_CALL_BEGIN)
        buf_fmt(out, ", \"call\": %zu", event->i_call);
    if (event->kind == CHAT_CALL_BEGIN)
        put_member("name", event->name, out);
    else if (event->kind == CHAT_CALL_END)
        put_member("state", str_of(flaws[event->flaw]), out);
    else
        put_member("text", event->text, out);
    buf_str(out, STR("}\n"));
}

static bool parse(const struct parse_opts *o, const struct tools *tools, struct buf *out,
                  struct err *e)
{
    struct buf reply = {0};
    enum chat_format format;
    if (!o->format)
        return err_set(e, ERR_USAGE, "debug parse: --format NAME is missing");
    if (!chat_format_find(str_of(o->format), &format))
        return err_set(e, ERR_USAGE,
                       "--format: '%s' is not one of: qwen-xml, hermes, harmony, glm, llama, none",
                       o->format);
    if (!term_read(stdin, "standard input", MAX_REPLY, &reply, e))
        return false;
    struct chat_parser *p =
        chat_parser_open(&(struct chat_parser_params){.format = format,
                                                      .tools = tools->list,
                                                      .n_tools = tools->n,
                                                      .in_reasoning = o->in_reasoning,
                                                      .sink = on_event,
                                                      .ctx = out});
    chat_parser_put_marked(p, buf_view(&reply));
    chat_parser_end(p, !o->limited);
    chat_parser_close(p);
    buf_free(&reply);
    return true;
}

int debug_parse(int argc, char **argv)
{
    struct parse_opts o = {0};
    struct opt_group groups[] = {OPT_GROUP("Options", table, &o)};
    const struct opt_command c = {
        .name = "debug parse",
        .args = "< REPLY",
        .summary = "the events that a model's reply becomes",
        .examples = examples,
        .groups = groups,
        .n_groups = 1,
        .notes = "Events: content, reasoning, call (with its name), arguments (pieces of JSON) and "
                 "end, which says\n"
                 "whether the arguments are sound, were mended, or are cut and no complete JSON."};
    struct opt_words words;
    struct err e = {0};
    struct buf out = {0};
    int status;
    if (!opts_parse(&c, argc, argv, &words, &status))
        return status;
    struct tools tools = {0};
    bool ok = (!o.tools || read_tools(o.tools, &tools, &e)) && parse(&o, &tools, &out, &e) &&
              term_put(&out, &e);
    status = ok ? EXIT_OK : term_fail(&e);
    free(tools.list);
    json_free(tools.root);
    buf_free(&out);
    return status;
}
