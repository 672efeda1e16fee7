/* revive: what the engine does about a device that was lost. Engine thread only. */
#pragma once
#include "engine/inside.h"

/* Behind a failure e of the exec: where the device was lost (ERR_DEVICE) it is opened anew, with
 * the weights, and what sessions with a job hold is read again, but that of session `but`
 * (n_sessions: of all). Sessions without a job are empty then, and turns wait (ration.h) whose
 * sessions do not fit any more beside the others. True: what failed can be done again; the places
 * of a batch in the engine stay as they are. False and e: it was another failure; there is no
 * device any more; or the device does not last: it was lost more than REVIVE_AT_ONCE times in a
 * row, each within REVIVE_TOKENS tokens. Such a device is left alone for REVIVE_WAIT_MS
 * (engine_params.revive_wait_ms), twice as long behind each loss that follows, up to
 * REVIVE_MOST_WAITS times that; then the next call opens it. */
enum {
    REVIVE_TOKENS = 1000,
    REVIVE_AT_ONCE = 3,
    REVIVE_WAIT_MS = 30000,
    REVIVE_MOST_WAITS = 32,
};
bool revive(struct engine *g, uint32_t but, struct err *e);
