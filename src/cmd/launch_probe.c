#include "cmd/launch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/json.h"

enum { MAX_ANSWER = 1 << 20, ANSWER_S = 5 };

static int dial(uint16_t port)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {.tv_sec = ANSWER_S};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&at, sizeof at) == 0)
        return fd;
    close(fd);
    return -1;
}

/* HTTP/1.0, so that the body comes as it is and ends with the connection. */
static bool fetch(uint16_t port, const char *path, const char *key, struct buf *in)
{
    struct buf out = {0};
    char piece[4096];
    int fd = dial(port);
    if (fd < 0)
        return false;
    buf_fmt(&out, "GET %s HTTP/1.0\r\nHost: 127.0.0.1\r\n", path);
    if (key)
        buf_fmt(&out, "Authorization: Bearer %s\r\n", key);
    buf_str(&out, STR("\r\n"));
    bool ok = send(fd, out.p, out.n, MSG_NOSIGNAL) == (ssize_t)out.n;
    in->max = MAX_ANSWER;
    for (ssize_t n = 1; ok && n > 0 && !in->over;) {
        n = recv(fd, piece, sizeof piece, 0);
        ok = n >= 0 || errno == EINTR;
        if (n > 0)
            buf_put(in, piece, (size_t)n);
        else if (n < 0 && errno == EINTR)
            n = 1;
    }
    close(fd);
    buf_free(&out);
    return ok && !in->over;
}

static bool has_word(const struct json *list, str word)
{
    for (size_t i = 0; i < json_count(list); i++)
        if (str_eq(json_str(json_at(list, i)), word))
            return true;
    return false;
}

/* The first model of the list in the body. */
static bool take_model(str body, struct arena *a, struct launch_server *out, struct err *e)
{
    struct json *v = json_parse(body, e);
    const struct json *entry = json_at(json_get(v, "data"), 0);
    str id = json_str(json_get(entry, "id"));
    int64_t n_ctx = json_int(json_get(entry, "context_length"));
    bool ok = id.n && n_ctx > 0 && n_ctx <= INT32_MAX;
    if (ok) {
        out->model = arena_str(a, id);
        out->n_ctx = (uint32_t)n_ctx;
        out->thinks = has_word(json_get(entry, "capabilities"), STR("thinking"));
    } else if (v) {
        err_set(e, ERR_FORMAT, "launch: port %u: /v1/models names no model with a context",
                out->port);
    }
    json_free(v);
    return ok;
}

/* The status of an answer and its body; 0: it is none. */
static int take_answer(str answer, str *body)
{
    str rest, head = str_cut(answer, '\n', &rest), status;
    size_t at = str_find(rest, STR("\r\n\r\n"), 0);
    int64_t n;
    str_cut(head, ' ', &status);
    if (at == SIZE_MAX || !str_starts(head, STR("HTTP/")) ||
        !str_to_i64(str_sub(status, 0, 3), &n) || n < 100 || n > 599)
        return 0;
    *body = str_sub(rest, at + 4, rest.n);
    return (int)n;
}

/* The status that the path is answered with, and the body, a view into in; -1: nobody answers. */
static int ask(uint16_t port, const char *path, const char *key, struct buf *in, str *body)
{
    buf_clear(in);
    return fetch(port, path, key, in) ? take_answer(buf_view(in), body) : -1;
}

static bool is_loading(uint16_t port, struct launch_server *out)
{
    struct buf in = {0};
    str body = {0};
    const int status = ask(port, "/health", NULL, &in, &body);
    out->health = health_of(status, body);
    buf_free(&in);
    return out->health.loading;
}

bool launch_probe(uint16_t port, const char *key, struct arena *a, struct launch_server *out,
                  struct err *e)
{
    struct buf in = {0};
    str body;
    bool ok = false;
    *out = (struct launch_server){.port = port, .key = key};
    int status = ask(port, "/v1/models", key, &in, &body);
    if (status == 503 && !is_loading(port, out)) /* not any more */
        status = ask(port, "/v1/models", key, &in, &body);
    if (status < 0)
        err_set(e, ERR_IO,
                "launch: no server answers on 127.0.0.1:%u: start one with 'tawny serve MODEL "
                "--port %u' (--port names another)",
                port, port);
    else if (status == 401)
        err_set(e, ERR_USAGE, "launch: the server asks for a key: give --api-key");
    else if (out->health.loading)
        err_set(e, ERR_IO, "launch: the server on 127.0.0.1:%u is loading its model: try again",
                port);
    else if (status == 503)
        err_set(e, ERR_LIMIT,
                "launch: the server on 127.0.0.1:%u takes no more requests: try again", port);
    else if (status != 200)
        err_set(e, ERR_FORMAT, "launch: 127.0.0.1:%u is no server of models", port);
    else
        ok = take_model(body, a, out, e);
    buf_free(&in);
    return ok;
}
