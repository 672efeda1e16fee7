/* schema_int: the inside of the builder, for schema_*.c. */
#pragma once
#include "base/mem.h"
#include "text/schema.h"
#include "text/textform.h"

enum {
    MAX_PARTS = 16, /* schemas that hold at once (allOf, references, branches) */
    MAX_BRANCHES = 256,
    MAX_NOTES_BYTES = 2048,
    MAX_SPACE = 24, /* blanks that indent a line */
};

/* Types of JSON Schema, as bits. An integer is a number, too. */
enum {
    IS_NULL = 1,
    IS_BOOL = 2,
    IS_INTEGER = 4,
    IS_NUMBER = 8, /* with a fraction */
    IS_STRING = 16,
    IS_ARRAY = 32,
    IS_OBJECT = 64,
    IS_ANY = 127,
};
/* Of a name; 0: none. "number" includes IS_INTEGER. */
unsigned schema_type_of(str name);
/* Of a "type" member: a name or a list of them; IS_ANY when there is none that is known. */
unsigned schema_types(const struct json *type);
unsigned schema_type_of_value(const struct json *v);

/* Schemas that must hold together. */
struct conj {
    const struct json *part[MAX_PARTS];
    uint8_t done[MAX_PARTS]; /* keywords of the part that were followed: DONE_ bits */
    uint32_t n;
};
enum { DONE_REF = 1, DONE_ALL = 2, DONE_ANY = 4, DONE_ONE = 8 };

struct memo;
struct schema_builder {
    struct grammar *g;
    struct arena arena;
    enum text_form form;                 /* of strings */
    const struct grammar_pattern *apart; /* [n_apart] what they must not hold */
    size_t n_apart;
    struct json *not_string; /* a schema: values of all other types */
    struct json *object;     /* a schema: objects */
    const struct json *root;
    struct memo *memo;
    size_t n_memo;
    uint32_t *memo_slots; /* number + 1 */
    size_t memo_mask;
    uint32_t depth;
    char path[160];
    size_t n_path;
    struct buf notes;
    /* Rules that many schemas share; GRAMMAR_NEVER: not made yet. */
    uint32_t space, string, string_rest, number, integer, any_value, any_object, any_array;
};

/* ---- schema.c ---- */

/* Notes that a keyword is not honoured at the current path. */
void schema_note(struct schema_builder *b, const char *keyword);
/* Goes into a sub-schema, for the path; returns what schema_leave takes. */
size_t schema_enter(struct schema_builder *b, const char *separator, str name);
void schema_leave(struct schema_builder *b, size_t mark);
/* Adds a schema to a conjunction (NULL: allows anything). */
void conj_add(struct schema_builder *b, struct conj *c, const struct json *schema);
/* The first part's member; NULL when none has it. */
const struct json *conj_get(const struct conj *c, const char *keyword);
/* A node for values of a conjunction, as JSON. */
uint32_t schema_value(struct schema_builder *b, const struct conj *c);
/* A count such as maxItems, cut to 32 bits; `without` when v is no number. */
uint32_t schema_count(const struct json *v, uint32_t without);
/* Do all parts allow the value? */
bool schema_allows(const struct schema_builder *b, const struct conj *c, const struct json *value);

/* ---- schema_text.c, schema_number.c, schema_array.c, schema_object.c: one type's values ---- */

uint32_t schema_string(struct schema_builder *b, const struct conj *c);
/* A text in a form and what ends it. */
uint32_t schema_text(struct schema_builder *b, const struct conj *c, enum text_form form,
                     const struct text_ends *ends);
uint32_t schema_number(struct schema_builder *b, const struct conj *c, bool integer);
uint32_t schema_array(struct schema_builder *b, const struct conj *c);
/* only_named: no members but those the schema names, if it names any. */
uint32_t schema_object(struct schema_builder *b, const struct conj *c, bool only_named);
/* "name": in JSON, with the space behind the colon. */
uint32_t schema_key(struct schema_builder *b, str name);
uint32_t schema_any_string(struct schema_builder *b);
uint32_t schema_any_value(struct schema_builder *b);
/* A regular expression for a format; NULL: not supported. */
const char *schema_format(str name);
