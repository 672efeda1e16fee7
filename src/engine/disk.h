/* disk: a folder of files with pieces of conversations, for store.h to put there what memory has no
 * room for and to find again after a restart. Each model with its settings has a folder of its own
 * below the one that all share, named by its fingerprint and locked while a server runs. A file has
 * a head, which says what it is, and the bytes of a backend, which nobody looks at; both have
 * checksums. Files are for this user alone (0600, folders 0700), are written under another name and
 * renamed, and are believed only as far as their sums go: what is foreign, cut short or damaged is
 * removed.
 *
 * Opening and disk_drop_other: one thread. Writing, reading and removing: any thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"

/* MAX_FILES: of one model, which bounds what is kept in memory about them. */
enum { DISK_TOKENS = 256, DISK_MAX_FILES = 1 << 15 };
enum disk_kind { DISK_ROWS, DISK_STATE };

/* What a file says of itself. */
struct disk_head {
    uint64_t id;              /* of the chunk of tokens, random; with `kind` the file's name */
    uint64_t parent;          /* the chunk before it; 0: none */
    uint64_t n_bytes;         /* behind the head */
    uint32_t kind;            /* enum disk_kind */
    uint32_t first;           /* the chunk's first token in its conversation */
    uint32_t n;               /* its tokens; of a state, those of the conversation before it */
    int32_t ids[DISK_TOKENS]; /* [n]; of a state, zeros */
};

struct disk_params {
    const char *folder;   /* made if it is missing, with those above it */
    uint64_t fingerprint; /* of all that the bytes depend on */
    uint64_t max_bytes;   /* all models together; 0: an eighth of what is free, 16 GiB at most */
    uint64_t least_free;  /* bytes that are left to others [1 GiB] */
    struct log log;       /* of what was removed; lives as long as the disk */
};

struct disk;
/* NULL and e: it cannot be made, or another server with this model has it. */
struct disk *disk_open(const struct disk_params *p, struct err *e);
void disk_close(struct disk *d);
const char *disk_folder(const struct disk *d);
/* What this model may take: all that may be, less what other models have there. */
uint64_t disk_max_bytes(const struct disk *d);
/* Bytes of a file with n_bytes behind its head. */
uint64_t disk_file_bytes(uint64_t n_bytes);
/* Removes what the model has that was used longest ago, of those that no server has; disk_max_bytes
 * rises by it. False: there is none. */
bool disk_drop_other(struct disk *d);

/* A file that was found. */
struct disk_entry {
    struct disk_head head;
    uint64_t used; /* when, in ns since 1970 */
};
/* All files with a sound head, in an array of *n that the caller frees; the others are removed. The
 * sums of what is behind the heads are not looked at. */
struct disk_entry *disk_list(struct disk *d, size_t *n);

bool disk_write(struct disk *d, const struct disk_head *h, const void *bytes, struct err *e);
/* The h->n_bytes behind the head. False and e: the file is not what h says, or damaged. */
bool disk_read(struct disk *d, const struct disk_head *h, void *out, struct err *e);
void disk_remove(struct disk *d, uint64_t id, enum disk_kind kind);
/* It was used now. */
void disk_touch(struct disk *d, uint64_t id, enum disk_kind kind);
