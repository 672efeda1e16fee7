/* replay: what the model sampled, kept so that a conversation that comes back has the same tokens.
 * Clients send a reply back as they understood it: arguments with other spaces or in another order,
 * reasoning left out. A prompt made from that differs from what the model has read and written, and
 * everything behind the first difference would be read again.
 *
 * Replies are found by the ids of their calls, those without calls by their text. What a client has
 * changed in meaning is not replaced. Bounded: what was used least recently goes first.
 * Thread-safe. */
#pragma once
#include "base/mem.h"
#include "text/chat_template.h"

/* A reply that is being recorded. Zero-initialise. */
struct replay_reply {
    struct arena arena;
    struct tok_ids ids;
    struct buf content, reasoning;
    struct replay_call *calls;
    size_t n_calls;
};
void replay_token(struct replay_reply *r, int32_t id);
void replay_event(struct replay_reply *r, const struct chat_event *event);
void replay_reply_free(struct replay_reply *r);

struct replay;
/* max_bytes: of all replies together. */
struct replay *replay_open(size_t max_bytes);
void replay_close(struct replay *p);
/* Of all replies that are kept. */
size_t replay_bytes(struct replay *p);
/* Keeps a finished reply. opening: what the prompt had written of it. */
void replay_put(struct replay *p, const struct replay_reply *r, str opening);
/* The messages of a request with .sampled set where a reply is known that means the same, and with
 * its reasoning where the client left it out. In memory of a. */
const struct chat_message *replay_messages(struct replay *p, const struct chat_message *messages,
                                           size_t n, struct arena *a);
