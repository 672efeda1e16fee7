#include "cmd/rerun.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { READ_S = 3600, MAX_HEAD = 64 << 10 };

bool rerun_server_of(const char *url, struct rerun_server *out, struct err *e)
{
    str rest = str_of(url), scheme = STR("http://");
    if (!str_starts(rest, scheme))
        return err_set(e, ERR_USAGE, "replay: --url %s: must begin with http://", url);
    str host = str_cut(str_sub(rest, scheme.n, rest.n), '/', &rest), port = {0};
    if (str_starts(host, STR("["))) {
        host = str_cut(str_sub(host, 1, host.n), ']', &port);
        port = str_sub(port, 1, port.n);
    } else {
        host = str_cut(host, ':', &port);
    }
    int64_t n = 80;
    if (host.n == 0 || host.n >= sizeof out->host ||
        (port.n && (!str_to_i64(port, &n) || n < 1 || n > 65535)))
        return err_set(e, ERR_USAGE, "replay: --url %s: is no http://HOST:PORT", url);
    snprintf(out->host, sizeof out->host, "%.*s", STRF(host));
    snprintf(out->port, sizeof out->port, "%d", (int)n);
    return true;
}

static int dial(const struct rerun_server *to, struct err *e)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    const struct timeval limit = {.tv_sec = READ_S};
    struct addrinfo *list = NULL;
    int fd = -1, one = 1, why = getaddrinfo(to->host, to->port, &hints, &list);
    if (why) {
        err_set(e, ERR_IO, "replay: %s: %s", to->host, gai_strerror(why));
        return -1;
    }
    for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
            const int saved = errno;
            close(fd);
            errno = saved;
            fd = -1;
        }
    }
    freeaddrinfo(list);
    if (fd < 0) {
        err_sys(e, "replay: no server answers on %s port %s (--url names another)", to->host,
                to->port);
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static bool send_all(int fd, str bytes, struct err *e)
{
    for (size_t done = 0; done < bytes.n;) {
        ssize_t n = send(fd, bytes.p + done, bytes.n - done, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(e, "replay: sending a request");
        done += (size_t)n;
    }
    return true;
}

/* An answer being read. */
struct answer {
    const struct rerun_sink *sink;
    struct buf in; /* bytes that were not looked at */
    int status;    /* 0: the head is not complete */
    bool chunked, whole;
    int64_t left; /* of the body or the chunk; -1: a chunk's size comes, or the connection's end */
};

static bool is_field(str line, const char *name, str *value)
{
    str field = str_trim(str_cut(line, ':', value));
    size_t i = 0;
    while (i < field.n && name[i] && (field.p[i] | 32) == name[i])
        i++;
    *value = str_trim(*value);
    return i == field.n && !name[i];
}

/* Takes the head when all of it is there. */
static bool take_head(struct answer *a, struct err *e)
{
    const size_t end = str_find(buf_view(&a->in), STR("\r\n\r\n"), 0);
    if (end == SIZE_MAX)
        return a->in.n <= MAX_HEAD ||
               err_set(e, ERR_FORMAT, "replay: the answer's head is over %d bytes", MAX_HEAD);
    str rest = str_sub(buf_view(&a->in), 0, end), line = str_cut(rest, '\n', &rest), value;
    int64_t status;
    str_cut(line, ' ', &value);
    if (!str_starts(line, STR("HTTP/1.")) || !str_to_i64(str_sub(value, 0, 3), &status) ||
        status < 100 || status > 599)
        return err_set(e, ERR_FORMAT, "replay: the answer is no HTTP/1.1");
    a->left = -1;
    while (rest.n) {
        line = str_cut(rest, '\n', &rest);
        if (is_field(line, "transfer-encoding", &value))
            a->chunked = str_find(value, STR("chunked"), 0) != SIZE_MAX;
        else if (is_field(line, "content-length", &value) &&
                 (!str_to_i64(value, &a->left) || a->left < 0))
            return err_set(e, ERR_FORMAT, "replay: the answer's Content-Length is no number");
    }
    a->status = (int)status;
    a->whole = a->left == 0 && !a->chunked;
    if (a->chunked)
        a->left = -1;
    buf_drop(&a->in, end + 4);
    return true;
}

/* "1a2f[;...]" */
static bool chunk_size(str line, int64_t *out)
{
    int64_t n = 0;
    size_t i = 0;
    for (; i < line.n && n < (1 << 30); i++) {
        const char c = line.p[i], low = (char)(c | 32);
        if (c >= '0' && c <= '9')
            n = n * 16 + (c - '0');
        else if (low >= 'a' && low <= 'f')
            n = n * 16 + (low - 'a' + 10);
        else
            break;
    }
    *out = n;
    return i > 0 && n < (1 << 30);
}

/* Takes the line of the next chunk's size, past the end of the one before. False: it is not all
 * there, or e. */
static bool take_size(struct answer *a, struct err *e)
{
    str view = buf_view(&a->in);
    const size_t from = str_starts(view, STR("\r\n")) ? 2 : 0,
                 end = str_find(view, STR("\r\n"), from);
    if (end == SIZE_MAX)
        return false;
    if (!chunk_size(str_sub(view, from, end), &a->left))
        return err_set(e, ERR_FORMAT, "replay: the answer has a chunk without a size");
    buf_drop(&a->in, end + 2);
    a->whole = a->left == 0;
    return !a->whole;
}

/* Hands over what is there of the body. */
static void take_body(struct answer *a, struct err *e)
{
    while (a->in.n && !a->whole && !e->code) {
        if (a->chunked && a->left < 0 && !take_size(a, e))
            return;
        const size_t n = a->left >= 0 && (size_t)a->left < a->in.n ? (size_t)a->left : a->in.n;
        a->sink->bytes(a->sink->ctx, str_sub(buf_view(&a->in), 0, n));
        buf_drop(&a->in, n);
        if (a->left >= 0)
            a->left -= (int64_t)n;
        if (a->left == 0 && a->chunked)
            a->left = -1;
        else if (a->left == 0)
            a->whole = true;
    }
}

static bool read_answer(int fd, struct answer *a, struct err *e)
{
    char piece[16384];
    while (!a->whole) {
        ssize_t n = recv(fd, piece, sizeof piece, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(e, "replay: reading an answer");
        if (n == 0)
            return (a->status && !a->chunked && a->left < 0) ||
                   err_set(e, ERR_IO, "replay: the connection ended within an answer");
        buf_put(&a->in, piece, (size_t)n);
        if (!a->status && !take_head(a, e))
            return false;
        if (a->status)
            take_body(a, e);
        if (e->code)
            return false;
    }
    return true;
}

static bool ask(const struct rerun_server *to, const char *method, str path, str headers, str body,
                const struct rerun_sink *sink, int *status, struct err *e)
{
    struct buf out = {0};
    struct answer a = {.sink = sink};
    *e = (struct err){0};
    *status = 0;
    int fd = dial(to, e);
    if (fd < 0)
        return false;
    buf_fmt(&out, "%s %.*s HTTP/1.1\r\nHost: %s:%s\r\nConnection: close\r\n", method, STRF(path),
            to->host, to->port);
    if (to->key)
        buf_fmt(&out, "Authorization: Bearer %s\r\n", to->key);
    buf_str(&out, headers);
    buf_str(&out, STR("\r\n"));
    buf_str(&out, body);
    bool ok = send_all(fd, buf_view(&out), e) && read_answer(fd, &a, e);
    *status = a.status;
    close(fd);
    buf_free(&out);
    buf_free(&a.in);
    return ok;
}

bool rerun_post(const struct rerun_server *to, str path, str headers, str body,
                const struct rerun_sink *sink, int *status, struct err *e)
{
    struct buf all = {0};
    buf_fmt(&all, "Content-Type: application/json\r\nContent-Length: %zu\r\n", body.n);
    buf_str(&all, headers);
    const bool ok = ask(to, "POST", path, buf_view(&all), body, sink, status, e);
    buf_free(&all);
    return ok;
}

/* ---- a server that loads ---- */

static void take_bytes(void *ctx, str bytes)
{
    buf_str(ctx, bytes);
}

bool rerun_wait(const struct rerun_server *to, void (*loading)(void *ctx, struct health h),
                void *ctx, struct err *e)
{
    enum { LOOK_MS = 100, MAX_BODY = 64 << 10 };
    struct buf in = {.max = MAX_BODY};
    struct health h;
    bool ok;
    do {
        int status;
        buf_clear(&in);
        ok = ask(to, "GET", STR("/health"), (str){0}, (str){0},
                 &(struct rerun_sink){take_bytes, &in}, &status, e);
        h = health_of(ok ? status : 0, buf_view(&in));
        if (h.loading) {
            loading(ctx, h);
            poll(NULL, 0, LOOK_MS);
        }
    } while (h.loading);
    buf_free(&in);
    return ok;
}
