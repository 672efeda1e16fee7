/* launch: what a coding agent has to be told to work with a tawny server: environment variables,
 * arguments, and files, in a folder of launch's own or where the agent looks for its settings. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/health.h"

/* The server and its model. */
struct launch_server {
    uint16_t port; /* on 127.0.0.1 */
    str model;     /* views into the arena that launch_probe was given */
    uint32_t n_ctx;
    bool thinks;     /* it can reason */
    const char *key; /* NULL: none is asked for */
    struct health health;
};
/* Is there a tawny server (or another with the same /v1/models) on 127.0.0.1? False and e: none
 * answers or it is loading (ERR_IO, out->health tells which), it wants a key, or what it says is
 * no list of models. */
bool launch_probe(uint16_t port, const char *key, struct arena *a, struct launch_server *out,
                  struct err *e);
/* Tokens of a reply that clients leave room for. */
uint32_t launch_output(const struct launch_server *s);

/* Where an agent looks for its settings: the folder in a variable of its own, else below
 * XDG_CONFIG_HOME (where the agent follows that), else below HOME. */
struct launch_home {
    const char *variable;         /* NULL: it has none */
    const char *in_config, *name; /* "opencode" or NULL; ".config/opencode" */
};
struct launch_file {
    str text;
    const char *path;               /* written for each start; NULL: only by --install */
    const struct launch_home *home; /* where --install puts it; NULL: it does not */
    const char *home_name;
    bool merge; /* JSON that goes into what the user has there; else the file is launch's own */
};

enum { LAUNCH_MAX_ENV = 32, LAUNCH_MAX_ARGS = 40, LAUNCH_MAX_FILES = 2 };
struct launch_plan {
    const char *program, *get; /* the command, and how to install it */
    const char *then;          /* the command that uses what --install wrote */
    const char *warning;       /* what will not work; NULL: nothing */
    const char *env[LAUNCH_MAX_ENV];
    size_t n_env; /* "NAME=VALUE" */
    const char *args[LAUNCH_MAX_ARGS];
    size_t n_args;
    struct launch_file files[LAUNCH_MAX_FILES];
    size_t n_files;
};
/* The NULL-ended names of the agents that launch_plan knows. */
extern const char *const launch_names[];
/* What the agent is started with; strings live in the arena. folder: where files of launch's own
 * go. ERR_USAGE: no agent has that name. */
bool launch_plan(const char *agent, const struct launch_server *s, const char *folder,
                 struct arena *a, struct launch_plan *out, struct err *e);
/* The path of `name` where the agent looks for it, in the arena; NULL without a home. */
const char *launch_home_path(const struct launch_home *h, const char *name, struct arena *a);

/* Appends the JSON text `user` with `ours` laid over it, indented: members of objects are merged,
 * entries of arrays with the same "id" replaced, other values are ours. False and e: one of them is
 * no JSON object. An empty user text is an empty object. */
bool launch_merge(str user, str ours, struct buf *out, struct err *e);
/* What --install does: writes the plan's files to the agent's own places, each by a temporary file
 * and a rename, an older one kept as PATH.backup-N; appends a line per file to report. With print
 * nothing is written and the report holds the files. */
bool launch_install(const struct launch_plan *p, bool print, struct arena *a, struct buf *report,
                    struct err *e);
