/* What --requant saves, by role, and what it costs on text. */
#include <math.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "cmd/quality.h"
#include "cmd/show.h"
#include "text/tok.h"

enum { MAX_TEXT_BYTES = 64 << 20 };

/* ---- bytes by role --------------------------------------------------------------------------- */

/* Of the weights of one role: bytes that a token reads, and types, before and after. */
struct role_sum {
    size_t n_weights;
    double n_bytes[2];
    bool has_type[2][BLOCK_TYPE_LIMIT];
};

struct role_sums {
    struct role_sum at[REQUANT_ROLES + 1]; /* the last: without a role */
    bool tied;
};

static void add_weight(void *ctx, const struct weight *w, double share)
{
    struct role_sums *sums = ctx;
    struct role_sum *s = &sums->at[requant_role_of(w->tensor, sums->tied)];
    const double n_elems = (double)w->ne[0] * (double)w->ne[1] * (double)w->ne[2];
    const struct block_info *stored = block_info((uint32_t)w->tensor->type);
    s->n_weights++;
    s->n_bytes[0] += share * n_elems / stored->n_elems * stored->n_bytes;
    s->n_bytes[1] += share * (double)w->n_bytes;
    s->has_type[0][w->tensor->type] = true;
    s->has_type[1][w->type] = true;
}

static struct role_sums sums_of(const struct shown *s)
{
    const struct plan *p = &s->model->plan;
    struct role_sums sums = {.tied = !gguf_tensor(s->file, STR("output.weight"))};
    for (size_t i = 0; i < p->n_ops; i++)
        op_weights(&p->ops[i], add_weight, &sums);
    return sums;
}

/* "IQ4_NL, Q5_K" */
static void put_types(const bool has_type[BLOCK_TYPE_LIMIT], struct buf *out)
{
    for (uint32_t i = 0; i < BLOCK_TYPE_LIMIT; i++)
        if (has_type[i])
            buf_fmt(out, "%s%s", out->n ? ", " : "", block_type_name(i));
}

static void put_role(const char *name, const struct role_sum *s, struct table *t)
{
    struct buf types[2] = {0};
    put_types(s->has_type[0], &types[0]);
    put_types(s->has_type[1], &types[1]);
    table_cell(t, "  %s", name);
    for (int i = 0; i < 2; i++) {
        table_cell(t, "%s", types[i].p ? types[i].p : "");
        table_cell(t, "%s", term_bytes(s->n_bytes[i]).text);
        buf_free(&types[i]);
    }
    const double percent = 100 * (s->n_bytes[1] / s->n_bytes[0] - 1);
    if (fabs(percent) < 0.05)
        table_cell(t, "-");
    else
        table_cell(t, "%+.1f%%", percent);
}

static void put_saving(const struct shown *s, struct buf *out)
{
    static const char *const head[] = {"  role", "file", "bytes", "loaded", "bytes", "change"};
    const struct role_sums sums = sums_of(s);
    struct role_sum all = {0};
    struct table t = {.align = "llrlrr"};
    for (size_t i = 0; i < sizeof head / sizeof *head; i++)
        table_cell(&t, "%s", head[i]);
    for (int i = 0; i <= REQUANT_ROLES; i++) {
        const struct role_sum *r = &sums.at[i];
        all.n_bytes[0] += r->n_bytes[0];
        all.n_bytes[1] += r->n_bytes[1];
        if (r->n_weights)
            put_role(requant_role_name((enum requant_role)i), r, &t);
    }
    put_role("all", &all, &t);
    buf_str(out, STR("\nWeight bytes per token, loaded as "));
    requant_print(&s->opts->requant, out);
    buf_byte(out, '\n');
    table_text(&t, out);
    table_free(&t);
}

static void json_saving(struct jout *j, const struct shown *s)
{
    static const char *const keys[2][2] = {{"types_in_file", "bytes_in_file"},
                                           {"types_loaded", "bytes_loaded"}};
    const struct role_sums sums = sums_of(s);
    jout_begin(j, "roles", '[');
    for (int i = 0; i <= REQUANT_ROLES; i++) {
        if (!sums.at[i].n_weights)
            continue;
        jout_begin(j, NULL, '{');
        jout_str(j, "role", str_of(requant_role_name((enum requant_role)i)));
        for (int k = 0; k < 2; k++) {
            jout_begin(j, keys[k][0], '[');
            for (uint32_t type = 0; type < BLOCK_TYPE_LIMIT; type++)
                if (sums.at[i].has_type[k][type])
                    jout_str(j, NULL, str_of(block_type_name(type)));
            jout_end(j, ']');
            jout_f64(j, keys[k][1], sums.at[i].n_bytes[k], 0);
        }
        jout_end(j, '}');
    }
    jout_end(j, ']');
}

/* ---- quality on text ------------------------------------------------------------------------- */

static bool read_ids(const struct shown *s, const char *path, size_t max, struct tok_ids *ids,
                     struct err *e)
{
    const struct log log = term_log(false);
    struct buf text = {0};
    struct tok *tok = tok_open(s->file, &log, e);
    bool ok = tok && file_read_all(path, MAX_TEXT_BYTES, &text, e);
    if (ok)
        tok_encode(tok, buf_view(&text), &(struct tok_params){.special = true}, ids);
    ids->n = num_min(ids->n, max);
    if (ok && ids->n == 0)
        ok = err_set(e, ERR_FORMAT, "%s: there is no text in it", path);
    buf_free(&text);
    tok_close(tok);
    return ok;
}

bool show_measure(struct shown *s, const char *path, size_t max_tokens, struct err *e)
{
    const struct log log = term_log(false);
    struct bar load, run;
    struct tok_ids ids = {0};
    struct model *stored = NULL;
    bar_open(&load, "loading", BAR_BYTES);
    bar_open(&run, "running", BAR_COUNT);
    const struct progress loading = bar_progress(&load), running = bar_progress(&run);
    const struct quality_params params = {.backend = s->backend,
                                          .device = s->opts->device,
                                          .cache_path =
                                              *s->opts->cache_path ? s->opts->cache_path : NULL,
                                          .n_threads = num_max(s->opts->n_threads, 0),
                                          .type_k = s->opts->type_k,
                                          .type_v = s->opts->type_v,
                                          .log = &log,
                                          .loading = &loading,
                                          .running = &running};
    bool ok = read_ids(s, path, max_tokens, &ids, e) && (stored = model_open(s->file, NULL, e)) &&
              quality_measure(stored, s->model, ids.ids, ids.n, &params, &s->quality, e);
    s->measured = ok;
    bar_close(&load);
    bar_close(&run);
    model_close(stored);
    free(ids.ids);
    return ok;
}

static void put_quality(const struct shown *s, struct buf *out)
{
    const struct quality *q = &s->quality;
    struct table t = {.align = "lr"};
    table_cell(&t, "  perplexity as in the file");
    table_cell(&t, "%.4f", q->perplexity[0]);
    table_cell(&t, "  perplexity as loaded");
    table_cell(&t, "%.4f", q->perplexity[1]);
    table_cell(&t, "  mean KL divergence");
    table_cell(&t, "%.6f", q->mean_kl);
    table_cell(&t, "  largest KL divergence");
    table_cell(&t, "%.6f", q->max_kl);
    table_cell(&t, "  same likeliest token");
    table_cell(&t, "%.2f%%", 100 * q->top1);
    buf_fmt(out, "\nQuality on %zu tokens of text, %d at a time (backend %s, keys %s, values %s)\n",
            q->n_tokens, QUALITY_CHUNK, q->backend, block_type_name(s->opts->type_k),
            block_type_name(s->opts->type_v));
    table_text(&t, out);
    table_free(&t);
}

static void json_quality(struct jout *j, const struct quality *q)
{
    jout_begin(j, "quality", '{');
    jout_str(j, "backend", str_of(q->backend));
    jout_u64(j, "tokens", q->n_tokens);
    jout_u64(j, "chunk", QUALITY_CHUNK);
    jout_f64(j, "perplexity_in_file", q->perplexity[0], 6);
    jout_f64(j, "perplexity_loaded", q->perplexity[1], 6);
    jout_f64(j, "mean_kl", q->mean_kl, 9);
    jout_f64(j, "max_kl", q->max_kl, 9);
    jout_f64(j, "same_top1", q->top1, 6);
    jout_end(j, '}');
}

/* ---- both ------------------------------------------------------------------------------------ */

void show_diet(const struct shown *s, struct buf *out)
{
    put_saving(s, out);
    if (s->measured)
        put_quality(s, out);
}

void show_json_diet(struct jout *j, const struct shown *s)
{
    struct buf spec = {0};
    requant_print(&s->opts->requant, &spec);
    jout_begin(j, "requant", '{');
    jout_str(j, "spec", buf_view(&spec));
    json_saving(j, s);
    if (s->measured)
        json_quality(j, &s->quality);
    jout_end(j, '}');
    buf_free(&spec);
}
