/* spool: the thread that reads and writes the files of a disk (disk.h), so that the engine's never
 * waits for a device. Reads go before all else; writing, removing and touching come in order.
 * Engine thread only, but for the thread inside. */
#pragma once
#include "engine/disk.h"

enum spool_what { SPOOL_READ, SPOOL_WRITE, SPOOL_REMOVE, SPOOL_TOUCH };

/* Something to do. The spool's from spool_post until spool_take, which does not see what is removed
 * or touched: that is nobody's any more. */
struct spool_job {
    struct spool_job *next;
    enum spool_what what;
    struct disk_head head; /* REMOVE and TOUCH: id and kind */
    uint8_t *bytes;        /* [head.n_bytes] of mem_big, the job's; NULL where there are none */
    void *owner;           /* whoever posted it, who may change it any time */
    bool ok;               /* READ and WRITE, done: it went well */
    struct err error;      /* else */
};

struct spool;
/* The disk is the spool's then, and closed with it. NULL and e: no thread (the disk is closed). */
struct spool *spool_open(struct disk *d, struct err *e);
struct disk *spool_disk(const struct spool *s);
/* The job must be of malloc. */
void spool_post(struct spool *s, struct spool_job *j);
void spool_remove(struct spool *s, uint64_t id, enum disk_kind kind);
void spool_touch(struct spool *s, uint64_t id, enum disk_kind kind);
/* A job that is done, for spool_free; waits for it at most wait_ms. NULL: there is none. */
struct spool_job *spool_take(struct spool *s, int wait_ms);
void spool_free(struct spool_job *j);
/* Ends what is at work and frees the rest undone, except for removing. */
void spool_close(struct spool *s);
