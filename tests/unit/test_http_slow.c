/* Clients that take their time: what they cannot hold. */
#include "test.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "kit/server_kit.h"
#include "server/http.h"

/* A server whose /stream goes on for ever, and what became of its requests. */
struct slow {
    struct http_params params;
    struct http *http;
    atomic_int n_handled, n_closed;
    atomic_bool logged;
    pthread_mutex_t lock;
    pthread_cond_t closed;
};

static bool next_bytes(void *ctx, struct buf *out)
{
    char line[1000];
    (void)ctx;
    memset(line, 'x', sizeof line);
    buf_put(out, line, sizeof line);
    return true;
}

static void close_stream(void *ctx)
{
    struct slow *s = ctx;
    pthread_mutex_lock(&s->lock);
    atomic_fetch_add(&s->n_closed, 1);
    pthread_cond_signal(&s->closed);
    pthread_mutex_unlock(&s->lock);
}

static void admit(void *ctx, struct http_request *r)
{
    (void)ctx;
    (void)r;
}

static void handle(void *ctx, struct http_request *r)
{
    struct slow *s = ctx;
    atomic_fetch_add(&s->n_handled, 1);
    if (str_eq(http_path(r), STR("/stream")))
        http_stream(r, NULL, &(struct http_source){next_bytes, close_stream, s});
    else
        http_send(r, 200, "text/plain", STR("owl\n"));
}

static void too_many(void *ctx, struct http_request *r)
{
    (void)ctx;
    http_send(r, 503, "text/plain", STR("later\n"));
}

static void on_log(void *ctx, enum log_level level, const char *line)
{
    struct slow *s = ctx;
    (void)level;
    if (strstr(line, "its connection was closed"))
        atomic_store(&s->logged, true);
}

static void open_slow(struct slow *s, struct http_params params)
{
    struct err e;
    *s = (struct slow){.params = params};
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->closed, NULL);
    s->params.admit = admit;
    s->params.handle = handle;
    s->params.too_large = s->params.too_many = too_many;
    s->params.ctx = s;
    s->params.log = (struct log){on_log, s};
    s->http = http_open(&s->params, &e);
    CHECK_OK(s->http);
}

static void close_slow(struct slow *s)
{
    http_close(s->http);
    pthread_cond_destroy(&s->closed);
    pthread_mutex_destroy(&s->lock);
}

static int dial(const struct slow *s)
{
    return kit_dial_port(http_port(s->http));
}

/* What a connection that was closed took is free a moment after the server said so: until then 503.
 */
static void check_serves(const struct slow *s)
{
    struct buf in = {0};
    int status = 503;
    for (int i = 0; i < 10000 && status == 503; i++) {
        int fd = dial(s);
        buf_clear(&in);
        kit_send(fd, STR("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        kit_read_all(fd, &in);
        close(fd);
        status = kit_status(&in);
    }
    CHECK_INT(status, 200);
    buf_free(&in);
}

/* Sends the start, then a letter every few milliseconds until the server has enough of it; how many
 * went. It would go on for 20 s. */
static size_t trickle(int fd, const char *start)
{
    struct pollfd at = {.fd = fd, .events = POLLIN | POLLRDHUP};
    kit_send(fd, str_of(start));
    for (size_t n = 0; n < 4000; n++) {
        if (poll(&at, 1, 5) > 0)
            return n;
        kit_send(fd, STR("a"));
    }
    test_fail(__FILE__, __LINE__, "the connection is still there");
}

TEST(http_ends_a_head_that_trickles)
{
    struct slow s;
    open_slow(&s, (struct http_params){.head_ms = 100});
    int fd = dial(&s);
    CHECK(trickle(fd, "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ") > 2);
    close(fd);
    CHECK_INT(s.n_handled, 0);
    check_serves(&s);
    close_slow(&s);
}

/* The same on a connection that had a request: the time to be idle comes before it. */
TEST(http_ends_a_second_head_that_trickles)
{
    struct slow s;
    struct buf in = {0};
    open_slow(&s, (struct http_params){.idle_s = 1, .head_ms = 50});
    int fd = dial(&s);
    kit_send(fd, STR("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    CHECK(kit_read_until(fd, "owl\n", &in));
    CHECK(trickle(fd, "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ") > 2);
    close(fd);
    CHECK_INT(s.n_handled, 1);
    buf_free(&in);
    close_slow(&s);
}

TEST(http_ends_a_body_that_trickles)
{
    struct slow s;
    open_slow(&s, (struct http_params){.body_ms = 100});
    int fd = dial(&s);
    CHECK(trickle(fd, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n") > 2);
    close(fd);
    CHECK_INT(s.n_handled, 0);
    CHECK(atomic_load(&s.logged));
    check_serves(&s);
    close_slow(&s);
}

static void wait_closed(struct slow *s)
{
    struct timespec until;
    int late = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    pthread_mutex_lock(&s->lock);
    while (!atomic_load(&s->n_closed) && !late)
        late = pthread_cond_timedwait(&s->closed, &s->lock, &until);
    pthread_mutex_unlock(&s->lock);
    CHECK_INT(late, 0);
}

/* Whoever reads nothing, or a byte now and then: the stream is closed, which cancels its work. */
static void check_slow_reader(bool trickles)
{
    struct slow s;
    char byte;
    open_slow(&s, (struct http_params){.take_ms = 100});
    int fd = dial(&s), small = 4096;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    kit_send(fd, STR("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n"));
    for (int i = 0; trickles && i < 4000 && !atomic_load(&s.n_closed); i++) {
        CHECK(recv(fd, &byte, 1, 0) >= 0);
        poll(NULL, 0, 5);
    }
    wait_closed(&s);
    CHECK(atomic_load(&s.logged));
    close(fd);
    check_serves(&s);
    close_slow(&s);
}

TEST(http_ends_a_stream_that_nobody_reads)
{
    check_slow_reader(false);
}

TEST(http_ends_a_stream_that_is_read_by_the_byte)
{
    check_slow_reader(true);
}

/* A client that reads what comes has as long as the stream lasts. */
TEST(http_stream_lasts_longer_than_its_pieces_may)
{
    struct slow s;
    char bytes[8192];
    open_slow(&s, (struct http_params){.take_ms = 100});
    int fd = dial(&s);
    kit_send(fd, STR("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n"));
    for (uint64_t end = clock_ns() + 400000000; clock_ns() < end;)
        CHECK(recv(fd, bytes, sizeof bytes, 0) > 0);
    close(fd);
    wait_closed(&s);
    CHECK(!atomic_load(&s.logged));
    close_slow(&s);
}

/* As many idle connections as there may be do not keep others out: the oldest one goes. */
TEST(http_idle_connections_make_room)
{
    struct slow s;
    struct buf in = {0};
    int fds[4];
    open_slow(&s, (struct http_params){.max_connections = 4});
    for (int i = 0; i < 4; i++) {
        fds[i] = dial(&s);
        if (i == 3)
            break; /* it says nothing at all */
        kit_send(fds[i], STR("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        buf_clear(&in);
        CHECK(kit_read_until(fds[i], "owl\n", &in));
    }
    check_serves(&s);
    buf_clear(&in);
    kit_read_all(fds[0], &in);
    CHECK_INT(in.n, 0);
    for (int i = 0; i < 20; i++)
        check_serves(&s);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    buf_free(&in);
    close_slow(&s);
}

/* While all have requests, one more is told so, and the next one is served when one has gone. */
TEST(http_says_when_there_are_too_many_connections)
{
    struct slow s;
    struct buf in = {0};
    int fds[2];
    open_slow(&s, (struct http_params){.max_connections = 2});
    for (int i = 0; i < 2; i++) {
        fds[i] = dial(&s);
        kit_send(fds[i], STR("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n"));
        buf_clear(&in);
        CHECK(kit_read_until(fds[i], "xxx", &in));
    }
    int more = dial(&s);
    buf_clear(&in);
    kit_send(more, STR("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    kit_read_all(more, &in);
    close(more);
    CHECK_INT(kit_status(&in), 503);
    close(fds[0]);
    wait_closed(&s);
    check_serves(&s);
    close(fds[1]);
    buf_free(&in);
    close_slow(&s);
}

/* Bodies that are there keep further ones out until they are done. */
TEST(http_bodies_of_all_requests_have_one_limit)
{
    struct slow s;
    struct buf in = {0}, body = {0};
    open_slow(&s, (struct http_params){.max_held = 1400});
    for (int i = 0; i < 1000; i++)
        buf_byte(&body, 'a');
    int first = dial(&s);
    kit_send_request(first, "POST", "/stream", "", buf_view(&body));
    CHECK(kit_read_until(first, "xxx", &in));
    for (int chunked = 0; chunked < 2; chunked++) {
        int second = dial(&s);
        if (chunked) {
            kit_send(second, STR("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
                                 "Connection: close\r\n\r\n3e8\r\n"));
            kit_send(second, buf_view(&body));
            kit_send(second, STR("\r\n0\r\n\r\n"));
        } else {
            kit_send_request(second, "POST", "/", "Connection: close\r\n", buf_view(&body));
        }
        buf_clear(&in);
        kit_read_all(second, &in);
        CHECK_INT(kit_status(&in), 503);
        close(second);
    }
    close(first);
    wait_closed(&s);
    /* What the first held is given back at the end of the request, a moment after its stream. */
    for (int i = 0; i < 1000 && kit_status(&in) != 200; i++) {
        int third = dial(&s);
        buf_clear(&in);
        kit_send_request(third, "POST", "/", "Connection: close\r\n", buf_view(&body));
        kit_read_all(third, &in);
        close(third);
    }
    CHECK_INT(kit_status(&in), 200);
    buf_free(&body);
    buf_free(&in);
    close_slow(&s);
}
