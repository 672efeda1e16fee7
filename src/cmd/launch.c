#include "cmd/launch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/launch_plan.h"

uint32_t launch_output(const struct launch_server *s)
{
    enum { MOST = 16384 };
    return s->n_ctx / 4 < MOST ? s->n_ctx / 4 : MOST;
}

void plan_env(const struct plan_in *in, str line)
{
    assert(in->plan->n_env < LAUNCH_MAX_ENV);
    in->plan->env[in->plan->n_env++] = line.p;
}

void plan_args(const struct plan_in *in, const char *option, const char *value)
{
    assert(in->plan->n_args + 2 <= LAUNCH_MAX_ARGS);
    in->plan->args[in->plan->n_args++] = option;
    in->plan->args[in->plan->n_args++] = value;
}

const char *plan_file(const struct plan_in *in, const char *name, struct buf *text,
                      const struct launch_home *home, const char *home_name, bool merge)
{
    assert(in->plan->n_files < LAUNCH_MAX_FILES);
    struct launch_file *f = &in->plan->files[in->plan->n_files++];
    *f = (struct launch_file){.text = arena_str(in->arena, buf_view(text)),
                              .home = home,
                              .home_name = home_name,
                              .merge = merge};
    buf_free(text);
    if (name)
        f->path = arena_fmt(in->arena, "%s/%s", in->folder, name).p;
    return f->path;
}

const char *plan_key(const struct launch_server *s)
{
    return s->key ? s->key : "none";
}

bool plan_key_is_plain(const struct launch_server *s)
{
    return strpbrk(plan_key(s), "$`\\\"'!") == NULL;
}

str plan_url(const struct plan_in *in)
{
    return arena_fmt(in->arena, "http://127.0.0.1:%u/v1", in->server->port);
}

const char *launch_home_path(const struct launch_home *h, const char *name, struct arena *a)
{
    const char *own = h->variable ? getenv(h->variable) : NULL;
    const char *config = h->in_config ? getenv("XDG_CONFIG_HOME") : NULL;
    const char *home = getenv("HOME");
    if (own && *own)
        return arena_fmt(a, "%s/%s", own, name).p;
    if (config && *config == '/')
        return arena_fmt(a, "%s/%s/%s", config, h->in_config, name).p;
    return home && *home == '/' ? arena_fmt(a, "%s/%s/%s", home, h->name, name).p : NULL;
}

static void (*const plans[])(const struct plan_in *in) = {plan_claude, plan_opencode, plan_codex,
                                                          plan_qwen,   plan_pi,       plan_crush};
const char *const launch_names[] = {"claude", "opencode", "codex", "qwen", "pi", "crush", NULL};

bool launch_plan(const char *agent, const struct launch_server *s, const char *folder,
                 struct arena *a, struct launch_plan *out, struct err *e)
{
    *out = (struct launch_plan){0};
    const struct plan_in in = {s, folder, a, out};
    for (size_t i = 0; launch_names[i]; i++)
        if (!strcmp(launch_names[i], agent)) {
            plans[i](&in);
            return true;
        }
    return err_set(e, ERR_USAGE,
                   "launch: unknown agent '%s': claude, opencode, codex, qwen, pi or crush", agent);
}
