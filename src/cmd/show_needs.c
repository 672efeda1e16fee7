/* What a model needs: memory, and the bytes that a generated token moves. */
#include "base/num.h"
#include "cmd/show.h"

enum { FIRST_CTX = 4096 };

uint32_t show_next_length(uint32_t length, uint32_t limit)
{
    const uint64_t next = length ? 2ull * length : FIRST_CTX;
    return length >= limit ? 0 : (uint32_t)num_min(next, limit);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void put_memory_now(const struct shown *s, struct buf *out)
{
    struct buf table = {0};
    mem_table_print(&s->memory, &table);
    buf_fmt(out, "\nMemory for %u session%s of %u tokens (backend %s, keys %s, values %s)%s\n",
            s->n_sessions, s->n_sessions == 1 ? "" : "s", s->n_ctx, s->backend->name,
            block_type_name(s->opts->type_k), block_type_name(s->opts->type_v),
            mem_table_fits(&s->memory) ? "" : ": DOES NOT FIT");
    for (str rest = buf_view(&table); rest.n;) {
        str line = str_cut(rest, '\n', &rest);
        buf_fmt(out, "  %.*s\n", STRF(line));
    }
    buf_free(&table);
}

/* The cache types that the table by length compares; the last column is what was asked for. */
static const enum block_type cache_types[] = {BLOCK_F16, BLOCK_Q8_0, BLOCK_Q4_0};
enum { N_CACHE_TYPES = sizeof cache_types / sizeof *cache_types };

/* Needs of one length of the context, for all sessions. */
struct length_needs {
    uint64_t cache[N_CACHE_TYPES]; /* 0: the backend does not do it */
    uint64_t total;                /* of everything, with the cache types asked for; 0 likewise */
    bool fits;
};

static uint64_t cache_bytes(const struct shown *s, uint32_t n_ctx, enum block_type type)
{
    struct engine_params p = show_params(s, n_ctx);
    struct mem_table table;
    struct err e;
    uint64_t n_bytes = 0;
    p.type_k = p.type_v = type;
    if (!engine_memory(s->model, &p, &table, &e))
        return 0;
    for (size_t i = 0; i < table.n_rows; i++)
        if (str_eq(str_of(table.rows[i].what), STR("kv cache")))
            n_bytes += table.rows[i].n_bytes;
    return n_bytes;
}

static struct length_needs needs_of(const struct shown *s, uint32_t n_ctx)
{
    struct engine_params p = show_params(s, n_ctx);
    struct length_needs n = {0};
    struct mem_table table;
    struct err e;
    for (size_t i = 0; i < N_CACHE_TYPES; i++)
        n.cache[i] = cache_bytes(s, n_ctx, cache_types[i]);
    if (engine_memory(s->model, &p, &table, &e)) {
        n.total = table.total;
        n.fits = mem_table_fits(&table);
    }
    return n;
}

static void put_memory_by_length(const struct shown *s, struct buf *out)
{
    struct table t = {.align = "rrrrrl"};
    table_cell(&t, "  tokens");
    for (size_t i = 0; i < N_CACHE_TYPES; i++)
        table_cell(&t, "cache %s", block_type_name(cache_types[i]));
    table_cell(&t, "total");
    table_cell(&t, "fits");
    for (uint32_t n = 0; (n = show_next_length(n, s->model->hp.n_ctx_train));) {
        const struct length_needs needs = needs_of(s, n);
        table_cell(&t, "  %u", n);
        for (size_t i = 0; i < N_CACHE_TYPES; i++)
            table_cell(&t, "%s", needs.cache[i] ? term_bytes((double)needs.cache[i]).text : "-");
        table_cell(&t, "%s", needs.total ? term_bytes((double)needs.total).text : "-");
        table_cell(&t, "%s", needs.fits ? "yes" : "no");
    }
    buf_fmt(out, "\nMemory by context, %u session%s (total: keys %s, values %s)\n", s->n_sessions,
            s->n_sessions == 1 ? "" : "s", block_type_name(s->opts->type_k),
            block_type_name(s->opts->type_v));
    table_text(&t, out);
    table_free(&t);
}

void show_memory(const struct shown *s, struct buf *out)
{
    put_memory_now(s, out);
    put_memory_by_length(s, out);
}

static void json_memory_by_length(struct jout *j, const struct shown *s)
{
    static const char *const keys[N_CACHE_TYPES] = {"cache_f16", "cache_q8_0", "cache_q4_0"};
    jout_begin(j, "by_context", '[');
    for (uint32_t n = 0; (n = show_next_length(n, s->model->hp.n_ctx_train));) {
        const struct length_needs needs = needs_of(s, n);
        jout_begin(j, NULL, '{');
        jout_u64(j, "n_ctx", n);
        for (size_t i = 0; i < N_CACHE_TYPES; i++)
            jout_u64(j, keys[i], needs.cache[i]);
        jout_u64(j, "total", needs.total);
        jout_bool(j, "fits", needs.fits);
        jout_end(j, '}');
    }
    jout_end(j, ']');
}

void show_json_memory(struct jout *j, const struct shown *s)
{
    jout_begin(j, "memory", '{');
    jout_str(j, "backend", str_of(s->backend->name));
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
    json_memory_by_length(j, s);
    jout_end(j, '}');
}

/* ---- bytes per token ------------------------------------------------------------------------- */

/* KV bytes that a token at this depth reads. */
static double cache_read(const struct shown *s, uint32_t depth)
{
    return (double)plan_kv_bytes_read(&s->model->plan, depth, s->opts->type_k, s->opts->type_v);
}

static double cache_written(const struct shown *s)
{
    return (double)plan_kv_bytes_per_token(&s->model->plan, s->opts->type_k, s->opts->type_v);
}

/* Of the recurrent states, which a token reads and writes whole. */
static double states_moved(const struct shown *s)
{
    return 2.0 * (double)plan_state_bytes(&s->model->plan);
}

static double bytes_at(const struct shown *s, uint32_t depth)
{
    return plan_bytes_per_token(&s->model->plan, depth, s->opts->type_k, s->opts->type_v);
}

static void put_bytes_row(const struct shown *s, uint32_t depth, struct table *t)
{
    table_cell(t, "  %u", depth);
    table_cell(t, "%s", term_bytes(plan_weight_bytes_per_token(&s->model->plan)).text);
    if (states_moved(s) > 0)
        table_cell(t, "%s", term_bytes(states_moved(s)).text);
    table_cell(t, "%s", term_bytes(cache_read(s, depth)).text);
    table_cell(t, "%s", term_bytes(bytes_at(s, depth)).text);
    for (size_t i = 0; i < s->n_bandwidths; i++)
        table_cell(t, "%.1f", s->bandwidths[i] / bytes_at(s, depth));
}

void show_bytes(const struct shown *s, struct buf *out)
{
    char align[5 + SHOW_MAX_BANDWIDTHS + 1];
    const size_t n_columns = (states_moved(s) > 0 ? 5 : 4) + s->n_bandwidths;
    for (size_t i = 0; i < n_columns; i++)
        align[i] = 'r';
    align[n_columns] = 0;
    struct table t = {.align = align};
    table_cell(&t, "  depth");
    table_cell(&t, "weights");
    if (states_moved(s) > 0)
        table_cell(&t, "states");
    table_cell(&t, "cache");
    table_cell(&t, "all");
    for (size_t i = 0; i < s->n_bandwidths; i++)
        table_cell(&t, "tok/s at %g GB/s", s->bandwidths[i] / 1e9);
    put_bytes_row(s, 0, &t);
    for (uint32_t n = 0; (n = show_next_length(n, s->model->hp.n_ctx_train));)
        put_bytes_row(s, n, &t);
    buf_fmt(out, "\nBytes per generated token by tokens before it (keys %s, values %s)\n",
            block_type_name(s->opts->type_k), block_type_name(s->opts->type_v));
    table_text(&t, out);
    table_free(&t);
    if (s->n_bandwidths)
        buf_str(out,
                STR("  Speeds are predictions, bandwidth over bytes: an upper limit, since nothing "
                    "but memory is counted.\n"));
}

static void json_bytes_at(struct jout *j, const struct shown *s, uint32_t depth)
{
    jout_begin(j, NULL, '{');
    jout_u64(j, "depth", depth);
    jout_f64(j, "cache_read", cache_read(s, depth), 0);
    jout_f64(j, "all", bytes_at(s, depth), 0);
    jout_begin(j, "predicted", '[');
    for (size_t i = 0; i < s->n_bandwidths; i++) {
        jout_begin(j, NULL, '{');
        jout_f64(j, "gb_per_s", s->bandwidths[i] / 1e9, 3);
        jout_f64(j, "tokens_per_s", s->bandwidths[i] / bytes_at(s, depth), 3);
        jout_end(j, '}');
    }
    jout_end(j, ']');
    jout_end(j, '}');
}

void show_json_bytes(struct jout *j, const struct shown *s)
{
    jout_begin(j, "bytes_per_token", '{');
    jout_f64(j, "weights", plan_weight_bytes_per_token(&s->model->plan), 0);
    jout_f64(j, "cache_written", cache_written(s), 0);
    jout_f64(j, "states_read_and_written", states_moved(s), 0);
    jout_begin(j, "by_depth", '[');
    json_bytes_at(j, s, 0);
    for (uint32_t n = 0; (n = show_next_length(n, s->model->hp.n_ctx_train));)
        json_bytes_at(j, s, n);
    jout_end(j, ']');
    jout_end(j, '}');
}
