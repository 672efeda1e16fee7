/* disk_int: what the files of disk share. */
#pragma once
#include "base/buf.h"
#include "engine/disk.h"

/* DISK_NAME: room for a file's name. */
enum { DISK_NAME = 32 };
#define DISK_LOCK "lock"

/* Another model's folder. */
struct disk_other {
    char name[DISK_NAME];
    uint64_t n_bytes, used; /* used: ns since 1970 */
};

struct disk {
    struct buf path; /* the model's folder */
    struct log log;
    uint64_t fingerprint, max_bytes, least_free; /* max_bytes: of all models */
    uint64_t others_bytes; /* of those in `others` and of those that servers have */
    int root, fd, lock;    /* the folder of all, the model's, its locked file */
    struct disk_other *others;
    size_t n_others;
};
