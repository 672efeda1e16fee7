#include "kit/tool_writer.h"

#include "kit/tok_fixture.h"
#include "test.h"
#include "text/schema.h"

/* ---- tools ---- */

static const char tools_text[] =
    "[{\"name\":\"ping\"},"
    "{\"name\":\"read_file\",\"parameters\":{\"type\":\"object\",\"properties\":{\"path\":{"
    "\"type\":"
    "\"string\"},\"offset\":{\"type\":\"integer\",\"minimum\":0},\"limit\":{\"type\":\"integer\","
    "\"exclusiveMinimum\":0,\"maximum\":2000}},\"required\":[\"path\"],\"additionalProperties\":"
    "false}},"
    "{\"name\":\"read\",\"parameters\":{\"type\":\"object\",\"properties\":{\"url\":{\"type\":"
    "\"string\","
    "\"format\":\"uri\"},\"when\":{\"type\":\"string\",\"format\":\"date\"}},\"required\":["
    "\"when\"]}},"
    "{\"name\":\"edit\",\"parameters\":{\"type\":\"object\",\"properties\":{\"edits\":{\"type\":"
    "\"array\","
    "\"minItems\":1,\"maxItems\":3,\"items\":{\"type\":\"object\",\"properties\":{\"old\":{"
    "\"type\":"
    "\"string\",\"minLength\":1},\"new\":{\"type\":\"string\"},\"all\":{\"type\":\"boolean\","
    "\"default\":"
    "false}},\"required\":[\"old\",\"new\"],\"additionalProperties\":false}},\"dry_run\":{\"type\":"
    "\"boolean\"}},\"required\":[\"edits\"]}},"
    "{\"name\":\"todo\",\"parameters\":{\"$defs\":{\"item\":{\"type\":\"object\",\"properties\":{"
    "\"text\":"
    "{\"type\":\"string\",\"maxLength\":20},\"state\":{\"enum\":[\"open\",\"done\"]},\"sub\":{"
    "\"type\":"
    "\"array\",\"items\":{\"$ref\":\"#/$defs/"
    "item\"},\"maxItems\":2}},\"required\":[\"text\",\"state\"],"
    "\"additionalProperties\":false}},\"type\":\"object\",\"properties\":{\"items\":{\"type\":"
    "\"array\","
    "\"items\":{\"$ref\":\"#/$defs/item\"},\"maxItems\":3}},\"required\":[\"items\"]}},"
    "{\"name\":\"search\",\"parameters\":{\"type\":\"object\",\"properties\":{\"query\":{\"type\":"
    "\"string\","
    "\"minLength\":2},\"kind\":{\"type\":\"string\",\"enum\":[\"text\",\"symbol\",\"<file>\"]},"
    "\"glob\":"
    "{\"type\":[\"string\",\"null\"]},\"code\":{\"type\":\"string\",\"pattern\":\"^[A-Z]{2}-[0-9]{"
    "1,4}$\"},"
    "\"where\":{\"anyOf\":[{\"type\":\"integer\",\"minimum\":1,\"maximum\":99},{\"type\":"
    "\"object\","
    "\"properties\":{\"file\":{\"type\":\"string\"}},\"required\":[\"file\"],"
    "\"additionalProperties\":"
    "false}]},\"title\":{\"type\":\"string\",\"maxLength\":12},\"weight\":{\"type\":\"number\","
    "\"minimum\":"
    "0,\"maximum\":1}},\"required\":[\"query\",\"kind\"]}},"
    "{\"name\":\"call_any\",\"parameters\":{\"type\":\"object\",\"properties\":{\"server\":{"
    "\"const\":"
    "\"local\"},\"arguments\":{\"type\":\"object\",\"additionalProperties\":{\"type\":\"integer\"}}"
    ","
    "\"extra\":{}},\"required\":[\"server\",\"arguments\"]}},"
    "{\"name\":\"step\",\"parameters\":{\"$ref\":\"#/$defs/top\",\"$defs\":{\"top\":{\"allOf\":[{"
    "\"properties\":{\"id\":{\"type\":\"integer\"}},\"required\":[\"id\"]},{\"properties\":{\"id\":"
    "{"
    "\"minimum\":3}}}],\"oneOf\":[{\"$ref\":\"#/$defs/add\"},{\"properties\":{\"op\":{\"const\":"
    "\"cut\"},\"n\":{\"enum\":[1,2]}},\"required\":[\"op\",\"n\"]}]},\"add\":{\"type\":\"object\","
    "\"properties\":{\"op\":{\"type\":\"string\",\"const\":\"add\"},\"text\":{\"type\":\"string\"}}"
    ","
    "\"required\":[\"op\",\"text\"]}}}}]";

struct kit_tools kit_tools_open(void)
{
    struct err e = {0};
    struct kit_tools k = {.root = json_parse(STR(tools_text), &e)};
    if (!k.root)
        test_fail(__FILE__, __LINE__, "%s", e.msg);
    k.n = json_count(k.root);
    struct chat_tool *tools = mem_new(k.n, sizeof *tools);
    for (size_t i = 0; i < k.n; i++) {
        const struct json *spec = json_at(k.root, i);
        tools[i] = (struct chat_tool){.name = json_str(json_get(spec, "name")),
                                      .spec = spec,
                                      .parameters = json_get(spec, "parameters")};
    }
    k.tools = tools;
    return k;
}

void kit_tools_close(struct kit_tools *k)
{
    free((void *)(uintptr_t)k->tools);
    json_free(k->root);
}

/* ---- writing ---- */

static const struct fixture_added added[] = {{"<|im_end|>", TOK_CONTROL},
                                             {"<|start|>", TOK_CONTROL},
                                             {"<|end|>", TOK_CONTROL},
                                             {"<|message|>", TOK_CONTROL},
                                             {"<|channel|>", TOK_CONTROL},
                                             {"<|constrain|>", TOK_CONTROL},
                                             {"<|return|>", TOK_CONTROL},
                                             {"<|call|>", TOK_CONTROL},
                                             {"<tool_call>", TOK_USER_DEFINED},
                                             {"</tool_call>", TOK_USER_DEFINED},
                                             {"<think>", TOK_USER_DEFINED},
                                             {"</think>", TOK_USER_DEFINED},
                                             {"<arg_key>", TOK_USER_DEFINED},
                                             {"</arg_key>", TOK_USER_DEFINED},
                                             {"<arg_value>", TOK_USER_DEFINED},
                                             {"</arg_value>", TOK_USER_DEFINED},
                                             {"\n</parameter>\n", TOK_USER_DEFINED},
                                             {"</parameter>", TOK_USER_DEFINED},
                                             {"</function>", TOK_USER_DEFINED},
                                             {"<function=", TOK_USER_DEFINED},
                                             {"<parameter=", TOK_USER_DEFINED},
                                             {NULL, 0}};

/* Among them tokens that close a value and go on. */
static const char *merges[][2] = {
    {"\"", ","},      {"\",", " "},     {"\"", "}"}, {"\"}", "}"}, {"\"}}", "\n"},
    {"\"", ":"},      {"\":", " "},     {"{", "\""}, {"[", "{"},   {"[{", "\""},
    {"<", "/"},       {">", "\n"},      {"\n", "<"}, {"\n<", "/"}, {"1", "2"},
    {"\xc3", "\xa4"}, {"\xe2", "\x82"}, {"a", "b"},  {"r", "e"},   {"re", "a"},
    {"rea", "d"},     {" ", " "},       {"`", "`"},  {"``", "`"},  {NULL, NULL}};

struct tok *kit_writer_tok(void)
{
    struct err e = {0};
    struct tok *t = tok_fixture_open(&(struct tok_fixture){.merges = merges, .added = added}, &e);
    if (!t)
        test_fail(__FILE__, __LINE__, "%s", e.msg);
    return t;
}

/* What ends values and calls. */
static bool is_closer(const struct tok *t, int32_t id)
{
    static const char *const closers[] = {"\"",
                                          "]",
                                          "}",
                                          "\n",
                                          "\"}",
                                          "</parameter>",
                                          "\n</parameter>\n",
                                          "\"}}",
                                          "</function>",
                                          "</tool_call>",
                                          "</arg_value>",
                                          "\n<",
                                          "<|end|>",
                                          "<tool_call>",
                                          "</think>"};
    for (size_t i = 0; i < sizeof closers / sizeof *closers; i++)
        if (str_eq(tok_bytes(t, id), str_of(closers[i])))
            return true;
    return tok_is_stop(t, id);
}

/* One of the ids [0, n) at random, or of list; only those that close something, or all. -1: none.
 */
static int32_t draw(const struct tok *t, const struct token_mask *mask, struct rng *rng,
                    bool closers)
{
    uint32_t n = mask && mask->ids ? mask->n : tok_n_vocab(t), n_found = 0;
    int32_t found = -1;
    for (uint32_t i = 0; i < n; i++) {
        int32_t id = mask && mask->ids ? mask->ids[i] : (int32_t)i;
        bool ok = mask ? mask->ids || token_mask_has(mask, (uint32_t)id)
                       : tok_type(t, id) != TOK_CONTROL || tok_is_stop(t, id);
        if (ok && (!closers || is_closer(t, id)) && rng_below(rng, ++n_found) == 0)
            found = id;
    }
    return found;
}

/* A token of the mask, one that closes something with a chance of 2 in 5. */
static int32_t choose(const struct tok *t, const struct token_mask *mask, struct rng *rng)
{
    int32_t id = rng_below(rng, 5) < 2 ? draw(t, mask, rng, true) : -1;
    return id >= 0 ? id : draw(t, mask, rng, false);
}

bool kit_write_reply(const struct tok *t, struct constraint *c, struct rng *rng, size_t n_max,
                     struct buf *out)
{
    struct err e = {0};
    struct constraint_run *run = constraint_begin(c);
    bool ended = false;
    for (size_t i = 0; i < n_max && !ended; i++) {
        const struct token_mask *mask;
        CHECK_OK(constraint_mask(run, &mask, &e));
        int32_t id = choose(t, mask, rng);
        CHECK(id >= 0);
        ended = tok_is_stop(t, id);
        if (!ended) {
            CHECK_OK(constraint_accept(run, id, &e));
            buf_str(out, tok_bytes(t, id));
        }
    }
    constraint_end(run);
    return ended;
}

/* ---- reading ---- */

struct reader {
    const struct kit_tools *k;
    str reply;
    const struct chat_tool *tool;
    struct buf arguments;
    size_t n;
};

static void check_call(struct reader *r)
{
    struct err e = {0};
    struct buf why = {0};
    struct json *v = json_parse(buf_view(&r->arguments), &e);
    if (!v)
        test_fail(__FILE__, __LINE__, "%s in %.*s", e.msg, STRF(str_sub(r->reply, 0, 400)));
    if (!schema_check(r->tool->parameters, r->tool->parameters, v, &why))
        test_fail(__FILE__, __LINE__, "%.*s %.*s in %.*s",
                  STRF(str_sub(buf_view(&r->arguments), 0, 400)), STRF(buf_view(&why)),
                  STRF(str_sub(r->reply, 0, 400)));
    json_free(v);
    r->n++;
}

static void read_event(void *ctx, const struct chat_event *event)
{
    struct reader *r = ctx;
    if (event->kind == CHAT_CALL_BEGIN) {
        r->tool = NULL;
        buf_clear(&r->arguments);
        for (size_t i = 0; i < r->k->n; i++)
            if (str_eq(r->k->tools[i].name, event->name))
                r->tool = &r->k->tools[i];
        if (!r->tool)
            test_fail(__FILE__, __LINE__, "no such tool: %.*s in %.*s", STRF(event->name),
                      STRF(str_sub(r->reply, 0, 400)));
    } else if (event->kind == CHAT_CALL_ARGUMENTS) {
        buf_str(&r->arguments, event->text);
    } else if (event->kind == CHAT_CALL_END) {
        check_call(r);
    }
}

size_t kit_check_calls(enum chat_format f, const struct kit_tools *k, bool in_reasoning, str reply)
{
    struct reader r = {.k = k, .reply = reply};
    struct chat_parser *p =
        chat_parser_open(&(struct chat_parser_params){.format = f,
                                                      .tools = k->tools,
                                                      .n_tools = k->n,
                                                      .in_reasoning = in_reasoning,
                                                      .sink = read_event,
                                                      .ctx = &r});
    chat_parser_put_marked(p, reply);
    chat_parser_end(p, true);
    chat_parser_close(p);
    buf_free(&r.arguments);
    return r.n;
}
