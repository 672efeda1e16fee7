#include <inttypes.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/num.h"
#include "text/tok_int.h"

enum { MAX_MERGES = 1 << 24, MAX_PROVEN_BYTES = 256 };

/* A required array of strings with 1 to max elements; NULL and e otherwise. */
static const struct gguf_kv *string_array(const struct gguf *g, const char *key, uint64_t max,
                                          struct err *e)
{
    const struct gguf_kv *kv = gguf_find(g, str_of(key));
    if (!kv)
        err_set(e, ERR_FORMAT, "%s: %s is missing; the tokenizer needs it", gguf_path(g), key);
    else if (!kv->is_array || kv->type != GGUF_STRING)
        err_set(e, ERR_FORMAT, "%s: %s is not an array of strings", gguf_path(g), key);
    else if (kv->n == 0 || kv->n > max)
        err_set(e, ERR_LIMIT, "%s: %s has %" PRIu64 " entries, allowed are 1 to %" PRIu64,
                gguf_path(g), key, kv->n, max);
    else
        return kv;
    return NULL;
}

static bool load_types(struct vocab *v, const struct gguf *g, struct err *e)
{
    const char *key = "tokenizer.ggml.token_type";
    const struct gguf_kv *kv = gguf_find(g, str_of(key));
    if (kv && (!kv->is_array || !tok_is_integer(kv->type)))
        return err_set(e, ERR_FORMAT, "%s: %s is not an array of integers", gguf_path(g), key);
    if (kv && kv->n != v->n)
        return err_set(e, ERR_FORMAT, "%s: %s has %" PRIu64 " entries for %" PRIu32 " tokens",
                       gguf_path(g), key, kv->n, v->n);
    for (uint32_t i = 0; i < v->n; i++) {
        int64_t type = kv ? gguf_elem_i64(kv, i) : TOK_NORMAL;
        v->flags[i] = (uint8_t)(type >= TOK_NORMAL && type <= TOK_BYTE ? type : TOK_NORMAL);
    }
    return true;
}

/* Ordinary pieces are written in the byte alphabet, added ones as they are. False when an ordinary
 * one is not: it keeps its bytes. Returns the piece's length in *n. */
static bool put_piece(char *out, str piece, unsigned type, size_t *n)
{
    *n = SIZE_MAX;
    bool ordinary = type == TOK_NORMAL || type == TOK_BYTE;
    if (ordinary)
        *n = vocab_unalphabet(piece, out);
    if (*n != SIZE_MAX)
        return true;
    if (piece.n)
        memcpy(out, piece.p, piece.n);
    *n = piece.n;
    return !ordinary;
}

bool tok_load_vocab(struct tok *t, const struct gguf *g, const struct log *log, struct err *e)
{
    struct vocab *v = &t->vocab;
    const char *key = "tokenizer.ggml.tokens";
    const struct gguf_kv *kv = string_array(g, key, VOCAB_MAX_TOKENS, e);
    if (!kv)
        return false;
    v->n = (uint32_t)kv->n;
    uint64_t n_bytes = 0;
    for (uint32_t i = 0; i < v->n; i++)
        n_bytes += gguf_elem_str(g, kv, i).n;
    if (n_bytes > UINT32_MAX)
        return err_set(e, ERR_LIMIT, "%s: %s has %" PRIu64 " bytes, limit %" PRIu32, gguf_path(g),
                       key, n_bytes, UINT32_MAX);
    v->flags = mem_new(v->n, 1);
    if (!load_types(v, g, e))
        return false;

    uint32_t n_raw = 0, at = 0;
    v->from = mem_new((size_t)v->n + 1, sizeof *v->from);
    v->bytes = mem_new(n_bytes, 1);
    for (uint32_t i = 0; i < v->n; i++) {
        size_t n;
        n_raw += !put_piece(v->bytes + at, gguf_elem_str(g, kv, i), v->flags[i], &n);
        v->from[i + 1] = at += (uint32_t)n;
    }
    vocab_index(v);
    if (n_raw)
        log_warn(log,
                 "%s: %" PRIu32 " tokens are not written in the byte alphabet; "
                 "their text is taken as it is",
                 gguf_path(g), n_raw);
    if (v->n_duplicates)
        log_warn(log, "%s: %" PRIu32 " tokens repeat another one; the first of each counts",
                 gguf_path(g), v->n_duplicates);
    return true;
}

/* Adds "left right", rank i. False when it does not parse or a part is no token. bytes has room for
 * the line. */
static bool add_merge(struct tok *t, str line, uint32_t rank, char *bytes)
{
    size_t space = str_find(line, STR(" "), 1);
    if (space == SIZE_MAX || space + 1 == line.n)
        return false;
    size_t n_left, n_right;
    put_piece(bytes, str_sub(line, 0, space), TOK_NORMAL, &n_left);
    put_piece(bytes + n_left, str_sub(line, space + 1, line.n), TOK_NORMAL, &n_right);
    uint32_t left = vocab_find(&t->vocab, (str){bytes, n_left});
    uint32_t right = vocab_find(&t->vocab, (str){bytes + n_left, n_right});
    uint32_t joined = vocab_find(&t->vocab, (str){bytes, n_left + n_right});
    if (left == VOCAB_EMPTY || right == VOCAB_EMPTY || joined == VOCAB_EMPTY)
        return false;
    bpe_add(&t->bpe, left, right, rank, joined);
    return true;
}

/* Marks the tokens that their own bytes merge to, so that encoding can look words up whole. That is
 * proven by merging each; long ones are not worth it. */
static void mark_whole(struct tok *t, bool whole_first)
{
    uint32_t ids[MAX_PROVEN_BYTES];
    struct bpe_scratch scratch = {0};
    for (size_t i = 0; i <= t->vocab.mask; i++) {
        struct vocab_slot *slot = &t->vocab.slots[i];
        if (slot->id == VOCAB_EMPTY)
            continue;
        str word = vocab_bytes(&t->vocab, slot->id);
        bool whole = whole_first && (t->vocab.flags[slot->id] & VOCAB_TYPE) == TOK_NORMAL;
        if (!whole && word.n > 0 && word.n <= MAX_PROVEN_BYTES) {
            size_t n = word.n <= BPE_SHORT ? bpe_short(&t->bpe, word, ids)
                                           : bpe_long(&t->bpe, word, &scratch, ids);
            whole = n == 1 && ids[0] == slot->id;
        }
        if (whole)
            slot->id |= VOCAB_WHOLE;
    }
    bpe_scratch_fini(&scratch);
}

static void find_bytes(struct tok *t, const struct gguf *g, const struct log *log)
{
    int n_missing = 0;
    for (int b = 0; b < 256; b++) {
        char byte = (char)b;
        t->bpe.byte_id[b] = vocab_find(&t->vocab, (str){&byte, 1});
        n_missing += t->bpe.byte_id[b] == VOCAB_EMPTY;
    }
    if (n_missing)
        log_warn(log, "%s: %d of the 256 bytes have no token; text with them loses them",
                 gguf_path(g), n_missing);
}

bool tok_load_merges(struct tok *t, const struct gguf *g, bool whole_first, const struct log *log,
                     struct err *e)
{
    const struct gguf_kv *kv = string_array(g, "tokenizer.ggml.merges", MAX_MERGES, e);
    if (!kv)
        return false;
    size_t n_line = 0;
    for (uint64_t i = 0; i < kv->n; i++)
        n_line = num_max(n_line, gguf_elem_str(g, kv, i).n);
    char *bytes = mem_new(n_line, 1);
    uint32_t n_skipped = 0;
    bpe_init(&t->bpe, kv->n);
    for (uint64_t i = 0; i < kv->n; i++)
        n_skipped += !add_merge(t, gguf_elem_str(g, kv, i), (uint32_t)i, bytes);
    free(bytes);
    if (n_skipped)
        log_warn(log, "%s: %" PRIu32 " of %" PRIu64 " merges do not lead to tokens; left out",
                 gguf_path(g), n_skipped, kv->n);
    find_bytes(t, g, log);
    mark_whole(t, whole_first);
    return true;
}
