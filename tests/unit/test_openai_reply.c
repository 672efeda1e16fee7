/* The bytes of replies and chunks. */
#include "test.h"

#include <math.h>

#include "base/json.h"
#include "server/openai_reply.h"

static const struct openai_head chat_head = {
    .chat = true, .id = "chatcmpl-A", .created = 17, .model = {"m", 1}};
static const struct openai_head text_head = {.id = "cmpl-A", .created = 17, .model = {"m", 1}};

static const struct openai_usage none = {0};

#define PRINT "\"system_fingerprint\":\"tawny-" TAWNY_VERSION "\","
#define CHUNK                                                                                      \
    "data: {\"id\":\"chatcmpl-A\",\"object\":\"chat.completion.chunk\",\"created\":17,"            \
    "\"model\":\"m\"," PRINT "\"choices\":["

static void check_bytes(struct buf *got, str want)
{
    CHECK_STR(buf_view(got), want);
    buf_free(got);
}

TEST(openai_chunks_of_a_reply)
{
    struct buf out = {0};
    openai_chunk_first(&chat_head, &out);
    check_bytes(&out, STR(CHUNK "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},"
                                "\"logprobs\":null,\"finish_reason\":null}]}\n\n"));
    struct chat_event event = {.kind = CHAT_CONTENT, .text = STR("a\n\"\xc3\xa9")};
    openai_chunk_event(&chat_head, &event, NULL, 0, &out);
    check_bytes(&out, STR(CHUNK "{\"index\":0,\"delta\":{\"content\":\"a\\n\\\"\xc3\xa9\"},"
                                "\"logprobs\":null,\"finish_reason\":null}]}\n\n"));
    event = (struct chat_event){.kind = CHAT_REASONING, .text = STR("hm")};
    openai_chunk_event(&chat_head, &event, NULL, 0, &out);
    check_bytes(&out, STR(CHUNK "{\"index\":0,\"delta\":{\"reasoning_content\":\"hm\"},"
                                "\"logprobs\":null,\"finish_reason\":null}]}\n\n"));
    openai_chunk_idle(&chat_head, &out);
    check_bytes(&out, STR(CHUNK "{\"index\":0,\"delta\":{},\"logprobs\":null,"
                                "\"finish_reason\":null}]}\n\n"));
    openai_chunk_finish(&chat_head, "length", NULL, 0, &none, &out);
    check_bytes(&out, STR(CHUNK "{\"index\":0,\"delta\":{},\"logprobs\":null,"
                                "\"finish_reason\":\"length\"}]}\n\n"));
    openai_chunk_finish(&chat_head, OPENAI_REPETITION, NULL, 0, &none, &out);
    check_bytes(&out,
                STR(CHUNK "{\"index\":0,\"delta\":{},\"logprobs\":null,"
                          "\"finish_reason\":\"length\",\"stop_reason\":\"repetition\"}]}\n\n"));
    openai_chunk_done(&out);
    check_bytes(&out, STR("data: [DONE]\n\n"));
}

TEST(openai_chunks_of_a_call)
{
    struct buf out = {0};
    struct chat_event event = {
        .kind = CHAT_CALL_BEGIN, .i_call = 1, .id = STR("call_x"), .name = STR("write_file")};
    openai_chunk_event(&chat_head, &event, NULL, 0, &out);
    check_bytes(
        &out, STR(CHUNK "{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":1,\"id\":\"call_x\","
                        "\"type\":\"function\",\"function\":{\"name\":\"write_file\","
                        "\"arguments\":\"\"}}]},\"logprobs\":null,\"finish_reason\":null}]}\n\n"));
    event = (struct chat_event){.kind = CHAT_CALL_ARGUMENTS, .i_call = 1, .text = STR("{\"p\":")};
    openai_chunk_event(&chat_head, &event, NULL, 0, &out);
    check_bytes(&out, STR(CHUNK "{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":1,\"function\":"
                                "{\"arguments\":\"{\\\"p\\\":\"}}]},\"logprobs\":null,"
                                "\"finish_reason\":null}]}\n\n"));
    event.kind = CHAT_CALL_END;
    openai_chunk_event(&chat_head, &event, NULL, 0, &out);
    CHECK_INT(out.n, 0);
}

TEST(openai_chunks_announce_and_give_usage)
{
    struct openai_head head = chat_head;
    struct openai_usage usage = {.n_prompt = 10, .n_cached = 4, .n_generated = 3, .n_reasoning = 1};
    struct buf out = {0};
    head.usage_in_chunks = true;
    openai_chunk_idle(&head, &out);
    check_bytes(&out, STR(CHUNK "{\"index\":0,\"delta\":{},\"logprobs\":null,"
                                "\"finish_reason\":null}],\"usage\":null}\n\n"));
    openai_chunk_usage(&head, &usage, &out);
    check_bytes(&out,
                STR(CHUNK "],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":3,"
                          "\"total_tokens\":13,\"prompt_tokens_details\":{\"cached_tokens\":4},"
                          "\"completion_tokens_details\":{\"reasoning_tokens\":1}}}\n\n"));
}

/* As llama-server has them, for clients that ask. */
TEST(openai_chunks_tell_progress_and_timings)
{
    struct openai_head head = chat_head;
    struct openai_usage usage = {.n_prompt = 110,
                                 .n_cached = 10,
                                 .n_generated = 4,
                                 .prompt_ns = 50000000,
                                 .reply_ns = 8000000};
    struct buf out = {0};
    openai_chunk_progress(&head, 110, 10, 60, 25900000, &out);
    check_bytes(&out, STR(CHUNK "{\"index\":0,\"delta\":{},\"logprobs\":null,"
                                "\"finish_reason\":null}],\"prompt_progress\":{\"total\":110,"
                                "\"cache\":10,\"processed\":60,\"time_ms\":25}}\n\n"));
    head.timings = true;
    openai_chunk_finish(&head, "stop", NULL, 0, &usage, &out);
    check_bytes(&out, STR(CHUNK "{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":"
                                "\"stop\"}],\"timings\":{\"cache_n\":10,\"prompt_n\":100,"
                                "\"prompt_ms\":50.000,\"prompt_per_token_ms\":0.500,"
                                "\"prompt_per_second\":2000.000,\"predicted_n\":4,"
                                "\"predicted_ms\":8.000,\"predicted_per_token_ms\":2.000,"
                                "\"predicted_per_second\":500.000}}\n\n"));
}

static const struct openai_logprob alternatives[] = {{{"\xc3", 1}, -0.5f}, {{"b", 1}, -INFINITY}};
static const struct openai_token token = {
    .token = {{"\xc3", 1}, -0.5f}, .top = alternatives, .n_top = 2, .offset = 6};

TEST(openai_logprobs_in_both_shapes)
{
    struct buf out = {0};
    struct chat_event event = {.kind = CHAT_CONTENT, .text = STR("x")};
    openai_chunk_event(&chat_head, &event, &token, 1, &out);
    check_bytes(&out,
                STR(CHUNK "{\"index\":0,\"delta\":{\"content\":\"x\"},\"logprobs\":{\"content\":["
                          "{\"token\":\"\xef\xbf\xbd\",\"logprob\":-0.5,\"bytes\":[195],"
                          "\"top_logprobs\":[{\"token\":\"\xef\xbf\xbd\",\"logprob\":-0.5,"
                          "\"bytes\":[195]},{\"token\":\"b\",\"logprob\":-9999,\"bytes\":[98]}]}],"
                          "\"refusal\":null},\"finish_reason\":null}]}\n\n"));
    openai_chunk_event(&text_head, &event, &token, 1, &out);
    check_bytes(&out,
                STR("data: {\"id\":\"cmpl-A\",\"object\":\"text_completion\",\"created\":17,"
                    "\"model\":\"m\"," PRINT "\"choices\":[{\"index\":0,\"text\":\"x\","
                    "\"logprobs\":{\"tokens\":[\"\xef\xbf\xbd\"],\"token_logprobs\":[-0.5],"
                    "\"top_logprobs\":[{\"\xef\xbf\xbd\":-0.5,\"b\":-9999}],\"text_offset\":[6]},"
                    "\"finish_reason\":null}]}\n\n"));
}

TEST(openai_replies_at_once)
{
    struct buf out = {0};
    struct chat_call calls[] = {{STR("c1"), STR("f"), STR("{\"x\":1}")},
                                {STR("c2"), STR("g"), STR("{}")}};
    struct openai_reply reply = {.calls = calls, .n_calls = 2, .finish = "tool_calls"};
    openai_reply_body(&chat_head, &reply, &out);
    check_bytes(
        &out,
        STR("{\"id\":\"chatcmpl-A\",\"object\":\"chat.completion\",\"created\":17,\"model\":"
            "\"m\"," PRINT
            "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":null,"
            "\"refusal\":null,\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":"
            "{\"name\":\"f\",\"arguments\":\"{\\\"x\\\":1}\"}},{\"id\":\"c2\",\"type\":"
            "\"function\","
            "\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}]},\"logprobs\":null,"
            "\"finish_reason\":\"tool_calls\"}],\"usage\":{\"prompt_tokens\":0,"
            "\"completion_tokens\":0,\"total_tokens\":0,\"prompt_tokens_details\":"
            "{\"cached_tokens\":0},\"completion_tokens_details\":{\"reasoning_tokens\":0}}}\n"));
    reply = (struct openai_reply){
        .content = STR("hi"), .finish = "stop", .tokens = &token, .n_tokens = 1};
    openai_reply_body(&text_head, &reply, &out);
    struct err e;
    struct json *v = json_parse(buf_view(&out), &e);
    if (!v)
        test_fail(__FILE__, __LINE__, "%s", e.msg);
    const struct json *choice = json_at(json_get(v, "choices"), 0);
    CHECK_STR(json_str(json_get(choice, "text")), STR("hi"));
    CHECK_STR(json_str(json_get(choice, "finish_reason")), STR("stop"));
    json_free(v);
    buf_free(&out);
}
