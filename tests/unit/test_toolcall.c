/* Replies written at random within the grammar of a request's tools: every call in them is of a
 * tool and keeps to its schema, as the parser reads it. */
#include "text/toolcall.h"

#include <stdlib.h>

#include "kit/grammar_match.h"
#include "kit/tok_fixture.h"
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

/* The grammar of one tool's calls, "f", and what was relaxed. lark: the grammar of its text. */
static void check_freeform(enum chat_format format, const char *text, const char *lark,
                           const char *notes, const char *const *good, const char *const *bad)
{
    struct err e = {0};
    struct json *schema = json_parse(str_of(text), &e);
    struct chat_tool tool = {.name = STR("f"), .parameters = schema, .lark = str_of(lark)};
    struct tok *t = kit_writer_tok();
    struct grammar *g = grammar_new();
    struct buf said = {0};
    uint32_t rule;
    CHECK(schema);
    CHECK_OK(toolcall_rule(
        g,
        &(struct toolcall_params){
            .format = format, .tok = t, .tools = &tool, .n_tools = 1, .content = GRAMMAR_NEVER},
        &rule, &said, &e));
    CHECK_OK(grammar_compile(g, rule, &e));
    CHECK_STR(buf_view(&said), str_of(notes));
    kit_check_matches(g, good, bad);
    buf_free(&said);
    grammar_free(g);
    tok_close(t);
    json_free(schema);
}

static void check_schema(enum chat_format format, const char *text, const char *notes,
                         const char *const *good, const char *const *bad)
{
    check_freeform(format, text, "", notes, good, bad);
}

#define XML_P(name, value) "<parameter=" name ">\n" value "\n</parameter>\n"
#define XML_F(parameters)  "<tool_call>\n<function=f>\n" parameters XML_END
#define GLM_P(name, value) "<arg_key>" name "</arg_key><arg_value>" value "</arg_value>"
#define GLM_F(parameters)  "<tool_call>f" parameters "</tool_call>"

/* What a schema says at its top, beside the parameters: held, or named. */
TEST(toolcall_xml_holds_which_parameters_are_required)
{
    static const char *const good[] = {XML_F(XML_P("c", "x") XML_P("a", "x")),
                                       XML_F(XML_P("b", "x") XML_P("c", "x") XML_P("a", "x")),
                                       NULL};
    static const char *const bad[] = {XML_F(XML_P("c", "x")),
                                      XML_F(XML_P("a", "x") XML_P("b", "x")), NULL};
    check_schema(CHAT_QWEN_XML,
                 "{\"properties\":{\"a\":{\"type\":\"string\"},\"b\":{\"type\":\"string\"},\"c\":"
                 "{\"type\":\"string\"}},\"required\":[\"c\"],\"anyOf\":[{\"required\":[\"a\"]},"
                 "{\"required\":[\"b\"]}],\"minProperties\":2}",
                 "f: minProperties; ", good, bad);
}

/* A reference, parts that all hold, and alternatives that a constant tells apart. */
static const char spread[] =
    "{\"$ref\":\"#/$defs/top\",\"$defs\":{\"top\":{\"allOf\":[{\"properties\":{\"id\":{\"type\":"
    "\"integer\"}},\"required\":[\"id\"]},{\"properties\":{\"id\":{\"minimum\":3}}}],\"oneOf\":["
    "{\"$ref\":\"#/$defs/"
    "add\"},{\"properties\":{\"op\":{\"const\":\"cut\"},\"n\":{\"enum\":[1,2]}},"
    "\"required\":[\"op\",\"n\"]}]},\"add\":{\"type\":\"object\",\"properties\":{\"op\":{\"type\":"
    "\"string\",\"const\":\"add\"},\"text\":{\"type\":\"string\"}},\"required\":[\"op\",\"text\"]}}"
    "}";

TEST(toolcall_xml_holds_references_and_alternatives_of_parameters)
{
    static const char *const good[] = {
        XML_F(XML_P("id", "3") XML_P("op", "add") XML_P("text", "a\nb")),
        XML_F(XML_P("n", "2") XML_P("op", "cut") XML_P("id", "12")), NULL};
    static const char *const bad[] = {XML_F(XML_P("id", "2") XML_P("op", "add") XML_P("text", "a")),
                                      XML_F(XML_P("op", "add") XML_P("text", "a")),
                                      XML_F(XML_P("id", "3") XML_P("op", "add") XML_P("n", "1")),
                                      XML_F(XML_P("id", "3") XML_P("op", "cut")),
                                      XML_F(XML_P("id", "3") XML_P("op", "cut") XML_P("n", "3")),
                                      XML_F(XML_P("id", "3")),
                                      NULL};
    check_schema(CHAT_QWEN_XML, spread, "", good, bad);
}

TEST(toolcall_glm_holds_references_and_alternatives_of_parameters)
{
    static const char *const good[] = {
        GLM_F(GLM_P("id", "3") GLM_P("op", "add") GLM_P("text", "a\nb")),
        GLM_F(GLM_P("n", "2") GLM_P("op", "cut") GLM_P("id", "12")), NULL};
    static const char *const bad[] = {GLM_F(GLM_P("id", "3") GLM_P("op", "add") GLM_P("n", "1")),
                                      GLM_F(GLM_P("id", "3")), NULL};
    check_schema(CHAT_GLM, spread, "", good, bad);
}

/* Schemas elsewhere, branches that may hold together, types that the parser cannot tell apart, and
 * more ways to call than are followed. */
TEST(toolcall_xml_names_what_it_does_not_hold)
{
    static const char *const good[] = {XML_F(XML_P("a", "x")), NULL};
    static const char *const bad[] = {XML_F(XML_P("a", "1") XML_P("b", "x")), NULL};
    check_schema(CHAT_QWEN_XML,
                 "{\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"],\"$ref\":"
                 "\"other.json\",\"not\":{\"required\":[\"c\"]}}",
                 "f: not; f: $ref to elsewhere; ", good, bad);
    check_schema(CHAT_QWEN_XML,
                 "{\"oneOf\":[{\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"]},"
                 "{\"type\":\"null\"},false]}",
                 "f: oneOf (as anyOf); ", good, bad);
    check_schema(CHAT_QWEN_XML,
                 "{\"anyOf\":[{\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"]},"
                 "{\"properties\":{\"a\":{\"type\":\"integer\"}},\"required\":[\"a\"]}]}",
                 "a: a string that has other types elsewhere; ", good, bad);
    check_schema(
        CHAT_QWEN_XML,
        "{\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"],\"allOf\":["
        "{\"anyOf\":[{\"title\":\"1\"},{\"title\":\"2\"}]},{\"anyOf\":[{\"title\":\"3\"},"
        "{\"title\":\"4\"}]},{\"anyOf\":[{\"title\":\"5\"},{\"title\":\"6\"}]},{\"anyOf\":"
        "[{\"title\":\"7\"},{\"title\":\"8\"}]},{\"anyOf\":[{\"title\":\"9\"},{}]},{\"anyOf\":"
        "[{\"title\":\"10\"},{}]}]}",
        "f: very many branches; ", good, bad);
}

/* 15 unions of 40 branches each, of which none allows an object in the end: 40^15 ways to try. */
TEST(toolcall_xml_does_not_try_every_way_of_a_hostile_schema)
{
    struct buf text = {0};
    buf_str(&text, STR("{\"allOf\":["));
    for (int i = 0; i < 15; i++) {
        buf_str(&text, i ? STR(",{\"anyOf\":[") : STR("{\"anyOf\":["));
        for (int k = 0; k < 40; k++)
            buf_fmt(&text, "%s{\"type\":\"%s\"}", k ? "," : "", i < 14 ? "object" : "null");
        buf_str(&text, STR("]}"));
    }
    buf_str(&text, STR("]}"));
    buf_byte(&text, 0);
    static const char *const good[] = {XML_F(""), NULL}, *const bad[] = {NULL};
    check_schema(CHAT_QWEN_XML, text.p, "f: very many branches; ", good, bad);
    buf_free(&text);
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

#define HERMES_F(arguments)                                                                        \
    "<tool_call>\n{\"name\": \"f\", \"arguments\": " arguments "}\n</tool_call>"

/* Text of one parameter, which follows a grammar: lines that begin with "+" or "@@ ". */
static const char freeform[] = "{\"type\":\"object\",\"properties\":{\"input\":{\"type\":"
                               "\"string\"}},\"required\":[\"input\"]}";
static const char lines[] = "start: line+\nline: (\"+\" /(.*)/ | \"@@ \" /(.+)/) \"\\n\"";

TEST(toolcall_hermes_holds_the_grammar_of_a_freeform_tool)
{
    static const char *const good[] = {HERMES_F("{\"input\": \"+a < \\\"b\\\"\\n+\\n@@ x\\n\"}"),
                                       HERMES_F("{\"input\":\"+</tool_call>\\n\"}"), "Text", NULL};
    static const char *const bad[] = {HERMES_F("{\"input\": \"a\\n\"}"),
                                      HERMES_F("{\"input\": \"+a\"}"),
                                      HERMES_F("{\"input\": \"@@ \\n\"}"),
                                      HERMES_F("{}"),
                                      HERMES_F("{\"input\": \"+a\\n\", \"x\": 1}"),
                                      NULL};
    check_freeform(CHAT_HERMES_JSON, freeform, lines, "", good, bad);
}

/* Between tags a line may hold what it likes, but what would end the value there. */
TEST(toolcall_tags_hold_the_grammar_of_a_freeform_tool)
{
    static const char *const good[] = {
        XML_F(XML_P("input", "+a <b> \"c\" </d>\n+\n@@ <p>\n@@ <<\n@@ x\n")),
        XML_F(XML_P("input", "+</parameter> </p>\n+<parameter=input>\n")),
        XML_F(XML_P("input", "+</parameter>\n+</function>\n")), NULL};
    static const char *const bad[] = {XML_F(XML_P("input", "a\n")),
                                      XML_F(XML_P("input", "@@ \n")),
                                      XML_F(XML_P("input", "+</parameter> </function>\n")),
                                      XML_F(XML_P("input", "@@ </parameter></function>\n")),
                                      XML_F(XML_P("input", "@@ <</parameter></function>\n")),
                                      XML_F(""),
                                      NULL};
    check_freeform(CHAT_QWEN_XML, freeform, lines, "", good, bad);
    static const char *const glm[] = {GLM_F(GLM_P("input", "+a <b>\n@@ x\n")), NULL};
    static const char *const no_glm[] = {
        GLM_F(GLM_P("input", "a")), GLM_F(GLM_P("input", "+</arg_value></tool_call>\n")), NULL};
    check_freeform(CHAT_GLM, freeform, lines, "", glm, no_glm);
}

/* Better free than wrong: the text is any then. */
TEST(toolcall_names_a_grammar_of_a_freeform_tool_that_it_does_not_hold)
{
    static const char *const json[] = {HERMES_F("{\"input\": \"a\"}"), NULL};
    static const char *const no_json[] = {HERMES_F("{\"input\": 1}"), NULL};
    check_freeform(CHAT_HERMES_JSON, freeform, "start: nothing",
                   "f: its Lark grammar ('nothing' is not defined); ", json, no_json);
    static const char *const xml[] = {XML_F(XML_P("input", "<")), NULL};
    static const char *const no_xml[] = {XML_F(XML_P("output", "a")), NULL};
    check_freeform(CHAT_QWEN_XML, freeform, "start: /a.b/",
                   "f: its Lark grammar (line 1: an expression that may hold a '<', between "
                   "tags); ",
                   xml, no_xml);
}

/* An agent whose model only thought would stop. Thoughts that do not end are not cut. */
TEST(toolcall_something_follows_reasoning)
{
    static const char *const good[] = {"hm",
                                       "hm</think>Text",
                                       "hm</think>\n\n  Text\n",
                                       "</think>\n\n<b>",
                                       "hm</think>\n\n" HERMES("{\"path\": \"a\"}") "\n",
                                       NULL};
    static const char *const bad[] = {"hm</think>", "hm</think>\n\n", "hm</think>\n\n \t\r\n",
                                      "</think>", NULL};
    check_texts(CHAT_HERMES_JSON, (struct shape){.in_reasoning = true}, good, bad);
    static const char *const xml[] = {
        "hm</think>\n\nText",
        "hm</think>" XML_READ "<parameter=limit>\n5\n</parameter>\n" XML_END "\n\n", NULL};
    static const char *const no_xml[] = {"hm</think>\n", NULL};
    check_texts(CHAT_QWEN_XML, (struct shape){.in_reasoning = true}, xml, no_xml);
}

/* Where <tool_call> is no text but a mark: behind reasoning it may come at once, the end may not.
 */
TEST(toolcall_a_mark_may_follow_reasoning)
{
    static const struct fixture_added marks[] = {
        {"<|im_end|>", TOK_CONTROL}, {"<tool_call>", TOK_CONTROL}, {NULL, 0}};
    struct kit_tools k = kit_tools_open();
    struct err e = {0};
    struct tok *t = tok_fixture_open(&(struct tok_fixture){.added = marks}, &e);
    CHECK_OK(t);
    struct mask_vocab *v = mask_vocab_open(t, tok_n_vocab(t));
    struct constraint *c = constraint_new(
        make(CHAT_HERMES_JSON, t, &k, (struct shape){.in_reasoning = true}), v, true);
    struct constraint_run *run = constraint_begin(c);
    static const char said[] = "hm</think>\n\nA";
    for (size_t i = 0; i <= sizeof said - 1; i++) {
        const struct token_mask *mask;
        struct tok_ids ids = {0};
        CHECK_OK(constraint_mask(run, &mask, &e));
        const bool thought = i < strlen("hm</think>"), blank = !thought && i < sizeof said - 1;
        CHECK_INT(!mask || token_mask_has(mask, (uint32_t)tok_special(t, STR("<|im_end|>"))),
                  !blank);
        CHECK(thought || !mask ||
              token_mask_has(mask, (uint32_t)tok_special(t, STR("<tool_call>"))));
        tok_encode(t, (str){said + i, i < sizeof said - 1}, &(struct tok_params){0}, &ids);
        for (size_t j = 0; j < ids.n; j++)
            CHECK_OK(constraint_accept(run, ids.ids[j], &e));
        free(ids.ids);
    }
    constraint_end(run);
    constraint_unref(c);
    mask_vocab_close(v);
    tok_close(t);
    kit_tools_close(&k);
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
