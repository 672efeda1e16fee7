/* `tawny debug logits`: the raw logits of a model for given token ids, in the format of the
 * reference data: int32 ids in, float32 [position][vocabulary] out, little-endian. */
#include "cmd/cmd.h"
#include "cmd/debug.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/num.h"
#include "cmd/cmd_model.h"
#include "cmd/opts.h"
#include "cmd/term.h"
#include "compute/exec.h"
#include "model/model.h"

enum { MAX_TOKEN_BYTES = 64 << 20, CACHE_UNSET = BLOCK_TYPE_LIMIT };

struct debug_opts {
    const char *tokens, *out, *backend, *device;
    uint32_t n_batch, n_threads;
    enum block_type type_k, type_v;
    bool yarn_rounded;
    struct requant requant;
};

#define AT(field) offsetof(struct debug_opts, field)
static const struct opt table[] = {
    {"--tokens", "FILE", "token ids to read, int32 little-endian", NULL, OPT_TEXT, AT(tokens), 0,
     0},
    {"--out", "FILE", "where the logits go, float32 [position][vocabulary]", NULL, OPT_TEXT,
     AT(out), 0, 0},
    {"--backend", "NAME", MODEL_BACKENDS, "ref, with --device vulkan", OPT_TEXT, AT(backend), 0, 0},
    {"-dev --device", "NAME", MODEL_DEVICES, NULL, OPT_TEXT, AT(device), 0, 0},
    {"--batch", "TOKENS", "tokens run at once", "512", OPT_U32, AT(n_batch), 1, 1 << 16},
    {"-t --threads", "N", "threads", "one per core", OPT_U32, AT(n_threads), 1, 1024},
    {"-ctk --cache-type-k", "TYPE", "keys in the cache: f16, q8_0, q4_0", "f32 for ref, else f16",
     OPT_CACHE_TYPE, AT(type_k), 0, 0},
    {"-ctv --cache-type-v", "TYPE", "values in the cache: f16, q8_0, q4_0", "f32 for ref, else f16",
     OPT_CACHE_TYPE, AT(type_v), 0, 0},
    {"--requant", "SPEC", "load weights in other types: head=q6_k,attn=iq4_nl", "as they are",
     OPT_REQUANT, AT(requant), 0, 0},
    {"--yarn-rounded", NULL, "gpt-oss: stretch its context as llama.cpp does, to compare with it",
     NULL, OPT_FLAG, AT(yarn_rounded), 0, 0},
};
#undef AT

static const struct opt_example examples[] = {
    {"tawny debug logits model.gguf --tokens ids.bin --out logits.bin", "the exact logits"},
    {"tawny debug logits model.gguf --tokens ids.bin --out fast.bin --backend cpu",
     "the fast ones"},
    {"tawny debug logits model.gguf --tokens ids.bin --out one.bin --batch 1", "token by token"},
    {NULL, NULL},
};

/* Everything that the command opens. */
struct debugging {
    struct gguf *file;
    struct model *model;
    struct exec *exec;
    char cache_path[TERM_MAX_PATH];
    struct buf tokens;
    struct file_out out;
    struct bar bar;
};

static bool read_tokens(const char *path, struct buf *out, struct err *e)
{
    if (!file_read_all(path, MAX_TOKEN_BYTES, out, e))
        return false;
    if (out->n == 0 || out->n % sizeof(int32_t))
        return err_set(e, ERR_FORMAT, "%s: has %zu bytes, must be one or more int32", path, out->n);
    return true;
}

static bool open_all(struct debugging *d, const struct debug_opts *o, const char *path,
                     struct err *e)
{
    const struct log log = term_log(false);
    const char *name = o->backend || o->device ? o->backend : "ref";
    const struct backend *backend = backend_choose(name, o->device, e);
    if (!backend)
        return false;
    const struct model_params how = {.yarn_rounded = o->yarn_rounded, .requant = o->requant};
    const enum block_type preset = backend == &backend_ref ? BLOCK_F32 : BLOCK_F16;
    if (!read_tokens(o->tokens, &d->tokens, e) || !(d->file = gguf_open(path, &log, e)) ||
        !(d->model = model_open_with(d->file, &how, &log, e)))
        return false;
    const struct exec_params params = {
        .n_ctx = (uint32_t)(d->tokens.n / sizeof(int32_t)),
        .n_ubatch = o->n_batch,
        .type_k = (int)o->type_k == CACHE_UNSET ? preset : o->type_k,
        .type_v = (int)o->type_v == CACHE_UNSET ? preset : o->type_v,
        .n_threads = (int)o->n_threads,
        .device = o->device,
        .cache_path = model_cache_path(d->cache_path),
    };
    bar_open(&d->bar, "loading", BAR_BYTES);
    const struct progress progress = bar_progress(&d->bar);
    d->exec = exec_open(backend, &d->model->plan, &params, &log, &progress, e);
    bar_close(&d->bar);
    return d->exec != NULL;
}

/* Rows [from, from + n) of the input through the model and into the file. */
static bool run_batch(struct debugging *d, uint32_t from, uint32_t n, uint32_t *pos, bool *want,
                      struct err *e)
{
    const size_t row_bytes = d->model->plan.n_vocab * sizeof(float);
    for (uint32_t i = 0; i < n; i++) {
        pos[i] = from + i;
        want[i] = true;
    }
    const struct batch b = {
        .n = n,
        .ids = (const int32_t *)(const void *)d->tokens.p + from,
        .pos = pos,
        .want_logits = want,
    };
    return exec_run(d->exec, &b, e) &&
           file_write_at(&d->out, from * row_bytes, exec_logits(d->exec, 0), n * row_bytes, e);
}

static bool run_all(struct debugging *d, const struct debug_opts *o, struct err *e)
{
    const uint32_t n_ids = (uint32_t)(d->tokens.n / sizeof(int32_t));
    uint32_t *pos = mem_new(o->n_batch, sizeof *pos);
    bool *want = mem_new(o->n_batch, sizeof *want);
    bool ok = file_create(&d->out, o->out, e);
    bar_open(&d->bar, "running", BAR_COUNT);
    for (uint32_t from = 0; ok && from < n_ids; from += o->n_batch) {
        ok = run_batch(d, from, (uint32_t)num_min(n_ids - from, o->n_batch), pos, want, e);
        bar_step(&d->bar, from, n_ids);
    }
    bar_close(&d->bar);
    free(pos);
    free(want);
    return ok && file_commit(&d->out, e);
}

static bool check_usage(const struct debug_opts *o, struct err *e)
{
    if (!o->tokens || !o->out)
        return err_set(e, ERR_USAGE, "debug logits: %s FILE is missing",
                       o->tokens ? "--out" : "--tokens");
    return true;
}

int debug_logits(int argc, char **argv)
{
    struct debug_opts o = {.n_batch = 512,
                           .type_k = (enum block_type)CACHE_UNSET,
                           .type_v = (enum block_type)CACHE_UNSET};
    struct opt_group groups[] = {OPT_GROUP("Options", table, &o)};
    const struct opt_command c = {"debug logits",
                                  "MODEL",
                                  "the raw logits of a model for given tokens",
                                  examples,
                                  groups,
                                  1,
                                  1,
                                  1,
                                  REQUANT_NOTES};
    struct opt_words words;
    int status;
    if (!opts_parse(&c, argc, argv, &words, &status))
        return status;

    struct err e = {0};
    struct debugging d = {0};
    char *path = NULL;
    const bool ok = check_usage(&o, &e) && (path = model_path(words.at[0], &e)) &&
                    open_all(&d, &o, path, &e) && run_all(&d, &o, &e);
    status = ok ? EXIT_OK : term_fail(&e);
    exec_close(d.exec);
    model_close(d.model);
    gguf_close(d.file);
    buf_free(&d.tokens);
    file_abandon(&d.out);
    free(path);
    return status;
}
