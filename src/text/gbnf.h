/* gbnf: grammars as llama.cpp writes them: rules `name ::= ...` over literals, character classes,
 * groups, alternatives, * + ? {m} {m,} {m,n}, and # comments; the text is what `root` matches. */
#pragma once
#include "text/grammar.h"

enum { GBNF_MAX_SOURCE = 256 << 10, GBNF_MAX_RULES = 4096, GBNF_MAX_DEPTH = 64 };

/* Reads source into g and compiles it. ERR_FORMAT: line and what was expected; ERR_LIMIT;
 * ERR_USAGE: a rule that begins with itself, or that no text matches. */
bool gbnf_compile(struct grammar *g, str source, struct err *e);
