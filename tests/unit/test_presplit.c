/* The pre-tokenizers: one test per rule of their regular expressions. */
#include "base/rng.h"
#include "base/str.h"
#include "test.h"
#include "text/presplit.h"

static void check_words(enum presplit_rules rules, str text, const char *const *words)
{
    struct uclass *u = uclass_open();
    size_t at = 0;
    for (; *words; words++) {
        CHECK(at < text.n);
        size_t end = presplit_next(rules, u, text, at);
        CHECK_STR(str_sub(text, at, end), str_of(*words));
        at = end;
    }
    CHECK_INT(at, text.n);
    uclass_close(u);
}

/* WORDS(rules, text, word, ...): text is cut into exactly these words. */
#define WORDS(rules, text, ...)                                                                    \
    check_words(rules, STR(text), (const char *const[]){__VA_ARGS__, NULL})

TEST(presplit_takes_contractions_of_any_case_apart)
{
    WORDS(PRESPLIT_QWEN2, "it's IT'S we'Ve a'lL 'x", "it", "'s", " IT", "'S", " we", "'Ve", " a",
          "'lL", " '", "x");
    WORDS(PRESPLIT_QWEN2, "a's'd", "a", "'s", "'d");
    WORDS(PRESPLIT_QWEN2, "I'\u017fx", "I", "'\u017f", "x");
    WORDS(PRESPLIT_GPT2, "it's IT'S '", "it", "'s", " IT", "'", "S", " '");
    WORDS(PRESPLIT_GPT2, "'re've'm'll'd't", "'re", "'ve", "'m", "'ll", "'d", "'t");
}

TEST(presplit_gives_a_word_one_leading_character)
{
    WORDS(PRESPLIT_QWEN2, "foo.bar(baz)", "foo", ".bar", "(baz", ")");
    WORDS(PRESPLIT_QWEN2, "\tif \"x\"", "\tif", " \"", "x", "\"");
    WORDS(PRESPLIT_QWEN2, "\rx\ny", "\r", "x", "\n", "y");
    WORDS(PRESPLIT_QWEN2, "\u00a0x", "\u00a0x");
    WORDS(PRESPLIT_GPT2, "foo.bar\tx", "foo", ".", "bar", "\t", "x");
}

TEST(presplit_counts_digits_as_the_family_does)
{
    WORDS(PRESPLIT_QWEN2, "a1234 5", "a", "1", "2", "3", "4", " ", "5");
    WORDS(PRESPLIT_LLAMA3, "a1234567", "a", "123", "456", "7");
    WORDS(PRESPLIT_O200K, "12345\u00bd\u216b\u0663", "123", "45\u00bd", "\u216b\u0663");
    WORDS(PRESPLIT_GPT2, "a1234 567", "a", "1234", " 567");
}

TEST(presplit_keeps_symbols_together_with_a_space_before_and_line_ends_behind)
{
    WORDS(PRESPLIT_QWEN2, "x == {\r\n\n}", "x", " ==", " {\r\n\n", "}");
    WORDS(PRESPLIT_QWEN2, "a  ==", "a", " ", " ==");
    WORDS(PRESPLIT_O200K, "a ://\n/x", "a", " ://\n/", "x");
    WORDS(PRESPLIT_QWEN2, "a ://\n/x", "a", " ://\n", "/x");
    WORDS(PRESPLIT_GPT2, "x {\n}", "x", " {", "\n", "}");
}

TEST(presplit_leaves_the_last_white_space_to_the_next_word)
{
    WORDS(PRESPLIT_QWEN2, "a    b", "a", "   ", " b");
    WORDS(PRESPLIT_QWEN2, "a    1", "a", "   ", " ", "1");
    WORDS(PRESPLIT_QWEN2, "a    ", "a", "    ");
    WORDS(PRESPLIT_QWEN2, "a\t\tb", "a", "\t", "\tb");
    WORDS(PRESPLIT_GPT2, "a   b\n\n c", "a", "  ", " b", "\n\n", " c");
    WORDS(PRESPLIT_O200K, "a    b", "a", "   ", " b");
}

TEST(presplit_ends_white_space_at_its_last_line_end)
{
    WORDS(PRESPLIT_QWEN2, "a \n \r\n   b", "a", " \n \r\n", "  ", " b");
    WORDS(PRESPLIT_QWEN2, "\n\n  ", "\n\n", "  ");
    WORDS(PRESPLIT_O200K, "a\n\n\tb", "a", "\n\n", "\tb");
    WORDS(PRESPLIT_QWEN2, "\u2028\n\u3000x", "\u2028\n", "\u3000x");
}

TEST(presplit_knows_white_space_as_unicode_does)
{
    WORDS(PRESPLIT_QWEN2, "\xc2\x85\u1680\u2009", "\xc2\x85\u1680\u2009");
    WORDS(PRESPLIT_QWEN2, "\u200b\ufeff\u180e", "\u200b\ufeff\u180e");
}

TEST(presplit_treats_marks_as_the_family_does)
{
    WORDS(PRESPLIT_QWEN2, "\u0e01\u0e34\u0e19", "\u0e01", "\u0e34\u0e19");
    WORDS(PRESPLIT_QWEN35, "\u0e01\u0e34\u0e19", "\u0e01\u0e34\u0e19");
    WORDS(PRESPLIT_O200K, "\u0e01\u0e34\u0e19", "\u0e01\u0e34\u0e19");
    WORDS(PRESPLIT_QWEN2, "!\u0301\u0301", "!\u0301\u0301");
    WORDS(PRESPLIT_QWEN35, "! \u0301", "!", " \u0301");
}

TEST(presplit_o200k_cuts_where_the_case_turns)
{
    WORDS(PRESPLIT_O200K, "getHTTPResponse", "get", "HTTPResponse");
    WORDS(PRESPLIT_O200K, "fooBarBAZ_qux", "foo", "Bar", "BAZ", "_qux");
    WORDS(PRESPLIT_O200K, ".NET (ABC's x'LL", ".NET", " (", "ABC's", " x'LL");
    WORDS(PRESPLIT_O200K, "\u0391\u0392\u03b3\u0394", "\u0391\u0392\u03b3", "\u0394");
    /* Heads give back a character that can be a tail too: the modifier letter. */
    WORDS(PRESPLIT_O200K, "AB\u02b0CD", "AB\u02b0", "CD");
    WORDS(PRESPLIT_O200K, "\u01c5a\u01c5", "\u01c5a", "\u01c5");
}

TEST(presplit_takes_bytes_that_are_no_utf8_as_symbols)
{
    check_words(PRESPLIT_QWEN2, STR("a\xff\xfe b\xc3"),
                (const char *const[]){"a", "\xff\xfe", " b", "\xc3", NULL});
    /* Surrogates and overlong forms are not UTF-8 either; one such byte may lead a word. */
    check_words(PRESPLIT_O200K, STR("\xed\xa0\x80\xc0\xaf\x80x"),
                (const char *const[]){"\xed\xa0\x80\xc0\xaf\x80", "x", NULL});
    check_words(PRESPLIT_GPT2, STR("\xf0\x9f\x98"), (const char *const[]){"\xf0\x9f\x98", NULL});
    check_words(PRESPLIT_QWEN2, STR("\x80x"), (const char *const[]){"\x80x", NULL});
}

TEST(presplit_words_lie_end_to_end_for_any_bytes)
{
    static const char alphabet[] = "aZ\xc3\xa9 \t\r\n'sl1.\xcc\x81\xe4\xb8\xad\xff\xc2\xaa/";
    struct uclass *u = uclass_open();
    struct rng rng = {test_seed()};
    for (int round = 0; round < 4000; round++) {
        char bytes[40];
        str text = {bytes, 1 + rng_below(&rng, sizeof bytes)};
        for (size_t i = 0; i < text.n; i++)
            bytes[i] = (char)(round & 1 ? rng_u64(&rng)
                                        : (uint64_t)alphabet[rng_below(&rng, sizeof alphabet - 1)]);
        for (int rules = PRESPLIT_GPT2; rules <= PRESPLIT_O200K; rules++)
            for (size_t at = 0, end; at < text.n; at = end) {
                end = presplit_next((enum presplit_rules)rules, u, text, at);
                CHECK(end > at && end <= text.n);
                /* A cut inside a sequence would make two words of one character. */
                uint32_t cp;
                for (size_t i = end > 3 ? end - 3 : 0; i < end; i++) {
                    size_t len = utf8_decode((unsigned char *)bytes + i, text.n - i, &cp);
                    CHECK(i + len <= end);
                }
            }
    }
    uclass_close(u);
}
