/* str: a view of bytes, pointer and length. Not terminated, may hold NUL and invalid UTF-8; the
 * bytes belong to somebody else (an arena, a buffer, the program image) and must outlive the view.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char *p;
    size_t n;
} str;

#define STR(literal) ((str){(literal), sizeof(literal) - 1})
/* For printf's "%.*s": printf("%.*s", STRF(s)). */
#define STRF(s) (int)(s).n, (s).p

/* A view of a C string; NULL gives the empty view. */
str str_of(const char *cstring);
/* Bytes [from, to) of s; both ends are clamped to the length. */
str str_sub(str s, size_t from, size_t to);
bool str_eq(str a, str b);
bool str_starts(str s, str prefix);
bool str_ends(str s, str suffix);
/* Index of the first occurrence of needle at or after from; SIZE_MAX when there is none. */
size_t str_find(str s, str needle, size_t from);
/* FNV-1a over the bytes, going on from h; STR_HASH to begin. Not for secrets. */
#define STR_HASH 0xcbf29ce484222325u
uint64_t str_hash(uint64_t h, str s);
/* Without ASCII white space at both ends. */
str str_trim(str s);
/* Splits s at the first sep: returns what is before it and leaves the rest in *rest (empty when
 * there is no sep). */
str str_cut(str s, char sep, str *rest);
/* Whole-string decimal parsers. False, with *out unchanged, on anything else or out of range. */
bool str_to_i64(str s, int64_t *out);
bool str_to_f64(str s, double *out);
/* Replaces the control bytes of a terminated text by '?'. For lines that go to a terminal: names
 * and keys in them come from outside and could hold escape sequences. */
void str_blank_control(char *text);
