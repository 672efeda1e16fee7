/* Conversations as clients have them, on models whose layers keep everything, a window, or a
 * recurrent state: they grow, have their last message edited, go back turns, are asked again, fork,
 * are taken up again, and are cancelled in the middle. Every reply has the tokens and the bits of a
 * cold start, and what a turn has to read again is bounded. */
#include <unistd.h>

#include "base/rng.h"
#include "engine/engine.h"
#include "kit/chat_model.h"
#include "kit/engine_kit.h"
#include "test.h"

enum { WINDOW = 16, CTX = 760, NEW = 5, MAX_TURNS = 6, TALKS = 3, HEADER = 3 };
enum { BETWEEN = 64 + HEADER }; /* messages nearer to each other are not all borders */

/* A turn: where its message begins and ends, the header of the reply included, and where the reply
 * ends. */
struct turn {
    uint32_t begin, end, reply;
};

struct talk {
    int32_t ids[CTX];
    uint32_t n;
    struct turn turns[MAX_TURNS];
    uint32_t n_turns;
    /* Many turns were read at once: of the turns from `known` on there is a snapshot, at their
     * begin or less than BETWEEN before it. Else, of all turns, at the end of the reply before. */
    bool at_once;
    uint32_t known;
};

struct world {
    const char *backend, *arch;
    struct engine *engine;
    struct rng rng;
    uint32_t n_step;
    struct talk talks[TALKS], *last; /* last: whose job was the last one */
    int32_t held[CTX];               /* what its session holds */
    uint32_t n_held;
    uint32_t n_read, n_asked, n_cancelled; /* tokens, tokens, jobs */
};

static uint32_t below(struct world *w, uint32_t n)
{
    return (uint32_t)rng_below(&w->rng, n);
}

static void put(struct talk *t, int32_t id)
{
    CHECK(t->n < CTX);
    t->ids[t->n++] = id;
}

/* Appends a message, shorter than a window or of several, and the header of the reply to it. */
static void say(struct world *w, struct talk *t)
{
    struct turn *turn = &t->turns[t->n_turns++];
    turn->begin = t->n;
    put(t, CHAT_MODEL_IM_START);
    for (uint32_t n = 1 + below(w, below(w, 4) ? 2 * WINDOW : 6 * WINDOW); n > 0; n--)
        put(t, 'a' + (int32_t)below(w, 26));
    put(t, CHAT_MODEL_IM_END);
    put(t, CHAT_MODEL_IM_START);
    put(t, 'r');
    put(t, '\n');
    turn->end = t->n;
}

/* Forgets all turns from `turn` on. */
static void cut(struct talk *t, uint32_t turn)
{
    if (turn < t->n_turns) {
        t->n = t->turns[turn].begin;
        t->n_turns = turn;
    }
}

static struct job_params params_of(const struct talk *t)
{
    return (struct job_params){.prompt = t->ids,
                               .n_prompt = t->n,
                               .max_tokens = NEW,
                               .want_logprobs = true,
                               .ignore_stop = true};
}

/* How many tokens the session that was used last holds of a prompt. */
static uint32_t shared(const struct world *w, const struct talk *t)
{
    uint32_t n = 0;
    while (n < w->n_held && n < t->n && w->held[n] == t->ids[n])
        n++;
    return n;
}

/* The session was used for t; the last token drawn was never read. */
static void note(struct world *w, struct talk *t)
{
    w->last = t;
    w->n_held = t->n - 1;
    memcpy(w->held, t->ids, w->n_held * sizeof *w->held);
}

/* The tokens of a prompt that were there: at least n_least where the session of the job before is
 * taken. Another one is taken where this costs less, with what would be cut off counted. */
static void check_cached(struct world *w, struct talk *t, uint32_t n_cached, uint32_t n_least,
                         const char *what)
{
    const uint32_t n_lost = w->n_held - shared(w, t);
    if (w->last == t && n_cached + n_lost < n_least)
        test_fail(__FILE__, __LINE__,
                  "%s on %s, step %u, %s: %u of %u tokens were there, not %u less %u", w->arch,
                  w->backend, w->n_step, what, n_cached, t->n, n_least, n_lost);
    if (w->last != t || n_cached < n_least) {
        t->at_once = t->n_turns > 1;
        t->known = t->n_turns > 2 ? t->n_turns - 2 : 0;
    }
    w->n_asked += t->n;
    w->n_read += t->n - n_cached;
}

/* Asks: the reply is what a cold start answers. */
static void ask(struct world *w, struct talk *t, uint32_t n_least, const char *what)
{
    int32_t ids[NEW];
    float logprobs[NEW];
    const struct job_params p = params_of(t);
    const struct kit_reply r = kit_ask(w->engine, &p);
    const struct kit_cold cold = {w->backend, &engine_model(w->engine)->plan, CTX,
                                  CHAT_MODEL_UNUSED};
    kit_cold_reply(&cold, t->ids, t->n, NEW, ids, logprobs);
    CHECK_INT(r.last.finish, FINISH_LENGTH);
    CHECK_INT(r.n, NEW);
    if (memcmp(r.ids, ids, sizeof ids) || memcmp(r.logprobs, logprobs, sizeof logprobs))
        test_fail(__FILE__, __LINE__, "%s on %s, step %u, %s: not what a cold start answers to %u",
                  w->arch, w->backend, w->n_step, what, t->n);
    check_cached(w, t, (uint32_t)r.usage.n_cached, n_least, what);
    for (uint32_t i = 0; i < NEW; i++)
        put(t, ids[i]);
    t->turns[t->n_turns - 1].reply = t->n;
    note(w, t);
}

/* From where on turn `turn` of a talk has to be read, at worst. */
static uint32_t before(const struct talk *t, uint32_t turn)
{
    if (turn == 0 || turn < t->known)
        return 0;
    const uint32_t n = t->turns[turn - 1].reply - 1;
    return !t->at_once ? n : n > BETWEEN ? n - BETWEEN : 0;
}

/* Asks and hangs up after some events. The message is not said again, so the session is back to
 * what it was, but for what was read of it. */
static void hang_up(struct world *w, struct talk *t)
{
    struct err e;
    struct job_event ev;
    const struct job_params p = params_of(t);
    struct job *j = engine_submit(w->engine, &p, &e);
    CHECK_OK(j);
    uint32_t patience = below(w, NEW + 3);
    do {
        if (patience-- == 0)
            job_cancel(j);
        job_next(j, 60000, &ev);
    } while (ev.kind != JOB_DONE);
    CHECK(ev.finish == FINISH_CANCELLED || ev.finish == FINISH_LENGTH);
    w->n_cancelled += ev.finish == FINISH_CANCELLED;
    job_close(j);
}

static void step(struct world *w, bool alone)
{
    struct talk *t = w->last && below(w, 3) ? w->last : &w->talks[below(w, TALKS)];
    struct talk *u = &w->talks[below(w, TALKS)];
    if (t->n_turns == MAX_TURNS || t->n_turns == 0) {
        *t = (struct talk){0};
        say(w, t);
        ask(w, t, 0, "a new conversation");
        return;
    }
    const uint32_t last = t->n_turns - 1, turn = below(w, t->n_turns);
    switch (below(w, 8)) {
    case 0:
        cut(t, last);
        say(w, t);
        ask(w, t, before(t, last), "another last message");
        break;
    case 1:
        cut(t, turn);
        say(w, t);
        ask(w, t, before(t, turn), "back some turns");
        break;
    case 2:
        t->n = t->turns[last].end;
        ask(w, t, t->n - HEADER, "once more");
        break;
    case 3:
        if (u == t)
            break;
        *u = *t;
        cut(u, 1 + below(w, u->n_turns));
        if (u->n_turns == MAX_TURNS)
            cut(u, last);
        say(w, u);
        ask(w, u, 0, "a fork");
        break;
    case 4:
        say(w, t);
        hang_up(w, t);
        cut(t, last + 1);
        if (alone && w->last == t)
            note(w, t);
        else
            w->last = NULL; /* it may have been too early to take the session */
        break;
    default: say(w, t); ask(w, t, before(t, last + 1), "the next message");
    }
}

static void check_conversations(const char *backend, const char *arch, uint32_t n_ubatch,
                                uint32_t n_sessions, uint32_t n_steps)
{
    char *path = kit_write_chat_model(&(struct kit_spec){
        .arch = arch, .n_embd = 32, .head_dim = 32, .n_ff = 32, .window = WINDOW});
    struct world w = {.backend = backend,
                      .arch = arch,
                      .engine = kit_open_engine(backend, path, n_sessions, CTX, n_ubatch),
                      .rng = {test_seed() + n_ubatch}};
    for (; w.n_step < n_steps; w.n_step++)
        step(&w, n_sessions == 1);
    printf("     %s on %s, batches of %u, %u sessions: %u of %u tokens read, %u hung up\n", arch,
           backend, n_ubatch, n_sessions, w.n_read, w.n_asked, w.n_cancelled);
    engine_close(w.engine);
    unlink(path);
    free(path);
}

static void check_architectures(const char *backend)
{
    static const char *const archs[] = {"qwen3moe", "gpt-oss", "qwen3next"};
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++) {
        check_conversations(backend, archs[i], 4, 1, 30);
        check_conversations(backend, archs[i], 64, 1, 30);
        check_conversations(backend, archs[i], 512, 2, 30);
        check_conversations(backend, archs[i], 24, 3, 30);
    }
}

TEST(conversations_have_the_replies_of_cold_starts_and_read_no_prefix_again_on_ref)
{
    check_architectures("ref");
}

TEST(conversations_have_the_replies_of_cold_starts_and_read_no_prefix_again_on_cpu)
{
    check_architectures("cpu");
}

/* A conversation that another program began, so that one prompt has all of it. */
static void check_edits_of_a_long_prompt(const char *arch, uint32_t n_ubatch)
{
    enum { LONG = 100 };
    char *path = kit_write_chat_model(&(struct kit_spec){
        .arch = arch, .n_embd = 32, .head_dim = 32, .n_ff = 32, .window = WINDOW});
    struct engine *g = kit_open_engine("ref", path, 1, CTX, n_ubatch);
    struct talk t = {0};
    uint32_t begins[5];
    for (int m = 0; m < 5; m++) {
        begins[m] = t.n;
        put(&t, CHAT_MODEL_IM_START);
        for (int i = 0; i < LONG; i++)
            put(&t, 'a' + (i + m) % 26);
        put(&t, CHAT_MODEL_IM_END);
    }
    put(&t, CHAT_MODEL_IM_START);
    put(&t, '\n');
    const struct job_params p = params_of(&t);
    CHECK_INT(kit_ask(g, &p).usage.n_cached, 0);
    for (int m = 4; m > 1; m--) {
        t.ids[begins[m] + LONG / 2] = '!'; /* edited, the last message first */
        CHECK(kit_ask(g, &p).usage.n_cached >= begins[m]);
    }
    engine_close(g);
    unlink(path);
    free(path);
}

TEST(engine_keeps_states_where_the_last_messages_of_a_long_prompt_begin)
{
    check_edits_of_a_long_prompt("qwen3next", 512);
    check_edits_of_a_long_prompt("qwen3next", 7);
    check_edits_of_a_long_prompt("gpt-oss", 20);
    check_edits_of_a_long_prompt("gpt-oss", 200);
}

/* A reply that is stopped is often gone on from. */
static void check_stopped_reply(const char *backend, const char *arch)
{
    struct err e;
    struct job_event ev = {0};
    char *path = kit_write_chat_model(&(struct kit_spec){
        .arch = arch, .n_embd = 32, .head_dim = 32, .n_ff = 32, .window = WINDOW});
    struct engine *g = kit_open_engine(backend, path, 1, CTX, 0);
    struct talk t = {0};
    for (int i = 0; i < 30; i++)
        put(&t, 'a' + i % 26);
    struct job_params p = params_of(&t);
    p.max_tokens = 0;
    struct job *j = engine_submit(g, &p, &e);
    CHECK_OK(j);
    while (ev.kind != JOB_DONE) {
        job_next(j, 60000, &ev);
        if (ev.kind == JOB_TOKEN)
            put(&t, ev.token.id);
        if (t.n == 60)
            job_cancel(j);
    }
    CHECK_INT(ev.finish, FINISH_CANCELLED);
    job_close(j);
    const uint32_t n_held = t.n - 1;
    put(&t, 'x');
    p = params_of(&t);
    CHECK(kit_ask(g, &p).usage.n_cached >= n_held);
    engine_close(g);
    unlink(path);
    free(path);
}

TEST(engine_goes_on_from_a_reply_that_was_stopped)
{
    check_stopped_reply("ref", "gpt-oss");
    check_stopped_reply("ref", "qwen3next");
    check_stopped_reply("cpu", "gpt-oss");
    check_stopped_reply("cpu", "qwen3next");
}
