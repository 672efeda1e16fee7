/* Ollama's protocol: what becomes of its request bodies, and the lines that a reply is made of. */
#include "test.h"

#include "server/ollama.h"

static const struct sampling defaults = {.temperature = 0.7f, .top_p = 0.8f, .top_k = 20};

static void parse(const char *body, bool generate, struct ollama_request *q)
{
    struct openai_error e;
    if (!ollama_parse(str_of(body), generate, &defaults, q, &e))
        test_fail(__FILE__, __LINE__, "refused: %s\n    %s", e.message, body);
}

TEST(ollama_request_has_options_in_their_own_object)
{
    struct ollama_request q;
    parse(
        "{\"model\":\"m\",\"stream\":false,\"keep_alive\":\"5m\",\"messages\":[{\"role\":\"user\","
        "\"content\":\"hi\"}],\"options\":{\"temperature\":0,\"num_predict\":7,\"seed\":3,"
        "\"top_k\":-1,\"stop\":[\"x\",\"yy\"],\"num_ctx\":99,\"mirostat\":1}}",
        false, &q);
    CHECK(!q.base.stream && !q.idle && !q.unload && !q.base.random_seed && q.base.chat);
    CHECK_INT(q.base.max_tokens, 7);
    CHECK_INT(q.base.sampling.seed, 3);
    CHECK_INT(q.base.sampling.top_k, 0);
    CHECK(q.base.sampling.temperature == 0 && q.base.sampling.top_p == 0.8f);
    CHECK_INT(q.base.n_stops, 2);
    CHECK_STR(q.base.stops[1], STR("yy"));
    ollama_request_free(&q);
    parse("{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}", false, &q);
    CHECK(q.base.stream && q.base.random_seed);
    ollama_request_free(&q);
}

/* Results have no ids in older clients: by the tool's name, else in order. */
TEST(ollama_results_answer_the_calls_before_them)
{
    struct ollama_request q;
    parse("{\"messages\":[{\"role\":\"user\",\"content\":\"go\"},"
          "{\"role\":\"assistant\",\"thinking\":\"hm\",\"tool_calls\":["
          "{\"function\":{\"name\":\"a\",\"arguments\":{\"z\":1, \"b\":\"2\"}}},"
          "{\"function\":{\"name\":\"b\"}},{\"id\":\"own\",\"function\":{\"name\":\"a\"}}]},"
          "{\"role\":\"tool\",\"tool_name\":\"b\",\"content\":\"1\"},"
          "{\"role\":\"tool\",\"content\":\"2\"},"
          "{\"role\":\"tool\",\"tool_call_id\":\"own\",\"content\":\"3\"}]}",
          false, &q);
    const struct chat_message *m = q.base.conversation.messages;
    CHECK_INT(q.base.conversation.n_messages, 5);
    CHECK_STR(m[1].reasoning, STR("hm"));
    CHECK_STR(m[1].calls[0].arguments, STR("{\"z\":1,\"b\":\"2\"}"));
    CHECK_STR(m[1].calls[1].arguments, STR("{}"));
    CHECK_STR(m[2].call_id, m[1].calls[1].id);
    CHECK_STR(m[3].call_id, m[1].calls[0].id);
    CHECK_STR(m[4].call_id, STR("own"));
    ollama_request_free(&q);
}

TEST(ollama_think_and_format_are_those_of_the_others)
{
    static const struct {
        const char *fields;
        bool think;
        const char *effort;
        enum openai_content content;
    } cases[] = {
        {"\"think\":true", true, "", OPENAI_FREE},
        {"\"think\":false", false, "none", OPENAI_FREE},
        {"\"think\":\"low\",\"format\":\"json\"", false, "low", OPENAI_OBJECT},
        {"\"format\":{\"type\":\"object\"}", false, "", OPENAI_SCHEMA},
        {"\"format\":\"\",\"think\":null", false, "", OPENAI_FREE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ollama_request q;
        char body[200];
        snprintf(body, sizeof body, "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],%s}",
                 cases[i].fields);
        parse(body, false, &q);
        CHECK(q.base.conversation.think == cases[i].think && q.base.content == cases[i].content);
        CHECK_STR(q.base.conversation.effort, str_of(cases[i].effort));
        ollama_request_free(&q);
    }
}

TEST(ollama_generate_is_a_message_or_with_raw_the_text_itself)
{
    struct ollama_request q;
    parse("{\"prompt\":\"p\",\"system\":\"s\"}", true, &q);
    CHECK(q.base.chat && !q.idle);
    CHECK_INT(q.base.conversation.n_messages, 2);
    CHECK_STR(q.base.conversation.messages[0].content, STR("s"));
    ollama_request_free(&q);
    parse("{\"prompt\":\"p\",\"raw\":true}", true, &q);
    CHECK(!q.base.chat);
    CHECK_STR(q.base.prompt, STR("p"));
    ollama_request_free(&q);
    parse("{\"keep_alive\":\"0s\"}", true, &q);
    CHECK(q.idle && q.unload);
    ollama_request_free(&q);
    parse("{\"messages\":[],\"keep_alive\":-1}", false, &q);
    CHECK(q.idle && !q.unload);
    ollama_request_free(&q);
}

TEST(ollama_refusals_name_the_field)
{
    static const struct {
        const char *body, *text;
        bool generate;
    } cases[] = {
        {"[]", "the body must be a JSON object", false},
        {"{", "the body is not JSON", false},
        {"{\"messages\":[{\"role\":\"owl\"}]}", "messages[0].role", false},
        {"{\"messages\":[{\"role\":\"user\",\"images\":[\"aa\"]}]}", "messages[0].images", false},
        {"{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{}]}]}",
         "messages[0].tool_calls[0].function", false},
        {"{\"format\":\"xml\"}", "'format' is 'xml'", false},
        {"{\"options\":{\"top_p\":2}}", "options.top_p", false},
        {"{\"options\":{\"stop\":[\"\"]}}", "options.stop[0]", false},
        {"{\"think\":7}", "'think'", false},
        {"{\"prompt\":\"a\",\"suffix\":\"b\"}", "'suffix'", true},
        {"{\"prompt\":7}", "'prompt'", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ollama_request q;
        struct openai_error e;
        if (ollama_parse(str_of(cases[i].body), cases[i].generate, &defaults, &q, &e))
            test_fail(__FILE__, __LINE__, "taken: %s", cases[i].body);
        if (e.status != 400 || !strstr(e.message, cases[i].text))
            test_fail(__FILE__, __LINE__, "%s\n    %d %s", cases[i].body, e.status, e.message);
    }
}

static const char golden_stream[] =
    "{\"model\":\"m\",\"created_at\":\"1970-01-02T00:00:00Z\",\"message\":{\"role\":\"assistant\","
    "\"content\":\"\",\"thinking\":\"hm\"},\"done\":false}\n"
    "{\"model\":\"m\",\"created_at\":\"1970-01-02T00:00:00Z\",\"message\":{\"role\":\"assistant\","
    "\"content\":\"a\\n\"},\"done\":false}\n"
    "{\"model\":\"m\",\"created_at\":\"1970-01-02T00:00:00Z\",\"message\":{\"role\":\"assistant\","
    "\"content\":\"\",\"tool_calls\":[{\"id\":\"c1\",\"function\":{\"index\":0,\"name\":\"f\","
    "\"arguments\":{\"x\":1}}}]},\"done\":false}\n"
    "{\"model\":\"m\",\"created_at\":\"1970-01-02T00:00:00Z\",\"message\":{\"role\":\"assistant\","
    "\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"total_duration\":900,"
    "\"load_duration\":0,\"prompt_eval_count\":5,\"prompt_eval_duration\":300,\"eval_count\":2,"
    "\"eval_duration\":400}\n";

TEST(ollama_stream_is_lines_with_whole_calls)
{
    struct ollama_request q = {0};
    struct ollama_reply r = {.request = &q, .model = STR("m"), .created = 86400, .start_ns = 100};
    struct openai_usage u = {.n_prompt = 5, .n_generated = 2, .prompt_ns = 300, .reply_ns = 400};
    struct buf out = {0};
    const struct chat_event events[] = {
        {.kind = CHAT_REASONING, .text = STR("hm")},
        {.kind = CHAT_CONTENT, .text = STR("a\n")},
        {.kind = CHAT_CALL_BEGIN, .id = STR("c1"), .name = STR("f")},
        {.kind = CHAT_CALL_ARGUMENTS, .text = STR("{\"x\"")},
        {.kind = CHAT_CALL_ARGUMENTS, .text = STR(":1}")},
        {.kind = CHAT_CALL_END},
    };
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        ollama_line_event(&r, &events[i], &out);
    ollama_line_done(&r, "tool_calls", &u, STR(""), 1000, &out);
    CHECK_STR(buf_view(&out), STR(golden_stream));
    buf_free(&out);
    ollama_reply_free(&r);
}

/* A call's arguments are an object here: half of one cannot be told, and nobody may run it. */
TEST(ollama_leaves_out_calls_that_were_cut_off)
{
    struct ollama_request q = {0};
    struct ollama_reply r = {.request = &q, .model = STR("m")};
    struct openai_usage u = {0};
    struct buf out = {0};
    const struct chat_event events[] = {
        {.kind = CHAT_CALL_BEGIN, .id = STR("c1"), .name = STR("f")},
        {.kind = CHAT_CALL_ARGUMENTS, .text = STR("{\"x\"")},
        {.kind = CHAT_CALL_END, .flaw = CHAT_CUT},
    };
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        ollama_line_event(&r, &events[i], &out);
    CHECK_INT(out.n, 0);
    ollama_line_done(&r, "tool_calls", &u, STR(""), 0, &out);
    CHECK(strstr(out.p, "\"done_reason\":\"length\""));
    buf_clear(&out);
    struct chat_call calls[] = {{STR("c1"), STR("f"), STR("{\"x\"")},
                                {STR("c2"), STR("g"), STR("{}")}};
    struct openai_reply reply = {.calls = calls, .n_calls = 2, .finish = "tool_calls"};
    ollama_reply_body(&r, &reply, STR("w"), 0, &out);
    CHECK(!strstr(out.p, "c1") && strstr(out.p, "\"index\":0,\"name\":\"g\",\"arguments\":{}"));
    CHECK(strstr(out.p, "\"done_reason\":\"stop\"") && strstr(out.p, "\"warnings\":[\"w\"]"));
    buf_free(&out);
    ollama_reply_free(&r);
}
