/* tok_fixture: tokenizers for tests: small handmade ones, and the real vocabularies of the
 * reference data. */
#pragma once
#include "base/err.h"
#include "gguf/gguf.h"
#include "text/tok.h"

struct fixture_added {
    const char *text;
    enum tok_type type;
};

/* The file of a small tokenizer. Ids: byte b is token b; merge i makes token 256 + i; added token i
 * follows. Arrays end with an empty entry and may be NULL. */
struct tok_fixture {
    const char *pre;          /* NULL: no such key */
    const char *(*merges)[2]; /* raw bytes, not in the byte alphabet */
    const struct fixture_added *added;
    void (*more_keys)(struct gguf_writer *w); /* NULL, or adds keys */
    const struct log *log;                    /* NULL, or where tok_open's warnings go */
};

/* NULL and e when the file is refused. */
struct tok *tok_fixture_open(const struct tok_fixture *f, struct err *e);
/* The same for a file with exactly the keys that `keys` writes. */
struct tok *tok_fixture_from_keys(void (*keys)(struct gguf_writer *w), const struct log *log,
                                  struct err *e);
/* s in the byte alphabet of GPT-2. */
void tok_fixture_alphabet(str s, struct buf *out);

/* The tokenizer in spec/data/gguf-samples/NAME of the reference data; files that end in .xz are
 * unpacked with the xz program. Skips the test when the data or the program are not there. */
struct tok *tok_fixture_shared(const char *name);
/* The same with tokenizer.ggml.pre replaced. */
struct tok *tok_fixture_shared_as(const char *name, const char *pre);
