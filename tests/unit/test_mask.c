#include "text/mask.h"

#include "base/rng.h"
#include "kit/grammar_match.h"
#include "kit/heap.h"
#include "kit/tok_fixture.h"
#include "test.h"
#include "text/gbnf.h"
#include "text/toolcall.h"

static const struct fixture_added added[] = {{"<|aux|>", TOK_CONTROL},
                                             {"<|im_end|>", TOK_CONTROL},
                                             {"<tool_call>", TOK_USER_DEFINED},
                                             {NULL, 0}};
/* Tokens that cut UTF-8, close strings in their middle, and close several things at once. */
static const char *merges[][2] = {
    {"\"", ","},       {"\",", " "}, {"\", ", "\""}, {"a", "b"},       {"ab", "\""},
    {"ab\"", "}"},     {"}", "}"},   {"}}", "}"},    {"\xc3", "\xa4"}, {"\xe2", "\x82"},
    {"a", "\xe2\x82"}, {"\"", ":"},  {"\":", " "},   {"[", "["},       {"]", "]"},
    {"]]", ","},       {"1", "2"},   {"12", ","},    {"\\", "\""},     {"\\", "n"},
    {" ", " "},        {"  ", "  "}, {"{", "\""},    {"{\"", "a"},     {"true", "}"},
    {"t", "r"},        {"tr", "u"},  {"tru", "e"},   {NULL, NULL}};

static struct tok *small_tok(void)
{
    struct err e = {0};
    struct tok *t = tok_fixture_open(&(struct tok_fixture){.merges = merges, .added = added}, &e);
    if (!t)
        test_fail(__FILE__, __LINE__, "%s", e.msg);
    return t;
}

/* The mask, token by token. */
static void check_mask(const struct tok *t, struct automaton *a, struct masks *m, uint32_t state)
{
    const struct token_mask *mask = masks_at(m, state);
    uint32_t n = 0;
    CHECK(mask != NULL);
    for (uint32_t id = 0; id < tok_n_vocab(t); id++) {
        enum tok_type type = tok_type(t, (int32_t)id);
        str bytes = tok_bytes(t, (int32_t)id);
        bool want = tok_is_stop(t, (int32_t)id)
                        ? automaton_accepts(a, state)
                        : (type == TOK_NORMAL || type == TOK_USER_DEFINED) && bytes.n > 0 &&
                              bytes.n < AUTOMATON_HORIZON &&
                              automaton_text(a, state, bytes) != AUTOMATON_DEAD;
        if (token_mask_has(mask, id) != want)
            test_fail(__FILE__, __LINE__, "token %u '%.*s': got %d, want %d", id, STRF(bytes),
                      !want, want);
        n += want;
    }
    CHECK_INT(mask->n, n);
}

/* Follows random allowed tokens and checks the mask at each step. */
static void walk_randomly(const struct tok *t, const struct mask_vocab *v, const struct grammar *g,
                          int n_steps, uint64_t seed)
{
    struct rng rng = {seed};
    struct automaton *a = automaton_open(g);
    struct masks *m = masks_open(v, a);
    uint32_t state = automaton_start(a);
    for (int i = 0; i < n_steps; i++) {
        check_mask(t, a, m, state);
        const struct token_mask *mask = masks_at(m, state);
        uint32_t id, skip = (uint32_t)rng_below(&rng, mask->n);
        for (id = 0; !token_mask_has(mask, id) || skip-- > 0; id++)
            continue;
        state = masks_step(m, state, (int32_t)id);
        if (tok_is_stop(t, (int32_t)id))
            state = automaton_start(a);
        CHECK(state != AUTOMATON_DEAD);
        if (i % 16 == 15)
            masks_trim(m, &state, 1, 0);
    }
    masks_close(m);
    automaton_close(a);
}

static const char *const schemas[] = {
    "{}",
    "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"},\"ab\":{\"type\":\"array\","
    "\"items\":"
    "{\"type\":\"integer\"}},\"b\":{\"type\":\"boolean\"}},\"required\":[\"ab\"]}",
    "{\"type\":\"array\",\"items\":{\"type\":\"string\",\"maxLength\":5},\"minItems\":2}",
    "{\"type\":\"array\",\"items\":{\"type\":\"string\",\"minLength\":2,\"maxLength\":1000}}",
    "{\"$defs\":{\"t\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/t\"}}},\"$ref\":\"#/$defs/"
    "t\"}",
    "{\"type\":\"string\",\"minLength\":20,\"maxLength\":70}",
    "{\"type\":\"array\",\"items\":{\"type\":\"string\",\"maxLength\":24},\"minItems\":1}",
    "{\"type\":\"array\",\"items\":{\"type\":\"string\",\"pattern\":\"^(ab|[a-z~]{2,40})*$\"}}",
};

static void check_schemas(const struct tok *t, int n_steps)
{
    struct mask_vocab *v = mask_vocab_open(t, tok_n_vocab(t));
    for (size_t i = 0; i < sizeof schemas / sizeof *schemas; i++) {
        struct err e = {0};
        struct json *schema = json_parse(str_of(schemas[i]), &e);
        struct grammar *g = kit_schema_grammar(schema, NULL);
        walk_randomly(t, v, g, n_steps, test_seed() + i);
        grammar_free(g);
        json_free(schema);
    }
    mask_vocab_close(v);
}

TEST(mask_holds_just_the_tokens_that_may_come)
{
    struct tok *t = small_tok();
    check_schemas(t, 200);
    tok_close(t);
}

TEST(mask_holds_just_the_tokens_of_a_large_vocabulary)
{
    struct tok *t = tok_fixture_shared("qwen3-vocab.gguf.xz");
    check_schemas(t, 12);
    tok_close(t);
}

/* A call whose strings are raw text: in each place, also in the middle of tags and near limits. */
TEST(mask_holds_just_the_tokens_of_a_call_in_tags)
{
    struct tok *t = tok_fixture_shared("qwen3-vocab.gguf.xz");
    struct mask_vocab *v = mask_vocab_open(t, tok_n_vocab(t));
    struct err e = {0};
    struct json *schema = json_parse(
        STR("{\"properties\":{\"a\":{\"type\":\"string\"},\"b\":{\"type\":\"string\",\"maxLength\":"
            "34},\"c\":{\"type\":\"array\",\"items\":{\"type\":\"string\",\"maxLength\":30}}}}"),
        &e);
    struct chat_tool tool = {.name = STR("f"), .parameters = schema};
    struct grammar *g = grammar_new();
    struct buf notes = {0};
    struct tok_ids ids = {0};
    uint32_t rule;
    CHECK_OK(toolcall_rule(g,
                           &(struct toolcall_params){.format = CHAT_QWEN_XML,
                                                     .tok = t,
                                                     .tools = &tool,
                                                     .n_tools = 1,
                                                     .content = GRAMMAR_NEVER},
                           &rule, &notes, &e));
    CHECK_OK(grammar_compile(g, rule, &e));
    tok_encode(
        t,
        STR("So: <\n  \n<tool_call>\n<function=f>\n<parameter=a>\nx </parameter \n</para "
            "\xe2\x82\xac"
            "\n</parameter>\n<parameter=b>\nten and twenty\nand thirty-four!!\n</parameter>\n"
            "<parameter=c>\n[\"aeiou &/par \\n~~ \xe2\x82\xac end?\"]\n</parameter>\n</function>\n"
            "</tool_call>\n"),
        &(struct tok_params){.special = true}, &ids);
    struct automaton *a = automaton_open(g);
    struct masks *m = masks_open(v, a);
    uint32_t state = automaton_start(a);
    for (size_t i = 0; i < ids.n; i++) {
        check_mask(t, a, m, state);
        state = masks_step(m, state, ids.ids[i]);
        if (state == AUTOMATON_DEAD)
            test_fail(__FILE__, __LINE__, "token %zu '%.*s' is not allowed", i,
                      STRF(tok_bytes(t, ids.ids[i])));
    }
    masks_close(m);
    automaton_close(a);
    free(ids.ids);
    buf_free(&notes);
    grammar_free(g);
    json_free(schema);
    mask_vocab_close(v);
    tok_close(t);
}

TEST(mask_takes_text_that_is_cut_inside_characters)
{
    struct tok *t = small_tok();
    struct err e = {0};
    struct mask_vocab *v = mask_vocab_open(t, tok_n_vocab(t) + 10);
    struct grammar *g = grammar_new();
    CHECK_OK(gbnf_compile(g, STR("root ::= [\xe2\x82\xac\xe2\x82\xad]+"), &e));
    struct automaton *a = automaton_open(g);
    struct masks *m = masks_open(v, a);
    uint32_t s = automaton_start(a);
    int32_t head = 256 + 9; /* e2 82 */
    CHECK_STR(tok_bytes(t, head), STR("\xe2\x82"));
    CHECK(token_mask_has(masks_at(m, s), 0xe2) && token_mask_has(masks_at(m, s), (uint32_t)head));
    CHECK(!token_mask_has(masks_at(m, s), 'a'));
    s = masks_step(m, s, head);
    CHECK_INT(masks_at(m, s)->n, 2);
    CHECK(token_mask_has(masks_at(m, s), 0xac) && token_mask_has(masks_at(m, s), 0xad));
    masks_close(m);
    automaton_close(a);
    grammar_free(g);
    mask_vocab_close(v);
    tok_close(t);
}

/* A constraint forgets by what its automaton says it takes. */
TEST(mask_automaton_says_what_memory_it_takes)
{
    struct err e = {0};
    struct grammar *g = grammar_new();
    CHECK_OK(gbnf_compile(g, STR("root ::= ([a-z] | [0-9]){0,10000}"), &e));
    const size_t before = heap_in_use();
    struct automaton *a = automaton_open(g);
    const size_t fixed = heap_in_use() - before - automaton_n_bytes(a);
    uint32_t n_parts, state = automaton_start(a);
    for (int i = 0; i < 9000; i++) {
        state = automaton_step(a, state, 'a');
        automaton_parts(a, state, &n_parts);
    }
    const size_t taken = heap_in_use() - before - fixed;
    printf("    %zu bytes of memory, %zu counted, %u states\n", taken, automaton_n_bytes(a),
           automaton_n_states(a));
    CHECK(automaton_n_states(a) >= 9000);
    CHECK(taken <= automaton_n_bytes(a) + automaton_n_bytes(a) / 4); /* malloc's own heads */
    automaton_close(a);
    grammar_free(g);
}

TEST(mask_says_when_nothing_is_forbidden)
{
    struct tok *t = small_tok();
    struct err e = {0};
    struct mask_vocab *v = mask_vocab_open(t, tok_n_vocab(t));
    struct grammar *g = grammar_new();
    CHECK_OK(gbnf_compile(g, STR("root ::= \"x\" [\\x00-\\U0010ffff]*"), &e));
    struct automaton *a = automaton_open(g);
    struct masks *m = masks_open(v, a);
    uint32_t s = automaton_start(a);
    CHECK(!masks_at(m, s)->all);
    /* Lone bytes that are no UTF-8 stay forbidden. */
    CHECK(!masks_at(m, masks_step(m, s, 'x'))->all);
    CHECK(masks_at(m, masks_step(m, s, 'x'))->n > 200);
    masks_close(m);
    automaton_close(a);
    grammar_free(g);
    mask_vocab_close(v);
    tok_close(t);
}

TEST(mask_has_control_tokens_that_the_grammar_names)
{
    struct tok *t = small_tok();
    struct err e = {0};
    struct mask_vocab *v = mask_vocab_open(t, tok_n_vocab(t));
    struct grammar *g = grammar_new();
    int32_t end = tok_special(t, STR("<|aux|>")), stop = tok_special(t, STR("<|im_end|>"));
    uint32_t rule = grammar_rule(g);
    uint32_t parts[] = {grammar_bytes(g, STR("ab")), grammar_token(g, end)};
    grammar_define(g, rule, grammar_seq(g, parts, 2));
    CHECK_OK(grammar_compile(g, rule, &e));
    struct automaton *a = automaton_open(g);
    struct masks *m = masks_open(v, a);
    uint32_t s = masks_step(m, automaton_start(a), 256 + 3); /* ab */
    CHECK_INT(masks_at(m, s)->n, 1);
    CHECK(token_mask_has(masks_at(m, s), (uint32_t)end));
    s = masks_step(m, s, end);
    CHECK_INT(masks_at(m, s)->n, 1);
    CHECK(token_mask_has(masks_at(m, s), (uint32_t)stop));
    CHECK(masks_step(m, s, end) == AUTOMATON_DEAD);
    masks_close(m);
    automaton_close(a);
    grammar_free(g);
    mask_vocab_close(v);
    tok_close(t);
}

/* n places at once for each byte, at every byte anew: the automaton gives up instead of hanging. */
TEST(mask_of_a_hostile_grammar_ends)
{
    struct tok *t = small_tok();
    struct err e = {0};
    struct mask_vocab *v = mask_vocab_open(t, tok_n_vocab(t));
    struct grammar *g = grammar_new();
    CHECK_OK(
        gbnf_compile(g,
                     STR("root ::= (a | b | c){1,100000}\na ::= x{1,100000}\nb ::= x{2,100000} "
                         "x{3,100000}\nc ::= (x | x x){1,100000}\nx ::= [ab]{1,100000}"),
                     &e));
    struct automaton *a = automaton_open(g);
    struct masks *m = masks_open(v, a);
    uint32_t s = automaton_start(a);
    for (int i = 0; i < 300 && s != AUTOMATON_DEAD; i++) {
        masks_at(m, s);
        s = masks_step(m, s, 'a');
    }
    CHECK(automaton_broken(a));
    CHECK(s == AUTOMATON_DEAD);
    masks_close(m);
    automaton_close(a);
    grammar_free(g);
    mask_vocab_close(v);
    tok_close(t);
}
