#include "cmd/cmd.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "cmd/opts.h"
#include "cmd/term.h"

struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
};

/* In the order of the help text; NULL ends it. */
static const struct command commands[] = {
    {"run", cmd_run, "talks to a model"},
    {"serve", cmd_serve, "serves a model to OpenAI clients"},
    {"launch", cmd_launch, "starts a coding agent on a server of tawny"},
    {"replay", cmd_replay, "sends recorded requests again and measures"},
    {"show", cmd_show, "what is in a model file and what it needs"},
    {"devices", cmd_devices, "the GPUs that models can run on"},
    {"bench", cmd_bench, "measures prompt and generation speed"},
    {"quantize", cmd_quantize, "writes a model file with its matrices in another type"},
    {"synth", cmd_synth, "writes a model file with known shapes and random weights"},
    {"debug", cmd_debug, "what happens inside: logits, prompts, replies"},
    {NULL, NULL, NULL},
};

static void list_commands(struct buf *out)
{
    buf_str(out, STR("tawny runs mixture-of-experts language models on this machine.\n\n"
                     "Usage: tawny COMMAND [options]\n\nCommands:\n"));
    for (size_t i = 0; commands[i].name; i++)
        buf_fmt(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
    buf_str(out, STR("  help       this list, or the options of a command\n\n"
                     "'tawny COMMAND -h' shows examples, '--help' all options.\n"));
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; commands[i].name; i++)
        if (!strcmp(commands[i].name, name))
            return &commands[i];
    return NULL;
}

static int unknown_command(const char *name)
{
    struct err e;
    const char *names[sizeof commands / sizeof *commands + 1] = {"help"};
    for (size_t i = 0; commands[i].name; i++)
        names[i + 1] = commands[i].name;
    const char *near = opts_nearest(name, names);
    if (near)
        err_set(&e, ERR_USAGE, "unknown command '%s': did you mean '%s'?", name, near);
    else
        err_set(&e, ERR_USAGE, "unknown command '%s': 'tawny help' lists them", name);
    return term_fail(&e);
}

static int put_list(void)
{
    struct err e;
    struct buf out = {0};
    list_commands(&out);
    return term_put(&out, &e) ? EXIT_OK : term_fail(&e);
}

static int put_version(void)
{
    struct err e;
    struct buf out = {0};
    buf_str(&out, STR("tawny " TAWNY_VERSION "\n"));
    return term_put(&out, &e) ? EXIT_OK : term_fail(&e);
}

int cmd_main(int argc, char **argv)
{
    static char full[] = "--help";
    const char *name = argc > 1 ? argv[1] : "help";
    if (!strcmp(name, "--version") || !strcmp(name, "version"))
        return put_version();
    if (!strcmp(name, "-h") || !strcmp(name, "--help") || (!strcmp(name, "help") && argc < 3))
        return put_list();
    bool help = !strcmp(name, "help");
    const struct command *c = find_command(help ? argv[2] : name);
    if (!c)
        return unknown_command(help ? argv[2] : name);
    if (help)
        return c->run(2, (char *[]){argv[2], full, NULL});
    return c->run(argc - 1, argv + 1);
}
