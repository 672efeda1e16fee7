/* Requests that are sent again, over raw sockets: after the client hung up, and while the first one
 * is still at work. Nothing that was read is read again. */
#include "test.h"

#include <stdlib.h>
#include <unistd.h>

#include "kit/server_kit.h"

/* Sends it and waits until some of its prompt was read. */
static int begin(struct kit_server *s, str body)
{
    struct buf in = {0};
    const int fd = kit_dial(s);
    kit_send_request(fd, "POST", "/v1/chat/completions", "", body);
    CHECK(kit_read_until(fd, "\"processed\":", &in));
    while (kit_has(&in, "\"processed\":0}") || kit_has(&in, "\"processed\":0,")) {
        buf_clear(&in);
        CHECK(kit_read_until(fd, "\"processed\":", &in) && kit_read_until(fd, "}", &in));
    }
    buf_free(&in);
    return fd;
}

/* The number behind `name` in what came, the last time it stands there. */
static long number(const struct buf *in, const char *name)
{
    const char *last = NULL;
    for (const char *at = strstr(in->p, name); at; at = strstr(at + 1, name))
        last = at;
    if (!last)
        test_fail(__FILE__, __LINE__, "no %s in: %s", name, in->p);
    return strtol(last + strlen(name), NULL, 10);
}

/* Reads the stream of the request to its end: tokens of its prompt, and those that were known. */
static void end(int fd, long *n_prompt, long *n_cached)
{
    struct buf in = {0};
    CHECK(kit_read_until(fd, "data: [DONE]", &in));
    *n_prompt = number(&in, "\"prompt_tokens\":");
    *n_cached = number(&in, "\"cached_tokens\":");
    buf_free(&in);
    close(fd);
}

static const char fields[] = "\"stream\":true,\"stream_options\":{\"include_usage\":true},"
                             "\"return_progress\":true,\"max_tokens\":2,\"ignore_eos\":true,";

TEST(a_request_sent_again_goes_on_from_what_the_first_one_read)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){0});
    struct buf body = {0}, line = {0};
    long n_prompt, n_cached;
    size_t n_done = 0;
    kit_chat_body(400, fields, &body);
    close(begin(s, buf_view(&body)));
    kit_log_wait(s, "the client went away", &line);
    const char *numbers = strstr(line.p, "after ");
    CHECK(numbers && sscanf(numbers, "after %zu of", &n_done) == 1 && n_done > 0);
    const int fd = kit_dial(s);
    kit_send_request(fd, "POST", "/v1/chat/completions", "", buf_view(&body));
    end(fd, &n_prompt, &n_cached);
    printf("    %zu of %ld tokens were read, %ld of them known then\n", n_done, n_prompt, n_cached);
    CHECK(n_cached >= (long)n_done && n_cached < n_prompt);
    buf_free(&body);
    buf_free(&line);
    kit_server_close(s);
}

TEST(a_request_sent_again_while_the_first_one_runs_waits_for_what_they_share)
{
    struct kit_server *s = kit_server_open(&(struct kit_server_params){0});
    struct buf body = {0};
    long n_prompt, n_cached;
    kit_chat_body(1500, fields, &body);
    const int first = begin(s, buf_view(&body)), second = kit_dial(s);
    kit_send_request(second, "POST", "/v1/chat/completions", "", buf_view(&body));
    end(first, &n_prompt, &n_cached);
    CHECK_INT(n_cached, 0);
    end(second, &n_prompt, &n_cached);
    /* Nobody waits for fewer than 64 tokens (engine/share.c), and the last one is always read. */
    printf("    %ld of %ld tokens were known\n", n_cached, n_prompt);
    CHECK(n_cached >= n_prompt - 64);
    buf_free(&body);
    kit_server_close(s);
}
