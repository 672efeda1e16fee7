/* schema: JSON schemas (draft 2020-12, and what clients send of older ones) as grammars of the
 * values that they allow, and a check of a value against a schema.
 *
 * A grammar allows only valid values; it may leave some out: members that a schema does not name
 * (where it does not ask for them), white space beyond what models write, numbers of more than 15
 * digits. Keywords that a grammar cannot honour are relaxed and named. Schemas are hostile: size,
 * nesting and combinations are limited, and what is over a limit is relaxed, too. */
#pragma once
#include "base/buf.h"
#include "base/json.h"
#include "text/grammar.h"

enum {
    SCHEMA_MAX_DEPTH = 48,    /* nesting that is followed; deeper values are any JSON */
    SCHEMA_MAX_RULES = 20000, /* different (sub-)schemas */
};

struct schema_builder;
/* Adds nodes to g. apart: n patterns that no string may hold, because the values stand in a text
 * that they would end; borrowed. */
struct schema_builder *schema_builder_open(struct grammar *g, const struct grammar_pattern *apart,
                                           size_t n);
void schema_builder_close(struct schema_builder *b);
/* A JSON value that the schema allows. References in it start at root. Both NULL: any value. They
 * must outlive the builder. name: of the schema, for the notes. */
uint32_t schema_builder_value(struct schema_builder *b, const struct json *root,
                              const struct json *schema, const char *name);
/* An object whatever the schema says of its type: the arguments of a function. Only members that
 * the schema names, if it names any. */
uint32_t schema_builder_arguments(struct schema_builder *b, const struct json *root,
                                  const struct json *schema, const char *name);
/* The strings that n schemas together allow, raw, without '<' where it limits them, and what ends
 * them. */
struct text_ends {
    uint32_t rest; /* any text and its end */
    uint32_t end;
};
uint32_t schema_builder_raw(struct schema_builder *b, const struct json *root,
                            const struct json *const *schemas, size_t n,
                            const struct text_ends *ends, const char *name);
/* Their values that are no strings, as JSON. */
uint32_t schema_builder_not_string(struct schema_builder *b, const struct json *root,
                                   const struct json *const *schemas, size_t n, const char *name);
/* White space between the parts of a JSON value. */
uint32_t schema_builder_space(struct schema_builder *b);
/* Notes that a keyword is not honoured by whoever uses the builder. */
void schema_builder_relaxed(struct schema_builder *b, const char *name, const char *keyword);
/* What was relaxed: "name.items: uniqueItems; ...", each once; empty: nothing. Cut at 2 KiB. */
str schema_builder_notes(const struct schema_builder *b);

/* "#/a/b" within root; NULL when there is none. */
const struct json *schema_resolve(const struct json *root, str ref);
bool schema_is_false(const struct json *schema);
/* Can at most one of a list of schemas within root hold, as their types and constants say? */
bool schema_branches_are_apart(const struct json *root, const struct json *branches);

/* Is value valid? If not, why (appended to, unless NULL) gets "at .items[2]: pattern". Formats and
 * patterns that are not supported count as kept. Uses no builder and no grammar but for patterns.
 */
bool schema_check(const struct json *root, const struct json *schema, const struct json *value,
                  struct buf *why);
