/* chat_record: what a chat parser says about a text, as one text. Header only: the fuzz targets are
 * linked without the kit. A broken promise of the parser ends the program. */
#pragma once
#include <stdlib.h>

#include "base/rng.h"
#include "text/chat.h"

static inline void chat_record_promise(bool kept)
{
    if (!kept)
        abort();
}

/* Fragments of a kind are joined, "[kind]" stands before each run. */
struct chat_record {
    struct buf text;
    int last_kind; /* -1: none */
    size_t last_call;
    size_t n_calls;
    struct buf arguments; /* of the current call */
};

/* Calls that end whole have an object as arguments, those that were cut off have none. */

static inline void chat_record_end_call(struct chat_record *r, enum chat_flaw flaw)
{
    struct err e;
    struct json *v = json_parse(buf_view(&r->arguments), &e);
    chat_record_promise((json_type(v) == JSON_OBJECT) == (flaw != CHAT_CUT));
    json_free(v);
}

static inline void chat_record_put(void *ctx, const struct chat_event *e)
{
    static const char *const names[] = {"content", "think", "call", "args", "end"};
    static const char *const ends[] = {"end", "mended", "cut"};
    struct chat_record *r = ctx;
    bool same = r->last_kind == (int)e->kind && r->last_call == e->i_call;
    bool fragment = e->kind <= CHAT_REASONING || e->kind == CHAT_CALL_ARGUMENTS;
    chat_record_promise(!fragment || e->text.n > 0);
    if (!same || !fragment)
        buf_fmt(&r->text, "[%s]", e->kind == CHAT_CALL_END ? ends[e->flaw] : names[e->kind]);
    if (fragment)
        buf_str(&r->text, e->text);
    if (e->kind == CHAT_CALL_BEGIN) {
        chat_record_promise(e->i_call == r->n_calls++);
        chat_record_promise(str_starts(e->id, STR("call_")) && e->id.n == 29 && e->name.n > 0);
        buf_str(&r->text, e->name);
        buf_clear(&r->arguments);
    } else if (e->kind == CHAT_CALL_ARGUMENTS) {
        buf_str(&r->arguments, e->text);
    } else if (e->kind == CHAT_CALL_END) {
        chat_record_end_call(r, e->flaw);
    }
    r->last_kind = (int)e->kind;
    r->last_call = e->i_call;
}

/* How to feed a text: in pieces of max_piece bytes (0: all at once), or with rng of 1 to max_piece.
 */
struct chat_record_cut {
    size_t max_piece;
    struct rng *rng;
};

/* Feeds text in pieces; in the format of marks, those of it that are written out stay whole. */
static inline void chat_record_feed(struct chat_parser *p, enum chat_format f, str text,
                                    struct chat_record_cut cut)
{
    for (size_t at = 0; at < text.n;) {
        size_t n = cut.max_piece ? cut.max_piece : text.n;
        if (cut.rng)
            n = 1 + rng_below(cut.rng, n);
        size_t mark =
            f == CHAT_HARMONY || f == CHAT_LLAMA_JSON ? str_find(text, STR("<|"), at) : SIZE_MAX;
        size_t end = mark == SIZE_MAX ? mark : str_find(text, STR("|>"), mark + 2);
        if (end != SIZE_MAX && mark == at)
            n = end + 2 - at;
        else if (mark != SIZE_MAX && n > mark - at && mark > at)
            n = mark - at;
        chat_parser_put_marked(p, str_sub(text, at, at + n));
        at += n;
    }
}

/* The record of a reply, ending with "[number of calls]"; the caller frees it. */
static inline struct buf chat_record_run(const struct chat_parser_params *params, str text,
                                         struct chat_record_cut cut, bool by_model)
{
    struct chat_record r = {.last_kind = -1};
    struct chat_parser_params q = *params;
    q.id_seed = 7;
    q.sink = chat_record_put;
    q.ctx = &r;
    struct chat_parser *p = chat_parser_open(&q);
    chat_record_feed(p, q.format, text, cut);
    chat_parser_end(p, by_model);
    buf_fmt(&r.text, "[%zu]", chat_parser_n_calls(p));
    chat_record_promise(chat_parser_n_calls(p) + chat_parser_n_cut(p) == r.n_calls);
    chat_parser_close(p);
    buf_free(&r.arguments);
    return r.text;
}

/* The same for a reply that the model ended, to a prompt that opens no reasoning. */
static inline struct buf chat_record_parse(enum chat_format f, const struct chat_tool *tools,
                                           size_t n_tools, str text, struct chat_record_cut cut)
{
    const struct chat_parser_params params = {.format = f, .tools = tools, .n_tools = n_tools};
    return chat_record_run(&params, text, cut, true);
}

/* Tools of a request; `all` has a parameter of every kind of schema. */
enum { CHAT_RECORD_TOOLS = 4 };
struct chat_record_tools {
    struct json *root;
    struct chat_tool tools[CHAT_RECORD_TOOLS];
};

static inline struct chat_record_tools chat_record_open_tools(void)
{
    static const char text[] =
        "[{\"name\":\"read_file\",\"parameters\":{\"type\":\"object\",\"properties\":{\"path\":{"
        "\"type\":"
        "\"string\"},\"start\":{\"type\":\"integer\"}},\"required\":[\"path\"]}},"
        "{\"name\":\"write_file\",\"parameters\":{\"properties\":{\"path\":{\"type\":\"string\"},"
        "\"content\":{\"type\":\"string\"}},\"required\":[\"path\",\"content\"]}},"
        "{\"name\":\"list_tabs\",\"parameters\":{\"properties\":{}}},"
        "{\"name\":\"all\",\"parameters\":{\"$defs\":{\"N\":{\"type\":\"number\"},\"L\":{\"$ref\":"
        "\"#/$defs/L\"}},\"properties\":{"
        "\"s\":{\"type\":\"string\"},\"i\":{\"type\":\"integer\"},\"n\":{\"$ref\":\"#/$defs/N\"},"
        "\"b\":{\"type\":\"boolean\"},\"o\":{\"type\":\"object\"},\"a\":{\"items\":{}},"
        "\"z\":{\"type\":\"null\"},\"sn\":{\"type\":[\"string\",\"null\"]},"
        "\"si\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"integer\"}]},"
        "\"sa\":{\"oneOf\":[{\"type\":\"string\"},{\"type\":\"array\"}]},"
        "\"e\":{\"enum\":[\"x\",\"1\"]},\"in\":{\"anyOf\":[{\"const\":3},{\"type\":\"null\"}]},"
        "\"loop\":{\"$ref\":\"#/$defs/L\"},\"nl\":{\"type\":\"integer\",\"nullable\":true},"
        "\"ao\":{\"allOf\":[{\"type\":\"boolean\"}]}}}}]";
    struct err e;
    struct chat_record_tools k = {.root = json_parse(STR(text), &e)};
    chat_record_promise(json_count(k.root) == CHAT_RECORD_TOOLS);
    for (size_t i = 0; i < CHAT_RECORD_TOOLS; i++) {
        const struct json *spec = json_at(k.root, i);
        k.tools[i] = (struct chat_tool){.name = json_str(json_get(spec, "name")),
                                        .spec = spec,
                                        .parameters = json_get(spec, "parameters")};
    }
    return k;
}
