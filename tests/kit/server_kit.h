/* server_kit: a server over a small random model in this process, and raw HTTP to it. The reference
 * backend makes it slow enough to be interrupted: some milliseconds per token. Failures end the
 * test. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

struct kit_server_params {
    const char *api_key;
    uint32_t keepalive_ms;
    uint32_t n_ctx;   /* [2048] */
    uint32_t n_pages; /* of keys and values [for n_ctx in both sessions] */
    size_t max_body;  /* [the server's] */
    size_t max_held;  /* [the server's] */
    size_t max_kept;  /* [the server's] */
    const char *cors;
    const char *record; /* a folder */
    bool force_samplers;
    const char *chat_template; /* [ChatML] */
    bool loading;              /* the model stays out until kit_server_load */
    bool demo; /* the demo model instead, on the cpu backend; skips the test without it */
};

struct kit_server;
struct kit_server *kit_server_open(const struct kit_server_params *p);
/* Once, of one that is loading. */
void kit_server_load(struct kit_server *s);
/* Says how far loading is. */
void kit_server_progress(struct kit_server *s, uint64_t done, uint64_t total);
/* Stops it; the time that took, in milliseconds. */
double kit_server_close(struct kit_server *s);

/* Waits up to 10 s for a log line with this text; clock_ns() of when it was written. The line is
 * copied to out (may be NULL). */
uint64_t kit_log_wait(struct kit_server *s, const char *text, struct buf *out);

/* All lines that were logged so far, with line ends. */
void kit_log_all(struct kit_server *s, struct buf *out);

uint16_t kit_port(const struct kit_server *s);
/* A connection to it; reads time out after 20 s. Closed with close(). */
int kit_dial(struct kit_server *s);
/* The same to any port of this machine. */
int kit_dial_port(uint16_t port);
void kit_send(int fd, str bytes);
/* A request with a JSON body and Content-Length (body.n == 0: none). head: further header lines,
 * each with "\r\n". */
void kit_send_request(int fd, const char *method, const char *path, const char *head, str body);
/* Reads until what is in `in` contains text, from where it was before or not. False: the connection
 * ended first. */
bool kit_read_until(int fd, const char *text, struct buf *in);
/* Reads to the end of the connection. */
void kit_read_all(int fd, struct buf *in);

/* One request on a connection of its own: the status, and head and body as they came. */
int kit_fetch(struct kit_server *s, const char *method, const char *path, const char *head,
              str body, struct buf *out);
/* The status in the first line of a reply; 0: none. */
int kit_status(const struct buf *reply);

/* A chat request whose only message has n letters; fields: members to add, each ending in a comma.
 */
void kit_chat_body(size_t n, const char *fields, struct buf *out);

/* Is the text in what came? */
static inline bool kit_has(const struct buf *b, const char *text)
{
    return str_find(buf_view(b), str_of(text), 0) != SIZE_MAX;
}
#define CHECK_HAS(b, text)                                                                         \
    do {                                                                                           \
        if (!kit_has(b, text))                                                                     \
            test_fail(__FILE__, __LINE__, "no '%s' in: %s", text, (b)->p ? (b)->p : "");           \
    } while (0)
