/* The store of responses: chains, its limit, and what is gone. */
#include "test.h"

#include <pthread.h>

#include "kit/heap.h"
#include "server/responses_store.h"

static void check_items(struct responses_store *s, const char *id, const char *want)
{
    struct buf out = {0};
    bool there = responses_store_items(s, str_of(id), &out);
    CHECK(there == (want != NULL));
    if (there)
        CHECK_STR(buf_view(&out), str_of(want));
    buf_free(&out);
}

static void put(struct responses_store *s, const char *id, const char *previous, const char *input,
                const char *output)
{
    responses_store_put(s, str_of(id), str_of(previous), str_of(input), str_of(output),
                        str_of("{}"));
}

TEST(responses_store_joins_a_chain)
{
    struct responses_store *s = responses_store_open(1 << 20);
    struct buf out = {0};
    put(s, "a", "", "1,2", "3");
    put(s, "b", "a", "4", "");
    put(s, "c", "b", "", "5");
    put(s, "other", "a", "6", "7");
    check_items(s, "c", "1,2,3,4,5");
    check_items(s, "other", "1,2,3,6,7");
    check_items(s, "a", "1,2,3");
    check_items(s, "none", NULL);
    CHECK(responses_store_output(s, STR("other"), &out));
    CHECK(responses_store_body(s, STR("b"), &out));
    CHECK_STR(buf_view(&out), STR("7{}"));
    CHECK(responses_store_delete(s, STR("b")));
    CHECK(!responses_store_delete(s, STR("b")));
    CHECK(!responses_store_body(s, STR("b"), &out));
    check_items(s, "c", NULL);
    check_items(s, "a", "1,2,3");
    buf_free(&out);
    responses_store_close(s);
}

/* What a conversation that is in use goes back to stays; the others go, oldest use first. */
TEST(responses_store_forgets_what_was_not_used)
{
    struct responses_store *s = responses_store_open(20000);
    struct buf big = {0}, out = {0};
    char id[16], last[16] = "";
    for (int i = 0; i < 1000; i++)
        buf_byte(&big, '1');
    put(s, "root", "", big.p, "2");
    for (int i = 0; i < 100; i++) {
        snprintf(id, sizeof id, "r%d", i);
        put(s, id, "", big.p, "2");
        if (i < 5) {
            snprintf(last, sizeof last, "c%d", i);
            char previous[16];
            snprintf(previous, sizeof previous, i ? "c%d" : "root", i - 1);
            put(s, last, previous, "8", "9");
        }
        buf_clear(&out);
        CHECK(responses_store_items(s, i < 5 ? STR("root") : str_of(last), &out));
    }
    CHECK_INT(out.n, big.n + 2 + 5 * 4);
    CHECK(!responses_store_body(s, STR("r0"), &out));
    CHECK(!responses_store_body(s, STR("r50"), &out));
    CHECK(responses_store_body(s, STR("r99"), &out));
    /* One that alone is too large displaces nothing. */
    while (big.n < 30000)
        buf_byte(&big, '1');
    put(s, "huge", "", big.p, "");
    CHECK(!responses_store_body(s, STR("huge"), &out));
    CHECK(responses_store_body(s, STR("r99"), &out));
    buf_free(&big);
    buf_free(&out);
    responses_store_close(s);
}

TEST(responses_store_takes_no_more_memory_than_it_may)
{
    const size_t limit = 1 << 20;
    struct responses_store *s = responses_store_open(limit);
    const size_t before = heap_in_use();
    for (int i = 0; i < 10000; i++) {
        char id[16];
        snprintf(id, sizeof id, "r%d", i);
        put(s, id, "", "\"What is tawny?\"", "\"An owl.\"");
        CHECK(responses_store_bytes(s) <= limit);
    }
    const size_t taken = heap_in_use() - before;
    printf("    %zu bytes of memory, %zu counted\n", taken, responses_store_bytes(s));
    CHECK(responses_store_bytes(s) > limit / 2);
    CHECK(taken <= limit + limit / 4); /* malloc's own heads */
    responses_store_close(s);
}

static void *use(void *ctx)
{
    struct responses_store *s = ctx;
    struct buf out = {0};
    for (int i = 0; i < 300; i++) {
        char id[16];
        snprintf(id, sizeof id, "x%d", i % 17);
        put(s, id, "", "123456789", "1");
        buf_clear(&out);
        responses_store_items(s, str_of(id), &out);
        responses_store_delete(s, i % 3 ? STR("x1") : STR("x2"));
    }
    buf_free(&out);
    return NULL;
}

TEST(responses_store_serves_many_threads)
{
    struct responses_store *s = responses_store_open(4000);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, use, s) == 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    responses_store_close(s);
}
