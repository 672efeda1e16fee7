/* lark: grammars as Lark writes them (https://lark-parser.readthedocs.io, grammar.html), by which
 * OpenAI's custom tools say what text they take; the text is what `start` matches.
 *
 * Supported: rules and terminals (with ?, ! and priorities, which do not change what matches) over
 * "strings", "a".."z", /regular expressions/ (regex.c; . is any character but a line end),
 * names, ( ), [ ], |, * + ? ~n ~n..m, -> aliases, // comments, and %import of common terminals.
 * Texts match as by a context-free grammar: terminals are not cut off a text first. */
#pragma once
#include "text/textform.h"

enum { LARK_MAX_SOURCE = 64 << 10, LARK_MAX_RULES = 512, LARK_MAX_DEPTH = 32 };

struct lark_params {
    enum text_form form; /* TEXT_PLAIN, TEXT_JSON or TEXT_RAW */
    /* TEXT_RAW: n patterns that no line may hold, because the text would end there. They are looked
     * for within a line: two context lines of a patch that are nothing but closing tags end the
     * call. Expressions that may hold a '<', but for whole lines (such as "/.+/"), are not
     * supported then. */
    const struct grammar_pattern *apart;
    size_t n_apart;
};
/* A node for the texts that source allows. False and e: the line and what is wrong or not supported
 * (ERR_FORMAT), a rule begins with itself or no text matches (ERR_USAGE), too large (ERR_LIMIT). */
bool lark_node(struct grammar *g, const struct lark_params *params, str source, uint32_t *out,
               struct err *e);
