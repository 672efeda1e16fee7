/* tok: byte-level BPE as a GGUF stores it (shared spec "tokenizers"). Immutable after open: encode
 * and decode are thread-safe. Text is bytes: invalid UTF-8 round-trips. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/str.h"
#include "gguf/gguf.h"

struct tok;

enum tok_type {
    TOK_NORMAL = 1,
    TOK_UNKNOWN = 2,
    TOK_CONTROL = 3,
    TOK_USER_DEFINED = 4,
    TOK_UNUSED = 5,
    TOK_BYTE = 6,
};

/* Growing list of token ids; zero-initialise, free with free(.ids). */
struct tok_ids {
    int32_t *ids;
    size_t n;
    size_t room;
};
void tok_ids_put(struct tok_ids *list, int32_t id);

/* NULL and e when the file has no tokenizer that tawny knows. The tokenizer keeps its own copies: g
 * may be closed after. */
struct tok *tok_open(const struct gguf *g, const struct log *log, struct err *e);
void tok_close(struct tok *t);

uint32_t tok_n_vocab(const struct tok *t);
enum tok_type tok_type(const struct tok *t, int32_t id);
/* The raw bytes of a token (special ones: their text); empty for ids out of range. */
str tok_bytes(const struct tok *t, int32_t id);
/* The id of a special (control, user-defined) token by its text; -1 when there is none. */
int32_t tok_special(const struct tok *t, str text);
/* Does generation end on this token (eos, eot, eom and the texts of spec section 5)? */
bool tok_is_stop(const struct tok *t, int32_t id);
/* -1 when the file names none. */
int32_t tok_bos(const struct tok *t);
int32_t tok_eos(const struct tok *t);
bool tok_add_bos(const struct tok *t);

/* Bytes [from, to) of a text that came from outside: control tokens are not recognised in them. */
struct tok_span {
    size_t from;
    size_t to;
};

/* Appends the ids of text to out. special: recognise control tokens (user-defined ones always are,
 * unless plain is set); literal: n_literal spans, in order, not overlapping, in which control
 * tokens stay text. No BOS is added. Linear in text.n, but for words of one kind of character,
 * which take n log n and are cut at 4 MiB. */
struct tok_params {
    bool special;
    bool plain; /* recognise no added token at all */
    const struct tok_span *literal;
    size_t n_literal;
};
void tok_encode(const struct tok *t, str text, const struct tok_params *p, struct tok_ids *out);

/* Streaming back to text. Feeds one token; appends to out the bytes that are complete UTF-8 and
 * holds back the head of a sequence that the next token may finish. Control tokens print nothing
 * unless show_special. tok_stream_end appends what is held back (as it is: the bytes are the
 * model's). */
struct tok_stream {
    const struct tok *tok;
    bool show_special;
    unsigned char held[4];
    uint32_t n_held;
};
void tok_stream_put(struct tok_stream *s, int32_t id, struct buf *out);
void tok_stream_end(struct tok_stream *s, struct buf *out);
