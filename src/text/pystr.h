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
/* s.strip(): without Unicode white space at both ends. */
str pystr_strip(str s);
