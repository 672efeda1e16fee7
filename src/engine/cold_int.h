/* cold_int: what the files of cold share. */
#pragma once
#include "engine/inside.h"

/* Tokens of a session that are worth storing: up to where it can go on. */
uint32_t cold_end_of(const struct session *s);
/* Stores what follows the session's first *at tokens, which are stored, a chunk of its first `end`,
 * and moves *at behind it; false: there is no room. */
bool cold_put_next(struct engine *g, uint32_t seq, uint32_t *at, uint32_t end, struct use use);
