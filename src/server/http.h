/* http: HTTP/1.1 over libmicrohttpd, which only http.c includes. One thread per connection: a
 * handler may block as long as it asks http_gone now and then, because nobody else notices that
 * the client hung up. Views (method, path, headers, body) live as long as the request.
 *
 * A request passes two callbacks. admit sees the head, before any of the body is read, and may
 * answer at once (wrong path, no key); handle sees the whole and must answer exactly once. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/str.h"

struct http;
struct http_request;

/* Zero fields take the default in brackets. */
struct http_params {
    const char *host;         /* address or name to listen on ["127.0.0.1"] */
    uint16_t port;            /* 0: any free one */
    const char *socket;       /* a path: listen there instead, for the user alone [NULL] */
    uint32_t max_connections; /* [128] the one that is idle longest makes room for another; while
                                 all have requests, those of another go to too_many */
    size_t max_body;          /* bytes [64 MiB]; requests with more go to too_large */
    size_t max_held;          /* bytes of all requests at once [512 MiB]; those that do not fit go
                                 to too_many */
    uint32_t idle_s;          /* a connection on which nothing moves so long is closed [120] */
    /* How long clients may take for a request, however often bytes move: for its head [30000],
     * after idle_s on a connection that had one already; for its body [120000]; for an answer that
     * is sent at once, and each piece (16 KiB at most) of a stream [60000]. Then their connection
     * is closed, which is logged. */
    uint32_t head_ms, body_ms, take_ms;
    struct log log;
    /* Both are called on the connection's thread, many at a time. */
    void (*admit)(void *ctx, struct http_request *r);
    void (*handle)(void *ctx, struct http_request *r);
    /* Answers one whose body is over the limit, without it. */
    void (*too_large)(void *ctx, struct http_request *r);
    /* Answers one for which there is no memory or no room at the moment, without its body. */
    void (*too_many)(void *ctx, struct http_request *r);
    void *ctx;
};

/* Listens and serves until http_close. NULL and e when the address cannot be had. */
struct http *http_open(const struct http_params *p, struct err *e);
/* 0 on a socket. */
uint16_t http_port(const struct http *h);
/* Ends: from now on http_gone is true for every request; waits for all of them to finish. */
void http_close(struct http *h);

str http_method(const struct http_request *r);
/* Without the query, percent-decoded. */
str http_path(const struct http_request *r);
/* The value of a request header, name in any case; empty when absent. */
str http_header(const struct http_request *r, const char *name);
str http_body(const struct http_request *r);
/* Takes over what body owns as the request's body (it was unpacked). */
void http_set_body(struct http_request *r, struct buf *body);
/* Counts n more bytes that are allocated for the request as long as it lasts. False: all requests
 * together have max_held. Those of its body as it came are counted already. */
bool http_hold(struct http_request *r, size_t n);
/* Gives n of them back. */
void http_release(struct http_request *r, size_t n);

/* Adds a header to the answer that follows; at most 10. name and value live as long as the request.
 */
void http_set(struct http_request *r, const char *name, const char *value);
/* Answers with the whole body (copied). */
void http_send(struct http_request *r, int status, const char *type, str body);

/* Answers 200 with a stream that is made as the client takes it. next appends bytes to
 * out, which go onto the wire at once; it may block, but must look at http_gone at least every
 * 50 ms and append at least one byte when it returns true. False ends the stream after what was
 * appended; http_gone then decides whether it counts as complete. close is called once, also when
 * the stream never ran, and must not use the request. */
struct http_source {
    bool (*next)(void *ctx, struct buf *out);
    void (*close)(void *ctx);
    void *ctx;
};
/* The stream that ends now is not complete, and the client is to see that. */
void http_break(struct http_request *r);
/* type: its Content-Type, static; NULL: server-sent events. */
void http_stream(struct http_request *r, const char *type, const struct http_source *source);

/* Is told what is answered: bytes, those of the answer's body as they come; done, once, when the
 * request is over and its source is closed, but its body is still there. whole: the client was sent
 * all of it. On the connection's thread. */
struct http_tap {
    void (*bytes)(void *ctx, int status, str bytes);
    void (*done)(void *ctx, bool whole);
    void *ctx;
};
void http_tap(struct http_request *r, const struct http_tap *tap);
/* The tap's ctx; NULL: there is none. */
void *http_tapped(const struct http_request *r);

/* Has the client hung up (a half-closed connection counts), or is the server ending? One system
 * call; the connection's thread only. */
bool http_gone(const struct http_request *r);
