#include "cmd/opts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "base/str.h"
#include "cmd/term.h"

enum { HELP_COLUMN = 30 };

/* The next name of a space-separated list; false at the end. */
static bool next_name(str *rest, str *name)
{
    *name = str_cut(*rest, ' ', rest);
    return name->n > 0;
}

static bool has_name(const struct opt *o, str word)
{
    str rest = str_of(o->names), name;
    while (next_name(&rest, &name))
        if (str_eq(name, word))
            return true;
    return false;
}

static const struct opt *find(const struct opt_command *c, str word, void **into)
{
    for (size_t g = 0; g < c->n_groups; g++)
        for (size_t i = 0; i < c->groups[g].n; i++)
            if (has_name(&c->groups[g].opts[i], word)) {
                *into = c->groups[g].into;
                return &c->groups[g].opts[i];
            }
    return NULL;
}

/* Number of insertions, deletions, replacements and swaps of neighbours that turn a into b (optimal
 * string alignment). Words longer than the table are as far as can be. */
static size_t distance(str a, str b)
{
    enum { MAX = 40 };
    size_t d[MAX + 1][MAX + 1];
    if (a.n > MAX || b.n > MAX)
        return MAX;
    for (size_t i = 0; i <= a.n; i++) {
        for (size_t j = 0; j <= b.n; j++) {
            if (!i || !j) {
                d[i][j] = i + j;
                continue;
            }
            bool same = a.p[i - 1] == b.p[j - 1];
            d[i][j] = num_min(num_min(d[i - 1][j], d[i][j - 1]) + 1, d[i - 1][j - 1] + !same);
            if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1])
                d[i][j] = num_min(d[i][j], d[i - 2][j - 2] + 1);
        }
    }
    return d[a.n][b.n];
}

/* Keeps `name` in *best if it is nearer to word than *limit edits. */
static void nearer(str word, str name, str *best, size_t *limit)
{
    size_t n = distance(word, name);
    if (n < *limit) {
        *limit = n;
        *best = name;
    }
}

/* A third of the letters may be wrong, and one in any case. */
static size_t slip_limit(str word)
{
    return num_max(2, word.n / 3 + 1);
}

const char *opts_nearest(const char *word, const char *const *list)
{
    str best = {NULL, 0};
    size_t limit = slip_limit(str_of(word));
    for (; *list; list++)
        nearer(str_of(word), str_of(*list), &best, &limit);
    return best.p;
}

static bool unknown_option(const struct opt_command *c, str word, struct err *e)
{
    str best = {NULL, 0}, name;
    size_t limit = slip_limit(word);
    for (size_t g = 0; g < c->n_groups; g++)
        for (size_t i = 0; i < c->groups[g].n; i++)
            for (str rest = str_of(c->groups[g].opts[i].names); next_name(&rest, &name);)
                nearer(word, name, &best, &limit);
    if (best.n)
        return err_set(e, ERR_USAGE, "%s: unknown option '%.*s': did you mean '%.*s'?", c->name,
                       STRF(word), STRF(best));
    return err_set(e, ERR_USAGE, "%s: unknown option '%.*s': 'tawny %s --help' lists all", c->name,
                   STRF(word), c->name);
}

/* Is word one of the choices of a metavar "[on|off|auto]"? */
static bool is_choice(const char *metavar, str word)
{
    str rest = str_sub(str_of(metavar), 1, strlen(metavar) - 1);
    while (rest.n)
        if (str_eq(str_cut(rest, '|', &rest), word))
            return true;
    return false;
}

static bool in_range(const struct opt_command *c, const struct opt *o, str name, str value,
                     double v, double min, double max, struct err *e)
{
    if (o->min < o->max) {
        min = o->min;
        max = o->max;
    }
    if (v >= min && v <= max)
        return true;
    return err_set(e, ERR_USAGE, "%s: %.*s: %.*s is outside %.10g .. %.10g", c->name, STRF(name),
                   STRF(value), min, max);
}

static bool store_number(const struct opt_command *c, const struct opt *o, str name, str value,
                         char *to, struct err *e)
{
    int64_t i = 0;
    double f = 0;
    bool whole = o->type != OPT_F32;
    if (whole ? !str_to_i64(value, &i) : !str_to_f64(value, &f) || !isfinite(f))
        return err_set(e, ERR_USAGE, "%s: %.*s: '%.*s' is not a %snumber", c->name, STRF(name),
                       STRF(value), whole ? "whole " : "");
    if (o->type == OPT_U32) {
        if (!in_range(c, o, name, value, (double)i, 0, UINT32_MAX, e))
            return false;
        *(uint32_t *)(void *)to = (uint32_t)i;
    } else if (o->type == OPT_I32) {
        if (!in_range(c, o, name, value, (double)i, INT32_MIN, INT32_MAX, e))
            return false;
        *(int32_t *)(void *)to = (int32_t)i;
    } else if (o->type == OPT_U64) {
        if (!in_range(c, o, name, value, (double)i, 0, (double)INT64_MAX, e))
            return false;
        *(uint64_t *)(void *)to = (uint64_t)i;
    } else {
        if (!in_range(c, o, name, value, f, -1e30, 1e30, e))
            return false;
        *(float *)(void *)to = (float)f;
    }
    return true;
}

static bool store_cache_type(const struct opt_command *c, str name, str value, char *to,
                             struct err *e)
{
    static const struct {
        str name;
        enum block_type type;
    } types[] = {{STR("f16"), BLOCK_F16}, {STR("q8_0"), BLOCK_Q8_0}, {STR("q4_0"), BLOCK_Q4_0}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (str_eq(value, types[i].name)) {
            *(enum block_type *)(void *)to = types[i].type;
            return true;
        }
    return err_set(e, ERR_USAGE, "%s: %.*s: '%.*s' is not one of f16, q8_0, q4_0", c->name,
                   STRF(name), STRF(value));
}

static bool store_requant(const struct opt_command *c, str name, str value, char *to, struct err *e)
{
    struct err why;
    return requant_parse(value, (struct requant *)(void *)to, &why) ||
           err_set(e, ERR_USAGE, "%s: %.*s: %s", c->name, STRF(name), why.msg);
}

static bool store(const struct opt_command *c, const struct opt *o, void *into, str name,
                  const char *value, const struct log *notices, struct err *e)
{
    char *to = into ? (char *)into + o->at : NULL;
    switch (o->type) {
    case OPT_FLAG: *(bool *)(void *)to = true; return true;
    case OPT_TEXT: *(const char **)(void *)to = value; return true;
    case OPT_CACHE_TYPE: return store_cache_type(c, name, str_of(value), to, e);
    case OPT_REQUANT: return store_requant(c, name, str_of(value), to, e);
    case OPT_IGNORED: log_warn(notices, "%.*s is ignored: %s", STRF(name), o->help); return true;
    case OPT_U32:
    case OPT_I32:
    case OPT_U64:
    case OPT_F32: return store_number(c, o, name, str_of(value), to, e);
    }
    return true;
}

/* Reads the option at argv[*i]; *i ends at its last word. */
static bool read_option(const struct opt_command *c, int argc, char **argv, int *i,
                        const struct log *notices, struct err *e)
{
    str value = {NULL, 0}, word = str_of(argv[*i]);
    str name = str_cut(word, '=', &value);
    bool joined = name.n < word.n;
    void *into = NULL;
    const struct opt *o = find(c, name, &into);
    if (!o)
        return unknown_option(c, name, e);
    bool optional = o->metavar && o->metavar[0] == '[';
    if (!o->metavar && joined)
        return err_set(e, ERR_USAGE, "%s: %.*s takes no value", c->name, STRF(name));
    if (o->metavar && !joined) {
        bool there = *i + 1 < argc;
        if (there && (!optional || is_choice(o->metavar, str_of(argv[*i + 1]))))
            value = str_of(argv[++*i]);
        else if (!optional)
            return err_set(e, ERR_USAGE, "%s: %.*s needs a value: %s", c->name, STRF(name),
                           o->metavar);
    }
    return store(c, o, into, name, value.p, notices, e);
}

bool opts_read(const struct opt_command *c, int argc, char **argv, struct opt_words *words,
               const struct log *notices, bool *full, struct err *e)
{
    bool only_words = false;
    *words = (struct opt_words){.at = argv + 1};
    *e = (struct err){0};
    for (int i = 1; i < argc; i++) {
        if (only_words || argv[i][0] != '-' || !argv[i][1]) {
            words->at[words->n++] = argv[i];
        } else if (!strcmp(argv[i], "--")) {
            only_words = true;
        } else if (!strcmp(argv[i], "-h") || !strcmp(argv[i], "--help")) {
            *full = argv[i][1] == '-';
            return false;
        } else if (!read_option(c, argc, argv, &i, notices, e)) {
            return false;
        }
    }
    if (words->n < c->min_words)
        return err_set(e, ERR_USAGE, "%s: missing argument: tawny %s [options] %s", c->name,
                       c->name, c->args);
    if (words->n > c->max_words)
        return err_set(e, ERR_USAGE, "%s: unexpected argument '%s': tawny %s [options] %s", c->name,
                       words->at[c->max_words], c->name, c->args);
    return true;
}

/* "  -c, --ctx-size TOKENS": all names, or the first two. */
static void help_names(const struct opt *o, bool full, struct buf *out)
{
    str rest = str_of(o->names), name;
    buf_str(out, STR("  "));
    for (int i = 0; next_name(&rest, &name) && (full || i < 2); i++)
        buf_fmt(out, "%s%.*s", i ? ", " : "", STRF(name));
    if (o->metavar)
        buf_fmt(out, " %s", o->metavar);
}

static void help_group(const struct opt_group *g, bool full, struct buf *out)
{
    buf_fmt(out, "\n%s:\n", g->title);
    for (size_t i = 0; i < g->n; i++) {
        const struct opt *o = &g->opts[i];
        size_t from = out->n;
        help_names(o, full, out);
        size_t width = out->n - from;
        if (width + 2 > HELP_COLUMN) {
            buf_byte(out, '\n');
            width = 0;
        }
        buf_fmt(out, "%*s%s", HELP_COLUMN - (int)width, "", o->help);
        if (o->preset)
            buf_fmt(out, " [%s]", o->preset);
        buf_byte(out, '\n');
    }
}

void opts_help(const struct opt_command *c, bool full, struct buf *out)
{
    size_t width = 0;
    for (const struct opt_example *x = c->examples; x->line; x++)
        width = num_max(width, strlen(x->line));
    buf_fmt(out, "tawny %s: %s\n\nExamples:\n", c->name, c->summary);
    for (const struct opt_example *x = c->examples; x->line; x++)
        buf_fmt(out, "  %-*s  %s\n", (int)width, x->line, x->what);
    buf_fmt(out, "\nUsage: tawny %s [options]%s%s\n", c->name, *c->args ? " " : "", c->args);
    for (size_t g = 0; g < (full ? c->n_groups : num_min(1, c->n_groups)); g++)
        help_group(&c->groups[g], full, out);
    if (full && c->notes)
        buf_fmt(out, "\n%s\n", c->notes);
    if (!full)
        buf_fmt(out, "\n'tawny %s --help' shows all options.\n", c->name);
}

bool opts_parse(const struct opt_command *c, int argc, char **argv, struct opt_words *words,
                int *status)
{
    struct err e;
    bool full = false;
    const struct log notices = term_log(false);
    if (opts_read(c, argc, argv, words, &notices, &full, &e))
        return true;
    if (e.code == ERR_NONE) {
        struct buf out = {0};
        opts_help(c, full, &out);
        *status = term_put(&out, &e) ? EXIT_OK : term_fail(&e);
    } else {
        *status = term_fail(&e);
    }
    return false;
}
