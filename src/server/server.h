/* server: the engine behind HTTP. OpenAI's protocols (/v1/models, /v1/chat/completions,
 * /v1/completions, /v1/responses), Anthropic's (/v1/messages), Ollama's (/api/...),
 * llama-server's (/props, /metrics, ...) and /health. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"
#include "base/str.h"
#include "engine/engine.h"

/* Zero fields take the default in brackets. */
struct server_params {
    const char *host;         /* ["127.0.0.1"] */
    uint16_t port;            /* 0: any free one; see server_port */
    const char *socket;       /* path of a unix socket to listen on instead [NULL] */
    const char *api_key;      /* NULL: none is asked for */
    const char *cors;         /* origins of web pages that may use the server, with commas between
                                 them, or "*" for all [none] */
    const char *record;       /* a folder that keeps every request and its answer [none] */
    str chat_template;        /* Jinja [the model file's] */
    bool force_samplers;      /* requests' samplers (but for seed and bias) are not followed */
    const char *model_id;     /* the name clients see [the file's name without .gguf] */
    uint32_t max_connections; /* [128] */
    size_t max_body;          /* bytes of a request, before and after it is unpacked
                                 [64 MiB] */
    size_t max_held;          /* bytes of all requests at once, packed, unpacked and parsed [512
                                 MiB]; more are told to come back */
    size_t max_kept;          /* bytes of a reply that are kept for a client that asks for it
                                 again [4 MiB], see deliver.h */
    uint32_t head_ms, body_ms, take_ms; /* how long clients may take, as in http.h */
    uint32_t keepalive_ms; /* a silent stream gets a comment so often [5000], and every third time
                              an empty chunk, for clients that count only data */
    struct log log;
    /* Called once, when the model is served, with the address to show: "http://HOST:PORT" or
     * "unix:PATH". */
    void (*ready)(void *ctx, const char *url);
    void *ready_ctx;
    int stop_fd; /* required: the server ends when it becomes readable (eventfd, pipe); a signal
                    handler may write to it */
};

/* Until server_run, requests are told that the model is loading (503, see unready.h). */
struct server;
/* Listens from now on, with all limits and guards. p's strings and folder of recordings are used
 * until server_close. NULL and e when the address or the folder cannot be had. */
struct server *server_open(const struct server_params *p, struct err *e);
uint16_t server_port(const struct server *s); /* 0 on a socket */
/* Is told how far loading is; until server_run. */
struct progress server_progress(struct server *s);
/* Takes the model into service, once, and returns when stop_fd says so. g outlives server_close.
 * False and e when the model cannot be served (it has no tokenizer). */
bool server_run(struct server *s, struct engine *g, struct err *e);
/* Ends the connections, requests that run are cancelled; s may be NULL. */
void server_close(struct server *s);
