/* A model file with a tokenizer, then a text for it. Input: the file's length (2 bytes, low one
 * first), the file, the text. */
#include <stdlib.h>

#include "fuzz/fuzz.h"
#include "text/tok_int.h"

static bool has_all_bytes(const struct tok *t)
{
    for (int b = 0; b < 256; b++)
        if (t->bpe.byte_id[b] == BPE_NONE)
            return false;
    return true;
}

/* What the ids stand for, joined at once and by streaming. */
static void check_ids(const struct tok *t, const struct tok_ids *ids, str text)
{
    struct buf whole = {0}, streamed = {0};
    struct tok_stream s = {.tok = t, .show_special = true};
    for (size_t i = 0; i < ids->n; i++) {
        promise(ids->ids[i] >= 0 && (uint32_t)ids->ids[i] < tok_n_vocab(t));
        promise(tok_type(t, ids->ids[i]) != TOK_UNUSED);
        buf_str(&whole, tok_bytes(t, ids->ids[i]));
        tok_stream_put(&s, ids->ids[i], &streamed);
        promise(s.n_held <= 3 && streamed.n + s.n_held == whole.n);
    }
    tok_stream_end(&s, &streamed);
    promise(str_eq(buf_view(&streamed), buf_view(&whole)));
    if (!t->nfc && has_all_bytes(t))
        promise(str_eq(buf_view(&whole), text));
    buf_free(&whole);
    buf_free(&streamed);
}

static void encode(const struct tok *t, str text, struct tok_params p, bool control_ok)
{
    struct tok_ids ids = {0};
    tok_encode(t, text, &p, &ids);
    check_ids(t, &ids, text);
    for (size_t i = 0; i < ids.n; i++)
        promise(control_ok || tok_type(t, ids.ids[i]) != TOK_CONTROL);
    free(ids.ids);
}

static void walk(const struct tok *t, str text)
{
    struct tok_span middle = {text.n / 3, text.n - text.n / 3};
    struct tok_span all = {0, text.n};
    encode(t, text, (struct tok_params){0}, false);
    encode(t, text, (struct tok_params){.special = true}, true);
    encode(t, text, (struct tok_params){.special = true, .plain = true}, false);
    encode(t, text, (struct tok_params){.special = true, .literal = &middle, .n_literal = 1}, true);
    encode(t, text, (struct tok_params){.special = true, .literal = &all, .n_literal = 1}, false);
    for (int32_t id = -1; id <= (int32_t)tok_n_vocab(t); id++)
        promise(tok_bytes(t, id).n == 0 || tok_type(t, id) >= TOK_NORMAL);
    promise(tok_bos(t) < (int32_t)tok_n_vocab(t) && tok_eos(t) < (int32_t)tok_n_vocab(t));
}

FUZZ_TARGET(tok)
{
    struct err e = {0};
    if (n_bytes < 2)
        return;
    size_t n_file = (size_t)bytes[0] | (size_t)bytes[1] << 8;
    bytes += 2;
    n_bytes -= 2;
    if (n_file > n_bytes)
        return;
    struct gguf *g = gguf_open_memory(bytes, n_file, &e);
    if (!g)
        return;
    struct tok *t = tok_open(g, NULL, &e);
    promise(t || (e.code != ERR_NONE && e.msg[0]));
    gguf_close(g);
    if (t)
        walk(t, (str){(const char *)bytes + n_file, n_bytes - n_file});
    tok_close(t);
}
