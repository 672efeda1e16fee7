/* The server before it has its model: it answers, keeps its guards, and goes on with it. */
#include "test.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kit/server_kit.h"
#include "server/unready.h"

static const char key[] = "Authorization: Bearer hush\r\n";

/* One answer on a connection that stays open: its head and body, whose length the head has. */
static int next_answer(int fd, struct buf *in)
{
    static const char length[] = "Content-Length: ";
    buf_clear(in);
    CHECK(kit_read_until(fd, "\r\n\r\n", in));
    size_t at = str_find(buf_view(in), str_of(length), 0);
    size_t body = str_find(buf_view(in), STR("\r\n\r\n"), 0) + 4;
    CHECK(at != SIZE_MAX);
    size_t n = (size_t)atoi(in->p + at + strlen(length));
    for (char byte; in->n < body + n; buf_byte(in, byte))
        CHECK(read(fd, &byte, 1) == 1);
    return kit_status(in);
}

TEST(unready_answers_every_path_in_its_protocol)
{
    static const struct {
        const char *method, *path, *head, *want;
    } cases[] = {
        {"GET", "/health", "",
         "\r\n\r\n{\"error\":{\"code\":503,\"message\":\"Loading model\","
         "\"type\":\"unavailable_error\"}}\n"},
        {"GET", "/v1/health", "", "\"message\":\"Loading model\""},
        {"GET", "/", "", "\"code\":\"loading_model\""},
        {"GET", "/v1/models", "",
         "\r\n\r\n{\"error\":{\"message\":\"The model is loading: try again.\","
         "\"type\":\"server_error\",\"param\":null,\"code\":\"loading_model\"}}"},
        {"GET", "/v1/models/kit", "", "\"code\":\"loading_model\""},
        {"GET", "/v1/models", "anthropic-version: 2023-06-01\r\n", "\"overloaded_error\""},
        {"POST", "/v1/chat/completions", "", "\"code\":\"loading_model\""},
        {"POST", "/v1/completions", "", "\"code\":\"loading_model\""},
        {"POST", "/v1/responses", "", "\"code\":\"loading_model\""},
        {"GET", "/v1/responses/resp_1", "", "\"code\":\"loading_model\""},
        {"POST", "/v1/messages", "",
         "\r\n\r\n{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\","
         "\"message\":\"The model is loading: try again.\"}}"},
        {"POST", "/v1/messages/count_tokens", "", "\"overloaded_error\""},
        {"POST", "/api/chat", "", "\r\n\r\n{\"error\":\"The model is loading: try again.\"}"},
        {"POST", "/api/show", "", "{\"error\":\""},
        {"GET", "/api/tags", "", "{\"error\":\""},
        {"GET", "/api/version", "", "{\"error\":\""},
        {"GET", "/props", "", "\"code\":\"loading_model\""},
        {"GET", "/slots", "", "\"code\":\"loading_model\""},
        {"GET", "/metrics", "", "\"code\":\"loading_model\""},
        {"POST", "/tokenize", "", "\"code\":\"loading_model\""},
    };
    struct kit_server *s = kit_server_open(&(struct kit_server_params){.loading = true});
    struct buf in = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        str body = cases[i].method[0] == 'P' ? STR("{\"model\":\"x\",\"messages\":[]}") : STR("");
        int got = kit_fetch(s, cases[i].method, cases[i].path, cases[i].head, body, &in);
        if (got != 503)
            test_fail(__FILE__, __LINE__, "%s: %d: %s", cases[i].path, got, in.p);
        CHECK_HAS(&in, cases[i].want);
        CHECK_HAS(&in, "\r\nRetry-After: 2\r\n");
    }
    CHECK_INT(kit_fetch(s, "HEAD", "/health", "", STR(""), &in), 503);
    CHECK(!kit_has(&in, "Loading"));
    buf_free(&in);
    kit_server_close(s);
}

TEST(unready_keeps_guards_and_limits)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){
        .loading = true, .api_key = "hush", .max_body = 1000, .cors = "http://page.example"});
    struct buf in = {0};
    char big[2000];
    memset(big, ' ', sizeof big);
    const str long_body = {big, sizeof big};
    CHECK_INT(kit_fetch(s, "GET", "/v1/models", "", STR(""), &in), 401);
    CHECK_INT(kit_fetch(s, "GET", "/v1/models", key, STR(""), &in), 503);
    CHECK_INT(kit_fetch(s, "GET", "/health", "", STR(""), &in), 503);
    CHECK_INT(kit_fetch(s, "GET", "/health", "Origin: http://else.example\r\n", STR(""), &in), 403);
    CHECK_INT(kit_fetch(s, "GET", "/health", "Origin: http://page.example\r\n", STR(""), &in), 503);
    CHECK_HAS(&in, "Access-Control-Allow-Origin: http://page.example");
    CHECK_INT(
        kit_fetch(s, "OPTIONS", "/v1/messages", "Origin: http://page.example\r\n", STR(""), &in),
        204);
    CHECK_INT(kit_fetch(s, "GET", "/nowhere", key, STR(""), &in), 404);
    CHECK_INT(kit_fetch(s, "DELETE", "/v1/messages", key, STR(""), &in), 405);
    CHECK_INT(kit_fetch(s, "POST", "/v1/messages", key, long_body, &in), 413);
    CHECK_HAS(&in, "\"request_too_large\"");
    buf_free(&in);
    kit_server_close(s);
}

TEST(unready_tells_how_far_it_is)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){.loading = true});
    struct buf in = {0};
    kit_server_progress(s, 999, 1000);
    CHECK_INT(kit_fetch(s, "GET", "/v1/models", "", STR(""), &in), 503);
    CHECK_HAS(&in, "The model is loading (99 %): try again.");
    CHECK_HAS(&in, "\r\nRetry-After: 1\r\n");
    CHECK_INT(kit_fetch(s, "GET", "/health", "", STR(""), &in), 503);
    CHECK_HAS(&in, "\"type\":\"unavailable_error\",\"loaded_bytes\":999,\"total_bytes\":1000}}");
    kit_server_progress(s, 1001, 1000);
    CHECK_INT(kit_fetch(s, "GET", "/v1/models", "", STR(""), &in), 503);
    CHECK_HAS(&in, "(100 %)");
    buf_free(&in);
    kit_server_close(s);
}

TEST(unready_says_when_to_come_back)
{
    static const struct {
        uint64_t elapsed_s, done, total;
        const char *want;
    } cases[] = {
        {9, 0, 0, "2"},
        {9, 0, 100, "2"},
        {9, 101, 100, "2"},
        {10, 100, 100, "1"},
        {1, 50, 100, "1"},
        {10, 90, 100, "2"},
        {10, 70, 100, "5"},
        {10, 40, 100, "20"},
        {10, 30, 100, "30"},
        {10, 1, 100, "30"},
        {1u << 30, 1, UINT64_MAX, "30"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK_STR(
            str_of(unready_retry(cases[i].elapsed_s * 1000000000, cases[i].done, cases[i].total)),
            str_of(cases[i].want));
}

/* A connection and a request that were there before stay whole. */
TEST(unready_ends_when_the_model_is_there)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){.loading = true});
    struct buf in = {0};
    int kept = kit_dial(s), half = kit_dial(s);
    kit_send_request(kept, "GET", "/health", "", STR(""));
    CHECK_INT(next_answer(kept, &in), 503);
    kit_send_request(half, "POST", "/v1/completions",
                     "Expect: 100-continue\r\nContent-Length: 14\r\n", STR(""));
    buf_clear(&in);
    CHECK(kit_read_until(half, "100 Continue\r\n\r\n", &in)); /* its head was seen */
    kit_server_load(s);
    kit_send_request(kept, "GET", "/health", "", STR(""));
    CHECK_INT(next_answer(kept, &in), 200);
    kit_send_request(kept, "GET", "/v1/models", "", STR(""));
    CHECK_INT(next_answer(kept, &in), 200);
    kit_send(half, STR("{\"prompt\":\"x\"}"));
    CHECK_INT(next_answer(half, &in), 503);
    kit_send_request(half, "POST", "/v1/completions", "",
                     STR("{\"prompt\":\"x\",\"max_tokens\":1}"));
    CHECK_INT(next_answer(half, &in), 200);
    close(kept);
    close(half);
    buf_free(&in);
    kit_server_close(s);
}
