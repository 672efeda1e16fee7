/* gbnf: grammars as llama.cpp writes them: rules `name ::= ...` over literals, character classes,
 * groups, alternatives, * + ? {m} {m,} {m,n}, and # comments; the text is what `root` matches. */
#pragma once
#include "text/grammar.h"

enum { GBNF_MAX_SOURCE = 256 << 10, GBNF_MAX_RULES = 4096, GBNF_MAX_DEPTH = 64 };

/* Reads source into g: a node for what root matches. ERR_FORMAT: line and what was expected;
 * ERR_LIMIT. */
bool gbnf_node(struct grammar *g, str source, uint32_t *node, struct err *e);
/* The same, compiled. ERR_USAGE: a rule that begins with itself, or that no text matches. */
bool gbnf_compile(struct grammar *g, str source, struct err *e);
