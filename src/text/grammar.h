/* grammar: what a constrained reply may look like, as rules over bytes. A grammar is built bottom
 * up from nodes, then compiled once into a program that an automaton (automaton.h) runs. Builders
 * of grammars: gbnf.h, schema.h, toolcall.h.
 *
 * Nodes are indices; a node may be used several times, but each use is compiled anew: what is large
 * and used often should be a rule. Sources are hostile, so the size is limited: over it, nodes are
 * dropped and grammar_compile fails. One thread builds; a compiled grammar is immutable. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

enum {
    GRAMMAR_MAX_NODES = 1 << 20,
    GRAMMAR_MAX_STATES = 1 << 19,
    /* Rules inside each other while a text is matched; deeper nesting is not allowed. */
    GRAMMAR_MAX_FRAMES = 250,
    GRAMMAR_MAX_MEMBERS = 64, /* of a set */
};
#define GRAMMAR_UNBOUNDED UINT32_MAX

/* Byte b is in the set when bit b % 64 of bits[b / 64] is 1. */
struct byteset {
    uint64_t bits[4];
};
static inline bool byteset_has(const struct byteset *s, unsigned byte)
{
    return s->bits[byte >> 6] >> (byte & 63) & 1;
}
static inline void byteset_add(struct byteset *s, unsigned from, unsigned to)
{
    for (unsigned b = from; b <= to; b++)
        s->bits[b >> 6] |= UINT64_C(1) << (b & 63);
}

struct grammar;
struct grammar *grammar_new(void);
void grammar_free(struct grammar *g);

/* Matches nothing but the empty text, and no text at all. */
uint32_t grammar_empty(struct grammar *g);
uint32_t grammar_nothing(struct grammar *g);
uint32_t grammar_bytes(struct grammar *g, str bytes);
/* One byte out of a set. */
uint32_t grammar_class(struct grammar *g, const struct byteset *set);
/* One code point out of n ranges (both ends inside), as UTF-8; surrogates are left out. */
struct code_range {
    uint32_t from, to;
};
uint32_t grammar_chars(struct grammar *g, const struct code_range *ranges, size_t n);
/* A token that is no text (control tokens), by its id. */
uint32_t grammar_token(struct grammar *g, int32_t id);
uint32_t grammar_seq(struct grammar *g, const uint32_t *nodes, size_t n);
uint32_t grammar_seq2(struct grammar *g, uint32_t a, uint32_t b);
uint32_t grammar_alt(struct grammar *g, const uint32_t *nodes, size_t n);
/* min to max times; max may be GRAMMAR_UNBOUNDED. Large counts cost nothing. */
uint32_t grammar_repeat(struct grammar *g, uint32_t node, uint32_t min, uint32_t max);

/* Rules may be used before they are defined, and in themselves, but not as their own beginning. */
uint32_t grammar_rule(struct grammar *g);
void grammar_define(struct grammar *g, uint32_t rule, uint32_t node);
uint32_t grammar_call(struct grammar *g, uint32_t rule);

/* Members in any order, each at most once: an object. */
struct grammar_member {
    uint32_t node; /* matches at least one byte */
    bool required;
    bool many; /* may come several times (other properties) */
};
struct grammar_set {
    const struct grammar_member *members; /* n, at most GRAMMAR_MAX_MEMBERS */
    size_t n;
    uint32_t separator; /* node between two */
    uint32_t min, max;  /* of all; max may be GRAMMAR_UNBOUNDED */
};
uint32_t grammar_set(struct grammar *g, const struct grammar_set *set);

/* Text (UTF-8) up to the first match of a pattern, which is part of it. Patterns are ASCII: literal
 * bytes, and blanks ("any number of space, tab, CR, LF") between them. */
struct grammar_pattern {
    const str *parts; /* n_parts literals with blanks between them */
    size_t n_parts;
    bool line_start; /* only where the text or a line of it begins; parts follow the line's blanks
                        when `indent` is set */
    bool indent;
    uint32_t then; /* node that follows the match; GRAMMAR_NEVER: the text may not match */
};
#define GRAMMAR_NEVER UINT32_MAX
struct grammar_scan {
    const struct grammar_pattern *patterns; /* n */
    size_t n;
    bool may_end;   /* the text may also end before any match, */
    bool not_blank; /* but not while it is empty or nothing but blanks */
    bool any_byte;  /* the text need not be UTF-8 */
    /* The text stands in a JSON string: without quotes, backslashes and control characters, but
     * with escapes, which `escape` matches. */
    bool in_json;
    uint32_t escape;
};
uint32_t grammar_scan(struct grammar *g, const struct grammar_scan *scan);

/* Makes the program for texts that match `rule`. ERR_LIMIT: too large; ERR_USAGE: a rule begins
 * with itself, or no text matches. */
bool grammar_compile(struct grammar *g, uint32_t rule, struct err *e);
/* The rule that grammar_compile complained about; GRAMMAR_NEVER: no single one. */
uint32_t grammar_bad_rule(const struct grammar *g);
