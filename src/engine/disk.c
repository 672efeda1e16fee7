#include "engine/disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/sum.h"
#include "engine/disk_int.h"

/* FORMAT: one more whenever files or a backend's rows of a cache are laid out anew. NAMED: files
 * that a line of the log is spent on. */
enum { FORMAT = 2, NAMED = 3 };
static const char magic[8] = "tawnykv";

/* The first bytes of a file. */
struct file_head {
    char magic[8];
    uint64_t format, fingerprint;
    struct disk_head of;
    uint64_t bytes_sum; /* of what is behind the head */
    uint64_t sum;       /* of all before */
};
_Static_assert(sizeof(struct file_head) == 24 + 24 + 16 + 4 * DISK_TOKENS + 16, "no padding but 4");

uint64_t disk_file_bytes(uint64_t n_bytes)
{
    return sizeof(struct file_head) + n_bytes;
}

static void file_name(uint64_t id, enum disk_kind kind, char out[DISK_NAME])
{
    snprintf(out, DISK_NAME, "%016" PRIx64 "%s", id, kind == DISK_ROWS ? ".rows" : ".state");
}

/* ---- one file ---------------------------------------------------------------------------------
 */

/* Is there room that others do not need? */
static bool has_room(const struct disk *d, uint64_t n, struct err *e)
{
    struct statvfs fs;
    if (fstatvfs(d->fd, &fs) != 0)
        return err_sys(e, "%s", d->path.p);
    const uint64_t left = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (left >= n && left - n >= d->least_free)
        return true;
    return err_set(e, ERR_IO, "%s: %" PRIu64 " MiB are free, and %" PRIu64 " are left to others",
                   d->path.p, left >> 20, d->least_free >> 20);
}

bool disk_write(struct disk *d, const struct disk_head *h, const void *bytes, struct err *e)
{
    struct file_head head = {.format = FORMAT, .fingerprint = d->fingerprint, .of = *h};
    struct buf path = {0};
    struct file_out f = {0};
    char name[DISK_NAME];
    memcpy(head.magic, magic, sizeof magic);
    head.bytes_sum = sum64(0, bytes, h->n_bytes);
    head.sum = sum64(0, &head, offsetof(struct file_head, sum));
    file_name(h->id, (enum disk_kind)h->kind, name);
    buf_fmt(&path, "%s/%s", d->path.p, name);
    const bool ok = has_room(d, disk_file_bytes(h->n_bytes), e) && file_create(&f, path.p, e) &&
                    (fchmod(f.fd, 0600) == 0 || err_sys(e, "%s: mode", path.p)) &&
                    file_write_at(&f, 0, &head, sizeof head, e) &&
                    (!h->n_bytes || file_write_at(&f, sizeof head, bytes, h->n_bytes, e)) &&
                    file_commit(&f, e);
    file_abandon(&f);
    buf_free(&path);
    return ok;
}

/* A regular file of the folder and its size; -1 and e. Never waits, whatever lies there. */
static int open_file(const struct disk *d, const char *name, struct stat *st, struct err *e)
{
    const int fd = openat(d->fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd >= 0 && fstat(fd, st) == 0 && S_ISREG(st->st_mode))
        return fd;
    if (fd < 0)
        err_sys(e, "%s/%s", d->path.p, name);
    else
        err_set(e, ERR_FORMAT, "%s/%s: not a regular file", d->path.p, name);
    if (fd >= 0)
        close(fd);
    return -1;
}

static bool head_ok(const struct file_head *h, uint64_t fingerprint, uint64_t size)
{
    const struct disk_head *of = &h->of;
    if (memcmp(h->magic, magic, sizeof magic) != 0 || h->format != FORMAT ||
        h->fingerprint != fingerprint || h->sum != sum64(0, h, offsetof(struct file_head, sum)))
        return false;
    if (of->n_bytes > size || disk_file_bytes(of->n_bytes) != size || of->id == 0)
        return false;
    if (of->kind == DISK_STATE)
        return of->n > 0;
    return of->kind == DISK_ROWS && of->n > 0 && of->n <= DISK_TOKENS &&
           of->first % DISK_TOKENS == 0 && of->first <= INT32_MAX &&
           (of->first == 0) == (of->parent == 0);
}

/* The head of an open file, checked against its size and its name. */
static bool read_head(const struct disk *d, int fd, const char *name, const struct stat *st,
                      struct file_head *h, struct err *e)
{
    char own[DISK_NAME];
    const uint64_t size = (uint64_t)st->st_size;
    if (size < sizeof *h)
        return err_set(e, ERR_FORMAT, "%s/%s: has %" PRIu64 " bytes, its head alone %zu", d->path.p,
                       name, size, sizeof *h);
    if (!file_read_at(fd, name, 0, h, sizeof *h, e))
        return false;
    file_name(h->of.id, (enum disk_kind)h->of.kind, own);
    if (head_ok(h, d->fingerprint, size) && !strcmp(own, name))
        return true;
    return err_set(e, ERR_FORMAT,
                   "%s/%s: foreign, cut short or damaged: the head does not fit %" PRIu64 " bytes",
                   d->path.p, name, size);
}

bool disk_read(struct disk *d, const struct disk_head *h, void *out, struct err *e)
{
    char name[DISK_NAME];
    struct file_head head;
    struct stat st;
    file_name(h->id, (enum disk_kind)h->kind, name);
    const int fd = open_file(d, name, &st, e);
    if (fd < 0)
        return false;
    bool ok = read_head(d, fd, name, &st, &head, e) &&
              ((head.of.n_bytes == h->n_bytes && head.of.n == h->n) ||
               err_set(e, ERR_FORMAT, "%s/%s: is another piece", d->path.p, name)) &&
              (!h->n_bytes || file_read_at(fd, name, sizeof head, out, h->n_bytes, e));
    if (ok && sum64(0, out, h->n_bytes) != head.bytes_sum)
        ok = err_set(e, ERR_FORMAT, "%s/%s: damaged: its checksum is another", d->path.p, name);
    close(fd);
    return ok;
}

void disk_remove(struct disk *d, uint64_t id, enum disk_kind kind)
{
    char name[DISK_NAME];
    file_name(id, kind, name);
    unlinkat(d->fd, name, 0);
}

void disk_touch(struct disk *d, uint64_t id, enum disk_kind kind)
{
    char name[DISK_NAME];
    file_name(id, kind, name);
    utimensat(d->fd, name, NULL, AT_SYMLINK_NOFOLLOW);
}

/* ---- all files --------------------------------------------------------------------------------
 */

/* Appends what the file holds; false and e: it is not what it should be. */
static bool list_file(struct disk *d, const char *name, struct disk_entry *out, struct err *e)
{
    struct file_head head;
    struct stat st;
    const int fd = open_file(d, name, &st, e);
    const bool ok = fd >= 0 && read_head(d, fd, name, &st, &head, e);
    if (ok)
        *out = (struct disk_entry){head.of, (uint64_t)st.st_mtim.tv_sec * 1000000000u +
                                                (uint64_t)st.st_mtim.tv_nsec};
    if (fd >= 0)
        close(fd);
    return ok;
}

static bool is_ours(const char *name)
{
    return strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && strcmp(name, DISK_LOCK) != 0;
}

struct disk_entry *disk_list(struct disk *d, size_t *n)
{
    struct disk_entry *all = NULL;
    struct err e = {0};
    size_t room = 0, n_bad = 0;
    DIR *dir = fdopendir(openat(d->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    *n = 0;
    for (struct dirent *at; dir && (at = readdir(dir));) {
        if (!is_ours(at->d_name))
            continue;
        if (*n == room) {
            room = room ? 2 * room : 64;
            all = mem_grow(all, room, sizeof *all);
        }
        if (*n == DISK_MAX_FILES)
            err_set(&e, ERR_LIMIT, "%s/%s: the folder has over %d files", d->path.p, at->d_name,
                    DISK_MAX_FILES);
        else if (list_file(d, at->d_name, &all[*n], &e)) {
            ++*n;
            continue;
        }
        if (n_bad++ < NAMED)
            log_warn(&d->log, "%s; it is removed", e.msg);
        unlinkat(d->fd, at->d_name, 0);
    }
    if (n_bad > NAMED)
        log_warn(&d->log, "%s: %zu files like these were removed in all", d->path.p, n_bad);
    if (dir)
        closedir(dir);
    return all;
}
