/* store_int: what the files of store share. */
#pragma once
#include "engine/store.h"

enum { STORE_READS = 2 };

/* A file that is being read, or was. */
struct reading {
    struct spool_job *job; /* NULL: free for another one */
    bool done;
};

struct store {
    uint64_t max_bytes, n_bytes;
    size_t state_bytes;
    struct chunk root; /* no tokens; its children begin conversations */
    /* ---- where there is a disk ---- */
    struct spool *spool; /* NULL: there is none */
    struct log log;
    uint64_t n_in_flight, n_disk_bytes;
    uint32_t n_files;         /* those on their way included */
    uint32_t n_writes;        /* jobs on their way */
    uint64_t paused_until_ns; /* after a write that failed */
    bool failing;             /* the last one did, which was logged */
    struct reading reads[STORE_READS];
};

struct part *store_part(struct chunk *c, enum disk_kind kind);
/* The same bytes at another place, with the sums that follow. */
void store_move(struct store *s, struct chunk *c, struct part *p, enum part_place to);
/* The leaf behind c that comes first. */
struct chunk *store_first_leaf(struct chunk *c);
/* A chunk without bytes, as a child of `parent`. */
struct chunk *store_link(struct chunk *parent, const int32_t *ids, uint32_t first, uint32_t n);

/* What a newcomer is measured by. */
struct newcomer {
    const struct chunk *but; /* that must stay */
    uint32_t n_all;          /* tokens of its conversation */
    struct use use;
};
/* Makes room for n bytes more in memory, at the cost of what is missed later than the newcomer. */
bool store_room(struct store *s, uint64_t n, const struct newcomer *by);
/* The same for n bytes of files; false, too, where nothing is written at present. */
bool store_disk_room(struct store *s, uint64_t n, const struct newcomer *by);
/* Posts the writing of a part in memory for which there is room. */
void store_send(struct store *s, struct chunk *c, enum disk_kind kind);
