/* /v1/messages over sockets. */
#include "test.h"

#include <unistd.h>

#include "kit/server_kit.h"

static int post(struct kit_server *s, const char *path, const char *body, struct buf *in)
{
    return kit_fetch(s, "POST", path, "", str_of(body), in);
}

static size_t number_after(const struct buf *in, const char *name)
{
    const char *at = strstr(in->p, name);
    CHECK(at != NULL);
    return strtoul(at + strlen(name), NULL, 10);
}

/* A request whose message is n words. */
static void long_body(size_t n, const char *fields, struct buf *out)
{
    buf_clear(out);
    buf_fmt(out, "{%s\"messages\":[{\"role\":\"user\",\"content\":\"", fields);
    for (size_t i = 0; i < n; i++)
        buf_str(out, STR("owl "));
    buf_str(out, STR("\"}]}"));
}

#define AB "\"messages\":[{\"role\":\"user\",\"content\":\"ab\"}]}"

TEST(anthropic_server_streams_and_answers_at_once)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){0});
    struct buf in = {0};
    CHECK_INT(post(s, "/v1/messages?beta=true", "{\"max_tokens\":4,\"ignore_eos\":true," AB, &in),
              200);
    CHECK_HAS(&in, "\"type\":\"message\",\"role\":\"assistant\"");
    CHECK_HAS(&in, "\"stop_reason\":\"max_tokens\"");
    CHECK_HAS(&in, "\"cache_read_input_tokens\":0,\"output_tokens\":4}");
    size_t n_prompt = number_after(&in, "\"input_tokens\":");
    CHECK_INT(
        post(s, "/v1/messages", "{\"max_tokens\":4,\"ignore_eos\":true,\"stream\":true," AB, &in),
        200);
    CHECK_HAS(&in, "Content-Type: text/event-stream");
    CHECK_HAS(&in, "event: message_start\ndata: {\"type\":\"message_start\"");
    CHECK_INT(number_after(&in, "\"input_tokens\":"), n_prompt);
    CHECK_HAS(&in, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
    CHECK(!kit_has(&in, "[DONE]"));
    /* What was known and what was read add up to the prompt. */
    struct buf end = {0};
    buf_str(&end, str_of(strstr(in.p, "message_delta")));
    size_t n_cached = number_after(&end, "\"cache_read_input_tokens\":");
    CHECK(n_cached > 0);
    CHECK_INT(number_after(&end, "\"input_tokens\":") + n_cached, n_prompt);
    CHECK_INT(post(s, "/v1/messages/count_tokens", "{" AB, &in), 200);
    CHECK_INT(number_after(&in, "{\"input_tokens\":"), n_prompt);
    buf_free(&end);
    buf_free(&in);
    kit_server_close(s);
}

/* The start comes before the prompt is read, and pings while it is. */
TEST(anthropic_server_shows_signs_of_life)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){.keepalive_ms = 5});
    struct buf in = {0}, body = {0};
    long_body(40, "\"stream\":true,\"max_tokens\":1,", &body);
    CHECK_INT(post(s, "/v1/messages", body.p, &in), 200);
    const char *start = strstr(in.p, "event: message_start"), *ping = strstr(in.p, "event: ping");
    CHECK(start && ping && start < ping);
    CHECK_HAS(&in, "event: ping\ndata: {\"type\":\"ping\"}\n\n");
    buf_free(&in);
    buf_free(&body);
    kit_server_close(s);
}

TEST(anthropic_server_stops_at_stop_sequences)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){.demo = true});
    struct buf in = {0};
    CHECK_INT(post(s, "/v1/messages",
                   "{\"temperature\":0,\"max_tokens\":99,\"stop_sequences\":[\"program\"],"
                   "\"messages\":[{\"role\":\"user\",\"content\":\"What is tawny?\"}]}",
                   &in),
              200);
    CHECK_HAS(&in, "\"stop_reason\":\"stop_sequence\",\"stop_sequence\":\"program\"");
    CHECK_HAS(&in, "\"text\":\"tawny is one C \"");
    buf_free(&in);
    kit_server_close(s);
}

/* Every error is in the protocol's shape, also those from before the body is read. */
TEST(anthropic_server_refuses_in_its_own_shape)
{
    struct kit_server *s =
        kit_server_open(&(struct kit_server_params){.n_ctx = 64, .api_key = "k", .max_body = 4000});
    struct buf in = {0}, body = {0};
    const char *key = "x-api-key: k\r\n", *path = "/v1/messages";
    CHECK_INT(post(s, path, "{}", &in), 401);
    CHECK_HAS(&in, "{\"type\":\"error\",\"error\":{\"type\":\"authentication_error\"");
    CHECK_INT(kit_fetch(s, "GET", path, key, STR(""), &in), 405);
    CHECK_HAS(&in, "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\"");
    CHECK_INT(
        kit_fetch(s, "POST", path, "x-api-key: k\r\nOrigin: http://a.example\r\n", STR("{}"), &in),
        403);
    CHECK_HAS(&in, "{\"type\":\"error\",\"error\":{\"type\":\"permission_error\"");
    CHECK_INT(kit_fetch(s, "POST", path, key, STR("{\"messages\":7}"), &in), 400);
    CHECK_HAS(&in, "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\"");
    for (int stream = 0; stream < 2; stream++) {
        long_body(100, stream ? "\"stream\":true," : "", &body);
        CHECK_INT(kit_fetch(s, "POST", path, key, buf_view(&body), &in), 400);
        CHECK_HAS(&in, "\"message\":\"prompt is too long: ");
        CHECK_HAS(&in, " tokens > 64 maximum\"}}");
    }
    CHECK_INT(kit_fetch(s, "POST", "/v1/messages/count_tokens", key, buf_view(&body), &in), 200);
    long_body(2000, "", &body);
    CHECK_INT(kit_fetch(s, "POST", path, key, buf_view(&body), &in), 413);
    CHECK_HAS(&in, "{\"type\":\"error\",\"error\":{\"type\":\"request_too_large\"");
    CHECK_INT(kit_fetch(s, "POST", "/v1/chat/completions", key, buf_view(&body), &in), 413);
    CHECK_HAS(&in, "{\"error\":{\"message\":\"The request body is too large.\"");
    buf_free(&in);
    buf_free(&body);
    kit_server_close(s);
}

/* A call that comes back as its client keeps it (other spaces, its own id) is not read again. */
TEST(anthropic_server_knows_its_own_calls_again)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){.demo = true});
    struct buf in = {0}, body = {0}, next = {0};
    static const char head[] =
        "\"temperature\":0,\"max_tokens\":128,\"tools\":[{\"name\":\"write_file\",\"description\":"
        "\"Create a file or "
        "replace its content.\",\"input_schema\":{\"type\":\"object\",\"properties\":{\"path\":{"
        "\"type\":\"string\"},\"content\":{\"type\":\"string\"}},\"required\":[\"path\","
        "\"content\"]}}],\"tool_choice\":{\"type\":\"any\",\"disable_parallel_tool_use\":true},"
        "\"messages\":[{\"role\":\"user\",\"content\":\"Create a.txt containing: hi\"}";
    buf_fmt(&body, "{%s]}", head);
    CHECK_INT(post(s, "/v1/messages", body.p, &in), 200);
    CHECK_HAS(&in, "\"stop_reason\":\"tool_use\"");
    size_t n_prompt = number_after(&in, "\"input_tokens\":");
    size_t n_reply = number_after(&in, "\"output_tokens\":");
    const char *id = strstr(in.p, "toolu_");
    CHECK(id != NULL);
    buf_fmt(&next,
            "{%s,{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"%.30s\","
            "\"name\":\"write_file\",\"input\":{\"content\":\"hi\",\"path\":\"a.txt\"}}]},"
            "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"%.30s\","
            "\"content\":\"ok\"}]}]}",
            head, id, id);
    CHECK_INT(post(s, "/v1/messages", next.p, &in), 200);
    CHECK(number_after(&in, "\"cache_read_input_tokens\":") + 2 >= n_prompt + n_reply);
    buf_free(&next);
    buf_free(&in);
    buf_free(&body);
    kit_server_close(s);
}
