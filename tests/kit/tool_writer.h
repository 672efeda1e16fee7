/* tool_writer: a model that knows nothing and writes what a constraint lets it, for tests: tools
 * with schemas of every kind, a small vocabulary, and replies. Failures end the test. */
#pragma once
#include "base/rng.h"
#include "text/chat.h"
#include "text/constraint.h"
#include "text/toolcall.h"

struct kit_tools {
    struct json *root;
    const struct chat_tool *tools;
    size_t n;
};
struct kit_tools kit_tools_open(void);
void kit_tools_close(struct kit_tools *k);

/* Bytes, some merges, the marks of all formats. */
struct tok *kit_writer_tok(void);

/* A reply that follows the constraint: tokens at random among those allowed, those that end things
 * more often. Marks that are control tokens are written out. False: it was not over after n_max
 * tokens. */
bool kit_write_reply(const struct tok *t, struct constraint *c, struct rng *rng, size_t n_max,
                     struct buf *out);

/* The calls in a reply: each must be of a tool, and its arguments valid. Counts them. */
size_t kit_check_calls(enum chat_format f, const struct kit_tools *k, bool in_reasoning, str reply);
