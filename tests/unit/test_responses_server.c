/* /v1/responses over sockets. */
#include "test.h"

#include <unistd.h>

#include "kit/server_kit.h"

static int post(struct kit_server *s, const char *body, struct buf *in)
{
    return kit_fetch(s, "POST", "/v1/responses", "", str_of(body), in);
}

/* The id of the response in a body. */
static void take_id(const struct buf *in, char *id, size_t size)
{
    size_t at = str_find(buf_view(in), STR("\"id\":\"resp_"), 0);
    CHECK(at != SIZE_MAX);
    snprintf(id, size, "%.29s", in->p + at + 6);
}

TEST(responses_server_streams_and_answers_at_once)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){0});
    struct buf in = {0};
    CHECK_INT(post(s, "{\"input\":\"ab\",\"max_output_tokens\":4,\"ignore_eos\":true}", &in), 200);
    CHECK_HAS(&in, "\"object\":\"response\"");
    CHECK_HAS(&in, "\"status\":\"incomplete\"");
    CHECK_HAS(&in, "\"incomplete_details\":{\"reason\":\"max_output_tokens\"}");
    CHECK_HAS(&in, "\"output_tokens\":4,");
    CHECK_HAS(&in, "\"cached_tokens\":0");
    CHECK_INT(post(s,
                   "{\"input\":\"ab\",\"max_output_tokens\":4,\"ignore_eos\":true,\"stream\":true}",
                   &in),
              200);
    CHECK_HAS(&in, "Content-Type: text/event-stream");
    CHECK_HAS(&in, "event: response.created\ndata: {\"type\":\"response.created\"");
    CHECK_HAS(&in, "event: response.incomplete\n");
    CHECK(!kit_has(&in, "\"cached_tokens\":0"));
    CHECK(!kit_has(&in, "[DONE]"));
    CHECK_INT(post(s, "{\"input\":7}", &in), 400);
    CHECK_HAS(&in, "\"param\":\"input\"");
    buf_free(&in);
    kit_server_close(s);
}

/* Codex's timer counts events, not comments. */
TEST(responses_server_shows_signs_of_life_as_events)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){.keepalive_ms = 5});
    struct buf in = {0}, body = {0};
    buf_str(&body, STR("{\"stream\":true,\"max_output_tokens\":1,\"input\":\""));
    for (int i = 0; i < 100; i++)
        buf_str(&body, STR("owl "));
    buf_str(&body, STR("\"}"));
    CHECK_INT(post(s, body.p, &in), 200);
    CHECK_HAS(&in, "\"sequence_number\":2,\"response\":{\"id\":\"resp_");
    CHECK_HAS(&in, "event: response.in_progress\ndata: {\"type\":\"response.in_progress\","
                   "\"sequence_number\":2");
    CHECK(!kit_has(&in, "\n: "));
    buf_free(&in);
    buf_free(&body);
    kit_server_close(s);
}

TEST(responses_server_says_what_does_not_fit)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){.n_ctx = 64});
    struct buf in = {0}, body = {0};
    for (int stream = 0; stream < 2; stream++) {
        buf_clear(&body);
        buf_fmt(&body, "{\"stream\":%s,\"input\":\"", stream ? "true" : "false");
        for (int i = 0; i < 100; i++)
            buf_str(&body, STR("owl "));
        buf_str(&body, STR("\"}"));
        CHECK_INT(post(s, body.p, &in), stream ? 200 : 400);
        CHECK_HAS(&in, "\"code\":\"context_length_exceeded\"");
        CHECK_HAS(&in, "tokens > 64 maximum. This model's maximum context length is 64 tokens.");
        CHECK(kit_has(&in, "event: response.failed\n") == (stream == 1));
    }
    buf_free(&in);
    buf_free(&body);
    kit_server_close(s);
}

TEST(responses_server_keeps_responses)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){0});
    struct buf in = {0}, more = {0};
    char id[40], path[64], body[200];
    CHECK_INT(post(s, "{\"input\":\"ab\",\"max_output_tokens\":3,\"ignore_eos\":true}", &in), 200);
    take_id(&in, id, sizeof id);
    snprintf(path, sizeof path, "/v1/responses/%s", id);
    CHECK_INT(kit_fetch(s, "GET", path, "", STR(""), &more), 200);
    CHECK(kit_has(&more, str_find(buf_view(&in), STR("{\"id\""), 0) + in.p));
    snprintf(body, sizeof body,
             "{\"previous_response_id\":\"%s\",\"input\":\"c\",\"max_output_tokens\":1,"
             "\"store\":false}",
             id);
    CHECK_INT(post(s, body, &in), 200);
    CHECK_HAS(&in, id);
    CHECK(!kit_has(&in, "\"cached_tokens\":0")); /* it is the same conversation */
    char unkept[40];
    take_id(&in, unkept, sizeof unkept);
    snprintf(path, sizeof path, "/v1/responses/%s", unkept);
    CHECK_INT(kit_fetch(s, "GET", path, "", STR(""), &more), 404);
    snprintf(path, sizeof path, "/v1/responses/%s", id);
    CHECK_INT(kit_fetch(s, "DELETE", path, "", STR(""), &more), 200);
    CHECK_HAS(&more, "\"object\":\"response\",\"deleted\":true}");
    CHECK_INT(kit_fetch(s, "DELETE", path, "", STR(""), &more), 404);
    CHECK_INT(post(s, body, &in), 404);
    CHECK_HAS(&in, "\"code\":\"previous_response_not_found\"");
    CHECK_INT(kit_fetch(s, "PUT", path, "", STR(""), &more), 405);
    buf_free(&in);
    buf_free(&more);
    kit_server_close(s);
}

/* A conversation with a custom tool that comes back as its client keeps it is not read again. */
TEST(responses_server_knows_its_own_calls_again)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){.demo = true});
    struct buf in = {0}, body = {0};
    static const char tools[] =
        "\"store\":false,\"temperature\":0,\"max_output_tokens\":128,\"tools\":[{\"type\":"
        "\"namespace\",\"name\":\"files\","
        "\"tools\":[{\"type\":\"function\",\"name\":\"write_file\",\"description\":\"Create a file "
        "or replace its content.\",\"parameters\":{\"type\":\"object\",\"properties\":{\"path\":{"
        "\"type\":\"string\"},\"content\":{\"type\":\"string\"}},\"required\":[\"path\","
        "\"content\"]}}]}],\"tool_choice\":\"required\",";
    static const char ask[] = "{\"role\":\"user\",\"content\":\"Create a.txt containing: hi\"}";
    buf_fmt(&body, "{%s\"input\":[%s]}", tools, ask);
    CHECK_INT(post(s, body.p, &in), 200);
    CHECK_HAS(&in, "\"name\":\"write_file\",\"namespace\":\"files\"");
    size_t from = str_find(buf_view(&in), STR("\"output\":["), 0) + 10;
    size_t to = str_find(buf_view(&in), STR("],\"usage\""), from);
    str item = str_sub(buf_view(&in), from, to);
    size_t at = str_find(item, STR("\"call_id\":\""), 0) + 11;
    str call_id = str_sub(item, at, at + 29);
    struct buf next = {0};
    buf_fmt(&next,
            "{%s\"input\":[%s,%.*s,{\"type\":\"function_call_output\",\"call_id\":\"%.*s\","
            "\"output\":\"ok\"}]}",
            tools, ask, STRF(item), STRF(call_id));
    size_t n_prompt = strtoul(strstr(in.p, "\"input_tokens\":") + 15, NULL, 10);
    size_t n_reply = strtoul(strstr(in.p, "\"output_tokens\":") + 16, NULL, 10);
    CHECK_INT(post(s, next.p, &in), 200);
    size_t n_cached = strtoul(strstr(in.p, "\"cached_tokens\":") + 16, NULL, 10);
    CHECK(n_cached + 2 >= n_prompt + n_reply);
    buf_free(&next);
    buf_free(&in);
    buf_free(&body);
    kit_server_close(s);
}
