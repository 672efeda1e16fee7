/* A request that is sent again while its reply is written gets that reply; others do not. */
#include "test.h"

#include <unistd.h>

#include "kit/server_kit.h"

static const char chat[] = "/v1/chat/completions";

/* A prompt of some length, so that its reply has not ended when the second one comes. */
enum { PROMPT = 300 };

static int ask(struct kit_server *s, const char *head, const struct buf *body, struct buf *in)
{
    int fd = kit_dial(s);
    kit_send_request(fd, "POST", chat, head, buf_view(body));
    buf_clear(in);
    CHECK(kit_read_until(fd, "\"role\":\"assistant\"", in));
    return fd;
}

/* Copies the id of the first event. */
static void id_of(const struct buf *in, char id[40])
{
    const size_t at = str_find(buf_view(in), STR("\"chatcmpl-"), 0);
    CHECK(at != SIZE_MAX && in->n > at + 34);
    memcpy(id, in->p + at + 1, 33);
    id[33] = 0;
}

/* Does the second of two requests get the reply of the first? */
static bool attaches(struct kit_server *s, size_t n, const char *head_1, const char *head_2,
                     const char *fields_1, const char *fields_2)
{
    struct buf body_1 = {0}, body_2 = {0}, in = {0};
    char id_1[40], id_2[40];
    kit_chat_body(n, fields_1, &body_1);
    kit_chat_body(n, fields_2, &body_2);
    const int first = ask(s, head_1, &body_1, &in);
    id_of(&in, id_1);
    const int second = ask(s, head_2, &body_2, &in);
    id_of(&in, id_2);
    close(first);
    close(second);
    kit_log_wait(s, id_1, NULL);
    buf_free(&body_1);
    buf_free(&body_2);
    buf_free(&in);
    return strcmp(id_1, id_2) == 0;
}

TEST(deliver_attaches_what_is_evidently_sent_again)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){0});
    static const char fields[] = "\"stream\":true,\"ignore_eos\":true,\"temperature\":1,";
    static const char other[] = "\"stream\":true,\"ignore_eos\":true,\"temperature\":0.9,";
    static const struct {
        const char *head_1, *head_2, *fields_2;
        bool same;
    } cases[] = {
        {"", "", fields, false},
        {"", "x-stainless-retry-count: 0\r\n", fields, false},
        {"", "x-stainless-retry-count: 1\r\n", fields, true},
        {"x-stainless-retry-count: 1\r\n", "x-stainless-retry-count: 1\r\n", fields, false},
        {"x-stainless-retry-count: 1\r\n", "x-stainless-retry-count: 2\r\n", fields, true},
        {"", "x-stainless-retry-count: 1\r\n", other, false},
        {"Idempotency-Key: a\r\n", "Idempotency-Key: a\r\n", fields, true},
        {"Idempotency-Key: a\r\n", "Idempotency-Key: b\r\n", fields, false},
        {"Idempotency-Key: a\r\n", "Idempotency-Key: b\r\nx-stainless-retry-count: 1\r\n", fields,
         false},
        {"x-session-id: a\r\n", "x-session-id: a\r\n", fields, true},
        {"x-session-id: a\r\n", "x-session-id: b\r\n", fields, false},
        {"session-id: a\r\nthread-id: b\r\n", "session-id: a\r\nthread-id: b\r\n", fields, true},
        {"session-id: a\r\nthread-id: b\r\n", "session-id: a\r\nthread-id: c\r\n", fields, false},
        {"x-session-id: a\r\n", "x-session-id: b\r\nx-stainless-retry-count: 1\r\n", fields, false},
        {"x-session-id: a\r\n", "x-session-id: a\r\n", other, false},
        {"x-claude-code-session-id: a\r\nx-claude-code-agent-id: 1\r\n",
         "x-claude-code-session-id: a\r\nx-claude-code-agent-id: 2\r\n", fields, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const bool same =
            attaches(s, PROMPT + i, cases[i].head_1, cases[i].head_2, fields, cases[i].fields_2);
        if (same != cases[i].same)
            test_fail(__FILE__, __LINE__, "case %zu: %s, expected %s", i, same ? "one" : "two",
                      cases[i].same ? "one" : "two");
    }
    kit_server_close(s);
}

/* What is behind the head of an answer, without the lengths of its chunks. */
static void body_of(const struct buf *in, struct buf *out)
{
    str rest = buf_view(in);
    buf_clear(out);
    for (str line = str_cut(rest, '\n', &rest); rest.n; line = str_cut(rest, '\n', &rest))
        if (str_starts(line, STR("data: ")))
            buf_str(out, line);
}

/* The value of one of /metrics. */
static double metric(struct kit_server *s, const char *name)
{
    struct buf in = {0};
    double value = -1;
    CHECK_INT(kit_fetch(s, "GET", "/metrics", "", STR(""), &in), 200);
    const size_t at = str_find(buf_view(&in), str_of(name), 0);
    CHECK(at != SIZE_MAX && sscanf(in.p + at + strlen(name), " %lf", &value) == 1);
    buf_free(&in);
    return value;
}

TEST(deliver_gives_the_reply_from_its_beginning_and_runs_it_once)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){0});
    struct buf body = {0}, in_1 = {0}, in_2 = {0}, one = {0}, two = {0};
    kit_chat_body(
        PROMPT, "\"stream\":true,\"ignore_eos\":true,\"temperature\":1,\"max_tokens\":40,", &body);
    const int first = ask(s, "Connection: close\r\n", &body, &in_1);
    CHECK(kit_read_until(first, "\"delta\":{\"content\":\"", &in_1));
    const int second = ask(s, "Connection: close\r\nx-stainless-retry-count: 1\r\n", &body, &in_2);
    kit_read_all(first, &in_1);
    kit_read_all(second, &in_2);
    CHECK_HAS(&in_1, "data: [DONE]");
    body_of(&in_1, &one);
    body_of(&in_2, &two);
    CHECK_STR(buf_view(&two), buf_view(&one));
    CHECK_INT((int)metric(s, "\nllamacpp:tokens_predicted_total"), 40);
    close(first);
    close(second);
    buf_free(&body);
    buf_free(&in_1);
    buf_free(&in_2);
    buf_free(&one);
    buf_free(&two);
    kit_server_close(s);
}

TEST(deliver_goes_on_until_the_last_client_has_gone)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){0});
    struct buf body = {0}, in = {0}, log = {0};
    kit_chat_body(PROMPT, "\"stream\":true,\"ignore_eos\":true,", &body);
    const int first = ask(s, "", &body, &in);
    CHECK(kit_read_until(first, "\"delta\":{\"content\":\"", &in));
    const int second = ask(s, "x-stainless-retry-count: 1\r\n", &body, &in);
    CHECK(kit_read_until(second, "\"delta\":{\"content\":\"", &in));
    close(first);
    /* It has to be driven by the second one's thread now. */
    for (int i = 0; i < 20; i++) {
        buf_clear(&in);
        CHECK(kit_read_until(second, "\"delta\":{\"content\":\"", &in));
    }
    kit_log_all(s, &log);
    CHECK(!kit_has(&log, "the client went away"));
    close(second);
    kit_log_wait(s, "the client went away", NULL);
    buf_free(&body);
    buf_free(&in);
    buf_free(&log);
    kit_server_close(s);
}

TEST(deliver_answers_both_at_once)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){0});
    struct buf body = {0}, in_1 = {0}, in_2 = {0};
    kit_chat_body(PROMPT, "\"ignore_eos\":true,\"temperature\":1,\"max_tokens\":20,", &body);
    const int first = kit_dial(s), second = kit_dial(s);
    kit_send_request(first, "POST", chat, "Connection: close\r\nIdempotency-Key: k\r\n",
                     buf_view(&body));
    while (metric(s, "\nllamacpp:requests_processing") + metric(s, "\nllamacpp:requests_deferred") <
           1)
        ;
    kit_send_request(second, "POST", chat, "Connection: close\r\nIdempotency-Key: k\r\n",
                     buf_view(&body));
    kit_log_wait(s, "asked for again", NULL);
    kit_read_all(first, &in_1);
    kit_read_all(second, &in_2);
    CHECK_INT(kit_status(&in_1), 200);
    CHECK_HAS(&in_1, "\"completion_tokens\":20");
    const size_t at_1 = str_find(buf_view(&in_1), STR("{\"id\""), 0),
                 at_2 = str_find(buf_view(&in_2), STR("{\"id\""), 0);
    CHECK_STR(str_sub(buf_view(&in_2), at_2, in_2.n), str_sub(buf_view(&in_1), at_1, in_1.n));
    /* It has ended: who retries gets it again, who has another key a new one. */
    CHECK_INT(kit_fetch(s, "POST", chat, "Idempotency-Key: k\r\n", buf_view(&body), &in_2), 200);
    CHECK_HAS(&in_2, "\"completion_tokens\":20");
    CHECK_INT((int)metric(s, "\nllamacpp:tokens_predicted_total"), 20);
    CHECK_INT(kit_fetch(s, "POST", chat, "Idempotency-Key: l\r\n", buf_view(&body), &in_2), 200);
    CHECK_INT((int)metric(s, "\nllamacpp:tokens_predicted_total"), 40);
    close(first);
    close(second);
    buf_free(&body);
    buf_free(&in_1);
    buf_free(&in_2);
    kit_server_close(s);
}

/* A reply that is longer than what is kept is not attached to, and goes on as before. */
TEST(deliver_keeps_a_bounded_part)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){.max_kept = 2000});
    struct buf body = {0}, in_1 = {0}, in_2 = {0};
    char id_1[40], id_2[40];
    kit_chat_body(PROMPT, "\"stream\":true,\"ignore_eos\":true,\"max_tokens\":80,", &body);
    const int first = ask(s, "Connection: close\r\n", &body, &in_1);
    id_of(&in_1, id_1);
    for (size_t n = 0; n < 6000; n += in_1.n) {
        buf_clear(&in_1);
        CHECK(kit_read_until(first, "\"delta\":{\"content\":\"", &in_1));
    }
    const int second = ask(s, "x-stainless-retry-count: 1\r\n", &body, &in_2);
    id_of(&in_2, id_2);
    CHECK(strcmp(id_1, id_2) != 0);
    close(second);
    kit_read_all(first, &in_1);
    CHECK_HAS(&in_1, "data: [DONE]");
    close(first);
    buf_free(&body);
    buf_free(&in_1);
    buf_free(&in_2);
    kit_server_close(s);
}

/* In a session, another reply to the same is wanted once the first one is there. */
TEST(deliver_writes_another_reply_in_a_session)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){0});
    struct buf body = {0}, in = {0};
    kit_chat_body(20, "\"ignore_eos\":true,\"max_tokens\":3,", &body);
    for (int i = 1; i <= 2; i++) {
        CHECK_INT(kit_fetch(s, "POST", chat, "x-session-id: a\r\n", buf_view(&body), &in), 200);
        CHECK_INT((int)metric(s, "\nllamacpp:tokens_predicted_total"), 3 * i);
    }
    buf_free(&body);
    buf_free(&in);
    kit_server_close(s);
}
