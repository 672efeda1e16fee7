/* logprobs: the log probabilities of tokens whose text is not on the wire yet. A token is sent with
 * the text it begins in, so each remembers where it begins. Zero-initialise; one thread. */
#pragma once
#include <stddef.h>

#include "base/mem.h"
#include "engine/engine.h"
#include "server/openai_reply.h"
#include "text/tok.h"

struct logprobs {
    struct arena arena; /* the alternatives of the tokens kept */
    struct openai_token *tokens;
    size_t n;
    size_t room;
};

/* Keeps a JOB_TOKEN event. offset: bytes of the reply's text before it. */
void logprobs_put(struct logprobs *l, const struct tok *t, const struct job_event *event,
                  size_t offset);
/* How many of the first tokens begin before offset. */
size_t logprobs_before(const struct logprobs *l, size_t offset);
/* Forgets the first n. */
void logprobs_drop(struct logprobs *l, size_t n);
void logprobs_free(struct logprobs *l);
