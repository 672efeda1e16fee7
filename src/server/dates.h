/* dates: the date that a conversation's prompts show. A template that prints the current date would
 * change the beginning of every prompt at midnight, and all that was read of it would be read
 * again; so a conversation keeps the date that it began with. Thread-safe. */
#pragma once
#include <stdint.h>

#include "text/chat.h"

struct dates;
struct dates *dates_open(void);
void dates_close(struct dates *d);
/* When the conversation began, in seconds since 1970: now for one that is new or was not heard of
 * for 12 hours. Conversations are told apart by what stands up to the first user's message. */
int64_t dates_of(struct dates *d, const struct chat_request *r, int64_t now);
