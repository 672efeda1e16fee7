#include "engine/engine.h"

#include <math.h>
#include <pthread.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "engine/logprob.h"
#include "engine/session.h"
#include "kit/chat_model.h"
#include "kit/engine_kit.h"
#include "test.h"

enum { N_VOCAB = 96, MAX_IDS = KIT_REPLY_MAX };

/* ---- which session ----------------------------------------------------------------------------
 */

/* A session that holds n tokens: `shared` of a common head, then its own. */
static struct session make_session(int32_t own, uint32_t shared, uint32_t n, uint64_t last_used)
{
    struct session s = {
        .ids = mem_new(20000, sizeof(int32_t)), .n = n, .last_used = last_used, .reach = {0, n}};
    for (uint32_t i = 0; i < n; i++)
        s.ids[i] = i < shared ? (int32_t)i : own;
    return s;
}

/* Where a prompt of n tokens goes that begins with n_head tokens of the common head. */
static uint32_t choose(const struct session *all, uint32_t n_sessions, uint32_t n_head, uint32_t n)
{
    static int32_t ids[20000];
    for (uint32_t i = 0; i < n; i++)
        ids[i] = i < n_head ? (int32_t)i : -9;
    return session_choose(all, n_sessions, ids, n, 0);
}

TEST(session_choice_keeps_long_conversations)
{
    struct session s[] = {make_session(-1, 10000, 10000, 7), make_session(-2, 0, 0, 0)};
    CHECK_INT(choose(s, 2, 10000, 10200), 0); /* it goes on */
    CHECK_INT(choose(s, 2, 9800, 9900), 0);   /* its last message was edited */
    CHECK_INT(choose(s, 2, 9500, 9600), 1);   /* much of it was: with a copy of the rest */
    CHECK_INT(choose(s, 2, 50, 200), 1);      /* a side request */
    CHECK_INT(choose(s, 2, 3000, 3500), 1);   /* a sub-agent with the same system prompt */
    s[1].n = s[1].reach.last = 5000;
    s[1].last_used = 3;
    memset(s[1].ids, 0xff, 5000 * sizeof(int32_t));
    CHECK_INT(choose(s, 2, 50, 200), 1); /* the stale one goes first */
    CHECK_INT(choose(s, 1, 50, 200), 0); /* there is only one */
    free(s[0].ids);
    free(s[1].ids);
}

TEST(session_choice_never_gives_the_longest_live_conversation_to_a_side_request)
{
    struct session s[] = {make_session(-1, 9000, 9000, 100), make_session(-2, 0, 7000, 101),
                          make_session(-3, 0, 7000, 102), make_session(-4, 0, 7000, 103)};
    CHECK_INT(choose(s, 4, 50, 200), 1); /* though the main one is the longest unused */
    s[1].busy = s[2].busy = s[3].busy = true;
    CHECK_INT(choose(s, 4, 50, 200), 4);    /* it waits */
    CHECK_INT(choose(s, 4, 9000, 9100), 0); /* the main one goes on */
    CHECK_INT(choose(s, 4, 100, 6000), 0);  /* another conversation of that size */
    s[2].last_used = 100 + 64;
    CHECK_INT(choose(s, 4, 50, 200), 0); /* it came back for 64 jobs no more */
    s[2].last_used = 102;
    s[0].busy = true;
    CHECK_INT(choose(s, 4, 9000, 9100), 4); /* nothing is free */
    for (int i = 0; i < 4; i++)
        free(s[i].ids);
}

TEST(session_choice_follows_hints_between_equals)
{
    static int32_t ids[6000];
    struct session s[] = {make_session(-1, 0, 9000, 100), make_session(-2, 0, 2000, 101),
                          make_session(-3, 0, 1900, 102), make_session(-4, 0, 2000, 103)};
    memset(ids, 0xf0, sizeof ids);
    CHECK_INT(session_choose(s, 4, ids, 500, 0), 1); /* the longest unused of the short ones */
    s[1].hint = 7;
    CHECK_INT(session_choose(s, 4, ids, 500, 0), 1); /* that name was there once */
    s[1].interval = 3;
    CHECK_INT(session_choose(s, 4, ids, 500, 0), 2); /* it came back */
    CHECK_INT(session_choose(s, 4, ids, 500, 8), 2);
    CHECK_INT(session_choose(s, 4, ids, 500, 7), 1); /* its own client's */
    /* An end of 100 of 2000 tokens rewritten, 60 to copy: by its own client in place. */
    memcpy(ids, s[3].ids, 1900 * sizeof *ids);
    s[2].n = s[2].reach.last = 0;
    s[3].hint = 9;
    CHECK_INT(session_choose(s, 4, ids, 2000, 0), 2);
    CHECK_INT(session_choose(s, 4, ids, 2000, 9), 3);
    for (int i = 0; i < 4; i++)
        free(s[i].ids);
}

TEST(session_choice_takes_the_longest_unused_of_equals)
{
    struct session s[] = {make_session(-1, 0, 0, 5), make_session(-2, 0, 0, 3),
                          make_session(-3, 0, 0, 4)};
    CHECK_INT(choose(s, 3, 10, 10), 1);
    for (int i = 0; i < 3; i++)
        free(s[i].ids);
}

TEST(session_with_states_goes_on_from_the_snapshot_before)
{
    struct snapshot at[3] = {{.n = 40}, {0}, {.n = 90}};
    struct session s = {.n = 100, .reach = {100, 100}, .snapshots = at, .n_snapshots = 3};
    CHECK_INT(session_reach(&s, 100), 100);
    CHECK_INT(session_reach(&s, 99), 90);
    CHECK_INT(session_reach(&s, 90), 90);
    CHECK_INT(session_reach(&s, 89), 40);
    CHECK_INT(session_reach(&s, 39), 0);
    s.reach = (struct exec_reach){0, 0}; /* a run was cancelled */
    CHECK_INT(session_reach(&s, 100), 90);
    session_cut(&s, 89);
    CHECK(s.n == 89 && session_reach(&s, 89) == 40);
    CHECK(session_snapshot(&s, 40) == &at[0] && !session_snapshot(&s, 90) &&
          !session_snapshot(&s, 0));
    s = (struct session){.n = 50, .reach = {0, 50}}; /* no states */
    CHECK_INT(session_reach(&s, 30), 30);
    s.reach.first = 20; /* a window */
    CHECK_INT(session_reach(&s, 20), 20);
    CHECK_INT(session_reach(&s, 19), 0);
}

TEST(session_gives_up_the_snapshot_that_is_worth_least)
{
    struct snapshot at[4] = {{.n = 1000, .last_used = 5}, {.n = 1010, .last_used = 5}, {0}, {0}};
    struct session s = {.n = 2000, .snapshots = at, .n_snapshots = 4};
    CHECK(session_snapshot_room(&s, 6) == &at[2]); /* a free one */
    at[2] = (struct snapshot){.n = 1500, .last_used = 5};
    at[3] = (struct snapshot){.n = 1800, .last_used = 6};
    CHECK(session_snapshot_room(&s, 6) == &at[1]); /* ten tokens behind another */
    at[1].n = 1400;
    CHECK(session_snapshot_room(&s, 6) == &at[2]); /* now this one: 100 tokens */
    at[2].n = 500;
    at[0].last_used = 6;
    CHECK(session_snapshot_room(&s, 6) == &at[1]); /* 400 tokens, one job ago */
}

/* ---- log probabilities ------------------------------------------------------------------------
 */

TEST(logprob_lists_the_likeliest_in_order)
{
    const float logits[] = {1, 3, NAN, 3, -INFINITY, 2};
    struct token_logprob t, top[6];
    CHECK_INT(logprob_top(logits, 6, 5, 6, &t, top), 4);
    double sum = exp(1) + 2 * exp(3) + exp(2);
    const int32_t order[] = {1, 3, 5, 0};
    for (int i = 0; i < 4; i++) {
        CHECK_INT(top[i].id, order[i]);
        CHECK(fabs((double)top[i].logprob - ((double)logits[order[i]] - log(sum))) < 1e-5);
    }
    CHECK_INT(t.id, 5);
    CHECK(fabsf(t.logprob - top[2].logprob) < 1e-6f);
    CHECK_INT(logprob_top(logits, 6, 4, 2, &t, top), 2);
    CHECK_INT(top[1].id, 3);
    CHECK(isinf(t.logprob));
}

/* ---- jobs -------------------------------------------------------------------------------------
 */

static struct engine *open_engine(const char *path, uint32_t n_sessions, uint32_t n_ctx,
                                  uint32_t n_ubatch)
{
    return kit_open_engine("ref", path, n_sessions, n_ctx, n_ubatch);
}

static void random_ids(struct rng *r, int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)rng_below(r, N_VOCAB);
}

static void check_ids(const int32_t *got, const int32_t *want, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (got[i] != want[i])
            test_fail(__FILE__, __LINE__, "token %zu of the reply: got %d, want %d", i, (int)got[i],
                      (int)want[i]);
}

static char *write_model_of(const char *arch)
{
    return kit_write_model(
        &(struct kit_spec){.arch = arch, .n_vocab = N_VOCAB, .n_embd = 64, .head_dim = 32});
}

static char *write_model(void)
{
    return write_model_of("qwen3moe");
}

static void remove_model(char *path)
{
    unlink(path);
    free(path);
}

static void check_greedy_is_the_same(const char *backend, const char *arch)
{
    enum { N = 90, NEW = 12 };
    struct rng r = {test_seed()};
    int32_t prompt[N], want[NEW];
    char *path = write_model_of(arch);
    random_ids(&r, prompt, N);
    static const uint32_t ubatch[] = {1, 7, 512};
    for (int i = 0; i < 3; i++) {
        struct engine *g = kit_open_engine(backend, path, 1, 256, ubatch[i]);
        if (i == 0)
            kit_cold_reply(&(struct kit_cold){backend, &engine_model(g)->plan, 256, N_VOCAB},
                           prompt, N, NEW, want, NULL);
        struct job_params p = {.prompt = prompt, .n_prompt = N, .max_tokens = NEW};
        for (int again = 0; again < 2; again++) {
            struct kit_reply got = kit_ask(g, &p);
            CHECK_INT(got.n, NEW);
            check_ids(got.ids, want, NEW);
            CHECK_INT(got.last.finish, FINISH_LENGTH);
            CHECK_INT(got.usage.n_cached, again ? N - 1 : 0);
            CHECK_INT(got.usage.n_generated, NEW);
            CHECK_INT(got.usage.n_prompt, N);
            CHECK(got.n_prefill_events >= 1);
        }
        engine_close(g);
    }
    remove_model(path);
}

TEST(engine_greedy_is_the_same_cold_cached_and_in_any_pieces)
{
    check_greedy_is_the_same("ref", "qwen3moe");
    check_greedy_is_the_same("ref", "qwen3next");
    check_greedy_is_the_same("cpu", "qwen3moe");
}

/* Jobs without log probabilities are drawn from the best tokens, those with them from all logits.
 */
static void check_best_are_enough(const char *backend, const char *arch)
{
    enum { N = 20, NEW = 40 };
    struct rng r = {test_seed()};
    int32_t prompt[N];
    char *path = write_model_of(arch);
    random_ids(&r, prompt, N);
    struct engine *g = kit_open_engine(backend, path, 2, 256, 8);
    if (!g) {
        remove_model(path);
        return;
    }
    static const struct sampling how[] = {
        {.temperature = 0},
        {.temperature = 0, .repeat_penalty = 1.3f},
        {.temperature = 1, .top_k = 20, .top_p = 0.8f, .seed = 5},
        {.temperature = 2, .top_k = 64, .min_p = 0.01f, .seed = 6, .presence_penalty = 1},
        {.temperature = 2, .seed = 7},
    };
    for (size_t i = 0; i < sizeof how / sizeof *how; i++) {
        struct job_params p = {.prompt = prompt,
                               .n_prompt = N,
                               .max_tokens = NEW,
                               .ignore_stop = true,
                               .sampling = how[i]};
        kit_ask(g, &p); /* the prompt is read: both go on from the same rows */
        const struct kit_reply few = kit_ask(g, &p);
        p.want_logprobs = true;
        const struct kit_reply all = kit_ask(g, &p);
        CHECK_INT(few.n, NEW);
        check_ids(few.ids, all.ids, NEW);
    }
    engine_close(g);
    remove_model(path);
}

TEST(engine_draws_the_same_from_the_best_tokens)
{
    static const char *const archs[] = {"qwen3moe", "gpt-oss", "qwen3next"};
    for (size_t i = 0; i < 3; i++) {
        check_best_are_enough("ref", archs[i]);
        check_best_are_enough("vulkan", archs[i]);
    }
}

/* Replies that are left in the middle, with a step under way that nobody asks for. */
static void check_cancelled_replies_leave_nothing(const char *arch)
{
    enum { N = 20, NEW = 30 };
    struct rng r = {test_seed()};
    struct err e;
    int32_t prompt[N];
    char *path = write_model_of(arch);
    struct engine *g = kit_open_engine("vulkan", path, 2, 256, 8);
    if (!g) {
        remove_model(path);
        test_skip("no software Vulkan device");
    }
    random_ids(&r, prompt, N);
    struct job_params p = {
        .prompt = prompt, .n_prompt = N, .max_tokens = NEW, .want_logprobs = true};
    kit_ask(g, &p); /* the prompt is read */
    const struct kit_reply want = kit_ask(g, &p);
    p.want_logprobs = false;
    for (int i = 0; i < 5; i++) {
        struct job *j = engine_submit(g, &p, &e);
        struct job_event ev = {0};
        CHECK_OK(j);
        for (uint64_t n = 6 + rng_below(&r, NEW - 8); n > 0; n -= ev.kind == JOB_TOKEN)
            job_next(j, 60000, &ev);
        job_close(j);
        const struct kit_reply got = kit_ask(g, &p);
        CHECK_INT(got.n, NEW);
        check_ids(got.ids, want.ids, NEW);
    }
    engine_close(g);
    remove_model(path);
}

TEST(engine_replies_are_the_same_behind_cancelled_ones_on_a_device)
{
    check_cancelled_replies_leave_nothing("qwen3moe");
    check_cancelled_replies_leave_nothing("gpt-oss");
}

/* One conversation of a random walk. */
struct talk {
    int32_t ids[MAX_IDS];
    size_t n;
};

/* Grows, cuts, edits or forks a conversation. */
static void edit(struct rng *r, struct talk *talks, size_t n_talks, struct talk *t)
{
    switch (rng_below(r, 5)) {
    case 0: /* fork: go on from a part of another one */
        *t = talks[rng_below(r, n_talks)];
        t->n = 1 + rng_below(r, t->n);
        break;
    case 1: t->n = 1 + rng_below(r, t->n); break;
    case 2: t->ids[rng_below(r, t->n)] = (int32_t)rng_below(r, N_VOCAB); break;
    default: break; /* only grow */
    }
    size_t more = 1 + rng_below(r, 20);
    if (t->n + more > 150)
        t->n = 1 + rng_below(r, 100);
    random_ids(r, t->ids + t->n, more);
    t->n += more;
}

static void check_random_edits(const char *backend, const char *arch)
{
    enum { TALKS = 4, ROUNDS = 25, NEW = 5, CTX = 200 };
    struct rng r = {test_seed()};
    char *path = write_model_of(arch);
    struct engine *g = kit_open_engine(backend, path, 3, CTX, 16);
    struct talk talks[TALKS] = {0};
    size_t n_cached = 0, n_prompt = 0;
    for (int i = 0; i < TALKS; i++)
        random_ids(&r, talks[i].ids, talks[i].n = 1 + rng_below(&r, 30));
    for (int i = 0; i < ROUNDS; i++) {
        struct talk *t = &talks[rng_below(&r, TALKS)];
        int32_t want[NEW];
        edit(&r, talks, TALKS, t);
        struct job_params p = {.prompt = t->ids, .n_prompt = t->n, .max_tokens = NEW};
        struct kit_reply got = kit_ask(g, &p);
        kit_cold_reply(&(struct kit_cold){backend, &engine_model(g)->plan, CTX, N_VOCAB}, t->ids,
                       t->n, NEW, want, NULL);
        CHECK_INT(got.n, NEW);
        check_ids(got.ids, want, NEW);
        n_cached += got.usage.n_cached;
        n_prompt += t->n;
        memcpy(t->ids + t->n, want, sizeof want);
        t->n += NEW;
    }
    printf("    %s on %s: %zu of %zu prompt tokens were there\n", arch, backend, n_cached,
           n_prompt);
    CHECK(n_cached > 0);
    engine_close(g);
    remove_model(path);
}

TEST(engine_replies_after_random_edits_equal_cold_starts)
{
    check_random_edits("ref", "qwen3moe");
    check_random_edits("ref", "qwen3next");
    check_random_edits("ref", "qwen35moe");
    check_random_edits("cpu", "qwen3moe");
    check_random_edits("cpu", "gpt-oss");
    check_random_edits("cpu", "qwen3next");
}

/* Asks, and compares the reply with that of a cold start; it is appended to the conversation. */
static size_t ask_and_compare(struct engine *g, struct talk *t)
{
    enum { NEW = 5 };
    int32_t want[NEW];
    struct job_params p = {.prompt = t->ids, .n_prompt = t->n, .max_tokens = NEW};
    struct kit_reply got = kit_ask(g, &p);
    kit_cold_reply(&(struct kit_cold){"ref", &engine_model(g)->plan, engine_n_ctx(g), N_VOCAB},
                   t->ids, t->n, NEW, want, NULL);
    CHECK_INT(got.n, NEW);
    check_ids(got.ids, want, NEW);
    memcpy(t->ids + t->n, want, sizeof want);
    t->n += NEW;
    return got.usage.n_cached;
}

/* Not even when another session is empty and cutting the reply off this one would cost more. */
TEST(engine_reads_a_short_prompt_once)
{
    static const char *const archs[] = {"qwen3moe", "qwen3next", "gpt-oss"};
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++) {
        struct rng r = {test_seed()};
        int32_t prompt[12];
        char *path = write_model_of(archs[i]);
        struct engine *g = open_engine(path, 4, 100, 0);
        struct job_params p = {.prompt = prompt, .n_prompt = 12, .max_tokens = 40};
        random_ids(&r, prompt, 12);
        CHECK_INT(kit_ask(g, &p).usage.n_cached, 0);
        CHECK_INT(kit_ask(g, &p).usage.n_cached, 11);
        CHECK_INT(kit_ask(g, &p).usage.n_cached, 11);
        engine_close(g);
        remove_model(path);
    }
}

/* A recurrent state cannot be cut back, and still nobody reads a prompt again: not who goes on, not
 * who asks once more, not who edits the last message or goes back a turn. */
TEST(engine_keeps_recurrent_states_at_the_borders_of_turns)
{
    struct rng r = {test_seed()};
    struct talk t = {.n = 60}, turns[3];
    char *path = write_model_of("qwen3next");
    struct engine *g = open_engine(path, 1, 300, 0);
    random_ids(&r, t.ids, t.n);
    for (int i = 0; i < 3; i++) {
        /* The last token drawn was never read. */
        const size_t n_held = i ? turns[i - 1].n + 4 : 0;
        turns[i] = t;
        CHECK_INT(ask_and_compare(g, &t), n_held);
        random_ids(&r, t.ids + t.n, 20);
        t.n += 20;
    }
    t = turns[2];
    CHECK_INT(ask_and_compare(g, &t), turns[2].n - 1); /* once more */
    t = turns[2];
    t.ids[t.n - 12] = (t.ids[t.n - 12] + 1) % N_VOCAB; /* an edit in the last message */
    CHECK_INT(ask_and_compare(g, &t), turns[1].n + 4);
    t = turns[1]; /* back a turn, and another message than then */
    t.ids[t.n - 12] = (t.ids[t.n - 12] + 1) % N_VOCAB;
    CHECK_INT(ask_and_compare(g, &t), turns[0].n + 4);
    engine_close(g);
    remove_model(path);
}

/* Templates rewrite what follows the header of a reply in later turns, so the state is kept before
 * it: before the last control token. */
TEST(engine_keeps_recurrent_states_before_the_header_of_a_reply)
{
    enum { HEADER = 40, N = HEADER + 5 };
    char *path =
        kit_write_chat_model(&(struct kit_spec){.arch = "qwen3next", .n_embd = 64, .head_dim = 32});
    struct engine *g = open_engine(path, 1, 100, 0);
    int32_t prompt[N + 20];
    for (int i = 0; i < N + 20; i++)
        prompt[i] = 'a' + i % 26;
    prompt[0] = prompt[HEADER] = CHAT_MODEL_IM_START;
    struct job_params p = {.prompt = prompt, .n_prompt = N, .max_tokens = 3};
    CHECK_INT(kit_ask(g, &p).usage.n_cached, 0);
    prompt[N - 1] = '!'; /* the end of the header is written otherwise */
    p.n_prompt = N + 20;
    CHECK_INT(kit_ask(g, &p).usage.n_cached, HEADER);
    engine_close(g);
    remove_model(path);
}

TEST(engine_ends_at_the_context)
{
    char *path = write_model();
    struct engine *g = open_engine(path, 1, 20, 0);
    int32_t prompt[25] = {1, 2, 3};
    struct err e;
    struct job_params p = {.prompt = prompt, .n_prompt = 15};
    struct kit_reply got = kit_ask(g, &p);
    CHECK_INT(got.last.finish, FINISH_LENGTH);
    CHECK_INT(got.n, 6); /* five fit, the last needs no place */
    p.n_prompt = 20;
    CHECK(!engine_submit(g, &p, &e));
    CHECK_INT(e.code, ERR_LIMIT);
    CHECK_STR(str_of(e.msg),
              STR("the prompt has 20 tokens, the context holds 20 and needs room for "
                  "one more"));
    p.n_prompt = 0;
    CHECK(!engine_submit(g, &p, &e));
    CHECK_INT(e.code, ERR_USAGE);
    p.n_prompt = 3;
    prompt[1] = N_VOCAB;
    CHECK(!engine_submit(g, &p, &e));
    CHECK_STR(str_of(e.msg), STR("prompt token 1 is 96, the vocabulary has 96"));
    engine_close(g);
    remove_model(path);
}

/* A model slow enough for a cancel to come in the middle of a prompt. */
static void cancel_in_prefill(const struct kit_spec *spec, uint32_t n_least, uint32_t n_step)
{
    enum { N = 1500 };
    char *path = kit_write_model(spec);
    struct engine *g = open_engine(path, 1, 2048, 0);
    int32_t *prompt = mem_new(N, sizeof *prompt);
    struct rng r = {test_seed()};
    struct err e;
    struct job_event ev;
    random_ids(&r, prompt, N);
    struct job_params p = {.prompt = prompt, .n_prompt = N, .max_tokens = 1};
    struct job *j = engine_submit(g, &p, &e);
    CHECK_OK(j);
    do
        job_next(j, 60000, &ev);
    while (ev.kind == JOB_PREFILL && ev.n_done < n_least);
    CHECK_INT(ev.kind, JOB_PREFILL);
    size_t n_done = ev.n_done;
    uint64_t start = clock_ns();
    job_cancel(j);
    do
        job_next(j, 60000, &ev);
    while (ev.kind == JOB_PREFILL);
    printf("     cancelled after %zu of %d tokens, %.0f ms later\n", n_done, N,
           (double)(clock_ns() - start) / 1e6);
    CHECK_INT(ev.kind, JOB_DONE);
    CHECK_INT(ev.finish, FINISH_CANCELLED);
    CHECK_INT(job_usage(j).n_generated, 0);
    job_close(j);
    p.n_prompt = n_done + 1;
    const size_t n_cached = kit_ask(g, &p).usage.n_cached;
    CHECK(n_cached <= n_done && n_cached + n_step > n_done);
    engine_close(g);
    free(prompt);
    remove_model(path);
}

TEST(engine_cancel_in_prefill_keeps_what_was_read)
{
    cancel_in_prefill(&(struct kit_spec){.n_vocab = N_VOCAB, .n_layer = 4}, 1, 1);
}

/* Small, so that the pieces become large. */
TEST(engine_cancel_in_prefill_keeps_recurrent_states_in_steps)
{
    cancel_in_prefill(
        &(struct kit_spec){
            .arch = "qwen3next", .n_vocab = N_VOCAB, .n_embd = 128, .head_dim = 32, .n_ff = 128},
        600, 1024);
}

TEST(engine_queue_is_first_in_first_out_and_cancels_at_once)
{
    /* The first job would take seconds: it runs until it is cancelled. */
    char *path = kit_write_model(&(struct kit_spec){.n_vocab = N_VOCAB, .n_layer = 4});
    struct engine *g = open_engine(path, 1, 4000, 0);
    struct err e;
    struct job_event ev;
    int32_t prompt[] = {5, 6, 7};
    struct job_params p = {.prompt = prompt, .n_prompt = 3};
    struct job *j[3];
    for (int i = 0; i < 3; i++)
        CHECK_OK(j[i] = engine_submit(g, &p, &e));
    job_cancel(j[1]);
    job_next(j[1], 0, &ev);
    CHECK_INT(ev.kind, JOB_DONE);
    CHECK_INT(ev.finish, FINISH_CANCELLED);
    job_next(j[2], 0, &ev);
    CHECK_INT(ev.kind, JOB_TIMEOUT);
    job_close(j[1]);
    job_close(j[0]);
    p.max_tokens = 2;
    struct job *last = engine_submit(g, &p, &e);
    job_cancel(j[2]);
    struct kit_reply r;
    kit_collect(last, &r);
    CHECK_INT(r.n, 2);
    do /* it may have begun before it was cancelled, but it came first */
        job_next(j[2], 0, &ev);
    while (ev.kind == JOB_PREFILL || ev.kind == JOB_TOKEN);
    CHECK_INT(ev.kind, JOB_DONE);
    job_close(j[2]);
    job_close(last);
    engine_close(g);
    remove_model(path);
}

TEST(engine_close_ends_a_running_job)
{
    char *path = write_model();
    struct engine *g = open_engine(path, 1, 4000, 0);
    struct err e;
    struct job_event ev;
    int32_t prompt[] = {5, 6, 7};
    struct job_params p = {.prompt = prompt, .n_prompt = 3};
    struct job *j = engine_submit(g, &p, &e);
    do
        job_next(j, 60000, &ev);
    while (ev.kind != JOB_TOKEN);
    job_close(j);
    engine_close(g);
    remove_model(path);
}

struct client {
    struct engine *g;
    uint64_t seed;
    pthread_t thread;
    int n_whole;
};

/* Asks and changes its mind now and then. */
static void *client_thread(void *ctx)
{
    struct client *c = ctx;
    struct rng r = {c->seed};
    for (int i = 0; i < 8; i++) {
        struct err e;
        struct job_event ev;
        int32_t prompt[30];
        random_ids(&r, prompt, 30);
        struct job_params p = {
            .prompt = prompt, .n_prompt = 1 + rng_below(&r, 30), .max_tokens = 6};
        struct job *j = engine_submit(c->g, &p, &e);
        CHECK_OK(j);
        uint64_t patience = rng_below(&r, 2) ? rng_below(&r, 12) : UINT64_MAX;
        size_t n = 0;
        for (;;) {
            if (patience-- == 0)
                job_cancel(j);
            job_next(j, 20, &ev);
            if (ev.kind == JOB_DONE)
                break;
            n += ev.kind == JOB_TOKEN;
        }
        CHECK(ev.finish == FINISH_LENGTH || ev.finish == FINISH_CANCELLED);
        CHECK(ev.finish != FINISH_LENGTH || n == 6);
        CHECK_INT(job_usage(j).n_generated, n);
        c->n_whole += ev.finish == FINISH_LENGTH;
        job_close(j);
    }
    return NULL;
}

TEST(engine_serves_many_threads)
{
    enum { CLIENTS = 6 };
    char *path = write_model();
    struct engine *g = kit_open_engine("cpu", path, 2, 64, 0);
    struct client c[CLIENTS];
    for (uint64_t i = 0; i < CLIENTS; i++) {
        c[i] = (struct client){.g = g, .seed = test_seed() + i};
        CHECK_INT(pthread_create(&c[i].thread, NULL, client_thread, &c[i]), 0);
    }
    int n_whole = 0;
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(c[i].thread, NULL);
        n_whole += c[i].n_whole;
    }
    CHECK(n_whole > 0);
    engine_close(g);
    remove_model(path);
}

/* ---- with a tokenizer -------------------------------------------------------------------------
 */

static char *write_chat_model(void)
{
    return kit_write_chat_model(&(struct kit_spec){.n_embd = 64, .head_dim = 32});
}

TEST(engine_never_draws_padding_or_unused_tokens)
{
    char *path = write_chat_model();
    struct engine *g = open_engine(path, 1, 128, 0);
    CHECK(engine_tok(g) != NULL);
    int32_t prompt[] = {65, 66};
    struct logit_bias bias[CHAT_MODEL_N_VOCAB];
    for (int32_t i = 0; i < CHAT_MODEL_N_VOCAB; i++)
        bias[i] = (struct logit_bias){i, i >= CHAT_MODEL_UNUSED ? 1000 : 0};
    struct job_params p = {.prompt = prompt, .n_prompt = 2, .max_tokens = 40, .ignore_stop = true};
    p.sampling.bias = bias;
    p.sampling.n_bias = CHAT_MODEL_N_VOCAB;
    for (int t = 0; t < 2; t++) {
        p.sampling.temperature = (float)t;
        struct kit_reply r = kit_ask(g, &p);
        CHECK_INT(r.n, 40);
        for (size_t i = 0; i < r.n; i++)
            CHECK(r.ids[i] < CHAT_MODEL_UNUSED);
    }
    engine_close(g);
    remove_model(path);
}

TEST(engine_stops_on_the_end_of_turn)
{
    char *path = write_chat_model();
    struct engine *g = open_engine(path, 1, 128, 0);
    int32_t prompt[] = {65, 66};
    struct logit_bias bias = {CHAT_MODEL_IM_END, 1000};
    struct job_params p = {.prompt = prompt,
                           .n_prompt = 2,
                           .max_tokens = 3,
                           .want_logprobs = true,
                           .n_top_logprobs = 5};
    p.sampling.bias = &bias;
    p.sampling.n_bias = 1;
    struct kit_reply r = kit_ask(g, &p);
    CHECK_INT(r.last.finish, FINISH_STOP);
    CHECK_INT(r.n, 0);
    CHECK_INT(r.usage.n_generated, 1);
    p.ignore_stop = true;
    r = kit_ask(g, &p);
    CHECK_INT(r.n, 3);
    CHECK_INT(r.ids[0], CHAT_MODEL_IM_END);
    CHECK_INT(r.token.n_top, 5);
    CHECK(r.token.top[0].logprob >= r.token.top[4].logprob && r.token.top[0].logprob <= 0);
    CHECK(r.token.token.logprob < 0);
    engine_close(g);
    remove_model(path);
}

/* ---- opening ----------------------------------------------------------------------------------
 */

static void keep_lines(void *ctx, enum log_level level, const char *line)
{
    (void)level;
    buf_fmt(ctx, "%s\n", line);
}

TEST(engine_refuses_what_does_not_fit_with_a_table)
{
    char *path = write_model();
    struct err e;
    struct buf lines = {0};
    struct engine_params p = {.path = path,
                              .backend = "ref",
                              .n_ctx = 2000000000,
                              .n_sessions = 2,
                              .log = {keep_lines, &lines}};
    CHECK(!engine_open(&p, &e));
    CHECK_INT(e.code, ERR_MEMORY);
    CHECK(str_find(buf_view(&lines), STR("more than the 4096"), 0) != SIZE_MAX);
    CHECK(str_find(buf_view(&lines), STR("kv cache"), 0) != SIZE_MAX);
    CHECK(str_find(buf_view(&lines), STR("available"), 0) != SIZE_MAX);
    buf_free(&lines);
    remove_model(path);
}

TEST(engine_default_context_is_the_models)
{
    char *path = write_model();
    struct err e;
    struct kit_model m = kit_open_model(&(struct kit_spec){.n_embd = 64, .head_dim = 32});
    struct engine_params p = {.path = path, .backend = "ref"};
    struct mem_table table;
    CHECK_OK(engine_memory(m.model, &p, &table, &e));
    CHECK_INT(p.n_ctx, 4096);
    CHECK_INT(p.n_sessions, 4);
    kit_close_model(&m);
    remove_model(path);
}

TEST(engine_refuses_files_and_backends_that_are_not_there)
{
    struct err e;
    char *path = write_model();
    CHECK(!engine_open(&(struct engine_params){.path = "/nowhere.gguf"}, &e));
    CHECK_INT(e.code, ERR_IO);
    CHECK(!engine_open(&(struct engine_params){.path = path, .backend = "abacus"}, &e));
    CHECK_STR(str_of(e.msg), STR("there is no backend 'abacus'"));
    remove_model(path);
}
