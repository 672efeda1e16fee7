/* ollama: the request bodies of Ollama's /api/chat and /api/generate into the request that all
 * protocols share, and replies as Ollama's lines of JSON. Pure functions. Unknown fields are
 * ignored; null counts as absent; a known field of the wrong type is an error that names it.
 * Format: github.com/ollama/ollama, docs/api.md. */
#pragma once
#include <stdint.h>

#include "server/openai.h"
#include "server/openai_reply.h"

struct ollama_request {
    struct openai_request base;
    bool generate; /* /api/generate; else /api/chat */
    bool idle;     /* nothing to say: the client wants the model loaded, or ... */
    bool unload;   /* ... with "keep_alive": 0, unloaded (it stays) */
};
/* On failure e is set and out needs no freeing. */
bool ollama_parse(str body, bool generate, const struct sampling *defaults,
                  struct ollama_request *out, struct openai_error *e);
void ollama_request_free(struct ollama_request *r);

/* In ollama_messages.c: "messages" into r->base.conversation. */
bool ollama_parse_messages(struct ollama_request *r, struct openai_error *e);

/* {"error": "..."}, without a newline. */
void ollama_error_body(const struct openai_error *e, struct buf *out);

/* A reply on its way. Zero but for the first four. */
struct ollama_reply {
    const struct ollama_request *request;
    str model;
    int64_t created;   /* seconds since 1970 */
    uint64_t start_ns; /* clock_ns of when the request came */
    struct arena arena;
    str id, name; /* of the call that is being written */
    struct buf arguments;
    size_t n_calls;
};
void ollama_reply_free(struct ollama_reply *r);

/* Lines of a stream. An empty one is a sign of life: lines are all that clients read. */
void ollama_line_empty(const struct ollama_reply *r, struct buf *out);
/* Calls come whole, at their end; one that was cut off does not come. */
void ollama_line_event(struct ollama_reply *r, const struct chat_event *event, struct buf *out);
/* now_ns: clock_ns. finish: as in openai_reply.h. */
void ollama_line_done(const struct ollama_reply *r, const char *finish,
                      const struct openai_usage *u, str warning, uint64_t now_ns, struct buf *out);
/* All of a reply. */
void ollama_reply_body(const struct ollama_reply *r, const struct openai_reply *reply, str warning,
                       uint64_t now_ns, struct buf *out);
/* The answer to a request that is idle. */
void ollama_idle_body(const struct ollama_reply *r, struct buf *out);
/* Seconds since 1970 as RFC 3339 in quotes. */
void ollama_put_time(int64_t unix_s, struct buf *out);
