/* Replies of the Responses API, event by event: the golden transcripts. */
#include "test.h"

#include "base/json.h"
#include "server/freeform.h"
#include "server/opaque.h"
#include "server/responses_reply.h"

static const struct openai_usage usage = {
    .n_prompt = 10, .n_cached = 4, .n_generated = 3, .n_reasoning = 1};

struct told {
    struct responses_request request;
    struct responses_reply reply;
    struct buf out;
};

static void begin(struct told *t, const char *body)
{
    static const struct sampling defaults = {.temperature = 1};
    struct openai_error e;
    *t = (struct told){0};
    if (!responses_parse(str_of(body), &defaults, NULL, &t->request, &e))
        test_fail(__FILE__, __LINE__, "%s", e.message);
    t->reply = (struct responses_reply){
        .request = &t->request, .tail = "T", .created = 17, .model = STR("m")};
}

static void complete(struct told *t, const char *finish)
{
    struct buf body = {0};
    responses_body(&t->reply, finish, &usage, STR(""), &body);
    responses_complete(&t->reply, finish, buf_view(&body), &t->out);
    buf_free(&body);
}

static void end(struct told *t)
{
    responses_reply_free(&t->reply);
    responses_request_free(&t->request);
    buf_free(&t->out);
}

static void tell(struct told *t, enum chat_event_kind kind, const char *text)
{
    responses_event(&t->reply, &(struct chat_event){.kind = kind, .text = str_of(text)}, &t->out);
}

static void tell_call(struct told *t, const char *id, const char *name, const char *const *pieces,
                      enum chat_flaw flaw)
{
    responses_event(
        &t->reply,
        &(struct chat_event){.kind = CHAT_CALL_BEGIN, .id = str_of(id), .name = str_of(name)},
        &t->out);
    for (; *pieces; pieces++)
        tell(t, CHAT_CALL_ARGUMENTS, *pieces);
    responses_event(&t->reply, &(struct chat_event){.kind = CHAT_CALL_END, .flaw = flaw}, &t->out);
}

/* The events without what all of them have, a line each: TYPE REST. */
static void strip(str events, struct buf *out)
{
    size_t n = 0;
    while (events.n) {
        size_t end_of = str_find(events, STR("\n\n"), 0);
        CHECK(end_of != SIZE_MAX);
        str event = str_sub(events, 0, end_of), rest, type;
        events = str_sub(events, end_of + 2, events.n);
        CHECK(str_starts(event, STR("event: ")));
        type = str_sub(str_cut(event, '\n', &rest), 7, SIZE_MAX);
        struct buf head = {0};
        buf_fmt(&head, "data: {\"type\":\"%.*s\",\"sequence_number\":%zu,", STRF(type), n++);
        if (!str_starts(rest, buf_view(&head)))
            test_fail(__FILE__, __LINE__, "%.*s\n    is not of %s", STRF(rest), head.p);
        struct err e;
        struct json *data = json_parse(str_sub(rest, 6, rest.n), &e);
        CHECK_OK(data);
        json_free(data);
        buf_fmt(out, "%.*s {%.*s\n", STRF(type), STRF(str_sub(rest, head.n, rest.n)));
        buf_free(&head);
    }
}

static void check_events(struct told *t, const char *want)
{
    struct buf got = {0};
    strip(buf_view(&t->out), &got);
    CHECK_STR(buf_view(&got), str_of(want));
    buf_free(&got);
}

#define OBJECT(status)                                                                             \
    "\"id\":\"resp_T\",\"object\":\"response\",\"created_at\":17,\"status\":\"" status             \
    "\",\"model\":\"m\","
#define ECHO                                                                                       \
    "\"instructions\":null,\"max_output_tokens\":null,\"metadata\":{},"                            \
    "\"parallel_tool_calls\":true,\"previous_response_id\":null,\"prompt_cache_key\":null,"        \
    "\"reasoning\":{\"effort\":null,\"summary\":null},\"store\":true,\"temperature\":null,"        \
    "\"text\":{\"format\":{\"type\":\"text\"}},\"tool_choice\":\"auto\",\"tools\":[],"             \
    "\"top_p\":null,\"user\":null,"
#define USAGE                                                                                      \
    "\"usage\":{\"input_tokens\":10,\"input_tokens_details\":{\"cached_tokens\":4},"               \
    "\"output_tokens\":3,\"output_tokens_details\":{\"reasoning_tokens\":1},\"total_tokens\":13}"
#define MESSAGE_DONE                                                                               \
    "{\"id\":\"msg_T_0\",\"type\":\"message\",\"status\":\"completed\",\"role\":\"assistant\","    \
    "\"content\":[{\"type\":\"output_text\",\"text\":\"Hi \xc3\xa9\",\"annotations\":[],"          \
    "\"logprobs\":[]}]}"

TEST(responses_tell_a_message)
{
    struct told t;
    begin(&t, "{\"input\":\"x\"}");
    responses_begin(&t.reply, &t.out);
    tell(&t, CHAT_CONTENT, "Hi ");
    responses_idle(&t.reply, &t.out);
    tell(&t, CHAT_CONTENT, "\xc3\xa9");
    responses_end(&t.reply, "stop", &t.out);
    complete(&t, "stop");
    check_events(
        &t, "response.created {\"response\":{" OBJECT("in_progress") ECHO
        "\"error\":null,\"incomplete_details\":null,\"output\":[],\"usage\":null}}\n"
        "response.in_progress {\"response\":{" OBJECT(
            "in_progress") "\"error\":null,\"incomplete_details\":null,\"output\":[],\"usage\":"
                           "null}}\n"
                           "response.output_item.added "
                           "{\"output_index\":0,\"item\":{\"id\":\"msg_T_0\",\"type\":"
                           "\"message\",\"status\":\"in_progress\",\"role\":\"assistant\","
                           "\"content\":[]}}\n"
                           "response.content_part.added "
                           "{\"item_id\":\"msg_T_0\",\"output_index\":0,"
                           "\"content_index\":0,\"part\":{\"type\":\"output_text\",\"text\":\"\","
                           "\"annotations\":[],"
                           "\"logprobs\":[]}}\n"
                           "response.output_text.delta {\"item_id\":\"msg_T_0\",\"output_index\":0,"
                           "\"content_index\":0,\"delta\":\"Hi \",\"logprobs\":[]}\n"
                           "response.in_progress {\"response\":{" OBJECT(
                               "in_progress") "\"error\":null,\"incomplete_details\":null,"
                                              "\"output\":[],\"usage\":null}}\n"
                                              "response.output_text.delta "
                                              "{\"item_id\":\"msg_T_0\",\"output_index\":0,"
                                              "\"content_index\":0,\"delta\":\"\xc3\xa9\","
                                              "\"logprobs\":[]}\n"
                                              "response.output_text.done "
                                              "{\"item_id\":\"msg_T_0\",\"output_index\":0,"
                                              "\"content_index\":0,\"text\":\"Hi "
                                              "\xc3\xa9\",\"logprobs\":[]}\n"
                                              "response.content_part.done "
                                              "{\"item_id\":\"msg_T_0\",\"output_index\":0,"
                                              "\"content_index\":0,\"part\":{\"type\":\"output_"
                                              "text\",\"text\":\"Hi \xc3\xa9\","
                                              "\"annotations\":[],\"logprobs\":[]}}\n"
                                              "response.output_item.done "
                                              "{\"output_index\":0,\"item\":" MESSAGE_DONE "}\n"
                                              "response.completed {\"response\":{" OBJECT(
                                                  "completed") ECHO
        "\"error\":null,\"incomplete_details\":null,\"output\":[" MESSAGE_DONE "]," USAGE "}}\n");
    end(&t);
}

/* Reasoning that clients show and carry; text between it and a call that is white space only. */
TEST(responses_tell_reasoning_and_calls)
{
    struct told t;
    struct buf opaque = {0}, want = {0};
    begin(&t, "{\"input\":\"x\",\"reasoning\":{\"summary\":\"auto\"},\"tools\":[{\"type\":"
              "\"function\",\"name\":\"f\"},{\"type\":\"namespace\",\"name\":\"n\",\"tools\":[{"
              "\"type\":\"function\",\"name\":\"g\"}]}]}");
    tell(&t, CHAT_REASONING, "h");
    tell(&t, CHAT_REASONING, "m\n");
    tell(&t, CHAT_CONTENT, "\n\n");
    tell_call(&t, "call_1", "f", (const char *const[]){"{\"a\":", "1}", NULL}, CHAT_SOUND);
    tell_call(&t, "call_2", "n__g", (const char *const[]){"{}", NULL}, CHAT_MENDED);
    responses_end(&t.reply, "tool_calls", &t.out);
    opaque_put(STR("T"), STR("hm\n"), &opaque);
    buf_fmt(&want,
            "response.output_item.added {\"output_index\":0,\"item\":{\"id\":\"rs_T_0\",\"type\":"
            "\"reasoning\",\"status\":\"in_progress\",\"summary\":[]}}\n"
            "response.reasoning_summary_part.added {\"item_id\":\"rs_T_0\",\"output_index\":0,"
            "\"summary_index\":0,\"part\":{\"type\":\"summary_text\",\"text\":\"\"}}\n"
            "response.reasoning_summary_text.delta {\"item_id\":\"rs_T_0\",\"output_index\":0,"
            "\"summary_index\":0,\"delta\":\"h\"}\n"
            "response.reasoning_summary_text.delta {\"item_id\":\"rs_T_0\",\"output_index\":0,"
            "\"summary_index\":0,\"delta\":\"m\\n\"}\n"
            "response.reasoning_summary_text.done {\"item_id\":\"rs_T_0\",\"output_index\":0,"
            "\"summary_index\":0,\"text\":\"hm\\n\"}\n"
            "response.reasoning_summary_part.done {\"item_id\":\"rs_T_0\",\"output_index\":0,"
            "\"summary_index\":0,\"part\":{\"type\":\"summary_text\",\"text\":\"hm\\n\"}}\n"
            "response.output_item.done {\"output_index\":0,\"item\":{\"id\":\"rs_T_0\",\"type\":"
            "\"reasoning\",\"status\":\"completed\",\"summary\":[{\"type\":\"summary_text\","
            "\"text\":\"hm\\n\"}],\"encrypted_content\":\"%s\"}}\n"
            "response.output_item.added {\"output_index\":1,\"item\":{\"id\":\"fc_T_1\",\"type\":"
            "\"function_call\",\"status\":\"in_progress\",\"call_id\":\"call_1\",\"name\":\"f\","
            "\"arguments\":\"\"}}\n"
            "response.function_call_arguments.delta {\"item_id\":\"fc_T_1\",\"output_index\":1,"
            "\"delta\":\"{\\\"a\\\":\"}\n"
            "response.function_call_arguments.delta {\"item_id\":\"fc_T_1\",\"output_index\":1,"
            "\"delta\":\"1}\"}\n"
            "response.function_call_arguments.done {\"item_id\":\"fc_T_1\",\"output_index\":1,"
            "\"arguments\":\"{\\\"a\\\":1}\",\"name\":\"f\"}\n"
            "response.output_item.done {\"output_index\":1,\"item\":{\"id\":\"fc_T_1\",\"type\":"
            "\"function_call\",\"status\":\"completed\",\"call_id\":\"call_1\",\"name\":\"f\","
            "\"arguments\":\"{\\\"a\\\":1}\"}}\n"
            "response.output_item.added {\"output_index\":2,\"item\":{\"id\":\"fc_T_2\",\"type\":"
            "\"function_call\",\"status\":\"in_progress\",\"call_id\":\"call_2\",\"name\":\"g\","
            "\"namespace\":\"n\",\"arguments\":\"\"}}\n"
            "response.function_call_arguments.delta {\"item_id\":\"fc_T_2\",\"output_index\":2,"
            "\"delta\":\"{}\"}\n"
            "response.function_call_arguments.done {\"item_id\":\"fc_T_2\",\"output_index\":2,"
            "\"arguments\":\"{}\",\"name\":\"g\"}\n"
            "response.output_item.done {\"output_index\":2,\"item\":{\"id\":\"fc_T_2\",\"type\":"
            "\"function_call\",\"status\":\"completed\",\"call_id\":\"call_2\",\"name\":\"g\","
            "\"namespace\":\"n\",\"arguments\":\"{}\"}}\n",
            opaque.p);
    check_events(&t, want.p);
    buf_free(&opaque);
    buf_free(&want);
    end(&t);
}

#define REASONING_TEXT "{\"item_id\":\"rs_T_0\",\"output_index\":0,\"content_index\":0,"

TEST(responses_tell_reasoning_as_text_where_no_summary_is_wanted)
{
    struct told t;
    struct buf opaque = {0}, want = {0};
    begin(&t, "{\"input\":\"x\"}");
    tell(&t, CHAT_REASONING, "hm");
    responses_end(&t.reply, "length", &t.out);
    opaque_put(STR("T"), STR("hm"), &opaque);
    buf_fmt(&want,
            "response.output_item.added {\"output_index\":0,\"item\":{\"id\":\"rs_T_0\",\"type\":"
            "\"reasoning\",\"status\":\"in_progress\",\"summary\":[],\"content\":[]}}\n"
            "response.content_part.added " REASONING_TEXT
            "\"part\":{\"type\":\"reasoning_text\",\"text\":\"\"}}\n"
            "response.reasoning_text.delta " REASONING_TEXT "\"delta\":\"hm\"}\n"
            "response.reasoning_text.done " REASONING_TEXT "\"text\":\"hm\"}\n"
            "response.content_part.done " REASONING_TEXT
            "\"part\":{\"type\":\"reasoning_text\",\"text\":\"hm\"}}\n"
            "response.output_item.done {\"output_index\":0,\"item\":{\"id\":\"rs_T_0\",\"type\":"
            "\"reasoning\",\"status\":\"incomplete\",\"summary\":[],\"content\":[{\"type\":"
            "\"reasoning_text\",\"text\":\"hm\"}],\"encrypted_content\":\"%s\"}}\n",
            opaque.p);
    check_events(&t, want.p);
    buf_free(&opaque);
    buf_free(&want);
    end(&t);
}

/* Codex runs the item of output_item.done: its input is the raw text. */
TEST(responses_tell_custom_calls)
{
    struct told t;
    begin(&t, "{\"input\":\"x\",\"tools\":[{\"type\":\"custom\",\"name\":\"apply_patch\"}]}");
    tell_call(&t, "call_1", "apply_patch",
              (const char *const[]){"{\"inp", "ut\": \"*** \\", "u00e9\\n", "+x\\\"\"", "}", NULL},
              CHAT_SOUND);
    responses_end(&t.reply, "tool_calls", &t.out);
    check_events(&t,
                 "response.output_item.added {\"output_index\":0,\"item\":{\"id\":\"ctc_T_0\","
                 "\"type\":\"custom_tool_call\",\"status\":\"in_progress\",\"call_id\":\"call_1\","
                 "\"name\":\"apply_patch\",\"input\":\"\"}}\n"
                 "response.custom_tool_call_input.delta {\"item_id\":\"ctc_T_0\","
                 "\"output_index\":0,\"delta\":\"*** \"}\n"
                 "response.custom_tool_call_input.delta {\"item_id\":\"ctc_T_0\","
                 "\"output_index\":0,\"delta\":\"\xc3\xa9\\n\"}\n"
                 "response.custom_tool_call_input.delta {\"item_id\":\"ctc_T_0\","
                 "\"output_index\":0,\"delta\":\"+x\\\"\"}\n"
                 "response.custom_tool_call_input.done {\"item_id\":\"ctc_T_0\","
                 "\"output_index\":0,\"input\":\"*** \xc3\xa9\\n+x\\\"\"}\n"
                 "response.output_item.done {\"output_index\":0,\"item\":{\"id\":\"ctc_T_0\","
                 "\"type\":\"custom_tool_call\",\"status\":\"completed\",\"call_id\":\"call_1\","
                 "\"name\":\"apply_patch\",\"input\":\"*** \xc3\xa9\\n+x\\\"\"}}\n");
    end(&t);
}

static bool has(const struct told *t, const char *text)
{
    return str_find(buf_view(&t->out), str_of(text), 0) != SIZE_MAX;
}

/* A call that a limit cut off must not be run; one that the model broke must be told to it. */
TEST(responses_do_not_finish_what_was_cut_off)
{
    struct told t;
    static const char *const half[] = {"{\"cmd\":\"rm -rf /tmp", NULL};
    begin(&t, "{\"input\":\"x\",\"tools\":[{\"type\":\"function\",\"name\":\"f\"}]}");
    tell_call(&t, "call_1", "f", half, CHAT_CUT);
    responses_end(&t.reply, "length", &t.out);
    complete(&t, "length");
    CHECK(!has(&t, "output_item.done"));
    CHECK(has(&t, "event: response.incomplete\n"));
    CHECK(has(&t, "\"incomplete_details\":{\"reason\":\"max_output_tokens\"},\"output\":[{\"id\":"
                  "\"fc_T_0\",\"type\":\"function_call\",\"status\":\"incomplete\""));
    end(&t);
    begin(&t, "{\"input\":\"x\",\"tools\":[{\"type\":\"function\",\"name\":\"f\"}]}");
    tell_call(&t, "call_1", "f", half, CHAT_CUT);
    tell_call(&t, "call_2", "f", half, CHAT_CUT);
    responses_end(&t.reply, "tool_calls", &t.out);
    complete(&t, "tool_calls");
    CHECK(has(&t, "event: response.output_item.done\n"));
    CHECK(has(&t, "event: response.completed\n"));
    CHECK(!has(&t, "incomplete\""));
    end(&t);
}

TEST(responses_fail_by_the_code_that_codex_knows)
{
    struct told t;
    struct openai_error e;
    begin(&t, "{\"input\":\"x\"}");
    openai_overflow(&e, "input", 12, 10);
    responses_fail(&t.reply, &e, &t.out);
    check_events(&t, "response.failed {\"response\":{" OBJECT("failed") ECHO
                 "\"error\":{\"code\":\"context_length_exceeded\",\"message\":\"prompt is too "
                 "long: 12 tokens > 10 maximum. This model's maximum context length is 10 "
                 "tokens.\"},\"incomplete_details\":null,\"output\":[],\"usage\":null}}\n");
    end(&t);
    begin(&t, "{\"input\":\"x\"}");
    openai_fail(&e, 500, NULL, "the device was lost");
    responses_fail(&t.reply, &e, &t.out);
    CHECK(has(&t, "\"error\":{\"code\":\"server_error\",\"message\":\"the device was lost\"}"));
    end(&t);
}

TEST(responses_at_once_have_the_items_of_the_stream)
{
    struct told t;
    struct buf body = {0};
    begin(&t, "{\"input\":\"x\"}");
    responses_event(&t.reply,
                    &(struct chat_event){.kind = CHAT_CONTENT, .text = STR("Hi \xc3\xa9")}, NULL);
    responses_end(&t.reply, "stop", NULL);
    responses_body(&t.reply, "stop", &usage, STR(""), &body);
    CHECK_STR(buf_view(&body),
              STR("{" OBJECT("completed") ECHO
                  "\"error\":null,\"incomplete_details\":null,\"output\":[" MESSAGE_DONE "]," USAGE
                  "}"));
    CHECK_INT(t.out.n, 0);
    buf_clear(&body);
    responses_body(&t.reply, "stop", &usage, STR("not \"so\""), &body);
    CHECK(str_ends(buf_view(&body), STR("},\"warnings\":[\"not \\\"so\\\"\"]}")));
    buf_free(&body);
    end(&t);
}

/* ---- the text of custom calls ---- */

static void check_freeform(const char *arguments, const char *text, const char *streamed)
{
    str all = str_of(arguments);
    struct buf out = {0};
    freeform_text(all, &out);
    CHECK_STR(buf_view(&out), str_of(text));
    for (size_t step = 1; step < 8; step++) {
        struct freeform f = {0};
        buf_clear(&out);
        for (size_t at = 0; at < all.n; at += step)
            freeform_put(&f, str_sub(all, at, at + step), &out);
        CHECK_STR(buf_view(&out), str_of(streamed));
        freeform_free(&f);
    }
    buf_free(&out);
}

TEST(freeform_reads_text_however_it_is_cut)
{
    check_freeform("{\"input\":\"a\\n\\t\\\"\\\\\\/b\"}", "a\n\t\"\\/b", "a\n\t\"\\/b");
    check_freeform(" { \"input\" : \"\\u00e9\\ud83d\\ude00\" } ", "\xc3\xa9\xf0\x9f\x98\x80",
                   "\xc3\xa9\xf0\x9f\x98\x80");
    check_freeform("{\"input\":\"a\\ud83dx\"}", "a\xef\xbf\xbdx", "a\xef\xbf\xbdx");
    check_freeform("{\"input\":\"\"}", "", "");
    check_freeform("{\"input\":\"cut o", "cut o", "cut o");
    check_freeform("{\"other\":\"a\"}", "{\"other\":\"a\"}", "");
    check_freeform("{\"other\":1,\"input\":\"late\"}", "late", "");
    check_freeform("*** Begin Patch", "*** Begin Patch", "");
    check_freeform("", "", "");
}
