/* An engine with fewer pages than its sessions need: sessions give way, jobs wait, and every reply
 * has the tokens and the bits of a cold start alone. */
#include <unistd.h>

#include "base/rng.h"
#include "engine/engine.h"
#include "kit/engine_kit.h"
#include "kit/models.h"
#include "test.h"

enum { N_VOCAB = 96, PAGE = 16, CTX = 320, JOBS = 8, NEW = 90 };

static char *write_model(const char *arch)
{
    return kit_write_model(&(struct kit_spec){
        .arch = arch, .n_vocab = N_VOCAB, .n_embd = 32, .head_dim = 32, .n_ff = 32, .window = 16});
}

static struct engine *open_engine(const char *backend, const char *path, uint32_t n_ctx,
                                  uint32_t n_pages, int64_t cache_bytes)
{
    struct err e;
    const struct engine_params p = {.path = path,
                                    .backend = backend,
                                    .n_ctx = n_ctx,
                                    .n_sessions = 5,
                                    .n_ubatch = 24,
                                    .n_threads = 1,
                                    .page = PAGE,
                                    .n_pages = n_pages,
                                    .cache_bytes = cache_bytes};
    struct engine *g = engine_open(&p, &e);
    CHECK_OK(g);
    return g;
}

static struct engine_cache cache_of(struct engine *g)
{
    struct session_info sessions[5];
    struct engine_cache cache;
    engine_sessions(g, sessions, &cache);
    CHECK(cache.pages.n_used <= cache.pages.n_all);
    return cache;
}

static void fill(struct rng *r, int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)rng_below(r, N_VOCAB);
}

/* ---- random jobs ------------------------------------------------------------------------------
 */

struct request {
    int32_t ids[CTX];
    uint32_t n, n_new;
    struct job *job;
};

/* New text behind a part of another request, or behind nothing. */
static void change(struct rng *r, const struct request *all, struct request *q)
{
    const struct request *from = &all[rng_below(r, JOBS)];
    const uint32_t most = CTX - NEW - 10;
    uint32_t n = rng_below(r, 4) ? from->n : (uint32_t)rng_below(r, from->n + 1);
    memmove(q->ids, from->ids, n * sizeof *q->ids);
    if (n > most - 100 && rng_below(r, 2))
        n = (uint32_t)rng_below(r, 40);
    const uint32_t end = n + 1 + (uint32_t)rng_below(r, rng_below(r, 3) ? 20 : 150);
    for (q->n = n; q->n < end && q->n < most;)
        q->ids[q->n++] = (int32_t)rng_below(r, N_VOCAB);
    q->n_new = 1 + (uint32_t)rng_below(r, rng_below(r, 2) ? NEW : 8);
}

static void check_reply(const struct kit_cold *cold, const struct request *q,
                        const struct kit_reply *got)
{
    int32_t want[NEW];
    float logprobs[NEW];
    CHECK(got->last.finish == FINISH_LENGTH || got->last.finish == FINISH_STOP);
    CHECK_INT(got->n, q->n_new);
    CHECK(got->usage.n_cached < q->n);
    kit_cold_reply(cold, q->ids, q->n, got->n, want, logprobs);
    for (size_t i = 0; i < got->n; i++) {
        CHECK_INT(got->ids[i], want[i]);
        CHECK(!memcmp(&got->logprobs[i], &logprobs[i], sizeof *logprobs));
    }
}

static void submit(struct engine *g, struct request *q)
{
    struct err e;
    const struct job_params p = {.prompt = q->ids,
                                 .n_prompt = q->n,
                                 .max_tokens = q->n_new,
                                 .want_logprobs = true,
                                 .ignore_stop = true};
    CHECK_OK(q->job = engine_submit(g, &p, &e));
}

static void hang_up(struct rng *r, struct request *q)
{
    struct job_event ev = {0};
    for (uint64_t n = rng_below(r, 30); n > 0 && ev.kind != JOB_DONE; n--)
        job_next(q->job, 50, &ev);
    job_close(q->job);
    q->job = NULL;
}

/* More jobs at once than sessions, which have pages for one context and a few. */
static void ask_all(struct engine *g, struct rng *r, const struct kit_cold *cold,
                    struct request *all)
{
    for (int i = 0; i < JOBS; i++) {
        change(r, all, &all[i]);
        submit(g, &all[i]);
    }
    for (int i = 0; i < JOBS; i++)
        if (rng_below(r, 5) == 0)
            hang_up(r, &all[i]);
    for (int i = 0; i < JOBS; i++) {
        if (!all[i].job)
            continue;
        struct kit_reply got;
        kit_collect(all[i].job, &got);
        job_close(all[i].job);
        check_reply(cold, &all[i], &got);
        for (size_t k = 0; k < got.n && all[i].n < CTX - NEW - 10; k++)
            all[i].ids[all[i].n++] = got.ids[k];
    }
}

/* Returns how many jobs waited. */
static uint64_t check_random(const char *backend, const char *arch, uint32_t n_more, int64_t cache)
{
    struct rng r = {test_seed() + n_more + (uint64_t)cache};
    struct request *all = calloc(JOBS, sizeof *all);
    char *path = write_model(arch);
    struct engine *g = open_engine(backend, path, CTX, CTX / PAGE + n_more, cache);
    const struct kit_cold cold = {backend, &engine_model(g)->plan, CTX, N_VOCAB};
    CHECK(all);
    for (int round = 0; round < 4; round++)
        ask_all(g, &r, &cold, all);
    const struct engine_cache c = cache_of(g);
    printf("    %s on %s, %u pages, cache %lld: %llu sessions gave way, %llu jobs waited\n", arch,
           backend, c.pages.n_all, (long long)cache, (unsigned long long)c.n_emptied,
           (unsigned long long)c.n_parked);
    CHECK(c.n_emptied > 0);
    engine_close(g);
    unlink(path);
    free(path);
    free(all);
    return c.n_parked;
}

static void check_archs(const char *backend)
{
    static const char *const archs[] = {"qwen3moe", "gpt-oss", "qwen3next"};
    for (int i = 0; i < 3; i++) {
        uint64_t n_parked = check_random(backend, archs[i], 0, 1 << 28);
        n_parked += check_random(backend, archs[i], 0, -1);
        n_parked += check_random(backend, archs[i], CTX / PAGE / 2, 200000);
        CHECK(n_parked > 0);
    }
}

TEST(replies_from_few_pages_have_the_bits_of_cold_starts_alone_on_ref)
{
    check_archs("ref");
}

TEST(replies_from_few_pages_have_the_bits_of_cold_starts_alone_on_cpu)
{
    check_archs("cpu");
}

/* The longest conversation holds what both lack who came then: it gives way though a job is at work
 * that came later and has nothing to give. */
TEST(the_first_job_never_waits_for_pages)
{
    enum { KEPT = 290, LATER = 150 };
    struct rng r = {test_seed()};
    struct request all[3] = {
        {.n = KEPT, .n_new = 1}, {.n = 5, .n_new = NEW}, {.n = LATER, .n_new = 3}};
    char *path = write_model("qwen3moe");
    struct engine *g = open_engine("cpu", path, CTX, CTX / PAGE, -1);
    for (int i = 0; i < 3; i++) {
        fill(&r, all[i].ids, all[i].n);
        submit(g, &all[i]);
        struct job_event ev = {0};
        while (ev.kind != (i == 0 ? JOB_DONE : JOB_PREFILL)) {
            job_next(all[i].job, 60000, &ev);
            CHECK(ev.kind != JOB_TIMEOUT);
        }
    }
    for (int i = 1; i < 3; i++) {
        struct kit_reply got;
        kit_collect(all[i].job, &got);
        job_close(all[i].job);
        CHECK_INT(got.last.finish, FINISH_LENGTH);
    }
    job_close(all[0].job);
    CHECK_INT(cache_of(g).n_emptied, 1);
    engine_close(g);
    unlink(path);
    free(path);
}

/* ---- a long conversation and its agents -------------------------------------------------------
 */

enum { LONG = 3200, MAIN = 2700, HEAD = 300, AGENTS = 4, ROUNDS = 3, SAID = 30 };

static struct job *ask(struct engine *g, const int32_t *ids, size_t n)
{
    struct err e;
    struct job *j = engine_submit(
        g,
        &(struct job_params){.prompt = ids, .n_prompt = n, .max_tokens = SAID, .ignore_stop = true},
        &e);
    CHECK_OK(j);
    return j;
}

static size_t take_reply(struct job *j, int32_t *out)
{
    struct kit_reply got;
    kit_collect(j, &got);
    CHECK_INT(got.n, SAID);
    memcpy(out, got.ids, SAID * sizeof *out);
    job_close(j);
    return got.usage.n_prompt - got.usage.n_cached;
}

/* Rounds of a conversation that goes on and, behind each of its turns, four agents and a title at
 * once. Into said all that was answered; returns the tokens of the conversation that were read. */
static size_t converse(struct engine *g, int32_t said[ROUNDS][AGENTS + 2][SAID])
{
    static int32_t talk[LONG], agent[AGENTS][HEAD + 700], title[120];
    struct rng r = {test_seed()};
    size_t n = MAIN, n_read = 0;
    fill(&r, talk, MAIN);
    fill(&r, agent[0], HEAD);
    for (int round = 0; round < ROUNDS; round++) {
        n_read += take_reply(ask(g, talk, n), said[round][0]);
        memcpy(talk + n, said[round][0], sizeof said[round][0]);
        n += SAID;
        fill(&r, talk + n, 20);
        n += 20;
        struct job *jobs[AGENTS + 1];
        fill(&r, title, 120);
        for (int i = 0; i < AGENTS; i++) {
            memcpy(agent[i], agent[0], HEAD * sizeof **agent);
            fill(&r, agent[i] + HEAD, 700);
            jobs[i] = ask(g, agent[i], HEAD + 700);
        }
        jobs[AGENTS] = ask(g, title, 120);
        for (int i = 0; i <= AGENTS; i++)
            take_reply(jobs[i], said[round][1 + i]);
    }
    return n_read;
}

static void check_conversation(const char *arch, int64_t cache_bytes)
{
    static int32_t want[ROUNDS][AGENTS + 2][SAID], got[ROUNDS][AGENTS + 2][SAID];
    char *path = write_model(arch);
    struct engine *g = open_engine("cpu", path, LONG, 0, cache_bytes);
    const size_t n_read = converse(g, want);
    CHECK_INT(n_read, MAIN + (ROUNDS - 1) * (20 + 1));
    CHECK_INT(cache_of(g).n_emptied + cache_of(g).n_parked, 0);
    engine_close(g);
    g = open_engine("cpu", path, LONG, LONG / PAGE * 3 / 2, cache_bytes);
    CHECK_INT(converse(g, got), n_read);
    CHECK(!memcmp(got, want, sizeof want));
    const struct engine_cache c = cache_of(g);
    printf("    %s, %u pages: %llu sessions gave way, %llu jobs waited\n", arch, c.pages.n_all,
           (unsigned long long)c.n_emptied, (unsigned long long)c.n_parked);
    CHECK(c.n_emptied > 0);
    engine_close(g);
    unlink(path);
    free(path);
}

/* One and a half contexts: the conversation stays, also where nothing can be stored. */
TEST(a_long_conversation_and_its_agents_need_few_pages)
{
    check_conversation("qwen3moe", 1 << 28);
    check_conversation("qwen3moe", -1);
    check_conversation("gpt-oss", 1 << 28);
    check_conversation("qwen3next", 1 << 28);
}
