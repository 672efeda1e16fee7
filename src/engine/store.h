/* store: host memory for conversations that lost their session. They are cut into chunks, which
 * form a tree: conversations that begin alike have their first chunks in common, and one that has
 * to give way does so from its end. It holds bytes of a backend (exec_rows_save, exec_state_save)
 * without looking at them. Engine thread only.
 *
 * What gives way is what will be missed last. A conversation is expected after as many jobs as lay
 * between its last two uses, 16 where nothing is known of it, and given up when twice that and 8
 * more went by. So of conversations that take turns in too little room some stay whole, where the
 * longest unused would always be the next one needed. First of all go those that are given up, the
 * longest unused before others, and chunks whose conversation is in a session again. The longest
 * conversation gives way to none for 64 jobs. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { STORE_TOKENS = 256 };

/* When a conversation was used: by which job, and how many jobs after the one before (0: only
 * once).
 */
struct use {
    uint64_t last, interval;
};

/* Up to STORE_TOKENS tokens; only full ones are followed by others. */
struct chunk {
    struct chunk *parent, *children, *next; /* next: of the parent's children */
    uint32_t first, n;                      /* of the conversation's tokens */
    int32_t ids[STORE_TOKENS];
    uint8_t *rows; /* of exec_rows_save */
    size_t n_row_bytes;
    uint8_t *state;   /* a saved state behind the first n_state tokens, first < n_state; or NULL */
    uint32_t n_state; /* 0: none */
    bool held;        /* by a session too, as far as is known */
    struct use use;
};

struct store;
/* At most max_bytes, taken when they are needed. state_bytes: of a saved state; 0: there are none.
 */
struct store *store_open(uint64_t max_bytes, size_t state_bytes);
void store_close(struct store *s);
uint64_t store_bytes(const struct store *s);     /* in use */
uint64_t store_max_bytes(const struct store *s); /* the limit */

/* The chunk behind `at` (NULL: the first one) that shares most tokens with ids[n], which are those
 * of the whole conversation, and how many; NULL: none. */
struct chunk *store_step(const struct store *s, const struct chunk *at, const int32_t *ids,
                         uint32_t n, uint32_t *n_shared);

/* A new chunk behind `at` with n tokens of ids, those of the whole conversation, which has n_all;
 * its rows, n_row_bytes of them, are to be filled. Takes the place of one that has some of these
 * tokens. NULL: there is no room that others do not deserve more. */
struct chunk *store_add(struct store *s, struct chunk *at, const int32_t *ids, uint32_t n,
                        uint32_t n_all, size_t n_row_bytes, struct use use);
/* Room for a state in a chunk that is the end of its conversation so far: the place of the one that
 * it has, if any. NULL: none. */
uint8_t *store_add_state(struct store *s, struct chunk *c, uint32_t n_all);
/* For a chunk whose bytes could not be had, and that nothing follows. */
void store_drop(struct store *s, struct chunk *c);
