/* grammar_match: which texts a grammar matches, for tests. Failures end the test. */
#pragma once
#include "base/json.h"
#include "text/automaton.h"

/* Does the compiled grammar match the whole text? */
bool kit_matches(const struct grammar *g, str text);
/* A schema's grammar, compiled. notes: NULL, or gets what was relaxed, freed by the caller. */
struct grammar *kit_schema_grammar(const struct json *schema, struct buf *notes);
/* Texts end at a NULL: those the grammar must match, and those it must not. */
void kit_check_matches(const struct grammar *g, const char *const *good, const char *const *bad);
