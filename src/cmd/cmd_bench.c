#include "cmd/cmd.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/pool.h"
#include "base/rng.h"
#include "cmd/bench.h"
#include "cmd/cmd_model.h"
#include "cmd/opts.h"
#include "cmd/term.h"
#include "compute/exec.h"
#include "compute/place.h"

enum { MAX_LIST = 64, MAX_TESTS = 4096, MAX_TOKENS = 1 << 22 };

struct bench_opts {
    const char *model, *n_prompt, *n_gen, *n_depth, *pg, *threads, *format, *backend, *device,
        *trace;
    uint32_t reps, n_batch, n_ubatch;
    enum block_type type_k, type_v;
    struct requant requant;
    bool no_warmup, progress, profile;
};

#define AT(field) offsetof(struct bench_opts, field)
static const struct opt bench_table[] = {
    {"-m --model", "FILE", "model", "demo", OPT_TEXT, AT(model), 0, 0},
    {"-p --n-prompt", "TOKENS", "prompt lengths, a list; 0: none", "512", OPT_TEXT, AT(n_prompt), 0,
     0},
    {"-n --n-gen", "TOKENS", "tokens to generate, a list; 0: none", "128", OPT_TEXT, AT(n_gen), 0,
     0},
    {"-d --n-depth", "TOKENS", "tokens in the cache before, a list", "0", OPT_TEXT, AT(n_depth), 0,
     0},
    {"-t --threads", "N", "threads, a list", "one per core", OPT_TEXT, AT(threads), 0, 0},
    {"-r --repetitions", "N", "runs of each test", "5", OPT_U32, AT(reps), 1, BENCH_MAX_REPS},
    {"-o --output", "FORMAT", "md, csv, json or jsonl, on standard output", "md", OPT_TEXT,
     AT(format), 0, 0},
};
static const struct opt more_table[] = {
    {"-pg", "PP,TG", "also a prompt of PP followed by TG tokens", NULL, OPT_TEXT, AT(pg), 0, 0},
    {"-b --batch-size", "TOKENS", "prompt tokens handed over at once", "2048", OPT_U32, AT(n_batch),
     1, 1 << 20},
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
    {"--no-warmup", NULL, "no run before the first that counts", NULL, OPT_FLAG, AT(no_warmup), 0,
     0},
    {"--profile", NULL, "where a GPU's time goes, in tables behind the results; slower", NULL,
     OPT_FLAG, AT(profile), 0, 0},
    {"--trace", "FILE", "every step on the GPU with its time, for chrome://tracing or Perfetto",
     NULL, OPT_TEXT, AT(trace), 0, 0},
    {"--progress", NULL, "a line on standard error per run", NULL, OPT_FLAG, AT(progress), 0, 0},
    {"-ngl --n-gpu-layers --gpu-layers", "N", "a backend runs all layers", NULL, OPT_IGNORED, 0, 0,
     0},
    {"-fa --flash-attn", "[on|off|auto|0|1]", "attention is always fused", NULL, OPT_IGNORED, 0, 0,
     0},
    {"-mmp --mmap", "0|1", "weights are read, never mapped", NULL, OPT_IGNORED, 0, 0, 0},
};
#undef AT

static const struct opt_example examples[] = {
    {"tawny bench -m model.gguf", "prompt of 512, then 128 tokens, five times each"},
    {"tawny bench -m model.gguf -p 0 -n 64 -d 0,4096,16384", "generation at three depths"},
    {"tawny bench -m model.gguf -t 1-8*2 -o csv", "1, 2, 4 and 8 threads, for a program"},
    {NULL, NULL},
};

static const char notes[] =
    "Lists: 128,256,512, or FIRST-LAST, FIRST-LAST+STEP, FIRST-LAST*FACTOR.\n"
    "Options, columns and field names are llama-bench's; bytes_per_token (weights and cache that "
    "a\n"
    "generated token reads), gb_per_s and what follows from the plan are tawny's: phases and\n"
    "dispatches of a token on a GPU, and the speed that they and the bytes predict for Strix Halo\n"
    "(bytes / 236 GB/s + phases x 4 us).\n" REQUANT_NOTES;

/* ---- what to measure ------------------------------------------------------------------------- */

struct list {
    uint32_t at[MAX_LIST];
    size_t n;
};

static bool bad_list(const char *option, const char *text, struct err *e)
{
    return err_set(e, ERR_USAGE, "bench: %s: '%s' is not a list of at most %d numbers up to %d",
                   option, text, MAX_LIST, MAX_TOKENS);
}

/* "512", "1-8", "1-8+2" or "1-8*2", appended to l. */
static bool read_range(str item, struct list *l)
{
    str last = {NULL, 0}, step = {NULL, 0};
    int64_t from, to, by = 1;
    bool times = str_find(item, STR("*"), 0) != SIZE_MAX;
    str first = str_cut(item, '-', &last);
    bool range = first.n < item.n;
    last = str_cut(last, times ? '*' : '+', &step);
    if (!str_to_i64(first, &from) || (range && !str_to_i64(last, &to)) ||
        (step.n && !str_to_i64(step, &by)))
        return false;
    if (!range)
        to = from;
    if (from < 0 || to > MAX_TOKENS || by < (times ? 2 : 1) || by > MAX_TOKENS || (times && !from))
        return false;
    for (int64_t v = from; v <= to; v = times ? v * by : v + by) {
        if (l->n == MAX_LIST)
            return false;
        l->at[l->n++] = (uint32_t)v;
    }
    return true;
}

static bool read_list(const char *option, const char *text, struct list *l, struct err *e)
{
    l->n = 0;
    for (str rest = str_of(text); rest.n;)
        if (!read_range(str_cut(rest, ',', &rest), l))
            return bad_list(option, text, e);
    return l->n > 0 || bad_list(option, text, e);
}

struct tests {
    struct bench_test at[MAX_TESTS];
    size_t n;
};

static void add_test(struct tests *t, struct bench_test test, uint32_t n_prompt, uint32_t n_gen)
{
    test.n_prompt = n_prompt;
    test.n_gen = n_gen;
    if ((n_prompt || n_gen) && t->n < MAX_TESTS)
        t->at[t->n++] = test;
}

/* llama-bench's order: prompts, then generation, then both, for each depth. */
static bool make_tests(const struct bench_opts *o, struct tests *t, struct err *e)
{
    struct list threads, depths, prompts, gens, pg = {0};
    if (!read_list("-t", o->threads, &threads, e) || !read_list("-d", o->n_depth, &depths, e) ||
        !read_list("-p", o->n_prompt, &prompts, e) || !read_list("-n", o->n_gen, &gens, e) ||
        (o->pg && !read_list("-pg", o->pg, &pg, e)))
        return false;
    if (o->pg && pg.n != 2)
        return err_set(e, ERR_USAGE, "bench: -pg: '%s' is not two numbers PP,TG", o->pg);
    for (size_t i = 0; i < threads.n; i++) {
        for (size_t d = 0; d < depths.n; d++) {
            struct bench_test test = {.n_depth = depths.at[d], .n_threads = threads.at[i]};
            for (size_t k = 0; k < prompts.n; k++)
                add_test(t, test, prompts.at[k], 0);
            for (size_t k = 0; k < gens.n; k++)
                add_test(t, test, 0, gens.at[k]);
            if (pg.n)
                add_test(t, test, pg.at[0], pg.at[1]);
        }
    }
    return t->n > 0 || err_set(e, ERR_USAGE, "bench: nothing to measure: -p and -n are both 0");
}

static bool format_of(const char *name, enum bench_format *out, struct err *e)
{
    static const char *const names[] = {"md", "csv", "json", "jsonl"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(name, names[i])) {
            *out = (enum bench_format)i;
            return true;
        }
    return err_set(e, ERR_USAGE, "bench: -o: '%s' is not one of md, csv, json, jsonl", name);
}

/* ---- measuring ------------------------------------------------------------------------------- */

struct bench {
    const struct bench_opts *opts;
    struct bench_setup setup;
    struct gguf *file;
    struct model *model;
    const struct backend *backend;
    struct exec *exec;
    char cache_path[TERM_MAX_PATH];
    struct exec_params params; /* that exec was opened with, or will be */
    int32_t *ids;              /* [n_batch] */
    uint32_t *pos;             /* [n_batch] */
    struct rng rng;
    struct bar bar;
    size_t i_test, n_tests;
    struct buf trace; /* events of all execs so far */
    uint32_t n_traced;
};

static int32_t random_token(struct bench *b)
{
    return (int32_t)rng_below(&b->rng, b->model->hp.n_vocab);
}

/* A batch that ends at position `end`. What computes no numbers may be fast at it. */
static bool run_batch(struct bench *b, const struct batch *batch, uint32_t end, struct err *e)
{
    if (!exec_run(b->exec, batch, e))
        return false;
    const struct best *best = exec_best(b->exec, 0);
    return (best ? best->n > 0 : !isnan(exec_logits(b->exec, 0)[0])) ||
           exec_refuse_nan(b->exec, end, e);
}

/* Reads n random tokens at positions from..., in batches. */
static bool read_tokens(struct bench *b, uint32_t from, uint32_t n, struct err *e)
{
    while (n) {
        uint32_t k = (uint32_t)num_min(n, b->opts->n_batch);
        for (uint32_t i = 0; i < k; i++) {
            b->ids[i] = random_token(b);
            b->pos[i] = from + i;
        }
        const struct batch batch = {.n = k, .ids = b->ids, .pos = b->pos};
        from += k;
        n -= k;
        if (!run_batch(b, &batch, from, e))
            return false;
    }
    return true;
}

/* One token at a time, as a greedy reply is written: the likeliest one where the backend finds it,
 * else a random one, since which token comes does not matter. */
static bool generate(struct bench *b, uint32_t from, uint32_t n, struct err *e)
{
    int32_t id = random_token(b);
    for (uint32_t pos = from; pos < from + n; pos++) {
        const struct batch batch = {
            .n = 1, .ids = &id, .pos = &pos, .want_best = true, .goes_on = pos + 1 < from + n};
        if (!run_batch(b, &batch, pos + 1, e))
            return false;
        const struct best *best = exec_best(b->exec, 0);
        id = best ? best->at[0].id : random_token(b);
    }
    return true;
}

static void show_run(struct bench *b, const struct bench_test *t, uint32_t run)
{
    char name[64];
    bench_name(t, name, sizeof name);
    if (b->opts->progress && run)
        fprintf(stderr, "tawny: test %zu/%zu: %s: run %u/%u\n", b->i_test + 1, b->n_tests, name,
                run, b->opts->reps);
    else if (b->opts->progress)
        fprintf(stderr, "tawny: test %zu/%zu: %s: warm-up\n", b->i_test + 1, b->n_tests, name);
    else
        bar_step(&b->bar, b->i_test * (b->opts->reps + 1) + run, b->n_tests * (b->opts->reps + 1));
}

static bool run_once(struct bench *b, const struct bench_test *t, uint64_t *ns, struct err *e)
{
    uint64_t start = clock_ns();
    if (!read_tokens(b, t->n_depth, t->n_prompt, e) ||
        !generate(b, t->n_depth + t->n_prompt, t->n_gen, e))
        return false;
    *ns = clock_ns() - start;
    return true;
}

/* What the token in the middle of a test moves and takes. */
static void tell_work(const struct bench *b, struct bench_result *r)
{
    const struct bench_opts *o = b->opts;
    const uint32_t depth = r->test.n_depth + (r->test.n_gen + 1) / 2;
    const struct exec_params params = {.n_ctx = b->params.n_ctx,
                                       .type_k = o->type_k,
                                       .type_v = o->type_v,
                                       .n_ubatch = o->n_ubatch};
    struct err e;
    r->bytes_per_token = 0;
    r->work = (struct predict_work){0};
    if (r->test.n_prompt)
        return;
    r->bytes_per_token = plan_bytes_per_token(&b->model->plan, depth, o->type_k, o->type_v);
    if (!predict_work(&b->model->plan, &params, depth + 1, &r->work, &e))
        r->work.n_phases = 0;
}

/* The tokens before a run are in the cache: each run writes over the same positions behind them,
 * where layers without a history do not have to read them again. */
static bool go_back(struct bench *b, uint32_t n_depth, struct err *e)
{
    return exec_within(exec_reach(b->exec, 0), n_depth) || read_tokens(b, 0, n_depth, e);
}

/* Warm-up as llama-bench does it: the prompt once, one token. */
static bool run_test(struct bench *b, struct bench_result *r, struct err *e)
{
    const struct bench_test *t = &r->test;
    show_run(b, t, 0);
    if (!b->opts->no_warmup &&
        (!read_tokens(b, 0, t->n_prompt, e) || !generate(b, t->n_prompt, t->n_gen ? 1 : 0, e)))
        return false;
    if (!read_tokens(b, 0, t->n_depth, e))
        return false;
    r->test_time = clock_unix();
    for (r->n_samples = 0; r->n_samples < b->opts->reps; r->n_samples++) {
        show_run(b, t, r->n_samples + 1);
        if (!go_back(b, t->n_depth, e) || !run_once(b, t, &r->samples_ns[r->n_samples], e))
            return false;
    }
    tell_work(b, r);
    return true;
}

/* ---- the command ----------------------------------------------------------------------------- */

static void read_cpu_name(char *out, size_t room)
{
    char line[256];
    FILE *f = fopen("/proc/cpuinfo", "r");
    snprintf(out, room, "unknown");
    while (f && fgets(line, sizeof line, f)) {
        str value = {NULL, 0};
        str key = str_trim(str_cut(str_of(line), ':', &value));
        if (str_eq(key, STR("model name"))) {
            value = str_trim(value);
            snprintf(out, room, "%.*s", STRF(value));
            break;
        }
    }
    if (f)
        fclose(f);
}

static void close_exec(struct bench *b)
{
    struct buf text = {0};
    if (b->exec && b->opts->profile)
        exec_profile(b->exec, &text);
    if (b->exec && b->opts->trace)
        bench_trace(b->exec, b->backend->name, b->n_traced++, &b->trace);
    fwrite(text.p, 1, text.n, stdout);
    buf_free(&text);
    exec_close(b->exec);
    b->exec = NULL;
}

static bool open_exec(struct bench *b, uint32_t n_threads, struct err *e)
{
    if (b->exec && b->params.n_threads == (int)n_threads)
        return true;
    close_exec(b);
    struct bar bar;
    const struct log log = term_log(false);
    bar_open(&bar, "Loading", BAR_BYTES);
    const struct progress progress = bar_progress(&bar);
    b->params.n_threads = (int)n_threads;
    b->exec = exec_open(b->backend, &b->model->plan, &b->params, &log, &progress, e);
    b->params.opened = NULL; /* the exec's now */
    bar_close(&bar);
    return b->exec != NULL;
}

static uint32_t longest(const struct tests *t)
{
    uint32_t n = 0;
    for (size_t i = 0; i < t->n; i++)
        n = (uint32_t)num_max(n, t->at[i].n_prompt + t->at[i].n_gen + t->at[i].n_depth + 1);
    return n;
}

static bool open_model(struct bench *b, const char *path, const struct tests *t, struct err *e)
{
    const struct log log = term_log(false);
    b->params = (struct exec_params){.n_ctx = longest(t),
                                     .n_ubatch = b->opts->n_ubatch,
                                     .type_k = b->opts->type_k,
                                     .type_v = b->opts->type_v,
                                     .device = b->opts->device,
                                     .cache_path = model_cache_path(b->cache_path),
                                     .profile = b->opts->profile || b->opts->trace};
    b->file = gguf_open(path, &log, e);
    const struct model_params how = {.requant = b->opts->requant};
    b->model = b->file ? model_open_with(b->file, &how, &log, e) : NULL;
    if (!b->model)
        return false;
    b->backend = place_choose(b->opts->backend, &b->model->plan, &b->params, &log, e);
    if (!b->backend)
        return err_within(e, "bench");
    if (b->opts->trace && !b->backend->events)
        return err_set(e, ERR_USAGE, "bench: --trace: %s measures no steps, a GPU does (--device)",
                       b->backend->name);
    b->setup = (struct bench_setup){.model = b->model,
                                    .path = path,
                                    .backend = b->backend->name,
                                    .n_batch = b->opts->n_batch,
                                    .n_ubatch = b->opts->n_ubatch ? b->opts->n_ubatch
                                                                  : b->backend->n_ubatch,
                                    .type_k = b->opts->type_k,
                                    .type_v = b->opts->type_v};
    read_cpu_name(b->setup.cpu, sizeof b->setup.cpu);
    b->ids = mem_new(b->opts->n_batch, sizeof *b->ids);
    b->pos = mem_new(b->opts->n_batch, sizeof *b->pos);
    return true;
}

/* Wipes the bar before a line goes out: both may stand on one terminal. */
static bool put_line(struct bench *b, struct buf *out, struct err *e)
{
    bar_wipe(&b->bar);
    return term_put(out, e);
}

static bool run_all(struct bench *b, const struct tests *t, enum bench_format f, struct err *e)
{
    struct bench_result *r = mem_new(1, sizeof *r);
    struct buf out = {0}, predictions = {0};
    bool ok = true;
    b->n_tests = t->n;
    bench_begin(f, &out);
    for (b->i_test = 0; ok && b->i_test < t->n; b->i_test++) {
        r->test = t->at[b->i_test];
        ok = open_exec(b, r->test.n_threads, e) && run_test(b, r, e);
        if (ok) {
            bench_line(f, &b->setup, r, b->i_test == 0, &out);
            bench_prediction(f, r, &predictions);
            ok = put_line(b, &out, e);
        }
    }
    buf_str(&out, buf_view(&predictions));
    bench_end(f, &out);
    ok = ok && put_line(b, &out, e);
    buf_free(&out);
    buf_free(&predictions);
    free(r);
    return ok;
}

static bool write_trace(const struct bench *b, struct err *e)
{
    if (!b->opts->trace)
        return true;
    if (b->trace.n == 0)
        return err_set(e, ERR_UNSUPPORTED, "bench: --trace: the device has no timestamps");
    return bench_trace_write(b->opts->trace, &b->trace, e);
}

int cmd_bench(int argc, char **argv)
{
    char threads[16];
    struct bench_opts o = {.n_prompt = "512",
                           .n_gen = "128",
                           .n_depth = "0",
                           .threads = threads,
                           .format = "md",
                           .reps = 5,
                           .n_batch = 2048,
                           .type_k = BLOCK_F16,
                           .type_v = BLOCK_F16};
    struct opt_group groups[] = {OPT_GROUP("Options", bench_table, &o),
                                 OPT_GROUP("More options", more_table, &o)};
    const struct opt_command c = {
        .name = "bench",
        .args = "",
        .summary = "measures prompt and generation speed",
        .examples = examples,
        .groups = groups,
        .n_groups = sizeof groups / sizeof *groups,
        .notes = notes,
    };
    struct opt_words words;
    int status;
    if (!opts_parse(&c, argc, argv, &words, &status))
        return status;

    struct err e = {0};
    enum bench_format format = BENCH_MD;
    struct tests *tests = mem_new(1, sizeof *tests);
    struct bench b = {.opts = &o, .rng = {1}};
    char *path = NULL;
    snprintf(threads, sizeof threads, "%d", pool_default_size());
    bar_open(&b.bar, "Measuring", BAR_COUNT);
    bool ok = format_of(o.format, &format, &e) && make_tests(&o, tests, &e) &&
              (path = model_path(o.model, &e)) != NULL && open_model(&b, path, tests, &e) &&
              run_all(&b, tests, format, &e);
    bar_close(&b.bar);
    close_exec(&b);
    ok = ok && write_trace(&b, &e);
    status = ok ? EXIT_OK : term_fail(&e);
    exec_device_close(b.backend, &b.params);
    model_close(b.model);
    gguf_close(b.file);
    buf_free(&b.trace);
    free(b.ids);
    free(b.pos);
    free(tests);
    free(path);
    return status;
}
