#include "server/record.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

enum {
    MAX_RESPONSE = 64 << 20, /* bytes of one; what is over is left out, and the file says so */
    MAX_WAITING = 256 << 20, /* bytes for the disk; then requests that end wait for it */
};
static const uint64_t MAX_WRITTEN = (uint64_t)16 << 30; /* bytes of one run */

/* Names of conversations, which the engine takes as hints, and what tells clients apart. */
static const char *const kept_headers[] = {
    "User-Agent",
    "x-claude-code-session-id",
    "x-claude-code-agent-id",
    "x-session-id",
    "thread-id",
    "session-id",
    "session_id",
    "anthropic-version",
    "anthropic-beta",
};

struct waiting {
    struct waiting *next;
    struct buf text;
    char name[48];
};

struct recorder {
    char *folder;
    struct log log;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct waiting *first, **last;
    size_t n_waiting; /* bytes */
    uint64_t n_written;
    unsigned n_begun;
    bool ending;
};

struct exchange {
    struct recorder *recorder;
    struct http_request *http;
    struct buf head; /* the file up to the request, without its closing brace */
    struct buf response;
    int status;
    uint64_t begin_ns, first_ns;
    struct record_usage usage;
    bool has_usage;
    char name[48]; /* of the file */
};

/* ---- the thread that writes ---- */

static void write_file(struct recorder *r, struct waiting *w)
{
    struct buf path = {0};
    struct file_out f = {0};
    struct err e;
    buf_fmt(&path, "%s/%s", r->folder, w->name);
    bool ok = r->n_written + w->text.n <= MAX_WRITTEN ||
              err_set(&e, ERR_LIMIT, "%s: %llu bytes were recorded, which is the limit of one run",
                      r->folder, (unsigned long long)r->n_written);
    /* For the user alone, also where the folder was there before and others may look into it. */
    ok = ok && file_create(&f, path.p, &e) &&
         (fchmod(f.fd, 0600) == 0 || err_sys(&e, "%s", path.p)) &&
         file_write_at(&f, 0, w->text.p, w->text.n, &e) && file_commit(&f, &e);
    if (ok)
        r->n_written += w->text.n;
    else
        log_warn(&r->log, "not recorded: %s", e.msg);
    file_abandon(&f);
    buf_free(&path);
}

static void *write_all(void *ctx)
{
    struct recorder *r = ctx;
    pthread_mutex_lock(&r->lock);
    for (;;) {
        struct waiting *w = r->first;
        if (!w && r->ending)
            break;
        if (!w) {
            pthread_cond_wait(&r->changed, &r->lock);
            continue;
        }
        r->first = w->next;
        if (!r->first)
            r->last = &r->first;
        pthread_mutex_unlock(&r->lock);
        write_file(r, w);
        pthread_mutex_lock(&r->lock);
        r->n_waiting -= w->text.n;
        pthread_cond_broadcast(&r->changed);
        buf_free(&w->text);
        free(w);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* Takes over text. */
static void hand_over(struct recorder *r, struct buf *text, const char *name)
{
    struct waiting *w = mem_new(1, sizeof *w);
    w->text = *text;
    memcpy(w->name, name, sizeof w->name);
    pthread_mutex_lock(&r->lock);
    while (r->n_waiting > MAX_WAITING)
        pthread_cond_wait(&r->changed, &r->lock);
    *r->last = w;
    r->last = &w->next;
    r->n_waiting += w->text.n;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

struct recorder *recorder_open(const char *folder, const struct log *log, struct err *e)
{
    struct stat st;
    file_make_folders(folder);
    mkdir(folder, 0700);
    if (stat(folder, &st) != 0 || !S_ISDIR(st.st_mode) || access(folder, W_OK) != 0) {
        err_sys(e, "--record %s: is no folder that can be written to", folder);
        return NULL;
    }
    struct recorder *r = mem_new(1, sizeof *r);
    r->folder = strdup(folder);
    r->log = *log;
    r->last = &r->first;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    if (pthread_create(&r->thread, NULL, write_all, r) == 0)
        return r;
    err_set(e, ERR_IO, "--record: no thread can be started");
    free(r->folder);
    free(r);
    return NULL;
}

void recorder_close(struct recorder *r)
{
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->ending = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    pthread_join(r->thread, NULL);
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->changed);
    free(r->folder);
    free(r);
}

/* ---- one exchange ---- */

static void take_bytes(void *ctx, int status, str bytes)
{
    struct exchange *x = ctx;
    if (!x->first_ns)
        x->first_ns = clock_ns();
    x->status = status;
    buf_str(&x->response, bytes);
}

static double ms_since(const struct exchange *x, uint64_t ns)
{
    return ns ? 1e-6 * (double)(ns - x->begin_ns) : -1;
}

/* A request that was taken is JSON and stands as it came; one that was refused may be anything. */
static void put_request(const struct exchange *x, struct buf *out)
{
    const bool is_json = x->status < 400 && x->status > 0;
    buf_str(out, is_json ? STR(",\n\"request\": ") : STR(",\n\"request_text\": "));
    if (is_json)
        buf_str(out, http_body(x->http));
    else
        json_quote(http_body(x->http), out);
}

static void finish(void *ctx, bool whole)
{
    struct exchange *x = ctx;
    struct buf *out = &x->head;
    buf_fmt(out, ",\n\"first_ms\": %.3f, \"end_ms\": %.3f, \"status\": %d, \"aborted\": %s",
            ms_since(x, x->first_ns), ms_since(x, clock_ns()), x->status,
            whole && !x->usage.gone ? "false" : "true");
    if (x->has_usage)
        buf_fmt(out,
                ",\n\"usage\": {\"prompt_tokens\": %zu, \"cached_tokens\": %zu, "
                "\"completion_tokens\": %zu}",
                x->usage.n_prompt, x->usage.n_cached, x->usage.n_generated);
    put_request(x, out);
    if (x->response.over)
        buf_str(out, STR(",\n\"response_cut\": true"));
    buf_str(out, STR(",\n\"response\": "));
    json_quote(buf_view(&x->response), out);
    buf_str(out, STR("}\n"));
    hand_over(x->recorder, out, x->name);
    buf_free(&x->response);
    free(x);
}

static void put_head(struct exchange *x, int64_t arrived_ms, const char *id)
{
    bool more = false;
    buf_fmt(&x->head, "{\"tawny_exchange\": 1,\n\"id\": \"%s\",\n\"path\": ", id);
    json_quote(http_path(x->http), &x->head);
    buf_str(&x->head, STR(",\n\"headers\": {"));
    for (size_t i = 0; i < sizeof kept_headers / sizeof *kept_headers; i++) {
        str value = http_header(x->http, kept_headers[i]);
        if (value.n == 0)
            continue;
        buf_fmt(&x->head, "%s\"%s\": ", more ? ", " : "", kept_headers[i]);
        json_quote(value, &x->head);
        more = true;
    }
    buf_fmt(&x->head, "},\n\"arrived_ms\": %lld", (long long)arrived_ms);
}

struct exchange *record_begin(struct recorder *r, struct http_request *http)
{
    struct exchange *x = mem_new(1, sizeof *x);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    const int64_t ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    pthread_mutex_lock(&r->lock);
    const unsigned i = r->n_begun++;
    pthread_mutex_unlock(&r->lock);
    x->recorder = r;
    x->http = http;
    x->begin_ns = clock_ns();
    x->response.max = MAX_RESPONSE;
    struct buf id = {0};
    buf_fmt(&id, "%013lld-%06u", (long long)ms, i);
    put_head(x, ms, id.p);
    buf_str(&id, STR(".json"));
    memcpy(x->name, id.p, id.n < sizeof x->name ? id.n + 1 : 0);
    buf_free(&id);
    http_tap(http, &(struct http_tap){take_bytes, finish, x});
    return x;
}

struct exchange *record_of(const struct http_request *http)
{
    return http_tapped(http);
}

void record_usage(struct exchange *x, const struct record_usage *usage)
{
    if (!x)
        return;
    x->usage = *usage;
    x->has_usage = true;
}
