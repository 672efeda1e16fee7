/* protocol: how a reply reaches the clients of one protocol. reply.c runs a request from its prompt
 * to its last token and knows no wire format; what it has to tell goes through these functions, on
 * the connection's thread. `p` is the protocol's own state of one request, which owns the request.
 *
 * A stream is begin, then events and idles, then end or fail. A reply at once is events without a
 * buffer, then whole, or refuse. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"
#include "server/http.h"
#include "server/openai.h"
#include "server/openai_reply.h"
#include "text/chat.h"

/* A reply that has ended. */
struct reply_end {
    const char *finish; /* as in openai_reply.h */
    str stop;           /* the stop string that ended it; empty: none did */
    struct openai_usage usage;
    str warning; /* what of the schemas that were asked for does not hold; empty: nothing */
    const struct openai_token *tokens; /* log probabilities not told yet; NULL: none */
    size_t n_tokens;
    /* Of a reply at once: all of it. */
    str content, reasoning;
    const struct chat_call *calls;
    size_t n_calls;
};

/* How far it is. */
struct reply_progress {
    size_t n_read, n_prompt; /* tokens of the prompt */
    size_t n_cached;         /* of those read, from earlier requests */
    uint64_t ns;             /* since the request was queued */
    unsigned n_idle;         /* how often idle was called before */
};

struct protocol {
    const char *stream_type; /* Content-Type of a stream; NULL: server-sent events */
    /* What can be said before the prompt is read. at: how long it is; the rest is not known yet. */
    void (*begin)(void *p, const struct reply_progress *at, struct buf *out);
    /* out: NULL when the reply goes out at once. tokens: those that begin in this event. */
    void (*event)(void *p, const struct chat_event *event, const struct openai_token *tokens,
                  size_t n_tokens, struct buf *out);
    /* A sign of life, whenever nothing else was told for a while. */
    void (*idle)(void *p, const struct reply_progress *at, struct buf *out);
    /* More of the prompt was read. NULL: not of interest. */
    void (*progress)(void *p, const struct reply_progress *at, struct buf *out);
    void (*end)(void *p, const struct reply_end *end, struct buf *out);
    void (*fail)(void *p, const struct openai_error *e, struct buf *out);
    /* The body of a reply at once. */
    void (*whole)(void *p, const struct reply_end *end, struct buf *out);
    /* Answers a request that cannot be run, or whose reply at once failed. NULL: server_refuse. */
    void (*refuse)(void *p, struct http_request *http, const struct openai_error *e);
    /* Frees p and the request. */
    void (*close)(void *p);
};

/* A request that was checked, and who answers it. */
struct reply_request {
    const struct protocol *protocol;
    void *state;
    struct openai_request *request; /* owned by the state */
    char id[48];                    /* for the log */
};
