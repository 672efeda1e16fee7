/* schema: strings. */
#include <stdlib.h>
#include <string.h>

#include "text/schema_int.h"

static const struct code_range any_char = {0, 0x10ffff};

/* Dates that exist; leap days of leap years. */
#define DATE                                                                                       \
    "(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-" \
    "9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][" \
    "048]|[13579][26])00)-02-29)"
#define TIME                                                                                       \
    "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,9})?(?:Z|[+-](?:[01][0-9]|2[0-3]):["  \
    "0-"                                                                                           \
    "5][0-9])"
#define OCTET "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
#define LABEL "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,30}[a-zA-Z0-9])?"

const char *schema_format(str name)
{
    static const struct {
        const char *name, *pattern;
    } formats[] = {
        {"date", "^" DATE "$"},
        {"time", "^" TIME "$"},
        {"date-time", "^" DATE "T" TIME "$"},
        {"uuid", "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"},
        {"ipv4", "^" OCTET "(?:\\." OCTET "){3}$"},
        {"email", "^[a-zA-Z0-9_+-]+(?:\\.[a-zA-Z0-9_+-]+){0,8}@" LABEL "(?:\\." LABEL "){1,6}$"},
        {"hostname", "^" LABEL "(?:\\." LABEL "){0,6}$"},
        {"uri", "^[a-zA-Z][a-zA-Z0-9+.-]{0,20}:(?://)?[a-zA-Z0-9]"
                "(?:[a-zA-Z0-9._~:/?@!$&'()*+,;=-]|%[0-9a-fA-F]{2})*$"},
    };
    if (str_eq(name, STR("url")))
        name = STR("uri");
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (str_eq(name, str_of(formats[i].name)))
            return formats[i].pattern;
    return NULL;
}

/* ---- text without limits ---- */

/* \uXXXX, but no half of a surrogate pair. */
static uint32_t unicode_escape(struct grammar *g)
{
    uint32_t node;
    const char *why;
    str pattern = STR("^\\\\u(?:[0-9a-cefA-CEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2}|"
                      "[dD][89abAB][0-9a-fA-F]{2}\\\\u[dD][c-fC-F][0-9a-fA-F]{2})$");
    regex_node(g, TEXT_PLAIN, pattern, &node, &why);
    return node;
}

/* A backslash and one character. */
static uint32_t string_escape(struct grammar *g)
{
    struct byteset set = {0};
    for (const char *c = "\"\\/bfnrt"; *c; c++)
        byteset_add(&set, (unsigned char)*c, (unsigned char)*c);
    return grammar_seq2(g, grammar_bytes(g, STR("\\")), grammar_class(g, &set));
}

/* The rest of a string, with its closing quote. */
static uint32_t string_rest(struct schema_builder *b)
{
    if (b->string_rest == GRAMMAR_NEVER) {
        uint32_t many, escapes[] = {unicode_escape(b->g), string_escape(b->g)};
        uint32_t escape = grammar_alt(b->g, escapes, 2);
        if (b->form == TEXT_TAGGED) {
            many = grammar_scan(b->g, &(struct grammar_scan){.patterns = b->apart,
                                                             .n = b->n_apart,
                                                             .may_end = true,
                                                             .in_json = true,
                                                             .escape = escape});
        } else {
            static const struct code_range plain[] = {{0x20, 0x21}, {0x23, 0x5b}, {0x5d, 0x10ffff}};
            uint32_t one[] = {grammar_chars(b->g, plain, 3), escape};
            many = grammar_repeat(b->g, grammar_alt(b->g, one, 2), 0, GRAMMAR_UNBOUNDED);
        }
        b->string_rest = grammar_rule(b->g);
        grammar_define(b->g, b->string_rest,
                       grammar_seq2(b->g, many, grammar_bytes(b->g, STR("\""))));
    }
    return grammar_call(b->g, b->string_rest);
}

uint32_t schema_any_string(struct schema_builder *b)
{
    if (b->string == GRAMMAR_NEVER) {
        b->string = grammar_rule(b->g);
        grammar_define(b->g, b->string,
                       grammar_seq2(b->g, grammar_bytes(b->g, STR("\"")), string_rest(b)));
    }
    return grammar_call(b->g, b->string);
}

/* ---- limits ---- */

struct lengths {
    uint32_t min, max;
};

static struct lengths lengths_of(const struct conj *c)
{
    struct lengths l = {0, GRAMMAR_UNBOUNDED};
    for (uint32_t i = 0; i < c->n; i++) {
        uint32_t min = schema_count(json_get(c->part[i], "minLength"), 0);
        uint32_t max = schema_count(json_get(c->part[i], "maxLength"), GRAMMAR_UNBOUNDED);
        l.min = min > l.min ? min : l.min;
        l.max = max < l.max ? max : l.max;
    }
    return l;
}

/* The pattern or format that limits the text; GRAMMAR_NEVER: none that can be honoured. */
static uint32_t pattern_of(struct schema_builder *b, const struct conj *c, enum text_form form)
{
    uint32_t node = GRAMMAR_NEVER;
    for (uint32_t i = 0; i < c->n; i++) {
        const struct json *pattern = json_get(c->part[i], "pattern");
        const struct json *format = json_get(c->part[i], "format");
        const char *known = schema_format(json_str(format)), *why = NULL;
        if (json_type(pattern) == JSON_STRING && node != GRAMMAR_NEVER)
            schema_note(b, "a second pattern");
        else if (json_type(pattern) == JSON_STRING &&
                 !regex_node(b->g, form, json_str(pattern), &node, &why)) {
            struct buf note = {0};
            buf_fmt(&note, "pattern with %s", why);
            schema_note(b, note.p);
            buf_free(&note);
            node = GRAMMAR_NEVER;
        }
        if (known && node == GRAMMAR_NEVER)
            regex_node(b->g, form, str_of(known), &node, &why);
        else if (known || (json_str(format).n && !known))
            schema_note(b, "format");
    }
    return node;
}

uint32_t schema_text(struct schema_builder *b, const struct conj *c, enum text_form form,
                     const struct text_ends *ends)
{
    const struct json *list = conj_get(c, "enum"), *constant = conj_get(c, "const");
    struct lengths l = lengths_of(c);
    if (constant && !schema_allows(b, c, constant))
        return grammar_nothing(b->g);
    if (json_type(constant) == JSON_STRING)
        return grammar_seq2(b->g, textform_literal(b->g, form, json_str(constant)), ends->end);
    if (json_type(list) == JSON_ARRAY) {
        uint32_t *alts = mem_new(json_count(list) + 1, sizeof *alts);
        size_t n = 0;
        for (size_t i = 0; i < json_count(list); i++)
            if (json_type(json_at(list, i)) == JSON_STRING && schema_allows(b, c, json_at(list, i)))
                alts[n++] = textform_literal(b->g, form, json_str(json_at(list, i)));
        uint32_t node = grammar_alt(b->g, alts, n);
        free(alts);
        return grammar_seq2(b->g, node, ends->end);
    }
    uint32_t node = pattern_of(b, c, form);
    if (node != GRAMMAR_NEVER) {
        if (l.min > 0 || l.max != GRAMMAR_UNBOUNDED)
            schema_note(b, "minLength and maxLength beside a pattern or format");
        return grammar_seq2(b->g, node, ends->end);
    }
    uint32_t one = textform_chars(b->g, form, &any_char, 1);
    if (l.max != GRAMMAR_UNBOUNDED)
        return grammar_seq2(b->g, grammar_repeat(b->g, one, l.min, l.max), ends->end);
    return grammar_seq2(b->g, grammar_repeat(b->g, one, l.min, l.min), ends->rest);
}

uint32_t schema_string(struct schema_builder *b, const struct conj *c)
{
    uint32_t quote = grammar_bytes(b->g, STR("\""));
    struct text_ends ends = {.rest = string_rest(b), .end = quote};
    return grammar_seq2(b->g, quote, schema_text(b, c, b->form, &ends));
}
