/* share: heads of prompts that other sessions hold, or are about to read. Nothing that stands in a
 * session is read again: it is copied (exec_seq_copy). Where two prompts that begin alike are read
 * at once, the later one waits for the earlier one to have read what they share. Engine thread
 * only.
 */
#pragma once
#include "engine/turn.h"

/* Brings the turn's session to as many tokens of its prompt as can be had without reading, all but
 * the last at most, whose logits are needed. False and e where a device fails. */
bool share_begin(struct engine *g, struct turn *t, struct err *e);

/* The turn whose reading t waits for; NULL: it reads itself. It came earlier, so that this ends. */
struct turn *share_leader(const struct engine *g, const struct turn *t);

/* For a turn that has read nothing yet: whom it has to wait for, if anyone. */
void share_find_leader(struct engine *g, struct turn *t);

/* Has the turn's keeper, begun anew, keep what those need who wait for the turn. */
void share_keep(struct engine *g, struct turn *t);

/* Has the turn's leader read what they share, or ended, or does it wait itself? */
bool share_is_due(const struct engine *g, const struct turn *t);
