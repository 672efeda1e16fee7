/* Who may use the server, how much of it, and what it never tells. */
#include "test.h"

#include <unistd.h>

#include "base/json.h"
#include "kit/server_kit.h"

static const struct {
    const char *method, *path, *error; /* how an error of this path begins */
} routes[] = {
    {"GET", "/health", "{\"error\":{"},
    {"GET", "/v1/health", "{\"error\":{"},
    {"GET", "/v1/models", "{\"error\":{"},
    {"GET", "/v1/models/kit", "{\"error\":{"},
    {"POST", "/v1/chat/completions", "{\"error\":{"},
    {"POST", "/v1/completions", "{\"error\":{"},
    {"POST", "/v1/messages", "{\"type\":\"error\",\"error\":{\"type\":\"permission_error\""},
    {"POST", "/v1/messages/count_tokens", "{\"type\":\"error\",\"error\":{"},
    {"POST", "/v1/responses", "{\"error\":{"},
    {"POST", "/v1/responses/input_tokens", "{\"error\":{"},
    {"GET", "/v1/responses/resp_1", "{\"error\":{"},
    {"DELETE", "/v1/responses/resp_1", "{\"error\":{"},
    {"GET", "/props", "{\"error\":{"},
    {"GET", "/slots", "{\"error\":{"},
    {"GET", "/metrics", "{\"error\":{"},
    {"POST", "/tokenize", "{\"error\":{"},
    {"POST", "/detokenize", "{\"error\":{"},
    {"POST", "/apply-template", "{\"error\":{"},
    {"GET", "/api/version", "{\"error\":\""},
    {"GET", "/api/v0/models", "{\"error\":\""},
    {"GET", "/api/tags", "{\"error\":\""},
    {"GET", "/api/ps", "{\"error\":\""},
    {"POST", "/api/show", "{\"error\":\""},
    {"POST", "/api/chat", "{\"error\":\""},
    {"POST", "/api/generate", "{\"error\":\""},
    {"GET", "/nowhere", "{\"error\":{"},
    {"GET", "/v1/messages/batches", "{\"type\":\"error\",\"error\":{"},
    {"GET", "/api/embed", "{\"error\":\""},
};
enum { N_ROUTES = sizeof routes / sizeof *routes };

static int fetch(struct kit_server *s, size_t i, const char *head, struct buf *in)
{
    bool post = !strcmp(routes[i].method, "POST");
    return kit_fetch(s, routes[i].method, routes[i].path, head, post ? STR("{}") : STR(""), in);
}

static void check_shape(const struct buf *in, size_t i)
{
    const char *body = strstr(in->p, "\r\n\r\n");
    if (!body || strncmp(body + 4, routes[i].error, strlen(routes[i].error)))
        test_fail(__FILE__, __LINE__, "%s: %s", routes[i].path, in->p);
}

/* A page that names this machine its own (DNS rebinding), and a page that calls from elsewhere. */
TEST(server_checks_host_and_origin_on_every_path)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){0});
    struct buf in = {0}, request = {0};
    for (size_t i = 0; i < N_ROUTES; i++) {
        CHECK_INT(fetch(s, i, "Origin: http://evil.example\r\n", &in), 403);
        check_shape(&in, i);
        CHECK(!kit_has(&in, "Access-Control"));
        CHECK_INT(fetch(s, i, "Origin: null\r\n", &in), 403);
        int fd = kit_dial(s);
        buf_clear(&request);
        buf_fmt(&request,
                "%s %s HTTP/1.1\r\nHost: evil.example:8383\r\nContent-Length: 0\r\n"
                "Connection: close\r\n\r\n",
                routes[i].method, routes[i].path);
        kit_send(fd, buf_view(&request));
        buf_clear(&in);
        kit_read_all(fd, &in);
        close(fd);
        CHECK_INT(kit_status(&in), 403);
        check_shape(&in, i);
    }
    buf_free(&request);
    buf_free(&in);
    kit_server_close(s);
}

TEST(server_lets_in_the_pages_it_was_told_to)
{
    static const char mine[] = "Origin: http://page.example:3000\r\n";
    struct kit_server *s = kit_server_open(&(struct kit_server_params){
        .api_key = "k", .cors = "https://a.example, http://page.example:3000"});
    struct buf in = {0}, head = {0};
    for (size_t i = 0; i < N_ROUTES; i++) {
        CHECK(fetch(s, i, mine, &in) != 403);
        CHECK_HAS(&in, "Access-Control-Allow-Origin: http://page.example:3000\r\n");
        CHECK_HAS(&in, "Vary: Origin\r\n");
        CHECK_INT(fetch(s, i, "Origin: http://page.example:3001\r\n", &in), 403);
        CHECK(!kit_has(&in, "Access-Control"));
    }
    /* What a browser asks first, without the key. */
    buf_fmt(&head,
            "%sAccess-Control-Request-Method: POST\r\n"
            "Access-Control-Request-Headers: authorization, content-type, x-stainless-os\r\n"
            "Access-Control-Request-Private-Network: true\r\n",
            mine);
    CHECK_INT(kit_fetch(s, "OPTIONS", "/v1/chat/completions", head.p, STR(""), &in), 204);
    CHECK_HAS(&in, "Access-Control-Allow-Headers: authorization, content-type, x-stainless-os\r\n");
    CHECK_HAS(&in, "Access-Control-Allow-Methods: GET, POST, DELETE, OPTIONS\r\n");
    CHECK_HAS(&in, "Access-Control-Allow-Private-Network: true\r\n");
    CHECK_INT(fetch(s, 2, mine, &in), 401);
    CHECK_INT(kit_fetch(s, "GET", "/v1/models",
                        "Origin: http://page.example:3000\r\nX-Api-Key: k\r\n", STR(""), &in),
              200);
    buf_free(&head);
    buf_free(&in);
    kit_server_close(s);
}

TEST(server_limits_what_all_requests_hold)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){.max_held = 30000});
    struct buf in = {0}, body = {0}, empty = {0};
    int fd = kit_dial(s);
    kit_chat_body(1000, "\"stream\":true,\"ignore_eos\":true,\"min_p\":0,", &body);
    kit_send_request(fd, "POST", "/v1/chat/completions", "", buf_view(&body));
    CHECK(kit_read_until(fd, "\"role\":\"assistant\"", &in));
    /* An object takes 800 bytes when it is parsed: 35 do not fit beside the first, 40 never. */
    buf_str(&empty, STR("{\"tools\":[{}"));
    for (int i = 1; i < 30; i++)
        buf_str(&empty, STR(",{}"));
    buf_str(&empty, STR("]}"));
    for (size_t i = 0; i < N_ROUTES; i++) {
        if (strcmp(routes[i].method, "POST"))
            continue;
        CHECK_INT(kit_fetch(s, "POST", routes[i].path, "", buf_view(&empty), &in), 503);
        CHECK_HAS(&in, "Retry-After: 1\r\n");
        CHECK_HAS(&in, "Too many large requests");
        if (!strcmp(routes[i].path, "/v1/messages"))
            CHECK_HAS(&in, "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"");
        if (!strcmp(routes[i].path, "/v1/responses"))
            CHECK_HAS(&in, "\"code\":\"overloaded\"");
    }
    CHECK_INT(kit_fetch(s, "GET", "/health", "", STR(""), &in), 200);
    close(fd);
    kit_log_wait(s, "the client went away", NULL);
    /* What it held is free a moment after the line is in the log. */
    int status = 503;
    for (int i = 0; i < 10000 && status == 503; i++)
        status = kit_fetch(s, "POST", "/tokenize", "", buf_view(&empty), &in);
    CHECK_INT(status, 400);
    struct buf most = {0};
    buf_str(&most, STR("[{}"));
    for (int i = 1; i < 40; i++)
        buf_str(&most, STR(",{}"));
    buf_str(&most, STR("]"));
    CHECK_INT(kit_fetch(s, "POST", "/tokenize", "", buf_view(&most), &in), 413);
    CHECK_HAS(&in, "when it is parsed; the limit is 30000");
    buf_free(&most);
    buf_free(&empty);
    buf_free(&body);
    buf_free(&in);
    kit_server_close(s);
}

/* Nowhere: not where it is right, not where it is wrong, not in what is echoed. */
TEST(server_logs_no_key_on_any_path)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){.api_key = "hush-hush"});
    struct buf in = {0}, log = {0};
    static const char *const heads[] = {
        "Authorization: Bearer hush-hush\r\n", "X-Api-Key: hush-hush\r\n",
        "Authorization: Bearer hush-hash\r\n", "Authorization: Basic hush-hush\r\n",
        "Cookie: key=hush-hush\r\nContent-Encoding: hush-hush\r\nX-Api-Key: hush-hush\r\n"};
    for (size_t i = 0; i < N_ROUTES; i++)
        for (size_t k = 0; k < sizeof heads / sizeof *heads; k++) {
            fetch(s, i, heads[k], &in);
            if (!strstr(heads[k], "Encoding") && kit_has(&in, "hush"))
                test_fail(__FILE__, __LINE__, "%s: %s", routes[i].path, in.p);
        }
    CHECK_INT(
        kit_fetch(s, "POST", "/v1/messages?key=hush-hush", heads[1],
                  STR("{\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],"
                      "\"tools\":[{\"type\":\"web_search_1\",\"name\":\"w\"}]}"),
                  &in),
        200);
    kit_log_all(s, &log);
    CHECK_HAS(&log, "generated");
    CHECK_HAS(&log, "web_search_1");
    CHECK(!kit_has(&log, "hush"));
    buf_free(&log);
    buf_free(&in);
    kit_server_close(s);
}

TEST(json_weigh_is_no_less_than_what_a_tree_takes)
{
    CHECK_INT(json_weigh(STR("")), 0);
    CHECK_INT(json_weigh(STR("7")), 1);
    CHECK_INT(json_weigh(STR("\"{[,:\\\"{[,:\"")), 12);
    CHECK_INT(json_weigh(STR("\"{{")), 3);
    CHECK_INT(json_weigh(STR("\"\\")), 2);
    CHECK_INT(json_weigh(STR("[{},{\"a\":\"\\\\\"}]")), 15 + 400 + 2 * 800 + 110 + 130);
}
