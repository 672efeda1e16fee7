/* Clients that go away, streams that are silent for long, a server that ends under load. */
#include "test.h"

#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "kit/server_kit.h"

/* The promise, and what slow builds and a busy machine get. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { LIMIT_MS = 3000, N_TRIES = 1 };
#else
enum { LIMIT_MS = 300, N_TRIES = 5 };
#endif

enum when { IN_PREFILL, IN_DECODE, NOT_STREAMED };

/* Until a keep-alive says that some of the prompt has been read. */
static void wait_for_progress(int fd, struct buf *in)
{
    size_t n_done = 0;
    while (n_done == 0) {
        CHECK(kit_read_until(fd, " prompt tokens read\n\n", in));
        const char *comment = strstr(in->p, ": ");
        while (comment && sscanf(comment, ": %zu of", &n_done) != 1)
            comment = strstr(comment + 1, ": ");
        buf_clear(in);
    }
}

/* Milliseconds from hanging up to the end of the work. */
static double hang_up(struct kit_server *s, enum when when)
{
    struct buf in = {0}, body = {0};
    /* A long prompt takes seconds to read; a short one is followed by a long reply. */
    kit_chat_body(when == IN_DECODE ? 8 : 1800,
                  when == NOT_STREAMED ? "\"ignore_eos\":true,"
                                       : "\"ignore_eos\":true,\"stream\":true,",
                  &body);
    int fd = kit_dial(s);
    kit_send_request(fd, "POST", "/v1/chat/completions", "", buf_view(&body));
    if (when == NOT_STREAMED)
        usleep(100000); /* nothing can be seen of it: let it begin */
    else
        CHECK(kit_read_until(fd, "\"role\":\"assistant\"", &in));
    if (when == IN_PREFILL)
        wait_for_progress(fd, &in);
    if (when == IN_DECODE)
        CHECK(kit_read_until(fd, "\"delta\":{\"content\":\"", &in) &&
              kit_read_until(fd, "}\n\n", &in));
    uint64_t from = clock_ns();
    close(fd);
    buf_clear(&in);
    uint64_t to = kit_log_wait(s, "the client went away", &in);
    size_t n_done, n_total, n_generated;
    const char *numbers = strstr(in.p, "after ");
    CHECK(numbers && sscanf(numbers, "after %zu of %zu prompt tokens and %zu generated", &n_done,
                            &n_total, &n_generated) == 3);
    if (when == IN_PREFILL)
        CHECK(n_done > 0);
    if (when != IN_DECODE)
        CHECK(n_done < n_total && n_generated == 0);
    buf_free(&in);
    buf_free(&body);
    return 1e-6 * (double)(to - from);
}

/* A client that is killed resets its connection: sending fails before anybody asks whether it is
 * there. */
TEST(server_tells_of_a_client_whose_connection_broke)
{
    for (int i = 0; i < 3; i++) {
        struct kit_server *s = kit_server_open(&(struct kit_server_params){.demo = true});
        struct buf in = {0}, body = {0};
        const struct linger reset = {.l_onoff = 1, .l_linger = 0};
        kit_chat_body(8, "\"ignore_eos\":true,\"stream\":true,", &body);
        int fd = kit_dial(s);
        CHECK_INT(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
        kit_send_request(fd, "POST", "/v1/chat/completions", "", buf_view(&body));
        CHECK(kit_read_until(fd, "\"delta\":{\"content\":\"", &in));
        close(fd);
        kit_log_wait(s, "the client went away", NULL);
        buf_free(&in);
        buf_free(&body);
        kit_server_close(s);
    }
}

static void check_hang_up(enum when when)
{
    double best = 1e9;
    for (int i = 0; i < N_TRIES && best > LIMIT_MS; i++) {
        struct kit_server *s = kit_server_open(&(struct kit_server_params){.keepalive_ms = 5});
        double ms = hang_up(s, when);
        best = ms < best ? ms : best;
        kit_server_close(s);
    }
    printf("    stopped after %.0f ms\n", best);
    CHECK(best <= LIMIT_MS);
}

TEST(server_stops_prefill_when_the_client_goes)
{
    check_hang_up(IN_PREFILL);
}

TEST(server_stops_decoding_when_the_client_goes)
{
    check_hang_up(IN_DECODE);
}

TEST(server_stops_prefill_of_a_plain_request_when_the_client_goes)
{
    check_hang_up(NOT_STREAMED);
}

/* The next request gets the engine at once, and one that was queued behind never runs. */
TEST(server_goes_on_with_the_next_request)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){0});
    struct buf in = {0}, body = {0};
    kit_chat_body(1800, "\"stream\":true,", &body);
    int running = kit_dial(s), queued = kit_dial(s);
    kit_send_request(running, "POST", "/v1/chat/completions", "", buf_view(&body));
    CHECK(kit_read_until(running, "\"role\":\"assistant\"", &in));
    buf_clear(&in);
    kit_send_request(queued, "POST", "/v1/chat/completions", "", buf_view(&body));
    CHECK(kit_read_until(queued, "\"role\":\"assistant\"", &in));
    close(queued);
    kit_log_wait(s, "the client went away after 0 of", NULL);
    close(running);
    CHECK_INT(kit_fetch(s, "POST", "/v1/completions", "",
                        STR("{\"prompt\":\"x\",\"max_tokens\":1}"), &in),
              200);
    buf_free(&in);
    buf_free(&body);
    kit_server_close(s);
}

TEST(server_streams_first_chunk_and_keep_alives_during_prefill)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){.keepalive_ms = 30});
    struct buf in = {0}, body = {0};
    kit_chat_body(1800, "\"stream\":true,\"max_tokens\":1,", &body);
    int fd = kit_dial(s);
    kit_send_request(fd, "POST", "/v1/chat/completions", "", buf_view(&body));
    CHECK(kit_read_until(fd, "\"role\":\"assistant\"", &in));
    CHECK(str_find(buf_view(&in), STR("\"content\":\"\""), 0) != SIZE_MAX);
    CHECK(kit_read_until(fd, "prompt tokens read\n\n", &in));
    CHECK(kit_read_until(fd, "\"delta\":{},\"logprobs\":null,\"finish_reason\":null", &in));
    CHECK(str_find(buf_view(&in), STR("\"finish_reason\":\""), 0) == SIZE_MAX);
    close(fd);
    buf_free(&in);
    buf_free(&body);
    kit_server_close(s);
}

TEST(server_ends_under_load)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){0});
    struct buf in = {0}, body = {0};
    int fds[6];
    kit_chat_body(1800, "\"stream\":true,", &body);
    for (int i = 0; i < 6; i++) {
        fds[i] = kit_dial(s);
        kit_send_request(fds[i], "POST", "/v1/chat/completions", "", buf_view(&body));
        buf_clear(&in);
        CHECK(kit_read_until(fds[i], "\"role\":\"assistant\"", &in));
    }
    CHECK(kit_server_close(s) < 10 * LIMIT_MS);
    for (int i = 0; i < 6; i++) {
        buf_clear(&in);
        kit_read_all(fds[i], &in);
        CHECK(str_find(buf_view(&in), STR("[DONE]"), 0) == SIZE_MAX);
        close(fds[i]);
    }
    buf_free(&in);
    buf_free(&body);
}
