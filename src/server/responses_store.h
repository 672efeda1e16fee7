/* responses_store: responses that clients may continue by id (previous_response_id), read again or
 * delete. Each has the items of its own request and reply and the id of the one before it; a
 * conversation is the chain of them. In memory, bounded: what was used least recently goes first,
 * and what continued it can then not be continued either. Thread-safe. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/str.h"

struct responses_store;
/* max_bytes: of all responses together. */
struct responses_store *responses_store_open(size_t max_bytes);
void responses_store_close(struct responses_store *s);
/* Of all responses that are kept. */
size_t responses_store_bytes(struct responses_store *s);

/* Keeps a response. previous: the id of the one that it continues; empty: none. input, output: its
 * items as JSON, joined with ",". body: the response object. All are copied. A response that alone
 * is over the limit is not kept. */
void responses_store_put(struct responses_store *s, str id, str previous, str input, str output,
                         str body);
/* Appends the response object. False: there is none of that id (any more). */
bool responses_store_body(struct responses_store *s, str id, struct buf *out);
/* Appends the items of the conversation up to and with this response, joined with ",". False: the
 * response, or one that it goes back to, is not there (any more). */
bool responses_store_items(struct responses_store *s, str id, struct buf *out);
/* Appends the output items of one response, joined with ",". */
bool responses_store_output(struct responses_store *s, str id, struct buf *out);
/* False: there is none of that id. */
bool responses_store_delete(struct responses_store *s, str id);
