/* Replies written at random within the grammar of a request's tools: every call in them is of a
 * tool and keeps to its schema, as the parser reads it. */
#include "text/toolcall.h"

#include "kit/grammar_match.h"
#include "kit/tool_writer.h"
#include "test.h"

enum { N_REPLIES = 50, MAX_TOKENS = 2000 };

struct shape {
    bool required, one_call, in_reasoning;
};

static struct grammar *make(enum chat_format f, const struct tok *t, const struct kit_tools *k,
                            struct shape shape)
{
    struct err e = {0};
    struct buf notes = {0};
    struct grammar *g = grammar_new();
    uint32_t rule;
    CHECK_OK(toolcall_rule(g,
                           &(struct toolcall_params){.format = f,
                                                     .tok = t,
                                                     .tools = k->tools,
                                                     .n_tools = k->n,
                                                     .required = shape.required,
                                                     .one_call = shape.one_call,
                                                     .in_reasoning = shape.in_reasoning,
                                                     .may_reason = true,
                                                     .content = GRAMMAR_NEVER},
                           &rule, &notes, &e));
    CHECK_OK(grammar_compile(g, rule, &e));
    CHECK_STR(buf_view(&notes), STR(""));
    buf_free(&notes);
    return g;
}

static void write_many(enum chat_format f, struct shape shape, size_t n_replies)
{
    struct kit_tools k = kit_tools_open();
    struct tok *t = kit_writer_tok();
    struct mask_vocab *v = mask_vocab_open(t, tok_n_vocab(t));
    struct constraint *c = constraint_new(make(f, t, &k, shape), v, !shape.required);
    struct rng rng = {test_seed() + (uint64_t)f};
    size_t n_calls = 0, n_whole = 0;
    for (size_t i = 0; i < n_replies; i++) {
        struct buf reply = {0};
        bool whole = kit_write_reply(t, c, &rng, MAX_TOKENS, &reply);
        size_t n = whole ? kit_check_calls(f, &k, shape.in_reasoning, buf_view(&reply)) : 0;
        if (whole && shape.required && (n == 0 || (shape.one_call && n > 1)))
            test_fail(__FILE__, __LINE__, "%zu calls in %.*s", n, STRF(buf_view(&reply)));
        n_calls += n;
        n_whole += whole;
        buf_free(&reply);
    }
    printf("    format %d: %zu replies, %zu whole, %zu calls\n", (int)f, n_replies, n_whole,
           n_calls);
    CHECK(n_whole > n_replies / 4);
    CHECK(!shape.required || n_calls >= n_whole);
    constraint_unref(c);
    mask_vocab_close(v);
    tok_close(t);
    kit_tools_close(&k);
}

TEST(toolcall_xml_replies_hold_valid_calls_only)
{
    write_many(CHAT_QWEN_XML, (struct shape){0}, N_REPLIES);
    write_many(CHAT_QWEN_XML, (struct shape){.in_reasoning = true}, N_REPLIES);
    write_many(CHAT_QWEN_XML, (struct shape){.required = true}, N_REPLIES);
    write_many(CHAT_QWEN_XML, (struct shape){.required = true, .one_call = true}, N_REPLIES);
}

TEST(toolcall_hermes_replies_hold_valid_calls_only)
{
    write_many(CHAT_HERMES_JSON, (struct shape){0}, N_REPLIES);
    write_many(CHAT_HERMES_JSON, (struct shape){.required = true, .in_reasoning = true}, N_REPLIES);
    write_many(CHAT_HERMES_JSON, (struct shape){.required = true, .one_call = true}, N_REPLIES);
}

TEST(toolcall_glm_replies_hold_valid_calls_only)
{
    write_many(CHAT_GLM, (struct shape){0}, N_REPLIES);
    write_many(CHAT_GLM, (struct shape){.required = true, .in_reasoning = true}, N_REPLIES);
    write_many(CHAT_GLM, (struct shape){.required = true, .one_call = true}, N_REPLIES);
}

TEST(toolcall_harmony_replies_hold_valid_calls_only)
{
    write_many(CHAT_HARMONY, (struct shape){0}, N_REPLIES);
    write_many(CHAT_HARMONY, (struct shape){.required = true}, N_REPLIES);
}

/* ---- what a reply may be, by example ---- */

static void check_texts(enum chat_format f, struct shape shape, const char *const *good,
                        const char *const *bad)
{
    struct kit_tools k = kit_tools_open();
    struct tok *t = kit_writer_tok();
    struct grammar *g = make(f, t, &k, shape);
    kit_check_matches(g, good, bad);
    grammar_free(g);
    tok_close(t);
    kit_tools_close(&k);
}

#define XML_READ "<tool_call>\n<function=read_file>\n<parameter=path>\na.c\n</parameter>\n"
#define XML_END  "</function>\n</tool_call>"

TEST(toolcall_xml_opens_where_the_parser_does)
{
    static const char *const good[] = {
        "",
        "No call here, a < b.",
        "<think>\nLet me see: <tool_call>\n</think>\n\nText",
        "I will look.\n" XML_READ XML_END,
        XML_READ XML_END "\n" XML_READ "<parameter=limit>\n20\n</parameter>\n" XML_END "\nDone.",
        "Text\n<function=ping>\n</function>\n</tool_call>",
        "Inside a line <function= is text",
        "<tool_call>\n<function=read_file>\n<parameter=limit>\n5\n</parameter>\n<parameter=path>\n"
        "x</parameter>y\n</parameter>\n" XML_END,
        "<tool_call>\n<function=search>\n<parameter=query>\na <b> \"q\"\n\n</parameter>\n"
        "<parameter=kind>\n<file>\n</parameter>\n<parameter=glob>\nnull\n</parameter>\n" XML_END,
        NULL};
    static const char *const bad[] = {
        "<tool_call>",
        "<tool_call>text",
        "<tool_call>\n<function=unknown>\n" XML_END,
        "<tool_call>\n<function=read_file>\n" XML_END,
        XML_READ "<parameter=path>\nb.c\n</parameter>\n" XML_END,
        XML_READ "<parameter=limit>\nmany\n</parameter>\n" XML_END,
        XML_READ "<parameter=limit>\n0\n</parameter>\n" XML_END,
        XML_READ "<parameter=nothing>\n1\n</parameter>\n" XML_END,
        XML_READ,
        "Text\n<function=unknown>\n",
        "<tool_call>\n<function=search>\n<parameter=query>\nab\n</parameter>\n<parameter=kind>\n"
        "other\n</parameter>\n" XML_END,
        "<tool_call>\n<function=search>\n<parameter=query>\na\n</parameter>\n<parameter=kind>\n"
        "text\n</parameter>\n" XML_END,
        NULL};
    check_texts(CHAT_QWEN_XML, (struct shape){0}, good, bad);
}

#define HERMES(arguments)                                                                          \
    "<tool_call>\n{\"name\": \"read_file\", \"arguments\": " arguments "}\n</tool_call>"

/* The template prints earlier booleans so: a model that may not write them so says the opposite. */
TEST(toolcall_xml_takes_the_words_of_python)
{
#define XML_EDIT                                                                                   \
    "<tool_call>\n<function=edit>\n<parameter=edits>\n[{\"old\":\"a\",\"new\":\"b\"}]\n</"         \
    "parameter>\n"                                                                                 \
    "<parameter=dry_run>\n"
    static const char *const good[] = {XML_EDIT "False\n</parameter>\n" XML_END,
                                       XML_EDIT "true\n</parameter>\n" XML_END, NULL};
    static const char *const bad[] = {XML_EDIT "None\n</parameter>\n" XML_END,
                                      XML_EDIT "Falsey\n</parameter>\n" XML_END, NULL};
    check_texts(CHAT_QWEN_XML, (struct shape){0}, good, bad);
}

/* What a schema says at its top, beside the parameters: held, or named. */
TEST(toolcall_xml_holds_which_parameters_are_required)
{
    struct err e = {0};
    struct json *schema = json_parse(
        STR("{\"properties\":{\"a\":{\"type\":\"string\"},\"b\":{\"type\":\"string\"},\"c\":"
            "{\"type\":\"string\"}},\"required\":[\"c\"],\"anyOf\":[{\"required\":[\"a\"]},"
            "{\"required\":[\"b\"]}],\"minProperties\":2}"),
        &e);
    struct chat_tool tool = {.name = STR("f"), .parameters = schema};
    struct tok *t = kit_writer_tok();
    struct grammar *g = grammar_new();
    struct buf notes = {0};
    uint32_t rule;
    CHECK_OK(toolcall_rule(g,
                           &(struct toolcall_params){.format = CHAT_QWEN_XML,
                                                     .tok = t,
                                                     .tools = &tool,
                                                     .n_tools = 1,
                                                     .content = GRAMMAR_NEVER},
                           &rule, &notes, &e));
    CHECK_OK(grammar_compile(g, rule, &e));
    CHECK_STR(buf_view(&notes), STR("f: minProperties; "));
#define XML_F(name) "<parameter=" name ">\nx\n</parameter>\n"
#define XML_CALL_F  "<tool_call>\n<function=f>\n"
    static const char *const good[] = {XML_CALL_F XML_F("c") XML_F("a") XML_END,
                                       XML_CALL_F XML_F("b") XML_F("c") XML_F("a") XML_END, NULL};
    static const char *const bad[] = {XML_CALL_F XML_F("c") XML_END,
                                      XML_CALL_F XML_F("a") XML_F("b") XML_END, NULL};
    kit_check_matches(g, good, bad);
    buf_free(&notes);
    grammar_free(g);
    tok_close(t);
    json_free(schema);
}

TEST(toolcall_hermes_opens_where_the_parser_does)
{
    static const char *const good[] = {
        "Text with {\"name\": \"x\"} in it", HERMES("{\"path\": \"a\"}"),
        "Two:\n" HERMES("{\"path\": \"a\"}") "\n" HERMES("{\"limit\": 3, \"path\": \"\"}"),
        "<tool_call>\n{\"name\": \"ping\", \"arguments\": {}}\n</tool_call>", NULL};
    static const char *const bad[] = {
        HERMES("{}"),
        HERMES("{\"path\": 1}"),
        HERMES("{\"path\": \"a\", \"x\": 1}"),
        HERMES("{\"path\": \"a\", \"path\": \"b\"}"),
        "<tool_call>\n{\"name\": \"rm\", \"arguments\": {}}\n</tool_call>",
        "<tool_call>\n{\"arguments\": {}, \"name\": \"ping\"}\n</tool_call>",
        NULL};
    check_texts(CHAT_HERMES_JSON, (struct shape){0}, good, bad);
}

TEST(toolcall_required_leaves_no_way_around_a_call)
{
    static const char *const good[] = {
        HERMES("{\"path\": \"a\"}"), "<think>\nhm\n</think>\n\n" HERMES("{\"path\": \"a\"}"),
        HERMES("{\"path\": \"a\"}") "\n" HERMES("{\"path\": \"b\"}"), NULL};
    static const char *const bad[] = {"", "Text", "<think>\nhm\n</think>\n\nText",
                                      HERMES("{\"path\": \"a\"}") "\nText", NULL};
    check_texts(CHAT_HERMES_JSON, (struct shape){.required = true}, good, bad);
    static const char *const one[] = {HERMES("{\"path\": \"a\"}"), NULL};
    static const char *const more[] = {HERMES("{\"path\": \"a\"}") "\n" HERMES("{\"path\": \"b\"}"),
                                       NULL};
    check_texts(CHAT_HERMES_JSON, (struct shape){.required = true, .one_call = true}, one, more);
}

/* ---- code ---- */

/* Feeds a text byte by byte; the mask must be there or not just before each '#', which is not fed:
 * '#' before what may be anything, '!' before what is constrained. */
static void check_freedom(const char *marked)
{
    struct kit_tools k = kit_tools_open();
    struct tok *t = kit_writer_tok();
    struct mask_vocab *v = mask_vocab_open(t, tok_n_vocab(t));
    struct constraint *c = constraint_new(make(CHAT_QWEN_XML, t, &k, (struct shape){0}), v, true);
    struct constraint_run *run = constraint_begin(c);
    for (const char *p = marked; *p; p++) {
        struct err e = {0};
        const struct token_mask *mask;
        CHECK_OK(constraint_mask(run, &mask, &e));
        bool bound = mask && !token_mask_has(mask, 'q');
        if ((*p == '#' || *p == '!') && bound != (*p == '!'))
            test_fail(__FILE__, __LINE__, "%sbound before %s", bound ? "" : "not ", p);
        if (*p != '#' && *p != '!')
            CHECK_OK(constraint_accept(run, (unsigned char)*p, &e));
    }
    constraint_end(run);
    constraint_unref(c);
    mask_vocab_close(v);
    tok_close(t);
    kit_tools_close(&k);
}

TEST(constraint_leaves_code_alone)
{
    check_freedom("#Text <tool_call>!\n");
    check_freedom("Like this:\n```\n#<tool_call>#\nxyz#\n```\nand <tool_call>!");
    check_freedom("~~~~\n```\n<function=#x#\n~~~~\n<function=!");
    check_freedom("the tag `<tool_call>#` is, `code\n<function=!");
    check_freedom("<think>#\n<tool_call>#q</think>\n\n#x<tool_call>!");
}
