/* reply: one request on its way: prompt -> tokens -> job -> tokens -> text -> stop strings -> chat
 * parser -> what the protocol makes of it. It knows no connection: deliver.c drives it step by step
 * and brings its bytes to whoever asked. One thread at a time, which need not be the same; the
 * engine's thread only feeds the job's events. */
#pragma once
#include "server/record.h"
#include "server/serve.h"

struct reply;

/* Takes over what `to` refers to. */
struct reply *reply_open(const struct server *s, const struct reply_request *to);
/* NULL is fine. Cancels what still runs, and frees. */
void reply_close(struct reply *r);

/* Renders the prompt. False: e says why it cannot be. */
bool reply_encode(struct reply *r, struct openai_error *e);
/* What was asked, and the prompt's tokens; constant from here on. */
const struct reply_request *reply_asked(const struct reply *r);
const struct tok_ids *reply_prompt(const struct reply *r);
/* Hands it to the engine. hint: as in job_params. False: e says why it cannot run. */
bool reply_submit(struct reply *r, uint64_t hint, struct openai_error *e);

/* Waits 20 ms at most for what comes next and appends what it makes of it to out: a stream's bytes
 * as they come, the body of a reply at once in the end. False: that was the last. */
bool reply_step(struct reply *r, struct buf *out);
/* Of a reply at once that has ended: did it fail? There is no body then. */
bool reply_failed(const struct reply *r, struct openai_error *e);
/* What it has taken so far. Any thread, from reply_submit on. */
struct record_usage reply_usage(struct reply *r);
