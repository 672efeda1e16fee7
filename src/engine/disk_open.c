/* The folders of the disk cache: the model's own and its lock, and what other models have. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "engine/disk_int.h"

enum { DEFAULT_PART = 8 };
static const uint64_t MOST_BYTES = 16ull << 30, LEAST_FREE = 1ull << 30;

/* ---- locks ------------------------------------------------------------------------------------
 */

static int open_folder(int at, const char *name)
{
    return openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

/* The lock of a folder, or -1: another server has it, or it cannot be made. The lock goes with the
 * process. A file that was removed while we waited for it locks nothing. */
static int lock_folder(int fd)
{
    struct stat st;
    const int lock = openat(fd, DISK_LOCK, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) == 0 && fstat(lock, &st) == 0 &&
        st.st_nlink > 0)
        return lock;
    const int why = errno;
    if (lock >= 0)
        close(lock);
    errno = why;
    return -1;
}

/* ---- other models -----------------------------------------------------------------------------
 */

static bool is_fingerprint(const char *name)
{
    return strlen(name) == 16 && strspn(name, "0123456789abcdef") == 16;
}

/* Adds up what is in the folder `name`, and when it was used last; with `drop` removes it. */
static void walk_folder(int root, struct disk_other *o, bool drop)
{
    const int fd = open_folder(root, o->name);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct stat st;
    for (struct dirent *at; dir && (at = readdir(dir));) {
        if (fstatat(fd, at->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
            continue;
        o->n_bytes += (uint64_t)st.st_size;
        o->used = num_max(o->used, (uint64_t)st.st_mtim.tv_sec * 1000000000u);
        if (drop)
            unlinkat(fd, at->d_name, 0);
    }
    if (dir)
        closedir(dir);
    else if (fd >= 0)
        close(fd);
    if (drop)
        unlinkat(root, o->name, AT_REMOVEDIR);
}

static void list_others(struct disk *d, const char *own)
{
    DIR *dir = fdopendir(open_folder(d->root, "."));
    for (struct dirent *at; dir && (at = readdir(dir));) {
        if (!is_fingerprint(at->d_name) || !strcmp(at->d_name, own))
            continue;
        d->others = mem_grow(d->others, d->n_others + 1, sizeof *d->others);
        struct disk_other *o = &d->others[d->n_others++];
        *o = (struct disk_other){0};
        memcpy(o->name, at->d_name, strlen(at->d_name) + 1);
        walk_folder(d->root, o, false);
    }
    if (dir)
        closedir(dir);
}

/* Takes it away unless a server has it. */
static bool drop_folder(struct disk *d, const struct disk_other *o)
{
    struct disk_other again = *o;
    const int fd = open_folder(d->root, o->name), lock = fd >= 0 ? lock_folder(fd) : -1;
    if (lock >= 0)
        walk_folder(d->root, &again, true);
    if (lock >= 0)
        close(lock);
    if (fd >= 0)
        close(fd);
    return lock >= 0;
}

bool disk_drop_other(struct disk *d)
{
    while (d->n_others > 0) {
        struct disk_other *oldest = d->others;
        for (size_t i = 1; i < d->n_others; i++)
            if (d->others[i].used < oldest->used)
                oldest = &d->others[i];
        const struct disk_other o = *oldest;
        *oldest = d->others[--d->n_others];
        if (o.n_bytes > 0 && drop_folder(d, &o)) {
            log_info(&d->log, "%s: %" PRIu64 " MiB of another model gave way", d->path.p,
                     o.n_bytes >> 20);
            d->others_bytes -= o.n_bytes;
            return true;
        }
    }
    return false;
}

/* ---- opening ----------------------------------------------------------------------------------
 */

/* Settles how much the model may take. */
static bool settle_bytes(struct disk *d, uint64_t asked, struct err *e)
{
    struct disk_other own = {0};
    struct statvfs fs;
    snprintf(own.name, sizeof own.name, "%016" PRIx64, d->fingerprint);
    list_others(d, own.name);
    walk_folder(d->root, &own, false);
    for (size_t i = 0; i < d->n_others; i++)
        d->others_bytes += d->others[i].n_bytes;
    if (fstatvfs(d->fd, &fs) != 0)
        return err_sys(e, "%s", d->path.p);
    const uint64_t left = (uint64_t)fs.f_bavail * fs.f_frsize + own.n_bytes + d->others_bytes;
    d->max_bytes = asked ? asked : num_min(left / DEFAULT_PART, MOST_BYTES);
    while (d->others_bytes > d->max_bytes && disk_drop_other(d)) {
        /* the limit was lowered */
    }
    return true;
}

static bool open_folders(struct disk *d, const char *folder, struct err *e)
{
    file_make_folders(d->path.p);
    if (mkdir(d->path.p, 0700) != 0 && errno != EEXIST)
        return err_sys(e, "%s: cannot make the folder", d->path.p);
    d->root = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    d->fd = open(d->path.p, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    if (d->root < 0 || d->fd < 0 || fstat(d->fd, &st) != 0)
        return err_sys(e, "%s", d->path.p);
    if (st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)))
        return err_set(e, ERR_IO, "%s: other users can write there: it has to be yours, mode 0700",
                       d->path.p);
    d->lock = lock_folder(d->fd);
    if (d->lock >= 0)
        return true;
    if (errno == EWOULDBLOCK)
        return err_set(e, ERR_IO, "%s: another server with this model has it", d->path.p);
    return err_sys(e, "%s/" DISK_LOCK, d->path.p);
}

struct disk *disk_open(const struct disk_params *p, struct err *e)
{
    struct disk *d = mem_new(1, sizeof *d);
    d->log = p->log;
    d->fingerprint = p->fingerprint;
    d->least_free = p->least_free ? p->least_free : LEAST_FREE;
    d->root = d->fd = d->lock = -1;
    buf_fmt(&d->path, "%s/%016" PRIx64, p->folder, p->fingerprint);
    if (open_folders(d, p->folder, e) && settle_bytes(d, p->max_bytes, e))
        return d;
    disk_close(d);
    return NULL;
}

void disk_close(struct disk *d)
{
    if (!d)
        return;
    const int fds[] = {d->lock, d->fd, d->root};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    buf_free(&d->path);
    free(d->others);
    free(d);
}

const char *disk_folder(const struct disk *d)
{
    return d->path.p;
}

uint64_t disk_max_bytes(const struct disk *d)
{
    return d->max_bytes - num_min(d->others_bytes, d->max_bytes);
}
