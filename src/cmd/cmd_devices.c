#include "cmd/cmd.h"

#include <stdlib.h>

#include "cmd/opts.h"
#include "cmd/term.h"
#include "compute/devices.h"

struct devices_opts {
    bool json;
};

#define AT(field) offsetof(struct devices_opts, field)
static const struct opt devices_table[] = {
    {"--json", NULL, "as JSON", NULL, OPT_FLAG, AT(json), 0, 0},
};
#undef AT

static const struct opt_example examples[] = {
    {"tawny devices", "what can a model run on here?"},
    {"tawny devices --json", "the same for a program"},
    {"tawny run model.gguf --device 1", "by index or by a part of the name"},
    {NULL, NULL},
};

static const char *kind_of(const struct device *d)
{
    if (d->is_software)
        return "software, only when named";
    return d->is_unified ? "shares the CPU's memory" : "memory of its own";
}

static void put_text(const struct device *list, size_t n, struct buf *out)
{
    struct table t = {.align = "llrrll"};
    static const char *const head[] = {"#", "device", "memory", "free", "kind", "driver"};
    for (size_t i = 0; i < sizeof head / sizeof *head; i++)
        table_cell(&t, "%s", head[i]);
    for (const struct device *d = list; d < list + n; d++) {
        table_cell(&t, "%zu%s", (size_t)(d - list), d->rank == 1 ? " *" : "");
        table_cell(&t, "%s", d->name);
        table_cell(&t, "%s", term_bytes((double)d->memory_bytes).text);
        table_cell(&t, "%s", term_bytes((double)d->free_bytes).text);
        table_cell(&t, "%s", kind_of(d));
        table_cell(&t, "%s", d->driver);
    }
    table_text(&t, out);
    table_free(&t);
    for (const struct device *d = list; d < list + n; d++)
        if (*d->why_not)
            buf_fmt(out, "%zu cannot be used: %s\n", (size_t)(d - list), d->why_not);
    if (n == 0)
        buf_str(out,
                STR("no device: is a driver installed, and is the user in the groups video and "
                    "render?\n"));
}

static void put_json(const struct device *list, size_t n, struct buf *out)
{
    struct jout j = {.out = out};
    jout_begin(&j, NULL, '[');
    for (const struct device *d = list; d < list + n; d++) {
        jout_begin(&j, NULL, '{');
        jout_u64(&j, "index", (uint64_t)(d - list));
        jout_str(&j, "name", str_of(d->name));
        jout_str(&j, "driver", str_of(d->driver));
        jout_u64(&j, "memory_bytes", d->memory_bytes);
        jout_u64(&j, "free_bytes", d->free_bytes);
        jout_bool(&j, "shares_memory", d->is_unified);
        jout_bool(&j, "software", d->is_software);
        jout_bool(&j, "integer_dot", d->has_dot);
        jout_bool(&j, "matrix", d->has_matrix);
        jout_bool(&j, "default", d->rank == 1);
        jout_bool(&j, "usable", !*d->why_not);
        jout_str(&j, "why_not", str_of(d->why_not));
        jout_end(&j, '}');
    }
    jout_end(&j, ']');
}

int cmd_devices(int argc, char **argv)
{
    struct devices_opts o = {0};
    struct opt_group groups[] = {OPT_GROUP("Options", devices_table, &o)};
    const struct opt_command c = {
        .name = "devices",
        .args = "",
        .summary = "the GPUs that models can run on",
        .examples = examples,
        .groups = groups,
        .n_groups = sizeof groups / sizeof *groups,
        .notes = "The one with a * is taken when none is named.",
    };
    struct opt_words words;
    struct err e;
    struct buf out = {0};
    size_t n;
    int status;
    if (!opts_parse(&c, argc, argv, &words, &status))
        return status;
    struct device *list = devices_list(NULL, &n, &e);
    if (!list)
        return term_fail(&e);
    (o.json ? put_json : put_text)(list, n, &out);
    free(list);
    return term_put(&out, &e) ? EXIT_OK : term_fail(&e);
}
