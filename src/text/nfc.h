/* nfc: Unicode normalisation form C of text that may hold bytes which are not UTF-8 (they stay as
 * they are, and nothing composes across them). Pure functions over a class table. */
#pragma once
#include <stddef.h>

#include "base/buf.h"
#include "base/str.h"
#include "text/uclass.h"

/* Bytes at the start of text that NFC surely leaves alone; text.n for nearly all text there is. At
 * about the speed of memory over ASCII. */
size_t nfc_quick(const struct uclass *u, str text);
/* Appends the normalised text. Linear time, whatever marks are piled up. */
void nfc_put(const struct uclass *u, str text, struct buf *out);
