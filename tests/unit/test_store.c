/* What host memory holds for conversations without a session: the tree of chunks, and who gives
 * way.
 */
#include "engine/store.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "engine/engine.h"
#include "kit/engine_kit.h"
#include "kit/models.h"
#include "test.h"

#include <unistd.h>

enum { FULL = STORE_TOKENS, ROW_BYTES = 4096 - sizeof(struct chunk) % 4096 };

/* A conversation: shared tokens of a common head, then its own. */
static const int32_t *talk(int32_t own, uint32_t shared)
{
    static int32_t ids[20 * FULL];
    for (uint32_t i = 0; i < 20 * FULL; i++)
        ids[i] = i < shared ? (int32_t)i : -own;
    return ids;
}

/* Puts the first n tokens as far as there is room; returns how many there are then. */
static uint32_t put(struct store *s, const int32_t *ids, uint32_t n, struct use use)
{
    struct chunk *at = NULL;
    uint32_t shared;
    for (uint32_t end = 0; end < n; end = at->first + at->n) {
        const uint32_t size = (uint32_t)num_min(FULL, n - end);
        struct chunk *c = store_step(s, at, ids, n, &shared);
        if (!c || shared < size)
            c = store_add(s, at, ids, size, n, ROW_BYTES, use);
        if (!c)
            return end;
        CHECK_INT(c->first, end);
        c->use = use;
        c->held = false;
        at = c;
    }
    return at->first + at->n;
}

static uint32_t find(const struct store *s, const int32_t *ids, uint32_t n)
{
    uint32_t shared, all = 0;
    for (struct chunk *c = NULL; (c = store_step(s, c, ids, n, &shared));)
        all = c->first + shared;
    return all;
}

/* Chunks that fit into n_chunks of the size used here. */
static struct store *open_store(uint64_t n_chunks)
{
    return store_open(n_chunks * (sizeof(struct chunk) + ROW_BYTES), 0);
}

TEST(store_has_heads_that_are_alike_once)
{
    struct store *s = open_store(100);
    CHECK_INT(put(s, talk(1, 2 * FULL), 4 * FULL, (struct use){1, 0}), 4 * FULL);
    const uint64_t before = store_bytes(s);
    CHECK_INT(put(s, talk(2, 2 * FULL), 3 * FULL, (struct use){2, 0}), 3 * FULL);
    CHECK_INT(store_bytes(s), before + before / 4);
    CHECK_INT(find(s, talk(1, 2 * FULL), 20 * FULL), 4 * FULL);
    CHECK_INT(find(s, talk(2, 2 * FULL), 2 * FULL + 7), 2 * FULL + 7);
    CHECK_INT(find(s, talk(3, FULL + 9), 20 * FULL), FULL + 9);
    CHECK_INT(find(s, talk(3, 0), 20 * FULL), 0);
    store_close(s);
}

TEST(store_lets_a_conversation_grow)
{
    struct store *s = open_store(100);
    CHECK_INT(put(s, talk(1, 0), FULL + 10, (struct use){1, 0}), FULL + 10);
    CHECK_INT(put(s, talk(1, 0), FULL + 90, (struct use){2, 1}), FULL + 90);
    CHECK_INT(store_bytes(s), 2 * (sizeof(struct chunk) + ROW_BYTES));
    CHECK_INT(put(s, talk(1, 0), FULL + 20, (struct use){3, 1}), FULL + 90); /* it went back */
    CHECK_INT(put(s, talk(1, 0), 3 * FULL, (struct use){4, 1}), 3 * FULL);
    CHECK_INT(store_bytes(s), 3 * (sizeof(struct chunk) + ROW_BYTES));
    store_close(s);
}

TEST(store_gives_up_the_end_of_what_will_be_missed_last)
{
    struct store *s = open_store(10);
    CHECK_INT(put(s, talk(1, 0), 6 * FULL, (struct use){1, 1}), 6 * FULL); /* the longest */
    CHECK_INT(put(s, talk(2, 0), 4 * FULL, (struct use){2, 9}), 4 * FULL);
    CHECK_INT(put(s, talk(3, 0), 2 * FULL, (struct use){3, 3}), 2 * FULL); /* sooner than 2 */
    CHECK_INT(find(s, talk(2, 0), 4 * FULL), 2 * FULL);
    CHECK_INT(put(s, talk(4, 0), 5 * FULL, (struct use){5, 0}), 0); /* later than all: by 21 */
    CHECK_INT(put(s, talk(4, 0), 5 * FULL, (struct use){30, 4}),
              4 * FULL); /* 2 and 3 are given up */
    CHECK_INT(find(s, talk(1, 0), 6 * FULL), 6 * FULL);
    CHECK_INT(put(s, talk(5, 0), 8 * FULL, (struct use){31, 4}), 8 * FULL); /* the longest now */
    CHECK(store_bytes(s) <= store_max_bytes(s));
    store_close(s);
}

/* Four conversations take turns, and there is room for two. */
TEST(store_keeps_half_of_what_takes_turns)
{
    struct store *s = open_store(4);
    uint32_t n_found = 0;
    for (uint64_t job = 1; job <= 80; job++) {
        const int32_t *ids = talk((int32_t)(1 + job % 4), 0);
        n_found += job > 20 ? find(s, ids, 2 * FULL) : 0;
        put(s, ids, 2 * FULL, (struct use){job, job > 4 ? 4 : 0});
    }
    CHECK_INT(n_found, 60 / 2 * 2 * FULL);
    store_close(s);
}

/* ---- in an engine -----------------------------------------------------------------------------
 */

enum { N_VOCAB = 96, CTX = 900, TALKS = 5, NEW = 4 };

static struct engine *open_engine(const char *backend, const char *path, int64_t cache_bytes)
{
    struct err e;
    const struct engine_params p = {.path = path,
                                    .backend = backend,
                                    .n_ctx = CTX,
                                    .n_sessions = 1,
                                    .n_ubatch = 64,
                                    .cache_bytes = cache_bytes};
    struct engine *g = engine_open(&p, &e);
    CHECK_OK(g);
    return g;
}

/* Conversations take turns in one session; how many tokens were read. */
static size_t take_turns(const char *backend, const char *arch, int64_t cache_bytes, int n_rounds)
{
    static int32_t ids[TALKS][CTX];
    struct rng r = {test_seed()};
    size_t n[TALKS], n_read = 0;
    char *path = kit_write_model(&(struct kit_spec){
        .arch = arch, .n_vocab = N_VOCAB, .n_embd = 32, .head_dim = 32, .n_ff = 32, .window = 16});
    struct engine *g = open_engine(backend, path, cache_bytes);
    const struct kit_cold cold = {backend, &engine_model(g)->plan, CTX, N_VOCAB};
    for (int i = 0; i < TALKS; i++) {
        n[i] = i ? 300 : 0;
        memcpy(ids[i], ids[0], n[i] * sizeof *ids[i]); /* a head in common */
        while (n[i] < 400)
            ids[i][n[i]++] = (int32_t)rng_below(&r, N_VOCAB);
    }
    for (int round = 0; round < n_rounds * TALKS; round++) {
        const int i = round % TALKS;
        int32_t want[NEW];
        const struct kit_reply got =
            kit_ask(g, &(struct job_params){.prompt = ids[i], .n_prompt = n[i], .max_tokens = NEW});
        kit_cold_reply(&cold, ids[i], n[i], NEW, want, NULL);
        CHECK_INT(got.n, NEW);
        for (int k = 0; k < NEW; k++)
            CHECK_INT(got.ids[k], want[k]);
        n_read += got.usage.n_prompt - got.usage.n_cached;
        memcpy(ids[i] + n[i], want, sizeof want);
        n[i] += NEW;
        for (int k = 0; k < 20; k++)
            ids[i][n[i]++] = (int32_t)rng_below(&r, N_VOCAB);
    }
    engine_close(g);
    unlink(path);
    free(path);
    return n_read;
}

/* With room for all nothing is read twice: of the first requests a head of 300 once and 100 each,
 * then the 20 new tokens and the last one drawn. Where states are needed there is none where the
 * second conversation parts from the first: it reads the head too, and keeps one for the others. */
TEST(conversations_without_a_session_come_back_from_the_host)
{
    enum { ROUNDS = 4, LEAST = 300 + TALKS * 100 + (ROUNDS - 1) * TALKS * 21 };
    CHECK_INT(take_turns("ref", "qwen3moe", 0, ROUNDS), LEAST);
    CHECK_INT(take_turns("cpu", "qwen3moe", 0, ROUNDS), LEAST);
    CHECK_INT(take_turns("cpu", "gpt-oss", 0, ROUNDS), LEAST + 300);
    CHECK_INT(take_turns("cpu", "qwen3next", 0, ROUNDS), LEAST + 300);
    CHECK(take_turns("cpu", "qwen3moe", -1, 2) >= 300 + 2 * TALKS * 100);
}

/* With room for a part of it, replies are the same, and fewer tokens are read than without (3320).
 */
TEST(a_small_host_cache_keeps_what_it_can)
{
    CHECK(take_turns("ref", "gpt-oss", 1 << 18, 4) < 3000);
    CHECK(take_turns("ref", "qwen3next", 1 << 18, 4) < 3000);
}
