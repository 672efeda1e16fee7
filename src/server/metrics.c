#include "server/metrics.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"

static const char *const ends[] = {"stop",       "length",    "tool_calls",
                                   "repetition", "cancelled", "error"};
enum { N_ENDS = sizeof ends / sizeof *ends };

/* Upper bounds of the time to the first token, in seconds. */
static const double bounds[] = {0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300};
enum { N_BOUNDS = sizeof bounds / sizeof *bounds };

struct metrics {
    pthread_mutex_t lock; /* over all */
    struct metrics_run *runs;
    uint64_t start_ns;
    uint64_t n_ended[N_ENDS];
    uint64_t n_prompt, n_cached, n_generated, n_longest;
    uint64_t queue_ns, prompt_ns, reply_ns;
    uint64_t n_first[N_BOUNDS + 1]; /* in each bucket; the last is above all bounds */
    double first_s;
};

struct metrics *metrics_open(void)
{
    struct metrics *m = mem_new(1, sizeof *m);
    pthread_mutex_init(&m->lock, NULL);
    m->start_ns = clock_ns();
    return m;
}

void metrics_close(struct metrics *m)
{
    if (!m)
        return;
    pthread_mutex_destroy(&m->lock);
    free(m);
}

void metrics_begin(struct metrics *m, struct metrics_run *run)
{
    pthread_mutex_lock(&m->lock);
    run->next = m->runs;
    if (m->runs)
        m->runs->prev = run;
    m->runs = run;
    pthread_mutex_unlock(&m->lock);
}

static void unlink_run(struct metrics *m, struct metrics_run *run)
{
    if (run->prev)
        run->prev->next = run->next;
    else
        m->runs = run->next;
    if (run->next)
        run->next->prev = run->prev;
}

static void count_first(struct metrics *m, double s)
{
    size_t i = 0;
    while (i < N_BOUNDS && s > bounds[i])
        i++;
    m->n_first[i]++;
    m->first_s += s;
}

void metrics_end(struct metrics *m, struct metrics_run *run, const char *end,
                 const struct job_usage *u, uint64_t first_ns)
{
    size_t n_read = atomic_load(&run->n_read);
    uint64_t n_all = run->n_prompt + u->n_generated;
    pthread_mutex_lock(&m->lock);
    unlink_run(m, run);
    for (size_t i = 0; i < N_ENDS; i++)
        m->n_ended[i] += !strcmp(ends[i], end);
    /* One that was cancelled has read a part of its prompt. */
    m->n_prompt += n_read > u->n_cached ? n_read - u->n_cached : 0;
    m->n_cached += u->n_cached;
    m->n_generated += u->n_generated;
    m->n_longest = n_all > m->n_longest ? n_all : m->n_longest;
    m->queue_ns += u->queue_ns;
    m->prompt_ns += u->prefill_ns;
    m->reply_ns += u->decode_ns;
    if (first_ns)
        count_first(m, 1e-9 * (double)first_ns);
    pthread_mutex_unlock(&m->lock);
}

/* ---- Prometheus ---- */

static void put_metric(const char *name, const char *type, const char *help, double value,
                       struct buf *out)
{
    buf_fmt(out, "# HELP %s %s\n# TYPE %s %s\n%s %.15g\n", name, help, name, type, name, value);
}

static double per_second(uint64_t n, uint64_t ns)
{
    return ns ? 1e9 * (double)n / (double)ns : 0;
}

static void put_llama(const struct metrics *m, size_t n_running, size_t n_waiting, struct buf *out)
{
    put_metric("llamacpp:prompt_tokens_total", "counter", "Number of prompt tokens processed.",
               (double)m->n_prompt, out);
    put_metric("llamacpp:prompt_seconds_total", "counter", "Prompt process time",
               1e-9 * (double)m->prompt_ns, out);
    put_metric("llamacpp:tokens_predicted_total", "counter",
               "Number of generation tokens processed.", (double)m->n_generated, out);
    put_metric("llamacpp:tokens_predicted_seconds_total", "counter", "Predict process time",
               1e-9 * (double)m->reply_ns, out);
    put_metric("llamacpp:n_tokens_max", "counter",
               "Largest observed number of tokens in a request.", (double)m->n_longest, out);
    put_metric("llamacpp:prompt_tokens_seconds", "gauge", "Average prompt throughput in tokens/s.",
               per_second(m->n_prompt, m->prompt_ns), out);
    put_metric("llamacpp:predicted_tokens_seconds", "gauge",
               "Average generation throughput in tokens/s.",
               per_second(m->n_generated, m->reply_ns), out);
    put_metric("llamacpp:requests_processing", "gauge", "Number of requests processing.",
               (double)n_running, out);
    put_metric("llamacpp:requests_deferred", "gauge", "Number of requests deferred.",
               (double)n_waiting, out);
}

static void put_first(const struct metrics *m, struct buf *out)
{
    static const char name[] = "tawny_time_to_first_token_seconds";
    uint64_t n = 0;
    buf_fmt(out, "# HELP %s From the request to the first token of its reply.\n", name);
    buf_fmt(out, "# TYPE %s histogram\n", name);
    for (size_t i = 0; i < N_BOUNDS; i++) {
        n += m->n_first[i];
        buf_fmt(out, "%s_bucket{le=\"%g\"} %llu\n", name, bounds[i], (unsigned long long)n);
    }
    n += m->n_first[N_BOUNDS];
    buf_fmt(out, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %.9g\n%s_count %llu\n", name,
            (unsigned long long)n, name, m->first_s, name, (unsigned long long)n);
}

static void put_own(const struct metrics *m, const struct metrics_now *now, struct buf *out)
{
    put_metric("tawny_prompt_cached_tokens_total", "counter",
               "Prompt tokens that were known from earlier requests.", (double)m->n_cached, out);
    put_metric("tawny_queue_seconds_total", "counter", "Time that requests waited for others.",
               1e-9 * (double)m->queue_ns, out);
    put_metric("tawny_context_tokens", "gauge", "Tokens that prompt and reply may have together.",
               now->n_ctx, out);
    put_metric("tawny_kv_pages", "gauge", "Pages of keys and values that sessions hold.",
               now->cache.pages.n_used, out);
    put_metric("tawny_kv_pages_limit", "gauge", "Pages of keys and values that there are.",
               now->cache.pages.n_all, out);
    put_metric("tawny_sessions_emptied_total", "counter",
               "Sessions without a request that gave their pages to others.",
               (double)now->cache.n_emptied, out);
    put_metric("tawny_requests_parked_total", "counter",
               "Times that a request at work gave its pages to others and waited.",
               (double)now->cache.n_parked, out);
    put_metric("tawny_host_cache_bytes", "gauge",
               "Memory of conversations that are in no session (--cache-ram).",
               (double)now->cache.host_bytes, out);
    put_metric("tawny_disk_cache_bytes", "gauge",
               "Files of conversations that are in no session (--cache-disk).",
               (double)now->cache.disk_bytes, out);
    put_metric("tawny_disk_cache_tokens_total", "counter",
               "Prompt tokens that came back from files.", (double)now->cache.disk_tokens, out);
    put_metric("tawny_kept_replies_bytes", "gauge",
               "Memory of replies that are kept as they were sampled.", (double)now->kept_replies,
               out);
    put_metric("tawny_kept_responses_bytes", "gauge", "Memory of responses that can be continued.",
               (double)now->kept_responses, out);
    put_metric("tawny_uptime_seconds", "gauge", "Time since the server started.",
               1e-9 * (double)(clock_ns() - m->start_ns), out);
    buf_str(out, STR("# HELP tawny_requests_total Requests that ended, by how.\n"
                     "# TYPE tawny_requests_total counter\n"));
    for (size_t i = 0; i < N_ENDS; i++)
        buf_fmt(out, "tawny_requests_total{end=\"%s\"} %llu\n", ends[i],
                (unsigned long long)m->n_ended[i]);
    put_first(m, out);
}

void metrics_text(struct metrics *m, const struct metrics_now *now, struct buf *out)
{
    size_t n_running = 0, n_waiting = 0;
    pthread_mutex_lock(&m->lock);
    for (const struct metrics_run *run = m->runs; run; run = run->next)
        (atomic_load(&run->started) ? n_running++ : n_waiting++);
    put_llama(m, n_running, n_waiting, out);
    put_own(m, now, out);
    pthread_mutex_unlock(&m->lock);
}

/* ---- slots ---- */

/* The request at work in session i; NULL: none. */
static const struct metrics_run *run_in(const struct metrics *m, uint32_t i)
{
    const struct metrics_run *run = m->runs;
    while (run && !(atomic_load(&run->started) && atomic_load(&run->session) == i))
        run = run->next;
    return run;
}

static void put_slot(uint32_t i, uint32_t n_ctx, const struct session_info *s,
                     const struct metrics_run *run, struct buf *out)
{
    buf_fmt(out, "%s{\"id\":%u,\"n_ctx\":%u,\"speculative\":false,\"is_processing\":%s",
            i ? "," : "", i, n_ctx, run ? "true" : "false");
    if (run) {
        buf_str(out, STR(",\"request\":"));
        json_quote(str_of(run->id), out);
        buf_fmt(out, ",\"n_prompt_tokens\":%zu,\"n_prompt_tokens_processed\":%zu,", run->n_prompt,
                atomic_load(&run->n_read));
        buf_fmt(out, "\"next_token\":[{\"n_decoded\":%zu}]", atomic_load(&run->n_generated));
    }
    buf_fmt(out, ",\"n_tokens\":%u,\"jobs_since\":%llu", s->n_tokens,
            (unsigned long long)s->jobs_since);
    if (s->hint)
        buf_fmt(out, ",\"conversation\":\"%016llx\"", (unsigned long long)s->hint);
    buf_byte(out, '}');
}

void metrics_slots(struct metrics *m, const struct session_info *sessions, uint32_t n_sessions,
                   uint32_t n_ctx, struct buf *out)
{
    buf_byte(out, '[');
    pthread_mutex_lock(&m->lock);
    for (uint32_t i = 0; i < n_sessions; i++)
        put_slot(i, n_ctx, &sessions[i], run_in(m, i), out);
    pthread_mutex_unlock(&m->lock);
    buf_str(out, STR("]\n"));
}
