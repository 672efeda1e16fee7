/* `tawny debug KIND MODEL`: what happens inside, for people who look for a fault. */
#include "cmd/cmd.h"

#include <string.h>

#include "cmd/debug.h"
#include "cmd/opts.h"
#include "cmd/term.h"

static const struct kind {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} kinds[] = {
    {"logits", debug_logits, "the raw logits of a model for given tokens"},
    {"render", debug_render, "the prompt that a conversation becomes"},
    {"tokens", debug_tokens, "how a model cuts a text into tokens"},
    {"parse", debug_parse, "the events that a model's reply becomes"},
    {NULL, NULL, NULL},
};

static int put_list(void)
{
    struct err e;
    struct buf out = {0};
    buf_str(&out, STR("Usage: tawny debug KIND MODEL [options]\n\nKinds:\n"));
    for (size_t i = 0; kinds[i].name; i++)
        buf_fmt(&out, "  %-10s %s\n", kinds[i].name, kinds[i].summary);
    buf_str(&out, STR("\n'tawny debug KIND --help' shows the options.\n"));
    bool ok = term_put(&out, &e);
    return ok ? EXIT_OK : term_fail(&e);
}

static int refuse(const char *name)
{
    struct err e;
    struct buf list = {0};
    for (size_t i = 0; kinds[i].name; i++)
        buf_fmt(&list, "%s%s", i ? ", " : "", kinds[i].name);
    if (name)
        err_set(&e, ERR_USAGE, "debug: '%s' is not one of: %s", name, list.p);
    else
        err_set(&e, ERR_USAGE, "debug: one of these is missing: %s", list.p);
    buf_free(&list);
    return term_fail(&e);
}

int cmd_debug(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : NULL;
    if (name && (!strcmp(name, "-h") || !strcmp(name, "--help")))
        return put_list();
    for (size_t i = 0; name && kinds[i].name; i++) {
        if (!strcmp(kinds[i].name, name))
            return kinds[i].run(argc - 1, argv + 1);
    }
    return refuse(name);
}
