/* Request bodies of the OpenAI protocol: what is taken, and what is refused by which name. */
#include "test.h"

#include "server/openai.h"

static const struct sampling defaults = {.temperature = 0.7f, .top_p = 0.8f, .top_k = 20};

static void parse(const char *body, bool chat, struct openai_request *q)
{
    struct openai_error e;
    if (!openai_parse(str_of(body), chat, &defaults, q, &e))
        test_fail(__FILE__, __LINE__, "refused: %s\n    %s", e.message, body);
}

/* The body must be refused with status 400, naming param. */
static void check_refused(const char *body, bool chat, const char *param)
{
    struct openai_request q;
    struct openai_error e;
    if (openai_parse(str_of(body), chat, &defaults, &q, &e))
        test_fail(__FILE__, __LINE__, "taken: %s", body);
    if (e.status != 400 || strcmp(e.param.text, param) != 0)
        test_fail(__FILE__, __LINE__, "%s\n    status %d, param '%s', want 400, '%s': %s", body,
                  e.status, e.param.text, param, e.message);
    if (param[0] && !strstr(e.message, param) && !strstr(e.message, "response_format"))
        test_fail(__FILE__, __LINE__, "'%s' is not named: %s", param, e.message);
}

TEST(openai_parse_takes_a_plain_chat)
{
    struct openai_request q;
    parse("{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"S\"},"
          "{\"role\":\"user\",\"content\":\"hi \\u00e9\"}],\"unknown\":{\"x\":[1]},"
          "\"another_unknown\":3}",
          true, &q);
    CHECK(q.chat && !q.stream && !q.include_usage && q.random_seed && !q.one_call);
    CHECK_INT(q.max_tokens, 0);
    CHECK_INT(q.conversation.n_messages, 2);
    CHECK_INT(q.conversation.messages[0].role, CHAT_SYSTEM);
    CHECK_INT(q.conversation.messages[1].role, CHAT_USER);
    CHECK_STR(q.conversation.messages[1].content, STR("hi \xc3\xa9"));
    CHECK(q.sampling.temperature == 0.7f && q.sampling.top_k == 20);
    openai_request_free(&q);
}

TEST(openai_parse_reads_every_option)
{
    struct openai_request q;
    parse("{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"stream\":true,"
          "\"stream_options\":{\"include_usage\":true},\"max_tokens\":7,"
          "\"max_completion_tokens\":9,\"temperature\":0,\"top_k\":-1,\"top_p\":0.5,\"min_p\":0.1,"
          "\"presence_penalty\":1,\"frequency_penalty\":-1.5,\"repetition_penalty\":1.1,"
          "\"repeat_last_n\":-1,\"seed\":42,\"logit_bias\":{\"5\":-100,\"6\":2.5},"
          "\"stop\":[\"a\",\"bc\"],\"n\":1,\"ignore_eos\":true,\"parallel_tool_calls\":false,"
          "\"logprobs\":true,\"top_logprobs\":3,\"response_format\":{\"type\":\"text\"},"
          "\"user\":\"u\",\"reasoning_effort\":\"low\",\"chat_template_kwargs\":{\"a\":1}}",
          true, &q);
    CHECK(q.stream && q.include_usage && q.ignore_stop && q.one_call && q.want_logprobs);
    CHECK(!q.random_seed);
    CHECK_INT(q.max_tokens, 9);
    CHECK_INT(q.n_top_logprobs, 3);
    CHECK_INT(q.sampling.seed, 42);
    CHECK_INT(q.sampling.top_k, 0);
    CHECK_INT(q.sampling.penalty_last_n, -1);
    CHECK(q.sampling.temperature == 0 && q.sampling.top_p == 0.5f && q.sampling.min_p == 0.1f);
    CHECK(q.sampling.presence_penalty == 1 && q.sampling.frequency_penalty == -1.5f);
    CHECK(q.sampling.repeat_penalty == 1.1f);
    CHECK_INT(q.sampling.n_bias, 2);
    CHECK_INT(q.sampling.bias[0].id, 5);
    CHECK(q.sampling.bias[0].bias == -100 && q.sampling.bias[1].bias == 2.5f);
    CHECK_INT(q.n_stops, 2);
    CHECK_STR(q.stops[1], STR("bc"));
    openai_request_free(&q);
}

TEST(openai_parse_takes_null_as_absent)
{
    struct openai_request q;
    parse("{\"messages\":[{\"role\":\"user\",\"content\":\"x\",\"name\":null}],\"stream\":null,"
          "\"stop\":null,\"tools\":null,\"tool_choice\":null,\"max_tokens\":null,\"seed\":null,"
          "\"temperature\":null,\"response_format\":null,\"stream_options\":null,"
          "\"logit_bias\":null,\"parallel_tool_calls\":null}",
          true, &q);
    CHECK(!q.stream && q.random_seed && q.n_stops == 0 && !q.one_call);
    CHECK(q.sampling.temperature == 0.7f);
    openai_request_free(&q);
}

#define CHAT(rest) "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]," rest "}"
#define TEXT(rest) "{\"prompt\":\"x\"," rest "}"

/* Every known field with every JSON type that is wrong for it. */
TEST(openai_parse_names_fields_of_the_wrong_type)
{
    static const char *const values[] = {"true", "3", "1.5", "\"s\"", "[]", "{}"};
    enum { B = 1, I = 2, F = 4, S = 8, A = 16, O = 32 };
    static const struct {
        const char *name;
        unsigned right;
        int where; /* 1: chat, 2: completions, 3: both */
    } fields[] = {
        {"model", S, 3},
        {"stream", B, 3},
        {"stream_options", O, 3},
        {"max_tokens", I, 3},
        {"max_completion_tokens", I, 3},
        {"temperature", I | F, 3},
        {"top_k", I, 3},
        {"top_p", I | F, 3},
        {"min_p", I | F, 3},
        {"presence_penalty", I | F, 3},
        {"frequency_penalty", I | F, 3},
        {"repetition_penalty", I | F, 3},
        {"repeat_penalty", I | F, 3},
        {"repeat_last_n", I, 3},
        {"seed", I, 3},
        {"logit_bias", O, 3},
        {"stop", S | A, 3},
        {"n", I, 3},
        {"ignore_eos", B, 3},
        {"user", S, 3},
        {"messages", A, 1},
        {"tools", A, 1},
        {"tool_choice", S | O, 1},
        {"parallel_tool_calls", B, 1},
        {"logprobs", B, 1},
        {"top_logprobs", I, 1},
        {"response_format", O, 1},
        {"reasoning_effort", S, 1},
        {"chat_template_kwargs", O, 1},
        {"enable_thinking", B, 1},
        {"thinking", O, 1},
        {"reasoning", O, 1},
        {"return_progress", B, 3},
        {"timings_per_token", B, 3},
        {"prompt", S | A, 2},
        {"logprobs", I, 2},
        {"echo", B, 2},
        {"suffix", S, 2},
        {"best_of", I, 2},
    };
    for (size_t f = 0; f < sizeof fields / sizeof fields[0]; f++)
        for (unsigned v = 0; v < 6; v++)
            for (int chat = 0; chat < 2; chat++) {
                char body[256];
                bool own = !strcmp(fields[f].name, chat ? "messages" : "prompt");
                if (fields[f].right & 1u << v || !(fields[f].where & (chat ? 1 : 2)))
                    continue;
                snprintf(body, sizeof body, "{%s\"%s\":%s}",
                         own    ? ""
                         : chat ? "\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"
                                : "\"prompt\":\"x\",",
                         fields[f].name, values[v]);
                check_refused(body, chat, fields[f].name);
            }
}

TEST(openai_parse_names_nested_fields)
{
    static const struct {
        const char *body, *param;
    } cases[] = {
        {"{}", "messages"},
        {"{\"messages\":[]}", "messages"},
        {"{\"messages\":[3]}", "messages[0]"},
        {"{\"messages\":[null]}", "messages[0].role"},
        {"{\"messages\":[{\"content\":\"x\"}]}", "messages[0].role"},
        {"{\"messages\":[{\"role\":\"robot\",\"content\":\"x\"}]}", "messages[0].role"},
        {"{\"messages\":[{\"role\":4,\"content\":\"x\"}]}", "messages[0].role"},
        {"{\"messages\":[{\"role\":\"user\"}]}", "messages[0].content"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":null}]}", "messages[0].content"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":7}]}", "messages[0].content"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[\"x\"]}]}", "messages[0].content[0]"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[{}]}]}", "messages[0].content[0].type"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":1}]}]}",
         "messages[0].content[0].text"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},"
         "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:\"}}]}]}",
         "messages[0].content[1]"},
        {"{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":{}}]}", "messages[0].tool_calls"},
        {"{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[1]}]}",
         "messages[0].tool_calls[0]"},
        {"{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{}]}]}",
         "messages[0].tool_calls[0].function"},
        {"{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{}}]}]}",
         "messages[0].tool_calls[0].function.name"},
        {"{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\","
         "\"arguments\":[]}}]}]}",
         "messages[0].tool_calls[0].function.arguments"},
        {"{\"messages\":[{\"role\":\"tool\",\"content\":\"x\",\"tool_call_id\":1}]}",
         "messages[0].tool_call_id"},
        {CHAT("\"stream_options\":{\"include_usage\":1}"), "stream_options.include_usage"},
        {CHAT("\"tools\":[7]"), "tools[0]"},
        {CHAT("\"tools\":[{}]"), "tools[0].function"},
        {CHAT("\"tools\":[{\"function\":{}}]"), "tools[0].function.name"},
        {CHAT("\"tools\":[{\"function\":{\"name\":\"f\",\"parameters\":[]}}]"),
         "tools[0].function.parameters"},
        {CHAT("\"tools\":[{\"function\":{\"name\":\"f\",\"description\":[]}}]"),
         "tools[0].function.description"},
        {CHAT("\"tool_choice\":\"maybe\""), "tool_choice"},
        {CHAT("\"tool_choice\":{\"type\":\"function\"}"), "tool_choice.function"},
        {CHAT("\"tool_choice\":{\"function\":{}}"), "tool_choice.function.name"},
        {CHAT("\"tool_choice\":{\"function\":{\"name\":\"g\"}}"), "tool_choice"},
        {CHAT("\"response_format\":{}"), "response_format.type"},
        {CHAT("\"response_format\":{\"type\":\"xml\"}"), "response_format.type"},
        {CHAT("\"response_format\":{\"type\":\"json_schema\"}"), "response_format.json_schema"},
        {CHAT("\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"x\"}}"),
         "response_format.json_schema.schema"},
        {CHAT("\"grammar\":\"root ::= x\""), "grammar"},
        {CHAT("\"grammar\":\"root ::= [a]\",\"response_format\":{\"type\":\"json_object\"}"),
         "grammar"},
        {CHAT("\"tool_choice\":\"required\""), "tool_choice"},
        {CHAT("\"stop\":[1]"), "stop"},
        {CHAT("\"stop\":[\"\"]"), "stop"},
        {CHAT("\"stop\":\"\""), "stop"},
        {CHAT("\"logit_bias\":{\"a\":1}"), "logit_bias"},
        {CHAT("\"logit_bias\":{\"1\":\"x\"}"), "logit_bias"},
        {CHAT("\"logit_bias\":{\"1\":101}"), "logit_bias"},
        {CHAT("\"logit_bias\":{\"-1\":1}"), "logit_bias"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_refused(cases[i].body, true, cases[i].param);
}

TEST(openai_parse_names_values_out_of_range)
{
    static const char *const cases[][2] = {
        {CHAT("\"temperature\":-0.1"), "temperature"},
        {CHAT("\"temperature\":1e300"), "temperature"},
        {CHAT("\"top_p\":1.5"), "top_p"},
        {CHAT("\"n\":2"), "n"},
        {CHAT("\"n\":0"), "n"},
        {CHAT("\"max_tokens\":-2"), "max_tokens"},
        {CHAT("\"max_tokens\":99999999999999999999"), "max_tokens"},
        {CHAT("\"top_logprobs\":21"), "top_logprobs"},
        {CHAT("\"presence_penalty\":3"), "presence_penalty"},
        {CHAT("\"repeat_penalty\":0"), "repeat_penalty"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_refused(cases[i][0], true, cases[i][1]);
    check_refused(TEXT("\"best_of\":2"), false, "best_of");
    check_refused(TEXT("\"echo\":true"), false, "echo");
    check_refused(TEXT("\"suffix\":\"s\""), false, "suffix");
}

TEST(openai_parse_refuses_what_is_no_json_object)
{
    check_refused("", true, "");
    check_refused("{", true, "");
    check_refused("[]", true, "");
    check_refused("{\"messages\":[{\"role\":\"user\",\"content\":\"\xff\"}]}", true, "");
}

TEST(openai_parse_prepares_messages)
{
    struct openai_request q;
    parse("{\"messages\":["
          "{\"role\":\"developer\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},"
          "{\"type\":\"text\",\"text\":\"b\"}]},"
          "{\"role\":\"user\",\"content\":\"\"},"
          "{\"role\":\"assistant\",\"content\":null,\"reasoning_content\":\"hm\",\"tool_calls\":["
          "{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\","
          "\"arguments\":\"{\\\"x\\\": 1}\"}},"
          "{\"id\":\"c2\",\"function\":{\"name\":\"g\",\"arguments\":{\"y\":[1.0]}}},"
          "{\"id\":\"c3\",\"function\":{\"name\":\"h\"}}]},"
          "{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":[{\"type\":\"text\","
          "\"text\":\"ok\"}]},"
          "{\"role\":\"tool\",\"tool_call_id\":\"c2\",\"is_error\":true}],"
          "\"reasoning_effort\":\"high\",\"chat_template_kwargs\":{\"enable_thinking\":false}}",
          true, &q);
    const struct chat_message *m = q.conversation.messages;
    CHECK_INT(q.conversation.n_messages, 5);
    CHECK_INT(m[0].role, CHAT_SYSTEM);
    CHECK_INT(m[0].n_parts, 2);
    CHECK_STR(m[0].parts[0], STR("a"));
    CHECK_STR(m[0].parts[1], STR("b"));
    CHECK_INT(m[2].n_calls, 3);
    CHECK_STR(m[2].content, STR(""));
    CHECK_STR(m[2].reasoning, STR("hm"));
    CHECK_STR(m[2].calls[0].id, STR("c1"));
    CHECK_STR(m[2].calls[0].arguments, STR("{\"x\": 1}"));
    CHECK_STR(m[2].calls[1].name, STR("g"));
    CHECK_STR(m[2].calls[1].arguments, STR("{\"y\":[1.0]}"));
    CHECK_STR(m[2].calls[2].arguments, STR("{}"));
    CHECK_STR(m[3].call_id, STR("c1"));
    CHECK_STR(m[3].content, STR("ok"));
    CHECK_STR(m[4].content, STR(""));
    CHECK(!m[3].failed && m[4].failed);
    CHECK_STR(q.conversation.effort, STR("high"));
    CHECK(json_has(q.conversation.settings, "enable_thinking"));
    openai_request_free(&q);
}

#define TOOLS                                                                                      \
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":"     \
    "\"object\"}}},{\"type\":\"custom\",\"custom\":{}},{\"function\":{\"name\":\"g\"}}]"

TEST(openai_parse_offers_tools)
{
    struct openai_request q;
    parse(CHAT(TOOLS), true, &q);
    CHECK_INT(q.conversation.n_tools, 2);
    CHECK_STR(q.conversation.tools[0].name, STR("f"));
    CHECK(q.conversation.tools[0].parameters != NULL);
    CHECK_STR(q.conversation.tools[1].name, STR("g"));
    CHECK(q.conversation.tools[1].parameters == NULL);
    CHECK(strstr(q.notice, "tools[1]") != NULL);
    openai_request_free(&q);
    parse(CHAT(TOOLS ",\"tool_choice\":\"none\""), true, &q);
    CHECK_INT(q.conversation.n_tools, 0);
    openai_request_free(&q);
    parse(CHAT(TOOLS ",\"tool_choice\":\"required\""), true, &q);
    CHECK_INT(q.conversation.n_tools, 2);
    CHECK(q.calls == OPENAI_MUST_CALL && q.only_tool == NULL);
    openai_request_free(&q);
    parse(CHAT(TOOLS ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"g\"}}"),
          true, &q);
    CHECK_INT(q.conversation.n_tools, 2);
    CHECK(q.calls == OPENAI_MUST_CALL && q.only_tool == &q.conversation.tools[1]);
    openai_request_free(&q);
}

TEST(openai_parse_reads_the_shape_of_the_content)
{
    struct openai_request q;
    parse(CHAT("\"response_format\":{\"type\":\"json_object\"}"), true, &q);
    CHECK_INT(q.content, OPENAI_OBJECT);
    openai_request_free(&q);
    parse(CHAT("\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\","
               "\"strict\":true,\"schema\":{\"type\":\"integer\"}}}"),
          true, &q);
    CHECK_INT(q.content, OPENAI_SCHEMA);
    CHECK_STR(json_str(json_get(q.schema, "type")), STR("integer"));
    openai_request_free(&q);
    parse(CHAT("\"grammar\":\"root ::= [ab]+\""), true, &q);
    CHECK_INT(q.content, OPENAI_GRAMMAR);
    CHECK_STR(q.grammar, STR("root ::= [ab]+"));
    openai_request_free(&q);
    parse("{\"prompt\":\"x\",\"json_schema\":{\"type\":\"null\"}}", false, &q);
    CHECK_INT(q.content, OPENAI_SCHEMA);
    openai_request_free(&q);
}

TEST(openai_parse_takes_prompts_of_all_shapes)
{
    struct openai_request q;
    parse("{\"prompt\":\"abc\",\"logprobs\":0}", false, &q);
    CHECK_STR(q.prompt, STR("abc"));
    CHECK(q.prompt_ids == NULL && q.want_logprobs && q.n_top_logprobs == 0);
    openai_request_free(&q);
    parse("{\"prompt\":[\"abc\"]}", false, &q);
    CHECK_STR(q.prompt, STR("abc"));
    CHECK(!q.want_logprobs);
    openai_request_free(&q);
    parse("{\"prompt\":[1,2,3]}", false, &q);
    CHECK_INT(q.n_prompt_ids, 3);
    CHECK_INT(q.prompt_ids[2], 3);
    openai_request_free(&q);
    parse("{\"prompt\":[[7]]}", false, &q);
    CHECK_INT(q.n_prompt_ids, 1);
    openai_request_free(&q);
    static const char *const bad[] = {"[]",   "[\"a\",\"b\"]", "[[1],[2]]", "[1,\"a\"]",
                                      "[[]]", "[-1]",          "[1.5]",     "[4294967296]",
                                      "[{}]", "[[\"a\"]]",     "[null]",    "[true]"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char body[64];
        snprintf(body, sizeof body, "{\"prompt\":%s}", bad[i]);
        check_refused(body, false, "prompt");
    }
}

TEST(openai_errors_have_the_shape_clients_match)
{
    struct openai_error e;
    struct buf out = {0};
    openai_overflow(&e, "messages", 140001, 131072);
    openai_error_body(&e, &out);
    CHECK_STR(buf_view(&out),
              STR("{\"error\":{\"message\":\"prompt is too long: 140001 tokens > 131072 maximum. "
                  "This model's maximum context length is 131072 tokens.\","
                  "\"type\":\"invalid_request_error\",\"param\":\"messages\","
                  "\"code\":\"context_length_exceeded\",\"n_prompt_tokens\":140001,"
                  "\"n_ctx\":131072}}"));
    openai_overflow(&e, "messages", 4096, 4096);
    CHECK(strstr(e.message, "4096 tokens > 4095 maximum."));
    buf_clear(&out);
    openai_fail(&e, 500, NULL, "a \"b\"");
    openai_error_body(&e, &out);
    CHECK_STR(buf_view(&out), STR("{\"error\":{\"message\":\"a \\\"b\\\"\","
                                  "\"type\":\"server_error\",\"param\":null,\"code\":null}}"));
    buf_free(&out);
}

/* Every client has its own switch. */
TEST(openai_parse_knows_the_switches_of_reasoning)
{
    static const struct {
        const char *fields, *effort;
        bool think;
    } cases[] = {
        {"\"enable_thinking\":false", "none", false},
        {"\"enable_thinking\":true", "", true},
        {"\"thinking\":{\"type\":\"disabled\"}", "none", false},
        {"\"thinking\":{\"type\":\"enabled\"}", "", true},
        {"\"thinking\":{\"type\":\"adaptive\"}", "", false},
        {"\"reasoning\":{\"effort\":\"high\"}", "high", false},
        {"\"reasoning\":{\"enabled\":false}", "none", false},
        {"\"reasoning_effort\":\"low\",\"reasoning\":{\"effort\":\"high\"}", "low", false},
        {"\"reasoning_effort\":\"low\",\"enable_thinking\":true", "low", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct openai_request q;
        char body[256];
        snprintf(body, sizeof body, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],%s}",
                 cases[i].fields);
        parse(body, true, &q);
        CHECK_STR(q.conversation.effort, str_of(cases[i].effort));
        CHECK(q.conversation.think == cases[i].think);
        openai_request_free(&q);
    }
}
