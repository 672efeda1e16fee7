/* The endpoints of Ollama and llama-server over sockets. */
#include "test.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "kit/server_kit.h"
#include "server/metrics.h"

static int get(struct kit_server *s, const char *path, struct buf *in)
{
    return kit_fetch(s, "GET", path, "", STR(""), in);
}

static int post(struct kit_server *s, const char *path, const char *body, struct buf *in)
{
    return kit_fetch(s, "POST", path, "", str_of(body), in);
}

TEST(ollama_server_streams_lines_and_answers_at_once)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){0});
    struct buf in = {0};
    CHECK_INT(post(s, "/api/chat",
                   "{\"messages\":[{\"role\":\"user\",\"content\":\"ab\"}],\"options\":{"
                   "\"num_predict\":3}}",
                   &in),
              200);
    CHECK_HAS(&in, "Content-Type: application/x-ndjson");
    CHECK_HAS(&in, "\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":false}\n");
    CHECK_HAS(&in, "\"done\":true,\"done_reason\":\"");
    CHECK_INT(post(s, "/api/generate",
                   "{\"prompt\":\"ab\",\"stream\":false,\"raw\":true,"
                   "\"options\":{\"num_predict\":3}}",
                   &in),
              200);
    CHECK_HAS(&in, "\"response\":\"");
    CHECK_HAS(&in, "\"prompt_eval_count\":");
    CHECK_INT(post(s, "/api/generate", "{\"model\":\"kit\"}", &in), 200);
    CHECK_HAS(&in, "\"done_reason\":\"load\"");
    buf_free(&in);
    kit_server_close(s);
}

/* An empty line at once, and more of them while the prompt is read: clients count lines. */
TEST(ollama_server_shows_signs_of_life_as_lines)
{
    static const str empty =
        STR("\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":false}\n");
    struct kit_server *s = kit_server_open(&(struct kit_server_params){.keepalive_ms = 5});
    struct buf in = {0}, body = {0};
    size_t n_empty = 0;
    kit_chat_body(600, "\"options\":{\"num_predict\":1},", &body);
    CHECK_INT(post(s, "/api/chat", body.p, &in), 200);
    for (size_t at = 0; (at = str_find(buf_view(&in), empty, at)) != SIZE_MAX; at += empty.n)
        n_empty++;
    CHECK(n_empty > 2);
    buf_free(&in);
    buf_free(&body);
    kit_server_close(s);
}

TEST(ollama_server_says_errors_in_its_shape)
{
    struct kit_server *s =
        kit_server_open(&(struct kit_server_params){.n_ctx = 64, .api_key = "secret"});
    struct buf in = {0}, body = {0};
    static const char key[] = "Authorization: Bearer secret\r\n";
    CHECK_INT(post(s, "/api/chat", "{}", &in), 401);
    CHECK_HAS(&in, "{\"error\":\"Incorrect API key");
    CHECK_INT(get(s, "/api/version", &in), 200);
    CHECK_INT(kit_fetch(s, "POST", "/api/show", key, STR("{\"model\":\"other\"}"), &in), 404);
    CHECK_HAS(&in, "{\"error\":\"model 'other' not found");
    buf_str(&body, STR("{\"messages\":[{\"role\":\"user\",\"content\":\""));
    for (int i = 0; i < 100; i++)
        buf_str(&body, STR("owl "));
    buf_str(&body, STR("\"}]}"));
    CHECK_INT(kit_fetch(s, "POST", "/api/chat", key, buf_view(&body), &in), 400);
    CHECK_HAS(&in, "{\"error\":\"prompt is too long: ");
    buf_free(&in);
    buf_free(&body);
    kit_server_close(s);
}

TEST(ollama_server_shows_the_model_with_the_context_that_is_served)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){.n_ctx = 512});
    struct buf in = {0};
    CHECK_INT(get(s, "/api/tags", &in), 200);
    CHECK_HAS(&in, "{\"models\":[{\"name\":\"kit\",\"model\":\"kit\",\"size\":");
    CHECK_INT(get(s, "/api/ps", &in), 200);
    CHECK_HAS(&in, "\"context_length\":512}");
    CHECK_INT(post(s, "/api/show", "{\"model\":\"kit:latest\"}", &in), 200);
    CHECK_HAS(&in, ".context_length\":512,");
    CHECK_HAS(&in, "\"capabilities\":[\"completion\"");
    CHECK_INT(post(s, "/api/show", "{\"model\":7}", &in), 400);
    CHECK_INT(get(s, "/api/chat", &in), 405);
    buf_free(&in);
    kit_server_close(s);
}

TEST(models_have_every_clients_name_of_the_context)
{
    static const char *const names[] = {
        "context_length", "max_context_length", "loaded_context_length",
        "max_model_len",  "context_window",     "max_input_tokens",
        "max_tokens"};
    struct kit_server *s = kit_server_open(&(struct kit_server_params){.n_ctx = 512});
    struct buf in = {0};
    struct err why;
    CHECK_INT(get(s, "/v1/models", &in), 200);
    str body = str_of(strstr(in.p, "\r\n\r\n"));
    struct json *v = json_parse(body, &why);
    const struct json *entry = json_at(json_get(v, "data"), 0);
    CHECK(v != NULL);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        CHECK_INT(json_int(json_get(entry, names[i])), 512);
    CHECK_INT(json_int(json_get(json_get(entry, "meta"), "n_ctx")), 512);
    CHECK_STR(json_str(json_get(v, "first_id")), STR("kit"));
    CHECK(json_has(v, "has_more") && !json_bool(json_get(v, "has_more")));
    CHECK_STR(json_str(json_get(entry, "type")), STR("model"));
    CHECK_INT(json_str(json_get(entry, "created_at")).n, 20);
    json_free(v);
    buf_free(&in);
    kit_server_close(s);
}

TEST(llama_server_tells_properties_and_slots)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){.n_ctx = 512});
    struct buf in = {0};
    CHECK_INT(get(s, "/props", &in), 200);
    CHECK_HAS(&in, "{\"default_generation_settings\":{\"n_ctx\":512,");
    CHECK_HAS(&in, "\"total_slots\":2,\"model_alias\":\"kit\"");
    CHECK_INT(get(s, "/slots", &in), 200);
    CHECK_HAS(&in, "[{\"id\":0,\"n_ctx\":512,\"speculative\":false,\"is_processing\":false,"
                   "\"n_tokens\":0,\"jobs_since\":0},");
    buf_free(&in);
    kit_server_close(s);
}

TEST(llama_server_turns_text_into_tokens_and_back)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){0});
    struct buf in = {0};
    CHECK_INT(post(s, "/tokenize", "{\"content\":\"owl\"}", &in), 200);
    char body[200];
    const char *tokens = strstr(in.p, "{\"tokens\":");
    snprintf(body, sizeof body, "%.*s", (int)strcspn(tokens, "\n"), tokens);
    CHECK_INT(post(s, "/detokenize", body, &in), 200);
    CHECK_HAS(&in, "{\"content\":\"owl\"}");
    CHECK_INT(post(s, "/tokenize", "{\"content\":\"owl\",\"with_pieces\":true}", &in), 200);
    CHECK_HAS(&in, "\"piece\":\"");
    CHECK_INT(post(s, "/detokenize", "{\"tokens\":[-1]}", &in), 400);
    CHECK_HAS(&in, "'tokens[0]' is no token of this model");
    CHECK_INT(post(s, "/tokenize", "{}", &in), 400);
    CHECK_INT(
        post(s, "/apply-template", "{\"messages\":[{\"role\":\"user\",\"content\":\"owl\"}]}", &in),
        200);
    CHECK_HAS(&in, "{\"prompt\":\"<|im_start|>user\\nowl<|im_end|>\\n<|im_start|>assistant\\n\"}");
    CHECK_INT(
        post(s, "/apply-template",
             "{\"messages\":[{\"role\":\"user\",\"content\":\"owl\"}],\"return_tokens\":true}",
             &in),
        200);
    CHECK_HAS(&in, "assistant\\n\",\"tokens\":[");
    buf_free(&in);
    kit_server_close(s);
}

static double metric(const struct buf *in, const char *name)
{
    char line[100];
    snprintf(line, sizeof line, "\n%s ", name);
    const char *at = strstr(in->p, line);
    if (!at)
        test_fail(__FILE__, __LINE__, "no %s", name);
    return strtod(at + strlen(line), NULL);
}

TEST(metrics_count_what_was_done)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){0});
    struct buf in = {0};
    static const char body[] = "{\"prompt\":\"abcdefgh\",\"max_tokens\":3,\"ignore_eos\":true}";
    CHECK_INT(post(s, "/v1/completions", body, &in), 200);
    CHECK_INT(post(s, "/v1/completions", body, &in), 200);
    CHECK_INT(get(s, "/metrics", &in), 200);
    CHECK_HAS(&in, "Content-Type: text/plain; version=0.0.4");
    double n_read = metric(&in, "llamacpp:prompt_tokens_total"),
           n_cached = metric(&in, "tawny_prompt_cached_tokens_total");
    CHECK(n_read > 0 && n_cached > 0 && n_read >= n_cached + 1);
    CHECK_INT(metric(&in, "llamacpp:tokens_predicted_total"), 6);
    CHECK_INT(metric(&in, "tawny_requests_total{end=\"length\"}"), 2);
    CHECK_INT(metric(&in, "tawny_time_to_first_token_seconds_count"), 2);
    CHECK_INT(metric(&in, "llamacpp:requests_processing"), 0);
    CHECK_INT(metric(&in, "tawny_kv_pages"), 2); /* two sessions of a few tokens */
    CHECK_INT(metric(&in, "tawny_kv_pages_limit"), 2 * 2048 / 256);
    buf_free(&in);
    kit_server_close(s);
}

/* Two prompts of 300 tokens and three pages of 256: the first gives way. */
TEST(metrics_count_sessions_that_give_way)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){.n_ctx = 512, .n_pages = 3});
    struct buf in = {0}, body = {0};
    for (char letter = 'a'; letter <= 'b'; letter++) {
        buf_clear(&body);
        buf_str(&body, STR("{\"max_tokens\":1,\"prompt\":\""));
        for (int i = 0; i < 300; i++)
            buf_byte(&body, letter);
        buf_str(&body, STR("\"}"));
        CHECK_INT(post(s, "/v1/completions", body.p, &in), 200);
        CHECK_INT(get(s, "/metrics", &in), 200);
        CHECK_INT(metric(&in, "tawny_sessions_emptied_total"), letter - 'a');
        CHECK_INT(metric(&in, "tawny_kv_pages_limit"), 3);
    }
    CHECK_INT(metric(&in, "tawny_requests_parked_total"), 0);
    buf_free(&body);
    buf_free(&in);
    kit_server_close(s);
}

TEST(metrics_tell_both_counts_apart)
{
    struct metrics *m = metrics_open();
    struct buf out = {0};
    const struct metrics_now now = {.cache = {.n_emptied = 3, .n_parked = 5}};
    metrics_text(m, &now, &out);
    CHECK_INT(metric(&out, "tawny_sessions_emptied_total"), 3);
    CHECK_INT(metric(&out, "tawny_requests_parked_total"), 5);
    CHECK_HAS(&out, "# TYPE tawny_requests_parked_total counter\n");
    buf_free(&out);
    metrics_close(m);
}

/* What /slots says of the session that the last request was in. */
static void last_slot(struct kit_server *s, int64_t *n_tokens, char name[20])
{
    struct buf in = {0};
    struct err e;
    CHECK_INT(get(s, "/slots", &in), 200);
    const size_t head = str_find(buf_view(&in), STR("\r\n\r\n"), 0);
    struct json *v = json_parse(str_sub(buf_view(&in), head + 4, in.n), &e);
    *n_tokens = 0;
    for (size_t i = 0; i < json_count(v); i++) {
        const struct json *slot = json_at(v, i);
        if (json_int(json_get(slot, "jobs_since")) > 0 || !json_int(json_get(slot, "n_tokens")))
            continue;
        CHECK_INT(*n_tokens, 0);
        *n_tokens = json_int(json_get(slot, "n_tokens"));
        snprintf(name, 20, "%.*s", STRF(json_str(json_get(slot, "conversation"))));
    }
    json_free(v);
    buf_free(&in);
}

/* Sends one request to a path; the name of its conversation. */
static void name_of(struct kit_server *s, const char *path, const char *head, const char *body,
                    char name[20])
{
    struct buf in = {0};
    int64_t n_tokens;
    CHECK_INT(kit_fetch(s, "POST", path, head, str_of(body), &in), 200);
    last_slot(s, &n_tokens, name);
    CHECK(n_tokens > 10);
    buf_free(&in);
}

#define SAY    "\"messages\":[{\"role\":\"user\",\"content\":\"owl\"}],\"max_tokens\":1"
#define CLAUDE "x-claude-code-session-id: one\r\n"

TEST(sessions_have_the_names_that_clients_give_conversations)
{
    static const struct {
        const char *path, *head, *body;
    } named[] = {
        {"/v1/messages", CLAUDE, "{\"model\":\"m\"," SAY "}"},
        {"/v1/chat/completions", "X-Session-Id: one\r\n", "{" SAY "}"},
        {"/v1/chat/completions", "", "{\"prompt_cache_key\":\"one\"," SAY "}"},
        {"/v1/responses", "session-id: other\r\nthread-id: one\r\n",
         "{\"input\":\"owl\",\"max_output_tokens\":1}"},
        {"/v1/responses", "session-id: one\r\n",
         "{\"prompt_cache_key\":\"other\",\"input\":\"owl\",\"max_output_tokens\":1}"},
        {"/v1/responses", "session_id: one\r\n", "{\"input\":\"owl\",\"max_output_tokens\":1}"},
        {"/v1/responses", "",
         "{\"prompt_cache_key\":\"one\",\"input\":\"owl\",\"max_output_tokens\":1}"},
        {"/v1/messages", "", "{\"model\":\"m\",\"metadata\":{\"user_id\":\"one\"}," SAY "}"},
        {"/v1/chat/completions", "", "{\"user\":\"one\"," SAY "}"},
        {"/api/chat", "x-session-id: one\r\n",
         "{\"model\":\"kit\",\"messages\":[{\"role\":\"user\",\"content\":\"owl\"}],"
         "\"options\":{\"num_predict\":1}}"},
    };
    struct kit_server *s = kit_server_open(&(struct kit_server_params){0});
    char want[20], name[20];
    name_of(s, named[0].path, named[0].head, named[0].body, want);
    CHECK_INT(strlen(want), 16);
    for (size_t i = 1; i < sizeof named / sizeof *named; i++) {
        name_of(s, named[i].path, named[i].head, named[i].body, name);
        CHECK_STR(str_of(name), str_of(want));
    }
    name_of(s, named[1].path, CLAUDE "x-claude-code-agent-id: a\r\n", named[1].body, name);
    CHECK(strlen(name) == 16 && strcmp(name, want) != 0); /* a sub-agent */
    name_of(s, named[1].path, "", named[1].body, name);
    CHECK_STR(str_of(name), STR("")); /* nobody's */
    name_of(s, named[1].path, "", "{\"id_slot\":-1," SAY "}", name);
    CHECK_STR(str_of(name), STR("")); /* any */
    name_of(s, named[1].path, "", "{\"id_slot\":0," SAY "}", want);
    name_of(s, named[1].path, "", "{\"id_slot\":1," SAY "}", name);
    CHECK(strlen(want) == 16 && strlen(name) == 16 && strcmp(name, want) != 0);
    kit_server_close(s);
}

/* A request that runs has a slot; /health does not wait for it. */
TEST(slots_show_a_request_that_runs)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){0});
    struct buf in = {0}, stream = {0}, body = {0};
    int fd = kit_dial(s);
    kit_chat_body(1500, "\"stream\":true,\"max_tokens\":1,\"return_progress\":true,", &body);
    kit_send_request(fd, "POST", "/v1/chat/completions", "", buf_view(&body));
    CHECK(kit_read_until(fd, "prompt_progress", &stream));
    CHECK_INT(get(s, "/slots", &in), 200);
    CHECK_HAS(&in, "\"is_processing\":true,\"request\":\"chatcmpl-");
    CHECK_INT(get(s, "/health", &in), 200);
    close(fd);
    kit_log_wait(s, "the client went away", NULL);
    buf_free(&in);
    buf_free(&stream);
    buf_free(&body);
    kit_server_close(s);
}
