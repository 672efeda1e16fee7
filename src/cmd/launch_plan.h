/* launch_plan: how the agents' plans are put together. */
#pragma once
#include "cmd/launch.h"
#include "cmd/term.h"

/* What a plan is made from. */
struct plan_in {
    const struct launch_server *server;
    const char *folder; /* of launch's own files */
    struct arena *arena;
    struct launch_plan *plan;
};

/* Long prompts take minutes on local machines: clients' timers are set to half an hour and more. */
enum { PLAN_IDLE_MS = 1800000, PLAN_TOTAL_MS = 3600000 };

/* line: "NAME=VALUE", made by arena_fmt or a literal: ends in a NUL byte. */
void plan_env(const struct plan_in *in, str line);
void plan_args(const struct plan_in *in, const char *option, const char *value);
/* Adds a file with the bytes of text, which is freed. name: in the folder of launch's own files, or
 * NULL. Returns its path there. */
const char *plan_file(const struct plan_in *in, const char *name, struct buf *text,
                      const struct launch_home *home, const char *home_name, bool merge);
/* The key, or a word for clients that want one. */
const char *plan_key(const struct launch_server *s);
/* Does it stand for itself where an agent expands variables as a shell does? */
bool plan_key_is_plain(const struct launch_server *s);
/* "http://127.0.0.1:8383/v1" in the arena. */
str plan_url(const struct plan_in *in);

void plan_claude(const struct plan_in *in);
void plan_opencode(const struct plan_in *in);
void plan_codex(const struct plan_in *in);
void plan_qwen(const struct plan_in *in);
void plan_pi(const struct plan_in *in);
void plan_crush(const struct plan_in *in);
