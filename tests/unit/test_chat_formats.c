/* Parsing model output: harmony, GLM, Llama, thinking; replies that a limit cut off. */
#include "kit/chat_record.h"
#include "test.h"

static void check(const struct chat_parser_params *params, bool by_model, const char *text,
                  const char *want)
{
    struct chat_record_tools k = chat_record_open_tools();
    struct chat_parser_params q = *params;
    q.tools = k.tools;
    for (size_t piece = 0; piece < 4; piece++) {
        struct buf got =
            chat_record_run(&q, str_of(text), (struct chat_record_cut){piece, NULL}, by_model);
        if (!str_eq(buf_view(&got), str_of(want)))
            test_fail(__FILE__, __LINE__,
                      "pieces of %zu:\n--- text\n%s\n--- got\n%.*s\n--- want\n%s", piece, text,
                      STRF(buf_view(&got)), want);
        buf_free(&got);
    }
    json_free(k.root);
}

static void with_tools(enum chat_format f, const char *text, const char *want)
{
    check(&(struct chat_parser_params){.format = f, .n_tools = CHAT_RECORD_TOOLS}, true, text,
          want);
}

static void without_tools(enum chat_format f, const char *text, const char *want)
{
    check(&(struct chat_parser_params){.format = f}, true, text, want);
}

/* The reply was cut off by a limit. */
static void limited(enum chat_format f, const char *text, const char *want)
{
    check(&(struct chat_parser_params){.format = f, .n_tools = CHAT_RECORD_TOOLS}, false, text,
          want);
}

/* The prompt opened the reasoning. */
static void thinking(enum chat_format f, const char *text, const char *want)
{
    check(&(struct chat_parser_params){.format = f,
                                       .n_tools = CHAT_RECORD_TOOLS,
                                       .in_reasoning = true},
          true, text, want);
}

/* ---- harmony ---- */

static void harmony(const char *text, const char *want)
{
    with_tools(CHAT_HARMONY, text, want);
}

#define FINAL    "<|channel|>final<|message|>"
#define ANALYSIS "<|channel|>analysis<|message|>"
#define TO(name) "<|channel|>commentary to=functions." name " <|constrain|>json<|message|>"
#define NEXT     "<|end|><|start|>assistant"

TEST(chat_parse_harmony_messages)
{
    harmony(ANALYSIS "Easy." NEXT FINAL "It is 3 degrees.<|return|>",
            "[think]Easy.[content]It is 3 degrees.[0]");
    harmony(ANALYSIS "Use it." NEXT TO("read_file") "{\"path\":\"a\"}<|call|>",
            "[think]Use it.[call]read_file[args]{\"path\":\"a\"}[end][1]");
    /* The recipient before the channel; the end of the reply in place of the last mark. */
    harmony(" to=functions.read_file<|channel|>commentary json<|message|>{\"path\": \"a\"}",
            "[call]read_file[args]{\"path\": \"a\"}[end][1]");
    harmony(FINAL " 1 < 2 \n\n", "[content] 1 < 2 \n\n[0]");
    harmony("", "[0]");
    harmony(ANALYSIS NEXT FINAL "x", "[content]x[0]");
    /* Preambles and several calls. */
    harmony("<|channel|>commentary<|message|>I look." NEXT TO(
                "list_tabs") "{}<|call|>"
                             "<|start|>assistant" TO("read_file") "{\"path\": \"b\"}<|call|>",
            "[content]I look.[call]list_tabs[args]{}[end][call]read_file[args]{\"path\": "
            "\"b\"}[end][2]");
    harmony("<|channel|>commentary<|message|>One." NEXT FINAL "Two.", "[content]One.\n\nTwo.[0]");
    harmony(ANALYSIS "a" NEXT ANALYSIS "b", "[think]a\n\nb[0]");
    harmony(FINAL "caf\xc3\xa9 \xff", "[content]caf\xc3\xa9 \xff[0]");
}

TEST(chat_parse_harmony_calls_stand_in_any_channel)
{
    harmony("<|channel|>analysis to=functions.list_tabs<|message|>{}<|call|>",
            "[call]list_tabs[args]{}[end][1]");
    harmony("<|channel|>final to=functions.list_tabs code<|message|>{}",
            "[call]list_tabs[args]{}[end][1]");
    harmony("<|channel|>commentary to=list_tabs<|message|>{}", "[call]list_tabs[args]{}[end][1]");
    harmony("<|channel|>commentary to=functions.nobody<|message|>{}",
            "[call]nobody[args]{}[end][1]");
    /* Tools that nobody offered are what the model says to itself. */
    harmony("<|channel|>analysis to=python code<|message|>1+1<|call|>", "[think]1+1[0]");
    harmony("<|channel|>commentary to=browser.search<|message|>{}", "[think]{}[0]");
    /* Without tools nothing is a call. */
    without_tools(CHAT_HARMONY, TO("list_tabs") "{\"a\": 1}<|call|>", "[content]{\"a\": 1}[0]");
}

TEST(chat_parse_harmony_arguments_are_put_right)
{
    harmony(TO("f") "{\"a\": \"x\ny\"}<|call|>", "[call]f[args]{\"a\": \"x\\ny\"}[mended][1]");
    harmony(TO("f") "{\"a\": [1", "[call]f[args]{\"a\": [1]}[mended][1]");
    harmony(TO("f") "<|call|>", "[call]f[args]{}[mended][1]");
    harmony(TO("f") " \n{} \n<|call|>", "[call]f[args]{}[end][1]");
    harmony(TO("f") "{}}<|call|>", "[call]f[args]{}[mended][1]");
    harmony(TO("f") "ls -l<|call|>", "[call]f[cut][0]");
    harmony(TO("f") "{\"a\": \"x<|call|>", "[call]f[args]{\"a\": \"x[cut][0]");
}

TEST(chat_parse_harmony_missing_marks)
{
    /* no header at all */
    harmony("Hello there.", "[content]Hello there.[0]");
    harmony("Hello\nthere.", "[content]Hello\nthere.[0]");
    harmony("{\"a\": 1}", "[content]{\"a\": 1}[0]");
    /* no <|channel|> */
    harmony("analysis<|message|>a" NEXT "final<|message|>b", "[think]a[content]b[0]");
    harmony("<|message|>b", "[content]b[0]");
    /* no <|message|> */
    harmony("<|channel|>analysis We think." NEXT FINAL "b", "[think]We think.[content]b[0]");
    harmony("<|channel|>analysis\nWe think\nhard." NEXT FINAL "b",
            "[think]We think\nhard.[content]b[0]");
    harmony("<|channel|>commentary to=functions.f json{\"a\": 1}<|call|>",
            "[call]f[args]{\"a\": 1}[end][1]");
    /* no <|end|>, no <|start|> */
    harmony(ANALYSIS "a<|start|>assistant" FINAL "b", "[think]a[content]b[0]");
    harmony(ANALYSIS "a" FINAL "b", "[think]a[content]b[0]");
    harmony(ANALYSIS "a<|end|>" FINAL "b", "[think]a[content]b[0]");
    harmony(ANALYSIS "a<|end|>assistant" FINAL "b", "[think]a[content]b[0]");
    harmony(TO("f") "{\"a\": 1}<|start|>assistant" FINAL "b",
            "[call]f[args]{\"a\": 1}[end][content]b[1]");
    /* marks where none belong */
    harmony(FINAL "a<|constrain|>b<|message|>c", "[content]abc[0]");
    harmony("<|channel|><|channel|>final<|message|>b", "[content]b[0]");
    harmony("<|channel|>final<|end|>", "[0]");
    harmony("<|channel|>thoughts<|message|>b", "[content]b[0]");
    /* a tool's answer and a user's turn that the model imagines */
    harmony(TO("f") "{}<|end|><|start|>functions.f "
                    "to=assistant<|channel|>commentary<|message|>42<|end|>"
                    "<|start|>assistant" FINAL "It is 42.",
            "[call]f[args]{}[end][content]It is 42.[1]");
    harmony(FINAL "a<|end|><|start|>user<|message|>b<|end|>", "[content]a[0]");
}

/* Characters that spell a mark but came in other tokens. */
TEST(chat_parse_harmony_text_that_spells_a_mark_is_text)
{
    struct chat_record r = {.last_kind = -1};
    struct chat_parser *p = chat_parser_open(
        &(struct chat_parser_params){.format = CHAT_HARMONY, .sink = chat_record_put, .ctx = &r});
    chat_parser_mark(p, STR("<|channel|>"));
    chat_parser_put(p, STR("final"));
    chat_parser_mark(p, STR("<|message|>"));
    chat_parser_put(p, STR("The token <|end|> ends a message, "));
    chat_parser_put(p, STR("<|start|>assistant begins one."));
    chat_parser_end(p, true);
    chat_parser_close(p);
    CHECK_STR(buf_view(&r.text),
              STR("[content]The token <|end|> ends a message, <|start|>assistant "
                  "begins one."));
    buf_free(&r.text);
}

TEST(chat_parse_harmony_limits)
{
    limited(CHAT_HARMONY, ANALYSIS "We", "[think]We[0]");
    limited(CHAT_HARMONY, ANALYSIS "We" NEXT "<|channel|>fin", "[think]We[0]");
    limited(CHAT_HARMONY, TO("f") "{\"a\": 1", "[call]f[args]{\"a\": [cut][0]");
    limited(CHAT_HARMONY, TO("f") "{\"a\": 1}", "[call]f[args]{\"a\": 1}[end][1]");
    limited(CHAT_HARMONY, "<|channel|>commentary to=functions.f", "[0]");
}

/* ---- GLM ---- */

static void glm(const char *text, const char *want)
{
    with_tools(CHAT_GLM, text, want);
}

#define ARG(k, v) "<arg_key>" k "</arg_key><arg_value>" v "</arg_value>"

TEST(chat_parse_glm_calls)
{
    glm("I will check.<tool_call>read_file" ARG("path", "a\n") ARG("start", "7") "</tool_call>",
        "[content]I will check.[call]read_file[args]{\"path\": \"a\\n\", \"start\": 7}[end][1]");
    glm("\n<tool_call>read_file\n<arg_key>path</arg_key>\n<arg_value>a</arg_value>\n</tool_call>\n"
        "<tool_call>list_tabs\n</tool_call>",
        "[call]read_file[args]{\"path\": \"a\"}[end][call]list_tabs[args]{}[end][2]");
    glm("<tool_call>list_tabs</tool_call>ok", "[call]list_tabs[args]{}[end][content]ok[1]");
    glm("<tool_call>all" ARG("s", "[1]") ARG("a", "[1, {\"x\": true}]") ARG("o", "{\"k\": null}")
            ARG("b", "true") ARG("n", "1e3") ARG("zz", "x") "</tool_call>",
        "[call]all[args]{\"s\": \"[1]\", \"a\": [1, {\"x\": true}], \"o\": {\"k\": null}, \"b\": "
        "true, "
        "\"n\": 1e3, \"zz\": \"x\"}[end][1]");
    /* JSON and Qwen's tags are understood too */
    glm("<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>", "[call]f[args]{}[end][1]");
    glm("<tool_call><function=list_tabs></function></tool_call>",
        "[call]list_tabs[args]{}[end][1]");
}

TEST(chat_parse_glm_values_may_hold_tags)
{
    glm("<tool_call>all" ARG("s",
                             "</arg_value> x </tool_call> y <arg_key>q</arg_key>") "</tool_call>",
        "[call]all[args]{\"s\": \"</arg_value> x </tool_call> y <arg_key>q</arg_key>\"}[end][1]");
    glm("<tool_call>all" ARG("s",
                             "<tool_call>f" ARG("s", "1") "</tool_call> is how.") "</tool_call>",
        "[call]all[args]{\"s\": \"<tool_call>f<arg_key>s</arg_key><arg_value>1\"}[end]"
        "[content]is how.[1]");
}

TEST(chat_parse_glm_missing_tags)
{
    glm("<tool_call>read_file" ARG("path", "a"), "[call]read_file[args]{\"path\": \"a\"}[end][1]");
    glm("<tool_call>read_file<arg_key>path</arg_key><arg_value>a</tool_call>",
        "[call]read_file[args]{\"path\": \"a\"}[end][1]");
    glm("<tool_call>read_file<arg_key>path</arg_key><arg_value>a<arg_key>start</"
        "arg_key><arg_value>1"
        "</arg_value></tool_call>",
        "[call]read_file[args]{\"path\": \"a\", \"start\": 1}[end][1]");
    glm("<tool_call>read_file<arg_key>path<arg_value>a</arg_value></tool_call>",
        "[call]read_file[args]{\"path\": \"a\"}[end][1]");
    glm("<tool_call>list_tabs", "[call]list_tabs[args]{}[end][1]");
    glm("<tool_call>read_file" ARG("path", "a") "<tool_call>list_tabs</tool_call>",
        "[call]read_file[args]{\"path\": \"a\"}[end][call]list_tabs[args]{}[end][2]");
    glm("<tool_call>write_file" ARG("path", "a") "<arg_key>content</arg_key><arg_value>int",
        "[call]write_file[args]{\"path\": \"a\", \"content\": \"int[cut][0]");
}

TEST(chat_parse_glm_text_stays_text)
{
    glm("```\n<tool_call>list_tabs</tool_call>\n```",
        "[content]```\n<tool_call>list_tabs</tool_call>\n```[0]");
    glm("Write `<tool_call>list_tabs</tool_call>`.",
        "[content]Write `<tool_call>list_tabs</tool_call>`.[0]");
    without_tools(CHAT_GLM, "<tool_call>list_tabs</tool_call>",
                  "[content]<tool_call>list_tabs</tool_call>[0]");
    with_tools(CHAT_QWEN_XML, "a </tool_call> b", "[content]a  b[0]");
}

/* ---- Llama ---- */

static void llama(const char *text, const char *want)
{
    with_tools(CHAT_LLAMA_JSON, text, want);
}

TEST(chat_parse_llama_calls)
{
    llama("{\"name\": \"read_file\", \"parameters\": {\"path\": \"a\"}}",
          "[call]read_file[args]{\"path\": \"a\"}[end][1]");
    llama("<|python_tag|>{\"name\": \"f\", \"parameters\": {}}", "[call]f[args]{}[end][1]");
    llama("{\"name\": \"list_tabs\", \"parameters\": {}}; {\"name\": \"list_tabs\"}",
          "[call]list_tabs[args]{}[end][call]list_tabs[args]{}[end][2]");
    llama("{\"type\": \"function\", \"name\": \"list_tabs\", \"parameters\": {}}",
          "[call]list_tabs[args]{}[end][1]");
    llama("Look: {\"name\": \"list_tabs\", \"parameters\": {}}",
          "[content]Look: {\"name\": \"list_tabs\", \"parameters\": {}}[0]");
    llama("{\"name\": \"Oslo\", \"parameters\": {\"degrees\": 3}}",
          "[content]{\"name\": \"Oslo\", \"parameters\": {\"degrees\": 3}}[0]");
    llama("{\"city\": \"Oslo\"}\n{\"name\": \"list_tabs\"}",
          "[content]{\"city\": \"Oslo\"}\n{\"name\": \"list_tabs\"}[0]");
    without_tools(CHAT_LLAMA_JSON, "{\"name\": \"list_tabs\", \"parameters\": {}}",
                  "[content]{\"name\": \"list_tabs\", \"parameters\": {}}[0]");
}

/* ---- thinking ---- */

TEST(chat_parse_reasoning_that_the_prompt_opened)
{
    static const enum chat_format formats[] = {CHAT_QWEN_XML, CHAT_HERMES_JSON, CHAT_GLM,
                                               CHAT_PLAIN};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        enum chat_format f = formats[i];
        thinking(f, "Hm.\n</think>\n\nYes.", "[think]Hm.[content]Yes.[0]");
        thinking(f, "</think>Yes.", "[content]Yes.[0]");
        thinking(f, "\n\n</think>\n\nYes.", "[content]Yes.[0]");
        /* and the model again */
        thinking(f, "<think>\nHm.</think>Yes.", "[think]Hm.[content]Yes.[0]");
        thinking(f, "Hm", "[think]Hm[0]");
        /* thinking off: the prompt closed it */
        without_tools(f, "Yes.", "[content]Yes.[0]");
        without_tools(f, "</think>\n\nYes.", "[content]Yes.[0]");
        without_tools(f, "<think>\n\n</think>\n\nYes.", "[content]Yes.[0]");
        /* nobody opened it: too late for the text, but the marker goes */
        without_tools(f, "Hm.\n</think>\nYes.", "[content]Hm.\n\nYes.[0]");
        without_tools(f, "`</think>` ends it", "[content]`</think>` ends it[0]");
    }
}

TEST(chat_parse_a_call_in_reasoning_that_never_ends_is_a_call)
{
    thinking(CHAT_GLM, "I look.<tool_call>list_tabs</tool_call>",
             "[think]I look.[call]list_tabs[args]{}[end][1]");
    thinking(CHAT_HERMES_JSON, "Hm\n<tool_call>\n{\"name\": \"f\"}\n</tool_call>",
             "[think]Hm[call]f[args]{}[end][1]");
    thinking(CHAT_QWEN_XML, "Hm\n<function=list_tabs>\n</function>\n</think>\nYes",
             "[think]Hm\n<function=list_tabs>\n</function>[content]Yes[0]");
    thinking(CHAT_QWEN_XML, "Hm\n```\n<tool_call>\n<function=list_tabs>\n</function>",
             "[think]Hm\n```\n<tool_call>\n<function=list_tabs>\n</function>[0]");
    with_tools(CHAT_GLM, "<tool_call>list_tabs</tool_call>\n<think>ok</think>Done.",
               "[call]list_tabs[args]{}[end][think]ok[content]Done.[1]");
}

/* ---- limits ---- */

TEST(chat_parse_what_a_limit_cut_off_does_not_count)
{
#define XML(rest) "<tool_call>\n<function=read_file>\n<parameter=path>\na\n" rest
    limited(CHAT_QWEN_XML, XML(""), "[call]read_file[args]{\"path\": \"a\\n[cut][0]");
    limited(CHAT_QWEN_XML, XML("</parameter>\n"), "[call]read_file[args]{\"path\": \"a\"[cut][0]");
    limited(CHAT_QWEN_XML, XML("</parameter>\n</function>"),
            "[call]read_file[args]{\"path\": \"a\"}[end][1]");
#undef XML
    limited(CHAT_HERMES_JSON, "<tool_call>\n{\"name\": \"f\", \"arg", "[0]");
    limited(CHAT_HERMES_JSON, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}",
            "[call]f[args]{\"a\": 1}[mended][1]");
    limited(CHAT_HERMES_JSON, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1",
            "[call]f[args]{\"a\": [cut][0]");
    limited(CHAT_HERMES_JSON, "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}",
            "[call]f[args]{}[end][1]");
    limited(CHAT_GLM, "a<tool_call>list_tabs", "[content]a[0]");
    limited(CHAT_GLM, "<tool_call>read_file" ARG("path", "a"),
            "[call]read_file[args]{\"path\": \"a\"[cut][0]");
    limited(CHAT_GLM, "<think>Hm<tool_call>list_tabs</tool_call>",
            "[think]Hm<tool_call>list_tabs</tool_call>[0]");
}
