/* pystr: what Python's str() and repr() make of characters. Chat templates print with them, and
 * models were trained on what they print. Pure functions. */
#pragma once
#include "base/buf.h"
#include "base/str.h"

/* The quote that repr(s) uses: single, unless s holds some and no double ones. */
char pystr_quote(str s);
/* Appends what repr shows for the code point at s[i] (i < s.n) between such quotes; returns its
 * length in s. Invalid UTF-8 becomes U+FFFD, byte by byte. */
size_t pystr_repr_char(str s, size_t i, char quote, struct buf *out);
/* str.isspace() of one code point. */
bool pystr_is_space(uint32_t cp);
