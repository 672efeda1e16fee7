/* anthropic: the bodies of /v1/messages and /v1/messages/count_tokens, which Claude Code speaks,
 * into the request that all protocols share. Pure functions. Unknown fields are ignored; null
 * counts as absent; a known field of the wrong type is an error that names it.
 *
 * A turn is a list of blocks. Those of a user's turn become messages in their order: results of
 * tools, and the texts between and behind them. Blocks of kinds that are not known are never a
 * reason to refuse a conversation, which would have them for ever: pictures become a note that says
 * they are not shown, others their JSON text.
 *
 * A tool with "defer_loading" is not told to the model before a tool_reference in the conversation
 * names it; there its definition stands then. What is before that stays as it was, and cached. */
#pragma once
#include "server/openai.h"

struct anthropic_request {
    struct openai_request base;
    struct json *specs;  /* the tools as functions; what the conversation's point into */
    bool hide_reasoning; /* by thinking.display: the client carries it unread */
    size_t n_skipped;    /* tools of Anthropic's servers: not offered */
    bool *loaded;        /* [tools of the body] a tool_reference of the conversation names it */
    size_t n_references; /* that were looked up */
    str search;          /* it asks for this web search and nothing else; empty: it does not */
};

/* On failure e is set and out needs no freeing. */
bool anthropic_parse(str body, const struct sampling *defaults, struct anthropic_request *out,
                     struct openai_error *e);
void anthropic_request_free(struct anthropic_request *r);

/* Parts of anthropic_parse. In anthropic_messages.c: "system" and "messages". */
bool anthropic_parse_messages(struct anthropic_request *r, struct openai_error *e);
/* In anthropic_tools.c: "tools", and "tool_choice" when they are known. Messages come first. */
bool anthropic_parse_tools(struct anthropic_request *r, struct openai_error *e);
/* The definition that a tool_reference stands for, which is loaded with it; empty: there is none,
 * or it was given before (many references would make much of a long one). The first 4,096
 * references are looked up, among as many tools. */
str anthropic_load_tool(struct anthropic_request *r, str name);
bool anthropic_parse_tool_choice(struct anthropic_request *r, struct openai_error *e);
/* In anthropic_search.c: is it for a web search alone? */
void anthropic_find_search(struct anthropic_request *r);
