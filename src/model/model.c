#include "model/model.h"

#include <stdlib.h>

#include "model/arch.h"

static const struct arch {
    const char *name; /* general.architecture, and the prefix of the keys */
    const char *old;  /* what Ollama's first files say instead, or NULL */
    void (*build)(struct builder *b);
} archs[] = {
    {"qwen3moe", NULL, arch_qwen3moe},   {"gpt-oss", "gptoss", arch_gpt_oss},
    {"qwen3", NULL, arch_qwen3},         {"qwen2", NULL, arch_qwen2},
    {"llama", NULL, arch_llama},         {"qwen3next", NULL, arch_qwen3next},
    {"qwen35moe", NULL, arch_qwen35moe}, {"deepseek2", "glm4moelite", arch_deepseek2},
};
enum { N_ARCHS = sizeof archs / sizeof *archs };

const char *model_arch_name(size_t i)
{
    return i < N_ARCHS ? archs[i].name : NULL;
}

static void fail_unknown(const struct gguf *file, str name, struct err *e)
{
    struct buf known = {0};
    for (size_t i = 0; i < N_ARCHS; i++)
        buf_fmt(&known, "%s%s", i ? ", " : "", archs[i].name);
    err_set(e, ERR_UNSUPPORTED, "%s: architecture '%.*s' is not one of: %.*s", gguf_path(file),
            STRF(name), STRF(buf_view(&known)));
    buf_free(&known);
}

/* *prefix: the name that the file uses. */
static const struct arch *find_arch(const struct gguf *file, const char **prefix, struct err *e)
{
    str name;
    if (!gguf_str(file, "general.architecture", true, &name, e))
        return NULL;
    for (size_t i = 0; i < N_ARCHS; i++) {
        const struct arch *a = &archs[i];
        *prefix = a->old && str_eq(name, str_of(a->old)) ? a->old : a->name;
        if (str_eq(name, str_of(*prefix)))
            return a;
    }
    fail_unknown(file, name, e);
    return NULL;
}

struct model *model_open(const struct gguf *file, const struct log *log, struct err *e)
{
    return model_open_with(file, &(struct model_params){0}, log, e);
}

struct model *model_open_with(const struct gguf *file, const struct model_params *params,
                              const struct log *log, struct err *e)
{
    const char *prefix;
    const struct arch *arch = find_arch(file, &prefix, e);
    if (!arch)
        return NULL;
    struct model *m = mem_new(1, sizeof *m);
    enum block_type *types = NULL;
    m->file = file;
    m->arch = arch->name;
    struct builder b = {file, prefix, params, NULL, log, &m->hp, &m->plan, e, false};
    if (!requant_is_empty(&params->requant)) {
        b.types = types = mem_new(gguf_n_tensors(file), sizeof *types);
        b.failed = !requant_types(file, &params->requant, types, e);
    }
    if (!b.failed)
        hparams_read(&b);
    if (!b.failed)
        arch->build(&b);
    free(types);
    if (b.failed) {
        model_close(m);
        return NULL;
    }
    if (m->hp.n_nextn)
        log_info(log, "%s: left out %u block%s for multi-token prediction", gguf_path(file),
                 m->hp.n_nextn, m->hp.n_nextn == 1 ? "" : "s");
    bind_warn_unused(&b);
    return m;
}

void model_close(struct model *m)
{
    if (!m)
        return;
    plan_free(&m->plan);
    free(m);
}
