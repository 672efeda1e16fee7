/* chat_layout: one template with what trying it out has shown, shared by chat_template.c,
 * chat_probe.c, chat_adapt.c, chat_vars.c and chat_splice.c. Templates differ in what they take; a
 * conversation is adapted to that first (chat_adapt), then written as the template's variables
 * (chat_vars). */
#pragma once
#include "base/mem.h"
#include "text/chat.h"
#include "text/jinja.h"

/* Where the template shows system messages. */
enum chat_system { CHAT_SYSTEM_ANYWHERE, CHAT_SYSTEM_FIRST, CHAT_SYSTEM_NOWHERE };

struct chat_traits {
    enum chat_system system;
    bool alternate;      /* turns of one role must not follow each other, the first is the user's */
    bool needs_user;     /* there must be a user's turn */
    bool tools;          /* shows tools, calls and results; else they are written into texts */
    bool arguments_text; /* prints a call's arguments when they are JSON text */
    bool one_call;       /* a message has one call at most */
    bool needs_call;     /* a result must follow a call */
    bool short_ids;      /* a call's id must have nine letters and digits */
    bool full_tools;     /* a tool must have a description and parameters */
    bool described;      /* a parameter must have a description */
    str separator;       /* between the parts of a content */
};

struct chat_layout {
    struct jinja *program;
    enum chat_format format;
    bool reasoning_content, thinking, reasoning; /* names that the source mentions */
    str bos, eos;                                /* texts of the tokens */
    struct chat_traits traits;
    struct buf header; /* how an assistant's turn begins; empty: not known */
};

/* Renders through adapting and variables. open_reply: with the header of the assistant's turn. */
bool chat_layout_render(const struct chat_layout *l, const struct chat_request *r, bool open_reply,
                        struct buf *out, struct jinja_spans *spans, struct err *e);

/* The mark of what message i of an adapted request says, where it has a sample; that of its
 * reasoning is the next one. Messages near each other have different ones. */
uint8_t chat_mark(const struct chat_request *adapted, size_t i);

/* chat_probe.c: renders small conversations and fills l->traits. False and e when the template
 * fails on a plain one. */
bool chat_probe(struct chat_layout *l, struct err *e);

/* chat_adapt.c: r in a form that the template takes, in memory of a. */
bool chat_adapt(const struct chat_layout *l, const struct chat_request *r, struct arena *a,
                struct chat_request *out, struct err *e);

/* chat_vars.c: the template's variables as JSON text. r is adapted. */
void chat_vars_put(const struct chat_layout *l, const struct chat_request *r, bool open_reply,
                   struct buf *out);

/* ---- chat_builtin.c: tawny's own templates ---- */

/* Empty: there is none for this format. */
str chat_builtin(enum chat_format f);
/* A template that shows the variable `tools` as a section of a system message. */
str chat_builtin_tools(void);
