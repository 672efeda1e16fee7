#include "cmd/cmd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/launch.h"
#include "cmd/opts.h"
#include "cmd/term.h"

struct launch_opts {
    const char *key;
    uint32_t port;
    bool print;
};

#define AT(field) offsetof(struct launch_opts, field)
static const struct opt launch_table[] = {
    {"--port", "N", "the server's port on 127.0.0.1", "8383", OPT_U32, AT(port), 1, 65535},
    {"--api-key", "KEY", "the server's key", "none", OPT_TEXT, AT(key), 0, 0},
    {"--print", NULL, "show what would be run, for a shell, and run nothing", NULL, OPT_FLAG,
     AT(print), 0, 0},
};
#undef AT

static const struct opt_example examples[] = {
    {"tawny launch claude", "Claude Code on the server of 'tawny serve'"},
    {"tawny launch codex -- exec 'fix the tests'", "with arguments for the agent"},
    {"tawny launch opencode --print", "what it is told, as a line for a shell"},
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

static void put_line(const struct launch_plan *p, const struct opt_words *words, struct buf *out)
{
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
    if (why == ENOENT)
        return err_set(e, ERR_USAGE, "launch: '%s' is not installed: %s", p->program, p->get);
    errno = why;
    return err_sys(e, "launch: cannot run '%s'", p->program);
}

int cmd_launch(int argc, char **argv)
{
    struct launch_opts o = {.port = 8383};
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
            "Agents: claude, opencode, codex, qwen. The agent is told the server's model, its "
            "context\n"
            "and timers for long prompts by its environment and arguments; no file is written.\n"
            "More on each: docs/agents.md.",
    };
    struct opt_words words;
    struct launch_server server = {.port = 1, .n_ctx = 1};
    struct launch_plan plan;
    struct arena a = {0};
    struct buf out = {0};
    struct err e;
    int status;
    if (!opts_parse(&c, argc, argv, &words, &status))
        return status;
    bool ok = launch_plan(words.at[0], &server, &a, &plan, &e) && /* is there such an agent? */
              launch_probe((uint16_t)o.port, o.key, &a, &server, &e) &&
              launch_plan(words.at[0], &server, &a, &plan, &e);
    if (ok && o.print) {
        put_line(&plan, &words, &out);
        ok = term_put(&out, &e);
    } else if (ok) {
        ok = become(&plan, &words, &e);
    }
    arena_free(&a);
    return ok ? EXIT_OK : term_fail(&e);
}
