#include "cmd/cmd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cmd/cmd_model.h"
#include "cmd/interrupt.h"
#include "cmd/loading.h"
#include "cmd/opts.h"
#include "cmd/state.h"
#include "cmd/term.h"
#include "server/guard.h"
#include "server/server.h"

struct serve_opts {
    const char *model, *alias, *host, *socket, *api_key, *key_file, *cors, *template, *state,
        *record, *cache_dir;
    uint32_t port;
    int32_t n_sessions;            /* below 1: the default */
    int32_t cache_mib, disk_mib;   /* below 0: the default */
    char disk_path[TERM_MAX_PATH]; /* "": none */
    bool force_samplers, verbose;
};

#define AT(field) offsetof(struct serve_opts, field)
static const struct opt serve_table[] = {
    {"-m --model", "FILE", "model, as the argument MODEL", "demo", OPT_TEXT, AT(model), 0, 0},
    {"--host", "ADDRESS", "address to listen on; another than loopback needs --api-key",
     "127.0.0.1", OPT_TEXT, AT(host), 0, 0},
    {"--port", "N", "port to listen on; 0: any free one", "8383", OPT_U32, AT(port), 0, 65535},
    {"--socket", "PATH", "listen on a unix socket instead, for this user alone", "none", OPT_TEXT,
     AT(socket), 0, 0},
    {"--api-key", "KEY", "what clients must send", "none", OPT_TEXT, AT(api_key), 0, 0},
    {"--api-key-file", "FILE", "a file that holds it: other users see what a command line says",
     "none", OPT_TEXT, AT(key_file), 0, 0},
    {"--cors", "ORIGINS", "let web pages of these origins in (with commas between them; *: all)",
     "none", OPT_TEXT, AT(cors), 0, 0},
    {"-a --alias", "NAME", "the model's name for clients", "the file's name", OPT_TEXT, AT(alias),
     0, 0},
    {"-np --parallel", "N", "conversations kept in memory and answered side by side",
     "4, fewer where memory is short", OPT_I32, AT(n_sessions), -1, 256},
    {"-cram --cache-ram", "MIB", "memory for conversations beyond -np; 0: none",
     "half of what is left, 8192 at most", OPT_I32, AT(cache_mib), -1, INT32_MAX},
    {"--cache-disk", "MIB",
     "files for what that has no room for, kept when the server ends; 0: none",
     "an eighth of what is free, 16384 at most", OPT_I32, AT(disk_mib), -1, INT32_MAX},
    {"--cache-dir", "DIR", "folder of these files, for this user alone",
     "~/.cache/tawny/conversations", OPT_TEXT, AT(cache_dir), 0, 0},
    {"--chat-template-file", "FILE", "Jinja template for conversations", "the model file's",
     OPT_TEXT, AT(template), 0, 0},
    {"--state", "FILE", "keep in FILE how far loading is, then the address; locked while it runs",
     "none", OPT_TEXT, AT(state), 0, 0},
    {"--record", "DIR", "keep every request and its answer in DIR, for 'tawny replay'", "none",
     OPT_TEXT, AT(record), 0, 0},
    {"--force-samplers", NULL, "temperature, top-p and the like from here, whatever requests say",
     NULL, OPT_FLAG, AT(force_samplers), 0, 0},
    {"-v --verbose", NULL, "say what happens", NULL, OPT_FLAG, AT(verbose), 0, 0},
};
#undef AT

#define IGNORED(names, metavar, why)                                                               \
    {                                                                                              \
        names, metavar, why, NULL, OPT_IGNORED, 0, 0, 0                                            \
    }
/* llama-server's, so that its command lines keep working. Those that would change what the model
 * says (templates, adapters, rope) are not among them. */
static const struct opt ignored_table[] = {
    IGNORED("-ngl --n-gpu-layers --gpu-layers", "N", "a backend runs all layers"),
    IGNORED("-ncmoe --n-cpu-moe", "N", "a backend runs all layers"),
    IGNORED("-cmoe --cpu-moe", NULL, "a backend runs all layers"),
    IGNORED("-ot --override-tensor", "PATTERN=TYPE", "a backend runs all layers"),
    IGNORED("-fa --flash-attn", "[on|off|auto|1|0]", "attention is always fused"),
    IGNORED("--mmap --no-mmap", NULL, "weights are read, never mapped"),
    IGNORED("--mlock", NULL, "weights are in ordinary memory"),
    IGNORED("-b --batch-size", "TOKENS", "prompts are read in pieces of -ub"),
    IGNORED("-tb --threads-batch", "N", "prompts take as many threads as replies (-t)"),
    IGNORED("--threads-http", "N", "there is a thread per connection"),
    IGNORED("-cb --cont-batching", NULL, "requests are always answered side by side"),
    IGNORED("-kvu --kv-unified", NULL, "sessions always share one cache"),
    IGNORED("--cache-reuse", "TOKENS", "the longest known prefix is always re-used"),
    IGNORED("--context-shift --no-context-shift", NULL, "a full context ends the reply"),
    IGNORED("--jinja --no-jinja", NULL, "the model's chat layout is always used"),
    IGNORED("--reasoning-format", "NAME", "reasoning goes into reasoning_content"),
    IGNORED("-n --predict --n-predict", "TOKENS", "requests say max_tokens"),
    IGNORED("-s --seed", "N", "requests say their seed"),
    IGNORED("--warmup --no-warmup", NULL, "the first request is the warm-up"),
    IGNORED("--webui --no-webui", NULL, "there is no web page"),
    IGNORED("--metrics --slots --no-slots --props", NULL,
            "/metrics, /slots and /props are always there"),
};
#undef IGNORED

static const struct opt_example examples[] = {
    {"tawny serve", "the demo model on http://127.0.0.1:8383/v1"},
    {"tawny serve model.gguf -c 65536 -ctk q8_0 -ctv q8_0", "a long context in less memory"},
    {"tawny serve model.gguf --host 0.0.0.0 --api-key SECRET", "for other machines"},
    {NULL, NULL},
};

static const char notes[] =
    "Sampling options are the defaults for requests that leave them out.\n"
    "Clients: POST /v1/chat/completions, /v1/messages, /v1/responses, /v1/completions and\n"
    "/api/chat, GET /v1/models, /metrics and /health; docs/http-api.md has all.\n"
    "Options are spelt as llama-server spells them. Ctrl-C ends the server.\n" REQUANT_NOTES;

static bool check_opts(struct serve_opts *o, const struct opt_words *words, struct err *e)
{
    if (words->n && o->model)
        return err_set(e, ERR_USAGE, "serve: two models: '%s' and '%s'", o->model, words->at[0]);
    if (words->n)
        o->model = words->at[0];
    if (o->api_key && !*o->api_key)
        return err_set(e, ERR_USAGE, "serve: --api-key: the key is empty");
    if (o->api_key && o->key_file)
        return err_set(e, ERR_USAGE, "serve: both --api-key and --api-key-file");
    bool has_key = o->api_key || o->key_file;
    if (!has_key && guard_cors_ok(STR("null"), str_of(o->cors)))
        return err_set(e, ERR_USAGE,
                       "serve: --cors %s: every web page could use the model: give --api-key, or "
                       "name the pages' origins",
                       o->cors);
    if (!o->socket && !guard_is_loopback(str_of(o->host)) && !has_key)
        return err_set(e, ERR_USAGE,
                       "serve: --host %s: other machines could use the model: give --api-key, or "
                       "listen on 127.0.0.1",
                       o->host);
    return true;
}

/* The key is the file's only line. */
static bool read_key(const char *path, struct buf *out, struct err *e)
{
    enum { MAX_KEY = 4096 };
    if (!file_read_all(path, MAX_KEY, out, e))
        return false;
    str key = str_trim(buf_view(out));
    for (size_t i = 0; i < key.n; i++)
        if ((unsigned char)key.p[i] <= ' ' || key.p[i] == 127)
            return err_set(e, ERR_FORMAT,
                           "%s: byte %zu of the key is white space or no text: the "
                           "file must have one line",
                           path, i);
    if (key.n == 0)
        return err_set(e, ERR_FORMAT, "%s: the key is empty", path);
    struct buf bare = {0};
    buf_str(&bare, key);
    buf_free(out);
    *out = bare;
    return true;
}

struct serving {
    struct loading loading;
    struct state *state;
    struct server *server;
};

static void step(void *ctx, uint64_t done, uint64_t total)
{
    const struct serving *s = ctx;
    const struct progress state = state_progress(s->state), server = server_progress(s->server);
    progress_step(&state, done, total);
    progress_step(&server, done, total);
}

static void show_ready(void *ctx, const char *url)
{
    const struct serving *s = ctx;
    const struct engine *g = s->loading.engine;
    state_ready(s->state, url);
    fprintf(stderr, "tawny: %s is served on %s%s by %s, context %u tokens; Ctrl-C ends\n",
            gguf_path(engine_file(g)), url, str_starts(str_of(url), STR("http")) ? "/v1" : "",
            engine_backend(g), engine_n_ctx(g));
}

static int64_t cache_bytes(int32_t mib)
{
    return mib < 0 ? 0 : mib == 0 ? -1 : (int64_t)mib << 20;
}

static void set_caches(const struct serve_opts *o, struct engine_params *p)
{
    p->cache_bytes = cache_bytes(o->cache_mib);
    p->disk_bytes = cache_bytes(o->disk_mib);
    p->disk_path = o->cache_dir ? o->cache_dir : *o->disk_path ? o->disk_path : NULL;
}

static void set_sampling(struct engine *g, const struct sampling_opts *s)
{
    struct sampling defaults;
    engine_sampling_defaults(g, &defaults);
    sampling_apply(s, &defaults);
    engine_set_sampling_defaults(g, &defaults);
}

/* What was read of the files that options name. */
struct read {
    char *path; /* the model's */
    struct buf template, key;
};

static bool read_files(const struct serve_opts *o, struct read *r, struct err *e)
{
    r->path = model_path(o->model, e);
    return r->path && (!o->template || model_template(o->template, &r->template, e)) &&
           (!o->key_file || read_key(o->key_file, &r->key, e));
}

/* The server listens first: clients are told of the loading, and the user at once of a port that
 * another has. */
static bool serve(const struct serve_opts *o, const struct read *r, const struct model_opts *m,
                  const struct sampling_opts *s, const struct interrupt *interrupt,
                  struct state *state, struct err *e)
{
    struct serving serving = {.state = state};
    const struct server_params server = {.host = o->host,
                                         .port = (uint16_t)o->port,
                                         .socket = o->socket,
                                         .api_key = o->key_file ? r->key.p : o->api_key,
                                         .cors = o->cors,
                                         .record = o->record,
                                         .force_samplers = o->force_samplers,
                                         .chat_template = buf_view(&r->template),
                                         .model_id = o->alias,
                                         .log = term_log(o->verbose),
                                         .ready = show_ready,
                                         .ready_ctx = &serving,
                                         .stop_fd = interrupt->fd};
    struct engine_params p = model_params(m, r->path);
    p.progress = (struct progress){step, &serving};
    p.n_sessions = o->n_sessions > 0 ? (uint32_t)o->n_sessions : 0;
    set_caches(o, &p);
    serving.server = server_open(&server, e);
    bool ok =
        serving.server && loading_open(&serving.loading, &p, interrupt, o->socket, o->verbose, e);
    if (ok) {
        set_sampling(serving.loading.engine, s);
        ok = server_run(serving.server, serving.loading.engine, e);
    }
    server_close(serving.server);
    loading_close(&serving.loading);
    return ok;
}

int cmd_serve(int argc, char **argv)
{
    struct serve_opts o = {.host = "127.0.0.1", .port = 8383, .cache_mib = -1, .disk_mib = -1};
    struct model_opts m;
    struct sampling_opts s;
    struct opt_group groups[] = {OPT_GROUP("Options", serve_table, &o), model_group(&m),
                                 sampling_group(&s),
                                 OPT_GROUP("Accepted and ignored", ignored_table, NULL)};
    const struct opt_command c = {
        .name = "serve",
        .args = "[MODEL]",
        .summary = "serves a model to OpenAI clients",
        .examples = examples,
        .groups = groups,
        .n_groups = sizeof groups / sizeof *groups,
        .max_words = 1,
        .notes = notes,
    };
    struct opt_words words;
    int status;
    term_user_file("XDG_CACHE_HOME", ".cache", "conversations", o.disk_path);
    if (!opts_parse(&c, argc, argv, &words, &status))
        return status;

    struct err e = {0};
    struct interrupt interrupt = {.fd = -1};
    struct state state = {.fd = -1};
    struct read r = {0};
    bool ok = check_opts(&o, &words, &e) && (!o.state || state_open(&state, o.state, &e)) &&
              interrupt_open(&interrupt, &e) && read_files(&o, &r, &e) &&
              serve(&o, &r, &m, &s, &interrupt, &state, &e);
    state_close(&state);
    buf_free(&r.template);
    buf_free(&r.key);
    free(r.path);
    status = ok ? EXIT_OK : term_fail(&e);
    interrupt_close(&interrupt);
    return status;
}
