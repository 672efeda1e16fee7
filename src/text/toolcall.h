/* toolcall: what a reply may be when the model has tools, as a grammar, for each format of calls:
 * text and reasoning are free until a call opens, then only a known tool's name, its parameters,
 * each once, the required ones among them, and values that the tool's schema allows. It agrees with
 * the parser (chat.h) about where calls open and values end. Code, in which the parser sees no
 * calls, is left to who runs the grammar (constraint.h). */
#pragma once
#include "base/buf.h"
#include "text/chat.h"
#include "text/grammar.h"

struct toolcall_params {
    enum chat_format format;
    const struct tok *tok;
    const struct chat_tool *tools; /* n_tools; none: no calls */
    size_t n_tools;
    bool required;     /* the reply is a call, after reasoning */
    bool one_call;     /* at most one */
    bool in_reasoning; /* the prompt opened it */
    bool may_reason;   /* the model may open it; where text is free, any does */
    /* The content (instead of free text): a node, such as a JSON value; GRAMMAR_NEVER: free. */
    uint32_t content;
};
/* The rule for a whole reply. notes: gets what was relaxed in the tools' schemas. False: the format
 * has marks that the vocabulary does not know. */
bool toolcall_rule(struct grammar *g, const struct toolcall_params *p, uint32_t *rule,
                   struct buf *notes, struct err *e);
