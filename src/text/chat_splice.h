/* chat_splice: puts what the model sampled in place of what the template makes of it. The client
 * sends a reply back as content and calls; its own text differs (spaces in arguments, order of
 * members, white space that was stripped), and even the same text may be cut into other tokens. */
#pragma once
#include "text/chat_layout.h"
#include "text/chat_template.h"

/* The prompt of r: the template's text with its marks in spans, and with the sampled replies of
 * adapted messages put in where their turns are found. Takes over text. */
void chat_splice(const struct chat_layout *l, const struct tok *tok,
                 const struct chat_request *adapted, struct buf *text,
                 const struct jinja_spans *spans, struct chat_prompt *out);
/* Where the part after the reasoning starts in a reply's text; 0: it has no reasoning. */
size_t chat_answer_at(enum chat_format f, str reply);
