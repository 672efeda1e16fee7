/* opaque: reasoning in a form that clients carry from one request to the next without reading it
 * (the "encrypted_content" of a reasoning item). It is no secret and not signed: base64 of
 * "tawny1", a tag that says which reply it is from, and the text. Pure functions. */
#pragma once
#include <stdbool.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

/* tag: without line ends. */
void opaque_put(str tag, str text, struct buf *out);
/* False: it was not made by opaque_put, or somebody changed it: not base64, no UTF-8. tag and text
 * are in memory of a, the text to the byte. */
bool opaque_get(str token, struct arena *a, str *tag, str *text);
