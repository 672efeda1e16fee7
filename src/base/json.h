/* json: JSON values over json-c, the only place that includes it. Values form a tree owned by its
 * root: free the root alone. Object members keep their order and doubles their source text. Lookups
 * accept NULL and values of another type and answer "absent", so chains need no checks. A tree
 * belongs to one thread at a time. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct json;

enum json_type { JSON_NULL, JSON_BOOL, JSON_INT, JSON_FLOAT, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

enum { JSON_MAX_DEPTH = 64 };

/* Parses exactly one value (white space around it allowed), at most 2 GiB. Errors name the byte
 * position. Lone surrogates become U+FFFD; invalid UTF-8 and NUL in a member's name are refused, a
 * lone null too. Of members with the same name the last wins. NULL and e on failure. */
struct json *json_parse(str text, struct err *e);
void json_free(struct json *v);
/* About how many bytes the tree of this text takes, before it is parsed: up to 270 times the text,
 * in one of nothing but objects. Reads brackets, commas and colons only; any text will do. */
size_t json_weigh(str text);

/* JSON_NULL for NULL. */
enum json_type json_type(const struct json *v);
/* Member of an object; NULL when absent or v is no object. A JSON null member gives NULL too: use
 * json_has. */
struct json *json_get(const struct json *v, const char *key);
bool json_has(const struct json *v, const char *key);
/* Elements of an array or members of an object; 0 otherwise. */
size_t json_count(const struct json *v);
struct json *json_at(const struct json *v, size_t i);
/* Walks an object in order. Start with a zeroed iterator; false at the end. *value is NULL for
 * null. */
struct json_iter {
    void *entry;
    bool started;
};
bool json_next(const struct json *object, struct json_iter *it, str *key, struct json **value);

/* The text of a string, a view into the tree; empty for other types. */
str json_str(const struct json *v);
bool json_bool(const struct json *v);
/* Saturates at the 64-bit limits. */
int64_t json_int(const struct json *v);
double json_float(const struct json *v);

/* How to print: COMPACT has no spaces and keeps the text of numbers; PYTHON is what Python prints
 * for json.dumps(json.loads(...), ensure_ascii=False): ", " and ": ", floats as their repr. Both
 * keep member order, escape only what JSON demands, and write UTF-8 as it is. */
enum json_style { JSON_COMPACT, JSON_PYTHON };
void json_print(const struct json *v, enum json_style style, struct buf *out);
/* Appends s as a JSON string with quotes. Invalid UTF-8 becomes U+FFFD. */
void json_quote(str s, struct buf *out);
/* Appends Python's repr of a finite float. */
void json_print_f64(double x, struct buf *out);
/* Reads one complete JSON value at the start of text: its length in bytes with the white space
 * before it, or 0 if it is incomplete or broken. A number that reaches the end of the text
 * counts as complete. Allocates nothing. */
size_t json_scan(str text);
