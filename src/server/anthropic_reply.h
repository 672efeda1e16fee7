/* anthropic_reply: a reply as /v1/messages has it: a message of blocks (thinking, text, tool_use),
 * each begun, filled by deltas and stopped, between message_start and message_stop. It grows from
 * the parser's events; server-sent events are appended to a buffer. One thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "server/anthropic.h"
#include "server/protocol.h"

enum anthropic_block { ANTHROPIC_NONE, ANTHROPIC_THINKING, ANTHROPIC_TEXT, ANTHROPIC_TOOL };

/* Zero-initialise, then set what stands above the line. */
struct anthropic_reply {
    bool hide_reasoning; /* thinking goes out empty, and inside its signature */
    char id[48];         /* "msg_..." */
    str model;
    /* ---- */
    enum anthropic_block open; /* the kind of the block that is not stopped */
    size_t n_blocks;
    struct buf text;   /* of the open block: at once, or hidden */
    struct buf call;   /* members "id" and "name" of the open block */
    struct buf held;   /* white space that may turn out to be all of a block */
    struct buf blocks; /* at once: those that are done, joined with "," */
};

/* message_start. n_prompt: tokens; which of them were known is not yet. */
void anthropic_begin(struct anthropic_reply *r, size_t n_prompt, struct buf *out);
/* A ping, and a comment that says how far the prompt is read. While thinking goes on that is not
 * shown, an empty delta, too: Claude Code waits longer than five minutes only for other events. */
void anthropic_idle(const struct anthropic_reply *r, const struct reply_progress *at,
                    struct buf *out);
/* out: NULL when the reply goes out at once. */
void anthropic_event(struct anthropic_reply *r, const struct chat_event *event, struct buf *out);
/* The blocks of a web search that could not be made. id: of the call. out: as above. */
void anthropic_no_search(struct anthropic_reply *r, const char *id, str query, struct buf *out);
/* The last block's stop, message_delta and message_stop. */
void anthropic_end(struct anthropic_reply *r, const struct reply_end *end, struct buf *out);
/* The message object of a reply at once. */
void anthropic_whole(struct anthropic_reply *r, const struct reply_end *end, struct buf *out);
void anthropic_reply_free(struct anthropic_reply *r);

/* {"type":"error","error":{...}}. */
void anthropic_error_body(const struct openai_error *e, struct buf *out);
/* The same as an event. */
void anthropic_fail(const struct openai_error *e, struct buf *out);
