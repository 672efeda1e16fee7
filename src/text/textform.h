/* textform: the text of a string as it is written: inside the quotes of a JSON string, with
 * escapes, or raw between the tags of a call (TAGGED: JSON that stands between tags), or as it is.
 * Nodes for grammars. */
#pragma once
#include "text/grammar.h"

enum text_form { TEXT_JSON, TEXT_TAGGED, TEXT_RAW, TEXT_PLAIN };

/* One character out of the ranges. Between tags '<' is left out where there is another character:
 * it could begin the tag that ends the text. */
uint32_t textform_chars(struct grammar *g, enum text_form form, const struct code_range *ranges,
                        size_t n);
/* Exactly this text (UTF-8). */
uint32_t textform_literal(struct grammar *g, enum text_form form, str text);

/* Texts that match a regular expression as ECMA-262 has it, anywhere in them unless it is anchored:
 * JSON schema's `pattern`. Supported: classes, groups, alternatives, counts, lazy or not, ^ at the
 * beginning and $ at the end of an alternative. False: *why names what is not (static text). */
bool regex_node(struct grammar *g, enum text_form form, str pattern, uint32_t *out,
                const char **why);
