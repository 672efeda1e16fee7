/* Replies of /v1/messages, event by event: the golden transcripts. */
#include "test.h"

#include "base/json.h"
#include "server/anthropic_reply.h"

static struct anthropic_reply open_reply(bool hide)
{
    return (struct anthropic_reply){.hide_reasoning = hide, .id = "msg_T", .model = STR("m")};
}

static struct reply_end end_with(const char *finish)
{
    return (struct reply_end){.finish = finish,
                              .usage = {.n_prompt = 10, .n_cached = 4, .n_generated = 3}};
}

static void tell(struct anthropic_reply *r, enum chat_event_kind kind, const char *text,
                 struct buf *out)
{
    anthropic_event(r, &(struct chat_event){.kind = kind, .text = str_of(text)}, out);
}

static void tell_call(struct anthropic_reply *r, const char *id, const char *const *pieces,
                      enum chat_flaw flaw, struct buf *out)
{
    anthropic_event(
        r, &(struct chat_event){.kind = CHAT_CALL_BEGIN, .id = str_of(id), .name = STR("f")}, out);
    for (; *pieces; pieces++)
        tell(r, CHAT_CALL_ARGUMENTS, *pieces, out);
    anthropic_event(r, &(struct chat_event){.kind = CHAT_CALL_END, .flaw = flaw}, out);
}

/* Every event has its name, and JSON that has it too; their data, a line each. */
static void strip(str events, struct buf *out)
{
    while (events.n) {
        size_t end_of = str_find(events, STR("\n\n"), 0);
        CHECK(end_of != SIZE_MAX);
        str event = str_sub(events, 0, end_of), rest = event, name;
        events = str_sub(events, end_of + 2, events.n);
        if (str_starts(event, STR(": "))) {
            name = str_cut(event, '\n', &rest);
            buf_fmt(out, "%.*s\n", STRF(name));
        }
        CHECK(str_starts(rest, STR("event: ")));
        name = str_sub(str_cut(rest, '\n', &rest), 7, SIZE_MAX);
        CHECK(str_starts(rest, STR("data: ")));
        struct err e;
        struct json *data = json_parse(str_sub(rest, 6, rest.n), &e);
        CHECK_OK(data);
        CHECK_STR(json_str(json_get(data, "type")), name);
        json_free(data);
        buf_fmt(out, "%.*s\n", STRF(str_sub(rest, 6, rest.n)));
    }
}

static void check_events(const struct buf *out, const char *want)
{
    struct buf got = {0};
    strip(buf_view(out), &got);
    CHECK_STR(buf_view(&got), str_of(want));
    buf_free(&got);
}

#define START                                                                                      \
    "{\"type\":\"message_start\",\"message\":{\"id\":\"msg_T\",\"type\":\"message\",\"role\":"     \
    "\"assistant\",\"model\":\"m\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,"    \
    "\"usage\":{\"input_tokens\":10,\"cache_creation_input_tokens\":0,"                            \
    "\"cache_read_input_tokens\":0,\"output_tokens\":1}}}\n"
#define USAGE                                                                                      \
    "\"usage\":{\"input_tokens\":6,\"cache_creation_input_tokens\":0,"                             \
    "\"cache_read_input_tokens\":4,\"output_tokens\":3}"
#define END(reason, sequence)                                                                      \
    "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"" reason                             \
    "\",\"stop_sequence\":" sequence "}," USAGE "}\n{\"type\":\"message_stop\"}\n"
#define BLOCK(index, block)                                                                        \
    "{\"type\":\"content_block_start\",\"index\":" index ",\"content_block\":" block "}\n"
#define DELTA(index, delta)                                                                        \
    "{\"type\":\"content_block_delta\",\"index\":" index ",\"delta\":" delta "}\n"
#define STOP(index) "{\"type\":\"content_block_stop\",\"index\":" index "}\n"
/* base64 of "tawny1\nmsg_T\n" */
#define SIGNATURE "dGF3bnkxCm1zZ19UCg=="

TEST(anthropic_tells_a_text)
{
    struct anthropic_reply r = open_reply(false);
    struct reply_end end = end_with("stop");
    struct buf out = {0};
    anthropic_begin(&r, 10, &out);
    anthropic_idle(&r, &(struct reply_progress){.n_read = 5, .n_prompt = 10}, &out);
    tell(&r, CHAT_CONTENT, "Hi ", &out);
    tell(&r, CHAT_CONTENT, "\xc3\xa9", &out);
    anthropic_end(&r, &end, &out);
    check_events(&out, START ": 5 of 10 prompt tokens read\n{\"type\":\"ping\"}\n" //
                 BLOCK("0", "{\"type\":\"text\",\"text\":\"\"}")                   //
                 DELTA("0", "{\"type\":\"text_delta\",\"text\":\"Hi \"}")          //
                 DELTA("0", "{\"type\":\"text_delta\",\"text\":\"\xc3\xa9\"}")     //
                 STOP("0") END("end_turn", "null"));
    buf_free(&out);
    anthropic_reply_free(&r);
}

TEST(anthropic_tells_thinking_and_calls_without_the_space_between)
{
    struct anthropic_reply r = open_reply(false);
    struct reply_end end = end_with("tool_calls");
    struct buf out = {0};
    tell(&r, CHAT_REASONING, "hm", &out);
    tell(&r, CHAT_CONTENT, "\n\n", &out);
    tell_call(&r, "call_A", (const char *[]){"{\"a\":", "1}", NULL}, CHAT_SOUND, &out);
    tell(&r, CHAT_CONTENT, "\n", &out);
    tell_call(&r, "call_B", (const char *[]){"{}", NULL}, CHAT_SOUND, &out);
    tell(&r, CHAT_CONTENT, "\n", &out);
    tell(&r, CHAT_CONTENT, "ok", &out);
    anthropic_end(&r, &end, &out);
    check_events(
        &out, BLOCK("0", "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}")     //
        DELTA("0", "{\"type\":\"thinking_delta\",\"thinking\":\"hm\"}")                      //
        DELTA("0", "{\"type\":\"signature_delta\",\"signature\":\"" SIGNATURE "\"}")         //
        STOP("0")                                                                            //
        BLOCK("1", "{\"type\":\"tool_use\",\"id\":\"toolu_A\",\"name\":\"f\",\"input\":{}}") //
        DELTA("1", "{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"a\\\":\"}")       //
        DELTA("1", "{\"type\":\"input_json_delta\",\"partial_json\":\"1}\"}")                //
        STOP("1")                                                                            //
        BLOCK("2", "{\"type\":\"tool_use\",\"id\":\"toolu_B\",\"name\":\"f\",\"input\":{}}") //
        DELTA("2", "{\"type\":\"input_json_delta\",\"partial_json\":\"{}\"}")                //
        STOP("2")                                                                            //
        BLOCK("3", "{\"type\":\"text\",\"text\":\"\"}")                                      //
        DELTA("3", "{\"type\":\"text_delta\",\"text\":\"\\n\"}")                             //
        DELTA("3", "{\"type\":\"text_delta\",\"text\":\"ok\"}")                              //
        STOP("3") END("tool_use", "null"));
    buf_free(&out);
    anthropic_reply_free(&r);
}

TEST(anthropic_hidden_thinking_is_in_the_signature)
{
    struct anthropic_reply r = open_reply(true);
    struct reply_end end = end_with("stop");
    struct buf out = {0};
    tell(&r, CHAT_REASONING, "h", &out);
    anthropic_idle(&r, &(struct reply_progress){.n_read = 1, .n_prompt = 1}, &out);
    tell(&r, CHAT_REASONING, "m", &out);
    tell(&r, CHAT_CONTENT, "x", &out);
    anthropic_end(&r, &end, &out);
    check_events(
        &out,
        BLOCK("0",
              "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}") ": 1 of 1 prompt "
                                                                              "tokens "
                                                                              "read\n{\"type\":"
                                                                              "\"ping\"}\n" //
        DELTA("0", "{\"type\":\"thinking_delta\",\"thinking\":\"\"}")                       //
        DELTA("0", "{\"type\":\"signature_delta\",\"signature\":\"dGF3bnkxCm1zZ19UCmht\"}")
            STOP("0") BLOCK("1", "{\"type\":\"text\",\"text\":\"\"}")
                DELTA("1", "{\"type\":\"text_delta\",\"text\":\"x\"}") STOP("1")
                    END("end_turn", "null"));
    buf_free(&out);
    anthropic_reply_free(&r);
}

TEST(anthropic_says_why_it_stopped)
{
    static const struct {
        const char *finish, *stop, *want;
    } rows[] = {
        {"stop", "", END("end_turn", "null")},
        {"stop", "</block>", END("stop_sequence", "\"</block>\"")},
        {"length", "", END("max_tokens", "null")},
        {"tool_calls", "", END("tool_use", "null")},
        {"tool_calls", "x", END("tool_use", "null")},
        {OPENAI_REPETITION, "", END("max_tokens", "null")},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct anthropic_reply r = open_reply(false);
        struct reply_end end = end_with(rows[i].finish);
        struct buf out = {0};
        end.stop = str_of(rows[i].stop);
        anthropic_end(&r, &end, &out);
        check_events(&out, rows[i].want);
        buf_free(&out);
        anthropic_reply_free(&r);
    }
}

TEST(anthropic_says_all_of_it_at_once)
{
    struct anthropic_reply r = open_reply(false);
    struct reply_end end = end_with("tool_calls");
    struct buf out = {0};
    end.warning = STR("w");
    tell(&r, CHAT_REASONING, "hm", NULL);
    tell(&r, CHAT_CONTENT, "\n", NULL);
    tell(&r, CHAT_CONTENT, "so", NULL);
    tell_call(&r, "call_A", (const char *[]){"{\"a\": ", "1}", NULL}, CHAT_SOUND, NULL);
    tell_call(&r, "call_B", (const char *[]){"{\"a\": \"", NULL}, CHAT_CUT, NULL);
    anthropic_whole(&r, &end, &out);
    CHECK_STR(buf_view(&out),
              STR("{\"id\":\"msg_T\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\","
                  "\"content\":[{\"type\":\"thinking\",\"thinking\":\"hm\","
                  "\"signature\":\"" SIGNATURE "\"},"
                  "{\"type\":\"text\",\"text\":\"\\nso\"},"
                  "{\"type\":\"tool_use\",\"id\":\"toolu_A\",\"name\":\"f\",\"input\":{\"a\": 1}},"
                  "{\"type\":\"tool_use\",\"id\":\"toolu_B\",\"name\":\"f\","
                  "\"input\":{\"INVALID_JSON\":\"{\\\"a\\\": \\\"\"}}],"
                  "\"stop_reason\":\"tool_use\",\"stop_sequence\":null," USAGE
                  ",\"warnings\":[\"w\"]}\n"));
    buf_free(&out);
    anthropic_reply_free(&r);
}

TEST(anthropic_errors_have_their_shape)
{
    static const struct {
        int status;
        const char *type;
    } rows[] = {{400, "invalid_request_error"},
                {401, "authentication_error"},
                {403, "permission_error"},
                {404, "not_found_error"},
                {413, "request_too_large"},
                {429, "rate_limit_error"},
                {500, "api_error"},
                {503, "overloaded_error"}};
    struct openai_error e;
    struct buf out = {0}, want = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        openai_fail(&e, rows[i].status, NULL, "why");
        buf_clear(&out);
        buf_clear(&want);
        anthropic_error_body(&e, &out);
        buf_fmt(&want, "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":\"why\"}}",
                rows[i].type);
        CHECK_STR(buf_view(&out), buf_view(&want));
    }
    /* The wording that makes Claude Code compact. */
    openai_overflow(&e, "messages", 140001, 131072);
    buf_clear(&out);
    anthropic_fail(&e, &out);
    check_events(&out, "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\","
                       "\"message\":\"prompt is too long: 140001 tokens > 131072 maximum\"}}\n");
    buf_free(&out);
    buf_free(&want);
}
