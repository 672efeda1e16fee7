/* chat_model: a small random model with a tokenizer, for tests that go through text. */
#pragma once
#include "kit/models.h"

/* Ids: byte b is token b; then the special tokens below, the only merge and one unused token; the
 * rest of the vocabulary has no token (padding). */
enum {
    CHAT_MODEL_ENDOFTEXT = 256,
    CHAT_MODEL_IM_START,
    CHAT_MODEL_IM_END, /* the end of a turn: generation stops on it */
    CHAT_MODEL_TH,     /* "th" */
    CHAT_MODEL_UNUSED,
    CHAT_MODEL_TOKENS,        /* tokens that the tokenizer has */
    CHAT_MODEL_N_VOCAB = 288, /* rows of the output matrix */
};

/* Writes a model of this shape (n_vocab is set here) with a byte-level tokenizer and a ChatML
 * template to a temporary file; its path is freed by the caller, who removes the file. */
char *kit_write_chat_model(const struct kit_spec *spec);

/* Writes to path a model that says this at temperature 0, whatever it is asked: a token for each of
 * the steps, then the end of its turn. Attention and experts add nothing; the embedding of a step
 * points at the output row of the next one, that of any other token at the first one's. */
enum { SCRIPT_MAX_STEPS = CHAT_MODEL_N_VOCAB - CHAT_MODEL_TOKENS };
void kit_write_script_model(const char *path, const str *steps, size_t n_steps);
