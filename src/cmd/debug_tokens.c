/* `tawny debug tokens`: how a model cuts a text into tokens, and what ids spell. Reads the model
 * file's metadata alone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"
#include "cmd/cmd_model.h"
#include "cmd/debug.h"
#include "cmd/opts.h"
#include "cmd/term.h"
#include "text/tok.h"

enum { MAX_TEXT = 64 << 20 };

struct tokens_opts {
    bool plain, ids, json;
};

#define AT(field) offsetof(struct tokens_opts, field)
static const struct opt table[] = {
    {"--plain", NULL, "control tokens in the text are text", NULL, OPT_FLAG, AT(plain), 0, 0},
    {"--ids", NULL, "TEXT is a list of ids: print the text they spell", NULL, OPT_FLAG, AT(ids), 0,
     0},
    {"--json", NULL, "as JSON", NULL, OPT_FLAG, AT(json), 0, 0},
};
#undef AT

static const struct opt_example examples[] = {
    {"tawny debug tokens model.gguf \"Hello there\"", "id, kind and text of each token"},
    {"tawny debug tokens model.gguf < prompt.txt", "the same of a file"},
    {"tawny debug tokens model.gguf --ids \"9707 1052\"", "back to text"},
    {NULL, NULL},
};

static const char *kind_of(enum tok_type type)
{
    switch (type) {
    case TOK_NORMAL: return "";
    case TOK_UNKNOWN: return "unknown";
    case TOK_CONTROL: return "control";
    case TOK_USER_DEFINED: return "added";
    case TOK_UNUSED: return "unused";
    case TOK_BYTE: return "byte";
    }
    return "";
}

static bool read_ids(str text, const struct tok *tok, struct tok_ids *ids, struct err *e)
{
    size_t i = 0;
    while (i < text.n) {
        size_t from = i;
        int64_t id;
        while (i < text.n && !strchr(" \t\r\n,[]", text.p[i]))
            i++;
        str word = str_sub(text, from, i);
        if (word.n && (!str_to_i64(word, &id) || id < 0 || id >= tok_n_vocab(tok)))
            return err_set(e, ERR_USAGE, "debug tokens: '%.*s' is no id, which are 0 .. %u",
                           STRF(str_sub(word, 0, 40)), tok_n_vocab(tok) - 1);
        if (word.n)
            tok_ids_put(ids, (int32_t)id);
        i++;
    }
    return true;
}

/* A token may end inside a character: such bytes are shown as \xNN. */
static void put_piece(str piece, struct buf *out)
{
    struct buf whole = {0};
    buf_byte(out, '"');
    for (size_t i = 0, n; i < piece.n; i += n) {
        uint32_t cp;
        n = utf8_decode((const unsigned char *)piece.p + i, piece.n - i, &cp);
        buf_clear(&whole);
        json_quote(str_sub(piece, i, i + n), &whole);
        if (n)
            buf_put(out, whole.p + 1, whole.n - 2);
        else
            buf_fmt(out, "\\x%02x", (unsigned char)piece.p[i]);
        n += n == 0;
    }
    buf_byte(out, '"');
    buf_free(&whole);
}

static void put_bytes(str piece, struct jout *j)
{
    jout_begin(j, "bytes", '[');
    for (size_t i = 0; i < piece.n; i++)
        jout_i64(j, NULL, (unsigned char)piece.p[i]);
    jout_end(j, ']');
}

static void put_json(const struct tok *tok, const struct tok_ids *ids, struct buf *out)
{
    struct jout j = {.out = out};
    jout_begin(&j, NULL, '[');
    for (size_t i = 0; i < ids->n; i++) {
        const char *kind = kind_of(tok_type(tok, ids->ids[i]));
        jout_begin(&j, NULL, '{');
        jout_i64(&j, "id", ids->ids[i]);
        jout_str(&j, "kind", kind[0] ? str_of(kind) : STR("normal"));
        jout_str(&j, "text", tok_bytes(tok, ids->ids[i]));
        put_bytes(tok_bytes(tok, ids->ids[i]), &j);
        jout_end(&j, '}');
    }
    jout_end(&j, ']');
}

/* One token a line: id, kind where it is no ordinary one, and the text in quotes. */
static void put_table(const struct tok *tok, const struct tok_ids *ids, struct buf *out)
{
    struct table t = {.align = "rll"};
    struct buf text = {0};
    for (size_t i = 0; i < ids->n; i++) {
        buf_clear(&text);
        put_piece(tok_bytes(tok, ids->ids[i]), &text);
        table_cell(&t, "%d", ids->ids[i]);
        table_cell(&t, "%s", kind_of(tok_type(tok, ids->ids[i])));
        table_cell(&t, "%s", text.p);
    }
    table_text(&t, out);
    buf_free(&text);
    table_free(&t);
}

static void put_text(const struct tok *tok, const struct tok_ids *ids, struct buf *out)
{
    struct tok_stream s = {.tok = tok, .show_special = true};
    for (size_t i = 0; i < ids->n; i++)
        tok_stream_put(&s, ids->ids[i], out);
    tok_stream_end(&s, out);
    if (out->n && out->p[out->n - 1] != '\n')
        buf_byte(out, '\n');
}

static bool show(const struct gguf *file, const struct tokens_opts *o, str text, struct buf *out,
                 struct err *e)
{
    const struct log log = term_log(false);
    struct tok_ids ids = {0};
    struct tok *tok = tok_open(file, &log, e);
    bool ok = tok && (!o->ids || read_ids(text, tok, &ids, e));
    if (ok && !o->ids)
        tok_encode(tok, text, &(struct tok_params){.special = !o->plain}, &ids);
    if (ok && o->json)
        put_json(tok, &ids, out);
    else if (ok && o->ids)
        put_text(tok, &ids, out);
    else if (ok)
        put_table(tok, &ids, out);
    free(ids.ids);
    tok_close(tok);
    return ok;
}

int debug_tokens(int argc, char **argv)
{
    struct tokens_opts o = {0};
    struct opt_group groups[] = {OPT_GROUP("Options", table, &o)};
    const struct opt_command c = {.name = "debug tokens",
                                  .args = "MODEL [TEXT]",
                                  .summary = "how a model cuts a text into tokens",
                                  .examples = examples,
                                  .groups = groups,
                                  .n_groups = 1,
                                  .min_words = 1,
                                  .max_words = 2,
                                  .notes =
                                      "Without TEXT, standard input is read. Control tokens are "
                                      "recognised in the text, but none is added."};
    const struct log log = term_log(false);
    struct opt_words words;
    struct err e = {0};
    struct buf text = {0}, out = {0};
    struct gguf *file = NULL;
    char *path = NULL;
    int status;
    if (!opts_parse(&c, argc, argv, &words, &status))
        return status;
    if (words.n > 1)
        buf_str(&text, str_of(words.at[1]));
    bool ok = (words.n > 1 || term_read(stdin, "standard input", MAX_TEXT, &text, &e)) &&
              (path = model_path(words.at[0], &e)) && (file = gguf_open(path, &log, &e)) &&
              show(file, &o, buf_view(&text), &out, &e) && term_put(&out, &e);
    status = ok ? EXIT_OK : term_fail(&e);
    gguf_close(file);
    buf_free(&text);
    buf_free(&out);
    free(path);
    return status;
}
