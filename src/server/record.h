/* record: keeps requests and what was answered, one file for each exchange, for `tawny replay`
 * (docs/http-api.md has the format). Opt-in. Keys and cookies are never kept: of the head only the
 * names that agents give their conversations.
 *
 * A file is written when its exchange is over, by a thread of the recorder's own, so that no
 * request waits for the disk. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/log.h"
#include "server/http.h"

struct recorder;
/* Makes the folder, for the user alone, where there is none. NULL and e when nothing can be written
 * there. */
struct recorder *recorder_open(const char *folder, const struct log *log, struct err *e);
/* After the last request: writes what waits. NULL is fine. */
void recorder_close(struct recorder *r);

/* Keeps this request, whose body is there, and all that is answered from now on. Any thread. */
struct exchange *record_begin(struct recorder *r, struct http_request *http);
/* The exchange that the request belongs to; NULL: it is not kept. Valid until the request's source
 * was closed. */
struct exchange *record_of(const struct http_request *http);

/* What its reply has taken, in tokens. gone: the client hung up before the end. */
struct record_usage {
    size_t n_prompt, n_cached, n_generated;
    bool gone;
};
/* x NULL: does nothing. */
void record_usage(struct exchange *x, const struct record_usage *usage);
