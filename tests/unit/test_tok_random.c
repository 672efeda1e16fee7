/* Properties of the tokenizer over random vocabularies and texts. */
#include <pthread.h>

#include "base/mem.h"
#include "base/rng.h"
#include "kit/tok_fixture.h"
#include "test.h"
#include "text/nfc.h"
#include "text/presplit.h"
#include "text/tok_bpe.h"

enum { N_MERGES = 160, MAX_PIECE = 16, FIRST_ADDED = 256 + N_MERGES };

static const struct fixture_added added[] = {
    {"<|a|>", TOK_CONTROL},    {"<|a", TOK_CONTROL},   {"<|a|>b", TOK_USER_DEFINED},
    {"<b>", TOK_USER_DEFINED}, {"<unk>", TOK_UNKNOWN}, {NULL, TOK_NORMAL}};

/* A random but sound vocabulary: piece i, in bytes, is made by merge i of two earlier pieces. */
struct random_vocab {
    char text[256 + N_MERGES][MAX_PIECE + 1];
    const char *merges[N_MERGES + 1][2];
    struct tok *tok;
};

static bool is_known(const struct random_vocab *v, size_t n, const char *piece)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(v->text[i], piece) == 0)
            return true;
    return false;
}

/* Texts and merges use few bytes, so that they meet: letters, a space, an e with a combining acute,
 * a four-byte face, a byte that is no UTF-8, pieces of added tokens. */
static const char alphabet[] = "aabbcde \n'1.<|>\xcc\x81\xf0\x9f\x98\x80\xff";

static void open_random(struct random_vocab *v, struct rng *rng, const char *pre)
{
    struct err e;
    const size_t n_alphabet = sizeof alphabet - 1;
    memset(v, 0, sizeof *v);
    for (int b = 0; b < 256; b++)
        v->text[b][0] = (char)b;
    for (size_t i = 0; i < N_MERGES;) {
        char joined[2 * MAX_PIECE + 1];
        const char *half[2];
        for (int k = 0; k < 2; k++)
            half[k] = i == 0 || rng_below(rng, 2)
                          ? v->text[(unsigned char)alphabet[rng_below(rng, n_alphabet)]]
                          : v->text[256 + rng_below(rng, i)];
        snprintf(joined, sizeof joined, "%s%s", half[0], half[1]);
        if (strlen(joined) > MAX_PIECE || is_known(v, 256 + i, joined))
            continue;
        strcpy(v->text[256 + i], joined);
        v->merges[i][0] = half[0];
        v->merges[i++][1] = half[1];
    }
    v->tok = tok_fixture_open(
        &(struct tok_fixture){.pre = pre, .merges = v->merges, .added = added}, &e);
    CHECK_OK(v->tok);
}

static str random_text(struct rng *rng, char *bytes, size_t room)
{
    static const char *const parts[] = {"<|a|>",    "<|a|>b",       "<b>",   "<unk>", "e\xcc\x81",
                                        "\xc3\xa9", "\xe4\xb8\xad", "  \n ", "aaaa",  "bcbc"};
    size_t n = 0, want = rng_below(rng, room + 1);
    int style = (int)rng_below(rng, 3);
    while (n < want) {
        const char *part = parts[rng_below(rng, sizeof parts / sizeof *parts)];
        if (style == 2)
            bytes[n++] = (char)rng_u64(rng);
        else if (style == 1 && rng_below(rng, 3) == 0 && n + strlen(part) <= want) {
            memcpy(bytes + n, part, strlen(part));
            n += strlen(part);
        } else
            bytes[n++] = alphabet[rng_below(rng, sizeof alphabet - 1)];
    }
    return (str){bytes, n};
}

/* The definition: look for the lowest rank, join, start again. */
static void merge_naively(const struct bpe *b, str word, struct tok_ids *out)
{
    size_t from = out->n;
    for (size_t i = 0; i < word.n; i++)
        tok_ids_put(out, (int32_t)b->byte_id[(unsigned char)word.p[i]]);
    for (;;) {
        size_t best = 0;
        const struct bpe_merge *merge = NULL;
        for (size_t i = from; i + 1 < out->n; i++)
            for (size_t k = 0; k <= b->mask; k++) {
                const struct bpe_merge *m = &b->slots[k];
                if (m->rank != BPE_NONE && m->left == (uint32_t)out->ids[i] &&
                    m->right == (uint32_t)out->ids[i + 1] && (!merge || m->rank < merge->rank)) {
                    merge = m;
                    best = i;
                }
            }
        if (!merge)
            return;
        out->ids[best] = (int32_t)merge->joined;
        memmove(out->ids + best + 1, out->ids + best + 2, (out->n - best - 2) * sizeof *out->ids);
        out->n--;
    }
}

static void fill_bpe(struct bpe *b, const struct random_vocab *v)
{
    bpe_init(b, N_MERGES);
    for (uint32_t byte = 0; byte < 256; byte++)
        b->byte_id[byte] = byte;
    for (uint32_t i = 0; i < N_MERGES; i++) {
        uint32_t id[2];
        for (int k = 0; k < 2; k++)
            id[k] = (uint32_t)((v->merges[i][k] - v->text[0]) / (MAX_PIECE + 1));
        bpe_add(b, id[0], id[1], i, 256 + i);
    }
}

static void check_same(const uint32_t *got, size_t n, const struct tok_ids *want)
{
    CHECK_INT(n, want->n);
    for (size_t i = 0; i < n; i++)
        CHECK_INT(got[i], want->ids[i]);
}

TEST(bpe_short_and_long_merge_by_definition)
{
    struct rng rng = {test_seed()};
    struct bpe_scratch scratch = {0};
    for (int round = 0; round < 8; round++) {
        struct random_vocab v;
        struct bpe b;
        open_random(&v, &rng, "qwen2");
        fill_bpe(&b, &v);
        for (int k = 0; k < 250; k++) {
            char bytes[BPE_SHORT];
            uint32_t ids[BPE_SHORT];
            struct tok_ids want = {0};
            str word = random_text(&rng, bytes, sizeof bytes);
            if (word.n == 0)
                continue;
            merge_naively(&b, word, &want);
            check_same(ids, bpe_short(&b, word, ids), &want);
            check_same(ids, bpe_long(&b, word, &scratch, ids), &want);
            free(want.ids);
        }
        bpe_fini(&b);
        tok_close(v.tok);
    }
    bpe_scratch_fini(&scratch);
}

/* Words looked up whole, remembered, merged short and merged long all come to what the scanner and
 * the definition of merging give. */
TEST(tok_encode_equals_scanner_and_definition)
{
    struct rng rng = {test_seed() + 1};
    struct uclass *u = uclass_open();
    for (int round = 0; round < 6; round++) {
        struct random_vocab v;
        struct bpe b;
        open_random(&v, &rng, "gpt-4o");
        fill_bpe(&b, &v);
        for (int k = 0; k < 30; k++) {
            char bytes[700];
            struct tok_ids got = {0}, want = {0};
            str text = random_text(&rng, bytes, sizeof bytes);
            tok_encode(v.tok, text, &(struct tok_params){.plain = true}, &got);
            for (size_t at = 0, end; at < text.n; at = end) {
                end = presplit_next(PRESPLIT_O200K, u, text, at);
                merge_naively(&b, str_sub(text, at, end), &want);
            }
            check_same((const uint32_t *)got.ids, got.n, &want);
            free(got.ids);
            free(want.ids);
        }
        bpe_fini(&b);
        tok_close(v.tok);
    }
    uclass_close(u);
}

static void put_all(const struct tok *t, const struct tok_ids *ids, struct buf *out)
{
    for (size_t i = 0; i < ids->n; i++)
        buf_str(out, tok_bytes(t, ids->ids[i]));
}

TEST(tok_pieces_join_to_the_text)
{
    struct rng rng = {test_seed() + 2};
    struct uclass *u = uclass_open();
    struct random_vocab gpt, qwen;
    open_random(&gpt, &rng, "gpt-4o");
    open_random(&qwen, &rng, "qwen2");
    for (int k = 0; k < 3000; k++) {
        char bytes[200];
        struct tok_ids ids = {0};
        struct buf back = {0}, normal = {0};
        str text = random_text(&rng, bytes, sizeof bytes);
        tok_encode(gpt.tok, text, &(struct tok_params){.special = k & 1}, &ids);
        put_all(gpt.tok, &ids, &back);
        CHECK_STR(buf_view(&back), text);
        ids.n = 0;
        buf_clear(&back);
        tok_encode(qwen.tok, text, &(struct tok_params){.plain = true}, &ids);
        put_all(qwen.tok, &ids, &back);
        nfc_put(u, text, &normal);
        CHECK_STR(buf_view(&back), buf_view(&normal));
        free(ids.ids);
        buf_free(&back);
        buf_free(&normal);
    }
    tok_close(gpt.tok);
    tok_close(qwen.tok);
    uclass_close(u);
}

/* Is position `cut` inside a character of s? */
static bool splits_character(str s, size_t cut)
{
    uint32_t cp;
    for (size_t i = cut > 3 ? cut - 3 : 0; i < cut; i++)
        if (i + utf8_decode((const unsigned char *)s.p + i, s.n - i, &cp) > cut)
            return true;
    return false;
}

TEST(tok_stream_equals_one_shot_and_never_splits_a_character)
{
    struct rng rng = {test_seed() + 3};
    struct random_vocab v;
    open_random(&v, &rng, "gpt-4o");
    for (int k = 0; k < 1500; k++) {
        struct tok_ids ids = {0};
        struct buf whole = {0}, out = {0};
        struct tok_stream s = {.tok = v.tok, .show_special = true};
        if (k & 1) {
            char bytes[80];
            tok_encode(v.tok, random_text(&rng, bytes, sizeof bytes),
                       &(struct tok_params){.special = true}, &ids);
        } else {
            for (int i = 0; i < 30; i++)
                tok_ids_put(&ids,
                            rng_below(&rng, 2)
                                ? (unsigned char)alphabet[rng_below(&rng, sizeof alphabet - 1)]
                                : (int32_t)rng_below(&rng, FIRST_ADDED + 5));
        }
        put_all(v.tok, &ids, &whole);
        for (size_t i = 0; i < ids.n; i++) {
            tok_stream_put(&s, ids.ids[i], &out);
            CHECK(!splits_character(buf_view(&whole), out.n));
            CHECK(s.n_held <= 3);
        }
        tok_stream_end(&s, &out);
        CHECK_STR(buf_view(&out), buf_view(&whole));
        free(ids.ids);
        buf_free(&whole);
        buf_free(&out);
    }
    tok_close(v.tok);
}

/* Up to four random spans, in order. */
static size_t random_spans(struct rng *rng, size_t n_text, struct tok_span *spans)
{
    size_t n = 0, at = 0;
    while (n < 4 && at < n_text) {
        size_t from = at + rng_below(rng, n_text - at + 1);
        at = from + rng_below(rng, n_text - from + 1);
        spans[n++] = (struct tok_span){from, at};
    }
    return n;
}

TEST(tok_control_tokens_never_touch_literal_spans)
{
    struct rng rng = {test_seed() + 4};
    struct random_vocab v;
    size_t n_control = 0;
    open_random(&v, &rng, "gpt-4o");
    for (int k = 0; k < 4000; k++) {
        char bytes[120];
        struct tok_span spans[4];
        struct tok_ids ids = {0};
        str text = random_text(&rng, bytes, sizeof bytes);
        struct tok_params p = {.special = true, .literal = spans};
        p.n_literal = random_spans(&rng, text.n, spans);
        tok_encode(v.tok, text, &p, &ids);
        size_t at = 0;
        for (size_t i = 0; i < ids.n; i++) {
            size_t end = at + tok_bytes(v.tok, ids.ids[i]).n;
            enum tok_type type = tok_type(v.tok, ids.ids[i]);
            bool control = type == TOK_CONTROL || type == TOK_UNKNOWN;
            for (size_t k_span = 0; control && k_span < p.n_literal; k_span++)
                CHECK(end <= spans[k_span].from || at >= spans[k_span].to ||
                      spans[k_span].from == spans[k_span].to);
            n_control += control;
            at = end;
        }
        free(ids.ids);
    }
    CHECK(n_control > 1000);
    tok_close(v.tok);
}

/* Quadratic work on any of these would run into the time limit. */
TEST(tok_encodes_a_megabyte_of_one_word)
{
    enum { N = 1 << 20 };
    struct rng rng = {test_seed() + 5};
    struct random_vocab v;
    struct buf text[5] = {0};
    open_random(&v, &rng, "qwen2");
    for (size_t i = 0; i < N; i++) {
        buf_byte(&text[0], ' ');
        buf_byte(&text[1], "abcde"[rng_below(&rng, 5)]);
        buf_byte(&text[2], '<');
        buf_byte(&text[3], "<|a"[i % 3]);
        buf_put(&text[4], i & 1 ? "\xcc\x81" : "\xcc\x96", 2); /* marks above and below */
    }
    for (size_t k = 0; k < 5; k++) {
        struct tok_ids ids = {0};
        struct buf back = {0};
        tok_encode(v.tok, buf_view(&text[k]), &(struct tok_params){.special = true}, &ids);
        put_all(v.tok, &ids, &back);
        CHECK_INT(back.n, text[k].n);
        if (k < 4)
            CHECK_STR(buf_view(&back), buf_view(&text[k]));
        free(ids.ids);
        buf_free(&back);
        buf_free(&text[k]);
    }
    tok_close(v.tok);
}

struct shared_work {
    const struct tok *tok;
    str text;
    struct tok_ids ids;
};

static void *encode_often(void *arg)
{
    struct shared_work *w = arg;
    for (int i = 0; i < 20; i++) {
        w->ids.n = 0;
        tok_encode(w->tok, w->text, &(struct tok_params){.special = true}, &w->ids);
    }
    return NULL;
}

TEST(tok_encodes_in_many_threads_at_once)
{
    enum { N_THREADS = 4 };
    struct rng rng = {test_seed() + 6};
    struct random_vocab v;
    char bytes[3000];
    struct shared_work work[N_THREADS];
    pthread_t threads[N_THREADS];
    open_random(&v, &rng, "qwen2");
    str text = random_text(&rng, bytes, sizeof bytes);
    for (size_t i = 0; i < N_THREADS; i++) {
        work[i] = (struct shared_work){.tok = v.tok, .text = text};
        CHECK(pthread_create(&threads[i], NULL, encode_often, &work[i]) == 0);
    }
    for (size_t i = 0; i < N_THREADS; i++) {
        pthread_join(threads[i], NULL);
        check_same((const uint32_t *)work[i].ids.ids, work[i].ids.n, &work[0].ids);
    }
    for (size_t i = 0; i < N_THREADS; i++)
        free(work[i].ids.ids);
    tok_close(v.tok);
}
