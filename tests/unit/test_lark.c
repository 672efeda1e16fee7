/* Lark: grammars of OpenAI's custom tools match the texts that they say, as they are and inside a
 * JSON string; what is wrong or not supported is named. */
#include "text/lark.h"

#include <stdlib.h>

#include "base/json.h"
#include "base/mem.h"
#include "kit/grammar_match.h"
#include "test.h"

/* A patch as Codex's apply_patch takes it. */
#define PATCH                                                                                      \
    "start: head section+ tail\n"                                                                  \
    "head: \"*** Begin Patch\" LF\n"                                                               \
    "tail: \"*** End Patch\" LF?\n"                                                                \
    "\n"                                                                                           \
    "section: added | removed | changed\n"                                                         \
    "added: \"*** Add File: \" path LF plus+\n"                                                    \
    "removed: \"*** Delete File: \" path LF\n"                                                     \
    "changed: \"*** Update File: \" path LF moved? lines?\n"                                       \
    "path: /(.+)/\n"                                                                               \
    "plus: \"+\" /(.*)/ LF -> line\n"                                                              \
    "moved: \"*** Move to: \" path LF\n"                                                           \
    "lines: (place | line)+ end_of_file?\n"                                                        \
    "place: (\"@@\" | \"@@ \" /(.+)/) LF\n"                                                        \
    "line: (\"+\" | \"-\" | \" \") /(.*)/ LF\n"                                                    \
    "end_of_file: \"*** End of File\" LF\n"                                                        \
    "\n"                                                                                           \
    "%import common.LF\n"
#define BEGIN "*** Begin Patch\n"
#define END   "*** End Patch"

struct lark_case {
    const char *source;
    const char *good[8];
    const char *bad[8];
};

static const struct lark_case cases[] = {
    {PATCH,
     {BEGIN "*** Add File: a \"b\".txt\n+hi\n" END, BEGIN "*** Delete File: a\n" END "\n",
      BEGIN "*** Add File: a\n+\n+\tif (a < b) \\ { </x>\n*** Delete File: b\n" END,
      BEGIN "*** Update File: a\n*** Move to: b\n@@ f():\n one\n-two\r\n+\xc3\xa9\xe2\x80\xa8\n@@\n"
            "+x\n*** End of File\n" END,
      BEGIN "*** Update File: a\n" END},
     {"", BEGIN END, "hi", BEGIN "*** Add File: a\n" END, BEGIN "*** Add File: a\nhi\n" END,
      BEGIN "*** Add File: \n+a\n" END, BEGIN "*** Delete File: a\n", BEGIN "@@\n" END}},
    {"start: \"yes\" | \"no\"", {"yes", "no"}, {"", "y", "yesno"}},
    {"// a comment\n?start: item (\",\" item)* // another\n\n!item.2: DIGIT~1..3\n    | LETTERS\n"
     "LETTERS.-1: \"a\"..\"f\"+\nDIGIT: /[0-9]/",
     {"1", "1,22,333", "fade,0"},
     {"", "1,", "4444", "g"}},
    {"start: \"(\" start \")\" | /x/", {"x", "((x))"}, {"", "(x", "()"}},
    {"start: [\"a\"] \"b\"~2 \"c\"* _d\n_d: \"\\x41\\u00e9\\\"\\n\"",
     {"abbA\xc3\xa9\"\n", "bbccA\xc3\xa9\"\n"},
     {"abA\xc3\xa9\"\n", "aabbA\xc3\xa9\"\n"}},
    {"start: /a.b/ /[.\\/]/ /./s", {"axb.\n", "a\rb/x"}, {"a\nb..", "axbx."}},
    {"%import common (INT, WS_INLINE)\n%import common.CNAME -> NAME\nstart: NAME WS_INLINE INT",
     {"owl 7", "_x1\t 007"},
     {"7 owl", "owl7", "owl\n7"}},
    {"start: a?\na: \"x\"\n?b: \"y\"", {"", "x"}, {"y", "?"}},
    {"start: \"\" | \"a\"", {"", "a"}, {"b"}},
};

static struct grammar *compiled(enum text_form form, const char *source)
{
    struct grammar *g = grammar_new();
    struct err e = {0};
    uint32_t node;
    CHECK_OK(lark_node(g, &(struct lark_params){.form = form}, str_of(source), &node, &e));
    const uint32_t rule = grammar_rule(g);
    grammar_define(g, rule, node);
    CHECK_OK(grammar_compile(g, rule, &e));
    return g;
}

TEST(lark_matches_what_it_says)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct grammar *g = compiled(TEXT_PLAIN, cases[i].source);
        kit_check_matches(g, cases[i].good, cases[i].bad);
        grammar_free(g);
    }
}

/* The text between the quotes of its JSON. */
static bool matches_quoted(const struct grammar *g, const char *text)
{
    struct buf quoted = {0};
    json_quote(str_of(text), &quoted);
    const bool ok = kit_matches(g, str_sub(buf_view(&quoted), 1, quoted.n - 1));
    buf_free(&quoted);
    return ok;
}

TEST(lark_matches_the_same_inside_a_json_string)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct grammar *g = compiled(TEXT_JSON, cases[i].source);
        for (const char *const *t = cases[i].good; t < cases[i].good + 8 && *t; t++)
            if (!matches_quoted(g, *t))
                test_fail(__FILE__, __LINE__, "case %zu does not match '%s'", i, *t);
        for (const char *const *t = cases[i].bad; t < cases[i].bad + 8 && *t; t++)
            if (matches_quoted(g, *t))
                test_fail(__FILE__, __LINE__, "case %zu matches '%s'", i, *t);
        CHECK(!kit_matches(g, STR("\"")) && !kit_matches(g, STR("\n")));
        grammar_free(g);
    }
}

TEST(lark_names_what_is_wrong)
{
    static const char *const wrong[][2] = {
        {"", "'start' is not defined"},
        {"start: a", "'a' is not defined"},
        {"start: \"a\nb\"", "line 1: a string without its end"},
        {"start: \"a\"i", "a string in any case"},
        {"start: /a/i", "a flag"},
        {"start: /a", "a regular expression without its end"},
        {"start: /(?=a)b/", "looking ahead"},
        {"start: (\"a\"", "a group without its end"},
        {"start: \"a\")", "no definition"},
        {"start: \"a\"~", "a count is missing"},
        {"start: \"a\"~3..2", "a count that ends before it begins"},
        {"start: \"ab\"..\"c\"", "a range between texts"},
        {"start: \"b\"..\"a\"", "a range that holds nothing"},
        {"start: \"\\q\"", "an escape that is not known"},
        {"start: \"\\u00g0\"", "a broken escape"},
        {"start: \"a\"\nstart: \"b\"", "line 2: a name is defined twice"},
        {"start: \"a\"\n%ignore \" \"", "line 2: a directive other than %import"},
        {"%import common.PYTHON\nstart: \"a\"", "a terminal that is not known"},
        {"%import other.LF\nstart: \"a\"", "from elsewhere"},
        {"start: a{\"b\"}", "a template"},
        {"start: start \"a\" | \"b\"", ""}, /* begins with itself */
        {"start: \"a\" start", ""},         /* never ends */
        {"start", "no definition"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct grammar *g = grammar_new();
        struct err e = {0};
        uint32_t node;
        if (lark_node(g, &(struct lark_params){.form = TEXT_JSON}, str_of(wrong[i][0]), &node,
                      &e) ||
            !e.code || !strstr(e.msg, wrong[i][1]))
            test_fail(__FILE__, __LINE__, "%s: '%s'", wrong[i][0], e.msg);
        grammar_free(g);
    }
}

/* n times a text, between two others. */
static void check_refused(const char *before, const char *text, size_t n, const char *after)
{
    struct grammar *g = grammar_new();
    struct buf source = {0};
    struct err e = {0};
    uint32_t node;
    buf_str(&source, str_of(before));
    for (size_t i = 0; i < n; i++)
        buf_str(&source, str_of(text));
    buf_str(&source, str_of(after));
    if (lark_node(g, &(struct lark_params){.form = TEXT_JSON}, buf_view(&source), &node, &e) ||
        !e.code)
        test_fail(__FILE__, __LINE__, "'%s' %zu times is taken", text, n);
    buf_free(&source);
    grammar_free(g);
}

TEST(lark_limits_hostile_sources)
{
    check_refused("start: \"a\" //", " ", LARK_MAX_SOURCE, "");
    check_refused("start: ", "(", 60000, "\"a\"");
    check_refused("start: ", "[", LARK_MAX_DEPTH + 1, "\"a\"");
    check_refused("start: \"a\" ", "| \"a\"", 2000, "");
    check_refused("start: \"a\" ", "\"b\" ", 2000, "");
    struct buf names = {0};
    for (size_t i = 0; i < LARK_MAX_RULES + 1; i++)
        buf_fmt(&names, "r%zu: \"a\"\n", i);
    check_refused(names.p, "", 0, "start: r0");
    buf_free(&names);
}
