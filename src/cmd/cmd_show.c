#include "cmd/cmd.h"

#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "cmd/opts.h"
#include "cmd/show.h"

struct show_opts {
    uint32_t n_sessions, n_tokens;
    const char *bandwidth, *text;
    bool tensors, json;
};

#define AT(field) offsetof(struct show_opts, field)
static const struct opt show_table[] = {
    {"--tensors", NULL, "list every tensor", NULL, OPT_FLAG, AT(tensors), 0, 0},
    {"--json", NULL, "as JSON", NULL, OPT_FLAG, AT(json), 0, 0},
    {"--bandwidth", "GB/S", "predict speed for memory this fast, a list", NULL, OPT_TEXT,
     AT(bandwidth), 0, 0},
    {"--text", "FILE", "measure on this text what --requant costs", NULL, OPT_TEXT, AT(text), 0, 0},
    {"--tokens", "N", "read no more of the text", "4096", OPT_U32, AT(n_tokens), 1, 1 << 24},
    {"-np --parallel", "N", "sessions side by side, for the memory plan",
     "4, fewer where memory is short", OPT_U32, AT(n_sessions), 1, 256},
};
#undef AT

static const struct opt_example examples[] = {
    {"tawny show model.gguf", "what is in it and what it needs"},
    {"tawny show model.gguf --bandwidth 212,256", "how fast could it be on two machines?"},
    {"tawny show model.gguf --requant head=q6_k --text notes.txt", "what does it save, and cost?"},
    {NULL, NULL},
};

struct engine_params show_params(const struct shown *s, uint32_t n_ctx)
{
    struct engine_params p = model_params(s->opts, gguf_path(s->file));
    p.n_sessions = s->n_sessions;
    p.n_ctx = n_ctx;
    p.backend = s->backend ? s->backend->name : p.backend;
    p.opened = s->device.opened;
    return p;
}

/* "212,819.2" */
static bool read_bandwidths(struct shown *s, const char *text, struct err *e)
{
    enum { MAX_GB_PER_S = 1000000 };
    if (!text)
        return true;
    str rest = str_of(text);
    do {
        const str item = str_cut(rest, ',', &rest);
        double v;
        if (!str_to_f64(item, &v) || !(v > 0) || v > MAX_GB_PER_S ||
            s->n_bandwidths == SHOW_MAX_BANDWIDTHS)
            return err_set(
                e, ERR_USAGE,
                "show: --bandwidth: '%s' is not a list of at most %d numbers above 0 and "
                "up to %d",
                text, SHOW_MAX_BANDWIDTHS, MAX_GB_PER_S);
        s->bandwidths[s->n_bandwidths++] = v * 1e9;
    } while (rest.n);
    return true;
}

static void put_text(const struct shown *s, bool tensors, struct buf *out)
{
    str arch = STR("?");
    struct err e;
    gguf_str(s->file, "general.architecture", false, &arch, &e);
    buf_fmt(out, "%s: ", gguf_path(s->file));
    show_quoted(arch, SHOW_MAX_TEXT, out);
    buf_fmt(out, ", GGUF v%u, %u file%s, %s, %s parameters\n", gguf_version(s->file),
            gguf_n_shards(s->file), gguf_n_shards(s->file) == 1 ? "" : "s",
            term_bytes((double)gguf_file_bytes(s->file)).text,
            term_count((double)s->n_params).text);
    show_metadata(s->file, out);
    show_types(s->file, out);
    if (tensors)
        show_tensors(s->file, out);
    if (s->planned)
        show_memory(s, out);
    if (s->model && !requant_is_empty(&s->opts->requant))
        show_diet(s, out);
    if (s->model) {
        show_bytes(s, out);
        show_prediction(s, out);
    }
}

static void put_json(const struct shown *s, bool tensors, struct buf *out)
{
    struct jout j = {.out = out};
    jout_begin(&j, NULL, '{');
    jout_str(&j, "path", str_of(gguf_path(s->file)));
    jout_u64(&j, "gguf_version", gguf_version(s->file));
    jout_u64(&j, "files", gguf_n_shards(s->file));
    jout_u64(&j, "bytes", gguf_file_bytes(s->file));
    jout_u64(&j, "parameters", s->n_params);
    jout_bool(&j, "supported", s->planned);
    show_json_metadata(&j, s->file);
    show_json_tensors(&j, s->file, tensors);
    if (s->planned)
        show_json_memory(&j, s);
    if (s->model && !requant_is_empty(&s->opts->requant))
        show_json_diet(&j, s);
    if (s->model) {
        show_json_bytes(&j, s);
        show_json_prediction(&j, s);
    }
    jout_end(&j, '}');
}

/* On a device that stays open for the questions that follow. */
static bool plan_memory(struct shown *s, const struct log *log)
{
    struct engine_params p = show_params(s, s->opts->n_ctx);
    p.log = *log;
    s->backend = engine_place(s->model, &p, &s->device, &s->why);
    if (!s->backend)
        return false;
    p = show_params(s, s->opts->n_ctx);
    if (!engine_memory(s->model, &p, &s->memory, &s->why))
        return false;
    s->n_ctx = p.n_ctx;
    s->n_sessions = p.n_sessions;
    return true;
}

/* Opens path; a model that tawny cannot run is shown without a plan. */
static bool shown_open(struct shown *s, const char *path, const struct log *log, struct err *e)
{
    s->file = gguf_open(path, log, e);
    if (!s->file)
        return false;
    for (size_t i = 0; i < gguf_n_tensors(s->file); i++)
        s->n_params += gguf_tensor_at(s->file, i)->n_elems;
    const struct model_params how = {.requant = s->opts->requant};
    s->model = model_open_with(s->file, &how, log, &s->why);
    s->planned = s->model && plan_memory(s, log);
    if (s->why.code == ERR_USAGE) /* of the options, not of the file */
        *e = s->why;
    return s->why.code != ERR_USAGE;
}

static bool measure(struct shown *s, const struct show_opts *o, struct err *e)
{
    if (!o->text)
        return true;
    if (requant_is_empty(&s->opts->requant))
        return err_set(e, ERR_USAGE, "show: --text: there is nothing to compare without --requant");
    if (!s->backend)
        *e = s->why;
    return s->backend && show_measure(s, o->text, o->n_tokens, e);
}

int cmd_show(int argc, char **argv)
{
    struct show_opts o = {.n_tokens = 4096};
    struct model_opts m;
    struct opt_group groups[] = {OPT_GROUP("Options", show_table, &o), model_group(&m)};
    const struct opt_command c = {
        .name = "show",
        .args = "MODEL",
        .summary = "what is in a model file and what it needs",
        .examples = examples,
        .groups = groups,
        .n_groups = sizeof groups / sizeof *groups,
        .min_words = 1,
        .max_words = 1,
        .notes = REQUANT_NOTES,
    };
    struct opt_words words;
    int status;
    if (!opts_parse(&c, argc, argv, &words, &status))
        return status;

    struct err e = {0};
    struct buf out = {0};
    struct shown s = {.opts = &m, .n_sessions = o.n_sessions};
    const struct log log = term_log(false);
    char *path = model_path(words.at[0], &e);
    if (!path || !read_bandwidths(&s, o.bandwidth, &e) || !shown_open(&s, path, &log, &e) ||
        !measure(&s, &o, &e)) {
        status = term_fail(&e);
        goto done;
    }
    (o.json ? put_json : put_text)(&s, o.tensors, &out);
    status = term_put(&out, &e) ? EXIT_OK : term_fail(&e);
    if (!s.planned)
        log_warn(&log, "no memory plan: %s", s.why.msg);
done:
    exec_device_close(s.backend, &s.device);
    model_close(s.model);
    gguf_close(s.file);
    free(path);
    return status;
}
