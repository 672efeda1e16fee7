#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "base/utf8.h"
#include "text/mask_int.h"

static bool is_text(const struct tok *t, int32_t id)
{
    enum tok_type type = tok_type(t, id);
    size_t n = tok_bytes(t, id).n;
    return (type == TOK_NORMAL || type == TOK_USER_DEFINED || type == TOK_BYTE) && n > 0 &&
           n < AUTOMATON_HORIZON && !tok_is_stop(t, id);
}

struct by_bytes {
    str bytes;
    int32_t id;
    enum mask_section section;
};

static int compare(const void *x, const void *y)
{
    const struct by_bytes *a = x, *b = y;
    if (a->section != b->section)
        return a->section < b->section ? -1 : 1;
    int order = memcmp(a->bytes.p, b->bytes.p, num_min(a->bytes.n, b->bytes.n));
    if (order)
        return order;
    if (a->bytes.n != b->bytes.n)
        return a->bytes.n < b->bytes.n ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

static bool is_calm(str bytes)
{
    for (size_t i = 0; i < bytes.n;) {
        uint32_t c;
        size_t n = utf8_decode((const unsigned char *)bytes.p + i, bytes.n - i, &c);
        if (n == 0 || c < 0x20 || c == '"' || c == '\\' || c == '<' || c == 0x7f)
            return false;
        i += n;
    }
    return true;
}

static enum mask_section section_of(str bytes)
{
    return is_calm(bytes) ? MASK_CALM : bytes.n > MASK_SHORT ? MASK_LONG_OTHERS : MASK_SHORT_OTHERS;
}

static void put_node(struct mask_vocab *v, struct trie_node node, size_t *room)
{
    if (v->n_nodes == *room) {
        *room = *room ? 2 * *room : 1024;
        v->nodes = mem_grow(v->nodes, *room, sizeof *v->nodes);
    }
    v->nodes[v->n_nodes++] = node;
}

/* Nodes in preorder, from the sorted tokens: each adds what it does not share with the one
 * before. */
static void build(struct mask_vocab *v, const struct by_bytes *sorted)
{
    uint32_t path[AUTOMATON_HORIZON + 1]; /* nodes from the root to the last token */
    size_t depth = 0, room = 0;
    str last = {0};
    enum mask_section section = MASK_CALM;
    for (uint32_t i = 0; i < v->n_tokens; i++) {
        str bytes = sorted[i].bytes;
        size_t shared = 0;
        while (section == sorted[i].section && shared < bytes.n && shared < last.n &&
               bytes.p[shared] == last.p[shared])
            shared++;
        for (; depth > shared; depth--)
            v->nodes[path[depth]].skip = v->n_nodes;
        while (section < sorted[i].section)
            v->section[++section] = v->n_nodes;
        for (; depth < bytes.n; depth++) {
            bool whole = depth + 1 == bytes.n || (bytes.p[depth + 1] & 0xc0) != 0x80;
            path[depth + 1] = v->n_nodes;
            put_node(v,
                     (struct trie_node){.from = i,
                                        .depth = (uint8_t)depth,
                                        .byte = (uint8_t)bytes.p[depth],
                                        .whole = whole},
                     &room);
        }
        v->tokens[i] = sorted[i].id;
        last = bytes;
    }
    for (; depth > 0; depth--)
        v->nodes[path[depth]].skip = v->n_nodes;
    while (section < MASK_N_SECTIONS)
        v->section[++section] = v->n_nodes;
    put_node(v, (struct trie_node){.from = v->n_tokens}, &room);
    v->n_nodes--; /* the last one only ends the tokens of the one before */
}

static uint32_t n_characters(str bytes)
{
    uint32_t n = 0;
    for (size_t i = 0; i < bytes.n; i++)
        n += (bytes.p[i] & 0xc0) != 0x80;
    return n;
}

/* The sets of calm tokens by length. */
static void count_calm(struct mask_vocab *v, const struct by_bytes *sorted)
{
    v->n_words = (v->n_vocab + 63) / 64;
    v->calm = mem_new((size_t)MASK_CALM_LENGTHS * v->n_words, sizeof *v->calm);
    v->long_calm = mem_new(v->n_tokens, sizeof *v->long_calm);
    for (uint32_t i = 0; i < v->n_tokens && sorted[i].section == MASK_CALM; i++) {
        uint32_t id = (uint32_t)sorted[i].id, n = n_characters(sorted[i].bytes);
        if (n < MASK_CALM_LENGTHS)
            v->calm[(size_t)n * v->n_words + id / 64] |= UINT64_C(1) << (id % 64);
        else
            v->long_calm[v->n_long_calm++] = (struct long_calm){sorted[i].id, n};
    }
    for (size_t w = v->n_words; w < (size_t)MASK_CALM_LENGTHS * v->n_words; w++)
        v->calm[w] |= v->calm[w - v->n_words];
}

struct mask_vocab *mask_vocab_open(const struct tok *t, uint32_t n_vocab)
{
    struct mask_vocab *v = mem_new(1, sizeof *v);
    uint32_t n = tok_n_vocab(t);
    struct by_bytes *sorted = mem_new(n, sizeof *sorted);
    v->n_vocab = n_vocab;
    v->stops = mem_new(n, sizeof *v->stops);
    v->start = mem_new((size_t)n_vocab + 1, sizeof *v->start);
    for (uint32_t id = 0; id < n; id++) {
        str bytes = tok_bytes(t, (int32_t)id);
        if (tok_is_stop(t, (int32_t)id))
            v->stops[v->n_stops++] = (int32_t)id;
        else if (is_text(t, (int32_t)id))
            sorted[v->n_tokens++] = (struct by_bytes){bytes, (int32_t)id, section_of(bytes)};
        v->start[id + 1] = v->start[id] + (is_text(t, (int32_t)id) ? (uint32_t)bytes.n : 0);
    }
    for (uint32_t id = n; id < n_vocab; id++)
        v->start[id + 1] = v->start[id];
    v->bytes = mem_new(v->start[n_vocab], 1);
    for (uint32_t i = 0; i < v->n_tokens; i++)
        memcpy(v->bytes + v->start[sorted[i].id], sorted[i].bytes.p, sorted[i].bytes.n);
    v->tokens = mem_new(v->n_tokens, sizeof *v->tokens);
    qsort(sorted, v->n_tokens, sizeof *sorted, compare);
    build(v, sorted);
    count_calm(v, sorted);
    free(sorted);
    return v;
}

str mask_vocab_bytes(const struct mask_vocab *v, int32_t id)
{
    if (id < 0 || (uint32_t)id >= v->n_vocab)
        return (str){0};
    return (str){v->bytes + v->start[id], v->start[id + 1] - v->start[id]};
}

void mask_vocab_close(struct mask_vocab *v)
{
    if (!v)
        return;
    free(v->nodes);
    free(v->tokens);
    free(v->stops);
    free(v->start);
    free(v->bytes);
    free(v->calm);
    free(v->long_calm);
    free(v);
}
