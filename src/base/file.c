#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/num.h"

/* Linux moves at most 0x7ffff000 bytes per call; smaller pieces also let other readers in. */
enum { PIECE_BYTES = 64 << 20 };

int file_open(const char *path, uint64_t *n_bytes, struct err *e)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        err_sys(e, "%s", path);
        return -1;
    }
    if (fstat(fd, &st) != 0) {
        err_sys(e, "%s", path);
    } else if (!S_ISREG(st.st_mode)) {
        err_set(e, ERR_IO, "%s: not a regular file", path);
    } else {
        *n_bytes = (uint64_t)st.st_size;
        return fd;
    }
    close(fd);
    return -1;
}

bool file_read_at(int fd, const char *path, uint64_t offset, void *out, size_t n, struct err *e)
{
    for (size_t done = 0; done < n;) {
        ssize_t got =
            pread(fd, (char *)out + done, num_min(n - done, PIECE_BYTES), (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_sys(e, "%s: read at byte %llu", path, (unsigned long long)(offset + done));
        if (got == 0)
            return err_set(e, ERR_FORMAT, "%s: ends at byte %llu, %zu bytes short", path,
                           (unsigned long long)(offset + done), n - done);
        done += (size_t)got;
    }
    return true;
}

/* ---- past the page cache --------------------------------------------------------------------- */

enum {
    DIRECT_ALIGN = 4096,      /* of offset, length and memory: the largest blocks of disks */
    DIRECT_BYTES = 256 << 10, /* a piece that stays in the cache between its two copies */
    N_PROBES = 512,
};

/* Whether at least half of the file is in the page cache, by some of its pages. mincore answers yes
 * about files that are not the user's own to write. */
static bool is_cached(int fd, uint64_t n_bytes)
{
    unsigned n_found = 0;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *map = mmap(NULL, n_bytes, PROT_READ, MAP_SHARED, fd, 0); /* never touched */
    if (map == MAP_FAILED)
        return true;
    for (uint64_t i = 0; i < N_PROBES; i++) {
        unsigned char there = 1;
        mincore(map + n_bytes / N_PROBES * i / page * page, 1, &there);
        n_found += there & 1;
    }
    munmap(map, n_bytes);
    return n_found >= N_PROBES / 2;
}

int file_open_past(const char *path, int fd, uint64_t n_bytes)
{
    struct stat st, past_st;
    if (n_bytes == 0 || is_cached(fd, n_bytes))
        return -1;
    const int past = open(path, O_RDONLY | O_CLOEXEC | O_DIRECT);
    if (past < 0)
        return -1;
    if (fstat(fd, &st) == 0 && fstat(past, &past_st) == 0 && st.st_dev == past_st.st_dev &&
        st.st_ino == past_st.st_ino)
        return past;
    close(past); /* another file has its name by now */
    return -1;
}

bool file_read_past(int past, int fd, const char *path, uint64_t offset, void *out, size_t n,
                    struct err *e)
{
    char *room = past < 0 ? NULL : aligned_alloc(DIRECT_ALIGN, DIRECT_BYTES + DIRECT_ALIGN);
    while (room && n > 0) {
        const size_t skip = offset % DIRECT_ALIGN;
        const size_t piece = num_min(n, DIRECT_BYTES);
        const size_t whole = (skip + piece + DIRECT_ALIGN - 1) / DIRECT_ALIGN * DIRECT_ALIGN;
        const ssize_t got = pread(past, room, whole, (off_t)(offset - skip));
        if (got < 0 || (size_t)got < skip + piece)
            break; /* a disk with larger blocks, an error, the end: the other way tells */
        memcpy(out, room + skip, piece);
        out = (char *)out + piece;
        offset += piece;
        n -= piece;
    }
    free(room);
    return n == 0 || file_read_at(fd, path, offset, out, n, e);
}

bool file_read_all(const char *path, size_t max, struct buf *out, struct err *e)
{
    uint64_t n;
    int fd = file_open(path, &n, e);
    if (fd < 0)
        return false;
    bool ok = n <= max || err_set(e, ERR_LIMIT, "%s: has %llu bytes, limit %zu", path,
                                  (unsigned long long)n, max);
    if (ok) {
        char *bytes = mem_new(n, 1);
        ok = file_read_at(fd, path, 0, bytes, n, e);
        if (ok)
            buf_put(out, bytes, n);
        free(bytes);
    }
    close(fd);
    return ok;
}

void file_make_folders(const char *path)
{
    struct buf folder = {0};
    buf_fmt(&folder, "%s", path);
    for (size_t i = 1; i < folder.n; i++) {
        if (folder.p[i] != '/')
            continue;
        folder.p[i] = 0;
        mkdir(folder.p, 0700);
        folder.p[i] = '/';
    }
    buf_free(&folder);
}

bool file_create(struct file_out *f, const char *path, struct err *e)
{
    struct buf temp = {0};
    buf_fmt(&temp, "%s.tmp-%ld", path, (long)getpid());
    f->temp = temp.p;
    f->path = strdup(path);
    f->fd = open(f->temp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (f->fd >= 0)
        return true;
    err_sys(e, "%s: cannot create", f->temp);
    free(f->temp);
    f->temp = NULL;
    file_abandon(f);
    return false;
}

bool file_write_at(struct file_out *f, uint64_t offset, const void *bytes, size_t n, struct err *e)
{
    for (size_t done = 0; done < n;) {
        ssize_t put = pwrite(f->fd, (const char *)bytes + done, num_min(n - done, PIECE_BYTES),
                             (off_t)(offset + done));
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return err_sys(e, "%s: write at byte %llu", f->temp,
                           (unsigned long long)(offset + done));
        done += (size_t)put;
    }
    return true;
}

/* The new name survives a power loss only when the folder that holds it is on disk too. */
static void sync_folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = !slash          ? strdup(".")
                   : slash == path ? strdup("/")
                                   : strndup(path, (size_t)(slash - path));
    int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    free(folder);
}

bool file_commit(struct file_out *f, struct err *e)
{
    if (fsync(f->fd) != 0)
        return err_sys(e, "%s: sync", f->temp);
    if (rename(f->temp, f->path) != 0)
        return err_sys(e, "%s: rename to %s", f->temp, f->path);
    sync_folder_of(f->path);
    free(f->temp);
    f->temp = NULL;
    file_abandon(f);
    return true;
}

void file_abandon(struct file_out *f)
{
    if (f->temp)
        unlink(f->temp);
    if (f->path && f->fd >= 0)
        close(f->fd);
    free(f->temp);
    free(f->path);
    *f = (struct file_out){.fd = -1};
}
