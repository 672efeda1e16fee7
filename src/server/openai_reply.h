/* openai_reply: the bytes of replies and chunks in OpenAI's shape. Pure functions that append to a
 * buffer. Chunks are whole server-sent events ("data: {...}\n\n"). */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"
#include "text/chat.h"

/* What every chunk of a reply repeats. */
struct openai_head {
    bool chat; /* else a text completion */
    char id[48];
    int64_t created; /* seconds since 1970 */
    str model;
    bool timings;         /* as llama-server has them, in the body or the chunk that ends it */
    bool twice_reasoning; /* as "reasoning", too, for clients that know no "reasoning_content" */
    bool usage_in_chunks; /* include_usage: chunks say "usage":null, as OpenAI's do */
    str warning;          /* for the client, in the body or the chunk with the finish reason */
};

struct openai_usage {
    size_t n_prompt, n_cached, n_generated, n_reasoning;
    uint64_t prompt_ns, reply_ns;
};

/* One token's log probability as clients see it, and the most likely ones in its place. */
struct openai_logprob {
    str bytes; /* of the token; may be part of a UTF-8 sequence */
    float logprob;
};
struct openai_token {
    struct openai_logprob token;
    const struct openai_logprob *top;
    size_t n_top;
    size_t offset; /* of the token in the reply's text, in bytes */
};

/* A reply in pieces. tokens: what goes into the chunk's "logprobs" (NULL: "logprobs":null). */
void openai_chunk_first(const struct openai_head *h, struct buf *out);
/* Content, reasoning, the beginning of a call or a piece of its arguments; CHAT_CALL_END writes
 * nothing. */
void openai_chunk_event(const struct openai_head *h, const struct chat_event *event,
                        const struct openai_token *tokens, size_t n_tokens, struct buf *out);
/* delta: {}; for clients whose timers count data only. */
void openai_chunk_idle(const struct openai_head *h, struct buf *out);
/* How much of the prompt was read, as llama-server says it: n_read counts cached ones too. */
void openai_chunk_progress(const struct openai_head *h, size_t n_prompt, size_t n_cached,
                           size_t n_read, uint64_t ns, struct buf *out);
/* finish: "stop", "length", "tool_calls" or OPENAI_REPETITION: the model repeated itself until it
 * was stopped. Clients know no such finish reason and get "length", with it as "stop_reason". */
#define OPENAI_REPETITION "repetition"
void openai_chunk_finish(const struct openai_head *h, const char *finish,
                         const struct openai_token *tokens, size_t n_tokens,
                         const struct openai_usage *u, struct buf *out);
void openai_chunk_usage(const struct openai_head *h, const struct openai_usage *u, struct buf *out);
void openai_chunk_done(struct buf *out);

/* A reply at once. */
struct openai_reply {
    str content, reasoning;
    const struct chat_call *calls;
    size_t n_calls;
    const char *finish;
    const struct openai_token *tokens; /* NULL: no logprobs asked for */
    size_t n_tokens;
    struct openai_usage usage;
};
void openai_reply_body(const struct openai_head *h, const struct openai_reply *r, struct buf *out);
