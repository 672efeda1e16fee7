#include "server/http.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <microhttpd.h>

#include "base/mem.h"
#include "server/watch.h"

enum {
    MAX_SET = 10,
    POOL_BYTES = 64 << 10, /* per connection: request head, and one chunk of the answer */
    BLOCK_BYTES = 16 << 10,
    DRAIN_BYTES = 1 << 20, /* see queue_refusal */
    N_EXTRA = 16,          /* connections that are told that there are too many */
};

struct http {
    struct MHD_Daemon *daemon;
    struct http_params params;
    struct watch *watch;
    uint16_t port;
    atomic_bool ending;
    atomic_size_t n_held; /* bytes of all requests */
};

struct http_request {
    struct http *http;
    struct MHD_Connection *connection;
    struct watched *watched; /* the connection's */
    str method;
    str path;
    struct buf body;
    size_t n_held;               /* bytes that count for it */
    struct MHD_Response *answer; /* NULL: not answered yet */
    int status;
    bool queued;
    struct {
        const char *name, *value;
    } set[MAX_SET];
    size_t n_set;
    struct http_source source;
    struct http_tap tap; /* .done NULL: none */
    struct buf ready;    /* bytes of the source that are not on the wire yet */
    size_t n_taken;      /* of those, given to libmicrohttpd */
    bool ended;          /* the source has no more */
    bool broken;         /* though that was not all */
};

/* Length the head announces; 0 for none (chunked uploads). */
static uint64_t announced_bytes(const struct http_request *r)
{
    int64_t n;
    return str_to_i64(http_header(r, "Content-Length"), &n) && n > 0 ? (uint64_t)n : 0;
}

/* libmicrohttpd looks at the time since the last byte moved when a callback returns, so one that
 * blocked would lose its connection: the limit is off while ours run, and setting it again starts
 * the count anew. */
static void suspend_idle_limit(struct http_request *r)
{
    MHD_set_connection_option(r->connection, MHD_CONNECTION_OPTION_TIMEOUT, 0u);
}

static void resume_idle_limit(struct http_request *r)
{
    MHD_set_connection_option(r->connection, MHD_CONNECTION_OPTION_TIMEOUT, r->http->params.idle_s);
}

static void step(struct http_request *r, const char *name, uint32_t ms)
{
    watch_step(r->http->watch, r->watched, name, ms);
}

bool http_hold(struct http_request *r, size_t n)
{
    size_t max = r->http->params.max_held;
    if (n > max || atomic_fetch_add(&r->http->n_held, n) > max - n) {
        if (n <= max)
            atomic_fetch_sub(&r->http->n_held, n);
        return false;
    }
    r->n_held += n;
    return true;
}

void http_release(struct http_request *r, size_t n)
{
    r->n_held -= n;
    atomic_fetch_sub(&r->http->n_held, n);
}

static enum MHD_Result queue_answer(struct http_request *r)
{
    if (!r->answer)
        http_send(r, 500, "text/plain", STR("no answer\n"));
    step(r, "taking its answer", r->http->params.take_ms);
    if (r->watched->extra)
        http_set(r, "Connection", "close");
    for (size_t i = 0; i < r->n_set; i++)
        MHD_add_response_header(r->answer, r->set[i].name, r->set[i].value);
    r->queued = true;
    return MHD_queue_response(r->connection, (unsigned)r->status, r->answer);
}

/* An answer given before the body was read. Closing a socket with unread bytes resets it, and the
 * client may lose the answer: a small body is taken in first (and thrown away). */
static enum MHD_Result queue_refusal(struct http_request *r)
{
    return announced_bytes(r) > DRAIN_BYTES ? queue_answer(r) : MHD_YES;
}

static enum MHD_Result on_head(struct http_request *r)
{
    const struct http_params *p = &r->http->params;
    r->watched =
        MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    step(r, "sending the body of its request", p->body_ms);
    r->body.max = p->max_body;
    if (r->watched->extra)
        p->too_many(p->ctx, r);
    else if (announced_bytes(r) > r->body.max)
        p->too_large(p->ctx, r);
    else
        p->admit(p->ctx, r);
    return r->answer ? queue_refusal(r) : MHD_YES;
}

/* Takes in body bytes. libmicrohttpd takes no answer in the middle of a body: what comes of a
 * request that is refused (a chunked upload does not say before that it is too long) is thrown
 * away. */
static void on_body(struct http_request *r, const char *bytes, size_t n)
{
    const struct http_params *p = &r->http->params;
    if (r->answer)
        return;
    const bool held = http_hold(r, n);
    if (held)
        buf_put(&r->body, bytes, n);
    if (held && !r->body.over)
        return;
    buf_free(&r->body);
    http_release(r, r->n_held);
    (held ? p->too_large : p->too_many)(p->ctx, r);
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *n_upload, void **slot)
{
    struct http_request *r = *slot;
    (void)version;
    if (!r) {
        r = mem_new(1, sizeof *r);
        *slot = r;
        r->http = ctx;
        r->connection = connection;
        r->method = str_of(method);
        r->path = str_of(url);
        return on_head(r);
    }
    if (*n_upload) {
        size_t n = *n_upload;
        *n_upload = 0;
        on_body(r, upload, n);
        return MHD_YES;
    }
    if (r->queued)
        return MHD_YES;
    if (!r->answer) {
        suspend_idle_limit(r);
        step(r, "", 0);
        r->http->params.handle(r->http->params.ctx, r);
        resume_idle_limit(r);
    }
    return queue_answer(r);
}

static void on_completed(void *ctx, struct MHD_Connection *connection, void **slot,
                         enum MHD_RequestTerminationCode why)
{
    struct http_request *r = *slot;
    (void)ctx;
    (void)connection;
    if (!r)
        return;
    *slot = NULL;
    if (r->source.close)
        r->source.close(r->source.ctx);
    if (r->tap.done)
        r->tap.done(r->tap.ctx, why == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    if (r->answer)
        MHD_destroy_response(r->answer);
    buf_free(&r->body);
    buf_free(&r->ready);
    http_release(r, r->n_held);
    watch_idle(r->http->watch, r->watched, r->http->params.idle_s * 1000 + r->http->params.head_ms);
    free(r);
}

static void on_connection(void *ctx, struct MHD_Connection *connection, void **slot,
                          enum MHD_ConnectionNotificationCode what)
{
    struct http *h = ctx;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        struct watched *c = *slot = mem_new(1, sizeof *c);
        watch_add(
            h->watch, c,
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd,
            h->params.head_ms);
    } else {
        watch_remove(h->watch, *slot);
        free(*slot);
        *slot = NULL;
    }
}

/* libmicrohttpd asks for up to max bytes of the stream. Zero would make it ask again in a busy
 * loop, so this waits inside. */
static ssize_t on_more(void *ctx, uint64_t position, char *out, size_t max)
{
    struct http_request *r = ctx;
    (void)position;
    if (r->n_taken == r->ready.n && !r->ended) {
        buf_clear(&r->ready);
        r->n_taken = 0;
        suspend_idle_limit(r);
        step(r, "", 0);
        r->ended = !r->source.next(r->source.ctx, &r->ready);
        if (r->tap.bytes)
            r->tap.bytes(r->tap.ctx, r->status, buf_view(&r->ready));
        resume_idle_limit(r);
    }
    step(r, "taking a piece of its answer", r->http->params.take_ms);
    size_t n = r->ready.n - r->n_taken;
    if (n == 0)
        return r->broken || http_gone(r) ? MHD_CONTENT_READER_END_WITH_ERROR
                                         : MHD_CONTENT_READER_END_OF_STREAM;
    if (n > max)
        n = max;
    memcpy(out, r->ready.p + r->n_taken, n);
    r->n_taken += n;
    return (ssize_t)n;
}

/* A listening socket, so that errors can name the address and port 0 can be resolved. */
static int listen_on(const char *host, uint16_t port, struct err *e)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *list = NULL;
    char service[8];
    int fd = -1, one = 1;
    snprintf(service, sizeof service, "%u", port);
    int why = getaddrinfo(host, service, &hints, &list);
    if (why) {
        err_set(e, ERR_USAGE, "cannot listen on '%s': %s", host, gai_strerror(why));
        return -1;
    }
    for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (fd < 0)
            continue;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (bind(fd, a->ai_addr, a->ai_addrlen) != 0 || listen(fd, SOMAXCONN) != 0) {
            int saved = errno;
            close(fd);
            fd = -1;
            errno = saved;
        }
    }
    if (fd < 0)
        err_sys(e, "cannot listen on %s port %u (--host and --port choose another)", host, port);
    freeaddrinfo(list);
    return fd;
}

/* Did a server that ended without a word leave this file? */
static bool is_left_over(const struct sockaddr_un *at)
{
    struct stat st;
    if (lstat(at->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool nobody = fd >= 0 && connect(fd, (const struct sockaddr *)at, sizeof *at) != 0 &&
                  errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    return nobody;
}

/* Linux gives the file the mode that the socket has before it is bound (unix(7)). */
static int listen_on_socket(const char *path, struct err *e)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof at.sun_path) {
        err_set(e, ERR_USAGE, "--socket: a path of %zu bytes; the limit is %zu", n,
                sizeof at.sun_path - 1);
        return -1;
    }
    memcpy(at.sun_path, path, n);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && fchmod(fd, 0600) == 0;
    if (ok && bind(fd, (struct sockaddr *)&at, sizeof at) != 0)
        ok = errno == EADDRINUSE && is_left_over(&at) && unlink(path) == 0 &&
             bind(fd, (struct sockaddr *)&at, sizeof at) == 0;
    if (ok && listen(fd, SOMAXCONN) == 0)
        return fd;
    err_sys(e, "cannot listen on the socket %s (--socket chooses another)", path);
    if (fd >= 0)
        close(fd);
    return -1;
}

static uint16_t port_of(int fd)
{
    struct sockaddr_storage at;
    socklen_t n = sizeof at;
    if (getsockname(fd, (struct sockaddr *)&at, &n) != 0)
        return 0;
    if (at.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)&at)->sin6_port);
    return ntohs(((struct sockaddr_in *)&at)->sin_port);
}

struct http *http_open(const struct http_params *p, struct err *e)
{
    struct http *h = mem_new(1, sizeof *h);
    h->params = *p;
    if (!h->params.host)
        h->params.host = "127.0.0.1";
    if (!h->params.max_connections)
        h->params.max_connections = 128;
    if (!h->params.max_body)
        h->params.max_body = (size_t)64 << 20;
    if (!h->params.max_held)
        h->params.max_held = (size_t)512 << 20;
    if (!h->params.idle_s)
        h->params.idle_s = 120;
    if (!h->params.head_ms)
        h->params.head_ms = 30000;
    if (!h->params.body_ms)
        h->params.body_ms = 120000;
    if (!h->params.take_ms)
        h->params.take_ms = 60000;
    h->watch = watch_open(h->params.max_connections, &h->params.log, e);
    if (!h->watch)
        goto fail;
    int fd = p->socket ? listen_on_socket(p->socket, e) : listen_on(h->params.host, p->port, e);
    if (fd < 0)
        goto fail;
    h->port = p->socket ? 0 : port_of(fd);
    h->daemon = MHD_start_daemon(
        MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL |
            MHD_USE_ITC,
        0, NULL, NULL, on_request, h, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, h, MHD_OPTION_NOTIFY_CONNECTION, on_connection, h,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)h->params.max_connections + N_EXTRA,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)h->params.idle_s,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL_BYTES, MHD_OPTION_END);
    if (!h->daemon) {
        err_sys(e, "cannot start the HTTP server on %s port %u", h->params.host, h->port);
        close(fd);
        goto fail;
    }
    return h;
fail:
    watch_close(h->watch);
    free(h);
    return NULL;
}

uint16_t http_port(const struct http *h)
{
    return h->port;
}

void http_close(struct http *h)
{
    if (!h)
        return;
    atomic_store(&h->ending, true);
    MHD_stop_daemon(h->daemon);
    watch_close(h->watch);
    if (h->params.socket)
        unlink(h->params.socket);
    free(h);
}

str http_method(const struct http_request *r)
{
    return r->method;
}

str http_path(const struct http_request *r)
{
    return r->path;
}

str http_header(const struct http_request *r, const char *name)
{
    return str_of(MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name));
}

str http_body(const struct http_request *r)
{
    return buf_view(&r->body);
}

void http_set_body(struct http_request *r, struct buf *body)
{
    buf_free(&r->body);
    r->body = *body;
    *body = (struct buf){0};
}

void http_set(struct http_request *r, const char *name, const char *value)
{
    if (r->n_set < MAX_SET) {
        r->set[r->n_set].name = name;
        r->set[r->n_set++].value = value;
    }
}

static void answer_with(struct http_request *r, int status, const char *type,
                        struct MHD_Response *answer)
{
    if (r->answer)
        MHD_destroy_response(r->answer);
    r->answer = answer;
    r->status = status;
    if (answer)
        MHD_add_response_header(answer, "Content-Type", type);
}

void http_send(struct http_request *r, int status, const char *type, str body)
{
    if (r->tap.bytes)
        r->tap.bytes(r->tap.ctx, status, body);
    answer_with(
        r, status, type,
        MHD_create_response_from_buffer(body.n, (void *)(uintptr_t)body.p, MHD_RESPMEM_MUST_COPY));
}

void http_stream(struct http_request *r, const char *type, const struct http_source *source)
{
    r->source = *source;
    answer_with(r, 200, type ? type : "text/event-stream",
                MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, on_more, r, NULL));
    http_set(r, "Cache-Control", "no-cache");
}

void http_break(struct http_request *r)
{
    r->broken = true;
}

void http_tap(struct http_request *r, const struct http_tap *tap)
{
    r->tap = *tap;
}

void *http_tapped(const struct http_request *r)
{
    return r->tap.ctx;
}

bool http_gone(const struct http_request *r)
{
    struct pollfd at = {.fd = r->watched->fd, .events = POLLRDHUP};
    return atomic_load(&r->http->ending) || (poll(&at, 1, 0) > 0 && at.revents);
}
