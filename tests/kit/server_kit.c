#include "kit/server_kit.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "kit/chat_model.h"
#include "server/server.h"
#include "test.h"

enum { MAX_LINES = 256 };

static const char demo_model[] = "share/tawny-demo.gguf"; /* tests run in the checkout */

struct kit_server {
    struct server_params params;
    struct server *server;
    struct engine *engine;
    char *path;
    pthread_t thread;
    bool is_running; /* there is a thread */
    bool ok;
    struct err error;
    pthread_mutex_t lock; /* over what follows */
    pthread_cond_t changed;
    bool is_done, is_ready; /* server_run failed or serves; serves on the port */
    struct {
        char *text;
        uint64_t at_ns;
    } lines[MAX_LINES];
    size_t n_lines;
};

static void on_log(void *ctx, enum log_level level, const char *line)
{
    struct kit_server *s = ctx;
    (void)level;
    pthread_mutex_lock(&s->lock);
    if (s->n_lines < MAX_LINES) {
        s->lines[s->n_lines].at_ns = clock_ns();
        s->lines[s->n_lines++].text = strdup(line);
    }
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void on_ready(void *ctx, const char *url)
{
    struct kit_server *s = ctx;
    const char *colon = strrchr(url, ':');
    pthread_mutex_lock(&s->lock);
    s->is_ready = !colon || atoi(colon + 1) == server_port(s->server);
    s->is_done = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void *run(void *ctx)
{
    struct kit_server *s = ctx;
    s->ok = server_run(s->server, s->engine, &s->error);
    if (!s->ok)
        on_ready(s, "failed:0");
    return NULL;
}

void kit_server_load(struct kit_server *s)
{
    CHECK(pthread_create(&s->thread, NULL, run, s) == 0);
    s->is_running = true;
    pthread_mutex_lock(&s->lock);
    while (!s->is_done)
        pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
    if (!s->is_ready)
        test_fail(__FILE__, __LINE__, "server_run: %s", s->error.msg);
}

void kit_server_progress(struct kit_server *s, uint64_t done, uint64_t total)
{
    const struct progress p = server_progress(s->server);
    progress_step(&p, done, total);
}

struct kit_server *kit_server_open(const struct kit_server_params *p)
{
    struct err e;
    struct kit_server *s = mem_new(1, sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    if (p->demo && access(demo_model, R_OK) != 0)
        test_skip("the demo model is not here");
    s->path = p->demo ? NULL : kit_write_chat_model(&(struct kit_spec){.n_layer = 4});
    s->engine = engine_open(&(struct engine_params){.path = p->demo ? demo_model : s->path,
                                                    .backend = p->demo ? "cpu" : "ref",
                                                    .n_ctx = p->n_ctx ? p->n_ctx : 2048,
                                                    .n_sessions = 2,
                                                    .n_pages = p->n_pages},
                            &e);
    CHECK_OK(s->engine);
    s->params =
        (struct server_params){.api_key = p->api_key,
                               .keepalive_ms = p->keepalive_ms,
                               .max_body = p->max_body,
                               .max_held = p->max_held,
                               .max_kept = p->max_kept,
                               .cors = p->cors,
                               .record = p->record,
                               .force_samplers = p->force_samplers,
                               .chat_template = str_of(p->chat_template ? p->chat_template : ""),
                               .model_id = "kit",
                               .log = {on_log, s},
                               .ready = on_ready,
                               .ready_ctx = s,
                               .stop_fd = eventfd(0, EFD_CLOEXEC)};
    CHECK_OK((s->server = server_open(&s->params, &e)) != NULL);
    if (!p->loading)
        kit_server_load(s);
    return s;
}

double kit_server_close(struct kit_server *s)
{
    uint64_t from = clock_ns(), one = 1;
    CHECK(write(s->params.stop_fd, &one, sizeof one) == sizeof one);
    if (s->is_running)
        pthread_join(s->thread, NULL);
    server_close(s->server);
    double ms = 1e-6 * (double)(clock_ns() - from);
    if (s->is_running && !s->ok)
        test_fail(__FILE__, __LINE__, "server_run: %s", s->error.msg);
    close(s->params.stop_fd);
    engine_close(s->engine);
    if (s->path)
        unlink(s->path);
    free(s->path);
    for (size_t i = 0; i < s->n_lines; i++)
        free(s->lines[i].text);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s);
    return ms;
}

uint64_t kit_log_wait(struct kit_server *s, const char *text, struct buf *out)
{
    struct timespec until;
    uint64_t found = 0;
    size_t seen = 0;
    int late = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10;
    pthread_mutex_lock(&s->lock);
    while (!found && !late) {
        for (; seen < s->n_lines && !found; seen++)
            if (strstr(s->lines[seen].text, text)) {
                found = s->lines[seen].at_ns;
                if (out)
                    buf_str(out, str_of(s->lines[seen].text));
            }
        if (!found)
            late = pthread_cond_timedwait(&s->changed, &s->lock, &until);
    }
    pthread_mutex_unlock(&s->lock);
    if (!found)
        test_fail(__FILE__, __LINE__, "no log line with '%s' came", text);
    return found;
}

void kit_log_all(struct kit_server *s, struct buf *out)
{
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->n_lines; i++)
        buf_fmt(out, "%s\n", s->lines[i].text);
    pthread_mutex_unlock(&s->lock);
}

uint16_t kit_port(const struct kit_server *s)
{
    return server_port(s->server);
}

int kit_dial(struct kit_server *s)
{
    return kit_dial_port(kit_port(s));
}

int kit_dial_port(uint16_t port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct timeval limit = {.tv_sec = 20};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) == 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return fd;
}

void kit_send(int fd, str bytes)
{
    for (size_t at = 0; at < bytes.n;) {
        ssize_t n = send(fd, bytes.p + at, bytes.n - at, MSG_NOSIGNAL);
        if (n <= 0)
            return; /* the server may close at any time: what it said before is what counts */
        at += (size_t)n;
    }
}

void kit_send_request(int fd, const char *method, const char *path, const char *head, str body)
{
    struct buf out = {0};
    buf_fmt(&out, "%s %s HTTP/1.1\r\nHost: localhost\r\n%s", method, path, head);
    if (body.n)
        buf_fmt(&out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", body.n);
    buf_str(&out, STR("\r\n"));
    buf_str(&out, body);
    kit_send(fd, buf_view(&out));
    buf_free(&out);
}

/* False at the end of the connection. */
static bool read_more(int fd, struct buf *in)
{
    char bytes[4096];
    ssize_t n = recv(fd, bytes, sizeof bytes, 0);
    if (n > 0)
        buf_put(in, bytes, (size_t)n);
    return n > 0;
}

bool kit_read_until(int fd, const char *text, struct buf *in)
{
    while (str_find(buf_view(in), str_of(text), 0) == SIZE_MAX)
        if (!read_more(fd, in))
            return false;
    return true;
}

void kit_read_all(int fd, struct buf *in)
{
    while (read_more(fd, in))
        ;
}

int kit_fetch(struct kit_server *s, const char *method, const char *path, const char *head,
              str body, struct buf *out)
{
    int fd = kit_dial(s);
    struct buf lines = {0};
    buf_fmt(&lines, "%sConnection: close\r\n", head);
    buf_clear(out);
    kit_send_request(fd, method, path, lines.p, body);
    kit_read_all(fd, out);
    buf_free(&lines);
    close(fd);
    return kit_status(out);
}

int kit_status(const struct buf *reply)
{
    str line = buf_view(reply);
    return str_starts(line, STR("HTTP/1.1 ")) ? atoi(line.p + 9) : 0;
}

void kit_chat_body(size_t n, const char *fields, struct buf *out)
{
    buf_clear(out);
    buf_fmt(out, "{%s\"temperature\":0,\"messages\":[{\"role\":\"user\",\"content\":\"", fields);
    for (size_t i = 0; i < n; i++)
        buf_byte(out, (char)('a' + i % 26));
    buf_str(out, STR("\"}]}"));
}
