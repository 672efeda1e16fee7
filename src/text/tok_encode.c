#include <stdlib.h>

#include "base/mem.h"
#include "base/num.h"
#include "text/nfc.h"
#include "text/tok_int.h"

/* Words that are no token as a whole come again and again in one text. A cell remembers where the
 * ids of the last such word with its hash stand in the output. */
enum { MEMO_BYTES = 26, MEMO_MIN = 64, MEMO_MAX = 16384 };
struct memo {
    char word[MEMO_BYTES];
    uint8_t n_bytes; /* 0: free */
    uint8_t n_ids;
    uint32_t at; /* index into out->ids */
};

/* One call of tok_encode. */
struct encoder {
    const struct tok *tok;
    struct tok_ids *out;
    struct memo *memo; /* made when first needed */
    size_t memo_mask;
    struct bpe_scratch scratch;
    uint32_t *ids; /* [scratch.room] of a long word */
    struct buf normal;
};

/* Room for n more ids; returns where they go. */
static int32_t *make_room(struct tok_ids *list, size_t n)
{
    if (list->room - list->n < n) {
        list->room = num_max(num_max(64, 2 * list->room), list->n + n);
        list->ids = mem_grow(list->ids, list->room, sizeof *list->ids);
    }
    return list->ids + list->n;
}

void tok_ids_put(struct tok_ids *list, int32_t id)
{
    *make_room(list, 1) = id;
    list->n++;
}

/* Bytes that the vocabulary lacks become the unknown token, or nothing. */
static void put_merged(struct encoder *e, const uint32_t *ids, size_t n)
{
    int32_t *out = make_room(e->out, n);
    for (size_t i = 0; i < n; i++) {
        int32_t id = ids[i] == BPE_NONE ? e->tok->unknown : (int32_t)ids[i];
        if (id >= 0)
            *out++ = id;
    }
    e->out->n = (size_t)(out - e->out->ids);
}

static void merge_long(struct encoder *e, str word)
{
    while (word.n) {
        str part = str_sub(word, 0, BPE_MAX_WORD);
        word = str_sub(word, part.n, word.n);
        if (e->scratch.room < part.n)
            e->ids = mem_grow(e->ids, part.n, sizeof *e->ids);
        put_merged(e, e->ids, bpe_long(&e->tok->bpe, part, &e->scratch, e->ids));
    }
}

static void merge_short(struct encoder *e, str word)
{
    uint32_t ids[BPE_SHORT];
    put_merged(e, ids, bpe_short(&e->tok->bpe, word, ids));
}

/* The cell for a word of hash h; NULL for words that are not remembered. */
static struct memo *memo_cell(struct encoder *e, str word, uint64_t h)
{
    if (word.n > MEMO_BYTES || e->out->n >= UINT32_MAX)
        return NULL;
    if (!e->memo)
        e->memo = mem_new(e->memo_mask + 1, sizeof *e->memo);
    return &e->memo[(h >> 32) & e->memo_mask];
}

static void merge_word(struct encoder *e, str word, uint64_t h)
{
    if (word.n > BPE_SHORT) {
        merge_long(e, word);
        return;
    }
    struct memo *cell = memo_cell(e, word, h);
    if (cell && cell->n_bytes == word.n && memcmp(cell->word, word.p, word.n) == 0) {
        int32_t *out = make_room(e->out, cell->n_ids);
        memcpy(out, e->out->ids + cell->at, cell->n_ids * sizeof *out);
        e->out->n += cell->n_ids;
        return;
    }
    size_t at = e->out->n;
    merge_short(e, word);
    if (cell) {
        memcpy(cell->word, word.p, word.n);
        cell->n_bytes = (uint8_t)word.n;
        cell->n_ids = (uint8_t)(e->out->n - at);
        cell->at = (uint32_t)at;
    }
}

static void encode_words(struct encoder *e, str text)
{
    const struct tok *t = e->tok;
    for (size_t at = 0, end; at < text.n; at = end) {
        end = presplit_next(t->rules, t->classes, text, at);
        str word = {text.p + at, end - at};
        uint64_t h = vocab_hash(word);
        const struct vocab_slot *slot = vocab_slot(&t->vocab, word, h);
        if (slot && slot->id & VOCAB_WHOLE)
            tok_ids_put(e->out, (int32_t)(slot->id & ~(uint32_t)VOCAB_WHOLE));
        else
            merge_word(e, word, h);
    }
}

/* Text without added tokens. */
static void encode_plain(struct encoder *e, str text)
{
    size_t quick = e->tok->nfc ? nfc_quick(e->tok->classes, text) : text.n;
    if (quick == text.n) {
        encode_words(e, text);
        return;
    }
    buf_clear(&e->normal);
    buf_put(&e->normal, text.p, quick);
    nfc_put(e->tok->classes, str_sub(text, quick, text.n), &e->normal);
    encode_words(e, buf_view(&e->normal));
}

static size_t memo_cells(size_t n_bytes)
{
    size_t n = MEMO_MIN;
    while (n < MEMO_MAX && n < n_bytes / 32)
        n *= 2;
    return n;
}

void tok_encode(const struct tok *t, str text, const struct tok_params *p, struct tok_ids *out)
{
    struct encoder e = {.tok = t, .out = out, .memo_mask = memo_cells(text.n) - 1};
    struct special_search search = {
        .set = &t->special,
        .control = p->special,
        .literal = p->literal,
        .n_literal = p->n_literal,
    };
    for (size_t from = 0, at; from < text.n;) {
        const struct special *match = NULL;
        at = text.n;
        if (!p->plain)
            match = special_next(&search, text, from, &at);
        if (at > from)
            encode_plain(&e, str_sub(text, from, at));
        if (match)
            tok_ids_put(out, match->id);
        from = match ? at + match->text.n : text.n;
    }
    free(e.memo);
    free(e.ids);
    bpe_scratch_fini(&e.scratch);
    buf_free(&e.normal);
}
