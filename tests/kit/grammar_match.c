#include "kit/grammar_match.h"

#include "test.h"
#include "text/schema.h"

bool kit_matches(const struct grammar *g, str text)
{
    struct automaton *a = automaton_open(g);
    uint32_t end = automaton_text(a, automaton_start(a), text);
    bool ok = automaton_accepts(a, end);
    CHECK(!automaton_broken(a));
    automaton_close(a);
    return ok;
}

struct grammar *kit_schema_grammar(const struct json *schema, struct buf *notes)
{
    struct err e = {0};
    struct grammar *g = grammar_new();
    struct schema_builder *b = schema_builder_open(g, NULL, 0);
    uint32_t root = grammar_rule(g);
    grammar_define(g, root, schema_builder_value(b, schema, schema, "schema"));
    if (notes)
        buf_str(notes, schema_builder_notes(b));
    schema_builder_close(b);
    CHECK_OK(grammar_compile(g, root, &e));
    return g;
}

void kit_check_matches(const struct grammar *g, const char *const *good, const char *const *bad)
{
    for (; *good; good++)
        if (!kit_matches(g, str_of(*good)))
            test_fail(__FILE__, __LINE__, "not matched: %s", *good);
    for (; *bad; bad++)
        if (kit_matches(g, str_of(*bad)))
            test_fail(__FILE__, __LINE__, "matched: %s", *bad);
}
