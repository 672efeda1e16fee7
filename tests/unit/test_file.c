/* Reads past the page cache, where the file system can do that. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "test.h"

enum { N_BYTES = (3 << 20) + 1234 }; /* no multiple of any block */

/* A file of random bytes that is on disk and, where the system does as it is told, not in memory.
 */
static char *make_file(const char *path, struct rng *rng)
{
    struct err e;
    struct file_out f = {0};
    char *bytes = mem_new(N_BYTES, 1);
    for (size_t i = 0; i < N_BYTES; i++)
        bytes[i] = (char)rng_u64(rng);
    CHECK_OK(file_create(&f, path, &e) && file_write_at(&f, 0, bytes, N_BYTES, &e) &&
             file_commit(&f, &e));
    return bytes;
}

static void forget(int fd)
{
    CHECK_INT(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
}

TEST(file_reads_past_the_page_cache_are_the_bytes)
{
    struct err e;
    struct rng rng = {test_seed()};
    uint64_t n_bytes;
    char path[] = "/tmp/tawny-file-XXXXXX";
    close(mkstemp(path));
    char *bytes = make_file(path, &rng), *out = mem_new(N_BYTES + 17, 1);
    const int fd = file_open(path, &n_bytes, &e);
    CHECK(fd >= 0);
    forget(fd);
    const int past = file_open_past(path, fd, n_bytes);
    for (int i = 0; i < 200; i++) {
        const size_t n = i ? rng_below(&rng, N_BYTES) + 1 : N_BYTES;
        const size_t at = rng_below(&rng, N_BYTES - n + 1), shift = i % 16;
        memset(out, 0, N_BYTES + 17);
        CHECK_OK(file_read_past(past, fd, path, at, out + shift, n, &e));
        CHECK(!memcmp(out + shift, bytes + at, n));
        CHECK_INT(out[shift + n], 0);
    }
    CHECK(!file_read_past(past, fd, path, N_BYTES - 70000, out, 70001, &e));
    CHECK(strstr(e.msg, "1 bytes short"));
    /* What is in memory already is read from there. */
    CHECK_OK(file_read_at(fd, path, 0, out, N_BYTES, &e));
    CHECK_INT(file_open_past(path, fd, n_bytes), -1);
    unlink(path);
    close(fd);
    free(bytes);
    free(out);
    if (past < 0)
        test_skip("this file system keeps all in the page cache");
    close(past);
}
