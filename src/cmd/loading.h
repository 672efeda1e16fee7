/* loading: opens an engine with a bar, and lets Ctrl-C end the program while it loads. */
#pragma once
#include "cmd/interrupt.h"
#include "engine/engine.h"

/* Sets p's log; p's progress is told, too. NULL and e on failure. */
struct engine *loading_open(const struct engine_params *p, const struct interrupt *interrupt,
                            bool verbose, struct err *e);
