/* Compiles arbitrary GBNF and follows it: every state allows some byte, or the text may end. The
 * same of the same bytes as Lark, inside a JSON string and between tags. */
#include <stdlib.h>

#include "fuzz/fuzz.h"
#include "text/automaton.h"
#include "text/gbnf.h"
#include "text/lark.h"

enum { MAX_TEXT = 200, MAX_WORK = 300000 };

static void follow(const struct grammar *g, const uint8_t *bytes, size_t n_bytes)
{
    struct automaton *a = automaton_open(g);
    automaton_allow(a, MAX_WORK);
    uint32_t state = automaton_start(a);
    for (size_t i = 0; i < MAX_TEXT && !automaton_broken(a); i++) {
        struct byteset set = automaton_bytes(a, state);
        uint8_t byte = bytes[i % n_bytes];
        unsigned tries = 0;
        promise(state != AUTOMATON_DEAD);
        for (; tries < 256 && !byteset_has(&set, byte); tries++)
            byte++;
        promise(tries < 256 || automaton_accepts(a, state));
        if (tries == 256)
            break;
        state = automaton_step(a, state, byte);
    }
    automaton_close(a);
}

static void take_lark(enum text_form form, const uint8_t *bytes, size_t n_bytes)
{
    static const str close[] = {STR("</p>"), STR("</f>")};
    static const struct grammar_pattern apart = {
        .parts = close, .n_parts = 2, .then = GRAMMAR_NEVER};
    const struct lark_params params = {.form = form, .apart = &apart, .n_apart = 1};
    struct err e = {0};
    struct grammar *g = grammar_new();
    uint32_t node;
    if (lark_node(g, &params, (str){(const char *)bytes, n_bytes}, &node, &e)) {
        const uint32_t rule = grammar_rule(g);
        grammar_define(g, rule, node);
        promise(grammar_compile(g, rule, &e)); /* it was, alone */
        follow(g, bytes, n_bytes);
    } else {
        promise(e.code != ERR_NONE);
    }
    grammar_free(g);
}

FUZZ_TARGET(gbnf)
{
    struct err e = {0};
    struct grammar *g = grammar_new();
    if (gbnf_compile(g, (str){(const char *)bytes, n_bytes}, &e) && n_bytes)
        follow(g, bytes, n_bytes);
    else
        promise(n_bytes == 0 || e.code != ERR_NONE);
    grammar_free(g);
    take_lark(TEXT_JSON, bytes, n_bytes);
    take_lark(TEXT_RAW, bytes, n_bytes);
}
