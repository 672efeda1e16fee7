#include "cmd/cmd_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "text/jinja.h"

#define AT(field) offsetof(struct model_opts, field)
static const struct opt model_table[] = {
    {"-c --ctx-size", "TOKENS", "context of a session", "the model's, at most 65536, cut to memory",
     OPT_U32, AT(n_ctx), 0, 1 << 24},
    {"-t --threads", "N", "threads", "one per core", OPT_I32, AT(n_threads), -1, 1024},
    {"-ub --ubatch-size", "TOKENS", "prompt tokens run at once", "512, on a GPU 2048", OPT_U32,
     AT(n_ubatch), 1, 1 << 16},
    {"-ctk --cache-type-k", "TYPE", "keys in the cache: f16, q8_0, q4_0", "f16", OPT_CACHE_TYPE,
     AT(type_k), 0, 0},
    {"-ctv --cache-type-v", "TYPE", "values in the cache: f16, q8_0, q4_0", "f16", OPT_CACHE_TYPE,
     AT(type_v), 0, 0},
    {"--backend", "NAME", MODEL_BACKENDS, MODEL_PLACE, OPT_TEXT, AT(backend), 0, 0},
    {"-dev --device", "NAME", MODEL_DEVICES, NULL, OPT_TEXT, AT(device), 0, 0},
    {"--requant", "SPEC", "load weights in other types: head=q6_k,attn=iq4_nl", "as they are",
     OPT_REQUANT, AT(requant), 0, 0},
};
#undef AT

struct opt_group model_group(struct model_opts *o)
{
    *o = (struct model_opts){.type_k = BLOCK_F16, .type_v = BLOCK_F16};
    model_cache_path(o->cache_path);
    return (struct opt_group)OPT_GROUP("Memory and speed", model_table, o);
}

const char *model_cache_path(char out[TERM_MAX_PATH])
{
    return term_user_file("XDG_CACHE_HOME", ".cache", "kernels", out) ? out : NULL;
}

struct engine_params model_params(const struct model_opts *o, const char *path)
{
    return (struct engine_params){
        .path = path,
        .backend = o->backend,
        .device = o->device,
        .cache_path = *o->cache_path ? o->cache_path : NULL,
        .n_ctx = o->n_ctx,
        .n_ubatch = o->n_ubatch,
        .type_k = o->type_k,
        .type_v = o->type_v,
        .n_threads = o->n_threads > 0 ? o->n_threads : 0,
        .requant = o->requant,
    };
}

#define AT(field) offsetof(struct sampling_opts, field)
static const struct opt sampling_table[] = {
    {"--temp --temperature", "X", "0: always the likeliest token", "the model's, else 0.7", OPT_F32,
     AT(temperature), 0, 5},
    {"--top-k", "N", "draw from the N likeliest; 0: off", "the model's, else 20", OPT_I32,
     AT(top_k), 0, 1 << 20},
    {"--top-p", "X", "draw from the likeliest that hold this share", "the model's, else 0.8",
     OPT_F32, AT(top_p), 0, 1},
    {"--min-p", "X", "drop tokens below this share of the likeliest", "the model's, else 0",
     OPT_F32, AT(min_p), 0, 1},
    {"--repeat-penalty", "X", "above 1: against repetition", "the model's, else 1", OPT_F32,
     AT(repeat_penalty), 0.1, 10},
};
#undef AT

struct opt_group sampling_group(struct sampling_opts *o)
{
    *o = (struct sampling_opts){-1, -1, -1, -1, -1};
    return (struct opt_group)OPT_GROUP("Sampling", sampling_table, o);
}

void sampling_apply(const struct sampling_opts *o, struct sampling *s)
{
    if (o->temperature >= 0)
        s->temperature = o->temperature;
    if (o->top_k >= 0)
        s->top_k = o->top_k;
    if (o->top_p >= 0)
        s->top_p = o->top_p;
    if (o->min_p >= 0)
        s->min_p = o->min_p;
    if (o->repeat_penalty >= 0)
        s->repeat_penalty = o->repeat_penalty;
}

/* dir (with its '/') and relative, if such a file can be read, else NULL. */
static char *readable(str dir, const char *relative)
{
    struct buf path = {0};
    buf_fmt(&path, "%.*s%s", STRF(dir), relative);
    if (access(path.p, R_OK) == 0)
        return path.p;
    buf_free(&path);
    return NULL;
}

static char *demo_path(struct err *e)
{
    char exe[4096];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe);
    str dir = {exe, n > 0 && (size_t)n < sizeof exe ? (size_t)n : 0};
    while (dir.n && dir.p[dir.n - 1] != '/')
        dir.n--;
    char *path = readable(dir, "share/tawny-demo.gguf");
    if (!path)
        path = readable(dir, "../share/tawny/tawny-demo.gguf");
    if (!path)
        err_set(e, ERR_IO,
                "the demo model is not there: tawny-demo.gguf is looked for in %.*sshare and "
                "%.*s../share/tawny; name a GGUF file instead",
                STRF(dir), STRF(dir));
    return path;
}

char *model_path(const char *word, struct err *e)
{
    if (!word || !strcmp(word, "demo"))
        return demo_path(e);
    struct buf path = {0};
    buf_fmt(&path, "%s", word);
    return path.p;
}

bool model_template(const char *path, struct buf *out, struct err *e)
{
    return file_read_all(path, JINJA_MAX_SOURCE, out, e) &&
           (out->n || err_set(e, ERR_FORMAT, "%s: the template is empty", path));
}

bool model_is_word(const char *word)
{
    return !strcmp(word, "demo") || str_ends(str_of(word), STR(".gguf")) || access(word, F_OK) == 0;
}
