#include "server/server.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "server/anthropic_reply.h"
#include "server/constrain.h"
#include "server/deliver.h"
#include "server/guard.h"
#include "server/metrics.h"
#include "server/ollama.h"
#include "server/record.h"
#include "server/responses_store.h"
#include "server/serve.h"
#include "server/unpack.h"

enum {
    REPLAY_BYTES = 64 << 20,    /* sampled replies; one of 500 tokens takes about 5 KiB */
    RESPONSES_BYTES = 64 << 20, /* responses that can be continued */
    MAX_BODY = 64 << 20,
    MAX_HELD = 512 << 20,
    MAX_KEPT = 4 << 20,
};

void server_log_notice(const struct server *s, const struct http_request *http,
                       const struct openai_request *q)
{
    if (q->notice[0])
        log_info(&s->params.log, "%.*s: %s", STRF(http_path(http)), q->notice);
}

uint64_t server_random(void)
{
    uint64_t bits = 0;
    if (getrandom(&bits, sizeof bits, 0) != sizeof bits)
        bits = clock_ns(); /* ids need not be secret */
    return bits;
}

void server_make_id(char *out, size_t n)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    for (size_t i = 0; i < n; i++)
        out[i] = letters[server_random() % (sizeof letters - 1)];
    out[n] = 0;
}

/* ---- endpoints ---- */

void server_send_json(struct http_request *http, struct buf *body)
{
    http_send(http, 200, "application/json", buf_view(body));
    buf_free(body);
}

static void get_health(const struct server *s, struct http_request *http)
{
    (void)s;
    http_send(http, 200, "application/json", STR("{\"status\":\"ok\"}\n"));
}

/* Ollama's own command line asks this first, and clients for its server read the words. */
static void get_root(const struct server *s, struct http_request *http)
{
    (void)s;
    http_send(http, 200, "text/plain; charset=utf-8", STR("Ollama is running"));
}

static void get_models(const struct server *s, struct http_request *http)
{
    struct buf body = {0};
    str entry = buf_view(&s->model_entry);
    buf_str(&body, STR("{\"object\":\"list\",\"data\":["));
    buf_str(&body, entry);
    buf_str(&body, STR("],\"has_more\":false,\"first_id\":"));
    json_quote(s->model_id, &body);
    buf_str(&body, STR(",\"last_id\":"));
    json_quote(s->model_id, &body);
    buf_str(&body, STR(",\"models\":["));
    buf_str(&body, entry);
    buf_str(&body, STR("]}\n"));
    server_send_json(http, &body);
}

static const str model_prefix = STR("/v1/models/");

static void get_model(const struct server *s, struct http_request *http)
{
    struct openai_error e;
    str path = http_path(http);
    str id = str_sub(path, model_prefix.n, path.n);
    if (str_eq(id, s->model_id)) {
        http_send(http, 200, "application/json", buf_view(&s->model_entry));
        return;
    }
    openai_fail(&e, 404, "model_not_found",
                "The model '%.*s' does not exist; this server has '%.*s'.",
                (int)(id.n < 100 ? id.n : 100), id.p, STRF(s->model_id));
    server_refuse(http, &e);
}

static void post_chat(const struct server *s, struct http_request *http)
{
    openai_serve(s, http, true);
}

static void post_completion(const struct server *s, struct http_request *http)
{
    openai_serve(s, http, false);
}

static void post_ollama_chat(const struct server *s, struct http_request *http)
{
    ollama_serve(s, http, false);
}

static void post_ollama_generate(const struct server *s, struct http_request *http)
{
    ollama_serve(s, http, true);
}

static void kept_response(const struct server *s, struct http_request *http)
{
    str path = http_path(http);
    responses_serve_kept(s, http, str_sub(path, STR("/v1/responses/").n, path.n));
}

/* ---- routes ---- */

static const struct route {
    const char *path;    /* ending in "/", but for that alone: and something behind it */
    const char *methods; /* OPTIONS is answered by admit */
    bool open;           /* needs no key */
    void (*handle)(const struct server *s, struct http_request *http);
} routes[] = {
    {"/", "GET, HEAD, OPTIONS", true, get_root},
    {"/health", "GET, HEAD, OPTIONS", true, get_health},
    {"/v1/models", "GET, HEAD, OPTIONS", false, get_models},
    {"/v1/models/", "GET, HEAD, OPTIONS", false, get_model},
    {"/v1/chat/completions", "POST, OPTIONS", false, post_chat},
    {"/v1/completions", "POST, OPTIONS", false, post_completion},
    {"/v1/messages", "POST, OPTIONS", false, anthropic_serve},
    {"/v1/messages/count_tokens", "POST, OPTIONS", false, anthropic_serve_count},
    {"/v1/responses", "POST, OPTIONS", false, responses_serve},
    {"/v1/responses/input_tokens", "POST, OPTIONS", false, responses_serve_count},
    {"/v1/responses/", "GET, HEAD, DELETE, OPTIONS", false, kept_response},
    {"/v1/health", "GET, HEAD, OPTIONS", true, get_health},
    {"/props", "GET, HEAD, OPTIONS", false, llama_serve_props},
    {"/slots", "GET, HEAD, OPTIONS", false, llama_serve_slots},
    {"/metrics", "GET, HEAD, OPTIONS", false, llama_serve_metrics},
    {"/tokenize", "POST, OPTIONS", false, llama_serve_tokenize},
    {"/detokenize", "POST, OPTIONS", false, llama_serve_detokenize},
    {"/apply-template", "POST, OPTIONS", false, llama_serve_template},
    {"/api/v0/models", "GET, HEAD, OPTIONS", false, models_serve_lm_studio},
    {"/api/version", "GET, HEAD, OPTIONS", true, ollama_serve_version},
    {"/api/tags", "GET, HEAD, OPTIONS", false, ollama_serve_tags},
    {"/api/ps", "GET, HEAD, OPTIONS", false, ollama_serve_ps},
    {"/api/show", "POST, OPTIONS", false, ollama_serve_show},
    {"/api/chat", "POST, OPTIONS", false, post_ollama_chat},
    {"/api/generate", "POST, OPTIONS", false, post_ollama_generate},
};

static const struct route *find_route(str path)
{
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        str known = str_of(routes[i].path);
        if (known.n > 1 && str_ends(known, STR("/")) ? str_starts(path, known) && path.n > known.n
                                                     : str_eq(path, known))
            return &routes[i];
    }
    return NULL;
}

/* Whose error it is, also at paths that are not here. These and /v1/models are told apart by the
 * header that Anthropic's clients send everywhere; those of other protocols may pass it on. */
static void error_body(struct http_request *http, const struct openai_error *e, struct buf *out)
{
    static const str anthropic = STR("/v1/messages"), ollama = STR("/api/"),
                     models = STR("/v1/models");
    const str path = http_path(http);
    const bool shared = str_starts(path, models) || !find_route(path);
    if (str_starts(path, anthropic) || (shared && http_header(http, "anthropic-version").n))
        anthropic_error_body(e, out);
    else if (str_starts(path, ollama))
        ollama_error_body(e, out);
    else
        openai_error_body(e, out);
}

void server_refuse(struct http_request *http, const struct openai_error *e)
{
    struct buf body = {0};
    error_body(http, e, &body);
    http_send(http, e->status, "application/json", buf_view(&body));
    buf_free(&body);
}

static bool method_fits(const struct route *route, str method)
{
    str rest = str_of(route->methods);
    while (rest.n && !str_eq(method, STR("OPTIONS")))
        if (str_eq(str_trim(str_cut(rest, ',', &rest)), method))
            return true;
    return false;
}

static bool is_let_in(const struct server *s, struct http_request *http)
{
    return guard_cors_ok(http_header(http, "Origin"), str_of(s->params.cors));
}

/* What a browser must read before it hands the answer to a page of another site; on every answer,
 * so that the page can tell errors apart. */
static void tell_browser(struct http_request *http)
{
    http_set(http, "Access-Control-Allow-Origin", http_header(http, "Origin").p);
    http_set(http, "Vary", "Origin");
    if (!str_eq(http_method(http), STR("OPTIONS")))
        return;
    str fields = http_header(http, "Access-Control-Request-Headers");
    http_set(http, "Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS");
    if (fields.n)
        http_set(http, "Access-Control-Allow-Headers", fields.p);
    http_set(http, "Access-Control-Max-Age", "600");
    if (http_header(http, "Access-Control-Request-Private-Network").n)
        http_set(http, "Access-Control-Allow-Private-Network", "true");
}

/* Everything that can be said no to before the body is read. */
static bool check_head(const struct server *s, struct http_request *http, struct openai_error *e)
{
    str method = http_method(http), path = http_path(http), bound = str_of(s->params.host);
    const struct route *route = find_route(path);
    if (s->loopback &&
        (!guard_host_ok(http_header(http, "Host"), bound) ||
         (!is_let_in(s, http) && !guard_origin_ok(http_header(http, "Origin"), bound))))
        return openai_fail(e, 403, "host_not_allowed",
                           "This server listens on loopback and takes requests from local programs "
                           "only: Host or Origin names another site.");
    if (!route)
        return openai_fail(e, 404, "unknown_url", "Unknown request URL: %.*s %.*s.", STRF(method),
                           (int)(path.n < 200 ? path.n : 200), path.p);
    if (!method_fits(route, method)) {
        http_set(http, "Allow", route->methods);
        return openai_fail(e, 405, "method_not_allowed", "%.*s takes %s, not %.*s.", STRF(path),
                           route->methods, STRF(method));
    }
    if (s->params.api_key && !route->open &&
        !guard_key_ok(http_header(http, "Authorization"), http_header(http, "x-api-key"),
                      str_of(s->params.api_key))) {
        http_set(http, "WWW-Authenticate", "Bearer");
        return openai_fail(e, 401, "invalid_api_key",
                           "Incorrect API key: send the server's as 'Authorization: Bearer KEY'.");
    }
    return true;
}

/* Acquires what server_run set. */
static bool is_ready(const struct server *s)
{
    return atomic_load_explicit(&s->unready.over, memory_order_acquire);
}

static void refuse_unready(const struct server *s, struct http_request *http)
{
    const struct unready *u = &s->unready;
    http_set(http, "Retry-After", unready_retry(clock_ns() - u->start_ns, u->done, u->total));
    if (find_route(http_path(http))->handle == get_health) {
        struct buf body = {0};
        unready_health(u, &body);
        http_send(http, 503, "application/json", buf_view(&body));
        buf_free(&body);
    } else {
        struct openai_error e;
        unready_fail(u, &e);
        server_refuse(http, &e);
    }
}

static void admit(void *ctx, struct http_request *http)
{
    const struct server *s = ctx;
    struct openai_error e;
    if (is_let_in(s, http))
        tell_browser(http);
    if (check_head(s, http, &e)) {
        if (!is_ready(s))
            refuse_unready(s, http);
        return;
    }
    if (e.status == 405 && str_eq(http_method(http), STR("OPTIONS")))
        http_send(http, 204, "text/plain", STR(""));
    else
        server_refuse(http, &e);
}

static void too_large(void *ctx, struct http_request *http)
{
    struct openai_error e;
    (void)ctx;
    openai_fail(&e, 413, "request_too_large", "The request body is too large.");
    server_refuse(http, &e);
}

static bool say_too_many(struct http_request *http, struct openai_error *e)
{
    http_set(http, "Retry-After", "1");
    return openai_fail(e, 503, "overloaded",
                       "Too many large requests are being answered: try again.");
}

static void too_many(void *ctx, struct http_request *http)
{
    struct openai_error e;
    (void)ctx;
    say_too_many(http, &e);
    server_refuse(http, &e);
}

/* Counts what is to be allocated for it. */
static bool hold(const struct server *s, struct http_request *http, size_t n,
                 struct openai_error *e)
{
    if (n > s->params.max_held)
        return openai_fail(e, 413, "request_too_large",
                           "The request takes %zu bytes when it is parsed; the limit is %zu.", n,
                           s->params.max_held);
    return http_hold(http, n) || say_too_many(http, e);
}

static bool unpack_failed(const struct err *why, struct openai_error *e)
{
    if (why->code == ERR_LIMIT)
        return openai_fail(e, 413, "request_too_large", "%s", why->msg);
    return openai_fail(e, why->code == ERR_UNSUPPORTED ? 415 : 400, "content_encoding", "%s",
                       why->msg);
}

/* A body that came compressed is put in its place as it was before. What it needs is counted before
 * it is allocated, and few have the size that they may have: when it was not enough, four times as
 * much. */
static bool unpack_body(const struct server *s, struct http_request *http, struct openai_error *e)
{
    str encoding = http_header(http, "Content-Encoding"), body = http_body(http);
    const size_t most = s->params.max_body;
    if (encoding.n == 0)
        return true;
    for (size_t max = 16 * body.n + 4096;; max *= 4) {
        struct buf plain = {0};
        struct err why;
        max = max < most ? max : most;
        if (!hold(s, http, max, e))
            return false;
        if (unpack(encoding, body, max, &plain, &why)) {
            http_release(http, max - plain.n);
            http_set_body(http, &plain);
            return true;
        }
        buf_free(&plain);
        http_release(http, max);
        if (why.code != ERR_LIMIT || max == most)
            return unpack_failed(&why, e);
    }
}

static void handle(void *ctx, struct http_request *http)
{
    const struct server *s = ctx;
    struct openai_error e;
    if (s->recorder && str_eq(http_method(http), STR("POST")))
        record_begin(s->recorder, http);
    if (unpack_body(ctx, http, &e) && hold(ctx, http, json_weigh(http_body(http)), &e))
        find_route(http_path(http))->handle(ctx, http);
    else
        server_refuse(http, &e);
}

/* ---- the server ---- */

/* "dir/name-00001-of-00003.gguf" -> "name" */
static str name_of_file(const char *path)
{
    str name = str_of(path);
    for (size_t slash; (slash = str_find(name, STR("/"), 0)) != SIZE_MAX;)
        name = str_sub(name, slash + 1, name.n);
    if (str_ends(name, STR(".gguf")))
        name = str_sub(name, 0, name.n - 5);
    size_t shard = str_find(name, STR("-00001-of-"), 0);
    return shard == SIZE_MAX ? name : str_sub(name, 0, shard);
}

/* Does the template that is used speak of reasoning? Then the model may open it by itself. */
static bool knows_reasoning(const struct gguf *file, str given)
{
    struct err ignored;
    str text = given;
    return (text.n || gguf_str(file, "tokenizer.chat_template", false, &text, &ignored)) &&
           str_find(text, STR("<think>"), 0) != SIZE_MAX;
}

static bool fill(struct server *s, struct engine *g, struct err *e)
{
    const struct server_params *p = &s->params;
    s->engine = g;
    s->tok = engine_tok(g);
    if (!s->tok)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s has no tokenizer that tawny knows: it cannot be served",
                       gguf_path(engine_file(g)));
    s->chat = chat_template_load(engine_file(g), p->chat_template, s->tok, &p->log, &s->no_chat);
    if (!s->chat)
        log_warn(&p->log, "no conversations: %s", s->no_chat.msg);
    s->format = s->chat ? chat_template_format(s->chat) : CHAT_PLAIN;
    s->replay = replay_open(REPLAY_BYTES);
    s->deliveries = deliveries_open(p->max_kept);
    s->responses = responses_store_open(RESPONSES_BYTES);
    s->dates = dates_open();
    s->metrics = metrics_open();
    s->started_unix = clock_unix();
    s->may_reason = knows_reasoning(engine_file(g), p->chat_template);
    s->model_id = p->model_id ? str_of(p->model_id) : name_of_file(gguf_path(engine_file(g)));
    s->constrain = constrain_open(s->tok, engine_model(g)->plan.n_vocab);
    models_entry(s, &s->model_entry);
    return true;
}

static void set_defaults(struct server_params *p)
{
    if (!p->host)
        p->host = "127.0.0.1";
    if (!p->max_body)
        p->max_body = MAX_BODY;
    if (!p->max_held)
        p->max_held = MAX_HELD;
    if (!p->max_kept)
        p->max_kept = MAX_KEPT;
    if (!p->keepalive_ms)
        p->keepalive_ms = 5000;
}

static bool listen_for(struct server *s, struct err *e)
{
    const struct server_params *p = &s->params;
    s->http = http_open(&(struct http_params){.host = p->host,
                                              .port = p->port,
                                              .socket = p->socket,
                                              .max_connections = p->max_connections,
                                              .max_body = p->max_body,
                                              .max_held = p->max_held,
                                              .head_ms = p->head_ms,
                                              .body_ms = p->body_ms,
                                              .take_ms = p->take_ms,
                                              .log = p->log,
                                              .admit = admit,
                                              .handle = handle,
                                              .too_large = too_large,
                                              .too_many = too_many,
                                              .ctx = s},
                        e);
    return s->http != NULL;
}

struct server *server_open(const struct server_params *p, struct err *e)
{
    struct server *s = mem_new(1, sizeof *s);
    s->params = *p;
    set_defaults(&s->params);
    /* No browser reaches a socket, and clients name any host there. */
    s->loopback = !p->socket && guard_is_loopback(str_of(s->params.host));
    s->unready.start_ns = clock_ns();
    if ((p->record && !(s->recorder = recorder_open(p->record, &p->log, e))) || !listen_for(s, e)) {
        server_close(s);
        return NULL;
    }
    /* Without an address as URL: what has one says that the model is served. */
    if (p->socket)
        log_info(&p->log, "the socket %s answers; the model is loading", p->socket);
    else
        log_info(&p->log, "port %u answers; the model is loading", server_port(s));
    return s;
}

uint16_t server_port(const struct server *s)
{
    return http_port(s->http);
}

struct progress server_progress(struct server *s)
{
    return (struct progress){.step = unready_step, .ctx = &s->unready};
}

static void announce(const struct server *s)
{
    struct buf url = {0};
    bool v6 = strchr(s->params.host, ':') != NULL;
    if (s->params.socket)
        buf_fmt(&url, "unix:%s", s->params.socket);
    else
        buf_fmt(&url, v6 ? "http://[%s]:%u" : "http://%s:%u", s->params.host, server_port(s));
    if (s->params.ready)
        s->params.ready(s->params.ready_ctx, url.p);
    buf_free(&url);
}

static bool wait_for_stop(int fd, struct err *e)
{
    struct pollfd stop = {.fd = fd, .events = POLLIN};
    while (poll(&stop, 1, -1) < 0)
        if (errno != EINTR)
            return err_sys(e, "cannot wait for the stop signal");
    return true;
}

bool server_run(struct server *s, struct engine *g, struct err *e)
{
    if (!fill(s, g, e))
        return false;
    atomic_store_explicit(&s->unready.over, true, memory_order_release);
    announce(s);
    return wait_for_stop(s->params.stop_fd, e);
}

void server_close(struct server *s)
{
    if (!s)
        return;
    http_close(s->http);
    recorder_close(s->recorder);
    chat_template_close(s->chat);
    constrain_close(s->constrain);
    replay_close(s->replay);
    deliveries_close(s->deliveries);
    responses_store_close(s->responses);
    dates_close(s->dates);
    metrics_close(s->metrics);
    buf_free(&s->model_entry);
    free(s);
}
