/* What a generated token takes on a GPU, told from the plan, and the speed that predicts. */
#include "cmd/show.h"
#include "compute/predict.h"

/* False and e: the vulkan backend does not run the plan. */
static bool work_at(const struct shown *s, uint32_t depth, struct predict_work *out, struct err *e)
{
    const struct exec_params params = {
        .n_ctx = s->model->hp.n_ctx_train, .type_k = s->opts->type_k, .type_v = s->opts->type_v};
    return predict_work(&s->model->plan, &params, depth + 1, out, e);
}

static double bytes_at(const struct shown *s, uint32_t depth)
{
    return plan_bytes_per_token(&s->model->plan, depth, s->opts->type_k, s->opts->type_v);
}

static double speed_at(const struct shown *s, uint32_t depth)
{
    struct predict_work w;
    struct err e;
    if (!work_at(s, depth, &w, &e))
        return 0;
    return predict_tokens_per_s(&predict_strix_halo, bytes_at(s, depth), w.n_phases);
}

static double padding(const struct shown *s, const struct predict_work *w)
{
    return w->weight_bytes / plan_weight_bytes_per_token(&s->model->plan);
}

static void put_row(const struct shown *s, uint32_t depth, struct table *t)
{
    const double speed = speed_at(s, depth);
    table_cell(t, "  %u", depth);
    table_cell(t, "%s", term_bytes(bytes_at(s, depth)).text);
    table_cell(t, "%.2f", 1000 / speed);
    table_cell(t, "%.1f", speed);
}

void show_prediction(const struct shown *s, struct buf *out)
{
    const struct predict_machine *m = &predict_strix_halo;
    struct predict_work w;
    struct err e;
    if (!work_at(s, 0, &w, &e)) {
        buf_fmt(out, "\nNo prediction for a GPU: %s\n", e.msg);
        return;
    }
    buf_fmt(
        out,
        "\nA generated token on a GPU: %u phases (at most %u in a layer), %u dispatches; weights "
        "are read %.3f times\n",
        w.n_phases, w.most_of_layer, w.n_dispatches, padding(s, &w));
    buf_fmt(out, "PREDICTION for %s, not measured: bytes / %g GB/s + phases x %g us\n", m->name,
            m->bytes_per_s / 1e9, m->phase_s * 1e6);
    struct table t = {.align = "rrrr"};
    table_cell(&t, "  depth");
    table_cell(&t, "bytes");
    table_cell(&t, "ms");
    table_cell(&t, "tok/s");
    put_row(s, 0, &t);
    for (uint32_t n = 0; (n = show_next_length(n, s->model->hp.n_ctx_train));)
        put_row(s, n, &t);
    table_text(&t, out);
    table_free(&t);
}

static void json_row(struct jout *j, const struct shown *s, uint32_t depth)
{
    jout_begin(j, NULL, '{');
    jout_u64(j, "depth", depth);
    jout_f64(j, "tokens_per_s", speed_at(s, depth), 3);
    jout_end(j, '}');
}

void show_json_prediction(struct jout *j, const struct shown *s)
{
    const struct predict_machine *m = &predict_strix_halo;
    struct predict_work w;
    struct err e;
    if (!work_at(s, 0, &w, &e))
        return;
    jout_begin(j, "gpu_per_token", '{');
    jout_u64(j, "phases", w.n_phases);
    jout_u64(j, "phases_of_a_layer", w.most_of_layer);
    jout_u64(j, "dispatches", w.n_dispatches);
    jout_f64(j, "weight_bytes_read", w.weight_bytes, 0);
    jout_begin(j, "prediction", '{');
    jout_str(j, "machine", str_of(m->name));
    jout_f64(j, "gb_per_s", m->bytes_per_s / 1e9, 3);
    jout_f64(j, "us_per_phase", m->phase_s * 1e6, 3);
    jout_begin(j, "by_depth", '[');
    json_row(j, s, 0);
    for (uint32_t n = 0; (n = show_next_length(n, s->model->hp.n_ctx_train));)
        json_row(j, s, n);
    jout_end(j, ']');
    jout_end(j, '}');
    jout_end(j, '}');
}
