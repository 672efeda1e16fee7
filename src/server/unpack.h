/* unpack: request bodies that were sent compressed (Content-Encoding: zstd, gzip or deflate). The
 * only file that includes zstd's and zlib's headers is unpack.c. Pure function. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* Writes what packed holds to out, which is empty before. encoding: the header's value, one name in
 * any case; empty and "identity" copy. A few bytes can hold gigabytes, so it stops at max bytes,
 * and a zstd frame that wants a window over 32 MiB is refused. False: ERR_UNSUPPORTED (no such
 * encoding), ERR_LIMIT (more than max), ERR_FORMAT (broken, cut off, or something follows its end).
 */
bool unpack(str encoding, str packed, size_t max, struct buf *out, struct err *e);
