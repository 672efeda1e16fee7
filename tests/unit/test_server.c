/* The server over raw sockets: what it answers, and what hostile or broken clients cannot do. */
#include "test.h"

#include <unistd.h>

#include "kit/server_kit.h"

static size_t count(const struct buf *b, const char *text)
{
    size_t n = 0;
    for (size_t at = 0; (at = str_find(buf_view(b), str_of(text), at)) != SIZE_MAX; at++)
        n++;
    return n;
}

/* It still answers. */
static void check_alive(struct kit_server *s)
{
    struct buf in = {0};
    CHECK_INT(kit_fetch(s, "GET", "/health", "", STR(""), &in), 200);
    CHECK_HAS(&in, "{\"status\":\"ok\"}");
    buf_free(&in);
}

TEST(server_describes_its_model)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){.n_ctx = 512});
    struct buf in = {0};
    CHECK_INT(kit_fetch(s, "GET", "/v1/models?limit=1000", "", STR(""), &in), 200);
    static const char *const members[] = {"\"object\":\"list\"",
                                          "\"data\":[{",
                                          "\"models\":[{",
                                          "\"id\":\"kit\"",
                                          "\"n_ctx\":512",
                                          "\"context_length\":512",
                                          "\"max_context_length\":512",
                                          "\"max_model_len\":512",
                                          "\"context_window\":512",
                                          "\"n_ctx_train\":4096"};
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        CHECK_HAS(&in, members[i]);
    CHECK_INT(kit_fetch(s, "GET", "/v1/models/kit", "", STR(""), &in), 200);
    CHECK_INT(kit_fetch(s, "GET", "/v1/models/other", "", STR(""), &in), 404);
    CHECK_HAS(&in, "\"code\":\"model_not_found\"");
    CHECK_INT(kit_fetch(s, "HEAD", "/v1/models", "", STR(""), &in), 200);
    CHECK(!kit_has(&in, "context_length"));
    buf_free(&in);
    kit_server_close(s);
}

TEST(server_refuses_before_it_reads_the_body)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){.api_key = "secret"});
    struct buf in = {0};
    str body = STR("{\"prompt\":\"x\",\"max_tokens\":1}");
    CHECK_INT(kit_fetch(s, "POST", "/v1/completions", "", body, &in), 401);
    CHECK_HAS(&in, "\"code\":\"invalid_api_key\"");
    CHECK_INT(kit_fetch(s, "POST", "/v1/completions", "Authorization: Bearer no\r\n", body, &in),
              401);
    CHECK_INT(
        kit_fetch(s, "POST", "/v1/completions", "Authorization: Bearer secret\r\n", body, &in),
        200);
    CHECK_INT(kit_fetch(s, "POST", "/v1/completions", "X-Api-Key: secret\r\n", body, &in), 200);
    CHECK_INT(kit_fetch(s, "GET", "/v1/models", "", STR(""), &in), 401);
    CHECK_INT(kit_fetch(s, "GET", "/v2/models", "", STR(""), &in), 404);
    CHECK_HAS(&in, "\"code\":\"unknown_url\"");
    CHECK_INT(kit_fetch(s, "GET", "/v1/completions", "", STR(""), &in), 405);
    CHECK_HAS(&in, "Allow: POST");
    CHECK_INT(kit_fetch(s, "OPTIONS", "/v1/completions", "", STR(""), &in), 204);
    CHECK_INT(kit_fetch(s, "GET", "/health", "Origin: https://evil.example\r\n", STR(""), &in),
              403);
    CHECK(!kit_has(&in, "Access-Control"));
    int fd = kit_dial(s);
    buf_clear(&in);
    kit_send(fd, STR("GET /health HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"));
    kit_read_all(fd, &in);
    close(fd);
    CHECK_INT(kit_status(&in), 403);
    check_alive(s);
    buf_free(&in);
    kit_server_close(s);
}

TEST(server_answers_a_chat_at_once_and_in_chunks)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){0});
    struct buf in = {0}, body = {0};
    kit_chat_body(20, "\"max_tokens\":6,\"ignore_eos\":true,\"logprobs\":true,", &body);
    CHECK_INT(kit_fetch(s, "POST", "/v1/chat/completions", "", buf_view(&body), &in), 200);
    CHECK_HAS(&in, "\"object\":\"chat.completion\"");
    CHECK_HAS(&in, "\"finish_reason\":\"length\"");
    CHECK_HAS(&in, "\"completion_tokens\":6,");
    CHECK_INT(count(&in, "\"top_logprobs\":[]"), 6);
    CHECK_HAS(&in, "\"cached_tokens\":0");
    kit_chat_body(20,
                  "\"max_tokens\":6,\"ignore_eos\":true,\"logprobs\":true,\"stream\":true,"
                  "\"stream_options\":{\"include_usage\":true},",
                  &body);
    CHECK_INT(kit_fetch(s, "POST", "/v1/chat/completions", "", buf_view(&body), &in), 200);
    CHECK_HAS(&in, "Content-Type: text/event-stream");
    CHECK_HAS(&in, "{\"role\":\"assistant\",\"content\":\"\"}");
    CHECK_INT(count(&in, "\"finish_reason\":\"length\""), 1);
    CHECK_INT(count(&in, "\"top_logprobs\":[]"), 6);
    CHECK_INT(count(&in, "\"choices\":[],\"usage\":{"), 1);
    CHECK(!kit_has(&in, "\"cached_tokens\":0"));
    CHECK_HAS(&in, "data: [DONE]\n\n");
    buf_free(&in);
    buf_free(&body);
    kit_server_close(s);
}

/* A reply that max_tokens cut off comes back: what was sampled stands in the prompt, whatever the
 * tokenizer would make of its text. The last token of a reply was never read. */
TEST(server_knows_a_reply_again_that_was_cut_off)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){.demo = true});
    struct buf in = {0}, body = {0}, replies = {0};
    static const char fields[] = "\"temperature\":2,\"top_k\":0,\"top_p\":1,\"max_tokens\":40,"
                                 "\"ignore_eos\":true,\"messages\":[{\"role\":\"user\","
                                 "\"content\":\"What is tawny?\"}";
    for (int seed = 1; seed <= 3; seed++) {
        buf_clear(&body);
        buf_fmt(&body, "{\"seed\":%d,%s]}", seed, fields);
        CHECK_INT(kit_fetch(s, "POST", "/v1/chat/completions", "", buf_view(&body), &in), 200);
        CHECK_HAS(&in, "\"finish_reason\":\"length\"");
        const size_t from = str_find(buf_view(&in), STR("\"content\":\""), 0);
        const size_t to = str_find(buf_view(&in), STR(",\"refusal\""), from);
        const size_t n_prompt = strtoul(strstr(in.p, "\"prompt_tokens\":") + 16, NULL, 10);
        const str reply = str_sub(buf_view(&in), from, to);
        const bool was_drawn = str_find(buf_view(&replies), reply, 0) != SIZE_MAX;
        buf_str(&replies, reply);
        buf_clear(&body);
        buf_fmt(&body,
                "{\"seed\":%d,%s,{\"role\":\"assistant\",%.*s},{\"role\":\"user\",\"content\":"
                "\"Go on.\"}]}",
                seed, fields, STRF(reply));
        CHECK_INT(kit_fetch(s, "POST", "/v1/chat/completions", "", buf_view(&body), &in), 200);
        const size_t n_cached = strtoul(strstr(in.p, "\"cached_tokens\":") + 16, NULL, 10);
        /* Where two seeds drew the same reply, all of the prompt was read before. */
        const size_t n_all = strtoul(strstr(in.p, "\"prompt_tokens\":") + 16, NULL, 10);
        CHECK_INT(n_cached, was_drawn ? n_all - 1 : n_prompt + 40 - 1);
    }
    buf_free(&replies);
    buf_free(&in);
    buf_free(&body);
    kit_server_close(s);
}

TEST(server_says_what_does_not_fit)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){.n_ctx = 64});
    struct buf in = {0}, body = {0};
    kit_chat_body(100, "\"stream\":true,", &body);
    CHECK_INT(kit_fetch(s, "POST", "/v1/chat/completions", "", buf_view(&body), &in), 400);
    CHECK_HAS(&in, "prompt is too long: ");
    CHECK_HAS(&in, " tokens > 64 maximum. This model's maximum context length is 64 tokens.");
    CHECK_HAS(&in, "\"code\":\"context_length_exceeded\"");
    CHECK_HAS(&in, "\"n_ctx\":64}}");
    /* max_tokens over what is left is cut, not refused. */
    kit_chat_body(4, "\"max_tokens\":1000000,\"ignore_eos\":true,", &body);
    CHECK_INT(kit_fetch(s, "POST", "/v1/chat/completions", "", buf_view(&body), &in), 200);
    CHECK_HAS(&in, "\"finish_reason\":\"length\"");
    CHECK_INT(kit_fetch(s, "POST", "/v1/completions", "", STR("{\"prompt\":[999999]}"), &in), 400);
    CHECK_INT(kit_fetch(s, "POST", "/v1/completions", "", STR("{\"prompt\":\"\"}"), &in), 400);
    CHECK_INT(
        kit_fetch(s, "POST", "/v1/completions", "", STR("{\"prompt\":\"x\",\"n\":true}"), &in),
        400);
    CHECK_HAS(&in, "\"param\":\"n\"");
    buf_free(&in);
    buf_free(&body);
    kit_server_close(s);
}

TEST(server_serves_many_requests_on_one_connection)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){0});
    struct buf in = {0};
    int fd = kit_dial(s);
    for (int i = 0; i < 3; i++) {
        kit_send_request(fd, "POST", "/v1/completions", "",
                         STR("{\"prompt\":\"ab\",\"max_tokens\":2,\"stream\":true}"));
        buf_clear(&in);
        CHECK(kit_read_until(fd, "data: [DONE]\n\n\r\n0\r\n\r\n", &in));
        CHECK_INT(kit_status(&in), 200);
    }
    /* Pipelined: the second head is there while the first is answered. */
    buf_clear(&in);
    kit_send(fd,
             STR("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
                 "GET /v1/models/kit HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
    kit_read_all(fd, &in);
    CHECK_INT(count(&in, "HTTP/1.1 200 "), 2);
    close(fd);
    /* A refusal keeps the connection when the body was small. */
    fd = kit_dial(s);
    buf_clear(&in);
    kit_send_request(fd, "POST", "/nowhere", "", STR("{\"a\":1}"));
    CHECK(kit_read_until(fd, "unknown_url", &in));
    kit_send_request(fd, "GET", "/health", "Connection: close\r\n", STR(""));
    kit_read_all(fd, &in);
    CHECK_HAS(&in, "{\"status\":\"ok\"}");
    close(fd);
    buf_free(&in);
    kit_server_close(s);
}

TEST(server_survives_broken_clients)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){.max_body = 4096});
    static const char *const garbage[] = {
        "\x16\x03\x01\x02hello\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n{}",
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999"
        "\r\n\r\n{}",
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: "
        "chunked\r\n\r\nzz\r\n",
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{\"prompt\"",
        "GET /%00%ff HTTP/1.1\r\nHost: localhost\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof garbage / sizeof garbage[0]; i++) {
        int fd = kit_dial(s);
        kit_send(fd, str_of(garbage[i]));
        close(fd);
    }
    check_alive(s);

    struct buf in = {0}, big = {0};
    int fd = kit_dial(s);
    const char *slow = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    for (size_t i = 0; slow[i]; i++)
        kit_send(fd, (str){slow + i, 1});
    kit_read_all(fd, &in);
    CHECK_INT(kit_status(&in), 200);
    close(fd);

    for (int i = 0; i < 200000; i++)
        buf_byte(&big, 'a');
    CHECK_INT(kit_fetch(s, "POST", "/v1/completions", "", buf_view(&big), &in), 413);
    CHECK_HAS(&in, "\"code\":\"request_too_large\"");

    /* A chunked body does not say its size before. */
    fd = kit_dial(s);
    kit_send(fd, STR("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                     "Transfer-Encoding: chunked\r\n\r\n30d40\r\n"));
    kit_send(fd, buf_view(&big));
    kit_send(fd, STR("\r\n0\r\n\r\n"));
    buf_clear(&in);
    kit_read_all(fd, &in);
    CHECK_INT(kit_status(&in), 413);
    CHECK_HAS(&in, "\"code\":\"request_too_large\"");
    close(fd);

    struct buf head = {0};
    buf_str(&head, STR("X-Long: "));
    buf_str(&head, buf_view(&big));
    buf_str(&head, STR("\r\n"));
    CHECK_INT(kit_fetch(s, "GET", "/health", head.p, STR(""), &in), 431);
    check_alive(s);
    buf_free(&head);
    buf_free(&in);
    buf_free(&big);
    kit_server_close(s);
}

/* A model that says "aaaa..." for ever. */
static void ask_for_a(struct kit_server *s, const char *path, const char *fields, struct buf *in)
{
    struct buf body = {0};
    buf_fmt(&body,
            "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"max_tokens\":9,\"logit_bias\":"
            "{\"97\":100},%s}",
            fields);
    CHECK_INT(kit_fetch(s, "POST", path, "", buf_view(&body), in), 200);
    buf_free(&body);
}

TEST(server_looks_for_stop_strings_in_the_answer_alone)
{
    static const char template[] =
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n"
        "{% if enable_thinking %}<think>\n{% endif %}{% endif %}";
    struct kit_server *s = kit_server_open(&(struct kit_server_params){.chat_template = template});
    struct buf in = {0};
    const char *chat = "/v1/chat/completions";
    ask_for_a(s, chat, "\"stop\":[\"aaa\"],\"enable_thinking\":true", &in);
    CHECK_HAS(&in, "\"reasoning_content\":\"aaaaaaaaa\"");
    CHECK_HAS(&in, "\"finish_reason\":\"length\"");
    ask_for_a(s, chat, "\"stop\":[\"aaa\"],\"enable_thinking\":false", &in);
    CHECK_HAS(&in, "\"content\":\"\"");
    CHECK_HAS(&in, "\"finish_reason\":\"stop\"");
    ask_for_a(s, "/v1/completions", "\"prompt\":\"<think>\",\"stop\":\"aaa\"", &in);
    CHECK_HAS(&in, "\"finish_reason\":\"stop\""); /* a completion is text */
    buf_free(&in);
    kit_server_close(s);
}

/* What the model says at a temperature, always with the same seed. */
static void say_at(struct kit_server *s, const char *temperature, struct buf *text)
{
    struct buf in = {0}, body = {0};
    buf_fmt(&body,
            "{\"prompt\":\"owl\",\"max_tokens\":16,\"ignore_eos\":true,\"seed\":7,"
            "\"logit_bias\":{\"97\":-100},\"temperature\":%s}",
            temperature);
    CHECK_INT(kit_fetch(s, "POST", "/v1/completions", "", buf_view(&body), &in), 200);
    size_t from = str_find(buf_view(&in), STR("\"text\":"), 0);
    buf_clear(text);
    buf_str(text,
            str_sub(buf_view(&in), from, str_find(buf_view(&in), STR(",\"logprobs\""), from)));
    buf_free(&in);
    buf_free(&body);
}

TEST(server_follows_its_own_samplers_where_it_is_told_to)
{
    for (int force = 0; force < 2; force++) {
        struct kit_server *s =
            kit_server_open(&(struct kit_server_params){.force_samplers = force});
        struct buf cold = {0}, hot = {0};
        say_at(s, "0", &cold);
        say_at(s, "50", &hot);
        CHECK_INT(str_eq(buf_view(&cold), buf_view(&hot)), force);
        CHECK(!kit_has(&hot, "a")); /* a bias is no sampler */
        kit_log_wait(s, force ? "asks for temperature 50, top_k" : "asks for temperature 0, top_k",
                     &hot);
        CHECK_INT(kit_has(&hot, " and count"), force);
        buf_free(&cold);
        buf_free(&hot);
        kit_server_close(s);
    }
}
