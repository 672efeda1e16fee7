/* responses_reply: a reply as the Responses API has it: items (reasoning, message, calls), each
 * announced, filled by deltas and repeated whole when it is done, between response.created and
 * response.completed. It grows from the parser's events; the bytes of server-sent events are
 * appended to a buffer. What agents run is in response.output_item.done. One thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "server/openai_reply.h"
#include "server/responses.h"

enum { RESPONSES_TAIL = 24 };

struct responses_item; /* responses_reply.c */

/* Zero-initialise, then set what stands above the line; request outlives it. */
struct responses_reply {
    const struct responses_request *request;
    char tail[RESPONSES_TAIL + 1]; /* of its ids: "resp_TAIL", "msg_TAIL_0", ... */
    int64_t created;               /* seconds since 1970 */
    str model;
    /* ---- */
    uint64_t n_events;
    struct responses_item *items;
    size_t n_items;
    bool open;       /* the last item is not done */
    struct buf held; /* white space that may turn out to be all of a message */
};

/* "resp_TAIL", in buf. */
void responses_id(const struct responses_reply *r, struct buf *out);

/* response.created and response.in_progress. */
void responses_begin(struct responses_reply *r, struct buf *out);
/* response.in_progress once more: Codex's timer counts events, not comments. */
void responses_idle(struct responses_reply *r, struct buf *out);
/* out: NULL when the reply goes out at once. */
void responses_event(struct responses_reply *r, const struct chat_event *event, struct buf *out);
/* The end. finish: as in openai_reply.h. A call that a limit cut off is not done: it stands in the
 * response as incomplete, and no agent runs it. */
void responses_end(struct responses_reply *r, const char *finish, struct buf *out);
/* response.completed or response.incomplete, after responses_end. body: from responses_body. */
void responses_complete(struct responses_reply *r, const char *finish, str body, struct buf *out);
/* response.failed. */
void responses_fail(struct responses_reply *r, const struct openai_error *e, struct buf *out);

/* The response object, after responses_end. warning: for the client; empty: none. */
void responses_body(const struct responses_reply *r, const char *finish,
                    const struct openai_usage *u, str warning, struct buf *out);
/* Its items, joined with ",". */
void responses_output(const struct responses_reply *r, struct buf *out);
void responses_reply_free(struct responses_reply *r);
