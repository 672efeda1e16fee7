/* Parsing model output: what is text, what is a call, and that no cut of the text matters. */
#include "kit/chat_record.h"
#include "test.h"

static void check(enum chat_format f, bool with_tools, str text, str want)
{
    struct chat_record_tools k = chat_record_open_tools();
    for (size_t piece = 0; piece < 4; piece++) {
        struct buf got = chat_record_parse(f, k.tools, with_tools ? CHAT_RECORD_TOOLS : 0, text,
                                           (struct chat_record_cut){piece, NULL});
        if (!str_eq(buf_view(&got), want))
            test_fail(__FILE__, __LINE__,
                      "pieces of %zu:\n--- text\n%.*s\n--- got\n%.*s\n--- want\n%.*s", piece,
                      STRF(text), STRF(buf_view(&got)), STRF(want));
        buf_free(&got);
    }
    json_free(k.root);
}

static void xml(const char *text, const char *want)
{
    check(CHAT_QWEN_XML, true, str_of(text), str_of(want));
}

static void hermes(const char *text, const char *want)
{
    check(CHAT_HERMES_JSON, true, str_of(text), str_of(want));
}

static void both(const char *text, const char *want)
{
    xml(text, want);
    hermes(text, want);
}

/* ---- text and reasoning ---- */

TEST(chat_parse_text_is_content)
{
    both("", "[0]");
    both("Hello.", "[content]Hello.[0]");
    both("\n Hi \n\n there \n", "[content]\n Hi \n\n there \n[0]");
    both(" \n", "[content] \n[0]");
    both("a < b, <tool, <tool_cal", "[content]a < b, <tool, <tool_cal[0]");
    both("caf\xc3\xa9 \xf0\x9f\x9a\x80 \xff\xc3",
         "[content]caf\xc3\xa9 \xf0\x9f\x9a\x80 \xff\xc3[0]");
}

TEST(chat_parse_reasoning_is_split_off)
{
    both("<think>\nhm \n\nyes\n</think>\n\nAnswer\n", "[think]hm \n\nyes[content]Answer\n[0]");
    both(" \n<think></think>x", "[content]x[0]");
    both("<think>\n\n</think>\n\n", "[0]");
    both("<think>cut </thin", "[think]cut </thin[0]");
    both("<think>cut\n", "[think]cut[0]");
    both("<think>a</thing></think> b", "[think]a</thing>[content] b[0]");
    both("<think>caf\xc3\xa9", "[think]caf\xc3\xa9[0]");
    both("Not <think>at the start", "[content]Not <think>at the start[0]");
    both("<thin", "[content]<thin[0]");
    xml("<think>x<tool_call>\n<function=list_tabs>\n</think>\n<tool_call>\n<function=list_tabs>\n"
        "</function>\n</tool_call>",
        "[think]x<tool_call>\n<function=list_tabs>[call]list_tabs[args]{}[end][1]");
}

TEST(chat_parse_without_tools_nothing_is_a_call)
{
    str call = STR("x\n<tool_call>\n{\"name\": \"read_file\", \"arguments\": {}}\n</tool_call>\n");
    check(
        CHAT_HERMES_JSON, false, call,
        STR("[content]x\n<tool_call>\n{\"name\": \"read_file\", \"arguments\": {}}\n</tool_call>\n"
            "[0]"));
    check(CHAT_QWEN_XML, false, STR("<think>a</think>\n<function=read_file>\n</function>"),
          STR("[think]a[content]<function=read_file>\n</function>[0]"));
}

TEST(chat_parse_fenced_code_holds_no_call)
{
#define CALL "<tool_call>\n<function=list_tabs>\n</function>\n</tool_call>"
    xml("So:\n```xml\n" CALL "\n```\nok", "[content]So:\n```xml\n" CALL "\n```\nok[0]");
    xml("~~~\n" CALL "\n```\n" CALL "\n~~~~ \n" CALL,
        "[content]~~~\n" CALL "\n```\n" CALL "\n~~~~[call]list_tabs[args]{}[end][1]");
    xml("  ````\n```\n" CALL "\n  ````" CALL,
        "[content]  ````\n```\n" CALL "\n  ````[call]list_tabs[args]{}[end][1]");
    xml("```inline``` " CALL, "[content]```inline```[call]list_tabs[args]{}[end][1]");
    xml("a ``` b\n" CALL, "[content]a ``` b[call]list_tabs[args]{}[end][1]");
    xml("``` " CALL, "[content]``` " CALL "[0]");
    hermes("```\n<tool_call>\n{\"name\": \"list_tabs\"}\n</tool_call>\n```\n",
           "[content]```\n<tool_call>\n{\"name\": \"list_tabs\"}\n</tool_call>\n```\n[0]");
#undef CALL
}

TEST(chat_parse_what_only_looks_like_a_call_stays_text)
{
    both("The `<tool_call>` tag.", "[content]The `<tool_call>` tag.[0]");
    check(CHAT_HERMES_JSON, false, STR("<tool_call> is a tag"),
          STR("[content]<tool_call> is a tag[0]"));
    xml("Use <function=read_file>\n</function>", "[content]Use <function=read_file>\n[0]");
    xml("<function=f> is how", "[content]<function=f> is how[0]");
    xml("`<function=>\n`", "[content]`<function=>\n`[0]");
    hermes("<function=read_file>\n</function>", "[content]<function=read_file>\n</function>[0]");
    xml("<function=\n", "[content]<function=\n[0]");
}

/* ---- XML calls ---- */

TEST(chat_parse_xml_calls)
{
    xml("I look.\n\n<tool_call>\n<function=read_file>\n<parameter=path>\nsrc/a "
        "\"b\".c\n</parameter>\n"
        "<parameter=start>\n10\n</parameter>\n</function>\n</tool_call>",
        "[content]I look.[call]read_file[args]{\"path\": \"src/a \\\"b\\\".c\", \"start\": "
        "10}[end][1]");
    xml("<tool_call>\n<function=list_tabs>\n</function>\n</tool_call>\n<tool_call>\n"
        "<function=read_file>\n<parameter=path>\na\n</parameter>\n</function>\n</tool_call>\n",
        "[call]list_tabs[args]{}[end][call]read_file[args]{\"path\": \"a\"}[end][2]");
    xml("A\n<tool_call>\n<function=nobody>\n<parameter=x>\n1\n</parameter>\n</function>\n</"
        "tool_call>\nB\n",
        "[content]A[call]nobody[args]{\"x\": 1}[end][content]\nB\n[1]");
    xml("<tool_call><function=list_tabs></function></tool_call>\n\xc3 \n",
        "[call]list_tabs[args]{}[end][content]\xc3 \n[1]");
    xml("<tool_call><function=list_tabs></function></tool_call>\n\nB",
        "[call]list_tabs[args]{}[end][content]B[1]");
}

TEST(chat_parse_xml_values_lose_one_newline_on_each_side)
{
#define VALUE(v)                                                                                   \
    "<tool_call>\n<function=all>\n<parameter=s>" v "</parameter>\n</function>\n</tool_call>"
    xml(VALUE("\n\n  x\n\n"), "[call]all[args]{\"s\": \"\\n  x\\n\"}[end][1]");
    xml(VALUE("x"), "[call]all[args]{\"s\": \"x\"}[end][1]");
    xml(VALUE("\n"), "[call]all[args]{\"s\": \"\"}[end][1]");
    xml(VALUE("\n\n"), "[call]all[args]{\"s\": \"\"}[end][1]");
    xml(VALUE(""), "[call]all[args]{\"s\": \"\"}[end][1]");
    xml(VALUE("\n\xc3\xa9\xff\xe2\x82\n"),
        "[call]all[args]{\"s\": \"\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"}[end][1]");
}

TEST(chat_parse_xml_closing_tags_inside_values_are_text)
{
    xml(VALUE("\n</parameter>\n"), "[call]all[args]{\"s\": \"</parameter>\"}[end][1]");
    xml(VALUE("\na</parameter> b\n</function> c\n</tool_call>\n<parameter=x>\n"),
        "[call]all[args]{\"s\": \"a</parameter> b\\n</function> c\\n</tool_call>\\n<parameter=x>\"}"
        "[end][1]");
    xml(VALUE("\n<parameter=x>\n</parameter>"),
        "[call]all[args]{\"s\": \"<parameter=x>\\n</parameter>\"}[end][1]");
    xml(VALUE("\nx<parameter=i>\n"), "[call]all[args]{\"s\": \"x<parameter=i>\"}[end][1]");
    /* the tag of a parameter that was given, or that the tool does not have */
    xml("<tool_call>\n<function=write_file>\n<parameter=path>\na\n</"
        "parameter>\n<parameter=content>\n"
        "<parameter=path>\n<parameter=to>\n</parameter>\n</function>\n</tool_call>",
        "[call]write_file[args]{\"path\": \"a\", \"content\": "
        "\"<parameter=path>\\n<parameter=to>\"}"
        "[end][1]");
#undef VALUE
}

TEST(chat_parse_xml_missing_tags)
{
    /* <tool_call> forgotten */
    xml("Ok.\n<function=read_file>\n<parameter=path>\na\n</parameter>\n</function>\n</tool_call>",
        "[content]Ok.[call]read_file[args]{\"path\": \"a\"}[end][1]");
    /* </tool_call>, </function> forgotten */
    xml("<tool_call>\n<function=read_file>\n<parameter=path>\na\n</parameter>\n</function>",
        "[call]read_file[args]{\"path\": \"a\"}[end][1]");
    xml("<tool_call>\n<function=read_file>\n<parameter=path>\na\n</parameter>\n",
        "[call]read_file[args]{\"path\": \"a\"}[end][1]");
    xml("<tool_call>\n<function=read_file>\n<parameter=path>\na\n</parameter>\n<tool_call>\n"
        "<function=list_tabs>\n</function>\n</tool_call>",
        "[call]read_file[args]{\"path\": \"a\"}[end][call]list_tabs[args]{}[end][2]");
    /* </parameter> forgotten */
    xml("<tool_call>\n<function=read_file>\n<parameter=path>\na\n<parameter=start>\n1\n</"
        "parameter>\n"
        "</function>\n</tool_call>",
        "[call]read_file[args]{\"path\": \"a\", \"start\": 1}[end][1]");
    xml("<tool_call>\n<function=read_file>\n<parameter=path>\na\n</function>\n</tool_call>",
        "[call]read_file[args]{\"path\": \"a\"}[end][1]");
    xml("<tool_call>\n<function=read_file>\n<parameter=path>\na\n</function>",
        "[call]read_file[args]{\"path\": \"a\"}[end][1]");
    xml("<tool_call>\n<function=nobody>\n<parameter=p>\na\n<parameter=q>\nb\n",
        "[call]nobody[args]{\"p\": \"a\"[cut][0]");
    /* no end is sure: the first one counts */
    xml("<tool_call>\n<function=read_file>\n<parameter=path>\na\n</parameter>\nI wait for it.",
        "[call]read_file[args]{\"path\": \"a\"}[end][content]I wait for it.[1]");
    xml("<tool_call>\n<function=read_file>\n<parameter=path>\na\n</parameter> b\n</parameter> c",
        "[call]read_file[args]{\"path\": \"a\"}[end][content]b\n c[1]");
    /* twice opened */
    xml("<tool_call>\n<tool_call>\n<function=list_tabs>\n</function>\n</function>\n</tool_call>\n",
        "[call]list_tabs[args]{}[end][1]");
}

TEST(chat_parse_xml_cut_off_calls_stay_open)
{
    xml("<tool_call>\n<function=write_file>\n<parameter=path>\na\n</"
        "parameter>\n<parameter=content>\n"
        "int main",
        "[call]write_file[args]{\"path\": \"a\", \"content\": \"int main[cut][0]");
    xml("<tool_call>\n<function=write_file>\n<parameter=path>\na\n</parameter>\n<parameter=con",
        "[call]write_file[args]{\"path\": \"a\"[cut][0]");
    xml("<tool_call>\n<function=write_file>\n<parameter=path>\na\n</parameter>\n</fun",
        "[call]write_file[args]{\"path\": \"a\"[cut][0]");
    xml("<tool_call>\n<function=list_tabs>\n</func", "[call]list_tabs[args]{}[end][1]");
    xml("<tool_call>\n<function=list_tabs>\n</function>\n</tool_",
        "[call]list_tabs[args]{}[end][1]");
    xml("a\n<tool_call>\n<function=li", "[content]a[0]");
    xml("a\n<tool_call>\n", "[content]a[0]");
    xml("<tool_call>\n<function=all>\n<parameter=i>\n12", "[call]all[args]{[cut][0]");
}

TEST(chat_parse_xml_values_have_the_type_of_the_schema)
{
    static const char *const cases[][3] = {
        {"s", "[1, 2]", "\"[1, 2]\""},
        {"s", "null", "\"null\""},
        {"i", "-7", "-7"},
        {"i", " 7 ", "7"},
        {"i", "123456789012345678901234567890", "123456789012345678901234567890"},
        {"i", "seven", "\"seven\""},
        {"i", "007", "\"007\""},
        {"n", "1.50", "1.50"},
        {"n", "1e+20", "1e+20"},
        {"b", "True", "true"},
        {"b", "false", "false"},
        {"b", "yes", "\"yes\""},
        {"o", "{\"k\": [1, \"x\\n\"]}", "{\"k\": [1, \"x\\n\"]}"},
        {"a", "[\n  1\n]", "[\n  1\n]"},
        {"z", "None", "null"},
        {"i", "None", "null"},
        {"nl", "None", "null"},
        {"sn", "None", "null"},
        {"sn", "null", "null"},
        {"sn", "nul", "\"nul\""},
        {"sn", "12", "\"12\""},
        {"si", "12", "12"},
        {"si", "12 apples", "\"12 apples\""},
        {"si", "[1]", "\"[1]\""},
        {"sa", "[\"a\"]", "[\"a\"]"},
        {"sa", "a", "\"a\""},
        {"sa", "\"a\"", "\"\\\"a\\\"\""},
        {"e", "1", "\"1\""},
        {"in", "3", "3"},
        {"in", "None", "null"},
        {"loop", "x", "\"x\""},
        {"ao", "True", "true"},
        {"unknown", "x", "\"x\""},
        {"unknown", "{\"a\": 1}", "{\"a\": 1}"},
        {"unknown", "true", "true"},
        {"unknown", "null", "\"null\""},
        {"unknown", "True", "\"True\""},
        {"unknown", " 1", "\" 1\""},
        {"we\"ird", "1", "1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf text = {0}, want = {0};
        buf_fmt(&text,
                "<tool_call>\n<function=all>\n<parameter=%s>\n%s\n</parameter>\n</function>\n"
                "</tool_call>",
                cases[i][0], cases[i][1]);
        buf_str(&want, STR("[call]all[args]{"));
        json_quote(str_of(cases[i][0]), &want);
        buf_fmt(&want, ": %s}[end][1]", cases[i][2]);
        xml(text.p, want.p);
        buf_free(&text);
        buf_free(&want);
    }
}

/* ---- Hermes calls ---- */

TEST(chat_parse_hermes_calls)
{
    both("Let me check.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"city\": \"Oslo\"}}\n"
         "</tool_call>\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"n\": 1.50}}\n</tool_call>",
         "[content]Let me check.[call]f[args]{\"city\": \"Oslo\"}[end][call]f[args]{\"n\": "
         "1.50}[end]"
         "[2]");
    /* closing tags and braces inside strings */
    both("<tool_call>\n{\"name\": \"f\", \"arguments\": {\"t\": "
         "\"</tool_call>}\\\"}\\\\\"}}\n</tool_call>",
         "[call]f[args]{\"t\": \"</tool_call>}\\\"}\\\\\"}[end][1]");
    /* arguments as a string, as "parameters", first, missing, null */
    both("<tool_call>{\"name\":\"f\",\"arguments\":\" {\\\"a\\\":1}\"}</tool_call>",
         "[call]f[args]{\"a\":1}[end][1]");
    both("<tool_call>{\"name\":\"f\",\"parameters\":{\"a\":1}}", "[call]f[args]{\"a\":1}[end][1]");
    both("<tool_call>{ \"arguments\" : {\"a\" : [ ] } , \"name\" : \"f\" } ",
         "[call]f[args]{\"a\" : [ ] }[end][1]");
    both("<tool_call>{\"name\":\"f\"}", "[call]f[args]{}[end][1]");
    both("<tool_call>{\"name\":\"f\",\"arguments\":null}\n\nNow.",
         "[call]f[args]{}[end][content]Now.[1]");
}

TEST(chat_parse_json_that_is_no_call_is_content)
{
    both("<tool_call>{\"nam\": \"f\"}</tool_call>", "[content]{\"nam\": \"f\"}[0]");
    both("<tool_call>{\"name\": \"f\", \"arguments\": [1]}</tool_call>",
         "[content]{\"name\": \"f\", \"arguments\": [1]}[0]");
    both("<tool_call>{\"name\": \"f\", \"arguments\": \"x\"}</tool_call>",
         "[content]{\"name\": \"f\", \"arguments\": \"x\"}[0]");
    both("A\n<tool_call>\n{\"name\": \"f\", \"argum", "[content]A\n{\"name\": \"f\", \"argum[0]");
    both("<tool_call>\n{\"a\" 1}\n</tool_call>\n<tool_call>\n{\"name\": \"f\"}\n</tool_call>",
         "[content]{\"a\" 1}[call]f[args]{}[end][1]");
    both("<tool_call>\n{\"name\" \"f\"<tool_call>\n{\"name\": \"f\"}\n</tool_call>",
         "[content]{\"name\" \"f\"[call]f[args]{}[end][1]");
}

/* The text of a Hermes call with these arguments. */
static void hermes_arguments(const char *arguments, const char *want)
{
    struct buf text = {0};
    buf_fmt(&text, "<tool_call>\n{\"name\": \"f\", \"arguments\": %s}\n</tool_call>\nB", arguments);
    both(text.p, want);
    buf_free(&text);
}

TEST(chat_parse_json_arguments_are_put_right_where_one_reading_is_left)
{
    hermes_arguments("{\"a\": \"x\ny\tz\"}", "[call]f[args]{\"a\": \"x\\ny\\tz\"}[mended]"
                                             "[content]B[1]");
    hermes_arguments("{\"re\": \"\\d+\\.\", 'q': 'it\\'s \"so\"'}",
                     "[call]f[args]{\"re\": \"\\\\d+\\\\.\", \"q\": \"it's \\\"so\\\"\"}[mended]"
                     "[content]B[1]");
    hermes_arguments("{a: True, \"b\": [None, False,],}",
                     "[call]f[args]{\"a\": true, \"b\": [null, false]}[mended][content]B[1]");
    hermes_arguments("{\"a\": [1, {\"b\": 2}", "[call]f[args]{\"a\": [1, {\"b\": 2}]}[mended]"
                                               "[content]B[1]");
    hermes_arguments("{\"a\": 1}}", "[call]f[args]{\"a\": 1}[end][content]B[1]");
    hermes_arguments("\"{\\\"a\\\": True}\"", "[call]f[args]{\"a\": true}[mended][content]B[1]");
    both("A\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}\n</tool_call>\n",
         "[content]A[call]f[args]{\"a\": 1}[mended][1]");
    both("<tool_call>{'name': 'f', 'arguments': {'a': 1}}", "[call]f[args]{\"a\": 1}[mended][1]");
    both("<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1}",
         "[call]f[args]{\"a\": 1}[mended][1]");
}

TEST(chat_parse_json_arguments_beyond_repair_cut_the_call_off)
{
    hermes_arguments("{\"a\": \"say \"hi\"\"}", "[call]f[args]{\"a\": \"say \"[cut][content]B[0]");
    hermes_arguments("{\"a\": }", "[call]f[args]{\"a\": [cut][content]B[0]");
    hermes_arguments("{\"a\": \"ls}", "[call]f[args]{\"a\": \"ls}}[cut][content]B[0]");
    both("<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": \"x",
         "[call]f[args]{\"a\": \"x[cut][0]");
    both("<tool_call>{\"name\": \"f\", \"arguments\": {\"a\" 1}}\n</tool_call>\n"
         "<tool_call>{\"name\": \"g\", \"arguments\": {}}",
         "[call]f[args]{\"a\" [cut][call]g[args]{}[end][1]");
}

TEST(chat_parse_json_arguments_stream)
{
    struct chat_record_tools k = chat_record_open_tools();
    struct chat_record r = {.last_kind = -1};
    struct chat_parser *p =
        chat_parser_open(&(struct chat_parser_params){.format = CHAT_HERMES_JSON,
                                                      .tools = k.tools,
                                                      .n_tools = CHAT_RECORD_TOOLS,
                                                      .sink = chat_record_put,
                                                      .ctx = &r});
    chat_parser_put(p, STR("<tool_call>{\"name\": \"f\", \"arguments\":"));
    CHECK_STR(buf_view(&r.text), STR(""));
    chat_parser_put(p, STR(" {"));
    CHECK_STR(buf_view(&r.text), STR("[call]f[args]{"));
    chat_parser_put(p, STR("\"a\": \"one"));
    chat_parser_put(p, STR(" two"));
    CHECK_STR(buf_view(&r.text), STR("[call]f[args]{\"a\": \"one two"));
    chat_parser_end(p, false);
    chat_parser_close(p);
    buf_free(&r.text);
    buf_free(&r.arguments);
    json_free(k.root);
}

/* ---- pieces ---- */

static void check_whole(void *ctx, const struct chat_event *e)
{
    struct buf quoted = {0};
    json_quote(e->text, &quoted);
    CHECK(str_find(buf_view(&quoted), STR("\xef\xbf\xbd"), 0) == SIZE_MAX);
    *(size_t *)ctx += e->text.n;
    buf_free(&quoted);
}

TEST(chat_parse_never_cuts_a_character)
{
    struct chat_record_tools k = chat_record_open_tools();
    str text =
        STR("<think>\xc3\xa9\xe2\x82\xac</think>\xf0\x9f\x9a\x80 \xe2\x82\xac\n<tool_call>\n"
            "<function=all>\n<parameter=s>\n\xf0\x9f\x9a\x80\xc3\xa9\n</parameter>\n</function>\n"
            "</tool_call>");
    for (size_t piece = 1; piece < 8; piece++) {
        size_t n = 0;
        struct chat_parser *p = chat_parser_open(&(struct chat_parser_params){
            CHAT_QWEN_XML, k.tools, CHAT_RECORD_TOOLS, false, 1, check_whole, &n});
        for (size_t at = 0; at < text.n; at += piece)
            chat_parser_put(p, str_sub(text, at, at + piece));
        chat_parser_end(p, true);
        chat_parser_close(p);
        CHECK_INT(n, 5 + 8 + STR("{\"s\": \"\"}").n + 6);
    }
    json_free(k.root);
}

/* Where stop strings are looked for. */
TEST(chat_parser_knows_where_the_answer_is)
{
    static const struct {
        enum chat_format format;
        bool in_reasoning;
        const char *text;
        bool in_answer;
    } cases[] = {
        {CHAT_QWEN_XML, false, "", true},
        {CHAT_QWEN_XML, true, "", false},
        {CHAT_QWEN_XML, true, "so", false},
        {CHAT_QWEN_XML, true, "so</think>", true},
        {CHAT_QWEN_XML, false, "<think>", false},
        {CHAT_QWEN_XML, false, "yes", true},
        {CHAT_QWEN_XML, false, "yes\n<tool_call>\n<function=f>\n<parameter=p>\nv", false},
        {CHAT_QWEN_XML, false,
         "<tool_call>\n<function=f>\n<parameter=p>\nv\n</parameter>\n</function>\n</tool_call>",
         true},
        {CHAT_HERMES_JSON, false, "<tool_call>{\"name\":\"f\",\"arguments\":{\"p\":\"v", false},
        {CHAT_HARMONY, false, "<|channel|>analysis<|message|>so", false},
        {CHAT_HARMONY, false, "<|channel|>fin", false},
        {CHAT_HARMONY, false, "<|channel|>final<|message|>yes", true},
        {CHAT_HARMONY, false, "yes", true},
    };
    const struct chat_tool tool = {.name = STR("f")};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct chat_record r = {.last_kind = -1};
        struct chat_parser *p =
            chat_parser_open(&(struct chat_parser_params){.format = cases[i].format,
                                                          .in_reasoning = cases[i].in_reasoning,
                                                          .tools = &tool,
                                                          .n_tools = 1,
                                                          .sink = chat_record_put,
                                                          .ctx = &r});
        chat_parser_put_marked(p, str_of(cases[i].text));
        if (chat_parser_in_answer(p) != cases[i].in_answer)
            test_fail(__FILE__, __LINE__, "case %zu: %s", i, cases[i].text);
        chat_parser_close(p);
        buf_free(&r.text);
        buf_free(&r.arguments);
    }
}
