/* opts: command lines. One table per command drives parsing and both help texts. Every name is
 * matched as a whole word, so single-dash names of several letters (-ctk) are ordinary; values come
 * as the next word or after '='. Words that start with no dash, and all words after "--", are
 * positional. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "gguf/requant.h"

enum opt_type {
    OPT_FLAG,       /* bool, set to true; takes no value */
    OPT_TEXT,       /* const char *: the word itself, never copied */
    OPT_U32,        /* uint32_t */
    OPT_I32,        /* int32_t */
    OPT_U64,        /* uint64_t, below 2^63 */
    OPT_F32,        /* float */
    OPT_CACHE_TYPE, /* enum block_type: f16, q8_0 or q4_0 */
    OPT_REQUANT,    /* struct requant */
    OPT_IGNORED,    /* nothing is stored: accepted for other programs' command lines, with a notice
                       that ends in `help` */
};

struct opt {
    const char *names;   /* "-c --ctx-size": apart by one space; the first two stand in -h */
    const char *metavar; /* "TOKENS": the unit. "[on|off]": one of these words may follow. NULL:
                            takes no value */
    const char *help;    /* one line, without the default */
    const char *preset;  /* the default as help shows it, or NULL */
    enum opt_type type;
    size_t at;       /* offsetof the value in the group's struct */
    double min, max; /* of numbers, inclusive; both 0: what the type holds */
};

struct opt_group {
    const char *title;
    const struct opt *opts;
    size_t n;
    void *into; /* the struct that .at counts from; holds the defaults before parsing */
};
/* {"Title", TABLE, &struct} */
#define OPT_GROUP(title_, table, into_)                                                            \
    {                                                                                              \
        .title = (title_), .opts = (table), .n = sizeof(table) / sizeof(*(table)), .into = (into_) \
    }

struct opt_example {
    const char *line; /* NULL ends the list */
    const char *what;
};

struct opt_command {
    const char *name;                   /* "run" */
    const char *args;                   /* "[MODEL] [PROMPT]"; "": none */
    const char *summary;                /* one line, lower case */
    const struct opt_example *examples; /* three, then one with a NULL line */
    const struct opt_group *groups;     /* -h shows the first alone, --help all */
    size_t n_groups;
    size_t min_words, max_words; /* positional words */
    const char *notes;           /* after the options of --help, or NULL */
};

/* Positional words, in order: views into argv. */
struct opt_words {
    char **at; /* into argv, which is reordered */
    size_t n;
};

/* Parses argv[1..]. True: go on. False: the command ends with *status: 0 after -h, --help (printed
 * on stdout), 2 after a mistake (printed on stderr, with the nearest option). */
bool opts_parse(const struct opt_command *c, int argc, char **argv, struct opt_words *words,
                int *status);
/* The same without printing. ERR_NONE in e and false: help was asked for, *full says which one.
 * notices: one line per ignored option. */
bool opts_read(const struct opt_command *c, int argc, char **argv, struct opt_words *words,
               const struct log *notices, bool *full, struct err *e);
/* Appends the help text. width: columns. */
void opts_help(const struct opt_command *c, bool full, struct buf *out);

/* The word of the NULL-ended list that is nearest to `word`; NULL when none is near enough to be a
 * slip. */
const char *opts_nearest(const char *word, const char *const *list);
