/* pystr: JSON values as text the way Python's str() and repr() write them. Chat templates print
 * with them, and models were trained on what they print. Pure functions. */
#pragma once
#include "base/buf.h"
#include "base/json.h"
#include "base/str.h"

/* Appends str(v): strings as they are, None, True, numbers as Python prints them, lists and
 * dictionaries as repr. NULL is null. */
void pystr_str(const struct json *v, struct buf *out);
/* Appends repr(v). */
void pystr_repr(const struct json *v, struct buf *out);
/* The quote that repr(s) uses: single, unless s holds some and no double ones. */
char pystr_quote(str s);
/* Appends what repr shows for the code point at s[i] (i < s.n) between such quotes; returns its
 * length in s. Invalid UTF-8 becomes U+FFFD, byte by byte. */
size_t pystr_repr_char(str s, size_t i, char quote, struct buf *out);
/* str.isspace() of one code point. */
bool pystr_is_space(uint32_t cp);
/* s.strip(): without Unicode white space at both ends. */
str pystr_strip(str s);
