/* launch: what a coding agent has to be told to work with a tawny server: environment variables,
 * arguments, and a file of its settings as its user would write it. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

/* The server and its model. */
struct launch_server {
    uint16_t port; /* on 127.0.0.1 */
    str model;     /* views into the arena that launch_probe was given */
    uint32_t n_ctx;
    const char *key; /* NULL: none is asked for */
};
/* Is there a tawny server (or another with the same /v1/models) on 127.0.0.1? False and e: none
 * answers (ERR_IO), it wants a key, or what it says is no list of models. */
bool launch_probe(uint16_t port, const char *key, struct arena *a, struct launch_server *out,
                  struct err *e);
/* Tokens of a reply that clients leave room for. */
uint32_t launch_output(const struct launch_server *s);

enum { LAUNCH_MAX_ENV = 32, LAUNCH_MAX_ARGS = 32 };
struct launch_plan {
    const char *program, *get; /* the command, and how to install it */
    const char *env[LAUNCH_MAX_ENV];
    size_t n_env; /* "NAME=VALUE" */
    const char *args[LAUNCH_MAX_ARGS];
    size_t n_args;
};
/* The NULL-ended names of the agents that launch_plan knows. */
extern const char *const launch_names[];
/* What the agent is started with; strings live in the arena. ERR_USAGE: no agent has that name. */
bool launch_plan(const char *agent, const struct launch_server *s, struct arena *a,
                 struct launch_plan *out, struct err *e);
