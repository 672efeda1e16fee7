/* store: room in the host's memory, and behind it on a disk, for conversations that lost their
 * session. They are cut into chunks, which form a tree: conversations that begin alike have their
 * first chunks in common, and one that has to give way does so from its end. It holds bytes of a
 * backend (exec_rows_save, exec_state_save) without looking at them. Engine thread only.
 *
 * A chunk is in memory or in files, never in both: what gives way in memory is written (spool.h),
 * and stays in its files when a session takes it, so that nothing has to be written again when the
 * session is lost once more. What is on its way is beside the limits: at most STORE_IN_FLIGHT and
 * one chunk more.
 *
 * What gives way, in memory as on disk, is what will be missed last. A conversation is expected
 * after as many jobs as lay between its last two uses, 16 where nothing is known of it, and given
 * up when twice that and 8 more went by. So of conversations that take turns in too little room
 * some stay whole, where the longest unused would always be the next one needed. First of all go
 * those that are given up, the longest unused before others, and chunks whose conversation is in a
 * session again. The longest conversation gives way to none for 64 jobs. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/spool.h"

enum { STORE_TOKENS = DISK_TOKENS, STORE_IN_FLIGHT = 256 << 20 };

/* When a conversation was used: by which job, and how many jobs after the one before (0: only
 * once).
 */
struct use {
    uint64_t last, interval;
};

/* Where bytes are: nowhere; in memory, within its limit; in memory, to be written as soon as they
 * are filled in; being written; in a file. */
enum part_place { PART_NONE, PART_IN_RAM, PART_PASSING, PART_LEAVING, PART_FILED };

struct part {
    uint8_t *bytes; /* [n]; NULL in a file, and where n is 0 */
    size_t n;
    enum part_place place;
    struct spool_job *job; /* LEAVING: that writes them, and owns them */
};

/* Up to STORE_TOKENS tokens; only full ones are followed by others. */
struct chunk {
    struct chunk *parent, *children, *next; /* next: of the parent's children */
    uint64_t id;                            /* random: the name of its files */
    uint32_t first, n;                      /* of the conversation's tokens */
    int32_t ids[STORE_TOKENS];
    struct part rows;  /* of exec_rows_save */
    struct part state; /* a saved state behind the first n_state tokens, first < n_state */
    uint32_t n_state;  /* 0: none */
    uint32_t n_in_ram; /* chunks with a part in memory's limit, of this one and those behind */
    bool held;         /* by a session too, as far as is known */
    struct use use;
};

struct store;
/* At most max_bytes of memory, taken when they are needed. state_bytes: of a saved state; 0: there
 * are none. */
struct store *store_open(uint64_t max_bytes, size_t state_bytes);
/* Files are used from now on. The spool is the store's, and closed with it. log: of files that
 * fail; lives as long as the store. */
void store_use_disk(struct store *s, struct spool *spool, const struct log *log);
/* Files stay. */
void store_close(struct store *s);
uint64_t store_bytes(const struct store *s);      /* in use of the memory */
uint64_t store_max_bytes(const struct store *s);  /* its limit */
uint64_t store_disk_bytes(const struct store *s); /* of files, those on their way included */
uint64_t store_disk_max_bytes(const struct store *s);
const char *store_disk_folder(const struct store *s); /* NULL: there is no disk */

/* The chunk behind `at` (NULL: the first one) that shares most tokens with ids[n], which are those
 * of the whole conversation, and how many; NULL: none. */
struct chunk *store_step(const struct store *s, const struct chunk *at, const int32_t *ids,
                         uint32_t n, uint32_t *n_shared);

/* A new chunk behind `at` with n tokens of ids, those of the whole conversation, which has n_all;
 * its rows, n_row_bytes of them, are to be filled, then store_filled. Takes the place of one that
 * has some of these tokens. NULL: there is no room that others do not deserve more. */
struct chunk *store_add(struct store *s, struct chunk *at, const int32_t *ids, uint32_t n,
                        uint32_t n_all, size_t n_row_bytes, struct use use);
/* Room for a state in a chunk that is the end of its conversation so far, in the place of the one
 * that it has, if any; to be filled, then store_filled. NULL: none, and the chunk has none. */
uint8_t *store_add_state(struct store *s, struct chunk *c, uint32_t n_all);
/* What was added to c may be written now. */
void store_filled(struct store *s, struct chunk *c);
/* For a chunk whose bytes could not be had; what is behind it goes, too. */
void store_drop(struct store *s, struct chunk *c);
/* The same for its state alone. */
void store_drop_state(struct store *s, struct chunk *c);

/* ---- files ----
 * Chunks of which the caller has pointers may be gone behind store_poll and store_fetch. */

/* Notes what was written by now; waits at most wait_ms for the next. */
void store_poll(struct store *s, int wait_ms);
/* Is as much on its way to the disk as may be? */
bool store_is_busy(const struct store *s);
/* Is anything? */
bool store_is_writing(const struct store *s);
/* Writes what c has in memory, if there is room on the disk. */
void store_write(struct store *s, struct chunk *c);
/* The next chunk, after all that are behind it; NULL at the end. c NULL: the first one. */
struct chunk *store_next(struct store *s, struct chunk *c);
/* Its conversation was used again: the file's time is what is known of that after a restart. */
void store_touch(struct store *s, const struct chunk *c);

enum fetch { FETCH_DONE, FETCH_WAIT, FETCH_LOST };
/* The bytes of a part: DONE and *bytes, valid until store_release or the next store_add; WAIT: they
 * are being read, ask again behind store_poll; LOST: the file is damaged or gone, and the part with
 * it (rows: the chunk and what is behind it). Two are read at a time, more WAIT. */
enum fetch store_fetch(struct store *s, struct chunk *c, enum disk_kind kind,
                       const uint8_t **bytes);
/* What was fetched of c is not needed any more; NULL: of all. */
void store_release(struct store *s, const struct chunk *c);

/* Puts back what the disk has of earlier servers, all with a use of their own, those used last
 * last, and removes what does not fit together, lies behind n_ctx tokens or has not the size that
 * `rows_bytes` says. Returns the number of the last use. */
uint64_t store_restore(struct store *s, uint32_t n_ctx,
                       uint64_t (*rows_bytes)(const void *ctx, uint32_t n), const void *ctx);
