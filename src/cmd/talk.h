/* talk: a conversation with the engine on a terminal or a pipe. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "cmd/interrupt.h"
#include "engine/engine.h"
#include "text/chat_template.h"

/* Zero-initialise, then set the first part. */
struct talk {
    struct engine *engine;
    struct chat_template *chat; /* NULL with raw */
    const struct interrupt *interrupt;
    struct sampling sampling;
    uint32_t max_tokens;
    const char *system; /* NULL: none */
    bool raw;           /* prompts are continued as they are, without the model's chat layout */
    bool stats;         /* a line about speed on stderr after each reply */
    /* ---- the conversation ---- */
    struct arena arena;
    int64_t began_unix; /* the date that the model is told, as long as the conversation goes on */
    struct chat_message *messages;
    size_t n_messages, room;
};

/* Adds the user's text, streams the reply to stdout (reasoning, dim, to a terminal on stderr) and
 * keeps both. Ctrl-C stops the reply: what came so far is kept, and *signal has its number, else 0.
 * False and e when it could not be run; the conversation is as it was then. */
bool talk_say(struct talk *t, str text, int *signal, struct err *e);
/* Forgets the conversation. */
void talk_clear(struct talk *t);
