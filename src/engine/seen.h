/* seen: how often each token stands among the last n of a sequence, kept up to date token by token.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct seen {
    uint32_t window;    /* tokens looked back at; 0: all */
    uint32_t *ring;     /* [window] the tokens in the window; NULL when all count */
    uint64_t n;         /* tokens added so far */
    uint32_t *count;    /* [n_vocab] */
    uint32_t *place;    /* [n_vocab] index in distinct, where count is not 0 */
    uint32_t *distinct; /* tokens with a count, in no order */
    size_t n_distinct;
};

void seen_open(struct seen *s, uint32_t n_vocab, uint32_t window);
/* id < n_vocab */
void seen_add(struct seen *s, uint32_t id);
void seen_close(struct seen *s);
