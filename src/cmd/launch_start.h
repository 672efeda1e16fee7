/* launch_start: the server that an agent is started on: one that runs, or a new one that goes on
 * when the agent and the terminal are gone. */
#pragma once
#include "cmd/launch.h"
#include "cmd/opts.h"

struct start_opts {
    const char *model, *key, *backend, *device;
    uint32_t port, n_ctx; /* n_ctx 0: the server's default */
};
/* Finds the server on the port, waits with a bar for one that is loading, else starts one: its log
 * and state are serve-PORT.log and .state in XDG_STATE_HOME/tawny. What is said goes to stderr.
 * Ctrl-C ends a server that was started here and still loads. ERR_CANCELLED: it was pressed. */
bool launch_start(const struct start_opts *o, struct arena *a, struct launch_server *out,
                  struct err *e);
