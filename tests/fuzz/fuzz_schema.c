/* Makes a grammar from an arbitrary JSON schema and writes a text by following it (choices from the
 * input's bytes): every state allows some byte or the end, and what comes out is valid unless a
 * keyword was relaxed. */
#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "text/automaton.h"
#include "text/schema.h"

enum { MAX_TEXT = 300, MAX_WORK = 300000 };

/* The allowed byte that comes first from `from` on; false: none. */
static bool next_byte(const struct byteset *set, uint8_t from, uint8_t *out)
{
    for (unsigned i = 0; i < 256; i++)
        if (byteset_has(set, (from + i) & 255)) {
            *out = (uint8_t)(from + i);
            return true;
        }
    return false;
}

static void write_text(struct automaton *a, const uint8_t *bytes, size_t n_bytes, bool *whole,
                       struct buf *out)
{
    uint32_t state = automaton_start(a);
    *whole = false;
    for (size_t i = 0; i < MAX_TEXT && !automaton_broken(a); i++) {
        struct byteset set = automaton_bytes(a, state);
        uint8_t byte;
        promise(state != AUTOMATON_DEAD);
        *whole = automaton_accepts(a, state);
        /* Closers first, so that most texts end. */
        bool more = next_byte(&set, i % 3 || n_bytes == 0 ? '"' : bytes[i % n_bytes], &byte);
        promise(more || *whole);
        if (!more || (*whole && i > 20))
            break;
        *whole = false;
        buf_byte(out, (char)byte);
        state = automaton_step(a, state, byte);
    }
}

FUZZ_TARGET(schema)
{
    struct err e = {0};
    struct json *schema = json_parse((str){(const char *)bytes, n_bytes}, &e);
    struct grammar *g = grammar_new();
    struct schema_builder *b = schema_builder_open(g, NULL, 0);
    uint32_t root = grammar_rule(g);
    grammar_define(g, root, schema_builder_value(b, schema, schema, "s"));
    if (schema && grammar_compile(g, root, &e)) {
        struct automaton *a = automaton_open(g);
        struct buf text = {0};
        bool whole;
        automaton_allow(a, MAX_WORK);
        write_text(a, bytes, n_bytes, &whole, &text);
        if (whole && !automaton_broken(a)) {
            struct json *value = json_parse(buf_view(&text), &e);
            promise(value || str_eq(str_trim(buf_view(&text)), STR("null")));
            bool relaxed = schema_builder_notes(b).n > 0;
            promise(relaxed || schema_check(schema, schema, value, NULL));
            json_free(value);
        }
        buf_free(&text);
        automaton_close(a);
    } else {
        promise(!schema || e.code != ERR_NONE);
    }
    schema_builder_close(b);
    grammar_free(g);
    json_free(schema);
}
