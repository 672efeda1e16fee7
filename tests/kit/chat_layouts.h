/* chat_layouts: templates and conversations for tests of rendering. Every failure ends the test. */
#pragma once
#include "base/mem.h"
#include "text/chat_template.h"

/* tawny's own template of a format. */
struct chat_template *kit_builtin_template(enum chat_format f);
/* The text of spec/data/templates/NAME of the reference data; freed with buf_free. Skips the test
 * without them. */
struct buf kit_template_source(const char *name);
struct chat_template *kit_template(const char *name);

/* A context of spec/data/template-cases.json as a request; a view into it. */
struct kit_conversation {
    struct chat_request request;
    struct json *settings;
    struct arena arena;
};
void kit_conversation_open(const struct json *context, struct kit_conversation *c);
void kit_conversation_close(struct kit_conversation *c);
