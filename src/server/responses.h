/* responses: OpenAI's /v1/responses, which Codex speaks: a request body into the request that all
 * protocols share. Pure functions but for the store. Unknown fields are ignored; null counts as
 * absent; a known field of the wrong type is an error that names it.
 *
 * Its input is a list of items: messages, reasoning, calls and their outputs. Items that a model
 * writes in one turn (reasoning, message, calls) become one message of the assistant.
 *
 * Its tools are functions, custom tools (their input is text: here a function of one string) and
 * namespaces of both (here their members, as NAMESPACE__NAME). Tools of other types and items that
 * are not known are left out, and the notice says so. */
#pragma once
#include "server/openai.h"
#include "server/responses_store.h"

/* A tool by the name that the model knows it by. */
struct responses_tool {
    str flat;  /* the model's */
    str name;  /* the client's, within .space */
    str space; /* namespace; empty: none */
    bool custom;
};

enum { RESPONSES_MAX_TOOLS = 1024 };

struct responses_request {
    struct openai_request base;         /* with the conversation, the tools as functions, ... */
    const struct responses_tool *tools; /* one for each of the base's */
    size_t n_tools;
    str previous; /* id of the response that this one continues; empty: none */
    bool store;
    bool summarise;   /* reasoning goes out as a summary, which clients show, else as its text */
    struct buf echo;  /* members of the response object that repeat the request, each with "," */
    struct buf input; /* the request's own items as JSON, joined with "," */
    struct json *trees[2]; /* what the views of the conversation and the tools point into */
};

/* store: where the response that is continued and items that are referred to are found. On failure
 * e is set and out needs no freeing. */
bool responses_parse(str body, const struct sampling *defaults, struct responses_store *store,
                     struct responses_request *out, struct openai_error *e);
void responses_request_free(struct responses_request *r);

/* Parts of responses_parse. In responses_input.c: items, an array, and what "instructions" says
 * into r->base.conversation. */
bool responses_parse_input(struct responses_request *r, const struct json *items,
                           struct openai_error *e);
/* In responses_tools.c: "tools" and those that items bring along; then "tool_choice". */
bool responses_parse_tools(struct responses_request *r, const struct json *items,
                           struct openai_error *e);
bool responses_parse_tool_choice(struct responses_request *r, struct openai_error *e);
/* The model's name of a tool: SPACE__NAME. */
str responses_flat_name(struct arena *a, str space, str name);
