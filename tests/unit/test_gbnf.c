#include "text/gbnf.h"

#include "kit/grammar_match.h"
#include "test.h"

struct gbnf_case {
    const char *source;
    const char *good[8];
    const char *bad[8];
};

static const struct gbnf_case cases[] = {
    {"root ::= \"yes\" | \"no\"", {"yes", "no"}, {"", "y", "yesno", "maybe"}},
    {"root ::= [a-c]+ [^a-c]", {"ad", "abcabc!", "c\xc3\xa4"}, {"a", "d", "abca", "ab!!"}},
    {"root ::= \"a\"* \"b\"? \"c\"{2} \"d\"{1,} \"e\"{0,2} \"f\"{,1}",
     {"ccd", "aaabccddddeef", "ccdf"},
     {"cd", "cccd", "ccdeee", "ccdff"}},
    {"root ::= item (\",\" item)*\nitem ::= [0-9]{1,3}",
     {"1", "1,22,333"},
     {"", ",", "1,", "4444"}},
    {"# a comment\nroot ::= # another\n  \"a\"\n  | \"b\" # and one\nx ::= \"x\"\n",
     {"a", "b"},
     {"x", "ab"}},
    {"root ::= expr\nexpr ::= term (\"+\" term)*\nterm ::= \"(\" expr \")\" | [0-9]+",
     {"1", "(1)", "((1+2)+3)+4"},
     {"(", "(1", "1)", "()", "1+"}},
    {"root ::= \"\\\"\\\\\\n\\x41\\u00e4\"", {"\"\\\n\x41\xc3\xa4"}, {"\"\\nA\xe4"}},
    {"root ::= [\\]\\-a\\x30-\\x32]+", {"]-a012"}, {"3", "\\"}},
    {"root ::= [\xc3\xa4-\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80-\xf0\x9f\x99\x8f]{2}",
     {"\xc3\xa4\xc3\xbc", "\xe2\x82\xac\xf0\x9f\x98\x81"},
     {"\xc3\xa4", "ab", "\xc3\xbd\xc3\xbd", "\xf0\x9f\x99\x90\xf0\x9f\x99\x90"}},
    {"root ::= .{2}", {"ab", "\xe2\x82\xac\n"}, {"a", "abc", "\xe2\x82", "a\xff"}},
    {"root ::= \"a\" root \"b\" |", {"", "ab", "aaabbb"}, {"a", "aab", "ba"}},
    {"root ::= [a-z]{40,50}",
     {"aaaaaaaaaabbbbbbbbbbccccccccccdddddddddd",
      "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeee"},
     {"aaaaaaaaaabbbbbbbbbbccccccccccddddddddd",
      "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeef"}},
    {"root ::= (\"ab\" [0-9]){3,200} \"!\"",
     {"ab1ab2ab3!", "ab1ab2ab3ab4ab5!"},
     {"ab1ab2!", "ab1ab2ab!", "ab1ab2ab3"}},
    {"root ::= (\"a\"?){0,3}", {"", "a", "aaa"}, {"aaaa"}},
    {"root-1 ::= \"x\"\nroot ::= root-1 root_2\nroot_2 ::= \"y\"", {"xy"}, {"x", "y"}},
};

TEST(gbnf_matches_what_it_says)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = {0};
        struct grammar *g = grammar_new();
        CHECK_OK(gbnf_compile(g, str_of(cases[i].source), &e));
        kit_check_matches(g, cases[i].good, cases[i].bad);
        grammar_free(g);
    }
}

TEST(gbnf_names_what_is_wrong)
{
    static const char *const wrong[][2] = {
        {"", "no rule 'root'"},
        {"x ::= \"a\"", "no rule 'root'"},
        {"root ::= \"a\"\nroot ::= \"b\"", "line 2: 'root' is defined twice"},
        {"root ::= y", "line 1: 'y' is not defined"},
        {"root ::= \"a\" |\n  \"b", "line 2: expected a character, not the end"},
        {"root ::= [a-", "expected"},
        {"root ::= (\"a\"", "expected ')'"},
        {"root ::= \"a\"{3,2}", "the smaller count first"},
        {"root ::= \"a\"{x}", "expected a number"},
        {"root ::= \"\\q\"", "expected an escape"},
        {"root ::= [z-a]", "from a lower to a higher"},
        {"root = \"a\"", "expected 'name ::='"},
        {"root ::= root \"a\" | \"b\"", "rule 'root': it begins with itself"},
        {"root ::= a\na ::= b? c\nb ::= \"b\"\nc ::= a \"x\"", "begins with itself"},
        {"root ::= \"a\" root", "no text matches"},
        {"root ::= (\"a\"?){1,5000}", "may be empty"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct err e = {0};
        struct grammar *g = grammar_new();
        CHECK(!gbnf_compile(g, str_of(wrong[i][0]), &e));
        if (!strstr(e.msg, wrong[i][1]))
            test_fail(__FILE__, __LINE__, "%s: got \"%s\", want \"%s\"", wrong[i][0], e.msg,
                      wrong[i][1]);
        grammar_free(g);
    }
}

TEST(gbnf_counts_do_not_cost_states)
{
    struct err e = {0};
    struct grammar *g = grammar_new();
    CHECK_OK(gbnf_compile(g, STR("root ::= ([a-z] | \"--\"){1000000,4000000} \".\""), &e));
    struct automaton *a = automaton_open(g);
    uint32_t s = automaton_start(a);
    for (int i = 0; i < 1000; i++)
        s = automaton_text(a, s, STR("a--"));
    CHECK(s != AUTOMATON_DEAD);
    CHECK(automaton_n_bytes(a) < 4 << 20);
    CHECK(automaton_step(a, s, '.') == AUTOMATON_DEAD);
    automaton_close(a);
    grammar_free(g);
}

TEST(gbnf_limits_hostile_sources)
{
    struct err e = {0};
    struct buf deep = {0}, wide = {0};
    buf_str(&deep, STR("root ::= "));
    for (int i = 0; i < 1000; i++)
        buf_byte(&deep, '(');
    struct grammar *g = grammar_new();
    CHECK(!gbnf_compile(g, buf_view(&deep), &e) && e.code == ERR_LIMIT);
    grammar_free(g);
    buf_str(&wide, STR("root ::= \"\""));
    for (int i = 0; i < 5000; i++)
        buf_fmt(&wide, " r%d", i);
    g = grammar_new();
    CHECK(!gbnf_compile(g, buf_view(&wide), &e) && e.code == ERR_LIMIT);
    grammar_free(g);
    g = grammar_new();
    CHECK(
        !gbnf_compile(g, STR("root ::= ((((\"abcdefgh\"{1,40}){1,40}){1,40}){1,40}){1,40}"), &e) ||
        kit_matches(g, STR("abcdefgh")));
    grammar_free(g);
    buf_free(&deep);
    buf_free(&wide);
}
