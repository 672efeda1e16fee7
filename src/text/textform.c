#include "text/textform.h"

#include <stdlib.h>

#include "base/json.h"
#include "base/utf8.h"
#include "text/grammar_int.h"

/* Characters of the ranges that a JSON string cannot hold as they are: escaped. */
static uint32_t escapes(struct grammar *g, const struct code_range *ranges, size_t n)
{
    uint32_t alts[34], n_alts = 0;
    for (uint32_t c = 0; c <= '\\'; c++) {
        bool inside = false;
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        for (size_t i = 0; i < n && !inside; i++)
            inside = c >= ranges[i].from && c <= ranges[i].to;
        if (inside)
            alts[n_alts++] = textform_literal(g, TEXT_JSON, (str){&(char){(char)c}, 1});
    }
    return grammar_alt(g, alts, n_alts);
}

/* What can stand as it is. */
static const struct code_range *plain_of(enum text_form form, size_t *n)
{
    static const struct code_range json[] = {{0x20, 0x21}, {0x23, 0x5b}, {0x5d, 0x10ffff}};
    static const struct code_range tagged[] = {
        {0x20, 0x21}, {0x23, '<' - 1}, {'<' + 1, 0x5b}, {0x5d, 0x10ffff}};
    static const struct code_range raw[] = {{0, '<' - 1}, {'<' + 1, 0x10ffff}};
    *n = form == TEXT_JSON ? 3 : form == TEXT_TAGGED ? 4 : 2;
    return form == TEXT_JSON ? json : form == TEXT_TAGGED ? tagged : raw;
}

uint32_t textform_chars(struct grammar *g, enum text_form form, const struct code_range *ranges,
                        size_t n)
{
    size_t n_plain, n_cut = 0;
    const struct code_range *plain = plain_of(form, &n_plain);
    bool is_one = n == 1 && ranges[0].from == ranges[0].to;
    if (form == TEXT_PLAIN || (is_one && ranges[0].from == '<'))
        return grammar_chars(g, ranges, n);
    struct code_range *cut = mem_new(n_plain * n, sizeof *cut);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n_plain; k++) {
            struct code_range r = ranges[i];
            r.from = r.from > plain[k].from ? r.from : plain[k].from;
            r.to = r.to < plain[k].to ? r.to : plain[k].to;
            if (r.from <= r.to)
                cut[n_cut++] = r;
        }
    uint32_t node = grammar_chars(g, cut, n_cut);
    free(cut);
    if (form != TEXT_RAW)
        node = grammar_alt(g, (uint32_t[]){node, escapes(g, ranges, n)}, 2);
    return node;
}

uint32_t textform_literal(struct grammar *g, enum text_form form, str text)
{
    struct buf quoted = {0};
    if (form == TEXT_RAW || form == TEXT_PLAIN)
        return grammar_bytes(g, text);
    json_quote(text, &quoted);
    uint32_t node = grammar_bytes(g, str_sub(buf_view(&quoted), 1, quoted.n - 1));
    buf_free(&quoted);
    return node;
}
