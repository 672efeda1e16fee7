#include "cmd/bench.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "base/num.h"
#include "cmd/term.h"

struct stats {
    double mean, stddev;
};

double bench_rate(const struct bench_result *r, uint32_t i)
{
    return 1e9 * (double)(r->test.n_prompt + r->test.n_gen) / (double)r->samples_ns[i];
}

/* Mean and standard deviation of a sample (n - 1). rates: of tokens per second, else of times. */
static struct stats stats_of(const struct bench_result *r, bool rates)
{
    struct stats s = {0};
    for (uint32_t i = 0; i < r->n_samples; i++)
        s.mean += rates ? bench_rate(r, i) : (double)r->samples_ns[i];
    s.mean /= r->n_samples;
    for (uint32_t i = 0; i < r->n_samples; i++) {
        double d = (rates ? bench_rate(r, i) : (double)r->samples_ns[i]) - s.mean;
        s.stddev += d * d;
    }
    s.stddev = r->n_samples > 1 ? sqrt(s.stddev / (r->n_samples - 1)) : 0;
    return s;
}

void bench_name(const struct bench_test *t, char *out, size_t room)
{
    char what[32], depth[16] = "";
    if (t->n_prompt && t->n_gen)
        snprintf(what, sizeof what, "pp%u+tg%u", t->n_prompt, t->n_gen);
    else
        snprintf(what, sizeof what, t->n_prompt ? "pp%u" : "tg%u", t->n_prompt + t->n_gen);
    if (t->n_depth)
        snprintf(depth, sizeof depth, " @ d%u", t->n_depth);
    snprintf(out, room, "%s%s", what, depth);
}

/* The type that holds the most bytes of the model as it is loaded: what people call its
 * quantisation. */
static const char *main_type(const struct plan *p)
{
    uint64_t n_bytes[BLOCK_TYPE_LIMIT] = {0};
    uint32_t best = 0;
    for (size_t i = 0; i < p->n_weights; i++)
        n_bytes[p->weights[i]->type] += p->weights[i]->n_bytes;
    for (uint32_t i = 0; i < BLOCK_TYPE_LIMIT; i++)
        best = n_bytes[i] > n_bytes[best] ? i : best;
    return block_type_name(best);
}

/* "q8_0": cache types are written so in options and by llama-bench. */
static struct term_num lower(enum block_type type)
{
    struct term_num r;
    snprintf(r.text, sizeof r.text, "%s", block_type_name(type));
    for (char *c = r.text; *c; c++)
        *c = (char)(*c >= 'A' && *c <= 'Z' ? *c + 32 : *c);
    return r;
}

static uint64_t n_params_of(const struct gguf *f)
{
    uint64_t n = 0;
    for (size_t i = 0; i < gguf_n_tensors(f); i++)
        n += gguf_tensor_at(f, i)->n_elems;
    return n;
}

/* Tokens per second on Strix Halo; 0: none. */
static double prediction(const struct bench_result *r)
{
    return r->work.n_phases
               ? predict_tokens_per_s(&predict_strix_halo, r->bytes_per_token, r->work.n_phases)
               : 0;
}

/* ---- markdown -------------------------------------------------------------------------------- */

/* Fixed widths, so that lines can be shown as they come; 'r' in front: right-aligned. */
static const struct {
    const char *name;
    int width;
    bool right;
} md_columns[] = {
    {"model", 28, false},   {"size", 10, true},  {"params", 8, true}, {"backend", 7, false},
    {"threads", 7, true},   {"cache", 9, false}, {"test", 16, true},  {"t/s", 19, true},
    {"MiB/token", 9, true}, {"GB/s", 6, true},
};
enum { N_MD_COLUMNS = sizeof md_columns / sizeof *md_columns };

static void md_cell(size_t column, const char *text, struct buf *out)
{
    int width = md_columns[column].width, n = (int)term_width(text);
    int fill = n < width ? width - n : 0;
    bool right = md_columns[column].right;
    buf_fmt(out, "| %*s%s%*s ", right ? fill : 0, "", text, right ? 0 : fill, "");
    if (column == N_MD_COLUMNS - 1)
        buf_str(out, STR("|\n"));
}

static void md_begin(struct buf *out)
{
    static const char dashes[] = "--------------------------------";
    for (size_t c = 0; c < N_MD_COLUMNS; c++)
        md_cell(c, md_columns[c].name, out);
    for (size_t c = 0; c < N_MD_COLUMNS; c++)
        buf_fmt(out, "| %.*s%c ", md_columns[c].width - 1, dashes, md_columns[c].right ? ':' : '-');
    buf_str(out, STR("|\n"));
}

static void md_line(const struct bench_setup *s, const struct bench_result *r, struct buf *out)
{
    char text[96], name[64];
    struct stats rate = stats_of(r, true);
    size_t c = 0;
    uint64_t n_params = n_params_of(s->model->file);
    snprintf(text, sizeof text, "%s %s %s", s->model->arch, term_count((double)n_params).text,
             main_type(&s->model->plan));
    md_cell(c++, text, out);
    md_cell(c++, term_bytes((double)plan_weight_bytes(&s->model->plan)).text, out);
    md_cell(c++, term_count((double)n_params).text, out);
    md_cell(c++, s->backend, out);
    snprintf(text, sizeof text, "%u", r->test.n_threads);
    md_cell(c++, text, out);
    snprintf(text, sizeof text, "%s/%s", lower(s->type_k).text, lower(s->type_v).text);
    md_cell(c++, text, out);
    bench_name(&r->test, name, sizeof name);
    md_cell(c++, name, out);
    snprintf(text, sizeof text, "%.2f \u00b1 %.2f", rate.mean, rate.stddev);
    md_cell(c++, text, out);
    bool reads = r->bytes_per_token > 0;
    snprintf(text, sizeof text, "%.2f", r->bytes_per_token / 1048576);
    md_cell(c++, reads ? text : "", out);
    snprintf(text, sizeof text, "%.2f", r->bytes_per_token * rate.mean / 1e9);
    md_cell(c++, reads ? text : "", out);
}

/* ---- csv and json ---------------------------------------------------------------------------- */

/* A field of a csv or json line. */
struct field {
    const char *name;
    bool text; /* quoted in JSON */
    char value[512];
};
enum { MAX_FIELDS = 32 };
struct fields {
    struct field at[MAX_FIELDS];
    size_t n;
};

__attribute__((format(printf, 4, 5))) static void add(struct fields *l, const char *name, bool text,
                                                      const char *format, ...)
{
    struct field *f = &l->at[l->n++];
    va_list args;
    f->name = name;
    f->text = text;
    va_start(args, format);
    vsnprintf(f->value, sizeof f->value, format, args);
    va_end(args);
}

static void add_setup(struct fields *l, const struct bench_setup *s, uint32_t n_threads)
{
    uint64_t n_params = n_params_of(s->model->file);
    add(l, "build_commit", true, "tawny " TAWNY_VERSION);
    add(l, "cpu_info", true, "%s", s->cpu);
    add(l, "backends", true, "%s", s->backend);
    add(l, "model_filename", true, "%s", s->path);
    add(l, "model_type", true, "%s %s %s", s->model->arch, term_count((double)n_params).text,
        main_type(&s->model->plan));
    add(l, "model_size", false, "%llu", (unsigned long long)plan_weight_bytes(&s->model->plan));
    add(l, "model_n_params", false, "%llu", (unsigned long long)n_params);
    add(l, "n_batch", false, "%u", s->n_batch);
    add(l, "n_ubatch", false, "%u", s->n_ubatch);
    add(l, "n_threads", false, "%u", n_threads);
    add(l, "type_k", true, "%s", lower(s->type_k).text);
    add(l, "type_v", true, "%s", lower(s->type_v).text);
}

static void collect(struct fields *l, const struct bench_setup *s, const struct bench_result *r)
{
    struct stats ns = stats_of(r, false), rate = stats_of(r, true);
    time_t t = (time_t)r->test_time;
    struct tm tm;
    char date[32];
    gmtime_r(&t, &tm);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &tm);
    l->n = 0;
    add_setup(l, s, r->test.n_threads);
    add(l, "n_prompt", false, "%u", r->test.n_prompt);
    add(l, "n_gen", false, "%u", r->test.n_gen);
    add(l, "n_depth", false, "%u", r->test.n_depth);
    add(l, "test_time", true, "%s", date);
    add(l, "avg_ns", false, "%.0f", ns.mean);
    add(l, "stddev_ns", false, "%.0f", ns.stddev);
    add(l, "avg_ts", false, "%.6f", rate.mean);
    add(l, "stddev_ts", false, "%.6f", rate.stddev);
    add(l, "bytes_per_token", false, "%.0f", r->bytes_per_token);
    add(l, "phases_per_token", false, "%u", r->work.n_phases);
    add(l, "dispatches_per_token", false, "%u", r->work.n_phases ? r->work.n_dispatches : 0);
    add(l, "predicted_strix_halo_ts", false, "%.3f", prediction(r));
    add(l, "gb_per_s", false, "%.3f", r->bytes_per_token * rate.mean / 1e9);
}

/* RFC 4180: every field in quotes, quotes doubled. */
static void csv_text(const char *s, struct buf *out)
{
    buf_byte(out, '"');
    for (; *s; s++) {
        if (*s == '"')
            buf_byte(out, '"');
        buf_byte(out, *s);
    }
    buf_byte(out, '"');
}

static void csv_line(const struct fields *l, bool head, struct buf *out)
{
    for (size_t i = 0; i < l->n; i++) {
        buf_str(out, i ? STR(",") : STR(""));
        if (head)
            buf_str(out, str_of(l->at[i].name));
        else
            csv_text(l->at[i].value, out);
    }
    buf_byte(out, '\n');
}

/* One object: over several lines, or on one (jsonl). */
static void json_line(const struct fields *l, const struct bench_result *r, bool one_line,
                      struct buf *out)
{
    const char *gap = one_line ? " " : "\n    ";
    buf_str(out, one_line ? STR("{") : STR("  {"));
    for (size_t i = 0; i < l->n; i++) {
        buf_fmt(out, "%s\"%s\": ", i || !one_line ? gap : "", l->at[i].name);
        if (l->at[i].text)
            json_quote(str_of(l->at[i].value), out);
        else
            buf_str(out, str_of(l->at[i].value));
        buf_byte(out, ',');
    }
    buf_fmt(out, "%s\"samples_ns\": [", gap);
    for (uint32_t i = 0; i < r->n_samples; i++)
        buf_fmt(out, "%s%llu", i ? ", " : "", (unsigned long long)r->samples_ns[i]);
    buf_fmt(out, "],%s\"samples_ts\": [", gap);
    for (uint32_t i = 0; i < r->n_samples; i++)
        buf_fmt(out, "%s%.6f", i ? ", " : "", bench_rate(r, i));
    buf_str(out, one_line ? STR("]}\n") : STR("]\n  }"));
}

void bench_begin(enum bench_format f, struct buf *out)
{
    if (f == BENCH_MD)
        md_begin(out);
    else if (f == BENCH_JSON)
        buf_str(out, STR("["));
}

void bench_line(enum bench_format f, const struct bench_setup *s, const struct bench_result *r,
                bool first, struct buf *out)
{
    struct fields l;
    if (f == BENCH_MD) {
        md_line(s, r, out);
        return;
    }
    collect(&l, s, r);
    if (f == BENCH_CSV) {
        if (first)
            csv_line(&l, true, out);
        csv_line(&l, false, out);
        return;
    }
    if (f == BENCH_JSON)
        buf_str(out, first ? STR("\n") : STR(",\n"));
    json_line(&l, r, f == BENCH_JSONL, out);
}

void bench_prediction(enum bench_format f, const struct bench_result *r, struct buf *out)
{
    const struct predict_machine *m = &predict_strix_halo;
    char name[64];
    if (f != BENCH_MD || !r->work.n_phases)
        return;
    bench_name(&r->test, name, sizeof name);
    if (!out->n)
        buf_fmt(out, "\nPREDICTION for %s, not measured: bytes / %g GB/s + phases x %g us\n",
                m->name, m->bytes_per_s / 1e9, m->phase_s * 1e6);
    buf_fmt(out, "%s: %.2f MiB, %u phases, %u dispatches a token: %.1f t/s\n", name,
            r->bytes_per_token / 1048576, r->work.n_phases, r->work.n_dispatches, prediction(r));
}

void bench_end(enum bench_format f, struct buf *out)
{
    if (f == BENCH_JSON)
        buf_str(out, STR("\n]\n"));
}
