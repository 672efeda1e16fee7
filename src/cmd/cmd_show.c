#include "cmd/cmd.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/num.h"
#include "cmd/cmd_model.h"
#include "cmd/opts.h"
#include "cmd/term.h"

/* How much of a long value is shown. */
enum { MAX_ELEMS = 4, MAX_TEXT = 60 };

struct show_opts {
    uint32_t n_sessions;
    bool tensors, json;
};

#define AT(field) offsetof(struct show_opts, field)
static const struct opt show_table[] = {
    {"--tensors", NULL, "list every tensor", NULL, OPT_FLAG, AT(tensors), 0, 0},
    {"--json", NULL, "as JSON", NULL, OPT_FLAG, AT(json), 0, 0},
    {"-np --parallel", "N", "sessions side by side, for the memory plan", "2", OPT_U32,
     AT(n_sessions), 1, 256},
};
#undef AT

static const struct opt_example examples[] = {
    {"tawny show model.gguf", "what is in it and what it needs"},
    {"tawny show model.gguf -c 131072 -ctk q8_0 -ctv q8_0", "the memory plan of a long context"},
    {"tawny show demo --tensors --json", "everything, for a program"},
    {NULL, NULL},
};

/* A file and what follows from it. */
struct shown {
    struct gguf *file;
    struct model *model; /* NULL: tawny cannot run it, `why` says why */
    struct err why;
    uint64_t n_params;
    bool planned;
    uint32_t n_ctx, n_sessions;
    struct mem_table memory;
    const struct model_opts *opts;
};

/* Sums over the tensors of one type. */
struct type_sum {
    size_t n_tensors;
    uint64_t n_elems, n_bytes;
};

static void sum_types(const struct gguf *f, struct type_sum sums[BLOCK_TYPE_LIMIT])
{
    memset(sums, 0, BLOCK_TYPE_LIMIT * sizeof *sums);
    for (size_t i = 0; i < gguf_n_tensors(f); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(f, i);
        sums[t->type].n_tensors++;
        sums[t->type].n_elems += t->n_elems;
        sums[t->type].n_bytes += t->n_bytes;
    }
}

/* s as a JSON string that a terminal only shows; what is over max bytes is cut off. */
static void put_quoted(str s, size_t max, struct buf *out)
{
    struct buf quoted = {0};
    size_t n = num_min(s.n, max);
    while (n > 0 && n < s.n && ((unsigned char)s.p[n] & 0xc0) == 0x80)
        n--; /* not inside a character */
    json_quote(str_sub(s, 0, n), &quoted);
    term_safe(buf_view(&quoted), out);
    if (n < s.n)
        buf_fmt(out, "... (%zu bytes)", s.n);
    buf_free(&quoted);
}

/* ---- metadata -------------------------------------------------------------------------------- */

static const char *type_name(enum gguf_type t)
{
    static const char *const names[] = {"u8",   "i8",  "u16",   "i16", "u32", "i32", "f32",
                                        "bool", "str", "array", "u64", "i64", "f64"};
    return names[t];
}

/* Element i as JSON text; strings are cut. */
static void put_elem(const struct gguf *f, const struct gguf_kv *kv, uint64_t i, struct buf *out)
{
    if (kv->type == GGUF_STRING) {
        put_quoted(gguf_elem_str(f, kv, i), MAX_TEXT, out);
    } else if (kv->type == GGUF_F32 || kv->type == GGUF_F64) {
        buf_fmt(out, "%.7g", gguf_elem_f64(kv, i));
    } else if (kv->type == GGUF_BOOL) {
        buf_str(out, gguf_elem_i64(kv, i) ? STR("true") : STR("false"));
    } else if (kv->type == GGUF_U64) {
        buf_fmt(out, "%llu", (unsigned long long)gguf_elem_i64(kv, i));
    } else if (kv->type != GGUF_ARRAY) {
        buf_fmt(out, "%lld", (long long)gguf_elem_i64(kv, i));
    }
}

static void put_metadata(const struct gguf *f, struct buf *out)
{
    struct table t = {.align = "lll"};
    for (size_t i = 0; i < gguf_n_kv(f); i++) {
        const struct gguf_kv *kv = gguf_kv_at(f, i);
        struct buf key = {0}, value = {0};
        put_quoted(kv->key, SIZE_MAX, &key);
        for (uint64_t k = 0; k < num_min(kv->n, MAX_ELEMS); k++) {
            buf_str(&value, k ? STR(", ") : STR(""));
            put_elem(f, kv, k, &value);
        }
        buf_str(&value, kv->n > MAX_ELEMS ? STR(", ...") : STR(""));
        table_cell(&t, "  %.*s", (int)key.n - 2, key.p + 1);
        if (kv->is_array)
            table_cell(&t, "%s[%llu]", type_name(kv->type), (unsigned long long)kv->n);
        else
            table_cell(&t, "%s", type_name(kv->type));
        table_cell(&t, "%s", value.n ? value.p : "");
        buf_free(&key);
        buf_free(&value);
    }
    buf_str(out, STR("\nMetadata\n"));
    table_text(&t, out);
    table_free(&t);
}

static void json_elem(struct jout *j, const char *key, const struct gguf *f,
                      const struct gguf_kv *kv, uint64_t i)
{
    if (kv->type == GGUF_STRING)
        jout_str(j, key, gguf_elem_str(f, kv, i));
    else if (kv->type == GGUF_F32 || kv->type == GGUF_F64)
        jout_f64(j, key, gguf_elem_f64(kv, i), 9);
    else if (kv->type == GGUF_BOOL)
        jout_bool(j, key, gguf_elem_i64(kv, i) != 0);
    else if (kv->type == GGUF_U64)
        jout_u64(j, key, (uint64_t)gguf_elem_i64(kv, i));
    else
        jout_i64(j, key, gguf_elem_i64(kv, i));
}

/* Arrays become {"count": n, "first": [...]}: a vocabulary is not what anybody wants here. */
static void json_metadata(struct jout *j, const struct gguf *f)
{
    jout_begin(j, "metadata", '{');
    for (size_t i = 0; i < gguf_n_kv(f); i++) {
        const struct gguf_kv *kv = gguf_kv_at(f, i);
        struct buf key = {0};
        buf_fmt(&key, "%.*s", STRF(kv->key));
        if (!kv->is_array) {
            json_elem(j, key.p, f, kv, 0);
        } else {
            jout_begin(j, key.p, '{');
            jout_u64(j, "count", kv->n);
            jout_begin(j, "first", '[');
            for (uint64_t k = 0; k < num_min(kv->n, MAX_ELEMS) && kv->type != GGUF_ARRAY; k++)
                json_elem(j, NULL, f, kv, k);
            jout_end(j, ']');
            jout_end(j, '}');
        }
        buf_free(&key);
    }
    jout_end(j, '}');
}

/* ---- tensors --------------------------------------------------------------------------------- */

static void put_types(const struct gguf *f, struct buf *out)
{
    struct type_sum sums[BLOCK_TYPE_LIMIT];
    uint64_t total = 0;
    sum_types(f, sums);
    for (size_t i = 0; i < BLOCK_TYPE_LIMIT; i++)
        total += sums[i].n_bytes;
    struct table t = {.align = "lrrrr"};
    const char *head[] = {"  type", "tensors", "parameters", "bytes", "share"};
    for (size_t i = 0; i < sizeof head / sizeof *head; i++)
        table_cell(&t, "%s", head[i]);
    for (uint32_t i = 0; i < BLOCK_TYPE_LIMIT; i++) {
        if (!sums[i].n_tensors)
            continue;
        table_cell(&t, "  %s", block_type_name(i));
        table_cell(&t, "%zu", sums[i].n_tensors);
        table_cell(&t, "%s", term_count((double)sums[i].n_elems).text);
        table_cell(&t, "%s", term_bytes((double)sums[i].n_bytes).text);
        table_cell(&t, "%.1f%%", 100.0 * (double)sums[i].n_bytes / (double)total);
    }
    buf_str(out, STR("\nTensors by type\n"));
    table_text(&t, out);
    table_free(&t);
}

static void put_shape(const struct gguf_tensor *t, struct buf *out)
{
    for (uint32_t d = 0; d < t->n_dims; d++)
        buf_fmt(out, "%s%llu", d ? " x " : "", (unsigned long long)t->ne[d]);
}

static void put_tensors(const struct gguf *f, struct buf *out)
{
    struct table t = {.align = "lllr"};
    for (size_t i = 0; i < gguf_n_tensors(f); i++) {
        const struct gguf_tensor *tensor = gguf_tensor_at(f, i);
        struct buf name = {0}, shape = {0};
        put_quoted(tensor->name, SIZE_MAX, &name);
        put_shape(tensor, &shape);
        table_cell(&t, "  %.*s", (int)name.n - 2, name.p + 1);
        table_cell(&t, "%s", block_type_name(tensor->type));
        table_cell(&t, "%s", shape.n ? shape.p : "");
        table_cell(&t, "%s", term_bytes((double)tensor->n_bytes).text);
        buf_free(&name);
        buf_free(&shape);
    }
    buf_str(out, STR("\nTensors\n"));
    table_text(&t, out);
    table_free(&t);
}

static void json_tensors(struct jout *j, const struct gguf *f, bool all)
{
    struct type_sum sums[BLOCK_TYPE_LIMIT];
    sum_types(f, sums);
    jout_begin(j, "tensor_types", '[');
    for (uint32_t i = 0; i < BLOCK_TYPE_LIMIT; i++) {
        if (!sums[i].n_tensors)
            continue;
        jout_begin(j, NULL, '{');
        jout_str(j, "type", str_of(block_type_name(i)));
        jout_u64(j, "tensors", sums[i].n_tensors);
        jout_u64(j, "parameters", sums[i].n_elems);
        jout_u64(j, "bytes", sums[i].n_bytes);
        jout_end(j, '}');
    }
    jout_end(j, ']');
    if (!all)
        return;
    jout_begin(j, "tensors", '[');
    for (size_t i = 0; i < gguf_n_tensors(f); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(f, i);
        jout_begin(j, NULL, '{');
        jout_str(j, "name", t->name);
        jout_str(j, "type", str_of(block_type_name(t->type)));
        jout_begin(j, "shape", '[');
        for (uint32_t d = 0; d < t->n_dims; d++)
            jout_u64(j, NULL, t->ne[d]);
        jout_end(j, ']');
        jout_u64(j, "bytes", t->n_bytes);
        jout_end(j, '}');
    }
    jout_end(j, ']');
}

/* ---- memory and bytes per token -------------------------------------------------------------- */

static void put_memory(const struct shown *s, struct buf *out)
{
    struct buf table = {0};
    mem_table_print(&s->memory, &table);
    buf_fmt(out, "\nMemory for %u session%s of %u tokens (keys %s, values %s)%s\n", s->n_sessions,
            s->n_sessions == 1 ? "" : "s", s->n_ctx, block_type_name(s->opts->type_k),
            block_type_name(s->opts->type_v),
            s->memory.total > s->memory.available ? ": DOES NOT FIT" : "");
    for (str rest = buf_view(&table); rest.n;) {
        str line = str_cut(rest, '\n', &rest);
        buf_fmt(out, "  %.*s\n", STRF(line));
    }
    buf_free(&table);
}

/* KV bytes that a token at this depth reads. */
static double kv_read(const struct shown *s, uint32_t depth)
{
    return (double)plan_kv_bytes_read(&s->model->plan, depth, s->opts->type_k, s->opts->type_v);
}

static double kv_written(const struct shown *s)
{
    return (double)plan_kv_bytes_per_token(&s->model->plan, s->opts->type_k, s->opts->type_v);
}

/* Of the recurrent states, which a token reads and writes whole. */
static double states_moved(const struct shown *s)
{
    return 2.0 * (double)plan_state_bytes(&s->model->plan);
}

static void put_bytes_per_token(const struct shown *s, struct buf *out)
{
    double weights = plan_weight_bytes_per_token(&s->model->plan);
    struct table t = {.align = "lr"};
    table_cell(&t, "  weights read");
    table_cell(&t, "%s", term_bytes(weights).text);
    for (uint32_t depth = 1024; depth <= s->n_ctx; depth *= 4) {
        table_cell(&t, "  cache read at depth %u", depth);
        table_cell(&t, "%s", term_bytes(kv_read(s, depth)).text);
    }
    table_cell(&t, "  cache written");
    table_cell(&t, "%s", term_bytes(kv_written(s)).text);
    if (states_moved(s) > 0) {
        table_cell(&t, "  states read and written");
        table_cell(&t, "%s", term_bytes(states_moved(s)).text);
    }
    buf_str(out, STR("\nBytes per generated token\n"));
    table_text(&t, out);
    table_free(&t);
}

static void json_memory(struct jout *j, const struct shown *s)
{
    jout_begin(j, "memory", '{');
    jout_u64(j, "n_ctx", s->n_ctx);
    jout_u64(j, "sessions", s->n_sessions);
    jout_str(j, "type_k", str_of(block_type_name(s->opts->type_k)));
    jout_str(j, "type_v", str_of(block_type_name(s->opts->type_v)));
    jout_begin(j, "parts", '[');
    for (size_t i = 0; i < s->memory.n_rows; i++) {
        jout_begin(j, NULL, '{');
        jout_str(j, "what", str_of(s->memory.rows[i].what));
        jout_u64(j, "bytes", s->memory.rows[i].n_bytes);
        jout_str(j, "detail", str_of(s->memory.rows[i].detail));
        jout_end(j, '}');
    }
    jout_end(j, ']');
    jout_u64(j, "total", s->memory.total);
    jout_u64(j, "available", s->memory.available);
    jout_end(j, '}');
    jout_begin(j, "bytes_per_token", '{');
    jout_f64(j, "weights", plan_weight_bytes_per_token(&s->model->plan), 0);
    jout_f64(j, "cache_written", kv_written(s), 0);
    jout_f64(j, "states_read_and_written", states_moved(s), 0);
    jout_f64(j, "cache_per_token_of_depth", kv_read(s, s->n_ctx) - kv_read(s, s->n_ctx - 1), 0);
    jout_end(j, '}');
}

/* ---- the command ----------------------------------------------------------------------------- */

static void put_text(const struct shown *s, bool tensors, struct buf *out)
{
    str arch = STR("?");
    struct err e;
    gguf_str(s->file, "general.architecture", false, &arch, &e);
    buf_fmt(out, "%s: ", gguf_path(s->file));
    put_quoted(arch, MAX_TEXT, out);
    buf_fmt(out, ", GGUF v%u, %u file%s, %s, %s parameters\n", gguf_version(s->file),
            gguf_n_shards(s->file), gguf_n_shards(s->file) == 1 ? "" : "s",
            term_bytes((double)gguf_file_bytes(s->file)).text,
            term_count((double)s->n_params).text);
    put_metadata(s->file, out);
    put_types(s->file, out);
    if (tensors)
        put_tensors(s->file, out);
    if (s->planned) {
        put_memory(s, out);
        put_bytes_per_token(s, out);
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
    json_metadata(&j, s->file);
    json_tensors(&j, s->file, tensors);
    if (s->planned)
        json_memory(&j, s);
    jout_end(&j, '}');
}

/* Opens path; a model that tawny cannot run is shown without a plan. */
static bool shown_open(struct shown *s, const char *path, const struct log *log, struct err *e)
{
    struct engine_params p = model_params(s->opts, path);
    p.n_sessions = s->n_sessions;
    s->file = gguf_open(path, log, e);
    if (!s->file)
        return false;
    for (size_t i = 0; i < gguf_n_tensors(s->file); i++)
        s->n_params += gguf_tensor_at(s->file, i)->n_elems;
    s->model = model_open(s->file, log, &s->why);
    s->planned = s->model && engine_memory(s->model, &p, &s->n_ctx, &s->memory, &s->why);
    return true;
}

int cmd_show(int argc, char **argv)
{
    struct show_opts o = {.n_sessions = 2};
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
    if (!path || !shown_open(&s, path, &log, &e)) {
        status = term_fail(&e);
        goto done;
    }
    (o.json ? put_json : put_text)(&s, o.tensors, &out);
    status = term_put(&out, &e) ? EXIT_OK : term_fail(&e);
    if (!s.planned)
        log_warn(&log, "no memory plan: %s", s.why.msg);
done:
    model_close(s.model);
    gguf_close(s.file);
    free(path);
    return status;
}
