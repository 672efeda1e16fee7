#include "model/model.h"

#include <stdlib.h>

#include "model/arch.h"

static const struct arch {
    const char *name; /* general.architecture */
    void (*build)(struct builder *b);
} archs[] = {
    {"qwen3moe", arch_qwen3moe},
};
enum { N_ARCHS = sizeof archs / sizeof *archs };

const char *model_arch_name(size_t i)
{
    return i < N_ARCHS ? archs[i].name : NULL;
}

static const struct arch *find_arch(const struct gguf *file, struct err *e)
{
    struct buf known = {0};
    str name;
    if (!gguf_str(file, "general.architecture", true, &name, e))
        return NULL;
    for (size_t i = 0; i < N_ARCHS; i++) {
        if (str_eq(name, str_of(archs[i].name)))
            return &archs[i];
        buf_fmt(&known, "%s%s", i ? ", " : "", archs[i].name);
    }
    err_set(e, ERR_UNSUPPORTED, "%s: architecture '%.*s' is not one of: %.*s", gguf_path(file),
            STRF(name), STRF(buf_view(&known)));
    buf_free(&known);
    return NULL;
}

struct model *model_open(const struct gguf *file, const struct log *log, struct err *e)
{
    const struct arch *arch = find_arch(file, e);
    if (!arch)
        return NULL;
    struct model *m = mem_new(1, sizeof *m);
    m->file = file;
    m->arch = arch->name;
    struct builder b = {file, arch->name, log, &m->hp, &m->plan, e, false};
    hparams_read(&b);
    if (!b.failed)
        arch->build(&b);
    if (b.failed) {
        model_close(m);
        return NULL;
    }
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
