/* Jobs side by side: replies decoded in one batch, prompts read in pieces between its steps. Every
 * reply has the tokens and the bits of a cold start alone, whatever else the engine does. */
#include <unistd.h>

#include "base/rng.h"
#include "engine/engine.h"
#include "kit/engine_kit.h"
#include "kit/models.h"
#include "test.h"

enum { N_VOCAB = 96, CTX = 260, TALKS = 6, NEW = 7 };

static char *write_model(const char *arch)
{
    return kit_write_model(&(struct kit_spec){
        .arch = arch, .n_vocab = N_VOCAB, .n_embd = 32, .head_dim = 32, .n_ff = 32, .window = 16});
}

static void remove_model(char *path)
{
    unlink(path);
    free(path);
}

/* ---- random conversations ---------------------------------------------------------------------
 */

struct talk {
    int32_t ids[CTX];
    uint32_t n;
};

static void say(struct rng *r, struct talk *t, uint32_t n)
{
    while (n-- > 0)
        t->ids[t->n++] = (int32_t)rng_below(r, N_VOCAB);
}

/* Grows; or has its end edited; or becomes a fork of another; or is a side request for once. */
static void change(struct rng *r, struct talk *all, struct talk *t)
{
    const uint64_t what = rng_below(r, 8);
    if (what == 0 || t->n > CTX - 80)
        t->n = (uint32_t)rng_below(r, t->n / 2 + 1);
    else if (what == 1)
        *t = all[rng_below(r, TALKS)];
    else if (what == 2 && t->n > 0)
        t->n -= (uint32_t)rng_below(r, t->n < 20 ? t->n : 20);
    if (t->n > CTX - 80)
        t->n = CTX - 80;
    say(r, t, 1 + (uint32_t)rng_below(r, what == 3 ? 60 : 12));
}

static void check_reply(const struct kit_cold *cold, const struct talk *t,
                        const struct kit_reply *got)
{
    int32_t want[NEW];
    float logprobs[NEW];
    CHECK(got->n <= NEW);
    CHECK(got->n == NEW || got->last.finish == FINISH_CANCELLED);
    kit_cold_reply(cold, t->ids, t->n, NEW, want, logprobs);
    for (size_t i = 0; i < got->n; i++) {
        CHECK_INT(got->ids[i], want[i]);
        CHECK(!memcmp(&got->logprobs[i], &logprobs[i], sizeof *logprobs));
    }
}

/* One round: all talks change and ask at once, more of them than there are sessions, and some hang
 * up. */
static void ask_all(struct engine *g, struct rng *r, const struct kit_cold *cold,
                    struct talk *talks, size_t *n_read, size_t *n_asked)
{
    struct job *jobs[TALKS];
    struct err e;
    for (int i = 0; i < TALKS; i++) {
        struct talk *t = &talks[i];
        change(r, talks, t);
        struct job_params p = {
            .prompt = t->ids, .n_prompt = t->n, .max_tokens = NEW, .want_logprobs = true};
        CHECK_OK(jobs[i] = engine_submit(g, &p, &e));
    }
    for (int i = 0; i < TALKS; i++)
        if (rng_below(r, 5) == 0) {
            struct job_event ev;
            job_next(jobs[i], (int)rng_below(r, 3), &ev);
            job_cancel(jobs[i]);
            job_close(jobs[i]);
            jobs[i] = NULL;
        }
    for (int i = 0; i < TALKS; i++) {
        if (!jobs[i])
            continue;
        struct kit_reply got;
        kit_collect(jobs[i], &got);
        job_close(jobs[i]);
        check_reply(cold, &talks[i], &got);
        *n_read += got.usage.n_prompt - got.usage.n_cached;
        *n_asked += got.usage.n_prompt;
        if (talks[i].n + got.n <= CTX - 80)
            for (size_t k = 0; k < got.n; k++)
                talks[i].ids[talks[i].n++] = got.ids[k];
    }
}

static void check_together(const char *backend, uint32_t n_sessions, uint32_t n_ubatch)
{
    static const char *const archs[] = {"qwen3moe", "gpt-oss", "qwen3next"};
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++) {
        struct rng r = {test_seed() + n_ubatch};
        struct talk talks[TALKS] = {0};
        size_t n_read = 0, n_asked = 0;
        char *path = write_model(archs[i]);
        struct engine *g = kit_open_engine(backend, path, n_sessions, CTX, n_ubatch);
        const struct kit_cold cold = {backend, &engine_model(g)->plan, CTX, N_VOCAB};
        for (int round = 0; round < 5; round++)
            ask_all(g, &r, &cold, talks, &n_read, &n_asked);
        printf("    %s on %s, %u sessions, batches of %u: %zu of %zu prompt tokens read\n",
               archs[i], backend, n_sessions, n_ubatch, n_read, n_asked);
        engine_close(g);
        remove_model(path);
    }
}

TEST(replies_side_by_side_have_the_bits_of_cold_starts_alone_on_ref)
{
    check_together("ref", 4, 16);
    check_together("ref", 3, 2); /* a batch of replies is larger than a piece */
}

TEST(replies_side_by_side_have_the_bits_of_cold_starts_alone_on_cpu)
{
    check_together("cpu", 4, 64);
    check_together("cpu", 6, 7);
}

/* ---- the order of things ----------------------------------------------------------------------
 */

static struct job *submit(struct engine *g, size_t n_prompt, uint32_t max_tokens, int32_t first)
{
    static int32_t prompt[4000];
    struct err e;
    for (size_t i = 0; i < n_prompt; i++)
        prompt[i] = (int32_t)(((size_t)first + i * i) % N_VOCAB);
    struct job *j = engine_submit(
        g,
        &(struct job_params){
            .prompt = prompt, .n_prompt = n_prompt, .max_tokens = max_tokens, .ignore_stop = true},
        &e);
    CHECK_OK(j);
    return j;
}

static enum job_event_kind next(struct job *j)
{
    struct job_event ev;
    job_next(j, 60000, &ev);
    CHECK(ev.kind != JOB_TIMEOUT);
    return ev.kind;
}

/* How many tokens have come that were not taken yet. */
static size_t count_tokens(struct job *j)
{
    struct job_event ev;
    size_t n = 0;
    for (job_next(j, 0, &ev); ev.kind != JOB_TIMEOUT && ev.kind != JOB_DONE; job_next(j, 0, &ev))
        n += ev.kind == JOB_TOKEN;
    return n;
}

TEST(a_reply_goes_on_while_a_long_prompt_is_read)
{
    char *path = write_model("qwen3moe");
    struct engine *g = kit_open_engine("cpu", path, 2, 4000, 16);
    struct job *reply = submit(g, 5, 0, 1);
    while (next(reply) != JOB_TOKEN)
        ;
    count_tokens(reply);
    struct job *prompt = submit(g, 1600, 1, 2); /* at least 100 pieces, a token between each two */
    while (next(prompt) != JOB_TOKEN)
        ;
    CHECK(count_tokens(reply) >= 99);
    job_close(prompt);
    job_close(reply);
    engine_close(g);
    remove_model(path);
}

TEST(side_requests_and_sub_agents_leave_the_main_conversation_in_its_session)
{
    char *path = write_model("qwen3moe");
    struct engine *g = kit_open_engine("cpu", path, 3, 1200, 0);
    struct kit_reply reply;
    struct job *side[5], *talk = submit(g, 800, 1, 1);
    kit_collect(talk, &reply);
    job_close(talk);
    for (int32_t round = 0; round < 4; round++) {
        for (int32_t i = 0; i < 5; i++) /* more at once than there are sessions, 350 each at most */
            side[i] = submit(g, 30 + 80 * (size_t)i, 3, 2 + 5 * round + i);
        talk = submit(g, 810 + 10 * (size_t)round, 1, 1);
        kit_collect(talk, &reply);
        CHECK_INT(reply.usage.n_cached, 800 + 10 * round);
        job_close(talk);
        for (int i = 0; i < 5; i++) {
            kit_collect(side[i], &reply);
            CHECK_INT(reply.n, 3);
            job_close(side[i]);
        }
    }
    engine_close(g);
    remove_model(path);
}

TEST(a_small_request_does_not_wait_for_a_long_prompt)
{
    char *path = write_model("qwen3moe");
    struct engine *g = kit_open_engine("cpu", path, 3, 4000, 16);
    struct job *longest = submit(g, 3000, 1, 1);
    while (next(longest) != JOB_PREFILL)
        ;
    struct job *small = submit(g, 20, 4, 2);
    while (next(small) != JOB_DONE)
        ;
    CHECK_INT(count_tokens(longest), 0); /* still reading */
    job_close(small);
    job_close(longest);
    engine_close(g);
    remove_model(path);
}

/* ---- heads of prompts that are alike ----------------------------------------------------------
 */

/* n_head tokens that depend on `head`, then n_own that depend on `own`. */
static struct job *submit_branch(struct engine *g, size_t n_head, int32_t head, size_t n_own,
                                 int32_t own)
{
    static int32_t prompt[4000];
    struct err e;
    for (size_t i = 0; i < n_head + n_own; i++)
        prompt[i] = (int32_t)(((size_t)(i < n_head ? head : own) + i * i) % N_VOCAB);
    struct job *j = engine_submit(
        g, &(struct job_params){.prompt = prompt, .n_prompt = n_head + n_own, .max_tokens = 2}, &e);
    CHECK_OK(j);
    return j;
}

static size_t tokens_read(struct job *j)
{
    struct kit_reply r;
    kit_collect(j, &r);
    CHECK_INT(r.n, 2);
    job_close(j);
    return r.usage.n_prompt - r.usage.n_cached;
}

/* Sub-agents that begin at the same time behind a conversation of their own kind, which goes on
 * too. The head of 2000 tokens that they share is read once and kept once, and each one's own once.
 */
static void check_heads_are_read_once(const char *arch)
{
    enum { SESSIONS = 5, HEAD = 2000, OWN = 50 };
    char *path = write_model(arch);
    struct engine *g = kit_open_engine("cpu", path, SESSIONS, 2600, 16);
    struct job *jobs[SESSIONS];
    for (int32_t i = 0; i < SESSIONS; i++)
        jobs[i] = submit_branch(g, HEAD, 1, OWN, 2 + i);
    size_t n_read = 0;
    for (int i = 0; i < SESSIONS; i++)
        n_read += tokens_read(jobs[i]);
    CHECK_INT(n_read, HEAD + SESSIONS * OWN);
    /* Whole pages of the head are there once. */
    struct session_info sessions[SESSIONS];
    struct engine_cache cache;
    const uint32_t n_shared = HEAD / PAGE_POSITIONS;
    const uint32_t n_all = pages_of(HEAD + OWN + 1, PAGE_POSITIONS);
    engine_sessions(g, sessions, &cache);
    CHECK_INT(cache.pages.n_used, n_shared + SESSIONS * (n_all - n_shared));
    CHECK_INT(cache.pages.n_all, SESSIONS * pages_of(2600, PAGE_POSITIONS));
    /* Another branch behind the head, when all sessions are in use, and the first one once more. */
    CHECK_INT(tokens_read(submit_branch(g, HEAD, 1, OWN, 20)), OWN);
    CHECK(tokens_read(submit_branch(g, HEAD, 1, OWN, 21)) <= OWN);
    engine_close(g);
    remove_model(path);
}

TEST(prompts_that_begin_alike_are_read_once)
{
    check_heads_are_read_once("qwen3moe");
    check_heads_are_read_once("gpt-oss");
    check_heads_are_read_once("qwen3next");
}

TEST(a_request_that_is_sent_again_shares_the_first_ones_reading)
{
    char *path = write_model("qwen3moe");
    struct engine *g = kit_open_engine("cpu", path, 3, 2600, 16);
    struct job_event ev;
    size_t n_done = 0;
    struct job *first = submit_branch(g, 2000, 1, 1, 1);
    struct job *second = submit_branch(g, 2000, 1, 1, 1);
    struct job *third = submit_branch(g, 2000, 1, 1, 1);
    job_next(first, 60000, &ev);
    CHECK_INT(ev.kind, JOB_PREFILL);
    n_done = ev.n_done;
    job_cancel(first); /* the second goes on from what it has read, the third with the second */
    do {
        job_next(first, 60000, &ev);
        CHECK(ev.kind != JOB_TIMEOUT);
        n_done = ev.kind == JOB_PREFILL ? ev.n_done : n_done;
    } while (ev.kind != JOB_DONE);
    job_close(first);
    CHECK_INT(tokens_read(second), n_done < 2001 ? 2001 - n_done : 1);
    CHECK_INT(tokens_read(third), 1);
    engine_close(g);
    remove_model(path);
}
