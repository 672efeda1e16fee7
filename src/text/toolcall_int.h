/* toolcall_int: for toolcall*.c. */
#pragma once
#include "base/mem.h"
#include "text/schema.h"
#include "text/textform.h"
#include "text/toolcall.h"

struct toolcall {
    struct grammar *g;
    const struct toolcall_params *p;
    struct schema_builder *schemas;
    struct arena arena;
    /* Formats of tags: what no value may hold, because the parser would end it there. */
    struct grammar_pattern *apart;
    size_t n_apart;
    uint32_t raw; /* a value without limits and the tag that ends it; GRAMMAR_NEVER: not made yet */
    const char *missing; /* a mark that the vocabulary does not have */
};

/* bytes or nothing. */
uint32_t toolcall_maybe(struct toolcall *t, const char *bytes);
/* A node for the text of a tool whose text follows a grammar, in a form. False: it has none, or one
 * that cannot be held, which the notes say. */
bool toolcall_freeform(struct toolcall *t, const struct chat_tool *tool, enum text_form form,
                       uint32_t *node);
/* The name of its first parameter; empty: there is none. */
str toolcall_parameter(const struct chat_tool *tool);
/* Fills .apart for the format. */
void toolcall_open_tags(struct toolcall *t);
/* A call of one tool behind "<function=" or, for GLM, behind "<tool_call>", to its end. */
uint32_t toolcall_xml(struct toolcall *t, const struct chat_tool *tool);
uint32_t toolcall_glm(struct toolcall *t, const struct chat_tool *tool);
/* The same behind "<tool_call>"; call: the node behind "<function=". */
uint32_t toolcall_xml_opened(struct toolcall *t, uint32_t call);
