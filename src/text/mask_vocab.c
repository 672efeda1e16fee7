#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
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
};

static int compare(const void *x, const void *y)
{
    const struct by_bytes *a = x, *b = y;
    int order = memcmp(a->bytes.p, b->bytes.p, num_min(a->bytes.n, b->bytes.n));
    if (order)
        return order;
    if (a->bytes.n != b->bytes.n)
        return a->bytes.n < b->bytes.n ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
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
    for (uint32_t i = 0; i < v->n_tokens; i++) {
        str bytes = sorted[i].bytes;
        size_t shared = 0;
        while (shared < bytes.n && shared < last.n && bytes.p[shared] == last.p[shared])
            shared++;
        for (; depth > shared; depth--)
            v->nodes[path[depth]].skip = v->n_nodes;
        for (; depth < bytes.n; depth++) {
            path[depth + 1] = v->n_nodes;
            put_node(v,
                     (struct trie_node){
                         .from = i, .depth = (uint8_t)depth, .byte = (uint8_t)bytes.p[depth]},
                     &room);
        }
        v->tokens[i] = sorted[i].id;
        last = bytes;
    }
    for (; depth > 0; depth--)
        v->nodes[path[depth]].skip = v->n_nodes;
    put_node(v, (struct trie_node){.from = v->n_tokens}, &room);
    /* From back to front: a node's children come after it. */
    for (uint32_t i = v->n_nodes - 1; i-- > 0;)
        for (uint32_t k = i + 1; k < v->nodes[i].skip; k = v->nodes[k].skip)
            v->nodes[i].below |= v->nodes[k].below | UINT64_C(1) << mask_group(v->nodes[k].byte);
    v->n_nodes--; /* the last one only ends the tokens of the one before */
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
            sorted[v->n_tokens++] = (struct by_bytes){bytes, (int32_t)id};
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
    free(v);
}
