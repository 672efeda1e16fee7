#include "cmd/cmd.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cmd/cmd_model.h"
#include "cmd/interrupt.h"
#include "cmd/line.h"
#include "cmd/loading.h"
#include "cmd/opts.h"
#include "cmd/talk.h"
#include "cmd/term.h"

enum { MAX_INPUT = 64 << 20 };
#define SEED_RANDOM UINT64_MAX

struct run_opts {
    const char *system;
    uint32_t max_tokens;
    uint64_t seed; /* SEED_RANDOM: not given */
    bool raw, verbose;
};

#define AT(field) offsetof(struct run_opts, field)
static const struct opt run_table[] = {
    {"--system", "TEXT", "instructions before the conversation", NULL, OPT_TEXT, AT(system), 0, 0},
    {"-n --predict", "TOKENS", "longest reply", "to the end of the context", OPT_U32,
     AT(max_tokens), 1, 1 << 24},
    {"--seed", "N", "same seed, same reply", "random", OPT_U64, AT(seed), 0, 0},
    {"--raw", NULL, "continue the prompt as it is, without the chat layout", NULL, OPT_FLAG,
     AT(raw), 0, 0},
    {"-v --verbose", NULL, "say what happens, and how fast", NULL, OPT_FLAG, AT(verbose), 0, 0},
};
#undef AT

static const struct opt_example examples[] = {
    {"tawny run", "talk to the demo model"},
    {"tawny run model.gguf \"Why is the sky blue?\"", "one answer"},
    {"git diff | tawny run model.gguf \"Review this:\"", "about what comes on standard input"},
    {NULL, NULL},
};

static const char notes[] =
    "MODEL is a GGUF file or 'demo', the model that ships with tawny and the default.\n"
    "PROMPT and standard input, where it is no terminal, make one prompt; with neither, lines are\n"
    "read from the terminal: Ctrl-C stops a reply, Ctrl-D ends, /help lists the "
    "commands.\n" REQUANT_NOTES;

/* The words of the command line: [MODEL] [PROMPT], where a single word may be either. */
static bool sort_words(const struct opt_words *w, const char **model, const char **prompt,
                       struct err *e)
{
    *model = w->n ? w->at[0] : NULL;
    *prompt = w->n > 1 ? w->at[1] : NULL;
    if (w->n != 1 || model_is_word(w->at[0]))
        return true;
    if (!strpbrk(w->at[0], " \t\n?"))
        return err_set(e, ERR_USAGE,
                       "run: there is no model file '%s'; to ask the demo model: tawny run demo "
                       "'%s'",
                       w->at[0], w->at[0]);
    *prompt = w->at[0];
    *model = NULL;
    return true;
}

/* Appends what comes on stdin to the prompt. */
static bool read_stdin(struct buf *prompt, struct err *e)
{
    struct buf in = {0};
    bool ok = term_read(stdin, "standard input", MAX_INPUT, &in, e);
    str text = str_trim(buf_view(&in));
    if (ok && text.n) {
        buf_str(prompt, prompt->n ? STR("\n\n") : STR(""));
        buf_str(prompt, text);
    }
    buf_free(&in);
    return ok;
}

static int one_shot(struct talk *t, str prompt)
{
    struct err e = {0};
    int signal = 0;
    if (!talk_say(t, prompt, &signal, &e))
        return term_fail(&e);
    return signal ? EXIT_INTERRUPTED : EXIT_OK;
}

/* A line that begins with a slash. False: quit. */
static bool run_slash(struct talk *t, str line)
{
    if (str_eq(line, STR("/quit")) || str_eq(line, STR("/exit")))
        return false;
    if (str_eq(line, STR("/clear"))) {
        talk_clear(t);
        fputs("The conversation is forgotten.\n", stderr);
        return true;
    }
    if (!str_eq(line, STR("/help")))
        fprintf(stderr, "There is no command '%.*s'.\n", STRF(line));
    fputs("/clear   forget the conversation\n"
          "/quit    end (or Ctrl-D)\n"
          "/help    this list\n"
          "Ctrl-C   stop a reply; twice at an empty prompt: end\n",
          stderr);
    return true;
}

static int interactive(struct talk *t)
{
    struct buf text = {0};
    struct line *line = line_open(t->interrupt);
    int warned = 0, status = EXIT_OK;
    fputs("Type a message, or /help.\n", stderr);
    for (bool go_on = true; go_on;) {
        struct err e = {0};
        int signal = 0;
        switch (line_read(line, &text)) {
        case LINE_END: go_on = false; break;
        case LINE_INTERRUPTED: warned = 0; break;
        case LINE_EMPTY_INTERRUPTED:
            go_on = !warned++;
            if (go_on)
                fputs("Ctrl-C again, or Ctrl-D, to end.\n", stderr);
            break;
        case LINE_OK:
            warned = 0;
            if (text.n && text.p[0] == '/')
                go_on = run_slash(t, buf_view(&text));
            else if (text.n && !talk_say(t, buf_view(&text), &signal, &e))
                term_fail(&e);
            go_on = go_on && signal != SIGTERM;
            break;
        }
    }
    line_close(line);
    buf_free(&text);
    return status;
}

static bool open_talk(struct talk *t, struct loading *loading, const char *model,
                      const struct run_opts *o, const struct model_opts *m,
                      const struct sampling_opts *s, struct err *e)
{
    char *path = model_path(model, e);
    if (!path)
        return false;
    struct engine_params p = model_params(m, path);
    p.n_sessions = 1;
    p.cache_bytes = -1; /* there is one conversation */
    bool ok = loading_open(loading, &p, t->interrupt, NULL, o->verbose, e);
    free(path);
    if (!ok)
        return false;
    t->engine = loading->engine;
    if (!engine_tok(t->engine))
        return err_set(e, ERR_UNSUPPORTED, "%s: the model has no tokenizer: it cannot be talked to",
                       gguf_path(engine_file(t->engine)));
    const struct log log = term_log(o->verbose);
    t->chat = o->raw ? NULL
                     : chat_template_load(engine_file(t->engine), STR(""), engine_tok(t->engine),
                                          &log, e);
    if (!o->raw && !t->chat)
        return false;
    engine_sampling_defaults(t->engine, &t->sampling);
    sampling_apply(s, &t->sampling);
    t->sampling.seed = o->seed != SEED_RANDOM ? o->seed : clock_ns() ^ (uint64_t)clock_unix() << 32;
    return true;
}

int cmd_run(int argc, char **argv)
{
    struct run_opts o = {.seed = SEED_RANDOM};
    struct model_opts m;
    struct sampling_opts s;
    struct opt_group groups[] = {OPT_GROUP("Options", run_table, &o), sampling_group(&s),
                                 model_group(&m)};
    const struct opt_command c = {
        .name = "run",
        .args = "[MODEL] [PROMPT]",
        .summary = "talks to a model",
        .examples = examples,
        .groups = groups,
        .n_groups = sizeof groups / sizeof *groups,
        .max_words = 2,
        .notes = notes,
    };
    struct opt_words words;
    int status;
    if (!opts_parse(&c, argc, argv, &words, &status))
        return status;

    struct err e = {0};
    struct interrupt interrupt = {.fd = -1};
    struct loading loading = {0};
    const char *model, *prompt;
    struct buf text = {0};
    bool asks = !isatty(STDIN_FILENO);
    struct talk t = {.interrupt = &interrupt,
                     .max_tokens = o.max_tokens,
                     .system = o.system,
                     .raw = o.raw,
                     .stats = o.verbose || term_is_tty(stderr)};
    setlocale(LC_CTYPE, "");
    bool ok = sort_words(&words, &model, &prompt, &e);
    if (ok && prompt)
        buf_str(&text, str_of(prompt));
    ok = ok && (!asks || read_stdin(&text, &e));
    if (ok && asks && !text.n)
        ok = err_set(&e, ERR_USAGE, "run: the prompt is empty");
    ok = ok && interrupt_open(&interrupt, &e) && open_talk(&t, &loading, model, &o, &m, &s, &e);
    if (!ok)
        status = term_fail(&e);
    else
        status = text.n ? one_shot(&t, buf_view(&text)) : interactive(&t);
    talk_clear(&t);
    chat_template_close(t.chat);
    loading_close(&loading);
    interrupt_close(&interrupt);
    buf_free(&text);
    return status;
}
