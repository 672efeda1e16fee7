/* file: whole files, large reads, and writes that are never left half done. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* Reads the whole file into out (appended). Refuses more than max bytes. */
bool file_read_all(const char *path, size_t max, struct buf *out, struct err *e);
/* Reads exactly n bytes at offset; a short file is an error that names path and offset.
 * Thread-safe. */
bool file_read_at(int fd, const char *path, uint64_t offset, void *out, size_t n, struct err *e);
/* Opens for reading and stores the size in bytes. Returns the descriptor, or -1 and e. Refuses what
 * is not a regular file. */
int file_open(const char *path, uint64_t *n_bytes, struct err *e);
/* A second descriptor of the file that fd is, whose reads go past the page cache (file_read_past):
 * for reading most of a large file once, which the cache would copy and keep beside what becomes of
 * it. -1 where the cache has half of the file already, and where the file system cannot do it. */
int file_open_past(const char *path, int fd, uint64_t n_bytes);
/* As file_read_at, through such a descriptor where it is not -1. For ranges of 64 KiB and more.
 * Thread-safe. */
bool file_read_past(int past, int fd, const char *path, uint64_t offset, void *out, size_t n,
                    struct err *e);

/* Makes the folders above path that are missing, for the user alone; a failure shows when the file
 * is written. */
void file_make_folders(const char *path);

/* A file being made: bytes go to "path.tmp-PID" beside it; file_commit syncs and renames it onto
 * path, so that path is either the old file or the whole new one. Zero-initialise before
 * file_create. */
struct file_out {
    char *path;
    char *temp;
    int fd;
};
bool file_create(struct file_out *f, const char *path, struct err *e);
/* Writes all n bytes at offset. Thread-safe for ranges that do not overlap. */
bool file_write_at(struct file_out *f, uint64_t offset, const void *bytes, size_t n, struct err *e);
bool file_commit(struct file_out *f, struct err *e);
/* Removes the temporary file if it was not committed. Safe after file_commit and on a zeroed
 * struct. */
void file_abandon(struct file_out *f);
