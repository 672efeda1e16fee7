/* rerun: recorded or made exchanges, sent again: what `tawny replay` is made of. The format is that
 * of docs/http-api.md; made ones also have `after` and placeholders (docs/agents.md). */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/health.h"

/* ---- the other end (rerun_http.c) ---- */

struct rerun_server {
    char host[256], port[8];
    const char *key; /* NULL: none */
};
/* "http://HOST[:PORT]", with a path or without, which is not used. */
bool rerun_server_of(const char *url, struct rerun_server *out, struct err *e);

/* POSTs body as JSON on a connection of its own and hands over the answer's body, unchunked, as it
 * comes. headers: lines, each with "\r\n". Reads time out after an hour. False and e: there was no
 * whole answer; *status is 0 or what its head said. Any thread. */
struct rerun_sink {
    void (*bytes)(void *ctx, str bytes);
    void *ctx;
};
bool rerun_post(const struct rerun_server *to, str path, str headers, str body,
                const struct rerun_sink *sink, int *status, struct err *e);
/* Returns when the server has its model: while /health says that it loads, loading is told how far
 * it is and it is asked again, without an end. What else it answers there, also that it knows no
 * such path, is no reason to wait. False and e: nobody answers (any more). */
bool rerun_wait(const struct rerun_server *to, void (*loading)(void *ctx, struct health h),
                void *ctx, struct err *e);

/* ---- a reply, in the protocol of its path (rerun_reply.c) ---- */

struct rerun_call {
    struct buf id, name, arguments;
    bool raw; /* its argument is free text */
};
struct rerun_reply {
    str path;      /* of the request */
    bool streamed; /* lines, else one JSON value */
    struct buf bytes;
    struct buf content, reasoning, error;
    struct rerun_call *calls;
    size_t n_calls;
    int64_t n_prompt, n_cached, n_generated; /* tokens; -1: not told */
    uint64_t first_ns;                       /* clock_ns of the first text or call; 0: none came */
};
void rerun_reply_open(struct rerun_reply *r, str path, bool streamed);
void rerun_reply_put(struct rerun_reply *r, str bytes);
void rerun_reply_end(struct rerun_reply *r);
void rerun_reply_free(struct rerun_reply *r);
/* How many of its calls have arguments that parse, a name that the request offers, and keep to that
 * tool's schema. */
size_t rerun_reply_valid(const struct rerun_reply *r, const struct json *request);

/* ---- what is sent (rerun_fill.c) ---- */

struct rerun_exchange {
    str file, id, path, headers;
    double arrived_ms, end_ms;
    int wanted;      /* the status that it had, [200] */
    uint32_t *after; /* exchanges that must have ended; before it in the list */
    size_t n_after;
    bool has_after;        /* else arrived_ms and end_ms tell */
    uint64_t conversation; /* the same number: one of them continues the other */
    int64_t session;       /* the last one before it of that conversation; -1: none */

    bool begun, ended, ok;
    uint64_t begin_ns, end_ns;
    int status;
    struct err error;
    struct buf sent;    /* the body */
    struct buf counted; /* the request of chat completions that it counts as; empty: none other */
    struct rerun_reply reply;
    size_t n_valid;
    int64_t minimum, n_counted; /* tokens; -1: not known */
};
struct rerun_list {
    struct rerun_exchange *at;
    size_t n;
    struct arena arena;
};
/* All exchanges of a folder, sorted by file name. */
bool rerun_load(const char *folder, struct rerun_list *out, struct err *e);
void rerun_free(struct rerun_list *l);
/* Fills sent and counted, with the replies that they refer to in their places. */
bool rerun_fill(const struct rerun_list *l, struct rerun_exchange *x, struct err *e);
/* A reply as the message of chat completions that a client would send back. reordered: its calls'
 * arguments in another order and spacing. */
void rerun_put_message(const struct rerun_reply *r, bool reordered, struct buf *out);

/* ---- all of it (rerun_run.c) ---- */

struct rerun_params {
    struct rerun_server server;
    bool fast;          /* in order within a conversation only */
    uint32_t n_at_once; /* at most */
};
/* Sends all; what failed stands in the exchanges. done: called after each, on one thread at a time;
 * NULL: not. */
void rerun_run(struct rerun_list *l, const struct rerun_params *p,
               void (*done)(void *ctx, size_t n_done), void *ctx);

/* The prompt tokens that have to be read, for each exchange of chat completions: those behind the
 * longest head that any earlier prompt with its reply has, at least one. By the server's own
 * /apply-template and /tokenize (rerun_minimum.c). */
bool rerun_minimum(struct rerun_list *l, const struct rerun_server *server, struct err *e);
