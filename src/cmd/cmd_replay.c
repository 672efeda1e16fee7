#include "cmd/cmd.h"

#include <stdlib.h>

#include "cmd/opts.h"
#include "cmd/rerun.h"
#include "cmd/term.h"

struct replay_opts {
    const char *url, *key;
    bool fast, minimum, json;
    uint32_t n_at_once;
};

#define AT(field) offsetof(struct replay_opts, field)
static const struct opt replay_table[] = {
    {"--url", "URL", "the server", "http://127.0.0.1:8383", OPT_TEXT, AT(url), 0, 0},
    {"--api-key", "KEY", "what that server asks for", "none", OPT_TEXT, AT(key), 0, 0},
    {"--fast", NULL, "keep the order within each conversation only", NULL, OPT_FLAG, AT(fast), 0,
     0},
    {"--parallel", "N", "requests at once, at most", "64, with --fast 4", OPT_U32, AT(n_at_once), 0,
     1024},
    {"--minimum", NULL, "count the prompt tokens that have to be read", NULL, OPT_FLAG, AT(minimum),
     0, 0},
    {"--json", NULL, "as JSON", NULL, OPT_FLAG, AT(json), 0, 0},
};
#undef AT

static const struct opt_example examples[] = {
    {"tawny replay recorded/", "the same requests again, on http://127.0.0.1:8383"},
    {"tawny replay recorded/ --url http://127.0.0.1:8080", "on another server"},
    {"tawny replay sessions/ --minimum --json", "how much was read that was known?"},
    {NULL, NULL},
};

/* Of all requests that were answered. */
struct sum {
    size_t n, n_failed, n_calls, n_valid, n_first;
    int64_t n_prompt, n_cached; /* tokens, of those that tell both */
    int64_t n_generated;
    int64_t minimum, n_compared; /* what had to be read, and what of the same requests was */
    double *first_ms;            /* sorted */
    double total_s;
};

static double ms_between(uint64_t from, uint64_t to)
{
    return to > from ? 1e-6 * (double)(to - from) : 0;
}

static int64_t n_read(int64_t n_prompt, int64_t n_cached)
{
    return n_prompt < 0 || n_cached < 0 ? -1 : n_prompt - n_cached;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static struct sum sum_of(struct rerun_list *l)
{
    struct sum s = {.first_ms = arena_new(&l->arena, l->n + 1, sizeof(double))};
    uint64_t from = UINT64_MAX, to = 0;
    for (size_t i = 0; i < l->n; i++) {
        const struct rerun_exchange *x = &l->at[i];
        s.n++;
        s.n_failed += !x->ok;
        from = x->begin_ns && x->begin_ns < from ? x->begin_ns : from;
        to = x->end_ns > to ? x->end_ns : to;
        if (!x->ok)
            continue;
        s.n_calls += x->reply.n_calls;
        s.n_valid += x->n_valid;
        s.n_generated += x->reply.n_generated > 0 ? x->reply.n_generated : 0;
        if (x->reply.n_prompt >= 0 && x->reply.n_cached >= 0) {
            s.n_prompt += x->reply.n_prompt;
            s.n_cached += x->reply.n_cached;
        }
        if (x->minimum >= 0) {
            s.n_compared += n_read(x->reply.n_prompt, x->reply.n_cached);
            s.minimum += x->minimum;
        }
        if (x->reply.first_ns)
            s.first_ms[s.n_first++] = ms_between(x->begin_ns, x->reply.first_ns);
    }
    qsort(s.first_ms, s.n_first, sizeof(double), by_value);
    s.total_s = to > from ? 1e-9 * (double)(to - from) : 0;
    return s;
}

/* The value that a share of them is not above; -1: there are none. */
static double quantile(const struct sum *s, double share)
{
    size_t i = (size_t)(share * (double)s->n_first);
    return s->n_first ? s->first_ms[i < s->n_first ? i : s->n_first - 1] : -1;
}

static void cell_of(struct table *t, int64_t n)
{
    if (n < 0)
        table_cell(t, "-");
    else
        table_cell(t, "%lld", (long long)n);
}

static void put_row(struct table *t, const struct rerun_exchange *x)
{
    const struct rerun_reply *r = &x->reply;
    table_cell(t, "%.*s", STRF(x->id));
    table_cell(t, "%.*s", STRF(x->path));
    cell_of(t, r->n_prompt);
    cell_of(t, n_read(r->n_prompt, r->n_cached));
    cell_of(t, x->minimum);
    cell_of(t, r->n_generated);
    table_cell(t, r->first_ns ? "%.0f" : "-", ms_between(x->begin_ns, r->first_ns));
    table_cell(t, "%.0f", ms_between(x->begin_ns, x->end_ns));
    table_cell(t, "%zu/%zu", x->n_valid, r->n_calls);
    table_cell(t, "%s", x->ok ? "" : x->error.msg);
}

static void put_text(const struct rerun_list *l, const struct sum *s, struct buf *out)
{
    static const char *const heads[] = {"request", "path",     "prompt",   "read",  "minimum",
                                        "reply",   "first ms", "total ms", "calls", ""};
    struct table t = {.align = "llrrrrrrrl"};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        table_cell(&t, "%s", heads[i]);
    for (size_t i = 0; i < l->n; i++)
        put_row(&t, &l->at[i]);
    table_text(&t, out);
    table_free(&t);
    buf_fmt(out, "\n%zu requests in %.1f s", s->n, s->total_s);
    if (s->n_failed)
        buf_fmt(out, ", %zu failed", s->n_failed);
    buf_fmt(out, "; %lld prompt tokens, %lld read", (long long)s->n_prompt,
            (long long)n_read(s->n_prompt, s->n_cached));
    if (s->minimum > 0)
        buf_fmt(out, " (%lld of %lld had to be)", (long long)s->minimum, (long long)s->n_compared);
    buf_fmt(out, "; first token %.0f ms (p50), %.0f ms (p95); %zu of %zu calls valid\n",
            quantile(s, 0.5), quantile(s, 0.95), s->n_valid, s->n_calls);
}

/* A number that is not known is left out. */
static void put_known(struct jout *j, const char *key, int64_t n)
{
    if (n >= 0)
        jout_i64(j, key, n);
}

static void put_tokens(struct jout *j, int64_t n_prompt, int64_t n_cached, int64_t minimum,
                       int64_t n_generated)
{
    put_known(j, "prompt_tokens", n_prompt);
    put_known(j, "cached_tokens", n_cached);
    put_known(j, "read_tokens", n_read(n_prompt, n_cached));
    put_known(j, "minimum_tokens", minimum);
    put_known(j, "completion_tokens", n_generated);
}

static void put_json(const struct rerun_list *l, const struct sum *s, struct buf *out)
{
    struct jout j = {.out = out};
    jout_begin(&j, NULL, '{');
    jout_begin(&j, "requests", '[');
    for (size_t i = 0; i < l->n; i++) {
        const struct rerun_exchange *x = &l->at[i];
        const struct rerun_reply *r = &x->reply;
        jout_begin(&j, NULL, '{');
        jout_str(&j, "id", x->id);
        jout_str(&j, "path", x->path);
        jout_i64(&j, "status", x->status);
        if (!x->ok)
            jout_str(&j, "error", str_of(x->error.msg));
        put_tokens(&j, r->n_prompt, r->n_cached, x->minimum, r->n_generated);
        if (r->first_ns)
            jout_f64(&j, "first_ms", ms_between(x->begin_ns, r->first_ns), 3);
        jout_f64(&j, "total_ms", ms_between(x->begin_ns, x->end_ns), 3);
        jout_u64(&j, "calls", r->n_calls);
        jout_u64(&j, "valid_calls", x->n_valid);
        jout_end(&j, '}');
    }
    jout_end(&j, ']');
    jout_begin(&j, "sum", '{');
    jout_u64(&j, "requests", s->n);
    jout_u64(&j, "failed", s->n_failed);
    put_tokens(&j, s->n_prompt, s->n_cached, s->minimum ? s->minimum : -1, s->n_generated);
    jout_f64(&j, "first_ms_p50", quantile(s, 0.5), 3);
    jout_f64(&j, "first_ms_p95", quantile(s, 0.95), 3);
    jout_f64(&j, "total_s", s->total_s, 3);
    jout_u64(&j, "calls", s->n_calls);
    jout_u64(&j, "valid_calls", s->n_valid);
    jout_end(&j, '}');
    jout_end(&j, '}');
}

struct showing {
    struct bar bar;
    size_t n;
};

static void show_step(void *ctx, size_t n_done)
{
    struct showing *s = ctx;
    bar_step(&s->bar, n_done, s->n);
}

static void show_loading(void *ctx, struct health h)
{
    struct bar *bar = ctx;
    if (!bar->label) {
        fprintf(stderr, "tawny: the server is loading its model\n");
        bar_open(bar, "Loading", BAR_BYTES);
    }
    if (h.total)
        bar_step(bar, h.done, h.total);
}

/* Requests to a server without a model would all be refused. */
static bool wait_ready(const struct rerun_server *server, struct err *e)
{
    struct bar bar = {0};
    const bool ok = rerun_wait(server, show_loading, &bar, e);
    if (bar.label)
        bar_close(&bar);
    return ok;
}

static bool replay(const struct replay_opts *o, const char *folder, struct err *e)
{
    struct rerun_list l;
    struct rerun_params p = {.fast = o->fast,
                             .n_at_once = o->n_at_once ? o->n_at_once
                                          : o->fast    ? 4
                                                       : 64};
    if (!rerun_server_of(o->url, &p.server, e) || !rerun_load(folder, &l, e))
        return false;
    p.server.key = o->key;
    if (!wait_ready(&p.server, e)) {
        rerun_free(&l);
        return false;
    }
    struct showing showing = {.n = l.n};
    bar_open(&showing.bar, "replay", BAR_COUNT);
    rerun_run(&l, &p, show_step, &showing);
    bar_close(&showing.bar);
    bool ok = !o->minimum || rerun_minimum(&l, &p.server, e);
    struct sum s = sum_of(&l);
    struct buf out = {0};
    if (ok && o->json)
        put_json(&l, &s, &out);
    else if (ok)
        put_text(&l, &s, &out);
    ok = ok && term_put(&out, e);
    if (ok && s.n_failed)
        ok = err_set(e, ERR_FORMAT, "replay: %zu of %zu requests failed", s.n_failed, s.n);
    rerun_free(&l);
    return ok;
}

int cmd_replay(int argc, char **argv)
{
    struct replay_opts o = {.url = "http://127.0.0.1:8383"};
    struct opt_group groups[] = {OPT_GROUP("Options", replay_table, &o)};
    const struct opt_command c = {
        .name = "replay",
        .args = "DIR",
        .summary = "sends recorded requests again and measures",
        .examples = examples,
        .groups = groups,
        .n_groups = sizeof groups / sizeof *groups,
        .min_words = 1,
        .max_words = 1,
        .notes = "DIR holds what 'tawny serve --record DIR' kept. Requests overlap as they did: "
                 "one that "
                 "came\nwhen another had ended waits for its end. docs/agents.md has more.",
    };
    struct opt_words words;
    struct err e = {0};
    int status;
    if (!opts_parse(&c, argc, argv, &words, &status))
        return status;
    return replay(&o, words.at[0], &e) ? EXIT_OK : term_fail(&e);
}
