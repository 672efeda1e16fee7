/* chat_template: how a model's conversations are written. The template that its file brings
 * (tokenizer.chat_template, Jinja) is tried out when it is opened; where it fails or drops what it
 * must show, one of tawny's own (src/text/builtin) takes its place and the log says so. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "gguf/gguf.h"
#include "text/chat.h"
#include "text/tok.h"

/* Immutable once open: any number of threads may render with it. */
struct chat_template;

struct chat_template_params {
    str source;            /* empty: the file has none, the vocabulary decides */
    str tool_source;       /* a variant for requests with tools; empty: none */
    const struct tok *tok; /* outlives the template; NULL: no vocabulary (tests) */
    const struct log *log; /* may be NULL */
};
/* NULL and e when conversations of this model cannot be written: ERR_UNSUPPORTED for a layout that
 * tawny has no template of, else what the file's template got wrong. */
struct chat_template *chat_template_open(const struct chat_template_params *p, struct err *e);
/* With the templates of the model file, or with source instead where that is not empty. */
struct chat_template *chat_template_load(const struct gguf *g, str source, const struct tok *tok,
                                         const struct log *log, struct err *e);
void chat_template_close(struct chat_template *t);
/* What its replies are written in. */
enum chat_format chat_template_format(const struct chat_template *t);

/* Bytes [from, to) of a prompt that are these tokens. */
struct chat_run {
    size_t from, to;
    int32_t *ids;
    size_t n_ids;
};

/* A rendered prompt. Zero-initialise. */
struct chat_prompt {
    struct buf text;
    struct tok_span *spans; /* the parts that came from outside, for tok_encode's `literal` */
    size_t n_spans;
    struct chat_run *runs; /* messages' samples, in order */
    size_t n_runs;
    str opening;       /* its end: what it has written of the reply after the turn's header */
    bool in_reasoning; /* it ends with the tag that opens the reasoning */
};
/* Renders the conversation and opens the assistant's turn. Where a message has a sample, the prompt
 * has its tokens in the place of the template's rendering, without the reasoning where the template
 * drops that (chat_splice.h). ERR_USAGE: there is no message, or the
 * model's template refuses the conversation. */
bool chat_render(const struct chat_template *t, const struct chat_request *r,
                 struct chat_prompt *out, struct err *e);
/* Appends the ids of the prompt, with the beginning-of-text token where the model wants one. */
void chat_prompt_encode(const struct chat_prompt *p, const struct tok *tok, struct tok_ids *out);
void chat_prompt_free(struct chat_prompt *p);
