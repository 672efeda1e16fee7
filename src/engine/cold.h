/* cold: conversations that lose their session go to the host's memory (store.h) and come back from
 * there. Engine thread only. */
#pragma once
#include "engine/inside.h"

/* Before a prompt of n tokens takes the session: stores what it holds, where much of it would be
 * lost. What cannot be stored is lost. */
void cold_put(struct engine *g, uint32_t seq, const int32_t *ids, size_t n);
/* What there is in store of a prompt. */
struct head cold_head(const struct engine *g, const int32_t *ids, size_t n);
/* Makes the session hold the first n tokens of ids, up to a cold_head's reach. False and e: what it
 * holds is not known. */
bool cold_take(struct engine *g, uint32_t seq, const int32_t *ids, uint32_t n, struct err *e);
