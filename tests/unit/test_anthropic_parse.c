/* Bodies of /v1/messages: what they become, and what is refused. */
#include "test.h"

#include "base/json.h"
#include "server/anthropic.h"
#include "server/opaque.h"

static const struct sampling defaults = {.temperature = 1};

static void parse(const char *body, struct anthropic_request *r)
{
    struct openai_error e;
    if (!anthropic_parse(str_of(body), &defaults, r, &e))
        test_fail(__FILE__, __LINE__, "refused: %s", e.message);
}

static void put_text(struct buf *out, str text)
{
    json_quote(text, out);
}

/* The conversation, a message a line: role, texts, reasoning, calls, results. */
static void print(const struct chat_request *c, struct buf *out)
{
    static const char *const roles[] = {"system", "user", "assistant", "tool"};
    for (size_t i = 0; i < c->n_messages; i++) {
        const struct chat_message *m = &c->messages[i];
        buf_fmt(out, "%s", roles[m->role]);
        if (m->role == CHAT_TOOL)
            buf_fmt(out, " %.*s%s", STRF(m->call_id), m->failed ? " failed" : "");
        if (m->reasoning.n) {
            buf_str(out, STR(" thinks "));
            put_text(out, m->reasoning);
        }
        for (size_t k = 0; k < m->n_parts; k++) {
            buf_str(out, k ? STR(" + ") : STR(" "));
            put_text(out, m->parts[k]);
        }
        if (m->content.n) {
            buf_byte(out, ' ');
            put_text(out, m->content);
        }
        for (size_t k = 0; k < m->n_calls; k++)
            buf_fmt(out, " %.*s=%.*s(%.*s)", STRF(m->calls[k].id), STRF(m->calls[k].name),
                    STRF(m->calls[k].arguments));
        buf_byte(out, '\n');
    }
}

static void check_conversation(const char *body, const char *want)
{
    struct anthropic_request r;
    struct buf got = {0};
    parse(body, &r);
    print(&r.base.conversation, &got);
    CHECK_STR(buf_view(&got), str_of(want));
    buf_free(&got);
    anthropic_request_free(&r);
}

static void check_refused(const char *body, const char *part)
{
    struct anthropic_request r;
    struct openai_error e;
    if (anthropic_parse(str_of(body), &defaults, &r, &e))
        test_fail(__FILE__, __LINE__, "taken: %s", body);
    CHECK_INT(e.status, 400);
    if (str_find(str_of(e.message), str_of(part), 0) == SIZE_MAX)
        test_fail(__FILE__, __LINE__, "no '%s' in: %s", part, e.message);
}

#define USER "{\"role\":\"user\",\"content\":\"x\"}"

TEST(anthropic_results_come_before_the_text_of_their_turn_as_sent)
{
    check_conversation(
        "{\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":["
        "{\"type\":\"tool_use\",\"id\":\"toolu_A\",\"name\":\"f\",\"input\":{\"b\":1,\"a\":2.50}},"
        "{\"type\":\"tool_use\",\"id\":\"toolu_B\",\"name\":\"g\",\"input\":{}}]},"
        "{\"role\":\"user\",\"content\":["
        "{\"type\":\"tool_result\",\"tool_use_id\":\"toolu_A\",\"content\":\"one\"},"
        "{\"type\":\"tool_result\",\"tool_use_id\":\"toolu_B\",\"is_error\":true,\"content\":["
        "{\"type\":\"text\",\"text\":\"two\"},{\"type\":\"image\",\"source\":{}}]},"
        "{\"type\":\"text\",\"text\":\"and\"},{\"type\":\"text\",\"text\":\"now\"}]}]}",
        "user \"x\"\n"
        "assistant call_A=f({\"b\":1,\"a\":2.50}) call_B=g({})\n"
        "tool call_A \"one\"\n"
        "tool call_B failed \"two\" + \"[image: not shown, this model reads text only]\"\n"
        "user \"and\" + \"now\"\n");
}

TEST(anthropic_blocks_of_a_user_keep_their_order)
{
    check_conversation("{\"messages\":[{\"role\":\"user\",\"content\":["
                       "{\"type\":\"text\",\"text\":\"a\"},"
                       "{\"type\":\"tool_result\",\"tool_use_id\":\"i\"},"
                       "{\"type\":\"text\",\"text\":\"b\"}]}]}",
                       "user \"a\"\ntool i\nuser \"b\"\n");
}

TEST(anthropic_attribution_is_dropped)
{
    check_conversation("{\"system\":[{\"type\":\"text\",\"text\":\"x-anthropic-billing-header: "
                       "cc_version=2.1.40; cch=0a1b2;\"},{\"type\":\"text\",\"text\":\"one\","
                       "\"cache_control\":{\"type\":\"ephemeral\"}},{\"type\":\"text\",\"text\":"
                       "\"two\"}],\"messages\":[" USER "]}",
                       "system \"one\" + \"two\"\nuser \"x\"\n");
    check_conversation("{\"system\":\"x-anthropic-billing-header: a\\n\\nYou are.\","
                       "\"messages\":[" USER "]}",
                       "system \"You are.\"\nuser \"x\"\n");
    check_conversation("{\"system\":\"x-anthropic-billing-header: a\",\"messages\":[" USER "]}",
                       "user \"x\"\n");
    check_conversation("{\"system\":\"an x-anthropic-billing-header: a\",\"messages\":[" USER "]}",
                       "system \"an x-anthropic-billing-header: a\"\nuser \"x\"\n");
}

TEST(anthropic_system_in_the_middle_stays_there)
{
    check_conversation(
        "{\"system\":\"s\",\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":\"y\"},"
        "{\"role\":\"system\",\"content\":[{\"type\":\"text\",\"text\":\"8 tokens left\"}]}]}",
        "system \"s\"\nuser \"x\"\nassistant \"y\"\nsystem \"8 tokens left\"\n");
}

TEST(anthropic_thinking_comes_back_with_its_turn)
{
    struct buf body = {0}, signature = {0};
    opaque_put(STR("msg_1"), STR("hidden"), &signature);
    buf_fmt(&body,
            "{\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":["
            "{\"type\":\"thinking\",\"thinking\":\"shown\",\"signature\":\"\"},"
            "{\"type\":\"text\",\"text\":\"y\"}]}," USER ",{\"role\":\"assistant\",\"content\":["
            "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"%.*s\"},"
            "{\"type\":\"redacted_thinking\",\"data\":\"from elsewhere\"}]},"
            "{\"role\":\"assistant\",\"content\":\"z\"}," USER "]}",
            STRF(buf_view(&signature)));
    check_conversation(body.p, "user \"x\"\nassistant thinks \"shown\" \"y\"\nuser \"x\"\n"
                               "assistant thinks \"hidden\" \"z\"\nuser \"x\"\n");
    buf_free(&body);
    buf_free(&signature);
}

TEST(anthropic_blocks_nobody_knows_are_their_json)
{
    check_conversation(
        "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"from_the_future\",\"n\":1},7,"
        "{\"type\":\"document\",\"source\":{\"type\":\"text\",\"data\":\"plain\"}},"
        "{\"type\":\"document\",\"source\":{\"type\":\"base64\",\"data\":\"AA\"}}]}]}",
        "user \"{\\\"type\\\":\\\"from_the_future\\\",\\\"n\\\":1}\" + \"7\" + \"plain\" + "
        "\"[document: not shown, this model reads text only]\"\n");
}

TEST(anthropic_thinking_is_off_unless_asked_for)
{
    static const struct {
        const char *fields, *effort;
        bool think, hide;
    } rows[] = {
        {"", "none", false, false},
        {"\"thinking\":{\"type\":\"disabled\"},", "none", false, false},
        {"\"thinking\":{\"type\":\"adaptive\"},", "", true, false},
        {"\"thinking\":{\"type\":\"adaptive\",\"display\":\"omitted\"},", "", true, true},
        {"\"thinking\":{\"type\":\"adaptive\",\"display\":\"updates\"},", "", true, true},
        {"\"thinking\":{\"type\":\"adaptive\",\"display\":\"summarized\"},", "", true, false},
        {"\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":4000},", "low", true, false},
        {"\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":10000},", "medium", true, false},
        {"\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":31999},", "high", true, false},
        {"\"thinking\":{\"type\":\"adaptive\"},\"output_config\":{\"effort\":\"max\"},", "max",
         true, false},
        {"\"output_config\":{\"effort\":\"max\"},", "none", false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct anthropic_request r;
        struct buf body = {0};
        buf_fmt(&body, "{%s\"messages\":[" USER "]}", rows[i].fields);
        parse(body.p, &r);
        CHECK_STR(r.base.conversation.effort, str_of(rows[i].effort));
        CHECK_INT(r.base.conversation.think, rows[i].think);
        CHECK_INT(r.hide_reasoning, rows[i].hide);
        anthropic_request_free(&r);
        buf_free(&body);
    }
}

#define TOOLS                                                                                      \
    "\"tools\":[{\"name\":\"f\",\"description\":\"d\",\"input_schema\":{\"type\":\"object\"},"     \
    "\"cache_control\":{},\"eager_input_streaming\":true},"                                        \
    "{\"type\":\"web_search_20250305\",\"name\":\"web_search\",\"max_uses\":8},"                   \
    "{\"type\":\"custom\",\"name\":\"g\",\"input_schema\":{\"type\":\"object\"},\"strict\":true}]" \
    ","

TEST(anthropic_tools_are_functions)
{
    struct anthropic_request r;
    struct buf specs = {0};
    parse("{" TOOLS "\"messages\":[" USER "]}", &r);
    json_print(r.specs, JSON_COMPACT, &specs);
    CHECK_STR(buf_view(&specs),
              STR("[{\"name\":\"f\",\"description\":\"d\",\"parameters\":{\"type\":\"object\"}},"
                  "{\"name\":\"g\",\"parameters\":{\"type\":\"object\"},\"strict\":true}]"));
    CHECK_INT(r.base.conversation.n_tools, 2);
    CHECK_INT(r.base.n_strict, 1);
    CHECK_STR(str_of(r.base.notice),
              STR("tool of type 'web_search_20250305' is not offered to the model"));
    buf_free(&specs);
    anthropic_request_free(&r);
}

TEST(anthropic_tool_choice)
{
    static const struct {
        const char *choice;
        size_t n_tools;
        enum openai_calls calls;
        const char *only;
        bool one;
    } rows[] = {
        {"{\"type\":\"auto\"}", 2, OPENAI_MAY_CALL, NULL, false},
        {"{\"type\":\"auto\",\"disable_parallel_tool_use\":true}", 2, OPENAI_MAY_CALL, NULL, true},
        {"{\"type\":\"any\"}", 2, OPENAI_MUST_CALL, NULL, false},
        {"{\"type\":\"none\"}", 0, OPENAI_MAY_CALL, NULL, false},
        {"{\"type\":\"tool\",\"name\":\"g\"}", 2, OPENAI_MUST_CALL, "g", false},
        {"{\"type\":\"tool\",\"name\":\"web_search\"}", 2, OPENAI_MAY_CALL, NULL, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct anthropic_request r;
        struct buf body = {0};
        buf_fmt(&body, "{" TOOLS "\"tool_choice\":%s,\"messages\":[" USER "]}", rows[i].choice);
        parse(body.p, &r);
        CHECK_INT(r.base.conversation.n_tools, rows[i].n_tools);
        CHECK_INT(r.base.calls, rows[i].calls);
        CHECK_INT(r.base.one_call, rows[i].one);
        CHECK_STR(r.base.only_tool ? r.base.only_tool->name : STR("-"),
                  str_of(rows[i].only ? rows[i].only : "-"));
        anthropic_request_free(&r);
        buf_free(&body);
    }
}

TEST(anthropic_loads_deferred_tools_where_they_are_referred_to)
{
    struct anthropic_request r;
    parse("{\"tools\":[{\"name\":\"late\",\"defer_loading\":true,\"description\":\"Late.\"},"
          "{\"name\":\"never\",\"defer_loading\":true},{\"name\":\"f\"}],\"messages\":[" USER
          ",{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"1\",\"name\":"
          "\"f\"}]},"
          "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"1\","
          "\"content\":["
          "{\"type\":\"tool_reference\",\"tool_name\":\"late\"},"
          "{\"type\":\"tool_reference\",\"tool_name\":\"late\"},"
          "{\"type\":\"tool_reference\",\"tool_name\":\"gone\"}]}]}]}",
          &r);
    const struct chat_request *c = &r.base.conversation;
    CHECK_INT(c->n_tools, 2);
    CHECK_INT(r.base.n_loaded, 1);
    CHECK_STR(c->tools[0].name, STR("f"));
    CHECK_STR(c->tools[1].name, STR("late"));
    CHECK_STR(c->messages[2].parts[0],
              STR("<functions>\n<function>{\"name\":\"late\",\"description\":\"Late.\"}"
                  "</function>\n</functions>"));
    CHECK_STR(c->messages[2].parts[1], STR("{\"type\":\"tool_reference\",\"tool_name\":\"late\"}"));
    CHECK_STR(c->messages[2].parts[2], STR("{\"type\":\"tool_reference\",\"tool_name\":\"gone\"}"));
    anthropic_request_free(&r);
}

/* A request with many of them must end. */
TEST(anthropic_looks_up_a_bounded_number_of_references)
{
    for (size_t n_before = 4095; n_before <= 4096; n_before++) {
        struct anthropic_request r;
        struct buf body = {0};
        buf_str(&body, STR("{\"tools\":[{\"name\":\"late\",\"defer_loading\":true}],\"messages\":[{"
                           "\"role\":\"user\",\"content\":["));
        for (size_t i = 0; i < n_before; i++)
            buf_str(&body, STR("{\"type\":\"tool_reference\",\"tool_name\":\"gone\"},"));
        buf_str(&body, STR("{\"type\":\"tool_reference\",\"tool_name\":\"late\"}]}]}"));
        parse(body.p, &r);
        CHECK_INT(r.base.n_loaded, n_before == 4095);
        anthropic_request_free(&r);
        buf_free(&body);
    }
}

TEST(anthropic_knows_requests_for_a_web_search_alone)
{
#define SEARCH "{\"type\":\"web_search_20260209\",\"name\":\"web_search\"}"
#define ASK    "Perform a web search for the query: "
    static const struct {
        const char *tools, *choice, *text, *query;
    } rows[] = {
        {SEARCH, "auto", ASK "owl", "owl"},
        {SEARCH, "tool", ASK "owl", "owl"},
        {SEARCH, "any", "owl", "owl"},
        {SEARCH, "auto", "owl", ""},
        {SEARCH, "none", ASK "owl", ""},
        {SEARCH ",{\"name\":\"f\"}", "auto", ASK "owl", ""},
        {"{\"type\":\"web_fetch_1\",\"name\":\"web_search\"}", "tool", "owl", ""},
        {"{\"name\":\"web_search\"}", "any", "owl", ""},
        {"", "auto", ASK "owl", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct anthropic_request r;
        struct buf body = {0};
        buf_fmt(&body,
                "{\"tools\":[%s],\"tool_choice\":{\"type\":\"%s\",\"name\":\"web_search\"},"
                "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},"
                "{\"type\":\"text\",\"text\":\"%s\"}]}]}",
                rows[i].tools, rows[i].choice, rows[i].text);
        parse(body.p, &r);
        CHECK_STR(r.search, str_of(rows[i].query));
        anthropic_request_free(&r);
        buf_free(&body);
    }
#undef SEARCH
#undef ASK
}

TEST(anthropic_limits_and_shapes)
{
    struct anthropic_request r;
    parse("{\"max_tokens\":64,\"stop_sequences\":[\"</block>\",\"b\"],\"temperature\":0.5,"
          "\"top_k\":-1,\"stream\":true,\"metadata\":{\"user_id\":\"u\"},\"service_tier\":\"auto\","
          "\"context_management\":{\"edits\":[]},\"output_config\":{\"format\":{\"type\":"
          "\"json_schema\",\"schema\":{\"type\":\"object\"}}},\"messages\":[" USER "]}",
          &r);
    CHECK_INT(r.base.max_tokens, 64);
    CHECK_INT(r.base.n_stops, 2);
    CHECK_STR(r.base.stops[0], STR("</block>"));
    CHECK(r.base.sampling.temperature == 0.5f);
    CHECK_INT(r.base.sampling.top_k, 0);
    CHECK(r.base.stream && r.base.random_seed);
    CHECK_INT(r.base.content, OPENAI_SCHEMA);
    anthropic_request_free(&r);
}

TEST(anthropic_refuses_with_the_place)
{
    check_refused("[]", "must be a JSON object");
    check_refused("{\"messages\":[", "is not JSON");
    check_refused("{}", "'messages' is required");
    check_refused("{\"messages\":[],\"system\":\"s\"}", "'messages' is empty");
    check_refused("{\"messages\":[7]}", "'messages[0]' must be an object");
    check_refused("{\"messages\":[{\"role\":\"tool\",\"content\":\"x\"}]}",
                  "'messages[0].role' is 'tool'");
    check_refused("{\"messages\":[{\"role\":\"user\"}]}", "'messages[0].content' is required");
    check_refused("{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\"}]}]}",
                  "'messages[0].content[0].tool_use_id' is required");
    check_refused("{\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":[{\"type\":"
                  "\"tool_use\",\"id\":\"i\"}]}]}",
                  "'messages[1].content[0].name' is required");
    check_refused("{\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":\"{\"}]}",
                  "does not support assistant message prefill");
    check_refused("{\"max_tokens\":0,\"messages\":[" USER "]}", "'max_tokens' must be from 1");
    check_refused("{\"stop_sequences\":[\"\"],\"messages\":[" USER "]}", "'stop_sequences[0]'");
    check_refused("{\"thinking\":{},\"messages\":[" USER "]}", "'thinking.type' is required");
    check_refused("{\"tools\":[7],\"messages\":[" USER "]}", "'tools[0]' must be an object");
    check_refused("{\"tools\":[{\"description\":\"d\"}],\"messages\":[" USER "]}",
                  "'tools[0].name' is required");
    check_refused("{\"tool_choice\":{\"type\":\"any\"},\"messages\":[" USER "]}",
                  "there are no tools to call");
    check_refused("{" TOOLS "\"tool_choice\":{\"type\":\"tool\",\"name\":\"h\"},"
                  "\"messages\":[" USER "]}",
                  "names 'h'");
    check_refused("{\"tool_choice\":{\"type\":\"maybe\"},\"messages\":[" USER "]}", "'maybe'");
    check_refused("{\"output_config\":{\"format\":{\"type\":\"json_schema\"}},"
                  "\"messages\":[" USER "]}",
                  "'output_config.format.schema' is required");
}
