#include "cmd/cmd.h"

#include "cmd/make_file.h"
#include "cmd/opts.h"
#include "cmd/term.h"
#include "gguf/synth.h"

struct synth_opts {
    uint32_t n_layers;
    uint64_t seed;
    const char *type, *tokenizer;
    bool empty, no_imatrix;
};

#define AT(field) offsetof(struct synth_opts, field)
static const struct opt synth_table[] = {
    {"--layers", "N", "make only N layers", "as many as the model has", OPT_U32, AT(n_layers), 1,
     512},
    {"--quant", "TYPE", "type of most matrices", "the usual one of the model", OPT_TEXT, AT(type),
     0, 0},
    {"--no-imatrix", NULL, "the mix of types without an importance matrix", NULL, OPT_FLAG,
     AT(no_imatrix), 0, 0},
    {"--empty", NULL, "matrices are zeros that take no room on disk: for tawny show", NULL,
     OPT_FLAG, AT(empty), 0, 0},
    {"--tokenizer", "FILE", "copy the tokenizer of this model file", "none", OPT_TEXT,
     AT(tokenizer), 0, 0},
    {"--seed", "N", "the same seed gives the same file", "1", OPT_U64, AT(seed), 0, 0},
};
#undef AT

static const struct opt_example examples[] = {
    {"tawny synth qwen3-coder-30b coder.gguf", "17 GB with the shapes of the real model"},
    {"tawny synth qwen3-coder-30b short.gguf --layers 4", "2 GB: enough to measure speed"},
    {"tawny synth gpt-oss-120b oss.gguf --empty", "for tawny show: what would it need?"},
    {NULL, NULL},
};

static const char notes[] =
    "Names: qwen3-coder-30b, qwen3-30b-2507, gpt-oss-20b, gpt-oss-120b, qwen3-next-80b,\n"
    "qwen3.6-35b-a3b, qwen3.6-35b-a3b-mtp, glm-4.7-flash, qwen3-0.6b, qwen3-8b, qwen2.5-7b,\n"
    "llama-3.2-1b; for trying things out tiny-qwen3moe, tiny-gpt-oss, tiny-qwen3next,\n"
    "tiny-qwen35moe, tiny-glm, tiny-qwen3, tiny-qwen2, tiny-llama.\n"
    "Weights are random, so the model says nothing sensible; speed and memory are those of the\n"
    "real one. Fewer layers keep their pattern (windows, linear attention, dense first layers).";

struct synthesis {
    const char *out;
    struct make_opts make;
    struct synth_opts opts;
    struct gguf *tokenizer;
    struct synth *synth;
};

static bool plan(struct synthesis *s, const char *name, struct err *e)
{
    const struct log log = term_log(false);
    struct synth_options o = {
        .n_layers = s->opts.n_layers, .seed = s->opts.seed, .no_imatrix = s->opts.no_imatrix};
    o.has_type = s->opts.type != NULL;
    if (o.has_type && !make_type(s->opts.type, &o.type, e))
        return false;
    if (s->opts.tokenizer && !(s->tokenizer = gguf_open(s->opts.tokenizer, &log, e)))
        return false;
    o.tokenizer = s->tokenizer;
    s->synth = synth_open(name, &o, e);
    return s->synth != NULL;
}

static bool write_file(void *ctx, const struct progress *progress, const atomic_bool *stop,
                       struct err *e)
{
    struct synthesis *s = ctx;
    if (s->opts.empty)
        return synth_write_empty(s->synth, s->out, e);
    return synth_write(s->synth, s->out, (int)s->make.n_threads, progress, stop, e);
}

int cmd_synth(int argc, char **argv)
{
    struct synthesis s = {.opts = {.seed = 1}};
    struct opt_words words;
    struct err e;
    int status;
    const struct opt_group groups[] = {OPT_GROUP("Model", synth_table, &s.opts),
                                       OPT_GROUP("Writing", make_table, &s.make)};
    const struct opt_command command = {
        .name = "synth",
        .args = "NAME OUT",
        .summary = "writes a model file with known shapes and random weights",
        .examples = examples,
        .groups = groups,
        .n_groups = sizeof groups / sizeof *groups,
        .min_words = 2,
        .max_words = 2,
        .notes = notes,
    };
    if (!opts_parse(&command, argc, argv, &words, &status))
        return status;
    s.out = words.at[1];
    bool ok = make_allowed(&s.make, s.out, &e) && plan(&s, words.at[0], &e) &&
              make_run("writing", s.out, write_file, &s, &e);
    synth_close(s.synth);
    gguf_close(s.tokenizer);
    return ok ? EXIT_OK : term_fail(&e);
}
