#include "cmd/cmd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "cmd/cmd_model.h"
#include "cmd/launch_start.h"
#include "cmd/term.h"

struct launch_opts {
    struct start_opts start;
    bool print, install;
};

#define AT(field) offsetof(struct launch_opts, field)
static const struct opt launch_table[] = {
    {"-m --model", "FILE", "model of a server that is started here", "demo", OPT_TEXT,
     AT(start.model), 0, 0},
    {"-c --ctx-size", "TOKENS", "its context", "as 'tawny serve' has it", OPT_U32, AT(start.n_ctx),
     0, 1 << 24},
    {"--backend", "NAME", "what it runs on: " MODEL_BACKENDS, MODEL_PLACE, OPT_TEXT,
     AT(start.backend), 0, 0},
    {"--device", "GPU", MODEL_DEVICES, "the largest", OPT_TEXT, AT(start.device), 0, 0},
    {"--port", "N", "the server's port on 127.0.0.1", "8383", OPT_U32, AT(start.port), 1, 65535},
    {"--api-key", "KEY", "the server's key", "none", OPT_TEXT, AT(start.key), 0, 0},
    {"--print", NULL, "show what would be run or written, for a shell, and do nothing", NULL,
     OPT_FLAG, AT(print), 0, 0},
    {"--install", NULL, "write it into the agent's own settings, and run nothing", NULL, OPT_FLAG,
     AT(install), 0, 0},
};
#undef AT

static const struct opt_example examples[] = {
    {"tawny launch claude", "Claude Code; starts a server if none runs"},
    {"tawny launch codex -m model.gguf -- exec 'fix the tests'", "with arguments for the agent"},
    {"tawny launch opencode --install", "for good, in OpenCode's own opencode.json"},
    {NULL, NULL},
};

/* As one word of a POSIX shell. */
static void put_word(const char *word, struct buf *out)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_-./:=,@";
    if (*word && strspn(word, plain) == strlen(word)) {
        buf_str(out, str_of(word));
        return;
    }
    buf_byte(out, '\'');
    for (; *word; word++)
        if (*word == '\'')
            buf_str(out, STR("'\\''"));
        else
            buf_byte(out, *word);
    buf_byte(out, '\'');
}

/* Files as here-documents, the variables, the command. */
static void put_script(const struct launch_plan *p, const struct opt_words *words, struct arena *a,
                       struct buf *out)
{
    for (size_t i = 0; i < p->n_files; i++) {
        const struct launch_file *f = &p->files[i];
        if (!f->path)
            continue;
        str folder = {f->path, (size_t)(strrchr(f->path, '/') - f->path)};
        buf_str(out, STR("(umask 077; mkdir -p ")); /* a key may be in it */
        put_word(arena_str(a, folder).p, out);
        buf_str(out, STR("; cat >"));
        put_word(f->path, out);
        buf_fmt(out, ") <<'TAWNY'\n%.*sTAWNY\n", STRF(f->text));
    }
    for (size_t i = 0; i < p->n_env; i++) {
        const char *equals = strchr(p->env[i], '=');
        buf_put(out, p->env[i], (size_t)(equals - p->env[i]) + 1);
        if (equals[1])
            put_word(equals + 1, out);
        buf_str(out, STR(" \\\n"));
    }
    buf_str(out, str_of(p->program));
    for (size_t i = 0; i < p->n_args; i++) {
        buf_str(out, i % 2 ? STR(" ") : STR(" \\\n    "));
        put_word(p->args[i], out);
    }
    for (size_t i = 1; i < words->n; i++) {
        buf_byte(out, ' ');
        put_word(words->at[i], out);
    }
    buf_byte(out, '\n');
}

/* Is there such a command? As execvp looks for it. */
static bool is_installed(const char *program, struct arena *a)
{
    const char *path = getenv("PATH");
    for (str rest = str_of(path ? path : "/usr/local/bin:/usr/bin:/bin"); rest.n;) {
        str folder = str_cut(rest, ':', &rest);
        if (access(arena_fmt(a, "%.*s/%s", STRF(folder), program).p, X_OK) == 0)
            return true;
    }
    return false;
}

static bool write_files(const struct launch_plan *p, struct err *e)
{
    bool ok = true;
    for (size_t i = 0; ok && i < p->n_files; i++) {
        const struct launch_file *f = &p->files[i];
        struct file_out out = {.fd = -1};
        if (!f->path)
            continue;
        file_make_folders(f->path);
        ok = file_create(&out, f->path, e) &&
             (fchmod(out.fd, 0600) == 0 || err_sys(e, "%s", f->path)) && /* a key may be in it */
             file_write_at(&out, 0, f->text.p, f->text.n, e) && file_commit(&out, e);
        file_abandon(&out);
    }
    return ok;
}

/* Becomes the agent; returns only if that fails. */
static bool become(const struct launch_plan *p, const struct opt_words *words, struct err *e)
{
    size_t n = 0;
    char **argv = mem_new(2 + p->n_args + words->n, sizeof *argv);
    argv[n++] = strdup(p->program);
    for (size_t i = 0; i < p->n_args; i++)
        argv[n++] = strdup(p->args[i]);
    for (size_t i = 1; i < words->n; i++)
        argv[n++] = strdup(words->at[i]);
    for (size_t i = 0; i < p->n_env; i++)
        putenv(strdup(p->env[i])); /* the environment keeps it */
    execvp(p->program, argv);
    int why = errno;
    for (size_t i = 0; i < n; i++)
        free(argv[i]);
    free(argv);
    errno = why;
    return err_sys(e, "launch: cannot run '%s'", p->program);
}

/* The folder of launch's own files for the server on this port. */
static bool own_folder(uint32_t port, char out[TERM_MAX_PATH], struct err *e)
{
    char name[32];
    snprintf(name, sizeof name, "launch-%u", port);
    return term_user_file("XDG_CACHE_HOME", ".cache", name, out) ||
           err_set(e, ERR_USAGE, "launch: neither XDG_CACHE_HOME nor HOME is set");
}

static bool launch(const struct launch_opts *o, const struct opt_words *words, struct arena *a,
                   struct err *e)
{
    struct launch_server server = {.port = 1, .model = STR("model"), .n_ctx = 1};
    struct launch_plan plan;
    struct buf out = {0};
    char folder[TERM_MAX_PATH];
    bool only_show = o->print || o->install;
    if (!own_folder(o->start.port, folder, e) ||
        !launch_plan(words->at[0], &server, folder, a, &plan, e)) /* is there such an agent? */
        return false;
    if (!only_show && !is_installed(plan.program, a))
        return err_set(e, ERR_USAGE, "launch: '%s' is not installed: %s", plan.program, plan.get);
    if (!(only_show ? launch_probe((uint16_t)o->start.port, o->start.key, a, &server, e)
                    : launch_start(&o->start, a, &server, e)) ||
        !launch_plan(words->at[0], &server, folder, a, &plan, e))
        return false;
    if (plan.warning)
        fprintf(stderr, "tawny: warning: launch: %s\n", plan.warning);
    if (!only_show)
        return write_files(&plan, e) && become(&plan, words, e);
    bool ok = true;
    if (o->install)
        ok = launch_install(&plan, o->print, a, &out, e);
    else
        put_script(&plan, words, a, &out);
    struct err ignored; /* what was done before a failure is said, too */
    return term_put(&out, ok ? e : &ignored) && ok;
}

int cmd_launch(int argc, char **argv)
{
    struct launch_opts o = {.start = {.port = 8383}};
    struct opt_group groups[] = {OPT_GROUP("Options", launch_table, &o)};
    const struct opt_command c = {
        .name = "launch",
        .args = "AGENT [-- ARGUMENTS]",
        .summary = "starts a coding agent on a server of tawny",
        .examples = examples,
        .groups = groups,
        .n_groups = sizeof groups / sizeof *groups,
        .min_words = 1,
        .max_words = 1000,
        .notes =
            "Agents: claude, opencode, codex, qwen, pi, crush. The agent is told the server's "
            "model, its\n"
            "context and timers for long prompts by its environment, arguments and files in\n"
            "~/.cache/tawny; its own settings are left alone without --install. A server that is\n"
            "started here goes on when the agent ends; the next launch finds it.\n"
            "More on each: docs/agents.md.",
    };
    struct opt_words words;
    struct arena a = {0};
    struct err e = {0};
    int status;
    if (!opts_parse(&c, argc, argv, &words, &status))
        return status;
    status = launch(&o, &words, &a, &e) ? EXIT_OK : term_fail(&e);
    arena_free(&a);
    return status;
}
