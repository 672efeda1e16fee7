/* serve: what the files of this room share while a server runs. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"
#include "engine/engine.h"
#include "server/dates.h"
#include "server/http.h"
#include "server/openai.h"
#include "server/protocol.h"
#include "server/replay.h"
#include "server/server.h"
#include "server/unready.h"
#include "text/chat.h"
#include "text/chat_template.h"
#include "text/tok.h"

struct constrain_cache; /* constrain.h */
struct deliveries;      /* deliver.h */
struct metrics;         /* metrics.h */
struct recorder;        /* record.h */
struct responses_store; /* responses_store.h */

/* All threads read it. What server_open sets is there before the first connection; the rest, from
 * engine on, server_run sets before unready is over, and no handler runs until then. */
struct server {
    struct server_params params;
    struct http *http;
    struct recorder *recorder; /* NULL: nothing is recorded */
    bool loopback;             /* listening on loopback only */
    struct unready unready;
    struct engine *engine;
    const struct tok *tok;
    struct chat_template *chat; /* NULL: no_chat says why there are no conversations */
    struct err no_chat;
    enum chat_format format;
    bool may_reason; /* the template that is used knows reasoning */
    struct constrain_cache *constrain;
    struct replay *replay;
    struct deliveries *deliveries;
    struct responses_store *responses;
    struct dates *dates;
    struct metrics *metrics;
    int64_t started_unix;
    str model_id;
    struct buf model_entry; /* the model as one JSON object (models.c) */
};

/* The entry of /v1/models, under every name that a client looks for. */
void models_entry(const struct server *s, struct buf *out);
/* The member "capabilities" as Ollama has it: what the model and its template can do. */
void models_capabilities(const struct server *s, struct buf *out);
bool models_has_tools(const struct server *s);
/* Weights of a file. */
uint64_t models_n_params(const struct gguf *file);
/* The type that most bytes of the file have. */
const char *models_main_type(const struct gguf *file);
/* LM Studio's list: /api/v0/models. */
void models_serve_lm_studio(const struct server *s, struct http_request *http);

/* Answers with an error body, in the shape of the path's protocol. */
void server_refuse(struct http_request *http, const struct openai_error *e);
/* Answers 200 with JSON, which is freed. */
void server_send_json(struct http_request *http, struct buf *body);
/* Logs what of a request was accepted but is not done, where there is such. */
void server_log_notice(const struct server *s, const struct http_request *http,
                       const struct openai_request *q);
/* Bytes nobody can guess, from the system. */
uint64_t server_random(void);

/* What the model reads for a request. Zero-initialise. */
struct prompt {
    struct tok_ids ids; /* with the beginning-of-text token where the model wants one */
    struct buf opening; /* what the prompt has written of the reply */
    bool in_reasoning;  /* the reply starts inside its reasoning */
};
/* False: e says why the request cannot be rendered. */
bool prompt_encode(const struct server *s, const struct openai_request *q, struct prompt *out,
                   struct openai_error *e);
void prompt_free(struct prompt *p);
/* How many tokens it would be. */
bool prompt_count(const struct server *s, const struct openai_request *q, size_t *n,
                  struct openai_error *e);

/* Bytes of an id: letters and digits. out: n + 1 bytes. */
void server_make_id(char *out, size_t n);

/* Runs a checked request and answers it, streamed or at once. Takes over what `to` refers to. */
void reply_run(const struct server *s, struct http_request *http, const struct reply_request *to);

/* POST /v1/chat/completions and /v1/completions (openai_serve.c). */
void openai_serve(const struct server *s, struct http_request *http, bool chat);
/* POST /v1/messages and /v1/messages/count_tokens (anthropic_serve.c). */
void anthropic_serve(const struct server *s, struct http_request *http);
void anthropic_serve_count(const struct server *s, struct http_request *http);
/* Ollama's endpoints: POST /api/chat and /api/generate (ollama_serve.c), the others
 * (ollama_models.c). */
void ollama_serve(const struct server *s, struct http_request *http, bool generate);
void ollama_serve_version(const struct server *s, struct http_request *http);
void ollama_serve_tags(const struct server *s, struct http_request *http);
void ollama_serve_ps(const struct server *s, struct http_request *http);
void ollama_serve_show(const struct server *s, struct http_request *http);
/* llama-server's own endpoints (llama_serve.c). */
void llama_serve_props(const struct server *s, struct http_request *http);
void llama_serve_slots(const struct server *s, struct http_request *http);
void llama_serve_metrics(const struct server *s, struct http_request *http);
void llama_serve_tokenize(const struct server *s, struct http_request *http);
void llama_serve_detokenize(const struct server *s, struct http_request *http);
void llama_serve_template(const struct server *s, struct http_request *http);
/* POST /v1/responses and /v1/responses/input_tokens, and GET and DELETE of the response with this
 * id (responses_serve.c). */
void responses_serve(const struct server *s, struct http_request *http);
void responses_serve_count(const struct server *s, struct http_request *http);
void responses_serve_kept(const struct server *s, struct http_request *http, str id);
