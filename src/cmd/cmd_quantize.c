#include "cmd/cmd.h"

#include "cmd/make_file.h"
#include "cmd/opts.h"
#include "cmd/term.h"
#include "gguf/requant.h"

static const struct opt_example examples[] = {
    {"tawny quantize model-bf16.gguf model-iq4_nl.gguf IQ4_NL", "the usual type: 4.5 bits"},
    {"tawny quantize model-bf16.gguf model-q8_0.gguf Q8_0 --force", "nearly lossless: 8.5 bits"},
    {"tawny quantize model.gguf lean.gguf head=q6_k,attn=iq4_nl", "only these matrices"},
    {NULL, NULL},
};

static const char notes[] =
    "SPEC is a type for all, ROLE=TYPE,... for some, or both with the type first.\n"
    "Types: F32 F16 BF16 Q8_0 Q6_K Q5_K Q5_1 Q5_0 Q4_K Q4_1 Q4_0 IQ4_NL MXFP4. Roles: embed, head\n"
    "(the output matrix), attn (linear attention included), experts, shared (experts), ffn "
    "(dense),\n"
    "router.\n"
    "With a type for all, as in llama.cpp's files, some matrices that matter more get more bits "
    "(the\n"
    "output: Q6_K), MXFP4 is for experts and the rest becomes Q8_0, and rows that a type cannot\n"
    "divide get the next larger type; norms, routers and biases are F32. Without one, what has no\n"
    "role in SPEC stays as it is. To try a SPEC first: --requant SPEC with run, serve, show.\n"
    "IN may be the first of a set of shards; OUT is one file and appears when it is complete.";

struct quantize {
    const char *in, *out;
    struct make_opts make;
    struct requant requant;
    struct gguf *file;
};

static bool write_file(void *ctx, const struct progress *progress, const atomic_bool *stop,
                       struct err *e)
{
    struct quantize *q = ctx;
    const struct requant_work work = {(int)q->make.n_threads, progress, stop};
    return requant_file(q->file, q->out, &q->requant, &work, e);
}

int cmd_quantize(int argc, char **argv)
{
    struct quantize q = {0};
    struct opt_words words;
    struct err e;
    int status;
    const struct opt_group groups[] = {OPT_GROUP("Options", make_table, &q.make)};
    const struct opt_command command = {
        .name = "quantize",
        .args = "IN OUT SPEC",
        .summary = "writes a model file with its matrices in other types",
        .examples = examples,
        .groups = groups,
        .n_groups = sizeof groups / sizeof *groups,
        .min_words = 3,
        .max_words = 3,
        .notes = notes,
    };
    if (!opts_parse(&command, argc, argv, &words, &status))
        return status;
    const struct log log = term_log(false);
    q.in = words.at[0];
    q.out = words.at[1];
    bool ok = requant_parse(str_of(words.at[2]), &q.requant, &e) &&
              make_allowed(&q.make, q.out, &e) && (q.file = gguf_open(q.in, &log, &e)) &&
              make_run("quantizing", q.out, write_file, &q, &e);
    gguf_close(q.file);
    return ok ? EXIT_OK : term_fail(&e);
}
