/* Request bodies of the Responses API: what becomes of items and tools, and what is refused by
 * which name. */
#include "test.h"

#include "server/opaque.h"
#include "server/responses.h"

static const struct sampling defaults = {.temperature = 0.7f, .top_p = 0.8f, .top_k = 20};

static void parse(struct responses_store *store, const char *body, struct responses_request *q)
{
    struct openai_error e;
    if (!responses_parse(str_of(body), &defaults, store, q, &e))
        test_fail(__FILE__, __LINE__, "refused: %s\n    %s", e.message, body);
}

static void check_refused(struct responses_store *store, const char *body, int status,
                          const char *param)
{
    struct responses_request q;
    struct openai_error e;
    if (responses_parse(str_of(body), &defaults, store, &q, &e))
        test_fail(__FILE__, __LINE__, "taken: %s", body);
    if (e.status != status || strcmp(e.param.text, param) != 0)
        test_fail(__FILE__, __LINE__, "%s\n    status %d, param '%s', want %d, '%s': %s", body,
                  e.status, e.param.text, status, param, e.message);
}

/* The conversation as one line a message: role, reasoning, content or parts, calls. */
static void describe(const struct responses_request *q, struct buf *out)
{
    static const char *const roles[] = {"system", "user", "assistant", "tool"};
    const struct chat_request *c = &q->base.conversation;
    for (size_t i = 0; i < c->n_messages; i++) {
        const struct chat_message *m = &c->messages[i];
        buf_fmt(out, "%s", roles[m->role]);
        if (m->call_id.n)
            buf_fmt(out, " of %.*s", STRF(m->call_id));
        if (m->failed)
            buf_str(out, STR(" failed"));
        if (m->reasoning.n)
            buf_fmt(out, " <%.*s>", STRF(m->reasoning));
        if (m->content.n)
            buf_fmt(out, " %.*s", STRF(m->content));
        for (size_t k = 0; k < m->n_parts; k++)
            buf_fmt(out, " [%.*s]", STRF(m->parts[k]));
        for (size_t k = 0; k < m->n_calls; k++)
            buf_fmt(out, " %.*s:%.*s(%.*s)", STRF(m->calls[k].id), STRF(m->calls[k].name),
                    STRF(m->calls[k].arguments));
        buf_byte(out, '\n');
    }
}

static void check_conversation(struct responses_store *store, const char *body, const char *want)
{
    struct responses_request q;
    struct buf got = {0};
    parse(store, body, &q);
    describe(&q, &got);
    CHECK_STR(buf_view(&got), str_of(want));
    buf_free(&got);
    responses_request_free(&q);
}

TEST(responses_parse_takes_text_and_instructions)
{
    struct responses_request q;
    parse(NULL,
          "{\"model\":\"m\",\"input\":\"hi\",\"instructions\":\"be brief\",\"unknown\":1,"
          "\"max_output_tokens\":9,\"temperature\":0,\"parallel_tool_calls\":false,"
          "\"reasoning\":{\"effort\":\"low\",\"summary\":\"auto\"},\"stream\":true,"
          "\"store\":false,\"stop\":\"x\",\"prompt_cache_key\":\"k\",\"client_metadata\":{}}",
          &q);
    CHECK(q.base.chat && q.base.stream && q.base.one_call && q.summarise && !q.store);
    CHECK_INT(q.base.max_tokens, 9);
    CHECK_INT(q.base.n_stops, 1);
    CHECK(q.base.sampling.temperature == 0 && q.base.sampling.top_k == 20);
    CHECK_STR(q.base.conversation.effort, STR("low"));
    CHECK(q.base.random_seed);
    responses_request_free(&q);
    check_conversation(NULL, "{\"input\":\"hi\",\"instructions\":\"be brief\"}",
                       "system be brief\nuser hi\n");
    check_conversation(NULL, "{\"input\":[{\"role\":\"user\",\"content\":\"no type\"}]}",
                       "user no type\n");
}

/* As Codex sends it: developers first and in the middle, reasoning, calls that ran side by side. */
TEST(responses_parse_makes_turns_of_items)
{
    struct buf opaque = {0}, body = {0};
    opaque_put(STR("A"), STR("hm\n"), &opaque);
    buf_fmt(&body,
            "{\"input\":["
            "{\"type\":\"message\",\"id\":\"msg_x\",\"role\":\"developer\",\"content\":["
            "{\"type\":\"input_text\",\"text\":\"one\"},{\"type\":\"input_text\",\"text\":"
            "\"two\"}]},"
            "{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":\"input_text\","
            "\"text\":\"go\"}]},"
            "{\"type\":\"reasoning\",\"id\":\"rs\",\"summary\":[],\"encrypted_content\":\"%s\"},"
            "{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\","
            "\"text\":\"I look\"}]},"
            "{\"type\":\"function_call\",\"call_id\":\"c1\",\"name\":\"shell\",\"arguments\":"
            "\"{\\\"x\\\":1}\"},"
            "{\"type\":\"function_call\",\"call_id\":\"c2\",\"name\":\"close\",\"namespace\":"
            "\"multi\",\"arguments\":\"{}\"},"
            "{\"type\":\"function_call_output\",\"call_id\":\"c1\",\"output\":\"done\"},"
            "{\"type\":\"function_call_output\",\"call_id\":\"c2\",\"output\":[{\"type\":"
            "\"input_text\",\"text\":\"a\"},{\"type\":\"input_image\",\"image_url\":\"data:\"}]},"
            "{\"type\":\"custom_tool_call\",\"call_id\":\"c3\",\"name\":\"apply_patch\","
            "\"input\":\"*** Begin\\n\"},"
            "{\"type\":\"custom_tool_call_output\",\"call_id\":\"c3\",\"output\":{\"content\":"
            "\"no\",\"success\":false}},"
            "{\"type\":\"message\",\"role\":\"developer\",\"content\":\"later\"},"
            "{\"type\":\"message\",\"role\":\"user\",\"content\":\"and?\"}]}",
            opaque.p);
    check_conversation(NULL, body.p,
                       "system [one] [two]\n"
                       "user go\n"
                       "assistant <hm\n> I look c1:shell({\"x\":1}) c2:multi__close({})\n"
                       "tool of c1 done\n"
                       "tool of c2 [a] [[input_image: not shown, this model reads text only]]\n"
                       "assistant c3:apply_patch({\"input\":\"*** Begin\\n\"})\n"
                       "tool of c3 failed no\n"
                       "system later\n"
                       "user and?\n");
    buf_free(&opaque);
    buf_free(&body);
}

/* One reply may reason twice and speak after its calls; two replies in a row stay two. */
TEST(responses_parse_tells_turns_apart)
{
    struct buf a1 = {0}, a2 = {0}, b = {0}, body = {0};
    opaque_put(STR("A"), STR("a1"), &a1);
    opaque_put(STR("A"), STR("a2"), &a2);
    opaque_put(STR("B"), STR("b"), &b);
    buf_fmt(&body,
            "{\"input\":["
            "{\"role\":\"user\",\"content\":\"x\"},"
            "{\"type\":\"reasoning\",\"encrypted_content\":\"%s\"},"
            "{\"role\":\"assistant\",\"content\":\"one \"},"
            "{\"type\":\"reasoning\",\"encrypted_content\":\"%s\"},"
            "{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"f\"},"
            "{\"role\":\"assistant\",\"content\":\"two\"},"
            "{\"type\":\"reasoning\",\"encrypted_content\":\"%s\"},"
            "{\"role\":\"assistant\",\"content\":\"three\"},"
            "{\"role\":\"assistant\",\"content\":\"four\"},"
            "{\"type\":\"reasoning\",\"encrypted_content\":\"gAAAA of somebody else\","
            "\"summary\":[{\"type\":\"summary_text\",\"text\":\"s\"}]},"
            "{\"role\":\"assistant\",\"content\":\"five\"},"
            "{\"type\":\"reasoning\",\"content\":[{\"type\":\"reasoning_text\",\"text\":\"r\"}]},"
            "{\"role\":\"assistant\",\"content\":\"six\"}]}",
            a1.p, a2.p, b.p);
    check_conversation(NULL, body.p,
                       "user x\n"
                       "assistant <a1a2> one two c:f({})\n"
                       "assistant <b> three\n"
                       "assistant four\n"
                       "assistant five\n"
                       "assistant <r> six\n");
    buf_free(&a1);
    buf_free(&a2);
    buf_free(&b);
    buf_free(&body);
}

static void check_specs(const char *tools, const char *want)
{
    struct responses_request q;
    struct buf body = {0}, got = {0};
    buf_fmt(&body, "{\"input\":\"x\",\"tools\":%s}", tools);
    parse(NULL, body.p, &q);
    CHECK_INT(q.n_tools, q.base.conversation.n_tools);
    for (size_t i = 0; i < q.n_tools; i++) {
        CHECK_STR(q.base.conversation.tools[i].name, q.tools[i].flat);
        json_print(q.base.conversation.tools[i].spec, JSON_COMPACT, &got);
        buf_fmt(&got, " %.*s/%.*s%s\n", STRF(q.tools[i].space), STRF(q.tools[i].name),
                q.tools[i].custom ? " custom" : "");
    }
    if (q.base.notice[0])
        buf_str(&got, str_of(q.base.notice));
    CHECK_STR(buf_view(&got), str_of(want));
    buf_free(&body);
    buf_free(&got);
    responses_request_free(&q);
}

TEST(responses_parse_offers_functions_custom_tools_and_namespaces)
{
    check_specs("[{\"type\":\"function\",\"name\":\"f\",\"description\":\"d\",\"strict\":false,"
                "\"parameters\":{\"type\":\"object\",\"properties\":{}}},"
                "{\"type\":\"function\",\"name\":\"g\",\"strict\":true,\"parameters\":null},"
                "{\"type\":\"web_search\",\"external_web_access\":false},"
                "{\"type\":\"local_shell\"},"
                "{\"type\":\"function\",\"name\":\"f\",\"description\":\"again\"}]",
                "{\"name\":\"f\",\"description\":\"d\",\"parameters\":{\"type\":\"object\","
                "\"properties\":{}}} /f\n"
                "{\"name\":\"g\",\"strict\":true} /g\n"
                "not offered to the model, tools of type web_search, local_shell");
    check_specs("[{\"type\":\"custom\",\"name\":\"apply_patch\",\"description\":\"Edits.\","
                "\"format\":{\"type\":\"grammar\",\"syntax\":\"lark\",\"definition\":"
                "\"start: \\\"a\\\"\"}},"
                "{\"type\":\"custom\",\"name\":\"n\",\"format\":{\"type\":\"grammar\",\"syntax\":"
                "\"regex\",\"definition\":\"[0-9]+\"}},"
                "{\"type\":\"custom\",\"name\":\"t\",\"format\":{\"type\":\"text\"}}]",
                "{\"name\":\"apply_patch\",\"description\":\"Edits.\\n\\nThe input follows this "
                "grammar (lark):\\nstart: \\\"a\\\"\",\"parameters\":{\"type\":\"object\","
                "\"properties\":{\"input\":{\"type\":\"string\"}},\"required\":[\"input\"],"
                "\"additionalProperties\":false}} /apply_patch custom\n"
                "{\"name\":\"n\",\"description\":\"The input follows this grammar (regex):\\n"
                "[0-9]+\",\"parameters\":{\"type\":\"object\",\"properties\":{\"input\":{\"type\":"
                "\"string\",\"pattern\":\"^(?:[0-9]+)$\"}},\"required\":[\"input\"],"
                "\"additionalProperties\":false}} /n custom\n"
                "{\"name\":\"t\",\"description\":\"\",\"parameters\":{\"type\":\"object\","
                "\"properties\":{\"input\":{\"type\":\"string\"}},\"required\":[\"input\"],"
                "\"additionalProperties\":false}} /t custom\n");
    check_specs("[{\"type\":\"namespace\",\"name\":\"agents\",\"description\":\"Sub-agents.\","
                "\"tools\":[{\"type\":\"function\",\"name\":\"close\",\"description\":\"c\"},"
                "{\"type\":\"custom\",\"name\":\"say\",\"description\":\"s\"}]},"
                "{\"type\":\"namespace\",\"name\":\"mcp__git__\",\"tools\":[{\"type\":"
                "\"function\",\"name\":\"log\"}]}]",
                "{\"name\":\"agents__close\",\"description\":\"agents: Sub-agents.\\n\\nc\"} "
                "agents/close\n"
                "{\"name\":\"agents__say\",\"description\":\"s\",\"parameters\":{\"type\":"
                "\"object\",\"properties\":{\"input\":{\"type\":\"string\"}},\"required\":["
                "\"input\"],\"additionalProperties\":false}} agents/say custom\n"
                "{\"name\":\"mcp__git__log\"} mcp__git__/log\n");
}

TEST(responses_parse_takes_tools_from_items_and_leaves_others_out)
{
    struct responses_request q;
    parse(NULL,
          "{\"input\":[{\"type\":\"additional_tools\",\"role\":\"developer\",\"tools\":[{\"type\":"
          "\"function\",\"name\":\"late\"}]},{\"type\":\"web_search_call\",\"id\":\"ws\"},"
          "{\"type\":\"novelty\"},{\"role\":\"user\",\"content\":\"x\"}]}",
          &q);
    CHECK_INT(q.n_tools, 1);
    CHECK_STR(q.tools[0].flat, STR("late"));
    CHECK_INT(q.base.conversation.n_messages, 1);
    CHECK(strstr(q.base.notice, "left out, 2 items") && strstr(q.base.notice, "web_search_call"));
    responses_request_free(&q);
}

#define TOOLS                                                                                      \
    "\"tools\":[{\"type\":\"function\",\"name\":\"f\"},{\"type\":\"custom\",\"name\":\"c\"},"      \
    "{\"type\":\"namespace\",\"name\":\"n\",\"tools\":[{\"type\":\"function\",\"name\":\"g\"}]}]"

TEST(responses_parse_reads_tool_choice)
{
    static const struct {
        const char *choice;
        enum openai_calls calls;
        size_t n_tools;
        const char *only;
    } cases[] = {
        {"\"auto\"", OPENAI_MAY_CALL, 3, NULL},
        {"\"none\"", OPENAI_MAY_CALL, 0, NULL},
        {"\"required\"", OPENAI_MUST_CALL, 3, NULL},
        {"{\"type\":\"function\",\"name\":\"f\"}", OPENAI_MUST_CALL, 3, "f"},
        {"{\"type\":\"custom\",\"name\":\"c\"}", OPENAI_MUST_CALL, 3, "c"},
        {"{\"type\":\"function\",\"name\":\"g\",\"namespace\":\"n\"}", OPENAI_MUST_CALL, 3, "n__g"},
        {"{\"type\":\"allowed_tools\",\"mode\":\"auto\",\"tools\":[{\"type\":\"function\","
         "\"name\":\"f\"}]}",
         OPENAI_MAY_CALL, 1, NULL},
        {"{\"type\":\"allowed_tools\",\"mode\":\"required\",\"tools\":[{\"type\":\"custom\","
         "\"name\":\"c\"}]}",
         OPENAI_MUST_CALL, 1, NULL},
        {"{\"type\":\"allowed_tools\",\"tools\":[{\"name\":\"c\"},{\"name\":\"f\"},"
         "{\"name\":\"c\"},{\"name\":\"f\"}]}",
         OPENAI_MAY_CALL, 2, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct responses_request q;
        char body[400];
        snprintf(body, sizeof body, "{\"input\":\"x\"," TOOLS ",\"tool_choice\":%s}",
                 cases[i].choice);
        parse(NULL, body, &q);
        CHECK_INT(q.base.calls, cases[i].calls);
        CHECK_INT(q.base.conversation.n_tools, cases[i].n_tools);
        if (cases[i].only)
            CHECK_STR(q.base.only_tool->name, str_of(cases[i].only));
        responses_request_free(&q);
    }
    check_refused(NULL, "{\"input\":\"x\"," TOOLS ",\"tool_choice\":{\"type\":\"web_search\"}}",
                  400, "tool_choice");
    check_refused(NULL,
                  "{\"input\":\"x\"," TOOLS
                  ",\"tool_choice\":{\"type\":\"function\",\"name\":\"none\"}}",
                  400, "tool_choice");
    check_refused(NULL, "{\"input\":\"x\",\"tool_choice\":\"required\"}", 400, "tool_choice");
}

TEST(responses_parse_reads_the_text_format)
{
    struct responses_request q;
    parse(NULL,
          "{\"input\":\"x\",\"text\":{\"verbosity\":\"low\",\"format\":{\"type\":\"json_schema\","
          "\"name\":\"n\",\"strict\":true,\"schema\":{\"type\":\"object\"}}}}",
          &q);
    CHECK_INT(q.base.content, OPENAI_SCHEMA);
    CHECK(q.base.schema != NULL);
    responses_request_free(&q);
    parse(NULL, "{\"input\":\"x\",\"text\":{\"format\":{\"type\":\"json_object\"}}}", &q);
    CHECK_INT(q.base.content, OPENAI_OBJECT);
    responses_request_free(&q);
    check_refused(NULL, "{\"input\":\"x\",\"text\":{\"format\":{\"type\":\"xml\"}}}", 400,
                  "text.format.type");
    check_refused(NULL, "{\"input\":\"x\",\"text\":{\"format\":{\"type\":\"json_schema\"}}}", 400,
                  "text.format.schema");
}

TEST(responses_parse_names_what_is_wrong)
{
    static const char *const cases[][2] = {
        {"{\"input\":5}", "input"},
        {"{}", "input"},
        {"{\"input\":[]}", "input"},
        {"{\"input\":[3]}", "input[0]"},
        {"{\"input\":[{\"type\":\"message\",\"content\":\"x\"}]}", "input[0].role"},
        {"{\"input\":[{\"role\":\"user\"}]}", "input[0].content"},
        {"{\"input\":[{\"role\":\"owl\",\"content\":\"x\"}]}", "input[0].role"},
        {"{\"input\":[{\"role\":\"user\",\"content\":[7]}]}", "input[0].content"},
        {"{\"input\":[{\"type\":\"function_call\",\"name\":\"f\"}]}", "input[0].call_id"},
        {"{\"input\":[{\"type\":\"custom_tool_call\",\"call_id\":\"c\",\"name\":\"f\"}]}",
         "input[0].input"},
        {"{\"input\":[{\"type\":\"function_call_output\",\"output\":4}]}", "input[0].output"},
        {"{\"input\":\"x\",\"tools\":[4]}", "tools[0]"},
        {"{\"input\":\"x\",\"tools\":[{\"type\":\"function\"}]}", "tools[0].name"},
        {"{\"input\":\"x\",\"tools\":[{\"type\":\"namespace\",\"name\":\"n\",\"tools\":[{\"type\":"
         "\"function\",\"name\":4}]}]}",
         "tools[0].tools[0].name"},
        {"{\"input\":\"x\",\"temperature\":\"hot\"}", "temperature"},
        {"{\"input\":\"x\",\"stream\":1}", "stream"},
        {"{\"input\":\"x\",\"max_output_tokens\":0}", "max_output_tokens"},
        {"{\"input\":\"x\",\"reasoning\":{\"effort\":3}}", "reasoning.effort"},
        {"{\"input\":\"x\",\"background\":true}", "background"},
        {"{\"input\":\"x\",\"conversation\":\"c\"}", "conversation"},
        {"[]", ""},
        {"{\"input\"", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_refused(NULL, cases[i][0], 400, cases[i][1]);
}

TEST(responses_parse_continues_responses_and_finds_items)
{
    struct responses_store *store = responses_store_open(1 << 20);
    responses_store_put(store, STR("resp_A"), STR(""), STR("{\"role\":\"user\",\"content\":\"1\"}"),
                        STR("{\"type\":\"message\",\"id\":\"msg_A_0\",\"role\":\"assistant\","
                            "\"content\":[{\"type\":\"output_text\",\"text\":\"2\"}]}"),
                        STR("{}"));
    check_conversation(store,
                       "{\"previous_response_id\":\"resp_A\",\"instructions\":\"new\","
                       "\"input\":\"3\"}",
                       "system new\nuser 1\nassistant 2\nuser 3\n");
    check_conversation(store,
                       "{\"input\":[{\"role\":\"user\",\"content\":\"0\"},{\"type\":"
                       "\"item_reference\",\"id\":\"msg_A_0\"}]}",
                       "user 0\nassistant 2\n");
    check_refused(store, "{\"previous_response_id\":\"resp_B\",\"input\":\"3\"}", 404,
                  "previous_response_id");
    check_refused(store, "{\"input\":[{\"type\":\"item_reference\",\"id\":\"msg_A_7\"}]}", 404, "");
    check_refused(store, "{\"input\":[{\"type\":\"item_reference\",\"id\":\"x\"}]}", 404, "");
    responses_store_close(store);
}

TEST(opaque_reasoning_comes_back_to_the_byte)
{
    static const str texts[] = {STR(""), STR("a"), STR("\n ab\n\n"), STR("\xc3\xa9\xe2\x82\xac"),
                                STR("tawny1\nx\ny")};
    struct arena a = {0};
    struct buf token = {0};
    str tag, text;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        buf_clear(&token);
        opaque_put(STR("TAIL"), texts[i], &token);
        CHECK(opaque_get(buf_view(&token), &a, &tag, &text));
        CHECK_STR(tag, STR("TAIL"));
        CHECK_STR(text, texts[i]);
        CHECK(!opaque_get(str_sub(buf_view(&token), 0, token.n - 1), &a, &tag, &text));
    }
    CHECK(!opaque_get(STR(""), &a, &tag, &text));
    CHECK(!opaque_get(STR("gAAAAABo"), &a, &tag, &text));
    CHECK(!opaque_get(STR("dGF3bnkxCg=="), &a, &tag, &text));     /* no tag */
    CHECK(!opaque_get(STR("dGF3bnkxCngK/w=="), &a, &tag, &text)); /* no UTF-8 */
    buf_free(&token);
    arena_free(&a);
}
