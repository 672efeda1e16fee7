/* tok_int: the inside of a tokenizer, for the files tok*.c alone. */
#pragma once
#include "text/presplit.h"
#include "text/tok.h"
#include "text/tok_bpe.h"
#include "text/tok_special.h"
#include "text/tok_vocab.h"

struct tok {
    struct vocab vocab;
    struct bpe bpe;
    struct special_set special;
    struct uclass *classes;
    enum presplit_rules rules;
    bool nfc; /* normalise what stands between added tokens */
    bool add_bos;
    int32_t bos;
    int32_t eos;
    int32_t unknown; /* stands for a byte that has no token; -1: such bytes are dropped */
};

static inline bool tok_is_integer(enum gguf_type type)
{
    return type == GGUF_U8 || type == GGUF_I8 || type == GGUF_U16 || type == GGUF_I16 ||
           type == GGUF_U32 || type == GGUF_I32 || type == GGUF_U64 || type == GGUF_I64;
}

/* Fill t->vocab and t->bpe from g. whole_first: a word that is an ordinary token is that token,
 * whatever the merges say. */
bool tok_load_vocab(struct tok *t, const struct gguf *g, const struct log *log, struct err *e);
bool tok_load_merges(struct tok *t, const struct gguf *g, bool whole_first, const struct log *log,
                     struct err *e);
